// SPDX-License-Identifier: Apache-2.0
/**
 * Writes to state, told to those who record them.
 *
 * @module
 */

/** A write. Keys and values are as they were given, where JSON can say them. */
export interface StateEvent {
  /** Name of the cell, map or table. */
  readonly name: string;
  /** What was done. */
  readonly op: "set" | "delete" | "clear" | "rules";
  /** The key, prefix … */
  readonly key?: unknown;
  /** The value. */
  readonly value?: unknown;
}

type Observe = (event: StateEvent) => void;

const observers = new Set<Observe>();

/** Is told of writes until it is disposed of. */
export function observeState(observe: Observe): Disposable {
  observers.add(observe);
  return { [Symbol.dispose]: () => void observers.delete(observe) };
}

/** Reports a write; costs nothing when nobody records. */
export function wrote(event: StateEvent): void {
  if (observers.size === 0) return;
  for (const observe of observers) observe(event);
}
