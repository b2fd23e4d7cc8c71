// SPDX-License-Identifier: Apache-2.0
/**
 * Runs the tests of the kernel's datapath in a user-mode Linux guest, where this kernel has none,
 * and reports each as a test of this file.
 */
import { figure } from "../support/figure.ts";
import { NetdevBench } from "../support/netdev.ts";
import { isRequired, skippable, type SkipRecord, Unsupported } from "../support/skip.ts";
import { runInGuest } from "../support/uml.ts";
import { builtKernel } from "../support/uml_kernel.ts";
import { hasDatapath } from "./system.ts";

const root = new URL("../../", import.meta.url).pathname;
const limitMs = 45 * 60_000; // Twice what it takes where system calls are slow.

interface GuestTest {
  readonly name: string;
  readonly failure: string | undefined;
  readonly skip: SkipRecord | undefined;
}

const entities: Readonly<Record<string, string>> = {
  lt: "<",
  gt: ">",
  quot: '"',
  apos: "'",
  amp: "&",
};

function unescape(text: string): string {
  return text.replace(/&(\w+);/g, (whole, name: string) => entities[name] ?? whole)
    .replace(/&#(\d+);/g, (_, code: string) => String.fromCodePoint(Number(code)));
}

/** The tests of a JUnit report. */
function parseReport(junit: string, skips: readonly SkipRecord[]): GuestTest[] {
  const cases = junit.matchAll(
    /<testcase name="([^"]*)"[^>]*?(?:\/>|>([^]*?)<\/testcase>)/g,
  );
  return [...cases].map(([, escaped = "", inside = ""]) => {
    const name = unescape(escaped);
    const [, failure] = /<(?:failure|error)\b[^>]*>([^]*?)<\//.exec(inside) ?? [];
    return {
      name,
      failure: failure === undefined ? undefined : unescape(failure),
      skip: skips.find((skip) => skip.test === name),
    };
  });
}

/** Variables of ours that tests look at. */
function passedOn(): Record<string, string> {
  const names = ["REQUIRE", "FUZZ_SECONDS", "FUZZ_SEED", "XDG_CACHE_HOME"];
  return Object.fromEntries(names.flatMap((name) => {
    const value = Deno.env.get(name);
    return value === undefined ? [] : [[name, value]];
  }));
}

/** Runs test files in a guest. */
async function runFiles(files: string[], kernel?: string): Promise<GuestTest[]> {
  const args = ["test", "-A", "--no-check", "--quiet", "--junit-path=$SHARED/junit.xml"];
  const line = [Deno.execPath(), ...args, ...files].join(" ");
  const result = await runInGuest(
    [
      "/bin/sh",
      "-c",
      `UPCALL_SKIPS=$SHARED/skips UPCALL_FIGURES=$SHARED/figures exec ${line}`,
    ],
    {
      timeoutMs: limitMs,
      cwd: root,
      env: { ...passedOn(), NO_COLOR: "1" },
      collect: ["junit.xml", "skips", "figures"],
      ...(kernel !== undefined && { kernel }),
    },
  );
  const skips = (result.files.get("skips") ?? "").split("\n").filter((text) =>
    text !== ""
  )
    .map((text) => JSON.parse(text) as SkipRecord);
  const tests = parseReport(result.files.get("junit.xml") ?? "", skips);
  const figures = result.files.get("figures") ?? "";
  for (const text of figures.split("\n")) if (text !== "") figure(`guest: ${text}`);
  const failed = tests.some((test) => test.failure !== undefined);
  // What fails outside of any test must not pass for want of a name.
  if (tests.length === 0 || (result.status !== 0 && !failed)) {
    throw new Error(
      `deno test in the guest: status ${result.status}\n${result.stdout}${result.stderr}`,
    );
  }
  return tests;
}

/**
 * Tests of the userspace datapath that need what only the guest's kernel has. The guest does not
 * compile, so that the library must have been compiled here.
 */
async function filesOfNetdev(): Promise<string[]> {
  try {
    await (await NetdevBench.open())[Symbol.asyncDispose]();
  } catch (error) {
    if (error instanceof Unsupported) return [];
    throw error;
  }
  return ["tests/netdev/tunnels/linux_test.ts"];
}

/**
 * What Debian's guest kernel skips for want of zones is run by the kernel that was built for it.
 */
async function runSuite(): Promise<GuestTest[]> {
  const tests = await runFiles([
    "tests/system/",
    "tests/conformance/system_test.ts",
    "tests/cli/kernel_test.ts",
    ...await filesOfNetdev(),
  ]);
  const kernel = await builtKernel();
  if (kernel === undefined) return tests;
  const again = await runFiles(
    ["tests/system/conntrack_test.ts", "tests/system/conntrack_scenarios_test.ts"],
    kernel,
  );
  return [
    ...tests.map((test) =>
      test.skip ? again.find(({ name }) => name === test.name) ?? test : test
    ),
    ...again.filter(({ name }) => name.includes("scenarios"))
      .map((test) => ({ ...test, name: `${test.name}, with zones` })),
  ];
}

function define({ name, failure, skip }: GuestTest): void {
  Deno.test(
    `${name} (guest)`,
    skippable(() => {
      if (failure !== undefined) throw new Error(failure);
      if (skip) throw new Unsupported(skip.missing, { requirement: skip.requirement });
    }),
  );
}

if (!hasDatapath) {
  // Before any test is defined, for what is to be defined is only known afterwards.
  try {
    (await runSuite()).forEach(define);
  } catch (error) {
    const why = error instanceof Unsupported && !isRequired(error.requirement)
      ? error
      : new Error("The guest's tests did not run", { cause: error });
    Deno.test(
      "the kernel's datapath is tested in a guest",
      skippable(() => {
        throw why;
      }),
    );
  }
}
