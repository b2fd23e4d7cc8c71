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
    const { added, expired, evicted, flapping } = of.stations.counters;
    const { size, most, fixed } = of.stations;
    return `Statistics for bridge "${name}":\n` +
      `  Current/maximum MAC entries in the table: ${size + fixed.size}/${most}\n` +
      `  Current static MAC entries in the table : ${fixed.size}\n` +
      `  Total number of learned MAC entries     : ${added}\n` +
      `  Total number of expired MAC entries     : ${expired}\n` +
      `  Total number of evicted MAC entries     : ${evicted}\n` +
      `  Total number of port moved MAC entries  : ${flapping}\n`;
  });
  add("fdb/del", "bridge vlan mac", [3, 3], ([name = "", vlan = "", mac = ""]) => {
    const { stations } = named(name).of;
    const key = stationOf(vlan, mac);
    const [fixed, learned] = [stations.fixed.delete(key), stations.delete(key)];
    if (!fixed && !learned) throw new CommandError("could not find static mac entry\n");
    return "";
  });
  add("fdb/add", "bridge port vlan mac", [4, 4], (args) => {
    const [name = "", portName = "", vlan = "", mac = ""] = args;
    const { ports, stations } = named(name).of;
    const port = [...ports.value.values()].find((one) => one.name === portName)?.port;
    if (port === undefined) throw new CommandError(`no port ${portName}`);
    const key = stationOf(vlan, mac);
    const [fixed, before] = [stations.fixed.get(key), stations.get(key)];
    stations.fix(key, port);
    if (before === undefined || before === port && fixed !== undefined) return "";
    const kind = fixed === undefined ? "dynamic" : "static";
    return `Overriding already existing ${kind} entry on ${portLabel(before)}\n`;
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
  // As in Open vSwitch: those that were silent longest come first.
  const all = [
    ...[...of.stations.fixed.entries()].map(([key, port]) => ({
      ...{ key, port, usedMs: nowMs, isFixed: true },
    })),
    ...[...of.stations.entries()].map(([key, port]) => ({
      ...{ key, port, usedMs: of.stations.usedMs(key) ?? nowMs, isFixed: false },
    })),
  ].sort((a, b) => a.usedMs - b.usedMs);
  const lines = all.map(({ key, port, usedMs, isFixed }) => {
    const [vlan = "0", address = "0"] = key.split(" ");
    const mac = address.padStart(12, "0").replace(/..(?!$)/g, "$&:");
    const age = `${Math.max(0, Math.floor((nowMs - usedMs) / 1000))}`.padStart(3);
    return `${portLabel(port).padStart(5)}  ${vlan.padStart(4)}  ${mac}  ` +
      `${isFixed ? "static" : age}\n`;
  });
  return ` port  VLAN  MAC                Age\n${lines.join("")}`;
}

function portLabel(port: number): string {
  return port === Port.local ? "LOCAL" : `${port}`;
}

/** What an address in a VLAN is known by. Throws {@linkcode CommandError}. */
function stationOf(vlan: string, mac: string): string {
  const address = mac.replaceAll(":", "");
  if (!/^\d{1,4}$/.test(vlan)) throw new CommandError("Invalid vlan");
  if (!/^[0-9a-f]{12}$/i.test(address)) throw new CommandError("bad MAC address");
  return `${Number(vlan)} ${BigInt(`0x${address}`).toString(16)}`;
}
