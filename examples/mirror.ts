// A wire between two ports, and a third that sees a share of what passes.
// Try: deno run -A examples/mirror.ts netdev@tap0 eth1 eth2 monitor 10
import { openDatapath, output, sample } from "../mod.ts";
import { ready, words } from "./start.ts";

const [datapath, left, right, monitor, percent = "100"] = words(
  "DATAPATH",
  "DEVICE",
  "DEVICE",
  "MONITOR",
  "[PERCENT]",
);
await using dp = await openDatapath(datapath, { create: true });
const port = async (name: string) => dp.ports.get(name) ?? await dp.ports.add({ name });
const [a, b, copy] = [await port(left), await port(right), await port(monitor)];
await ready(dp);

// Each protocol and address pair that shows up gets a flow of its own, so that the table tells what
// passes.
for await (const { kind, packet, key } of dp.upcalls()) {
  if (kind !== "miss" || key.inPort === copy.no) continue;
  const actions = [
    sample(Number(percent) / 100, [output(copy.no)]),
    output(key.inPort === a.no ? b.no : a.no),
  ];
  const mask = { inPort: true, ethernet: true, etherType: true } as const;
  dp.operate([{ op: "put", packet, key, mask, actions }]);
}
