// SPDX-License-Identifier: Apache-2.0
/**
 * One end of tunnels in a namespace of its own: a userspace datapath with an underlay, and for each
 * tunnel a TAP device whose packets go through it.
 *
 *     ip netns exec NAMESPACE deno run -A side.ts SPEC
 *
 * Says "ready"; answers each line with what the control command of that name says; ends with its
 * standard input.
 *
 * @module
 */
import { controlCommands } from "../../../control/commands.ts";
import { Log } from "../../../control/log.ts";
import { openDatapath } from "../../../mod.ts";
import { run } from "../../support/command.ts";
import type { SideSpec } from "./lab.ts";
import { lines } from "./lines.ts";

const spec = JSON.parse(Deno.args[0] ?? "") as SideSpec;
/** A flow is of one EtherType. */
const arp = "0x0806";
const types = ["0x0800", arp, "0x86dd"];
await using dp = await openDatapath(`netdev@${spec.name}`, {
  create: true,
  config: { local: spec.isBridged ? "tap" : "none", ...spec.config },
  onNotice: () => {},
});
const underlay = await dp.ports.add({ name: "eth0", type: "system" });
if (spec.isBridged) {
  // As with Open vSwitch: the local port has the addresses, and the device is a port beside it.
  for (const type of types) {
    dp.flows.put({
      key: `in_port(0),eth(),eth_type(${type})`,
      actions: `${underlay.no}`,
    });
    dp.flows.put({
      key: `in_port(${underlay.no}),eth(),eth_type(${type})`,
      actions: "0",
    });
  }
  for (const line of spec.bridge ?? []) await run("ip", ...line.split(" "));
}
for (const tunnel of spec.tunnels) {
  const { name, type, options = {}, actions = "", back = "", tap } = tunnel;
  const { no } = await dp.ports.add({ name, type, options });
  const inner = await dp.ports.add({ name: tap, type: "tap" });
  const list = (...parts: (string | number)[]) =>
    parts.filter((part) => part !== "").join(",");
  const isLayer3 = back !== "";
  for (const type of types) {
    dp.flows.put({
      key: `in_port(${inner.no}),eth(),eth_type(${type})`,
      actions: list(actions, no),
    });
    if (isLayer3 && type === arp) continue; // A port without Ethernet header sends no ARP.
    dp.flows.put({
      key: isLayer3
        ? `in_port(${no}),packet_type(ns=1,id=${type}),eth_type(${type})`
        : `in_port(${no}),eth(),eth_type(${type})`,
      actions: list(back, inner.no),
    });
  }
  for (const line of tunnel.commands) await run("ip", ...line.split(" "));
}
const commands = controlCommands({ dp, log: new Log(), onExit: () => {} });
console.log("ready");
for await (const line of lines(Deno.stdin.readable)) {
  const [method = "", ...args] = line.split(" ");
  const client = { hungUp: () => new Promise<void>(() => {}) };
  const answer = await Promise.resolve(commands.get(method)?.run(args, client) ?? "none")
    .catch((error: Error) => `error: ${error.message}`);
  console.log(JSON.stringify(answer));
}
