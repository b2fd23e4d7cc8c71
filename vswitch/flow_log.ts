// SPDX-License-Identifier: Apache-2.0
/**
 * What the log says of flows of a userspace datapath, in the words of Open vSwitch.
 *
 * @module
 */
import type { PutFlow } from "../policy/mod.ts";
import { formatActions, formatKey } from "../providers/odp/mod.ts";
import { withHanded } from "./handed_text.ts";
import type { Say } from "./log.ts";

/** Logs a flow that came, or that has other actions. */
export function logFlow(log: Say, flow: PutFlow, isNew: boolean): void {
  const words = (verbose: boolean): string => {
    const { ufid, key, mask: { bytes: mask }, actions: { bytes } } = flow;
    const actions = withHanded(formatActions(bytes)) || "drop";
    return `ufid:${ufid} ${formatKey({ key, mask }, { verbose })}, actions:${actions}`;
  };
  const kind = isNew ? "create" : "modify";
  log("dpif", "dbg", () => `dummy@ovs-dummy: put[${kind}] ${words(true)}`);
  if (isNew) log("dpif_netdev", "dbg", () => `flow_add: ${words(false)}`);
}
