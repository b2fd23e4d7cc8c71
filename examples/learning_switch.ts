// A learning switch: frames go to where their station was heard, others everywhere.
// Try: deno run -A examples/learning_switch.ts netdev@br0 eth1 eth2
import { exact, type MacAddress, openDatapath, output, type PortNo } from "../mod.ts";
import { ready, words } from "./start.ts";

const [datapath, ...devices] = words("DATAPATH", "[DEVICE...]");
await using dp = await openDatapath(datapath, { create: true });
for (const name of devices) dp.ports.get(name) ?? await dp.ports.add({ name });
const stations = new Map<MacAddress, PortNo>();
dp.flows.flush(); // Flows of an earlier run are about stations that may have moved.
await ready(dp);
for await (const { kind, packet, key, key: { ethernet, inPort } } of dp.upcalls()) {
  if (kind !== "miss" || ethernet === undefined || inPort === undefined) continue;
  const { src, dst } = ethernet;
  const moved = (stations.get(src) ?? inPort) !== inPort; // So must its flows.
  for (const flow of moved ? [...dp.flows.dump()] : []) {
    const { ethernet } = flow.key ?? {};
    if (ethernet?.src === src || ethernet?.dst === src) dp.flows.delete(flow);
  }
  if (!(parseInt(src.slice(0, 2), 16) & 1)) stations.set(src, inPort); // Not a group's.
  const known = stations.get(dst); // Flooding gets no flow: it would go on for ever.
  const ports = known === undefined ? [...dp.ports.dump()].map(({ no }) => no) : [known];
  const actions = ports.filter((no) => no !== inPort).map((no) => output(no));
  const op = known === undefined ? "execute" : "put";
  dp.operate([{ op, packet, key, mask: exact("inPort", "ethernet"), actions }]);
}
