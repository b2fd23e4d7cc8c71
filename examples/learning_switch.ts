// A learning switch. Try: deno run -A examples/learning_switch.ts netdev@br0 eth1 eth2
import { exact, openDatapath, output } from "../mod.ts";
import type { MacAddress, PortNo } from "../mod.ts";

const [datapath = "netdev@br0", ...devices] = Deno.args;
await using dp = await openDatapath(datapath, { create: true });
for (const name of devices) dp.ports.get(name) ?? await dp.ports.add({ name });
const stations = new Map<MacAddress, PortNo>();

for await (const { packet, key } of dp.upcalls()) {
  if (key.ethernet === undefined || key.inPort === undefined) continue;
  stations.set(key.ethernet.src, key.inPort);

  const known = stations.get(key.ethernet.dst);
  const targets = known === undefined
    ? [...dp.ports.dump()].map(({ no }) => no)
    : [known];
  const actions = targets.filter((no) => no !== key.inPort).map((no) => output(no));
  dp.operate([
    known === undefined // Flooding gets no flow: it would go on after the address is learned.
      ? { op: "execute", packet, key, actions }
      : { op: "put", packet, key, mask: exact("inPort", "ethernet"), actions },
  ]);
}
