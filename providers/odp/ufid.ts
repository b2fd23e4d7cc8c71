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
import { type Ufid, ufid } from "../ids.ts";
import { hexDump } from "./text_fields.ts";

/** Another one each start: identifiers can't be guessed to make two flows collide. */
const secret = randomBytes(32);

/** The identifier of a flow's key, as bytes; the same bytes give the same one. */
export function ufidOf(key: Uint8Array): Ufid {
  const digest = createHash("sha256").update(secret).update(key).digest();
  // RFC 9562: version 4, variant 1, as Open vSwitch marks its own.
  digest[6] = (digest[6] as number) & 0x0f | 0x40;
  digest[8] = (digest[8] as number) & 0x3f | 0x80;
  return ufidText(digest.subarray(0, 16));
}

/** Text of an identifier of 16 bytes. */
export function ufidText(bytes: Uint8Array): Ufid {
  if (bytes.length !== 16) {
    throw new RangeError(`identifier must have 16 bytes: it has ${bytes.length}`);
  }
  const hex = hexDump(bytes);
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-` +
    `${hex.slice(16, 20)}-${hex.slice(20)}`;
}

/** Bytes of an identifier. Throws `SyntaxError`. */
export function ufidBytes(text: string): Uint8Array<ArrayBuffer> {
  const hex = ufid(text).replaceAll("-", "");
  return Uint8Array.from(
    { length: 16 },
    (_, i) => Number.parseInt(hex.slice(2 * i, 2 * i + 2), 16),
  );
}
