// SPDX-License-Identifier: Apache-2.0
/**
 * Flows that packets add.
 *
 * @module
 */
import { clockMs } from "../../policy/clock.ts";
import { Cell, type Learner } from "../../policy/mod.ts";
import { packMatch } from "../wire/packed/packed_match.ts";
import { OfError } from "../wire/error.ts";
import type { FlowMod } from "../wire/message.ts";
import { parseFlow } from "../text/flow.ts";
import type { Rule } from "../table/rule.ts";
import type { Flows, Stage } from "./flows.ts";

/** What limits how many flows are learned: they have one cookie, in one table. */
export interface Limit {
  readonly table: number;
  readonly cookie: bigint;
  /** 0 for any number. */
  readonly limit: number;
}

/** Flows that wait to be added at most: packets teach others again. */
const MAX_WAITING = 4096;

/** The flow of a text; undefined for one that cannot be, whatever the learning flow said. */
function modOf(text: string): FlowMod | undefined {
  try {
    return parseFlow(text);
  } catch (error) {
    if (error instanceof OfError) return undefined;
    throw error;
  }
}

/** Adds flows that packets teach, each as text. */
export class Learned implements Learner {
  readonly name = "learned flows";
  readonly #flows: () => Flows;
  /** Changes when flows of a table came or went that are counted: flows rest on it. */
  readonly #counted = new Cell(0);
  readonly #tables = new Set<number>();

  /** Flows that wait for other changes. */
  readonly #waiting = new Set<string>();
  readonly #failed: (error: unknown) => void;

  /** Adds to `flows`. `failed` is told of faults that are no packet's. */
  constructor(flows: () => Flows, failed: (error: unknown) => void) {
    this.#flows = flows;
    this.#failed = failed;
  }

  /** Whether a flow is there, or may be added. */
  mayAdd(text: string, limit: Limit): boolean {
    this.#tables.add(limit.table);
    void this.#counted.value;
    return this.#same(text) !== undefined || this.#hasRoom(limit);
  }

  #hasRoom({ table, cookie, limit }: Limit): boolean {
    if (limit === 0) return true;
    let count = 0;
    for (const rule of this.#flows().table(table).rules()) {
      if (rule.cookie === cookie && ++count >= limit) return false;
    }
    return true;
  }

  /** The rule that a flow is already. */
  #same(text: string): Rule | undefined {
    const mod = modOf(text);
    if (mod === undefined) return undefined;
    const rule = this.#flows().find(mod.table, packMatch(mod.match), mod.priority);
    return rule !== undefined && rule.learnedAs === text ? rule : undefined;
  }

  /** Flows of some tables came or went. */
  changed(tables: ReadonlySet<number>): void {
    if (!this.#tables.isDisjointFrom(tables)) this.#counted.value++;
  }

  /** A flow comes as text; one that is there is as good as new. */
  set(text: string, limit: number): void {
    this.hear(text, limit, clockMs());
  }

  /** @ignore */
  hear(key: unknown, value: unknown, atMs: number): void {
    const text = key as string;
    const known = this.#same(text);
    if (known !== undefined) {
      known.modifiedMs = Math.max(known.modifiedMs, atMs);
      return;
    }
    const mod = modOf(text);
    if (mod === undefined) return;
    const { table, newCookie: cookie = 0n } = mod;
    if (this.#waiting.has(text) || this.#waiting.size >= MAX_WAITING) return;
    const flows = this.#flows();
    const learn: Stage = (change) => {
      if (!this.#hasRoom({ table, cookie, limit: value as number })) return;
      // As in Open vSwitch: a learned flow may end with connections, whatever it matches.
      return flows.stage({ ...mod, learnedAs: text }, { isOld: true }, change);
    };
    // The packet goes on, whatever becomes of what it teaches.
    const failed = (error: unknown): void => {
      // There is no room for it any more, or what it names is gone.
      if (!(error instanceof OfError)) this.#failed(error);
    };
    try {
      const done = flows.soon(learn);
      if (done === undefined) return;
      this.#waiting.add(text);
      void done.catch(failed).finally(() => void this.#waiting.delete(text));
    } catch (error) {
      failed(error);
    }
  }
}
