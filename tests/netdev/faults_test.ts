// SPDX-License-Identifier: Apache-2.0
/**
 * Faults from outside and requests at their limits: what must hold through them, and afterwards.
 */
import assert from "node:assert/strict";
import { encodeActions } from "../../providers/odp/mod.ts";
import type { Action } from "../../providers/types.ts";
import { udpFrame } from "../support/frames.ts";
import { figure } from "../support/figure.ts";
import { NetdevBench } from "../support/netdev.ts";
import { skippable } from "../support/skip.ts";

const frame = udpFrame();
const key = "recirc_id(0),in_port(1),eth(),eth_type(0x0800),ipv4(frag=no)";

const entries = (path: string) => [...Deno.readDirSync(path)].length;

Deno.test(
  "ports: a thousand added and deleted leave no descriptor, thread or packet behind",
  skippable(async () => {
    await using bench = await NetdevBench.open();
    const { dp } = bench;
    await bench.ports("p1", "p2");
    dp.flows.put({ key, actions: "2,3" });
    const cycle = async (round: number) => {
      const { no } = await dp.ports.add({ name: `hot${round}`, type: "dummy" });
      assert.equal(no, 3);
      bench.inject(1, frame);
      if (round % 2 === 0) await bench.settle();
      await dp.ports.delete(no);
    };
    for (let round = 0; round < 10; round++) await cycle(round);
    await bench.settle();
    const before = [entries("/proc/self/fd"), entries("/proc/self/task")] as const;
    for (let round = 10; round < 1010; round++) await cycle(round);
    // One for each frame, whether or not the other port was still there.
    assert.equal((await bench.collect(2)).length, 1010);
    // Deno opens and starts some of its own now and then: not a thousand.
    assert.ok(entries("/proc/self/fd") <= before[0] + 50, "descriptors");
    assert.ok(entries("/proc/self/task") <= before[1] + 50, "threads");
    assert.deepEqual([...dp.ports.dump()].map(({ no }) => no), [0, 1, 2]);
  }),
);

Deno.test(
  "actions: nested up to the limit they run, beyond it they are refused, and the datapath goes on",
  skippable(async () => {
    await using bench = await NetdevBench.open();
    const { dp } = bench;
    await bench.ports("p1", "p2");
    /**
     * Bytes of a list nested `depth` times, made without the encoder, which has a limit of its own.
     */
    const nested = (depth: number, kind: "clone" | "sample"): Uint8Array => {
      let bytes: Uint8Array = encodeActions([{ type: "output", port: 2 }]);
      for (let i = 0; i < depth; i++) {
        const list = new Uint8Array(4 + bytes.length);
        const view = new DataView(list.buffer);
        view.setUint16(0, list.length, true);
        view.setUint16(2, kind === "clone" ? 20 : 2, true);
        list.set(bytes, 4);
        if (kind === "clone") {
          bytes = list;
          continue;
        }
        const sample = new Uint8Array(12 + list.length);
        const head = new DataView(sample.buffer);
        head.setUint16(0, sample.length, true);
        head.setUint16(2, 6, true);
        head.setUint16(4, 8, true);
        head.setUint16(6, 1, true);
        head.setUint32(8, 0xffffffff, true);
        sample.set(list, 12);
        bytes = sample;
      }
      return bytes;
    };
    for (const kind of ["clone", "sample"] as const) {
      for (let depth = 0; depth <= 64; depth++) {
        const actions = nested(depth, kind);
        const put = () => dp.flows.put({ key, actions });
        const execute = () => dp.execute({ packet: frame, actions });
        if (depth > 16) {
          const refused = { name: "DatapathError", code: "EOVERFLOW" };
          assert.throws(put, refused, `${kind} ${depth}`);
          assert.throws(execute, refused, `${kind} ${depth}`);
          assert.equal(dp.stats().flows, 0);
          continue;
        }
        put();
        bench.inject(1, frame);
        assert.equal((await bench.collect(2)).length, 1, `${kind} ${depth}`);
        execute();
        assert.equal((await bench.collect(2)).length, 1, `${kind} ${depth}`);
        dp.flows.flush();
      }
    }
  }),
);

Deno.test(
  "actions: lists of nearly 32 KiB are put, dumped and executed; longer ones are refused whole",
  skippable(async () => {
    await using bench = await NetdevBench.open();
    const { dp } = bench;
    await bench.ports("p1", "p2");
    // Sets, of which the last one shows, and one output: what one packet does stays small.
    const set = (last: number): Action => ({
      type: "set",
      key: {
        ethernet: {
          src: "02:00:00:00:00:01",
          dst: `02:00:00:00:${(last >> 8).toString(16).padStart(2, "0")}:${
            (last & 255).toString(16).padStart(2, "0")
          }`,
        },
      },
    });
    const size = encodeActions([set(0)]).length;
    const most = Math.floor((32768 - 8) / size);
    const list = (count: number): Action[] => [
      ...Array.from({ length: count }, (_, i) => set(i)),
      { type: "output", port: 2 },
    ];
    dp.flows.put({ key, actions: list(most) });
    bench.inject(1, frame);
    dp.execute({ packet: frame, actions: list(most) });
    const wanted = frame.slice();
    wanted.set([2, 0, 0, 0, (most - 1) >> 8, (most - 1) & 255, 2, 0, 0, 0, 0, 1]);
    assert.deepEqual(
      (await bench.collect(2)).map((sent) => sent.toHex()),
      [wanted.toHex(), wanted.toHex()],
    );
    const [flow] = [...dp.flows.dump()];
    assert.deepEqual(flow?.raw.actions, encodeActions(list(most)));
    assert.deepEqual(dp.flows.get({ key }).raw.actions, encodeActions(list(most)));
    for (const count of [most + 1, most + 100, 2 * most]) {
      const tooLong = { code: "EMSGSIZE" };
      assert.throws(
        () => dp.flows.put({ key, modify: true, actions: list(count) }),
        tooLong,
      );
      assert.throws(() => dp.execute({ packet: frame, actions: list(count) }), tooLong);
    }
    assert.deepEqual(dp.flows.get({ key }).raw.actions, encodeActions(list(most)));
  }),
);

const mod = new URL("../../mod.ts", import.meta.url).href;

/**
 * A program that says when a packet has passed, and then how many have, and how long ago by the
 * flow.
 */
const program = `
  import { openDatapath } from ${JSON.stringify(mod)};
  const dp = await openDatapath("netdev@fault", { create: true, onNotice: () => {} });
  await dp.ports.add({ name: "p1", type: "dummy" });
  await dp.ports.add({ name: "p2", type: "dummy" });
  dp.flows.put({ key: ${JSON.stringify(key)}, actions: "2" });
  const frame = Uint8Array.fromHex("${frame.toHex()}");
  let passed = 0;
  for (let round = 0;; round++) {
    for (let i = 0; i < 16; i++) {
      try { dp.ports.inject(1, frame); } catch (error) { if (error.code !== "ENOBUFS") throw error; }
    }
    await new Promise((resolve) => setTimeout(resolve, 1));
    while (dp.ports.collect(2) !== undefined) passed++;
    if (round % 50 === 0 && passed > 0) {
      const [flow] = [...dp.flows.dump()];
      const now = 1000 * Number(Deno.readTextFileSync("/proc/uptime").split(" ")[0]);
      console.log(JSON.stringify({ passed, idle: now - Number(flow.stats.usedMs) }));
    }
  }
`;

class Program implements AsyncDisposable {
  readonly child: Deno.ChildProcess;
  readonly #lines: ReadableStreamDefaultReader<string>;
  #text = "";

  constructor(path: string) {
    this.child = new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--no-config", "--no-lock", "--quiet", path],
      stdin: "null",
      stdout: "piped",
      stderr: "inherit",
      env: { NO_COLOR: "1" },
    }).spawn();
    this.#lines = this.child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  }

  /** The next report. */
  async report(): Promise<{ passed: number; idle: number }> {
    for (;;) {
      const end = this.#text.indexOf("\n");
      if (end >= 0) {
        const line = this.#text.slice(0, end);
        this.#text = this.#text.slice(end + 1);
        return JSON.parse(line);
      }
      const { done, value } = await this.#lines.read();
      if (done) throw new Error("the program has ended");
      this.#text += value;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.child.kill("SIGKILL");
    } catch {
      // It has ended.
    }
    await this.child.status;
    await this.#lines.cancel();
  }
}

async function withProgram(body: (path: string) => Promise<void>): Promise<void> {
  // Compiles the library before any clock runs, or skips.
  {
    await using _ = await NetdevBench.open();
  }
  const path = await Deno.makeTempFile({ suffix: ".ts" });
  try {
    await Deno.writeTextFile(path, program);
    await body(path);
  } finally {
    await Deno.remove(path);
  }
}

/** What a process of DPDK could leave behind. */
function remains(): string[] {
  const found: string[] = [];
  for (const folder of ["/dev/shm", "/dev/hugepages", "/var/run/dpdk", "/tmp"]) {
    try {
      for (const { name } of Deno.readDirSync(folder)) {
        if (/rtemap|^rte|dpdk|^upcall-\d/.test(name)) found.push(`${folder}/${name}`);
      }
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }
  return found.sort();
}

Deno.test(
  "processes: one that was killed under traffic leaves nothing, and starts again at once",
  skippable(async () => {
    await withProgram(async (path) => {
      const before = remains();
      for (let round = 0; round < 3; round++) {
        const start = performance.now();
        await using one = new Program(path);
        await one.report();
        const took = performance.now() - start;
        figure(`processes: ${took.toFixed(0)} ms to the first packets, wanted 2000`);
        assert.ok(took < 30_000, `${took} ms to the first packets`);
        one.child.kill("SIGKILL");
        assert.equal((await one.child.status).signal, "SIGKILL");
      }
      assert.deepEqual(remains(), before);
    });
  }),
);

Deno.test(
  "processes: one that was stopped and continued goes on, and its clocks with it",
  skippable(async () => {
    await withProgram(async (path) => {
      await using one = new Program(path);
      await one.report();
      one.child.kill("SIGSTOP");
      await new Promise((resolve) => setTimeout(resolve, 3000));
      one.child.kill("SIGCONT");
      // What was printed before it was stopped is read first.
      let last = await one.report();
      const first = last;
      for (let i = 0; i < 10; i++) {
        const { passed, idle } = await one.report();
        assert.ok(passed >= last.passed, `${passed} packets after ${last.passed}`);
        assert.ok(Math.abs(idle) < 2500, `a busy flow was used ${idle} ms ago`);
        last = { passed, idle };
      }
      assert.ok(last.passed > first.passed, `${first.passed} packets, and no more`);
    });
  }),
);
