// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import type { RawUpcall, UpcallHandler } from "./upcalls.ts";
import {
  UpcallBatchStream,
  UpcallStream,
  type UpcallStreamOptions,
} from "./upcall_stream.ts";

/** A handler that is fed by the test and notes how it is used. */
class TestHandler implements UpcallHandler {
  readonly queue: RawUpcall[] = [];
  readonly largest: number[] = [];
  waits = 0;
  closes = 0;
  failure: Error | undefined;
  #wake = (): void => {};

  feed(count: number): void {
    for (let i = 0; i < count; i++) {
      this.queue.push({ kind: "miss", key: new Uint8Array(), packet: Uint8Array.of(i) });
    }
    this.#wake();
  }

  receive(max: number): RawUpcall[] {
    if (this.failure !== undefined) throw this.failure;
    assert.equal(this.closes, 0, "receive after close");
    const batch = this.queue.splice(0, max);
    if (batch.length > 0) this.largest.push(batch.length);
    return batch;
  }

  wait(): Promise<void> {
    this.waits++;
    if (this.queue.length > 0) return Promise.resolve();
    return new Promise((resolve) => this.#wake = resolve);
  }

  wake(): void {
    this.#wake();
  }

  lost(): bigint {
    return 7n;
  }

  close(): Promise<void> {
    this.closes++;
    this.#wake();
    return Promise.resolve();
  }
}

const wrap = (raw: RawUpcall): number => raw.packet[0] as number;

function batches(handler: TestHandler, options: UpcallStreamOptions = {}) {
  return new UpcallBatchStream(() => handler, { wrap, ...options });
}

function singles(handler: TestHandler, options: UpcallStreamOptions = {}) {
  return new UpcallStream(batches(handler, options));
}

/** Lets the stream spin out and park. */
async function parked(handler: TestHandler): Promise<void> {
  const before = handler.waits;
  while (handler.waits === before) await new Promise((resolve) => setTimeout(resolve, 1));
}

Deno.test("a stream gives upcalls in order and takes no more than a batch at once", async () => {
  const handler = new TestHandler();
  handler.feed(25);
  const seen: number[] = [];
  for await (const upcall of singles(handler, { batch: 10 })) {
    seen.push(upcall);
    if (seen.length === 25) break;
  }
  assert.deepEqual(seen, Array.from({ length: 25 }, (_, i) => i));
  assert.deepEqual(handler.largest, [10, 10, 5]);
  assert.equal(handler.closes, 1, "leaving the loop gives the handler back");
});

Deno.test("a batch stream gives arrays", async () => {
  const handler = new TestHandler();
  handler.feed(5);
  const stream = batches(handler, { batch: 3 });
  assert.deepEqual((await stream.next()).value, [0, 1, 2]);
  assert.deepEqual((await stream.next()).value, [3, 4]);
  await stream.close();
  await stream.close();
  assert.equal(handler.closes, 1);
  assert.deepEqual(await stream.next(), { done: true, value: undefined });
});

Deno.test("a stream parks once when nothing comes, and wakes for what comes", async () => {
  const handler = new TestHandler();
  const stream = singles(handler);
  const next = stream.next();
  await parked(handler);
  handler.feed(1);
  assert.deepEqual(await next, { done: false, value: 0 });
  assert.equal(handler.waits, 1);
  await stream.close();
});

Deno.test("calls of next that overlap are answered in order, with one wait", async () => {
  const handler = new TestHandler();
  const stream = singles(handler, { batch: 1 });
  const all = Promise.all([stream.next(), stream.next(), stream.next()]);
  await parked(handler);
  assert.equal(handler.waits, 1);
  handler.feed(3);
  assert.deepEqual((await all).map(({ value }) => value), [0, 1, 2]);
  await stream.close();
});

Deno.test("an abort while parked rejects with its reason and gives the handler back", async () => {
  const handler = new TestHandler();
  const abort = new AbortController();
  const next = singles(handler, { signal: abort.signal }).next();
  await parked(handler);
  const reason = new Error("enough");
  abort.abort(reason);
  await assert.rejects(next, reason);
  assert.equal(handler.closes, 1);
});

Deno.test("an abort is heard before what was taken already is given out", async () => {
  const handler = new TestHandler();
  handler.feed(64);
  const abort = new AbortController();
  const stream = singles(handler, { signal: abort.signal });
  await stream.next();
  await stream.next();
  abort.abort();
  await assert.rejects(stream.next(), { name: "AbortError" });
  assert.deepEqual(await stream.next(), { done: true, value: undefined });
});

Deno.test("a signal that aborted before rejects the first call", async () => {
  const handler = new TestHandler();
  handler.feed(1);
  await assert.rejects(singles(handler, { signal: AbortSignal.abort() }).next(), {
    name: "AbortError",
  });
  assert.equal(handler.closes, 1);
});

Deno.test("closing while parked ends the loop quietly", async () => {
  const handler = new TestHandler();
  const stream = singles(handler);
  const loop = (async () => {
    for await (const _ of stream) assert.fail("nothing was fed");
  })();
  await parked(handler);
  await stream.close();
  await loop;
});

Deno.test("an error of the handler rejects and gives it back", async () => {
  const handler = new TestHandler();
  handler.failure = new Error("ENODEV");
  await assert.rejects(singles(handler).next(), handler.failure);
  assert.equal(handler.closes, 1);
});

Deno.test("what the loop's body throws comes out, and the handler is given back", async () => {
  const handler = new TestHandler();
  handler.feed(2);
  const loop = (async () => {
    for await (const _ of singles(handler)) throw new Error("thrown by the program");
  })();
  await assert.rejects(loop, { message: "thrown by the program" });
  assert.equal(handler.closes, 1);
});

Deno.test("an endless flood leaves timers their turn", async () => {
  const handler = new TestHandler();
  handler.feed(1);
  let fired = false;
  const timer = setTimeout(() => fired = true, 10);
  const end = performance.now() + 30_000;
  for await (const _ of singles(handler, { batch: 16 })) {
    if (fired) break;
    assert.ok(performance.now() < end, "a timer of 10 ms did not fire in 30 s");
    handler.feed(1);
  }
  clearTimeout(timer);
  assert.ok(fired);
});

Deno.test("lost is what the handler says, also after the end", async () => {
  const stream = singles(new TestHandler());
  assert.equal(stream.lost, 7n);
  await stream.close();
  assert.equal(stream.lost, 7n);
});

Deno.test("a batch must be from 1 to 256", () => {
  for (const batch of [0, 257, 1.5, Number.NaN]) {
    assert.throws(() => batches(new TestHandler(), { batch }), RangeError);
  }
});

Deno.test("options that are refused are refused before a handler is opened", () => {
  const open = (): UpcallHandler => assert.fail("opened");
  for (const batch of [0, 257, NaN, 1.5]) {
    assert.throws(() => new UpcallBatchStream(open, { wrap, batch }), RangeError);
  }
  const signal = {} as AbortSignal;
  assert.throws(() => new UpcallBatchStream(open, { wrap, signal }), TypeError);
});

Deno.test("a stream that nobody reads gives its handler back when its signal aborts", async () => {
  for (const early of [true, false]) {
    const abort = new AbortController();
    if (early) abort.abort(new Error("enough"));
    const handler = new TestHandler();
    const stream = singles(handler, { signal: abort.signal });
    abort.abort(new Error("enough"));
    assert.equal(handler.closes, 1);
    await assert.rejects(stream.next(), { message: "enough" });
    assert.equal((await stream.next()).done, true);
  }
});

Deno.test("a stream can be left between two upcalls of a batch: abort, return, throw", async () => {
  for (const way of ["abort", "return", "throw"]) {
    const abort = new AbortController();
    const handler = new TestHandler();
    handler.feed(3);
    const stream = singles(handler, { signal: abort.signal });
    assert.equal((await stream.next()).value, 0);
    if (way === "abort") abort.abort(new Error("enough"));
    else if (way === "return") await stream.return();
    else await assert.rejects(stream.throw(new Error("thrown")), { message: "thrown" });
    assert.equal(handler.closes, 1);
    if (way === "abort") await assert.rejects(stream.next(), { message: "enough" });
    assert.equal((await stream.next()).done, true);
  }
});

Deno.test("a stream can be left while next waits: abort, return, throw", async () => {
  for (const way of ["abort", "return", "throw"]) {
    const abort = new AbortController();
    const handler = new TestHandler();
    const stream = batches(handler, { signal: abort.signal });
    const waiting = stream.next();
    await parked(handler);
    if (way === "abort") abort.abort(new Error("enough"));
    else if (way === "return") await stream.return();
    else await assert.rejects(stream.throw(new Error("thrown")), { message: "thrown" });
    if (way === "abort") await assert.rejects(waiting, { message: "enough" });
    else assert.equal((await waiting).done, true);
    assert.equal(handler.closes, 1);
  }
});

Deno.test("a handler that cannot say what it lost is given back all the same", async () => {
  const handler = new TestHandler();
  handler.lost = () => {
    throw new Error("gone");
  };
  await batches(handler).close();
  assert.equal(handler.closes, 1);
});

Deno.test("a loop that a close ends goes on when the handler was given back", async () => {
  const handler = new TestHandler();
  const given = Promise.withResolvers<void>();
  const close = handler.close.bind(handler);
  handler.close = () => close().then(() => given.promise);
  const stream = singles(handler);
  let ended = false;
  const loop = (async () => {
    for await (const _ of stream);
    ended = true;
  })();
  await parked(handler);
  const closing = stream.close();
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.equal(ended, false, "the handler is still open");
  given.resolve();
  await closing;
  await loop;
});
