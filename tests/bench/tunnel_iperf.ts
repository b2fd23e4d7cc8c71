// SPDX-License-Identifier: Apache-2.0
/**
 * TCP through a tunnel between two hosts on a veth pair: of two userspace datapaths, of Open vSwitch's
 * at both ends, and of the kernel's own devices where it has them, in turns. Hosts keep their default
 * offloads.
 *
 *     deno task bench:tunnel [--rounds N] [--seconds S] [--kind vxlan|geneve|gre]
 *
 * @module
 */
import { parseArgs } from "node:util";
import { kernelWords, kinds, specOf } from "../netdev/tunnels/kinds.ts";
import {
  at,
  iperf,
  kernelDevice,
  makeWire,
  reach,
  startSide,
  type Wire,
} from "../netdev/tunnels/lab.ts";
import { startOvs } from "../netdev/tunnels/ovs_side.ts";
import { run } from "../support/command.ts";
import { untilInterrupted } from "./interrupt.ts";
import { medianOf } from "./measure.ts";
import { BenchError, numberOf, showProgress } from "./usage.ts";

type Kind = typeof kinds[number];

/** The tunnel's two ends by one means, for as long as it is needed. */
async function join(
  means: string,
  kind: Kind,
  wire: Wire,
): Promise<AsyncDisposableStack> {
  const ends = new AsyncDisposableStack();
  try {
    for (const which of [1, 2] as const) {
      const own = wire.ends[which - 1] ?? wire.ends[0];
      const far = wire.ends[2 - which] ?? wire.ends[1];
      const spec = specOf(kind, which, wire.ends, 4);
      if (means === "ovs") {
        ends.use(await startOvs(own, [kind], far.ipv4, which));
      } else if (means === "upcall") {
        ends.use(await startSide(own, { name: "ov0", tunnels: [spec] }));
      } else {
        await kernelDevice(own, kernelWords(kind, [far, own], 4));
        for (const line of spec.commands) await run(...at(own, "ip", ...line.split(" ")));
      }
    }
  } catch (error) {
    await ends.disposeAsync();
    throw error;
  }
  return ends;
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    args: Deno.args,
    options: {
      rounds: { type: "string", default: "3" },
      seconds: { type: "string", default: "3" },
      kind: { type: "string", default: "vxlan" },
    },
  });
  const rounds = numberOf("--rounds", values.rounds, 100);
  const seconds = numberOf("--seconds", values.seconds, 60);
  const kind = kinds.find(({ name }) => name === values.kind);
  if (kind === undefined) throw new BenchError(`--kind ${values.kind}: no such kind`);
  const far = `10.${81 + kinds.indexOf(kind)}.0.2`;
  const rates = new Map<string, number[]>();
  const failures = new Map<string, string>();
  for (let round = 0; round < rounds; round++) {
    for (const means of ["upcall", "ovs", "kernel"]) {
      if (failures.has(means)) continue;
      showProgress(`round ${round + 1} of ${rounds}: ${means}`);
      try {
        await using wire = await makeWire("tb"); // Each has its own, with all offloads.
        await using _ends = await join(means, kind, wire);
        await reach(wire.ends[0], far);
        const rate = await iperf(wire.ends, far, ["-t", `${seconds}`]) / 1e9;
        rates.set(means, [...rates.get(means) ?? [], rate]);
      } catch (error) {
        failures.set(means, error instanceof Error ? error.message : `${error}`);
      }
    }
  }
  showProgress("");
  for (const [means, list] of rates) {
    const [low, high] = [Math.min(...list), Math.max(...list)].map((rate) =>
      rate.toFixed(2)
    );
    console.log(
      `${kind.name} by ${means}: ${medianOf(list).toFixed(2)} Gbit/s [${low}-${high}]`,
    );
  }
  for (const [means, why] of failures) console.error(`${kind.name} by ${means}: ${why}`);
  return rates.has("upcall") ? 0 : 1;
}

await untilInterrupted(main);
