// SPDX-License-Identifier: Apache-2.0
/**
 * What the tool reads and writes: the program's own streams, or those of a test.
 *
 * @module
 */

/** Name in messages. */
export const program = "dpctl";

/** Keys that a person presses. Disposing of it gives the keyboard back. */
export interface Keys extends Disposable {
  /** The next ones, as the terminal sends them; undefined at the end. */
  next(): Promise<string | undefined>;
}

/** What the tool reads and writes. */
export interface Terminal {
  /** Text for people and programs. */
  readonly print: (text: string) => void;
  /** The same for escape sequences, which `print` does not let through to a screen. */
  readonly draw?: (text: string) => void;
  /** Bytes for a program that reads them. Absent: a screen reads, and must not be given any. */
  readonly write?: ((bytes: Uint8Array) => void) | undefined;
  /** Takes the keyboard. Absent: nobody sits at one. */
  readonly keys?: (() => Keys) | undefined;
  /** Complaints, in whole lines. */
  readonly complain: (text: string) => void;
  /**
   * A line about work that goes on, which the next one is written over; "" takes it away. Absent:
   * no screen shows complaints.
   */
  readonly note?: ((text: string) => void) | undefined;
  /** Text of a file; `-` is standard input. */
  readonly readText: (path: string) => Promise<string>;
  /** Ends what runs on and on: `serve`, `top`, `monitor-conntrack`. */
  readonly signal?: AbortSignal;
}

/** Verbs that end in order when the program gets a signal; others end at once, by the signal. */
export const endsInOrder: readonly string[] = ["serve", "top", "monitor-conntrack"];
