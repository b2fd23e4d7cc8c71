// SPDX-License-Identifier: Apache-2.0
/**
 * Frames of every kind of header, for the tests of frames and their judges.
 *
 * @module
 */
import {
  arp,
  dhcp,
  dns,
  ethernet,
  fromHex,
  geneve,
  gre,
  icmp,
  icmpv6,
  ipv4,
  ipv6,
  ipv6Extension,
  ipv6Fragment,
  type Layer,
  mpls,
  neighbour,
  payload,
  sctp,
  tcp,
  udp,
  vlan,
  vxlan,
} from "../../frames/mod.ts";

/** Two addresses, and headers between them. */
export const a = "02:00:00:00:00:01";
export const b = "02:00:00:00:00:02";
export const link = ethernet({ src: a, dst: b });
export const v4 = ipv4({ src: "10.0.0.1", dst: "10.0.0.2" });
export const v6 = ipv6({ src: "fd00::1", dst: "fd00::2" });

/** A chunk of SCTP with four bytes of data. */
const dataChunk = fromHex("0003 0014 00000001 0000 0000 00000000 61626364");

/** One list of layers for each kind of header. */
export const kinds: readonly (readonly Layer[])[] = [
  [link, v4, udp({ src: 1000, dst: 2000 }), payload("hello")],
  [link, v6, udp({ src: 1000, dst: 2000 }), payload("odd")],
  [link, v4, tcp({ src: 1, dst: 2, flags: 2, options: fromHex("020405b4") })],
  [link, v6, tcp({ src: 1, dst: 2, seq: 5, ack: 6 }), payload(100)],
  [link, v4, sctp({ src: 1, dst: 2, tag: 7 }), payload(dataChunk)],
  [link, v4, icmp({ id: 7, sequence: 1 }), payload(56)],
  [link, v6, icmpv6({ id: 7, sequence: 1 }), payload(56)],
  [link, v6, neighbour({ target: "fd00::2", sll: a })],
  [link, v6, neighbour({ kind: 136, target: "fd00::2", flags: 0x60000000, tll: a })],
  [link, arp({ sha: a, sip: "10.0.0.1", tip: "10.0.0.2", padding: new Uint8Array(18) })],
  [link, vlan({ vid: 5, pcp: 3, dei: 1 }), v4, udp({ src: 1, dst: 2 })],
  [link, vlan({ tpid: 0x88a8, vid: 5 }), vlan({ vid: 6 }), v6, udp({ src: 1, dst: 2 })],
  [link, mpls({ label: 5 }), mpls({ label: 6 }), v4, udp({ src: 1, dst: 2 })],
  [link, ipv4({ ...v4, offset: 1480, moreFragments: true, id: 9 }), payload(8)],
  [link, v6, ipv6Fragment({ id: 3, offset: 8 }), payload(8)],
  [
    link,
    v6,
    ipv6Extension({ header: 60, data: new Uint8Array(6) }),
    udp({ src: 1, dst: 2 }),
  ],
  [link, v4, udp(), vxlan({ vni: 5 }), link, v6, tcp({ src: 1, dst: 2 }), payload("in")],
  [
    link,
    v6,
    udp({ src: 50000 }),
    geneve({ vni: 5, options: [{ class: 0x102, kind: 3, data: new Uint8Array(8) }] }),
    link,
    v4,
    icmp(),
  ],
  [link, v4, gre({ key: 5, sequence: 6, checksum: true }), v4, udp({ src: 1, dst: 2 })],
  [link, v4, gre(), link, arp()],
  [
    link,
    v4,
    udp(),
    dhcp({
      chaddr: a,
      xid: 0x12345678,
      message: "discover",
      hostName: "lab",
      parameters: [1, 3, 6],
      others: [{ code: 60, data: new TextEncoder().encode("upcall") }],
    }),
  ],
  [
    link,
    v4,
    udp(),
    dns({
      id: 5,
      response: true,
      questions: [{ name: "www.example.org", type: "A" }],
      answers: [
        { name: "www.example.org", type: "CNAME", ttl: 60, data: "example.org" },
        { name: "example.org", type: "A", ttl: 60, data: "192.0.2.1" },
        { name: "example.org", type: "AAAA", ttl: 60, data: "2001:db8::1" },
        { name: "example.org", type: "TXT", ttl: 60, data: "hello" },
        { name: "", type: 41, class: 4096, ttl: 0, data: new Uint8Array() },
      ],
    }),
  ],
  [ethernet({ etherType: 0x88b5 }), payload("whatever")],
];
