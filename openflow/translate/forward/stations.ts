// SPDX-License-Identifier: Apache-2.0
/**
 * Where addresses are: at which port of a switch, by VLAN and address. Packets say so, unless a
 * person did.
 *
 * @module
 */
import { StateMap } from "../../../policy/mod.ts";

/** How much is known, and for how long. */
interface Limits {
  idleMs: number;
  max: number;
}

/** Where addresses are. */
export class Stations extends StateMap<string, number> {
  readonly #limits: Limits;
  /** Those that packets do not move. */
  readonly fixed: StateMap<string, number>;
  /** Packets that came from where a fixed address is not. */
  strays = 0;

  /** Begins without any. */
  constructor(limits: Limits = { idleMs: 300_000, max: 65_536 }) {
    super(limits);
    this.#limits = limits;
    this.fixed = new StateMap({ max: limits.max });
  }

  /** Addresses that packets may teach, at most. */
  get most(): number {
    return this.#limits.max;
  }

  /** Has others go after so many ms, and there be no more than so many. */
  limit({ idleMs, max }: Readonly<Limits>): void {
    Object.assign(this.#limits, { idleMs, max });
    const silent = [...this.entries()].map(([key]) => ({
      key,
      ms: this.usedMs(key) ?? 0,
    }))
      .sort((a, b) => a.ms - b.ms);
    for (const { key } of silent.slice(0, Math.max(0, silent.length - max))) {
      this.delete(key);
    }
  }

  /** The port that an address is at. */
  override get(key: string): number | undefined {
    return this.fixed.get(key) ?? super.get(key);
  }

  /** Has an address be at a port, unless it is fixed. */
  override set(key: string, port: number): this {
    return this.#isStray(key, port) ? this : super.set(key, port);
  }

  /** @ignore */
  override hear(key: unknown, port: unknown, atMs: number, sinceMs = atMs): void {
    if (!this.#isStray(key as string, port as number)) {
      super.hear(key, port, atMs, sinceMs);
    }
  }

  /** Whether an address is fixed; counts packets from elsewhere. */
  #isStray(key: string, port: number): boolean {
    const fixed = this.fixed.get(key);
    if (fixed === undefined) return false;
    if (fixed !== port) this.strays++;
    return true;
  }

  /** Has an address be at a port whatever packets say. */
  fix(key: string, port: number): void {
    this.delete(key);
    this.fixed.set(key, port);
  }
}
