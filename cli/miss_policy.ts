// SPDX-License-Identifier: Apache-2.0
/**
 * What a served datapath does about packets that no flow matches.
 *
 * @module
 */
import type { MacAddress, PortNo } from "../providers/ids.ts";
import type { Datapath } from "../providers/datapath.ts";
import { exact, output } from "../providers/odp/mod.ts";
import type { Op } from "../providers/operations.ts";
import type { Upcall } from "../providers/upcall.ts";
import type { Action } from "../providers/types.ts";
import type { Log } from "../control/log.ts";

/** Policies, by name. */
export const missPolicies = ["drop", "flood", "learn"] as const;
/** What to do about a miss: nothing, send it to every port, or learn where addresses are. */
export type MissPolicy = typeof missPolicies[number];

/** Whether a word is one of them. */
export function isMissPolicy(word: string): word is MissPolicy {
  return (missPolicies as readonly string[]).includes(word);
}

/** Upcalls that are taken at once. */
const batch = 64;
/** Addresses that are remembered: a flood of made-up ones must not fill the memory. */
const maxAddresses = 65536;

/** How misses are decided. */
export interface MissOptions {
  readonly policy: MissPolicy;
  readonly log: Log;
  /** Ends it. */
  readonly signal: AbortSignal;
}

/** Decides misses until the signal aborts or the datapath is closed. */
export async function decideMisses(
  dp: Datapath,
  { policy, log, signal }: MissOptions,
): Promise<void> {
  // Nobody takes upcalls that are dropped anyhow: another program may want them.
  if (policy === "drop") return await untilAborted(signal);
  const switching = new Switch(dp, policy);
  try {
    for await (const upcalls of dp.upcallBatches({ signal, batch })) {
      for (const upcall of upcalls) {
        log.say("upcall", "dbg", `${upcall.kind} of ${upcall.packet.length} bytes`);
      }
      const ops = upcalls.flatMap((upcall) => switching.decide(upcall));
      dp.operate(ops).forEach((result) => {
        if (!result.ok) log.say("upcall", "warn", result.error.message);
      });
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

function untilAborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    signal.addEventListener("abort", () => resolve(), { once: true });
    // The listener alone does not keep the program alive.
    const timer = setInterval(() => {
      if (signal.aborted) clearInterval(timer);
    }, 200);
    signal.addEventListener("abort", () => clearInterval(timer), { once: true });
  });
}

/** Sends each packet to where its address was last seen. */
class Switch {
  readonly #dp: Datapath;
  readonly #policy: MissPolicy;
  readonly #portOf = new Map<MacAddress, PortNo>();

  constructor(dp: Datapath, policy: MissPolicy) {
    this.#dp = dp;
    this.#policy = policy;
  }

  decide({ kind, key, packet }: Upcall): Op[] {
    const { inPort, ethernet } = key;
    if (kind !== "miss" || inPort === undefined || ethernet === undefined) return [];
    const to = this.#policy === "learn" ? this.#learn(ethernet, inPort) : undefined;
    if (to === undefined) {
      return [{ op: "execute", packet, key, actions: this.#flood(inPort) }];
    }
    const actions: Action[] = to === inPort ? [] : [output(to)];
    const mask = exact("inPort", "ethernet");
    return [{ op: "put", packet, key, mask, actions, modify: true }];
  }

  #learn(
    { src, dst }: { readonly src: MacAddress; readonly dst: MacAddress },
    inPort: PortNo,
  ): PortNo | undefined {
    const known = this.#portOf.get(src);
    if (known !== inPort && (Number.parseInt(src.slice(1, 2), 16) & 1) === 0) {
      if (known === undefined && this.#portOf.size >= maxAddresses) this.#portOf.clear();
      this.#portOf.set(src, inPort);
      // It has moved: flows that lead to where it was are wrong now.
      if (known !== undefined) this.#dp.flows.flush();
    }
    return this.#portOf.get(dst);
  }

  #flood(inPort: PortNo): Action[] {
    return [...this.#dp.ports.dump()].filter(({ no }) => no !== inPort)
      .map(({ no }) => output(no));
  }
}
