// SPDX-License-Identifier: Apache-2.0
/** Every stream is left in every way at every point where it may wait, and holds nothing then. */
import assert from "node:assert/strict";
import type { Datapath } from "../../providers/datapath.ts";
import { openDatapath } from "../../providers/registry.ts";
import { udpFrame } from "../support/frames.ts";
import { pause, until } from "../support/wait.ts";
import type { Bench, Suite } from "./environment.ts";

/** What all streams can do. */
interface Stream extends AsyncIterableIterator<unknown, undefined> {
  close(): Promise<void>;
}

const streams: Readonly<Record<string, (dp: Datapath, signal: AbortSignal) => Stream>> = {
  upcalls: (dp, signal) => dp.upcalls({ signal }),
  upcallBatches: (dp, signal) => dp.upcallBatches({ signal, batch: 2 }),
  "ports.changes": (dp, signal) => dp.ports.changes({ signal }),
};

/** The same of connections, where they are tracked. */
const events = (dp: Datapath, signal: AbortSignal): Stream =>
  dp.conntrack?.events({ signal }) as Stream;

/** Connections that come and go, as many as events are wanted. */
function feedEvents({ env, dp, ports: [a] }: Bench): () => Promise<void> {
  dp.flows.put({
    key: `recirc_id(0),in_port(${a}),eth(),eth_type(0x0800),ipv4(frag=no)`,
    actions: "ct(commit)",
  });
  let port = 3000;
  return async () => {
    for (let i = 0; i < 3; i++) await env.inject(dp, a, udpFrame({ srcPort: port++ }));
  };
}

/** Brings a stream to a point, and gives what waits there. */
const points: Readonly<
  Record<string, (stream: Stream, feed: () => Promise<void>) => Promise<unknown>>
> = {
  "nothing was asked": () => Promise.resolve(),
  "next was just asked": (stream) => Promise.resolve({ waiting: stream.next() }),
  "next waits": async (stream) => {
    const waiting = stream.next();
    // Past the turns in which a stream looks again before it waits.
    await pause(30);
    return { waiting };
  },
  "two calls of next wait": async (stream) => {
    const waiting = Promise.allSettled([stream.next(), stream.next()]);
    await pause(5);
    return { waiting };
  },
  "something was given": async (stream, feed) => {
    await feed();
    await stream.next();
    return undefined;
  },
};

const reason = new Error("enough");

/** Ways to leave a stream. */
const ways: Readonly<
  Record<string, (stream: Stream, abort: AbortController, dp: Datapath) => unknown>
> = {
  abort: (_, abort) => abort.abort(reason),
  return: (stream) => stream.return?.(),
  throw: (stream) => stream.throw?.(reason).catch(() => {}),
  close: (stream) => stream.close(),
  "break": async (stream) => {
    // What is given or not: the loop is left by its first turn or by its end.
    const loop = (async () => {
      for await (const _ of stream) break;
    })();
    await pause(20);
    await stream.close();
    await loop;
  },
};

function openFiles(): number {
  return [...Deno.readDirSync("/proc/self/fd")].length;
}

/** Leaves one kind of stream in every way at every point, and gives how often that was. */
async function leaveOnce(
  { env, dp, ports: [a] }: Bench,
  make: (dp: Datapath, signal: AbortSignal) => Stream,
  what: { readonly isPorts: boolean; readonly feed?: () => Promise<void> },
): Promise<number> {
  const { isPorts } = what;
  const feed = what.feed ?? (async (): Promise<void> => {
    if (!isPorts) { for (let i = 0; i < 3; i++) await env.inject(dp, a, udpFrame()); }
  });
  let count = 0;
  for (const [point, reach] of Object.entries(points)) {
    for (const [way, leave] of Object.entries(ways)) {
      const abort = new AbortController();
      const stream = make(dp, abort.signal);
      const held = await reach(stream, feed) as { waiting: Promise<unknown> } | undefined;
      const waiting = held?.waiting.catch((error: unknown) => error);
      await leave(stream, abort, dp);
      await waiting;
      // A stream that nobody read while it was aborted says so once.
      const last = await stream.next().catch((error: unknown) => {
        assert.equal(way, "abort", `${point}: ${error}`);
        assert.equal(error, reason);
        return stream.next();
      });
      assert.equal(last.done, true, `${point}, ${way}: not at its end`);
      await stream.close();
      dp.purgeUpcalls();
      // It is free for the next.
      if (!isPorts) await dp.upcalls().close();
      count++;
    }
  }
  return count;
}

/** As once, twice: what the process opens for itself meanwhile is few, what is leaked is many. */
async function leaveAll(
  bench: Bench,
  make: (dp: Datapath, signal: AbortSignal) => Stream,
  what: { readonly isPorts: boolean; readonly feed?: () => Promise<void> },
): Promise<void> {
  await leaveOnce(bench, make, what);
  const before = openFiles();
  const count = await leaveOnce(bench, make, what);
  // A thread may be on its way out of its last wait.
  await until("descriptors of streams", () => openFiles() < before + count / 2, {
    state: () => `${openFiles()} open, ${before} before ${count} streams`,
  });
}

export const streamSuite: Suite = {
  ...Object.fromEntries(
    Object.entries(streams).map(([name, make]) => [
      `${name} can be left in every way at every point`,
      (bench: Bench) => leaveAll(bench, make, { isPorts: name === "ports.changes" }),
    ]),
  ),

  "conntrack.events can be left in every way at every point": async (bench) => {
    if (bench.dp.conntrack === undefined) return;
    await leaveAll(bench, events, { isPorts: false, feed: feedEvents(bench) });
    bench.dp.conntrack.flush({ zone: 0 });
  },

  "streams that an option is refused to hold nothing": async ({ dp }) => {
    [...dp.flows.dump()];
    await dp.upcalls().close();
    const before = openFiles();
    for (const batch of [0, 257, NaN, "1" as unknown as number]) {
      assert.throws(() => dp.upcalls({ batch }));
    }
    assert.throws(() => dp.upcalls({ signal: 1 as unknown as AbortSignal }), TypeError);
    assert.throws(() => dp.upcalls({ handler: 9 }), { code: "EINVAL" });
    assert.throws(() => dp.flows.readers(0), RangeError);
    // Six were refused; the process may open something for itself meanwhile.
    assert.ok(openFiles() < before + 4, `${openFiles()}, ${before} before`);
    await dp.upcalls().close();
  },

  "streams of others end with ENODEV when the datapath is destroyed": async ({ dp }) => {
    const other = await openDatapath(dp.fullName);
    const upcall = other.upcalls().next();
    const changes = other.ports.changes();
    await changes.next();
    const change = changes.next();
    const ends = Promise.allSettled([upcall, change]);
    await pause(20);
    await dp.destroy();
    const codes = (await ends).map((end) =>
      end.status === "rejected" ? end.reason.code : JSON.stringify(end.value)
    );
    assert.deepEqual(codes, ["ENODEV", "ENODEV"]);
    await other.close();
  },

  "listings hold nothing when they are left, forgotten or closed": async ({ dp }) => {
    for (let i = 0; i < 300; i++) {
      dp.flows.put({
        key: `recirc_id(${i}),in_port(1),eth(),eth_type(0x0806),arp()`,
        actions: "2",
      });
    }
    [...dp.flows.dump()];
    const before = openFiles();
    const other = await openDatapath(dp.fullName);
    // Not begun, begun, left, one of two left, read to the end by one of two.
    dp.flows.readers(4);
    const begun = other.flows.dump();
    begun.next();
    dp.flows.dump().return?.();
    const [left, kept] = dp.flows.readers(2);
    left?.next();
    left?.return?.();
    assert.equal(kept?.next().done, false);
    kept?.return?.();
    const [reader, idle] = dp.flows.readers(2);
    while (reader?.next().done === false);
    assert.equal(idle?.next().done, true);
    for (const flow of dp.flows.dump()) if (flow.key?.recircId !== undefined) break;
    assert.throws(() => {
      for (const _ of dp.flows.dump()) throw reason;
    }, reason);
    await other.close();
    assert.throws(() => begun.next(), { code: "EBADF" });
    assert.equal(begun.next().done, true);
    await until("descriptors of listings", () => openFiles() < before + 4);
  },
};
