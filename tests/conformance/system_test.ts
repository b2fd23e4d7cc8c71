// SPDX-License-Identifier: Apache-2.0
import type { Datapath } from "../../providers/datapath.ts";
import type { PortNo } from "../../providers/ids.ts";
import { openDatapath } from "../../providers/registry.ts";
import { shell } from "../support/command.ts";
import { Tap } from "../support/tap.ts";
import { hasDatapath } from "../system/system.ts";
import type { Environment } from "./environment.ts";
import { conformance } from "./suite.ts";

/** TAP devices by the datapath and number of the port that they are. */
const taps = new Map<Datapath, Map<PortNo, Tap>>();
let serial = 0;

function tapOf(dp: Datapath, port: PortNo): Tap {
  const tap = taps.get(dp)?.get(port);
  if (!tap) throw new Error(`No port ${port} to put frames into`);
  return tap;
}

const environment: Environment = {
  type: "system",
  differences: new Set([
    "wildInPort",
    "noArpSet",
    "lostIsMissedToo",
  ]),
  create: (name) => openDatapath(`system@${name}`, { create: "exclusive" }),
  addPort: async (dp, _name) => {
    const tap = new Tap(`tp${Deno.pid % 10000}x${serial++}`);
    const mine = taps.get(dp) ?? new Map<PortNo, Tap>();
    taps.set(dp, mine);
    const { no } = await dp.ports.add({ name: tap.name });
    mine.get(no)?.close();
    mine.set(no, tap);
    return no;
  },
  inject: (dp, port, frame) => tapOf(dp, port).write(frame),
  collect: (dp, port) => Promise.resolve(tapOf(dp, port).readAll()),
  // Writing to a TAP device runs the datapath before it returns.
  settle: () => Promise.resolve(),
  underlay: async ({ name }, { own, far, farMac }) => {
    const [length, flags] = own.includes(":") ? [64, "nodad"] : [24, ""];
    await shell(`ip link set ${name} up
      ip addr add ${own}/${length} dev ${name} ${flags}
      ip neigh replace ${far} lladdr ${farMac} nud permanent dev ${name}`);
    return (await Deno.readTextFile(`/sys/class/net/${name}/address`)).trim();
  },
  cleanUp: () => {
    for (const mine of taps.values()) for (const tap of mine.values()) tap.close();
    taps.clear();
    return Promise.resolve();
  },
};

if (hasDatapath) conformance("system", () => environment);
