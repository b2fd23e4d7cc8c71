// SPDX-License-Identifier: Apache-2.0
/**
 * Commands about bridges: which there are, their flows, and where they learned addresses to be.
 *
 * @module
 */
import { clockMs } from "../../policy/clock.ts";
import { CommandError } from "../../control/command_error.ts";
import { formatInstructions } from "../../openflow/text/action.ts";
import { formatMatch } from "../../openflow/text/match.ts";
import { Port } from "../../openflow/wire/port_number.ts";
import type { Bridge } from "../bridge.ts";
import { type Add, bridgeOf, type ServedDaemon, sortedBridges } from "./served.ts";

/** Adds them. */
export function bridgeCommands(add: Add, { daemon }: ServedDaemon): void {
  const named = (name: string): Bridge => bridgeOf(daemon, name);
  add(
    "ofproto/list",
    "",
    [0, 0],
    () => sortedBridges(daemon).map(({ name }) => `${name}\n`).join(""),
  );
  add("bridge/dump-flows", "[--offload-stats] bridge", [1, 2], async (args) => {
    const bridge = bridgeOf(daemon, args.at(-1) ?? "", "Unknown bridge");
    await bridge.of.runtime.refresh();
    return flowsText(bridge);
  });
  add("fdb/show", "bridge", [1, 1], ([name = ""]) => stationsText(named(name)));
  add("fdb/flush", "[bridge]", [0, 1], ([name]) => {
    const bridges = name === undefined ? sortedBridges(daemon) : [named(name)];
    for (const { of } of bridges) of.stations.clear();
    return "table successfully flushed\n";
  });
  add("fdb/stats-show", "bridge", [1, 1], ([name = ""]) => {
    const { of } = named(name);
    const { expired, evicted, flapping } = of.stations.counters;
    return `Statistics for bridge "${name}":\n` +
      `  Current/maximum MAC entries in the table: ${of.stations.size}/${of.stationLimit}\n` +
      `  Total number of expired MAC entries     : ${expired}\n` +
      `  Total number of evicted MAC entries     : ${evicted}\n` +
      `  Total number of port moved MAC entries  : ${flapping}\n`;
  });
  add("fdb/del", "bridge vlan mac", [3, 3], ([name = "", vlan = "", mac = ""]) => {
    const address = mac.replaceAll(":", "");
    if (!/^\d{1,4}$/.test(vlan)) throw new CommandError("Invalid vlan");
    if (!/^[0-9a-f]{12}$/i.test(address)) throw new CommandError("Invalid MAC address");
    const key = `${Number(vlan)} ${BigInt(`0x${address}`).toString(16)}`;
    if (!named(name).of.stations.delete(key)) {
      throw new CommandError("MAC entry not found");
    }
    return "";
  });
  add("bridge/reconnect", "[bridge]", [0, 1], async ([name]) => {
    const bridges = name === undefined
      ? sortedBridges(daemon)
      : [bridgeOf(daemon, name, "not a bridge")];
    for (const bridge of bridges) await bridge.peers.reconnect();
    return "";
  });
}

function flowsText({ of }: Bridge): string {
  const nowMs = clockMs();
  return [...of.flows.rules()].map((rule) => {
    const { counter, createdMs, table, cookie, priority } = rule;
    const words = [
      `duration=${Math.floor((nowMs - createdMs) / 1000)}s`,
      `n_packets=${counter.packets}`,
      `n_bytes=${counter.bytes}`,
    ];
    if (table !== 0) words.unshift(`table_id=${table}`);
    if (cookie !== 0n) words.unshift(`cookie=0x${cookie.toString(16)}`);
    const match = formatMatch(rule.match, priority);
    const said = priority === 0x8000 ? `priority=${priority}${match && ","}` : "";
    const actions = formatInstructions(rule.instructions);
    return `${words.join(", ")}, ${said}${match},actions=${actions}\n`;
  }).join("");
}

/** Where addresses are: port, VLAN, address, and for how many seconds nothing came from there. */
function stationsText({ of }: Bridge): string {
  const nowMs = clockMs();
  const lines = [...of.stations.entries()].map(([key, port]) => {
    const [vlan = "0", address = "0"] = key.split(" ");
    const mac = address.padStart(12, "0").replace(/..(?!$)/g, "$&:");
    const usedMs = of.stations.usedMs(key) ?? nowMs;
    const age = Math.max(0, Math.floor((nowMs - usedMs) / 1000));
    const name = port === Port.local ? "LOCAL" : `${port}`;
    return `${name.padStart(5)}  ${vlan.padStart(4)}  ${mac}  ${`${age}`.padStart(3)}\n`;
  });
  return ` port  VLAN  MAC                Age\n${lines.join("")}`;
}
