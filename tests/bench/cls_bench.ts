// SPDX-License-Identifier: Apache-2.0
/**
 * Builds and runs the benches written in C, with the flags of users' builds:
 *
 *     deno run -A tests/bench/cls_bench.ts [SHAPE|all [scalar|avx2|avx512]]
 *     deno run -A tests/bench/cls_bench.ts flows [COUNT]
 *
 * The first prints cycles a packet of the lookup, the second flow operations a second. They
 * need neither root nor devices; a quiet machine helps.
 */
import { buildProgram } from "../support/c_build.ts";

const args = [...Deno.args];
const name = args[0] === "flows" ? "flow_bench" : "cls_bench";
if (name === "flow_bench") args.shift();
const source = new URL(`./${name}.c`, import.meta.url).pathname;
const program = await buildProgram(source, { instrument: "speed" });
const { code } = await new Deno.Command(program, { args }).spawn().status;
Deno.exit(code);
