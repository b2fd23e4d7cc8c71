// SPDX-License-Identifier: Apache-2.0
import { deepStrictEqual, ok, strictEqual, throws } from "node:assert/strict";
import { EventfdFlag, openLibc } from "./libc.ts";
import { Waiter, WaitError } from "./waiter.ts";

function openFiles(): number {
  return [...Deno.readDirSync("/proc/self/fd")].length;
}

/** Descriptors that can be made readable. */
function bells(count: number): { fds: number[]; ring(at: number): void } & Disposable {
  const libc = openLibc();
  const flags = EventfdFlag.Cloexec | EventfdFlag.Nonblock;
  const fds = Array.from({ length: count }, () => libc.symbols.eventfd(0, flags));
  return {
    fds,
    ring: (at) => void libc.symbols.eventfd_write(fds[at] ?? -1, 1n),
    [Symbol.dispose]: () => {
      for (const fd of fds) libc.symbols.close(fd);
      libc.close();
    },
  };
}

Deno.test("a hundred waits leave the pool of threads to others", async () => {
  const before = openFiles();
  {
    using bell = bells(100);
    const waiters = bell.fds.map((fd) => new Waiter(fd));
    const order: number[] = [];
    const waits = waiters.map((waiter, at) => waiter.wait().then(() => order.push(at)));
    // Files need threads of the same pool.
    ok((await Deno.readTextFile("/proc/self/comm")).length > 0);
    for (const at of [70, 3, 99]) {
      bell.ring(at);
      await waits[at];
    }
    deepStrictEqual(order, [70, 3, 99]);
    for (const waiter of waiters) waiter.wake();
    await Promise.all(waits);
    await Promise.all(waiters.map((waiter) => waiter.close()));
  }
  strictEqual(openFiles(), before);
});

Deno.test("a wait is one until it ends, and a wake is not forgotten", async () => {
  using bell = bells(1);
  const waiter = new Waiter(bell.fds[0] as number);
  const wait = waiter.wait();
  strictEqual(waiter.wait(), wait);
  waiter.wake();
  await wait;
  waiter.wake();
  await waiter.wait();
  const last = waiter.wait();
  await Promise.all([waiter.close(), last]);
  await waiter.close();
  await waiter.wait();
});

Deno.test("a wait takes up what was readable before, and again while it is", async () => {
  using bell = bells(1);
  bell.ring(0);
  const waiter = new Waiter(bell.fds[0] as number);
  await waiter.wait();
  await waiter.wait();
  await waiter.close();
});

Deno.test("waiters close in any order, and the next ones start anew", async () => {
  for (let round = 0; round < 20; round++) {
    using bell = bells(3);
    const [a, b, c] = bell.fds.map((fd) => new Waiter(fd)) as [Waiter, Waiter, Waiter];
    const waits = [a.wait(), b.wait(), c.wait()];
    const closed = [b.close(), a.close()];
    bell.ring(2);
    await Promise.all([...waits, ...closed]);
    await c.close();
  }
});

Deno.test("what is no descriptor is refused with its errno", async () => {
  const before = openFiles();
  throws(
    () => new Waiter(-1),
    (error) => error instanceof WaitError && error.errno === 9,
  );
  await new Promise((done) => setTimeout(done, 10));
  strictEqual(openFiles(), before);
});
