// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import type { FlowKey, FlowKeyInit, FlowMask } from "../types.ts";
import {
  any,
  decodeKey,
  decodeMask,
  encodeKey,
  encodeMask,
  exact,
  formatKey,
  keyView,
  knownTo,
  normalize,
  parseKeyBytes,
} from "./mod.ts";
import { maskedEqual } from "./match.ts";
import { toKeyAndMaskBytes, toKeyBytes } from "./input.ts";
import { meantForLinux } from "./normalize.ts";

const ethernet = { src: "02:00:00:00:00:01", dst: "02:00:00:00:00:02" };
const ipv4 = {
  src: "10.0.0.1",
  dst: "10.0.0.2",
  proto: 6,
  tos: 0,
  ttl: 64,
  frag: "no",
} as const;
const tcp: FlowKey = {
  recircId: 0,
  inPort: 1,
  ethernet,
  etherType: 0x0800,
  ipv4,
  tcp: { src: 1000, dst: 80 },
  tcpFlags: 2,
};
const tagged: FlowKey = { ...tcp, vlans: [{ tpid: 0x8100, vid: 5, pcp: 0, cfi: 1 }] };
const arp: FlowKey = {
  recircId: 0,
  inPort: 1,
  ethernet,
  etherType: 0x0806,
  arp: { sip: "1.1.1.1", tip: "2.2.2.2", op: 1, sha: ethernet.src, tha: ethernet.dst },
};

/** What a flow of an upcall's key matches, as text. */
function flow(key: FlowKey, mask: FlowMask): string {
  return formatKey(toKeyAndMaskBytes(keyView(encodeKey(key)), mask));
}

Deno.test("masks survive the way to bytes and back", () => {
  const mask: FlowMask = {
    recircId: 0xffffffff,
    inPort: 0xffffffff,
    ctState: 0x21,
    ctLabels: 0xffn,
    tunnel: { id: 0xffn, dst: "255.255.255.0", checksum: true },
    ethernet: { src: "ff:00:00:00:00:00", dst: "00:00:00:00:00:00" },
    etherType: 0xffff,
    ipv4: { src: "255.0.0.0", dst: "0.0.0.0", proto: 255, tos: 3, ttl: 0, frag: 255 },
    tcp: { src: 0xff00, dst: 0xffff },
    tcpFlags: 0xfff,
  };
  assert.deepEqual(decodeMask(encodeMask(mask)), mask);
});

Deno.test("true stands for all bits that a field has", () => {
  const mask = decodeMask(encodeMask({ ipv6: true, tcpFlags: true, arp: true }));
  assert.deepEqual(mask.ipv6, {
    src: "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    dst: "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    // The kernel refuses a mask of more than the 20 bits of a label.
    label: 0xfffff,
    proto: 255,
    tclass: 255,
    hlimit: 255,
    frag: 255,
  });
  assert.equal(mask.tcpFlags, 0xfff);
  const bytes = encodeMask({ arp: true });
  assert.deepEqual(bytes.subarray(-2), Uint8Array.of(0, 0), "padding is not masked");
  assert.deepEqual(any(), {});
});

Deno.test("a mask takes the shape of its key", () => {
  const mask = { mpls: true, etherType: true } as const;
  const label = { label: 1, tc: 0, ttl: 64, bos: 0 };
  const key: FlowKey = { etherType: 0x8847, mpls: [label, { ...label, bos: 1 }] };
  assert.equal((decodeMask(encodeMask(mask, key)).mpls as unknown[]).length, 2);
  const inner = decodeMask(encodeMask({ ipv4: { proto: true } }, tagged), tagged);
  assert.equal((inner.vlans as unknown[]).length, 1);
  assert.equal((inner.ipv4 as { proto: number }).proto, 255);
});

Deno.test("all of a tunnel key includes what is absent because it is zero", () => {
  const key: FlowKey = { tunnel: { id: 1n, src: "1.1.1.1", dst: "2.2.2.2", ttl: 64 } };
  const { tunnel } = decodeMask(encodeMask(exact("tunnel"), key)) as { tunnel: object };
  for (const name of ["tos", "srcPort", "dstPort", "dontFragment", "checksum", "oam"]) {
    assert.ok(name in tunnel, name);
  }
});

Deno.test("masks of Geneve options keep the lengths of the options", () => {
  const key: FlowKey = {
    tunnel: {
      dst: "2.2.2.2",
      ttl: 64,
      geneve: [
        { class: 1, type: 2, data: Uint8Array.of(1, 2, 3, 4) },
        { class: 3, type: 4, data: new Uint8Array(8) },
      ],
    },
  };
  const bytes = encodeMask(exact("tunnel"), key);
  const mask = decodeMask(bytes, key) as { tunnel: { geneve: { data: Uint8Array }[] } };
  assert.deepEqual(mask.tunnel.geneve.map(({ data }) => data.length), [4, 8]);
  assert.deepEqual(encodeMask(mask as FlowMask, key), bytes);
});

Deno.test("prerequisites are masked with what needs them", () => {
  assert.equal(
    flow(tcp, exact("inPort", "tcp")),
    "in_port(1),eth(),eth_type(0x0800),ipv4(proto=6),tcp(src=1000,dst=80)",
  );
  assert.equal(
    flow(tcp, { ipv4: { dst: "255.255.255.0" } }),
    "eth(),eth_type(0x0800),ipv4(dst=10.0.0.2/255.255.255.0)",
  );
});

Deno.test("a field that a packet lacks must be absent: what says so is masked", () => {
  assert.equal(
    flow(tcp, exact("udp")),
    "eth(),eth_type(0x0800),ipv4(proto=6,frag=no)",
  );
  assert.equal(
    flow(arp, exact("inPort", "ipv4", "tcp")),
    "in_port(1),eth(),eth_type(0x0806)",
  );
  const later: FlowKey = { ...tcp, ipv4: { ...ipv4, frag: "later" } };
  const { tcp: _, tcpFlags: __, ...fragment } = later;
  assert.equal(
    flow(fragment as FlowKey, exact("tcp")),
    "eth(),eth_type(0x0800),ipv4(proto=6,frag=later)",
  );
});

Deno.test("metadata that is masked but absent is added as zero", () => {
  const { key, mask } = toKeyAndMaskBytes(
    keyView(encodeKey(arp)),
    exact("ctState", "arp"),
  );
  assert.equal(decodeKey(key).ctState, 0);
  assert.equal(decodeMask(mask ?? new Uint8Array()).ctState, 0xffffffff);
});

Deno.test("the presence of a tag always matters", () => {
  assert.equal(
    flow(tagged, exact("inPort")),
    "in_port(1),eth(),eth_type(0x8100),vlan(vid=5/0x0),encap(eth_type(0x0800))",
  );
  const { mask } = toKeyAndMaskBytes(tagged, exact("inPort", "vlans", "ipv4"));
  assert.deepEqual(decodeMask(mask ?? new Uint8Array()).vlans, [
    { tpid: 0xffff, vid: 0xfff, pcp: 7, cfi: 1 },
  ]);
});

Deno.test("bytes of exact masks are kept by shape, not by value", () => {
  const mask = exact("inPort", "ethernet", "ipv4");
  const of = (key: FlowKey) => toKeyAndMaskBytes(keyView(encodeKey(key)), mask).mask;
  assert.equal(of(tcp), of({ ...tcp, inPort: 9 }));
  assert.notDeepEqual(of(tcp), of(tagged));
  assert.notDeepEqual(of(tcp), of(arp));
  for (const key of [tcp, tagged, arp]) {
    const view = toKeyAndMaskBytes(keyView(encodeKey(key)), mask);
    const again = toKeyAndMaskBytes(keyView(encodeKey(key)), { ...mask });
    assert.deepEqual(view, again);
    assert.deepEqual(view.key, encodeKey(key));
  }
});

Deno.test("hand-made keys get what both datapaths want to see", () => {
  const { key } = toKeyAndMaskBytes({ inPort: 1, etherType: 0x0800 }, exact("inPort"));
  assert.deepEqual(decodeKey(key), {
    inPort: 1,
    ethernet: { src: "00:00:00:00:00:00", dst: "00:00:00:00:00:00" },
    etherType: 0x0800,
    ipv4: { src: "0.0.0.0", dst: "0.0.0.0", proto: 0, tos: 0, ttl: 0, frag: "no" },
  });
  const text = "recirc_id(0),in_port(1),eth_type(0x0806)";
  assert.equal(
    formatKey(toKeyAndMaskBytes(text)),
    "recirc_id(0),in_port(1),eth(),eth_type(0x0806)",
  );
  assert.ok("arp" in decodeKey(toKeyBytes(text)));
  const l4 = decodeKey(toKeyBytes({ etherType: 0x0800, ipv4: { proto: 6 } }));
  assert.ok("tcp" in l4 && "tcpFlags" in l4);
  const nd = decodeKey(toKeyBytes({
    etherType: 0x86dd,
    ipv6: { proto: 58 },
    icmpv6: { type: 136, code: 0 },
  }));
  assert.ok("nd" in nd);
  // Packets without an Ethernet header say so.
  const l3 = decodeKey(
    toKeyBytes("in_port(1),packet_type(ns=1,id=0x800),eth_type(0x0800)"),
  );
  assert.equal(l3.ethernet, undefined);
});

Deno.test("a key that needs nothing takes the short way to the same bytes", () => {
  const mask = exact("inPort", "ethernet", "ipv4", "tcp");
  const { tcpFlags: _, ...incomplete } = tcp;
  for (const key of [tcp, tagged, arp, incomplete as FlowKey, { inPort: 1 }]) {
    // A copy is no exact mask any more, so its bytes are made the long way.
    assert.deepEqual(toKeyAndMaskBytes(key, mask), toKeyAndMaskBytes(key, { ...mask }));
    assert.deepEqual(toKeyAndMaskBytes(key, mask), toKeyAndMaskBytes(key, { ...mask }));
  }
});

Deno.test("completing a key again changes nothing", () => {
  for (const key of [tcp, tagged, arp]) {
    const once = normalize(encodeKey(key), encodeMask(exact("inPort", "tcp"), key));
    assert.deepEqual(normalize(once.key, once.mask), once);
  }
});

Deno.test("frames of 802.2 have no EtherType in the key, only in the mask", () => {
  const flow = toKeyAndMaskBytes("in_port(1),eth(),eth_type(0/0xffff)");
  assert.equal(decodeKey(flow.key).etherType, undefined);
  assert.equal(formatKey(flow), "in_port(1),eth(),eth_type(0/0xffff)");
});

Deno.test("what a packet without an EtherType must say so, what is cut in its tag nothing", () => {
  const exactly = (text: string, mask: FlowMask) => flow(decodeKey(bytes(text)), mask);
  const bytes = (text: string) => parseKeyBytes(text).key;
  const mask = exact("inPort");
  assert.equal(
    exactly("in_port(1),eth()", mask),
    "in_port(1),eth(),eth_type(0/0xffff)",
  );
  assert.equal(
    exactly("in_port(1),eth(),eth_type(0x8100),vlan(vid=5),encap()", mask),
    "in_port(1),eth(),eth_type(0x8100),vlan(vid=5/0x0),encap(eth_type(0/0xffff))",
  );
  // The mask that is kept for the one above is not for this one, whose shape is the same.
  assert.equal(
    exactly("in_port(1),eth(),eth_type(0x8100),vlan(vid=0,cfi=0),encap()", mask),
    "in_port(1),eth(),eth_type(0x8100),vlan(cfi=0),encap()",
  );
  assert.equal(
    exactly(
      "in_port(1),eth(),eth_type(0x8100),vlan(vid=0,cfi=0),encap()",
      exact("inPort", "etherType"),
    ),
    "in_port(1),eth(),eth_type(0x8100),vlan(cfi=0),encap()",
  );
});

Deno.test("views and bytes are given back as they are", () => {
  const bytes = encodeKey(tcp);
  const mask = encodeMask(exact("inPort"));
  assert.equal(toKeyBytes(bytes), bytes);
  assert.equal(toKeyBytes(keyView(bytes)), bytes);
  assert.deepEqual(toKeyAndMaskBytes(bytes, mask), { key: bytes, mask });
  assert.equal(toKeyAndMaskBytes(keyView(bytes), mask).mask, mask);
  assert.deepEqual(toKeyAndMaskBytes(keyView(bytes)), { key: bytes, mask: undefined });
});

Deno.test("what one datapath does not know is left out for it", () => {
  const text = "in_port(1),packet_type(ns=0,id=0),eth(),eth_type(0x86dd)";
  const { key } = parseKeyBytes(text);
  assert.equal(decodeKey(knownTo("kernel", key)).packetType, undefined);
  assert.equal(knownTo("netdev", key), key);
  const exthdrs = encodeKey({ inPort: 1, ipv6Exthdrs: 1, ethernet });
  assert.equal(decodeKey(knownTo("netdev", exthdrs)).ipv6Exthdrs, undefined);
});

Deno.test("a mask that says nothing sensible is refused", () => {
  assert.throws(() => exact("port" as never), /no field "port"/);
  assert.throws(
    () => encodeMask({ ipv4: { source: true } } as never),
    /no field "source"/,
  );
  assert.throws(() => encodeMask({ inPort: -1 }), RangeError);
  assert.throws(() => encodeMask({ ethernet: 5 } as never), TypeError);
});

Deno.test("keys are equal under a mask when all of its bits agree", () => {
  const bytes = (key: FlowKey) => encodeKey(key);
  const same = (a: FlowKey, b: FlowKey, mask: FlowMask) =>
    maskedEqual(bytes(a), bytes(b), encodeMask(mask, a));
  const other: FlowKey = { ...tcp, ipv4: { ...ipv4, dst: "10.0.0.77" } };
  assert.ok(same(tcp, other, any()));
  assert.ok(same(tcp, other, { ipv4: { dst: "255.255.255.0" } }));
  assert.ok(!same(tcp, other, { ipv4: { dst: "0.0.0.64" } }));
  assert.ok(!same(tcp, arp, exact("etherType")));
  assert.ok(!same(tcp, arp, exact("tcp")), "only one has ports");
  assert.ok(!same(tcp, tagged, any()), "only one has a tag");
  assert.ok(same(tagged, { ...tagged, inPort: 7 }, exact("vlans", "tcp")));
  const retagged = { ...tagged, vlans: [{ tpid: 0x8100, vid: 6, pcp: 0, cfi: 1 }] };
  assert.ok(!same(tagged, retagged, exact("vlans")));
  assert.ok(same(tagged, retagged, { vlans: [{ vid: 0xffc }] } as FlowMask));
  const tunnel: FlowKey = { tunnel: { id: 1n, dst: "1.1.1.1", ttl: 64 } };
  const flagged: FlowKey = {
    tunnel: { id: 1n, dst: "1.1.1.1", ttl: 64, checksum: true },
  };
  assert.ok(same(tunnel, flagged, { tunnel: { id: true, dst: true } }));
  assert.ok(!same(tunnel, flagged, { tunnel: { checksum: true } }));
  assert.ok(!same(tunnel, flagged, exact("tunnel")));
});

Deno.test("without a mask it is what a plain key names that matters, in whole and in parts", () => {
  const cases: readonly [key: FlowKeyInit, text: string][] = [
    [{ inPort: 1 }, "in_port(1),eth()"],
    [
      { inPort: 1, etherType: 0x0800, ipv4: { dst: "10.0.0.1" } },
      "in_port(1),eth(),eth_type(0x0800),ipv4(dst=10.0.0.1)",
    ],
    [
      { etherType: 0x0800, ipv4: { proto: 6 }, tcp: { dst: 80 } },
      "eth(),eth_type(0x0800),ipv4(proto=6),tcp(dst=80)",
    ],
    [
      { vlans: [{ vid: 5 }], etherType: 0x0806, arp: { op: 1 } },
      "eth(),eth_type(0x8100),vlan(vid=5),encap(eth_type(0x0806),arp(op=1))",
    ],
    [
      { etherType: 0x8847, mpls: [{ label: 5, bos: 1 }] },
      "eth(),eth_type(0x8847),mpls(label=5/0xfffff,tc=0/0,ttl=0/0x0,bos=1/1)",
    ],
    [
      { etherType: 0x894f, nsh: { mdtype: 1, spi: 5 } },
      "eth(),eth_type(0x894f),nsh(mdtype=1,spi=0x5)",
    ],
    [
      {
        tunnel: { dst: "1.1.1.1", ttl: 64, vxlanGbp: { id: 5, flags: 0 } },
        ctState: 0x21,
      },
      "tunnel(dst=1.1.1.1,ttl=64,vxlan(gbp(id=5,flags=0)),flags()),ct_state(0x21),eth()",
    ],
  ];
  for (const [key, text] of cases) {
    const { key: bytes, mask } = toKeyAndMaskBytes(key);
    if (key.tunnel === undefined) assert.equal(formatKey({ key: bytes, mask }), text);
    const names = Object.keys(key).map((name) => [name, true]);
    const all = toKeyAndMaskBytes(key, Object.fromEntries(names) as FlowMask);
    if (key.tunnel === undefined) assert.deepEqual(all.mask, mask, "true says the same");
    const found = decodeMask(mask as Uint8Array, bytes);
    for (const name of ["ipv6", "udp", "skbMark"] as const) {
      assert.equal(found[name], undefined);
    }
  }
  const { key, mask } = toKeyAndMaskBytes({
    tunnel: { dst: "1.1.1.1", vxlanGbp: { id: 5, flags: 0 } },
  });
  assert.deepEqual(decodeMask(mask as Uint8Array, key).tunnel, {
    dst: "255.255.255.255",
    // It is added, for datapaths want to see one, and does not matter.
    ttl: 0,
    vxlanGbp: { id: 0xffff, flags: 0xff },
  });
});

Deno.test("a view without a mask is matched in all that it has, a text in what it says", () => {
  assert.equal(toKeyAndMaskBytes(keyView(encodeKey({ inPort: 1 }))).mask, undefined);
  const text = "in_port(1),eth_type(0x0800),ipv4(dst=10.0.0.0/255.0.0.0)";
  const own = toKeyAndMaskBytes(text);
  const named = toKeyAndMaskBytes(text, exact("inPort", "etherType", "ipv4"));
  assert.deepEqual(named, own);
});

Deno.test("parts of what matters in whole are left for the datapath to refuse", () => {
  const part = (text: string) => {
    const { key, mask } = toKeyAndMaskBytes(text);
    return formatKey({ key, mask });
  };
  const asked = [
    "in_port(1/0xff),eth()",
    "eth(),eth_type(0x0800/0x00ff),ipv4(frag=no)",
    "eth(),eth_type(0x0800),ipv4(proto=6/0xf),tcp(dst=80)",
    "eth(),eth_type(0x8100/0xff00),vlan(vid=5),encap(eth_type(0x0806))",
  ];
  for (const text of asked) assert.equal(part(text), text);
  assert.equal(part("in_port(1/0),eth(),eth_type(0x0806/0)"), "eth()");
  const mask = (text: string) => meantForLinux(parseKeyBytes(text).mask);
  assert.equal(mask("in_port(1/0xff)").part, "in_port");
  assert.equal(
    mask("eth_type(0x8100),vlan(),encap(eth_type(0x0800/1))").part,
    "eth_type",
  );
  const wild = mask("in_port(1/0),eth_type(0x0806)");
  assert.equal(wild.part, undefined);
  assert.deepEqual(wild.mask, parseKeyBytes("eth_type(0x0806)").mask);
});
