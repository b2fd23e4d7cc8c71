// SPDX-License-Identifier: Apache-2.0
/**
 * Dependencies: what a verdict rests on beside the packet, each a number.
 *
 * State makes one when a run first reads a thing (a cell, a key of a map, the absence of keys in a
 * block), and forgets it when nothing rests on it any more. The keeper of flows is a {@linkcode
 * Listener}: it is told which dependencies changed.
 *
 * @module
 */
import type { Layout } from "../packet/layout.ts";

/** What owns a dependency: a piece of state. */
export interface Owner {
  /** Nothing rests on the dependency any more: `key` is what it was made for. */
  forget(id: number, key: unknown): void;
  /** What it is, for people; some are several things. */
  describe(key: unknown): string | readonly string[];
}

/** Says whether a flow whose key this is, under its mask, may be touched by a change. */
export type Touches = (flow: FlowBits) => boolean;

/** Key and mask of a flow. */
export interface FlowBits {
  /** Bytes in which the key as it came up is, and where in them. */
  readonly keyBytes: Uint8Array;
  readonly keyFrom: number;
  /** Where everything is in key and mask. */
  readonly layout: Layout;
  readonly maskBytes: Uint8Array;
}

/** A keeper of flows. */
export interface Listener {
  /** A dependency changed; with `touches`, only for the flows that it says true to. */
  changed(id: number, touches?: Touches): void;
}

const owners: (Owner | undefined)[] = [undefined];
const keys: unknown[] = [undefined];
let references = new Int32Array(256);
const free: number[] = [];
let changes = 0;
const listeners = new Set<Listener>();

/** Makes a dependency. */
export function makeDependency(owner: Owner, key: unknown): number {
  const id = free.pop() ?? owners.length;
  owners[id] = owner;
  keys[id] = key;
  if (id >= references.length) {
    const more = new Int32Array(2 * references.length);
    more.set(references);
    references = more;
  }
  references[id] = 0;
  return id;
}

/** Something rests on it. */
export function holdDependency(id: number): void {
  references[id] = (references[id] as number) + 1;
}

/** Something rests on it no longer; the last one lets it go. */
export function releaseDependency(id: number): void {
  const left = (references[id] as number) - 1;
  references[id] = left;
  if (left <= 0) dropUnused(id);
}

/** Lets a dependency go on which nothing rests. */
export function dropUnused(id: number): void {
  const owner = owners[id];
  if (owner === undefined || (references[id] as number) > 0) return;
  const key = keys[id];
  owners[id] = undefined;
  keys[id] = undefined;
  free.push(id);
  owner.forget(id, key);
}

/** Whether anything rests on it. */
export function isHeld(id: number): boolean {
  return (references[id] as number) > 0;
}

/** What a dependency was made for, if this owner made it. */
export function keyIn(id: number, owner: Owner): unknown {
  return owners[id] === owner ? keys[id] : undefined;
}

/**
 * How often something changed of what {@linkcode noteChange} is told. What looks a packet up has
 * the same answer for it while this has not passed its own last change.
 */
export function changesSoFar(): number {
  return changes;
}

/** Something changed that packets are looked up in; answers its number. */
export function noteChange(): number {
  return ++changes;
}

/** What a dependency is, for people: mostly one thing. */
export function describeDependency(id: number): readonly string[] {
  return [owners[id]?.describe(keys[id]) ?? `dependency ${id}`].flat();
}

/** Tells those who keep flows that a dependency changed. */
export function notify(id: number, touches?: Touches): void {
  for (const listener of listeners) listener.changed(id, touches);
}

/** Tells a listener of changes until it is disposed of. */
export function listen(listener: Listener): Disposable {
  listeners.add(listener);
  return { [Symbol.dispose]: () => void listeners.delete(listener) };
}

/** Dependencies that exist; for tests that look for leaks. */
export function dependencyCount(): number {
  return owners.length - 1 - free.length;
}
