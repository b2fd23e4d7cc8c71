// Answers ping, ARP and solicitations for two addresses.
// Try: deno run -A examples/ping_responder.ts netdev@br0 10.0.0.99 fd00::99 eth1
import { parse, replyTo } from "../frames/mod.ts";
import { openDatapath, output } from "../mod.ts";
import { ready, words } from "./start.ts";

const [datapath, ipv4, ipv6, ...devices] = words(
  "DATAPATH",
  "IPV4",
  "IPV6",
  "[DEVICE...]",
);
const mac = "02:00:00:00:00:99";
await using dp = await openDatapath(datapath, { create: true });
for (const name of devices) dp.ports.get(name) ?? await dp.ports.add({ name });

/** Whether a packet asks something of one of the addresses. */
function isQuestion(packet: Uint8Array): boolean {
  const { arp, ipv4: ip, ipv6: ip6, icmp, icmpv6 } = parse(packet);
  if (arp?.op === 1) return arp.tip === ipv4;
  if (icmp?.kind === 8) return ip?.dst === ipv4;
  if (icmpv6?.kind === 135) return icmpv6.nd?.target === ipv6;
  return icmpv6?.kind === 128 && ip6?.dst === ipv6;
}

await ready(dp);
for await (const { kind, packet, inPort } of dp.upcalls()) {
  if (kind !== "miss" || inPort === undefined || !isQuestion(packet)) continue;
  const answer = replyTo(packet, { mac });
  dp.execute({ packet: answer, key: { inPort }, actions: [output(inPort)] });
}
