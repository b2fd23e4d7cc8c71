// A router: the longest prefix decides, next hops have addresses, and TTL goes down.
// Try: deno run -A dpctl.ts serve netdev@br0 eth1 eth2 --policy examples/router.ts
import { decTtl, set } from "../mod.ts";
import { drop, forward, type Policy, PrefixMap, StateMap } from "../policy/mod.ts";
import { toBeServed } from "./start.ts";

export const mine = "02:00:00:00:00:fe";
/** Where networks are: the port that leads there, and the next hop if there is one. */
export const routes = new PrefixMap<{ port: number; via?: string }>({ name: "routes" });
/** Ethernet addresses of neighbours, by IPv4 address. */
export const neighbours = new StateMap<string, string>({ name: "neighbours" });
routes.set("10.1.0.0/16", { port: 1 }).set("10.2.0.0/16", { port: 2 });
routes.set("0.0.0.0/0", { port: 2, via: "10.2.0.1" });

export const policy: Policy = (packet) => {
  if (!packet.has("ipv4")) return drop("not IPv4");
  if (packet.between("ipv4.ttl", 0, 1)) return drop("TTL ends");
  const route = routes.lookup(packet, "ipv4.dst");
  if (route === undefined) return drop("no route");
  const { port, via } = route.value;
  const dst = via ? neighbours.get(via) : neighbours.lookup(packet, "ipv4.dst");
  if (dst === undefined) return drop("no neighbour");
  return [set({ ethernet: { src: mine, dst } }), decTtl(), ...forward(port)];
};

toBeServed(import.meta);
