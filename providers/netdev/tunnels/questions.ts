// SPDX-License-Identifier: Apache-2.0
/**
 * Bytes on the wire of an underlay: the Ethernet header of outer packets; and where it is no Linux
 * device, questions and answers about neighbours, by ARP and neighbour discovery.
 *
 * @module
 */
import { arp, build, ethernet, ipv6, neighbour, vlan } from "../../../frames/mod.ts";
import { parseMac } from "../../codec/address.ts";
import { addressBytes, addressText } from "../../netlink/mod.ts";
import type { Exit } from "./underlays.ts";

const IPV4 = 0x0800;
const IPV6 = 0x86dd;
const broadcast = "ff:ff:ff:ff:ff:ff";
/** Neighbour discovery is only believed when no router can have passed it on (RFC 4861). */
const hopLimit = 255;
/** Solicited, override (RFC 4861). */
const answerFlags = 0x60000000;

/** Who speaks: one end of a question. */
export interface Speaker {
  /** Its IP address. */
  readonly address: string;
  /** Its Ethernet address. */
  readonly mac: string;
  /** VLAN of the frames; 0: none. */
  readonly vlan: number;
}

function hex(byte: number): string {
  return byte.toString(16).padStart(2, "0");
}

/** Ethernet address of a multicast group. Of broadcasts: `ff:ff:ff:ff:ff:ff`. */
export function multicastMac(address: string): string | undefined {
  const bytes = addressBytes(address);
  const [first = 0] = bytes;
  if (bytes.length === 16) {
    return first === 0xff
      ? `33:33:${[...bytes.slice(12)].map(hex).join(":")}`
      : undefined;
  }
  if (address === "255.255.255.255") return broadcast;
  if (first < 224 || first > 239) return undefined;
  const [, second = 0, third = 0, fourth = 0] = bytes;
  return `01:00:5e:${hex(second & 0x7f)}:${hex(third)}:${hex(fourth)}`;
}

/** The group that the owner of an IPv6 address listens to for questions. */
function solicitedGroup(target: string): string {
  const bytes = addressBytes("ff02::1:ff00:0");
  bytes.set(addressBytes(target).subarray(13), 13);
  return addressText(bytes);
}

function frame(
  { mac, vlan: vid }: Speaker,
  dst: string,
  layers: Parameters<typeof build>[0],
): Uint8Array {
  const tags = vid === 0 ? [] : [vlan({ vid })];
  return build([ethernet({ src: mac, dst }), ...tags, ...layers]);
}

/** The Ethernet header of an outer packet. */
export function ethernetHeader(
  dst: string,
  src: string,
  { vlan }: Pick<Exit, "vlan">,
  version: 4 | 6,
): Uint8Array {
  const header = new Uint8Array(vlan ? 18 : 14);
  const view = new DataView(header.buffer);
  parseMac(dst, 0, header, 0);
  parseMac(src, 0, header, 6);
  if (vlan) {
    view.setUint16(12, vlan.tpid);
    view.setUint16(14, vlan.id);
  }
  view.setUint16(header.length - 2, version === 4 ? IPV4 : IPV6);
  return header;
}

/** Asks who has `target`. */
export function question(asker: Speaker, target: string): Uint8Array {
  const { address, mac } = asker;
  if (!target.includes(":")) {
    return frame(asker, broadcast, [
      arp({ op: 1, sha: mac, sip: address, tha: "00:00:00:00:00:00", tip: target }),
    ]);
  }
  const group = solicitedGroup(target);
  return frame(asker, multicastMac(group) ?? broadcast, [
    ipv6({ src: address, dst: group, hlimit: hopLimit }),
    neighbour({ target, sll: mac }),
  ]);
}

/** Tells `asker` that `owner` has the address that was asked for. */
export function answer(owner: Speaker, asker: Speaker): Uint8Array {
  const { address, mac } = owner;
  if (!address.includes(":")) {
    return frame(owner, asker.mac, [
      arp({ op: 2, sha: mac, sip: address, tha: asker.mac, tip: asker.address }),
    ]);
  }
  return frame(owner, asker.mac, [
    ipv6({ src: address, dst: asker.address, hlimit: hopLimit }),
    neighbour({ kind: 136, target: address, flags: answerFlags, tll: mac }),
  ]);
}
