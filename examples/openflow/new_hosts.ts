// SPDX-License-Identifier: Apache-2.0
/**
 * A policy before the tables of OpenFlow: a host that has just come may send only so much.
 *
 * @module
 */
import { type Datapath, meterId } from "../../mod.ts";
import type { OpenSwitchOptions } from "../../openflow/open.ts";
import { limit, StateMap } from "../../policy/mod.ts";

/** How new hosts are limited. */
export interface NewHostsOptions {
  /** What all of them together may send. */
  readonly packetsPerSecond: number;
  /** For so long after their first packet, ms. */
  readonly forMs: number;
}

/** The number of the meter; those of OpenFlow are given from 0 on. */
const METER = meterId(1000);

/** Hosts by address, and since when they are there. */
export class NewHosts implements Disposable {
  /** Hosts that packets taught, with the port that they came by. */
  readonly #seen = new StateMap<string, number>({ name: "hosts seen", max: 4096 });
  readonly #known = new StateMap<string, boolean>({ name: "hosts known", max: 4096 });
  readonly #sinceMs = new Map<string, number>();
  readonly #timer: ReturnType<typeof setInterval>;
  /** What a switch is opened with. */
  readonly policy: NonNullable<OpenSwitchOptions["policy"]>;

  /** Sets the meter of a datapath. */
  constructor(dp: Datapath, { packetsPerSecond, forMs }: NewHostsOptions) {
    dp.meters?.set(METER, { unit: "pktps", bands: [{ rate: packetsPerSecond }] });
    this.policy = (packet, _ports, tables) => {
      const verdict = tables(packet);
      const source = packet.ethernet?.src;
      if (source === undefined) return verdict;
      packet.learn(this.#seen, source, packet.inPort);
      if (this.#known.get(source) === true) return verdict;
      return { ...verdict, actions: [...limit(METER), ...verdict.actions] };
    };
    this.#timer = setInterval(() => this.#grow(forMs), forMs / 10);
    Deno.unrefTimer(this.#timer);
  }

  /**
   * Hosts that are there for long enough are new no more: their flows, and no others, run again.
   */
  #grow(forMs: number): void {
    const nowMs = Date.now();
    for (const [host] of this.#seen.entries()) {
      const sinceMs = this.#sinceMs.get(host) ?? nowMs;
      this.#sinceMs.set(host, sinceMs);
      if (nowMs - sinceMs >= forMs) this.#known.set(host, true);
    }
  }

  /** Resolves when so many hosts are known. */
  async known(count: number): Promise<void> {
    while (this.#known.size < count) {
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }

  /** Ends it. */
  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }
}
