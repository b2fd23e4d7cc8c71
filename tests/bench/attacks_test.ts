// SPDX-License-Identifier: Apache-2.0
/**
 * Attacks leave those alone who have a flow; see `attack_bench.c`, `attack_share_bench.c` and
 * `ct_attack_bench.c`.
 */
import { buildProgram } from "../support/c_build.ts";
import { skippable, Unsupported } from "../support/skip.ts";

/** A machine may be disturbed for a while; an attack that works does so every time. */
const TRIES = 4;
const TIMEOUT_MS = 120_000;

async function judge(name: string, rounds: number): Promise<void> {
  const source = new URL(`./${name}.c`, import.meta.url).pathname;
  const program = await buildProgram(source, { instrument: "speed" });
  for (let left = TRIES; left > 0; left--) {
    const { code, stdout, stderr } = await new Deno.Command(program, {
      args: [String(rounds)],
      signal: AbortSignal.timeout(TIMEOUT_MS),
    }).output();
    const decoder = new TextDecoder();
    const said = decoder.decode(stdout) + decoder.decode(stderr);
    if (code === 0) return;
    if (code === 77) throw new Unsupported(said.trim(), { requirement: "netdev" });
    if (code !== 1 || left === 1) throw new Error(`exit status ${code}\n${said}`);
  }
}

Deno.test(
  "attacks: established packets cost no more than 20 % more, 10 % in a flood of upcalls",
  skippable(() => judge("attack_bench", 100)),
);

Deno.test(
  "attacks: established traffic keeps its share of a poll thread",
  skippable(() => judge("attack_share_bench", 30)),
);

Deno.test(
  "attacks: SYNs and a full table leave nine tenths to established connections, and lose none",
  skippable(() => judge("ct_attack_bench", 100)),
);
