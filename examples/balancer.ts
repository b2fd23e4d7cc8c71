// A balancer: connections to one address go to several servers, which answer for it.
// Try: deno run -A dpctl.ts serve netdev@br0 eth1 eth2 eth3 --policy examples/balancer.ts
import { hash, set } from "../mod.ts";
import { again, Cell, drop, forward, type Policy, stage } from "../policy/mod.ts";
import { toBeServed } from "./start.ts";

const [address, clients] = ["10.0.0.100", 1];
/** Servers that are up: the port that leads to each, and its addresses. */
export const servers = new Cell([
  { port: 2, mac: "02:00:00:00:00:02", ip: "10.0.0.2" },
  { port: 3, mac: "02:00:00:00:00:03", ip: "10.0.0.3" },
], { name: "servers" });

const choose = stage("choose", (packet) => {
  const up = servers.value;
  const server = up[packet.bits("dpHash", 15) % up.length];
  if (server === undefined) return drop("no server is up");
  const to = [set({ ethernet: { dst: server.mac } }), set({ ipv4: { dst: server.ip } })];
  return [...to, ...forward(server.port)];
});

export const policy: Policy = (packet) => {
  const isAnswer = packet.inPort !== clients && packet.has("ipv4");
  if (isAnswer) return [set({ ipv4: { src: address } }), ...forward(clients)];
  const isOurs = packet.equals("ipv4.dst", address);
  return isOurs ? again([hash("l4")], choose) : drop("not ours");
};

toBeServed(import.meta);
