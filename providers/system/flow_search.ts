// SPDX-License-Identifier: Apache-2.0
/**
 * Flows by a key that they cover.
 *
 * The kernel finds a flow by its UFID or, if it has none, by the very key that it was put with. The
 * contract wants more: any key that the flow covers. What the kernel does not find is looked for
 * in a listing of the table, which takes as long as the table is large.
 *
 * @module
 */
import { idsOf } from "../odp/attributes.ts";
import { covers } from "../odp/covers.ts";
import { decodeKey, keyTable } from "../odp/key.ts";
import { decodeMask } from "../odp/mask.ts";
import type { RawFlow } from "../contract/flows.ts";
import type { FlowKey, FlowMask } from "../types.ts";
import type { SystemFlows } from "./flow_table.ts";
import { findAttribute } from "./ovs.ts";

const { inPort: OVS_KEY_ATTR_IN_PORT } = idsOf(keyTable);
/** Flows that are asked for at once. */
const dumpBatch = 128;

/** Bytes of attribute `in_port`, as text to compare. */
function inPortOf(key: Uint8Array): string | undefined {
  const at = findAttribute(key, OVS_KEY_ATTR_IN_PORT);
  return at < 0 ? undefined : key.subarray(at + 4, at + 8).join();
}

/** Whether a mask says that all bits of the port matter. */
function isOfOnePort(mask: Uint8Array | undefined): boolean {
  return mask !== undefined && inPortOf(mask) === "255,255,255,255";
}

/** A key with its mask as objects; undefined where the bytes are none. */
function matchOf(
  { key, mask }: Pick<RawFlow, "key" | "mask">,
): { key: FlowKey; mask: FlowMask } | undefined {
  try {
    if (key === undefined) return undefined;
    const decoded = decodeKey(key);
    if (mask) return { key: decoded, mask: decodeMask(mask, key) };
    const all = Object.keys(decoded).map((name) => [name, true]);
    return { key: decoded, mask: Object.fromEntries(all) as FlowMask };
  } catch {
    return undefined;
  }
}

/** A flow of the table that covers `key`; undefined if there is none. Throws `NetlinkError`. */
export function findCovering(flows: SystemFlows, key: Uint8Array): RawFlow | undefined {
  const wanted = matchOf({ key })?.key;
  if (!wanted) return undefined;
  const port = inPortOf(key);
  const dump = flows.dump({});
  try {
    for (;;) {
      const found = dump.next(dumpBatch);
      if (found.length === 0) return undefined;
      for (const flow of found) {
        if (flow.key === undefined) continue;
        // Most flows are of another port, which is cheap to see.
        if (isOfOnePort(flow.mask) && inPortOf(flow.key) !== port) continue;
        const match = matchOf(flow);
        if (match && covers(wanted, match)) return flow;
      }
    }
  } finally {
    dump.close();
  }
}
