// SPDX-License-Identifier: Apache-2.0
/**
 * The process that `threads.ts` measures: a datapath whose receiving port has two queues. A line of
 * standard input is the mask of cores that shall poll; each is answered when it holds. Between
 * lines this thread sleeps.
 *
 *     deno run -A tests/bench/threads_side.ts NAME RECEIVER SENDER FLOWS
 *
 * @module
 */
import { openDatapath, portNo } from "../../mod.ts";
import type { FlowText } from "./scenario.ts";
import { helpIfAsked } from "./usage.ts";

helpIfAsked(import.meta.url);
const [name = "", receiver = "", sender = "", file = ""] = Deno.args;
await using dp = await openDatapath(`netdev@${name}`, { create: true });
await dp.ports.add({
  name: "p1",
  no: portNo(1),
  type: "dpdk",
  options: { devargs: receiver, n_rxq: "2" },
});
await dp.ports.add({
  name: "p2",
  no: portNo(2),
  type: "dpdk",
  options: { devargs: sender },
});
for (const flow of JSON.parse(Deno.readTextFileSync(file)) as FlowText[]) {
  dp.flows.put(flow);
}
let rest = "";
for await (const text of Deno.stdin.readable.pipeThrough(new TextDecoderStream())) {
  const lines = (rest + text).split("\n");
  rest = lines.pop() ?? "";
  for (const mask of lines) {
    await dp.pollThreads?.set(mask);
    console.log(`cores ${mask}`);
  }
}
