// A DNS server: answers for the names it is given, and ARP for its own address.
// Try: deno run -A examples/dns_server.ts netdev@br0 10.0.0.53 eth1 www.lab=10.0.0.80
import { parse, replyTo } from "../frames/mod.ts";
import { openDatapath, output } from "../mod.ts";
import { ready, words } from "./start.ts";

const [datapath, address, ...rest] = words("DATAPATH", "IPV4", "[DEVICE|NAME=IPV4...]");
const mac = "02:00:00:00:00:53";
const names = new Map(
  rest.filter((word) => word.includes("=")).map((word) => word.split("=", 2)) as [
    string,
    string,
  ][],
);
await using dp = await openDatapath(datapath, { create: true });
for (const name of rest.filter((word) => !word.includes("="))) {
  dp.ports.get(name) ?? await dp.ports.add({ name });
}

/** The answer to a packet, if it is a question for us. */
function answerTo(packet: Uint8Array): Uint8Array | undefined {
  const { arp, ipv4, dns } = parse(packet);
  if (arp?.op === 1 && arp.tip === address) return replyTo(packet, { mac });
  const [question] = dns?.questions ?? [];
  if (ipv4?.dst !== address || dns?.response || question === undefined) return undefined;
  const { name, type } = question;
  const data = names.get(name.toLowerCase());
  const answers = data && type === "A" ? [{ name, type, ttl: 60, data }] as const : [];
  const fields = { authoritative: true, rcode: data ? 0 : 3, answers, additionals: [] };
  return replyTo(packet, { mac, change: { dns: fields } });
}

await ready(dp);
for await (const { kind, packet, inPort } of dp.upcalls()) {
  if (kind !== "miss" || inPort === undefined) continue;
  const answer = answerTo(packet);
  if (answer === undefined) continue;
  dp.execute({ packet: answer, key: { inPort }, actions: [output(inPort)] });
}
