// SPDX-License-Identifier: Apache-2.0
/**
 * Runs the tests written in C: every `tests/c/*_test.c`.
 *
 * Such a file has a `main` that returns 0 when all is well, and 77, after a line on stdout
 * that says what is missing, when it cannot run here (78 when not every machine that has DPDK
 * can). Its first comment may say which units
 * of `c/` are linked, `link: cls/*.c base/hash.c` (all if it does not), and under which sanitizers
 * it runs, `sanitize: address thread` (AddressSanitizer, with UndefinedBehaviorSanitizer, if it
 * does not). Each also runs as users' libraries are compiled: what an optimizer makes of code that
 * is not as it should be, an aligned load say, no sanitizer shows.
 *
 * Also holds every unit, header and C test to the warnings of `ffi/flags.ts`.
 */
import {
  beside,
  buildProgram,
  cDirectory,
  checkWarnings,
  compileTest,
  directives,
  filesOf,
  unitObjects,
} from "../support/c_build.ts";
import { skippable, Unsupported } from "../support/skip.ts";

const here = new URL("./", import.meta.url).pathname;
/** Of `dp_rounds_test.c`: more rounds than a run of all tests has time for. */
const rounds = Deno.env.get("DP_ROUNDS");
/** Of a machine that is busy with other things. */
const timeoutMs = rounds === undefined ? 300_000 : 7_200_000;

/** Allocations of libraries that are not ours to mend, kept for the life of the process. */
const leakSuppressions = [
  "leak:librte_",
  "leak:libpcap",
  "leak:libnuma",
  "leak:libxdp",
  "leak:libbpf",
  "leak:libdbus",
].join("\n");

const names = [...Deno.readDirSync(here)].map(({ name }) => name)
  .filter((name) => name.endsWith("_test.c")).sort();

for (const name of names) {
  const { sanitize } = directives(Deno.readTextFileSync(here + name));
  for (const instrument of [...sanitize, "speed"] as const) {
    const how = instrument === "speed" ? "optimized" : `under ${instrument} sanitizer`;
    Deno.test(
      `c: ${name.slice(0, -7)} ${how}`,
      skippable(async () => {
        const program = await buildProgram(here + name, { instrument });
        await runProgram(program);
      }),
    );
  }
}

async function runProgram(program: string): Promise<void> {
  const suppressions = await Deno.makeTempFile({ prefix: "upcall-lsan-" });
  try {
    await Deno.writeTextFile(suppressions, leakSuppressions);
    // Without address randomization: gcc 12's ThreadSanitizer refuses to start where the
    // kernel randomizes more bits than it was made for.
    const { code, stdout, stderr } = await new Deno.Command("setarch", {
      args: ["-R", program],
      env: {
        ASAN_OPTIONS: "abort_on_error=0:detect_stack_use_after_return=1",
        LSAN_OPTIONS: `suppressions=${suppressions}:print_suppressions=0`,
        UBSAN_OPTIONS: "print_stacktrace=1",
        TSAN_OPTIONS: "halt_on_error=1:second_deadlock_stack=1",
      },
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
      signal: AbortSignal.timeout(timeoutMs),
    }).output();
    const said = new TextDecoder().decode(stdout);
    if (code === 77 || code === 78) {
      const missing = said.trim().split("\n").at(-1) ?? "something";
      throw new Unsupported(missing, { requirement: code === 77 ? "netdev" : "peer" });
    }
    if (rounds !== undefined) console.log(said);
    if (code !== 0) {
      throw new Error(
        `exit status ${code}\n${said}\n${new TextDecoder().decode(stderr)}`,
      );
    }
  } finally {
    await Deno.remove(suppressions);
  }
}

Deno.test(
  "c: every unit and test compiles without a warning",
  skippable(async () => {
    await unitObjects();
    await beside(names, compileTest);
  }),
);

Deno.test(
  "c: every header stands by itself",
  skippable(async () => {
    const headers = (await filesOf(".h")).filter((name) => name !== "abi_fields.h");
    // Vectors are of builds that have them; this one may not.
    await beside(headers, (name) => checkWarnings(cDirectory + name, ["-Wno-psabi"]));
  }),
);
