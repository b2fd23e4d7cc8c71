// SPDX-License-Identifier: Apache-2.0
/**
 * Fragments: what is set can be read, and what waits can be seen. A provider without the facet has
 * nothing to hold it to.
 */
import assert from "node:assert/strict";
import { fragmentsOf } from "../support/fragments.ts";
import { udpFrame } from "../support/frames.ts";
import type { Suite } from "./environment.ts";

export const fragmentSuite: Suite = {
  "settings of either version are read as they were set": ({ dp }) => {
    const { fragments } = dp;
    if (fragments === undefined) return;
    const { v4, v6, count, max } = fragments.status();
    assert.deepEqual([v4.enabled, v6.enabled, v4.minSize, v6.minSize], [
      true,
      true,
      1200,
      1280,
    ]);
    assert.deepEqual([count, max], [0, 1000]);
    fragments.setEnabled(6, false);
    fragments.setMinSize(4, 400);
    fragments.setMinSize(6, 2000);
    fragments.setMaxFragments(5000);
    const after = fragments.status();
    assert.deepEqual([after.v4.enabled, after.v6.enabled], [true, false]);
    assert.deepEqual([after.v4.minSize, after.v6.minSize, after.max], [400, 2000, 5000]);
    assert.throws(() => fragments.setMinSize(4, 399), { code: "EPERM" });
    assert.throws(() => fragments.setMaxFragments(5001), { code: "EPERM" });
    assert.throws(() => fragments.setEnabled(5 as 4, true), RangeError);
    assert.throws(() => fragments.setMinSize(4, -1), RangeError);
    assert.deepEqual([fragments.status().v4.minSize, fragments.status().max], [
      400,
      5000,
    ]);
  },

  "fragments are counted, and a packet that is not whole is listed": async (bench) => {
    const { env, dp, ports: [a, b] } = bench;
    const { fragments } = dp;
    if (fragments === undefined) return;
    for (const frag of ["first", "later"]) {
      dp.flows.put({
        key: `recirc_id(0),in_port(${a}),eth(),eth_type(0x0800),ipv4(frag=${frag})`,
        actions: `ct(zone=5),${b}`,
      });
    }
    const frame = udpFrame({ payload: new Uint8Array(3000) });
    const [first, second, last] = fragmentsOf(frame, 1400, { id: 98 });
    const [small] = fragmentsOf(frame, 800, { id: 99 });
    assert.ok(first && second && last && small);
    for (const piece of [first, last, first, small]) await env.inject(dp, a, piece);
    assert.equal((await env.collect(dp, b)).length, 2, "those that are refused");
    assert.deepEqual([...fragments.dump()], [
      "(src=10.0.0.1,dst=10.0.0.2,recirc_id=0,ip_id=98,dl_type=0x800,zone=5,nw_proto=17," +
      "num_fragments=2,state=first/last frag)",
    ]);
    const { v4, count } = fragments.status();
    assert.deepEqual(
      [count, v4.accepted, v4.completed, v4.overlapping, v4.tooSmall],
      [2, 2n, 0n, 1n, 1n],
    );
    await env.inject(dp, a, second);
    assert.equal((await env.collect(dp, b)).length, 3);
    assert.equal(fragments.status().v4.completed, 3n);
    assert.equal(fragments.status().count, 0);
    assert.deepEqual([...fragments.dump()], []);
    fragments.setEnabled(4, false);
    await env.inject(dp, a, first);
    assert.equal((await env.collect(dp, b)).length, 1, "not put together");
  },
};
