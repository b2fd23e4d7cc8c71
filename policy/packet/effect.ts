// SPDX-License-Identifier: Apache-2.0
/**
 * Effects: what packets teach and credit, declared by a run and done by the keeper of its flow.
 *
 * @module
 */
/** What a policy notes beside its verdict. */
export type Effect =
  | {
    readonly kind: "learn";
    readonly table: Learner;
    readonly key: unknown;
    value: unknown;
  }
  | { readonly kind: "credit"; readonly counter: Credited };

/** What most packets teach. */
export const NO_EFFECTS: readonly Effect[] = Object.freeze([]);

/** A table that learns from packets. */
export interface Learner {
  /** Its name. */
  readonly name: string;
  /**
   * Takes a pair over, or only its age when it is known. `sinceMs` is the earliest that the packet
   * can have come: what was written later stays.
   */
  hear(key: unknown, value: unknown, atMs: number, sinceMs?: number): void;
  /** Lets go of what is old; answers when to look again, ms since 1970. */
  expire?(nowMs: number): number;
}

/** A table that packets teach, with the kinds of its keys and values. */
export interface Taught<K, V> {
  /** Its name. */
  readonly name: string;
  /** Writes a value. */
  set(key: K, value: V): unknown;
}

/** A counter that flows credit. */
export interface Credited {
  /** Its name. */
  readonly name: string;
  /**
   * Adds packets and bytes; `usedMs` is when the last of them was seen, `tcpFlags` all flags of TCP
   * that packets of the flow had so far.
   */
  add(packets: bigint, bytes: bigint, usedMs: number, tcpFlags: number): void;
}

/** Whether somebody gets what the packets of a flow are counted as. */
export function hasCredit(effects: readonly Effect[]): boolean {
  for (let i = 0; i < effects.length; i++) {
    if ((effects[i] as Effect).kind === "credit") return true;
  }
  return false;
}

/** All of two lists, of which neither is changed: one of them, mostly. */
export function joined(
  before: readonly Effect[],
  more: readonly Effect[],
): readonly Effect[] {
  return before.length === 0 ? more : [...before, ...more];
}
