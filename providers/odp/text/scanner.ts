// SPDX-License-Identifier: Apache-2.0
/**
 * Reads the text of ovs-dpctl(8), one token at a time.
 *
 * @module
 */

import { hexDigit } from "../../codec/address.ts";
import { TextError } from "../../codec/errors.ts";
import { actionsByText } from "../action.ts";

/** Numbers of ports by name, and names by number. */
export interface PortNames {
  /** Number of the port with this name. */
  no(name: string): number | undefined;
  /** Name of the port with this number, if the name would be read back. */
  name(no: number): string | undefined;
}

/** Ports as callers have them: what a dump of ports yields, or a map of names. */
export type PortList =
  | Iterable<{ readonly no: number; readonly name: string }>
  | ReadonlyMap<number, string>;

/** What ends the name of a port in a text, or begins another word. */
const notNamed = /^\d|^action\d+$|[\s,()/#=]/;

/** Whether a name of a port can be nothing else in a text: no number, and no action. */
export function isTelling(name: string): boolean {
  return !notNamed.test(name) && name !== "drop" && !actionsByText.has(name);
}

/** Looks ports up in a list. */
export function portNames(ports: PortList | undefined): PortNames | undefined {
  if (ports === undefined) return undefined;
  const byName = new Map<string, number>();
  const byNo = new Map<number, string>();
  for (const port of ports) {
    const [no, name] = Array.isArray(port) ? port : [port.no, port.name];
    byName.set(name, no);
    if (isTelling(name)) byNo.set(no, name);
  }
  return { no: (name) => byName.get(name), name: (no) => byNo.get(no) };
}

const SLASH = 47;

/** A position in a text. */
export class Scanner {
  /** Offset of the next character. */
  at = 0;
  /** How deep the scan is nested. */
  depth = 0;
  /** Index of the attribute that was taken last: the next one mostly follows it. */
  last = -1;

  /** Starts at the beginning of `text`. */
  constructor(readonly text: string, readonly ports?: PortNames) {}

  /** Code of the next character, NaN at the end. */
  get code(): number {
    return this.text.charCodeAt(this.at);
  }

  /** Whether nothing is left. */
  get done(): boolean {
    return this.at >= this.text.length;
  }

  /** Throws a `SyntaxError` for the current position. */
  fail(what: string, at: number = this.at): never {
    throw new TextError(this.text, at, what);
  }

  /** Takes `literal` if it comes next. */
  take(literal: string): boolean {
    if (!this.text.startsWith(literal, this.at)) return false;
    this.at += literal.length;
    return true;
  }

  /** Takes `name` with a `=`, or another character, behind it if they come next. */
  takeName(name: string, behind = 61): boolean {
    const { text, at } = this;
    const end = at + name.length;
    if (text.charCodeAt(end) !== behind) return false;
    for (let i = 0; i < name.length; i++) {
      if (text.charCodeAt(at + i) !== name.charCodeAt(i)) return false;
    }
    this.at = end + 1;
    return true;
  }

  /** Takes one character if it comes next. */
  takeCode(code: number): boolean {
    if (this.text.charCodeAt(this.at) !== code) return false;
    this.at++;
    return true;
  }

  /** Takes `literal` or fails. */
  expect(literal: string): void {
    if (!this.take(literal)) this.fail(`expected "${literal}"`);
  }

  /** Takes a `/` before a mask. */
  takeSlash(): boolean {
    return this.takeCode(SLASH);
  }

  /** Skips commas and white space; true if there were any. */
  skipDelimiters(): boolean {
    const start = this.at;
    for (;;) {
      const code = this.text.charCodeAt(this.at);
      if (code !== 44 && code !== 32 && code !== 9 && code !== 10 && code !== 13) break;
      this.at++;
    }
    return this.at > start;
  }

  /** Takes letters, digits and underscores. */
  word(): string {
    const start = this.at;
    for (;;) {
      const code = this.text.charCodeAt(this.at);
      const letter = code | 32;
      if (
        !(letter >= 97 && letter <= 122) && !(code >= 48 && code <= 57) && code !== 95
      ) {
        break;
      }
      this.at++;
    }
    return this.text.slice(start, this.at);
  }

  /** Takes everything up to one of `stops` or the end. */
  until(stops: string): string {
    const start = this.at;
    while (!this.done && !stops.includes(this.text[this.at] as string)) this.at++;
    return this.text.slice(start, this.at);
  }

  /** Takes a number up to `max` as C's `%i` does: decimal, 0x for hex, 0 for octal. */
  number(max: number): number {
    const start = this.at;
    let base = 10;
    const first = this.code - 48;
    const second = this.text.charCodeAt(start + 1);
    // One digit is most of what there is.
    if (
      first >= 0 && first <= 9 && !(second >= 48 && second <= 57) && (second | 32) !== 120
    ) {
      if (first > max) this.fail(`number exceeds ${max}`);
      this.at++;
      return first;
    }
    if (first === 0) {
      const next = this.text.charCodeAt(start + 1);
      if ((next | 32) === 120 && hexDigit(this.text.charCodeAt(start + 2)) >= 0) {
        base = 16;
        this.at += 2;
      } else if (next >= 48 && next <= 57) {
        base = 8;
        this.at++;
      }
    }
    return this.#digits(base, max, start);
  }

  /** Takes hex digits with or without 0x. */
  hex(max: number): number {
    const start = this.at;
    if (this.code === 48 && (this.text.charCodeAt(start + 1) | 32) === 120) this.at += 2;
    return this.#digits(16, max, start);
  }

  #digits(base: number, max: number, start: number): number {
    const first = this.at;
    let value = 0;
    for (;;) {
      const digit = hexDigit(this.text.charCodeAt(this.at));
      if (digit < 0 || digit >= base) break;
      value = value * base + digit;
      if (value > max) this.fail(`number exceeds ${max}`, start);
      this.at++;
    }
    if (this.at === first) this.fail("expected a number", start);
    return value;
  }

  /** Takes a number of up to `bits` bits, decimal or hex. */
  big(bits: number): bigint {
    const start = this.at;
    const base = this.code === 48 && (this.text.charCodeAt(start + 1) | 32) === 120
      ? 16
      : 10;
    if (base === 16) this.at += 2;
    const first = this.at;
    while (hexDigit(this.code) >= 0 && hexDigit(this.code) < base) this.at++;
    if (this.at === first) this.fail("expected a number", start);
    const digits = this.text.slice(first, this.at);
    if (digits.length > 64) this.fail(`number exceeds ${bits} bits`, start);
    const value = BigInt(base === 16 ? `0x${digits}` : digits);
    if (value >> BigInt(bits) !== 0n) this.fail(`number exceeds ${bits} bits`, start);
    return value;
  }

  /** Takes pairs of hex digits, white space between them, up to `stops`. */
  hexBytes(stops: string): Uint8Array {
    const start = this.at;
    const digits = this.until(stops).replaceAll(/\s/g, "");
    if (digits.length % 2 !== 0 || !/^[0-9a-f]*$/i.test(digits)) {
      this.fail("expected pairs of hex digits", start);
    }
    return Uint8Array.from(
      { length: digits.length / 2 },
      (_, i) => Number.parseInt(digits.slice(2 * i, 2 * i + 2), 16),
    );
  }

  /** Takes a port: a number, or a name where names are known. */
  port(stops: string): number {
    const start = this.at;
    if (this.ports !== undefined) {
      const no = this.ports.no(this.until(stops));
      if (no !== undefined) return no;
      this.at = start;
    }
    return this.number(0xffffffff);
  }
}
