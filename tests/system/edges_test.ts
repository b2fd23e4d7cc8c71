// SPDX-License-Identifier: Apache-2.0
/** What the kernel does where Open vSwitch's userspace datapath and ours differ. */
import assert from "node:assert/strict";
import { edges, shown } from "../differential/edges.ts";
import { Tap } from "../support/tap.ts";
import { makeDatapath, newName, systemTest } from "./system.ts";

systemTest(
  "differences from Open vSwitch are decided by what the kernel does",
  async (t) => {
    await using made = await makeDatapath();
    const { dp } = made;
    const prefix = newName().slice(0, 8);
    const taps = [1, 2, 3].map((n) => new Tap(`${prefix}p${n}`));
    try {
      for (const [i, tap] of taps.entries()) {
        await dp.ports.add({ name: tap.name, no: i + 1 });
      }
      for (const { name, flows, frame, ours, kernel = ours } of edges) {
        if (kernel === null) continue;
        await t.step(name, () => {
          dp.flows.flush();
          for (const [key, actions] of flows) {
            dp.flows.put({ key: `in_port(1),${key}`, actions });
          }
          taps[0]?.write(frame);
          const sent = [1, 2].map((i) => taps[i]?.readAll().map(shown));
          assert.deepEqual(sent, kernel);
        });
      }
    } finally {
      for (const tap of taps) tap.close();
    }
  },
);
