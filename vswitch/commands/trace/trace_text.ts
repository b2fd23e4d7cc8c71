// SPDX-License-Identifier: Apache-2.0
/**
 * What becomes of a packet, told: the flows that it meets, what is done with it, and on from each
 * place where it is looked up again.
 *
 * @module
 */
import { clockMs } from "../../../policy/clock.ts";
import { parseIpv4, parseIpv6 } from "../../../providers/codec/address.ts";
import { DatapathError } from "../../../providers/errors.ts";
import { formatActions } from "../../../providers/odp/text/text.ts";
import type { Action, CtAction } from "../../../providers/types_action.ts";
import type { PacketFlow } from "../../../openflow/table/packet_flow.ts";
import type { Rule } from "../../../openflow/table/rule.ts";
import { ctFlagNames } from "../../../openflow/text/value.ts";
import type { Frozen } from "../../../openflow/translate/frozen.ts";
import type { Translation } from "../../../openflow/translate/translation.ts";
import type { OfAction } from "../../../openflow/wire/action.ts";
import { type FlowWords, Word } from "../../../openflow/wire/flow.ts";
import { Port } from "../../../openflow/wire/port_number.ts";
import type { Bridge } from "../../bridge.ts";
import { withHanded } from "../../handed_text.ts";
import type { Asked, AskedOptions } from "./asked.ts";
import { megaflowText, namesOf, packetText } from "./flow_text.ts";
import { Tracing } from "./tracing.ts";

/** Places where a packet goes on, that are followed. */
const MAX_PLACES = 64;
const RULE = "=".repeat(79);
/** `trk` and `new`. */
const USUAL_STATE = 0x21;
/** `snat` and `dnat`. */
const TRANSLATED = { src: 0x40, dst: 0x80 } as const;

/** Where a packet goes on behind the connection tracker. */
interface Onward {
  readonly frozen: Frozen;
  readonly action: Action;
  readonly packet: PacketFlow;
  readonly ct: CtAction;
}

/** What Open vSwitch says of a packet that is too much work. */
const bounds: readonly (readonly [reason: RegExp, detail: string, text: string])[] = [
  [/^too many (resubmits|lists)/, "over max translation depth 64", "Recursion too deep"],
  [/^too many lookups/, "over 4096 resubmit actions", "Too many resubmits"],
  [/^over 64 kB of stack/, "resubmits yielded over 64 kB of stack", "Stack too deep"],
  [
    /^over 64 kB of actions/,
    "resubmits yielded over 64 kB of actions",
    "Too many resubmits",
  ],
];

/** Tells what becomes of a packet; of one that a controller sends, by its actions. */
export function traceText(
  asked: Asked,
  options: AskedOptions,
  sent?: readonly OfAction[],
): string {
  const onwards: Onward[] = [];
  const { frozen } = asked;
  let text = once(asked, options, onwards, (way) => {
    if (frozen !== undefined) way.resume(frozen);
    else if (sent !== undefined) way.runActions(sent);
    else way.run();
  });
  const states = [...options.states];
  const { run } = asked.bridge.backing.switches;
  for (let i = 0; i < onwards.length && i < MAX_PLACES; i++) {
    const { frozen, action, packet, ct } = onwards[i] as Onward;
    const [resolved] = run.resolved([action]);
    const id = resolved?.type === "recirc" ? resolved.id : 0;
    const said = states.shift();
    const names = ctFlagNames.filter((_, bit) => (said ?? 0) >> bit & 1).join("|");
    const how = said === undefined
      ? "default ct_state=trk|new (use --ct-next to customize)"
      : `ct_state=${names}`;
    const nat = translate(packet.flow, ct);
    text += `\n\n${RULE}\nrecirc(0x${id.toString(16)}) - resume conntrack with ${how}\n` +
      `${nat}${RULE}\n\n`;
    const { flow } = packet;
    flow[Word.recircId] = id;
    flow[Word.ctState] = said ?? USUAL_STATE;
    flow[Word.ctZone] = ct.zone ?? 0;
    const next = { ...asked, packet, recircId: id, frame: undefined };
    text += once(next, options, onwards, (way) => way.resume(frozen), frozen.table);
  }
  return text;
}

/** Addresses and ports as they may be behind a translation; tells what they were and are. */
function translate(flow: FlowWords, { nat }: CtAction): string {
  if (nat?.kind === undefined || nat.min === undefined) return "";
  const isSource = nat.kind === "src";
  const is6 = nat.min.includes(":");
  const before = ends(flow, is6);
  if (is6) {
    const bytes = new Uint8Array(16);
    parseIpv6(nat.min, 0, bytes, 0);
    const view = new DataView(bytes.buffer);
    const first = isSource ? Word.ipv6Src : Word.ipv6Dst;
    for (let i = 0; i < 4; i++) flow[first + i] = view.getUint32(4 * i);
  } else {
    const bytes = new Uint8Array(4);
    parseIpv4(nat.min, 0, bytes, 0);
    flow[isSource ? Word.nwSrc : Word.nwDst] = new DataView(bytes.buffer).getUint32(0);
  }
  if (nat.portMin !== undefined) {
    const ports = flow[Word.tp] as number;
    flow[Word.tp] = isSource
      ? (nat.portMin << 16 | ports & 0xffff) >>> 0
      : (ports & 0xffff0000 | nat.portMin) >>> 0;
  }
  flow[Word.ctState] = (flow[Word.ctState] as number) | TRANSLATED[nat.kind];
  return "Replacing src/dst IP/ports to simulate NAT:\n" +
    ` Initial flow: ${before}\n Modified flow: ${ends(flow, is6)}\n`;
}

function ends(flow: FlowWords, is6: boolean): string {
  const text = packetText(flow, 0, undefined);
  const part = (name: string): string =>
    new RegExp(`(?:^|,)${name}=([^,]*)`).exec(text)?.[1] ?? "0";
  const prefix = is6 ? "ipv6" : "nw";
  return ["src", "dst"].map((side) =>
    `${prefix}_${side}=${part(`${prefix}_${side}`)},tp_${side}=${part(`tp_${side}`)}`
  ).join(",");
}

/** Tells one pass through the tables. */
function once(
  { bridge, packet, priority, frame, key }: Asked,
  { names }: AskedOptions,
  onwards: Onward[],
  begin: (way: Translation) => void,
  from?: number,
): string {
  const before = packet.flow.slice();
  const ports = names ? namesOf(bridge.of) : undefined;
  const way = new Tracing(bridge.of, packet, rulesOf(bridge), ports);
  const { lines } = way;
  if (from !== undefined) lines.push("    thaw", `        Resuming from table ${from}`);
  catching(bridge, way, onwards, () => begin(way));
  const { reason = "", now: { flow }, seen, actions } = way;
  const missed = /^table (\d+): no flow fits/.exec(reason)?.[1];
  const bound = bounds.find(([one]) => one.test(reason));
  if (missed !== undefined) lines.push(`${missed.padStart(2)}. No match.`, "    drop");
  else if (reason === "fragment") {
    lines.push(' 0. Packets are IP fragments and the fragment handling mode is "drop".');
  } else if (bound !== undefined) lines.push(`    >>>> ${bound[1]} <<<<`);
  const { backing } = bridge;
  const told = backing.switches.run.resolved(actions);
  const names2 = names ? backing.dp.ports.dump() : undefined;
  const title = `bridge("${bridge.name}")`;
  before[Word.actsetOutput] = flow[Word.actsetOutput] = Port.unset;
  const isSame = flow.every((word, i) => word === before[i]);
  const text = [
    `Flow: ${packetText(before, priority, ports)}`,
    "",
    title,
    "-".repeat(title.length),
    ...lines,
    "",
    `Final flow: ${isSame ? "unchanged" : packetText(flow, priority, ports)}`,
    `Megaflow: ${megaflowText(before, seen, ports)}`,
    `Datapath actions: ${
      told.length === 0 ? "drop" : withHanded(formatActions(told, { ports: names2 }))
    }`,
    "",
  ].join("\n");
  if (bound !== undefined) {
    return `${text}Translation failed (${bound[2]}), packet is dropped.\n`;
  }
  const slow = way.isSlow
    ? "This flow is handled by the userspace slow path because it:\n" +
      "  - Uses action(s) not supported by datapath.\n"
    : "";
  if (frame !== undefined) take(bridge, way, frame, key);
  return text + slow;
}

function rulesOf(bridge: Bridge): ReadonlyMap<unknown, Rule> {
  const rules = new Map<unknown, Rule>();
  for (const of of bridge.backing.switches.all()) {
    for (const one of of.flows.rules()) rules.set(one.counter, one);
  }
  return rules;
}

/** Notes where the packet goes on behind the connection tracker, in whichever switch. */
function catching(
  { backing: { switches } }: Bridge,
  way: Translation,
  onwards: Onward[],
  what: () => void,
): void {
  const all = [...switches.all()].map((of) => ({ of, before: of.recirculates }));
  for (const { of, before } of all) {
    of.recirculates = (frozen) => {
      const action = before(frozen);
      const last = way.actions.at(-1);
      const { flow, tags } = way.now;
      if (last?.type === "ct") {
        onwards.push({ frozen, action, ct: last, packet: { flow: flow.slice(), tags } });
      }
      return action;
    };
  }
  try {
    what();
  } finally {
    for (const { of, before } of all) of.recirculates = before;
  }
}

/** A packet that is there teaches what it teaches, and goes to controllers, but to no port. */
function take(
  { of, backing: { switches } }: Bridge,
  way: Translation,
  frame: Uint8Array,
  key: Uint8Array | undefined,
): void {
  for (const { table, key: name, value } of way.lessons) {
    if ("mayAdd" in table) table.hear(name, value, clockMs());
    else table.set(name, value);
  }
  const kept = withoutOutputs(way.actions);
  if (frame.length === 0 || key === undefined || kept.length === 0) return;
  try {
    switches.run.execute(frame, key, kept);
  } catch (error) {
    if (!(error instanceof DatapathError)) throw error;
    of.runtime.failed(error);
  }
}

function withoutOutputs(actions: readonly Action[]): Action[] {
  return actions.flatMap((action): Action[] => {
    if (action.type === "output" || action.type === "recirc") return [];
    return action.type === "clone"
      ? [{ ...action, actions: withoutOutputs(action.actions) }]
      : [action];
  });
}
