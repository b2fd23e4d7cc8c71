// SPDX-License-Identifier: Apache-2.0
/**
 * Bodies of requests for flows and of their replies, and of tables.
 *
 * @module
 */
import { readMatch, writeFlowCounts, writeMatch } from "./flow_message.ts";
import type { Reader, Writer } from "./bytes.ts";
import { OfError, type Version } from "./error.ts";
import { fields } from "./field.ts";
import { writeInstructions } from "./actions/instruction.ts";
import { normalizeMatch } from "./match.ts";
import { readMatch10, writeMatch10 } from "./match_legacy.ts";
import { ANY_GROUP } from "./message.ts";
import type { FlowFilter, FlowStats, TableStats } from "./multipart_types.ts";
import { readNxMatch } from "./oxm.ts";
import { writeNxMatch, writeOxmMatch } from "./oxm_write.ts";
import { portFrom10, portFrom11 } from "./port_number.ts";

/** Reads which flows a request is about. */
export function readFlowFilter(reader: Reader, version: Version): FlowFilter {
  if (version === 1) {
    const match = readMatch10(reader);
    const table = reader.u8();
    reader.skip(1);
    const outPort = portFrom10(reader.u16());
    normalizeMatch(match);
    return { table, match, cookie: 0n, cookieMask: 0n, outPort, outGroup: ANY_GROUP };
  }
  const table = reader.u8();
  reader.skip(3);
  const out = reader.u32();
  const outGroup = reader.u32();
  reader.skip(4);
  const [cookie, cookieMask] = [reader.u64(), reader.u64()];
  const match = readMatch(reader);
  return { table, match, cookie, cookieMask, outPort: portFrom11(out), outGroup };
}

/** Reads which flows a request of Nicira's is about. */
export function readNxFlowFilter(reader: Reader): FlowFilter {
  const outPort = portFrom10(reader.u16());
  const length = reader.u16();
  const table = reader.u8();
  reader.skip(3);
  let [cookie, cookieMask] = [0n, 0n];
  const match = readNxMatch(reader, length, {
    onCookie: (value, mask) => void ([cookie, cookieMask] = [value, mask]),
  });
  return { table, match, cookie, cookieMask, outPort, outGroup: ANY_GROUP };
}

/** Writes a flow with what became of it. */
export function writeFlowStats(
  writer: Writer,
  flow: FlowStats,
  version: Version,
  isNicira: boolean,
): void {
  const start = writer.size;
  const { table, match, priority, seconds, nanoseconds, idle, hard, cookie } = flow;
  if (isNicira) {
    writer.u16(0).u8(table).zeros(1).u32(seconds).u32(nanoseconds).u16(priority).u16(idle)
      .u16(hard);
    const at = writer.size;
    writer.u16(0).u16(Math.min(flow.idleAge + 1, 0xffff))
      .u16(Math.min(flow.hardAge + 1, 0xffff)).u64(cookie).u64(flow.packets)
      .u64(flow.bytes);
    writer.set16(at, writeNxMatch(writer, match));
  } else if (version === 1) {
    writer.u16(0).u8(table).zeros(1);
    writeMatch10(writer, match);
    writer.u32(seconds).u32(nanoseconds).u16(priority).u16(idle).u16(hard).zeros(6)
      .u64(cookie).u64(flow.packets).u64(flow.bytes);
  } else if (version < 6) {
    writer.u16(0).u8(table).zeros(1).u32(seconds).u32(nanoseconds).u16(priority).u16(idle)
      .u16(hard).u16(version >= 4 ? flow.flags : 0).u16(
        version >= 5 ? flow.importance : 0,
      )
      .zeros(2).u64(cookie).u64(flow.packets).u64(flow.bytes);
    // OpenFlow 1.1 has another one, and Open vSwitch this.
    writeOxmMatch(writer, match, version);
  } else {
    writer.u16(0).zeros(2).u8(table).zeros(1).u16(priority).u16(idle).u16(hard)
      .u16(flow.flags).u16(flow.importance).u64(cookie);
    writeMatch(writer, match, version);
    writeFlowCounts(writer, flow);
  }
  writeInstructions(writer, flow.instructions, version);
  writer.set16(start, writer.size - start);
}

/** Fields of OpenFlow 1.2 as bits. */
function fieldBits(of: "match" | "set"): bigint {
  let bits = 0n;
  for (const field of fields) {
    const { oxm } = field;
    if (oxm === undefined || oxm >>> 16 !== 0x8000) continue;
    if (of === "set" && !field.writable) continue;
    const id = oxm >>> 9 & 0x7f;
    if (id < 40) bits |= 1n << BigInt(id);
  }
  return bits;
}

const ALL_ACTIONS = 0x03ff_8001;
const ALL_ACTIONS11 = 0x01ff_e7ff;
const INSTRUCTIONS = 0x3e;
/** The last table that packets can be sent to. */
const LAST_TABLE = 253;

/** Writes a table's statistics. */
export function writeTableStats(
  writer: Writer,
  stats: TableStats,
  version: Version,
): void {
  const { table, name, maxEntries, active, lookups, matched, config } = stats;
  // From the last table packets go nowhere else.
  const instructions = table < LAST_TABLE ? INSTRUCTIONS : INSTRUCTIONS & ~2;
  writer.u8(table);
  switch (version) {
    case 1:
      writer.zeros(3).text(name, 32).u32(0x3fffff).u32(maxEntries).u32(active);
      break;
    case 2:
      writer.zeros(7).text(name, 32).u32(0x3ff).u32(0xffff).u32(instructions)
        .u32(ALL_ACTIONS11).u32(ALL_ACTIONS11).u32(config).u32(maxEntries).u32(active);
      break;
    case 3:
      writer.zeros(7).text(name, 32).u64(fieldBits("match")).u64(fieldBits("match"))
        .u32(ALL_ACTIONS).u32(ALL_ACTIONS).u64(fieldBits("set")).u64(fieldBits("set"))
        .u64((1n << 64n) - 1n).u64((1n << 64n) - 1n).u32(instructions).u32(config)
        .u32(maxEntries).u32(active);
      break;
    default:
      writer.zeros(3).u32(active);
  }
  writer.u64(lookups).u64(matched);
}

function property(writer: Writer, type: number, body: () => void): void {
  const start = writer.size;
  writer.u16(type).u16(0);
  body();
  writer.set16(start + 2, writer.size - start).pad8(start);
}

/** Numbers of the actions that tables take. */
const actionTypes = [0, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25];

/** Writes what a table can do. */
export function writeTableFeatures(
  writer: Writer,
  { table, name, maxEntries }: TableStats,
  version: Version,
  last: number,
): void {
  const isIn = ({ oxmSince }: { readonly oxmSince: number }): boolean =>
    oxmSince <= version;
  const start = writer.size;
  writer.u16(0).u8(table).zeros(5).text(name, 32).u64((1n << 64n) - 1n)
    .u64((1n << 64n) - 1n).u32(0).u32(maxEntries);
  const instructions = version >= 6 ? [1, 2, 3, 4, 5] : [1, 2, 3, 4, 5, 6];
  for (const miss of [0, 1]) {
    property(writer, miss, () => {
      for (const type of instructions) {
        if (type === 1 && table >= last) continue;
        writer.u16(type).u16(4);
      }
    });
    property(writer, 2 + miss, () => {
      for (let next = table + 1; next <= last; next++) writer.u8(next);
    });
    const actions = version >= 6 ? [...actionTypes, 28, 29] : actionTypes;
    for (const kind of [4, 6]) {
      property(writer, kind + miss, () => {
        for (const type of actions) writer.u16(type).u16(4);
      });
    }
    for (const kind of [12, 14]) {
      property(writer, kind + miss, () => {
        for (const { oxm, size } of settable.filter(isIn)) writer.u32((oxm | size) >>> 0);
      });
    }
  }
  property(writer, 8, () => {
    for (const { oxm, size, maskable } of matchable.filter(isIn)) {
      writer.u32((oxm | (maskable ? 0x100 | 2 * size : size)) >>> 0);
    }
  });
  property(writer, 10, () => {
    for (const { oxm, size } of matchable.filter(isIn)) writer.u32((oxm | size) >>> 0);
  });
  writer.set16(start, writer.size - start);
}

const matchable = fields.flatMap(({ oxm, oxmSince, size, maskable, writable }) =>
  oxm !== undefined && oxm >>> 16 === 0x8000
    ? [{ oxm, oxmSince, size, maskable, writable }]
    : []
);
const settable = matchable.filter(({ writable }) => writable);

/** Properties of a table mod: what evicts is what the switch has, and bounds of vacancy. */
export function readTableProperties(
  reader: Reader,
): { readonly down: number; readonly up: number } | undefined {
  let vacancy: { readonly down: number; readonly up: number } | undefined;
  while (reader.left > 0) {
    if (reader.left < 4) throw new OfError("OFPBPC_BAD_LEN");
    const type = reader.u16();
    const length = reader.u16();
    if (length !== 8) throw new OfError("OFPBPC_BAD_LEN");
    const body = reader.part(length - 4, "OFPBPC_BAD_LEN");
    if (type === 2) {
      if (body.u32() & ~7) throw new OfError("OFPTMFC_BAD_CONFIG");
    } else if (type === 3) {
      vacancy = { down: body.u8(), up: body.u8() };
      if (vacancy.down > vacancy.up || vacancy.up > 100) {
        throw new OfError("OFPBPC_BAD_VALUE");
      }
    } else throw new OfError("OFPBPC_BAD_TYPE");
  }
  return vacancy;
}

/** Bytes of a table's features before its properties, and where its name is. */
const FEATURES_SIZE = 64;
const NAME_AT = 8;
const NAME_SIZE = 32;

/** Names that a request gives tables. What else it says of them is as it is. */
export function readTableNames(
  reader: Reader,
): (readonly [table: number, name: string])[] {
  const names: (readonly [table: number, name: string])[] = [];
  while (reader.left > 0) {
    if (reader.left < FEATURES_SIZE) throw new OfError("OFPBPC_BAD_LEN");
    const length = reader.u16();
    if (length < FEATURES_SIZE || length - 2 > reader.left) {
      throw new OfError("OFPBPC_BAD_LEN");
    }
    const features = reader.part(length - 2, "OFPBPC_BAD_LEN");
    const table = features.u8();
    features.skip(NAME_AT - 3);
    const bytes = features.part(NAME_SIZE, "OFPBPC_BAD_LEN").rest();
    const end = bytes.indexOf(0);
    names.push([
      table,
      new TextDecoder().decode(end < 0 ? bytes : bytes.subarray(0, end)),
    ]);
    reader.skip(Math.min(reader.left, -length & 7));
  }
  return names;
}
