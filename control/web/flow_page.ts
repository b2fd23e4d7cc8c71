// SPDX-License-Identifier: Apache-2.0
/**
 * Flows for the dashboard: a page of those that fit, in an order, and one explained.
 *
 * @module
 */
import { policyRunOf } from "../../policy/mod.ts";
import type { Datapath } from "../../providers/datapath.ts";
import type { Flow } from "../../providers/flow.ts";
import { type Ufid, ufid } from "../../providers/ids.ts";
import { formatActions, formatKey, type PortList } from "../../providers/odp/mod.ts";
import { splitMarks } from "../capture/marks.ts";
import { flowText, secondsSince, tcpFlagsText } from "../text/flow.ts";
import { FlowFilter } from "../text/flow_filter.ts";
import { traceText } from "../trace/text.ts";
import { FirstOf, gently } from "./gently.ts";
import { pageOf, QueryError, wordOf } from "./query.ts";

/** A flow in a list. */
export interface FlowRow {
  readonly id: string;
  readonly packets: number;
  readonly bytes: number;
  /** Seconds since it was last hit; null: never. */
  readonly used: number | null;
  readonly flags: string;
  readonly match: string;
  readonly actions: string;
}

/** A page of flows. */
export interface FlowPage {
  /** Flows there are. */
  readonly total: number;
  /** Flows that fit the filter. */
  readonly matched: number;
  /** What the filter was taken as: a match of ovs-ofctl(8), or any text. */
  readonly filteredBy: "nothing" | "fields" | "text";
  /** Why a filter that looks like fields is taken as text. */
  readonly reason?: string;
  /** How long it took, milliseconds: a page that asks again should wait for longer. */
  readonly tookMs: number;
  readonly rows: readonly FlowRow[];
}

const orders = ["packets", "bytes", "used", "port"] as const;
type Order = typeof orders[number];

function valueOf(flow: Flow, order: Order): number {
  switch (order) {
    case "packets":
      return Number(flow.stats.packets);
    case "bytes":
      return Number(flow.stats.bytes);
    case "used":
      return Number(flow.stats.usedMs ?? -1n);
    case "port":
      return flow.key?.inPort ?? -1;
  }
}

/** Lists the flows that a query asks for: `sort`, `order`, `filter`, `offset`, `limit`. */
export async function flowPage(dp: Datapath, query: URLSearchParams): Promise<FlowPage> {
  const started = performance.now();
  const page = pageOf(query);
  const order = wordOf(query, "sort", orders);
  const sign = wordOf(query, "order", ["desc", "asc"]) === "desc" ? -1 : 1;
  const ports = [...dp.ports.dump()];
  const { fits, ...filtered } = filterOf(query.get("filter") ?? "", ports);
  const first = new FirstOf<{ readonly value: number; readonly flow: Flow }>(
    (a, b) => sign * (a.value - b.value),
    page,
  );
  let total = 0;
  for await (const flow of gently(dp.flows.dump())) {
    total++;
    if (fits(flow)) first.add({ value: valueOf(flow, order), flow });
  }
  return {
    total,
    matched: first.count,
    ...filtered,
    rows: first.page.map(({ flow }) => rowOf(flow, ports)),
    tookMs: Math.round(performance.now() - started),
  };
}

/** Longest filter, characters. */
const maxFilter = 500;

function filterOf(
  text: string,
  ports: PortList & Iterable<{ readonly no: number; readonly name: string }>,
): Pick<FlowPage, "filteredBy" | "reason"> & { fits: (flow: Flow) => boolean } {
  const wanted = text.trim();
  if (wanted === "") return { fits: () => true, filteredBy: "nothing" };
  if (wanted.length > maxFilter) throw new QueryError("the filter is too long");
  let reason: string | undefined;
  try {
    const filter = new FlowFilter(wanted, { ports });
    return { fits: (flow) => filter.matches(flow), filteredBy: "fields" };
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    if (/^\w+=/.test(wanted)) reason = error.message;
  }
  const low = wanted.toLowerCase();
  const fits = (flow: Flow): boolean => {
    const { match, actions } = rowOf(flow, ports);
    return `${match} ${actions} ${flow.ufid ?? ""}`.toLowerCase().includes(low);
  };
  return { fits, filteredBy: "text", ...(reason !== undefined && { reason }) };
}

function rowOf(flow: Flow, ports: PortList): FlowRow {
  const { key = new Uint8Array(), mask } = flow.raw;
  const { stats } = flow;
  // What a capture put in front is not the flow's own.
  const { own } = splitMarks(flow.actions ?? []);
  return {
    id: flow.ufid ?? "",
    packets: Number(stats.packets),
    bytes: Number(stats.bytes),
    used: secondsSince(stats.usedMs) ?? null,
    flags: tcpFlagsText(stats.tcpFlags),
    match: formatKey({ key, mask }, { ports }),
    actions: formatActions(own, { ports }),
  };
}

/** A flow, and what becomes of its packets. */
export interface ExplainedFlow {
  readonly id: string;
  /** As `dump-flows -m` has it. */
  readonly flow: string;
  /** As `dpctl trace` has it. */
  readonly trace: string;
  /** As `dpctl explain` has it; absent where no policy runs. */
  readonly policy?: string;
}

/**
 * Flows in a table that is traced through: a trace looks at each of them, and nothing else of the
 * program runs meanwhile.
 */
const maxTraced = 1000;

/** The identifier that a query names. Throws `QueryError`. */
export function ufidOf(query: URLSearchParams): Ufid {
  try {
    return ufid(query.get("id") ?? "");
  } catch {
    throw new QueryError("id must be the identifier of a flow");
  }
}

/** Explains the flow that a query names: `id`. `ENOENT` if it has gone. */
export function explainFlow(dp: Datapath, query: URLSearchParams): ExplainedFlow {
  const id = ufidOf(query);
  const flow = dp.flows.get({ ufid: id });
  const ports = [...dp.ports.dump()];
  const { key = new Uint8Array() } = flow.raw;
  const { flows } = dp.stats();
  const run = policyRunOf(dp);
  return {
    id,
    flow: flowText(flow, { verbose: true, ports }),
    trace: flows > maxTraced
      ? `Not traced: the table has ${flows} flows, and a trace looks at each of them. ` +
        `dpctl trace ${dp.fullName} '${formatKey({ key })}' does it.`
      : traceText(dp, formatKey({ key }), { json: false }),
    ...(run !== undefined && { policy: `${run.explain(id)}` }),
  };
}
