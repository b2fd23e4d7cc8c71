// SPDX-License-Identifier: Apache-2.0
/**
 * Bodies of messages that control a connection: hello, errors, roles, what is told, bundles.
 *
 * @module
 */
import type { Reader, Writer } from "./bytes.ts";
import { errorByNumbers, errorNumbers, OfError, type Version } from "./error.ts";
import type { Asynchronous, BundleStep, MessageOf, Role } from "./message.ts";

/** Reads a hello. Elements that are not known are skipped, as the specification wants it. */
export function readHello(reader: Reader): MessageOf<"hello"> {
  let versions: number | undefined;
  while (reader.left >= 4) {
    const type = reader.u16();
    const length = reader.u16();
    if (length < 4 || length - 4 > reader.left) break;
    const element = reader.part(length - 4);
    if (type === 1 && element.left >= 4) versions = element.u32();
    reader.skip(Math.min(reader.left, -length & 7));
  }
  return { kind: "hello", versions };
}

/** Writes a hello with a bitmap of versions: bit 1 is OpenFlow 1.0. */
export function writeHello(writer: Writer, { versions }: MessageOf<"hello">): void {
  if (versions !== undefined) writer.u16(1).u16(8).u32(versions);
}

/** Type of an error of Nicira's in OpenFlow 1.0 and 1.1. */
const NX_ERROR = 0xb0c2;

/** Writes an error. One that the version has no numbers for is said to be that. */
export function writeError(
  writer: Writer,
  { code = "NXBRC_UNENCODABLE_ERROR", data }: MessageOf<"error">,
  version: Version,
): void {
  const numbers = errorNumbers(code, version) ??
    errorNumbers("NXBRC_UNENCODABLE_ERROR", version);
  if (numbers === undefined) throw new TypeError(`${code} has no numbers`);
  if (numbers.vendor === 0) writer.u16(numbers.type ?? 0).u16(numbers.code);
  else if (numbers.type !== undefined) {
    writer.u16(NX_ERROR).u16(0).u32(numbers.vendor).u16(numbers.type).u16(numbers.code);
  } else writer.u16(0xffff).u16(numbers.code).u32(numbers.vendor);
  writer.put(data);
}

/** Reads an error. */
export function readError(reader: Reader, version: Version): MessageOf<"error"> {
  const type = reader.u16();
  const code = reader.u16();
  let numbers = { vendor: 0, type: type as number | undefined, code };
  if (type === NX_ERROR && reader.left >= 8 && version < 3) {
    numbers = { vendor: reader.u32(), type: reader.u16(), code: reader.u16() };
  } else if (type === 0xffff && version >= 3) {
    numbers = { vendor: reader.u32(), type: undefined, code };
  }
  return { kind: "error", code: errorByNumbers(numbers, version), data: reader.rest() };
}

const roles: readonly Role[] = ["nochange", "equal", "primary", "secondary"];
const NO_GENERATION = (1n << 64n) - 1n;

/** Reads a role. */
export function readRole(
  reader: Reader,
  kind: "roleRequest" | "roleReply",
): MessageOf<"roleRequest" | "roleReply"> {
  const role = roles[reader.u32()];
  reader.skip(4);
  const generation = reader.u64();
  if (role === undefined) throw new OfError("OFPRRFC_BAD_ROLE");
  const hasGeneration = role === "primary" || role === "secondary";
  return { kind, role, generation: hasGeneration ? generation : undefined };
}

/** Writes a role. */
export function writeRole(
  writer: Writer,
  { role, generation = NO_GENERATION }: { role: Role; generation: bigint | undefined },
): void {
  writer.u32(roles.indexOf(role)).zeros(4).u64(generation);
}

/** Reads a role in Nicira's numbers, which are one less. */
export function readNxRole(reader: Reader): MessageOf<"roleRequest" | "roleReply"> {
  const role = roles[reader.u32() + 1];
  if (role === undefined) throw new OfError("OFPRRFC_BAD_ROLE");
  return { kind: "roleRequest", role, generation: undefined };
}

/** Writes a role in Nicira's numbers. */
export function writeNxRole(writer: Writer, { role }: { role: Role }): void {
  writer.u32(Math.max(0, roles.indexOf(role) - 1));
}

/** In the order of the properties of OpenFlow 1.4. */
const asyncNames = [
  "packetIn",
  "portStatus",
  "flowRemoved",
  "roleStatus",
  "tableStatus",
  "requestForward",
] as const satisfies readonly (keyof Asynchronous)[];

/** Reads what a controller wants to be told: six masks in OpenFlow 1.3, properties later. */
export function readAsync(reader: Reader, version: Version): Partial<Asynchronous> {
  if (version < 5) {
    const pair = (): readonly [number, number] => {
      const primary = reader.u32();
      return [reader.u32(), primary];
    };
    return { packetIn: pair(), portStatus: pair(), flowRemoved: pair() };
  }
  const made: Partial<Record<keyof Asynchronous, [number, number]>> = {};
  while (reader.left > 0) {
    const type = reader.u16();
    const length = reader.u16();
    if (length < 4) throw new OfError("OFPBPC_BAD_LEN");
    const value = reader.part(length - 4, "OFPBPC_BAD_LEN");
    const name = asyncNames[type >> 1];
    if (name === undefined) throw new OfError("OFPBPC_BAD_TYPE");
    (made[name] ??= [0, 0])[type & 1] = value.u32();
    reader.skip(Math.min(reader.left, -length & 7));
  }
  return made;
}

/** Writes what a controller is told. */
export function writeAsync(
  writer: Writer,
  what: Partial<Asynchronous>,
  version: Version,
): void {
  if (version < 5) {
    for (const name of asyncNames.slice(0, 3)) {
      const [secondary, primary] = what[name] ?? [0, 0];
      // Reasons that come with meters, and those of OpenFlow 1.4, are not known there.
      const known = name === "flowRemoved" ? 0xf : ~0;
      writer.u32((primary & known) >>> 0).u32((secondary & known) >>> 0);
    }
    return;
  }
  for (const [i, name] of asyncNames.entries()) {
    const pair = what[name];
    if (pair === undefined) continue;
    for (const k of [0, 1] as const) writer.u16(2 * i + k).u16(8).u32(pair[k]);
  }
}

const steps: readonly BundleStep[] = [
  "openRequest",
  "openReply",
  "closeRequest",
  "closeReply",
  "commitRequest",
  "commitReply",
  "discardRequest",
  "discardReply",
];

/** Reads a step of a bundle. */
export function readBundleControl(reader: Reader): MessageOf<"bundleControl"> {
  const bundle = reader.u32();
  const step = steps[reader.u16()];
  const flags = reader.u16();
  if (step === undefined) throw new OfError("OFPBFC_BAD_TYPE");
  return { kind: "bundleControl", bundle, step, flags };
}

/** Writes a step of a bundle. */
export function writeBundleControl(
  writer: Writer,
  { bundle, step, flags }: MessageOf<"bundleControl">,
): void {
  writer.u32(bundle).u16(steps.indexOf(step)).u16(flags);
}

/** Reads a message in a bundle, which stays where it is; `xid` is that of what carries it. */
export function readBundleAdd(reader: Reader, xid: number): MessageOf<"bundleAdd"> {
  const bundle = reader.u32();
  reader.skip(2);
  const flags = reader.u16();
  if (reader.left < 8) throw new OfError("OFPBFC_MSG_BAD_LEN");
  const start = reader.at;
  reader.skip(2);
  const length = reader.u16();
  if (reader.u32() !== xid) throw new OfError("OFPBFC_MSG_BAD_XID");
  reader.at = start;
  if (length < 8 || length > reader.left) throw new OfError("OFPBFC_MSG_BAD_LEN");
  return { kind: "bundleAdd", bundle, flags, inner: reader.view(length) };
}

/** Writes a message into a bundle. */
export function writeBundleAdd(
  writer: Writer,
  { bundle, flags, inner }: MessageOf<"bundleAdd">,
): void {
  writer.u32(bundle).zeros(2).u16(flags).put(inner);
}
