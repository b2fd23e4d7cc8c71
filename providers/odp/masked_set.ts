// SPDX-License-Identifier: Apache-2.0
/**
 * Masked sets as datapaths take them: no bit of the value outside the mask.
 *
 * The kernel and `netdev` refuse such bits with `EINVAL`, and Open vSwitch 3.1's userspace
 * datapath ORs some of them into the packet.  The text may have them all the same, as in
 * `set(tcp(src=80/0xff00))`, and ovs-dpctl prints them back; so they stay in what is parsed,
 * and go on the way into a datapath.
 *
 * @module
 */

import { listsOf, SET_MASKED } from "./action.ts";
import { walk } from "./attributes.ts";
import { keyTable } from "./key.ts";

const NSH = keyTable.nsh.id;

/** Clears, in place, the bits of masked sets that their masks do not have, at any depth. */
export function clearUnmasked(
  bytes: Uint8Array,
  from = 0,
  to = bytes.length,
): void {
  walk(bytes, from, to, "actions", (id, at, size) => {
    if (id === SET_MASKED) return clearSet(bytes, at, at + size);
    const lists = listsOf(id);
    if (lists === undefined || lists.length === 0) return;
    if (lists === "payload") return clearUnmasked(bytes, at, at + size);
    walk(bytes, at, at + size, "actions", (nest, inner, length) => {
      if (lists.includes(nest)) clearUnmasked(bytes, inner, inner + length);
    });
  });
}

/** Clears the value of the one key attribute between `from` and `to`. */
function clearSet(bytes: Uint8Array, from: number, to: number): void {
  walk(bytes, from, to, "set", (id, at, size) => {
    if (id !== NSH) return clearValue(bytes, at, size);
    // Value and mask stand side by side in each attribute of the nest.
    walk(bytes, at, at + size, "set", (_, inner, length) => {
      clearValue(bytes, inner, length);
    });
  });
}

function clearValue(bytes: Uint8Array, at: number, size: number): void {
  const half = size >> 1;
  for (let i = at; i < at + half; i++) {
    bytes[i] = (bytes[i] as number) & (bytes[i + half] as number);
  }
}
