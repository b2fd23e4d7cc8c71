// SPDX-License-Identifier: Apache-2.0
/**
 * Numbers of ports: 16 bits in OpenFlow 1.0, 32 bits later; reserved ones are the highest.
 *
 * In this program they are those of 32 bits.
 *
 * @module
 */
import { OfError } from "./error.ts";

/** Reserved numbers. */
export const Port = {
  /** Ordinary ports are below it. */
  max: 0xff00,
  unset: 0xfffffff7,
  inPort: 0xfffffff8,
  table: 0xfffffff9,
  normal: 0xfffffffa,
  flood: 0xfffffffb,
  all: 0xfffffffc,
  controller: 0xfffffffd,
  local: 0xfffffffe,
  /** No port; "any" where it stands for all. */
  none: 0xffffffff,
} as const;

/** A port of OpenFlow 1.0, as it is called here. */
export function portFrom10(port: number): number {
  return port < Port.max ? port : (port | 0xffff0000) >>> 0;
}

/** A port of OpenFlow 1.1 and later. Throws `OFPBAC_BAD_OUT_PORT` for one that is none. */
export function portFrom11(port: number): number {
  if (port < Port.max || port >= 0xffffff00) return port;
  throw new OfError("OFPBAC_BAD_OUT_PORT", `${port}`);
}

/** The 16 bits of a port. */
export function portTo10(port: number): number {
  return port & 0xffff;
}
