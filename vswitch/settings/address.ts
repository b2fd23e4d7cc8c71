// SPDX-License-Identifier: Apache-2.0
/**
 * Addresses that ports and bridges have where nobody says which.
 *
 * @module
 */

let dummies = 0;

/** The next address of a port in memory: tests of Open vSwitch count on these. */
export function dummyAddress(): string {
  const digits = (dummies++ & 0xffff).toString(16).padStart(4, "0");
  return `aa:55:aa:55:${digits.slice(0, 2)}:${digits.slice(2)}`;
}

/** An address of Open vSwitch's own: 00:23:20 and 24 bits at random. */
export function randomAddress(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(3));
  return `00:23:20:${
    Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(":")
  }`;
}
