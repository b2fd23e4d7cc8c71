// SPDX-License-Identifier: Apache-2.0
/**
 * All that a live view shows of a datapath, at one moment, as plain numbers that fit into JSON.
 *
 * @module
 */
import type { Datapath } from "../providers/datapath.ts";
import { portsWithStats } from "./port_counters.ts";
import { flowText } from "./text/flow.ts";

/** Counters of a port. */
export interface PortStatus {
  readonly no: number;
  readonly name: string;
  readonly type: string;
  readonly rxPackets: number;
  readonly rxBytes: number;
  readonly txPackets: number;
  readonly txBytes: number;
  readonly drops: number;
}

/** Counters of a datapath at one moment, since the datapath was made. */
export interface Counters {
  readonly name: string;
  /** Milliseconds, on a clock of the program that answers. */
  readonly atMs: number;
  readonly hit: number;
  readonly missed: number;
  readonly lost: number;
  readonly flows: number;
  readonly masks?: number;
  readonly maskHit?: number;
  readonly ports: readonly PortStatus[];
  /** Packets dropped, by reason. */
  readonly drops: Readonly<Record<string, number>>;
  readonly threads: readonly {
    readonly core: number;
    readonly busy: number;
    readonly idle: number;
    readonly sleep: number;
  }[];
}

/** A datapath at one moment. */
export interface Status extends Counters {
  /** The flows that were hit most. */
  readonly top: readonly {
    readonly id: string;
    readonly packets: number;
    readonly bytes: number;
    readonly text: string;
  }[];
}

/** Flows that are shown at most. */
const topFlows = 10;
/** Flows that are looked at: a view must not slow down a datapath with very many. */
const maxFlows = 20000;

/** Looks at a datapath. */
export function statusOf(dp: Datapath): Status {
  return { ...countersOf(dp), top: mostHit(dp) };
}

/** Looks at the counters of a datapath: no flow is looked at. */
export function countersOf(dp: Datapath): Counters {
  const { hit, missed, lost, flows, masks, maskHit, counters = {} } = dp.stats();
  const drops = Object.entries(counters)
    .filter(([name, count]) => name.startsWith("drop_") && count > 0n)
    .map(([name, count]): [string, number] => [name.slice(5), Number(count)]);
  return {
    name: dp.fullName,
    atMs: performance.now(),
    hit: Number(hit),
    missed: Number(missed),
    lost: Number(lost),
    flows,
    ...(masks !== undefined && { masks }),
    ...(maskHit !== undefined && { maskHit: Number(maskHit) }),
    ports: portsWithStats(dp).map(({ port: { no, name, type }, stats }) => ({
      no,
      name,
      type,
      rxPackets: Number(stats.rxPackets),
      rxBytes: Number(stats.rxBytes),
      txPackets: Number(stats.txPackets),
      txBytes: Number(stats.txBytes),
      drops: Number(stats.rxDropped + stats.txDropped),
    })),
    drops: Object.fromEntries(drops),
    threads: (dp.pollThreads?.dump() ?? []).map(({ core, cycles }) => ({
      core,
      busy: Number(cycles.busy),
      idle: Number(cycles.idle),
      sleep: Number(cycles.sleep),
    })),
  };
}

function mostHit(dp: Datapath): Status["top"] {
  const best: { packets: bigint; flow: Parameters<typeof flowText>[0] }[] = [];
  let seen = 0;
  for (const flow of dp.flows.dump()) {
    if (++seen > maxFlows) break;
    const { packets } = flow.stats;
    if (best.length === topFlows && packets <= (best.at(-1)?.packets ?? 0n)) continue;
    best.push({ packets, flow });
    best.sort((a, b) => a.packets < b.packets ? 1 : a.packets > b.packets ? -1 : 0);
    best.splice(topFlows);
  }
  return best.map(({ packets, flow }) => {
    const text = flowText(flow, { verbose: false })
      .replace(/ packets:\d+, bytes:\d+, used:[^,]*,( flags:[^,]*,)?/, "");
    return {
      id: flow.ufid ?? text,
      packets: Number(packets),
      bytes: Number(flow.stats.bytes),
      text,
    };
  });
}
