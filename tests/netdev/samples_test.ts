// SPDX-License-Identifier: Apache-2.0
/** What `psample` actions see is shown to one that looks, and is in nobody's way. */
import assert from "node:assert/strict";
import type { PacketSample } from "../../providers/contract/samples.ts";
import type { PortNo } from "../../providers/ids.ts";
import { openDatapath } from "../../providers/registry.ts";
import { arpFrame } from "../support/frames.ts";
import { NetdevBench } from "../support/netdev.ts";
import { skippable } from "../support/skip.ts";

const arp = (port: PortNo) => `in_port(${port}),eth(),eth_type(0x0806),arp()`;

/** What was sampled, without its time. */
const shown = (samples: readonly PacketSample[]) =>
  samples.map(({ time: _, packet, cookie, ...rest }) => ({
    ...rest,
    ...(cookie && { cookie: cookie.toHex() }),
    packet: packet.toHex(),
  }));

Deno.test(
  "samples: each is shown with group, cookie, rate, port and the packet as it is there",
  skippable(async () => {
    await using bench = await NetdevBench.open();
    const { dp } = bench;
    const [p1, p2] = await bench.ports("p1", "p2");
    const frame = arpFrame();
    const packet = frame.toHex();
    const originalLength = frame.length;
    const send = async (actions: string): Promise<string[]> => {
      dp.flows.put({ key: arp(p1), actions, create: true, modify: true });
      bench.inject(p1, frame);
      return (await bench.collect(p2)).map((sent) => sent.toHex());
    };
    // While nobody looks, nothing is kept.
    assert.deepEqual(await send(`psample(group=1),${p2}`), [packet]);
    using watch = dp.samples?.watch();
    assert.ok(watch !== undefined);
    assert.deepEqual(watch.receive(), []);
    const began = BigInt(Date.now()) * 1_000_000n;
    assert.deepEqual(await send(`psample(group=7,cookie=0xf102),${p2}`), [packet]);
    const [first] = watch.receive();
    assert.ok(first !== undefined);
    assert.ok(first.time >= began && first.time < began + 600_000_000_000n);
    const plain = { rate: 1, inPort: p1, originalLength };
    assert.deepEqual(shown([first]), [{ group: 7, cookie: "f102", ...plain, packet }]);
    // As the packet is there; the last of a list is no drop.
    const dropped = dp.stats().counters?.drop_action;
    const mac = "020000000009";
    assert.deepEqual(
      await send(`set(eth(dst=02:00:00:00:00:09)),${p2},psample(group=4294967295)`),
      [mac + packet.slice(12)],
    );
    assert.deepEqual(shown(watch.receive()), [
      { group: 0xffffffff, ...plain, packet: mac + packet.slice(12) },
    ]);
    assert.equal(dp.stats().counters?.drop_action, dropped);
    // A trunc is for the sample, not for what comes behind it.
    assert.deepEqual(await send(`trunc(20),psample(group=1),${p2}`), [packet]);
    assert.deepEqual(shown(watch.receive()), [
      { group: 1, ...plain, packet: packet.slice(0, 40) },
    ]);
    // In a sample, it knows of how many packets it is one.
    await send(`sample(sample=100%,actions(psample(group=2))),${p2}`);
    await send(
      `sample(sample=50%,actions(sample(sample=100%,actions(psample(group=3))))),psample(group=4),${p2}`,
    );
    assert.deepEqual(
      watch.receive().filter(({ group }) => group !== 3).map(({ group, rate }) => ({
        group,
        rate,
      })),
      [{ group: 2, rate: 1 }, { group: 4, rate: 1 }],
    );
    let rate: number | undefined;
    while (rate === undefined) {
      await send(`sample(sample=25%,actions(psample(group=5))),${p2}`);
      rate = watch.receive()[0]?.rate;
    }
    assert.equal(rate.toFixed(3), "4.000");
    // Executed, too.
    dp.execute({ packet: frame, key: { inPort: p2 }, actions: "psample(group=6)" });
    assert.deepEqual(shown(watch.receive()), [
      { group: 6, ...plain, inPort: p2, packet },
    ]);
  }),
);

Deno.test(
  "samples: one object looks at a time, what is too much is counted, and a closed one looks no more",
  skippable(async () => {
    await using bench = await NetdevBench.open();
    const { dp } = bench;
    const [p1, p2] = await bench.ports("p1", "p2");
    dp.flows.put({ key: arp(p1), actions: `psample(group=1),${p2}` });
    const other = await openDatapath(dp.fullName);
    const theirs = other.samples?.watch();
    assert.throws(() => dp.samples?.watch(), { code: "EBUSY", message: /somebody else/ });
    // Dropped packets are another matter.
    dp.drops?.watch()[Symbol.dispose]();
    await other.close();
    theirs?.[Symbol.dispose]();
    using watch = dp.samples?.watch();
    assert.ok(watch !== undefined);
    assert.throws(() => dp.samples?.watch(), { code: "EBUSY", message: /this object/ });
    const frame = arpFrame();
    for (let i = 0; i < 1100; i++) {
      bench.inject(p1, frame);
      if (i % 50 === 49) await bench.collect(p2);
    }
    await bench.settle();
    const samples = watch.receive();
    assert.equal(samples.length, 1024);
    assert.equal(watch.lost, 76n);
    for (let i = 1; i < samples.length; i++) {
      assert.ok((samples[i]?.time ?? 0n) >= (samples[i - 1]?.time ?? 0n));
    }
  }),
);
