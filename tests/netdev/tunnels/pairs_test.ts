// SPDX-License-Identifier: Apache-2.0
/** Tunnels between two userspace datapaths, each in a namespace and a process of its own. */
import { figure } from "../../support/figure.ts";
import { NetdevBench } from "../../support/netdev.ts";
import { needProgram, needRoot, skippable } from "../../support/skip.ts";
import { inside, kinds, specOf } from "./kinds.ts";
import {
  type End,
  makeWire,
  moveAddresses,
  pingThrough,
  rates,
  startSide,
} from "./lab.ts";

/** Addresses of the underlay are in one place per family: the other two cases find no more. */
const cases = [[4, true], [6, false]] as const;

for (const [version, isBridged] of cases) {
  const way = isBridged ? "the local port" : "the device";
  Deno.test(
    `tunnels: every kind between two datapaths, over IPv${version}, addresses on ${way}`,
    skippable(async (t) => {
      needRoot("netdev");
      for (const name of ["tshark", "tcpdump", "iperf3"]) {
        needProgram(name, { requirement: "peer" });
      }
      await (await NetdevBench.open())[Symbol.asyncDispose](); // Compiles, or skips.
      await using wire = await makeWire(`tp${version}`);
      const spec = (which: 1 | 2) => ({
        name: "ov0",
        isBridged,
        bridge: moveAddresses(wire.ends[which - 1] as End, "ov0"),
        tunnels: kinds.map((kind) => specOf(kind, which, wire.ends, version)),
      });
      await using one = await startSide(wire.ends[0], spec(1));
      await using _two = await startSide(wire.ends[1], spec(2));
      for (const kind of kinds) {
        await t.step(kind.name, async () => {
          const { ipv4, ipv6 } = inside(kind, 2);
          try {
            await pingThrough(wire, [ipv4, ipv6]);
          } catch (error) {
            const state = await one.control("coverage/show");
            throw new Error(`${kind.name}: ${state}`, { cause: error });
          }
          figure(
            `${kind.name} over IPv${version}, ${way}: ${await rates(wire, [ipv4, ipv6])}`,
          );
        });
      }
    }),
  );
}
