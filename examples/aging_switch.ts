// A learning switch that forgets: stations that are silent age out, flows that are idle go, and a
// station that moves takes its flows along. Try: deno run -A examples/aging_switch.ts netdev@br0
// eth1 eth2 --age=300
import { exact, openDatapath, output } from "../mod.ts";
import type { Datapath, FlowKey, MacAddress, PortNo, Ufid } from "../mod.ts";

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
    const known = this.#byAddress.get(address);
    this.#byAddress.set(address, { port, heardAt: performance.now() });
    return known !== undefined && known.port !== port;
  }

  portOf(address: MacAddress): PortNo | undefined {
    return this.#byAddress.get(address)?.port;
  }

  /** Forgets stations that were silent for `ageMs`. */
  expire(ageMs: number): void {
    const limit = performance.now() - ageMs;
    for (const [address, { heardAt }] of this.#byAddress) {
      if (heardAt < limit) this.#byAddress.delete(address);
    }
  }
}

const age = Deno.args.find((arg) => arg.startsWith("--age="))?.slice("--age=".length) ??
  "300";
const ageMs = Number(age) * 1000;
const [datapath = "netdev@br0", ...devices] = Deno.args.filter((arg) =>
  !arg.startsWith("--")
);
await using dp = await openDatapath(datapath, { create: true });
for (const name of devices) dp.ports.get(name) ?? await dp.ports.add({ name });

const stations = new Stations();
const packetsSeen = new Map<Ufid, bigint>();
const sweeper = setInterval(() => sweep(dp), Math.max(50, ageMs / 2));
Deno.addSignalListener("SIGINT", () => void dp.close()); // Ends the loop below.

for await (const { packet, key } of dp.upcalls()) {
  if (key.ethernet === undefined || key.inPort === undefined) continue;
  const { src, dst } = key.ethernet;
  if (stations.hear(src, key.inPort)) {
    removeFlows(dp, ({ ethernet }) => ethernet?.dst === src);
  }

  const known = stations.portOf(dst);
  const targets = known === undefined
    ? [...dp.ports.dump()].map(({ no }) => no)
    : [known];
  const actions = targets.filter((no) => no !== key.inPort).map((no) => output(no));
  const mask = exact("inPort", "ethernet");
  dp.operate([
    known === undefined
      ? { op: "execute", packet, key, actions }
      : { op: "put", packet, key, mask, actions, modify: true },
  ]);
}
clearInterval(sweeper);

/**
 * Removes flows that had no packet since the last time; a station that still sends through one is
 * heard.
 */
function sweep(dp: Datapath): void {
  for (const { ufid, key, stats } of [...dp.flows.dump()]) {
    if (ufid === undefined || key?.ethernet === undefined || key.inPort === undefined) {
      continue;
    }
    if (packetsSeen.get(ufid) === stats.packets) {
      dp.operate([{ op: "delete", ufid }]);
      packetsSeen.delete(ufid);
    } else {
      packetsSeen.set(ufid, stats.packets);
      stations.hear(key.ethernet.src, key.inPort);
    }
  }
  stations.expire(ageMs);
}

function removeFlows(dp: Datapath, matches: (key: FlowKey) => boolean): void {
  for (const { ufid, key } of [...dp.flows.dump()]) {
    if (ufid !== undefined && key !== undefined && matches(key)) {
      dp.operate([{ op: "delete", ufid }]);
    }
  }
}
