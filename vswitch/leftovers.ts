// SPDX-License-Identifier: Apache-2.0
/**
 * Ports that are to go from a datapath, and those of them that could not yet.
 *
 * @module
 */
import type { Datapath } from "../providers/datapath.ts";
import { LOCAL_PORT, type PortNo } from "../providers/ids.ts";

/** What is needed of a datapath's ports. */
export type LeavingPorts = Pick<Datapath["ports"], "get" | "delete">;

/** Ports that should not be there any more. */
export class Leftovers {
  readonly #from: LeavingPorts;
  readonly #failed: (error: unknown) => void;
  readonly #ports = new Map<string, PortNo>();

  /** Begins without any. `failed` is told once of a port that cannot be taken away. */
  constructor(from: LeavingPorts, failed: (error: unknown) => void) {
    this.#from = from;
    this.#failed = failed;
  }

  /** Whether all went. */
  get isEmpty(): boolean {
    return this.#ports.size === 0;
  }

  /** Whether a port of that name is still there that should not be. */
  has(name: string): boolean {
    return this.#ports.has(name);
  }

  /** Takes a port away; one that stays is one of these. */
  async remove(no: PortNo, name: string): Promise<void> {
    const isThere = (): boolean => this.#from.get(no)?.name === name;
    try {
      if (isThere()) await this.#from.delete(no);
      this.#ports.delete(name);
    } catch (error) {
      try {
        if (!isThere()) return void this.#ports.delete(name); // It went by itself meanwhile.
      } catch {
        // Nor does the datapath tell what it has.
      }
      if (!this.#ports.has(name)) this.#failed(error);
      this.#ports.set(name, no);
    }
  }

  /** Tries again. */
  async retry(): Promise<void> {
    for (const [name, no] of [...this.#ports]) await this.remove(no, name);
  }
}

/**
 * Takes ports away that nobody wants, but for the local one: of a datapath that outlives programs
 * they would stay for ever. `failed` is told of those that cannot be taken away.
 */
export async function sweep(
  ports: Pick<Datapath["ports"], "dump" | "delete">,
  wanted: ReadonlySet<string>,
  failed: (error: unknown) => void,
): Promise<void> {
  for (const { no, name } of [...ports.dump()]) {
    if (no === LOCAL_PORT || wanted.has(name)) continue;
    try {
      await ports.delete(no);
    } catch (error) {
      failed(error);
    }
  }
}
