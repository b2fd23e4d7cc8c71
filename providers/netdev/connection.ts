// SPDX-License-Identifier: Apache-2.0
/**
 * Connections of the library (`struct dp_ct_entry`) as objects.
 *
 * @module
 */
import { dpCtEntry, dpCtFilter, dpCtTuple } from "../../ffi/layout.ts";
import { formatIpv4, formatIpv6, parseIpv4, parseIpv6 } from "../codec/address.ts";
import type {
  Connection,
  ConnFilter,
  ConnTuple,
  Expectation,
  TcpState,
} from "../contract/conntrack.ts";
import type { CtZone } from "../ids.ts";

const ICMP = 1;
const TCP = 6;
const ICMPV6 = 58;

/** By number: `CT_DPIF_TCPS_*`. */
const tcpStates: readonly TcpState[] = [
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

const isIcmp = (proto: number): boolean => proto === ICMP || proto === ICMPV6;

function readTuple(bytes: Uint8Array, at: number): ConnTuple {
  const byte = (offset: number): number => bytes[at + offset] ?? 0;
  const be16 = (offset: number): number => byte(offset) << 8 | byte(offset + 1);
  const proto = byte(dpCtTuple.proto);
  const address = byte(dpCtTuple.family) === 4 ? formatIpv4 : formatIpv6;
  return {
    src: address(bytes, at + dpCtTuple.src),
    dst: address(bytes, at + dpCtTuple.dst),
    proto,
    ...isIcmp(proto)
      ? {
        icmpId: be16(dpCtTuple.sport),
        icmpType: byte(dpCtTuple.dport),
        icmpCode: byte(dpCtTuple.dport + 1),
      }
      : { srcPort: be16(dpCtTuple.sport), dstPort: be16(dpCtTuple.dport) },
  };
}

/** The connection at `at` of a dump. */
export function readConnection(bytes: Uint8Array, at: number): Connection {
  const view = new DataView(bytes.buffer, bytes.byteOffset + at, dpCtEntry.structSize);
  const pair = (offset: number) => ({
    orig: view.getUint8(offset),
    reply: view.getUint8(offset + 1),
  });
  const orig = readTuple(bytes, at + dpCtEntry.orig);
  const helper = bytes.subarray(at + dpCtEntry.helper, at + dpCtEntry.helper + 16);
  const states = pair(dpCtEntry.tcpState);
  return {
    orig,
    reply: readTuple(bytes, at + dpCtEntry.reply),
    ...view.getUint8(dpCtEntry.parent + dpCtTuple.family) !== 0 &&
      { parent: readTuple(bytes, at + dpCtEntry.parent) },
    zone: view.getUint16(dpCtEntry.orig + dpCtTuple.zone, true),
    mark: view.getUint32(dpCtEntry.mark, true),
    labels: view.getBigUint64(dpCtEntry.label, true) |
      view.getBigUint64(dpCtEntry.label + 8, true) << 64n,
    status: 0, // The userspace datapath has none, and prints this.
    timeout: view.getUint32(dpCtEntry.timeout, true),
    ...orig.proto === TCP && {
      tcp: {
        orig: tcpStates[states.orig] ?? "CLOSED",
        reply: tcpStates[states.reply] ?? "CLOSED",
        windowScale: pair(dpCtEntry.tcpScale),
        flags: pair(dpCtEntry.tcpFlags),
      },
    },
    ...helper[0] !== 0 && {
      helper: new TextDecoder().decode(helper.subarray(0, helper.indexOf(0))),
    },
  };
}

/** The expected connection at `at` of a dump. */
export function readExpectation(bytes: Uint8Array, at: number): Expectation {
  const { orig, parent, zone, mark, labels, timeout, helper } = readConnection(bytes, at);
  const { srcPort: _, ...tuple } = orig;
  return {
    tuple,
    parent: parent ?? orig,
    zone,
    mark,
    labels,
    ...timeout !== undefined && { timeout },
    ...helper !== undefined && { helper },
  };
}

/** Parts of a tuple as bytes of `struct dp_ct_tuple`, and which of these bits count. */
function writePartial(
  tuple: Partial<ConnTuple>,
  bytes: Uint8Array,
  at: number,
  maskAt: number,
): void {
  const put = (offset: number, size: number, value: number | undefined): void => {
    if (value === undefined) return;
    for (let i = 0; i < size; i++) {
      bytes[at + offset + i] = value >> 8 * (size - 1 - i);
      bytes[maskAt + offset + i] = 0xff;
    }
  };
  for (const end of ["src", "dst"] as const) {
    const text = tuple[end];
    if (text === undefined) continue;
    const v6 = text.includes(":");
    const parse = v6 ? parseIpv6 : parseIpv4;
    if (parse(text, 0, bytes, at + dpCtTuple[end]) !== text.length) {
      throw new TypeError(`${end} of a tuple must be an address: ${text}`);
    }
    bytes.fill(0xff, maskAt + dpCtTuple[end], maskAt + dpCtTuple[end] + 16);
    put(dpCtTuple.family, 1, v6 ? 6 : 4);
  }
  put(dpCtTuple.proto, 1, tuple.proto);
  put(dpCtTuple.sport, 2, tuple.icmpId ?? tuple.srcPort);
  put(dpCtTuple.dport, 2, tuple.dstPort);
  put(dpCtTuple.dport, 1, tuple.icmpType);
  put(dpCtTuple.dport + 1, 1, tuple.icmpCode);
}

/** A filter as bytes of `struct dp_ct_filter`. Throws `TypeError` if an address is none. */
export function writeFilter(filter: ConnFilter, zone: number): Uint8Array {
  const bytes = new Uint8Array(dpCtFilter.structSize);
  const view = new DataView(bytes.buffer);
  const { orig = {}, reply = {}, mark, labels } = filter;
  writePartial(orig, bytes, dpCtFilter.orig, dpCtFilter.origMask);
  writePartial(reply, bytes, dpCtFilter.reply, dpCtFilter.replyMask);
  view.setUint32(dpCtFilter.zone, zone, true);
  if (mark !== undefined) {
    view.setUint32(dpCtFilter.mark, mark.value, true);
    view.setUint32(dpCtFilter.markMask, mark.mask ?? 0xffffffff, true);
  }
  if (labels !== undefined) {
    const put = (at: number, bits: bigint): void => {
      view.setBigUint64(at, bits & 0xffffffffffffffffn, true);
      view.setBigUint64(at + 8, bits >> 64n, true);
    };
    put(dpCtFilter.label, labels.value);
    put(dpCtFilter.labelMask, labels.mask ?? (1n << 128n) - 1n);
  }
  return bytes;
}

/** A tuple as bytes of `struct dp_ct_tuple`. Throws `TypeError` if an address is none. */
export function writeTuple(tuple: ConnTuple, zone: CtZone): Uint8Array {
  const bytes = new Uint8Array(dpCtTuple.structSize);
  const view = new DataView(bytes.buffer);
  const v6 = tuple.src.includes(":");
  const parse = v6 ? parseIpv6 : parseIpv4;
  for (const end of ["src", "dst"] as const) {
    const text = tuple[end];
    if (parse(text, 0, bytes, dpCtTuple[end]) !== text.length) {
      throw new TypeError(
        `${end} of a tuple must be an address of IPv${v6 ? 6 : 4}: ${text}`,
      );
    }
  }
  if (isIcmp(tuple.proto)) {
    view.setUint16(dpCtTuple.sport, tuple.icmpId ?? 0);
    bytes[dpCtTuple.dport] = tuple.icmpType ?? 0;
    bytes[dpCtTuple.dport + 1] = tuple.icmpCode ?? 0;
  } else {
    view.setUint16(dpCtTuple.sport, tuple.srcPort ?? 0);
    view.setUint16(dpCtTuple.dport, tuple.dstPort ?? 0);
  }
  view.setUint16(dpCtTuple.zone, zone, true);
  bytes[dpCtTuple.proto] = tuple.proto;
  bytes[dpCtTuple.family] = v6 ? 6 : 4;
  return bytes;
}
