// SPDX-License-Identifier: Apache-2.0
/**
 * Builds and runs the benches of connection tracking, with the flags of users' builds:
 *
 *     deno run -A tests/bench/ct_bench.ts [SHAPE|all [scalar|avx2|avx512]]
 *     deno run -A tests/bench/ct_bench.ts attacks [ROUNDS]
 *     deno run -A tests/bench/ct_bench.ts million
 *     deno run -A tests/bench/ct_bench.ts threads [ROUNDS]
 *
 * The first prints cycles a packet that is tracked and forwarded (`ct_bench.c`), the second what
 * attacks cost established connections (`ct_attack_bench.c`), the third what a million connections
 * take (`ct_million_bench.c`), the fourth what a second thread adds (`ct_threads_bench.c`). They
 * need neither root nor devices; a quiet machine helps, and the fourth needs two quiet cores.
 */
import { buildProgram } from "../support/c_build.ts";
import { helpIfAsked } from "./usage.ts";

helpIfAsked(import.meta.url);

const args = [...Deno.args];
const programs: Readonly<Record<string, string>> = {
  attacks: "ct_attack_bench",
  million: "ct_million_bench",
  threads: "ct_threads_bench",
};
const name = programs[args[0] ?? ""] ?? "ct_bench";
if (name !== "ct_bench") args.shift();
const source = new URL(`./${name}.c`, import.meta.url).pathname;
const program = await buildProgram(source, { instrument: "speed" });
const { code } = await new Deno.Command(program, { args }).spawn().status;
Deno.exit(code);
