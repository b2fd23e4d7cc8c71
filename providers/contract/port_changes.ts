// SPDX-License-Identifier: Apache-2.0
/**
 * Changes of a datapath's ports as a stream over what a provider watches them by.
 *
 * **Threads:** a stream belongs to the isolate that made it.
 *
 * @module
 */
import type { PortChange } from "./ports.ts";
import { WatchStream } from "./watch_stream.ts";

/**
 * Changes of ports, `rescan` first.
 *
 * The watch begins with the first `next`, so that a stream that nobody reads holds nothing. The
 * stream ends quietly when it is left and when the datapath is closed, and rejects when its
 * signal aborts or the watch fails; in each case the watch is given back. It can be left while
 * `next` waits.
 */
export class PortChanges extends WatchStream<PortChange> {}
