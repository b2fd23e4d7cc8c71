// SPDX-License-Identifier: Apache-2.0
/**
 * Text of the headers in `tnl_push(…)`, printed and read.
 *
 * @module
 */

import {
  be16,
  be32,
  bits,
  hardwareIdHigh,
  hardwareIdLow,
  ipv4,
  ipv6,
  type Leaf,
  mac,
  u8,
} from "../../codec/leaf.ts";
import { TUNNEL_HEADER_MAX } from "../action_line.ts";
import { VportType } from "../payload/tunnel.ts";
import type { Scanner } from "./scanner.ts";
import { hex, hexDump, scanLeaf } from "./fields.ts";
import { printGeneve } from "./tunnel.ts";
import { scanGeneve } from "./tunnel_scan.ts";

const ETHERNET_SIZE = 14;
const UDP_SIZE = 8;
const TYPE_IPV4 = 0x0800;
const TYPE_TEB = 0x6558;

/** GRE flags that say which words follow, in their order. */
const greOptions = [
  { bit: 0x8000, name: "csum", leaf: be16 },
  { bit: 0x2000, name: "key", leaf: be32 },
  { bit: 0x1000, name: "seq", leaf: be32 },
] as const;

/** A header without a text of its own is shown as bytes. */
class NoText extends Error {}

/** Reads a header from its start, for the printer. */
class Reader {
  at = 0;
  constructor(readonly bytes: Uint8Array) {}

  /** Skips `size` bytes and returns the offset of the first. */
  skip(size: number): number {
    const at = this.at;
    if (at + size > this.bytes.length) throw new NoText();
    this.at += size;
    return at;
  }

  /** Reads a value and skips it. */
  get<T>(leaf: Leaf<T>): T {
    return leaf.get(this.bytes, this.skip(leaf.size));
  }
}

const x = (value: number) => `0x${value.toString(16)}`;

/** Text of a header: `header(size=…,type=…,eth(…),ipv4(…),…)`. */
export function printHeader(header: Uint8Array, type: number): string {
  const start = `header(size=${header.length},type=${type},`;
  try {
    return `${start}${printLayers(new Reader(header), type)})`;
  } catch (error) {
    if (!(error instanceof NoText)) throw error;
    return `${start}raw(${hexDump(header)}))`;
  }
}

function printLayers(r: Reader, type: number): string {
  const dst = r.get(mac);
  const src = r.get(mac);
  const etherType = r.get(be16);
  const l2 = `eth(dst=${dst},src=${src},dl_type=0x${hex4(etherType)})`;
  const l3 = etherType === TYPE_IPV4 ? printIpv4(r) : printIpv6(r);
  return `${l2},${l3},${printTunnelHeader(r, type)}`;
}

function hex4(value: number): string {
  return value.toString(16).padStart(4, "0");
}

function printIpv4(r: Reader): string {
  const at = r.skip(20);
  const b = r.bytes;
  return `ipv4(src=${ipv4.get(b, at + 12)},dst=${ipv4.get(b, at + 16)},` +
    `proto=${b[at + 9]},tos=${hex(b[at + 1] as number)},ttl=${b[at + 8]},` +
    `frag=${x(be16.get(b, at + 6))})`;
}

function printIpv6(r: Reader): string {
  const at = r.skip(40);
  const b = r.bytes;
  const flow = be32.get(b, at);
  return `ipv6(src=${ipv6.get(b, at + 8)},dst=${ipv6.get(b, at + 24)},` +
    `label=${flow & 0xfffff},proto=${b[at + 6]},tclass=${x(flow >>> 20 & 0xff)},` +
    `hlimit=${b[at + 7]})`;
}

function printUdp(r: Reader): string {
  const src = r.get(be16);
  const dst = r.get(be16);
  r.skip(2);
  return `udp(src=${src},dst=${dst},csum=${x(r.get(be16))}),`;
}

function printTunnelHeader(r: Reader, type: number): string {
  switch (type) {
    case VportType.vxlan:
      return `${printUdp(r)}vxlan(flags=${x(r.get(be32))},vni=${x(r.get(be32) >>> 8)})`;
    case VportType.geneve:
      return printUdp(r) + printGeneveHeader(r);
    case VportType.gtpu: {
      const udp = printUdp(r);
      const flags = r.get(u8);
      const message = r.get(u8);
      r.skip(2);
      return `${udp}gtpu(flags=${x(flags)},msgtype=${message},teid=${x(r.get(be32))})`;
    }
    case VportType.gre:
    case VportType.ip6gre:
      return printGre(r);
    case VportType.erspan:
    case VportType.ip6erspan:
      return printErspan(r);
    case VportType.srv6:
      return printSrv6(r);
    default:
      throw new NoText();
  }
}

function printGeneveHeader(r: Reader): string {
  const size = 4 * (r.get(u8) & 0x3f);
  const flags = r.get(u8);
  r.skip(2);
  const words = ((flags & 0x80) !== 0 ? "oam," : "") +
    ((flags & 0x40) !== 0 ? "crit," : "");
  const vni = x(r.get(be32) >>> 8);
  const at = r.skip(size);
  const options = printGeneve(r.bytes.subarray(at, at + size), undefined, false);
  return `geneve(${words}vni=${vni}${size > 0 ? `,options(${options})` : ""})`;
}

function printGre(r: Reader): string {
  const flags = r.get(be16);
  let text = `gre((flags=${x(flags)},proto=${x(r.get(be16))})`;
  for (const { bit, name, leaf } of greOptions) {
    if ((flags & bit) === 0) continue;
    const at = r.skip(4);
    text += `,${name}=${x(leaf.get(r.bytes, at))}`;
  }
  return `${text})`;
}

const sessionId = bits(2, 0, 10);
const direction = bits(1, 3, 1);

function printErspan(r: Reader): string {
  r.skip(8); // GRE with a sequence number
  const at = r.skip(4);
  const version = (r.bytes[at] as number) >>> 4;
  const sid = x(sessionId.get(r.bytes, at + 2));
  if (version === 1) return `erspan(ver=1,sid=${sid},idx=${x(r.get(be32))})`;
  if (version !== 2) throw new NoText();
  const md2 = r.skip(8);
  const id = hardwareIdHigh.get(r.bytes, md2 + 6) << 4 |
    hardwareIdLow.get(r.bytes, md2 + 7);
  const side = direction.get(r.bytes, md2 + 7);
  return `erspan(ver=2,sid=${sid},dir=${side},hwid=${x(id)})`;
}

function printSrv6(r: Reader): string {
  const at = r.skip(8);
  const left = r.bytes[at + 3] as number;
  const count = (r.bytes[at + 4] as number) + 1;
  const segments = Array.from({ length: count }, () => r.get(ipv6));
  return `srv6(segments_left=${left},segs(${segments.join(",")}))`;
}

/** What was read: the bytes and the kind of tunnel. */
export interface TunnelHeader {
  readonly header: Uint8Array;
  readonly tunnelType: number;
}

/** Takes `header(…)`. */
export function scanHeader(s: Scanner): TunnelHeader {
  s.expect("header(size=");
  const start = s.at;
  const size = s.number(TUNNEL_HEADER_MAX);
  s.expect(",type=");
  const type = s.number(0xffffffff);
  s.expect(",");
  const header = new Uint8Array(TUNNEL_HEADER_MAX);
  if (s.take("raw(")) {
    const bytes = s.hexBytes(")");
    if (bytes.length !== size) s.fail("size differs from that of the header", start);
    s.expect("))");
    return { header: bytes, tunnelType: type };
  }
  const found = scanLayers(s, header);
  if (found.type !== type) s.fail("type differs from that of the header", start);
  if (found.size !== size) s.fail("size differs from that of the header", start);
  s.expect(")");
  return { header: header.slice(0, size), tunnelType: type };
}

/** Kind and size of what was read. */
interface Found {
  readonly type: number;
  readonly size: number;
}

/** Takes literals and values in turn. */
function scanSequence(
  s: Scanner,
  b: Uint8Array,
  parts: readonly (readonly [string, Leaf<unknown>, number])[],
): void {
  for (const [literal, leaf, at] of parts) {
    s.expect(literal);
    scanLeaf(s, leaf, b, at);
  }
}

function scanLayers(s: Scanner, b: Uint8Array): Found {
  scanSequence(s, b, [["eth(dst=", mac, 0], [",src=", mac, 6], [",dl_type=", be16, 12]]);
  s.expect("),");
  const isIpv4 = be16.get(b, 12) === TYPE_IPV4;
  const l4 = ETHERNET_SIZE + (isIpv4 ? scanIpv4(s, b) : scanIpv6(s, b));
  if (s.take("udp(")) {
    scanSequence(s, b, [
      ["src=", be16, l4],
      [",dst=", be16, l4 + 2],
      [",csum=", be16, l4 + 6],
    ]);
    s.expect("),");
    return scanOverUdp(s, b, l4 + UDP_SIZE);
  }
  if (s.take("gre((")) {
    return scanGre(s, b, l4, isIpv4 ? VportType.gre : VportType.ip6gre);
  }
  if (s.take("erspan(ver=")) {
    return scanErspan(s, b, l4, isIpv4 ? VportType.erspan : VportType.ip6erspan);
  }
  if (!isIpv4 && s.take("srv6(segments_left=")) return scanSrv6(s, b, l4);
  return s.fail("no tunnel of this name");
}

function scanIpv4(s: Scanner, b: Uint8Array): number {
  const at = ETHERNET_SIZE;
  scanSequence(s, b, [
    ["ipv4(src=", ipv4, at + 12],
    [",dst=", ipv4, at + 16],
    [",proto=", u8, at + 9],
    [",tos=", u8, at + 1],
    [",ttl=", u8, at + 8],
    [",frag=", be16, at + 6],
  ]);
  s.expect("),");
  b[at] = 0x45;
  let sum = 0;
  for (let i = at; i < at + 20; i += 2) sum += be16.get(b, i);
  sum = (sum & 0xffff) + (sum >>> 16);
  be16.poke(b, at + 10, ~(sum + (sum >>> 16)) & 0xffff);
  return 20;
}

function scanIpv6(s: Scanner, b: Uint8Array): number {
  const at = ETHERNET_SIZE;
  scanSequence(s, b, [
    ["ipv6(src=", ipv6, at + 8],
    [",dst=", ipv6, at + 24],
    [",label=", bits(4, 0, 20), at],
    [",proto=", u8, at + 6],
    [",tclass=", bits(4, 20, 8), at],
    [",hlimit=", u8, at + 7],
  ]);
  s.expect("),");
  b[at] = (b[at] as number) | 0x60;
  return 40;
}

/** A VNI: the high 24 bits of a word. */
const vni = bits(4, 8, 24);

function scanOverUdp(s: Scanner, b: Uint8Array, at: number): Found {
  if (s.take("vxlan(")) {
    scanSequence(s, b, [["flags=", be32, at], [",vni=", vni, at + 4]]);
    s.expect(")");
    return { type: VportType.vxlan, size: at + 8 };
  }
  if (s.take("gtpu(")) {
    scanSequence(s, b, [
      ["flags=", u8, at],
      [",msgtype=", u8, at + 1],
      [",teid=", be32, at + 4],
    ]);
    s.expect(")");
    return { type: VportType.gtpu, size: at + 8 };
  }
  s.expect("geneve(");
  if (s.take("oam,")) b[at + 1] = 0x80;
  if (s.take("crit,")) b[at + 1] = (b[at + 1] as number) | 0x40;
  scanSequence(s, b, [["vni=", vni, at + 4]]);
  be16.poke(b, at + 2, TYPE_TEB);
  let size = 0;
  if (s.take(",options(")) {
    const options = new Uint8Array(255);
    size = scanGeneve(s, options, undefined);
    b.set(options.subarray(0, size), at + 8);
    b[at] = size / 4;
  }
  s.expect(")");
  return { type: VportType.geneve, size: at + 8 + size };
}

function scanGre(s: Scanner, b: Uint8Array, l4: number, type: number): Found {
  scanSequence(s, b, [["flags=", be16, l4], [",proto=", be16, l4 + 2]]);
  s.expect(")");
  const flags = be16.get(b, l4);
  let at = l4 + 4;
  for (const { bit, name, leaf } of greOptions) {
    if ((flags & bit) === 0) continue;
    scanSequence(s, b, [[`,${name}=`, leaf, at]]);
    at += 4;
  }
  s.expect(")");
  return { type, size: at };
}

/** Takes ERSPAN behind GRE with a sequence number, which Open vSwitch prints only. */
function scanErspan(s: Scanner, b: Uint8Array, l4: number, type: number): Found {
  const start = s.at;
  const version = s.number(2);
  if (version === 0) s.fail("expected version 1 or 2", start);
  be16.poke(b, l4, 0x1000);
  be16.poke(b, l4 + 2, version === 1 ? 0x88be : 0x22eb);
  const at = l4 + 8;
  b[at] = version << 4;
  scanSequence(s, b, [[",sid=", sessionId, at + 2]]);
  if (version === 1) {
    scanSequence(s, b, [[",idx=", be32, at + 4]]);
    s.expect(")");
    return { type, size: at + 8 };
  }
  scanSequence(s, b, [[",dir=", direction, at + 11]]);
  s.expect(",hwid=");
  const id = s.number(0x3f);
  hardwareIdHigh.poke(b, at + 10, id >>> 4);
  hardwareIdLow.poke(b, at + 11, id & 15);
  s.expect(")");
  return { type, size: at + 12 };
}

/** Takes a segment routing header (RFC 8754): 8 bytes, then the segments. */
function scanSrv6(s: Scanner, b: Uint8Array, at: number): Found {
  const start = s.at;
  const left = s.number(255);
  s.expect(",segs(");
  let size = at + 8;
  do {
    if (size + 16 > TUNNEL_HEADER_MAX) s.fail("too many segments");
    scanLeaf(s, ipv6, b, size);
    size += 16;
  } while (s.takeCode(44));
  s.expect("))");
  const count = (size - at - 8) / 16;
  if (left + 1 !== count) s.fail("segments_left does not fit the segments", start);
  b[at + 1] = 2 * count;
  b[at + 2] = 4;
  b[at + 3] = left;
  b[at + 4] = count - 1;
  return { type: VportType.srv6, size };
}
