// SPDX-License-Identifier: Apache-2.0
/** Opening, closing, destroying. */
import assert from "node:assert/strict";
import { enumerateDatapaths, openDatapath } from "../../providers/registry.ts";
import { fails } from "./assert.ts";
import type { Suite } from "./environment.ts";

export const lifecycleSuite: Suite = {
  "a datapath knows its names": ({ env, dp }) => {
    assert.equal(dp.type, env.type);
    assert.equal(dp.fullName, `${env.type}@${dp.name}`);
    const version = dp.version();
    assert.ok(version === undefined || version.length > 0);
  },

  "what does not exist is ENODEV": ({ env, dp }) =>
    fails(() => openDatapath(`${env.type}@${dp.name}n`), "ENODEV").then(() => {}),

  "create opens what is there, exclusive does not": async ({ env, dp }) => {
    const again = await openDatapath(`${env.type}@${dp.name}`, { create: true });
    assert.deepEqual([...again.ports.dump()], [...dp.ports.dump()]);
    await again.close();
    await fails(
      () => openDatapath(`${env.type}@${dp.name}`, { create: "exclusive" }),
      "EEXIST",
    );
  },

  "it is listed while it exists": async ({ env, dp }) => {
    assert.ok((await enumerateDatapaths({ type: env.type })).includes(dp.fullName));
    assert.ok((await enumerateDatapaths()).includes(dp.fullName));
    await dp.destroy();
    assert.ok(!(await enumerateDatapaths({ type: env.type })).includes(dp.fullName));
  },

  "it is one datapath however often it is open": async ({ env, dp }) => {
    await using other = await openDatapath(`${env.type}@${dp.name}`);
    dp.flows.put({ key: "in_port(1),eth(),eth_type(0x1234)", actions: "2" });
    assert.equal([...other.flows.dump()].length, 1);
    other.flows.flush();
    assert.equal([...dp.flows.dump()].length, 0);
  },

  "closing one leaves the other at work": async ({ env, dp }) => {
    const other = await openDatapath(`${env.type}@${dp.name}`);
    await other.close();
    await other.close();
    await fails(() => other.stats(), "EBADF");
    await fails(() => other.flows.flush(), "EBADF");
    await fails(
      () => other.flows.put({ key: "in_port(1),eth()", actions: "2" }),
      "EBADF",
    );
    await fails(() => other.ports.add({ name: "late" }), "EBADF");
    await fails(() => other.upcalls(), "EBADF");
    await fails(() => other.destroy(), "EBADF");
    assert.equal(dp.stats().flows, 0);
  },

  "destroying it takes it from all who have it open": async ({ env, dp }) => {
    const other = await openDatapath(`${env.type}@${dp.name}`);
    await dp.destroy();
    await dp.destroy();
    await fails(() => dp.stats(), "EBADF");
    await fails(() => other.stats(), "ENODEV", "EBADF");
    await other.close();
    await fails(() => openDatapath(`${env.type}@${dp.name}`), "ENODEV");
  },

  "a name that was destroyed can be made again, and starts empty": async (
    { env, dp },
  ) => {
    dp.flows.put({ key: "in_port(1),eth(),eth_type(0x1234)", actions: "2" });
    await dp.destroy();
    await dp.close();
    const again = await openDatapath(`${env.type}@${dp.name}`, { create: "exclusive" });
    try {
      assert.equal(again.stats().flows, 0);
      assert.deepEqual([...again.ports.dump()].map(({ no }) => no), [0]);
    } finally {
      await again.destroy();
      await again.close();
    }
  },

  "run says whether there is work": ({ dp }) => assert.equal(typeof dp.run(), "boolean"),
};
