// SPDX-License-Identifier: Apache-2.0
/**
 * A dump: one request whose answer is many datagrams.
 *
 * @module
 */
import { messageErrno, parseError } from "./acknowledgement.ts";
import { NetlinkError } from "./errors.ts";
import {
  littleEndian,
  type Message,
  messageAt,
  messageStarts,
  MessageType,
  NetlinkFlag,
  viewOf,
} from "./message.ts";
import type { Transport } from "./socket.ts";

/** What a {@linkcode Dump} starts from. */
export interface DumpInit {
  /** Sequence number of its request, and so of its answers. */
  readonly sequence: number;
  /** Milliseconds that the next part may take. */
  readonly timeoutMs: number;
  /** Most datagrams that it may be. */
  readonly datagrams: number;
  /** Called once, with whether the answer was read to its end. */
  readonly onEnd: (clean: boolean) => void;
}

/** One datagram of a dump. */
export interface DumpPart {
  /** The datagram, whose bytes belong to the receiver. */
  readonly view: DataView;
  /** Where the dump's messages start in it; at least one. */
  readonly starts: readonly number[];
}

/** A dump under way. Ends by itself when `next` said so; else `close` ends it. */
export class Dump {
  readonly #transport: Transport;
  readonly #init: DumpInit;
  #datagrams = 0;
  #ended = false;
  /** Whether the kernel said that the table changed meanwhile. */
  interrupted = false;

  /** Made by `Conversation.startDump()`. */
  constructor(transport: Transport, init: DumpInit) {
    this.#transport = transport;
    this.#init = init;
  }

  /** Sends the request. */
  start(request: Uint8Array): void {
    const view = viewOf(request);
    const flags = view.getUint16(6, littleEndian) | NetlinkFlag.dump;
    view.setUint16(6, flags, littleEndian);
    view.setUint32(8, this.#init.sequence, littleEndian);
    view.setUint32(12, this.#transport.portId, littleEndian);
    try {
      this.#transport.send(request);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /**
   * The messages of the next datagram, whose bytes belong to the receiver; undefined at the end.
   * Throws {@linkcode NetlinkError} when the dump failed; it is then over.
   */
  next(): Message[] | undefined {
    const part = this.nextPart();
    return part?.starts.map((at) => messageAt(part.view, at));
  }

  /** As `next`, for long lists: the messages are left where they are. */
  nextPart(): DumpPart | undefined {
    if (this.#ended) return undefined;
    try {
      // Over all datagrams: those that are not for us must not hold us up for ever.
      const deadline = performance.now() + this.#init.timeoutMs;
      for (;;) {
        const part = this.#receive(deadline);
        if (part.starts.length > 0) return part;
        if (this.#ended) return undefined;
      }
    } catch (error) {
      this.close();
      throw error;
    }
  }

  #receive(deadline: number): DumpPart {
    for (;;) {
      const datagram = this.#transport.receive();
      const left = deadline - performance.now();
      if (left <= 0 || (!datagram && !this.#transport.waitReadable(Math.ceil(left)))) {
        throw new NetlinkError({ code: "ETIMEDOUT", detail: "the dump stopped" });
      }
      if (!datagram) continue;
      if (++this.#datagrams > this.#init.datagrams) {
        throw new NetlinkError({ code: "EPROTO", detail: "the dump does not end" });
      }
      const view = viewOf(datagram.slice());
      return { view, starts: this.#take(view) };
    }
  }

  /** Where the messages of a datagram start that are the dump's; takes in what is said of it. */
  #take(view: DataView): number[] {
    const { portId } = this.#transport;
    const { sequence } = this.#init;
    const taken: number[] = [];
    for (const at of messageStarts(view)) {
      const isOurs = view.getUint32(at + 8, littleEndian) === sequence &&
        view.getUint32(at + 12, littleEndian) === portId;
      if (!isOurs) continue;
      const flags = view.getUint16(at + 6, littleEndian);
      if (flags & NetlinkFlag.dumpInterrupted) this.interrupted = true;
      if (view.getUint16(at + 4, littleEndian) > MessageType.overrun) taken.push(at);
      else this.#control(messageAt(view, at));
      if (this.#ended) break;
    }
    return taken;
  }

  #control(message: Message): void {
    if (message.type === MessageType.error) {
      const error = parseError(message);
      if (error) throw error;
    } else if (message.type === MessageType.done) {
      const errno = messageErrno(message);
      if (errno > 0) throw new NetlinkError({ code: errno });
      this.#end(true);
    } else if (message.type === MessageType.overrun) {
      throw new NetlinkError({ code: "ENOBUFS" });
    }
  }

  #end(clean: boolean): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#init.onEnd(clean);
  }

  /** Ends the dump, if it goes on. Idempotent. */
  close(): void {
    this.#end(false);
  }
}
