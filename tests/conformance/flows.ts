// SPDX-License-Identifier: Apache-2.0
/** The flow table: put, delete, get, dump, flush; every flag, and what each answers. */
import assert from "node:assert/strict";
import { encodeKey, exact, formatActions } from "../../providers/odp/mod.ts";
import { Flow } from "../../providers/flow.ts";
import type { Op } from "../../providers/operations.ts";
import type { KeyInput } from "../../providers/types.ts";
import {
  arpFrame,
  be32,
  bytes,
  ethernet,
  neighbourFrame,
  tagged,
  tcpFrame,
  udpFrame,
} from "../support/frames.ts";
import { fails, sameFrames, upcallsOf } from "./assert.ts";
import type { Suite } from "./environment.ts";

const key =
  "recirc_id(0),in_port(1),eth(),eth_type(0x0800),ipv4(dst=10.0.0.2/255.255.255.255,frag=no)";
const wider =
  "recirc_id(0),in_port(1),eth(),eth_type(0x0800),ipv4(dst=10.0.0.0/255.0.0.0,frag=no)";
const other =
  "recirc_id(0),in_port(1),eth(),eth_type(0x0800),ipv4(dst=11.0.0.2/255.255.255.255,frag=no)";
/** Two labels. */
const mpls = ethernet(
  0x8847,
  bytes(be32(0x00064040), be32(0x00065140), new Uint8Array(40)),
);
const ufid = "01234567-89ab-4def-8123-456789abcdef";

export const flowSuite: Suite = {
  "put adds a flow, get finds it by key and answers all of it": ({ dp }) => {
    dp.flows.put({ key, actions: "2" });
    const flow = dp.flows.get({ key });
    assert.equal(flow.key?.inPort, 1);
    assert.equal(flow.key?.ipv4?.dst, "10.0.0.2");
    assert.equal(formatActions(flow.actions ?? []), "2");
    assert.equal(flow.stats.packets, 0n);
    assert.equal(flow.stats.usedMs, undefined);
    assert.equal(dp.stats().flows, 1);
  },

  "a flow of a listing names itself, whether it has an identifier or not": ({ dp }) => {
    dp.flows.put({ key, actions: "2" });
    dp.flows.put({ key: other, actions: "2", ufid });
    for (const flow of [...dp.flows.dump()]) {
      assert.equal(`${dp.flows.get(flow).raw.key}`, `${flow.raw.key}`);
      dp.flows.delete(flow);
    }
    assert.equal(dp.stats().flows, 0);
  },

  "a flow is cloned whole, by plain(), or not at all": ({ dp }) => {
    dp.flows.put({ key, actions: "2", ufid });
    for (const flow of [...dp.flows.dump(), dp.flows.get({ ufid })]) {
      const copy = new Flow(structuredClone(flow.plain()));
      assert.equal(`${copy}`, `${flow}`);
      assert.equal(copy.layer, flow.layer);
      assert.equal(copy.raw.key?.buffer.byteLength, copy.raw.key?.length);
      if (flow.raw.plain === undefined) continue;
      assert.throws(() => structuredClone(flow), { name: "DataCloneError" });
      assert.throws(() => structuredClone(flow.raw), { name: "DataCloneError" });
    }
  },

  "an equal flow is EEXIST, and stays as it was": async ({ dp }) => {
    dp.flows.put({ key, actions: "2" });
    const error = await fails(() => dp.flows.put({ key, actions: "3" }), "EEXIST");
    assert.ok(
      error.object?.includes("in_port(1)"),
      `no flow in the error: ${error.message}`,
    );
    assert.equal(formatActions(dp.flows.get({ key }).actions ?? []), "2");
  },

  "a flow whose key is covered already is EEXIST": async ({ dp }) => {
    dp.flows.put({ key: wider, actions: "2" });
    await fails(() => dp.flows.put({ key, actions: "3" }), "EEXIST");
    dp.flows.put({ key: other, actions: "3" });
    assert.equal(dp.stats().flows, 2);
  },

  "modify alone changes what is there, ENOENT what is not": async ({ dp }) => {
    await fails(
      () => dp.flows.put({ key, actions: "3", create: false, modify: true }),
      "ENOENT",
    );
    dp.flows.put({ key, actions: "2" });
    dp.flows.put({ key, actions: "3", create: false, modify: true });
    assert.equal(formatActions(dp.flows.get({ key }).actions ?? []), "3");
    assert.equal(dp.stats().flows, 1);
  },

  "create and modify do either": ({ dp }) => {
    dp.flows.put({ key, actions: "2", modify: true });
    dp.flows.put({ key, actions: "3", modify: true });
    assert.equal(formatActions(dp.flows.get({ key }).actions ?? []), "3");
    assert.equal(dp.stats().flows, 1);
  },

  "probe puts a flow like any other": async ({ dp }) => {
    dp.flows.put({ key, actions: "2", probe: true });
    assert.equal(formatActions(dp.flows.get({ key }).actions ?? []), "2");
    await fails(() => dp.flows.put({ key, actions: "2", probe: true }), "EEXIST");
  },

  "actions may be empty: that drops": async ({ env, dp, ports: [a, b] }) => {
    dp.flows.put({ key: `in_port(${a}),eth(),eth_type(0x0800),ipv4()`, actions: "drop" });
    await env.inject(dp, a, udpFrame());
    assert.deepEqual(await env.collect(dp, b), []);
    assert.deepEqual([...dp.flows.dump()].map(({ actions }) => actions), [[]]);
    assert.equal(dp.stats().hit, 1n);
  },

  "a flow is named by its identifier": async ({ dp }) => {
    dp.flows.put({ key, actions: "2", ufid });
    assert.equal(dp.flows.get({ ufid }).ufid, ufid);
    assert.equal(dp.flows.get({ ufid }).key?.ipv4?.dst, "10.0.0.2");
    dp.flows.delete({ ufid });
    await fails(() => dp.flows.get({ ufid }), "ENOENT");
    await fails(() => dp.flows.delete({ ufid }), "ENOENT");
  },

  "delete by key answers the last counters": async ({ env, dp, ports: [a, b] }) => {
    const match = `recirc_id(0),in_port(${a}),eth(),eth_type(0x0800),ipv4(frag=no)`;
    dp.flows.put({ key: match, actions: `${b}` });
    const frame = udpFrame();
    await env.inject(dp, a, frame);
    await env.inject(dp, a, frame);
    await env.collect(dp, b);
    const stats = dp.flows.delete({ key: match });
    assert.equal(stats?.packets, 2n);
    assert.equal(stats?.bytes, BigInt(2 * frame.length));
    await fails(() => dp.flows.delete({ key: match }), "ENOENT");
    assert.equal(dp.stats().flows, 0);
  },

  "get and delete need a key or an identifier": ({ dp }) => {
    assert.throws(() => dp.flows.get({}), TypeError);
    assert.throws(() => dp.flows.delete({}), TypeError);
  },

  "what is not there is ENOENT": async ({ dp }) => {
    await fails(() => dp.flows.get({ key }), "ENOENT");
    await fails(() => dp.flows.delete({ key }), "ENOENT");
  },

  "in_port must be exact, where tables are by port": async ({ env, dp }) => {
    const wild = () =>
      dp.flows.put({ key: "recirc_id(0),eth(),eth_type(0x0806),arp()", actions: "2" });
    if (env.differences.has("wildInPort")) wild();
    else await fails(wild, "EINVAL");
  },

  "a key that lacks what its fields need is EINVAL": async ({ env, dp }) => {
    // As bytes: objects and text are completed on their way.
    const key = encodeKey({ inPort: 1, ethernet: {}, etherType: 0x0800 });
    const put = () => dp.flows.put({ key, actions: "2" });
    if (env.differences.has("prerequisites")) put();
    else await fails(put, "EINVAL");
  },

  "short keys are completed, match what they say and are found again": async (
    { env, dp, ports: [a, b] },
  ) => {
    const cases: [KeyInput, Uint8Array][] = [
      [`recirc_id(0),in_port(${a}),eth_type(0x0806)`, arpFrame()],
      [`in_port(${a}),eth_type(0x0800)`, udpFrame()],
      [`in_port(${a}),eth_type(0x0800),ipv4(proto=17)`, udpFrame()],
      [
        `in_port(${a}),eth_type(0x0800),ipv4(proto=6),tcp(dst=80)`,
        tcpFrame({ dstPort: 80 }),
      ],
      [`in_port(${a}),eth_type(0x86dd),ipv6(proto=58)`, neighbourFrame()],
      [
        `in_port(${a}),eth_type(0x86dd),ipv6(proto=58),icmpv6(type=135,code=0)`,
        neighbourFrame(),
      ],
      [
        `in_port(${a}),eth_type(0x8100),vlan(vid=5),encap(eth_type(0x0800))`,
        tagged(udpFrame(), 5),
      ],
      [`in_port(${a}),eth_type(0x8847)`, mpls],
      [`in_port(${a}),eth_type(0x88cc)`, ethernet(0x88cc, new Uint8Array(46))],
    ];
    for (const [key, frame] of cases) {
      dp.flows.put({ key, actions: `${b}` });
      await env.inject(dp, a, frame);
      sameFrames(await env.collect(dp, b), [frame]);
      assert.equal(dp.flows.get({ key }).stats.packets, 1n, `${key}`);
      dp.flows.delete({ key });
    }
    const object = { inPort: a, etherType: 0x0806 };
    dp.flows.put({
      key: object,
      mask: { inPort: true, etherType: true },
      actions: `${b}`,
    });
    await env.inject(dp, a, arpFrame());
    sameFrames(await env.collect(dp, b), [arpFrame()]);
    assert.equal(dp.flows.get({ key: object }).stats.packets, 1n);
  },

  "the key of every upcall makes a flow, by any mask that programs use": async (
    { env, dp, ports: [a, b] },
  ) => {
    const llc = ethernet(38, bytes("42 42 03", new Uint8Array(43)));
    const frames = [
      llc,
      tagged(llc, 5),
      arpFrame(),
      neighbourFrame(),
      tagged(tcpFrame(), 7),
      mpls,
      ethernet(0x0800, new Uint8Array(46)), // No IP at all.
    ];
    const masks = [
      exact("inPort"),
      exact("inPort", "ethernet"),
      exact("inPort", "vlans"),
    ];
    for (const frame of frames) {
      const [upcall] = await upcallsOf(dp, 1, () => env.inject(dp, a, frame));
      assert.ok(upcall);
      for (const mask of masks) {
        dp.flows.put({ key: upcall.key, mask, actions: `${b}` });
        await env.inject(dp, a, frame);
        sameFrames(await env.collect(dp, b), [frame]);
        dp.flows.flush();
      }
    }
  },

  "a masked set has no need of a clean value": async ({ env, dp, ports: [a, b] }) => {
    dp.flows.put({
      key: `in_port(${a}),eth_type(0x0806)`,
      actions: `set(eth(dst=02:00:00:00:00:ff/00:00:00:00:00:0f)),${b}`,
    });
    const frame = arpFrame();
    await env.inject(dp, a, frame);
    const wanted = frame.slice();
    wanted[5] = (frame[5] ?? 0) & 0xf0 | 0x0f;
    sameFrames(await env.collect(dp, b), [wanted]);
  },

  "bytes that are no attributes are EINVAL": async ({ dp }) => {
    for (const hex of ["ff", "0300030001000000", "0c000300", "08000300010000"]) {
      const bytes = Uint8Array.fromHex(hex);
      await fails(() => dp.flows.put({ key: bytes, actions: "2" }), "EINVAL", "ERANGE");
    }
    assert.equal(dp.stats().flows, 0);
  },

  "text that does not parse is a SyntaxError, before anything is done": ({ dp }) => {
    assert.throws(
      () => dp.flows.put({ key: "in_port(1),nonsense(2)", actions: "2" }),
      SyntaxError,
    );
    assert.throws(() => dp.flows.put({ key, actions: "fly(2)" }), SyntaxError);
    assert.equal(dp.stats().flows, 0);
  },

  "a dump has every flow once, with key, mask, actions and identifier": ({ dp }) => {
    for (let i = 0; i < 300; i++) {
      dp.flows.put({
        key: `recirc_id(0),in_port(1),eth(),eth_type(0x0800),ipv4(dst=10.1.${i >> 8}.${
          i & 255
        },frag=no)`,
        actions: `${2 + i % 2}`,
      });
    }
    const flows = [...dp.flows.dump()];
    assert.equal(flows.length, 300);
    assert.equal(new Set(flows.map(({ key }) => key?.ipv4?.dst)).size, 300);
    for (const flow of flows) {
      const last = Number(flow.key?.ipv4?.dst.split(".")[3]);
      assert.equal(formatActions(flow.actions ?? []), `${2 + last % 2}`);
      assert.ok(flow.mask !== undefined);
      assert.ok(`${flow}`.includes("actions:"), `${flow}`);
    }
  },

  "what a dump says of a flow puts that flow again": ({ dp }) => {
    dp.flows.put({ key: wider, actions: "2,3" });
    const [before] = [...dp.flows.dump()];
    assert.ok(before?.raw.key !== undefined && before.raw.actions !== undefined);
    const { key, mask, actions } = before.raw;
    dp.flows.flush();
    dp.flows.put({ key, ...(mask && { mask }), actions });
    const [after] = [...dp.flows.dump()];
    assert.equal(`${after}`, `${before}`);
  },

  "a terse dump has identifiers and counters": ({ dp }) => {
    dp.flows.put({ key, actions: "2", ufid });
    const [flow, ...more] = [...dp.flows.dump({ terse: true })];
    assert.deepEqual(more, []);
    assert.equal(flow?.ufid, ufid);
    assert.equal(flow?.actions, undefined);
    assert.equal(flow?.stats.packets, 0n);
  },

  "several readers of a dump share its flows": async ({ dp }) => {
    const count = 1000;
    const ops = Array.from({ length: count }, (_, i): Op => ({
      op: "put",
      key: `recirc_id(${i + 1}),in_port(1),eth(),eth_type(0x0806),arp()`,
      actions: [],
    }));
    for (const result of dp.operate(ops)) assert.ok(result.ok);
    const read = async (reader: Iterable<Flow>, seen: number[]) => {
      for (const { key } of reader) {
        seen.push(key?.recircId ?? 0);
        // Gives way to the others.
        if (seen.length % 50 === 0) await new Promise((resolve) => setTimeout(resolve));
      }
    };
    const parts: number[][] = [[], [], []];
    const readers = dp.flows.readers(4);
    // One that leaves at once, having been given nothing.
    readers.pop()?.return?.();
    await Promise.all(readers.map((reader, i) => read(reader, parts[i] ?? [])));
    assert.deepEqual(
      parts.flat().toSorted((a, b) => a - b),
      Array.from({ length: count }, (_, i) => i + 1),
    );
    for (const part of parts) assert.ok(part.length > 0, `${parts.map((p) => p.length)}`);
    for (const reader of readers) assert.equal(reader.next().done, true);
    assert.throws(() => dp.flows.readers(0), RangeError);
  },

  "a dump may be left early, and the table changed meanwhile": ({ dp }) => {
    for (let i = 0; i < 200; i++) {
      dp.flows.put({
        key: `recirc_id(0),in_port(1),eth(),eth_type(${0x9000 + i})`,
        actions: "2",
      });
    }
    for (const _ of dp.flows.dump()) break;
    let seen = 0;
    for (const flow of dp.flows.dump()) {
      seen++;
      if (flow.key?.etherType === 0x9000) dp.flows.put({ key: other, actions: "2" });
    }
    assert.ok(seen >= 200, `${seen} of 200 flows that stayed`);
    dp.flows.flush();
    assert.equal(dp.stats().flows, 0);
    assert.deepEqual([...dp.flows.dump()], []);
  },

  "packets go by the flow that covers them, masks and all": async (
    { env, dp, ports: [a, b, c] },
  ) => {
    const match = (dst: string) =>
      `recirc_id(0),in_port(${a}),eth(),eth_type(0x0800),ipv4(dst=${dst},frag=no)`;
    dp.flows.put({ key: match("10.1.0.0/255.255.0.0"), actions: `${b}` });
    dp.flows.put({ key: match("10.2.3.4"), actions: `${c}` });
    const first = udpFrame({ dst: "10.1.9.9" });
    const second = udpFrame({ dst: "10.2.3.4" });
    const third = udpFrame({ dst: "10.3.3.4" });
    for (const frame of [first, second, third]) await env.inject(dp, a, frame);
    sameFrames(await env.collect(dp, b), [first]);
    sameFrames(await env.collect(dp, c), [second]);
    assert.equal(dp.flows.get({ key: match("10.2.3.4") }).stats.packets, 1n);
  },

  "zeroStats starts counting anew": async ({ env, dp, ports: [a, b] }) => {
    const match = `recirc_id(0),in_port(${a}),eth(),eth_type(0x0800),ipv4(frag=no)`;
    dp.flows.put({ key: match, actions: `${b}` });
    await env.inject(dp, a, udpFrame());
    await env.collect(dp, b);
    const before = dp.flows.put({
      key: match,
      actions: `${b}`,
      create: false,
      modify: true,
      zeroStats: true,
      wantStats: true,
    });
    assert.equal(before?.packets, 1n);
    assert.equal(dp.flows.get({ key: match }).stats.packets, 0n);
  },
};
