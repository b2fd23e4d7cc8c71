// SPDX-License-Identifier: Apache-2.0
/**
 * Fields and parts of them in actions, from and to bytes.
 *
 * @module
 */
import type { SubField } from "../action.ts";
import type { Reader, Writer } from "../bytes.ts";
import { OfError } from "../error.ts";
import { type Field, partBits } from "../field.ts";
import { isOfSize, readHeader } from "../oxm.ts";
import { writeHeader } from "../oxm_write.ts";

/** Whether a header names a field: that of an option says any length. */
function isNamed(field: Field, hasMask: boolean, length: number): boolean {
  return field.option !== undefined || isOfSize(field, hasMask, length);
}

/** Reads a field by its header alone, 32 bits. */
export function namedField(body: Reader): Field {
  const { field, hasMask, length } = readHeader(body);
  if (field === undefined || hasMask || !isNamed(field, false, length)) {
    throw new OfError("OFPBAC_BAD_SET_TYPE");
  }
  return field;
}

/** The same where the header may be an experimenter's, which has other errors. */
export function pulledField(body: Reader): Field {
  const { field, hasMask, length } = readHeader(body);
  if (field === undefined || !isNamed(field, hasMask, length)) {
    throw new OfError("OFPBMC_BAD_FIELD");
  }
  if (hasMask) throw new OfError("OFPBMC_BAD_MASK", field.name);
  return field;
}

/** A part of a field. Throws {@linkcode OfError} for what is not in it. */
export function subField(field: Field, offset: number, bits: number): SubField {
  if (bits === 0 || offset + bits > partBits(field)) {
    throw new OfError("OFPBAC_BAD_SET_LEN", field.name);
  }
  return { field, offset, bits };
}

/** A part of a field that may be written. Throws {@linkcode OfError} for another. */
export function writable(part: SubField): SubField {
  if (!part.field.writable) throw new OfError("OFPBAC_BAD_SET_ARGUMENT", part.field.name);
  return part;
}

/** Offset and bits of what 16 bits say: six of them are the bits less one. */
export function offsetAndBits(word: number): readonly [offset: number, bits: number] {
  return [word >> 6, (word & 63) + 1];
}

/** The 16 bits that say offset and bits. */
export function ofsBits({ offset, bits }: Pick<SubField, "offset" | "bits">): number {
  return offset << 6 | (bits - 1);
}

/** Reads 16 bits of offset and size, and the header of a field. */
export function readSubField(body: Reader): SubField {
  const [offset, bits] = offsetAndBits(body.u16());
  return subField(namedField(body), offset, bits);
}

/** Writes 16 bits of offset and size, and the header of a field. */
export function writeSubField(writer: Writer, part: SubField): void {
  writer.u16(ofsBits(part));
  writeHeader(writer, part.field, 0);
}
