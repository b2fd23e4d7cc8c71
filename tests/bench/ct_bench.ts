// SPDX-License-Identifier: Apache-2.0
/**
 * Builds and runs the benches of connection tracking, with the flags of users' builds:
 *
 *     deno run -A tests/bench/ct_bench.ts [SHAPE|all [scalar|avx2|avx512]]
 *     deno run -A tests/bench/ct_bench.ts attacks [ROUNDS]
 *     deno run -A tests/bench/ct_bench.ts million
 *
 * The first prints cycles a packet that is tracked and forwarded (`ct_bench.c`), the second what attacks cost established
 * connections (`ct_attack_bench.c`), the third what a million connections take (`ct_million_bench.c`). They need neither root nor devices; a quiet machine helps.
 */
import { buildProgram } from "../support/c_build.ts";
import { helpIfAsked } from "./usage.ts";

helpIfAsked(import.meta.url);

const args = [...Deno.args];
const programs: Readonly<Record<string, string>> = {
  attacks: "ct_attack_bench",
  million: "ct_million_bench",
};
const name = programs[args[0] ?? ""] ?? "ct_bench";
if (name !== "ct_bench") args.shift();
const source = new URL(`./${name}.c`, import.meta.url).pathname;
const program = await buildProgram(source, { instrument: "speed" });
const { code } = await new Deno.Command(program, { args }).spawn().status;
Deno.exit(code);
