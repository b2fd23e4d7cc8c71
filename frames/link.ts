// SPDX-License-Identifier: Apache-2.0
/**
 * Ethernet, 802.1Q, MPLS and ARP.
 *
 * @module
 */
import {
  concat,
  fits,
  formatIpv4,
  formatMac,
  put,
  putIpv4,
  putMac,
  u16,
  u32,
} from "./bytes.ts";
import { byEtherType, etherTypeOf, type Protocol } from "./protocol.ts";

/** The Ethernet header. */
export const ethernetProtocol: Protocol<"ethernet"> = {
  computed: ["etherType"],
  write({ dst, src, etherType }, inner, { next }) {
    const head = new Uint8Array(14);
    putMac(head, 0, dst, "ethernet.dst");
    putMac(head, 6, src, "ethernet.src");
    put(head, 12, 2, etherType ?? etherTypeOf(next) ?? 0, "ethernet.etherType");
    return concat(head, inner);
  },
  read(bytes, at, end) {
    if (at + 14 > end) return undefined;
    const etherType = u16(bytes, at + 12);
    const dst = formatMac(bytes, at);
    const src = formatMac(bytes, at + 6);
    const layer = { type: "ethernet", dst, src, etherType } as const;
    // Frames in frames are told by another header, never by this one's type.
    const next = etherType === 0x6558 ? undefined : byEtherType(etherType);
    return { layer, at: at + 14, end, next };
  },
};

/** A tag; its protocol stands in the header before it. */
export const vlanProtocol: Protocol<"vlan"> = {
  computed: ["etherType"],
  write({ vid, pcp, dei, etherType }, inner, { next }) {
    const head = new Uint8Array(4);
    const tci = fits(pcp, 3, "vlan.pcp") << 13 | fits(dei, 1, "vlan.dei") << 12 |
      fits(vid, 12, "vlan.vid");
    put(head, 0, 2, tci, "vlan");
    put(head, 2, 2, etherType ?? etherTypeOf(next) ?? 0, "vlan.etherType");
    return concat(head, inner);
  },
  read(bytes, at, end) {
    if (at + 4 > end) return undefined;
    const tpid = u16(bytes, at - 2);
    const tci = u16(bytes, at);
    const etherType = u16(bytes, at + 2);
    const layer = {
      type: "vlan",
      tpid,
      vid: tci & 0xfff,
      pcp: tci >> 13,
      dei: tci >> 12 & 1,
      etherType,
    } as const;
    const next = etherType === 0x6558 ? undefined : byEtherType(etherType);
    return { layer, at: at + 4, end, next };
  },
};

/** One label. */
export const mplsProtocol: Protocol<"mpls"> = {
  computed: ["bos"],
  write({ label, tc, ttl, bos }, inner, { next }) {
    const head = new Uint8Array(4);
    const bottom = bos ?? (next?.type === "mpls" ? 0 : 1);
    const low = fits(tc, 3, "mpls.tc") << 9 | fits(bottom, 1, "mpls.bos") << 8 |
      fits(ttl, 8, "mpls.ttl");
    put(head, 0, 4, fits(label, 20, "mpls.label") * 0x1000 + low, "mpls");
    return concat(head, inner);
  },
  read(bytes, at, end) {
    if (at + 4 > end) return undefined;
    const word = u32(bytes, at);
    const bos = word >>> 8 & 1;
    const layer = {
      type: "mpls",
      label: word >>> 12,
      tc: word >>> 9 & 7,
      ttl: word & 255,
      bos,
    } as const;
    // Nothing says what is below the last label; IP packets begin with their version.
    const version = at + 4 < end ? (bytes[at + 4] as number) >> 4 : 0;
    const below = version === 4 ? "ipv4" : version === 6 ? "ipv6" : undefined;
    return { layer, at: at + 4, end, next: bos === 0 ? "mpls" : below };
  },
};

const ARP_SIZE = 28;
/** Ethernet and IPv4, with the sizes of their addresses. */
const arpKinds = Uint8Array.of(0, 1, 8, 0, 6, 4);

/** ARP. */
export const arpProtocol: Protocol<"arp"> = {
  computed: [],
  write({ op, sha, sip, tha, tip, padding }, inner) {
    const head = new Uint8Array(ARP_SIZE);
    head.set(arpKinds);
    put(head, 6, 2, op, "arp.op");
    putMac(head, 8, sha, "arp.sha");
    putIpv4(head, 14, sip, "arp.sip");
    putMac(head, 18, tha, "arp.tha");
    putIpv4(head, 24, tip, "arp.tip");
    return concat(head, inner, padding ?? new Uint8Array());
  },
  read(bytes, at, end) {
    if (at + ARP_SIZE > end || arpKinds.some((byte, i) => bytes[at + i] !== byte)) {
      return undefined;
    }
    const from = at + ARP_SIZE;
    const layer = {
      type: "arp",
      op: u16(bytes, at + 6),
      sha: formatMac(bytes, at + 8),
      sip: formatIpv4(bytes, at + 14),
      tha: formatMac(bytes, at + 18),
      tip: formatIpv4(bytes, at + 24),
      ...(end > from && { padding: bytes.slice(from, end) }),
    } as const;
    return { layer, at: from, end: from };
  },
};
