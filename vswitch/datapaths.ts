// SPDX-License-Identifier: Apache-2.0
/**
 * Datapaths under bridges: one of each kind, shared by all bridges of that kind.
 *
 * @module
 */
import { Switches } from "../openflow/switches.ts";
import { NEIGHBOUR, neighbourOf } from "../openflow/translate/forward/special.ts";
import { every } from "../policy/clock.ts";
import type { Datapath } from "../providers/datapath.ts";
import { DatapathError } from "../providers/errors.ts";
import { openDatapath } from "../providers/registry.ts";
import type { DatapathKind } from "./face.ts";
import { logFlow, logFlows } from "./flow_log.ts";
import { Leftovers, sweep } from "./leftovers.ts";
import type { Say } from "./log.ts";

/** A datapath, and the policy that runs on it. */
export interface Backing {
  readonly kind: DatapathKind;
  readonly dp: Datapath;
  readonly switches: Switches;
  /** Ports that could not be taken away yet. */
  readonly leftovers: Leftovers;
}

/** How datapaths are opened. */
export interface DatapathsOptions {
  /** Whether there are datapaths of dummy ports: of their own kind, or instead of all others. */
  readonly dummy: "no" | "yes" | "override";
  /** Told of what goes wrong. */
  readonly failed: (error: unknown) => void;
  /** Told that ports of a datapath changed: one came, went, or has another link. */
  readonly onPorts: () => void;
  /** Told of flows that userspace datapaths take, and of what they count. */
  readonly log?: Say;
  /** Told of frames for a switch itself: its number, and that of the port that each came by. */
  readonly onNeighbour: (
    from: { readonly of: number; readonly port: number },
    frame: Uint8Array,
  ) => void;
  /** Names of the ports that are to be in the datapath of a kind. */
  readonly wanted: (kind: DatapathKind) => ReadonlySet<string>;
}

/** After a watch that ended by a fault it is watched again, ms. */
const WATCH_PAUSE_MS = 1000;
/** What flows count is logged so often, where that is asked for, ms. */
const DUMP_MS = 500;

/** Datapaths by kind. */
export class Datapaths {
  readonly #options: DatapathsOptions;
  readonly #open = new Map<DatapathKind, Backing>();
  readonly #watches = new Map<DatapathKind, AbortController>();

  readonly #dumps: Disposable;
  /** Whether the log says what flows count by their numbers only. */
  isTerse = true;

  /** Begins without any. */
  constructor(options: DatapathsOptions) {
    this.#options = options;
    this.#dumps = every(DUMP_MS, () => this.#logFlows());
  }

  #logFlows(): void {
    const { log, failed } = this.#options;
    if (log === undefined) return;
    try {
      for (const { kind, dp } of this.all()) {
        if (kind !== "system" && !dp.closed) logFlows(log, dp, this.isTerse);
      }
    } catch (error) {
      failed(error);
    }
  }

  /** The kinds that the database is told of. */
  get kinds(): DatapathKind[] {
    return this.#options.dummy === "no"
      ? ["netdev", "system"]
      : ["dummy", "netdev", "system"];
  }

  /** Those that are open. */
  all(): IterableIterator<Backing> {
    return this.#open.values();
  }

  /** The kind that a bridge's type stands for; undefined if there is none. */
  kindOf(type: string): DatapathKind | undefined {
    const kind = this.kinds.find((one) => one === type);
    return kind !== undefined && this.#options.dummy === "override" ? "dummy" : kind;
  }

  /** An open one. */
  get(kind: DatapathKind): Backing | undefined {
    return this.#open.get(kind);
  }

  /** The datapath of a kind, opened if need be. Throws {@linkcode DatapathError}. */
  async need(kind: DatapathKind): Promise<Backing> {
    const known = this.#open.get(kind);
    if (known !== undefined) return known;
    const { failed } = this.#options;
    const isKernel = kind === "system";
    const name = isKernel ? "system@ovs-system" : `netdev@ovs-${kind}`;
    const dp = await openDatapath(name, {
      create: true,
      ...(!isKernel && { config: { local: "none" } }),
    });
    const switches = new Switches(dp);
    try {
      // What a daemon that was killed left of a database that was another.
      if (isKernel) {
        await sweep(dp.ports, this.#options.wanted(kind), failed);
      }
      const { log } = this.#options;
      await switches.start({
        failed,
        onError: failed,
        // Nothing of an earlier program is there, and tests of Open vSwitch count on it.
        ...(kind === "dummy" && { firstStageId: 1 }),
        onPacket: ({ reason, packet, userdata }) => {
          const from = reason === NEIGHBOUR ? neighbourOf(userdata) : undefined;
          if (from !== undefined) this.#options.onNeighbour(from, packet);
        },
        ...(!isKernel && log && {
          onFlow: (flow, isNew) => logFlow(log, flow, isNew),
        }),
      });
    } catch (error) {
      await dp.close();
      throw error;
    }
    const leftovers = new Leftovers(dp.ports, failed);
    const made = { kind, dp, switches, leftovers };
    this.#open.set(kind, made);
    const abort = new AbortController();
    this.#watches.set(kind, abort);
    void this.#watch(made, abort.signal);
    return made;
  }

  /** Tells changes of ports while the datapath is there. */
  async #watch({ kind, dp }: Backing, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        for await (const _ of dp.ports.changes({ signal })) this.#options.onPorts();
      } catch (error) {
        if (signal.aborted) return;
        if (!isGone(dp, error)) {
          this.#options.failed(error);
          await new Promise((resolve) => setTimeout(resolve, WATCH_PAUSE_MS));
          continue;
        }
      }
      if (signal.aborted) return;
      // Others took it away: there is another one when it is needed.
      await this.#end(kind, true);
      return this.#options.onPorts();
    }
  }

  /** Ends those that are not needed any more. */
  async keep(kinds: ReadonlySet<DatapathKind>): Promise<void> {
    for (const kind of [...this.#open.keys()]) {
      if (!kinds.has(kind)) await this.#end(kind);
    }
  }

  async #end(kind: DatapathKind, isGone = false): Promise<void> {
    const backing = this.#open.get(kind);
    if (backing === undefined) return;
    this.#open.delete(kind);
    this.#watches.get(kind)?.abort();
    this.#watches.delete(kind);
    await this.#try(() => backing.switches.close());
    // The kernel's goes by itself when its last port does; one of this process ends with it.
    if (!isGone) await this.#try(() => backing.dp.destroy());
    await this.#try(() => backing.dp.close());
  }

  /** What cannot end keeps nothing else from its end. */
  async #try(what: () => Promise<void>): Promise<void> {
    try {
      await what();
    } catch (error) {
      this.#options.failed(error);
    }
  }

  /** Ends all. Those of the kernel stay unless `cleanup` says else. */
  async close(cleanup: boolean): Promise<void> {
    this.#dumps[Symbol.dispose]();
    for (const [kind, { switches, dp }] of [...this.#open]) {
      if (cleanup || kind !== "system") {
        await this.#end(kind);
        continue;
      }
      this.#open.delete(kind);
      this.#watches.get(kind)?.abort();
      await this.#try(() => switches.close());
      await this.#try(() => dp.close());
    }
  }
}

/** Whether a datapath is not there any more, of which something failed. */
function isGone(dp: Datapath, error: unknown): boolean {
  return dp.closed || error instanceof DatapathError && error.code === "ENODEV";
}
