// SPDX-License-Identifier: Apache-2.0
/**
 * Who waits, who holds what, and what becomes of it when its owner goes: streams, handlers,
 * Workers, stuck poll threads.
 */
import assert from "node:assert/strict";
import { encodeMask, exact, output } from "../../providers/odp/mod.ts";
import { udpFrame } from "../support/frames.ts";
import { NetdevBench, openNetdev } from "../support/netdev.ts";
import { needProgram, skippable } from "../support/skip.ts";
import { patienceMs, pause, until } from "../support/wait.ts";

const mod = new URL("../../mod.ts", import.meta.url).href;

/** Rejects when `what` has not come in time. */
async function soon<T>(name: string, what: Promise<T>): Promise<T> {
  const timer = Promise.withResolvers<never>();
  const id = setTimeout(
    () => timer.reject(new Error(`${name}: not in time`)),
    patienceMs,
  );
  try {
    return await Promise.race([what, timer.promise]);
  } finally {
    clearTimeout(id);
  }
}

function eventfds(): number {
  return [...Deno.readDirSync("/proc/self/fd")].filter(({ name }) => {
    try {
      return Deno.readLinkSync(`/proc/self/fd/${name}`).includes("eventfd");
    } catch {
      return false;
    }
  }).length;
}

Deno.test(
  "waits: forty parked handlers and streams leave files and other calls alone",
  skippable(async () => {
    await using bench = await NetdevBench.open();
    const { dp } = bench;
    const ends = new AbortController();
    const { signal } = ends;
    dp.setHandlers(40);
    const loops = Array.from({ length: 40 }, async (_, handler) => {
      for await (const _ of dp.upcalls({ handler, signal }));
    });
    for (let i = 0; i < 10; i++) {
      loops.push((async () => {
        for await (const _ of dp.ports.changes({ signal }));
      })());
    }
    await pause(200); // All are parked.
    await soon("add", dp.ports.add({ name: "p1", type: "dummy" }));
    await soon("read", Deno.readTextFile("/proc/self/comm"));
    ends.abort();
    for (const end of await soon("ends", Promise.allSettled(loops))) {
      assert.ok(end.status === "fulfilled" || end.reason.name === "AbortError", `${end}`);
    }
  }),
);

Deno.test(
  "answers: a batch may be answered while the next one is asked for",
  skippable(async () => {
    await using bench = await NetdevBench.open();
    const { dp } = bench;
    await bench.ports("p1", "p2");
    await using stream = dp.upcallBatches();
    bench.inject(1, udpFrame());
    const { value: batch } = await stream.next();
    assert.ok(batch);
    const next = stream.next();
    await pause(5); // It has looked, and found nothing.
    const mask = exact("inPort", "ethernet");
    assert.ok(encodeMask(mask));
    const results = dp.answer(batch, () => ({ mask, actions: [output(2)] }));
    assert.deepEqual(results.map((result) => result?.ok), [true]);
    assert.equal((await bench.collect(2)).length, 1);
    await stream.close();
    assert.equal((await next).done, true);
  }),
);

Deno.test(
  "destroyed by somebody else: streams and datapath still close, and leave nothing",
  skippable(async () => {
    const before = eventfds();
    for (let round = 0; round < 5; round++) {
      const dp = await openNetdev(`gone${Deno.pid}`);
      const other = await openNetdev(dp.name, { create: false });
      const stream = dp.upcallBatches();
      const changes = dp.ports.changes()[Symbol.asyncIterator]();
      await changes.next();
      const waiting = Promise.allSettled([stream.next(), changes.next()]);
      await pause(20);
      await other.destroy();
      await other.close();
      await soon("waits", waiting);
      await soon("stream", stream.close());
      await soon("changes", Promise.resolve(changes.return?.()));
      await soon("close", dp.close());
    }
    assert.ok(eventfds() <= before + 2, `${eventfds()} eventfds, ${before} before`);
  }),
);

Deno.test(
  "a terminated Worker gives back its handler and its part of the datapath",
  skippable(async () => {
    await using bench = await NetdevBench.open();
    const { dp } = bench;
    await bench.ports("p1");
    dp.setHandlers(2);
    const source = `
      import { openDatapath } from ${JSON.stringify(mod)};
      const dp = await openDatapath("netdev@${dp.name}");
      const loop = (async () => { for await (const _ of dp.upcalls({ handler: 1 })); })();
      const changes = (async () => { for await (const _ of dp.ports.changes()); })();
      await new Promise((done) => setTimeout(done, 100));
      postMessage("ready");
      await Promise.all([loop, changes]);
    `;
    const url = URL.createObjectURL(new Blob([source], { type: "text/typescript" }));
    const worker = new Worker(url, { type: "module" });
    await new Promise((done) => worker.onmessage = done);
    assert.throws(() => dp.upcalls({ handler: 1 }), { code: "EBUSY" });
    worker.terminate();
    URL.revokeObjectURL(url);
    let stream: ReturnType<typeof dp.upcalls> | undefined;
    await until("the handler is free", () => {
      try {
        stream = dp.upcalls({ handler: 1 });
        return true;
      } catch {
        return false;
      }
    });
    await stream?.close();
  }),
);

/** A program whose poll thread is stuck in a device: a capture written to a full FIFO. */
const stuck = `
  import { openDatapath } from ${JSON.stringify(mod)};
  const [directory] = Deno.args;
  const dp = await openDatapath("netdev@stuck", { create: true, onNotice: () => {} });
  const p1 = await dp.ports.add({ name: "p1", type: "dummy" });
  const p2 = await dp.ports.add({ name: "p2", type: "dummy" });
  const options = { tx_pcap: directory + "/fifo" };
  const out = await dp.ports.add({ name: "out", type: "pcap", options });
  dp.flows.put({ key: "in_port(" + p1.no + "),eth(),eth_type(0x1234)", actions: "" + out.no });
  const frame = new Uint8Array(1500);
  frame.set([2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x12, 0x34]);
  for (let i = 0; i < 300; i++) { try { dp.ports.inject(p1.no, frame); } catch { /* full */ } }
  const stream = dp.upcalls();
  await new Promise((done) => setTimeout(done, 300));
  const deleted = dp.ports.delete(p2.no);
  await new Promise((done) => setTimeout(done, 200));
  dp.stats();
  dp.flows.flush();
  await stream.close();
  const { stats } = dp;
  console.log("still here");
  Deno.exit(7);
`;

Deno.test(
  "a poll thread that is stuck in a device holds up neither calls, nor handlers, nor the end",
  skippable(async () => {
    needProgram("mkfifo", { requirement: "tool" });
    const directory = await Deno.makeTempDir();
    await new Deno.Command("mkfifo", { args: [`${directory}/fifo`] }).output();
    await Deno.writeTextFile(`${directory}/stuck.ts`, stuck);
    const reader = new Deno.Command("sh", {
      args: ["-c", `exec 3<${directory}/fifo; read -r x <&3; exec sleep 600`],
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).spawn();
    const child = new Deno.Command(Deno.execPath(), {
      args: [
        "run",
        "-A",
        "--no-config",
        "--no-lock",
        "-q",
        `${directory}/stuck.ts`,
        directory,
      ],
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    try {
      const output = child.output();
      const { code, stdout, stderr } = await soon("the program", output);
      const said = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
      assert.match(said, /still here/);
      assert.equal(code, 7, said);
    } finally {
      try {
        child.kill("SIGKILL");
      } catch {
        // It has ended.
      }
      reader.kill("SIGKILL");
      await reader.status;
      await Deno.remove(directory, { recursive: true });
    }
  }),
);

Deno.test(
  "poll threads: a mask names cores up to 1023, and the reason of a failure is its own",
  skippable(async () => {
    await using bench = await NetdevBench.open();
    const { dp } = bench;
    const far = `0x1${"0".repeat(250)}`; // Core 1000.
    const [cores, port] = await Promise.allSettled([
      dp.pollThreads?.set(far),
      dp.ports.delete(77),
    ]);
    assert.equal(cores.status, "rejected");
    assert.match(`${(cores as PromiseRejectedResult).reason}`, /core 1000/);
    assert.equal(port.status, "rejected");
    assert.match(`${(port as PromiseRejectedResult).reason}`, /no port 77/);
    await assert.rejects(
      async () => await dp.pollThreads?.set(`0x1${"0".repeat(256)}`),
      { code: "EINVAL" },
    );
  }),
);
