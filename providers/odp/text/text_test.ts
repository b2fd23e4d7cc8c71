// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { formatIpv6, parseIpv6 } from "../../codec/address.ts";
import {
  encodeKey,
  formatActions,
  formatKey,
  parseActions,
  parseKey,
  parseKeyBytes,
  ufidBytes,
  ufidOf,
  ufidText,
} from "../mod.ts";

/** Parses and prints; the same text comes back unless there is another. */
function roundTrip(text: string, other = text, verbose = false): void {
  const parsed = parseKeyBytes(text);
  assert.equal(formatKey(parsed, { verbose }), other);
}

Deno.test("delimiters between fields are commas and white space", () => {
  roundTrip(
    " in_port(1),,eth()\t,\r\neth_type(0x1234), ",
    "in_port(1),eth(),eth_type(0x1234)",
  );
  assert.deepEqual(parseActions("1,,2 3"), parseActions("1,2,3"));
});

Deno.test("numbers are those of C", () => {
  const { key } = parseKey(
    "skb_mark(0x10),dp_hash(010),skb_priority(10),tcp(src=0,dst=0x50)",
  );
  assert.equal(key.skbMark, 16);
  assert.equal(key.dpHash, 8);
  assert.equal(key.priority, 10);
  assert.deepEqual(key.tcp, { src: 0, dst: 80 });
});

Deno.test("a field that is not given does not matter, one without mask is exact", () => {
  const { key, mask } = parseKey("in_port(1),ipv4(dst=10.0.0.0/255.0.0.0,proto=6)");
  assert.equal(mask.inPort, 0xffffffff);
  assert.deepEqual(mask.ipv4, {
    src: "0.0.0.0",
    dst: "255.0.0.0",
    proto: 255,
    tos: 0,
    ttl: 0,
    frag: 0,
  });
  assert.equal(key.ipv4?.src, "0.0.0.0");
});

Deno.test("what Open vSwitch prints but does not read is read", () => {
  roundTrip("ct_tuple6(src=::1,dst=::2,proto=17,src_port=1,dst_port=2)");
  roundTrip(
    "ct_tuple6(src=::1,dst=::2,proto=17,tp_src=1,tp_dst=2)",
    "ct_tuple6(src=::1,dst=::2,proto=17,src_port=1,dst_port=2)",
  );
  roundTrip("key32(00 00/00 ff)");
  roundTrip("key99(01 02 03)");
  roundTrip("ct_state(est|trk)", "ct_state(est|trk)");
  roundTrip("tcp_flags(syn|ack)");
  roundTrip("eth_type(0x894f),nsh(flags=0,ttl=63,mdtype=1,np=3,spi=0x1,si=255,c1=0x1)");
  for (
    const text of [
      "recirc(0x2b)",
      "hash(l4(0)),hash(sym_l4(5))",
      "push_mpls(label=1,tc=0,ttl=64,bos=1,eth_type=0x8847),pop_mpls(eth_type=0x800)",
      "push_eth(src=02:00:00:00:00:01,dst=02:00:00:00:00:02),pop_eth",
      "dec_ttl(le_1(drop))",
      "set(nsh(spi=0x7,si=3/0xf))",
      "action99(01 02)",
    ]
  ) assert.equal(formatActions(parseActions(text)), text);
});

Deno.test("flags have three forms", () => {
  roundTrip("ct_state(+new-est+trk)");
  roundTrip("ct_state(0x21/0x23)", "ct_state(+new-est+trk)");
  roundTrip("ct_state(0x21)", "ct_state(new|trk)");
  roundTrip("ct_state(0x21/0x23)", "ct_state(0x21/0x23)", true);
  roundTrip("tcp_flags(0/0)", "");
  roundTrip("tcp_flags(0/0)", "tcp_flags(0/0)", true);
  roundTrip("tcp_flags(+syn-[800])");
});

Deno.test("a tunnel's flag key says that there is an id, matched or not", () => {
  const text = "tunnel(dst=2.2.2.2,ttl=64,flags(key))";
  const { key, mask } = parseKey(text);
  assert.deepEqual([key.tunnel?.id, mask.tunnel], [0n, {
    id: 0n,
    dst: "255.255.255.255",
    ttl: 255,
    dontFragment: true,
    checksum: true,
    oam: true,
  }]);
  roundTrip(text);
  roundTrip("tunnel(tun_id=0x5/0xf,dst=2.2.2.2,ttl=64,flags(df|key))");
  roundTrip("tunnel(dst=2.2.2.2,ttl=64,flags(-df))");
});

Deno.test("label stacks: a field that comes again starts the next label", () => {
  const text = "mpls(label=77,tc=1,ttl=64,bos=0,label=78,tc=0,ttl=3,bos=1)";
  assert.equal(parseKey(text).key.mpls?.length, 2);
  roundTrip(text);
  roundTrip(
    "mpls(label=77/0xff,tc=1,ttl=64,bos=1)",
    "mpls(label=77/0xff,tc=1/7,ttl=64/0xff,bos=1/1)",
  );
});

Deno.test("wildcarded fields show with verbose only", () => {
  const text =
    "in_port(1),eth(),eth_type(0x0800),ipv4(proto=6,frag=no),tcp(),tcp_flags(0/0)";
  roundTrip(text, "in_port(1),eth(),eth_type(0x0800),ipv4(proto=6,frag=no)");
  roundTrip(
    text,
    "in_port(1),eth(src=00:00:00:00:00:00/00:00:00:00:00:00," +
      "dst=00:00:00:00:00:00/00:00:00:00:00:00),eth_type(0x0800)," +
      "ipv4(src=0.0.0.0/0.0.0.0,dst=0.0.0.0/0.0.0.0,proto=6,tos=0/0,ttl=0/0,frag=no)," +
      "tcp(src=0/0,dst=0/0),tcp_flags(0/0)",
    true,
  );
});

Deno.test("ports have names where names are known", () => {
  const ports = [{ no: 0, name: "br0" }, { no: 2, name: "eth1" }];
  const { key } = parseKey("in_port(eth1),eth()", { ports });
  assert.equal(key.inPort, 2);
  assert.equal(formatKey({ key }, { ports }).slice(0, 13), "in_port(eth1)");
  assert.deepEqual(parseActions("eth1,br0,7", { ports }), parseActions("2,0,7"));
  assert.equal(formatActions(parseActions("2,0,7"), { ports }), "eth1,br0,7");
  assert.equal(formatActions(parseActions("2"), { ports: new Map([[2, "p2"]]) }), "p2");
  assert.throws(() => parseKey("in_port(eth2)", { ports }), SyntaxError);
});

Deno.test("a flow may begin with its identifier", () => {
  const id = "00010203-0405-0607-0809-0a0b0c0d0e0f";
  const parsed = parseKey(`ufid:${id},in_port(1)`);
  assert.equal(parsed.ufid, id);
  assert.equal(ufidText(ufidBytes(id)), id);
  assert.throws(() => parseKey("ufid:12,in_port(1)"), SyntaxError);
  assert.throws(() => ufidText(new Uint8Array(15)), RangeError);
});

Deno.test("an identifier reads as ovs-dpctl prints it", () => {
  const bytes = Uint8Array.from({ length: 16 }, (_, i) => i);
  assert.equal(ufidText(bytes), "03020100-0706-0504-0b0a-09080f0e0d0c");
  assert.deepEqual(ufidBytes("03020100-0706-0504-0b0a-09080f0e0d0c"), bytes);
  for (const text of ["03020100-0706", "0302010g-0706-0504-0b0a-09080f0e0d0c"]) {
    assert.throws(() => ufidBytes(text), SyntaxError);
  }
});

Deno.test("identifiers name keys", () => {
  const key = encodeKey({ inPort: 1 });
  assert.equal(ufidOf(key), ufidOf(key.slice()));
  assert.notEqual(ufidOf(key), ufidOf(encodeKey({ inPort: 2 })));
  assert.match(ufidOf(key), /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-/);
});

Deno.test("what is wrong is refused where it is", () => {
  const wrong: readonly [string, number][] = [
    ["in_port", 0],
    ["in_port(", 8],
    ["in_port(1", 9],
    ["in_port(1)x", 10],
    ["in_port(4294967296)", 8],
    ["in_port(1),in_port(2)", 11],
    ["eth(src=02:00:00:00:00)", 8],
    ["eth(source=02:00:00:00:00:01)", 4],
    ["eth(src=02:00:00:00:00:01,src=02:00:00:00:00:01)", 26],
    ["ipv4(frag=maybe)", 10],
    ["ipv4(proto=256)", 11],
    ["ipv6(src=1::2::3)", 9],
    ["vlan(vid=4096)", 9],
    ["recirc_id(1/0xff)", 11],
    ["ct_state(est+trk)", 12],
    ["ct_state(+nonsense)", 10],
    ["ct_label(0x100000000000000000000000000000000)", 9],
    ["tunnel(tun_id=18446744073709551616)", 14],
    ["tunnel(geneve({class=1,type=2,len=3,0x1}))", 15],
    ["tunnel(geneve({class=1,type=2,len=4,0x1234567890}))", 36],
    ["encap(in_port(1)", 16],
  ];
  for (const [text, offset] of wrong) {
    assert.throws(() => parseKey(text), (error: unknown) => {
      assert.ok(error instanceof SyntaxError, text);
      assert.equal((error as SyntaxError & { offset: number }).offset, offset, text);
      return true;
    });
  }
  const actions: readonly [string, number][] = [
    ["nonsense", 0],
    ["1,push_vlan(vid=1", 17],
    ["drop,1", 4],
    ["clone(1", 7],
    ["check_pkt_len(size=1,gt(1))", 26],
    ["ct(nat(src=10.0.0.9-10.0.0.1))", 11],
    ["sample(sample=101%,actions(1))", 14],
    ["psample()", 0],
    ["psample(group=1,cookie=0x)", 16],
    ["set(in_port(1)", 14],
  ];
  for (const [text, offset] of actions) {
    assert.throws(() => parseActions(text), (error: unknown) => {
      assert.ok(error instanceof SyntaxError, text);
      assert.equal((error as SyntaxError & { offset: number }).offset, offset, text);
      return true;
    });
  }
});

Deno.test("IPv6 addresses print as the C library prints them", () => {
  const texts: readonly (readonly [string, string?])[] = [
    ["::"],
    ["::1"],
    ["1::"],
    ["fe80::20c:29ff:fe88:1"],
    ["1:2:3:4:5:6:7:8"],
    ["1:0:0:2:0:0:0:3", "1:0:0:2::3"],
    ["1:0:3:4:5:6:7:8"],
    ["2001:DB8::A", "2001:db8::a"],
    ["::ffff:10.0.0.1"],
    ["::10.0.0.1"],
    ["::ffff:0:0", "::ffff:0.0.0.0"],
    ["1:2:3:4:5:6:10.0.0.1", "1:2:3:4:5:6:a00:1"],
  ];
  for (const [text, canonical = text] of texts) {
    const bytes = new Uint8Array(16);
    assert.equal(parseIpv6(text, 0, bytes, 0), text.length, text);
    assert.equal(formatIpv6(bytes, 0), canonical);
  }
  for (
    const bad of ["", ":", "1", "1:2", "::1::", "12345::", "1:2:3:4:5:6:7:8:9", "::1.2.3"]
  ) {
    assert.notEqual(parseIpv6(bad, 0, new Uint8Array(16), 0), bad.length || 0.5, bad);
  }
});
