// SPDX-License-Identifier: Apache-2.0
/**
 * Makes a packet that has a given key, with a payload of no meaning.
 *
 * @module
 */
import {
  arp,
  build,
  ethernet,
  icmp,
  icmpv6,
  ipv4,
  ipv6,
  ipv6Fragment,
  type Layer,
  mpls,
  payload,
  sctp,
  tcp,
  udp,
  vlan,
} from "../frames/mod.ts";
import type { FlowKey, Fragment } from "../providers/types.ts";

/** Bytes of payload of layer 4, as Open vSwitch's dummy ports make them. */
const payloadSize = 64;

/** FIN, SYN and RST (RFC 9293): a connection that begins or ends carries nothing. */
const CARRY_NOTHING = 0x07;

/** Offset of later fragments, in bytes. */
const LATER = 800;

/** How a packet is made. */
export interface ComposeOptions {
  /** Bytes of the whole packet; longer than the headers and their payload. Absent: no padding. */
  readonly length?: number;
}

/** A packet with this key. Metadata of the key (port, marks, connection) is not in packets. */
export function composePacket(
  key: FlowKey,
  { length }: ComposeOptions = {},
): Uint8Array<ArrayBuffer> {
  if (length === undefined) return build([...link(key), ...network(key, payloadSize)]);
  const empty = build([...link(key), ...network(key, 0)]).length;
  if (length < empty) {
    throw new RangeError(`a packet of ${length} bytes has no room for its headers`);
  }
  const frame = new Uint8Array(length); // ARP has no payload: what is left is zero.
  frame.set(build([...link(key), ...network(key, length - empty)]));
  return frame;
}

function link(
  { ethernet: addresses, vlans = [], etherType = 0, mpls: labels = [] }: FlowKey,
): Layer[] {
  const tags = vlans.map(({ tpid, vid, pcp }, i) => {
    const isLast = i === vlans.length - 1;
    return vlan({ tpid: tpid || 0x8100, vid, pcp, ...(isLast && { etherType }) });
  });
  const stack = labels.map(({ label, tc, ttl, bos }, i) =>
    mpls({ label, tc, ttl, ...(i < labels.length - 1 && { bos }) })
  );
  return [
    ethernet({ ...addresses, ...(tags.length === 0 && { etherType }) }),
    ...tags,
    ...stack,
  ];
}

function network(key: FlowKey, size: number): Layer[] {
  if (key.ipv4) {
    const { frag, proto, ...fields } = key.ipv4;
    const header = ipv4({
      ...fields,
      proto,
      moreFragments: frag === "first",
      offset: frag === "later" ? LATER : 0,
    });
    return [header, ...transport(key, proto, frag, size)];
  }
  if (key.ipv6) {
    const { frag, proto, ...fields } = key.ipv6;
    const moreFragments = frag === "first";
    const fragment = ipv6Fragment({
      moreFragments,
      offset: moreFragments ? 0 : LATER,
      next: proto,
    });
    const headers = frag === "no"
      ? [ipv6({ ...fields, next: proto })]
      : [ipv6(fields), fragment];
    return [...headers, ...transport(key, proto, frag, size)];
  }
  if (key.arp) return [arp(key.arp)];
  // A header of which nothing is said is there all the same, as Open vSwitch has it.
  if (key.etherType === 0x0800) return [ipv4({ proto: 0, ttl: 0 })];
  return key.etherType === 0x86dd ? [ipv6({ next: 0, hlimit: 0 })] : [];
}

function content(size: number): Layer {
  return payload(Uint8Array.from({ length: size }, (_, i) => i & 0xff));
}

const noPorts = { src: 0, dst: 0 } as const;

function transport(key: FlowKey, proto: number, frag: Fragment, size: number): Layer[] {
  if (frag === "later") return [content(size)];
  // A fragment's checksum covers what other fragments carry.
  const part = frag === "no" ? {} : { checksum: 0 };
  if (proto === 6) {
    const flags = key.tcpFlags ?? 0;
    const carried = flags & CARRY_NOTHING && size === payloadSize ? 0 : size;
    return [tcp({ ...key.tcp ?? noPorts, flags, window: 0, ...part }), content(carried)];
  }
  if (proto === 17) return [udp({ ...key.udp ?? noPorts, ...part }), content(size)];
  if (proto === 132) return [sctp({ ...key.sctp ?? noPorts, ...part }), content(size)];
  if (proto === 1) {
    const { type: kind, code } = key.icmp ?? { type: 0, code: 0 };
    return [icmp({ kind, code, ...part }), content(size)];
  }
  // As in Open vSwitch: of other protocols there is no more than the header before them.
  if (proto !== 58) return size === payloadSize ? [] : [content(size)];
  if (!key.icmpv6) return [content(size)];
  const { type: kind, code } = key.icmpv6;
  if (!key.nd) return [icmpv6({ kind, code, ...part }), content(size)];
  const { target, sll, tll } = key.nd;
  const nd = {
    target,
    flags: 0,
    ...(isGiven(sll) && { sll }),
    ...(isGiven(tll) && { tll }),
  };
  return [icmpv6({ kind, code, nd, ...part })];
}

/** Whether an address is another than zero. */
function isGiven(address: string): boolean {
  return !/^[0:]*$/.test(address);
}
