// SPDX-License-Identifier: Apache-2.0
/**
 * A control socket under whatever bytes come: nobody else is harmed. Runs for two seconds, or
 * five times FUZZ_SECONDS: as long as the fuzzers of ODP together. FUZZ_SEED repeats a run.
 */
import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import {
  openDatapath,
  registerProvider,
  unregisterProvider,
} from "../providers/registry.ts";
import { fakeProvider } from "../tests/support/fake_provider.ts";
import { serve } from "./serve.ts";
import { control, ControlError } from "./socket.ts";
import { verbs } from "./verbs/verbs.ts";

const seconds = 5 * Number(Deno.env.get("FUZZ_SECONDS") ?? 0.4);
const seed = Number(Deno.env.get("FUZZ_SEED") ?? Date.now() % 0x7fffffff);

/** Verbs that would take the datapath away, or wait. */
const left = ["dpctl/del-dp", "dpctl/add-dp"];

const word = fc.oneof(
  fc.string({ unit: "binary", maxLength: 40 }),
  fc.constantFrom(
    "fuzz@d0",
    "in_port(1),eth(),eth_type(0x0806),arp()",
    "ufid:11111111-2222-3333-4444-555555555555",
    "zone=1",
    "filter=tcp",
    "-m",
    "--json",
    "type=all",
    "pmd=1",
    "v4",
    "1",
    "",
    "p1,type=dummy",
  ),
);

const request = fc.record({
  method: fc.oneof(
    fc.constantFrom(
      ...verbs.map(({ name }) => `dpctl/${name}`).filter((name) => !left.includes(name)),
      "list-commands",
      "version",
      "coverage/show",
      "upcall/status",
      "upcall/trace",
      "vlog/list",
    ),
    fc.string({ unit: "binary", maxLength: 20 }),
  ),
  params: fc.array(word, { maxLength: 7 }),
});

/** Bytes that are nearly a request, or not at all. */
const bytes = fc.oneof(
  fc.uint8Array({ maxLength: 300 }),
  fc.tuple(fc.json(), fc.json()).map(([a, b]) => new TextEncoder().encode(a + b)),
  fc.tuple(request, fc.nat({ max: 400 }), fc.nat({ max: 255 })).map(([one, at, byte]) => {
    const text = new TextEncoder().encode(JSON.stringify({ id: 1, ...one }));
    if (at < text.length) text[at] = byte;
    return text;
  }),
);

async function send(path: string, data: Uint8Array): Promise<void> {
  const client = await Deno.connect({ transport: "unix", path });
  try {
    for (let at = 0; at < data.length;) at += await client.write(data.subarray(at));
    await client.closeWrite();
    while (await client.read(new Uint8Array(4096)) !== null);
  } catch (error) {
    // It may hang up before it has read all.
    const isGone = error instanceof Deno.errors.BrokenPipe ||
      error instanceof Deno.errors.ConnectionReset ||
      error instanceof Deno.errors.NotConnected;
    if (!isGone) throw error;
  } finally {
    client.close();
  }
}

Deno.test("a control socket survives requests and bytes of all kinds", async () => {
  registerProvider(fakeProvider({ type: "fuzz" }));
  const dp = await openDatapath("fuzz@d0", { create: true });
  await dp.ports.add({ name: "p1", type: "dummy" });
  const folder = await Deno.makeTempDir();
  try {
    await using served = await serve(dp, { path: `${folder}/dp.ctl` });
    const { path } = served;
    await fc.assert(
      fc.asyncProperty(request, bytes, async ({ method, params }, data) => {
        try {
          assert.equal(typeof await control(path, method, params), "string");
        } catch (error) {
          assert(error instanceof ControlError, `${method} ${params}: ${error}`);
          // What the verb did not foresee says so by the words of the engine.
          assert.doesNotMatch(
            error.message,
            /is not a function|undefined|of null/,
            method,
          );
        }
        await send(path, data);
        assert.match(await control(path, "version", []), /^upcall /);
      }),
      { seed, interruptAfterTimeLimit: seconds * 1000, numRuns: 1_000_000 },
    );
    assert.equal(dp.stats().lost, 0n);
  } finally {
    await dp.destroy();
    await dp.close();
    unregisterProvider("fuzz");
    await Deno.remove(folder, { recursive: true });
  }
});
