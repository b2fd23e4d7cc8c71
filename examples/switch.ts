// A learning switch, as a policy: frames go to where their station was heard.
// Try: deno run -A dpctl.ts serve netdev@br0 eth1 eth2 --policy examples/switch.ts
import { drop, flood, forward, type Policy, StateMap } from "../policy/mod.ts";
import { toBeServed } from "./start.ts";

const stations = new StateMap<string, number>({ name: "stations", idleMs: 300_000 });

export const policy: Policy = (packet, ports) => {
  if (packet.ethernet) packet.learn(stations, packet.ethernet.src, packet.inPort);
  const to = stations.lookup(packet, "ethernet.dst");
  if (to === packet.inPort) return drop("it is there already");
  return to === undefined ? flood(ports, packet.inPort) : forward(to);
};

toBeServed(import.meta);
