// SPDX-License-Identifier: Apache-2.0
/**
 * Bodies of messages about flows: flow mods, flows that went.
 *
 * Sources: OpenFlow 1.0, 5.3.3 and 5.4.2; OpenFlow 1.5.1, "Modify Flow Entry Message" and "Flow
 * Removed Message"; `nicira-ext.h` of Open vSwitch 3.1.
 *
 * @module
 */
import type { Reader, Writer } from "./bytes.ts";
import { OfError, type Version } from "./error.ts";
import type { Instructions } from "./action.ts";
import { readActions } from "./actions/action_read.ts";
import { readInstructions, writeInstructions } from "./actions/instruction.ts";
import { anyMatch, type Match } from "./flow.ts";
import { normalizeMatch } from "./match.ts";
import { readMatch10, readMatch11, writeMatch10, writeMatch11 } from "./match_legacy.ts";
import {
  ALL_TABLES,
  ANY_GROUP,
  type FlowCommand,
  FlowFlag,
  type FlowMod,
  type FlowRemoved,
} from "./message.ts";
import { readNxMatch, readOxmMatch } from "./oxm.ts";
import { readPlanned } from "./packed/match_plan.ts";
import { writeNxMatch, writeOxmMatch } from "./oxm_write.ts";
import { type PackedMatch, packMatch } from "./packed/packed_match.ts";
import { Port, portFrom10, portFrom11, portTo10 } from "./port_number.ts";

const commands: readonly FlowCommand[] = [
  "add",
  "modify",
  "modifyStrict",
  "delete",
  "deleteStrict",
];
const NO_COOKIE = (1n << 64n) - 1n;
/** All wildcards of OpenFlow 1.0. */
const ALL_WILD10 = 0x3fffff;

/** Reads the match of a version that is not OpenFlow 1.0, into one that says nothing so far. */
export function readMatch(reader: Reader, match = anyMatch()): Match {
  if (reader.left < 4) throw new OfError("OFPBMC_BAD_LEN");
  // As in Open vSwitch: the match says itself of which kind it is.
  const type = (reader.bytes[reader.at] as number) << 8 |
    (reader.bytes[reader.at + 1] as number);
  if (type > 1) throw new OfError("OFPBMC_BAD_TYPE");
  return type === 0 ? readMatch11(reader, match) : readOxmMatch(reader, {}, match);
}

/** Where the match of a flow mod is read before it is packed. */
const scratch = anyMatch();

/** A match that says nothing, to be read and packed at once. */
function blank(): Match {
  scratch.value.fill(0);
  scratch.mask.fill(0);
  return scratch;
}

function packed(match: Match): PackedMatch {
  normalizeMatch(match);
  return packMatch(match);
}

/** Writes the match of a version that is not OpenFlow 1.0. */
export function writeMatch(writer: Writer, match: Match, version: Version): void {
  if (version === 2) writeMatch11(writer, match);
  else writeOxmMatch(writer, match, version);
}

function commandOf(code: number): FlowCommand {
  const command = commands[code];
  if (command === undefined) throw new OfError("OFPFMFC_BAD_COMMAND");
  return command;
}

function isDeletion(command: FlowCommand): boolean {
  return command === "delete" || command === "deleteStrict";
}

/** Nobody keeps flows for emergencies: OpenFlow 1.0 has errors for them. */
function withoutEmergency(
  flags: number,
  [idle, hard]: readonly [number, number],
): number {
  if ((flags & 4) === 0) return flags;
  throw new OfError(
    idle !== 0 || hard !== 0 ? "OFPFMFC_BAD_EMERG_TIMEOUT" : "OFPFMFC_TABLE_FULL",
  );
}

function flagsOf(raw: number, command: FlowCommand, version: Version): number {
  const known = version < 3 ? 3 : version === 3 ? 7 : 31;
  if (raw & ~known) throw new OfError("OFPFMFC_BAD_FLAGS");
  // Before OpenFlow 1.2 an added flow always counts anew, and so does a modified one of 1.1.
  return version < 3 && command === "add" ? raw | FlowFlag.resetCounts : raw;
}

/** Reads a flow mod of OpenFlow 1.1 and later. */
export function readFlowMod(reader: Reader, version: Version): FlowMod {
  const cookie = reader.u64();
  const cookieMask = reader.u64();
  const table = reader.u8();
  const code = reader.u8();
  const idle = reader.u16();
  const hard = reader.u16();
  const priority = reader.u16();
  const bufferId = reader.u32();
  const out = reader.u32();
  const group = reader.u32();
  const raw = reader.u16();
  const importance = reader.u16();
  const match = readPlanned(reader, () => packed(readMatch(reader, blank())));
  const deletes = code === 3 || code === 4;
  if (table === ALL_TABLES && (version === 2 || !deletes)) {
    throw new OfError("OFPFMFC_BAD_TABLE_ID");
  }
  const outPort = portFrom11(out);
  const command = commandOf(code);
  const instructions = readInstructions(reader, version);
  const mayAdd = version === 2 && command.startsWith("modify") && cookieMask === 0n;
  const isNew = command === "add" || mayAdd;
  const mod: FlowMod = {
    kind: "flowMod",
    command,
    table,
    match,
    priority,
    cookie: isNew ? 0n : cookie,
    cookieMask: isNew ? 0n : cookieMask,
    newCookie: isNew ? cookie : undefined,
    mayAdd,
    idle,
    hard,
    importance: version >= 5 && command === "add" ? importance : 0,
    flags: flagsOf(raw, command, version),
    bufferId,
    outPort: deletes ? outPort : Port.none,
    outGroup: deletes ? group : ANY_GROUP,
    instructions,
  };
  return mayAdd ? { ...mod, keepsCookies: true } : mod;
}

/** What commands of OpenFlow 1.0 have in their high byte. */
export interface Extensions {
  /** The table, where Nicira's `FLOW_MOD_TABLE_ID` was set. */
  readonly tableInCommand: boolean;
}

function readOld(
  reader: Reader,
  match: Match,
  { cookie, cookieMask, newCookie, command: word, priority, times, rest }: {
    cookie: bigint;
    cookieMask: bigint;
    newCookie: bigint;
    command: number;
    priority: number;
    times: readonly [number, number];
    rest: readonly [bufferId: number, outPort: number, flags: number];
  },
  { tableInCommand }: Extensions,
): FlowMod {
  const command = commandOf(tableInCommand ? word & 0xff : word);
  const instructions: Instructions = { apply: readActions(reader, 1) };
  const [bufferId, outPort, flags] = rest;
  return {
    kind: "flowMod",
    command,
    table: tableInCommand ? word >> 8 : ALL_TABLES,
    match,
    priority,
    cookie,
    cookieMask,
    newCookie: newCookie === NO_COOKIE ? undefined : newCookie,
    mayAdd: command.startsWith("modify") && cookieMask === 0n,
    idle: times[0],
    hard: times[1],
    importance: 0,
    flags: flagsOf(withoutEmergency(flags, times), command, 1),
    bufferId,
    outPort: isDeletion(command) ? portFrom10(outPort) : Port.none,
    outGroup: ANY_GROUP,
    instructions,
  };
}

/** Reads a flow mod of OpenFlow 1.0. */
export function readFlowMod10(reader: Reader, extensions: Extensions): FlowMod {
  const wild = reader.part(4).u32() & ALL_WILD10;
  reader.at -= 4;
  const match = packed(readMatch10(reader, blank()));
  const newCookie = reader.u64();
  const command = reader.u16();
  const times = [reader.u16(), reader.u16()] as const;
  const given = reader.u16();
  const rest = [reader.u32(), reader.u16(), reader.u16()] as const;
  // A flow without wildcards stands above all others there.
  const priority = wild === 0 ? 0xffff : given;
  const line = { cookie: 0n, cookieMask: 0n, newCookie, command, priority, times, rest };
  return readOld(reader, match, line, extensions);
}

/** Reads Nicira's flow mod. */
export function readNxFlowMod(reader: Reader, extensions: Extensions): FlowMod {
  const newCookie = reader.u64();
  const command = reader.u16();
  const times = [reader.u16(), reader.u16()] as const;
  const priority = reader.u16();
  const rest = [reader.u32(), reader.u16(), reader.u16()] as const;
  const length = reader.u16();
  reader.skip(6);
  let cookie = 0n;
  let cookieMask = 0n;
  const onCookie = (value: bigint, mask: bigint): void => {
    if (cookieMask !== 0n) throw new OfError("OFPBMC_DUP_FIELD");
    [cookie, cookieMask] = [value, mask];
  };
  const match = packed(readNxMatch(reader, length, { onCookie }, blank()));
  if ((command & 0xff) === 0 && cookieMask !== 0n) throw new OfError("NXBRC_NXM_INVALID");
  const line = { cookie, cookieMask, newCookie, command, priority, times, rest };
  return readOld(reader, match, line, extensions);
}

/** Writes a flow mod; OpenFlow 1.0 in its own way, without what that cannot say. */
export function writeFlowMod(writer: Writer, mod: FlowMod, version: Version): void {
  const { command, cookie, cookieMask, newCookie = 0n, table, match } = mod;
  const code = commands.indexOf(command);
  const flags = version < 3 ? mod.flags & 3 : mod.flags;
  if (version === 1) {
    writeMatch10(writer, match);
    writer.u64(newCookie).u16(table === ALL_TABLES ? code : table << 8 | code)
      .u16(mod.idle).u16(mod.hard).u16(mod.priority).u32(mod.bufferId)
      .u16(portTo10(mod.outPort)).u16(flags);
  } else {
    const isNew = command === "add";
    writer.u64(isNew ? newCookie : cookie).u64(isNew ? 0n : cookieMask)
      .u8(isNew && table === ALL_TABLES ? 0 : table).u8(code)
      .u16(mod.idle).u16(mod.hard).u16(mod.priority).u32(mod.bufferId)
      .u32(mod.outPort).u32(mod.outGroup).u16(flags)
      .u16(version >= 5 ? mod.importance : 0);
    writeMatch(writer, match, version);
  }
  writeInstructions(writer, mod.instructions, version);
}

/** Writes a flow that went, in the way of a version. */
export function writeFlowRemoved(
  writer: Writer,
  gone: FlowRemoved,
  version: Version,
): void {
  const { match, priority, cookie, reason, table, seconds, nanoseconds } = gone;
  if (version === 1) {
    writeMatch10(writer, match);
    writer.u64(cookie).u16(priority).u8(reason).zeros(1).u32(seconds).u32(nanoseconds)
      .u16(gone.idle).zeros(2).u64(gone.packets).u64(gone.bytes);
  } else if (version < 6) {
    writer.u64(cookie).u16(priority).u8(reason).u8(table).u32(seconds).u32(nanoseconds)
      .u16(gone.idle).u16(version >= 3 ? gone.hard : 0).u64(gone.packets).u64(gone.bytes);
    writeMatch(writer, match, version);
  } else {
    writer.u8(table).u8(reason).u16(priority).u16(gone.idle).u16(gone.hard).u64(cookie);
    writeMatch(writer, match, version);
    writeFlowCounts(writer, gone);
  }
}

/** Writes a flow that went in Nicira's way, whose table is one more than it is. */
export function writeNxFlowRemoved(writer: Writer, gone: FlowRemoved): void {
  writer.u64(gone.cookie).u16(gone.priority).u8(gone.reason).u8(gone.table + 1)
    .u32(gone.seconds).u32(gone.nanoseconds).u16(gone.idle);
  const at = writer.size;
  writer.u16(0).u64(gone.packets).u64(gone.bytes);
  writer.set16(at, writeNxMatch(writer, gone.match));
}

/** What OpenFlow 1.5 counts of a flow. */
export interface FlowCounts {
  readonly seconds: number;
  readonly nanoseconds: number;
  readonly idleAge?: number;
  readonly packets: bigint;
  readonly bytes: bigint;
}

const OXS_CLASS = 0x8002;

/** Writes the statistics of a flow as fields of OpenFlow 1.5. */
export function writeFlowCounts(writer: Writer, counts: FlowCounts): void {
  const start = writer.size;
  writer.zeros(2).u16(0);
  const header = (field: number, size: number): Writer =>
    writer.u16(OXS_CLASS).u8(field << 1).u8(size);
  header(0, 8).u32(counts.seconds).u32(counts.nanoseconds);
  if (counts.idleAge !== undefined) header(1, 8).u32(counts.idleAge).u32(0);
  header(4, 8).u64(counts.packets);
  header(5, 8).u64(counts.bytes);
  writer.set16(start + 2, writer.size - start).pad8(start);
}
