// SPDX-License-Identifier: Apache-2.0
/**
 * Actions that set a field, with its value, from bytes.
 *
 * @module
 */
import type { OfAction } from "../action.ts";
import type { Reader } from "../bytes.ts";
import { OfError, type Version } from "../error.ts";
import { allOf } from "../match.ts";
import { readSetting } from "../oxm.ts";

/** Set-Field: a field with its value, and zeros. */
export function setField(body: Reader, version: Version): OfAction {
  const { field, value, mask, hasMask } = readSetting(body);
  if (hasMask && version < 6) throw new OfError("OFPBAC_BAD_SET_MASK", field.name);
  body.zeros(body.left, "OFPBAC_BAD_SET_ARGUMENT");
  return settable({ type: "setField", field, value, mask, form: "set" });
}

function settable<T extends OfAction & { type: "setField" }>(action: T): T {
  const { field, value } = action;
  if (!field.writable) throw new OfError("OFPBAC_BAD_SET_ARGUMENT", field.name);
  if (
    field.name === "vlan_vid" && (value & 0x1000n) === 0n && action.mask === allOf(field)
  ) {
    throw new OfError("OFPBAC_BAD_SET_ARGUMENT", "vlan_vid needs its present bit");
  }
  return action;
}

/** Nicira's way to say it. */
export function regLoad2(body: Reader): OfAction {
  const { field, value, mask } = readSetting(body);
  body.zeros(body.left, "OFPBAC_BAD_SET_ARGUMENT");
  return settable({ type: "setField", field, value, mask, form: "load" });
}
