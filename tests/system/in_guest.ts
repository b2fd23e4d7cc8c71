// SPDX-License-Identifier: Apache-2.0
/**
 * Runs test files in a user-mode guest and prints what they print, for work on them and for
 * figures:
 *
 *     deno run -A tests/system/in_guest.ts [--zones] FILE… [--filter NAME]
 *
 * `--zones` boots the kernel that `tests/support/uml_kernel.ts` builds. Variables that begin with
 * `UPCALL_`, `FUZZ_` or `REQUIRE` reach the tests, and where the cache is.
 */
import { runInGuest } from "../support/uml.ts";
import { builtKernel } from "../support/uml_kernel.ts";

const words = Deno.args.filter((word) => word !== "--zones");
const kernel = Deno.args.includes("--zones") ? await builtKernel() : undefined;
if (kernel === undefined && words.length < Deno.args.length) {
  console.error("Needed first: deno run -A tests/support/uml_kernel.ts");
  Deno.exit(1);
}
const passed = Object.entries(Deno.env.toObject())
  .filter(([name]) => /^(UPCALL|FUZZ)_|^(REQUIRE|XDG_CACHE_HOME)$/.test(name));
const { status } = await runInGuest(
  [Deno.execPath(), "test", "-A", "--no-check", ...words],
  {
    timeoutMs: 60 * 60_000,
    env: { ...Object.fromEntries(passed), NO_COLOR: "1" },
    onLine: (line, stream) =>
      stream === "stderr" ? console.error(line) : console.log(line),
    ...(kernel !== undefined && { kernel }),
  },
);
Deno.exit(status);
