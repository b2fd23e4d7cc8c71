// SPDX-License-Identifier: Apache-2.0
/**
 * Messages from and to bytes.
 *
 * Sources: the switch specifications 1.0 to 1.5; numbers of Nicira's and the ONF's messages as in
 * `ofp-msgs.h` of Open vSwitch 3.1.
 *
 * @module
 */
import { Reader, Writer } from "./bytes.ts";
import {
  readAsync,
  readBundleAdd,
  readBundleControl,
  readError,
  readHello,
  readNxRole,
  readRole,
  writeAsync,
  writeBundleAdd,
  writeBundleControl,
  writeError,
  writeHello,
  writeNxRole,
  writeRole,
} from "./control_message.ts";
import { readTlvTableMod, writeTlvTableReply } from "./nicira/tlv.ts";
import { readCtFlush, readCtFlushZone, writeCtFlush } from "./nicira/ct_message.ts";
import type { OptionFields } from "./field.ts";
import { NICIRA, OfError, ONF, type Version } from "./error.ts";
import {
  type Extensions,
  readFlowMod,
  readFlowMod10,
  readNxFlowMod,
  writeFlowMod,
  writeFlowRemoved,
  writeNxFlowRemoved,
} from "./flow_message.ts";
import {
  readGroupMod,
  readMeterMod,
  writeGroupMod,
  writeMeterMod,
} from "./group_message.ts";
import type { EncodeOptions, Message, MessageKind, PacketInFormat } from "./message.ts";
import { readMultipartRequest, writeMultipartReply } from "./multipart.ts";
import {
  readPacketOut,
  readResume,
  writeNxPacketIn,
  writeNxPacketIn2,
  writePacketIn,
  writePacketOut,
  writeResume,
} from "./packet_message.ts";
import {
  byType,
  HEADER_SIZE,
  LAST_VERSION,
  readHeader,
  toType,
  VENDOR_TYPE,
} from "./header.ts";
import { readPortMod, writePort, writePortStatus } from "./port_message.ts";
import { portFrom10, portFrom11 } from "./port_number.ts";
import { writeQueues } from "./queue_message.ts";
import { readTableProperties } from "./flow_stats.ts";

/** Experimenters' kinds, as `vendor subtype`. */
const nxRole = { request: 10, reply: 11 } as const;
const nxGroupMod = 31;
const nx = {
  tlvMod: 24,
  tlvRequest: 25,
  tlvReply: 26,
  resume: 28,
  ctFlush: 32,
} as const;
const onfBundle = { control: 2300, add: 2301 } as const;
/** Nicira's numbers of what monitors say, and the ONF's. */
const monitor = {
  [NICIRA]: { cancel: 21, paused: 22, resumed: 23 },
  [ONF]: { cancel: 1870, paused: 1871, resumed: 1872 },
} as const;

/** A message with what its header says. */
export interface Decoded {
  readonly version: Version;
  readonly xid: number;
  readonly message: Message;
}

/** What decoding depends on beside the bytes. */
export type DecodeOptions = Partial<Extensions> & {
  /** Fields of options that the switch has. */
  readonly options?: OptionFields | undefined;
};

/**
 * Reads one message, all of `bytes`. Throws {@linkcode OfError}, and nothing else, for what is
 * malformed or not known.
 */
export function decodeMessage(bytes: Uint8Array, options: DecodeOptions = {}): Decoded {
  const { version, type, length, xid } = readHeader(bytes);
  if (length !== bytes.length || length < HEADER_SIZE) {
    throw new OfError("OFPBRC_BAD_LEN");
  }
  if (version < 1 || version > LAST_VERSION) throw new OfError("OFPBRC_BAD_VERSION");
  const of = version as Version;
  const reader = new Reader(bytes, { at: HEADER_SIZE, options: options.options });
  const extensions = { tableInCommand: false, ...options };
  const message = type === VENDOR_TYPE
    ? readVendor(reader, of, xid, extensions)
    : readBody(reader, byType[version]?.[type], of, xid, extensions);
  return { version: of, xid, message };
}

/** A body that has nothing in it. */
function empty<K extends MessageKind>(reader: Reader, kind: K): { readonly kind: K } {
  if (reader.left > 0) throw new OfError("OFPBRC_BAD_LEN");
  return { kind };
}

function readBody(
  reader: Reader,
  kind: MessageKind | undefined,
  version: Version,
  xid: number,
  extensions: Extensions,
): Message {
  switch (kind) {
    case "hello":
      return readHello(reader);
    case "error":
      return readError(reader, version);
    case "echoRequest":
    case "echoReply":
      return { kind, data: reader.rest() };
    case "featuresRequest":
    case "configRequest":
    case "barrierRequest":
    case "barrierReply":
    case "asyncRequest":
      return empty(reader, kind) as Message;
    case "setConfig":
    case "configReply":
      return whole(reader, { kind, flags: reader.u16(), missLength: reader.u16() });
    case "packetOut":
      return readPacketOut(reader, version);
    case "flowMod":
      return version === 1
        ? readFlowMod10(reader, extensions)
        : readFlowMod(reader, version);
    case "groupMod":
      return readGroupMod(reader, version);
    case "meterMod":
      return readMeterMod(reader);
    case "portMod":
      return readPortMod(reader, version);
    case "tableMod": {
      const table = reader.u8();
      reader.skip(3);
      const config = reader.u32();
      if (version < 5) return whole(reader, { kind, table, config });
      return { kind, table, config, vacancy: readTableProperties(reader) };
    }
    case "multipartRequest":
      return { kind, request: readMultipartRequest(reader, version) };
    case "queueConfigRequest": {
      const port = version === 1 ? portFrom10(reader.u16()) : portFrom11(reader.u32());
      reader.skip(version === 1 ? 2 : 4);
      return whole(reader, { kind, port });
    }
    case "roleRequest":
    case "roleReply":
      return whole(reader, readRole(reader, kind));
    case "setAsync":
    case "asyncReply":
      return whole(reader, { kind, asynchronous: readAsync(reader, version) });
    case "bundleControl":
      return readBundleControl(reader);
    case "bundleAdd":
      return readBundleAdd(reader, xid);
    default:
      throw new OfError("OFPBRC_BAD_TYPE");
  }
}

/** A message behind which nothing may be. */
function whole<T>(reader: Reader, message: T): T {
  if (reader.left > 0) throw new OfError("OFPBRC_BAD_LEN");
  return message;
}

const formats: readonly PacketInFormat[] = ["standard", "nxt", "nxt2"];

function readVendor(
  reader: Reader,
  version: Version,
  xid: number,
  extensions: Extensions,
): Message {
  const vendor = reader.u32();
  if (vendor !== NICIRA && vendor !== ONF) throw new OfError("OFPBRC_BAD_VENDOR");
  const subtype = reader.u32();
  if (vendor === ONF) {
    if (version === 4 && subtype === onfBundle.control) return readBundleControl(reader);
    if (version === 4 && subtype === onfBundle.add) return readBundleAdd(reader, xid);
    if (version === 4 && subtype === monitor[ONF].cancel) {
      return whole(reader, { kind: "monitorCancel", id: reader.u32() });
    }
    throw new OfError("OFPBRC_BAD_SUBTYPE");
  }
  switch (subtype) {
    case nxRole.request:
      return whole(reader, readNxRole(reader));
    case 12:
      return whole(reader, {
        kind: "setFlowFormat",
        format: checkedFormat(reader.u32()),
      });
    case 13:
      return readNxFlowMod(reader, extensions);
    case 15: {
      const enabled = reader.u8() !== 0;
      reader.skip(7);
      return whole(reader, { kind: "flowModTableId", enabled });
    }
    case 16: {
      const format = formats[reader.u32()];
      if (format === undefined) throw new OfError("OFPBRC_EPERM");
      return whole(reader, { kind: "setPacketInFormat", format });
    }
    case 19:
      return whole(reader, { kind: "setAsync", asynchronous: readAsync(reader, 4) });
    case 20:
      reader.zeros(6, "NXBRC_MUST_BE_ZERO");
      return whole(reader, { kind: "setControllerId", id: reader.u16() });
    case 27:
      return { kind: "setAsync", asynchronous: readAsync(reader, 5) };
    case monitor[NICIRA].cancel:
      if (version > 3) throw new OfError("OFPBRC_BAD_SUBTYPE");
      return whole(reader, { kind: "monitorCancel", id: reader.u32() });
    case nx.tlvMod:
      return readTlvTableMod(reader);
    case nx.tlvRequest:
      return empty(reader, "tlvTableRequest");
    case nx.resume:
      return readResume(reader);
    case 29:
      return whole(reader, readCtFlushZone(reader));
    case nx.ctFlush:
      return readCtFlush(reader);
    case nxGroupMod:
      return readGroupMod(reader, 1);
    default:
      throw new OfError("OFPBRC_BAD_SUBTYPE");
  }
}

function checkedFormat(format: number): number {
  if (format !== 0 && format !== 2) throw new OfError("OFPBRC_EPERM");
  return format;
}

/**
 * Writes a message. Throws `TypeError` for a kind that the version does not have, and `RangeError`
 * for one that does not fit into 65,535 bytes.
 */
export function encodeMessage(
  message: Message,
  { version, xid = 0, options }: EncodeOptions,
): Uint8Array {
  const writer = new Writer(options);
  writer.u8(version).u8(0).u16(0).u32(xid);
  const type = toType[version]?.get(message.kind);
  const asVendor = vendorOf(message, version);
  if (asVendor !== undefined) {
    const [vendor, subtype] = asVendor;
    writer.u32(vendor).u32(subtype);
  } else if (type === undefined) {
    throw new TypeError(`OpenFlow 1.${version - 1} has no ${message.kind}`);
  }
  writeBody(writer, message, version);
  if (writer.size > 0xffff) throw new RangeError(`${message.kind} is too long`);
  const bytes = writer.set16(2, writer.size).bytes();
  bytes[1] = asVendor === undefined ? type as number : VENDOR_TYPE;
  return bytes;
}

/** The experimenter's number of a message, if that is how a version says it. */
function vendorOf(
  message: Message,
  version: Version,
): readonly [vendor: number, subtype: number] | undefined {
  switch (message.kind) {
    case "packetIn":
      if (message.format === "nxt") return [NICIRA, 17];
      return message.format === "nxt2" ? [NICIRA, 30] : undefined;
    case "roleRequest":
      return version < 3 ? [NICIRA, nxRole.request] : undefined;
    case "roleReply":
      return version < 3 ? [NICIRA, nxRole.reply] : undefined;
    case "groupMod":
      return version === 1 ? [NICIRA, nxGroupMod] : undefined;
    case "bundleControl":
      return version < 5 ? [ONF, onfBundle.control] : undefined;
    case "bundleAdd":
      return version < 5 ? [ONF, onfBundle.add] : undefined;
    case "roleStatus":
      return version === 4 ? [ONF, 1911] : undefined;
    case "requestForward":
      if (version >= 5) return undefined;
      return version === 4 ? [ONF, 2350] : [NICIRA, 132];
    case "monitorState": {
      const vendor = version === 4 ? ONF : NICIRA;
      return [vendor, monitor[vendor][message.event]];
    }
    case "setFlowFormat":
      return [NICIRA, 12];
    case "flowModTableId":
      return [NICIRA, 15];
    case "setPacketInFormat":
      return [NICIRA, 16];
    case "setControllerId":
      return [NICIRA, 20];
    case "resume":
      return [NICIRA, nx.resume];
    case "tlvTableReply":
      return [NICIRA, nx.tlvReply];
    case "ctFlush":
      return [NICIRA, nx.ctFlush];
    default:
      return undefined;
  }
}

function writeBody(writer: Writer, message: Message, version: Version): void {
  switch (message.kind) {
    case "hello":
      return writeHello(writer, message);
    case "error":
      return writeError(writer, message, version);
    case "echoRequest":
    case "echoReply":
      return void writer.put(message.data);
    case "featuresReply":
      writer.u64(message.datapathId).u32(0).u8(message.tables)
        .u8(version >= 4 ? message.auxiliary : 0).zeros(2).u32(message.capabilities)
        .u32(version === 1 ? message.actions : 0);
      if (version < 4) {
        for (const port of message.ports) writePort(writer, port, version);
      }
      return;
    case "configReply":
    case "setConfig":
      return void writer.u16(message.flags).u16(message.missLength);
    case "packetIn":
      if (message.format === "nxt") return writeNxPacketIn(writer, message, version);
      if (message.format === "nxt2") return writeNxPacketIn2(writer, message, version);
      return writePacketIn(writer, message, version);
    case "packetOut":
      return writePacketOut(writer, message, version);
    case "flowMod":
      return writeFlowMod(writer, message, version);
    case "flowRemoved":
      return writeFlowRemoved(writer, message, version);
    case "groupMod":
      return writeGroupMod(writer, message, version);
    case "meterMod":
      return writeMeterMod(writer, message);
    case "portStatus":
      return writePortStatus(writer, message, version);
    case "multipartReply":
      return writeMultipartReply(writer, message.reply, message.more, version);
    case "queueConfigReply":
      return writeQueues(writer, message, version);
    case "roleRequest":
    case "roleReply":
      return version < 3 ? writeNxRole(writer, message) : writeRole(writer, message);
    case "roleStatus":
      return writeRole(writer, message);
    case "asyncReply":
    case "setAsync":
      return writeAsync(writer, message.asynchronous, version);
    case "bundleControl":
      return writeBundleControl(writer, message);
    case "bundleAdd":
      return writeBundleAdd(writer, message);
    case "setFlowFormat":
      return void writer.u32(message.format);
    case "flowModTableId":
      return void writer.u8(message.enabled ? 1 : 0).zeros(7);
    case "setPacketInFormat":
      return void writer.u32(formats.indexOf(message.format));
    case "setControllerId":
      return void writer.zeros(6).u16(message.id);
    case "resume":
      return writeResume(writer, message, version);
    case "tlvTableReply":
      return writeTlvTableReply(writer, message);
    case "ctFlush":
      return writeCtFlush(writer, message);
    case "requestForward": {
      const options = { version, xid: message.xid, options: writer.options };
      return void writer.put(encodeMessage(message.inner, options));
    }
    case "tableMod":
      return void writer.u8(message.table).zeros(3).u32(message.config);
    case "portMod":
    case "multipartRequest":
    case "queueConfigRequest":
      throw new TypeError(`a switch does not send ${message.kind}`);
    default:
      return;
  }
}

/** Writes a flow that went in Nicira's way, for connections of OpenFlow 1.0 that asked for it. */
export function encodeNxFlowRemoved(
  gone: Message & { readonly kind: "flowRemoved" },
  xid = 0,
): Uint8Array {
  const writer = new Writer();
  writer.u8(1).u8(VENDOR_TYPE).u16(0).u32(xid).u32(NICIRA).u32(14);
  writeNxFlowRemoved(writer, gone);
  return writer.set16(2, writer.size).bytes();
}
