// SPDX-License-Identifier: Apache-2.0
/**
 * Instructions of OpenFlow 1.1 and later, from and to bytes.
 *
 * Source: OpenFlow 1.5.1, "Flow Instruction Structures".
 *
 * @module
 */
import type { Instructions, OfAction } from "../action.ts";
import { readActions } from "./action_read.ts";
import { writeActions } from "./action_write.ts";
import type { Reader, Writer } from "../bytes.ts";
import { OfError, type Version } from "../error.ts";
import type { Field } from "../field.ts";

/** Numbers of the instructions. */
const Kind = { goto: 1, metadata: 2, write: 3, apply: 4, clear: 5, meter: 6 } as const;

const names: Readonly<Record<number, string>> = Object.fromEntries(
  Object.entries(Kind).map(([name, id]) => [id, name]),
);

/** Bytes of instructions that are remembered at most. */
const MAX_KNOWN = 512;

/** Instructions that were read, and the bytes that they were read from. */
interface Read {
  readonly version: Version;
  readonly bytes: Uint8Array;
  readonly made: Instructions;
}

/** Instructions that came last, by a hash: flows come in crowds that do the same. */
const recent: (Read | undefined)[] = new Array(256).fill(undefined);

/** Reads the instructions that a part consists of. Throws {@linkcode OfError} only. */
export function readInstructions(reader: Reader, version: Version): Instructions {
  const { bytes, at, end } = reader;
  if (end - at > MAX_KNOWN) return readEach(reader, version);
  let hash = version as number;
  for (let i = at; i < end; i++) hash = Math.imul(hash, 31) + (bytes[i] as number) | 0;
  const slot = (hash ^ hash >>> 16) & 255;
  const known = recent[slot];
  if (known !== undefined && known.version === version && isSame(known.bytes, reader)) {
    reader.at = end;
    return known.made;
  }
  const made = readEach(reader, version);
  if (!dependsOnSwitch(made)) {
    recent[slot] = { version, bytes: bytes.slice(at, end), made };
  }
  return made;
}

function isSame(known: Uint8Array, { bytes, at, end }: Reader): boolean {
  if (known.length !== end - at) return false;
  for (let i = 0; i < known.length; i++) if (known[i] !== bytes[at + i]) return false;
  return true;
}

/** Whether the same bytes may be something else later: fields that have a switch's own length. */
function dependsOnSwitch(made: Instructions): boolean {
  const isOwn = ({ name }: Field): boolean => name.startsWith("tun_metadata");
  const ask = (value: unknown): boolean => {
    if (typeof value !== "object" || value === null || ArrayBuffer.isView(value)) {
      return false;
    }
    if ("wordCount" in value) return isOwn(value as Field);
    return Object.values(value).some(ask);
  };
  return ask(made);
}

/** Bytes of instructions at least, and at most. */
const sizes: Readonly<Record<number, readonly [least: number, most: number]>> = {
  [Kind.goto]: [8, 8],
  [Kind.metadata]: [24, 24],
  [Kind.write]: [8, 0xffff],
  [Kind.apply]: [8, 0xffff],
  [Kind.clear]: [8, 8],
  [Kind.meter]: [8, 8],
};

/** All of them are looked at from outside before any is read. */
function readEach(reader: Reader, version: Version): Instructions {
  const found = new Map<number, Reader>();
  while (reader.left > 0) {
    if (reader.left < 8) throw new OfError("OFPBIC_BAD_LEN");
    const type = reader.u16();
    const length = reader.u16();
    if (length < 8 || length % 8 !== 0) throw new OfError("OFPBIC_BAD_LEN");
    const body = reader.part(length - 4, "OFPBIC_BAD_LEN");
    if (type === 0xffff) throw new OfError("OFPBIC_BAD_EXPERIMENTER");
    if (names[type] === undefined) throw new OfError("OFPBIC_UNKNOWN_INST");
    const [least, most] = sizes[type] as readonly [number, number];
    if (length < least || length > most) throw new OfError("OFPBIC_BAD_LEN");
    if (type === Kind.meter && version !== 4 && version !== 5) {
      throw new OfError("OFPBIC_UNKNOWN_INST");
    }
    if (found.has(type)) throw new OfError("OFPBIC_DUP_INST");
    found.set(type, body);
  }
  let made: Instructions = {};
  for (const [type, body] of found) {
    made = { ...made, ...readInstruction(type, body, version) };
  }
  return made;
}

function readInstruction(type: number, body: Reader, version: Version): Instructions {
  switch (type) {
    case Kind.goto:
      return { goto: body.u8() };
    case Kind.metadata:
      body.skip(4);
      return { metadata: { value: body.u64(), mask: body.u64() } };
    case Kind.write:
      body.skip(4);
      return { write: checkedSet(readActions(body, version)) };
    case Kind.apply:
      body.skip(4);
      return { apply: readActions(body, version) };
    case Kind.clear:
      return { clear: true };
    default:
      return { meter: body.u32() };
  }
}

/** Actions that may be written into an action set. */
function checkedSet(list: readonly OfAction[]): readonly OfAction[] {
  for (const { type } of list) {
    if (notInSets.has(type)) {
      throw new OfError("OFPBAC_BAD_TYPE", `${type} in an action set`);
    }
  }
  return list;
}

const notInSets: ReadonlySet<string> = new Set([
  "controller",
  "enqueue",
  "outputReg",
  "popQueue",
  "push",
  "pop",
  "note",
  "exit",
  "finTimeout",
  "clone",
  "nat",
  "conjunction",
  "learn",
  "multipath",
  "bundle",
  "sample",
  "deleteField",
  "checkPktLarger",
]);

function instruction(writer: Writer, type: number, body: (writer: Writer) => void): void {
  const start = writer.size;
  writer.u16(type).u16(0);
  body(writer);
  writer.set16(start + 2, writer.size - start);
}

/** Writes instructions. OpenFlow 1.0 has actions only, and says what it can. */
export function writeInstructions(
  writer: Writer,
  what: Instructions,
  version: Version,
): void {
  const { clear, write, metadata, goto } = what;
  let { meter, apply } = what;
  // What is an action since OpenFlow 1.5 was an instruction, and the first one.
  if (meter === undefined && version < 6 && apply?.[0]?.type === "meter") {
    meter = apply[0].meter;
    apply = apply.slice(1);
  }
  if (version === 1) {
    writeActions(writer, apply ?? [], version);
    return;
  }
  const metered = meter !== undefined && version >= 6
    ? [{ type: "meter", meter } as const]
    : [];
  if (meter !== undefined && metered.length === 0 && version >= 4) {
    const id = meter;
    instruction(writer, Kind.meter, (to) => to.u32(id));
  }
  const list = [...metered, ...apply ?? []];
  if (list.length > 0) {
    instruction(writer, Kind.apply, (to) => {
      to.zeros(4);
      writeActions(to, list, version);
    });
  }
  if (clear) instruction(writer, Kind.clear, (to) => to.zeros(4));
  if (write !== undefined) {
    instruction(writer, Kind.write, (to) => {
      to.zeros(4);
      writeActions(to, write, version);
    });
  }
  if (metadata !== undefined) {
    instruction(
      writer,
      Kind.metadata,
      (to) => to.zeros(4).u64(metadata.value).u64(metadata.mask),
    );
  }
  if (goto !== undefined) instruction(writer, Kind.goto, (to) => to.u8(goto).zeros(3));
}
