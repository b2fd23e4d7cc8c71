// SPDX-License-Identifier: Apache-2.0
/**
 * Connections, meters and the policy, for the dashboard.
 *
 * @module
 */
import {
  type PolicyRun,
  policyRunOf,
  type PolicyStats,
  StateMap,
} from "../../policy/mod.ts";
import type { Connection } from "../../providers/contract/conntrack.ts";
import type { MeterStats } from "../../providers/contract/meters.ts";
import type { Datapath } from "../../providers/datapath.ts";
import { DatapathError } from "../../providers/errors.ts";
import { meterId } from "../../providers/ids.ts";
import { formatActions, formatKey } from "../../providers/odp/mod.ts";
import { connectionText, protocolName, tcpState } from "../text/conntrack.ts";
import { FirstOf, gently } from "./gently.ts";
import { pageOf, wordOf } from "./query.ts";

/** A page of connections. */
export interface ConnectionPage {
  /** Whether the datapath tracks connections at all. */
  readonly supported: boolean;
  readonly total: number;
  readonly matched: number;
  readonly rows: readonly {
    readonly proto: string;
    readonly orig: string;
    readonly reply: string;
    readonly state: string;
    readonly zone: number;
    readonly mark: number;
    readonly timeout: number | null;
    readonly packets: number | null;
    readonly text: string;
  }[];
}

/** Lists the connections that a query asks for: `filter` (any text), `offset`, `limit`. */
export async function connectionPage(
  dp: Datapath,
  query: URLSearchParams,
): Promise<ConnectionPage> {
  const page = pageOf(query);
  const wanted = (query.get("filter") ?? "").trim().toLowerCase();
  const { conntrack } = dp;
  if (conntrack === undefined) {
    return { supported: false, total: 0, matched: 0, rows: [] };
  }
  const first = new FirstOf<Connection>(() => 0, page);
  let total = 0;
  for await (const connection of gently(conntrack.dump())) {
    total++;
    const fits = wanted === "" ||
      connectionText(connection, { verbose: true }).toLowerCase().includes(wanted);
    if (fits) first.add(connection);
  }
  return { supported: true, total, matched: first.count, rows: first.page.map(rowOf) };
}

function rowOf(connection: Connection): ConnectionPage["rows"][number] {
  const { orig, reply, zone, mark, timeout, counters, tcp, sctp } = connection;
  return {
    proto: protocolName(orig.proto),
    orig: endsOf(orig),
    reply: endsOf(reply),
    state: tcp !== undefined ? tcpState(tcp) : sctp?.state ?? "",
    zone,
    mark,
    timeout: timeout ?? null,
    packets: counters === undefined
      ? null
      : Number(counters.orig.packets + counters.reply.packets),
    text: connectionText(connection, { verbose: true, statistics: true }),
  };
}

function endsOf({ src, dst, srcPort, dstPort, icmpId }: Connection["orig"]): string {
  const end = (address: string, port: number | undefined): string =>
    port === undefined
      ? address
      : address.includes(":")
      ? `[${address}]:${port}`
      : `${address}:${port}`;
  const id = icmpId === undefined ? "" : ` id ${icmpId}`;
  return `${end(src, srcPort)} → ${end(dst, dstPort)}${id}`;
}

/** Meters that are set. */
export interface MeterList {
  readonly supported: boolean;
  /** Identifiers that were looked at: those below this. */
  readonly below: number;
  readonly rows: readonly {
    readonly id: number;
    readonly packets: number;
    readonly bytes: number;
    readonly bands: readonly { readonly packets: number; readonly bytes: number }[];
  }[];
}

/** Identifiers that are looked at: datapaths do not list their meters. */
const maxMeters = 1024;

/** Lists the meters that are set. */
export async function meterList({ meters }: Datapath): Promise<MeterList> {
  if (meters === undefined) return { supported: false, below: 0, rows: [] };
  const below = Math.min(meters.features().maxMeters, maxMeters);
  const rows: MeterList["rows"][number][] = [];
  for await (const id of gently(Array(below).keys())) {
    let stats: MeterStats;
    try {
      stats = meters.get(meterId(id));
    } catch (error) {
      if (error instanceof DatapathError && error.code === "ENOENT") continue;
      throw error;
    }
    const numbers = ({ packets, bytes }: { packets: bigint; bytes: bigint }) => ({
      packets: Number(packets),
      bytes: Number(bytes),
    });
    rows.push({ id, ...numbers(stats), bands: stats.bands.map(numbers) });
  }
  return { supported: true, below, rows };
}

/** A policy, what it was taught, and a page of its megaflows. */
export interface PolicyPage {
  readonly running: boolean;
  readonly stats?: PolicyStats;
  readonly tables?: readonly {
    readonly name: string;
    readonly size: number;
    /** The first of its entries. */
    readonly entries: readonly (readonly [key: string, value: string])[];
  }[];
  readonly total?: number;
  readonly rows?: readonly {
    readonly id: string;
    readonly match: string;
    readonly actions: string;
    readonly reason: string;
    readonly stage: string;
    readonly packets: number;
    readonly dependencies: readonly string[];
    readonly effects: readonly string[];
  }[];
}

/** Entries of a table that are shown. */
const maxEntries = 50;

/** Shows the policy that runs: `sort` (packets, used), `offset`, `limit` of its flows. */
export async function policyPage(
  dp: Datapath,
  query: URLSearchParams,
): Promise<PolicyPage> {
  const page = pageOf(query);
  const order = wordOf(query, "sort", ["packets", "used"]);
  const run = policyRunOf(dp);
  if (run === undefined) return { running: false };
  const first = new FirstOf<ReturnType<typeof flowOf>>(
    (a, b) => b[order] - a[order],
    page,
  );
  for await (const flow of gently(run.flows())) first.add(flowOf(flow));
  return {
    running: true,
    stats: run.stats,
    tables: tablesOf(run),
    total: first.count,
    rows: first.page.map(({ flow, packets }) => ({
      id: flow.ufid,
      match: formatKey({ key: flow.key, mask: flow.mask }),
      actions: formatActions(flow.actions),
      reason: flow.reason ?? "",
      stage: flow.stage ?? "",
      packets,
      dependencies: flow.dependencies,
      effects: flow.effects,
    })),
  };
}

type PolicyFlow = ReturnType<PolicyRun["flows"]> extends Iterable<infer F> ? F : never;

function flowOf(
  flow: PolicyFlow,
): { readonly flow: PolicyFlow; readonly packets: number; readonly used: number } {
  return { flow, packets: Number(flow.packets), used: flow.usedMs };
}

function tablesOf(run: PolicyRun): NonNullable<PolicyPage["tables"]> {
  return run.tables().filter((table) => table instanceof StateMap).map((table) => ({
    name: table.name,
    size: table.size,
    entries: Iterator.from<[unknown, unknown]>(table.entries()).take(maxEntries)
      .map(([key, value]) => [String(key), String(value)] as const).toArray(),
  }));
}
