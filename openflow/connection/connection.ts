// SPDX-License-Identifier: Apache-2.0
/**
 * A connection with a peer: bytes to messages, the first words, what waits to be sent.
 *
 * A peer that does not read is bounded: its answers hold up its own requests, and what it did not
 * ask for is left out. One whose bytes are no messages is hung up on.
 *
 * @module
 */
import { every } from "../../policy/clock.ts";
import { Handler } from "../switch/handler.ts";
import { Peer, type Urgency } from "../switch/peer.ts";
import type { Switch } from "../switch/switch.ts";
import { othersTurn, TURN_MS } from "../switch/turns.ts";
import { decodeMessage, encodeMessage } from "../wire/codec.ts";
import { encodeParts } from "./parts.ts";
import { timerMs } from "./timer.ts";
import type { Version } from "../wire/error.ts";
import {
  HEADER_SIZE,
  LAST_VERSION,
  lengthAt,
  readHeader,
  xidAt,
} from "../wire/header.ts";
import type { Message } from "../wire/message.ts";

/** A stream of bytes, as `Deno.Conn` is. */
export interface Stream {
  read(to: Uint8Array): Promise<number | null>;
  write(bytes: Uint8Array): Promise<number>;
  close(): void;
  readonly remoteAddr?: Deno.Addr;
}

/** How a connection is kept. */
export interface ConnectionOptions {
  /** Versions that are offered, as bits: bit 1 is OpenFlow 1.0. */
  readonly versions: number;
  /** Whether the peer came by itself. */
  readonly isService: boolean;
  /** After so long without a word the peer is asked whether it is there, ms; 0 never asks. */
  readonly probeMs: number;
  /** Keeps what is said, if it wants to. */
  readonly journal?: ((transport: string) => Journal | undefined) | undefined;
}

/** Told what is said on a connection; it keeps no bytes. */
export interface Journal {
  sent(message: Message, version: Version, xid: number): void;
  received(bytes: Uint8Array): void;
  /** The version that is spoken, of own ones and of the peer's, as bits. */
  agreed(version: Version, own: number, theirs: number): void;
  /** The conversation is over. */
  ended(): void;
}

/** Bytes that may wait while events are still taken, and while requests are still read. */
const MAX_EVENTS = 1 << 20;
const MAX_REPLIES = 1 << 22;
/** So often it is looked which bundles are not used any more, ms. */
const BUNDLES_MS = 1000;
/** Room that a read has at least, and bytes that are read ahead of what is done. */
const MIN_READ = 16_384;
const MAX_AHEAD = 1 << 20;
const [ECHO_REQUEST, ECHO_REPLY] = [2, 3];
/** A message that takes so long does not hold up the answers to echo requests, ms. */
const LONG_MS = 20;
/** A peer must say hello within this, ms. */
const HELLO_MS = 10_000;

/** The highest version of some bits. */
function highest(bits: number): Version | undefined {
  for (let version = LAST_VERSION; version >= 1; version--) {
    if (bits >> version & 1) return version as Version;
  }
  return undefined;
}

/** The version of an error about a message of another version than the peer's: that message's. */
function versionOf(message: Message): Version | undefined {
  if (message.kind !== "error" || message.code !== "OFPBRC_BAD_VERSION") return undefined;
  const version = message.data[0] ?? 0;
  return version >= 1 && version <= LAST_VERSION ? version as Version : undefined;
}

/** A connection. */
export class Connection {
  readonly #switch: Switch;
  readonly #stream: Stream;
  readonly #options: ConnectionOptions;
  #peer: Peer | undefined;
  #handler: Handler | undefined;
  /** What was read, and how much of it is there. */
  #bytes = new Uint8Array(65_536);
  #size = 0;
  /** The read that is under way, into what is free of the bytes. */
  #reading: Promise<number | null> | undefined;
  readonly #journal: Journal | undefined;
  readonly #waiting: Uint8Array[] = [];
  #waitingBytes = 0;
  #writing: Promise<void> | undefined;
  #drained = Promise.withResolvers<void>();
  #isClosed = false;
  /** Since when it has been this peer's turn. */
  #turnSince = performance.now();
  readonly #sinceMs = Date.now();
  #heardMs = Date.now();
  /** Whether the peer was told that there is no version in common. */
  #isRefused = false;
  #askedMs: number | undefined;
  /** Whether nothing is read until a message is done: what the peer answers is not heard. */
  #isHeldUp = false;

  /** Begins a conversation. */
  constructor(of: Switch, stream: Stream, options: ConnectionOptions) {
    this.#switch = of;
    this.#stream = stream;
    this.#options = { ...options, probeMs: timerMs(options.probeMs) };
    this.#journal = options.journal?.(stream.remoteAddr?.transport ?? "unix");
  }

  /** Talks until the peer or {@linkcode close} ends it. Never rejects. */
  async run(): Promise<void> {
    const { versions, probeMs } = this.#options;
    const first = highest(versions) ?? 1;
    const hello = { kind: "hello", versions } as const;
    this.#put(encodeMessage(hello, { version: first, xid: 1 }));
    this.#journal?.sent(hello, first, 1);
    const everyMs = probeMs > 0 ? Math.max(10, probeMs / 5) : 1000;
    const timer = setInterval(() => this.#watch(), everyMs);
    Deno.unrefTimer(timer);
    using _bundles = every(BUNDLES_MS, () => this.#handler?.expireBundles());
    try {
      await this.#read();
    } catch {
      // The peer hung up, or said what is no message.
    } finally {
      clearInterval(timer);
      this.close();
      this.#journal?.ended();
      if (this.#peer !== undefined) this.#switch.leave(this.#peer);
      this.#handler?.close();
      await this.#writing?.catch(() => {});
    }
  }

  /** Asks a silent peer whether it is there; one that stays silent is gone. */
  #watch(): void {
    const nowMs = Date.now();
    if (this.#peer === undefined) {
      // However many bytes of a hello came: one that is never whole would keep its place.
      if (nowMs - this.#sinceMs > HELLO_MS) this.close();
      return;
    }
    const { probeMs } = this.#options;
    if (probeMs === 0 || this.#isHeldUp || nowMs - this.#heardMs < probeMs) return;
    if (this.#askedMs === undefined) {
      this.#askedMs = nowMs;
      this.#peer.reply({ kind: "echoRequest", data: new Uint8Array() }, 0);
    } else if (nowMs - this.#askedMs >= probeMs) this.close();
  }

  async #read(): Promise<void> {
    let at = 0;
    while (!this.#isClosed) {
      this.#turnSince = performance.now();
      while (this.#size - at >= HEADER_SIZE) {
        const length = lengthAt(this.#bytes, at);
        if (length < HEADER_SIZE) return; // There is no telling where the next one begins.
        if (this.#size - at < length) break;
        const message = this.#bytes.subarray(at, at + length);
        at += length;
        const done = this.#message(message);
        if (this.#handler?.isBusy && done !== undefined) {
          await this.#during(done, at);
        } else if (done !== undefined) await done;
        if (this.#isClosed) return;
      }
      if (this.#reading === undefined) {
        this.#bytes.copyWithin(0, at, this.#size);
        this.#size -= at;
        at = 0;
      }
      if (!await this.#more()) return;
    }
  }

  /** Reads more bytes; false if there are no more. */
  async #more(): Promise<boolean> {
    const got = await this.#startReading();
    this.#reading = undefined;
    if (got === null) return false;
    this.#size += got;
    this.#heardMs = Date.now();
    this.#askedMs = undefined;
    return true;
  }

  #startReading(): Promise<number | null> {
    if (this.#reading !== undefined) return this.#reading;
    if (this.#bytes.length - this.#size < MIN_READ) {
      const more = new Uint8Array(2 * this.#bytes.length);
      more.set(this.#bytes.subarray(0, this.#size));
      this.#bytes = more;
    }
    return this.#reading = this.#stream.read(this.#bytes.subarray(this.#size));
  }

  /**
   * While a message is done, or waits for what other peers change, those behind it are read, as far
   * as there is room: a peer that asks whether anybody is there is answered before its turn if that
   * is a commit, or takes long; one that hangs up has its bundle abandoned. They begin at `from`.
   */
  async #during(done: Promise<void>, from: number): Promise<void> {
    let isDone = false;
    let isLong = this.#handler?.isCommitting ?? false;
    const end = done.finally(() => void (isDone = true)).then(() => false);
    let at = from;
    const timer = setTimeout(() => {
      isLong = true;
      at = this.#answerEchoes(at);
    }, LONG_MS);
    void done.finally(() => clearTimeout(timer));
    while (!isDone && this.#size - from < MAX_AHEAD) {
      const reading = this.#startReading();
      if (!await Promise.race([end, reading.then(() => true)])) break;
      if (!await this.#more()) {
        // What waits is done, bundles aside, and then there is nothing more to read.
        this.#handler?.abandon();
        this.#reading = Promise.resolve(null);
        break;
      }
      if (isLong) at = this.#answerEchoes(at);
    }
    this.#isHeldUp = !isDone;
    await end;
    if (this.#isHeldUp) this.#heardMs = Date.now();
    this.#isHeldUp = false;
  }

  /** Answers what only asks for an echo, from an offset on; answers how far that went. */
  #answerEchoes(from: number): number {
    const [bytes, peer] = [this.#bytes, this.#peer];
    let at = from;
    while (this.#size - at >= HEADER_SIZE) {
      const length = lengthAt(bytes, at);
      if (length < HEADER_SIZE || this.#size - at < length) break;
      if (peer !== undefined && bytes[at + 1] === ECHO_REQUEST) {
        const data = bytes.slice(at + HEADER_SIZE, at + length);
        peer.reply({ kind: "echoReply", data }, xidAt(bytes, at));
        bytes[at + 1] = ECHO_REPLY; // In its turn it says nothing.
      }
      at += length;
    }
    return at;
  }

  /** Does a message; promises its end where that does not come at once. */
  #message(bytes: Uint8Array): void | Promise<void> {
    if (!this.#options.isService) this.#switch.onSaid?.(bytes);
    this.#journal?.received(bytes);
    if (this.#handler === undefined) return this.#hello(bytes);
    try {
      const done = this.#handler.handle(bytes);
      if (done !== undefined) {
        return done.then(() => this.#ready(), (error) => this.#failed(error));
      }
    } catch (error) {
      return this.#failed(error);
    }
    const isLate = performance.now() - this.#turnSince >= TURN_MS;
    if (isLate || this.#waitingBytes > MAX_REPLIES) return this.#ready();
  }

  /** No peer's fault: its conversation ends, and the fault is told. */
  #failed(error: unknown): void {
    this.#switch.runtime.failed(error);
    this.close();
  }

  /** A peer that asks more than it reads waits for itself; others, and packets, have their turn. */
  async #ready(): Promise<void> {
    while (this.#waitingBytes > MAX_REPLIES && !this.#isClosed) {
      await this.#drained.promise;
    }
    if (performance.now() - this.#turnSince < TURN_MS) return;
    await othersTurn();
    this.#turnSince = performance.now();
  }

  /** The first message says which versions the peer has. */
  #hello(bytes: Uint8Array): void {
    const { version, type, xid } = readHeader(bytes);
    if (this.#isRefused) return;
    if (type !== 0) return this.close();
    const own = this.#options.versions;
    // A peer of a later version than any here is read as far as it can be.
    const known = bytes.slice();
    known[0] = Math.min(Math.max(version, 1), LAST_VERSION);
    const { message } = decodeMessage(known);
    const said = message.kind === "hello" ? message.versions : undefined;
    const upTo = (2 << Math.min(version, LAST_VERSION)) - 2;
    const agreed = said !== undefined
      ? highest(own & said)
      : own >> Math.min(version, highest(own) ?? 1) & 1
      ? Math.min(version, highest(own) ?? 1) as Version
      : highest(own & upTo);
    if (agreed === undefined) {
      this.#isRefused = true;
      const data = new TextEncoder().encode("no version in common");
      const of = highest(own) ?? 1;
      this.#put(encodeMessage({ kind: "error", code: "OFPHFC_INCOMPATIBLE", data }, {
        version: of,
        xid,
      }));
      void this.#writing?.finally(() => this.close());
      return;
    }
    this.#journal?.agreed(agreed, own, said ?? upTo);
    const peer = new Peer(
      agreed,
      this.#options.isService,
      (message, xid, urgency) => this.#send(peer, message, xid, urgency),
      () => this.#ready(),
      () => this.#waitingBytes,
    );
    this.#peer = peer;
    this.#handler = new Handler(this.#switch, peer);
    this.#switch.join(peer);
  }

  #send(peer: Peer, message: Message, xid: number, urgency: Urgency): void {
    const version = versionOf(message) ?? peer.version;
    if (this.#isClosed) return;
    this.#journal?.sent(message, version, xid);
    if (urgency === "event" && this.#waitingBytes > MAX_EVENTS) {
      peer.lost++;
      return;
    }
    try {
      for (
        const bytes of encodeParts(message, { version, xid, options: this.#switch.tlv })
      ) this.#put(bytes);
    } catch (error) {
      // What happens is told by others than this peer: its trouble is not theirs.
      if (urgency !== "event") throw error;
      peer.lost++;
      this.#switch.runtime.failed(error);
    }
  }

  #put(bytes: Uint8Array): void {
    if (!this.#options.isService) this.#switch.onSaid?.(bytes);
    this.#waiting.push(bytes);
    this.#waitingBytes += bytes.length;
    this.#writing ??= this.#write();
  }

  async #write(): Promise<void> {
    try {
      while (this.#waiting.length > 0 && !this.#isClosed) {
        const all = joined(this.#waiting.splice(0));
        for (let at = 0; at < all.length;) {
          at += await this.#stream.write(all.subarray(at));
        }
        this.#waitingBytes -= all.length;
        this.#drained.resolve();
        this.#drained = Promise.withResolvers();
      }
    } catch {
      this.close();
    } finally {
      this.#writing = undefined;
    }
  }

  /** Ends the conversation. Idempotent. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#drained.resolve();
    try {
      this.#stream.close();
    } catch {
      // It was closed by the other side.
    }
  }
}

function joined(list: readonly Uint8Array[]): Uint8Array {
  if (list.length === 1) return list[0] as Uint8Array;
  const all = new Uint8Array(list.reduce((size, bytes) => size + bytes.length, 0));
  let at = 0;
  for (const bytes of list) {
    all.set(bytes, at);
    at += bytes.length;
  }
  return all;
}
