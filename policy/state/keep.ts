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

type Named = Map<string, WeakRef<Keepable>>;

/** The latest state of each name; what nobody holds any more is let go. */
const named: Named = new Map();

/** A program that is loaded: what it takes over, and what it made so far. */
interface Loading {
  readonly before: Named;
  readonly made: Named;
}

let loading: Loading | undefined;

/**
 * Notes state that its program gave a name. Throws `TypeError` for a second one of a name while a
 * program is loaded: both would take over the same.
 */
export function noteNamed(state: Keepable): void {
  const { name } = state;
  if (loading?.made.has(name)) {
    throw new TypeError(`two cells or maps have the name "${name}"`);
  }
  const before = loading?.before.get(name)?.deref();
  if (before !== undefined) state.takeOver(before);
  const reference = new WeakRef(state);
  (loading?.made ?? named).set(name, reference);
}

async function load<T>(make: () => Promise<T>, before: Named): Promise<T> {
  const mine: Loading = { before, made: new Map() };
  loading = mine;
  try {
    const made = await make();
    for (const [name, state] of mine.made) named.set(name, state);
    return made;
  } finally {
    if (loading === mine) loading = undefined;
  }
}

/**
 * While `make` runs, state that is made takes over the content of that which had its name before:
 * maps what packets taught them, cells what was written to them. For programs that load their
 * policy again. If `make` throws, the next call takes over from what this one did. A name is for
 * one cell or map: a second one that is made throws `TypeError`.
 */
export async function keepState<T>(make: () => Promise<T>): Promise<T> {
  return await load(make, new Map(named));
}

/** As `keepState`, for a program that is loaded first: nothing is taken over. */
export async function newState<T>(make: () => Promise<T>): Promise<T> {
  return await load(make, new Map());
}
