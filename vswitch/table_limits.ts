// SPDX-License-Identifier: Apache-2.0
/**
 * Limits that a database has for tables of flows.
 *
 * @module
 */
import { shrink } from "../openflow/switch/eviction.ts";
import type { Switch } from "../openflow/switch/switch.ts";
import type { BridgeConfig } from "./config.ts";

/** Limits of a switch's tables. */
export class TableLimits {
  readonly #of: Switch;
  #limited: ReadonlySet<number> = new Set();
  readonly #named = new Set<number>();

  /** Begins without any. */
  constructor(of: Switch) {
    this.#of = of;
  }

  /** Has tables the limits that they are to have; what is beyond these goes, where it may. */
  async set(tables: BridgeConfig["tables"]): Promise<void> {
    const { flows } = this.#of;
    for (const id of new Set([...this.#limited, ...tables.keys()])) {
      const { name = "", most, groups } = tables.get(id) ?? {};
      const table = this.#of.table(id);
      // One that controllers gave stays, unless the database had given another.
      if (name !== "" || this.#named.has(id)) table.name = name;
      table.isNamed = name !== "";
      if (name === "") this.#named.delete(id);
      else this.#named.add(id);
      table.limits = { ...table.limits, most, keeps: groups && { groups } };
      if (table.size <= (most ?? Infinity)) continue;
      await flows.soon((change) => shrink(flows, table, change));
    }
    this.#limited = new Set(tables.keys());
  }
}
