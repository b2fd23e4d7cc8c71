// SPDX-License-Identifier: Apache-2.0
/**
 * TCP through a tunnel between two hosts on a veth pair: of two userspace datapaths, of Open
 * vSwitch's at both ends, and of the kernel's own devices where it has them, in turns. Hosts keep
 * their default offloads. Beside the rate it prints the processor time that a gigabyte took, of all
 * that ran on the machine meanwhile.
 *
 *     deno task bench:tunnel [--rounds N] [--seconds S] [--kind vxlan|geneve|gre] [--by upcall|ovs|kernel]…
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

/**
 * Seconds that the machine's processors were busy since it started: proc(5), `/proc/stat`, in 1/100
 * s.
 */
async function busySeconds(): Promise<number> {
  const [line = ""] = (await Deno.readTextFile("/proc/stat")).split("\n");
  const [user = 0, nice = 0, system = 0, , , irq = 0, softIrq = 0] = line.split(/ +/)
    .slice(1).map(Number);
  return (user + nice + system + irq + softIrq) / 100;
}

/** What one run came to. */
interface Outcome {
  /** Gbit/s. */
  readonly rate: number;
  /** Seconds of processors for 10^9 bytes. */
  readonly cost: number;
}

const MEANS = ["upcall", "ovs", "kernel"];

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
      by: { type: "string", multiple: true, default: MEANS },
    },
  });
  const rounds = numberOf("--rounds", values.rounds, 100);
  const seconds = numberOf("--seconds", values.seconds, 60);
  const kind = kinds.find(({ name }) => name === values.kind);
  if (kind === undefined) throw new BenchError(`--kind ${values.kind}: no such kind`);
  const far = `10.${81 + kinds.indexOf(kind)}.0.2`;
  const outcomes = new Map<string, Outcome[]>();
  const failures = new Map<string, string>();
  for (let round = 0; round < rounds; round++) {
    for (const means of MEANS.filter((each) => values.by.includes(each))) {
      if (failures.has(means)) continue;
      showProgress(`round ${round + 1} of ${rounds}: ${means}`);
      try {
        await using wire = await makeWire("tb"); // Each has its own, with all offloads.
        await using _ends = await join(means, kind, wire);
        await reach(wire.ends[0], far);
        const before = await busySeconds();
        const rate = await iperf(wire.ends, far, ["-t", `${seconds}`]) / 1e9;
        const cost = (await busySeconds() - before) / (rate * seconds / 8);
        outcomes.set(means, [...outcomes.get(means) ?? [], { rate, cost }]);
      } catch (error) {
        failures.set(means, error instanceof Error ? error.message : `${error}`);
      }
    }
  }
  showProgress("");
  const spread = (values: readonly number[]): string =>
    `[${Math.min(...values).toFixed(2)}-${Math.max(...values).toFixed(2)}]`;
  for (const [means, list] of outcomes) {
    const rates = list.map(({ rate }) => rate);
    const costs = list.map(({ cost }) => cost);
    console.log(
      `${kind.name} by ${means}: ${medianOf(rates).toFixed(2)} Gbit/s ${
        spread(rates)
      }, ` +
        `${medianOf(costs).toFixed(2)} s a gigabyte ${spread(costs)}`,
    );
  }
  for (const [means, why] of failures) console.error(`${kind.name} by ${means}: ${why}`);
  return outcomes.has("upcall") ? 0 : 1;
}

await untilInterrupted(main);
