// SPDX-License-Identifier: Apache-2.0
/**
 * What the machine gives to a measurement: cores, hugepages, the compiled packet source, and the
 * words to record it by.
 *
 * @module
 */
import { run } from "./child.ts";
import { cleanedUp } from "./interrupt.ts";

/** Core of the poll threads; everything else stays on `CONTROL_CORE`. */
export const POLL_CORE = 1;
/** Core of every thread that does not poll. */
export const CONTROL_CORE = 0;

const HUGEPAGES = "/proc/sys/vm/nr_hugepages";
const NET_GEN = new URL("./net_gen/", import.meta.url).pathname;

/** The machine and the versions, for the record. */
export interface MachineRecord {
  readonly cpu: string;
  readonly cores: number;
  readonly kernel: string;
  readonly memoryMiB: number;
  readonly hugepages: boolean;
  readonly tscHz: number;
  readonly dpdk: string;
  readonly openvswitch: string;
  readonly deno: string;
  readonly commit: string;
  readonly date: string;
}

/** Hugepages for a measurement; dispose gives back what was added. */
export interface Hugepages extends AsyncDisposable {
  readonly available: boolean;
}

/**
 * Adds `mebibytes` of free 2 MiB hugepages where this process may and the memory is there. All
 * programs get them, or none does.
 */
export function takeHugepages(mebibytes: number): Hugepages {
  const none = { available: false, ...cleanedUp(() => {}) };
  let before: number;
  try {
    before = Number(Deno.readTextFileSync(HUGEPAGES));
    const wanted = Math.max(0, mebibytes / 2 - meminfo("HugePages_Free"));
    Deno.writeTextFileSync(HUGEPAGES, String(before + wanted));
  } catch {
    return none; // not allowed to, or no such file: measure without
  }
  const restore = (): void => Deno.writeTextFileSync(HUGEPAGES, String(before));
  if (meminfo("HugePages_Free") < mebibytes / 2) {
    restore();
    return none;
  }
  return { available: true, ...cleanedUp(restore) };
}

function meminfo(name: string): number {
  const line = new RegExp(`^${name}:\\s+(\\d+)`, "m").exec(
    Deno.readTextFileSync("/proc/meminfo"),
  );
  return Number(line?.[1] ?? 0);
}

/** Options of EAL that are the same for every program: no PCI device, no files left behind. */
export function ealOptions(hugepages: boolean): string[] {
  const memory = hugepages ? ["--in-memory"] : ["--no-huge", "--no-shconf", "-m", "1024"];
  return [...memory, "--no-pci", "--no-telemetry"];
}

/** Compiles the packet source to `path`. */
export async function buildNetGen(path: string): Promise<void> {
  const flags = (await run("pkg-config", ["--cflags", "libdpdk"])).trim().split(/\s+/);
  const libraries = ["bus_vdev", "ethdev", "mempool", "mbuf", "kvargs", "eal"];
  await run("cc", [
    ..."-std=gnu11 -O3 -Wall -Wextra -Werror -Wshadow -Wmissing-prototypes".split(" "),
    ...flags,
    // After DPDK's flags, which name an older machine.
    ..."-march=native -mprefer-vector-width=512".split(" "),
    ..."-fPIC -shared -fvisibility=hidden -Wl,-z,nodelete -Wl,--no-as-needed".split(" "),
    "-o",
    path,
    ...["net_gen.c", "queue.c", "frames.c"].map((name) => NET_GEN + name),
    ...libraries.map((name) => `-lrte_${name}`),
  ]);
}

/** CPU time that the hypervisor took from a core so far, ms. */
export function stolenMs(core: number): number {
  const line = Deno.readTextFileSync("/proc/stat").split("\n").find((line) =>
    line.startsWith(`cpu${core} `)
  );
  return Number(line?.split(/\s+/)[8] ?? 0) * 10;
}

/** The record of this machine. */
export async function describeMachine(
  hugepages: boolean,
  tscHz: number,
): Promise<MachineRecord> {
  const said = (command: string, args: string[]): Promise<string> =>
    run(command, args).then((text) => text.trim().split("\n")[0] ?? "", () => "unknown");
  const cpuinfo = Deno.readTextFileSync("/proc/cpuinfo");
  const model = /^model name\s*:\s*(.*)$/m.exec(cpuinfo)?.[1] ?? "unknown";
  const family = /^cpu family\s*:\s*(.*)$/m.exec(cpuinfo)?.[1] ?? "?";
  const commit = await said("git", ["-C", NET_GEN, "rev-parse", "--short=12", "HEAD"]);
  const dirty = await run("git", ["-C", NET_GEN, "status", "--porcelain"]).catch(() =>
    ""
  );
  return {
    cpu: `${model}, family ${family}`,
    cores: navigator.hardwareConcurrency,
    kernel: Deno.osRelease(),
    memoryMiB: Math.round(Deno.systemMemoryInfo().total / 2 ** 20),
    hugepages,
    tscHz,
    dpdk: await said("pkg-config", ["--modversion", "libdpdk"]),
    openvswitch: await said("ovs-vsctl", ["--version"]),
    deno: Deno.version.deno,
    commit: dirty.trim() === "" ? commit : `${commit} with changes`,
    date: new Date().toISOString(),
  };
}
