// SPDX-License-Identifier: Apache-2.0
/**
 * The page of `dpctl top`, made of two looks at a datapath. Pure.
 *
 * @module
 */
import type { Status } from "../../control/status.ts";
import { flowLine } from "../../control/text/flow_line.ts";
import { printableLine } from "../../control/text/printable.ts";

/** Counts per second between two looks. */
function rate(before: number | undefined, now: number, seconds: number): number {
  // What counts anew is below what it was: it has counted all of that since.
  const since = before === undefined || before > now ? now : now - before;
  return since / seconds;
}

function secondsBetween(before: Status, now: Status): number {
  return Math.max(0.001, (now.atMs - before.atMs) / 1000);
}

const number = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

function per(value: number, scale: readonly string[], step: number): string {
  let left = value;
  let unit = 0;
  while (left >= step && unit < scale.length - 1) {
    left /= step;
    unit++;
  }
  return unit === 0 ? number.format(left) : `${left.toFixed(1)}${scale[unit]}`;
}

const bits = (bytes: number): string => per(bytes * 8, ["", "K", "M", "G", "T"], 1000);

function hitShare(before: Status, now: Status): string {
  const hit = now.hit - before.hit;
  const all = hit + now.missed - before.missed;
  return all <= 0 ? "-" : `${(hit / all * 100).toFixed(1)}%`;
}

/** One line, for what is no terminal. */
export function lineOf(before: Status, now: Status): string {
  const seconds = secondsBetween(before, now);
  const per = (field: "hit" | "missed" | "lost"): string =>
    number.format(rate(before[field], now[field], seconds));
  return `${now.name} hit/s ${per("hit")} missed/s ${per("missed")} ` +
    `lost/s ${per("lost")} hit ${hitShare(before, now)} flows ${now.flows}` +
    (now.masks === undefined ? "" : ` masks ${now.masks}`);
}

/** Rows of the page: as many and as wide as the screen at most. */
export function pageOf(
  before: Status,
  now: Status,
  { columns, rows }: { readonly columns: number; readonly rows: number },
): string[] {
  const seconds = secondsBetween(before, now);
  const page = [
    lineOf(before, now),
    "",
    ...portRows(before, now, seconds),
    "",
    ...threadRows(before, now),
    ...dropRows(before, now, seconds),
    ...flowRows(before, now, { seconds, columns }),
  ];
  // Names of ports, and flows with them, may hold escape sequences.
  return page.slice(0, rows).map((row) => printableLine(row).slice(0, columns));
}

/** The last row of a page: what keys do. */
export function keysLine(isPaused: boolean): string {
  return `q ends   p ${isPaused ? "goes on (paused)" : "pauses"}   h explains`;
}

/** What the page's words mean. */
export const explanation: readonly string[] = [
  "hit/s      packets that met a flow: the datapath alone dealt with them",
  "missed/s   packets that met none and came up to the program",
  "lost/s     misses that were dropped, because the program was too slow",
  "hit        hits of all packets, since the last look",
  "flows      in the table;  masks  their kinds, which lookups go through",
  "",
  "PORT       RX is what came in, TX what was sent; DROP/s of both",
  "POLL       threads: the share of their time that packets took",
  "DROPS      by reason, a second and in total: docs/drops.md says what to do",
  "TOP FLOWS  those with the most packets, the busiest of them first: key -> actions",
  "",
  "dpctl trace DP FLOW says what becomes of a packet; capture DP - shows packets",
];

function portRows(before: Status, now: Status, seconds: number): string[] {
  const old = new Map(before.ports.map((port) => [port.no, port]));
  const head =
    "PORT  NAME            TYPE        RX pkt/s  RX bit/s  TX pkt/s  TX bit/s" +
    "  DROP/s";
  return [
    head,
    ...now.ports.map((port) => {
      const then = old.get(port.no);
      const cells = [
        number.format(rate(then?.rxPackets, port.rxPackets, seconds)),
        bits(rate(then?.rxBytes, port.rxBytes, seconds)),
        number.format(rate(then?.txPackets, port.txPackets, seconds)),
        bits(rate(then?.txBytes, port.txBytes, seconds)),
      ];
      const drops = number.format(rate(then?.drops, port.drops, seconds));
      return `${`${port.no}`.padEnd(6)}${port.name.padEnd(16)}${port.type.padEnd(10)}` +
        cells.map((cell) => cell.padStart(10)).join("") + drops.padStart(8);
    }),
  ];
}

function threadRows(before: Status, now: Status): string[] {
  if (now.threads.length === 0) return [];
  const old = new Map(before.threads.map((thread) => [thread.core, thread]));
  const rows = now.threads.map((thread) => {
    const then = old.get(thread.core) ?? { busy: 0, idle: 0, sleep: 0 };
    const busy = Math.max(0, thread.busy - then.busy);
    const rest = Math.max(0, thread.idle - then.idle) +
      Math.max(0, thread.sleep - then.sleep);
    const share = busy + rest === 0 ? 0 : busy / (busy + rest);
    const bar = "#".repeat(Math.round(share * 20)).padEnd(20, ".");
    return `core ${`${thread.core}`.padEnd(4)} [${bar}] ` +
      `${(share * 100).toFixed(1).padStart(5)}% busy`;
  });
  return ["POLL THREADS", ...rows, ""];
}

function dropRows(before: Status, now: Status, seconds: number): string[] {
  const reasons = Object.entries(now.drops).sort(([, a], [, b]) => b - a);
  if (reasons.length === 0) return [];
  const rows = reasons.map(([reason, count]) => {
    const each = number.format(rate(before.drops[reason] ?? 0, count, seconds));
    return `${reason.padEnd(24)}${each.padStart(10)}/s${
      number.format(count).padStart(16)
    }`;
  });
  return ["DROPS                        RATE           TOTAL", ...rows, ""];
}

function flowRows(
  before: Status,
  now: Status,
  { seconds, columns }: { readonly seconds: number; readonly columns: number },
): string[] {
  const old = new Map(before.top.map((flow) => [flow.id, flow.packets]));
  const rated = now.top.map(({ id, packets, text }) => ({
    perSecond: rate(old.get(id) ?? packets, packets, seconds),
    text,
  }));
  // Of equal rates, the one with more packets stays first.
  const rows = rated.sort((a, b) => b.perSecond - a.perSecond).map(
    ({ perSecond, text }) => {
      const cell = number.format(perSecond).padStart(10);
      return `${cell}  ${flowLine(printableLine(text), columns - cell.length - 2)}`;
    },
  );
  return ["     PKT/s  TOP FLOWS", ...rows];
}
