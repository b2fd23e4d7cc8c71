// A firewall that tracks connections: port 1 is inside. In come answers, and what is for the web.
// Try: deno run -A dpctl.ts serve netdev@br0 eth1 eth2 --policy examples/firewall_policy.ts
import { ct, CtState } from "../mod.ts";
import { drop, forward, type Policy, stage, track } from "../policy/mod.ts";
import { toBeServed } from "./start.ts";

const [inside, outside] = [1, 2];

const known = stage<number>("known", (packet, to) => {
  if (packet.bits("ctState", CtState.Invalid)) return drop("invalid");
  if (packet.bits("ctState", CtState.Established | CtState.Related)) return forward(to);
  const isAllowed = packet.inPort === inside || packet.equals("tcp.dst", 80);
  return isAllowed ? [ct({ commit: true }), ...forward(to)] : drop("nobody asked for it");
});

export const policy: Policy = (packet) => {
  const to = packet.inPort === inside ? outside : inside;
  if (packet.has("arp")) return forward(to);
  return packet.has("ipv4") || packet.has("ipv6") ? track({}, known, to) : drop("no IP");
};

toBeServed(import.meta);
