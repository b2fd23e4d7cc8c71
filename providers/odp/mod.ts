// SPDX-License-Identifier: Apache-2.0
/**
 * ODP: keys, masks and actions of datapaths as objects, as netlink attributes and as the
 * text of ovs-dpctl(8).
 *
 * Pure: opens no library and needs no permission.
 *
 * ```ts
 * import { encodeKey, formatKey, parseKey } from "./mod.ts";
 *
 * const { key, mask } = parseKey("in_port(1),eth(),eth_type(0x0806),arp(op=1)");
 * const bytes = encodeKey(key);
 * formatKey({ key: bytes, mask }); // the same text again
 * ```
 *
 * @module
 */

export type { ErrnoName } from "../errno.ts";
export type * from "../ids.ts";
export type * from "../types.ts";
export { decodeActions, encodeActions, MAX_ACTION_DEPTH } from "./action.ts";
export * from "./constructors.ts";
export { AttributeError } from "../codec/errors.ts";
export { extractKey, type ExtractOptions } from "./extract.ts";
export { decodeKey, encodeKey } from "./key.ts";
export { maskedEqual } from "./match.ts";
export { any, decodeMask, encodeMask, exact } from "./mask.ts";
export { knownTo, meantForLinux, type NormalFlow, normalize } from "./normalize.ts";
export type { PortList } from "./text/scanner.ts";
export {
  formatActions,
  formatKey,
  type FormatOptions,
  type KeyAndMask,
  parseActions,
  type ParsedKey,
  type ParsedKeyBytes,
  parseKey,
  parseKeyBytes,
  type PortOptions,
} from "./text/text.ts";
export { ufidBytes, ufidOf, ufidText } from "./ufid.ts";
export { keyView } from "./view.ts";
