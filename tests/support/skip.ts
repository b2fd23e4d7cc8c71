// SPDX-License-Identifier: Apache-2.0
/**
 * Tests that a machine may not be able to run.
 *
 * A test skips by throwing `Unsupported`, and by nothing else:
 *
 * ```ts ignore
 * Deno.test("system forwards between namespaces", skippable(async (t) => {
 *   if (Deno.uid() !== 0) throw new Unsupported("root", { requirement: "system" });
 *   …
 * }));
 * ```
 *
 * `REQUIRE=system,netdev` in the environment forbids skips of these kinds: they fail then.
 * `REQUIRE=all` forbids every skip. What was skipped is printed, and written to the file that
 * `UPCALL_SKIPS` names, from which `tests/support/run.ts` makes its summary.
 *
 * @module
 */

/** What a test needs that a machine may lack. */
export type Requirement =
  /** The kernel's datapath: on this host, or in a user-mode guest. */
  | "system"
  /** The userspace datapath: DPDK, a compiler, and for some tests root. */
  | "netdev"
  /** Another program to be judged by or measured against. */
  | "peer"
  /** A development tool: clang, a sanitizer, a package of sources. */
  | "tool";

/** Thrown by a test that cannot run here. */
export class Unsupported extends Error {
  override readonly name = "Unsupported";
  /** The kind of thing that is missing. */
  readonly requirement: Requirement;

  /** `missing` names what is missing: `kernel module openvswitch`, `root`, `clang`. */
  constructor(missing: string, options: { requirement: Requirement }) {
    super(missing);
    this.requirement = options.requirement;
  }
}

/** Whether `REQUIRE` forbids to skip for want of `requirement`. */
export function isRequired(requirement: Requirement): boolean {
  const required = (Deno.env.get("REQUIRE") ?? "").split(",").map((word) => word.trim());
  return required.includes(requirement) || required.includes("all");
}

/**
 * Wraps the body of a test or step: `Unsupported` skips it unless `REQUIRE` forbids that.
 * Every other error fails it as usual.
 */
export function skippable(
  body: (t: Deno.TestContext) => void | Promise<void>,
): (t: Deno.TestContext) => Promise<void> {
  return async (t) => {
    try {
      await body(t);
    } catch (error) {
      if (!(error instanceof Unsupported)) throw error;
      if (isRequired(error.requirement)) {
        throw new Error(
          `Cannot skip, REQUIRE names ${error.requirement}: no ${error.message}`,
          {
            cause: error,
          },
        );
      }
      recordSkip({
        test: fullName(t),
        origin: t.origin,
        requirement: error.requirement,
        missing: error.message,
      });
    }
  };
}

/** One skip, as a line of the file that `UPCALL_SKIPS` names. */
export interface SkipRecord {
  /** Name of the test; of a step, `test > step`. */
  readonly test: string;
  /** URL of the test file. */
  readonly origin: string;
  readonly requirement: Requirement;
  readonly missing: string;
}

function fullName({ name, parent }: Pick<Deno.TestContext, "name" | "parent">): string {
  return parent === undefined ? name : `${fullName(parent)} > ${name}`;
}

function recordSkip(record: SkipRecord): void {
  console.log(`skipped, no ${record.missing} (${record.requirement})`);
  const path = Deno.env.get("UPCALL_SKIPS");
  if (path) Deno.writeTextFileSync(path, `${JSON.stringify(record)}\n`, { append: true });
}

/** Throws `Unsupported` unless this process is root. */
export function needRoot(requirement: Requirement): void {
  if (Deno.uid() !== 0) throw new Unsupported("root", { requirement });
}

/**
 * Absolute path of a program, looked for in `PATH` and where Debian keeps programs of the
 * administrator. Throws `Unsupported` when it is not installed.
 */
export function needProgram(name: string, options: { requirement: Requirement }): string {
  const path = findProgram(name);
  if (path === undefined) throw new Unsupported(`program ${name}`, options);
  return path;
}

/** Absolute path of a program, or `undefined`. */
export function findProgram(name: string): string | undefined {
  const places = (Deno.env.get("PATH") ?? "").split(":").filter((place) => place !== "");
  for (const place of [...places, "/usr/sbin", "/sbin", "/usr/local/sbin"]) {
    try {
      const info = Deno.statSync(`${place}/${name}`);
      if (info.isFile && ((info.mode ?? 0) & 0o111) !== 0) return `${place}/${name}`;
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) continue;
    }
  }
  return undefined;
}
