// SPDX-License-Identifier: Apache-2.0
/**
 * The matches of OpenFlow 1.0 (40 bytes) and 1.1 (88 bytes), which are structures with wildcards.
 *
 * @module
 */
import type { Reader, Writer } from "./bytes.ts";
import { OfError } from "./error.ts";
import { fieldOfName } from "./field.ts";
import {
  anyMatch,
  type Match,
  Nw,
  nwByte,
  ones,
  readBits,
  VLAN_PRESENT,
  Word,
  writeBits,
} from "./flow.ts";
import { ETH_IP, isArp, isMpls } from "./match.ts";
import { Port, portFrom10, portFrom11, portTo10 } from "./port_number.ts";

/** Wildcards of OpenFlow 1.0. */
const W10 = {
  inPort: 1,
  vlan: 2,
  dlSrc: 4,
  dlDst: 8,
  dlType: 16,
  nwProto: 32,
  tpSrc: 64,
  tpDst: 128,
  pcp: 1 << 20,
  tos: 1 << 21,
} as const;
const NW_SRC_SHIFT = 8;
const NW_DST_SHIFT = 14;
/** OpenFlow 1.0's "no tag", and 1.1's, and 1.1's "any tag". */
const NO_TAG = 0xffff;
const ANY_TAG = 0xfffe;

function set(match: Match, name: string, value: number | bigint, mask?: bigint): void {
  const field = fieldOfName(name);
  const of = mask ?? ones(field.bits);
  writeBits(match.mask, field, of);
  writeBits(match.value, field, BigInt(value) & of);
}

function prefix(wildcards: number): number {
  return wildcards >= 32 ? 0 : wildcards === 0 ? 0xffffffff : ~(2 ** wildcards - 1) >>> 0;
}

/** Reads a match of OpenFlow 1.0 into one that says nothing so far. */
export function readMatch10(reader: Reader, match = anyMatch()): Match {
  const part = reader.part(40);
  const wild = part.u32();
  const inPort = part.u16();
  if (!(wild & W10.inPort)) set(match, "in_port", portFrom10(inPort));
  const src = part.big(6);
  if (!(wild & W10.dlSrc)) set(match, "eth_src", src);
  const dst = part.big(6);
  if (!(wild & W10.dlDst)) set(match, "eth_dst", dst);
  const vlan = part.u16();
  const pcp = part.u8();
  part.skip(1);
  if (!(wild & W10.vlan) && vlan === NO_TAG) set(match, "vlan_tci", 0);
  else {
    const mask = (wild & W10.vlan ? 0 : 0x1fff) | (wild & W10.pcp ? 0 : 0xf000);
    const tci = vlan & 0xfff | (pcp & 7) << 13 | VLAN_PRESENT;
    set(match, "vlan_tci", tci, BigInt(mask));
  }
  const type = part.u16();
  if (!(wild & W10.dlType)) set(match, "eth_type", type);
  const tos = part.u8();
  if (!(wild & W10.tos)) set(match, "nw_tos", tos >> 2);
  const proto = part.u8();
  if (!(wild & W10.nwProto)) set(match, "nw_proto", proto);
  part.skip(2);
  set(match, "ip_src", part.u32(), BigInt(prefix(wild >>> NW_SRC_SHIFT & 63)));
  set(match, "ip_dst", part.u32(), BigInt(prefix(wild >>> NW_DST_SHIFT & 63)));
  const tpSrc = part.u16();
  if (!(wild & W10.tpSrc)) set(match, "tcp_src", tpSrc);
  const tpDst = part.u16();
  if (!(wild & W10.tpDst)) set(match, "tcp_dst", tpDst);
  return match;
}

function has({ mask }: Match, name: string): boolean {
  return readBits(mask, fieldOfName(name)) !== 0n;
}

function valueOf({ value }: Match, name: string): number {
  return Number(readBits(value, fieldOfName(name)));
}

function wildBits(mask: number): number {
  return mask === 0 ? 32 : 31 - Math.clz32(mask & -mask);
}

/** Writes a match of OpenFlow 1.0; what it cannot say is left out. */
export function writeMatch10(writer: Writer, match: Match): void {
  const { mask } = match;
  const tci = mask[Word.vlan] as number;
  const tag = match.value[Word.vlan] as number;
  let wild = 0;
  let vlan = 0;
  let pcp = 0;
  if (tci === 0) wild |= W10.vlan | W10.pcp;
  else if (tci & VLAN_PRESENT && !(tag & VLAN_PRESENT)) vlan = NO_TAG;
  else {
    if (tci & 0xfff) vlan = tag & 0xfff;
    else wild |= W10.vlan;
    if (tci & 0xe000) pcp = tag >> 13;
    else wild |= W10.pcp;
  }
  const lines: readonly (readonly [string, number])[] = [
    ["in_port", W10.inPort],
    ["eth_src", W10.dlSrc],
    ["eth_dst", W10.dlDst],
    ["eth_type", W10.dlType],
    ["nw_proto", W10.nwProto],
    ["nw_tos", W10.tos],
    ["tcp_src", W10.tpSrc],
    ["tcp_dst", W10.tpDst],
  ];
  for (const [name, bit] of lines) if (!has(match, name)) wild |= bit;
  wild |= wildBits(mask[Word.nwSrc] as number) << NW_SRC_SHIFT;
  wild |= wildBits(mask[Word.nwDst] as number) << NW_DST_SHIFT;
  const type = valueOf(match, "eth_type");
  writer.u32(wild >>> 0).u16(portTo10(valueOf(match, "in_port")))
    .big(readBits(match.value, fieldOfName("eth_src")), 6)
    .big(readBits(match.value, fieldOfName("eth_dst")), 6)
    .u16(vlan).u8(pcp).zeros(1).u16(type).u8(valueOf(match, "nw_tos") << 2)
    .u8(nwByte(match.value, Nw.proto)).zeros(2)
    .u32(valueOf(match, "ip_src")).u32(valueOf(match, "ip_dst"))
    .u16(valueOf(match, "tcp_src")).u16(valueOf(match, "tcp_dst"));
}

/** Wildcards of OpenFlow 1.1. */
const W11 = {
  inPort: 1,
  vlan: 2,
  pcp: 4,
  dlType: 8,
  tos: 16,
  proto: 32,
  tpSrc: 64,
  tpDst: 128,
  label: 256,
  tc: 512,
} as const;
const MATCH11_SIZE = 88;

function ifThere(read: () => number): number {
  try {
    return read();
  } catch (error) {
    if (error instanceof OfError) throw new OfError("OFPBMC_BAD_VALUE", error.message);
    throw error;
  }
}

function invert(value: bigint, bits: number): bigint {
  return value ^ ones(bits);
}

/** Reads a match of OpenFlow 1.1, whose type and length come first, into one that says nothing. */
export function readMatch11(reader: Reader, match = anyMatch()): Match {
  if (reader.left < 4) throw new OfError("OFPBMC_BAD_LEN");
  const type = reader.u16();
  const length = reader.u16();
  if (type !== 0) throw new OfError("OFPBMC_BAD_TYPE");
  if (length !== MATCH11_SIZE) throw new OfError("OFPBMC_BAD_LEN");
  const part = reader.part(MATCH11_SIZE - 4, "OFPBMC_BAD_LEN");
  const inPort = part.u32();
  const wild = part.u32();
  if (!(wild & W11.inPort)) set(match, "in_port", ifThere(() => portFrom11(inPort)));
  for (const name of ["eth_src", "eth_dst"]) {
    set(match, name, part.big(6), invert(part.big(6), 48));
  }
  readTag11(match, part.u16(), part.u8(), wild);
  part.skip(1);
  const dlType = part.u16();
  if (!(wild & W11.dlType)) {
    set(match, "eth_type", dlType);
  }
  const ethertype = match.value[Word.dlType] as number;
  const is4 = ethertype === ETH_IP;
  const tos = part.u8();
  const proto = part.u8();
  if (is4 && !(wild & W11.tos)) {
    if (tos & 3) throw new OfError("OFPBMC_BAD_VALUE");
    set(match, "nw_tos", tos >> 2);
  }
  const addressed = is4 || isArp(ethertype);
  if (addressed && !(wild & W11.proto)) set(match, "nw_proto", proto);
  for (const name of ["ip_src", "ip_dst"]) {
    const value = part.u32();
    const mask = invert(BigInt(part.u32()), 32);
    if (addressed) set(match, name, value, mask);
  }
  readPorts11(match, part.u16(), part.u16(), wild);
  const label = part.u32();
  const tc = part.u8();
  part.skip(3);
  if (isMpls(ethertype)) {
    if (!(wild & W11.label)) set(match, "mpls_label", label & 0xfffff);
    if (!(wild & W11.tc)) set(match, "mpls_tc", tc & 7);
  }
  set(match, "metadata", part.u64(), invert(part.u64(), 64));
  return match;
}

function readTag11(match: Match, vlan: number, pcp: number, wild: number): void {
  if (wild & W11.vlan) return;
  if (vlan === NO_TAG) return set(match, "vlan_tci", 0);
  if (vlan !== ANY_TAG && vlan > 0xfff) throw new OfError("OFPBMC_BAD_VALUE");
  let mask = vlan === ANY_TAG ? VLAN_PRESENT : VLAN_PRESENT | 0xfff;
  let tci = vlan === ANY_TAG ? VLAN_PRESENT : VLAN_PRESENT | vlan;
  if (!(wild & W11.pcp)) {
    if (pcp > 7) throw new OfError("OFPBMC_BAD_VALUE");
    mask |= 0xe000;
    tci |= pcp << 13;
  }
  set(match, "vlan_tci", tci, BigInt(mask));
}

function readPorts11(match: Match, src: number, dst: number, wild: number): void {
  if (match.value[Word.dlType] !== ETH_IP) return;
  const proto = nwByte(match.value, Nw.proto);
  if (![1, 6, 17, 132].includes(proto)) return;
  const isIcmp = proto === 1;
  for (
    const [name, value, bit] of [
      ["tcp_src", src, W11.tpSrc],
      ["tcp_dst", dst, W11.tpDst],
    ] as const
  ) {
    if (wild & bit) continue;
    if (isIcmp && value > 0xff) throw new OfError("OFPBMC_BAD_FIELD");
    set(match, name, value);
  }
}

/** Writes a match of OpenFlow 1.1; what it cannot say is left out. */
export function writeMatch11(writer: Writer, match: Match): void {
  const { mask, value } = match;
  const tci = mask[Word.vlan] as number;
  const tag = value[Word.vlan] as number;
  let wild = 0;
  let vlan = 0;
  let pcp = 0;
  if (tci === 0) wild |= W11.vlan | W11.pcp;
  else if (tci & VLAN_PRESENT && !(tag & VLAN_PRESENT)) {
    vlan = NO_TAG;
    wild |= W11.pcp;
  } else {
    vlan = tci & 0xfff ? tag & 0xfff : ANY_TAG;
    if (tci & 0xe000) pcp = tag >> 13;
    else wild |= W11.pcp;
  }
  const lines: readonly (readonly [string, number])[] = [
    ["in_port", W11.inPort],
    ["eth_type", W11.dlType],
    ["nw_tos", W11.tos],
    ["nw_proto", W11.proto],
    ["tcp_src", W11.tpSrc],
    ["tcp_dst", W11.tpDst],
    ["mpls_label", W11.label],
    ["mpls_tc", W11.tc],
  ];
  for (const [name, bit] of lines) if (!has(match, name)) wild |= bit;
  const port = has(match, "in_port") ? valueOf(match, "in_port") : 0;
  writer.u16(0).u16(MATCH11_SIZE).u32(port === Port.unset ? 0 : port).u32(wild);
  const masked = (name: string, size: number): void => {
    const field = fieldOfName(name);
    writer.big(readBits(value, field), size)
      .big(invert(readBits(mask, field), 8 * size), size);
  };
  masked("eth_src", 6);
  masked("eth_dst", 6);
  const type = valueOf(match, "eth_type");
  writer.u16(vlan).u8(pcp).zeros(1)
    .u16(type)
    .u8(valueOf(match, "nw_tos") << 2).u8(nwByte(value, Nw.proto));
  masked("ip_src", 4);
  masked("ip_dst", 4);
  writer.u16(valueOf(match, "tcp_src")).u16(valueOf(match, "tcp_dst"))
    .u32(valueOf(match, "mpls_label")).u8(valueOf(match, "mpls_tc")).zeros(3);
  masked("metadata", 8);
}
