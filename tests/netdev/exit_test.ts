// SPDX-License-Identifier: Apache-2.0
/**
 * How a process with poll threads ends: by itself, by an error, by a signal; quickly, with the
 * right status.
 */
import assert from "node:assert/strict";
import { NetdevBench } from "../support/netdev.ts";
import { skippable } from "../support/skip.ts";

const mod = new URL("../../mod.ts", import.meta.url).href;

/** A datapath with traffic through it and a loop that waits. */
const prelude = `
  import { openDatapath } from ${JSON.stringify(mod)};
  const dp = await openDatapath("netdev@exit", { create: true, onNotice: () => {} });
  await dp.ports.add({ name: "p1", type: "dummy" });
  await dp.pollThreads.set("0x1", { maxSleepUs: 0 });
  const frame = new Uint8Array(60);
  const loop = (async () => { for await (const _ of dp.upcalls()); })();
  for (let i = 0; i < 100; i++) dp.ports.inject(1, frame);
`;

interface End {
  readonly code: number;
  readonly signal: Deno.Signal | null;
  readonly stdout: string;
  readonly stderr: string;
  /** From the word "ready" to the end, ms. */
  readonly took: number;
}

async function runUntilReady(
  script: string,
  act?: (child: Deno.ChildProcess) => void,
): Promise<End> {
  const path = await Deno.makeTempFile({ suffix: ".ts" });
  await Deno.writeTextFile(path, prelude + script);
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-config", "--no-lock", "--quiet", path],
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
    env: { NO_COLOR: "1" },
  }).spawn();
  try {
    const stderr = new Response(child.stderr).text();
    let stdout = "";
    let readyAt = 0;
    for await (const text of child.stdout.pipeThrough(new TextDecoderStream())) {
      stdout += text;
      if (readyAt === 0 && stdout.includes("ready")) {
        readyAt = performance.now();
        act?.(child);
      }
    }
    const { code, signal } = await child.status;
    return {
      code,
      signal,
      stdout,
      stderr: await stderr,
      took: performance.now() - readyAt,
    };
  } finally {
    await Deno.remove(path);
  }
}

/** Skips where the datapath cannot be had, and compiles it before the clock runs. */
async function prepare(): Promise<void> {
  await using _ = await NetdevBench.open();
}

/** In ms. It takes 100; what hangs does not end at all. */
const quickly = 15_000;

Deno.test(
  "exit: closing everything lets the process end by itself",
  skippable(async () => {
    await prepare();
    const end = await runUntilReady(
      `console.log("ready"); await dp.close(); await loop;`,
    );
    assert.equal(end.code, 0, end.stderr);
    assert.ok(end.took < quickly, `${end.took} ms`);
  }),
);

Deno.test(
  "exit: Deno.exit ends at once with its status",
  skippable(async () => {
    await prepare();
    const end = await runUntilReady(`console.log("ready"); Deno.exit(7);`);
    assert.equal(end.code, 7, end.stderr);
    assert.ok(end.took < quickly, `${end.took} ms`);
  }),
);

Deno.test(
  "exit: an uncaught error ends with its text and status 1",
  skippable(async () => {
    await prepare();
    const end = await runUntilReady(
      `console.log("ready"); setTimeout(() => { throw new Error("what the user did wrong"); }, 10);`,
    );
    assert.equal(end.code, 1);
    assert.match(end.stderr, /Uncaught.*what the user did wrong/s);
    assert.ok(end.took < quickly, `${end.took} ms`);
  }),
);

Deno.test(
  "exit: an error in the loop's body ends with its text",
  skippable(async () => {
    await prepare();
    const end = await runUntilReady(`
    console.log("ready");
    dp.callbacks.onUpcall(undefined);
    const other = await openDatapath("netdev@exit2", { create: true });
    await other.ports.add({ name: "p1", type: "dummy" });
    const upcalls = other.upcalls();
    other.ports.inject(1, frame);
    for await (const { key } of upcalls) throw new Error("refused " + key.inPort);`);
    assert.equal(end.code, 1);
    assert.match(end.stderr, /Uncaught.*refused 1/s);
  }),
);

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  Deno.test(
    `exit: ${signal} ends the process, poll threads and all`,
    skippable(async () => {
      await prepare();
      const end = await runUntilReady(
        `console.log("ready");`,
        (child) => child.kill(signal),
      );
      assert.equal(end.signal, signal);
      assert.equal(end.stderr, "");
      assert.ok(end.took < quickly, `${end.took} ms`);
    }),
  );

  Deno.test(
    `exit: a program that listens for ${signal} can close and end well`,
    skippable(async () => {
      await prepare();
      const end = await runUntilReady(
        `Deno.addSignalListener("${signal}", async () => {
         await dp.close(); await loop; console.log("closed"); Deno.exit(0);
       });
       console.log("ready");`,
        (child) => child.kill(signal),
      );
      assert.equal(end.code, 0, end.stderr);
      assert.match(end.stdout, /closed/);
      assert.ok(end.took < quickly, `${end.took} ms`);
    }),
  );
}

Deno.test(
  "exit: descriptors, threads and memory are back after close",
  skippable(async () => {
    await prepare();
    const end = await runUntilReady(`
    const count = (path) => [...Deno.readDirSync(path)].length;
    const rss = () => Number(/VmRSS:\\s+(\\d+)/.exec(Deno.readTextFileSync("/proc/self/status"))[1]);
    const one = async () => {
      const dp = await openDatapath("netdev@again", { create: true });
      await dp.ports.add({ name: "p1", type: "dummy" });
      const upcalls = dp.upcalls();
      dp.ports.inject(1, frame);
      await upcalls.next();
      await dp.close();
    };
    for (let i = 0; i < 5; i++) await one();
    const before = [count("/proc/self/fd"), count("/proc/self/task"), rss()];
    for (let i = 0; i < 100; i++) await one();
    const after = [count("/proc/self/fd"), count("/proc/self/task"), rss()];
    console.log("ready" + JSON.stringify({ before, after }));
    await dp.close();`);
    assert.equal(end.code, 0, end.stderr);
    const { before, after } = JSON.parse(end.stdout.slice(end.stdout.indexOf("{")));
    // A hundred rounds: what is leaked in each shows, what Deno itself opens and starts now and
    // then does not.
    assert.ok(after[0] <= before[0] + 20, `descriptors ${before[0]} to ${after[0]}`);
    assert.ok(after[1] <= before[1] + 20, `threads ${before[1]} to ${after[1]}`);
    assert.ok(after[2] <= before[2] + 30_000, `resident KiB ${before[2]} to ${after[2]}`);
  }),
);
