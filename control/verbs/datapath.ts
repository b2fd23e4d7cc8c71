// SPDX-License-Identifier: Apache-2.0
/**
 * Verbs about whole datapaths.
 *
 * @module
 */
import type { Port, PortStats } from "../../providers/contract/ports.ts";
import type { Datapath } from "../../providers/datapath.ts";
import { type DeviceCounters, deviceStats } from "./device_stats.ts";
import { readU32 } from "../text/scan.ts";
import { type Advice, adviceOf, didYouMean } from "./advice.ts";
import {
  codeOf,
  failureOf,
  noDatapaths,
  reasonOf,
  type Verb,
  VerbFailure,
  type VerbRun,
} from "./verb.ts";
import { addPorts } from "./port.ts";

const all = Infinity;

/** Why there is no making a datapath of user space: it would end with this program. */
function whereItLives(name: string): Advice | undefined {
  if (!name.startsWith("netdev@")) return undefined;
  return {
    reason: "a netdev datapath lives in the program that forwards for it",
    hint: `"dpctl serve ${name}" runs one`,
  };
}

async function addDp(run: VerbRun, args: readonly string[]): Promise<void> {
  const [name = ""] = args;
  try {
    const dp = await run.datapaths.open(name, { create: "exclusive" });
    await dp.close();
  } catch (error) {
    // What cannot be a name is no device to the other verbs, but an argument to this one.
    if (error instanceof TypeError) {
      throw new VerbFailure("add_dp", "EINVAL", adviceOf(error));
    }
    throw failureOf("add_dp", error, whereItLives(name));
  }
  run.result({ created: name });
  if (args.length > 1) await addPorts(run, args);
}

async function deleteDp(run: VerbRun, [name = ""]: readonly string[]): Promise<void> {
  await run.withNamed(name, "opening datapath", async (dp) => {
    try {
      await dp.destroy();
    } catch (error) {
      throw failureOf("del_dp", error);
    }
    run.result({ deleted: dp.fullName });
  });
}

/**
 * Runs `use` for each datapath there is; exit status 1 only if none could be listed, or one not
 * opened.
 */
async function forEachDatapath(
  run: VerbRun,
  use: (dp: Datapath) => void,
  { adviseIfNone = true } = {},
): Promise<void> {
  const { names, error } = await run.datapaths.list();
  for (const name of names) {
    try {
      await run.withNamed(
        name,
        `opening datapath ${name.slice(name.indexOf("@") + 1)} failed`,
        use,
      );
    } catch (failure) {
      if (!(failure instanceof VerbFailure)) throw failure;
      run.fail(failure);
    }
  }
  if (names.length > 0) return;
  if (error !== undefined) run.failSilently();
  if (error !== undefined || adviseIfNone) {
    const reason = error === "ENOENT"
      ? "the kernel has no openvswitch module, and no program serves a datapath"
      : error === undefined
      ? "there is no datapath"
      : reasonOf(error);
    run.advise("no datapaths exist", { reason, hint: noDatapaths });
  }
}

function dumpDps(run: VerbRun): Promise<void> {
  return forEachDatapath(run, (dp) => {
    run.print(`${dp.fullName}\n`);
    run.result(dp.fullName);
  }, { adviseIfNone: false });
}

async function show(run: VerbRun, args: readonly string[]): Promise<void> {
  if (args.length === 0) return await forEachDatapath(run, (dp) => showOne(run, dp));
  for (const name of args) {
    try {
      await run.withNamed(
        name,
        `opening datapath ${name} failed`,
        (dp) => showOne(run, dp),
      );
    } catch (failure) {
      if (!(failure instanceof VerbFailure)) throw failure;
      run.fail(failure);
    }
  }
}

function showOne(run: VerbRun, dp: Datapath): void {
  const stats = dp.stats();
  run.print(`${dp.fullName}:\n`);
  run.print(
    `  lookups: hit:${stats.hit} missed:${stats.missed} lost:${stats.lost}\n` +
      `  flows: ${stats.flows}\n`,
  );
  const packets = Number(stats.hit + stats.missed);
  const perPacket = (count: bigint): number => packets && Number(count) / packets;
  if (stats.masks !== undefined) {
    const maskHit = stats.maskHit ?? 0n;
    run.print(
      `  masks: hit:${maskHit} total:${stats.masks} ` +
        `hit/pkt:${perPacket(maskHit).toFixed(2)}\n`,
    );
    if (stats.cacheHit !== undefined) {
      const rate = (perPacket(stats.cacheHit) * 100).toFixed(2);
      run.print(`  cache: hit:${stats.cacheHit} hit-rate:${rate}%\n`);
    }
  }
  const caches = printCaches(run, dp);
  const ports = [...dp.ports.dump()].map((port) => showPort(run, dp, port));
  run.result({ name: dp.fullName, ...stats, caches, ports });
}

function printCaches(run: VerbRun, dp: Datapath): Record<string, number> {
  const { caches } = dp;
  const names = caches?.names() ?? [];
  if (names.length > 0) run.print("  caches:\n");
  const sizes: Record<string, number> = {};
  names.forEach((name, level) => {
    const size = caches?.size(level) ?? 0;
    run.print(`    ${name}: size:${size}\n`);
    sizes[name] = size;
  });
  return sizes;
}

function showPort(run: VerbRun, dp: Datapath, port: Port): unknown {
  run.print(`  port ${port.no}: ${port.name}`);
  if (port.type !== "system") {
    const options = Object.entries(shownOptions(dp, port)).sort(([a], [b]) =>
      a < b ? -1 : 1
    );
    const list = options.map(([name, value], i) => `${i ? "," : ":"} ${name}=${value}`);
    run.print(` (${port.type}${list.join("")})`);
  }
  run.print("\n");
  if (!run.flags.statistics) return port;
  try {
    const stats = { ...dp.ports.stats(port.no), ...deviceStats(dp, port) };
    printStats(run, stats);
    return { ...port, stats };
  } catch (error) {
    run.print(`, could not retrieve stats (${reasonOf(codeOf(error))})`);
    return port;
  }
}

/** Options as Open vSwitch shows them: its tunnel ports in the kernel always carry this one. */
function shownOptions(dp: Datapath, port: Port): Readonly<Record<string, string>> {
  const isTunnel = dp.type === "system" && port.type !== "internal";
  return isTunnel ? { packet_type: "ptap", ...port.options } : port.options ?? {};
}

function printStats(run: VerbRun, stats: PortStats & DeviceCounters): void {
  const text = (value: bigint | undefined): string => value?.toString() ?? "?";
  run.print(
    `    RX packets:${text(stats.rxPackets)} errors:${text(stats.rxErrors)}` +
      ` dropped:${text(stats.rxDropped)} overruns:${text(stats.rxOverruns)}` +
      ` frame:${text(stats.rxFrame)}\n` +
      `    TX packets:${text(stats.txPackets)} errors:${text(stats.txErrors)}` +
      ` dropped:${text(stats.txDropped)} aborted:${text(stats.txAborted)}` +
      ` carrier:${text(stats.txCarrier)}\n` +
      `    collisions:${text(stats.collisions)}\n` +
      `    RX bytes:${text(stats.rxBytes)}${humanSize(stats.rxBytes)}` +
      `  TX bytes:${text(stats.txBytes)}${humanSize(stats.txBytes)}\n`,
  );
}

const units = ["TiB", "GiB", "MiB", "KiB"] as const;

/** ` (1.5 KiB)`, or nothing below 1 KiB. */
export function humanSize(bytes: bigint): string {
  for (const [i, unit] of units.entries()) {
    const size = 1024 ** (units.length - i);
    if (Number(bytes) >= size) return ` (${(Number(bytes) / size).toFixed(1)} ${unit})`;
  }
  return "";
}

async function cacheGetSize(run: VerbRun, [name]: readonly string[]): Promise<void> {
  const use = (dp: Datapath): void => {
    run.print(`${dp.fullName}:\n`);
    run.result({ name: dp.fullName, caches: printCaches(run, dp) });
  };
  if (name === undefined) await forEachDatapath(run, use);
  else await run.withNamed(name, `Opening datapath ${name} failed`, use);
}

async function cacheSetSize(
  run: VerbRun,
  [name = "", cache = "", text = ""]: readonly string[],
): Promise<void> {
  const size = readU32(text);
  if (size === undefined) throw new VerbFailure("size is malformed", "EINVAL");
  await run.withNamed(name, `Opening datapath ${name} failed`, (dp) => {
    const { caches } = dp;
    const names = caches?.names() ?? [];
    if (caches === undefined || names.length === 0) {
      const code = caches === undefined ? "EOPNOTSUPP" : undefined;
      throw new VerbFailure("Setting caches not supported", code);
    }
    const level = names.indexOf(cache);
    if (level < 0) {
      throw new VerbFailure(`Cache name "${cache}" not found on dpif`, "EINVAL", {
        hint: didYouMean(cache, names) ?? `there are: ${names.join(", ")}`,
      });
    }
    run.attempt("Setting cache size failed", () => caches.setSize(level, size));
    const now = caches.size(level);
    run.print(`Setting cache size successful, new size ${now}\n`);
    run.result({ cache, size: now });
  });
}

async function offloadStats(run: VerbRun, args: readonly string[]): Promise<void> {
  await run.withDatapath(args, 1, ({ offload }) => {
    const message = "retrieving offload statistics";
    if (offload === undefined) throw new VerbFailure(message, "EOPNOTSUPP");
    const stats = run.attempt(message, () => offload.stats());
    run.print("HW Offload stats:\n");
    for (const [name, value] of Object.entries(stats)) {
      run.print(`   ${name}: ${`${value}`.padStart(6)}\n`);
    }
    run.result(stats);
  });
}

/** Verbs about whole datapaths, in the order of ovs-dpctl's list. */
export const datapathVerbs: readonly Verb[] = [
  {
    name: "add-dp",
    usage: "dp [iface...]",
    summary: "make datapath DP, with ports",
    args: [1, all],
    writes: true,
    perform: addDp,
  },
  {
    name: "del-dp",
    usage: "dp",
    summary: "remove datapath DP",
    args: [1, 1],
    writes: true,
    perform: deleteDp,
  },
  {
    name: "dump-dps",
    usage: "",
    summary: "name every datapath",
    args: [0, 0],
    writes: false,
    perform: dumpDps,
  },
  {
    name: "show",
    usage: "[-s] [dp...]",
    summary: "show counters and ports of each DP",
    args: [0, all],
    writes: false,
    perform: show,
  },
  {
    name: "cache-get-size",
    usage: "[dp]",
    summary: "show the sizes of the lookup caches",
    args: [0, 1],
    writes: false,
    perform: cacheGetSize,
  },
  {
    name: "cache-set-size",
    usage: "dp cache <size>",
    summary: "set the size of one lookup cache",
    args: [3, 3],
    writes: true,
    perform: cacheSetSize,
  },
  {
    name: "offload-stats-show",
    usage: "[dp]",
    summary: "show what hardware forwards",
    args: [0, 1],
    writes: false,
    perform: offloadStats,
  },
];
