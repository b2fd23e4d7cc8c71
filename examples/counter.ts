// Bytes by source address in a capture file. Needs no root: deno run -A examples/counter.ts capture.pcap
import { openDatapath } from "../mod.ts";
import type { Ipv4Address, Ipv6Address } from "../mod.ts";

const [file] = Deno.args;
if (file === undefined) throw new TypeError("usage: counter.ts CAPTURE.pcap");
await using dp = await openDatapath(`netdev@counter${Deno.pid}`, { create: true });
const bytes = new Map<Ipv4Address | Ipv6Address, bigint>();
const count = (host: Ipv4Address | Ipv6Address, more: bigint) =>
  bytes.set(host, (bytes.get(host) ?? 0n) + more);

// The first packets of a host come up; its flow, which drops, counts the rest.
const upcalls = dp.upcalls({ batch: 256 });
const { no } = await dp.ports.add({
  name: "file",
  type: "pcap",
  options: { rx_pcap: file },
});
const idle = setInterval(() => {
  const seen = dp.ports.stats(no).rxPackets;
  if (seen === before) void upcalls.close(); // Nothing new in half a second: the file is over.
  before = seen;
}, 500);
let before = -1n;

for await (const { key, packet } of upcalls) {
  const host = key.ipv4?.src ?? key.ipv6?.src;
  if (host === undefined) continue;
  count(host, BigInt(packet.length));
  const mask = key.ipv4 === undefined
    ? { inPort: true, etherType: true, ipv6: { src: true } } as const
    : { inPort: true, etherType: true, ipv4: { src: true } } as const;
  dp.operate([{ op: "put", key, mask, actions: [] }]);
}
clearInterval(idle);

for (const { key, stats } of dp.flows.dump()) {
  const host = key?.ipv4?.src ?? key?.ipv6?.src;
  if (host !== undefined) count(host, stats.bytes);
}
const { lost } = dp.stats();
for (const [host, total] of [...bytes].sort((a, b) => Number(b[1] - a[1]))) {
  console.log(`${total}\t${host}`);
}
if (lost > 0n) console.error(`${lost} packets came too fast to be counted`);
