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

/** What a caller knows of its requests. */
export interface ExchangeOptions {
  /**
   * Whether the requests only ask: those whose answer was lost are then sent again. Others are sent
   * once, for the kernel has done what it did not manage to answer.
   */
  readonly repeatable?: boolean;
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
  readonly #indexOf = new Map<number, number>();
  #open: number;

  constructor(count: number) {
    this.outcomes = new Array(count).fill(undefined);
    this.#replies = new Array(count).fill(undefined);
    this.#open = count;
  }

  /** Says which sequence number stands for request `index`, besides those it had before. */
  expect(sequence: number, index: number): void {
    this.#indexOf.set(sequence, index);
  }

  /** Takes one message; one about something that was given up before is passed over. */
  take(message: Message): void {
    const index = this.#indexOf.get(message.sequence);
    if (index === undefined) return;
    if (message.type === MessageType.error) {
      const error = parseError(message);
      const reply = this.#replies[index];
      this.end(index, error ? { error } : reply ? { reply } : succeeded);
    } else if (message.type > MessageType.overrun) {
      // Copied: the datagram's memory is used again.
      this.#replies[index] ??= { ...message, body: message.body.slice() };
    }
  }

  /** Says what came of a request. The first word holds. */
  end(index: number, outcome: Outcome): void {
    if (this.outcomes[index] !== undefined) return;
    this.outcomes[index] = outcome;
    this.#open--;
  }

  /** Whether every request has its answer. */
  get complete(): boolean {
    return this.#open === 0;
  }

  /** A reply says as much as the acknowledgement behind it, should that be lost. */
  settle(): void {
    for (const [index, reply] of this.#replies.entries()) {
      if (reply) this.end(index, { reply });
    }
  }

  /** Indexes of the requests that nothing is known of. */
  unanswered(): number[] {
    return this.outcomes.flatMap((outcome, index) => outcome ? [] : [index]);
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
   * Sequence numbers are filled in, and each request asks for an acknowledgement: silence says
   * nothing where answers can be lost.  A request whose answer was lost is `ENOBUFS`, unless it
   * is {@linkcode ExchangeOptions.repeatable} and answered when it is sent again; one whose
   * answer did not come in time is `ETIMEDOUT`.
   *
   * Throws {@linkcode NetlinkError} when the batch could not be sent, or its answers are none.
   */
  exchange(batch: Uint8Array, options: ExchangeOptions = {}): Outcome[] {
    const view = viewOf(batch);
    const offsets = messageOffsets(view);
    const exchange = new Exchange(offsets.length);
    if (offsets.length === 0) return [];
    const transport = this.#transport();
    const address = (index: number): void => {
      const sequence = this.#nextSequence();
      const at = offsets[index] as number;
      const flags = view.getUint16(at + 6, littleEndian) | NetlinkFlag.ack;
      view.setUint16(at + 6, flags, littleEndian);
      view.setUint32(at + 8, sequence, littleEndian);
      view.setUint32(at + 12, transport.portId, littleEndian);
      exchange.expect(sequence, index);
    };
    offsets.forEach((_, index) => address(index));
    this.#send(transport, batch, exchange, () => exchange.complete);
    exchange.settle();
    const attempts = options.repeatable === true ? this.#attempts : 1;
    for (let attempt = 2; attempt <= attempts; attempt++) {
      // One by one, so that the next answer has the queue for itself.
      for (const index of exchange.unanswered()) {
        address(index);
        const at = offsets[index] as number;
        const end = at + align(view.getUint32(at, littleEndian));
        const request = batch.subarray(at, end);
        this.#send(transport, request, exchange, () => !!exchange.outcomes[index]);
        exchange.settle();
      }
    }
    const detail = options.repeatable === true
      ? "the kernel's answers were lost"
      : "the kernel's answer was lost; it has the request, and may have done what it asks";
    for (const index of exchange.unanswered()) {
      exchange.end(index, { error: new NetlinkError({ code: "ENOBUFS", detail }) });
    }
    return exchange.outcomes as Outcome[];
  }

  /** Sends, and takes answers until it is `done`, some were lost, or the time is over. */
  #send(
    transport: Transport,
    bytes: Uint8Array,
    exchange: Exchange,
    done: () => boolean,
  ): void {
    transport.send(bytes);
    const deadline = performance.now() + this.#timeoutMs;
    while (!done()) {
      let datagram: Uint8Array | undefined;
      try {
        datagram = transport.receive();
      } catch (error) {
        if (!isLoss(error)) throw error;
        return drain(transport, exchange);
      }
      const left = deadline - performance.now();
      if (left <= 0 || (!datagram && !transport.waitReadable(Math.ceil(left)))) {
        const error = new NetlinkError({
          code: "ETIMEDOUT",
          detail: "no answer from the kernel",
        });
        exchange.settle();
        for (const index of exchange.unanswered()) exchange.end(index, { error });
        return;
      }
      for (const message of parseMessages(datagram ?? new Uint8Array())) {
        if (message.portId !== transport.portId) continue;
        if (message.type === MessageType.overrun) return drain(transport, exchange);
        exchange.take(message);
      }
    }
  }

  /**
   * Sends the one request that `write` writes and gives the reply; undefined when the kernel only
   * acknowledged.  Throws {@linkcode NetlinkError} when it failed.
   */
  request(
    write: (writer: MessageWriter) => void,
    options: ExchangeOptions = {},
  ): Message | undefined {
    const writer = new MessageWriter(512);
    write(writer);
    const [outcome] = this.exchange(writer.bytes, options);
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
        if (!isLoss(error) || attempt >= this.#attempts) throw error;
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

/** Whether datagrams were lost: the socket's queue was full. */
function isLoss(error: unknown): boolean {
  return error instanceof NetlinkError && error.code === "ENOBUFS";
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
      if (!isLoss(error)) throw error;
      losses++;
    }
  }
}
