// SPDX-License-Identifier: Apache-2.0
/**
 * Builds and runs the benches written in C, with the flags of users' builds:
 *
 *     deno run -A tests/bench/cls_bench.ts [SHAPE|all [scalar|avx2|avx512]]
 *     deno run -A tests/bench/cls_bench.ts flows [COUNT]
 *     deno run -A tests/bench/cls_bench.ts attacks [ROUNDS]
 *     deno run -A tests/bench/cls_bench.ts shares [ROUNDS]
 *     deno run -A tests/bench/cls_bench.ts verify [PACKETS]
 *     deno run -A tests/bench/cls_bench.ts meter [SECONDS]
 *     deno run -A tests/bench/cls_bench.ts record
 *     deno run -A tests/bench/cls_bench.ts waits [FLOWS [ROUNDS]]
 *     deno run -A tests/bench/cls_bench.ts stalls [FLOWS [ROUNDS]]
 *     deno run -A tests/bench/cls_bench.ts tunnels [SHAPE|all [scalar|avx2|avx512]]
 *
 * The first prints cycles a packet of the lookup, the second flow operations a second, the third
 * what attacks cost established flows, the fourth what they leave of a poll thread. The fifth
 * compares every build of the lookup with a search of all flows, by default for 12,000,000 fuzzed
 * packets, which takes minutes. The sixth prints cycles a packet of a hot meter, and what four
 * threads let pass beside its rate; the seventh what recording costs an iteration of a poll thread;
 * the eighth what control calls wait for each other, the ninth what packets wait for while tables
 * grow and ports come; the last cycles a packet through tunnels. They need neither root nor
 * devices; a quiet machine helps.
 */
import { buildProgram } from "../support/c_build.ts";
import { helpIfAsked } from "./usage.ts";

helpIfAsked(import.meta.url);

const programs: Readonly<Record<string, string>> = {
  flows: "flow_bench",
  attacks: "attack_bench",
  shares: "attack_share_bench",
  verify: "../c/cls_verify_test",
  meter: "meter_bench",
  record: "perf_bench",
  waits: "wait_bench",
  stalls: "../c/dp_stall_test",
  tunnels: "tnl_bench",
};

const args = [...Deno.args];
const name = programs[args[0] ?? ""] ?? "cls_bench";
if (name !== "cls_bench") args.shift();
const source = new URL(`./${name}.c`, import.meta.url).pathname;
const program = await buildProgram(source, { instrument: "speed" });
const { code } = await new Deno.Command(program, { args }).spawn().status;
Deno.exit(code);
