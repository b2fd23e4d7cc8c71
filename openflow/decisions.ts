// SPDX-License-Identifier: Apache-2.0
/**
 * Decisions that packets which come one after the other have in common: flows share them, and their
 * actions are made bytes of once.
 *
 * @module
 */
import { areAlike, frozenCopy } from "../policy/copy.ts";
import { type Decision, forward } from "../policy/mod.ts";
import type { Action } from "../providers/types_action.ts";

/** Decisions that came last and are looked through. */
const RECENT = 8;
/** Ports whose decisions are kept. */
const PORTS = 4096;

/** Actions of which nothing can change but their numbers and addresses. */
const plain: ReadonlySet<Action["type"]> = new Set(
  [
    "output",
    "set",
    "pushVlan",
    "popVlan",
    "pushMpls",
    "popMpls",
    "trunc",
    "meter",
    "ctClear",
  ] satisfies Action["type"][],
);

/** Decisions by their actions. */
export class Decisions {
  readonly #byPort: (Decision | undefined)[] = [];
  readonly #recent: Decision[] = [];

  /** The decision to do some actions. */
  of(actions: readonly Action[]): Decision {
    const [first] = actions;
    if (actions.length === 1 && first?.type === "output" && first.port < PORTS) {
      return this.#byPort[first.port] ??= Object.freeze({ actions: forward(first.port) });
    }
    for (let i = 0; i < actions.length; i++) {
      if (!plain.has((actions[i] as Action).type)) return { actions };
    }
    return this.#known(actions);
  }

  #known(actions: readonly Action[]): Decision {
    const recent = this.#recent;
    for (let i = 0; i < recent.length; i++) {
      const one = recent[i] as Decision;
      if (!areAlike(one.actions, actions)) continue;
      if (i > 0) {
        recent[i] = recent[i - 1] as Decision;
        recent[i - 1] = one;
      }
      return one;
    }
    const made = Object.freeze({ actions: frozenCopy(actions) });
    if (recent.length === RECENT) recent.pop();
    recent.unshift(made);
    return made;
  }
}
