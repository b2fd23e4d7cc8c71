// SPDX-License-Identifier: Apache-2.0
/**
 * Flow monitors: which changes of flows a peer wants to be told, and what it is told of them.
 *
 * Before OpenFlow 1.3 they are Nicira's, in 1.3 the ONF's extension 1870, and then the
 * specification's. Sources: OpenFlow 1.4.1, "Flow Monitoring"; `nicira-ext.h` and
 * `openflow-1.3.h` of Open vSwitch 3.1.
 *
 * @module
 */
import { writeActions } from "./actions/action_write.ts";
import { writeInstructions } from "./actions/instruction.ts";
import type { Reader, Writer } from "./bytes.ts";
import { OfError, type Version } from "./error.ts";
import { anyMatch } from "./flow.ts";
import { readMatch, writeMatch } from "./flow_message.ts";
import { normalizeMatch } from "./match.ts";
import type { FlowUpdate, MonitorRequest } from "./multipart_types.ts";
import { ANY_GROUP } from "./object.ts";
import { readNxMatch } from "./oxm.ts";
import { writeNxMatch } from "./oxm_write.ts";
import { Port, portFrom10, portFrom11 } from "./port_number.ts";

/** What a monitor is about, as bits. */
export const MonitorFlag = {
  /** Flows that there are when it begins. */
  initial: 1,
  add: 2,
  removed: 4,
  modify: 8,
  /** With what flows do. */
  instructions: 16,
  noAbbrev: 32,
  /** The peer's own changes in full too. */
  own: 64,
} as const;

const { initial, add, removed, modify, instructions, own } = MonitorFlag;
const changes = add | removed | modify;
const known = initial | changes | instructions | own;
/** Nicira's bits, from the first. */
const nxFlags = [initial, add, removed, modify, instructions, own];

const events = ["initial", "added", "removed", "modified"] as const;

function checkedFlags(flags: number): number {
  if ((flags & changes) === 0 || flags & ~known) throw new OfError("OFPMOFC_BAD_FLAGS");
  return flags;
}

function fromNicira(flags: number): number {
  if (flags >>> nxFlags.length !== 0) throw new OfError("OFPMOFC_BAD_FLAGS");
  const all = nxFlags.map((flag, bit) => flags >>> bit & 1 ? flag : 0);
  return checkedFlags(all.reduce<number>((sum, flag) => sum | flag, 0));
}

/** Reads the monitors of a request. */
export function readMonitors(reader: Reader, version: Version): MonitorRequest[] {
  const list: MonitorRequest[] = [];
  while (reader.left > 0) {
    const one = version < 5 ? readNicira(reader, version) : readStandard(reader);
    normalizeMatch(one.match);
    list.push(one);
  }
  return list;
}

/** Monitors of Nicira's, whose port and match are those of the version. */
function readNicira(reader: Reader, version: Version): MonitorRequest {
  const id = reader.u32();
  const flags = fromNicira(reader.u16());
  const length = version < 4 ? undefined : reader.u16();
  const outPort = version < 4 ? portFrom10(reader.u16()) : portFrom11(reader.u32());
  const matchLength = version < 4 ? reader.u16() : 0;
  const table = reader.u8();
  reader.zeros(version < 4 ? 5 : 3, "NXBRC_MUST_BE_ZERO");
  const match = length === undefined
    ? readNxMatch(reader, matchLength)
    : readMatch(reader);
  return { id, command: "add", flags, outPort, outGroup: ANY_GROUP, table, match };
}

const commands = ["add", "modify", "delete"] as const;

function readStandard(reader: Reader): MonitorRequest {
  const id = reader.u32();
  const port = reader.u32();
  const outGroup = reader.u32();
  const flags = reader.u16();
  const table = reader.u8();
  const command = commands[reader.u8()];
  const match = readMatch(reader);
  if (command === undefined) throw new OfError("OFPMOFC_BAD_COMMAND");
  if (command === "delete") {
    const nothing = { flags: 0, outPort: Port.none, table, match: anyMatch() };
    return { id, command, outGroup: ANY_GROUP, ...nothing };
  }
  const outPort = portFrom11(port);
  return { id, command, flags: checkedFlags(flags), outPort, outGroup, table, match };
}

/** Writes what happened. */
export function writeFlowUpdate(
  writer: Writer,
  update: FlowUpdate,
  version: Version,
): void {
  const start = writer.size;
  switch (update.event) {
    case "abbreviated":
      writer.u16(8).u16(version < 5 ? 3 : 4).u32(update.xid);
      return;
    case "paused":
    case "resumed":
      writer.u16(8).u16(update.event === "paused" ? 5 : 6).zeros(4);
      return;
  }
  const { event, reason, table, idle, hard, priority, cookie, match } = update;
  if (version < 5) {
    // To Nicira's monitors all that is there when they begin has been added.
    writer.u16(0).u16(Math.max(0, events.indexOf(event) - 1)).u16(reason).u16(priority)
      .u16(idle).u16(hard);
    const at = writer.size;
    writer.u16(0).u8(table).zeros(1).u64(cookie);
    const begin = writer.size;
    if (version < 4) {
      writer.set16(at, writeNxMatch(writer, match));
      writeActions(writer, update.instructions.apply ?? [], version);
    } else {
      writeMatch(writer, match, version);
      writer.set16(at, writer.size - begin);
      writeInstructions(writer, update.instructions, version);
    }
  } else {
    writer.u16(0).u16(events.indexOf(event)).u8(table).u8(reason).u16(idle).u16(hard)
      .u16(priority).zeros(4).u64(cookie);
    writeMatch(writer, match, version);
    writeInstructions(writer, update.instructions, version);
  }
  writer.set16(start, writer.size - start);
}
