// SPDX-License-Identifier: Apache-2.0
/**
 * What a served datapath does about packets that no flow matches.
 *
 * @module
 */
import type { MacAddress, PortNo } from "../providers/ids.ts";
import type { Datapath } from "../providers/datapath.ts";
import { DatapathError } from "../providers/errors.ts";
import { exact, output } from "../providers/odp/mod.ts";
import type { Op } from "../providers/operations.ts";
import type { Upcall } from "../providers/upcall.ts";
import type { Action, FlowKey } from "../providers/types.ts";
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

/**
 * Decides misses until the signal aborts or the datapath is closed. Throws what the datapath does,
 * also when somebody deletes it.
 */
export async function decideMisses(
  dp: Datapath,
  { policy, log, signal }: MissOptions,
): Promise<void> {
  const stop = new AbortController();
  const over = AbortSignal.any([signal, stop.signal]);
  const switching = new Switch(dp, policy);
  const watching = watchPorts(dp, over, () => switching.forgetPorts())
    .catch((error: unknown) => stop.abort(error));
  try {
    // Nobody takes upcalls that are dropped anyhow: another program may want them.
    if (policy === "drop") await watching;
    else await decideAll(dp, switching, { log, signal: over });
    stop.signal.throwIfAborted();
  } catch (error) {
    if (!signal.aborted) throw error;
  } finally {
    stop.abort();
    await watching;
  }
}

async function decideAll(
  dp: Datapath,
  switching: Switch,
  { log, signal }: Omit<MissOptions, "policy">,
): Promise<void> {
  for await (const upcalls of dp.upcallBatches({ signal, batch })) {
    for (const upcall of upcalls) {
      log.say("upcall", "dbg", `${upcall.kind} of ${upcall.packet.length} bytes`);
    }
    for (const result of dp.operate(switching.decide(upcalls))) {
      if (!result.ok) log.say("upcall", "warn", result.error.message);
    }
  }
}

/**
 * Calls `onChange` whenever ports may have changed, until the signal aborts or the datapath goes.
 */
async function watchPorts(
  dp: Datapath,
  signal: AbortSignal,
  onChange: () => void,
): Promise<void> {
  try {
    for await (const _ of dp.ports.changes({ signal })) onChange();
  } catch (error) {
    if (!signal.aborted && !dp.closed) throw error;
  }
}

/** Whether an address is a group's: no station has it, so that none may be learned by it. */
function isGroup(address: MacAddress): boolean {
  return (Number.parseInt(address.slice(1, 2), 16) & 1) === 1;
}

/** Sends each packet to where its address was last seen. */
class Switch {
  readonly #dp: Datapath;
  readonly #policy: MissPolicy;
  /** Ports by the addresses that were heard there, the one that was heard first in front. */
  readonly #portOf = new Map<MacAddress, PortNo>();
  /** Addresses that flows are about: others may be forgotten without looking for flows. */
  readonly #withFlows = new Set<MacAddress>();
  /** Addresses, and numbers of ports, whose flows are still to be deleted. */
  readonly #stale = new Set<MacAddress>();
  readonly #gone = new Set<PortNo>();
  /** Names of the ports that there were at the last look. */
  #ports = new Map<PortNo, string>();

  constructor(dp: Datapath, policy: MissPolicy) {
    this.#dp = dp;
    this.#policy = policy;
    if (policy === "learn") this.#learnFromFlows();
  }

  /** What to do about upcalls; flows that are wrong now are deleted. */
  decide(upcalls: readonly Upcall[]): Op[] {
    const learned = new Map<MacAddress, PortNo>();
    const misses = upcalls.filter(({ kind, key: { inPort, ethernet } }) =>
      kind === "miss" && inPort !== undefined && ethernet !== undefined
    );
    if (this.#policy === "learn") {
      for (const { key: { inPort, ethernet } } of misses) {
        if (inPort === undefined || ethernet === undefined) continue;
        const moved = this.#learn(ethernet.src, inPort);
        if (moved !== undefined && this.#withFlows.delete(moved)) this.#stale.add(moved);
        learned.set(ethernet.src, inPort);
      }
      this.#deleteFlows();
    }
    return misses.flatMap((upcall) => this.#opFor(upcall, learned));
  }

  #opFor({ key, packet }: Upcall, learned: ReadonlyMap<MacAddress, PortNo>): Op[] {
    const { inPort, ethernet } = key;
    if (inPort === undefined || ethernet === undefined) return [];
    const to = this.#policy === "learn" ? this.#portOf.get(ethernet.dst) : undefined;
    if (to === undefined) {
      return [{ op: "execute", packet, key, actions: this.#flood(inPort) }];
    }
    const actions: Action[] = to === inPort ? [] : [output(to)];
    // A station that was at two ports in one batch gets flows for the later one only.
    if (learned.get(ethernet.src) !== inPort) {
      return [{ op: "execute", packet, key, actions }];
    }
    const mask = exact("inPort", "ethernet");
    this.#withFlows.add(ethernet.src).add(ethernet.dst);
    return [{ op: "put", packet, key, mask, actions, modify: true }];
  }

  /** Notes where an address is. Returns one whose flows are wrong now, if there is any. */
  #learn(address: MacAddress, port: PortNo): MacAddress | undefined {
    const known = this.#portOf.get(address);
    if (known === port || isGroup(address)) return undefined;
    let stale = known === undefined ? undefined : address;
    if (known === undefined && this.#portOf.size >= maxAddresses) {
      [stale] = this.#portOf.keys();
      if (stale !== undefined) this.#portOf.delete(stale);
    }
    this.#portOf.delete(address);
    this.#portOf.set(address, port);
    return stale;
  }

  /** Takes over from a program that has ended: its flows say where stations were. */
  #learnFromFlows(): void {
    for (const { key, mask, actions = [] } of this.#dp.flows.dump()) {
      const { inPort, ethernet } = key ?? {};
      const isOurs = isAll(mask?.inPort) && isAll(mask?.ethernet) && actions.length <= 1;
      if (!isOurs || inPort === undefined || ethernet === undefined) continue;
      this.#learn(ethernet.src, inPort);
      this.#withFlows.add(ethernet.src).add(ethernet.dst);
    }
  }

  #flood(inPort: PortNo): Action[] {
    return [...this.#dp.ports.dump()].filter(({ no }) => no !== inPort)
      .map(({ no }) => output(no));
  }

  /** Forgets what was learned of ports that have gone. */
  forgetPorts(): void {
    if (this.#policy !== "learn") return;
    const before = this.#ports;
    this.#ports = new Map([...this.#dp.ports.dump()].map(({ no, name }) => [no, name]));
    // A number may be another port's by now.
    for (const [no, name] of before) if (this.#ports.get(no) !== name) this.#gone.add(no);
    for (const [address, port] of this.#portOf) {
      if (!this.#gone.has(port)) continue;
      this.#stale.add(address);
      this.#portOf.delete(address);
      this.#withFlows.delete(address);
    }
    this.#deleteFlows();
  }

  /** Deletes flows that are wrong by now. What others have deleted meanwhile is no failure. */
  #deleteFlows(): void {
    if (this.#stale.size === 0 && this.#gone.size === 0) return;
    const isWrong = ({ inPort, ethernet }: FlowKey): boolean =>
      (inPort !== undefined && this.#gone.has(inPort)) ||
      (ethernet !== undefined &&
        (this.#stale.has(ethernet.src) || this.#stale.has(ethernet.dst)));
    try {
      const ops = [...this.#dp.flows.dump()]
        .filter(({ key }) => key !== undefined && isWrong(key))
        .map(({ key, ufid }): Op => ({ op: "delete", key, ufid }));
      if (ops.length > 0) this.#dp.operate(ops);
      this.#stale.clear();
      this.#gone.clear();
    } catch (error) {
      // The table changed all the time: it is tried again with the next upcall.
      if (!(error instanceof DatapathError) || error.code !== "EINTR") throw error;
    }
  }
}

/** Whether a mask has every bit, in one of the forms that this may have. */
function isAll(mask: unknown): boolean {
  if (typeof mask === "object" && mask !== null) return Object.values(mask).every(isAll);
  return mask === true || mask === 0xffffffff || mask === "ff:ff:ff:ff:ff:ff";
}
