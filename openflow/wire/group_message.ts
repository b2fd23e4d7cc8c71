// SPDX-License-Identifier: Apache-2.0
/**
 * Bodies of messages about groups and meters.
 *
 * Sources: OpenFlow 1.1, A.3.4.2; OpenFlow 1.5.1, "Modify Group Entry Message" and "Meter
 * Modification Message". The property of selections is Netronome's, as Open vSwitch has it.
 *
 * @module
 */
import { readActions } from "./actions/action_read.ts";
import { writeActions } from "./actions/action_write.ts";
import type { Reader, Writer } from "./bytes.ts";
import { OfError, type Version } from "./error.ts";
import {
  ANY_GROUP,
  type Band,
  type Bucket,
  BucketPlace,
  type GroupCommand,
  type GroupMod,
  type GroupType,
  type HashedField,
  type MeterMod,
  type Selection,
} from "./message.ts";
import type { GroupDesc, GroupStats } from "./multipart_types.ts";
import { allOf } from "./match.ts";
import { type FieldValue, readFieldValue } from "./oxm.ts";
import { writeFieldValue } from "./oxm_write.ts";
import { Port, portFrom11 } from "./port_number.ts";

const types: readonly GroupType[] = ["all", "select", "indirect", "fast_failover"];

const commands: Readonly<Record<number, GroupCommand>> = {
  0: "add",
  1: "modify",
  2: "delete",
  3: "insertBucket",
  5: "removeBucket",
  0x8000: "addOrModify",
};

/** Bytes of a band. */
const BAND = 16;
/** Highest number of a bucket. */
const MAX_BUCKET = 0xffffff00;

/** Vendors under which the property of selections is known. */
const SELECTION_VENDORS: readonly number[] = [0x0000154d, 0x00001540];

/** The bytes of a bucket behind its length, and how many. */
function bucketPart(reader: Reader, least: number): Reader {
  if (reader.left < least) throw new OfError("OFPGMFC_BAD_BUCKET");
  const length = reader.u16();
  if (length < least || length - 2 > reader.left) throw new OfError("OFPGMFC_BAD_BUCKET");
  return reader.part(length - 2);
}

function readBucket11(reader: Reader, version: Version, id: number): Bucket {
  const part = bucketPart(reader, 16);
  const weight = part.u16();
  const port = part.u32();
  const watchGroup = part.u32();
  part.skip(4);
  if (part.left % 8 !== 0) throw new OfError("OFPBRC_BAD_LEN");
  const actions = readActions(part, version);
  return { id, weight, watchPort: bucketPort(port), watchGroup, actions };
}

function bucketPort(raw: number): number {
  if (raw === Port.none) return raw;
  try {
    return portFrom11(raw);
  } catch (error) {
    if (error instanceof OfError) throw new OfError("OFPGMFC_BAD_WATCH");
    throw error;
  }
}

function readBucket15(reader: Reader, version: Version, type: GroupType): Bucket {
  const part = bucketPart(reader, 8);
  const actionSize = part.u16();
  const id = part.u32();
  if (actionSize > part.left) throw new OfError("OFPGMFC_BAD_BUCKET");
  if (actionSize % 8 !== 0) throw new OfError("OFPBRC_BAD_LEN");
  const actions = readActions(part.part(actionSize), version);
  let weight = type === "select" ? 1 : 0;
  let watchPort: number = Port.none;
  let watchGroup = ANY_GROUP;
  while (part.left > 0) {
    const kind = part.u16();
    const size = part.u16();
    if (size < 4) throw new OfError("OFPBPC_BAD_LEN");
    const value = part.part(size - 4, "OFPBPC_BAD_LEN");
    if (kind === 0) weight = value.u16();
    else if (kind === 1) watchPort = bucketPort(value.u32());
    else if (kind === 2) watchGroup = value.u32();
    else throw new OfError("OFPBPC_BAD_TYPE");
    part.skip(Math.min(part.left, -size & 7));
  }
  return { id, weight, watchPort, watchGroup, actions };
}

/** Reads the fields that a group hashes; the value of each is its mask. */
function readHashed(reader: Reader): HashedField[] {
  const found: HashedField[] = [];
  while (reader.left > 0) {
    const { field, ...of } = readFieldValue(reader) as FieldValue;
    if (field === undefined) throw new OfError("OFPBMC_BAD_FIELD");
    found.push({ field, mask: of.value });
  }
  return found;
}

function readSelection(reader: Reader): Selection | undefined {
  let found: Selection | undefined;
  while (reader.left > 0) {
    const kind = reader.u16();
    const size = reader.u16();
    if (size < 4) throw new OfError("OFPBPC_BAD_LEN");
    const value = reader.part(size - 4, "OFPBPC_BAD_LEN");
    if (kind !== 0xffff) throw new OfError("OFPBPC_BAD_TYPE");
    const vendor = value.u32();
    if (!SELECTION_VENDORS.includes(vendor)) throw new OfError("OFPBPC_BAD_EXPERIMENTER");
    if (value.u32() !== 1) throw new OfError("OFPBPC_BAD_EXP_TYPE");
    value.skip(4);
    const method = value.text(16);
    const parameter = value.u64();
    const fields = value.left > 0 ? readHashed(value) : undefined;
    if (method !== "hash" && method !== "dp_hash" && method !== "") {
      throw new OfError("OFPBPC_BAD_VALUE");
    }
    found = { method, parameter, fields };
    reader.skip(Math.min(reader.left, -size & 7));
  }
  return found;
}

/** Whether a bucket watches a port or a group. */
function isWatching({ watchPort, watchGroup }: Bucket): boolean {
  return watchPort !== Port.none || watchGroup !== ANY_GROUP;
}

/** Checks buckets, in the order in which Open vSwitch does. */
function checkBuckets(
  type: GroupType,
  command: GroupCommand,
  buckets: readonly Bucket[],
): void {
  for (const bucket of buckets) {
    if (bucket.weight !== 0 && type !== "select" && command !== "insertBucket") {
      throw new OfError("OFPGMFC_INVALID_GROUP");
    }
    const watches = isWatching(bucket);
    if ((type === "all" || type === "indirect") && watches) {
      throw new OfError("OFPGMFC_WATCH_UNSUPPORTED");
    }
    if (type === "fast_failover" && !watches) throw new OfError("OFPGMFC_INVALID_GROUP");
  }
}

/** Whether a command may have a place of buckets. */
function mayHavePlace(code: number, place: number): boolean {
  const isOne = place <= MAX_BUCKET || place === BucketPlace.first ||
    place === BucketPlace.last;
  if (commands[code] === "insertBucket") return isOne;
  return place === BucketPlace.all || commands[code] === "removeBucket" && isOne;
}

/** Reads a group mod. */
export function readGroupMod(reader: Reader, version: Version): GroupMod {
  const code = reader.u16();
  const isOld = version < 6 && version > 1;
  const kind = reader.u8();
  const named = types[kind];
  reader.skip(1);
  const group = reader.u32();
  const buckets: Bucket[] = [];
  let place: number = BucketPlace.all;
  let selection: Selection | undefined;
  if (!isOld) {
    const size = reader.u16();
    reader.skip(2);
    place = reader.u32();
    if (!mayHavePlace(code, place)) throw new OfError("OFPGMFC_BAD_BUCKET");
    if (size > reader.left) throw new OfError("OFPBRC_BAD_LEN");
    const part = reader.part(size);
    while (part.left > 0) buckets.push(readBucket15(part, version, named ?? "all"));
    const ids = new Set(buckets.map(({ id }) => id));
    if (ids.size < buckets.length) throw new OfError("OFPGMFC_BUCKET_EXISTS");
    selection = readSelection(reader);
  } else {
    while (reader.left > 0) buckets.push(readBucket11(reader, version, buckets.length));
    // OpenFlow 1.3.5 has an error of its own for it.
    if (version >= 4 && commands[code] === "delete" && buckets.length > 0) {
      throw new OfError("OFPGMFC_INVALID_GROUP");
    }
  }
  const command = commands[code];
  if (named === "indirect" && command !== "delete" && buckets.length !== 1) {
    throw new OfError("OFPGMFC_INVALID_GROUP");
  }
  if (named === undefined) throw new OfError("OFPGMFC_BAD_TYPE");
  if (command === undefined) throw new OfError("OFPGMFC_BAD_COMMAND");
  if (command === "removeBucket" && buckets.length > 0) {
    throw new OfError("OFPGMFC_BAD_BUCKET");
  }
  checkBuckets(named, command, buckets);
  return { kind: "groupMod", command, type: named, group, place, buckets, selection };
}

function property(writer: Writer, type: number, body: () => void): void {
  const start = writer.size;
  writer.u16(type).u16(0);
  body();
  writer.set16(start + 2, writer.size - start).pad8(start);
}

function writeBucket(
  writer: Writer,
  bucket: Bucket,
  type: GroupType,
  version: Version,
): void {
  const { weight, watchPort, watchGroup, actions, id } = bucket;
  const start = writer.size;
  if (version !== 1 && version < 6) {
    writer.u16(0).u16(weight).u32(watchPort).u32(watchGroup).zeros(4);
    writeActions(writer, actions, version);
    writer.set16(start, writer.size - start);
    return;
  }
  writer.u16(0).u16(0).u32(id);
  writeActions(writer, actions, version);
  writer.set16(start + 2, writer.size - start - 8);
  if (type === "select") property(writer, 0, () => writer.u16(weight).zeros(2));
  if (watchPort !== Port.none) property(writer, 1, () => writer.u32(watchPort));
  if (watchGroup !== ANY_GROUP) property(writer, 2, () => writer.u32(watchGroup));
  writer.set16(start, writer.size - start);
}

function writeSelection(writer: Writer, selection: Selection | undefined): void {
  if (selection === undefined || selection.method === "") return;
  const { method, parameter, fields } = selection;
  property(writer, 0xffff, () => {
    writer.u32(SELECTION_VENDORS[0] as number).u32(1).zeros(4).text(method, 16)
      .u64(parameter);
    // The value of a field is its mask.
    for (const { field, mask } of fields ?? []) {
      writeFieldValue(writer, field, mask, allOf(field), 6);
    }
  });
}

/** Writes a group mod. */
export function writeGroupMod(writer: Writer, mod: GroupMod, version: Version): void {
  const { command, type, group, place, buckets, selection } = mod;
  const code = Object.keys(commands).find((key) => commands[Number(key)] === command);
  writer.u16(Number(code)).u8(types.indexOf(type)).zeros(1).u32(group);
  if (version === 1 || version >= 6) {
    const at = writer.size;
    writer.u16(0).zeros(2).u32(place);
    const start = writer.size;
    for (const bucket of buckets) writeBucket(writer, bucket, type, version);
    writer.set16(at, writer.size - start);
    writeSelection(writer, selection);
  } else for (const bucket of buckets) writeBucket(writer, bucket, type, version);
}

/** Writes a group as it is. */
export function writeGroupDesc(writer: Writer, desc: GroupDesc, version: Version): void {
  const start = writer.size;
  writer.u16(0).u8(types.indexOf(desc.type)).zeros(1).u32(desc.group);
  if (version === 1 || version >= 6) {
    const at = writer.size;
    writer.u16(0).zeros(6);
    for (const bucket of desc.buckets) writeBucket(writer, bucket, desc.type, version);
    writer.set16(at, writer.size - at - 8);
    writeSelection(writer, desc.selection);
  } else {
    for (const bucket of desc.buckets) writeBucket(writer, bucket, desc.type, version);
  }
  writer.set16(start, writer.size - start);
}

/** Writes a group's counters. */
export function writeGroupStats(
  writer: Writer,
  stats: GroupStats,
  version: Version,
): void {
  const start = writer.size;
  writer.u16(0).zeros(2).u32(stats.group).u32(stats.references).zeros(4)
    .u64(stats.packets).u64(stats.bytes);
  if (version >= 4 || version === 1) writer.u32(stats.seconds).u32(stats.nanoseconds);
  for (const { packets, bytes } of stats.buckets) writer.u64(packets).u64(bytes);
  writer.set16(start, writer.size - start);
}

const meterCommands = ["add", "modify", "delete"] as const;

/** Reads a meter mod. */
export function readMeterMod(reader: Reader): MeterMod {
  const command = meterCommands[reader.u16()];
  if (command === undefined) throw new OfError("OFPMMFC_BAD_COMMAND");
  const flags = reader.u16();
  const meter = reader.u32();
  // What else a deletion says does not matter.
  if (command === "delete") {
    return { kind: "meterMod", command, flags: 0, meter, bands: [] };
  }
  if ((flags & 3) === 3) throw new OfError("OFPMMFC_BAD_FLAGS");
  const bands: Band[] = [];
  while (reader.left >= BAND) {
    const type = reader.u16();
    if (reader.u16() !== BAND) throw new OfError("OFPBRC_BAD_LEN");
    if (type !== 1 && type !== 2) throw new OfError("OFPMMFC_BAD_BAND");
    bands.push({ type, rate: reader.u32(), burst: reader.u32() });
    reader.skip(4);
  }
  if (reader.left > 0) throw new OfError("OFPBRC_BAD_LEN");
  return { kind: "meterMod", command, flags, meter, bands };
}

/** Writes bands of a meter. */
export function writeBands(writer: Writer, bands: readonly Band[]): void {
  for (const { type, rate, burst } of bands) {
    writer.u16(type).u16(16).u32(rate).u32(burst).zeros(4);
  }
}

/** Writes a meter mod. */
export function writeMeterMod(writer: Writer, mod: MeterMod): void {
  writer.u16(meterCommands.indexOf(mod.command)).u16(mod.flags).u32(mod.meter);
  writeBands(writer, mod.bands);
}
