// SPDX-License-Identifier: Apache-2.0
/**
 * Upcalls of the userspace datapath when the program throws, hangs, is slow, or decides in other
 * ways.
 */
import assert from "node:assert/strict";
import { setImmediate } from "node:timers";
import { openLibrary } from "../../ffi/library.ts";
import type { Datapath } from "../../providers/datapath.ts";
import { encodeActions, encodeMask, exact, output } from "../../providers/odp/mod.ts";
import type { Verdict } from "../../providers/operations.ts";
import { tryRun } from "../support/command.ts";
import { udpFrame } from "../support/frames.ts";
import { NetdevBench } from "../support/netdev.ts";
import { needProgram, skippable } from "../support/skip.ts";
import { patience, pause, until } from "../support/wait.ts";

const wanted = udpFrame({ dst: "10.1.0.1" });
const unknown = udpFrame({ dst: "10.2.0.1" });

/** A flow for `wanted` from port 1 to port 2. */
function putFlow(dp: Datapath): void {
  dp.flows.put({
    key: "recirc_id(0),in_port(1),eth(),eth_type(0x0800),ipv4(dst=10.1.0.1,frag=no)",
    actions: "2",
  });
}

/** Puts `count` of either frame in, waiting where the port's queue is full. */
async function inject(bench: NetdevBench, count: number): Promise<void> {
  for (let i = 0; i < count; i++) await bench.injectAll(1, [unknown, wanted]);
  await bench.settle();
}

/** Asserts the account of `each` frames of either kind, of which the program took `handled`. */
function account(dp: Datapath, each: number, handled: number): void {
  const { hit, missed, lost, counters = {} } = dp.stats();
  assert.equal(hit, BigInt(each), "packets that have a flow are all forwarded");
  assert.equal(missed + lost, BigInt(each), "missed + lost");
  assert.equal(counters.upcalls_handled, BigInt(handled), "handled");
  const drops = Object.entries(counters).filter(([name]) =>
    name.startsWith("drop_upcall")
  );
  assert.equal(
    drops.reduce((sum, [, count]) => sum + count, 0n),
    lost,
    "each lost one has a reason",
  );
}

Deno.test(
  "upcalls: a program that hangs loses what does not fit, and forwarding goes on",
  skippable(async () => {
    await using bench = await NetdevBench.open();
    const { dp } = bench;
    await bench.ports("p1", "p2");
    putFlow(dp);
    const stream = dp.upcallBatches({ batch: 256 }); // Nobody reads.
    let out = 0;
    for (let round = 0; round < 12; round++) {
      await inject(bench, 500);
      out += (await bench.collect(2)).length;
    }
    assert.equal(out, 6000);
    const { missed, lost, counters = {} } = dp.stats();
    assert.ok(lost > 0n, "6000 upcalls fit into a ring of 4096");
    assert.equal(stream.lost, lost);
    // All are of one connection and one port: it may not fill the ring.
    assert.ok(missed <= 2048n, `${missed} wait`);
    assert.equal(
      (counters.drop_upcall_duplicate ?? 0n) + (counters.drop_upcall_quota ?? 0n),
      lost,
    );
    account(dp, 6000, 0);

    let handled = 0;
    while (BigInt(handled) < missed) handled += (await stream.next()).value?.length ?? 0;
    await stream.close();
    account(dp, 6000, Number(missed));
  }),
);

Deno.test(
  "upcalls: a flood from one port leaves room for new flows from another",
  skippable(async () => {
    await using bench = await NetdevBench.open();
    const { dp } = bench;
    await bench.ports("p1", "p2", "p3");
    dp.flows.put({
      key: "recirc_id(0),in_port(3),eth(),eth_type(0x0800),ipv4(frag=no)",
      actions: "2",
    });
    const stream = dp.upcallBatches({ batch: 256 });
    let out = 0;
    for (let round = 0; round < 100; round++) {
      const flood = Array.from(
        { length: 60 },
        (_, i) => udpFrame({ srcPort: round * 60 + i, dstPort: 9 }),
      );
      await bench.injectAll(1, flood); // Nobody reads in the meantime.
      await bench.injectAll(2, [udpFrame({ srcPort: round, dstPort: 7 })]);
      await bench.injectAll(3, [wanted, unknown]);
      out += (await bench.collect(2)).length;
    }
    assert.equal(out, 200, "established flows");
    const { missed, lost, counters = {} } = dp.stats();
    assert.equal(missed + lost, 6100n);
    assert.equal(counters.drop_upcall_quota, lost);
    const trickle = new Set<number>();
    let flood = 0;
    for (let taken = 0n; taken < missed;) {
      const batch = (await stream.next()).value ?? [];
      taken += BigInt(batch.length);
      for (const { key } of batch) {
        if (key.inPort === 1) flood++;
        else if (key.udp !== undefined) trickle.add(key.udp.src);
      }
    }
    await stream.close();
    assert.equal(trickle.size, 100, "new flows of port 2 that came up");
    assert.ok(flood > 1000 && flood <= 2048, `${flood} of port 1`);
  }),
);

Deno.test(
  "upcalls: a program that throws ends its stream and nothing else",
  skippable(async () => {
    await using bench = await NetdevBench.open();
    const { dp } = bench;
    await bench.ports("p1", "p2");
    putFlow(dp);
    const program = (async () => {
      for await (const _ of dp.upcalls()) throw new Error("bug of the program");
    })();
    const rejected = assert.rejects(program, { message: "bug of the program" });
    await inject(bench, 1);
    await rejected;
    await inject(bench, 10);
    assert.equal((await bench.collect(2)).length, 11);
    assert.equal(dp.stats().counters?.drop_upcall_no_handler, 10n);
    account(dp, 11, 1);
  }),
);

Deno.test(
  "upcalls: a slow program gets every one that fits",
  skippable(async () => {
    await using bench = await NetdevBench.open();
    const { dp } = bench;
    await bench.ports("p1", "p2");
    putFlow(dp);
    let taken = 0;
    const stream = dp.upcalls({ batch: 4 });
    const program = (async () => {
      for await (const _ of stream) {
        await pause(1);
        if (++taken === 300) break;
      }
    })();
    await inject(bench, 300);
    assert.equal((await bench.collect(2)).length, 300);
    await program;
    account(dp, 300, 300);
  }),
);

Deno.test(
  "upcalls: disabled ones are dropped and counted, until they are enabled",
  skippable(async () => {
    await using bench = await NetdevBench.open();
    const { dp } = bench;
    await bench.ports("p1", "p2");
    await using stream = dp.upcalls({ signal: patience() });
    dp.upcallControl?.disable();
    bench.inject(1, unknown);
    await bench.settle();
    assert.equal(dp.stats().counters?.drop_upcall_disabled, 1n);
    assert.equal(dp.stats().lost, 1n);
    dp.upcallControl?.enable();
    bench.inject(1, unknown);
    assert.equal((await stream.next()).value?.kind, "miss");
  }),
);

Deno.test(
  "upcalls: a TypeScript function decides directly, and puts the flow of its verdict",
  skippable(async () => {
    await using bench = await NetdevBench.open();
    const { dp } = bench;
    await bench.ports("p1", "p2");
    let asked = 0;
    dp.callbacks?.onUpcall(({ key }) => {
      asked++;
      return {
        actions: encodeActions([output(2)]),
        mask: encodeMask(exact("inPort", "ethernet", "etherType"), key),
      };
    });
    bench.inject(1, unknown);
    await until("a flow", () => dp.stats().flows > 0);
    bench.inject(1, unknown);
    assert.equal((await bench.collect(2)).length, 2);
    assert.equal(asked, 1);
    dp.callbacks?.onUpcall(undefined);
    dp.callbacks?.onUpcall(() => undefined);
    dp.flows.flush();
    bench.inject(1, unknown);
    await bench.settle();
    assert.equal((await bench.collect(2)).length, 0);
  }),
);

/** Outputs to port 2, and puts a flow for the port that the packet came from. */
const nativeSource = `
#include <stdint.h>
#include <string.h>
struct dp_direct_upcall {
    const uint8_t *key; const uint8_t *packet; uint32_t key_size; uint32_t packet_size;
    uint8_t *mask; uint8_t *actions; uint32_t mask_size; uint32_t actions_size;
};
static uint32_t calls;
static int decide(struct dp_direct_upcall *up, void *aux)
{
    static const uint16_t in_port[2] = { 8, 3 }, output[2] = { 8, 1 };
    const uint32_t every = UINT32_MAX, port = 2;
    (void)aux;
    memcpy(up->mask, in_port, 4); memcpy(up->mask + 4, &every, 4); up->mask_size = 8;
    memcpy(up->actions, output, 4); memcpy(up->actions + 4, &port, 4); up->actions_size = 8;
    __atomic_add_fetch(&calls, 1, __ATOMIC_RELAXED);
    return 0;
}
void *decide_address(void) { return (void *)decide; }
uint32_t decide_calls(void) { return __atomic_load_n(&calls, __ATOMIC_RELAXED); }
`;

Deno.test(
  "upcalls: a native function decides on the poll thread",
  skippable(async () => {
    const cc = needProgram("cc", { requirement: "netdev" });
    const directory = await Deno.makeTempDir({ prefix: "upcall-direct-" });
    try {
      await Deno.writeTextFile(`${directory}/decide.c`, nativeSource);
      const built = await tryRun(
        cc,
        "-shared",
        "-fPIC",
        "-o",
        `${directory}/decide.so`,
        `${directory}/decide.c`,
      ); // deno-fmt-ignore
      assert.equal(built.code, 0, built.stderr);
      using library = openLibrary(`${directory}/decide.so`, {
        symbols: {
          decide_address: { parameters: [], result: "pointer" },
          decide_calls: { parameters: [], result: "u32" },
        },
      });
      const native = library.symbols.decide_address();
      assert.ok(native !== null);
      await using bench = await NetdevBench.open();
      await bench.ports("p1", "p2");
      bench.dp.callbacks?.onUpcall({ native });
      bench.inject(1, unknown);
      await bench.settle();
      await until("a flow", () => bench.dp.stats().flows > 0);
      bench.inject(1, unknown);
      assert.equal((await bench.collect(2)).length, 2);
      assert.equal(library.symbols.decide_calls(), 1);
      bench.dp.callbacks?.onUpcall(undefined);
    } finally {
      await Deno.remove(directory, { recursive: true });
    }
  }),
);

Deno.test(
  "upcalls: the purge callback hears of poll threads before their flows go",
  skippable(async () => {
    await using bench = await NetdevBench.open({ config: { pollThreads: "0x2" } });
    const { dp } = bench;
    await bench.ports("p1");
    const purged: number[] = [];
    dp.callbacks?.onPurge((pmd) => purged.push(pmd));
    await dp.pollThreads?.set("0x1");
    assert.deepEqual(purged, [1]);
    await dp.destroy();
    assert.deepEqual(purged, [1, 0]);
  }),
);

Deno.test(
  "upcalls: a Worker may be a handler of the same datapath",
  skippable(async () => {
    await using bench = await NetdevBench.open();
    const { dp } = bench;
    await bench.ports("p1", "p2");
    dp.setHandlers(2);
    const mod = new URL("../../mod.ts", import.meta.url).href;
    const source = `
      import { openDatapath } from ${JSON.stringify(mod)};
      const dp = await openDatapath(${JSON.stringify(dp.fullName)});
      const stream = dp.upcallBatches({ handler: 1 });
      let count = 0;
      self.onmessage = async () => { await dp.close(); self.postMessage({ count }); self.close(); };
      self.postMessage("ready");
      for await (const batch of stream) count += batch.length;`;
    const url = URL.createObjectURL(
      new Blob([source], { type: "application/typescript" }),
    );
    const worker = new Worker(url, { type: "module" });
    const message = () =>
      new Promise<{ count: number }>((resolve, reject) => {
        worker.onmessage = ({ data }) => resolve(data);
        worker.onerror = (event) => reject(new Error(event.message));
      });
    await message();
    let count = 0;
    const stream = dp.upcallBatches({ handler: 0 });
    const loop = (async () => {
      for await (const batch of stream) count += batch.length;
    })();
    for (let i = 0; i < 400; i++) {
      bench.inject(1, udpFrame({ srcPort: 1000 + i }));
      if (i % 50 === 49) await bench.settle();
    }
    const handled = () => dp.stats().counters?.upcalls_handled;
    await until("all to be handled", () => handled() === 400n, { state: handled });
    const answer = message();
    worker.postMessage("stop");
    const fromWorker = (await answer).count;
    await stream.close();
    await loop;
    worker.terminate();
    URL.revokeObjectURL(url);
    assert.equal(count + fromWorker, 400);
    assert.ok(count > 0 && fromWorker > 0, `${count} and ${fromWorker}`);
  }),
);

Deno.test(
  "upcalls: streams may be aborted and closed at any moment, parked or not",
  skippable(async () => {
    await using bench = await NetdevBench.open();
    await bench.ports("p1");
    const turn = () => new Promise((resolve) => setImmediate(resolve));
    for (let i = 0; i < 120; i++) {
      const abort = new AbortController();
      const stream = bench.dp.upcalls({ signal: abort.signal });
      const next = stream.next();
      const ended = i % 2 === 0 ? next : assert.rejects(next, { name: "AbortError" });
      for (let turns = 0; turns < i; turns++) await turn();
      if (i % 2 === 0) await stream.close();
      else abort.abort();
      await ended;
    }
  }),
);

Deno.test(
  "upcalls: verdicts on what came last go by the library's own copy of it",
  skippable(async () => {
    await using bench = await NetdevBench.open();
    const { dp } = bench;
    await bench.ports("p1", "p2");
    const stream = dp.upcallBatches({ batch: 8, signal: patience() });
    const frames = [1, 2, 3].map((srcPort) => udpFrame({ srcPort }));
    await bench.injectAll(1, frames);
    await bench.settle();
    const { value = [] } = await stream.next();
    assert.equal(value.length, 3);
    // Whatever is done to the program's copy does not come into it ...
    for (const { packet } of value) packet.fill(0);
    const verdict = { mask: exact("inPort", "ethernet"), actions: [output(2)] };
    const strict: Verdict = { ...verdict, modify: false };
    const codes = (upcalls: typeof value, decided: Verdict = strict) =>
      dp.answer(upcalls, () => decided).map((result) =>
        result === undefined ? "none" : result.ok ? "ok" : result.error.code
      );
    assert.deepEqual(codes(value, verdict), ["ok", "ok", "ok"], "one flow, put once");
    assert.equal(dp.stats().flows, 1);
    assert.deepEqual(codes(value.slice(1)), ["EEXIST", "EEXIST"]);
    const sent = [...frames, ...frames.slice(1)];
    assert.deepEqual(
      (await bench.collect(2)).map((frame) => frame.toHex()),
      sent.map((frame) => frame.toHex()),
    );
    // ... until other upcalls take its place.
    await bench.injectAll(2, [frames[0] as Uint8Array]);
    await bench.settle();
    assert.equal((await stream.next()).value?.length, 1);
    assert.deepEqual(codes(value.slice(2)), ["EEXIST"]);
    assert.deepEqual(
      (await bench.collect(2)).map((frame) => frame.toHex()),
      [new Uint8Array(sent[2]?.length ?? 0).toHex()],
    );
    await stream.close();
    // A handler that is gone has nothing left.
    assert.deepEqual(codes(value.slice(2)), ["EEXIST"]);
  }),
);
