// SPDX-License-Identifier: Apache-2.0
/**
 * Server-sent events to many clients: each has a buffer of its own that is bounded, and one that
 * does not take what it is sent is dropped. The browser then connects anew, and has lost only what
 * was shown meanwhile.
 *
 * @module
 */

/** Bounds of the clients. */
export interface EventHubOptions {
  /** Clients at once. */
  readonly maxClients: number;
  /** Bytes that wait for one client at most; then it is dropped. */
  readonly maxBuffered: number;
  /** Called when the first client comes, and when the last has gone. */
  readonly onActive: (active: boolean) => void;
}

type Controller = ReadableStreamDefaultController<Uint8Array>;

/** Clients that listen. */
export class EventHub {
  readonly #options: EventHubOptions;
  readonly #clients = new Set<Controller>();
  /** Clients that were too slow, since the beginning. */
  dropped = 0;
  #closed = false;

  /** Without clients. */
  constructor(options: EventHubOptions) {
    this.#options = options;
  }

  /** Clients now. */
  get count(): number {
    return this.#clients.size;
  }

  /** A stream for one more client, that begins with `first`; undefined when there are too many. */
  connect(first: string): ReadableStream<Uint8Array> | undefined {
    const { maxClients, maxBuffered } = this.#options;
    if (this.#closed || this.#clients.size >= maxClients) return undefined;
    let mine: Controller;
    return new ReadableStream<Uint8Array>({
      start: (controller) => {
        mine = controller;
        controller.enqueue(new TextEncoder().encode(first));
        this.#clients.add(controller);
        if (this.#clients.size === 1) this.#options.onActive(true);
      },
      cancel: () => this.#remove(mine),
    }, new ByteLengthQueuingStrategy({ highWaterMark: maxBuffered }));
  }

  /** Sends an event to every client. */
  send(event: string, json: string): void {
    if (this.#clients.size === 0) return;
    const bytes = new TextEncoder().encode(eventText(event, json));
    for (const client of [...this.#clients]) {
      if ((client.desiredSize ?? 0) > 0) client.enqueue(bytes);
      else {
        this.dropped++;
        client.error(new Error("the client does not take what it is sent"));
        this.#remove(client);
      }
    }
  }

  /** Ends every stream, and takes no more clients. Idempotent. */
  close(): void {
    this.#closed = true;
    for (const client of [...this.#clients]) {
      client.close();
      this.#remove(client);
    }
  }

  #remove(client: Controller): void {
    if (this.#clients.delete(client) && this.#clients.size === 0) {
      this.#options.onActive(false);
    }
  }
}

/** An event as it goes over the wire; `json` is one line. */
export function eventText(event: string, json: string): string {
  return `event: ${event}\ndata: ${json}\n\n`;
}
