// SPDX-License-Identifier: Apache-2.0
/**
 * This project as a switch between the devices `p1` and `p2`: the two flows that the other switches
 * of `iperf.ts` have too, or an example, which `IPERF_EXAMPLE` names and the arguments are for.
 * `IPERF_TYPE` is the type of the ports, `IPERF_NAP_US` the longest nap of the poll thread. Runs
 * until it is ended.
 *
 * @module
 */
import { openDatapath } from "../../mod.ts";
import { POLL_CORE } from "./machine.ts";

await using dp = await openDatapath("netdev@iperf", { create: true });
const napUs = Deno.env.get("IPERF_NAP_US");
await dp.pollThreads?.set(
  `0x${(1 << POLL_CORE).toString(16)}`,
  napUs === undefined ? {} : { maxSleepUs: Number(napUs) },
);
const example = Deno.env.get("IPERF_EXAMPLE");
if (example === undefined) {
  const type = Deno.env.get("IPERF_TYPE");
  const one = await dp.ports.add({ name: "p1", ...(type && { type }) });
  const two = await dp.ports.add({ name: "p2", ...(type && { type }) });
  for (const [from, to] of [[one.no, two.no], [two.no, one.no]]) {
    for (const type of ["0x0800", "0x0806"]) {
      const rest = type === "0x0800" ? "ipv4(frag=no)" : "arp()";
      dp.flows.put({
        key: `recirc_id(0),in_port(${from}),eth_type(${type}),${rest}`,
        actions: `${to}`,
      });
    }
  }
} else {
  // It finds the datapath, and so the same poll thread, and never ends.
  void import(new URL(`../../examples/${example}.ts`, import.meta.url).href);
  while (dp.ports.get("p2") === undefined || [...dp.flows.dump()].length === 0) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
console.log("forwarding");
await new Promise(() => setInterval(() => {}, 60_000));
