// SPDX-License-Identifier: Apache-2.0
/**
 * What the log says of flows of a userspace datapath, in the words of Open vSwitch.
 *
 * @module
 */
import { flowText } from "../control/text/flow.ts";
import type { PutFlow } from "../policy/mod.ts";
import type { Datapath } from "../providers/datapath.ts";
import { formatActions, formatKey } from "../providers/odp/mod.ts";
import { inTheirWords, withoutLayer } from "./flow_words.ts";
import type { Say } from "./log.ts";

/** Logs a flow that came, or that has other actions. */
export function logFlow(log: Say, flow: PutFlow, isNew: boolean): void {
  const words = (verbose: boolean): string => {
    const { ufid, key, mask: { bytes: mask }, actions: { bytes } } = flow;
    const actions = formatActions(bytes) || "drop";
    const text = `${formatKey({ key, mask }, { verbose })}, actions:${actions}`;
    return `ufid:${ufid} ${inTheirWords(text)}`;
  };
  const kind = isNew ? "create" : "modify";
  log("dpif", "dbg", () => `dummy@ovs-dummy: put[${kind}] ${words(true)}`);
  if (isNew) log("dpif_netdev", "dbg", () => `flow_add: ${words(false)}`);
}

/** Logs what flows have counted: whole flows, or tersely their numbers only. */
export function logFlows(log: Say, dp: Datapath, isTerse: boolean): void {
  log("dpif", "dbg", () =>
    [...dp.flows.dump()].map((flow) => {
      const text = withoutLayer(inTheirWords(flowText(flow, { verbose: true })));
      const said = isTerse ? text.replace(/^(ufid:\S+) .*?(?=, packets:)/s, "$1") : text;
      return `dummy@ovs-dummy: flow_dump ${said}`;
    }));
}
