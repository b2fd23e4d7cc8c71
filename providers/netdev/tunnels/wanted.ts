// SPDX-License-Identifier: Apache-2.0
/**
 * Far ends of tunnels that are wanted, and by what they are found when something changes.
 *
 * @module
 */
import type { HopKey } from "./hop.ts";
import type { Exit } from "./underlays.ts";

/** The way to a far end, but for the neighbour's address. */
export interface Plan {
  readonly exit: Exit;
  /** Name of the device, in routes and among neighbours. */
  readonly device: string;
  /** Its index, if it is one of Linux. */
  readonly ifindex: number | undefined;
  readonly source: string;
  readonly sourceMac: string;
  readonly gateway: string | undefined;
  /** Whose Ethernet address is needed. */
  readonly nextHop: string;
  readonly mtu: number;
}

/** A far end that was asked for. */
export interface Wanted {
  readonly key: HopKey;
  /** ms of `performance.now()`. */
  readonly since: number;
  plan: Plan | undefined;
  /** What the table has: a hop as text, "none", or nothing. */
  written: string;
}

/** By what a plan is found when a neighbour is heard of. */
export function behindKeys(plan: Plan | undefined): string[] {
  if (plan === undefined) return [];
  const { ifindex, device, exit: { port }, nextHop } = plan;
  const names = new Set([device, port.name]);
  const keys = [...names].map((name) => `${name} ${nextHop}`);
  return ifindex === undefined ? keys : [...keys, `#${ifindex} ${nextHop}`];
}

/** Texts by what they have in common. What has none is not kept. */
export class Groups {
  readonly #groups = new Map<string, Set<string>>();

  /** Whether anything is there under `key`. */
  has(key: string): boolean {
    return this.#groups.has(key);
  }

  /** What is there under `key`, as it is now. */
  of(key: string): string[] {
    return [...this.#groups.get(key) ?? []];
  }

  /** Puts `text` under `key`. */
  add(key: string, text: string): void {
    const group = this.#groups.get(key);
    if (group === undefined) this.#groups.set(key, new Set([text]));
    else group.add(text);
  }

  /** Takes `text` away from `key`. */
  delete(key: string, text: string): void {
    const group = this.#groups.get(key);
    if (group?.delete(text) && group.size === 0) this.#groups.delete(key);
  }
}
