// SPDX-License-Identifier: Apache-2.0
/**
 * Addresses between bytes and text.
 *
 * The text is what the C library prints, because Open vSwitch prints with it.
 *
 * @module
 */

/** Two lower-case hex digits of every byte. */
export const hexByte: readonly string[] = Array.from(
  { length: 256 },
  (_, byte) => byte.toString(16).padStart(2, "0"),
);

const hexCodes = new TextEncoder().encode("0123456789abcdef");

/** Character code of the higher hex digit of a byte. */
export function highDigit(byte: number): number {
  return hexCodes[byte >> 4] as number;
}

/** Character code of the lower hex digit of a byte. */
export function lowDigit(byte: number): number {
  return hexCodes[byte & 15] as number;
}

/** Decimal digits of every byte. */
const decimalByte: readonly string[] = Array.from(
  { length: 256 },
  (_, byte) => `${byte}`,
);

/** Character code of a colon. */
const COLON = 58;

/** Value of a hex digit's character code, or -1. */
export function hexDigit(code: number): number {
  if (code >= 48 && code <= 57) return code - 48;
  const letter = code | 32;
  return letter >= 97 && letter <= 102 ? letter - 87 : -1;
}

/** Text of the Ethernet address at `at`. */
export function formatMac(bytes: Uint8Array, at: number): string {
  // One call makes a flat string; joined ones are made flat when a map looks for them.
  return String.fromCharCode(
    highDigit(bytes[at] as number),
    lowDigit(bytes[at] as number),
    COLON,
    highDigit(bytes[at + 1] as number),
    lowDigit(bytes[at + 1] as number),
    COLON,
    highDigit(bytes[at + 2] as number),
    lowDigit(bytes[at + 2] as number),
    COLON,
    highDigit(bytes[at + 3] as number),
    lowDigit(bytes[at + 3] as number),
    COLON,
    highDigit(bytes[at + 4] as number),
    lowDigit(bytes[at + 4] as number),
    COLON,
    highDigit(bytes[at + 5] as number),
    lowDigit(bytes[at + 5] as number),
  );
}

/**
 * Parses an Ethernet address at `from`, each byte of one or two digits, and writes it to
 * `bytes` at `at`. Returns the offset behind it, or -1.
 */
export function parseMac(
  text: string,
  from: number,
  bytes: Uint8Array,
  at: number,
): number {
  let i = from;
  for (let n = 0; n < 6; n++) {
    if (n > 0 && text.charCodeAt(i++) !== 58) return -1;
    const high = hexDigit(text.charCodeAt(i));
    if (high < 0) return -1;
    const low = hexDigit(text.charCodeAt(i + 1));
    bytes[at + n] = low < 0 ? high : high << 4 | low;
    i += low < 0 ? 1 : 2;
  }
  return i;
}

/** Text of the IPv4 address at `at`. */
export function formatIpv4(bytes: Uint8Array, at: number): string {
  return decimalByte[bytes[at] as number] + "." + decimalByte[bytes[at + 1] as number] +
    "." + decimalByte[bytes[at + 2] as number] + "." +
    decimalByte[bytes[at + 3] as number];
}

/** Parses an IPv4 address as {@linkcode parseMac} does an Ethernet address. */
export function parseIpv4(
  text: string,
  from: number,
  bytes: Uint8Array,
  at: number,
): number {
  let i = from;
  for (let n = 0; n < 4; n++) {
    if (n > 0 && text.charCodeAt(i++) !== 46) return -1;
    let value = 0;
    const start = i;
    for (;; i++) {
      const digit = text.charCodeAt(i) - 48;
      if (!(digit >= 0 && digit <= 9)) break;
      value = value * 10 + digit;
    }
    if (i === start || i > start + 3 || value > 255) return -1;
    bytes[at + n] = value;
  }
  return i;
}

/**
 * Text of the IPv6 address at `at`: the longest run of zeros is `::`, and addresses that carry
 * an IPv4 address (`::a.b.c.d`, `::ffff:a.b.c.d`) show it, as glibc does.
 */
export function formatIpv6(bytes: Uint8Array, at: number): string {
  let bestStart = -1;
  let bestLength = 1;
  let start = -1;
  for (let word = 0; word <= 8; word++) {
    const zero = word < 8 && bytes[at + 2 * word] === 0 && bytes[at + 2 * word + 1] === 0;
    if (zero && start < 0) start = word;
    if (!zero && start >= 0) {
      if (word - start > bestLength) {
        bestStart = start;
        bestLength = word - start;
      }
      start = -1;
    }
  }
  const mapped = bestLength === 5 && bytes[at + 10] === 0xff && bytes[at + 11] === 0xff;
  const embedded = bestStart === 0 && (bestLength === 6 || mapped);
  const words = embedded ? 6 : 8;
  let text = "";
  for (let word = 0; word < words; word++) {
    if (word === bestStart) {
      text += "::";
      word += bestLength - 1;
      continue;
    }
    if (text !== "" && !text.endsWith("::")) text += ":";
    text += ((bytes[at + 2 * word] as number) << 8 | (bytes[at + 2 * word + 1] as number))
      .toString(16);
  }
  if (!embedded) return text;
  return text + (text.endsWith(":") ? "" : ":") + formatIpv4(bytes, at + 12);
}

/** Parses an IPv6 address as {@linkcode parseMac} does an Ethernet address. */
export function parseIpv6(
  text: string,
  from: number,
  bytes: Uint8Array,
  at: number,
): number {
  let gap = -1;
  let words = 0;
  let i = from;
  if (text.charCodeAt(i) === 58) {
    if (text.charCodeAt(i + 1) !== 58) return -1;
    gap = 0;
    i += 2;
  }
  for (;;) {
    let value = 0;
    const start = i;
    for (; i < start + 5; i++) {
      const digit = hexDigit(text.charCodeAt(i));
      if (digit < 0) break;
      value = value << 4 | digit;
    }
    if (i === start) {
      // Only a gap may end an address without a word.
      if (gap === words) break;
      return -1;
    }
    if (text.charCodeAt(i) === 46 && words <= 6) {
      i = parseIpv4(text, start, bytes, at + 2 * words);
      if (i < 0) return -1;
      words += 2;
      break;
    }
    if (i > start + 4 || words === 8) return -1;
    bytes[at + 2 * words] = value >>> 8;
    bytes[at + 2 * words + 1] = value;
    words++;
    if (text.charCodeAt(i) !== 58 || words === 8) break;
    if (text.charCodeAt(i + 1) === 58) {
      if (gap >= 0) return -1;
      gap = words;
      i += 2;
    } else {
      i++;
    }
  }
  if (gap < 0) return words === 8 ? i : -1;
  if (words === 8) return -1;
  const tail = 2 * (words - gap);
  bytes.copyWithin(at + 16 - tail, at + 2 * gap, at + 2 * words);
  bytes.fill(0, at + 2 * gap, at + 16 - tail);
  return i;
}
