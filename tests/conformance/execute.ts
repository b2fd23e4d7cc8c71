// SPDX-License-Identifier: Apache-2.0
/** Actions on a packet that the program has. */
import assert from "node:assert/strict";
import { output } from "../../providers/odp/mod.ts";
import { udpFrame } from "../support/frames.ts";
import { fails, sameFrames, upcallsOf } from "./assert.ts";
import type { Suite } from "./environment.ts";

export const executeSuite: Suite = {
  "output sends the packet, to many ports in order": async (
    { env, dp, ports: [a, b, c] },
  ) => {
    const packet = udpFrame();
    dp.execute({ packet, key: { inPort: a }, actions: [output(b), output(c)] });
    dp.execute({ packet, key: { inPort: a }, actions: `${b},${b}` });
    sameFrames(await env.collect(dp, b), [packet, packet, packet]);
    sameFrames(await env.collect(dp, c), [packet]);
    sameFrames(await env.collect(dp, a), []);
  },

  "the packet given stays as it was": async ({ env, dp, ports: [a, b] }) => {
    const packet = udpFrame();
    const before = packet.slice();
    dp.execute({ packet, key: { inPort: a }, actions: `${b}` });
    await env.collect(dp, b);
    assert.deepEqual(packet, before);
  },

  "no actions drop": async ({ env, dp, ports: [a, b] }) => {
    dp.execute({ packet: udpFrame(), key: { inPort: a }, actions: [] });
    sameFrames(await env.collect(dp, b), []);
  },

  "output to a port that is not there drops": async ({ env, dp, ports: [a, b] }) => {
    const packet = udpFrame();
    dp.execute({ packet, key: { inPort: a }, actions: `77,${b}` });
    sameFrames(await env.collect(dp, b), [packet]);
  },

  "trunc cuts the next output only": async ({ env, dp, ports: [a, b, c] }) => {
    const packet = udpFrame({ payload: new Uint8Array(200).fill(9) });
    dp.execute({ packet, key: { inPort: a }, actions: `trunc(100),${b},${c}` });
    sameFrames(await env.collect(dp, b), [packet.subarray(0, 100)]);
    sameFrames(await env.collect(dp, c), [packet]);
  },

  "userspace sends it up, with its userdata": async ({ dp, ports: [a] }) => {
    const packet = udpFrame();
    const pid = dp.ports.upcallPortId(a);
    const [upcall] = await upcallsOf(dp, 1, () =>
      dp.execute({
        packet,
        key: { inPort: a },
        actions: `userspace(pid=${pid},userdata(0102030405))`,
      }));
    assert.equal(upcall?.kind, "action");
    assert.equal(upcall?.userdata?.toHex(), "0102030405");
    assert.equal(upcall?.packet.toHex(), packet.toHex());
  },

  "recirc looks the packet up again": async ({ env, dp, ports: [a, b] }) => {
    dp.flows.put({
      key: `recirc_id(9),in_port(${a}),eth(),eth_type(0x0800),ipv4(frag=no)`,
      actions: `${b}`,
    });
    const packet = udpFrame();
    dp.execute({ packet, key: { inPort: a }, actions: "recirc(9)" });
    sameFrames(await env.collect(dp, b), [packet]);
  },

  "recirculating for ever ends": async ({ env, dp, ports: [a, b] }) => {
    dp.flows.put({
      key: `recirc_id(9),in_port(${a}),eth(),eth_type(0x0800),ipv4(frag=no)`,
      actions: "recirc(9)",
    });
    dp.execute({ packet: udpFrame(), key: { inPort: a }, actions: "recirc(9)" });
    await env.settle(dp);
    sameFrames(await env.collect(dp, b), []);
  },

  "a packet shorter than an Ethernet header is refused": async (
    { dp, ports: [a, b] },
  ) => {
    for (const size of [0, 1, 13]) {
      const packet = new Uint8Array(size);
      const error = await fails(
        () => dp.execute({ packet, key: { inPort: a }, actions: `${b}` }),
        "EINVAL",
      );
      assert.equal(error.operation, "execute");
    }
  },

  "a packet longer than 65535 bytes is refused": async ({ dp, ports: [a, b] }) => {
    const packet = udpFrame({ payload: new Uint8Array(100) });
    const long = new Uint8Array(70000);
    long.set(packet);
    await fails(
      () => dp.execute({ packet: long, key: { inPort: a }, actions: `${b}` }),
      "EINVAL",
      "ENOBUFS",
      "EMSGSIZE",
    );
  },

  "bytes that are no actions are EINVAL": async ({ dp, ports: [a] }) => {
    for (const hex of ["01", "0200010000000000", "0800010000", "ff00010000000000"]) {
      const actions = Uint8Array.fromHex(hex);
      await fails(
        () => dp.execute({ packet: udpFrame(), key: { inPort: a }, actions }),
        "EINVAL",
        "ERANGE",
      );
    }
  },
};
