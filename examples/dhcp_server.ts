// A DHCP server: gives every client an address of 10.0.0.100 and above.
// Try: deno run -A examples/dhcp_server.ts netdev@br0 10.0.0.1 eth1
import { build, dhcp, ethernet, ipv4, parse, udp } from "../frames/mod.ts";
import { openDatapath, output } from "../mod.ts";
import { ready, words } from "./start.ts";

const [datapath, server, ...devices] = words("DATAPATH", "IPV4", "[DEVICE...]");
const mac = "02:00:00:00:00:01";
const network = server.slice(0, server.lastIndexOf(".") + 1);
const leases = new Map<string, string>();
const room = 150; // Anybody can make up clients: there are no more than these.
await using dp = await openDatapath(datapath, { create: true });
for (const name of devices) dp.ports.get(name) ?? await dp.ports.add({ name });
await ready(dp);

for await (const { kind, packet, inPort } of dp.upcalls()) {
  const { dhcp: asked } = parse(packet);
  if (kind !== "miss" || inPort === undefined || asked?.op !== 1) continue;
  if (asked.message !== "discover" && asked.message !== "request") continue;
  const { xid, flags, chaddr } = asked;
  if (!leases.has(chaddr) && leases.size === room) continue;
  const yiaddr = leases.get(chaddr) ?? `${network}${100 + leases.size}`;
  leases.set(chaddr, yiaddr);
  const answer = build([
    ethernet({ src: mac, dst: chaddr }),
    ipv4({ src: server, dst: yiaddr }),
    udp(),
    dhcp({
      op: 2,
      message: asked.message === "discover" ? "offer" : "ack",
      ...{ xid, flags, chaddr, yiaddr },
      serverId: server,
      subnetMask: "255.255.255.0",
      routers: [server],
      leaseSeconds: 3600,
    }),
  ]);
  dp.execute({ packet: answer, key: { inPort }, actions: [output(inPort)] });
}
