// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { fakeProvider } from "../tests/support/fake_provider.ts";
import {
  datapathTypes,
  enumerateDatapaths,
  openDatapath,
  parseDatapathName,
  registerProvider,
  unregisterProvider,
} from "./registry.ts";

Deno.test("a name is split at the first @, and without one it is the kernel's", () => {
  assert.deepEqual(parseDatapathName("netdev@br0"), { type: "netdev", name: "br0" });
  assert.deepEqual(parseDatapathName("dp0"), { type: "system", name: "dp0" });
  assert.deepEqual(parseDatapathName("@dp0"), { type: "system", name: "dp0" });
  assert.deepEqual(parseDatapathName("fake@a@b"), { type: "fake", name: "a@b" });
  for (const name of ["", "netdev@", "netdev@a\nb", "netdev@a/b", "netdev@a\0"]) {
    assert.throws(() => parseDatapathName(name), TypeError, JSON.stringify(name));
  }
});

Deno.test("an unknown type is EAFNOSUPPORT, and the error names those there are", async () => {
  await assert.rejects(openDatapath("carrier@pigeon"), {
    name: "DatapathError",
    code: "EAFNOSUPPORT",
    message: /system, netdev/,
  });
  await assert.rejects(enumerateDatapaths({ type: "carrier" }), { code: "EAFNOSUPPORT" });
});

Deno.test("a provider is registered once, and let go when nothing is open", async () => {
  registerProvider(fakeProvider({ type: "once" }));
  assert.ok(datapathTypes().includes("once"));
  assert.throws(() => registerProvider(fakeProvider({ type: "once" })), {
    code: "EEXIST",
  });
  assert.throws(() => registerProvider(fakeProvider({ type: "netdev" })), {
    code: "EEXIST",
  });
  assert.throws(() => registerProvider(fakeProvider({ type: "a@b" })), TypeError);

  const dp = await openDatapath("once@dp", { create: true });
  assert.deepEqual(await enumerateDatapaths({ type: "once" }), ["once@dp"]);
  assert.throws(() => unregisterProvider("once"), { code: "EBUSY" });
  await dp.close();
  unregisterProvider("once");
  assert.throws(() => unregisterProvider("once"), { code: "EAFNOSUPPORT" });
  assert.ok(!datapathTypes().includes("once"));
});

Deno.test("a provider whose init fails is not registered", () => {
  const broken = {
    ...fakeProvider({ type: "broken" }),
    init: () => assert.fail("no module"),
  };
  assert.throws(() => registerProvider(broken), { message: "no module" });
  assert.ok(!datapathTypes().includes("broken"));
});

Deno.test("await using closes, and what is closed says so", async () => {
  registerProvider(fakeProvider({ type: "scoped" }));
  let kept;
  {
    await using dp = await openDatapath("scoped@dp", { create: "exclusive" });
    kept = dp;
  }
  assert.equal(kept.closed, true);
  assert.throws(() => kept.stats(), {
    code: "EBADF",
    message: "Cannot read statistics (scoped@dp): datapath is closed (EBADF)",
  });
  unregisterProvider("scoped");
});

Deno.test("facets that a provider lacks are absent", async () => {
  registerProvider(fakeProvider({ type: "bare" }));
  await using dp = await openDatapath("bare@dp", { create: true });
  assert.equal(dp.conntrack, undefined);
  assert.equal(dp.meters, undefined);
  assert.equal(dp.pollThreads?.dump(), undefined);
  await assert.rejects(dp.setConfig({ a: "b" }), { code: "EOPNOTSUPP" });
  await assert.rejects(dp.ports.setConfig(0, { a: "b" }), { code: "EOPNOTSUPP" });
  const abort = new AbortController();
  const wait = dp.wait({ signal: abort.signal });
  abort.abort(new Error("enough"));
  await assert.rejects(wait, { message: "enough" });
});

Deno.test("an error tells what, on what, where and why", async () => {
  registerProvider(fakeProvider({ type: "telling" }));
  await using dp = await openDatapath("telling@dp", { create: true });
  const key = "in_port(1),eth(),eth_type(0x0806),arp()";
  dp.flows.put({ key, actions: "2" });
  assert.throws(() => dp.flows.put({ key, actions: "3" }), {
    message:
      /^Cannot put flow "in_port\(1\).*actions:3" \(telling@dp\): file exists \(EEXIST\)$/,
    operation: "put flow",
    datapath: "telling@dp",
    errno: 17,
  });
});
