// Connections to one address go to several servers; those that are there stay where they are.
// Try: deno run -A examples/load_balancer.ts netdev@lb0 10.0.0.99 eth0 eth1=10.0.0.1 eth2=10.0.0.2
import { arp, build, ethernet, parse, replyTo } from "../frames/mod.ts";
import { type Ipv4Address, type MacAddress, openDatapath, output } from "../mod.ts";
import { ready, words } from "./start.ts";

const [datapath, address, clients, ...devices] = words(
  "DATAPATH",
  "IPV4",
  "CLIENTS",
  "DEVICE=SERVER...",
);
const servers = new Map(devices.map((word) => word.split("=", 2) as [string, string]));
const mac = "02:00:00:00:00:99"; // Who has the address.
await using dp = await openDatapath(datapath, { create: true });
for (const name of [clients, ...servers.keys()]) {
  dp.ports.get(name) ?? await dp.ports.add({ name });
}
const front = dp.ports.get(clients)?.no ?? 0;
dp.flows.flush();
const put = (key: string, actions: string) =>
  dp.flows.put({ key, actions, modify: true, create: true });
const ip = (more = "") => `eth_type(0x0800),ipv4(${more})`;

// Packets to the address come round again as 1, and as 2 once they have a server's address; new
// connections as 3, to one of 16 places.
put(`recirc_id(0),in_port(${front}),${ip(`dst=${address}`)}`, "ct(nat),recirc(1)");
const tracked = `recirc_id(1),in_port(${front})`;
const known = `ct_state(-new-inv+trk),${ip()}`; // Established, or an error about one that is.
put(`${tracked},${known}`, "recirc(2)");
put(`${tracked},ct_state(+new-est-inv+trk),${ip()}`, "hash(l4(0)),recirc(3)");

/** Servers that are up, by the names of their ports. */
const up = new Map<string, { readonly no: number; readonly mac: MacAddress }>();

function share(): void {
  const addresses = [...up.keys()].map((name) => servers.get(name));
  for (let place = 0; place < 16; place++) {
    const server = addresses[place % addresses.length];
    const actions = server === undefined
      ? "drop"
      : `ct(commit,nat(dst=${server})),recirc(2)`;
    put(`recirc_id(3),in_port(${front}),dp_hash(${place}/0xf),${ip()}`, actions);
  }
}

/** Asks who is behind each server's port, and forgets the servers that have none any more. */
function look(): void {
  for (const [name, server] of servers) {
    const no = dp.ports.get(name)?.no;
    if (no === undefined) {
      up.delete(name);
      continue;
    }
    const packet = build([
      ethernet({ src: mac, dst: "ff:ff:ff:ff:ff:ff" }),
      arp({ sha: mac, sip: address as Ipv4Address, tip: server as Ipv4Address }),
    ]);
    dp.execute({ packet, actions: [output(no)] });
  }
  share();
}

/** A server has said where it is. */
function arrived(name: string, no: number, at: MacAddress): void {
  up.set(name, { no, mac: at });
  put(
    `recirc_id(2),in_port(${front}),${ip(`dst=${servers.get(name)}`)}`,
    `set(eth(dst=${at})),${no}`,
  );
  put(`recirc_id(0),in_port(${front}),eth(dst=${at}),eth_type(0x0806),arp()`, `${no}`);
  put(`recirc_id(0),in_port(${no}),${ip()}`, "ct(nat),recirc(4)");
  put(`recirc_id(4),in_port(${no}),${known}`, `set(eth(src=${mac})),${front}`);
  share();
}

async function follow(): Promise<void> {
  for await (const _ of dp.ports.changes()) look();
}

await ready(dp);
const following = follow();
for await (const { kind, packet, inPort } of dp.upcalls()) {
  const message = parse(packet).arp;
  if (kind !== "miss" || message === undefined || inPort === undefined) continue;
  const [name] = [...servers].find(([, server]) => server === message.sip) ?? [];
  if (inPort === front && message.op === 1 && message.tip === address) {
    const answer = replyTo(packet, { mac });
    dp.execute({ packet: answer, key: { inPort }, actions: [output(inPort)] });
  } else if (name !== undefined && dp.ports.get(name)?.no === inPort) {
    arrived(name, inPort, message.sha);
    if (message.op === 1) dp.execute({ packet, actions: [output(front)] });
  }
}
await following;
