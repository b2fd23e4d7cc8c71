// SPDX-License-Identifier: Apache-2.0
/** Next hops that change while packets go by them. */
import assert from "node:assert/strict";
import { figure } from "../../support/figure.ts";
import { udpFrame } from "../../support/frames.ts";
import { collectAll, NetdevBench } from "../../support/netdev.ts";
import { skippable } from "../../support/skip.ts";
import { until } from "../../support/wait.ts";

const far = "192.0.2.2";
const rounds = 400;

/** The neighbour's address from a round on. */
const macOf = (round: number) =>
  `02:00:00:00:${(round >> 8).toString(16).padStart(2, "0")}:${
    (round & 0xff).toString(16).padStart(2, "0")
  }`;

Deno.test(
  "tunnels: a next hop that changes under traffic takes effect before the next packet",
  skippable(async () => {
    await using bench = await NetdevBench.open();
    const { dp } = bench;
    const [inside, outside] = await bench.ports("inside", "outside");
    const { no } = await dp.ports.add({ name: "t", type: "vxlan" });
    const { tunnels } = dp;
    assert.ok(tunnels);
    const prefix = { address: "192.0.2.1", length: 24 };
    tunnels.addAddress({ device: "outside", prefix });
    tunnels.addRoute({ destination: prefix, device: "outside" });
    const change = (round: number) =>
      tunnels.setNeighbour({ address: far, mac: macOf(round), device: "outside" });
    change(0);
    dp.flows.put({
      key: `in_port(${inside}),eth(),eth_type(0x0800)`,
      actions: `set(tunnel(tun_id=0x1,dst=${far},ttl=64,flags(df|key))),${no}`,
    });
    const frame = (round: number) => {
      const bytes = udpFrame();
      bytes.set([round >> 8, round & 0xff], 10); // In the Ethernet source address.
      return bytes;
    };
    await until("the way to be found", () => {
      bench.inject(inside, frame(0));
      return collectAll(dp, outside).length > 0;
    });
    await bench.collect(outside);

    const times: number[] = [];
    for (let round = 1; round <= rounds; round++) {
      const start = performance.now();
      change(round);
      times.push(performance.now() - start);
      await bench.injectAll(inside, Array.from({ length: 4 }, () => frame(round)));
    }
    const frames = await bench.collect(outside);
    assert.equal(frames.length, 4 * rounds);
    for (const bytes of frames) {
      const view = new DataView(bytes.buffer, bytes.byteOffset);
      const [to, round] = [view.getUint16(4), view.getUint16(50 + 10)];
      assert.ok(to >= round, `a packet after change ${round} went to address ${to}`);
    }
    times.sort((a, b) => a - b);
    const at = (share: number) => (times[Math.floor(share * rounds)] ?? 0) * 1000;
    figure(
      `a next hop changes in ${at(0.5).toFixed(0)} µs (median), ` +
        `${at(0.99).toFixed(0)} µs (of 100 the slowest), under traffic`,
    );
  }),
);
