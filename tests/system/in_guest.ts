// SPDX-License-Identifier: Apache-2.0
/**
 * Runs test files in a user-mode guest and prints what they print, for work on them and for
 * figures:
 *
 *     deno run -A tests/system/in_guest.ts [--zones] [--memory 2G] FILE… [--filter NAME]
 *
 * `--zones` boots the kernel that `tests/support/uml_kernel.ts` builds, `--memory` gives the guest
 * more of it. Variables that begin with `UPCALL_`, `FUZZ_` or `REQUIRE` reach the tests, and where
 * the cache is.
 */
import { runInGuest } from "../support/uml.ts";
import { builtKernel } from "../support/uml_kernel.ts";

const words = Deno.args.filter((word) => word !== "--zones");
const at = words.indexOf("--memory");
const [, memory] = at < 0 ? [] : words.splice(at, 2);
const kernel = Deno.args.includes("--zones") ? await builtKernel() : undefined;
if (kernel === undefined && Deno.args.includes("--zones")) {
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
    ...(memory !== undefined && { memory }),
  },
);
Deno.exit(status);
