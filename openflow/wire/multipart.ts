// SPDX-License-Identifier: Apache-2.0
/**
 * Multipart requests and replies, statistics in OpenFlow 1.0 to 1.2, from and to bytes.
 *
 * A reply that does not fit into one message is cut where it is made; the flag `more` is in each
 * part but the last. Source: OpenFlow 1.5.1, "Multipart Messages".
 *
 * @module
 */
import type { Reader, Writer } from "./bytes.ts";
import { NICIRA, OfError, ONF, type Version } from "./error.ts";
import {
  readFlowFilter,
  readNxFlowFilter,
  writeFlowStats,
  writeTableFeatures,
  writeTableStats,
} from "./flow_stats.ts";
import { writeBands, writeGroupDesc, writeGroupStats } from "./group_message.ts";
import { ALL_GROUPS } from "./message.ts";
import { readTableNames } from "./flow_stats.ts";
import { readMonitors, writeFlowUpdate } from "./monitor_message.ts";
import type { MultipartReply, MultipartRequest } from "./multipart_types.ts";
import { writePort, writePortStats } from "./port_message.ts";
import { Port, portFrom10, portFrom11 } from "./port_number.ts";
import { writeQueue, writeQueueStats } from "./queue_message.ts";

/** Numbers of the kinds, and the first version that has them. */
const kinds:
  readonly (readonly [id: number, type: MultipartRequest["type"], since: Version])[] = [
    [0, "desc", 1],
    [1, "flow", 1],
    [2, "aggregate", 1],
    [3, "table", 1],
    [4, "port", 1],
    [5, "queue", 1],
    [6, "group", 2],
    [7, "groupDesc", 2],
    [8, "groupFeatures", 3],
    [9, "meter", 4],
    [10, "meterConfig", 4],
    [11, "meterFeatures", 4],
    [12, "tableFeatures", 4],
    [13, "portDesc", 1],
    [14, "tableDesc", 5],
    [15, "queueDesc", 5],
    [16, "flowMonitor", 5],
  ];
/** The last table that packets can be sent to. */
const LAST_TABLE = 253;
/** What tables go by when they let a flow go for another one: all that there is to go by. */
const EVICTION_FLAGS = 7;
/** Experimenters' kinds. */
const VENDOR = 0xffff;
/** Nicira's kinds of statistics. */
const nxKinds: Readonly<Record<number, MultipartRequest["type"]>> = {
  0: "flow",
  1: "aggregate",
  2: "flowMonitor",
  7: "group",
  8: "groupDesc",
  9: "groupFeatures",
};

/** The ONF's kind of what OpenFlow 1.4 has. */
const ONF_MONITOR = 1870;

/** Statistics of exporters, of which there are none here: of a bridge, of flows. */
const nxIpfix: ReadonlySet<number> = new Set([3, 4]);

/** Reads a request behind its header. */
export function readMultipartRequest(reader: Reader, version: Version): MultipartRequest {
  const id = reader.u16();
  const flags = reader.u16();
  if (version > 1) reader.skip(4);
  if (id === VENDOR) return readVendor(reader, version);
  const found = kinds.find(([of, , since]) => of === id && version >= since);
  if (found === undefined) throw new OfError("OFPBRC_BAD_STAT");
  const [, type] = found;
  // Requests in parts are for tables' features only, and those are taken whole.
  if (flags & 1 && type !== "tableFeatures") {
    throw new OfError("OFPBRC_MULTIPART_BUFFER_OVERFLOW");
  }
  const body = readBody(reader, type, version);
  const request = body.type === "tableFeatures"
    ? { ...body, more: (flags & 1) !== 0 }
    : body;
  if (reader.left > 0) throw new OfError("OFPBRC_BAD_LEN");
  return request;
}

function readBody(
  reader: Reader,
  type: MultipartRequest["type"],
  version: Version,
): MultipartRequest {
  switch (type) {
    case "flow":
    case "aggregate":
      return { type, filter: readFlowFilter(reader, version), isNicira: false };
    case "flowMonitor":
      return { type, monitors: readMonitors(reader, version) };
    case "port":
      return { type, port: readPortNumber(reader, version) };
    case "portDesc":
      if (version < 6) return { type, port: Port.none };
      return { type, port: readPortNumber(reader, version) };
    case "queue":
    case "queueDesc": {
      if (version !== 1) {
        return { type, port: portFrom11(reader.u32()), queue: reader.u32() };
      }
      const port = portFrom10(reader.u16());
      reader.skip(2);
      // OpenFlow 1.0 says ALL of what is ANY later.
      return { type, port: port === Port.all ? Port.none : port, queue: reader.u32() };
    }
    case "group":
    case "groupDesc": {
      // Before OpenFlow 1.5 descriptions are of all groups.
      if (type === "groupDesc" && version < 6) return { type, group: ALL_GROUPS };
      const group = reader.u32();
      reader.skip(4);
      return { type, group };
    }
    case "meter":
    case "meterConfig": {
      const meter = reader.u32();
      reader.skip(4);
      return { type, meter };
    }
    case "tableFeatures": {
      return { type, names: readTableNames(reader), more: false };
    }
    default:
      return { type };
  }
}

function readPortNumber(reader: Reader, version: Version): number {
  if (version === 1) {
    const port = portFrom10(reader.u16());
    reader.skip(6);
    return port;
  }
  const port = portFrom11(reader.u32());
  reader.skip(4);
  return port;
}

function readVendor(reader: Reader, version: Version): MultipartRequest {
  const vendor = reader.u32();
  if (vendor !== NICIRA && vendor !== ONF) throw new OfError("OFPBRC_BAD_VENDOR");
  const subtype = reader.u32();
  if (version === 1) reader.skip(4);
  const isMonitor = vendor === ONF && subtype === ONF_MONITOR && version === 4;
  const type = vendor === NICIRA
    ? nxKinds[subtype]
    : isMonitor
    ? "flowMonitor"
    : undefined;
  if (vendor === NICIRA && nxIpfix.has(subtype)) throw new OfError("NXST_NOT_CONFIGURED");
  if (type === undefined) throw new OfError("OFPBRC_BAD_SUBTYPE");
  switch (type) {
    case "flow":
    case "aggregate":
      return { type, filter: readNxFlowFilter(reader), isNicira: true };
    case "flowMonitor":
      if (vendor === NICIRA && version > 3) throw new OfError("OFPBRC_BAD_SUBTYPE");
      return { type, monitors: readMonitors(reader, version) };
    case "group":
    case "groupDesc":
      return { type, group: reader.left >= 4 ? reader.u32() : ALL_GROUPS };
    default:
      return { type } as MultipartRequest;
  }
}

/** Writes the part of a reply behind its header. */
export function writeMultipartReply(
  writer: Writer,
  reply: MultipartReply,
  more: boolean,
  version: Version,
): void {
  const isNicira = "isNicira" in reply && reply.isNicira;
  const isMonitor = reply.type === "flowMonitor" && version < 5;
  const nx = isNicira || isMonitor || version === 1 && reply.type.startsWith("group");
  const id = nx ? VENDOR : (kinds.find(([, type]) => type === reply.type)?.[0] ?? 0);
  writer.u16(id).u16(more ? 1 : 0);
  if (version > 1) writer.zeros(4);
  if (nx) {
    const subtype = Object.keys(nxKinds).find((key) =>
      nxKinds[Number(key)] === reply.type
    );
    if (isMonitor && version === 4) writer.u32(ONF).u32(ONF_MONITOR);
    else writer.u32(NICIRA).u32(Number(subtype));
    if (version === 1) writer.zeros(4);
  }
  writeReplyBody(writer, reply, version);
}

function writeReplyBody(writer: Writer, reply: MultipartReply, version: Version): void {
  switch (reply.type) {
    case "desc":
      writer.text(reply.manufacturer, 256).text(reply.hardware, 256)
        .text(reply.software, 256).text(reply.serial, 32).text(reply.datapath, 256);
      return;
    case "flow":
      for (const flow of reply.flows) {
        writeFlowStats(writer, flow, version, reply.isNicira);
      }
      return;
    case "flowMonitor":
      for (const update of reply.updates) writeFlowUpdate(writer, update, version);
      return;
    case "aggregate":
      if (version < 6 || reply.isNicira) {
        writer.u64(reply.packets).u64(reply.bytes).u32(reply.flows).zeros(4);
      } else writeAggregate15(writer, reply);
      return;
    case "table":
      for (const table of reply.tables) writeTableStats(writer, table, version);
      return;
    case "tableDesc":
      for (const { table, config, vacancy } of reply.tables) {
        const start = writer.size;
        writer.u16(0).u8(table).zeros(1).u32(config);
        writer.u16(2).u16(8).u32(EVICTION_FLAGS);
        if (vacancy !== undefined) {
          writer.u16(3).u16(8).u8(vacancy.down).u8(vacancy.up).u8(vacancy.now).zeros(1);
        }
        writer.set16(start, writer.size - start);
      }
      return;
    case "tableFeatures": {
      for (const table of reply.tables) {
        writeTableFeatures(writer, table, version, LAST_TABLE);
      }
      return;
    }
    case "port":
      for (const port of reply.ports) writePortStats(writer, port, version);
      return;
    case "portDesc":
      for (const port of reply.ports) writePort(writer, port, version);
      return;
    case "queue":
      for (const port of reply.ports) writeQueueStats(writer, port, version);
      return;
    case "queueDesc":
      for (const port of reply.ports) writeQueue(writer, port, version);
      return;
    case "group":
      for (const group of reply.groups) writeGroupStats(writer, group, version);
      return;
    case "groupDesc":
      for (const group of reply.groups) writeGroupDesc(writer, group, version);
      return;
    case "groupFeatures":
      writer.u32(reply.types).u32(reply.capabilities);
      for (let i = 0; i < 4; i++) writer.u32(reply.maxGroups);
      // OpenFlow 1.0 has other actions, each a bit.
      for (let i = 0; i < 4; i++) writer.u32(version === 1 ? 0xfff : reply.actions);
      return;
    case "meter":
      for (const meter of reply.meters) {
        const start = writer.size;
        writer.u32(meter.meter).u16(0).zeros(6).u32(meter.flows).u64(meter.packets)
          .u64(meter.bytes).u32(meter.seconds).u32(meter.nanoseconds);
        for (const { packets, bytes } of meter.bands) writer.u64(packets).u64(bytes);
        writer.set16(start + 4, writer.size - start);
      }
      return;
    case "meterConfig":
      for (const { meter, flags, bands } of reply.meters) {
        const start = writer.size;
        writer.u16(0).u16(flags).u32(meter);
        writeBands(writer, bands);
        writer.set16(start, writer.size - start);
      }
      return;
    case "meterFeatures":
      writer.u32(reply.maxMeters).u32(reply.bandTypes).u32(reply.capabilities)
        .u8(reply.maxBands).u8(0).zeros(2);
      // As in Open vSwitch: without what OpenFlow 1.5 has behind it.
  }
}

function writeAggregate15(
  writer: Writer,
  { packets, bytes, flows }: MultipartReply & { readonly type: "aggregate" },
): void {
  const start = writer.size;
  writer.zeros(2).u16(0).u16(0x8002).u8(3 << 1).u8(4).u32(flows)
    .u16(0x8002).u8(4 << 1).u8(8).u64(packets).u16(0x8002).u8(5 << 1).u8(8).u64(bytes);
  writer.set16(start + 2, writer.size - start).pad8(start);
}
