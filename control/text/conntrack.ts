// SPDX-License-Identifier: Apache-2.0
/**
 * Connections in the words of `ovs-dpctl dump-conntrack`, and the tuples of `flush-conntrack`.
 *
 * @module
 */
import type {
  Connection,
  ConnTuple,
  Expectation,
  TcpState,
} from "../../providers/contract/conntrack.ts";
import { readExact } from "./scan.ts";

const protocols: Readonly<Record<number, string>> = {
  1: "icmp",
  2: "igmp",
  6: "tcp",
  17: "udp",
  33: "dccp",
  58: "icmpv6",
  132: "sctp",
  136: "udplite",
};

/** Name of an IP protocol, or its number. */
export function protocolName(proto: number): string {
  return protocols[proto] ?? `${proto}`;
}

/** Names of `IPS_*` bits (`<linux/netfilter/nf_conntrack_common.h>`), as Open vSwitch has them. */
const statusNames = [
  "EXPECTED",
  "SEEN_REPLY",
  "ASSURED",
  "CONFIRMED",
  "SRC_NAT",
  "DST_NAT",
  "SEQ_ADJUST",
  "SRC_NAT_DONE",
  "DST_NAT_DONE",
  "DYING",
  "FIXED_TIMEOUT",
  "TEMPLATE",
  "UNTRACKED",
] as const;

/** Names of the bits that are set, the rest as a number. */
function flagsText(bitNames: readonly string[], flags: number): string {
  const names = bitNames.filter((_, bit) => flags >> bit & 1);
  const unknown = flags >>> bitNames.length << bitNames.length;
  if (unknown !== 0) names.push(`0x${(unknown >>> 0).toString(16)}`);
  return names.length === 0 ? "0" : names.join("|");
}

/** States of TCP in order of their numbers, by which one of two is chosen. */
export const tcpStates: readonly TcpState[] = [
  "CLOSED",
  "LISTEN",
  "SYN_SENT",
  "SYN_RECV",
  "ESTABLISHED",
  "CLOSE_WAIT",
  "FIN_WAIT_1",
  "CLOSING",
  "LAST_ACK",
  "FIN_WAIT_2",
  "TIME_WAIT",
];

/**
 * One state for both sides of a connection: the later one, where kernel and userspace, which draw
 * the line differently, are made to agree.
 */
export function tcpState({ orig, reply }: NonNullable<Connection["tcp"]>): TcpState {
  const later = tcpStates.indexOf(orig) > tcpStates.indexOf(reply) ? orig : reply;
  if (later === "FIN_WAIT_2") return "TIME_WAIT";
  return later === "SYN_RECV" ? "ESTABLISHED" : later;
}

function tupleText(tuple: ConnTuple): string {
  const isIcmp = tuple.proto === 1 || tuple.proto === 58;
  const rest = isIcmp
    ? `id=${tuple.icmpId ?? 0},type=${tuple.icmpType ?? 0},code=${tuple.icmpCode ?? 0}`
    : `sport=${tuple.srcPort ?? 0},dport=${tuple.dstPort ?? 0}`;
  return `src=${tuple.src},dst=${tuple.dst},${rest}`;
}

function countText(count: { packets: bigint; bytes: bigint } | undefined): string {
  if (count === undefined || (count.packets === 0n && count.bytes === 0n)) return "";
  return `,packets=${count.packets},bytes=${count.bytes}`;
}

/** Local time to the millisecond. */
function timeText(nanoseconds: bigint): string {
  const date = new Date(Number(nanoseconds / 1_000_000n));
  const local = new Date(date.getTime() - date.getTimezoneOffset() * 60_000);
  return local.toISOString().slice(0, -1);
}

/** How connections are printed. */
export interface ConnectionTextOptions {
  /** `-m`: id, status, both states, parent. */
  readonly verbose?: boolean;
  /** `-s`: counters, timestamps, timeout. */
  readonly statistics?: boolean;
}

/** One line of `dump-conntrack`, without its line break. */
export function connectionText(
  connection: Connection,
  { verbose = false, statistics = false }: ConnectionTextOptions,
): string {
  const { orig, reply, counters, timestamp, id, zone, status, timeout } = connection;
  const count = (side: "orig" | "reply"): string =>
    statistics ? countText(counters?.[side]) : "";
  let text = `${protocolName(orig.proto)},orig=(${tupleText(orig)}${count("orig")})` +
    `,reply=(${tupleText(reply)}${count("reply")})`;
  if (statistics && timestamp) {
    text += `,start=${timeText(timestamp.start)}`;
    if (timestamp.stop) text += `,stop=${timeText(timestamp.stop)}`;
  }
  if (verbose) text += `,id=${id ?? 0}`;
  if (zone !== 0) text += `,zone=${zone}`;
  if (verbose) text += `,status=${flagsText(statusNames, status)}`;
  if (statistics) text += `,timeout=${timeout ?? 0}`;
  if (connection.mark !== 0) text += `,mark=${connection.mark}`;
  if (connection.labels !== 0n) text += `,labels=0x${connection.labels.toString(16)}`;
  text += protocolText(connection, verbose);
  if (connection.helper !== undefined) text += `,helper=${connection.helper}`;
  if (verbose && connection.parent) text += `,parent=(${tupleText(connection.parent)})`;
  return text;
}

/** One line of `dump-conntrack-exp`, without its line break. */
export function expectationText(expected: Expectation): string {
  const { tuple, parent, zone, mark, labels } = expected;
  return `${protocolName(tuple.proto)},orig=(${tupleText(tuple)})` +
    (zone === 0 ? "" : `,zone=${zone}`) + (mark === 0 ? "" : `,mark=${mark}`) +
    (labels === 0n ? "" : `,labels=0x${labels.toString(16)}`) +
    `,parent=(${tupleText(parent)})`;
}

/** Names of `IP_CT_TCP_FLAG_*` bits. */
const tcpFlagNames = [
  "WINDOW_SCALE",
  "SACK_PERM",
  "CLOSE_INIT",
  "BE_LIBERAL",
  "DATA_UNACKNOWLEDGED",
  "MAXACK_SET",
] as const;

function protocolText({ tcp, sctp }: Connection, verbose: boolean): string {
  if (sctp !== undefined) {
    const tags = `vtag_orig=${sctp.tagOrig},vtag_reply=${sctp.tagReply}`;
    return `,protoinfo=(state=${sctp.state},${tags})`;
  }
  if (tcp === undefined) return "";
  if (!verbose) return `,protoinfo=(state=${tcpState(tcp)})`;
  const { windowScale: scale, flags } = tcp;
  const isScaled = scale !== undefined && (scale.orig !== 0 || scale.reply !== 0);
  const scales = isScaled ? `,wscale_orig=${scale.orig},wscale_reply=${scale.reply}` : "";
  const names = (side: "orig" | "reply"): string =>
    flags ? `,flags_${side}=${flagsText(tcpFlagNames, flags[side])}` : "";
  const states = `state_orig=${tcp.orig},state_reply=${tcp.reply}`;
  return `,protoinfo=(${states}${scales}${names("orig")}${names("reply")})`;
}

/** What `flush-conntrack` is to match; absent parts match anything. */
export interface TupleMatch {
  proto?: number;
  family?: "ipv4" | "ipv6";
  readonly orig: PartialTuple;
  readonly reply: PartialTuple;
}

/** A tuple that may lack parts. */
export type PartialTuple = { -readonly [Name in keyof ConnTuple]?: ConnTuple[Name] };

const icmpFields: Readonly<
  Record<string, readonly ["icmpType" | "icmpCode" | "icmpId", max: number]>
> = {
  icmp_type: ["icmpType", 0xff],
  icmp_code: ["icmpCode", 0xff],
  icmp_id: ["icmpId", 0xffff],
};

/**
 * Reads `ct_nw_src=10.1.1.1,ct_nw_proto=6,ct_tp_dst=80` into one side of a match. Throws
 * `SyntaxError` in the words of Open vSwitch.
 */
export function parseTuple(
  text: string,
  side: "orig" | "reply",
  match: TupleMatch,
): void {
  const tuple = match[side];
  for (const word of text.split(/[,\s]+/).filter((part) => part !== "")) {
    const [key = "", value = ""] = word.split("=");
    if (value === "") throw new SyntaxError(`field ${key} missing value`);
    readField(key, value, tuple, match);
  }
  if (!match.proto && (tuple.srcPort || tuple.dstPort)) {
    throw new SyntaxError("port is set without protocol");
  }
}

function readField(
  key: string,
  value: string,
  tuple: PartialTuple,
  match: TupleMatch,
): void {
  const number = (max: number): number => {
    const read = readExact(value, max);
    if (read === undefined) throw new SyntaxError(`failed to parse field ${key}`);
    return read;
  };
  const [, family, end] = /^ct_(nw|ipv6)_(src|dst)$/.exec(key) ?? [];
  const icmp = Object.hasOwn(icmpFields, key) ? icmpFields[key] : undefined;
  if (family !== undefined) {
    readAddress({ key, value, end: end as "src" | "dst" }, tuple, match);
  } else if (key === "ct_nw_proto") {
    match.proto = number(0xff);
  } else if (key === "ct_tp_src") tuple.srcPort = number(0xffff);
  else if (key === "ct_tp_dst") tuple.dstPort = number(0xffff);
  else if (icmp !== undefined) {
    if (match.proto !== 1 && match.proto !== 58) {
      throw new SyntaxError("invalid L4 fields");
    }
    tuple[icmp[0]] = number(icmp[1]);
  } else throw new SyntaxError(`invalid conntrack tuple field: ${key}`);
}

function readAddress(
  { key, value, end }: { key: string; value: string; end: "src" | "dst" },
  tuple: PartialTuple,
  match: TupleMatch,
): void {
  const family = key.startsWith("ct_nw") ? "ipv4" : "ipv6";
  if (match.family !== undefined && match.family !== family) {
    throw new SyntaxError(`the L3 protocol does not match ${value}`);
  }
  if (tuple[end] !== undefined) throw new SyntaxError(`${key} is set multiple times`);
  const address = canonical(value, family);
  if (address === undefined) throw new SyntaxError(`failed to parse field ${key}`);
  match.family = family;
  tuple[end] = address;
}

/** An address as connections have it; undefined if it is none of its family. */
function canonical(text: string, family: "ipv4" | "ipv6"): string | undefined {
  if (family === "ipv4") {
    const isAddress = /^\d{1,3}(\.\d{1,3}){3}$/.test(text) &&
      text.split(".").every((byte) => Number(byte) <= 255);
    return isAddress ? text.split(".").map(Number).join(".") : undefined;
  }
  try {
    // The parser of URLs writes an address as RFC 5952 wants it, but for IPv4 at its end.
    return text.includes(":")
      ? new URL(`http://[${text}]/`).hostname.slice(1, -1)
      : undefined;
  } catch {
    return undefined;
  }
}

/** Whether a match names a connection exactly, by its original direction alone. */
export function isFiveTuple({ orig, reply, proto }: TupleMatch): boolean {
  const isIcmp = proto === 1 || proto === 58;
  return Object.keys(reply).length === 0 && orig.src !== undefined &&
    orig.dst !== undefined && (isIcmp || Boolean(orig.srcPort && orig.dstPort));
}

/** What a flush is asked for by a match. Zero ports and numbers ask for nothing. */
export function filterOf(
  { orig, reply, proto }: TupleMatch,
): { readonly orig: PartialTuple; readonly reply: PartialTuple } {
  const said = (tuple: PartialTuple): PartialTuple =>
    Object.fromEntries(Object.entries(tuple).filter(([, value]) => Boolean(value)));
  return { orig: said({ ...orig, ...proto && { proto } }), reply: said(reply) };
}
