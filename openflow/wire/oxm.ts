// SPDX-License-Identifier: Apache-2.0
/**
 * Matches as lists of fields: OXM of OpenFlow 1.2 and later, NXM of Nicira.
 *
 * A field is a header of 4 bytes (class 16 bits, field 7, mask 1, length 8), with 4 bytes of vendor
 * in the class of experimenters, and value and mask. Source: OpenFlow 1.5.1, "Flow Match Header".
 *
 * @module
 */
import type { Reader } from "./bytes.ts";
import { OfError } from "./error.ts";
import { type Field, fieldOfHeader, fieldOfName } from "./field.ts";
import { anyMatch, type Match } from "./flow.ts";
import { allOf, setWords } from "./match.ts";
import { readOption } from "./nicira/option.ts";
import { portFrom10, portFrom11 } from "./port_number.ts";

/** A field with a value, as a match or an action has it. */
export interface FieldValue {
  readonly field: Field;
  readonly value: bigint;
  /** All bits of the field if it came without. */
  readonly mask: bigint;
  /** Whether a mask was given. */
  readonly hasMask: boolean;
}

/** A header: what it names, and how long what follows is. */
export interface FieldHeader {
  readonly field: Field | undefined;
  readonly hasMask: boolean;
  /** Bytes of value and mask. */
  readonly length: number;
  /** The 32 bits as they are. */
  readonly header: number;
}

const ipFrag = fieldOfName("ip_frag");

const EXPERIMENTER = 0xffff;
/** Nicira's field of cookies, and the fields of Geneve options. */
const COOKIE = (0x0001 << 16 | 30 << 9) >>> 0;
const FIRST_OPTION = (0x0001 << 16 | 40 << 9) >>> 0;
const LAST_OPTION = (0x0001 << 16 | 103 << 9) >>> 0;

/** MPLS's TTL has the same number, and another length. */
function isCookie(header: number): boolean {
  return (header & 0xfffffe00) >>> 0 === COOKIE && (header & 0xff) >= 8;
}

/** Reads a header. */
export function readHeader(reader: Reader): FieldHeader {
  const header = reader.u32();
  const hasMask = (header & 0x100) !== 0;
  let length = header & 0xff;
  let field: Field | undefined;
  if (header >>> 16 === EXPERIMENTER) {
    if (length < 4) throw new OfError("OFPBMC_BAD_LEN");
    field = fieldOfHeader(header, reader.u32());
    length -= 4;
  } else if (!isCookie(header)) field = fieldOfHeader(header);
  const bare = (header & 0xfffffe00) >>> 0;
  if (field === undefined && bare >= FIRST_OPTION && bare <= LAST_OPTION) {
    field = reader.options?.optionField((bare - FIRST_OPTION) >>> 9);
    if (field === undefined) throw new OfError("NXFMFC_INVALID_TLV_FIELD");
  }
  return { field, hasMask, length, header };
}

/** Nicira's field of cookies, with its mask; undefined if a header is of another. */
function readCookie(
  payload: Reader,
  header: number,
  hasMask: boolean,
): readonly [cookie: bigint, mask: bigint] | undefined {
  if ((header & 0xfffffe00) >>> 0 !== COOKIE) return undefined;
  return [payload.u64(), hasMask ? payload.u64() : (1n << 64n) - 1n];
}

/** Whether a header says as many bytes as its field has. */
export function isOfSize(field: Field, hasMask: boolean, length: number): boolean {
  const size = hasMask ? length >> 1 : length;
  if (hasMask && length % 2 !== 0) return false;
  return size === field.size ||
    field.option !== undefined && size > 0 && size <= field.size;
}

/** Reads value and mask of a field, of which there are `length` bytes. */
function readValue(
  reader: Reader,
  field: Field,
  hasMask: boolean,
  length: number,
): FieldValue {
  if (reader.left < length) throw new OfError("OFPBMC_BAD_LEN");
  const size = hasMask ? length >> 1 : length;
  const raw = reader.big(size);
  const rawMask = hasMask ? reader.big(size) : undefined;
  if (rawMask !== undefined && (raw & ~rawMask) !== 0n) {
    throw new OfError("OFPBMC_BAD_WILDCARDS", field.name);
  }
  const shift = BigInt(field.wireShift);
  const all = allOf(field);
  if (field.form === "port") {
    if (rawMask !== undefined) throw new OfError("OFPBMC_BAD_MASK", field.name);
    const number = Number(raw);
    const port = field.size === 2 ? portFrom10(number) : portFrom11(number);
    return { field, value: BigInt(port), mask: all, hasMask };
  }
  const value = raw >> shift;
  if (raw & ((1n << shift) - 1n) || value >> BigInt(field.bits) !== 0n) {
    throw new OfError("OFPBMC_BAD_VALUE", field.name);
  }
  const mask = rawMask === undefined ? all : (rawMask >> shift) & all;
  return { field, value, mask, hasMask };
}

/** Reads a field with its value. `field` is undefined for one that is not known. */
export function readFieldValue(
  reader: Reader,
): FieldValue | { readonly field: undefined } {
  const { field, hasMask, length } = readHeader(reader);
  if (field === undefined) {
    reader.part(length, "OFPBMC_BAD_LEN");
    return { field };
  }
  if (!isOfSize(field, hasMask, length)) throw new OfError("OFPBMC_BAD_LEN");
  return readValue(reader, field, hasMask, length);
}

/** Reads a field with the value that an action gives it. Throws {@linkcode OfError}. */
export function readSetting(reader: Reader): FieldValue {
  if (reader.left < 4) throw new OfError("OFPBMC_BAD_LEN");
  const { field, hasMask, length } = readHeader(reader);
  if (field === undefined) throw new OfError("OFPBAC_BAD_SET_TYPE");
  if (!isOfSize(field, hasMask, length)) {
    throw new OfError(length > 0 ? "OFPBAC_BAD_SET_LEN" : "OFPBAC_BAD_SET_TYPE");
  }
  try {
    return readValue(reader, field, hasMask, length);
  } catch (error) {
    if (!(error instanceof OfError)) throw error;
    if (error.code === "OFPBMC_BAD_VALUE") throw new OfError("OFPBAC_BAD_SET_ARGUMENT");
    throw error.code === "OFPBMC_BAD_MASK" ? new OfError("OFPBAC_BAD_SET_MASK") : error;
  }
}

/** How a list of fields is read. */
export interface ReadFieldsOptions {
  /** Fields that are not known, or whose prerequisites are missing, are errors. */
  readonly strict?: boolean;
  /** Nicira's matches may have a cookie. */
  readonly onCookie?: (cookie: bigint, mask: bigint) => void;
}

/** Words of a value and of its mask as they come, right-aligned; the longest field has 31. */
const valueWords = new Int32Array(32);
const maskWords = new Int32Array(32);

/** Reads `size` bytes as words, the last one whole. */
function readWords(reader: Reader, size: number, to: Int32Array): void {
  let i = 0;
  const first = size & 3;
  if (first === 1) to[i++] = reader.u8();
  else if (first === 2) to[i++] = reader.u16();
  else if (first === 3) to[i++] = reader.u8() << 16 | reader.u16();
  for (let left = size >> 2; left > 0; left--) to[i++] = reader.i32();
}

/** Reads a list of fields. */
export function readFields(reader: Reader, options: ReadFieldsOptions = {}): Match {
  return readFieldsInto(anyMatch(), reader, options);
}

/** Reads a list of fields into a match that says nothing so far; answers it. */
export function readFieldsInto(
  match: Match,
  reader: Reader,
  options: ReadFieldsOptions = {},
): Match {
  const { strict = true, onCookie } = options;
  while (reader.left > 0) {
    if (reader.left < 4) throw new OfError("OFPBMC_BAD_LEN");
    const { field, hasMask, length, header } = readHeader(reader);
    if (
      field !== undefined &&
      (field.option !== undefined || isOfSize(field, hasMask, length))
    ) {
      readFieldInto(match, reader, field, hasMask, length, strict);
      continue;
    }
    if (reader.left < length) throw new OfError("OFPBMC_BAD_LEN");
    const payload = reader.part(length);
    if (hasMask) checkWildcards(payload, length >> 1);
    const cookie = readCookie(payload, header, hasMask);
    if (cookie !== undefined && onCookie !== undefined) onCookie(...cookie);
    else if (strict) throw new OfError("OFPBMC_BAD_FIELD");
  }
  return match;
}

/** What has bits that its mask lacks is wrong, whatever it is. */
function checkWildcards({ bytes, at }: Reader, size: number): void {
  for (let i = at; i < at + size; i++) {
    if ((bytes[i] as number) & ~(bytes[i + size] as number)) {
      throw new OfError("OFPBMC_BAD_WILDCARDS");
    }
  }
}

/** Reads the value of a field, and its mask, into a match. */
function readFieldInto(
  match: Match,
  reader: Reader,
  field: Field,
  hasMask: boolean,
  length: number,
  strict: boolean,
): void {
  const { size, wordCount, topMask, wireShift } = field;
  if (field.option !== undefined) {
    return readOption(match, reader, field, hasMask, length);
  }
  if (reader.left < length) throw new OfError("OFPBMC_BAD_LEN");
  const from = reader.at;
  const came = size + 3 >> 2;
  readWords(reader, size, valueWords);
  if (hasMask) {
    readWords(reader, size, maskWords);
    for (let i = 0; i < came; i++) {
      if ((valueWords[i] as number) & ~(maskWords[i] as number)) {
        throw new OfError("OFPBMC_BAD_WILDCARDS", field.name);
      }
    }
    if (!field.maskable && !isAllOrNone(reader.bytes, from + size, size)) {
      throw new OfError("OFPBMC_BAD_MASK", field.name);
    }
  } else maskWords.fill(-1, 0, came);
  if (field.form === "port") {
    const port = (valueWords[0] as number) >>> 0;
    valueWords[0] = portIn(port, size);
  } else if (came === 1) {
    const value = valueWords[0] as number;
    if (wireShift > 0 && value << 32 - wireShift !== 0) {
      throw new OfError("OFPBMC_BAD_VALUE", field.name);
    }
    valueWords[0] = value >>> wireShift;
    maskWords[0] = (maskWords[0] as number) >>> wireShift;
  }
  const skipped = came - wordCount;
  for (let i = 0; i < skipped; i++) {
    if (valueWords[i] !== 0) throw new OfError("OFPBMC_BAD_VALUE", field.name);
  }
  if ((valueWords[skipped] as number) & ~topMask) {
    throw new OfError("OFPBMC_BAD_VALUE", field.name);
  }
  maskWords[skipped] = (maskWords[skipped] as number) & topMask;
  checkValue(field, valueWords[skipped] as number, maskWords[skipped] as number);
  setWords(match, field, valueWords, maskWords, skipped, strict);
}

/** A port in a match. Throws {@linkcode OfError} for one that there cannot be. */
function portIn(port: number, size: number): number {
  try {
    return size === 2 ? portFrom10(port) : portFrom11(port);
  } catch (error) {
    if (!(error instanceof OfError)) throw error;
    throw new OfError("OFPBMC_BAD_VALUE", "in_port");
  }
}

/** Whether bytes are all ones or all zeros: a mask that says as much as none, or nothing. */
function isAllOrNone(bytes: Uint8Array, at: number, size: number): boolean {
  const first = bytes[at] as number;
  if (first !== 0 && first !== 0xff) return false;
  for (let i = at + 1; i < at + size; i++) if (bytes[i] !== first) return false;
  return true;
}

function checkValue(field: Field, value: number, mask: number): void {
  const isBad = field === ipFrag && (value & 3) === 2 && (mask & 3) === 3;
  if (isBad) throw new OfError("OFPBMC_BAD_VALUE", field.name);
}

/** Reads a match of OpenFlow 1.2 and later, with its padding, into one that says nothing so far. */
export function readOxmMatch(
  reader: Reader,
  options: ReadFieldsOptions = {},
  match = anyMatch(),
): Match {
  if (reader.left < 4) throw new OfError("OFPBMC_BAD_LEN");
  const type = reader.u16();
  const length = reader.u16();
  if (length < 4) throw new OfError("OFPBMC_BAD_LEN");
  if (type !== 1) throw new OfError("OFPBMC_BAD_TYPE");
  const fields = reader.part(length - 4, "OFPBMC_BAD_LEN");
  if (reader.left < (-length & 7)) throw new OfError("OFPBMC_BAD_LEN");
  reader.skip(-length & 7);
  return readFieldsInto(match, fields, options);
}

/** Reads a match of Nicira's of `length` bytes, with its padding, into one that says nothing. */
export function readNxMatch(
  reader: Reader,
  length: number,
  options: ReadFieldsOptions = {},
  match = anyMatch(),
): Match {
  const fields = reader.part(length, "OFPBMC_BAD_LEN");
  reader.skip(-length & 7);
  return readFieldsInto(match, fields, options);
}
