// SPDX-License-Identifier: Apache-2.0
/** What handles share of tunnels is their datapath's, and not that of one which had its name. */
import assert from "node:assert/strict";
import { openDatapath } from "../../../mod.ts";
import { freshName, openNetdev } from "../../support/netdev.ts";
import { skippable } from "../../support/skip.ts";

const mod = new URL("../../../mod.ts", import.meta.url).href;

/** Has another isolate destroy a datapath, of which this one is not told. */
async function destroyElsewhere(fullName: string): Promise<void> {
  const source = `
    import { openDatapath } from ${JSON.stringify(mod)};
    const dp = await openDatapath(${JSON.stringify(fullName)});
    await dp.destroy();
    await dp.close();
    postMessage("gone");
  `;
  const url = URL.createObjectURL(new Blob([source], { type: "text/typescript" }));
  const worker = new Worker(url, { type: "module" });
  await new Promise((done) => worker.onmessage = done);
  worker.terminate();
  URL.revokeObjectURL(url);
}

Deno.test(
  "tunnels: a datapath that is made anew has nothing of the one that had its name",
  skippable(async () => {
    const name = freshName();
    const first = await openNetdev(name);
    const usual = first.tunnels?.aging.get();
    first.tunnels?.aging.set(77);
    await destroyElsewhere(first.fullName);
    const second = await openNetdev(name);
    assert.equal(second.tunnels?.aging.get(), usual);
    second.tunnels?.aging.set(78);
    const third = await openDatapath(second.fullName);
    assert.equal(third.tunnels?.aging.get(), 78);
    await first.close();
    assert.equal(third.tunnels?.aging.get(), 78);
    // Whose handles are left has its tunnels still.
    const port = await third.ports.add({ name: "outside", type: "dummy" });
    const prefix = { address: "192.0.2.1", length: 24 };
    third.tunnels?.addAddress({ device: port.name, prefix });
    assert.deepEqual(second.tunnels?.addresses(), [{ device: "outside", prefix }]);
    await third.close();
    await second.close();
  }),
);
