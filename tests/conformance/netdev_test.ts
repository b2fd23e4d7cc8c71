// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import type { Datapath } from "../../providers/datapath.ts";
import {
  assertBaseline,
  collectAll,
  mbufsInUse,
  openNetdev,
  settled,
} from "../support/netdev.ts";
import type { Environment } from "./environment.ts";
import { conformance } from "./suite.ts";

/** Frames that were put into each datapath, to know when it has seen them all. */
const injected = new WeakMap<Datapath, number>();
let baseline = 0;

const environment: Environment = {
  type: "netdev",
  differences: new Set(["wholeEtherType"]),
  create: async (name) => {
    const dp = await openNetdev(name);
    baseline = await mbufsInUse();
    return dp;
  },
  addPort: async (dp, name) => (await dp.ports.add({ name, type: "dummy" })).no,
  inject: (dp, port, frame) => {
    dp.ports.inject?.(port, frame);
    injected.set(dp, (injected.get(dp) ?? 0) + 1);
  },
  collect: async (dp, port) => {
    await settled(dp, injected.get(dp) ?? 0);
    return collectAll(dp, port);
  },
  settle: (dp) => settled(dp, injected.get(dp) ?? 0),
  underlay: ({ name: device, tunnels }, { own, far, farMac }) => {
    assert.ok(tunnels);
    const length = own.includes(":") ? 64 : 24;
    tunnels.addAddress({ device, prefix: { address: own, length } });
    tunnels.addRoute({ destination: { address: far, length }, device });
    tunnels.setNeighbour({ address: far, mac: farMac, device });
    const [listener] = tunnels.listeners();
    return listener?.addresses.find(({ address }) => address === own)?.mac ?? "";
  },
  cleanUp: () => assertBaseline(baseline),
};

conformance("netdev", () => environment);
