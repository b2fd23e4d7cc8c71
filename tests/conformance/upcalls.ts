// SPDX-License-Identifier: Apache-2.0
/** Upcalls: what comes up, how waiting ends, what is lost. */
import assert from "node:assert/strict";
import { openDatapath } from "../../providers/registry.ts";
import { exact, output } from "../../providers/odp/mod.ts";
import { Upcall } from "../../providers/upcall.ts";
import { arpFrame, udpFrame } from "../support/frames.ts";
import { patience, pause } from "../support/wait.ts";
import { fails, sameFrames, upcallsOf } from "./assert.ts";
import type { Suite } from "./environment.ts";

export const upcallSuite: Suite = {
  "a packet without a flow comes up, key and all": async ({ env, dp, ports: [, b] }) => {
    const frame = udpFrame({ dst: "10.9.8.7", dstPort: 4789 });
    const [upcall] = await upcallsOf(dp, 1, () => env.inject(dp, b, frame));
    assert.equal(upcall?.kind, "miss");
    assert.equal(upcall?.packet.toHex(), frame.toHex());
    assert.equal(upcall?.key.inPort, b);
    assert.equal(upcall?.inPort, b);
    assert.equal(upcall?.key.ethernet?.src, "02:00:00:00:00:01");
    assert.equal(upcall?.key.ipv4?.dst, "10.9.8.7");
    assert.equal(upcall?.key.udp?.dst, 4789);
    assert.equal(upcall?.userdata, undefined);
    assert.equal(upcall?.originalLength, undefined);
  },

  "upcalls of one port come in order": async ({ env, dp, ports: [a] }) => {
    const frames = Array.from(
      { length: 20 },
      (_, i) => udpFrame({ srcPort: 5, payload: new Uint8Array(30).fill(i) }),
    );
    const upcalls = await upcallsOf(dp, frames.length, async () => {
      for (const frame of frames) await env.inject(dp, a, frame);
    });
    sameFrames(upcalls.map(({ packet }) => packet), frames);
  },

  "what an upcall brought is the program's own": async ({ env, dp, ports: [a] }) => {
    const frame = udpFrame();
    const [first] = await upcallsOf(dp, 1, () => env.inject(dp, a, frame));
    const [second] = await upcallsOf(dp, 1, () => env.inject(dp, a, arpFrame()));
    first?.packet.fill(0xee);
    assert.equal(second?.packet.toHex(), arpFrame().toHex());
    assert.ok(first?.packet.every((byte) => byte === 0xee));
    assert.equal(first?.key.ipv4?.dst, "10.0.0.2");
  },

  "an upcall is cloned whole or not at all": async ({ env, dp, ports: [a] }) => {
    const frame = udpFrame();
    const [upcall] = await upcallsOf(dp, 1, () => env.inject(dp, a, frame));
    let copy: Upcall | undefined;
    try {
      copy = new Upcall(structuredClone(upcall?.raw ?? assert.fail("no upcall")));
    } catch (error) {
      assert.ok(error instanceof DOMException && error.name === "DataCloneError");
    }
    if (copy !== undefined) sameFrames([copy.packet], [frame]);
  },

  "a decision executes the packet and puts a flow for the next": async (
    { env, dp, ports: [a, b] },
  ) => {
    const frame = udpFrame();
    const [upcall] = await upcallsOf(dp, 1, () => env.inject(dp, a, frame));
    assert.ok(upcall !== undefined);
    const { key, packet } = upcall;
    const actions = [output(b)];
    const results = dp.operate([
      { op: "execute", packet, key, actions },
      { op: "put", key, mask: exact("inPort", "ethernet"), actions },
    ]);
    for (const result of results) if (!result.ok) throw result.error;
    await env.inject(dp, a, udpFrame({ dstPort: 7 }));
    sameFrames(await env.collect(dp, b), [frame, udpFrame({ dstPort: 7 })]);
    const { hit, missed } = dp.stats();
    assert.deepEqual([hit, missed], [1n, 1n]);
  },

  "verdicts put flows and send packets on, of what came last and of what was kept":
    async (
      { env, dp, ports: [a, b] },
    ) => {
      const mask = exact("inPort", "ipv4", "udp");
      const verdict = { mask, actions: [output(b)] };
      const stream = dp.upcallBatches({ batch: 8, signal: patience() });
      const frames = [1, 2, 3, 1].map((srcPort) => udpFrame({ srcPort }));
      for (const frame of frames) await env.inject(dp, a, frame);
      const kept: Upcall[] = [];
      const codes: (string | undefined)[] = [];
      for await (const upcalls of stream) {
        assert.throws(
          () => dp.answer(upcalls, () => assert.fail("no verdict")),
          /no verdict/,
        );
        const results = dp.answer(
          upcalls,
          ({ key }) => key.udp?.src === 2 ? undefined : verdict,
        );
        codes.push(
          ...results.map((result) => result && (result.ok ? "ok" : result.error.code)),
        );
        kept.push(...upcalls);
        if (kept.length === frames.length) break;
      }
      // The last is of the flow that the first has put: that it is there is as good.
      assert.deepEqual(codes, ["ok", undefined, "ok", "ok"]);
      const [strict] = dp.answer(kept.slice(0, 1), () => ({ ...verdict, modify: false }));
      assert.equal(strict?.ok === false && strict.error.code, "EEXIST");
      sameFrames(
        await env.collect(dp, b),
        [1, 3, 1, 1].map((srcPort) => udpFrame({ srcPort })),
      );
      assert.equal(dp.stats().flows, 2);

      await upcallsOf(dp, 1, () => env.inject(dp, a, udpFrame({ srcPort: 4 })));
      const again = dp.answer(kept, () => ({ mask, actions: "", modify: true }));
      assert.ok(again.length === kept.length && again.every((result) => result?.ok));
      assert.equal(dp.stats().flows, 3);
      sameFrames(await env.collect(dp, b), []);
      assert.deepEqual(dp.answer([], () => verdict), []);
    },

  "a key that came up, put exactly, covers its packet": async (
    { env, dp, ports: [a, b] },
  ) => {
    const [upcall] = await upcallsOf(dp, 1, () => env.inject(dp, a, udpFrame()));
    assert.ok(upcall !== undefined);
    dp.flows.put({ key: upcall.key, actions: `${b}` });
    await env.inject(dp, a, udpFrame());
    await env.inject(dp, a, udpFrame({ srcPort: 9 }));
    sameFrames(await env.collect(dp, b), [udpFrame()]);
  },

  "an action upcall brings userdata and is not a miss": async (
    { env, dp, ports: [a] },
  ) => {
    const pid = dp.ports.upcallPortId(a);
    dp.flows.put({
      key: `recirc_id(0),in_port(${a}),eth(),eth_type(0x0800),ipv4(frag=no)`,
      actions: `userspace(pid=${pid},userdata(aabb))`,
    });
    const [upcall] = await upcallsOf(dp, 1, () => env.inject(dp, a, udpFrame()));
    assert.equal(upcall?.kind, "action");
    assert.equal(upcall?.userdata?.toHex(), "aabb");
    assert.equal(dp.stats().missed, 0n);
    assert.equal(dp.stats().hit, 1n);
  },

  "batches bring many at once": async ({ env, dp, ports: [a] }) => {
    const stream = dp.upcallBatches({ batch: 8, signal: patience() });
    for (let i = 0; i < 20; i++) await env.inject(dp, a, udpFrame({ srcPort: i }));
    let seen = 0;
    for await (const batch of stream) {
      assert.ok(
        batch.length >= 1 && batch.length <= 8,
        `${batch.length} in a batch of 8`,
      );
      seen += batch.length;
      if (seen === 20) break;
    }
    assert.equal(seen, 20);
  },

  "a handler has one reader at a time, and is free again afterwards": async (
    { env, dp, ports: [a] },
  ) => {
    const stream = dp.upcalls();
    await fails(() => dp.upcalls(), "EBUSY");
    await stream.close();
    const [upcall] = await upcallsOf(dp, 1, () => env.inject(dp, a, udpFrame()));
    assert.equal(upcall?.kind, "miss");
  },

  "an abort while waiting rejects with the reason": async ({ dp }) => {
    const abort = new AbortController();
    const next = dp.upcalls({ signal: abort.signal }).next();
    setTimeout(() => abort.abort(new Error("enough")), 20);
    await assert.rejects(next, { message: "enough" });
  },

  "closing the datapath while waiting ends the loop": async ({ env, dp }) => {
    const other = await openDatapath(`${env.type}@${dp.name}`);
    const loop = (async () => {
      for await (const _ of other.upcalls());
    })();
    await pause(20);
    await other.close();
    await loop;
  },

  "destroying the datapath while waiting ends the loop": async ({ dp }) => {
    const loop = (async () => {
      for await (const _ of dp.upcalls());
    })();
    await pause(20);
    await dp.destroy();
    await loop;
  },

  "purge drops what waits": async ({ env, dp, ports: [a] }) => {
    const stream = dp.upcalls({ signal: patience() });
    for (let i = 0; i < 5; i++) await env.inject(dp, a, udpFrame());
    await env.settle(dp);
    dp.purgeUpcalls();
    await env.inject(dp, a, arpFrame());
    const { value } = await stream.next();
    assert.equal(value?.packet.toHex(), arpFrame().toHex());
    await stream.close();
  },

  "handlers share the upcalls": async ({ env, dp, ports: [a] }) => {
    dp.setHandlers(2);
    const streams = [0, 1].map((handler) => dp.upcalls({ handler, signal: patience() }));
    const seen = new Set<number>();
    const loops = streams.map(async (stream) => {
      for await (const { key } of stream) {
        seen.add(key.udp?.src ?? -1);
        if (seen.size === 50) await Promise.all(streams.map((each) => each.close()));
      }
    });
    for (let i = 0; i < 50; i++) {
      await env.inject(dp, a, udpFrame({ srcPort: 100 + i, dstPort: i }));
    }
    await Promise.all(loops);
    assert.equal(seen.size, 50);
  },
};
