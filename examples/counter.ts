// Counts bytes by source address in a capture file; needs no root.
// Try: deno run -A examples/counter.ts capture.pcap
import { openDatapath } from "../mod.ts";
import type { Datapath, FlowKey, FlowMask } from "../mod.ts";
import { endsByCtrlC, words } from "./start.ts";

const [file] = words("CAPTURE");
await using dp = await openDatapath(`netdev@counter${Deno.pid}`, { create: true });
endsByCtrlC(dp);

// A host that shows up gets a flow, which drops and counts. Its packets until then are not counted,
// so the file is played until every packet has met a flow; that time counts.
let before: Map<string, bigint>;
do before = bytesByHost(dp); while (await play(dp, file) > 0n);

for (const [host, total] of bytesByHost(dp)) {
  const counted = total - (before.get(host) ?? 0n);
  if (host !== "") console.log(`${counted}\t${host}`);
}

/** Plays the file once, and answers how many packets had no flow. */
async function play(dp: Datapath, rx_pcap: string): Promise<bigint> {
  const unknown = (): bigint => dp.stats().missed + dp.stats().lost;
  const start = unknown();
  const upcalls = dp.upcalls({ batch: 256 });
  const { no } = await dp.ports.add({
    name: "file",
    type: "pcap",
    no: 1,
    options: { rx_pcap },
  });
  let seen = -1n;
  const idle = setInterval(() => {
    const now = dp.ports.stats(no).rxPackets;
    if (now === seen) void upcalls.close(); // Nothing new in half a second: the file is over.
    seen = now;
  }, 500);
  for await (const { kind, key } of upcalls) {
    if (kind !== "miss") continue;
    dp.operate([{ op: "put", key, mask: maskOf(key), actions: [] }]);
  }
  clearInterval(idle);
  await dp.ports.delete(no);
  return unknown() - start;
}

/** Packets of one host are alike; so are those without an address. */
function maskOf(key: FlowKey): FlowMask {
  const mask = { inPort: true, etherType: true } as const;
  if (key.ipv4 !== undefined) return { ...mask, ipv4: { src: true } };
  return key.ipv6 === undefined ? mask : { ...mask, ipv6: { src: true } };
}

/** What the flows have counted, by host; "" for packets without an address. */
function bytesByHost(dp: Datapath): Map<string, bigint> {
  const bytes = new Map<string, bigint>();
  for (const { key, stats } of dp.flows.dump()) {
    const host = key?.ipv4?.src ?? key?.ipv6?.src ?? "";
    bytes.set(host, (bytes.get(host) ?? 0n) + stats.bytes);
  }
  return bytes;
}
