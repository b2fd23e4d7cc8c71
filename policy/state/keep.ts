// SPDX-License-Identifier: Apache-2.0
/**
 * State that outlives its module: what is made anew under the same name takes over what was
 * learned.
 *
 * @module
 */

/** State that can take over the content of its predecessor. */
export interface Keepable {
  /** Its name. */
  readonly name: string;
  /**
   * Takes over what packets and programs wrote; refuses what is of another kind by doing nothing.
   */
  takeOver(before: unknown): void;
}

/** The latest state of each name; what nobody holds any more is let go. */
const named = new Map<string, WeakRef<Keepable>>();
let predecessors: Map<string, WeakRef<Keepable>> | undefined;

/** Notes state that its program gave a name. */
export function noteNamed(state: Keepable): void {
  const before = predecessors?.get(state.name)?.deref();
  if (before !== undefined) state.takeOver(before);
  named.set(state.name, new WeakRef(state));
}

/**
 * While `make` runs, state that is made takes over the content of that which had its name before:
 * maps what packets taught them, cells what was written to them. For programs that load their
 * policy again.
 */
export async function keepState<T>(make: () => Promise<T>): Promise<T> {
  predecessors = new Map(named);
  try {
    return await make();
  } finally {
    predecessors = undefined;
  }
}
