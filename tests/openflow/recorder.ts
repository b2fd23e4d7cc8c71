// SPDX-License-Identifier: Apache-2.0
/**
 * A peer that says yes to all that ovs-ofctl sends, and keeps its bytes.
 *
 * @module
 */
import { decodeMessage, encodeMessage } from "../../openflow/wire/codec.ts";
import type { Version } from "../../openflow/wire/error.ts";
import type { MultipartReply } from "../../openflow/wire/multipart_types.ts";
import { needProgram } from "../support/skip.ts";

/** The path of ovs-ofctl; skips the test where there is none. */
export function ofctlPath(): string {
  return needProgram("ovs-ofctl", { requirement: "peer" });
}

/** What ovs-ofctl printed. */
export interface Said {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs ovs-ofctl; `input` is what it reads. */
export async function ofctl(args: readonly string[], input = ""): Promise<Said> {
  const child = new Deno.Command(ofctlPath(), {
    args: ["--timeout=20", ...args],
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
    clearEnv: true,
    env: { LC_ALL: "C" },
  }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(input)).catch(() => {});
  await writer.close().catch(() => {});
  const { code, stdout, stderr } = await child.output();
  const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
  return { code, stdout: text(stdout), stderr: text(stderr) };
}

/** The ports of a switch, which ovs-ofctl asks for to know their names. */
const local = {
  port: 0xfffffffe,
  mac: 1n,
  name: "br0",
  config: 0,
  state: 0,
  current: 0,
  advertised: 0,
  supported: 0,
  peer: 0,
  currentSpeed: 0,
  maxSpeed: 0,
} as const;
const features = {
  kind: "featuresReply",
  datapathId: 1n,
  tables: 254,
  auxiliary: 0,
  capabilities: 0,
  actions: 0,
  ports: [local],
} as const;
const table = {
  table: 0,
  name: "table0",
  maxEntries: 1000,
  active: 0,
  lookups: 0n,
  matched: 0n,
  config: 0,
};
const answers: Readonly<Record<string, MultipartReply>> = {
  portDesc: { type: "portDesc", ports: [local] },
  table: { type: "table", tables: [] },
  tableFeatures: { type: "tableFeatures", tables: [table] },
};

/** Cuts a stream into messages. */
export class Splitter {
  #left = new Uint8Array();

  /** Takes bytes over, and gives the messages that are whole. */
  *push(bytes: Uint8Array): IterableIterator<Uint8Array> {
    const all = new Uint8Array(this.#left.length + bytes.length);
    all.set(this.#left);
    all.set(bytes, this.#left.length);
    let at = 0;
    while (all.length - at >= 8) {
      const length = (all[at + 2] as number) << 8 | (all[at + 3] as number);
      if (length < 8) throw new Error("a message says less than its header");
      if (all.length - at < length) break;
      yield all.slice(at, at + length);
      at += length;
    }
    this.#left = all.slice(at);
  }
}

/** A peer's listener. */
export class Recorder implements AsyncDisposable {
  readonly #listener: Deno.UnixListener;
  readonly #path: string;
  readonly #version: Version;
  /** Messages so far, but those of the connection itself. */
  readonly messages: Uint8Array[] = [];
  /** What went wrong in conversations. */
  readonly faults: unknown[] = [];
  readonly #tasks: Promise<unknown>[] = [];

  /** Listens; the peer is offered one version. */
  constructor(version: Version) {
    this.#version = version;
    this.#path = Deno.makeTempFileSync({ prefix: "of" });
    Deno.removeSync(this.#path);
    this.#listener = Deno.listen({ transport: "unix", path: this.#path });
    this.#tasks.push(this.#serve());
  }

  /** How ovs-ofctl finds it. */
  get target(): string {
    return `unix:${this.#path}`;
  }

  async #serve(): Promise<void> {
    for await (const connection of this.#listener) {
      // A peer that goes, or that says what is not read, ends its own conversation only.
      this.#tasks.push(this.#talk(connection).catch((error) => this.faults.push(error)));
    }
  }

  async #talk(connection: Deno.Conn): Promise<void> {
    const version = this.#version;
    const say = (message: Parameters<typeof encodeMessage>[0], xid: number) =>
      connection.write(encodeMessage(message, { version, xid }));
    const splitter = new Splitter();
    const buffer = new Uint8Array(65536);
    try {
      await say({ kind: "hello", versions: 1 << version }, 1);
      for (;;) {
        const size = await connection.read(buffer);
        if (size === null) break;
        for (const bytes of splitter.push(buffer.subarray(0, size))) {
          const { message, xid } = decodeMessage(bytes);
          if (message.kind === "hello") continue;
          if (message.kind === "barrierRequest") await say({ kind: "barrierReply" }, xid);
          else if (message.kind === "featuresRequest") await say(features, xid);
          else if (message.kind === "multipartRequest") {
            const reply = answers[message.request.type];
            if (reply === undefined) throw new Error(`asked for ${message.request.type}`);
            await say({ kind: "multipartReply", reply, more: false }, xid);
          } else if (message.kind === "bundleControl") {
            this.messages.push(bytes);
            const step = message.step.replace("Request", "Reply") as "openReply";
            await say({ ...message, step }, xid);
          } else this.messages.push(bytes);
        }
      }
    } finally {
      connection.close();
    }
  }

  /** Ends it. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    await Promise.allSettled(this.#tasks);
    await Deno.remove(this.#path).catch(() => {});
  }
}

/** Bytes as digits. */
export function hexOf(bytes: Uint8Array): string {
  return bytes.toHex();
}
