// Answers ARP for an address that no host has.
// Try: deno run -A examples/arp_responder.ts netdev@br0 10.0.0.99 eth1
import { parse, replyTo } from "../frames/mod.ts";
import { openDatapath, output } from "../mod.ts";
import { ready, words } from "./start.ts";

const [datapath, address, ...devices] = words("DATAPATH", "IPV4", "[DEVICE...]");
const mac = "02:00:00:00:00:99";
await using dp = await openDatapath(datapath, { create: true });
for (const name of devices) dp.ports.get(name) ?? await dp.ports.add({ name });
await ready(dp);

for await (const { kind, packet, inPort } of dp.upcalls()) {
  const { arp } = parse(packet);
  if (kind !== "miss" || inPort === undefined) continue;
  if (arp?.op !== 1 || arp.tip !== address) continue;
  const answer = replyTo(packet, { mac });
  dp.execute({ packet: answer, key: { inPort }, actions: [output(inPort)] });
}
