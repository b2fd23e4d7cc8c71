// SPDX-License-Identifier: Apache-2.0
/**
 * Matches written as lists of fields, OXM or NXM, in the order in which Open vSwitch writes them.
 *
 * @module
 */
import type { Writer } from "./bytes.ts";
import { OfError, ONF, type Version } from "./error.ts";
import { type Field, fieldOfName, type OptionFields } from "./field.ts";
import { type Match, Nw, nwByte, ones, readBits, Word } from "./flow.ts";
import { allOf, ETH_IP, ETH_IPV6, hasWhatItNeeds, isArp, isMpls } from "./match.ts";
import type { FieldValue } from "./oxm.ts";
import { portTo10 } from "./port_number.ts";

/** The header of a field in a version: 0 and 1 and 2 write NXM where it is. */
export function headerOf(field: Field, version: Version | 0): {
  readonly header: number;
  readonly vendor: number | undefined;
} {
  const { oxm, oxmSince, nxm, experimenter } = field;
  if (oxm !== undefined && version >= oxmSince && version >= 3) {
    if (oxm >>> 16 !== 0x8001 || version >= 6) return { header: oxm, vendor: undefined };
  }
  // The ONF's extensions of OpenFlow 1.3 come before Nicira's numbers.
  const isOnf = experimenter?.vendor === ONF && version >= 4;
  if (nxm !== undefined && !isOnf) return { header: nxm, vendor: undefined };
  if (experimenter !== undefined && version >= 3) {
    const { header, vendor } = experimenter;
    return { header, vendor };
  }
  if (oxm !== undefined) return { header: oxm, vendor: undefined };
  throw new OfError("OFPBMC_BAD_FIELD", field.name);
}

/** Writes a header for a value of the field's size, with or without mask. */
export function writeHeader(
  writer: Writer,
  field: Field,
  version: Version | 0,
  hasMask = false,
): void {
  const { header, vendor } = headerOf(field, version);
  const extra = vendor === undefined ? 0 : 4;
  const length = field.size * (hasMask ? 2 : 1) + extra;
  writer.u32((header | (hasMask ? 0x100 : 0) | length) >>> 0);
  if (vendor !== undefined) writer.u32(vendor);
}

/** Writes a field with its value, and with a mask if some bits are not in it. */
export function writeFieldValue(
  writer: Writer,
  field: Field,
  value: bigint,
  mask: bigint,
  version: Version | 0,
): void {
  // The state of connections has eight bits of 32: Open vSwitch always says which.
  const isWhole = mask === allOf(field) || mask === ones(8 * field.size);
  const hasMask = !isWhole || field.name === "ct_state";
  writeHeader(writer, field, version, hasMask);
  const shift = BigInt(field.wireShift);
  const put = field.form === "port" && field.size === 2
    ? BigInt(portTo10(Number(value)))
    : value << shift;
  writer.big(put, field.size);
  if (hasMask) writer.big(mask << shift, field.size);
}

/** Names of fields that matches consist of, in the order in which Open vSwitch writes them. */
function fieldNames({ value, mask }: Match, version: Version | 0): string[] {
  const type = value[Word.dlType] as number;
  // The statistics of OpenFlow 1.1 have such matches in Open vSwitch, too.
  const isOxm = version >= 2;
  const proto = nwByte(value, Nw.proto);
  const names = ["packet_type", "dp_hash", "recirc_id", "conj_id"];
  names.push(isOxm ? "in_port_oxm" : "in_port");
  // The ONF's extension is one of OpenFlow 1.3.
  if (version === 0 || version >= 4) names.push("actset_output");
  names.push("eth_src", "eth_dst", "eth_type");
  if (!isOxm) names.push("vlan_tci");
  else {
    names.push("vlan_vid");
    const vid = (value[Word.vlan] as number) & 0x1fff;
    if (vid !== 0 && (mask[Word.vlan] as number) & 0xe000) names.push("vlan_pcp");
  }
  if (isMpls(type)) names.push("mpls_tc", "mpls_bos", "mpls_ttl", "mpls_label");
  if (type === ETH_IP) names.push("ip_src", "ip_dst");
  if (type === ETH_IPV6) names.push("ipv6_src", "ipv6_dst");
  if (type === ETH_IP || type === ETH_IPV6) {
    names.push("ip_frag", isOxm ? "ip_dscp" : "nw_tos", "nw_ecn", "nw_ttl", "ipv6_label");
    names.push("nw_proto");
    if (proto === 6) names.push("tcp_src", "tcp_dst", "tcp_flags");
    else if (proto === 17) names.push("udp_src", "udp_dst");
    else if (proto === 132) names.push("sctp_src", "sctp_dst");
    else if (proto === 1 && type === ETH_IP) names.push("icmp_type", "icmp_code");
    else if (proto === 58 && type === ETH_IPV6) {
      names.push("icmpv6_type", "icmpv6_code");
      if (hasWhatItNeeds("nd", value)) names.push("nd_target");
      if (hasWhatItNeeds("nd_solicit", value)) names.push("nd_sll");
      if (hasWhatItNeeds("nd_advert", value)) names.push("nd_tll");
    }
  } else if (isArp(type)) {
    names.push("arp_op", "arp_spa", "arp_tpa", "arp_sha", "arp_tha");
  }
  names.push("tun_id", "tun_src", "tun_dst", "tun_ipv6_src", "tun_ipv6_dst");
  names.push("tun_gbp_id", "tun_gbp_flags");
  const isWide = version >= 6;
  for (let i = 0; i < (isWide ? 8 : 16); i++) {
    names.push(`${isWide ? "xreg" : "reg"}${i}`);
  }
  names.push("pkt_mark", "ct_state", "ct_zone", "ct_mark", "ct_label");
  names.push("ct_nw_src", "ct_ipv6_src", "ct_nw_dst", "ct_ipv6_dst");
  if (value[Word.ctNwProto] !== 0) names.push("ct_nw_proto", "ct_tp_src", "ct_tp_dst");
  names.push("metadata");
  return names;
}

/** The fields that a match says something of, in order. */
export function fieldsOf(
  match: Match,
  version: Version | 0,
  options?: OptionFields,
): FieldValue[] {
  const fields = fieldNames(match, version).map(fieldOfName);
  if (options !== undefined) {
    // Behind the other fields of tunnels, which registers follow.
    const at = fields.findIndex(({ word }) => word === Word.reg0);
    fields.splice(at < 0 ? fields.length : at, 0, ...options.optionFields());
  }
  return fields.flatMap((field) => {
    const mask = readBits(match.mask, field);
    if (mask === 0n) return [];
    const value = readBits(match.value, field);
    return [{ field, value, mask, hasMask: mask !== allOf(field) }];
  });
}

/** Writes the fields of a match; version 0 writes NXM. */
export function writeFields(writer: Writer, match: Match, version: Version | 0): void {
  for (const { field, value, mask } of fieldsOf(match, version, writer.options)) {
    writeFieldValue(writer, field, value, mask, version);
  }
}

/** Writes a match of OpenFlow 1.2 and later, with its padding. */
export function writeOxmMatch(writer: Writer, match: Match, version: Version): void {
  const start = writer.size;
  writer.u16(1).u16(0);
  writeFields(writer, match, version);
  writer.set16(start + 2, writer.size - start).pad8(start);
}

/** Writes a match of Nicira's with its padding; answers its length without. */
export function writeNxMatch(writer: Writer, match: Match): number {
  const start = writer.size;
  writeFields(writer, match, 0);
  const length = writer.size - start;
  writer.zeros(-length & 7);
  return length;
}
