// SPDX-License-Identifier: Apache-2.0
/** Peers that lie, flood, keep silent or do not read: bounded, and others are served on. */
import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { openSwitch } from "../../openflow/open.ts";
import { decodeMessage, encodeMessage } from "../../openflow/wire/codec.ts";
import { openLab, until } from "../../testing/mod.ts";
import { figure } from "../support/figure.ts";
import { random, randomBytes } from "../support/random.ts";
import { Splitter } from "./recorder.ts";

/** A peer that says what it is told to. */
class Rude implements AsyncDisposable {
  readonly #connection: Deno.UnixConn;
  /** Messages that came. */
  readonly heard: Uint8Array[] = [];
  closed = false;
  #reading: Promise<void> | undefined;

  constructor(connection: Deno.UnixConn) {
    this.#connection = connection;
  }

  static async to(target: string): Promise<Rude> {
    const path = target.replace("unix:", "");
    return new Rude(await Deno.connect({ transport: "unix", path }));
  }

  /** Begins to read. */
  listen(): void {
    this.#reading = this.#read();
  }

  async #read(): Promise<void> {
    const splitter = new Splitter();
    const buffer = new Uint8Array(65_536);
    try {
      for (;;) {
        const size = await this.#connection.read(buffer);
        if (size === null) break;
        this.heard.push(...splitter.push(buffer.subarray(0, size)));
      }
    } catch {
      // It was hung up on.
    }
    this.closed = true;
  }

  async say(...list: Uint8Array[]): Promise<void> {
    for (const bytes of list) {
      for (let at = 0; at < bytes.length;) {
        at += await this.#connection.write(bytes.subarray(at));
      }
    }
  }

  hello(): Promise<void> {
    return this.say(encodeMessage({ kind: "hello", versions: 1 << 4 }, { version: 4 }));
  }

  /** Whether an echo is answered. */
  async echoes(xid: number): Promise<void> {
    const data = new Uint8Array([1, 2, 3]);
    await this.say(encodeMessage({ kind: "echoRequest", data }, { version: 4, xid }));
    await until("the echo", () =>
      this.heard.some((bytes) => {
        if (bytes[1] !== 3) return false;
        return decodeMessage(bytes).xid === xid;
      }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.#connection.close();
    } catch {
      // It is closed.
    }
    await this.#reading;
  }
}

Deno.test("openflow hostile: what is malformed is answered or hung up on, others are served", async () => {
  await using lab = await openLab({ ports: ["p1", "p2"] });
  const path = Deno.makeTempFileSync({ prefix: "sw" });
  Deno.removeSync(path);
  await using of = await openSwitch(lab.dp, { listen: [`punix:${path}`] });
  const target = of.listeners[0] as string;
  await using polite = await Rude.to(target);
  polite.listen();
  await polite.hello();
  await polite.echoes(1);
  const next = random(7);

  // A length below that of a header: nobody knows where the next message begins.
  await using short = await Rude.to(target);
  short.listen();
  await short.hello();
  await short.say(Uint8Array.of(4, 2, 0, 7, 0, 0, 0, 1));
  await until("the end of the conversation", () => short.closed);

  // Anything but a hello first, and no version in common.
  await using first = await Rude.to(target);
  first.listen();
  await first.say(encodeMessage({ kind: "barrierRequest" }, { version: 4 }));
  await until("the end of the conversation", () => first.closed);
  await using strange = await Rude.to(target);
  strange.listen();
  await strange.say(encodeMessage({ kind: "hello", versions: 1 << 20 }, { version: 4 }));
  await until("the end of the conversation", () => strange.closed);
  const said = strange.heard.map((bytes) => decodeMessage(bytes).message);
  ok(said.some((one) => one.kind === "error" && one.code === "OFPHFC_INCOMPATIBLE"));

  // Bodies at random: an error for each, and the conversation goes on.
  await using noisy = await Rude.to(target);
  noisy.listen();
  await noisy.hello();
  for (let i = 0; i < 2000; i++) {
    const bytes = randomBytes(next, 8 + next(64));
    bytes[0] = 4;
    bytes[1] = 4 + next(40);
    new DataView(bytes.buffer).setUint16(2, bytes.length);
    await noisy.say(bytes);
  }
  await noisy.echoes(77);
  figure(`2000 messages at random: ${noisy.heard.length} answers`);

  // One that asks without end and does not read: it waits for itself, and nobody else does.
  await using greedy = await Rude.to(target);
  await greedy.hello();
  const request = new Uint8Array(16);
  request.set([4, 18, 0, 16, 0, 0, 0, 1, 0, 12]);
  let asked = 0;
  const flood = (async (): Promise<void> => {
    const many = new Uint8Array(16 * 256);
    for (let i = 0; i < 256; i++) many.set(request, 16 * i);
    try {
      for (; asked < 200_000; asked += 256) await greedy.say(many);
    } catch {
      // It was closed at the end.
    }
  })();
  await polite.echoes(2);
  await polite.echoes(3);
  ok(asked < 200_000, `${asked} requests were taken`);
  strictEqual(polite.closed, false);
  await greedy[Symbol.asyncDispose]();
  await flood;
  deepStrictEqual(of.run.stats.failures, {});
});
