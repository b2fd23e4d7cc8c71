// SPDX-License-Identifier: Apache-2.0
/**
 * What goes wrong with a part of a switch: told once, and no reason for others to stop.
 *
 * @module
 */

/** Faults that there are, by the bridge and the step that has them. */
export class Faults {
  readonly #tell: (message: string) => void;
  readonly #faults = new Map<string, Map<string, string>>();

  /** Begins without any. `tell` is told of each that is new, or another than before. */
  constructor(tell: (message: string) => void) {
    this.#tell = tell;
  }

  /** Whether there is one: what failed may be tried again. */
  get isEmpty(): boolean {
    return this.#faults.size === 0;
  }

  /** Does a step; what it throws is a fault, until the step is done. Whether it was done. */
  async run(bridge: string, step: string, what: () => Promise<void>): Promise<boolean> {
    try {
      await what();
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      this.set(bridge, step, bridge === "" ? message : `bridge ${bridge}: ${message}`);
      return false;
    }
    this.delete(bridge, step);
    return true;
  }

  /** There is a fault. */
  set(bridge: string, step: string, message: string): void {
    const steps = this.#faults.get(bridge) ?? new Map<string, string>();
    this.#faults.set(bridge, steps);
    if (steps.get(step) === message) return;
    steps.set(step, message);
    this.#tell(message);
  }

  /** A step has no fault any more. */
  delete(bridge: string, step: string): void {
    const steps = this.#faults.get(bridge);
    steps?.delete(step);
    if (steps?.size === 0) this.#faults.delete(bridge);
  }

  /** Forgets bridges that are not to be there any more. The name of the switch itself is empty. */
  keep(bridges: { has(name: string): boolean }): void {
    for (const name of [...this.#faults.keys()]) {
      if (name !== "" && !bridges.has(name)) this.#faults.delete(name);
    }
  }
}
