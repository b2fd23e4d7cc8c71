// A hub: what comes in goes out of every other port.
// Try: deno run -A examples/hub.ts netdev@hub0 eth1 eth2
import { openDatapath, output } from "../mod.ts";
import { ready, words } from "./start.ts";

const [datapath, ...devices] = words("DATAPATH", "[DEVICE...]");
await using dp = await openDatapath(datapath, { create: true });
for (const name of devices) dp.ports.get(name) ?? await dp.ports.add({ name });
await ready(dp);

for await (const { kind, packet, key } of dp.upcalls()) {
  if (kind !== "miss") continue;
  const others = [...dp.ports.dump()].filter(({ no }) => no !== key.inPort);
  dp.execute({ packet, key, actions: others.map(({ no }) => output(no)) });
}
