// SPDX-License-Identifier: Apache-2.0
/**
 * Far ends of tunnels that are wanted, and by what they are found when something changes.
 *
 * @module
 */
import { addressBytes, areWithin, type Prefix } from "../../netlink/mod.ts";
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
  /** The bytes of its destination. */
  readonly destination: Uint8Array;
  /** ms of `performance.now()`. */
  readonly since: number;
  plan: Plan | undefined;
  /** What the table has: a hop as text, "none", or nothing. */
  written: string;
}

/** By what a plan is found when a neighbour is heard of. */
function behindKeys(plan: Plan | undefined): string[] {
  if (plan === undefined) return [];
  const { ifindex, device, exit: { port }, nextHop } = plan;
  const names = new Set([device, port.name]);
  const keys = [...names].map((name) => `${name} ${nextHop}`);
  return ifindex === undefined ? keys : [...keys, `#${ifindex} ${nextHop}`];
}

/** Whether an address lies within one of the prefixes. */
export function matcher(prefixes: readonly Prefix[]): (address: Uint8Array) => boolean {
  const bases = prefixes.map(({ address, length }) =>
    [addressBytes(address), length] as const
  );
  return (address) => bases.some(([base, length]) => areWithin(address, base, length));
}

/** Texts by what they have in common. What has none is not kept. */
class Groups {
  readonly #groups = new Map<string, Set<string>>();

  has(key: string): boolean {
    return this.#groups.has(key);
  }

  /** What is there under `key`, as it is now. */
  of(key: string): string[] {
    return [...this.#groups.get(key) ?? []];
  }

  add(key: string, text: string): void {
    const group = this.#groups.get(key);
    if (group === undefined) this.#groups.set(key, new Set([text]));
    else group.add(text);
  }

  delete(key: string, text: string): void {
    const group = this.#groups.get(key);
    if (group?.delete(text) && group.size === 0) this.#groups.delete(key);
  }

  clear(): void {
    this.#groups.clear();
  }
}

/** Far ends that are wanted, by their keys as text. */
export class FarEnds {
  readonly #all = new Map<string, Wanted>();
  /** By device and next hop. */
  readonly #behind = new Groups();
  /** By destination. */
  readonly #toward = new Groups();

  /** How many. */
  get size(): number {
    return this.#all.size;
  }

  /** All of them. */
  entries(): Iterable<[string, Wanted]> {
    return this.#all;
  }

  /** One, by its key. */
  get(text: string): Wanted | undefined {
    return this.#all.get(text);
  }

  /** One more. */
  add(text: string, key: HopKey): Wanted {
    const destination = addressBytes(key.destination);
    const since = performance.now();
    const wanted: Wanted = { key, destination, since, plan: undefined, written: "" };
    this.#all.set(text, wanted);
    this.#toward.add(key.destination, text);
    return wanted;
  }

  /** Those that go to `destination`. */
  toward(destination: string): [string, Wanted][] {
    return this.#pick(this.#toward.of(destination));
  }

  /** Whether there are any. */
  isToward(destination: string): boolean {
    return this.#toward.has(destination);
  }

  /** Those whose next hop is that of `key`. */
  behind(key: string): [string, Wanted][] {
    return this.#pick(this.#behind.of(key));
  }

  /** Whether there are any. */
  isBehind(key: string): boolean {
    return this.#behind.has(key);
  }

  #pick(texts: readonly string[]): [string, Wanted][] {
    return texts.flatMap((text) => {
      const wanted = this.#all.get(text);
      return wanted === undefined ? [] : [[text, wanted] as [string, Wanted]];
    });
  }

  /** The plan of one is another. */
  place(text: string, wanted: Wanted, plan: Plan | undefined): void {
    for (const key of behindKeys(wanted.plan)) this.#behind.delete(key, text);
    wanted.plan = plan;
    for (const key of behindKeys(plan)) this.#behind.add(key, text);
  }

  /** Forgets one. */
  delete(text: string, wanted: Wanted): void {
    this.place(text, wanted, undefined);
    this.#all.delete(text);
    this.#toward.delete(wanted.key.destination, text);
  }

  /** Forgets all. */
  clear(): void {
    for (const each of [this.#all, this.#behind, this.#toward]) each.clear();
  }
}
