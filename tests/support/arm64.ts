// SPDX-License-Identifier: Apache-2.0
/**
 * What the C side needs to be compiled for ARM64 and run by qemu-user on another machine: Debian's
 * cross compiler, and a folder with Debian's DPDK and libc for arm64.
 *
 *     apt-get install gcc-aarch64-linux-gnu qemu-user
 *     deno run -A tests/support/arm64.ts      makes the folder; nothing is installed
 *
 * @module
 */
import { cacheDirectory } from "../../ffi/build_cache.ts";
import { compileFlags, portableFlags } from "../../ffi/flags.ts";
import { run } from "./command.ts";
import { needProgram, Unsupported } from "./skip.ts";
import { root } from "./tree.ts";

const packages = ["libdpdk-dev", "libc6-dev", "libgcc-12-dev"];

/** Where the folder is, whether made or not. */
export function arm64Root(): string {
  return Deno.env.get("UPCALL_ARM64_ROOT") ?? `${cacheDirectory()}/arm64`;
}

/** What compiles for ARM64, and runs what was compiled. */
export interface Arm64 {
  readonly cc: string;
  readonly ar: string;
  readonly qemu: string;
  readonly root: string;
  readonly flags: readonly string[];
  readonly link: readonly string[];
}

/** Finds it, or throws `Unsupported`. */
export async function needArm64(): Promise<Arm64> {
  const tool = { requirement: "tool" } as const;
  const cc = needProgram("aarch64-linux-gnu-gcc", tool);
  const ar = needProgram("aarch64-linux-gnu-ar", tool);
  const qemu = needProgram("qemu-aarch64", tool);
  const folder = arm64Root();
  const libraries = `${folder}/usr/lib/aarch64-linux-gnu`;
  let pc: string;
  try {
    pc = await Deno.readTextFile(`${libraries}/pkgconfig/libdpdk-libs.pc`);
  } catch {
    throw new Unsupported(
      `${folder} (deno run -A tests/support/arm64.ts makes it)`,
      tool,
    );
  }
  const words = (name: string): string[] =>
    (new RegExp(`^${name}: (.*)$`, "m").exec(pc)?.[1] ?? "").split(/\s+/)
      .filter((word) => word !== "" && !word.includes("${libdir}"));
  const own = words("Cflags").filter((word) => !word.includes("includedir"));
  const include = ["aarch64-linux-gnu/dpdk", "dpdk"].flatMap((name) => [
    "-isystem",
    `${folder}/usr/include/${name}`,
  ]);
  return {
    cc,
    ar,
    qemu,
    root: folder,
    flags: [
      `--sysroot=${folder}`,
      ...compileFlags.map((flag) => flag === "-O3" ? "-O2" : flag),
      ...include,
      ...own,
      ...portableFlags.aarch64 ?? [],
      "-Wall",
      "-Wextra",
      "-ffunction-sections",
      "-fdata-sections",
      `-I${root}c`,
    ],
    link: [
      `--sysroot=${folder}`,
      `-L${libraries}`,
      `-Wl,-rpath-link,${libraries}:${folder}/lib/aarch64-linux-gnu`,
      "-Wl,--gc-sections",
      ...words("Libs"),
      "-lpcap",
      "-lnuma",
      "-lm",
      "-lpthread",
    ],
  };
}

/** Makes the folder, with lists of packages of its own: the machine's are left alone. */
async function makeRoot(folder: string): Promise<void> {
  const apt = await Deno.makeTempDir({ prefix: "upcall-arm64-" });
  try {
    for (const name of ["lists/partial", "cache/archives/partial"]) {
      await Deno.mkdir(`${apt}/${name}`, { recursive: true });
    }
    await Deno.writeTextFile(`${apt}/status`, "");
    await Deno.writeTextFile(
      `${apt}/apt.conf`,
      'APT::Architecture "arm64";\nAPT::Architectures { "arm64"; };\n' +
        `Dir::State "${apt}";\nDir::State::lists "${apt}/lists";\n` +
        `Dir::State::status "${apt}/status";\nDir::Cache "${apt}/cache";\n` +
        'APT::Sandbox::User "root";\n',
    );
    const aptGet = ["env", `APT_CONFIG=${apt}/apt.conf`, "apt-get", "-q"];
    await run(...aptGet, "update");
    const wanted = ["-y", "--download-only", "--no-install-recommends"];
    await run(...aptGet, "install", ...wanted, ...packages);
    await Deno.mkdir(folder, { recursive: true });
    for await (const { name } of Deno.readDir(`${apt}/cache/archives`)) {
      if (name.endsWith(".deb")) {
        await run("dpkg-deb", "-x", `${apt}/cache/archives/${name}`, folder);
      }
    }
  } finally {
    await Deno.remove(apt, { recursive: true });
  }
}

if (import.meta.main) {
  await makeRoot(arm64Root());
  console.log(`made ${arm64Root()}`);
}
