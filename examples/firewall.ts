// A firewall: connections begin inside, and only their answers come in.
// Try: deno run -A examples/firewall.ts netdev@fw0 eth1 eth2
import { openDatapath } from "../mod.ts";
import { ready, words } from "./start.ts";

const [datapath, inside, outside] = words("DATAPATH", "INSIDE", "OUTSIDE");
await using dp = await openDatapath(datapath, { create: true });
const port = async (name: string) =>
  (dp.ports.get(name) ?? await dp.ports.add({ name })).no;
const [within, without] = [await port(inside), await port(outside)];
dp.flows.flush();
const flow = (key: string, actions: string) => dp.flows.put({ key, actions });

for (const [from, to] of [[within, without], [without, within]] as const) {
  flow(`recirc_id(0),in_port(${from}),eth_type(0x0806),arp()`, `${to}`);
  for (const ip of ["eth_type(0x0800),ipv4()", "eth_type(0x86dd),ipv6()"]) { // And fragments.
    flow(`recirc_id(0),in_port(${from}),${ip}`, "ct,recirc(1)"); // Once more, with its state.
    const tracked = (state: string, actions: string, more = ip) =>
      flow(`ct_state(${state}),recirc_id(1),in_port(${from}),${more}`, actions);
    tracked("-new-inv+trk", `${to}`); // Established, or an error about one that is.
    tracked("+new-est-inv+trk", from === within ? `ct(commit),${to}` : "drop");
    if (ip.includes("ipv4")) tracked("+inv+trk", "drop");
    for (const type of ip.includes("ipv6") ? [133, 134, 135, 136] : []) { // Who is where.
      const neighbour = `eth_type(0x86dd),ipv6(proto=58,frag=no),icmpv6(type=${type})`;
      tracked("+inv+trk", `${to}`, neighbour);
    }
  }
}
await ready(dp);
for await (const { key } of dp.upcalls()) {
  console.log("refused", key.ipv6 ?? key.etherType);
}
