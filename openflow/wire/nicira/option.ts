// SPDX-License-Identifier: Apache-2.0
/**
 * Options of Geneve in matches.
 *
 * @module
 */
import type { Reader } from "../bytes.ts";
import { OfError } from "../error.ts";
import type { Field } from "../field.ts";
import { type FlowWords, type Match, readBits, Word } from "../flow.ts";
import { allOf, putField } from "../match.ts";

/**
 * Reads the value of an option, and its mask, into a match. A program that does not know how long
 * the option is says fewer bytes, the last ones.
 */
export function readOption(
  match: Match,
  reader: Reader,
  field: Field,
  hasMask: boolean,
  length: number,
): void {
  const size = hasMask ? length >> 1 : length;
  if (size < 1 || size > field.size || hasMask && length % 2 !== 0) {
    throw new OfError("OFPBMC_BAD_LEN");
  }
  const value = reader.big(size);
  const mask = hasMask ? reader.big(size) : allOf(field);
  if ((value & ~mask) !== 0n) throw new OfError("OFPBMC_BAD_WILDCARDS", field.name);
  if (mask === 0n) return;
  if (readBits(match.mask, field) !== 0n) {
    throw new OfError("OFPBMC_DUP_FIELD", field.name);
  }
  putField(match, field, value, mask);
  // A packet without the option fits no match on it.
  setPresent(match.value, field.option ?? 0);
  setPresent(match.mask, field.option ?? 0);
}

/** Says that an option is there. */
export function setPresent(flow: FlowWords, option: number): void {
  const word = Word.tunPresent + (option >> 5);
  flow[word] = (flow[word] as number) | 1 << (option & 31);
}
