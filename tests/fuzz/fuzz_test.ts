// SPDX-License-Identifier: Apache-2.0
/**
 * A short run of every fuzzer: `tests/fuzz/*_fuzz.c` defines `LLVMFuzzerTestOneInput` and is
 * compiled under libFuzzer, AddressSanitizer and UndefinedBehaviorSanitizer with the units
 * that `link:` in its first comment names (all if it does not). It starts from the inputs in
 * `tests/fuzz/corpus/NAME/`.
 *
 * `FUZZ_SECONDS` sets how long each runs (10 if unset), five times as long those of what strangers
 * can send to a connection, `FUZZ_SEED` repeats a run. An input that fails is kept in the folder
 * that the error names.
 */
import { buildProgram } from "../support/c_build.ts";
import { skippable } from "../support/skip.ts";
import { endOf, failureOf } from "./report.ts";

const here = new URL("./", import.meta.url).pathname;
const seconds = Number(Deno.env.get("FUZZ_SECONDS") || 10);
/** Helpers, ICMP errors and reassembly: a minute each in continuous integration. */
const longer = ["ct", "ct_alg", "ipf"];
const seed = Deno.env.get("FUZZ_SEED");

const names = [...Deno.readDirSync(here)].map(({ name }) => name)
  .filter((name) => name.endsWith("_fuzz.c")).sort();

for (const file of names) {
  const name = file.slice(0, -"_fuzz.c".length);
  Deno.test(
    `fuzz: ${name}`,
    skippable(async () => {
      const limit = longer.includes(name) ? 5 * seconds : seconds;
      const program = await buildProgram(here + file, { instrument: "fuzzer" });
      const work = await Deno.makeTempDir({ prefix: `upcall-fuzz-${name}-` });
      const found = `${work}/found`;
      await Deno.mkdir(found);
      const corpus = `${here}corpus/${name}`;
      await Deno.mkdir(corpus, { recursive: true });
      const { success, code, signal, stderr } = await new Deno.Command(program, {
        args: [
          `-max_total_time=${limit}`,
          ...seed === undefined ? [] : [`-seed=${seed}`],
          "-rss_limit_mb=2048",
          "-timeout=25",
          "-print_final_stats=1",
          `-artifact_prefix=${work}/`,
          found, // New inputs go to the first folder: the committed ones stay as they are.
          corpus,
        ],
        stdin: "null",
        stdout: "null",
        stderr: "piped",
        signal: AbortSignal.timeout((limit + 240) * 1000),
      }).output();
      const said = new TextDecoder().decode(stderr);
      if (!success) {
        throw new Error(
          `the fuzzer failed, ${endOf({ code, signal })}; its input is in ${work}\n${
            failureOf(said)
          }`,
        );
      }
      const runs = Number(/stat::number_of_executed_units:\s+(\d+)/.exec(said)?.[1] ?? 0);
      if (runs < 100) {
        throw new Error(`the fuzzer ran ${runs} inputs only\n${said.slice(-2000)}`);
      }
      await Deno.remove(work, { recursive: true });
    }),
  );
}
