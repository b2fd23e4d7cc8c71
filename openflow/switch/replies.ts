// SPDX-License-Identifier: Apache-2.0
/**
 * What a switch answers to multipart requests.
 *
 * @module
 */
import { clockMs } from "../../policy/clock.ts";
import type { Rule } from "../table/rule.ts";
import { portNo } from "../../providers/ids.ts";
import { type Group, TABLES } from "../translate/pipeline.ts";
import { OfError } from "../wire/error.ts";
import type {
  FlowStats,
  MultipartReply,
  MultipartRequest,
  PortStatsEntry,
  TableStats,
} from "../wire/multipart_types.ts";
import { ALL_GROUPS } from "../wire/object.ts";
import { Port } from "../wire/port_number.ts";
import { MAX_FLOWS } from "./flows.ts";
import type { Switch } from "./switch.ts";
import { looking } from "./tables.ts";

/** Entries of a part of a reply, of which none is long: parts stay below 64 KiB. */
const PART = 100;
const ALL_GROUP_NUMBERS = 0xffff_ff00;
/** Groups of a part, each of which may be long. */
const FEW = 16;

function age(
  sinceMs: number,
): { readonly seconds: number; readonly nanoseconds: number } {
  const ms = Math.max(0, clockMs() - sinceMs);
  return { seconds: Math.floor(ms / 1000), nanoseconds: ms % 1000 * 1_000_000 };
}

/** A rule with what became of it. */
export function flowStats(rule: Rule): FlowStats {
  const nowMs = clockMs();
  const seconds = (sinceMs: number): number =>
    Math.max(0, Math.floor((nowMs - sinceMs) / 1000));
  return {
    ...age(rule.createdMs),
    table: rule.table,
    match: rule.match,
    priority: rule.priority,
    cookie: rule.cookie,
    idle: rule.idle,
    hard: rule.hard,
    flags: rule.flags,
    importance: rule.importance,
    idleAge: seconds(rule.usedMs),
    hardAge: seconds(rule.modifiedMs),
    packets: rule.packets,
    bytes: rule.bytes,
    instructions: rule.instructions,
  };
}

function* parts<T>(list: readonly T[], size = PART): IterableIterator<readonly T[]> {
  if (list.length === 0) yield [];
  for (let i = 0; i < list.length; i += size) yield list.slice(i, i + size);
}

function tables(of: Switch, isDesc = false): TableStats[] {
  return Array.from({ length: TABLES }, (_, id) => {
    const table = of.table(id);
    const { evicts, keeps, vacancy, most = MAX_FLOWS } = table.limits;
    const now = Math.max(0, Math.floor(100 * (1 - table.size / most)));
    return {
      table: id,
      name: table.name,
      maxEntries: most,
      active: table.size,
      lookups: table.lookups.packets,
      matched: table.matched.packets,
      config: isDesc
        ? (evicts || keeps !== undefined ? 4 : 0) | (vacancy === undefined ? 0 : 8)
        : table.miss.value,
      vacancy: vacancy && { ...vacancy, now },
    };
  });
}

/** Gives a table a name. Throws {@linkcode OfError} where that is fixed. */
function nameTable(of: Switch, id: number, name: string): void {
  if (id >= TABLES) throw new OfError("OFPTFFC_BAD_TABLE");
  const table = of.table(id);
  if (table.name === name) return;
  if (table.isNamed) throw new OfError("OFPTFFC_EPERM");
  table.name = name;
}

/** Every queue. */
const ALL_QUEUES = 0xffffffff;

/**
 * Ports, in order, whose queues are asked about: queue 0 of each. Others are Linux's, and no port
 * of a datapath here has any. Throws {@linkcode OfError}.
 */
export function queuesOf(of: Switch, port: number, queue = ALL_QUEUES): number[] {
  const ports = of.ports.value;
  if (port !== Port.none && !ports.has(port)) throw new OfError("OFPQOFC_BAD_PORT");
  if (queue !== ALL_QUEUES && queue !== 0) throw new OfError("OFPQOFC_BAD_QUEUE");
  return port === Port.none ? [...ports.keys()].sort((a, b) => a - b) : [port];
}

/** Of ports that are not in the datapath. */
const NO_STATS = {
  rxPackets: 0n,
  txPackets: 0n,
  rxBytes: 0n,
  txBytes: 0n,
  rxErrors: 0n,
  txErrors: 0n,
  rxDropped: 0n,
  txDropped: 0n,
};

const UNKNOWN = 0xffff_ffff_ffff_ffffn;
const UNCOUNTED = {
  rxErrors: UNKNOWN,
  txErrors: UNKNOWN,
  rxDropped: UNKNOWN,
  txDropped: UNKNOWN,
};

/** Counters that Open vSwitch's ports in memory have: of what came, and of each queue. */
function dummyCounters(
  { rxPackets, rxBytes, txPackets, txBytes }: typeof NO_STATS,
): PortStatsEntry["custom"] {
  return [
    ["rx_custom_packets_1", rxPackets],
    ["rx_custom_packets_2", rxPackets],
    ["rx_q0_bytes", rxBytes],
    ["rx_q0_packets", rxPackets],
    ["tx_q0_bytes", txBytes],
    ["tx_q0_packets", txPackets],
  ];
}

function portStats(of: Switch, wanted: number): PortStatsEntry[] {
  const ports = [...of.ports.value.keys()].filter((port) =>
    wanted === Port.none || wanted === port
  );
  return ports.map((port) => {
    const no = of.ports.value.get(port)?.dp;
    const stats = no === undefined ? NO_STATS : of.dp.ports.stats(portNo(no));
    // A port in memory drops nothing, and counts no errors: as in Open vSwitch they are not known.
    const isDummy = no !== undefined && of.dp.ports.get(portNo(no))?.type === "dummy";
    return {
      port,
      ...stats,
      ...(isDummy && { ...UNCOUNTED, custom: dummyCounters(stats) }),
      ...age(of.portSince.get(port) ?? clockMs()),
    };
  });
}

/** Whether counters are to be brought up to now before a request is answered. */
export function wantsCounters({ type }: MultipartRequest): boolean {
  return ["flow", "aggregate", "table", "group"].includes(type);
}

/**
 * The parts of the answer to a request, and undefined where others may have their turn. Throws
 * {@linkcode OfError}.
 */
export function* replies(
  of: Switch,
  request: MultipartRequest,
): IterableIterator<MultipartReply | void> {
  const { type } = request;
  switch (type) {
    case "desc":
      yield {
        type,
        manufacturer: "Upcall",
        hardware: "Open vSwitch-style datapath",
        software: of.dp.type,
        serial: "None",
        datapath: of.name,
      };
      return;
    case "flow": {
      const { isNicira, filter } = request;
      for (const some of parts(yield* of.flows.select(filter))) {
        yield { type, flows: some.map(flowStats), isNicira };
      }
      return;
    }
    case "aggregate": {
      const rules = yield* of.flows.select(request.filter);
      let [packets, bytes] = [0n, 0n];
      yield* looking(rules, (rule) => {
        packets += rule.packets;
        bytes += rule.bytes;
      });
      yield {
        type,
        isNicira: request.isNicira,
        flows: rules.length,
        packets,
        bytes,
      };
      return;
    }
    case "table":
    case "tableDesc":
      yield { type, tables: tables(of, type === "tableDesc") };
      return;
    case "tableFeatures":
      for (const [id, name] of request.names) nameTable(of, id, name);
      if (request.more) return;
      for (const some of parts(tables(of), 16)) yield { type, tables: some };
      return;
    case "port":
      for (const some of parts(portStats(of, request.port))) yield { type, ports: some };
      return;
    case "portDesc": {
      const ports = [...of.ports.value.values()].filter(({ port }) =>
        request.port === Port.none || request.port === port
      );
      for (const some of parts(ports)) yield { type, ports: some };
      return;
    }
    case "queue":
    case "queueDesc":
      for (const ports of parts(queuesOf(of, request.port, request.queue))) {
        yield { type, ports };
      }
      return;
    case "group":
      yield* groupReplies(of, request.group);
      return;
    case "groupDesc":
      for (const some of parts(groupsOf(of, request.group), FEW)) {
        yield {
          type,
          groups: some.map(({ id, content }) => ({ group: id, ...content.value })),
        };
      }
      return;
    case "groupFeatures":
      yield {
        type,
        types: 0xf,
        capabilities: 7,
        // As in Open vSwitch, as many as there are numbers: what is too much is refused.
        maxGroups: ALL_GROUP_NUMBERS,
        actions: 0x03ff_9801,
      };
      return;
    default:
      yield* meterReplies(of, request as MultipartRequest & { readonly type: "meter" });
  }
}

function groupsOf(of: Switch, wanted: number): Group[] {
  return of.groups.all().filter(({ id }) => wanted === ALL_GROUPS || wanted === id);
}

function* groupReplies(of: Switch, wanted: number): IterableIterator<MultipartReply> {
  for (const some of parts(groupsOf(of, wanted), FEW)) {
    yield {
      type: "group",
      groups: some.map(({ id, counter, createdMs, content }) => ({
        ...age(createdMs),
        group: id,
        references: of.flows.references("groups", id),
        packets: counter.packets,
        bytes: counter.bytes,
        buckets: content.value.buckets.map((bucket) => ({
          packets: bucket.counter.packets,
          bytes: bucket.counter.bytes,
        })),
      })),
    };
  }
}

function* meterReplies(
  of: Switch,
  request:
    | { readonly type: "meter" | "meterConfig"; readonly meter: number }
    | { readonly type: "meterFeatures" },
): IterableIterator<MultipartReply> {
  switch (request.type) {
    case "meter": {
      const meters = of.meters.select(request.meter);
      for (const some of parts(meters)) {
        yield {
          type: "meter",
          meters: some.map((meter) => ({
            ...age(meter.createdMs),
            ...of.meters.stats(meter),
            meter: meter.meter,
            flows: of.flows.references("meters", meter.meter),
          })),
        };
      }
      return;
    }
    case "meterConfig":
      for (const some of parts(of.meters.select(request.meter))) {
        yield { type: "meterConfig", meters: some };
      }
      return;
    case "meterFeatures": {
      const { maxMeters, maxBands } = of.meters.features;
      yield {
        type: "meterFeatures",
        maxMeters,
        bandTypes: maxMeters > 0 ? 2 : 0,
        capabilities: maxMeters > 0 ? 15 : 0,
        maxBands,
      };
    }
  }
}
