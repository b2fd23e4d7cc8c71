// SPDX-License-Identifier: Apache-2.0
/** Walks that let others go on, and pages of what they found. */
import assert from "node:assert/strict";
import { FirstOf, gently, OneByOne } from "./gently.ts";

Deno.test("a long walk lets timers run in between", async () => {
  let ticks = 0;
  const timer = setInterval(() => ticks++, 0);
  const end = performance.now() + 60;
  let seen = 0;
  function* busy(): Generator<number> {
    while (performance.now() < end || seen < 1000) yield seen++;
  }
  for await (const _ of gently(busy()));
  clearInterval(timer);
  assert.ok(ticks >= 3, `${ticks} ticks`);
});

Deno.test("leaving a walk early ends what it walks over", async () => {
  let ended = false;
  function* items(): Generator<number> {
    try {
      for (let i = 0;; i++) yield i;
    } finally {
      ended = true;
    }
  }
  for await (const item of gently(items())) if (item === 100) break;
  assert.equal(ended, true);
});

Deno.test("the first of many are those that sorting everything gives", () => {
  const numbers = Array.from({ length: 5000 }, (_, i) => (i * 7919) % 5003);
  const sorted = numbers.toSorted((a, b) => b - a);
  for (const [offset, limit] of [[0, 10], [990, 20], [4990, 50], [6000, 10]] as const) {
    const first = new FirstOf<number>((a, b) => b - a, { offset, limit });
    for (const number of numbers) first.add(number);
    assert.equal(first.count, 5000);
    assert.deepEqual(first.page, sorted.slice(offset, offset + limit));
  }
});

Deno.test("tasks run one by one, after a failure too, and only so many wait", async () => {
  const tasks = new OneByOne(2);
  const order: string[] = [];
  const failed = tasks.run(async () => {
    await new Promise((resolve) => setTimeout(resolve, 1));
    order.push("a");
    throw new Error("a");
  });
  const second = tasks.run(() => Promise.resolve(order.push("b")));
  assert.equal(tasks.run(() => Promise.resolve()), undefined);
  await assert.rejects(failed ?? Promise.resolve(), /a/);
  await second;
  assert.deepEqual(order, ["a", "b"]);
  await tasks.run(() => Promise.resolve(order.push("c")));
  assert.deepEqual(order, ["a", "b", "c"]);
});
