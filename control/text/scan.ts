// SPDX-License-Identifier: Apache-2.0
/**
 * Numbers in arguments, read as Open vSwitch reads them: digits from the beginning, whatever
 * follows, modulo the size of the type (`ovs_scan` of version 3.1, which is looser than the
 * manual).
 *
 * @module
 */

function scan(text: string, bits: number): number | undefined {
  const [, sign, digits] = /^([-+]?)(\d+)/.exec(text) ?? [];
  if (digits === undefined) return undefined;
  const value = BigInt(digits);
  return Number(BigInt.asUintN(bits, sign === "-" ? -value : value));
}

/** An unsigned number of 16 bits. */
export function readU16(text: string): number | undefined {
  return scan(text, 16);
}

/** An unsigned number of 32 bits. */
export function readU32(text: string): number | undefined {
  return scan(text, 32);
}

/** A signed number, as atoi(3): 0 for what is none. */
export function readInteger(text: string): number {
  return Number(/^\s*[-+]?\d+/.exec(text)?.[0] ?? 0);
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
