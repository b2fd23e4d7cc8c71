// SPDX-License-Identifier: Apache-2.0
/**
 * Hosts that serve and ask as they are told: `station.py`, run in a namespace.
 *
 * @module
 */
import { type Host, on } from "../../support/netns.ts";
import { TextLineStream } from "./lines.ts";

/** What a station answers. */
export interface Answer {
  /** Why a client came to nothing. */
  readonly error?: string;
  /** Whom the server saw. */
  readonly host?: string;
  readonly port?: number;
  /** The server's own address. */
  readonly server?: string;
  /** The client's own port. */
  readonly local?: number;
  readonly echo?: string;
  readonly size?: number;
  /** Frames, as hex. */
  readonly frames?: readonly string[];
}

/** Debian's: another one may come first in PATH. */
const python = "/usr/bin/python3";

/** A host with its servers. */
export class Station implements AsyncDisposable {
  readonly host: Host;
  readonly #child: Deno.ChildProcess;
  readonly #input: WritableStreamDefaultWriter<Uint8Array>;
  readonly #lines: AsyncIterator<string>;
  readonly #stderr: Promise<string>;

  private constructor(host: Host, child: Deno.ChildProcess) {
    this.host = host;
    this.#child = child;
    this.#input = child.stdin.getWriter();
    this.#stderr = new Response(child.stderr).text();
    this.#lines = child.stdout.pipeThrough(new TextDecoderStream())
      .pipeThrough(new TextLineStream())[Symbol.asyncIterator]();
  }

  /** Starts the servers of a host; they listen when it resolves. */
  static async start(host: Host): Promise<Station> {
    const script = new URL("station.py", import.meta.url).pathname;
    const [command = "", ...args] = on(host, python, "-u", script);
    const child = new Deno.Command(command, {
      args,
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    const station = new Station(host, child);
    await station.#answer();
    return station;
  }

  async #answer(): Promise<Answer> {
    const { value, done } = await this.#lines.next();
    if (done) throw new Error(`a station has ended: ${await this.#stderr}`);
    return JSON.parse(value) as Answer;
  }

  /** Has a client do something; never rejects for what came of it. */
  async try(name: string, options: Record<string, unknown>): Promise<Answer> {
    const line = `${JSON.stringify([name, options])}\n`;
    await this.#input.write(new TextEncoder().encode(line));
    return await this.#answer();
  }

  /** The same; rejects where it fails. */
  async do(name: string, options: Record<string, unknown>): Promise<Answer> {
    const answer = await this.try(name, options);
    if (answer.error === undefined) return answer;
    throw new Error(`${name} ${JSON.stringify(options).slice(0, 200)}: ${answer.error}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#child.status;
    await this.#stderr;
    await this.#input.abort().catch(() => {});
    await this.#lines.return?.();
  }
}
