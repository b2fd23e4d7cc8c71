// SPDX-License-Identifier: Apache-2.0
/**
 * Open vSwitch as an expert would run it: built from Debian's source for this very processor, and
 * told to look up and to read headers by AVX-512 where the processor has that. Built once, and kept
 * in the cache.
 *
 *     deno run -A tests/bench/open_vswitch_native.ts
 *
 * @module
 */
import { run } from "./child.ts";
import { BenchError, helpIfAsked, orComplain, showProgress } from "./usage.ts";

const TARBALL = "/usr/src/openvswitch/openvswitch.tar.gz";
const FLAGS = "-O3 -march=native -g0";

/**
 * Commands of ovs-appctl(8) that choose the vectors: `dpif-netdev/…` in Open vSwitch 3.1's
 * Documentation/topics/dpdk/bridge.rst. The miniflow parser `study` tries them all on the first
 * packets and keeps the best.
 */
export const VECTORS: readonly (readonly string[])[] = [
  ["dpif-netdev/subtable-lookup-prio-set", "avx512_gather", "5"],
  ["dpif-netdev/dpif-impl-set", "dpif_avx512"],
  ["dpif-netdev/miniflow-parser-set", "study"],
];

/** Whether this processor has what `VECTORS` asks for: Open vSwitch refuses them elsewhere. */
export async function hasVectors(): Promise<boolean> {
  const text = await Deno.readTextFile("/proc/cpuinfo");
  const flags = new Set(/^flags\s*:(.*)$/m.exec(text)?.[1]?.trim().split(/\s+/));
  return ["avx512f", "avx512bw", "avx512vl", "avx512_vpopcntdq"].every((flag) =>
    flags.has(flag)
  );
}

function cacheRoot(): string {
  const home = Deno.env.get("HOME") ?? "/root";
  return `${Deno.env.get("XDG_CACHE_HOME") ?? `${home}/.cache`}/upcall`;
}

/** What the build depends on: the source, the flags and the processor. */
async function buildName(): Promise<string> {
  const { size, mtime } = await Deno.stat(TARBALL);
  const target = await run("gcc", ["-march=native", "-Q", "--help=target"]);
  const text = `${size} ${mtime?.getTime()} ${FLAGS} ${target}`;
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  return `ovs-native-${new Uint8Array(digest).toHex().slice(0, 16)}`;
}

/** The path of ovs-vswitchd, which takes minutes to be built the first time. */
export async function nativeVswitchd(): Promise<string> {
  const missing = await Deno.stat(TARBALL).then(() => false, () => true);
  if (missing) throw new BenchError("ovs-native: no package openvswitch-source");
  const path = `${cacheRoot()}/${await buildName()}`;
  if (await Deno.stat(path).then(() => true, () => false)) return path;
  showProgress("building Open vSwitch for this processor: some minutes");
  await Deno.mkdir(cacheRoot(), { recursive: true });
  const work = await Deno.makeTempDir({ dir: cacheRoot(), prefix: "ovs-native-" });
  try {
    const jobs = navigator.hardwareConcurrency;
    await run("sh", [
      "-ec",
      `cd ${work}; tar -xzf ${TARBALL}; cd openvswitch
      ./configure CFLAGS="${FLAGS}" --disable-ssl --disable-libcapng \\
        --with-dpdk=shared > log 2>&1 || { tail -20 log >&2; exit 1; }
      printf 'include Makefile\\nbuilt: $(BUILT_SOURCES)\\n' > built.mk
      make -j${jobs} -f built.mk built > log 2>&1 || { tail -20 log >&2; exit 1; }
      make -j${jobs} vswitchd/ovs-vswitchd > log 2>&1 || { tail -20 log >&2; exit 1; }
      mv vswitchd/ovs-vswitchd ${path}.$$; mv ${path}.$$ ${path}`,
    ]);
  } finally {
    await Deno.remove(work, { recursive: true });
  }
  return path;
}

if (import.meta.main) {
  helpIfAsked(import.meta.url);
  console.log(await orComplain(nativeVswitchd));
}
