// SPDX-License-Identifier: Apache-2.0
/**
 * Tells every open page once a second how the datapath is. While no page is open nothing is looked
 * at, and nothing runs.
 *
 * @module
 */
import { policyRunOf } from "../../policy/mod.ts";
import type { Datapath } from "../../providers/datapath.ts";
import { DatapathError } from "../../providers/errors.ts";
import { type Counters, countersOf } from "../status.ts";
import { toJson } from "../verbs/verb.ts";
import { version } from "../version.ts";
import { EventHub, eventText } from "./event_hub.ts";
import { securityHeaders } from "./guard.ts";
import { UpcallWatch } from "./upcall_watch.ts";

/** Ports that are told of: more than fit on a page. */
const maxPorts = 256;
/** Pages that may be open at once. */
const maxClients = 32;
/** Bytes that wait for one page: a minute of a large datapath. */
const maxBuffered = 1 << 20;

/** What a page is told. */
interface DashboardStatus extends Counters {
  /** Milliseconds since 1970. */
  readonly timeMs: number;
  readonly version: string;
  readonly portCount: number;
  readonly connections?: number;
  readonly has: {
    readonly threads: boolean;
    readonly conntrack: boolean;
    readonly meters: boolean;
    readonly policy: boolean;
  };
  readonly droppedClients: number;
  /** Times that the datapath could not be looked at, for a defect of this program. */
  readonly failures: number;
}

/** The clock of a dashboard. */
export class Ticker {
  readonly #dp: Datapath;
  readonly #hub: EventHub;
  readonly #upcalls: UpcallWatch;
  #failures = 0;
  #timer: ReturnType<typeof setInterval> | undefined;

  /** Stands still until the first page is opened. */
  constructor(dp: Datapath, intervalMs: number) {
    this.#dp = dp;
    this.#upcalls = new UpcallWatch(dp);
    this.#hub = new EventHub({
      maxClients,
      maxBuffered,
      onActive: (active) => {
        clearInterval(this.#timer);
        this.#timer = active ? setInterval(() => this.#tick(), intervalMs) : undefined;
        if (!dp.closed) this.#upcalls.on = active;
      },
    });
  }

  /** Pages that listen, and those that were too slow. */
  get clients(): { readonly now: number; readonly dropped: number } {
    return { now: this.#hub.count, dropped: this.#hub.dropped };
  }

  /** A stream of events for one more page. */
  connect(): Response {
    const first = `retry: 2000\n\n${eventText("status", toJson(this.status()))}`;
    const stream = this.#hub.connect(first);
    if (stream === undefined) {
      return new Response("too many pages are open\n", {
        status: 503,
        headers: securityHeaders,
      });
    }
    return new Response(stream, {
      headers: { ...securityHeaders, "content-type": "text/event-stream" },
    });
  }

  /** The datapath now. Throws `DatapathError`. */
  status(): DashboardStatus {
    const dp = this.#dp;
    const counters = countersOf(dp);
    const connections = dp.conntrack?.count?.();
    return {
      ...counters,
      timeMs: Date.now(),
      version,
      portCount: counters.ports.length,
      ports: counters.ports.slice(0, maxPorts),
      ...(connections !== undefined && { connections }),
      has: {
        threads: dp.pollThreads !== undefined,
        conntrack: dp.conntrack !== undefined,
        meters: dp.meters !== undefined,
        policy: policyRunOf(dp) !== undefined,
      },
      droppedClients: this.#hub.dropped,
      failures: this.#failures,
    };
  }

  /** Ends every stream. Idempotent. */
  close(): void {
    this.#hub.send("gone", toJson({ reason: "the datapath is no longer served" }));
    this.#hub.close();
    clearInterval(this.#timer);
  }

  #tick(): void {
    try {
      this.#hub.send("status", toJson(this.status()));
      this.#hub.send("upcalls", toJson(this.#upcalls.take()));
    } catch (error) {
      // Deleted by another program, say: the page says so, and the program goes on. What a timer
      // throws would end the program, whatever it is.
      if (!(error instanceof DatapathError)) this.#failures++;
      const reason = error instanceof Error ? error.message : String(error);
      this.#hub.send("trouble", toJson({ reason }));
    }
  }
}
