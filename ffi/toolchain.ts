// SPDX-License-Identifier: Apache-2.0
/**
 * The machine's C compiler and DPDK: found, asked for their versions, and run with an empty
 * environment.
 *
 * The environment is emptied because Deno refuses to start a program under a limited
 * `--allow-run` while `LD_LIBRARY_PATH` or `LD_PRELOAD` is set, and so that a build does not
 * depend on who runs it.
 *
 * @module
 */
import { LibraryError } from "./library.ts";

/** What builds of this machine depend on. */
export interface Toolchain {
  /** Version of DPDK, for example `22.11.11`. */
  readonly dpdkVersion: string;
  /** What the compiler says of itself and of the processor that it compiles for. */
  readonly compiler: string;
}

/** What one program left behind. */
export interface Output {
  readonly success: boolean;
  readonly stdout: string;
  readonly stderr: string;
}

const decoder = new TextDecoder();

/** Where `cc` and `pkg-config` are looked for. */
export const toolPath = "/usr/local/bin:/usr/bin:/bin";

/** Runs `cc` or `pkg-config`. `undefined`: there is no such program. */
async function run(
  program: "cc" | "pkg-config",
  args: readonly string[],
  options: { path: string; cwd?: string },
): Promise<Output | undefined> {
  try {
    const { success, stdout, stderr } = await new Deno.Command(program, {
      args: [...args],
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
      clearEnv: true,
      env: { PATH: options.path, LC_ALL: "C" },
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).output();
    return { success, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    if (error instanceof Deno.errors.NotCapable) {
      throw new LibraryError(
        `Cannot run ${program} to compile the datapath: run with --allow-run=cc,pkg-config, ` +
          "or name a compiled library in UPCALL_LIBRARY",
        { code: "permission", library: "libupcall", cause: error },
      );
    }
    throw error;
  }
}

/**
 * Finds compiler and DPDK. Throws `LibraryError` with the line for apt that installs exactly
 * what is missing.
 */
export async function findToolchain(path = toolPath): Promise<Toolchain> {
  const [dpdk, compiler] = await Promise.all([
    run("pkg-config", ["--modversion", "libdpdk"], { path }),
    // Prints, without compiling, what -march=native stands for: that is what the result
    // depends on, and it needs no reading of /proc.
    run("cc", ["-march=native", "-###", "-E", "-x", "c", "/dev/null"], { path }),
  ]);
  const missing: string[] = [];
  const packages: string[] = [];
  if (compiler === undefined) {
    missing.push("a C compiler (cc)");
    packages.push("gcc", "libc6-dev");
  }
  if (dpdk === undefined) {
    missing.push("pkg-config");
    packages.push("pkg-config", "libdpdk-dev");
  } else if (!dpdk.success) {
    missing.push("DPDK's headers (libdpdk.pc)");
    packages.push("libdpdk-dev");
  }
  if (compiler === undefined || dpdk === undefined || !dpdk.success) {
    throw new LibraryError(
      `Cannot compile the datapath: ${missing.join(" and ")} not found. ` +
        `On Debian: apt-get install ${packages.join(" ")}`,
      { code: "tool", library: "libupcall" },
    );
  }
  return { dpdkVersion: dpdk.stdout.trim(), compiler: compiler.stderr };
}

/** DPDK's flags for the compiler and for the link. */
export async function dpdkFlags(
  path = toolPath,
): Promise<{ compile: string[]; link: string[] }> {
  const [compile, link] = await Promise.all([
    run("pkg-config", ["--cflags", "libdpdk"], { path }),
    run("pkg-config", ["--libs", "libdpdk"], { path }),
  ]);
  if (!compile?.success || !link?.success) {
    throw new LibraryError(
      `Cannot compile the datapath: pkg-config failed for libdpdk: ` +
        `${(compile?.stderr || link?.stderr || "").trim()}`,
      { code: "tool", library: "libupcall" },
    );
  }
  const words = (text: string): string[] =>
    text.split(/\s+/).filter((word) => word !== "");
  return {
    // As system headers: their warnings are not ours to mend.
    compile: words(compile.stdout).map((word) => word.replace(/^-I/, "-isystem")),
    link: words(link.stdout),
  };
}

/** Runs the compiler in `cwd`. Throws `LibraryError` with what it printed when it fails. */
export async function compile(
  args: readonly string[],
  options: { cwd: string; path?: string },
): Promise<void> {
  const output = await run("cc", args, { path: toolPath, ...options });
  if (output?.success) return;
  const said = (output?.stderr ?? "there is no cc any more").trim();
  const shown = said.length > 6000 ? `${said.slice(0, 6000)}\n…` : said;
  throw new LibraryError(
    `Cannot compile the datapath:\n${shown}\nThe command was: cc ${args.join(" ")}`,
    { code: "compile", library: "libupcall" },
  );
}
