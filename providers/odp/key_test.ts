// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import type { FlowKey } from "../types.ts";
import { AttributeError, decodeKey, encodeKey, keyView } from "./mod.ts";
import { viewBytes } from "./view.ts";
import { keyAttributes } from "./key.ts";
import { Writer } from "../codec/writer.ts";

const src = "02:00:00:00:00:01";
const dst = "02:00:00:00:00:02";
const ethernet = { src, dst };
const ipv4 = {
  src: "10.0.0.1",
  dst: "10.0.0.2",
  proto: 6,
  tos: 0,
  ttl: 64,
  frag: "no",
} as const;
const ipv6 = {
  src: "fd00::1",
  dst: "fd00::2",
  label: 0xabcde,
  proto: 58,
  tclass: 4,
  hlimit: 255,
  frag: "first",
} as const;

/** A key for each kind of packet, with every field of the table in one of them. */
const keys: readonly FlowKey[] = [
  { recircId: 0, inPort: 0, ethernet },
  {
    recircId: 0xffffffff,
    dpHash: 1,
    priority: 2,
    inPort: 3,
    skbMark: 4,
    ctState: 0x23,
    ctZone: 65535,
    ctMark: 5,
    ctLabels: (1n << 127n) + 1n,
    ctTuple4: { src: "1.2.3.4", dst: "5.6.7.8", proto: 6, srcPort: 1, dstPort: 2 },
    packetType: { ns: 0, id: 0 },
    ethernet,
    etherType: 0x0800,
    ipv4,
    tcp: { src: 1000, dst: 80 },
    tcpFlags: 0xfff,
  },
  {
    ethernet,
    vlans: [{ tpid: 0x88a8, vid: 4095, pcp: 7, cfi: 1 }, {
      tpid: 0x8100,
      vid: 0,
      pcp: 0,
      cfi: 1,
    }],
    etherType: 0x86dd,
    ctTuple6: { src: "::1", dst: "::2", proto: 17, srcPort: 1, dstPort: 2 },
    ipv6,
    ipv6Exthdrs: 0x1ff,
    icmpv6: { type: 135, code: 0 },
    nd: { target: "fd00::9", sll: src, tll: dst },
    ndExtensions: { reserved: 0x80000000, optionsType: 1 },
  },
  {
    ethernet,
    vlans: [{ tpid: 0x8100, vid: 0, pcp: 0, cfi: 0 }],
  },
  { ethernet, etherType: 0x0800, ipv4: { ...ipv4, proto: 17 }, udp: { src: 1, dst: 2 } },
  {
    ethernet,
    etherType: 0x0800,
    ipv4: { ...ipv4, proto: 132 },
    sctp: { src: 1, dst: 2 },
  },
  {
    ethernet,
    etherType: 0x0800,
    ipv4: { ...ipv4, proto: 1 },
    icmp: { type: 8, code: 0 },
  },
  {
    ethernet,
    etherType: 0x0806,
    arp: { sip: "1.2.3.4", tip: "5.6.7.8", op: 1, sha: src, tha: dst },
  },
  {
    ethernet,
    etherType: 0x8847,
    mpls: [{ label: 0xfffff, tc: 7, ttl: 255, bos: 0 }, {
      label: 3,
      tc: 0,
      ttl: 1,
      bos: 1,
    }],
  },
  {
    ethernet,
    etherType: 0x894f,
    nsh: {
      flags: 1,
      ttl: 63,
      mdtype: 1,
      np: 3,
      spi: 0xffffff,
      si: 255,
      contexts: [1, 2, 3, 0xffffffff],
    },
  },
  {
    tunnel: {
      id: 0xfedcba9876543210n,
      src: "10.0.0.1",
      dst: "10.0.0.2",
      tos: 8,
      ttl: 64,
      dontFragment: true,
      checksum: true,
      oam: true,
      srcPort: 1,
      dstPort: 4789,
      geneve: [
        { class: 0x102, type: 0x80, data: Uint8Array.of(1, 2, 3, 4) },
        { class: 0xffff, type: 1, data: new Uint8Array() },
      ],
    },
    ethernet,
  },
  { tunnel: { ipv6Src: "::1", ipv6Dst: "::2", ttl: 1, vxlanGbp: { id: 10, flags: 11 } } },
  { tunnel: { dst: "1.1.1.1", ttl: 1, erspan: { version: 1, index: 7 } } },
  {
    tunnel: {
      dst: "1.1.1.1",
      ttl: 1,
      erspan: { version: 2, direction: 1, hardwareId: 0x3f },
    },
  },
  { tunnel: { dst: "1.1.1.1", ttl: 1, gtpu: { flags: 0x30, messageType: 255 } } },
  { tunnel: { dst: "1.1.1.1", ttl: 1, infoBridge: true } },
  { inPort: 1, ethernet, unknown: [{ id: 40, bytes: Uint8Array.of(1, 2, 3) }] },
];

Deno.test("every kind of key survives the way to bytes and back", () => {
  const seen = new Set(keys.flatMap((key) => Object.keys(key)));
  for (const { name } of keyAttributes) assert.ok(seen.has(name), `no key has ${name}`);
  for (const key of keys) {
    const bytes = encodeKey(key);
    assert.equal(bytes.length % 4, 0);
    assert.deepEqual(decodeKey(bytes), key);
    assert.deepEqual(encodeKey(decodeKey(bytes)), bytes);
  }
});

Deno.test("a view is like the object, and gives its bytes back uncopied", () => {
  for (const key of keys) {
    const bytes = encodeKey(key);
    const view = keyView(bytes);
    for (const [name, value] of Object.entries(key)) {
      assert.deepEqual(view[name as keyof FlowKey], value, name);
    }
    assert.deepEqual(view, key);
    assert.deepEqual({ ...view }, key);
    assert.deepEqual(Object.keys(view).sort(), Object.keys(key).sort());
    assert.equal(viewBytes(view), bytes);
    assert.equal("inPort" in view, "inPort" in key);
    assert.equal(view.ethernet, view.ethernet);
  }
  assert.equal(viewBytes({}), undefined);
  assert.equal(keyView(new Uint8Array()).inPort, undefined);
  assert.match(Deno.inspect(keyView(encodeKey({ inPort: 7 }))), /^\{ inPort: 7 \}$/);
});

Deno.test("a view cannot be changed", () => {
  const view = keyView(encodeKey({ inPort: 1 })) as { inPort?: number };
  assert.throws(() => view.inPort = 2, TypeError);
  assert.throws(() => delete view.inPort, TypeError);
});

Deno.test("what a field cannot hold is refused, by name", () => {
  const wrong: readonly [unknown, RegExp][] = [
    [{ inPort: -1 }, /inPort must be an integer from 0 to 4294967295/],
    [{ inPort: 1.5 }, /inPort/],
    [{ inPort: "1" }, /inPort/],
    [{ ctZone: 65536 }, /ctZone must be an integer from 0 to 65535/],
    [{ ctLabels: 5 }, /ctLabels must be a bigint/],
    [{ ctLabels: 1n << 128n }, /at most 128 bits/],
    [{ ethernet: { src: "02:00:00:00:00", dst } }, /ethernet.src must be an address/],
    [{ ethernet: { source: src } }, /ethernet has no field "source"/],
    [{ ipv4: { src: "10.0.0.256" } }, /ipv4.src/],
    [{ ipv4: { frag: "maybe" } }, /ipv4.frag/],
    [{ ipv6: { src: "1::2::3" } }, /ipv6.src/],
    [{ ipv6: { label: 1 << 20 } }, /ipv6.label/],
    [{ vlans: [{ vid: 4096 }] }, /vlan.vid/],
    [{ mpls: [] }, /mpls/],
    [{ tunnel: { key: 1n } }, /tunnel has no field "key"/],
    [
      { tunnel: { geneve: [{ class: 1, type: 1, data: new Uint8Array(3) }] } },
      /multiple of 4/,
    ],
    [{ nsh: { contexts: [1] } }, /nsh.contexts/],
    [{ port: 1 }, /key has no field "port"/],
    [[], /key must be an object/],
  ];
  for (const [key, message] of wrong) {
    assert.throws(() => encodeKey(key as FlowKey), (error: Error) => {
      assert.ok(error instanceof TypeError || error instanceof RangeError);
      assert.match(error.message, message);
      return true;
    });
  }
});

Deno.test("an encoder that was used before leaves nothing behind", () => {
  const key: FlowKey = { ethernet, etherType: 0x0806, arp: keys[7]?.arp as never };
  const first = encodeKey(key);
  encodeKey({ ctLabels: (1n << 128n) - 1n, ethernet: { src: "ff:ff:ff:ff:ff:ff", dst } });
  assert.throws(() => encodeKey({ ctLabels: (1n << 128n) - 1n, inPort: -1 }));
  assert.deepEqual(encodeKey(key), first);
  const writer = new Writer(8);
  writer.bytes.fill(0xff);
  const start = writer.begin(1);
  writer.alloc(1);
  writer.end(start, "test");
  assert.deepEqual(writer.slice(), Uint8Array.of(5, 0, 1, 0, 0, 0, 0, 0));
});

/** One attribute. */
function attribute(id: number, payload: Uint8Array): Uint8Array {
  const writer = new Writer(64);
  writer.attribute(id, payload, "test");
  return writer.slice();
}

Deno.test("every wrong size of every field is refused, with its path", () => {
  for (const { id, name, wire } of keyAttributes) {
    for (let size = 0; size <= 45; size++) {
      const bytes = attribute(id, new Uint8Array(size));
      if (size >= wire.min && size <= wire.max) continue;
      const check = (error: unknown) => {
        assert.ok(error instanceof AttributeError, `${name} ${size}: ${error}`);
        assert.equal(error.path, name);
        assert.equal(error.offset, 0);
        return true;
      };
      assert.throws(() => decodeKey(bytes), check);
      assert.throws(() => keyView(bytes)[name as keyof FlowKey], check);
    }
  }
});

Deno.test("every pair of length and remaining bytes is read or refused", () => {
  for (let remaining = 0; remaining <= 24; remaining++) {
    for (const length of [0, 1, 2, 3, 4, 5, 7, 8, 9, 12, 20, 24, 25, 0x7fff, 0xffff]) {
      const bytes = new Uint8Array(remaining);
      bytes.set([length & 255, length >>> 8, 3, 0].slice(0, remaining));
      // One attribute, padded or not, and nothing behind it; a view checks no more.
      const fits = remaining === 0 ||
        length >= 4 && length <= remaining && (length + 3 & ~3) >= remaining;
      const good = fits && (remaining === 0 || length === 8);
      const what = `${length} of ${remaining}`;
      if (fits) keyView(bytes);
      else assert.throws(() => keyView(bytes), AttributeError, what);
      if (good) decodeKey(bytes);
      else assert.throws(() => decodeKey(bytes), AttributeError, what);
    }
  }
});

Deno.test("duplicates, and nesting beyond 32 levels, are refused", () => {
  const port = attribute(3, Uint8Array.of(1, 0, 0, 0));
  const twice = Uint8Array.from([...port, ...port]);
  assert.throws(() => decodeKey(twice), /inPort at byte 8: attribute is duplicated/);
  assert.throws(() => keyView(twice), /duplicated/);
  let nested: Uint8Array = new Uint8Array();
  for (let depth = 0; depth <= 64; depth++) {
    if (depth <= 32) {
      decodeKey(nested);
      keyView(nested);
    } else {
      for (const read of [decodeKey, keyView]) {
        assert.throws(
          () => read(nested),
          (error: unknown) =>
            error instanceof AttributeError && error.code === "EOVERFLOW",
        );
      }
    }
    nested = attribute(1, nested);
  }
});

Deno.test("the nested and byte order flags of a type are ignored", () => {
  const bytes = encodeKey({ inPort: 5 });
  bytes[3] = 0xc0;
  assert.deepEqual(decodeKey(bytes), { inPort: 5 });
  assert.equal(keyView(bytes).inPort, 5);
});
