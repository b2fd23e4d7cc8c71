// SPDX-License-Identifier: Apache-2.0
/**
 * What the parts of rtnetlink share: message types, multicast groups, addresses.
 *
 * Formats: `<linux/rtnetlink.h>`, man rtnetlink(7).
 *
 * @module
 */
import { formatIpv4, formatIpv6, parseIpv4, parseIpv6 } from "../codec/address.ts";
import { NetlinkError } from "./errors.ts";
import { type MessageWriter, s32, u16, u32, u8 } from "./message.ts";

/** Message types of rtnetlink that are used here: `RTM_*`. */
export const RouteMessage = {
  newLink: 16,
  deleteLink: 17,
  getLink: 18,
  newAddress: 20,
  deleteAddress: 21,
  getAddress: 22,
  newRoute: 24,
  deleteRoute: 25,
  getRoute: 26,
  newNeighbour: 28,
  deleteNeighbour: 29,
  getNeighbour: 30,
  newRule: 32,
  deleteRule: 33,
  getRule: 34,
  newNextHop: 104,
  deleteNextHop: 105,
} as const;

/** Multicast groups of rtnetlink that are used here: `RTNLGRP_*`. */
export const RouteGroup = {
  link: 1,
  neighbour: 3,
  ipv4Address: 5,
  ipv4Route: 7,
  ipv4Rule: 8,
  ipv6Address: 9,
  ipv6Route: 11,
  ipv6Rule: 19,
  nextHop: 32,
} as const;

/** Address families: `AF_*`. */
export const Family = { any: 0, ipv4: 2, ipv6: 10 } as const;

/** An address and how many of its leading bits count. */
export interface Prefix {
  /** Address in text; IPv6 as RFC 5952 has it. */
  readonly address: string;
  /** Bits, from 0. */
  readonly length: number;
}

/** Version of IP that an address belongs to. Throws `SyntaxError` for what is no address. */
export function ipVersion(address: string): 4 | 6 {
  return addressBytes(address).length === 4 ? 4 : 6;
}

/** The 4 or 16 bytes of an address, in network order. Throws `SyntaxError`. */
export function addressBytes(address: string): Uint8Array {
  const bytes = new Uint8Array(16);
  if (address.includes(":")) {
    if (parseIpv6(address, 0, bytes, 0) === address.length) return bytes;
  } else if (parseIpv4(address, 0, bytes, 0) === address.length) {
    return bytes.subarray(0, 4);
  }
  throw new SyntaxError(`no IP address: ${JSON.stringify(address)}`);
}

/** Text of an address of 4 or 16 bytes. Throws {@linkcode NetlinkError} `EBADMSG`. */
export function addressText(bytes: Uint8Array): string {
  if (bytes.length === 4) return formatIpv4(bytes, 0);
  if (bytes.length === 16) return formatIpv6(bytes, 0);
  throw new NetlinkError({
    code: "EBADMSG",
    detail: `an address of ${bytes.length} bytes`,
  });
}

/** The address of all zeros, of a family: what attributes that are left out stand for. */
export function anyAddress(family: number): string {
  return family === Family.ipv6 ? "::" : "0.0.0.0";
}

/** Whether `address` lies within `prefix`; never, if they are of different versions. */
export function isWithin(address: string, prefix: Prefix): boolean {
  return areWithin(addressBytes(address), addressBytes(prefix.address), prefix.length);
}

/** The same of bytes. */
export function areWithin(bytes: Uint8Array, base: Uint8Array, length: number): boolean {
  if (bytes.length !== base.length) return false;
  for (let bit = 0; bit < length; bit += 8) {
    const mask = 0xff00 >> Math.min(8, length - bit) & 0xff;
    const at = bit >> 3;
    if (((bytes[at] ?? 0) ^ (base[at] ?? 0)) & mask) return false;
  }
  return true;
}

/** Appends a `struct ifinfomsg` that names no device. */
export function putLinkHeader(writer: MessageWriter, ifindex = 0): void {
  // family, padding, type, index, flags, change
  writer.put(u8, 0);
  writer.put(u8, 0);
  writer.put(u16, 0);
  writer.put(s32, ifindex);
  writer.put(u32, 0);
  writer.put(u32, 0);
}

/** Throws `EBADMSG` unless a message has its family's header, `size` bytes, whole. */
export function needHeader(body: Uint8Array, size: number): void {
  if (body.length >= size) return;
  throw new NetlinkError({
    code: "EBADMSG",
    detail: `a message of ${body.length} bytes whose header has ${size}`,
  });
}
