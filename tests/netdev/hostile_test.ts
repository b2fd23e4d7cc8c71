// SPDX-License-Identifier: Apache-2.0
/**
 * Frames that nobody would send: cut anywhere, random, too short, too long. Every one is accounted
 * for.
 */
import assert from "node:assert/strict";
import type { Datapath } from "../../providers/datapath.ts";
import { decodeKey, encodeKey, extractKey } from "../../providers/odp/mod.ts";
import { holdLibrary } from "../../providers/netdev/library.ts";
import { hostileFrames, wholeFrames } from "../odp/frames.ts";
import { udpFrame } from "../support/frames.ts";
import type { FlowKey } from "../../providers/types.ts";
import { NetdevBench } from "../support/netdev.ts";
import { random, randomBytes } from "../support/random.ts";
import { skippable } from "../support/skip.ts";
import { until } from "../support/wait.ts";

/** Frames that are under way at once. */
const AT_ONCE = 512;

/** Puts many frames in without filling the port's queue, a handler taking what comes up. */
async function flood(
  bench: NetdevBench,
  port: number,
  many: Iterable<Uint8Array>,
): Promise<number> {
  let taken = 0;
  const stream = bench.dp.upcallBatches({ batch: 256 });
  const taker = (async () => {
    for await (const batch of stream) taken += batch.length;
  })();
  // No more at a time than go up whatever they are: a quarter of the ring (c/upcall.h).
  const frames = [...many];
  for (let at = 0; at < frames.length; at += AT_ONCE) {
    await bench.injectAll(port, frames.slice(at, at + AT_ONCE));
    await bench.settle();
    const all = () => BigInt(taken) >= bench.dp.stats().missed;
    await until("upcalls to be taken", all, { state: () => taken });
  }
  await stream.close();
  await taker;
  return taken;
}

/** Asserts that what was received is what became of it. */
function balance(dp: Datapath, injected: number): void {
  const { hit, missed, lost, counters = {} } = dp.stats();
  const early = (counters.drop_rx_runt ?? 0n) + (counters.drop_rx_oversize ?? 0n);
  const received = counters.received ?? -1n;
  assert.equal(received, BigInt(injected), "received");
  assert.equal(
    hit + missed + lost + early,
    received + (counters.recirculated ?? 0n),
    "hit + missed + lost + early",
  );
}

Deno.test(
  "hostile: every frame cut at every byte is a miss or a counted drop",
  skippable(async () => {
    await using bench = await NetdevBench.open();
    const [port] = await bench.ports("p1");
    const cut = wholeFrames.flatMap((frame) =>
      Array.from({ length: frame.length + 1 }, (_, size) => frame.subarray(0, size))
    );
    const taken = await flood(bench, port, cut);
    const runts = cut.filter(({ length }) => length < 14).length;
    assert.equal(taken, cut.length - runts);
    assert.equal(bench.dp.stats().counters?.drop_rx_runt, BigInt(runts));
    balance(bench.dp, cut.length);
  }),
);

Deno.test(
  "hostile: random bytes, alone and behind good headers",
  skippable(async () => {
    await using bench = await NetdevBench.open();
    const [port] = await bench.ports("p1");
    const next = random(20260101);
    const changed = hostileFrames().slice(-2000);
    const many = changed.flatMap((frame, i) => [randomBytes(next, 14 + i % 200), frame]);
    await flood(bench, port, many);
    balance(bench.dp, many.length);
  }),
);

Deno.test(
  "hostile: frames larger than a buffer pass whole, up to the largest",
  skippable(async () => {
    await using bench = await NetdevBench.open();
    const { dp } = bench;
    const [inPort, second] = await bench.ports("p1", "p2");
    dp.flows.put({
      key: `in_port(${inPort}),eth(),eth_type(0x0800),ipv4(frag=no)`,
      actions: `${second}`,
    });
    const sizes = [1500, 2000, 2048, 2049, 4096, 9000, 16000, 65000];
    const large = sizes.map((size) =>
      udpFrame({ payload: randomBytes(random(size), size - 42) })
    );
    for (const frame of large) bench.inject(inPort, frame);
    const out = await bench.collect(second);
    assert.deepEqual(out.map((frame) => frame.length), sizes);
    out.forEach((frame, i) => assert.equal(frame.toHex(), large[i]?.toHex()));
    for (const packet of large) {
      dp.execute({ packet, key: { inPort }, actions: `${second}` });
    }
    assert.deepEqual((await bench.collect(second)).map((frame) => frame.length), sizes);
    balance(dp, sizes.length);
  }),
);

Deno.test(
  "hostile: actions on packets that do not have what they change",
  skippable(async () => {
    await using bench = await NetdevBench.open();
    const [inPort, second] = await bench.ports("p1", "p2");
    const actions = [
      "set(ipv4(ttl=1)),2",
      "set(ipv6(hlimit=1)),2",
      "set(tcp(src=1)),2",
      "set(udp(src=1)),2",
      "set(arp(op=1)),2",
      "pop_vlan,push_vlan(vid=1,pcp=0),2",
      "push_mpls(label=1,tc=0,ttl=1,bos=1,eth_type=0x8847),pop_mpls(eth_type=0x800),2",
      "trunc(14),set(ipv4(ttl=1)),2",
      "clone(set(udp(dst=1)),2)",
    ];
    for (const frame of wholeFrames) {
      for (const size of [14, 15, 18, 20, 33, 34, 41, 42, frame.length]) {
        const packet = frame.subarray(0, Math.min(size, frame.length));
        for (const text of actions) {
          const [result] = bench.dp.operate([{
            op: "execute",
            packet,
            key: { inPort },
            actions: text,
          }]);
          assert.ok(result?.ok === true || result?.error.code === "EINVAL", `${text}`);
        }
      }
      for (const out of await bench.collect(second)) assert.ok(out.length >= 14);
    }
  }),
);

Deno.test(
  "extraction: TypeScript and C read the same key from every frame, cut anywhere",
  skippable(async () => {
    const library = await holdLibrary({ operation: "extract" });
    try {
      const key = new Uint8Array(1024);
      const used = new Uint32Array(1);
      for (const own of hostileFrames()) {
        const errno = library.symbols.dp_extract(
          own,
          own.length,
          3,
          key,
          key.length,
          new Uint8Array(used.buffer),
        );
        assert.equal(errno, 0);
        const fromC = packetFields(decodeKey(key.slice(0, used[0])));
        const fromTypeScript = packetFields(
          decodeKey(encodeKey(extractKey(own, { inPort: 3 }))),
        );
        assert.deepEqual(fromC, fromTypeScript, `of ${own.toHex()}`);
      }
    } finally {
      library.release();
    }
  }),
);

/** A key without the metadata that every packet of a datapath has. */
function packetFields(key: FlowKey): FlowKey {
  const metadata = new Set<string>(
    [
      "recircId",
      "dpHash",
      "priority",
      "skbMark",
      "ctState",
      "ctZone",
      "ctMark",
      "ctLabels",
      "packetType",
    ],
  );
  return Object.fromEntries(Object.entries(key).filter(([name]) => !metadata.has(name)));
}
