// SPDX-License-Identifier: Apache-2.0
/**
 * The peers of a bridge: controllers that it calls, places where others call, and what it does
 * while none of them answers.
 *
 * @module
 */
import {
  call,
  type Endpoint,
  listen,
  parseController,
  parseListener,
  type Target,
} from "../openflow/connection/endpoints.ts";
import { listenAt } from "../control/socket_path.ts";
import type { ConnectionOptions } from "../openflow/connection/connection.ts";
import type { Switch } from "../openflow/switch/switch.ts";
import type { BridgeConfig, ControllerConfig } from "./config.ts";
import { confined } from "./confine.ts";
import { Snoop } from "./snoop.ts";

/** What is known of a controller, or of a place for them. */
type PeerState = Pick<Endpoint, "isConnected" | "lastError">;

/** Peers of a bridge. What is asked of them is done one after the other. */
export class Peers {
  readonly #of: Switch;
  readonly #folder: string;
  readonly #journal: ConnectionOptions["journal"];
  readonly #controllers = new Map<string, { key: string; endpoint: Endpoint }>();
  /** Why there are not those that cannot be, by the number of their row. */
  readonly #refused = new Map<string, Error>();
  #config: Pick<BridgeConfig, "controllers" | "versions"> | undefined;
  #management: { versions: number; endpoint: Endpoint } | undefined;
  #snoop: { versions: number; snoop: Snoop } | undefined;
  #turn: Promise<void> = Promise.resolve();
  #isClosed = false;

  /** Begins without any. Sockets of controllers are in `folder`. */
  constructor(
    of: Switch,
    folder: string,
    journal: ConnectionOptions["journal"] = undefined,
  ) {
    this.#journal = journal;
    this.#of = of;
    this.#folder = folder;
  }

  /** Controllers and places for them, by the number of their row. */
  controllers(): IterableIterator<[uuid: string, state: PeerState]> {
    const there = [...this.#controllers].map(([uuid, { endpoint }]) =>
      [uuid, endpoint] as [string, PeerState]
    );
    const refused = [...this.#refused].map(([uuid, { message }]) =>
      [uuid, { isConnected: false, lastError: message }] as [string, PeerState]
    );
    return [...there, ...refused].values();
  }

  /** Whether there are places that could not be listened at, and may be later. */
  get isLacking(): boolean {
    return [...this.#refused.values()].some((error) =>
      !(error instanceof SyntaxError || error instanceof RangeError)
    );
  }

  /** Does something when all that was asked before is done, unless it was closed meanwhile. */
  #inTurn(what: () => Promise<void>): Promise<void> {
    const turn = this.#turn.then(() => this.#isClosed ? undefined : what());
    this.#turn = turn.catch(() => {});
    return turn;
  }

  /**
   * Listens at `PATH.mgmt` and `PATH.snoop`. Throws what the system refuses; one of them may
   * listen all the same, and the other does when it is asked for again and can.
   */
  listen(path: string, versions: number): Promise<void> {
    return this.#inTurn(async () => {
      const refused: unknown[] = [];
      const attempt = async (what: () => Promise<void>): Promise<void> => {
        try {
          await what();
        } catch (error) {
          refused.push(error);
        }
      };
      const target = { transport: "unix", path: `${path}.mgmt` } as const;
      if (this.#management?.versions !== versions) {
        await attempt(() => this.#endManagement());
        await attempt(async () => {
          const options = {
            versions,
            probeMs: 60_000,
            bind: listenAt,
            journal: this.#journal,
          };
          const endpoint = await listen(this.#of, target, options);
          this.#management = { versions, endpoint };
        });
      }
      if (this.#snoop?.versions !== versions) {
        await attempt(() => this.#endSnoop());
        await attempt(async () => {
          const snoop = await Snoop.open(`${path}.snoop`, this.#of, versions);
          this.#snoop = { versions, snoop };
        });
      }
      if (refused.length > 0) {
        throw new Error(refused.map((error) => (error as Error).message).join("; "));
      }
    });
  }

  async #endManagement(): Promise<void> {
    const before = this.#management;
    this.#management = undefined;
    await before?.endpoint.close();
  }

  async #endSnoop(): Promise<void> {
    const before = this.#snoop;
    this.#snoop = undefined;
    await before?.snoop.close();
  }

  /** Has controllers be what the database says; `isOther` has all of them called again. */
  call(
    config: Pick<BridgeConfig, "controllers" | "versions">,
    isOther: boolean,
  ): Promise<void> {
    return this.#inTurn(() => {
      this.#config = config;
      return this.#call(config, isOther);
    });
  }

  /** A target whose socket is in the run folder. Throws `RangeError` for another. */
  #at(target: Target): Target {
    if (target.transport !== "unix") return target;
    return { ...target, path: confined(this.#folder, target.path) };
  }

  async #call(
    { controllers, versions }: Pick<BridgeConfig, "controllers" | "versions">,
    isOther: boolean,
  ): Promise<void> {
    const wanted = new Map(controllers.map((one) => [one.uuid, one]));
    const keyOf = ({ target, probeMs, maxBackoffMs }: ControllerConfig): string =>
      [target, probeMs, maxBackoffMs, versions].join(" ");
    for (const [uuid, { key, endpoint }] of this.#controllers) {
      const now = wanted.get(uuid);
      const isCalled = now !== undefined && !now.target.startsWith("p");
      if (now !== undefined && keyOf(now) === key && !(isOther && isCalled)) continue;
      this.#controllers.delete(uuid);
      await endpoint.close().catch((error) => this.#of.runtime.failed(error));
    }
    for (const uuid of this.#refused.keys()) {
      if (!wanted.has(uuid)) this.#refused.delete(uuid);
    }
    for (const one of controllers) {
      if (this.#isClosed) return;
      if (this.#controllers.has(one.uuid)) continue;
      const { target, probeMs, maxBackoffMs } = one;
      try {
        const journal = this.#journal;
        const options = { versions, probeMs, maxPauseMs: maxBackoffMs, journal };
        const endpoint = target.startsWith("p")
          ? await listen(this.#of, this.#at(parseListener(target)), {
            ...options,
            bind: listenAt,
          })
          : call(this.#of, this.#at(parseController(target)), options);
        this.#controllers.set(one.uuid, { key: keyOf(one), endpoint });
        this.#refused.delete(one.uuid);
      } catch (error) {
        const { message } = error as Error;
        if (this.#refused.get(one.uuid)?.message === message) continue;
        this.#refused.set(one.uuid, error as Error);
        this.#of.runtime.failed(error);
      }
    }
  }

  /**
   * A switch that stands alone is NORMAL while none of its controllers answers, for as long as
   * three probes of theirs at least. `nowMs` is the time.
   */
  failOpen({ failMode, controllers }: BridgeConfig, nowMs: number): void {
    const called = controllers.filter(({ target }) => !target.startsWith("p"));
    const isAlone = failMode === "standalone" && called.length > 0 &&
      !called.some(({ uuid }) => this.#controllers.get(uuid)?.endpoint.isConnected);
    if (!isAlone) this.#aloneSinceMs = undefined;
    else this.#aloneSinceMs ??= nowMs;
    const probeMs = Math.max(1000, ...called.map((one) => one.probeMs));
    const sinceMs = this.#aloneSinceMs ?? nowMs;
    const { failOpen } = this.#of;
    const isOpen = isAlone && nowMs - sinceMs >= 3 * probeMs;
    if (failOpen.value !== isOpen) failOpen.value = isOpen;
  }
  #aloneSinceMs: number | undefined;

  /** Ends conversations with controllers, and calls them again. */
  reconnect(): Promise<void> {
    return this.#inTurn(async () => {
      if (this.#config === undefined) return;
      await this.#call({ ...this.#config, controllers: [] }, false);
      await this.#call(this.#config, false);
    });
  }

  /** Ends all conversations, and what was asked for and is not done yet. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#turn;
    const endpoints = [...this.#controllers.values()].map(({ endpoint }) => endpoint);
    this.#controllers.clear();
    const ends = [
      this.#endManagement(),
      this.#endSnoop(),
      ...endpoints.map((endpoint) => endpoint.close()),
    ];
    for (const end of await Promise.allSettled(ends)) {
      if (end.status === "rejected") this.#of.runtime.failed(end.reason);
    }
  }
}
