// SPDX-License-Identifier: Apache-2.0
/**
 * Frames that have a key: the way back of extraction, for packets at random.
 *
 * @module
 */
import type { FlowKey } from "../../providers/types.ts";
import { be16, be32, bytes, ip4, ip6 } from "../support/frames.ts";

const flags = { no: 0, first: 0x2000, later: 0x0010 } as const;

function transport(key: FlowKey): Uint8Array {
  const { tcp, udp, sctp, icmp, icmpv6, nd } = key;
  if (tcp !== undefined) {
    const word = 0x5000 | (key.tcpFlags ?? 0);
    return bytes(
      be16(tcp.src),
      be16(tcp.dst),
      be32(1),
      be32(1),
      be16(word),
      be16(1),
      be32(0),
    );
  }
  if (udp !== undefined) return bytes(be16(udp.src), be16(udp.dst), be16(8), be16(0));
  if (sctp !== undefined) {
    return bytes(be16(sctp.src), be16(sctp.dst), be32(1), be32(0));
  }
  const message = icmp ?? icmpv6;
  if (message === undefined) return new Uint8Array(8);
  const head = bytes(message.type, message.code, be16(0), be32(0));
  return nd === undefined ? head : bytes(
    head,
    ip6(full(nd.target)),
    "0101",
    nd.sll.replaceAll(":", ""),
    "0201",
    nd.tll.replaceAll(":", ""),
  );
}

/** An address without dots in it. */
function full(address: string): string {
  return address.replace(/(\d+)\.(\d+)\.(\d+)\.(\d+)$/, (_, a, b, c, d) => {
    const word = (x: string, y: string) => (Number(x) << 8 | Number(y)).toString(16);
    return `${word(a, b)}:${word(c, d)}`;
  });
}

function network(key: FlowKey): Uint8Array {
  const { ipv4, ipv6, arp, mpls } = key;
  if (ipv4 !== undefined) {
    const payload = transport(key);
    return bytes(
      0x45,
      ipv4.tos,
      be16(20 + payload.length),
      be16(1),
      be16(flags[ipv4.frag]),
      ipv4.ttl,
      ipv4.proto,
      be16(0),
      ip4(ipv4.src),
      ip4(ipv4.dst),
      payload,
    );
  }
  if (ipv6 !== undefined) {
    const payload = transport(key);
    const isWhole = ipv6.frag === "no";
    const more = ipv6.frag === "first" ? 1 : 0x10 << 3;
    const fragment = isWhole
      ? new Uint8Array()
      : bytes(ipv6.proto, 0, be16(more), be32(7));
    return bytes(
      be32((0x6 << 28 | ipv6.tclass << 20 | ipv6.label) >>> 0),
      be16(fragment.length + payload.length),
      isWhole ? ipv6.proto : 44,
      ipv6.hlimit,
      ip6(full(ipv6.src)),
      ip6(full(ipv6.dst)),
      fragment,
      payload,
    );
  }
  if (arp !== undefined) {
    const mac = (text: string) => text.replaceAll(":", "");
    return bytes(
      "000108000604",
      be16(arp.op),
      mac(arp.sha),
      ip4(arp.sip),
      mac(arp.tha),
      ip4(arp.tip),
    );
  }
  if (mpls !== undefined) {
    return bytes(
      ...mpls.map(({ label, tc, bos, ttl }) =>
        be32((label << 12 | tc << 9 | bos << 8 | ttl) >>> 0)
      ),
      new Uint8Array(16),
    );
  }
  return new Uint8Array(40);
}

/** A frame with about this key: what extraction makes of it is what counts. */
export function frameOf(key: FlowKey): Uint8Array<ArrayBuffer> {
  const { ethernet, vlans = [], etherType = 0x40 } = key;
  const mac = (text = "000000000000") => text.replaceAll(":", "");
  return bytes(
    mac(ethernet?.dst),
    mac(ethernet?.src),
    ...vlans.flatMap(({ tpid, vid, pcp }) => [be16(tpid), be16(pcp << 13 | vid)]),
    be16(etherType),
    network(key),
  );
}
