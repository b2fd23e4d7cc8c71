// SPDX-License-Identifier: Apache-2.0
/** Conversations without a network: replies of any size, bounds, what is told. */
import { deepStrictEqual, ok, rejects, strictEqual, throws } from "node:assert/strict";
import { Connection, type Stream } from "../../openflow/connection/connection.ts";
import {
  listen,
  parseController,
  parseListener,
} from "../../openflow/connection/endpoints.ts";
import { Switch } from "../../openflow/switch/switch.ts";
import { parseFlow } from "../../openflow/text/flow.ts";
import { decodeMessage, encodeMessage } from "../../openflow/wire/codec.ts";
import type { Version } from "../../openflow/wire/error.ts";
import type { Message } from "../../openflow/wire/message.ts";
import type { Datapath } from "../../providers/datapath.ts";
import { until } from "../../testing/mod.ts";
import { Splitter } from "./recorder.ts";

const dp = {
  name: "d",
  ports: { dump: () => [1, 2, 3].map((no) => ({ no, name: `p${no}` })) },
} as unknown as Datapath;

/** A stream whose other end is the test. */
class Line implements Stream {
  readonly #toRead: Uint8Array[] = [];
  #waiting = Promise.withResolvers<void>();
  readonly #splitter = new Splitter();
  /** Whole messages that were written. */
  readonly heard: Uint8Array[] = [];
  /** While it is set, writes do not end. */
  held: Promise<void> | undefined;
  isClosed = false;

  async read(to: Uint8Array): Promise<number | null> {
    while (this.#toRead.length === 0 && !this.isClosed) await this.#waiting.promise;
    const bytes = this.#toRead.shift();
    if (bytes === undefined) return null;
    const some = bytes.subarray(0, to.length);
    if (some.length < bytes.length) this.#toRead.unshift(bytes.subarray(some.length));
    to.set(some);
    return some.length;
  }

  async write(bytes: Uint8Array): Promise<number> {
    await this.held;
    this.heard.push(...this.#splitter.push(bytes));
    return bytes.length;
  }

  close(): void {
    this.isClosed = true;
    this.#waiting.resolve();
  }

  say(bytes: Uint8Array): void {
    this.#toRead.push(bytes);
    this.#waiting.resolve();
    this.#waiting = Promise.withResolvers();
  }
}

class Talk implements AsyncDisposable {
  readonly of: Switch;
  readonly line = new Line();
  readonly version: Version;
  readonly #run: Promise<void>;
  readonly faults: unknown[] = [];
  refreshes = 0;

  constructor(version: Version, isService = true) {
    this.version = version;
    this.of = new Switch(dp, { name: "d", datapathId: 1n, tight: false });
    this.of.runtime = {
      resume: () => {},
      checkPacketOut: () => {},
      packetOut: () => {},
      refresh: () => Promise.resolve(void this.refreshes++),
      failed: (error) => void this.faults.push(error),
    };
    const options = { versions: 0x7e, isService, probeMs: 0 };
    this.#run = new Connection(this.of, this.line, options).run();
    this.say({ kind: "hello", versions: 1 << version });
  }

  say(message: Message, xid = 1): void {
    this.line.say(encodeMessage(message, { version: this.version, xid }));
  }

  /** Waits until all that was said before has been answered; what was heard. */
  async answered(): Promise<Uint8Array[]> {
    this.say({ kind: "echoRequest", data: new Uint8Array() }, 0x77);
    const isIt = (bytes: Uint8Array): boolean => bytes[1] === 3 && bytes[7] === 0x77;
    await until("an echo", () => this.line.heard.some(isIt));
    return this.line.heard.splice(0);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.line.close();
    await this.#run;
  }
}

Deno.test("openflow peer: a reply of any size comes in messages that hold it", async () => {
  await using talk = new Talk(4);
  const outs = Array.from({ length: 300 }, (_, i) => `output:${1 + i % 3}`).join(",");
  for (let i = 0; i < 100; i++) {
    talk.of.flows.apply(parseFlow(`priority=${i},actions=${outs}`), { isOld: false });
  }
  const request = new Uint8Array(16 + 40);
  request.set([4, 18, 0, 56, 0, 0, 0, 9, 0, 1]);
  request.set([0xff, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255], 16);
  request.set([0, 1, 0, 4], 16 + 32);
  talk.line.say(request);
  const parts = (await talk.answered()).filter((bytes) => bytes[1] === 19);
  let flows = 0;
  for (const [i, bytes] of parts.entries()) {
    const view = new DataView(bytes.buffer, bytes.byteOffset);
    strictEqual(
      view.getUint16(10),
      i < parts.length - 1 ? 1 : 0,
      "whether there is more",
    );
    for (let at = 16; at < bytes.length; at += view.getUint16(at)) flows++;
  }
  strictEqual(flows, 100);
  ok(parts.length > 7, `${parts.length} parts`);
});

Deno.test("openflow peer: bundles that are opened by their first message are counted too", async () => {
  await using talk = new Talk(5);
  const inner = encodeMessage(parseFlow("actions=2"), { version: 5, xid: 5 });
  for (let bundle = 0; bundle < 70; bundle++) {
    talk.say({ kind: "bundleAdd", bundle, flags: 0, inner }, 5);
  }
  const errors = (await talk.answered()).map((bytes) => decodeMessage(bytes).message)
    .flatMap((one) => one.kind === "error" ? [one.code] : []);
  deepStrictEqual(errors, Array(6).fill("OFPBFC_OUT_OF_BUNDLES"));
});

Deno.test("openflow peer: a peer without a common version is told once, however often it asks", async () => {
  await using talk = new Talk(4);
  const other = new Line();
  const held = Promise.withResolvers<void>();
  other.held = held.promise;
  const options = { versions: 1 << 4, isService: true, probeMs: 0 };
  const run = new Connection(talk.of, other, options).run();
  const hello = encodeMessage({ kind: "hello", versions: 1 << 2 }, { version: 2 });
  for (let i = 0; i < 1000; i++) other.say(hello);
  await talk.answered();
  held.resolve();
  await run;
  deepStrictEqual(other.heard.map((bytes) => bytes[1]), [0, 1]);
});

Deno.test("openflow peer: packets of any size are told in every form", async () => {
  for (const version of [1, 2, 3, 4, 5, 6] as const) {
    for (const format of ["standard", "nxt", "nxt2"] as const) {
      await using talk = new Talk(version, false);
      talk.say({ kind: "setPacketInFormat", format });
      await talk.answered();
      talk.of.packetIn(new Uint8Array(65_535), {
        of: 1,
        table: 0,
        cookie: 1n,
        reason: 1,
        maxLength: 0xffff,
        controllerId: 0,
        userdata: format === "nxt2" ? new Uint8Array(30_000) : undefined,
        meter: undefined,
        words: Array.from({ length: 20 }, (_, i) => [1 + i, 7] as const),
      });
      strictEqual((await talk.answered()).length, 2, `1.${version - 1} ${format}`);
      deepStrictEqual(talk.faults, []);
    }
  }
});

Deno.test("openflow peer: counters are brought up once for many flows that go", async () => {
  await using talk = new Talk(4, false);
  for (let i = 0; i < 500; i++) {
    const flow = `priority=${i},send_flow_rem,actions=2`;
    talk.of.flows.apply(parseFlow(flow), { isOld: false });
  }
  await talk.answered();
  talk.of.flows.apply(parseFlow("", { command: "delete" }), { isOld: false });
  await until(
    "all to be told",
    () => talk.line.heard.filter((bytes) => bytes[1] === 11).length === 500,
  );
  ok(talk.refreshes <= 2, `${talk.refreshes} times`);
});

Deno.test("openflow peer: flows that went are told before the barrier behind them", async () => {
  await using talk = new Talk(4, false);
  // Counters take a while to be brought up.
  talk.of.runtime.refresh = () => new Promise((resolve) => setTimeout(resolve, 20));
  talk.of.flows.apply(parseFlow("send_flow_rem,actions=2"), { isOld: false });
  await talk.answered();
  talk.say(parseFlow("", { command: "delete" }));
  talk.say({ kind: "barrierRequest" }, 5);
  const [flowRemoved, barrierReply] = [11, 21];
  const kinds = () => talk.line.heard.map((bytes) => bytes[1]);
  await until("the reply to the barrier", () => kinds().includes(barrierReply));
  deepStrictEqual(kinds(), [flowRemoved, barrierReply]);
});

Deno.test("openflow peer: what a controller is not told, because it does not read, is counted", async () => {
  await using talk = new Talk(4, false);
  await talk.answered();
  const held = Promise.withResolvers<void>();
  talk.line.held = held.promise;
  const told = 100;
  for (let i = 0; i < told; i++) {
    talk.of.packetIn(new Uint8Array(60_000), {
      of: 0,
      table: 0,
      cookie: 1n,
      reason: 1,
      maxLength: 0xffff,
      controllerId: 0,
      userdata: undefined,
      meter: undefined,
      words: [],
    });
  }
  talk.line.held = undefined;
  held.resolve();
  const heard = (await talk.answered()).filter((bytes) => bytes[1] === 10).length;
  const [peer] = talk.of.peers;
  ok(heard > 10 && heard < told, `${heard} packets were told`);
  strictEqual(peer?.lost, told - heard);
});

Deno.test("openflow peer: messages that are much work let others have their turn", async () => {
  await using talk = new Talk(4);
  for (let i = 0; i < 5000; i++) {
    const flow = `priority=${i},ip,nw_dst=10.0.0.1,actions=2`;
    talk.of.flows.apply(parseFlow(flow), { isOld: false });
  }
  await talk.answered();
  const mod = parseFlow("tcp", { command: "delete" });
  const one = encodeMessage({ ...mod, cookie: 1n, cookieMask: 1n }, { version: 4 });
  const many = new Uint8Array(one.length * 1000);
  for (let i = 0; i < 1000; i++) many.set(one, i * one.length);
  talk.line.say(many);
  let turns = 0;
  const timer = setInterval(() => turns++, 1);
  await talk.answered();
  clearInterval(timer);
  ok(turns > 1, `${turns} turns`);
});

Deno.test("openflow peer: a reply waits for a slow reader, and others go on", async () => {
  await using talk = new Talk(4);
  const outs = Array.from({ length: 2000 }, (_, i) => `output:${1 + i % 3}`).join(",");
  for (let i = 0; i < 400; i++) {
    talk.of.flows.apply(parseFlow(`priority=${i},actions=${outs}`), { isOld: false });
  }
  await talk.answered();
  const held = Promise.withResolvers<void>();
  talk.line.held = held.promise;
  let asked = 0;
  const rules = talk.of.flows.select.bind(talk.of.flows);
  // How far the reply is, told by who looks at its flows.
  talk.of.flows.select = function* (filter) {
    return (yield* rules(filter)).map((rule) =>
      new Proxy(rule, {
        get(of, name) {
          if (name === "cookie") asked++;
          return Reflect.get(of, name);
        },
      })
    );
  };
  const request = new Uint8Array(16 + 40);
  request.set([4, 18, 0, 56, 0, 0, 0, 9, 0, 1]);
  request.set([0xff, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255], 16);
  request.set([0, 1, 0, 4], 16 + 32);
  talk.line.say(request);
  await until("the reply to begin", () => asked > 0);
  await new Promise((resolve) => setTimeout(resolve, 50));
  ok(asked < 400, `${asked} of 400 flows were written for a peer that does not read`);
  talk.line.held = undefined;
  held.resolve();
  // An echo does not wait for what takes long.
  talk.say({ kind: "barrierRequest" }, 5);
  await until("the barrier", () => talk.line.heard.some((bytes) => bytes[1] === 21));
  const parts = (await talk.answered()).filter((bytes) => bytes[1] === 19);
  ok(parts.length >= 200, `${parts.length} parts`);
});

Deno.test("openflow peer: a fault of the program ends a conversation, and is told", async () => {
  await using talk = new Talk(4);
  talk.of.runtime.packetOut = () => {
    throw new Error("broken");
  };
  const out = new Uint8Array(24 + 14);
  out.set([4, 13, 0, 38, 0, 0, 0, 1, 255, 255, 255, 255, 0, 0, 0, 1]);
  talk.line.say(out);
  await until("the end", () => talk.line.isClosed);
  deepStrictEqual(talk.faults.map((error) => (error as Error).message), ["broken"]);
});

Deno.test("openflow peer: places", () => {
  deepStrictEqual(parseController("tcp:[::1]:66"), {
    transport: "tcp",
    hostname: "::1",
    port: 66,
  });
  const port = 6653;
  deepStrictEqual(parseController("tcp:a"), { transport: "tcp", hostname: "a", port });
  deepStrictEqual(parseListener("ptcp:"), {
    transport: "tcp",
    hostname: "0.0.0.0",
    port,
  });
  deepStrictEqual(parseListener("ptcp:0:[::]"), {
    transport: "tcp",
    hostname: "::",
    port: 0,
  });
  for (
    const bad of ["tcp:", "tcp:a:1e3", "tcp:a:65536", "tcp:a:1:2", "tcp:::1", "unix:"]
  ) {
    throws(() => parseController(bad), SyntaxError, bad);
  }
  for (const bad of ["ptcp:6653.5", "ptcp:-1", "ptcp:1:", "punix:"]) {
    throws(() => parseListener(bad), SyntaxError, bad);
  }
});

Deno.test("openflow peer: a socket that another program listens at is not taken", async () => {
  const folder = await Deno.makeTempDir();
  const path = `${folder}/mgmt`;
  const of = new Switch(dp, { name: "d", datapathId: 1n, tight: false });
  const options = { versions: 0x7e, probeMs: 0 };
  try {
    const first = await listen(of, { transport: "unix", path }, options);
    const second = listen(of, { transport: "unix", path }, options);
    await rejects(second, Deno.errors.AddrInUse);
    const line = await Deno.connect({ transport: "unix", path });
    line.close();
    await first.close();
    deepStrictEqual([...Deno.readDirSync(folder)], []);
    // What a program left behind that was killed is taken away.
    const killed = Deno.listen({ transport: "unix", path });
    killed.close();
    const third = await listen(of, { transport: "unix", path }, options);
    await third.close();
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("openflow peer: times from outside are those of timers, whatever they are", async () => {
  const setUsual = globalThis.setInterval;
  try {
    for (const probeMs of [2 ** 40, Infinity, NaN, -1, -(2 ** 40)]) {
      const of = new Switch(dp, { name: "d", datapathId: 1n, tight: false });
      const line = new Line();
      const timers: { what: () => void; ms: number }[] = [];
      globalThis.setInterval = ((what: () => void, ms: number) => {
        timers.push({ what, ms });
        return setUsual(() => {}, 1 << 30);
      }) as typeof setInterval;
      const options = { versions: 0x7e, isService: true, probeMs };
      const run = new Connection(of, line, options).run();
      globalThis.setInterval = setUsual;
      line.say(
        encodeMessage({ kind: "hello", versions: 1 << 4 }, { version: 4, xid: 1 }),
      );
      await until("the peer", () => of.peers.size === 1);
      const before = line.heard.length;
      for (const { what, ms } of timers) {
        ok(ms >= 10 && ms < 2 ** 31, `${ms} ms for ${probeMs}`);
        for (let i = 0; i < 3; i++) what();
      }
      strictEqual(timers.length, 2, "one asks, one looks at bundles");
      strictEqual(line.heard.length, before, `asked at once, by ${probeMs}`);
      strictEqual(of.peers.size, 1);
      line.close();
      await run;
    }
  } finally {
    globalThis.setInterval = setUsual;
  }
});
