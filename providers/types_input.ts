// SPDX-License-Identifier: Apache-2.0
/**
 * Keys, masks and actions in every form that the API takes them in.
 *
 * @module
 */

import type { Action } from "./types_action.ts";
import type { FlowKey, FlowKeyInit, FlowMask } from "./types_key.ts";

/** A key as the API takes it: object, text of ovs-dpctl(8), or attribute bytes. */
export type KeyInput = FlowKey | FlowKeyInit | string | Uint8Array;
/** A mask as the API takes it: object or attribute bytes. Keys in text bring their own. */
export type MaskInput = FlowMask | Uint8Array;
/** Actions as the API takes them: list, text of ovs-dpctl(8), or attribute bytes. */
export type ActionsInput = readonly Action[] | string | Uint8Array;
