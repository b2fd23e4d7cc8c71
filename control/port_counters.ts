// SPDX-License-Identifier: Apache-2.0
/**
 * Ports with their counters, while others add and delete ports.
 *
 * @module
 */
import type { Port, PortStats } from "../providers/contract/ports.ts";
import type { Datapath } from "../providers/datapath.ts";
import { DatapathError } from "../providers/errors.ts";

/** What a provider answers about a port that has gone, or whose device has. */
const gone: ReadonlySet<string> = new Set(["ENODEV", "ENOENT", "ENXIO"]);

/** Every port with its counters. A port that goes between the two questions is left out. */
export function portsWithStats(
  dp: Datapath,
): { readonly port: Port; readonly stats: PortStats }[] {
  return [...dp.ports.dump()].flatMap((port) => {
    try {
      return [{ port, stats: dp.ports.stats(port.no) }];
    } catch (error) {
      if (error instanceof DatapathError && gone.has(error.code)) return [];
      throw error;
    }
  });
}
