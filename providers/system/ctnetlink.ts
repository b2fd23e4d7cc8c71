// SPDX-License-Identifier: Apache-2.0
/**
 * Connections as ctnetlink describes them: bytes and objects.
 *
 * Everything is in network order here.  Formats: `<linux/netfilter/nfnetlink_conntrack.h>`,
 * `<linux/netfilter/nf_conntrack_tcp.h>`.
 *
 * @module
 */
import { idsOf } from "../odp/attributes.ts";
import {
  ctCounters,
  ctIp,
  ctMessage,
  ctName,
  ctProto,
  ctProtoInfo,
  ctSctp,
  ctTcp,
  ctTimestamp,
  ctTuple,
} from "./ct_messages.ts";
import type {
  Connection,
  ConntrackEvent,
  ConnTuple,
  Expectation,
  SctpState,
  TcpState,
} from "../contract/conntrack.ts";
import type { CtZone } from "../ids.ts";
import {
  Attributes,
  be16,
  be32,
  be64,
  type Message,
  type MessageWriter,
  nestedId,
  NetlinkError,
  u8,
} from "../netlink/mod.ts";

/** Size of `struct nfgenmsg` in bytes. */
export const nfHeaderSize = 4;

/** Subsystems of NETLINK_NETFILTER. */
export const Subsystem = { conntrack: 1, expectations: 2, timeout: 8 } as const;

/** Commands of either subsystem. */
export const NfCommand = { new: 0, get: 1, delete: 2 } as const;

export const AF_INET = 2;
export const AF_INET6 = 10;

const {
  tupleOrig: CTA_TUPLE_ORIG,
  tupleReply: CTA_TUPLE_REPLY,
  status: CTA_STATUS,
  protoInfo: CTA_PROTOINFO,
  help: CTA_HELP,
  timeout: CTA_TIMEOUT,
  mark: CTA_MARK,
  countersOrig: CTA_COUNTERS_ORIG,
  countersReply: CTA_COUNTERS_REPLY,
  id: CTA_ID,
  tupleMaster: CTA_TUPLE_MASTER,
  zone: CTA_ZONE,
  timestamp: CTA_TIMESTAMP,
  labels: CTA_LABELS,
} = idsOf(ctMessage.table);

const {
  ip: CTA_TUPLE_IP,
  proto: CTA_TUPLE_PROTO,
} = idsOf(ctTuple.table);
const {
  ipv4Src: CTA_IP_V4_SRC,
  ipv4Dst: CTA_IP_V4_DST,
  ipv6Src: CTA_IP_V6_SRC,
  ipv6Dst: CTA_IP_V6_DST,
} = idsOf(ctIp.table);
const {
  number: CTA_PROTO_NUM,
  srcPort: CTA_PROTO_SRC_PORT,
  dstPort: CTA_PROTO_DST_PORT,
  icmpId: CTA_PROTO_ICMP_ID,
  icmpv6Id: CTA_PROTO_ICMPV6_ID,
} = idsOf(ctProto.table);

const tcpIds = idsOf(ctTcp.table);
const sctpIds = idsOf(ctSctp.table);
const counterIds = idsOf(ctCounters.table);
const nameIds = idsOf(ctName.table);
const timestampIds = idsOf(ctTimestamp.table);

const IPPROTO_ICMP = 1;
const IPPROTO_TCP = 6;
const IPPROTO_UDP = 17;
const IPPROTO_ICMPV6 = 58;
const IPPROTO_SCTP = 132;

/** Starts a message of `subsystem`, `struct nfgenmsg` included. */
export function beginNf(
  writer: MessageWriter,
  message: { subsystem: number; command: number; flags?: number; family?: number },
): void {
  const { subsystem, command, flags = 0, family = 0 } = message;
  writer.begin({ type: subsystem << 8 | command, flags });
  writer.put(u8, family);
  writer.put(u8, 0);
  writer.put(be16, 0);
}

/** The text of an address of 4 or 16 bytes. */
export function addressText(bytes: Uint8Array): string {
  if (bytes.length === 4) return bytes.join(".");
  const words = Array.from(
    { length: 8 },
    (_, i) => ((bytes[2 * i] ?? 0) << 8 | (bytes[2 * i + 1] ?? 0)).toString(16),
  );
  // The URL parser writes IPv6 as RFC 5952 wants it, but for addresses that hold IPv4 ones.
  if (words.slice(0, 5).every((word) => word === "0") && words[5] === "ffff") {
    return `::ffff:${bytes.subarray(12).join(".")}`;
  }
  return new URL(`http://[${words.join(":")}]/`).hostname.slice(1, -1);
}

/** The bytes of an address. Throws `SyntaxError`. */
export function addressBytes(text: string): Uint8Array {
  if (/^\d{1,3}(\.\d{1,3}){3}$/.test(text)) {
    const bytes = text.split(".").map(Number);
    if (bytes.every((byte) => byte < 256)) return Uint8Array.from(bytes);
  }
  try {
    if (!text.includes(":")) throw new TypeError();
    const [head = "", tail] = new URL(`http://[${text}]/`).hostname.slice(1, -1).split(
      "::",
    );
    const words = (part: string) => part === "" ? [] : part.split(":");
    const [front, back] = [words(head), words(tail ?? "")];
    const zeros = new Array(8 - front.length - back.length).fill("0");
    const all = [...front, ...zeros, ...back].map((word) => parseInt(word, 16));
    return Uint8Array.from(all.flatMap((word) => [word >> 8, word & 0xff]));
  } catch {
    throw new SyntaxError(`"${text}" is not an IP address`);
  }
}

function parseTuple(attributes: Attributes | undefined): ConnTuple {
  const ip = attributes?.nested(CTA_TUPLE_IP);
  const proto = attributes?.nested(CTA_TUPLE_PROTO);
  const src = ip?.bytes(CTA_IP_V4_SRC) ?? ip?.bytes(CTA_IP_V6_SRC);
  const dst = ip?.bytes(CTA_IP_V4_DST) ?? ip?.bytes(CTA_IP_V6_DST);
  if (!src || !dst || !proto) {
    throw new NetlinkError({ code: "EBADMSG", detail: "a connection without addresses" });
  }
  const number = proto.get(CTA_PROTO_NUM, u8) ?? 0;
  const srcPort = proto.get(CTA_PROTO_SRC_PORT, be16);
  const dstPort = proto.get(CTA_PROTO_DST_PORT, be16);
  const first = number === IPPROTO_ICMPV6 ? CTA_PROTO_ICMPV6_ID : CTA_PROTO_ICMP_ID;
  const icmpId = proto.get(first, be16);
  return {
    src: addressText(src),
    dst: addressText(dst),
    proto: number,
    ...(srcPort !== undefined && { srcPort }),
    ...(dstPort !== undefined && { dstPort }),
    ...(icmpId !== undefined && {
      icmpId,
      icmpType: proto.get(first + 1, u8) ?? 0,
      icmpCode: proto.get(first + 2, u8) ?? 0,
    }),
  };
}

/** Writes a tuple as attribute `id`. Throws `EOPNOTSUPP` for a protocol that has no encoding. */
function writeTuple(writer: MessageWriter, id: number, tuple: ConnTuple): void {
  const src = addressBytes(tuple.src);
  const dst = addressBytes(tuple.dst);
  const v4 = src.length === 4;
  if (src.length !== dst.length) {
    throw new NetlinkError({
      code: "EINVAL",
      detail: "addresses of different IP versions",
    });
  }
  const { proto } = tuple;
  const isIcmp = v4 ? proto === IPPROTO_ICMP : proto === IPPROTO_ICMPV6;
  if (!isIcmp && ![IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP].includes(proto)) {
    throw new NetlinkError({
      code: "EOPNOTSUPP",
      detail: `IP protocol ${proto} over IPv${v4 ? 4 : 6} in a tuple`,
    });
  }
  writer.nested(nestedId(id), () => {
    writer.nested(nestedId(CTA_TUPLE_IP), () => {
      writer.attributeBytes(v4 ? CTA_IP_V4_SRC : CTA_IP_V6_SRC, src);
      writer.attributeBytes(v4 ? CTA_IP_V4_DST : CTA_IP_V6_DST, dst);
    });
    writer.nested(nestedId(CTA_TUPLE_PROTO), () => {
      writer.attribute(CTA_PROTO_NUM, u8, proto);
      if (isIcmp) {
        const first = v4 ? CTA_PROTO_ICMP_ID : CTA_PROTO_ICMPV6_ID;
        writer.attribute(first, be16, tuple.icmpId ?? 0);
        writer.attribute(first + 1, u8, tuple.icmpType ?? 0);
        writer.attribute(first + 2, u8, tuple.icmpCode ?? 0);
      } else {
        writer.attribute(CTA_PROTO_SRC_PORT, be16, tuple.srcPort ?? 0);
        writer.attribute(CTA_PROTO_DST_PORT, be16, tuple.dstPort ?? 0);
      }
    });
  });
}

/** States of `enum tcp_conntrack` in the words of Open vSwitch; CLOSE is its CLOSING. */
const tcpStates: readonly TcpState[] = [
  "CLOSED",
  "SYN_SENT",
  "SYN_RECV",
  "ESTABLISHED",
  "FIN_WAIT_1",
  "CLOSE_WAIT",
  "LAST_ACK",
  "TIME_WAIT",
  "CLOSING",
  "SYN_SENT",
];

const {
  tcp: CTA_PROTOINFO_TCP,
  sctp: CTA_PROTOINFO_SCTP,
} = idsOf(ctProtoInfo.table);

/** `CTA_PROTOINFO_TCP`: one state for both sides, window scales, `struct nf_ct_tcp_flags`. */
function parseTcp(attributes: Attributes | undefined): Connection["tcp"] {
  const tcp = attributes?.nested(CTA_PROTOINFO_TCP);
  const number = tcp?.get(tcpIds.state, u8);
  if (tcp === undefined || number === undefined) return undefined;
  const state = tcpStates[number] ?? "CLOSED";
  const flags = (id: number): number => tcp.bytes(id)?.[0] ?? 0;
  return {
    orig: state,
    reply: state,
    windowScale: {
      orig: tcp.get(tcpIds.wscaleOrig, u8) ?? 0,
      reply: tcp.get(tcpIds.wscaleReply, u8) ?? 0,
    },
    flags: { orig: flags(tcpIds.flagsOrig), reply: flags(tcpIds.flagsReply) },
  };
}

/** States of `enum sctp_conntrack` in the words of Open vSwitch. */
const sctpStates: readonly SctpState[] = [
  "CLOSED",
  "CLOSED",
  "COOKIE_WAIT",
  "COOKIE_ECHOED",
  "ESTABLISHED",
  "SHUTDOWN_SENT",
  "SHUTDOWN_RECD",
  "SHUTDOWN_ACK_SENT",
  "HEARTBEAT_SENT",
  "HEARTBEAT_ACKED",
];

function parseSctp(attributes: Attributes | undefined): Connection["sctp"] {
  const sctp = attributes?.nested(CTA_PROTOINFO_SCTP);
  if (sctp === undefined) return undefined;
  return {
    state: sctpStates[sctp.get(sctpIds.state, u8) ?? 0] ?? "CLOSED",
    tagOrig: sctp.get(sctpIds.vtagOrig, be32) ?? 0,
    tagReply: sctp.get(sctpIds.vtagReply, be32) ?? 0,
  };
}

function parseCounters(attributes: Attributes | undefined) {
  return {
    packets: attributes?.get(counterIds.packets, be64) ?? 0n,
    bytes: attributes?.get(counterIds.bytes, be64) ?? 0n,
  };
}

/** 128 bits whose first byte is the lowest. */
function parseLabels(bytes: Uint8Array | undefined): bigint {
  return (bytes ?? new Uint8Array()).reduceRight(
    (sum, byte) => sum << 8n | BigInt(byte),
    0n,
  );
}

/** The connection that a message describes. */
export function parseConnection(message: Message): Connection {
  const attributes = new Attributes(message.body, nfHeaderSize);
  const timeout = attributes.get(CTA_TIMEOUT, be32);
  const tcp = parseTcp(attributes.nested(CTA_PROTOINFO));
  const sctp = parseSctp(attributes.nested(CTA_PROTOINFO));
  const helper = attributes.nested(CTA_HELP)?.text(nameIds.name);
  const id = attributes.get(CTA_ID, be32);
  const parent = attributes.nested(CTA_TUPLE_MASTER);
  const timestamp = attributes.nested(CTA_TIMESTAMP);
  const start = timestamp?.get(timestampIds.start, be64);
  const stop = timestamp?.get(timestampIds.stop, be64);
  return {
    orig: parseTuple(attributes.nested(CTA_TUPLE_ORIG)),
    reply: parseTuple(attributes.nested(CTA_TUPLE_REPLY)),
    // The kernel leaves zone 0 out.
    zone: attributes.get(CTA_ZONE, be16) ?? 0,
    mark: attributes.get(CTA_MARK, be32) ?? 0,
    labels: parseLabels(attributes.bytes(CTA_LABELS)),
    status: attributes.get(CTA_STATUS, be32) ?? 0,
    ...(parent && { parent: parseTuple(parent) }),
    ...(timeout !== undefined && { timeout }),
    ...(tcp && { tcp }),
    ...(sctp && { sctp }),
    ...(helper !== undefined && { helper }),
    ...(id !== undefined && { id }),
    ...(attributes.has(CTA_COUNTERS_ORIG) && {
      counters: {
        orig: parseCounters(attributes.nested(CTA_COUNTERS_ORIG)),
        reply: parseCounters(attributes.nested(CTA_COUNTERS_REPLY)),
      },
    }),
    ...(start !== undefined && {
      timestamp: { start, ...(stop !== undefined && { stop }) },
    }),
  };
}

// CTA_EXPECT_* of <linux/netfilter/nfnetlink_conntrack.h>.
const CTA_EXPECT_MASTER = 1;
const CTA_EXPECT_TUPLE = 2;
const CTA_EXPECT_MASK = 3;
const CTA_EXPECT_TIMEOUT = 4;
const CTA_EXPECT_HELP_NAME = 6;
const CTA_EXPECT_ZONE = 7;

/** The expected connection that a message describes. */
export function parseExpectation(message: Message): Expectation {
  const attributes = new Attributes(message.body, nfHeaderSize);
  const { srcPort, ...tuple } = parseTuple(attributes.nested(CTA_EXPECT_TUPLE));
  const mask = attributes.nested(CTA_EXPECT_MASK)?.nested(CTA_TUPLE_PROTO);
  const timeout = attributes.get(CTA_EXPECT_TIMEOUT, be32);
  const helper = attributes.text(CTA_EXPECT_HELP_NAME);
  return {
    // Bits that the mask lacks do not count.
    tuple: srcPort && mask?.get(CTA_PROTO_SRC_PORT, be16) ? { ...tuple, srcPort } : tuple,
    parent: parseTuple(attributes.nested(CTA_EXPECT_MASTER)),
    zone: attributes.get(CTA_EXPECT_ZONE, be16) ?? 0,
    mark: 0,
    labels: 0n,
    ...(timeout !== undefined && { timeout }),
    ...(helper !== undefined && helper !== "" && { helper }),
  };
}

const NLM_F_CREATE = 0x400;

/** What a message of the kernel's multicast groups tells. */
export function parseEvent(message: Message): ConntrackEvent | undefined {
  if (message.type >> 8 !== Subsystem.conntrack) return undefined;
  const connection = parseConnection(message);
  if ((message.type & 0xff) === NfCommand.delete) return { kind: "destroy", connection };
  return { kind: message.flags & NLM_F_CREATE ? "new" : "update", connection };
}

/** Writes the request to delete the connection with a tuple. Throws `EOPNOTSUPP`, `SyntaxError`. */
export function writeDelete(writer: MessageWriter, orig: ConnTuple, zone: CtZone): void {
  const family = orig.src.includes(":") ? AF_INET6 : AF_INET;
  const { conntrack } = Subsystem;
  beginNf(writer, { subsystem: conntrack, command: NfCommand.delete, family });
  if (zone !== 0) writer.attribute(CTA_ZONE, be16, zone);
  writeTuple(writer, CTA_TUPLE_ORIG, orig);
  writer.end();
}

/** The zone of the connection that a message describes. */
export function zoneOf(message: Message): CtZone {
  return new Attributes(message.body, nfHeaderSize).get(CTA_ZONE, be16) ?? 0;
}

/**
 * Writes the request to delete the very connection that a message describes, whatever its
 * protocol: what the kernel said of it is given back.
 */
export function writeDeleteOf(writer: MessageWriter, message: Message): void {
  const attributes = new Attributes(message.body, nfHeaderSize);
  const { conntrack } = Subsystem;
  const [family = 0] = message.body;
  beginNf(writer, { subsystem: conntrack, command: NfCommand.delete, family });
  for (const id of [CTA_TUPLE_ORIG, CTA_ZONE, CTA_ID]) {
    const bytes = attributes.bytes(id);
    const isNest = id === CTA_TUPLE_ORIG;
    if (bytes) writer.attributeBytes(isNest ? nestedId(id) : id, bytes);
  }
  writer.end();
}
