// SPDX-License-Identifier: Apache-2.0
/**
 * Verbs about connections.
 *
 * @module
 */
import type { Connection, ConntrackFacet } from "../../providers/contract/conntrack.ts";
import type { Datapath } from "../../providers/datapath.ts";
import {
  connectionText,
  expectationText,
  protocolName,
  tcpState,
  tcpStates,
} from "../text/conntrack.ts";
import { readU16, readU32 } from "../text/scan.ts";
import { flushConntrack } from "./conntrack_flush.ts";
import { type Verb, VerbFailure, type VerbRun } from "./verb.ts";

/** A facet, or the failure that a missing one is. */
export function need<T>(facet: T | undefined, message: string): T {
  if (facet === undefined) throw new VerbFailure(message, "EOPNOTSUPP");
  return facet;
}

/** Takes `zone=N` off the end. */
function takeZone(args: readonly string[]): { rest: readonly string[]; zone?: number } {
  const last = args.at(-1) ?? "";
  if (!last.startsWith("zone=")) return { rest: args };
  const zone = readU16(last.slice(5));
  if (zone === undefined) throw new VerbFailure("failed to parse zone", "EINVAL");
  return { rest: args.slice(0, -1), zone };
}

const zoneOption = (zone: number | undefined): { zone?: number } =>
  zone === undefined ? {} : { zone };

function connections(
  run: VerbRun,
  dp: Datapath,
  zone?: number,
): readonly Connection[] {
  const message = "starting conntrack dump";
  const conntrack = need(dp.conntrack, message);
  return run.attempt(message, () => [...conntrack.dump(zoneOption(zone))]);
}

async function dumpConntrack(run: VerbRun, args: readonly string[]): Promise<void> {
  const { rest, zone } = takeZone(args);
  const { verbosity, statistics } = run.flags;
  await run.withDatapath(rest, 1, (dp) => {
    const message = "starting conntrack dump";
    const conntrack = need(dp.conntrack, message);
    const options = { verbose: verbosity > 0, statistics };
    run.attempt(message, () => {
      for (const connection of conntrack.dump(zoneOption(zone))) {
        run.print(() => `${connectionText(connection, options)}\n`);
        run.result(connection);
      }
    });
  });
}

async function dumpExpectations(run: VerbRun, args: readonly string[]): Promise<void> {
  const { rest, zone } = takeZone(args);
  await run.withDatapath(rest, 1, (dp) => {
    const message = "starting conntrack expectations dump";
    const conntrack = need(dp.conntrack, message);
    const list = need(conntrack.expectations?.bind(conntrack), message);
    run.attempt(message, () => {
      for (const expected of list(zoneOption(zone))) {
        run.print(() => `${expectationText(expected)}\n`);
        run.result(expected);
      }
    });
  });
}

/** Protocols that `ct-stats-show` has a line for, in its order. */
const countedProtocols = [6, 17, 136, 132, 1, 33, 2] as const;
/** Counted, but never printed (3.1). */
const silentProtocols: readonly number[] = [58];

async function ctStatsShow(run: VerbRun, args: readonly string[]): Promise<void> {
  let rest = args;
  let zone: number | undefined;
  let verbose = run.flags.verbosity > 0;
  for (;;) {
    const last = rest.at(-1) ?? "";
    if (last === "verbose" && !verbose) {
      verbose = true;
      rest = rest.slice(0, -1);
      continue;
    }
    const taken = takeZone(rest);
    if (taken.zone === undefined || zone !== undefined) break;
    ({ rest, zone } = { zone, ...taken });
  }
  await run.withDatapath(rest, 1, (dp) => {
    const all = connections(run, dp, zone);
    const byProtocol = tally(all, ({ orig }) => orig.proto);
    const states = tally(
      all.filter(({ tcp }) => tcp !== undefined),
      ({ tcp }) => tcpState(tcp as NonNullable<typeof tcp>),
    );
    run.print(`Connections Stats:\n    Total: ${all.length}\n`);
    for (const proto of countedProtocols) {
      const count = byProtocol.get(proto);
      if (count === undefined) continue;
      run.print(`  ${protocolName(proto).toUpperCase()}: ${count}\n`);
      if (proto !== 6 || !verbose) continue;
      run.print("    Conn per TCP states:\n");
      for (const state of tcpStates) {
        if (states.has(state)) run.print(`\t  [${state}]=${states.get(state)}\n`);
      }
    }
    const known: readonly number[] = [...countedProtocols, ...silentProtocols];
    const others = all.filter(({ orig }) => !known.includes(orig.proto)).length;
    if (others > 0) run.print(`  Other: ${others}\n`);
    run.result({
      total: all.length,
      protocols: Object.fromEntries(
        [...byProtocol].map(([proto, count]) => [protocolName(proto), count]),
      ),
      tcpStates: Object.fromEntries(states),
    });
  });
}

function tally<T, K>(items: readonly T[], keyOf: (item: T) => K): Map<K, number> {
  const counts = new Map<K, number>();
  for (const item of items) {
    const key = keyOf(item);
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  return counts;
}

async function ctBuckets(run: VerbRun, args: readonly string[]): Promise<void> {
  const last = args.at(-1) ?? "";
  const above = last.startsWith("gt=") ? readU16(last.slice(3)) : undefined;
  if (last.startsWith("gt=") && above === undefined) {
    throw new VerbFailure("failed to parse gt", "EINVAL");
  }
  const rest = above === undefined ? args : args.slice(0, -1);
  await run.withDatapath(rest, 1, (dp) => {
    const all = connections(run, dp);
    const buckets = dp.conntrack?.buckets?.();
    if (buckets === undefined) {
      run.print("Command is available for UserSpace ConnTracker only.\n");
      return;
    }
    run.print(`Total Buckets: ${buckets}\nCurrent Connections: ${all.length}\n\n`);
    run.result({ buckets, connections: all.length });
    if (buckets === 0 || all.length === 0) return;
    // Open vSwitch does not say which bucket a connection is in, and puts all into the first (3.1).
    const rule = "+-----------+-----------------------------------------+";
    run.print(
      `${rule}\n|  Buckets  |         Connections per Buckets         |\n${rule}`,
    );
    for (let bucket = 0; bucket < buckets; bucket++) {
      if (bucket % 8 === 0) {
        const from = `${bucket}`.padStart(3);
        run.print(`\n ${from}..${`${bucket + 7}`.padStart(3)}   | `);
      }
      const count = bucket === 0 ? all.length : 0;
      run.print((count > (above ?? 0) ? `${count}` : ".").padStart(5));
    }
    run.print("\n\n");
  });
}

/** A verb that reads one setting of conntrack and prints it. */
function getter<T>(
  failure: string,
  read: (conntrack: ConntrackFacet) => (() => T) | undefined,
  print: (value: T) => string,
): Verb["perform"] {
  return async (run, args) => {
    await run.withDatapath(args, 1, (dp) => {
      const get = need(dp.conntrack && read(dp.conntrack), failure);
      const value = run.attempt(failure, get);
      run.print(print(value));
      run.result(value);
    });
  };
}

/** A verb whose last argument is a number to be set. */
function numberSetter(
  words: { malformed: string; failure: string; success: string; zero?: boolean },
  write: (conntrack: ConntrackFacet) => ((value: number) => void) | undefined,
): Verb["perform"] {
  return async (run, args) => {
    await run.withDatapath(args, 2, (dp) => {
      const value = readU32(args.at(-1) ?? "");
      if (value === undefined || (value === 0 && words.zero === false)) {
        throw new VerbFailure(words.malformed, "EINVAL");
      }
      const set = need(dp.conntrack && write(dp.conntrack), words.failure);
      run.attempt(words.failure, () => set(value));
      run.print(words.success);
      run.result(value);
    });
  };
}

function sequenceCheck(on: boolean): Verb["perform"] {
  const doing = on ? "enabling" : "disabling";
  const failure = `${doing} TCP sequence checking failed`;
  return async (run, args) => {
    await run.withDatapath(args, 1, (dp) => {
      const check = need(dp.conntrack?.tcpSequenceCheck, failure);
      run.attempt(failure, () => check.set(on));
      run.print(`${doing} TCP sequence checking successful`);
      run.result(on);
    });
  };
}

/** Verbs about connections, in the order of ovs-dpctl's list. */
export const conntrackVerbs: readonly Verb[] = [
  {
    name: "dump-conntrack",
    usage: "[-m] [-s] [dp] [zone=N]",
    summary: "show connections, of one zone or all",
    args: [0, 4],
    writes: false,
    perform: dumpConntrack,
  },
  {
    name: "dump-conntrack-exp",
    usage: "[dp] [zone=N]",
    summary: "show expected connections",
    args: [0, 2],
    writes: false,
    perform: dumpExpectations,
  },
  {
    name: "flush-conntrack",
    usage: "[dp] [zone=N] [mark=X[/M]] [labels=X[/M]] [ct-orig-tuple] [ct-reply-tuple]",
    summary: "forget connections",
    args: [0, 6],
    writes: true,
    perform: flushConntrack,
  },
  {
    name: "ct-stats-show",
    usage: "[dp] [zone=N]",
    summary: "count connections by protocol, with -m by state of TCP",
    args: [0, 3],
    writes: false,
    perform: ctStatsShow,
  },
  {
    name: "ct-bkts",
    usage: "[dp] [gt=N]",
    summary: "show how full the buckets of the connection table are",
    args: [0, 2],
    writes: false,
    perform: ctBuckets,
  },
  {
    name: "ct-set-maxconns",
    usage: "[dp] maxconns",
    summary: "limit connections",
    args: [1, 2],
    writes: true,
    perform: numberSetter({
      malformed: "maxconns missing or malformed",
      failure: "ct set maxconns failed",
      success: "setting maxconns successful",
    }, ({ maxConnections: limit }) => limit && ((n) => limit.set(n))),
  },
  {
    name: "ct-get-maxconns",
    usage: "[dp]",
    summary: "show the limit of connections",
    args: [0, 1],
    writes: false,
    perform: getter(
      "maxconns could not be retrieved",
      ({ maxConnections: limit }) => limit && (() => limit.get()),
      (n) => `${n}\n`,
    ),
  },
  {
    name: "ct-get-nconns",
    usage: "[dp]",
    summary: "count connections",
    args: [0, 1],
    writes: false,
    perform: getter(
      "nconns could not be retrieved",
      (conntrack) => conntrack.count && (() => conntrack.count?.()),
      (n) => `${n}\n`,
    ),
  },
  {
    name: "ct-enable-tcp-seq-chk",
    usage: "[dp]",
    summary: "check sequence numbers of TCP",
    args: [0, 1],
    writes: true,
    perform: sequenceCheck(true),
  },
  {
    name: "ct-disable-tcp-seq-chk",
    usage: "[dp]",
    summary: "do not check sequence numbers of TCP",
    args: [0, 1],
    writes: true,
    perform: sequenceCheck(false),
  },
  {
    name: "ct-get-tcp-seq-chk",
    usage: "[dp]",
    summary: "show whether sequence numbers of TCP are checked",
    args: [0, 1],
    writes: false,
    perform: getter(
      "TCP sequence checking query failed",
      ({ tcpSequenceCheck: check }) => check && (() => check.get()),
      (on) => `TCP sequence checking: ${on ? "enabled" : "disabled"}\n`,
    ),
  },
  {
    name: "ct-get-sweep-interval",
    usage: "[dp]",
    summary: "show the milliseconds between sweeps of the connection table",
    args: [0, 1],
    writes: false,
    perform: getter(
      "failed to get the sweep interval",
      ({ sweepInterval: interval }) => interval && (() => interval.get()),
      (ms) => `${ms}`,
    ),
  },
  {
    name: "ct-set-sweep-interval",
    usage: "[dp] ms",
    summary: "set the milliseconds between sweeps of the connection table",
    args: [1, 2],
    writes: true,
    perform: numberSetter({
      malformed: "invalid sweep value",
      failure: "failed to set the sweep interval",
      success: "setting sweep interval successful\n",
      zero: false,
    }, ({ sweepInterval: interval }) => interval && ((ms) => interval.set(ms))),
  },
];
