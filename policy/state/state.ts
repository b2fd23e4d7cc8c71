// SPDX-License-Identifier: Apache-2.0
/**
 * State that policies read: cells, counters and sets of ports; maps are in `state_map.ts`.
 *
 * A read inside a run is a dependency of its flow, a write makes the flows that depend on it run
 * again. Writes inside a run throw: what a packet teaches is said by `packet.learn`.
 *
 * @module
 */
import type { PortNo } from "../../providers/ids.ts";
import { output } from "../../providers/odp/constructors.ts";
import type { Action } from "../../providers/types_action.ts";
import { frozenCopy, isSameForever, noteThings, safeText } from "../copy.ts";
import { makeDependency, notify, type Owner } from "./dependency.ts";
import { type Keepable, noteNamed } from "./keep.ts";
import { wrote } from "./state_event.ts";
import type { Credited } from "../packet/effect.ts";
import { currentTracker } from "../packet/tracker.ts";

/** Refuses a write while a policy runs. */
export function refuseInRun(what: string): void {
  if (currentTracker() === undefined) return;
  throw new TypeError(
    `${what} was written while a policy runs: effects go through packet.learn`,
  );
}

/** A run that is under way gets no flow: it read what changes with each packet. */
export function refuseFlow(why: string): void {
  const tracker = currentTracker();
  if (tracker !== undefined) tracker.uncacheable ??= why;
}

/**
 * The dependency of `owner` on `key`, made if `id` is 0; a run that is under way rests on it from
 * now on.
 */
export function dependOn(owner: Owner, key: unknown, id: number): number {
  const tracker = currentTracker();
  if (tracker === undefined) return id;
  const known = id || makeDependency(owner, key);
  tracker.depend(known);
  return known;
}

let unnamed = 0;

/** A name for state that was given none. */
export function nameOf(kind: string, name: string | undefined): string {
  return name ?? `${kind}${++unnamed}`;
}

/** One value that policies read. */
export class Cell<T> implements Owner, Keepable {
  /** Its name, for `explain` and reload. */
  readonly name: string;
  #value: T;
  #written = false;
  #dependency = 0;

  /** Makes a cell. */
  constructor(value: T, options: { readonly name?: string } = {}) {
    this.#value = value;
    this.name = nameOf("cell", options.name);
    if (options.name !== undefined) noteNamed(this);
  }

  /** @ignore */
  takeOver(before: unknown): void {
    // What the program says at the start may be other than it was: only what was written since
    // counts.
    if (!(before instanceof Cell) || !before.#written) return;
    this.#value = before.#value;
    this.#written = true;
  }

  /** The value; read in a run it is a dependency. */
  get value(): T {
    this.#dependency = dependOn(this, undefined, this.#dependency);
    return this.#value;
  }

  /** Writing an equal value changes nothing, unless it is an object that can have changed. */
  set value(value: T) {
    refuseInRun(this.name);
    if (isSameForever(this.#value, value)) return;
    // A record that cannot be written throws: then nothing has changed.
    wrote({ name: this.name, op: "set", value });
    this.#value = value;
    this.#written = true;
    if (this.#dependency !== 0) notify(this.#dependency);
  }

  /** @ignore */
  forget(): void {
    this.#dependency = 0;
  }

  /** @ignore */
  describe(): string {
    refuseFlow("described");
    return `${this.name} = ${safeText(this.#value)}`;
  }
}

/**
 * Packets and bytes that flows credit. What a policy decides by a counter holds for one packet: it
 * gets no flow, which would have to end with the next packet that is counted.
 */
export class Counter implements Credited {
  /** Its name. */
  readonly name: string;
  #packets = 0n;
  #bytes = 0n;
  #usedMs: number | undefined = undefined;

  /** Makes a counter. */
  constructor(options: { readonly name?: string } = {}) {
    this.name = nameOf("counter", options.name);
  }

  /** Packets so far. */
  get packets(): bigint {
    return this.#read(this.#packets);
  }

  /** Their bytes. */
  get bytes(): bigint {
    return this.#read(this.#bytes);
  }

  /** When the last of them was seen, ms since 1970. */
  get usedMs(): number | undefined {
    return this.#read(this.#usedMs);
  }

  #read<T>(value: T): T {
    refuseFlow("counter");
    return value;
  }

  /** @ignore */
  add(packets: bigint, bytes: bigint, usedMs: number): void {
    refuseInRun(this.name);
    this.#packets += packets;
    this.#bytes += bytes;
    if (packets > 0n) this.#usedMs = Math.max(this.#usedMs ?? 0, usedMs);
  }
}

/** The ports of a datapath, as policies see them: a run that floods depends on which there are. */
export class PortsView implements Owner {
  readonly #ports = new Set<PortNo>();
  readonly #floods = new Map<PortNo | undefined, readonly Action[]>();
  #dependency = 0;

  /** Makes a view of these ports. */
  constructor(ports: Iterable<PortNo> = []) {
    for (const port of ports) this.#ports.add(port);
  }

  /** Numbers of the ports, in order. */
  list(): PortNo[] {
    this.#depend();
    return [...this.#ports].sort((a, b) => a - b);
  }

  /** Outputs to every port but one. */
  allBut(except: PortNo | undefined): readonly Action[] {
    this.#depend();
    let known = this.#floods.get(except);
    if (known === undefined) {
      const ports = [...this.#ports].sort((a, b) => a - b);
      known = frozenCopy(ports.filter((no) => no !== except).map((no) => output(no)));
      this.#floods.set(except, known);
    }
    return known;
  }

  #depend(): void {
    this.#dependency = dependOn(this, undefined, this.#dependency);
  }

  /** Says which ports there are now. */
  update(ports: Iterable<PortNo>): void {
    refuseInRun("the set of ports");
    const next = new Set(ports);
    if (next.size === this.#ports.size && next.isSubsetOf(this.#ports)) return;
    this.#ports.clear();
    this.#floods.clear();
    for (const port of next) this.#ports.add(port);
    if (this.#dependency !== 0) notify(this.#dependency);
  }

  /** @ignore */
  forget(): void {
    this.#dependency = 0;
  }

  /** @ignore */
  describe(): string {
    refuseFlow("described");
    return `the ports ${[...this.#ports].join(", ")}`;
  }
}

for (const kind of [Cell, Counter, PortsView]) noteThings(kind);
