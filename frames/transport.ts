// SPDX-License-Identifier: Apache-2.0
/**
 * TCP, UDP, SCTP, ICMP and ICMPv6.
 *
 * @module
 */
import { checksum, concat, crc32c, formatIpv6, formatMac, put } from "./bytes.ts";
import { putIpv6, putMac, sum16, u16, u32 } from "./bytes.ts";
import type { Layer, LayerType, NdOption, NeighbourDiscovery } from "./layers.ts";
import { isFragment, pseudoSum } from "./network.ts";
import type { Protocol } from "./protocol.ts";

const none = new Uint8Array();

/** Ports that tell what a datagram carries; of a request, from the client's side. */
const VXLAN = 4789;
const GENEVE = 6081;
const DNS = 53;
const DHCP_SERVER = 67;
const DHCP_CLIENT = 68;

/** Ports of a datagram by what it carries. */
function usualPorts(next: Layer | undefined): readonly [src: number, dst: number] {
  switch (next?.type) {
    case "vxlan":
      return [0, VXLAN];
    case "geneve":
      return [0, GENEVE];
    case "dns":
      return next.response ? [DNS, 0] : [0, DNS];
    case "dhcp":
      return next.op === 1 ? [DHCP_CLIENT, DHCP_SERVER] : [DHCP_SERVER, DHCP_CLIENT];
    default:
      return [0, 0];
  }
}

/** What a datagram carries, by its ports. */
function carried(src: number, dst: number): LayerType | undefined {
  if (dst === VXLAN) return "vxlan";
  if (dst === GENEVE) return "geneve";
  if (src === DNS || dst === DNS) return "dns";
  const isDhcp = (port: number) => port === DHCP_CLIENT || port === DHCP_SERVER;
  return isDhcp(src) && isDhcp(dst) ? "dhcp" : undefined;
}

/** UDP. The checksum of a fragment is 0 unless one is given: it covers what others carry. */
export const udpProtocol: Protocol<"udp"> = {
  computed: ["length", "checksum"],
  write(udp, inner, { next, outer }) {
    const [src, dst] = usualPorts(next);
    const head = new Uint8Array(8);
    put(head, 0, 2, udp.src || src, "udp.src");
    put(head, 2, 2, udp.dst || dst, "udp.dst");
    const size = 8 + inner.length;
    put(head, 4, 2, udp.length ?? size, "udp.length");
    const sum = () =>
      checksum(pseudoSum(outer, 17, size), sum16(head), sum16(inner)) || 0xffff;
    put(head, 6, 2, udp.checksum ?? (isFragment(outer) ? 0 : sum()), "udp.checksum");
    return concat(head, inner);
  },
  read(bytes, at, end) {
    if (at + 8 > end) return undefined;
    const src = u16(bytes, at);
    const dst = u16(bytes, at + 2);
    const length = u16(bytes, at + 4);
    const layer = {
      type: "udp",
      src,
      dst,
      length,
      checksum: u16(bytes, at + 6),
    } as const;
    return { layer, at: at + 8, end, next: carried(src, dst) };
  },
};

/** TCP. */
export const tcpProtocol: Protocol<"tcp"> = {
  computed: ["checksum", "options"],
  write(tcp, inner, { outer }) {
    const { options = none } = tcp;
    if (options.length % 4 !== 0 || options.length > 40) {
      throw new RangeError("tcp.options must be a multiple of 4 bytes up to 40");
    }
    const size = 20 + options.length;
    const head = new Uint8Array(size);
    put(head, 0, 2, tcp.src, "tcp.src");
    put(head, 2, 2, tcp.dst, "tcp.dst");
    put(head, 4, 4, tcp.seq, "tcp.seq");
    put(head, 8, 4, tcp.ack, "tcp.ack");
    if (tcp.flags > 0xfff) {
      throw new RangeError("tcp.flags must be an integer of 12 bits");
    }
    put(head, 12, 2, size / 4 << 12 | tcp.flags, "tcp.flags");
    put(head, 14, 2, tcp.window, "tcp.window");
    put(head, 18, 2, tcp.urgent, "tcp.urgent");
    head.set(options, 20);
    const sum = () =>
      checksum(pseudoSum(outer, 6, size + inner.length), sum16(head), sum16(inner));
    put(head, 16, 2, tcp.checksum ?? (isFragment(outer) ? 0 : sum()), "tcp.checksum");
    return concat(head, inner);
  },
  read(bytes, at, end) {
    if (at + 20 > end) return undefined;
    const size = ((bytes[at + 12] as number) >> 4) * 4;
    if (size < 20 || at + size > end) return undefined;
    const layer = {
      type: "tcp",
      src: u16(bytes, at),
      dst: u16(bytes, at + 2),
      seq: u32(bytes, at + 4),
      ack: u32(bytes, at + 8),
      flags: u16(bytes, at + 12) & 0xfff,
      window: u16(bytes, at + 14),
      urgent: u16(bytes, at + 18),
      options: bytes.slice(at + 20, at + size),
      checksum: u16(bytes, at + 16),
    } as const;
    return { layer, at: at + size, end };
  },
};

/** SCTP. */
export const sctpProtocol: Protocol<"sctp"> = {
  computed: ["checksum"],
  write(sctp, inner) {
    const head = new Uint8Array(12);
    put(head, 0, 2, sctp.src, "sctp.src");
    put(head, 2, 2, sctp.dst, "sctp.dst");
    put(head, 4, 4, sctp.tag, "sctp.tag");
    // The CRC goes out with its lowest byte first.
    const crc = sctp.checksum === undefined ? crc32c(head, inner) : 0;
    const swapped = Uint8Array.of(crc, crc >>> 8, crc >>> 16, crc >>> 24);
    put(head, 8, 4, sctp.checksum ?? u32(swapped, 0), "sctp.checksum");
    return concat(head, inner);
  },
  read(bytes, at, end) {
    if (at + 12 > end) return undefined;
    const layer = {
      type: "sctp",
      src: u16(bytes, at),
      dst: u16(bytes, at + 2),
      tag: u32(bytes, at + 4),
      checksum: u32(bytes, at + 8),
    } as const;
    return { layer, at: at + 12, end };
  },
};

/** ICMP. */
export const icmpProtocol: Protocol<"icmp"> = {
  computed: ["checksum"],
  write({ kind, code, id, sequence, checksum: given }, inner) {
    const head = new Uint8Array(8);
    put(head, 0, 1, kind, "icmp.kind");
    put(head, 1, 1, code, "icmp.code");
    put(head, 4, 2, id, "icmp.id");
    put(head, 6, 2, sequence, "icmp.sequence");
    put(head, 2, 2, given ?? checksum(sum16(head), sum16(inner)), "icmp.checksum");
    return concat(head, inner);
  },
  read(bytes, at, end) {
    if (at + 8 > end) return undefined;
    const layer = {
      type: "icmp",
      kind: bytes[at] as number,
      code: bytes[at + 1] as number,
      id: u16(bytes, at + 4),
      sequence: u16(bytes, at + 6),
      checksum: u16(bytes, at + 2),
    } as const;
    return { layer, at: at + 8, end };
  },
};

/** Kinds of the options that have a link-layer address. */
const SLL = 1;
const TLL = 2;

function linkOption(kind: number, address: string | undefined): Uint8Array {
  if (address === undefined) return none;
  const option = Uint8Array.of(kind, 1, 0, 0, 0, 0, 0, 0);
  putMac(option, 2, address, kind === SLL ? "nd.sll" : "nd.tll");
  return option;
}

function writeNd({ target, sll, tll, options = [] }: NeighbourDiscovery): Uint8Array {
  const head = new Uint8Array(16);
  putIpv6(head, 0, target, "nd.target");
  const others = options.map(({ kind, data }) => {
    if (data.length % 8 !== 6 || data.length > 2038) {
      throw new RangeError("nd.options need 6 bytes and a multiple of 8 more");
    }
    return concat(Uint8Array.of(kind, (data.length + 2) / 8), data);
  });
  return concat(head, linkOption(SLL, sll), linkOption(TLL, tll), ...others);
}

/** Neighbour discovery behind the first 8 bytes; undefined where its options do not fit. */
function readNd(
  bytes: Uint8Array,
  at: number,
  end: number,
): NeighbourDiscovery | undefined {
  if (at + 24 > end) return undefined;
  const links: { sll?: string; tll?: string } = {};
  const options: NdOption[] = [];
  for (let from = at + 24; from < end;) {
    const kind = bytes[from] as number;
    const size = 8 * (bytes[from + 1] ?? 0);
    if (size === 0 || from + size > end) return undefined;
    const first = options.length === 0 && size === 8;
    if (first && kind === SLL && links.sll === undefined && links.tll === undefined) {
      links.sll = formatMac(bytes, from + 2);
    } else if (first && kind === TLL && links.tll === undefined) {
      links.tll = formatMac(bytes, from + 2);
    } else {
      options.push({ kind, data: bytes.slice(from + 2, from + size) });
    }
    from += size;
  }
  return {
    target: formatIpv6(bytes, at + 8),
    flags: u32(bytes, at + 4),
    ...links,
    ...(options.length > 0 && { options }),
  };
}

/** ICMPv6, with neighbour discovery. */
export const icmpv6Protocol: Protocol<"icmpv6"> = {
  computed: ["checksum"],
  write({ kind, code, id, sequence, nd, checksum: given }, inner, { outer }) {
    const head = new Uint8Array(8);
    put(head, 0, 1, kind, "icmpv6.kind");
    put(head, 1, 1, code, "icmpv6.code");
    put(head, 4, 2, id, "icmpv6.id");
    put(head, 6, 2, sequence, "icmpv6.sequence");
    if (nd !== undefined) put(head, 4, 4, nd.flags, "nd.flags");
    const body = nd === undefined ? inner : concat(writeNd(nd), inner);
    const sum = () =>
      checksum(pseudoSum(outer, 58, 8 + body.length), sum16(head), sum16(body));
    put(head, 2, 2, given ?? (isFragment(outer) ? 0 : sum()), "icmpv6.checksum");
    return concat(head, body);
  },
  read(bytes, at, end) {
    if (at + 8 > end) return undefined;
    const kind = bytes[at] as number;
    const nd = kind === 135 || kind === 136 ? readNd(bytes, at, end) : undefined;
    const layer = {
      type: "icmpv6",
      kind,
      code: bytes[at + 1] as number,
      id: nd === undefined ? u16(bytes, at + 4) : 0,
      sequence: nd === undefined ? u16(bytes, at + 6) : 0,
      ...(nd !== undefined && { nd }),
      checksum: u16(bytes, at + 2),
    } as const;
    return { layer, at: nd === undefined ? at + 8 : end, end };
  },
};
