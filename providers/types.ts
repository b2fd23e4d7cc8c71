// SPDX-License-Identifier: Apache-2.0
/**
 * The words of ODP: keys, masks and actions as plain objects.
 *
 * Interfaces only.  Bytes and text of the same things are in `odp/`.  Numbers are in host
 * order whatever the wire has; 64-bit and wider values are `bigint`; addresses are strings,
 * so that they work as keys of a `Map`.
 *
 * @module
 */

export type * from "./types_action.ts";
export type * from "./types_input.ts";
export type * from "./types_key.ts";
