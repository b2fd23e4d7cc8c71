// SPDX-License-Identifier: Apache-2.0
/**
 * Real traffic between two hosts through this project, through Open vSwitch's userspace datapath
 * and through what the kernel and Python have: the same veth pairs, in turns. Hosts keep their
 * default offloads but where a name says otherwise.
 *
 *     deno task bench:iperf [--switch NAME]… [--rounds N] [--seconds S]
 *                           [--streams N]… [--json FILE]
 *
 * The names are upcall, upcall-naps, upcall-xdp, firewall, gateway, ovs, ovs-tso, ovs-no-tso,
 * ovs-no-tx, bridge, nft and scapy. Of `firewall` and `gateway`, which track connections, the share
 * of what `upcall` forwards is printed as well; of the first three, how many times the round trip
 * of `bridge` theirs is. TCP goes in one stream, and with `--streams` in so many at once, too;
 * `64 B` are UDP packets in frames of 64 bytes.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { temporaryFolder, untilInterrupted } from "./interrupt.ts";
import { BenchError, numberOf, showProgress } from "./usage.ts";
import {
  hostOffloads,
  startSwitch,
  SWITCHES,
  type SwitchName,
} from "./iperf_switches.ts";
import { describeMachine } from "./machine.ts";
import { medianOf } from "./measure.ts";
import { type Traffic, VethHosts } from "./veth_hosts.ts";

const REACHABLE_SECONDS = 30; // On a machine that is busy with other things.

async function measure(
  name: SwitchName,
  hosts: VethHosts,
  folder: string,
  seconds: number,
  streams: readonly number[],
): Promise<Traffic> {
  await using _between = await startSwitch(name, hosts.between, folder);
  await hosts.setOffloads(hostOffloads(name));
  await hosts.forgetNeighbours();
  await hosts.reachable(REACHABLE_SECONDS);
  return await hosts.measure(seconds, streams);
}

function formatLine(name: SwitchName, runs: readonly Traffic[]): string {
  const rates = runs.map((run) => run.bitsPerSecond / 1e9);
  // Of slow ones a digit that tells something.
  const shown = (rate: number): string =>
    rate === 0 || rate >= 0.1 ? rate.toFixed(2) : rate.toPrecision(2);
  const [least, most] = [Math.min(...rates), Math.max(...rates)];
  const median = (of: (run: Traffic) => number): number => medianOf(runs.map(of));
  const figures = [
    `${shown(medianOf(rates))} [${shown(least)}-${shown(most)}]`,
    ...Object.keys(runs[0]?.streams ?? {}).map((count) =>
      shown(median((run) => (run.streams[count] ?? NaN) / 1e9))
    ),
    `${Math.round(median((run) => run.retransmits))}`,
    `${Math.round(median((run) => run.smallPerSecond) / 1000)}`,
    `${Math.round(median((run) => run.rttUs))}`,
    `${Math.round(median((run) => run.rttP99Us))}`,
    `${(100 * median((run) => run.lossShare)).toFixed(1)} %`,
  ];
  return row([name, ...figures]);
}

function row(cells: readonly string[]): string {
  return cells.map((cell, i) =>
    i === 0 ? cell.padEnd(11) : cell.padStart(i === 1 ? 20 : 12)
  )
    .join(" ");
}

/** How far this project is from the bridge of the same run. */
function compare(runs: ReadonlyMap<SwitchName, readonly Traffic[]>): string[] {
  const bridge = runs.get("bridge");
  if (bridge === undefined) return [];
  const times = (mine: readonly Traffic[], of: (run: Traffic) => number): string =>
    `${(medianOf(mine.map(of)) / medianOf(bridge.map(of))).toFixed(2)} times`;
  return (["upcall", "upcall-naps", "upcall-xdp"] as const).flatMap((name) => {
    const mine = runs.get(name);
    if (mine === undefined) return [];
    return [
      `${name}: ${times(mine, (run) => run.rttUs)} the round trip of the bridge, ` +
      `${times(mine, (run) => run.bitsPerSecond)} its TCP, ` +
      `${times(mine, (run) => run.smallPerSecond)} its small packets`,
    ];
  });
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    args: Deno.args,
    options: {
      switch: { type: "string", multiple: true, default: [...SWITCHES] },
      rounds: { type: "string", default: "3" },
      seconds: { type: "string", default: "3" },
      streams: { type: "string", multiple: true, default: [] },
      json: { type: "string" },
    },
  });
  const names = values.switch.map((text) => {
    const found = SWITCHES.find((name) => name === text);
    if (found === undefined) {
      throw new BenchError(`--switch ${text}: expected one of ${SWITCHES.join(" ")}`);
    }
    return found;
  });
  const rounds = numberOf("--rounds", values.rounds, 100);
  const seconds = numberOf("--seconds", values.seconds, 60);
  const streams = values.streams.map((text) => numberOf("--streams", text, 128));
  await using cleanup = new AsyncDisposableStack();
  const folder = cleanup.use(await temporaryFolder("upcall-iperf-")).path;
  const hosts = cleanup.use(await VethHosts.create(folder));
  const runs = new Map<SwitchName, Traffic[]>();
  const failures = new Map<SwitchName, string>();
  for (let round = 0; round < rounds; round++) {
    for (const name of names) {
      if (failures.has(name)) continue;
      showProgress(`round ${round + 1} of ${rounds}: ${name}`);
      try {
        const traffic = await measure(name, hosts, folder, seconds, streams);
        runs.set(name, [...runs.get(name) ?? [], traffic]);
      } catch (error) {
        failures.set(name, error instanceof Error ? error.message : String(error));
      }
    }
  }
  showProgress("");
  const several = streams.map((count) => `${count} streams`);
  const counted = ["retransmits", "64 B kpps", "ping p50 µs", "ping p99 µs", "ping loss"];
  console.log(row(["switch", "Gbit/s", ...several, ...counted]));
  for (const [name, traffic] of runs) console.log(formatLine(name, traffic));
  const plain = runs.get("upcall");
  for (const name of ["firewall", "gateway"] as const) {
    const [mine, theirs] = [runs.get(name), plain].map((all) =>
      all && medianOf(all.map(({ bitsPerSecond }) => bitsPerSecond))
    );
    if (mine === undefined || !theirs) continue;
    console.log(`${name}: ${(100 * mine / theirs).toFixed(0)} % of plain forwarding`);
  }
  for (const text of compare(runs)) console.log(text);
  for (const [name, why] of failures) console.error(`${name}: ${why}`);
  if (values.json !== undefined) {
    const machine = await describeMachine(false, 0);
    const report = {
      machine,
      rounds,
      seconds,
      runs: Object.fromEntries(runs),
      failures: Object.fromEntries(failures),
    };
    await Deno.writeTextFile(values.json, JSON.stringify(report, null, 2) + "\n");
  }
  return failures.size > 0 ? 1 : 0;
}

await untilInterrupted(main);
