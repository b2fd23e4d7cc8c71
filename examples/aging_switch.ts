// A learning switch that forgets: stations that are silent age out, flows that are idle go, and a
// station that moves takes its flows along.
// Try: deno run -A examples/aging_switch.ts netdev@br0 eth1 eth2 --age=300
import { exact, openDatapath, output } from "../mod.ts";
import type { Datapath, FlowKey, MacAddress, PortNo } from "../mod.ts";
import { option, ready, words } from "./start.ts";

/** A station: where it is, and when it was last heard. */
interface Station {
  port: PortNo;
  heardAt: number;
}

/** Stations by address, and what has to happen when one moves. */
class Stations {
  readonly #byAddress = new Map<MacAddress, Station>();

  /** Notes that `address` was heard on `port`; true if it was on another one before. */
  hear(address: MacAddress, port: PortNo): boolean {
    if (Number.parseInt(address.slice(0, 2), 16) & 1) return false; // A group's.
    const known = this.#byAddress.get(address);
    this.#byAddress.set(address, { port, heardAt: performance.now() });
    return known !== undefined && known.port !== port;
  }

  portOf(address: MacAddress): PortNo | undefined {
    return this.#byAddress.get(address)?.port;
  }

  /** Forgets stations that were silent for `ageMs`, and returns their addresses. */
  expire(ageMs: number): Set<MacAddress> {
    const limit = performance.now() - ageMs;
    const silent = [...this.#byAddress].filter(([, { heardAt }]) => heardAt < limit);
    for (const [address] of silent) this.#byAddress.delete(address);
    return new Set(silent.map(([address]) => address));
  }
}

const [datapath, ...devices] = words("DATAPATH", "[--age=SECONDS]", "[DEVICE...]");
const ageMs = Number(option("age", "300")) * 1000;
await using dp = await openDatapath(datapath, { create: true });
for (const name of devices) dp.ports.get(name) ?? await dp.ports.add({ name });

const stations = new Stations();
const packetsSeen = new Map<string, bigint>();
dp.flows.flush(); // Flows of an earlier run are about stations that may have moved.
const sweeper = setInterval(() => sweep(dp), Math.max(50, ageMs / 2));
await ready(dp);

for await (const { kind, packet, key } of dp.upcalls()) {
  const { ethernet, inPort } = key;
  if (kind !== "miss" || ethernet === undefined || inPort === undefined) continue;
  const { src, dst } = ethernet;
  if (stations.hear(src, inPort)) {
    removeFlows(dp, ({ ethernet }) => ethernet?.src === src || ethernet?.dst === src);
  }

  const known = stations.portOf(dst);
  const targets = known === undefined
    ? [...dp.ports.dump()].map(({ no }) => no)
    : [known];
  const actions = targets.filter((no) => no !== inPort).map((no) => output(no));
  const mask = exact("inPort", "ethernet");
  dp.operate([
    known === undefined
      ? { op: "execute", packet, key, actions }
      : { op: "put", packet, key, mask, actions, modify: true },
  ]);
}
clearInterval(sweeper);

/** Removes flows that had no packet since the last time; a station that still sends is heard. */
function sweep(dp: Datapath): void {
  if (dp.closed) return;
  const before = new Map(packetsSeen);
  packetsSeen.clear();
  for (const flow of [...dp.flows.dump()]) {
    const { ufid, key, stats } = flow;
    if (key?.ethernet === undefined || key.inPort === undefined) continue;
    const name = ufid ?? `${flow.raw.key}`; // The kernel gives no identifiers.
    if (before.get(name) === stats.packets) {
      dp.operate([{ op: "delete", key, ufid }]);
    } else {
      packetsSeen.set(name, stats.packets);
      stations.hear(key.ethernet.src, key.inPort);
    }
  }
  // Flows to a silent station would lead to where it was, wherever it is when it speaks again.
  const silent = stations.expire(ageMs);
  if (silent.size > 0) {
    removeFlows(dp, ({ ethernet }) => ethernet !== undefined && silent.has(ethernet.dst));
  }
}

function removeFlows(dp: Datapath, matches: (key: FlowKey) => boolean): void {
  for (const { ufid, key } of [...dp.flows.dump()]) {
    if (key !== undefined && matches(key)) dp.operate([{ op: "delete", key, ufid }]);
  }
}
