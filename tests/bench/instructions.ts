// SPDX-License-Identifier: Apache-2.0
/**
 * Counts the instructions that a packet takes from receipt to the transmit buffer, and an operation
 * on a flow, by callgrind, and compares them with the committed counts: a regression shows on the
 * noisiest machine.
 *
 *     deno task bench:instructions [--update]
 *
 * Exit status 1 if a count differs from `instructions.json` by more than 3 %; with `--update` that
 * file is written anew. Hash keys are random, so counts vary a little from run to run. valgrind
 * knows no AVX-512: the scalar and the AVX2 build are counted. Another major version of the
 * compiler makes other counts.
 */
import { buildProgram } from "../support/c_build.ts";
import { helpIfAsked } from "./usage.ts";

helpIfAsked(import.meta.url);

type Counts = Record<string, Record<string, number>>;

/** Benches in C. */
const BENCHES: Readonly<Record<string, Bench>> = {
  cls_bench: {
    counted: "burst_receive",
    shapes: [
      "one-flow",
      "l3-1k",
      "masks20-10k",
      "masks64-10k",
      "ipv6-10k",
      "mixed",
      "multi-out",
    ],
  },
  ct_bench: { // Which receives bursts before that do not count.
    counted: "receive_bursts",
    shapes: ["ct-udp-10k", "ct-tcp-10k", "ct-nat-10k", "ct-new", "ct-new-nat"],
  },
  tnl_bench: {
    counted: "receive_bursts",
    shapes: ["vxlan-push", "vxlan-set", "vxlan-pop", "geneve-pop", "vxlan-sift"],
  },
  flow_bench: { // Of the last two a tenth is the put before them.
    counted: "flow_operate",
    shapes: ["flow-answer", "flow-put", "flow-change", "flow-get"],
    builds: ["any"],
    operations: { "flow-change": 10, "flow-get": 10 },
  },
};
const BUILDS: readonly string[] = ["scalar", "avx2"];
interface Bench {
  /** The function whose instructions count. */
  readonly counted: string;
  readonly shapes: readonly string[];
  /** Builds of the lookup, where it is not those of all benches. */
  readonly builds?: readonly string[];
  /** Operations of each flow, where they are more than one. */
  readonly operations?: Readonly<Record<string, number>>;
}

const BURSTS = 2000;
const PACKETS = BURSTS * 32;
const TOLERANCE = 0.03;
const file = new URL("./instructions.json", import.meta.url);

async function count(
  program: string,
  { counted, shape, build, operations }:
    & Record<"counted" | "shape" | "build", string>
    & { readonly operations: number },
): Promise<number> {
  const { code, stderr } = await new Deno.Command("valgrind", {
    args: [
      "--tool=callgrind",
      "--callgrind-out-file=/dev/null",
      `--toggle-collect=${counted}`,
      program,
      shape,
      build,
      `${BURSTS}`,
    ],
    stdout: "null",
    stderr: "piped",
  }).output();
  const said = new TextDecoder().decode(stderr);
  const collected = Number(/Collected : (\d+)/.exec(said)?.[1]);
  if (code !== 0 || !(collected > 0)) {
    throw new Error(`valgrind ended with status ${code}:\n${said}`);
  }
  return Math.round(collected / PACKETS / operations * 10) / 10;
}

const before: Counts = JSON.parse(await Deno.readTextFile(file).catch(() => "{}"));
const now: Counts = {};
let differ = 0;
for (const [bench, { counted, shapes, builds, operations }] of Object.entries(BENCHES)) {
  const source = new URL(`./${bench}.c`, import.meta.url).pathname;
  const program = await buildProgram(source, { instrument: "count" });
  for (const shape of shapes) {
    const counts: Record<string, number> = now[shape] = {};
    for (const build of builds ?? BUILDS) {
      const found = counts[build] = await count(program, {
        counted,
        shape,
        build,
        operations: operations?.[shape] ?? 1,
      });
      const known = before[shape]?.[build];
      const change = known === undefined ? NaN : found / known - 1;
      const bad = known !== undefined && !(Math.abs(change) <= TOLERANCE);
      if (bad) differ++;
      console.log(
        `${shape.padEnd(14)} ${build.padEnd(7)} ${
          found.toFixed(1).padStart(6)
        } instructions` +
          (known === undefined ? "" : `, ${known.toFixed(1)} before`) +
          (bad ? "  <- differs" : ""),
      );
    }
  }
}
if (Deno.args.includes("--update")) {
  await Deno.writeTextFile(file, JSON.stringify(now, null, 2) + "\n");
} else if (differ > 0) {
  console.log(`${differ} counts differ by more than ${100 * TOLERANCE} %`);
  Deno.exitCode = 1;
}
