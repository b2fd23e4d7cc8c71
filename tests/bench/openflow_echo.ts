// SPDX-License-Identifier: Apache-2.0
/**
 * A controller in a thread of its own that asks a switch whether it is there, again and again.
 *
 * @module
 */
import { encodeMessage } from "../../openflow/wire/codec.ts";
import { Splitter } from "../openflow/recorder.ts";

const VERSION = 5;
const ECHO_REPLY = 3;
const PAUSE_MS = 5;

/** Asks until it is told to end. */
export class EchoProbe {
  readonly #worker: Worker;
  readonly #ended: Promise<number[]>;

  private constructor(worker: Worker) {
    this.#worker = worker;
    this.#ended = new Promise((resolve, reject) => {
      worker.addEventListener("message", ({ data }) => {
        if (Array.isArray(data)) resolve(data as number[]);
      });
      worker.addEventListener("error", (event) => reject(event.error));
    });
  }

  /** Begins, once it talks with the switch that listens at a path. */
  static async start(path: string): Promise<EchoProbe> {
    const worker = new Worker(import.meta.url, { type: "module" });
    const made = new EchoProbe(worker);
    const talks = new Promise<void>((resolve) =>
      worker.addEventListener("message", () => resolve(), { once: true })
    );
    worker.postMessage(path);
    await talks;
    return made;
  }

  /** Ends; answers what each echo took, ms, the shortest first. */
  async end(): Promise<number[]> {
    this.#worker.postMessage("end");
    const waits = await this.#ended;
    this.#worker.terminate();
    return waits.sort((a, b) => a - b);
  }
}

/** What the thread posts and hears. */
interface Thread {
  postMessage(message: unknown): void;
  addEventListener(
    type: "message",
    heard: (event: { readonly data: string }) => void,
  ): void;
}

async function ask(thread: Thread, path: string, isOver: () => boolean): Promise<void> {
  const stream = await Deno.connect({ transport: "unix", path });
  const [buffer, splitter] = [new Uint8Array(65_536), new Splitter()];
  const hello = { kind: "hello", versions: 1 << VERSION } as const;
  await stream.write(encodeMessage(hello, { version: VERSION }));
  const request = { kind: "echoRequest", data: new Uint8Array(8) } as const;
  const bytes = encodeMessage(request, { version: VERSION, xid: 7 });
  const waits: number[] = [];
  thread.postMessage("talks");
  while (!isOver()) {
    const start = performance.now();
    await stream.write(bytes);
    for (let isAnswered = false; !isAnswered;) {
      const size = await stream.read(buffer) ?? 0;
      const heard = [...splitter.push(buffer.subarray(0, size))];
      isAnswered = heard.some((message) => message[1] === ECHO_REPLY);
    }
    waits.push(performance.now() - start);
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
  stream.close();
  thread.postMessage(waits);
}

if ("WorkerGlobalScope" in globalThis) {
  const thread = globalThis as unknown as Thread;
  let isOver = false;
  thread.addEventListener("message", ({ data }) => {
    if (data === "end") isOver = true;
    else void ask(thread, data, () => isOver);
  });
}
