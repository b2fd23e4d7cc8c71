// SPDX-License-Identifier: Apache-2.0
/**
 * Flows that went, as peers are told of them: with all that they counted.
 *
 * Many may go at once. They are told in turns of the event loop, no faster than peers read: as in
 * Open vSwitch no one that reads misses any. One that does not is waited for once, not for long.
 *
 * @module
 */
import { clockMs } from "../../policy/clock.ts";
import type { Rule } from "../table/rule.ts";
import type { Peer } from "./peer.ts";
import { othersTurn, TURN_MS } from "./turns.ts";

/** Bytes that may wait for a peer before others are put behind them. */
const MAX_WAITING = 1 << 19;
/** A peer that reads nothing is waited for so long, ms, and looked at so often. */
const [STUCK_MS, LOOK_MS] = [1000, 2];

/** A rule that went. */
interface Gone {
  readonly rule: Rule;
  readonly reason: number;
  readonly ms: number;
}

/** Tells peers of flows that went. */
export class Removed {
  readonly #peers: ReadonlySet<Peer>;
  /** Brings counters up to now. */
  readonly #refresh: () => Promise<void>;
  readonly #gone: Gone[] = [];
  /** Peers that did not read, and have not read all since. */
  readonly #stuck = new WeakSet<Peer>();
  /** Ends when peers were told of all that went so far; undefined if they were. */
  telling: Promise<void> | undefined;

  /** Nothing went so far. */
  constructor(peers: ReadonlySet<Peer>, refresh: () => Promise<void>) {
    this.#peers = peers;
    this.#refresh = refresh;
  }

  /** A rule went. */
  add(rule: Rule, reason: number): void {
    this.#gone.push({ rule, reason, ms: clockMs() });
    this.telling ??= this.#tell().finally(() => void (this.telling = undefined));
  }

  /** Counters are brought up to now for as many rules as there are, and not for each one. */
  async #tell(): Promise<void> {
    await Promise.resolve();
    while (this.#gone.length > 0) {
      const some = this.#gone.splice(0);
      await this.#refresh().catch(() => {});
      let end = performance.now() + TURN_MS;
      for (const one of some) {
        for (const peer of this.#peers) {
          if (!peer.wants("flowRemoved", one.reason)) continue;
          const waiting = peer.waiting();
          if (waiting > MAX_WAITING) await this.#room(peer);
          else if (waiting < MAX_WAITING / 2) this.#stuck.delete(peer);
          tellOf(one, peer);
        }
        if (performance.now() < end) continue;
        await othersTurn();
        end = performance.now() + TURN_MS;
      }
    }
  }

  /** Waits until a peer has read some of what waits for it, or has read nothing for too long. */
  async #room(peer: Peer): Promise<void> {
    if (this.#stuck.has(peer)) return;
    let [left, end] = [peer.waiting(), performance.now() + STUCK_MS];
    while (left > MAX_WAITING / 2 && this.#peers.has(peer)) {
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
      const now = peer.waiting();
      if (now < left) end = performance.now() + STUCK_MS;
      else if (performance.now() > end) return void this.#stuck.add(peer);
      left = now;
    }
  }
}

function tellOf({ rule, reason, ms }: Gone, peer: Peer): void {
  const ageMs = ms - rule.createdMs;
  peer.tell({
    kind: "flowRemoved",
    table: rule.table,
    match: rule.match,
    priority: rule.priority,
    cookie: rule.cookie,
    reason,
    seconds: Math.floor(ageMs / 1000),
    nanoseconds: ageMs % 1000 * 1_000_000,
    idle: rule.idle,
    hard: rule.hard,
    packets: rule.packets,
    bytes: rule.bytes,
  });
}
