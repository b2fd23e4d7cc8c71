// SPDX-License-Identifier: Apache-2.0
/** Ports: numbers, names, changes. */
import assert from "node:assert/strict";
import { udpFrame } from "../support/frames.ts";
import { fails } from "./assert.ts";
import type { Suite } from "./environment.ts";

export const portSuite: Suite = {
  "the local port is number 0 and named like the datapath": ({ dp }) => {
    const local = dp.ports.get(0);
    assert.equal(local?.name, dp.name);
    assert.equal(dp.ports.get(dp.name)?.no, 0);
  },

  "a port says what it can send, and whether its link is up": ({ dp, ports }) => {
    for (const no of ports) {
      const { mtu, mac, link } = dp.ports.get(no) ?? {};
      assert.ok((mtu ?? 0) >= 1280, `${mtu}`);
      assert.match(mac ?? "", /^([0-9a-f]{2}:){5}[0-9a-f]{2}$/);
      assert.equal(link?.up, true);
    }
  },

  "ports are found by number and by name": ({ dp, ports }) => {
    for (const no of ports) {
      const port = dp.ports.get(no);
      assert.equal(port?.no, no);
      assert.deepEqual(dp.ports.get(port?.name ?? ""), port);
    }
    assert.equal(dp.ports.get(999), undefined);
    assert.equal(dp.ports.get("nobody"), undefined);
  },

  "they are listed in order of number, each once": ({ dp, ports }) => {
    const listed = [...dp.ports.dump()].map(({ no }) => no);
    assert.deepEqual(listed, [0, ...ports].sort((a, b) => a - b));
  },

  "numbers are given out from 1, and again when they are free": async (
    { env, dp, ports },
  ) => {
    assert.deepEqual([...ports], [1, 2, 3]);
    await dp.ports.delete(2);
    assert.equal(dp.ports.get(2), undefined);
    assert.equal(await env.addPort(dp, "p4"), 2);
  },

  "a number that is in use is EBUSY": async ({ dp, ports }) => {
    const { type } = dp.ports.get(ports[0]) ?? {};
    const error = await fails(
      () => dp.ports.add({ name: "taken", no: ports[1], ...(type && { type }) }),
      "EBUSY",
      "ENODEV", // A provider that looks for the device first.
    );
    assert.equal(error.object, "taken");
    // 0 is a number like any other, and the local port has it; it is no wish for any number.
    await fails(
      () => dp.ports.add({ name: "taken", no: 0, ...(type && { type }) }),
      "EBUSY",
      "ENODEV",
    );
  },

  "a device that is a port already is EEXIST": async ({ dp, ports }) => {
    const port = dp.ports.get(ports[0]);
    assert.ok(port !== undefined);
    await fails(
      () => dp.ports.add({ name: port.name, type: port.type }),
      "EEXIST",
      "EBUSY",
    );
    assert.equal([...dp.ports.dump()].length, 4);
  },

  "an unknown type is EAFNOSUPPORT": async ({ dp }) => {
    await fails(
      () => dp.ports.add({ name: "odd", type: "carrier-pigeon" }),
      "EAFNOSUPPORT",
    );
  },

  "a number out of range is EFBIG, or RangeError where it is no u32": async (
    { dp, ports },
  ) => {
    const { type } = dp.ports.get(ports[0]) ?? {};
    const kind = type && { type };
    await fails(
      () => dp.ports.add({ name: "big", no: 70000, ...kind }),
      "EFBIG",
      "ENODEV",
    );
    await assert.rejects(dp.ports.add({ name: "big", no: -1, ...kind }), RangeError);
    await assert.rejects(
      dp.ports.add({ name: "big", no: 2 ** 32 - 1, ...kind }),
      RangeError,
    );
    await assert.rejects(dp.ports.add({ name: "" }), TypeError);
  },

  "deleting: ENODEV for what is not there, EINVAL for the local port": async (
    { dp, ports },
  ) => {
    await fails(() => dp.ports.delete(999), "ENODEV");
    await fails(() => dp.ports.delete("nobody"), "ENODEV");
    await fails(() => dp.ports.delete(0), "EINVAL");
    await dp.ports.delete(dp.ports.get(ports[2])?.name ?? "");
    assert.deepEqual([...dp.ports.dump()].map(({ no }) => no), [0, 1, 2]);
  },

  "counters count packets and bytes of either direction": async (
    { env, dp, ports: [a, b] },
  ) => {
    dp.flows.put({ key: `in_port(${a}),eth(),eth_type(0x0800),ipv4()`, actions: `${b}` });
    const frame = udpFrame();
    for (let i = 0; i < 3; i++) await env.inject(dp, a, frame);
    assert.equal((await env.collect(dp, b)).length, 3);
    const rx = dp.ports.stats(a);
    const tx = dp.ports.stats(b);
    assert.ok(
      rx.rxPackets >= 3n && rx.rxBytes >= BigInt(3 * frame.length),
      JSON.stringify(`${rx.rxPackets}`),
    );
    assert.ok(tx.txPackets >= 3n && tx.txBytes >= BigInt(3 * frame.length));
    await fails(() => dp.ports.stats(999), "ENODEV");
  },

  "a port id for userspace actions is a u32": ({ dp, ports }) => {
    const id = dp.ports.upcallPortId(ports[0]);
    assert.ok(Number.isInteger(id) && id >= 0 && id <= 0xffffffff);
  },

  "changes begin with a rescan and tell of a new port": async ({ env, dp }) => {
    const abort = new AbortController();
    const changes = dp.ports.changes({ signal: abort.signal });
    assert.deepEqual(await changes.next(), { done: false, value: { kind: "rescan" } });
    const next = changes.next();
    await env.addPort(dp, "p5");
    const { value } = await next;
    assert.ok(
      value?.kind === "rescan" || value?.kind === "changed",
      JSON.stringify(value),
    );
    const last = (async () => {
      for await (const _ of changes);
    })();
    abort.abort();
    await assert.rejects(last, { name: "AbortError" });
  },

  "changes end when the datapath is closed": async ({ dp }) => {
    const changes = dp.ports.changes();
    await changes.next();
    const end = (async () => {
      for await (const _ of changes);
    })();
    await dp.destroy();
    await dp.close();
    await end;
  },

  "changes can be left while next waits": async ({ dp }) => {
    for (const way of ["return", "throw", "abort", "close"] as const) {
      const abort = new AbortController();
      const changes = dp.ports.changes({ signal: abort.signal });
      await changes.next();
      const waiting = changes.next();
      // Lets the wait begin.
      await new Promise((resolve) => setTimeout(resolve, 20));
      if (way === "abort") abort.abort(new Error("enough"));
      else if (way === "throw") await assert.rejects(changes.throw(new Error("thrown")));
      else await changes[way]();
      if (way === "abort") await assert.rejects(waiting, { message: "enough" });
      else assert.equal((await waiting).done, true);
      assert.equal((await changes.next()).done, true);
    }
    await assert.rejects(
      dp.ports.changes({ signal: AbortSignal.abort(new Error("before")) }).next(),
      { message: "before" },
    );
    assert.throws(() => dp.ports.changes({ signal: {} as AbortSignal }), TypeError);
  },
};
