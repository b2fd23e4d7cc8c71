// Hosts inside share one address outside; what FTP announces is let in.
// Try: deno run -A examples/nat_gateway.ts netdev@nat0 eth1 eth2 10.0.0.99
import { parse, replyTo } from "../frames/mod.ts";
import { openDatapath, output } from "../mod.ts";
import { ready, words } from "./start.ts";

const [datapath, inside, outside, address] = words(
  "DATAPATH",
  "INSIDE",
  "OUTSIDE",
  "IPV4",
);
const mac = "02:00:00:00:00:99"; // Who has the address.
await using dp = await openDatapath(datapath, { create: true });
const port = async (name: string) =>
  (dp.ports.get(name) ?? await dp.ports.add({ name })).no;
const [within, without] = [await port(inside), await port(outside)];
dp.flows.flush();
const flow = (key: string, actions: string) => dp.flows.put({ key, actions });
const ip = (more = "") => `eth_type(0x0800),ipv4(${more})`;
const out = `set(eth(src=${mac})),${without}`;

// What goes out comes round again as 1, what comes in as 2, and as 3 with a host's address.
flow(`recirc_id(0),in_port(${within}),${ip()}`, "ct(nat),recirc(1)");
flow(`recirc_id(0),in_port(${without}),${ip(`dst=${address}`)}`, "ct(nat),recirc(2)");
const known = `ct_state(-new-inv+trk),${ip()}`; // Established, or an error about one that is.
flow(`recirc_id(1),in_port(${within}),${known}`, out);
flow(`recirc_id(2),in_port(${without}),${known}`, "recirc(3)");
const begins = "+new-est-rel-inv+trk";
const translated = `nat(src=${address})`;
for (const proto of [1, 17]) {
  const key = `recirc_id(1),in_port(${within}),ct_state(${begins}),${
    ip(`proto=${proto}`)
  }`;
  flow(key, `ct(commit,${translated}),${out}`);
}
// Announced by FTP: inside connects, or the server does.
const announced = `ct_state(+new-est+rel-inv+trk),${ip()}`;
flow(`recirc_id(1),in_port(${within}),${announced}`, `ct(commit,${translated}),${out}`);
flow(`recirc_id(2),in_port(${without}),${announced}`, "ct(commit,nat),recirc(3)");
// The other side answers questions about where outside hosts are.
flow(`recirc_id(0),in_port(${without}),eth_type(0x0806),arp(op=2)`, `${within}`);

await ready(dp);
for await (const { kind, packet, key, inPort } of dp.upcalls()) {
  const { arp, tcp } = parse(packet);
  if (kind !== "miss") continue;
  if (arp !== undefined && inPort === within) { // A host says where it is.
    flow(
      `recirc_id(3),in_port(${without}),${ip(`dst=${arp.sip}`)}`,
      `set(eth(dst=${arp.sha})),${within}`,
    );
    dp.execute({ packet, key, actions: [output(without)] });
  } else if (arp?.op === 1 && arp.tip === address) {
    const answer = replyTo(packet, { mac });
    dp.execute({ packet: answer, key: { inPort: without }, actions: [output(without)] });
  } else if (tcp !== undefined && key.recircId === 1) { // Each service gets a flow.
    const helper = tcp.dst === 21 ? ",helper=ftp" : "";
    const service = `${ip("proto=6")},tcp(dst=${tcp.dst})`;
    const actions = `ct(commit,${translated}${helper}),${out}`;
    const where = `recirc_id(1),in_port(${within}),ct_state(${begins})`;
    dp.flows.put({ key: `${where},${service}`, actions, packet });
  }
}
