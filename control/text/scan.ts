// SPDX-License-Identifier: Apache-2.0
/**
 * Numbers in arguments, as Open vSwitch has them, but all of the text must be the number, and it
 * must fit: `ovs_scan` of version 3.1 takes `5x` for 5, and 65541 for zone 5.
 *
 * @module
 */

function scan(text: string, bits: number): number | undefined {
  const value = /^\d{1,20}$/.test(text) ? Number(text) : NaN;
  return value < 2 ** bits ? value : undefined;
}

/** An unsigned number of 16 bits. */
export function readU16(text: string): number | undefined {
  return scan(text, 16);
}

/** An unsigned number of 32 bits. */
export function readU32(text: string): number | undefined {
  return scan(text, 32);
}

/** A signed number. */
export function readInteger(text: string): number | undefined {
  return /^[-+]?\d{1,15}$/.test(text) ? Number(text) : undefined;
}

/** A number that must be all of the text, up to `max`, decimal or 0x. */
export function readExact(text: string, max: number): number | undefined {
  if (!/^(0x[0-9a-f]+|\d+)$/i.test(text)) return undefined;
  // A leading zero says octal, as strtoul(3) has it.
  const octal = /^0\d/.test(text);
  if (octal && /[89]/.test(text)) return undefined;
  const value = octal ? Number.parseInt(text, 8) : Number(text);
  return value <= max ? value : undefined;
}
