// SPDX-License-Identifier: Apache-2.0
/**
 * A controller for benches: bundles of flow mods over a socket of Unix.
 *
 * @module
 */
import { parseFlow } from "../../openflow/text/flow.ts";
import { encodeMessage } from "../../openflow/wire/codec.ts";
import type { BundleStep, Message } from "../../openflow/wire/message.ts";
import { Splitter } from "../openflow/recorder.ts";
import { BenchError } from "./usage.ts";

/** OpenFlow 1.4. */
const VERSION = 5;
const [ERROR, BARRIER_REPLY, BUNDLE_CONTROL] = [1, 21, 33];

function bytesOf(message: Message, xid = 1): Uint8Array {
  return encodeMessage(message, { version: VERSION, xid });
}

function control(step: BundleStep): Uint8Array {
  return bytesOf({ kind: "bundleControl", bundle: 1, step, flags: 3 });
}

/** The bytes that open a bundle, fill it with flows, and commit it. */
export function bundleOf(flows: readonly string[]): Uint8Array {
  const parts = [
    control("openRequest"),
    ...flows.map((flow) => {
      const inner = bytesOf(parseFlow(flow));
      return bytesOf({ kind: "bundleAdd", bundle: 1, flags: 3, inner });
    }),
    control("commitRequest"),
  ];
  const all = new Uint8Array(parts.reduce((size, { length }) => size + length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** A conversation with a switch. */
export class Client implements Disposable {
  readonly #connection: Deno.UnixConn;
  readonly #splitter = new Splitter();

  private constructor(connection: Deno.UnixConn) {
    this.#connection = connection;
  }

  /** Begins one. */
  static async to(path: string): Promise<Client> {
    const client = new Client(await Deno.connect({ transport: "unix", path }));
    await client.#write(bytesOf({ kind: "hello", versions: 1 << VERSION }));
    return client;
  }

  async #write(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length;) {
      at += await this.#connection.write(bytes.subarray(at));
    }
  }

  /** Waits for so many messages of a type. Throws `BenchError` for an error that comes before. */
  async #wait(type: number, count: number): Promise<void> {
    const buffer = new Uint8Array(65_536);
    for (let left = count; left > 0;) {
      const size = await this.#connection.read(buffer);
      if (size === null) throw new BenchError("the switch hung up");
      for (const message of this.#splitter.push(buffer.subarray(0, size))) {
        if (message[1] === ERROR) throw new BenchError(`the switch refused: ${message}`);
        if (message[1] === type) left--;
      }
    }
  }

  /** Has a bundle committed; resolves when the switch says that it is. */
  async commit(bundle: Uint8Array): Promise<void> {
    await this.#write(bundle);
    await this.#wait(BUNDLE_CONTROL, 2);
  }

  /** Removes all flows. */
  async clear(): Promise<void> {
    await this.#write(bytesOf(parseFlow("", { command: "delete" })));
    await this.#write(bytesOf({ kind: "barrierRequest" }));
    await this.#wait(BARRIER_REPLY, 1);
  }

  [Symbol.dispose](): void {
    this.#connection.close();
  }
}
