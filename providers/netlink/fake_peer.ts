// SPDX-License-Identifier: Apache-2.0
/**
 * A kernel for tests: a function from requests to replies, behind the same interface as a socket.
 *
 * @module
 */
import {
  align,
  type Message,
  messageHeaderSize,
  MessageType,
  MessageWriter,
  NetlinkFlag,
  parseMessages,
  s32,
  u16,
  u32,
} from "./message.ts";
import { NetlinkError } from "./errors.ts";
import type { Transport } from "./socket.ts";

/** A message of the fake peer; what is left out is taken from the request. */
export interface FakeReply {
  /** Message type. */
  readonly type?: number;
  /** `NLM_F_*` bits; none when left out. */
  readonly flags?: number;
  /** Sequence number. */
  readonly sequence?: number;
  /** Port id of the receiver. */
  readonly portId?: number;
  /** What follows the header; nothing when left out. */
  readonly body?: Uint8Array;
}

/**
 * Answers the messages of one sent datagram with datagrams, each of raw bytes or of messages.  An
 * `Error` in the list is thrown by `receive` when its turn comes, as `ENOBUFS` is.
 */
export type FakeKernel = (
  requests: readonly Message[],
) => readonly (Uint8Array | readonly FakeReply[] | Error)[];

/** A transport whose far end is a function. */
export class FakePeer implements Transport {
  readonly portId = 0x1234;
  readonly #kernel: FakeKernel;
  readonly #queue: (Uint8Array | Error)[] = [];
  /** Messages that were sent to it, in order. */
  readonly requests: Message[] = [];
  /** Whether it was closed. */
  closed = false;

  /** Makes a peer that answers as `kernel` says. */
  constructor(kernel: FakeKernel) {
    this.#kernel = kernel;
  }

  /** Queues a datagram that no request asked for. */
  notify(...messages: FakeReply[]): void {
    this.#queue.push(encodeReplies(messages, undefined, 0));
  }

  send(bytes: Uint8Array): void {
    const requests = parseMessages(bytes.slice());
    this.requests.push(...requests);
    for (const answer of this.#kernel(requests)) {
      this.#queue.push(
        answer instanceof Uint8Array || answer instanceof Error
          ? answer
          : encodeReplies(answer, requests[0], this.portId),
      );
    }
  }

  receive(): Uint8Array | undefined {
    const next = this.#queue.shift();
    if (next instanceof Error) throw next;
    return next;
  }

  waitReadable(): boolean {
    return this.#queue.length > 0;
  }

  close(): void {
    this.closed = true;
  }
}

/** `replies` as one datagram in answer to `request`. */
export function encodeReplies(
  replies: readonly FakeReply[],
  request: Message | undefined,
  portId: number,
): Uint8Array {
  const writer = new MessageWriter();
  for (const reply of replies) {
    const body = reply.body ?? new Uint8Array();
    writer.put(u32, messageHeaderSize + body.length);
    writer.put(u16, reply.type ?? request?.type ?? MessageType.noop);
    writer.put(u16, reply.flags ?? 0);
    writer.put(u32, reply.sequence ?? request?.sequence ?? 0);
    writer.put(u32, reply.portId ?? portId);
    writer.putBytes(body);
    writer.putBytes(new Uint8Array(align(body.length) - body.length));
  }
  return writer.bytes.slice();
}

/** Acknowledges `request`; with an errno, refuses it, and with `text` says why. */
export function acknowledge(request: Message, errno = 0, text?: string): FakeReply {
  const writer = new MessageWriter();
  writer.put(s32, -errno);
  writer.put(u32, messageHeaderSize + request.body.length);
  writer.put(u16, request.type);
  writer.put(u16, request.flags);
  writer.put(u32, request.sequence);
  writer.put(u32, request.portId);
  if (text !== undefined) {
    writer.attributeText(1, text);
    writer.attribute(2, u32, 24);
  }
  const explained = text === undefined ? 0 : NetlinkFlag.ackAttributes;
  return {
    type: MessageType.error,
    flags: NetlinkFlag.capped | explained,
    sequence: request.sequence,
    body: writer.bytes.slice(),
  };
}

/** The loss of datagrams, as `receive` reports it. */
export function overflow(): NetlinkError {
  return new NetlinkError({ code: "ENOBUFS" });
}
