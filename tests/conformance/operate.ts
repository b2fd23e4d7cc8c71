// SPDX-License-Identifier: Apache-2.0
/** Batches: order, partial failure, size. */
import assert from "node:assert/strict";
import type { Op } from "../../providers/operations.ts";
import { udpFrame } from "../support/frames.ts";
import { sameFrames } from "./assert.ts";
import type { Suite } from "./environment.ts";

const key = (type: number) => `recirc_id(0),in_port(1),eth(),eth_type(${type})`;

function codes(
  results: ReturnType<import("../../providers/datapath.ts").Datapath["operate"]>,
) {
  return results.map((result) => result.ok ? "ok" : result.error.code);
}

export const operateSuite: Suite = {
  "an empty batch answers nothing": ({ dp }) => assert.deepEqual(dp.operate([]), []),

  "every operation is run, in order, and answered": ({ dp }) => {
    const results = dp.operate([
      { op: "put", key: key(0x9001), actions: "2" },
      { op: "put", key: key(0x9001), actions: "3" },
      { op: "get", key: key(0x9001) },
      { op: "delete", key: key(0x9001), wantStats: true },
      { op: "get", key: key(0x9001) },
      { op: "delete", key: key(0x9001) },
      { op: "put", key: key(0x9001), actions: "3" },
    ]);
    assert.deepEqual(codes(results), [
      "ok",
      "EEXIST",
      "ok",
      "ok",
      "ENOENT",
      "ENOENT",
      "ok",
    ]);
    const [, exists, got, deleted] = results;
    assert.ok(exists?.ok === false && exists.error.operation === "put flow");
    assert.ok(exists.error.object?.includes("0x9001"), exists.error.message);
    assert.ok(
      exists.error === exists.error,
      "the error is one error however often it is read",
    );
    assert.ok(got?.ok === true && got.flow?.key?.etherType === 0x9001);
    assert.ok(deleted?.ok === true && deleted.stats?.packets === 0n);
    assert.equal(dp.stats().flows, 1);
  },

  "a packet that is executed meets the flows that were put before it": async (
    { env, dp, ports: [a, b] },
  ) => {
    const packet = udpFrame();
    const results = dp.operate([
      {
        op: "put",
        key: `recirc_id(5),in_port(${a}),eth(),eth_type(0x0800),ipv4(frag=no)`,
        actions: `${b}`,
      },
      { op: "execute", packet, key: { inPort: a }, actions: "recirc(5)" },
    ]);
    assert.deepEqual(codes(results), ["ok", "ok"]);
    sameFrames(await env.collect(dp, b), [packet]);
  },

  "a put may bring a packet, which is executed whatever comes of the put": async (
    { env, dp, ports: [a, b] },
  ) => {
    const packets = [1, 2, 3].map((srcPort) => udpFrame({ srcPort }));
    const put = {
      op: "put",
      key: `in_port(${a}),eth(),eth_type(0x0800),ipv4()`,
    } as const;
    const results = dp.operate([
      { ...put, actions: `${b}`, packet: packets[0] as Uint8Array },
      { ...put, actions: `${b}`, packet: packets[1] as Uint8Array },
      { ...put, actions: `${b}`, modify: true, packet: packets[2] as Uint8Array },
      { ...put, actions: `${b}`, modify: true, packet: new Uint8Array(13) },
      { op: "get", key: put.key },
    ]);
    assert.deepEqual(codes(results), ["ok", "EEXIST", "ok", "EINVAL", "ok"]);
    sameFrames(await env.collect(dp, b), packets);
    assert.equal(dp.stats().flows, 1);
    assert.throws(
      () => dp.operate([{ ...put, actions: "2", packet: "x" as never }]),
      TypeError,
    );
  },

  "arguments that are wrong in themselves throw before anything is run": ({ dp }) => {
    const good: Op = { op: "put", key: key(0x9001), actions: "2" };
    assert.throws(() => dp.operate([good, { ...good, actions: "fly(1)" }]), SyntaxError);
    assert.throws(() => dp.operate([good, { op: "get" }]), TypeError);
    assert.throws(() => dp.operate([good, { op: "fly" } as unknown as Op]), TypeError);
    assert.throws(
      () => dp.operate([good, { op: "execute", packet: "x" as never, actions: "2" }]),
      TypeError,
    );
    assert.equal(dp.stats().flows, 0);
  },

  "a batch may be large": ({ dp }) => {
    const ops = (op: "put" | "delete" | "get"): Op[] =>
      Array.from({ length: 3000 }, (_, i) => {
        const dst = `10.${1 + (i >> 16)}.${i >> 8 & 255}.${i & 255}`;
        const match =
          `recirc_id(0),in_port(1),eth(),eth_type(0x0800),ipv4(dst=${dst},frag=no)`;
        return op === "put" ? { op, key: match, actions: "2" } : { op, key: match };
      });
    assert.ok(dp.operate(ops("put")).every(({ ok }) => ok));
    assert.equal(dp.stats().flows, 3000);
    const found = dp.operate(ops("get"));
    assert.ok(found.every((result) => result.ok && result.flow !== undefined));
    const first = found[1];
    assert.equal(first?.ok && first.flow?.key?.ipv4?.dst, "10.1.0.1");
    assert.ok(dp.operate(ops("delete")).every(({ ok }) => ok));
    assert.equal(dp.stats().flows, 0);
  },

  "large packets pass in one batch": async ({ env, dp, ports: [a, b] }) => {
    const packet = udpFrame({ payload: new Uint8Array(1400).fill(7) });
    const op: Op = { op: "execute", packet, key: { inPort: a }, actions: `${b}` };
    assert.ok(dp.operate(new Array<Op>(100).fill(op)).every(({ ok }) => ok));
    const frames = await env.collect(dp, b);
    assert.equal(frames.length, 100);
    sameFrames(frames.slice(0, 1), [packet]);
  },
};
