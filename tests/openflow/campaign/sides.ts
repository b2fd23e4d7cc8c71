// SPDX-License-Identifier: Apache-2.0
/**
 * The two switches of a campaign, to which the same bytes are said and the same packets given.
 *
 * @module
 */
import {
  type Endpoint,
  listen,
  parseListener,
} from "../../../openflow/connection/endpoints.ts";
import { Switch } from "../../../openflow/switch/switch.ts";
import { Switches } from "../../../openflow/switches.ts";
import { encodeMessage } from "../../../openflow/wire/codec.ts";
import type { Version } from "../../../openflow/wire/error.ts";
import type { Message } from "../../../openflow/wire/message.ts";
import { type Lab, openLab, until } from "../../../testing/mod.ts";
import { type Dummy, startDummy } from "../../odp/ovs_dummy.ts";
import { Splitter } from "../recorder.ts";
import type { Arrival } from "./rounds.ts";

/** Ports that packets come and go by. */
export const PORTS = [1, 2, 3, 4] as const;
const LAST_XID = 0xffff_fff0;
const BARRIER_REPLY = [0, 19, 21, 21, 21, 21, 21] as const;

/** A conversation with a switch, in one version. */
export class Talk implements Disposable {
  readonly version: Version;
  readonly #connection: Deno.UnixConn;
  readonly #splitter = new Splitter();
  readonly #buffer = new Uint8Array(1 << 16);

  private constructor(connection: Deno.UnixConn, version: Version) {
    this.#connection = connection;
    this.version = version;
  }

  /** Begins one, in which packets are handed over in whole. */
  static async at(path: string, version: Version): Promise<Talk> {
    const talk = new Talk(await Deno.connect({ transport: "unix", path }), version);
    await talk.say(
      talk.bytesOf({ kind: "hello", versions: 1 << version }),
      talk.bytesOf({ kind: "setConfig", flags: 0, missLength: 0xffff }),
    );
    await talk.heard();
    return talk;
  }

  /** A message of its version. */
  bytesOf(message: Message, xid = 1): Uint8Array {
    return encodeMessage(message, { version: this.version, xid });
  }

  /** Says messages. */
  async say(...messages: readonly Uint8Array[]): Promise<void> {
    const all = new Uint8Array(messages.reduce((size, { length }) => size + length, 0));
    let at = 0;
    for (const bytes of messages) {
      all.set(bytes, at);
      at += bytes.length;
    }
    for (let sent = 0; sent < all.length;) {
      sent += await this.#connection.write(all.subarray(sent));
    }
  }

  /** What was heard until all that was said has been done. */
  async heard(): Promise<Uint8Array[]> {
    await this.say(this.bytesOf({ kind: "barrierRequest" }, LAST_XID));
    const found: Uint8Array[] = [];
    for (;;) {
      const size = await this.#connection.read(this.#buffer);
      if (size === null) throw new Error("the switch hung up");
      for (const message of this.#splitter.push(this.#buffer.subarray(0, size))) {
        const isLast = message[1] === BARRIER_REPLY[this.version] && message[7] === 0xf0;
        if (isLast) return found;
        found.push(message);
      }
    }
  }

  [Symbol.dispose](): void {
    this.#connection.close();
  }
}

/** A switch, ours or the other one. */
export interface Side extends AsyncDisposable {
  readonly name: string;
  /** The socket at which it listens. */
  readonly path: string;
  /** Has packets come; answers what left by each port, once nothing is under way any more. */
  send(arrivals: readonly Arrival[]): Promise<Uint8Array[][]>;
  /** Has statistics be right, and forgets the datapath's flows where it keeps them too long. */
  flush(): Promise<void>;
  /** What cannot be told otherwise went wrong. */
  readonly faults: string[];
}

class Ours implements Side {
  readonly name = "ours";
  readonly path: string;
  readonly faults: string[];
  /** For what packets are translated into. */
  readonly of: Switch;
  readonly #lab: Lab;
  readonly #switches: Switches;
  readonly #endpoint: Endpoint;

  constructor(
    parts: {
      readonly path: string;
      readonly faults: string[];
      readonly of: Switch;
      readonly lab: Lab;
      readonly switches: Switches;
      readonly endpoint: Endpoint;
    },
  ) {
    this.path = parts.path;
    this.faults = parts.faults;
    this.of = parts.of;
    this.#lab = parts.lab;
    this.#switches = parts.switches;
    this.#endpoint = parts.endpoint;
  }

  async send(arrivals: readonly Arrival[]): Promise<Uint8Array[][]> {
    for (const { port, frame } of arrivals) await this.#lab.inject(port, frame);
    const { run } = this.#switches;
    await this.#lab.settle();
    await until(
      "misses to be decided",
      () => BigInt(run.stats.upcalls) >= BigInt(this.#lab.dp.stats().missed),
    );
    await run.settled();
    const sent: Uint8Array[][] = [];
    for (const port of PORTS) sent.push(await this.#lab.collect(port));
    return sent;
  }

  async flush(): Promise<void> {
    await this.#switches.run.statistics();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#endpoint.close();
    await this.#switches.close();
    await this.#lab[Symbol.asyncDispose]();
  }
}

/** Starts a switch of ours on dummy ports. */
export async function startOurs(): Promise<Side & { readonly of: Switch }> {
  const path = await Deno.makeTempFile({ prefix: "campaign-" });
  await Deno.remove(path);
  const faults: string[] = [];
  const failed = (error: unknown): void => void faults.push(`${error}`);
  const lab = await openLab({ ports: PORTS.map((n) => `p${n}`) });
  const switches = new Switches(lab.dp);
  const of = new Switch(lab.dp, { name: "br0", datapathId: 1n, tight: false });
  switches.add(of);
  await switches.start({ failed, onError: failed });
  const options = { versions: 0x7e, probeMs: 60_000 };
  const endpoint = await listen(of, parseListener(`punix:${path}`), options);
  return new Ours({ path, faults, of, lab, switches, endpoint });
}

class Theirs implements Side {
  readonly name = "Open vSwitch";
  readonly faults: string[] = [];
  readonly ovs: Dummy;

  constructor(ovs: Dummy) {
    this.ovs = ovs;
  }

  get path(): string {
    return this.ovs.socket;
  }

  async send(arrivals: readonly Arrival[]): Promise<Uint8Array[][]> {
    const wanted = await this.#looked() + arrivals.length;
    for (const port of PORTS) {
      const frames = arrivals.filter((one) => one.port === port);
      if (frames.length === 0) continue;
      const words = frames.map(({ frame }) => frame.toHex());
      await this.ovs.call("netdev-dummy/receive", `p${port}`, ...words);
    }
    await until("packets to be looked up", async () => await this.#looked() >= wanted);
    // Packets that were handed over to other threads come back meanwhile.
    for (let i = 0; i < 2; i++) await this.ovs.call("version");
    const sent: Uint8Array[][] = [];
    for (const port of PORTS) sent.push(await this.ovs.sent(port));
    return sent;
  }

  /** Packets that were looked up so far. */
  async #looked(): Promise<number> {
    const text = await this.ovs.call("dpctl/show");
    const [, hits, misses] = /hit:(\d+) missed:(\d+)/.exec(text) ?? [];
    return Number(hits) + Number(misses);
  }

  async flush(): Promise<void> {
    await this.ovs.call("revalidator/purge");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.ovs[Symbol.asyncDispose]();
  }
}

/** Starts Open vSwitch on dummy ports. Throws `Unsupported` where it is not installed. */
export async function startTheirs(): Promise<Side & { readonly ovs: Dummy }> {
  return new Theirs(await startDummy());
}
