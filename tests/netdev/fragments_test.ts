// SPDX-License-Identifier: Apache-2.0
/**
 * Fragments on their way through `ct` of the userspace datapath: whole before it, in pieces behind
 * it.
 */
import assert from "node:assert/strict";
import type { PortNo } from "../../providers/ids.ts";
import { fragmentsOf, joined } from "../support/fragments.ts";
import { transportChecksumIsRight, udpFrame } from "../support/frames.ts";
import { NetdevBench } from "../support/netdev.ts";
import { type Host, makeHosts, pinged } from "../support/netns.ts";
import { needRoot, skippable } from "../support/skip.ts";
import { addPort } from "./switch.ts";

const [one, two] = [1 as PortNo, 2 as PortNo];
const match = {
  4: "eth(),eth_type(0x0800),ipv4(frag=no)",
  6: "eth(),eth_type(0x86dd),ipv6(frag=no)",
} as const;
const first = {
  4: "eth(),eth_type(0x0800),ipv4(frag=first)",
  6: "eth(),eth_type(0x86dd),ipv6(frag=first)",
};
const later = {
  4: "eth(),eth_type(0x0800),ipv4(frag=later)",
  6: "eth(),eth_type(0x86dd),ipv6(frag=later)",
};

/**
 * Two ports; what comes in by the first is tracked by `track` and goes on to the second by state.
 */
async function open(version: 4 | 6, track: string): Promise<NetdevBench> {
  const bench = await NetdevBench.open();
  await bench.ports("p1", "p2", "p3");
  const put = (key: string, actions: string) => bench.dp.flows.put({ key, actions });
  for (const kind of [match, first, later]) {
    put(`recirc_id(0),in_port(1),${kind[version]}`, `${track},recirc(1)`);
    put(`ct_state(+new+trk),recirc_id(1),in_port(1),${kind[version]}`, "2");
    put(`ct_state(+inv+trk),recirc_id(1),in_port(1),${kind[version]}`, "3");
  }
  return bench;
}

for (const version of [4, 6] as const) {
  const size = version === 4 ? 1400 : 1240;
  const payload = (bytes: number) => Uint8Array.from({ length: bytes }, (_, i) => i);

  Deno.test(
    `netdev fragments: IPv${version}, in any order, go on in order and as they came, tracked`,
    skippable(async () => {
      await using bench = await open(version, "ct(commit)");
      const frame = udpFrame({ version, payload: payload(4800) });
      const pieces = fragmentsOf(frame, size);
      for (const order of [[0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 0, 2]]) {
        for (const at of order.slice(0, 3)) {
          bench.inject(one, pieces[at] as Uint8Array);
        }
        assert.deepEqual(await bench.collect(two), [], "something is missing");
        bench.inject(one, pieces[order[3] as number] as Uint8Array);
        const sent = await bench.collect(two);
        assert.deepEqual(sent.length, pieces.length);
        bench.dp.conntrack?.flush();
        sent.forEach((piece, i) => assert.deepEqual(piece, pieces[i]));
      }
    }),
  );

  Deno.test(
    `netdev fragments: IPv${version} is translated whole`,
    skippable(async () => {
      const address = version === 4 ? "9.9.9.9" : "[fd00::99]";
      await using bench = await open(version, `ct(commit,nat(src=${address}:7000))`);
      const frame = udpFrame({ version, payload: payload(3001) });
      for (const piece of fragmentsOf(frame, size)) bench.inject(one, piece);
      const sent = await bench.collect(two);
      assert.equal(sent.length, 3);
      const whole = joined(sent);
      assert.ok(transportChecksumIsRight(whole));
      const ports = version === 4 ? 20 : 40;
      assert.deepEqual([...whole.subarray(ports, ports + 2)], [7000 >> 8, 7000 & 255]);
      assert.equal(bench.dp.conntrack?.count?.(), 1);
    }),
  );
}

Deno.test(
  "netdev fragments: more of them than a burst has, and again in the next ct",
  skippable(async () => {
    await using bench = await open(4, "ct(commit),ct(commit,zone=1),ct(commit,zone=2)");
    const frame = udpFrame({ payload: new Uint8Array(65000) });
    const pieces = fragmentsOf(frame, 1200);
    assert.equal(pieces.length, 55);
    await bench.injectAll(one, pieces);
    const sent = await bench.collect(two);
    assert.deepEqual(sent.map((piece) => piece.toHex()), pieces.map((p) => p.toHex()));
    assert.equal(bench.dp.conntrack?.count?.(), 3);
  }),
);

Deno.test(
  "netdev fragments: what cannot be put together is invalid, and what waits is freed with the datapath",
  skippable(async () => {
    await using bench = await open(4, "ct(commit)");
    const frame = udpFrame({ payload: new Uint8Array(4000) });
    const [small] = fragmentsOf(frame, 800, { id: 2 });
    const [start, middle] = fragmentsOf(frame, 1400);
    const spoilt = udpFrame({ payload: new Uint8Array(2000) });
    spoilt[40] = (spoilt[40] ?? 0) ^ 1;
    bench.inject(one, small as Uint8Array);
    bench.inject(one, start as Uint8Array);
    bench.inject(one, start as Uint8Array);
    bench.inject(one, middle as Uint8Array);
    for (const piece of fragmentsOf(spoilt, 1400, { id: 3 })) bench.inject(one, piece);
    const invalid = await bench.collect(3 as PortNo);
    assert.equal(invalid.length, 4, "too small, the same again, two of a wrong checksum");
    assert.deepEqual(await bench.collect(two), []);
  }),
);

Deno.test(
  "netdev fragments: packets that a program sends on are put together as well",
  skippable(async () => {
    await using bench = await open(4, "ct(commit)");
    const frame = udpFrame({ payload: new Uint8Array(3000) });
    const key = `in_port(1),${match[4]}`;
    const pieces = fragmentsOf(frame, 1400);
    for (const packet of pieces) {
      bench.dp.execute({ packet, key, actions: "ct(commit),2" });
    }
    assert.equal((await bench.collect(two)).length, pieces.length);
    // The first by a poll thread, the others by the program.
    const [start, ...rest] = pieces;
    bench.inject(one, start as Uint8Array);
    await bench.settle();
    for (const packet of rest) {
      bench.dp.execute({ packet, key, actions: "ct(commit),2" });
    }
    assert.equal((await bench.collect(two)).length, pieces.length);
    bench.dp.execute({ packet: start as Uint8Array, actions: "ct" });
  }),
);

Deno.test(
  "netdev fragments: pings of 5,000 bytes go out through a firewall, and what nobody asked for does not come in",
  skippable(async () => {
    needRoot("netdev");
    await using network = await makeHosts("ntfr", 2, { net: 79 });
    const [left, right] = network.hosts;
    assert.ok(left && right);
    await using bench = await NetdevBench.open();
    const { dp } = bench;
    const inside = await addPort(dp, left.device, "system");
    const outside = await addPort(dp, right.device, "system");
    const put = (key: string, actions: string) => dp.flows.put({ key, actions });
    for (const [from, to] of [[inside, outside], [outside, inside]]) {
      put(`recirc_id(0),in_port(${from}),eth(),eth_type(0x0806)`, `${to}`);
      // Who is where is asked and told by ICMPv6, which is not tracked.
      for (const type of [135, 136]) {
        const ask = `ipv6(proto=58,frag=no),icmpv6(type=${type},code=0)`;
        put(`recirc_id(0),in_port(${from}),eth(),eth_type(0x86dd),${ask}`, `${to}`);
      }
    }
    for (const version of [4, 6] as const) {
      for (const kind of [match, first, later]) {
        // Beside neighbour discovery, what IPv6 has more of are echoes: whole ones and fragments.
        const keys = version === 6 && kind === match
          ? [128, 129].map((type) =>
            `eth(),eth_type(0x86dd),ipv6(proto=58,frag=no),icmpv6(type=${type},code=0)`
          )
          : [kind[version]];
        for (const key of keys) {
          put(`recirc_id(0),in_port(${inside}),${key}`, "ct(commit),recirc(1)");
          put(`recirc_id(0),in_port(${outside}),${key}`, "ct,recirc(1)");
        }
        const known = (port: number, states: string, to: number) =>
          put(
            `recirc_id(1),ct_state(${states}),in_port(${port}),${kind[version]}`,
            `${to}`,
          );
        known(inside, "-inv+trk", outside);
        known(outside, "+est+rpl-inv+trk", inside);
      }
    }
    const large = (from: Host, address: string, seconds = 30) =>
      pinged(from, address, { count: 3, seconds, options: ["-s", "5000"] });
    assert.deepEqual(await large(left, right.ipv4), [1, 2, 3]);
    assert.deepEqual(await large(left, right.ipv6), [1, 2, 3]);
    const { v4, v6 } = dp.fragments?.status() ?? {};
    assert.ok((v4?.completed ?? 0n) >= 24n, `${v4?.completed} fragments of IPv4`);
    assert.ok((v6?.completed ?? 0n) >= 24n, `${v6?.completed} fragments of IPv6`);
    dp.conntrack?.flush();
    assert.deepEqual(await large(right, left.ipv4, 2), [], "nobody inside has begun");
    assert.deepEqual(await large(left, right.ipv4), [1, 2, 3]);
  }),
);
