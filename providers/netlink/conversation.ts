// SPDX-License-Identifier: Apache-2.0
/**
 * Requests and their answers: sequence numbers, acknowledgements, batches, dumps.
 *
 * Netlink promises less than a stream: replies can be lost when the socket's queue is full, old
 * replies can still lie in it, a dump can be interrupted by a change.  Everything here ends in an
 * answer or in a {@linkcode NetlinkError}, within a time limit.
 *
 * @module
 */
import { parseError } from "./acknowledgement.ts";
import { Dump } from "./dump.ts";
import { NetlinkError } from "./errors.ts";
import {
  align,
  littleEndian,
  type Message,
  MessageType,
  MessageWriter,
  NetlinkFlag,
  parseMessages,
  viewOf,
} from "./message.ts";
import type { Transport } from "./socket.ts";

/** What came of one request: an error, or success with the reply if there was one. */
export interface Outcome {
  /** Why it failed. */
  readonly error?: NetlinkError;
  /** The reply message, whose bytes belong to the receiver. */
  readonly reply?: Message;
}

/** Limits of a conversation. */
export interface ConversationOptions {
  /** Milliseconds that an answer may take. */
  readonly timeoutMs?: number;
  /** Times that a request is sent, when its answer was lost, or a dump was interrupted. */
  readonly attempts?: number;
  /** Most datagrams of one dump. */
  readonly dumpDatagrams?: number;
}

const succeeded: Outcome = {};

/** Where the messages of a batch start. */
function messageOffsets(view: DataView): number[] {
  const offsets: number[] = [];
  for (let at = 0; at < view.byteLength;) {
    offsets.push(at);
    at += align(view.getUint32(at, littleEndian));
  }
  return offsets;
}

/** One exchange under way: which of its requests are still without an answer. */
class Exchange {
  readonly outcomes: (Outcome | undefined)[];
  readonly #replies: (Message | undefined)[];
  readonly #indexOf: Map<number, number>;
  #last: number;

  constructor(count: number) {
    this.outcomes = new Array(count).fill(undefined);
    this.#replies = new Array(count).fill(undefined);
    this.#indexOf = new Map();
    this.#last = -1;
  }

  /** Says which sequence number stands for which request; the last one is acknowledged. */
  expect(sequences: readonly (readonly [sequence: number, index: number])[]): void {
    this.#indexOf.clear();
    for (const [sequence, index] of sequences) this.#indexOf.set(sequence, index);
    this.#last = sequences.at(-1)?.[0] ?? -1;
  }

  /** Takes one message; true when the last request was answered, and so all of them. */
  take(message: Message): boolean {
    const index = this.#indexOf.get(message.sequence);
    // An answer to something that was given up before.
    if (index === undefined) return false;
    if (message.type === MessageType.error) {
      const error = parseError(message);
      const reply = this.#replies[index];
      this.outcomes[index] = error ? { error } : reply ? { reply } : succeeded;
      return message.sequence === this.#last;
    }
    if (message.type > MessageType.overrun) {
      // Copied: the datagram's memory is used again.
      this.#replies[index] ??= { ...message, body: message.body.slice() };
    }
    return false;
  }

  /** The requests in front of an answered one were processed: their silence is success. */
  settle(): void {
    for (let i = 0; i < this.outcomes.length; i++) {
      const reply = this.#replies[i];
      this.outcomes[i] ??= reply ? { reply } : succeeded;
    }
  }

  /** Indexes of the requests that nothing is known of. */
  unanswered(): number[] {
    return this.outcomes.flatMap((outcome, index) =>
      outcome || this.#replies[index] ? [] : [index]
    );
  }
}

/**
 * Requests over one socket, and dumps over further ones.
 *
 * Synchronous: the kernel answers a request while it is sent.  Belongs to one isolate.
 */
export class Conversation {
  readonly #connect: () => Transport;
  readonly #timeoutMs: number;
  readonly #attempts: number;
  readonly #dumpDatagrams: number;
  #requests: Transport | undefined;
  /** Sockets that a dump has run on to its end, for the next one. */
  readonly #idle: Transport[] = [];
  readonly #dumps = new Set<Dump>();
  // Starts anywhere: a socket's queue may hold answers to a socket that had this port id before.
  #sequence = Math.floor(Math.random() * 0x7fffffff);
  #closed = false;

  /** `connect` opens a socket whenever one more is needed. */
  constructor(connect: () => Transport, options: ConversationOptions = {}) {
    this.#connect = connect;
    this.#timeoutMs = options.timeoutMs ?? 30_000;
    this.#attempts = options.attempts ?? 5;
    this.#dumpDatagrams = options.dumpDatagrams ?? 1 << 24;
  }

  #nextSequence(): number {
    // 0 is the sequence number of notifications.
    return this.#sequence = this.#sequence % 0xffffffff + 1;
  }

  #transport(): Transport {
    if (this.#closed) {
      throw new NetlinkError({ code: "EBADF", detail: "the conversation is closed" });
    }
    return this.#requests ??= this.#connect();
  }

  /**
   * Sends a batch of requests in one datagram and gives what came of each, in order.
   *
   * Sequence numbers are filled in.  Only the last request asks for an acknowledgement: the kernel
   * works through a batch in order, and says so when a request fails.
   *
   * Throws {@linkcode NetlinkError} only when nothing is known of the whole batch.
   */
  exchange(batch: Uint8Array): Outcome[] {
    const view = viewOf(batch);
    const offsets = messageOffsets(view);
    const exchange = new Exchange(offsets.length);
    if (offsets.length === 0) return [];
    const transport = this.#transport();
    let open = offsets.map((_, index) => index);
    for (let attempt = 1;; attempt++) {
      // Second attempts go one by one and acknowledged, so that no silence needs to be read.
      const requests = attempt === 1 ? [open] : open.map((index) => [index]);
      let lost = false;
      for (const indexes of requests) {
        const bytes = this.#address(batch, offsets, indexes, transport, exchange);
        lost = this.#send(transport, bytes, exchange) || lost;
      }
      if (!lost) break;
      open = exchange.unanswered();
      if (open.length === 0) break;
      if (attempt >= this.#attempts) {
        const error = new NetlinkError({
          code: "ENOBUFS",
          detail: "the kernel's answers were lost",
        });
        for (const index of open) exchange.outcomes[index] = { error };
        break;
      }
    }
    exchange.settle();
    return exchange.outcomes as Outcome[];
  }

  /** Numbers the requests `indexes` of a batch; gives the bytes to send. */
  #address(
    batch: Uint8Array,
    offsets: readonly number[],
    indexes: readonly number[],
    transport: Transport,
    exchange: Exchange,
  ): Uint8Array {
    const view = viewOf(batch);
    const sequences: [number, number][] = [];
    for (const index of indexes) {
      const at = offsets[index] as number;
      const sequence = this.#nextSequence();
      view.setUint32(at + 8, sequence, littleEndian);
      view.setUint32(at + 12, transport.portId, littleEndian);
      sequences.push([sequence, index]);
    }
    const last = offsets[indexes.at(-1) as number] as number;
    const flags = view.getUint16(last + 6, littleEndian) | NetlinkFlag.ack;
    view.setUint16(last + 6, flags, littleEndian);
    exchange.expect(sequences);
    if (indexes.length === offsets.length) return batch;
    return batch.subarray(last, last + align(view.getUint32(last, littleEndian)));
  }

  /** Sends and takes answers until the last one came; true when some were lost. */
  #send(transport: Transport, bytes: Uint8Array, exchange: Exchange): boolean {
    transport.send(bytes);
    const deadline = performance.now() + this.#timeoutMs;
    for (let done = false; !done;) {
      let datagram: Uint8Array | undefined;
      try {
        datagram = transport.receive();
      } catch (error) {
        if (error instanceof NetlinkError && error.code === "ENOBUFS") {
          drain(transport, exchange);
          return true;
        }
        throw error;
      }
      const left = deadline - performance.now();
      if (left <= 0 || (!datagram && !transport.waitReadable(Math.ceil(left)))) {
        throw new NetlinkError({
          code: "ETIMEDOUT",
          detail: "no answer from the kernel",
        });
      }
      for (const message of parseMessages(datagram ?? new Uint8Array())) {
        if (message.portId !== transport.portId) continue;
        if (message.type === MessageType.overrun) return true;
        done = exchange.take(message) || done;
      }
    }
    return false;
  }

  /**
   * Sends the one request that `write` writes and gives the reply; undefined when the kernel only
   * acknowledged.  Throws {@linkcode NetlinkError} when it failed.
   */
  request(write: (writer: MessageWriter) => void): Message | undefined {
    const writer = new MessageWriter(512);
    write(writer);
    const [outcome] = this.exchange(writer.bytes);
    if (outcome?.error) throw outcome.error;
    return outcome?.reply;
  }

  /** Starts the dump that `write` asks for, on a socket of its own. */
  startDump(write: (writer: MessageWriter) => void): Dump {
    if (this.#closed) this.#transport();
    const writer = new MessageWriter(512);
    write(writer);
    const transport = this.#idle.pop() ?? this.#connect();
    const dump = new Dump(transport, {
      sequence: this.#nextSequence(),
      timeoutMs: this.#timeoutMs,
      datagrams: this.#dumpDatagrams,
      onEnd: (clean) => {
        this.#dumps.delete(dump);
        if (clean && !this.#closed && this.#idle.length < 4) this.#idle.push(transport);
        else transport.close();
      },
    });
    this.#dumps.add(dump);
    dump.start(writer.bytes);
    return dump;
  }

  /**
   * Everything that the dump `write` asks for lists, asked again when a change interrupted it.
   * Throws {@linkcode NetlinkError} `EINTR` when it is interrupted each time.
   */
  dump(write: (writer: MessageWriter) => void): Message[] {
    for (let attempt = 1;; attempt++) {
      const messages: Message[] = [];
      const dump = this.startDump(write);
      try {
        for (let part = dump.next(); part; part = dump.next()) messages.push(...part);
        if (!dump.interrupted) return messages;
        if (attempt >= this.#attempts) {
          throw new NetlinkError({ code: "EINTR", detail: "the dump was interrupted" });
        }
      } catch (error) {
        const again = error instanceof NetlinkError && error.code === "ENOBUFS";
        if (!again || attempt >= this.#attempts) throw error;
      } finally {
        dump.close();
      }
    }
  }

  /** Closes every socket and ends every dump. Idempotent. */
  close(): void {
    this.#closed = true;
    for (const dump of this.#dumps) dump.close();
    this.#requests?.close();
    for (const transport of this.#idle.splice(0)) transport.close();
  }
}

/** Takes what is still readable behind a loss. */
function drain(transport: Transport, exchange: Exchange): void {
  for (let losses = 0; losses < 16;) {
    try {
      const datagram = transport.receive();
      if (!datagram) return;
      for (const message of parseMessages(datagram)) {
        if (message.portId === transport.portId) exchange.take(message);
      }
    } catch (error) {
      if (!(error instanceof NetlinkError) || error.code !== "ENOBUFS") throw error;
      losses++;
    }
  }
}
