// SPDX-License-Identifier: Apache-2.0
/**
 * IPv4, IPv6 and its extension headers; the pseudo header that checksums above them cover.
 *
 * @module
 */
import {
  checksum,
  concat,
  fits,
  formatIpv4,
  formatIpv6,
  put,
  putIpv4,
  putIpv6,
  sum16,
  u16,
  u32,
} from "./bytes.ts";
import type { Layer } from "./layers.ts";
import { byProto, type Protocol, protoOf } from "./protocol.ts";

const none = new Uint8Array();

/** No next header (RFC 8200). */
const NO_NEXT = 59;

/** IPv4. */
export const ipv4Protocol: Protocol<"ipv4"> = {
  computed: ["proto", "length", "checksum", "options", "reserved"],
  write(ip, inner, { next }) {
    const { options = none, padding = none } = ip;
    if (options.length % 4 !== 0 || options.length > 40) {
      throw new RangeError("ipv4.options must be a multiple of 4 bytes up to 40");
    }
    if (ip.offset % 8 !== 0) throw new RangeError("ipv4.offset must be a multiple of 8");
    const size = 20 + options.length;
    const head = new Uint8Array(size);
    head[0] = 0x40 | size / 4;
    put(head, 1, 1, ip.tos, "ipv4.tos");
    put(head, 2, 2, ip.length ?? size + inner.length, "ipv4.length");
    put(head, 4, 2, ip.id, "ipv4.id");
    const flags = (ip.reserved ? 4 : 0) | (ip.dontFragment ? 2 : 0) |
      (ip.moreFragments ? 1 : 0);
    put(head, 6, 2, flags << 13 | fits(ip.offset / 8, 13, "ipv4.offset / 8"), "ipv4");
    put(head, 8, 1, ip.ttl, "ipv4.ttl");
    put(head, 9, 1, ip.proto ?? protoOf(next) ?? 0, "ipv4.proto");
    putIpv4(head, 12, ip.src, "ipv4.src");
    putIpv4(head, 16, ip.dst, "ipv4.dst");
    head.set(options, 20);
    put(head, 10, 2, ip.checksum ?? checksum(sum16(head)), "ipv4.checksum");
    return concat(head, inner, padding);
  },
  read(bytes, at, end) {
    const first = bytes[at] ?? 0;
    const size = (first & 15) * 4;
    if (first >> 4 !== 4 || size < 20 || at + size > end) return undefined;
    const length = u16(bytes, at + 2);
    const fragment = u16(bytes, at + 6);
    const proto = bytes[at + 9] as number;
    // A length that does not hold is kept, and what is there is taken for the packet.
    const whole = length >= size && at + length <= end;
    const inner = whole ? at + length : end;
    const offset = (fragment & 0x1fff) * 8;
    const layer = {
      type: "ipv4",
      src: formatIpv4(bytes, at + 12),
      dst: formatIpv4(bytes, at + 16),
      tos: bytes[at + 1] as number,
      ttl: bytes[at + 8] as number,
      id: u16(bytes, at + 4),
      dontFragment: (fragment & 0x4000) !== 0,
      moreFragments: (fragment & 0x2000) !== 0,
      offset,
      reserved: (fragment & 0x8000) !== 0,
      proto,
      options: bytes.slice(at + 20, at + size),
      length,
      checksum: u16(bytes, at + 10),
      ...(inner < end && { padding: bytes.slice(inner, end) }),
    } as const;
    const next = offset === 0 && proto !== 0 ? byProto(proto) : undefined;
    return { layer, at: at + size, end: inner, next };
  },
};

/** IPv6. */
export const ipv6Protocol: Protocol<"ipv6"> = {
  computed: ["next", "length"],
  write(ip, inner, { next }) {
    const head = new Uint8Array(40);
    const word = 0x60000000 + fits(ip.tclass, 8, "ipv6.tclass") * 0x100000 +
      fits(ip.label, 20, "ipv6.label");
    put(head, 0, 4, word, "ipv6");
    put(head, 4, 2, ip.length ?? inner.length, "ipv6.length");
    put(head, 6, 1, ip.next ?? protoOf(next) ?? NO_NEXT, "ipv6.next");
    put(head, 7, 1, ip.hlimit, "ipv6.hlimit");
    putIpv6(head, 8, ip.src, "ipv6.src");
    putIpv6(head, 24, ip.dst, "ipv6.dst");
    return concat(head, inner, ip.padding ?? none);
  },
  read(bytes, at, end) {
    if (at + 40 > end || (bytes[at] as number) >> 4 !== 6) return undefined;
    const word = u32(bytes, at);
    const length = u16(bytes, at + 4);
    const next = bytes[at + 6] as number;
    const inner = at + 40 + length <= end ? at + 40 + length : end;
    const layer = {
      type: "ipv6",
      src: formatIpv6(bytes, at + 8),
      dst: formatIpv6(bytes, at + 24),
      tclass: word >>> 20 & 255,
      label: word & 0xfffff,
      hlimit: bytes[at + 7] as number,
      next,
      length,
      ...(inner < end && { padding: bytes.slice(inner, end) }),
    } as const;
    return { layer, at: at + 40, end: inner, next: byProto(next) };
  },
};

/** Fragments of IPv6. */
export const ipv6FragmentProtocol: Protocol<"ipv6Fragment"> = {
  computed: ["next"],
  write({ offset, moreFragments, id, next: proto }, inner, { next }) {
    if (offset % 8 !== 0) {
      throw new RangeError("ipv6Fragment.offset must be a multiple of 8");
    }
    const head = new Uint8Array(8);
    put(head, 0, 1, proto ?? protoOf(next) ?? NO_NEXT, "ipv6Fragment.next");
    put(head, 2, 2, offset + (moreFragments ? 1 : 0), "ipv6Fragment.offset");
    put(head, 4, 4, id, "ipv6Fragment.id");
    return concat(head, inner);
  },
  read(bytes, at, end) {
    if (at + 8 > end) return undefined;
    const next = bytes[at] as number;
    const word = u16(bytes, at + 2);
    const layer = {
      type: "ipv6Fragment",
      offset: word & 0xfff8,
      moreFragments: (word & 1) !== 0,
      id: u32(bytes, at + 4),
      next,
    } as const;
    return {
      layer,
      at: at + 8,
      end,
      next: layer.offset === 0 ? byProto(next) : undefined,
    };
  },
};

/** Other extension headers. */
export const ipv6ExtensionProtocol: Protocol<"ipv6Extension"> = {
  computed: ["next"],
  write({ data, next: proto }, inner, { next }) {
    if (data.length % 8 !== 6 || data.length > 2046) {
      throw new RangeError(
        "ipv6Extension.data must have 6 bytes and a multiple of 8 more",
      );
    }
    const head = new Uint8Array(2);
    put(head, 0, 1, proto ?? protoOf(next) ?? NO_NEXT, "ipv6Extension.next");
    head[1] = (data.length - 6) / 8;
    return concat(head, data, inner);
  },
  read(bytes, at, end, outer) {
    const size = 8 + 8 * (bytes[at + 1] ?? 0);
    if (at + size > end) return undefined;
    const before = outer.at(-1);
    const header = before?.type === "ipv6" || before?.type === "ipv6Extension" ||
        before?.type === "ipv6Fragment"
      ? before.next ?? 0
      : 0;
    const next = bytes[at] as number;
    const data = bytes.slice(at + 2, at + size);
    const layer = { type: "ipv6Extension", header, data, next } as const;
    return { layer, at: at + size, end, next: byProto(next) };
  },
};

/** Whether a packet above these layers is part of another, so that its checksum covers more. */
export function isFragment(outer: readonly Layer[]): boolean {
  const at = outer.findLastIndex(({ type }) => type === "ipv4" || type === "ipv6");
  return outer.slice(Math.max(at, 0)).some((layer) =>
    (layer.type === "ipv4" || layer.type === "ipv6Fragment") &&
    (layer.moreFragments || layer.offset > 0)
  );
}

/** Sum of the pseudo header of `size` bytes of `proto` in the packet that `outer` ends with. */
export function pseudoSum(outer: readonly Layer[], proto: number, size: number): number {
  const ip = outer.findLast(({ type }) => type === "ipv4" || type === "ipv6");
  if (ip?.type === "ipv4") {
    const addresses = new Uint8Array(8);
    putIpv4(addresses, 0, ip.src, "ipv4.src");
    putIpv4(addresses, 4, ip.dst, "ipv4.dst");
    return sum16(addresses) + proto + size;
  }
  if (ip?.type !== "ipv6") return 0;
  const addresses = new Uint8Array(32);
  putIpv6(addresses, 0, ip.src, "ipv6.src");
  putIpv6(addresses, 16, ip.dst, "ipv6.dst");
  return sum16(addresses) + proto + size;
}
