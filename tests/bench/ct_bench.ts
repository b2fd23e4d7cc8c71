// SPDX-License-Identifier: Apache-2.0
/**
 * Builds and runs the benches of connection tracking, with the flags of users' builds:
 *
 *     deno run -A tests/bench/ct_bench.ts [SHAPE|all [scalar|avx2|avx512]]
 *
 * It prints cycles a packet that is tracked and forwarded, see `ct_bench.c`. It needs neither root nor devices; a quiet
 * machine helps.
 */
import { buildProgram } from "../support/c_build.ts";
import { helpIfAsked } from "./usage.ts";

helpIfAsked(import.meta.url);

const source = new URL("./ct_bench.c", import.meta.url).pathname;
const program = await buildProgram(source, { instrument: "speed" });
const { code } = await new Deno.Command(program, { args: Deno.args }).spawn().status;
Deno.exit(code);
