// One Ethernet for hosts on any network: each host has tunnels to all others, and learns which
// address is behind which host. Each host runs this, and gives its ov0 an address.
// Try: deno run -A examples/overlay.ts netdev@ov0 eth0 OTHER...
import { openDatapath, output, set } from "../mod.ts";
import { drop, forward, type Policy, runPolicy, StateMap } from "../policy/mod.ts";
import { ready, words } from "./start.ts";

const [datapath, underlay, ...others] = words("DATAPATH", "UNDERLAY", "OTHER...");
const [type, network] = [Deno.env.get("TUNNEL") ?? "vxlan", 7n]; // Or geneve.
const isNetdev = datapath.startsWith("netdev@");
await using dp = await openDatapath(datapath, {
  create: true,
  ...(isNetdev && { config: { local: "tap" } }), // The host itself takes part.
});
// The userspace datapath needs the device; the kernel's leaves outer packets to the kernel.
if (isNetdev) dp.ports.get(underlay) ?? await dp.ports.add({ name: underlay });
const outside = dp.ports.get(underlay)?.no;
const tunnel =
  (dp.ports.get("tunnel0") ?? await dp.ports.add({ name: "tunnel0", type })).no;
const through = (other: string) => {
  const ends = other.includes(":") ? { ipv6Dst: other } : { dst: other };
  return [set({ tunnel: { id: network, ...ends, ttl: 64 } }), output(tunnel)];
};

const stations = new StateMap<string, string>({ name: "stations", idleMs: 300_000 });
const here = "here";
const policy: Policy = (packet) => {
  if (packet.inPort === outside) return drop("not of the overlay"); // Linux has its own copy.
  const { id, src, ipv6Src } = packet.tunnel ?? {};
  const from = packet.inPort === tunnel ? src ?? ipv6Src ?? here : here;
  if (from !== here && (id !== network || !others.includes(from))) {
    return drop("a stranger");
  }
  if (packet.ethernet) packet.learn(stations, packet.ethernet.src, from);
  const to = stations.lookup(packet, "ethernet.dst");
  if (from !== here) {
    return to === undefined || to === here ? forward(0) : drop("sent astray");
  }
  if (to === here) return drop("it is here already");
  return to === undefined ? others.flatMap(through) : through(to);
};

const run = await runPolicy(dp, policy);
await ready(dp);
await run.ended;
