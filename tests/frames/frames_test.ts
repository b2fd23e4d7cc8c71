// SPDX-License-Identifier: Apache-2.0
/** Frames built, parsed, changed, answered and shown. */
import assert from "node:assert/strict";
import {
  arp,
  build,
  change,
  dns,
  ethernet,
  fromHex,
  hex,
  icmp,
  ipv4,
  ipv6,
  neighbour,
  parse,
  payload,
  pretty,
  replyTo,
  reverse,
  summary,
  tcp,
  udp,
  vlan,
  vxlan,
} from "../../frames/mod.ts";
import { hostileFrames } from "../odp/frames.ts";
import { a, b, kinds, link, v4 } from "./kinds.ts";

Deno.test("frames: what was built is parsed into the same layers, and nothing computed is said", () => {
  const seen = new Set<string>();
  for (const layers of kinds) {
    const frame = build(layers);
    const packet = parse(frame);
    const name = summary(frame);
    // Ports that follow from what is inside, and a protocol without a name, are there afterwards.
    const wanted = layers.map((layer, i) => {
      const found = packet.layers[i];
      return layer.type === "udp" && found?.type === "udp" ? found : layer;
    });
    assert.deepEqual(packet.layers, wanted, name);
    assert.equal(packet.bytes.toHex(), frame.toHex(), name);
    for (const layer of packet.layers) {
      seen.add(layer.type);
      for (const field of ["checksum", "length", "raw"]) {
        assert.ok(!(field in layer) || layer.type === "gre", `${name}: ${field}`);
      }
    }
  }
  assert.equal(seen.size, 19, [...seen].join());
});

Deno.test("frames: what is wrong in a frame is kept", () => {
  const frame = build([link, v4, udp({ src: 1, dst: 2 }), payload("hello")]);
  for (let at = 14; at < frame.length; at++) {
    const other = frame.slice();
    other[at] = (other[at] as number) ^ 0x55;
    assert.equal(parse(other).bytes.toHex(), other.toHex(), `byte ${at}`);
    assert.equal(parse(frame.subarray(0, at)).bytes.length, at);
  }
  frame[24] = 0;
  assert.equal(parse(frame).ipv4?.checksum, (0 << 8) | (frame[25] as number));
  assert.equal(build([]).length, 0);
  assert.deepEqual(parse(new Uint8Array()).layers, []);
});

Deno.test("frames: seven thousand whole, cut and broken frames are built again as they were", () => {
  let known = 0;
  for (const frame of hostileFrames()) {
    const packet = parse(frame);
    assert.equal(packet.bytes.toHex(), frame.toHex());
    if (packet.layers.length > 2) known++;
  }
  assert.ok(known > 2000, `${known} frames with more than one header`);
});

Deno.test("frames: a change has its checksums right by itself", () => {
  const frame = build([link, v4, udp({ src: 1, dst: 2 }), payload("hello")]);
  const changed = change(frame, {
    ipv4: { dst: "10.9.9.9", ttl: 3 },
    udp: { dst: 53000 },
  });
  const { ipv4: ip, udp: ports } = parse(changed);
  assert.deepEqual([ip?.dst, ip?.ttl, ip?.checksum], ["10.9.9.9", 3, undefined]);
  assert.deepEqual([ports?.dst, ports?.checksum], [53000, undefined]);
  const longer = change(frame, { payload: "a longer one" });
  assert.equal(parse(longer).udp?.length, undefined);
  assert.equal(new TextDecoder().decode(parse(longer).payload), "a longer one");
  assert.throws(() => change(frame, { tcp: { dst: 1 } }), /no layer "tcp"/);
  assert.throws(() => change(frame, { udp: { dst: 70000 } }), RangeError);
  assert.throws(() => change(frame, { ipv4: { dst: "10.0.0" } }), /an IPv4 address/);
});

Deno.test("frames: replies go back, and say what answers it", () => {
  const asked = build([
    ethernet({ src: a, dst: "ff:ff:ff:ff:ff:ff" }),
    arp({ sha: a, sip: "10.0.0.1", tip: "10.0.0.2" }),
  ]);
  assert.throws(() => replyTo(asked), /mac/);
  const told = parse(replyTo(asked, { mac: b }));
  assert.deepEqual([told.ethernet?.src, told.ethernet?.dst], [b, a]);
  assert.deepEqual(
    told.arp,
    arp({ op: 2, sha: b, sip: "10.0.0.2", tha: a, tip: "10.0.0.1" }),
  );

  const ping = build([
    link,
    vlan({ vid: 5 }),
    ipv4({ ...v4, ttl: 3 }),
    icmp({ id: 7 }),
    payload("x"),
  ]);
  const pong = parse(replyTo(ping));
  assert.deepEqual(
    [pong.icmp?.kind, pong.icmp?.id, pong.ipv4?.src, pong.ipv4?.ttl, pong.vlans[0]?.vid],
    [0, 7, "10.0.0.2", 64, 5],
  );
  const solicitation = build([
    ethernet({ src: a, dst: "33:33:ff:00:00:02" }),
    ipv6({ src: "fd00::1", dst: "ff02::1:ff00:2", hlimit: 255 }),
    neighbour({ target: "fd00::2", sll: a }),
  ]);
  const advertisement = parse(replyTo(solicitation, { mac: b }));
  assert.deepEqual(advertisement.icmpv6?.nd, {
    target: "fd00::2",
    flags: 0x60000000,
    tll: b,
  });
  assert.deepEqual(
    [advertisement.ipv6?.src, advertisement.ipv6?.dst, advertisement.ipv6?.hlimit],
    ["fd00::2", "fd00::1", 255],
  );
  const syn = build([link, v4, tcp({ src: 1000, dst: 80, seq: 0xffffffff, flags: 2 })]);
  const { tcp: answer } = parse(replyTo(syn));
  assert.deepEqual(
    [answer?.src, answer?.dst, answer?.ack, answer?.flags],
    [80, 1000, 0, 0x12],
  );
  const query = build([
    link,
    v4,
    udp({ src: 4000 }),
    dns({ id: 9, questions: [{ name: "x", type: "A" }] }),
  ]);
  const answers = [{ name: "x", type: "A", ttl: 1, data: "1.2.3.4" }] as const;
  const response = parse(replyTo(query, { change: { dns: { answers } } }));
  assert.deepEqual([response.udp?.src, response.udp?.dst], [53, 4000]);
  assert.deepEqual([response.dns?.id, response.dns?.response], [9, true]);
  assert.deepEqual(response.dns?.answers, answers);

  const tunnelled = build([
    link,
    v4,
    udp({ src: 50000 }),
    vxlan({ vni: 5 }),
    link,
    v4,
    icmp(),
  ]);
  const back = parse(replyTo(tunnelled));
  assert.equal(back.inner?.icmp?.kind, 0);
  assert.equal(back.inner?.ipv4?.src, "10.0.0.2");
  assert.equal(back.ipv4?.src, "10.0.0.2");
});

Deno.test("frames: a key reversed is that of the way back, and twice is the key", () => {
  const key = {
    inPort: 1,
    ethernet: { src: a, dst: b },
    etherType: 0x0800,
    ipv4: { src: "10.0.0.1", dst: "10.0.0.2", proto: 6 },
    tcp: { src: 1000, dst: 80 },
  };
  assert.deepEqual(reverse(key), {
    inPort: 1,
    ethernet: { src: b, dst: a },
    etherType: 0x0800,
    ipv4: { src: "10.0.0.2", dst: "10.0.0.1", proto: 6 },
    tcp: { src: 80, dst: 1000 },
  });
  assert.deepEqual(reverse(reverse(key)), key);
  assert.deepEqual(reverse({ icmp: { type: 8, code: 0 } }), {
    icmp: { type: 0, code: 0 },
  });
  assert.deepEqual(reverse({ icmpv6: { type: 129 } }), { icmpv6: { type: 128 } });
  assert.deepEqual(reverse({ ipv4: { dst: "10.0.0.2", proto: 6 } }), {
    ipv4: { src: "10.0.0.2", proto: 6 },
  });
  assert.deepEqual(reverse({ arp: { sip: "1.1.1.1", tip: "2.2.2.2" } }), {
    arp: { sip: "2.2.2.2", tip: "1.1.1.1" },
  });
});

Deno.test("frames: hexadecimal and pretty forms", () => {
  const frame = build([
    link,
    v4,
    udp({ src: 1000, dst: 2000 }),
    payload("hello, world  ab cd"),
  ]);
  assert.deepEqual(fromHex(hex(frame)), frame);
  assert.deepEqual(fromHex(frame.toHex()), frame);
  assert.deepEqual(fromHex("02:00 0a\nff"), Uint8Array.of(2, 0, 10, 255));
  assert.throws(() => fromHex("0g"), SyntaxError);
  assert.match(
    hex(frame),
    /^0000 {2}02 00 00 00 00 02 02 00 00 00 00 01 08 00 45 00 {2}\.{14}E\./,
  );
  assert.equal(
    summary(frame),
    `${a} > ${b}, IPv4 10.0.0.1 > 10.0.0.2, UDP 1000 > 2000, 19 bytes`,
  );
  assert.match(pretty(frame), /^udp +src 1000, dst 2000$/m);
  for (const layers of kinds) assert.ok(pretty(build(layers)).includes("\n"));
});
