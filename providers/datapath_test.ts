// SPDX-License-Identifier: Apache-2.0
/** How a datapath ends, with what depends on it. */
import assert from "node:assert/strict";
import { fakeProvider } from "../tests/support/fake_provider.ts";
import { until } from "../tests/support/wait.ts";
import type { ProviderDatapath } from "./contract/provider.ts";
import type { Datapath } from "./datapath.ts";
import { DatapathError } from "./errors.ts";
import { openDatapath, registerProvider, unregisterProvider } from "./registry.ts";

/** A datapath of the fake provider, changed by `change` before it is used. */
async function onFake(
  test: (dp: Datapath) => Promise<void>,
  change: (provider: ProviderDatapath) => void = () => {},
): Promise<void> {
  const provider = fakeProvider({ type: "ending" });
  registerProvider({
    ...provider,
    open: async (name, options) => {
      const opened = await provider.open(name, options);
      change(opened);
      return opened;
    },
  });
  try {
    await test(await openDatapath("ending@dp", { create: true }));
  } finally {
    unregisterProvider("ending");
  }
}

for (const end of ["close", "destroy"] as const) {
  Deno.test(`${end}() ends streams, and then what depends on the datapath, the last first`, () => {
    let closes = 0;
    return onFake(async (dp) => {
      const said: string[] = [];
      const stream = dp.upcalls();
      const loop = (async () => {
        for await (const _ of stream);
        said.push("loop");
      })();
      dp.onClose({ [Symbol.dispose]: () => said.push(`first ${dp.closed}`) });
      const forgotten = dp.onClose({ [Symbol.dispose]: () => said.push("forgotten") });
      dp.onClose({
        [Symbol.asyncDispose]: async () => {
          await loop;
          said.push("second");
        },
      });
      forgotten[Symbol.dispose]();
      await dp[end]();
      assert.deepEqual(said, ["loop", "second", "first true"]);
      assert.equal(closes, 1, "the provider has let go of what it had");
      await dp.close();
      assert.deepEqual([said.length, closes], [3, 1], "once");
      assert.throws(() => dp.onClose({ [Symbol.dispose]() {} }), { code: "EBADF" });
    }, (provider) => {
      const close = provider.close.bind(provider);
      provider.close = () => {
        closes++;
        return close();
      };
    });
  });
}

Deno.test("what fails to end keeps nothing else from it", () =>
  onFake(async (dp) => {
    let ended = 0;
    const broken = (message: string) => ({
      [Symbol.dispose]: () => {
        ended++;
        throw new Error(message);
      },
    });
    dp.onClose(broken("first"));
    dp.onClose(broken("last"));
    await assert.rejects(dp.close(), { message: "last" });
    assert.equal(ended, 2);
    assert.equal(dp.closed, true);
    // The provider's own was closed too: no datapath of the type is open, so it can be removed.
  }));

Deno.test("a datapath that could not be destroyed is open, and works on", () => {
  let refusals = 1;
  return onFake(async (dp) => {
    let ended = false;
    dp.onClose({ [Symbol.dispose]: () => ended = true });
    const kinds: string[] = [];
    const stream = dp.upcalls();
    const loop = (async () => {
      for await (const { kind } of stream) kinds.push(kind);
    })();
    const { no } = await dp.ports.add({ name: "p1", type: "dummy" });

    const refused = [dp.destroy(), dp.destroy()];
    for (const one of refused) await assert.rejects(one, { code: "EPERM" });
    assert.deepEqual([dp.closed, ended], [false, false]);
    assert.equal(dp.stats().flows, 0);
    dp.ports.inject?.(no, new Uint8Array(60));
    await until("the upcall", () => kinds.length === 1);

    await dp.destroy();
    await loop;
    assert.deepEqual([dp.closed, ended], [true, true]);
    await dp.close();
  }, (provider) => {
    const destroy = provider.destroy.bind(provider);
    provider.destroy = () =>
      refusals-- > 0
        ? Promise.reject(
          new DatapathError({ operation: "destroy datapath", code: "EPERM" }),
        )
        : destroy();
  });
});

Deno.test("close() while a destroy is refused closes all the same", () =>
  onFake(async (dp) => {
    const refused = assert.rejects(dp.destroy(), { code: "EPERM" });
    await dp.close();
    await refused;
    await assert.rejects(dp.destroy(), { code: "EBADF" });
  }, (provider) => {
    provider.destroy = () =>
      Promise.reject(new DatapathError({ operation: "destroy datapath", code: "EPERM" }));
  }));
