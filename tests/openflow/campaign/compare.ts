// SPDX-License-Identifier: Apache-2.0
/**
 * A round, done at both switches, and what differs.
 *
 * @module
 */
import { Writer } from "../../../openflow/wire/bytes.ts";
import { NICIRA, type Version } from "../../../openflow/wire/error.ts";
import { anyMatch } from "../../../openflow/wire/flow.ts";
import { writeMatch } from "../../../openflow/wire/flow_message.ts";
import { numberOf } from "./packets.ts";
import type { Round } from "./rounds.ts";
import { PORTS, type Side, Talk } from "./sides.ts";

/** What a switch said and did, as lines that can be compared. */
export type Outcome = ReadonlyMap<string, string>;

/** What a round came to. */
export interface Compared {
  /** Things that could have differed. */
  readonly cases: number;
  readonly mismatches: readonly string[];
}

const [ERROR, PACKET_IN] = [1, 10];
const ALL_GROUPS = 0xfffffffc;
const ALL_METERS = 0xffffffff;
const ANY = 0xffffffff;

const filter = {
  ...{ table: 0xff, match: anyMatch(), cookie: 0n, cookieMask: 0n },
  ...{ outPort: 0xffffffff, outGroup: 0xffffffff },
};

function u16(bytes: Uint8Array, at: number): number {
  return (bytes[at] as number) << 8 | (bytes[at + 1] as number);
}

/** Has the times in the statistics of OpenFlow 1.5's flows be zero. */
function stopTimes15(entry: Uint8Array): void {
  const match = 24;
  const stats = match + (u16(entry, match + 2) + 7 & ~7);
  for (let at = stats + 4; at < stats + u16(entry, stats + 2);) {
    const [field, length] = [(entry[at + 2] as number) >> 1, entry[at + 3] as number];
    // How long it has been there, and idle.
    if (field < 2) entry.fill(0, at + 4, at + 4 + length);
    at += 4 + length;
  }
}

/** The parts of a reply, without times, in an order that both have. */
function entriesOf(
  messages: readonly Uint8Array[],
  version: Version,
  what: keyof typeof Asked,
): string[] {
  const lines: string[] = [];
  for (const bytes of messages) {
    if (bytes[1] === ERROR) {
      lines.push(`error ${bytes.subarray(8, 12).toHex()}`);
      continue;
    }
    if (bytes[1] !== (version === 1 ? 17 : 19)) continue;
    const isNicira = version === 1;
    for (let at = isNicira ? 24 : 16; at < bytes.length;) {
      const length = u16(bytes, at);
      if (length < 4) throw new Error(`a part of a reply is too short: ${bytes.toHex()}`);
      const entry = bytes.slice(at, at + length);
      at += length;
      if (what === "flow" && version === 6) stopTimes15(entry);
      else if (what === "flow") entry.fill(0, 4, 12);
      if (what === "flow" && isNicira) entry.fill(0, 20, 24);
      if (what === "group" && version >= 4) entry.fill(0, 32, 40);
      lines.push(entry.toHex());
    }
  }
  return lines.sort();
}

/** What is asked for, as numbers of multipart messages. */
const Asked = { flow: 1, group: 6, groupDesc: 7, meterConfig: 10 } as const;

/** A request for all of something. */
function requestOf(version: Version, what: keyof typeof Asked): Uint8Array {
  const writer = new Writer();
  writer.u8(version).u8(version === 1 ? 16 : 18).u16(0).u32(77);
  if (version === 1) {
    // In Nicira's way: OpenFlow 1.0 has no registers.
    writer.u16(0xffff).u16(0).u32(NICIRA).u32(0).zeros(4);
    writer.u16(0xffff).u16(0).u8(0xff).zeros(3);
  } else {
    writer.u16(Asked[what]).u16(0).zeros(4);
    if (what === "flow") {
      writer.u8(0xff).zeros(3).u32(ANY).u32(ANY).zeros(4).u64(0n).u64(0n);
      writeMatch(writer, anyMatch(), version);
    } else if (what !== "groupDesc" || version >= 6) {
      writer.u32(what === "meterConfig" ? ALL_METERS : ALL_GROUPS).zeros(4);
    }
  }
  writer.set16(2, writer.size);
  return writer.bytes();
}

async function ask(talk: Talk, what: keyof typeof Asked): Promise<string> {
  await talk.say(requestOf(talk.version, what));
  return entriesOf(await talk.heard(), talk.version, what).join("\n");
}

/** Removes all flows, groups and meters, as OpenFlow 1.3 can. */
async function clear(side: Side): Promise<void> {
  using talk = await Talk.at(side.path, 4);
  const remove = {
    ...{ kind: "flowMod", command: "delete", ...filter, priority: 0 } as const,
    ...{ newCookie: undefined, mayAdd: false, idle: 0, hard: 0, importance: 0 },
    ...{ flags: 0, bufferId: 0xffffffff, instructions: {} },
  };
  await talk.say(talk.bytesOf(remove));
  await talk.say(talk.bytesOf({
    ...{ kind: "groupMod", command: "delete", type: "all", group: ALL_GROUPS },
    ...{ place: 0xffffffff, buckets: [], selection: undefined },
  }));
  const meters = { command: "delete", flags: 0, meter: ALL_METERS, bands: [] } as const;
  await talk.say(talk.bytesOf({ kind: "meterMod", ...meters }));
  await talk.heard();
}

/** What the flows and their like are now. */
async function* state(talk: Talk, when: string): AsyncIterable<[string, string]> {
  const { version } = talk;
  yield [`flows ${when}`, await ask(talk, "flow")];
  if (version >= 2) {
    yield [`groups ${when}`, await ask(talk, "groupDesc")];
    yield [`group stats ${when}`, await ask(talk, "group")];
  }
  if (version >= 4) yield [`meters ${when}`, await ask(talk, "meterConfig")];
}

/** Does a round at one switch. */
async function doRound(side: Side, round: Round): Promise<Map<string, string>> {
  const out = new Map<string, string>();
  using talk = await Talk.at(side.path, round.version);
  await clear(side);
  await side.flush();
  await talk.say(...round.mods);
  const replies = new Map<number, string[]>();
  for (const bytes of await talk.heard()) {
    if (bytes[1] !== ERROR) continue;
    const xid = new DataView(bytes.buffer, bytes.byteOffset).getUint32(4);
    const some = replies.get(xid) ?? [];
    some.push(bytes.subarray(8).toHex());
    replies.set(xid, some);
  }
  for (const [i] of round.mods.entries()) {
    const said = (replies.get(1000 + i) ?? ["done"]).join(" ");
    // Open vSwitch looks fields up in a hash table, and says that the length is wrong of those
    // which are not there where another one is in their bucket.
    out.set(`mod ${i}`, said.replace(/^0002000[de]/, "field that cannot be set: "));
  }
  for await (const [name, text] of state(talk, "before")) out.set(name, text);
  if (round.packets.length === 0) return out;
  const sent = await side.send(round.packets);
  const byNumber = new Map<number, string[]>();
  const note = (frame: Uint8Array, line: string): void => {
    const number = numberOf(frame);
    const some = byNumber.get(number);
    if (some === undefined) byNumber.set(number, [line]);
    else some.push(line);
  };
  for (const [i, frames] of sent.entries()) {
    for (const frame of frames) note(frame, `p${PORTS[i]} ${frame.toHex()}`);
  }
  for (const bytes of await handedUp(talk)) {
    // Numbers of messages and buffers are each switch's own.
    note(bytes, `up ${bytes.fill(0, 4, 12).toHex()}`);
  }
  for (const id of [-1, ...round.packets.keys()]) {
    const lines = byNumber.get(id) ?? [];
    // What is cut off has no number: there is no telling in which order it came.
    out.set(`packet ${id}`, (id < 0 ? lines.sort() : lines).join("\n"));
  }
  await side.flush();
  for await (const [name, text] of state(talk, "behind packets")) out.set(name, text);
  return out;
}

/** Packets that were handed up; they may come behind one barrier. */
async function handedUp(talk: Talk): Promise<Uint8Array[]> {
  const found = [...await talk.heard(), ...await talk.heard()];
  return found.filter((bytes) => bytes[1] === PACKET_IN);
}

/** Does a round at two switches, and compares what they made of it. */
export async function compareRound(
  round: Round,
  [ours, theirs]: readonly [Side, Side],
): Promise<Compared> {
  const [own, other] = [await doRound(ours, round), await doRound(theirs, round)];
  const mismatches: string[] = [];
  for (const [name, text] of own) {
    const wanted = other.get(name);
    if (wanted === text) continue;
    const [kind, id] = name.split(" ");
    const about = kind === "mod"
      ? `\n${round.texts[Number(id)]}\n${round.mods[Number(id)]?.toHex()}`
      : kind === "packet" && Number(id) >= 0
      ? `\n${round.packets[Number(id)]?.frame.toHex()} by ${
        round.packets[Number(id)]?.port
      }`
      : "";
    const [mine, others] = [
      new Set(text.split("\n")),
      new Set((wanted ?? "").split("\n")),
    ];
    const only = (a: Set<string>, b: Set<string>): string =>
      [...a].filter((line) => !b.has(line)).join("\n  ");
    mismatches.push(
      `${name}${about}\nours\n  ${only(mine, others)}\ntheirs\n  ${only(others, mine)}`,
    );
  }
  for (const fault of ours.faults.splice(0)) mismatches.push(`fault: ${fault}`);
  return { cases: own.size, mismatches };
}
