// SPDX-License-Identifier: Apache-2.0
/**
 * Flow identifiers, and how two keys compare under a mask.
 *
 * An identifier is any 128 bits that name one flow.  Datapaths make them from the key with a
 * secret of their own, so one made here never equals one made there: use what the datapath
 * returned, or put the flow with this one and keep it.
 *
 * @module
 */

import { createHash, randomBytes } from "node:crypto";
import { hexDigit, highDigit, lowDigit } from "../codec/address.ts";
import { type Ufid, ufid } from "../ids.ts";

/** Another one each start: identifiers can't be guessed to make two flows collide. */
const secret = randomBytes(32);

/** Bytes of an identifier. */
export const UFID_SIZE = 16;

/** The identifier of a flow's key; the same bytes give the same one. */
export function ufidOf(key: Uint8Array): Ufid {
  const digest = createHash("sha256").update(secret).update(key).digest();
  // RFC 9562: version 4, variant 1, where the text has them; Open vSwitch marks its own like that.
  digest[5] = (digest[5] as number) & 0x0f | 0x40;
  digest[11] = (digest[11] as number) & 0x3f | 0x80;
  return ufidText(digest.subarray(0, UFID_SIZE));
}

/**
 * Text of an identifier of 16 bytes, or of those at `at`.
 *
 * Open vSwitch prints the bytes as four numbers in host order, which is little-endian wherever this
 * runs, and so do we: what ovs-dpctl shows is what names the flow here.
 */
export function ufidText(bytes: Uint8Array, at = 0): Ufid {
  if (at === 0 ? bytes.length !== UFID_SIZE : bytes.length < at + UFID_SIZE) {
    throw new RangeError(`identifier must have 16 bytes: it has ${bytes.length - at}`);
  }
  // One call makes a flat string; a listing of flows spends half of its time on anything else.
  return String.fromCharCode(
    highDigit(bytes[at + 3] as number),
    lowDigit(bytes[at + 3] as number),
    highDigit(bytes[at + 2] as number),
    lowDigit(bytes[at + 2] as number),
    highDigit(bytes[at + 1] as number),
    lowDigit(bytes[at + 1] as number),
    highDigit(bytes[at] as number),
    lowDigit(bytes[at] as number),
    DASH,
    highDigit(bytes[at + 7] as number),
    lowDigit(bytes[at + 7] as number),
    highDigit(bytes[at + 6] as number),
    lowDigit(bytes[at + 6] as number),
    DASH,
    highDigit(bytes[at + 5] as number),
    lowDigit(bytes[at + 5] as number),
    highDigit(bytes[at + 4] as number),
    lowDigit(bytes[at + 4] as number),
    DASH,
    highDigit(bytes[at + 11] as number),
    lowDigit(bytes[at + 11] as number),
    highDigit(bytes[at + 10] as number),
    lowDigit(bytes[at + 10] as number),
    DASH,
    highDigit(bytes[at + 9] as number),
    lowDigit(bytes[at + 9] as number),
    highDigit(bytes[at + 8] as number),
    lowDigit(bytes[at + 8] as number),
    highDigit(bytes[at + 15] as number),
    lowDigit(bytes[at + 15] as number),
    highDigit(bytes[at + 14] as number),
    lowDigit(bytes[at + 14] as number),
    highDigit(bytes[at + 13] as number),
    lowDigit(bytes[at + 13] as number),
    highDigit(bytes[at + 12] as number),
    lowDigit(bytes[at + 12] as number),
  );
}
const DASH = 45;
/** Bytes of an identifier; those of bytes are they themselves. Throws `SyntaxError`. */
export function ufidBytes(text: string): Uint8Array<ArrayBuffer>;
/** As the other one, of an identifier in either form. */
export function ufidBytes(text: string | Uint8Array): Uint8Array;
export function ufidBytes(text: string | Uint8Array): Uint8Array {
  if (typeof text !== "string") return text;
  const checked = ufid(text);
  const bytes = new Uint8Array(UFID_SIZE);
  // Programs that name their flows do this for each put: by hand it takes a tenth of the time.
  let at = 0;
  for (let i = 0; i < UFID_SIZE; i++) {
    if (checked.charCodeAt(at) === 45) at++;
    // The digits of each number come with the highest byte first.
    bytes[i ^ 3] = hexDigit(checked.charCodeAt(at)) << 4 |
      hexDigit(checked.charCodeAt(at + 1));
    at += 2;
  }
  return bytes;
}
