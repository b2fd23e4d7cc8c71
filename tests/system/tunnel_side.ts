// SPDX-License-Identifier: Apache-2.0
/**
 * One side of a tunnel test: makes a datapath with a local host and a tunnel port in this
 * namespace.
 */
import { openDatapath } from "../../mod.ts";

const { type, name, actions, index } = JSON.parse(Deno.args[0] ?? "{}");
await using dp = await openDatapath("system@dptun", { create: "exclusive" });
const { no } = await dp.ports.add({ name, type });
const setUp = [
  ["link", "set", "dptun", "up", "mtu", "1400"],
  ["addr", "add", `10.91.0.${index}/24`, "dev", "dptun"],
];
for (const args of setUp) {
  const { success } = await new Deno.Command("ip", { args }).output();
  if (!success) throw new Error(`ip ${args.join(" ")}`);
}
const far = `src=10.90.0.${3 - index},dst=10.90.0.${index}`;
for (const etherType of ["0x0806", "0x0800"]) {
  dp.flows.put({
    key: `in_port(0),eth(),eth_type(${etherType})`,
    actions: `${actions},${no}`,
  });
  dp.flows.put({
    key:
      `tunnel(tun_id=0x2a,${far},ttl=64/0,flags(+key)),in_port(${no}),eth(),eth_type(${etherType})`,
    actions: "0",
  });
}
