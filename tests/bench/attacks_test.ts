// SPDX-License-Identifier: Apache-2.0
/** Attacks leave those alone who have a flow; see `attack_bench.c`. */
import { buildProgram } from "../support/c_build.ts";
import { skippable, Unsupported } from "../support/skip.ts";

/** A machine may be disturbed for a while; an attack that works does so every time. */
const TRIES = 4;

Deno.test(
  "attacks: established flows cost no more than 20 % more, 10 % in a flood of upcalls",
  skippable(async () => {
    const source = new URL("./attack_bench.c", import.meta.url).pathname;
    const program = await buildProgram(source, { instrument: "speed" });
    for (let left = TRIES; left > 0; left--) {
      const { code, stdout } = await new Deno.Command(program, {
        args: ["100"],
        stdout: "piped",
        signal: AbortSignal.timeout(60_000),
      }).output();
      const said = new TextDecoder().decode(stdout);
      if (code === 0) return;
      if (code === 77) throw new Unsupported(said.trim(), { requirement: "netdev" });
      if (code !== 1 || left === 1) throw new Error(`exit status ${code}\n${said}`);
    }
  }),
);
