// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { run } from "./child.ts";
import { findFault } from "./measure.ts";
import { compareFlows } from "./open_vswitch.ts";
import { ODD_KINDS, type OddKind, writeOddPackets } from "./odd_packets.ts";
import { crc32c, mixed, PacketSource } from "./packets.ts";
import {
  applyMask,
  expandPool,
  formatCidr,
  formatMasked,
  parsePrefix,
  Random,
} from "./prefix.ts";
import { ratioOf } from "./report.ts";
import { checkScenario, listScenarios, prepare, readScenario } from "./scenario.ts";
import { skippable, Unsupported } from "../support/skip.ts";

Deno.test("every scenario file is listed, named like its file and well formed", () => {
  const folder = new URL("./scenarios/", import.meta.url);
  const files = [...Deno.readDirSync(folder)].map(({ name }) => name)
    .filter((name) => name !== "order.json");
  assert.deepEqual(files.sort(), listScenarios().map((name) => `${name}.json`).sort());
  for (const name of listScenarios()) assert.equal(readScenario(name).name, name);
});

Deno.test("a scenario that is not one is refused with the reason", () => {
  const good = readScenario("one-flow");
  const bad: [unknown, RegExp][] = [
    [[], /the file must be an object/],
    [{ ...good, name: 1 }, /name must be text/],
    [{ ...good, measure: "speed" }, /measure/],
    [{ ...good, packets: { ...good.packets, kind: "tcp" } }, /packets\.kind/],
    [{ ...good, packets: { ...good.packets, count: 0 } }, /packets\.count/],
    [{ ...good, flows: { ...good.flows, each: "never" } }, /flows\.each/],
    [{ ...good, openflow: [{ each: "once" }] }, /rule must be text/],
    [{ ...good, also: {} }, /also must be a list/],
    [{ ...good, also: [{ packets: good.packets }] }, /also\.flows must be an object/],
    [{ ...good, outputs: 0 }, /outputs must be an integer from 1 to 16/],
  ];
  for (const [value, reason] of bad) {
    assert.throws(() => checkScenario(value, "x"), {
      name: "TypeError",
      message: reason,
    });
  }
  assert.throws(() => readScenario("no-such"), /known: one-flow/);
});

Deno.test("the tables have the sizes that their scenarios are named for", () => {
  const sizes: Record<string, [flows: number, masks: number]> = {
    "one-flow": [1, 1],
    "masks20-10k": [20, 20],
    "masks64-10k": [64, 64],
    "megaflows-18k": [18816, 64],
    "exact-100k": [100_000, 1],
    "explosion-512": [512, 512],
  };
  for (const [name, [flows, masks]] of Object.entries(sizes)) {
    const prepared = prepare(readScenario(name));
    const keys = prepared.flows.map((flow) => flow.key);
    assert.equal(new Set(keys).size, flows, name);
    const shapes = keys.map((key) =>
      key.replace(
        /(src|dst)=[\d.]+(\/[\dx.a-f]+)?/g,
        (_, field, mask) => field + (mask ?? ""),
      )
    );
    assert.equal(new Set(shapes).size, masks, name);
  }
});

Deno.test("kinds of packets come in random order, all of them", () => {
  const kinds = [1, 2].map((seed) =>
    new PacketSource({ kind: "udp4", count: 500, seed, dst: `${seed}0.0.0.0/8` })
  );
  const order = [...mixed(kinds, 7)].map((frame) => frame[30]).join(" ");
  assert.equal(order.match(/10/g)?.length, 500);
  assert.equal(order.match(/20/g)?.length, 500);
  // As often as not, one kind follows the other.
  const turns = (order.match(/10 (?=20)|20 (?=10)/g) ?? []).length;
  assert.ok(turns > 420 && turns < 580, `${turns} turns`);
});

Deno.test("prefixes are written as the two command lines take them", () => {
  const cases: [Parameters<typeof parsePrefix>, masked: string, cidr: string][] = [
    [["ipv4", "10.1.2.3/8"], "10.0.0.0/255.0.0.0", "10.0.0.0/8"],
    [["ipv4", "10.1.2.3"], "10.1.2.3", "10.1.2.3/32"],
    [["ipv4", "255.255.255.255/1"], "128.0.0.0/128.0.0.0", "128.0.0.0/1"],
    [["ipv6", "2001:db8::1/32"], "2001:db8::/ffff:ffff::", "2001:db8::/32"],
    [["ipv6", "::1"], "::1", "::1/128"],
    [["port", "80/12"], "80/0xfff0", "80/12"],
    [["port", "0/0"], "0/0x0", "0/0"],
  ];
  for (const [args, masked, cidr] of cases) {
    assert.equal(formatMasked(parsePrefix(...args)), masked);
    assert.equal(formatCidr(parsePrefix(...args)), cidr);
  }
  for (const text of ["10.0.0/8", "10.0.0.0/33", "1.2.3.256", "x"]) {
    assert.throws(() => parsePrefix("ipv4", text), SyntaxError, text);
  }
  assert.equal(applyMask("10.9.8.7", "255.0.0.0"), "10.0.0.0");
  assert.equal(applyMask("2001:db8:1::5", "ffff:ffff::"), "2001:db8::");
  assert.equal(applyMask("1476", "0xfc00"), "1024");
});

Deno.test("diverging prefixes cover everything but the value itself, once", () => {
  const pool = expandPool("port", { diverge: "80", lengths: [1, 16] }, new Random(1));
  for (let port = 0; port < 65536; port++) {
    const hits = pool.filter(({ words, length }) =>
      (port >>> (16 - length)) === ((words[0] ?? 0) >>> (32 - length))
    );
    assert.equal(hits.length, port === 80 ? 0 : 1, `port ${port}`);
  }
});

Deno.test("packets are the same for the same seed, and every class gets its share", () => {
  const spec = {
    kind: "udp4",
    count: 1000,
    seed: 5,
    src: { first: "50.0.0.0", lengths: [9, 12], each: 2 },
    dst: "10.0.0.0/8",
  } as const;
  const list = (seed: number): string[] => {
    const packets: string[] = [];
    for (const fields of new PacketSource({ ...spec, seed }).packets()) {
      packets.push([fields.src, fields.dst, fields.sport, fields.dport].join());
    }
    return packets;
  };
  assert.deepEqual(list(5), list(5));
  assert.notDeepEqual(list(5), list(6));
  assert.equal(new Set(list(5)).size, 1000);
  const source = new PacketSource(spec);
  const shares = source.classes.map(() => 0);
  for (const fields of source.packets()) {
    const found = source.classes.findIndex((
      { src },
    ) => (((fields.src[0] ?? 0) >>> (32 - src.length)) ===
      (src.words[0] ?? 0) >>> (32 - src.length))
    );
    shares[found] = (shares[found] ?? 0) + 1;
  }
  assert.deepEqual(shares, shares.map(() => 1000 / shares.length));
  assert.throws(() => new PacketSource({ ...spec, count: 3 }), RangeError);
});

Deno.test(
  "tcpdump finds every packet whole, with good checksums",
  skippable(async () => {
    const found = await run("tcpdump", ["--version"]).catch(() => undefined);
    if (found === undefined) throw new Unsupported("tcpdump", { requirement: "peer" });
    const path = await Deno.makeTempFile({ suffix: ".pcap" });
    try {
      for (const kind of ["udp4", "udp6"] as const) {
        const dst = kind === "udp4" ? "10.0.0.0/8" : "2001:db8::/32";
        // Ports of no protocol that tcpdump would take the payload for.
        const ports = { sport: "40001", dport: "7777" };
        const source = new PacketSource({
          kind,
          count: 500,
          seed: 3,
          dst,
          size: 80,
          ...ports,
        });
        assert.equal(await source.write(path), 500);
        const text = await run("tcpdump", ["-r", path, "-nvv"]);
        assert.equal(text.match(/\[udp sum ok\]/g)?.length, 500, text.slice(0, 400));
        assert.doesNotMatch(text, /cksum|truncated|\[\|/);
      }
      // What all kinds have, a tag, and several sizes.
      const prepared = prepare({
        ...readScenario("mixed"),
        name: "of every kind",
      });
      const written = await prepared.write(path, 2400);
      assert.equal(written, 2400);
      const all = await run("tcpdump", ["-r", path, "-nevv"]);
      assert.doesNotMatch(all, /incorrect|bad udp cksum|bad cksum|wrong icmp cksum/);
      const count = (what: RegExp): number => all.match(what)?.length ?? 0;
      for (
        const [what, share] of [
          [/vlan 100, p 0, ethertype IPv4/g, 0.2],
          [/ethertype IPv6/g, 0.3],
          [/ICMP echo request/g, 0.1],
          [/proto TCP|next-header TCP/g, 0.3],
        ] as const
      ) {
        const found = count(what) / written;
        assert.ok(Math.abs(found - share) < 0.04, `${what}: ${found}`);
      }
      const lengths = [...all.matchAll(/^\S+ \S+ > \S+ .*?, length (\d+): /gm)]
        .map(([, length]) => Number(length));
      assert.equal(lengths.length, written);
      const mean = lengths.reduce((sum, length) => sum + length, 0) / written;
      assert.ok(Math.abs(mean / prepared.frameSize - 1) < 0.08, `${mean} bytes`);
      for (const kind of ["tcp4", "syn4"] as const) {
        const source = new PacketSource({
          kind,
          count: 250,
          seed: 4,
          dst: "10.0.0.0/8",
          answered: true,
          translated: "192.0.2.1",
        });
        assert.equal(await source.write(path), 500);
        const text = await run("tcpdump", ["-r", path, "-nvv"]);
        assert.equal(text.match(/cksum 0x[\da-f]+ \(correct\)/g)?.length, 500);
        assert.doesNotMatch(text, /incorrect|truncated|bad cksum/);
        assert.equal(text.match(/> 192\.0\.2\.1\./g)?.length, 250);
        const flags = kind === "syn4" ? /Flags \[S\]/g : /Flags \[\.\]/g;
        assert.equal(text.match(flags)?.length, 500);
      }
    } finally {
      await Deno.remove(path);
    }
  }),
);

Deno.test("flows of Open vSwitch are compared one by one", () => {
  const flow = {
    key: "recirc_id(0),in_port(1),eth_type(0x0800),ipv4(dst=10.0.0.0/255.0.0.0,frag=no)",
    actions: "2",
  };
  const ports = new Map([["4", "1"], ["5", "2"]]);
  const line = (key: string, actions: string): string =>
    `recirc_id(0),in_port(4),packet_type(ns=0,id=0),eth_type(0x0800),${key}, ` +
    `packets:3, bytes:180, used:0.1s, actions:${actions}\n`;
  const same = line("ipv4(dst=10.7.8.9/255.0.0.0,frag=no)", "5");
  compareFlows([flow], `flow-dump from pmd on cpu core: 1\n${same}`, ports);
  assert.throws(() => compareFlows([flow], "", ports), /1 missing/);
  const narrower = line("ipv4(dst=10.0.0.0/255.128.0.0,frag=no)", "5");
  assert.throws(() => compareFlows([flow], narrower, ports), /1 missing[^]*1 extra/);
  assert.throws(
    () => compareFlows([flow], same + narrower, ports),
    /0 missing[^]*1 extra/,
  );
  const elsewhere = line("ipv4(dst=10.0.0.0/255.0.0.0,frag=no)", "4");
  assert.throws(() => compareFlows([flow], elsewhere, ports), /1 missing/);
});

Deno.test("the ratio is against the better Open vSwitch", () => {
  const series = (median: number) => ({
    windows: [],
    quiet: true,
    median,
    lowest: median,
    highest: median,
    cycles: 1,
    flows: 1,
  });
  const programs = { ovs: series(10), "ovs-smc": series(20), upcall: series(50) };
  assert.equal(ratioOf(programs), 2.5);
  assert.equal(ratioOf({ ovs: series(10), upcall: series(50) }), 5);
  assert.equal(ratioOf({ ovs: series(10) }), undefined);
  const native = { ...programs, "ovs-native": series(25) };
  assert.equal(ratioOf(native), 2.5);
  assert.equal(ratioOf(native, ["ovs-native"]), 2);
  assert.equal(ratioOf({ upcall: series(10) }), undefined);
  const noisy = (...rates: number[]) => ({
    ...series(rates[1] ?? 0),
    quiet: false,
    windows: rates.map((rate) => ({ rate, lossShare: 0, disturbedShare: 1, clock: 1 })),
  });
  // The core halves its speed in the course of the run: each round still says 3.
  assert.equal(ratioOf({ ovs: noisy(10, 9, 5), upcall: noisy(30, 27, 15) }), 3);
});

Deno.test("a program that loses packets or sends other frames has no figures", () => {
  const good = { rate: 1, lossShare: 0, frameBytes: 60, disturbedShare: 0, clock: 1 };
  assert.equal(findFault([good, good], 60), undefined);
  assert.match(findFault([good, { ...good, lossShare: 0.02 }], 60) ?? "", /lost 2\.0 %/);
  assert.match(findFault([good], 64) ?? "", /frames of 60\.00 bytes, not 64/);
});

Deno.test("colliding addresses are many, and have one CRC32C", () => {
  const { attack } = readScenario("attack-crc");
  if (attack === undefined || !("collide" in attack.packets)) {
    assert.fail("no collisions");
  }
  const found = new Set<string>();
  const swapped = (word = 0): number =>
    new DataView(Uint32Array.of(word).buffer).getUint32(0);
  for (const { src, dst } of new PacketSource(attack.packets).packets()) {
    assert.equal(crc32c([swapped(src[0]), swapped(dst[0])]), 0);
    found.add(`${src[0]} ${dst[0]}`);
  }
  assert.equal(found.size, 10_000);
  // Without the inversions of the wire's CRC32C, whose sum over eight zero bytes would not be 0.
  assert.notEqual(crc32c([1, 0]), 0);
});

Deno.test("an attack belongs to scenarios that measure one", () => {
  const good = readScenario("attack-mpls");
  const { attack, ...rest } = good;
  assert.throws(() => checkScenario(rest, "x"), /go together/);
  assert.throws(() => checkScenario({ ...good, measure: "forward" }, "x"), /go together/);
  const bad = { ...good, attack: { ...attack, keeps: 80 } };
  assert.throws(() => checkScenario(bad, "x"), /keeps must be a share/);
});

Deno.test(
  "tcpdump takes the packets of attacks for what they are",
  skippable(async () => {
    const found = await run("tcpdump", ["--version"]).catch(() => undefined);
    if (found === undefined) throw new Unsupported("tcpdump", { requirement: "peer" });
    const words: Record<OddKind, RegExp> = {
      mpls: /MPLS \(/,
      chains: /IP6 \(hlim 64, next-header .* payload length: \d+\)/,
      fragments: /IP \(.*flags \[(\+|none)\]/,
    };
    const path = await Deno.makeTempFile({ suffix: ".pcap" });
    try {
      for (const kind of ODD_KINDS) {
        assert.equal(await writeOddPackets({ kind, count: 200, seed: 1 }, path), 200);
        const text = await run("tcpdump", ["-r", path, "-nv"]);
        const lines = text.split("\n").filter((line) => /^\d\d:\d\d/.test(line));
        assert.equal(lines.length, 200);
        for (const line of lines) assert.match(line, words[kind]);
        assert.doesNotMatch(text, /bad cksum|truncated|\[\|/);
      }
    } finally {
      await Deno.remove(path);
    }
  }),
);

Deno.test("packets of a tunnel have its headers in front, and a source port for each flow", () => {
  for (const [name, size] of [["vxlan-pop-10k", 50], ["geneve-pop-10k", 58]] as const) {
    const { packets, tunnel, grows } = readScenario(name);
    assert.equal(grows, -size);
    const few = { ...packets, count: 50 };
    const copies = (source: PacketSource) =>
      Array.from(source.frames(), (frame) => frame.slice());
    const inner = copies(new PacketSource(few));
    const source = new PacketSource(few, tunnel);
    const outer = copies(source);
    assert.equal(source.frameSize, 60 + size);
    assert.deepEqual(outer.map((frame) => frame.slice(size)), inner);
    const heads = outer.map((frame) => frame.slice(0, size).toHex());
    // But for the source port they are alike.
    const alike = heads.map((head) => head.slice(0, 68) + head.slice(72));
    assert.equal(new Set(alike).size, 1);
    assert.ok(new Set(heads).size > 40, `${new Set(heads).size}`);
  }
});
