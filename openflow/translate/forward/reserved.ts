// SPDX-License-Identifier: Apache-2.0
/**
 * Addresses of frames that are for the next switch only.
 *
 * @module
 */

/** Addresses of protocols between neighbours: 802.1D's sixteen, those of Cisco and of Extreme. */
export function isReserved(address: bigint): boolean {
  return address >> 4n === 0x01_80c2_0000_0n || others.has(address) ||
    address >> 3n === 0x01000cccccc0n >> 3n;
}
const others: ReadonlySet<bigint> = new Set([
  ...[0x00e02b000000n, 0x00e02b000004n, 0x00e02b000006n],
  ...[0x01000c000000n, 0x01000cccccccn, 0x01000ccccccdn, 0x01000ccdcdcdn],
]);
