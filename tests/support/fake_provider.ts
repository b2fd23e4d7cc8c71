// SPDX-License-Identifier: Apache-2.0
/**
 * A small datapath in memory: the contract, with nothing underneath.
 *
 * It shows what a provider is at the least, lets the layers above be tested without DPDK or a
 * kernel, and keeps the conformance suite honest, for a suite that only one implementation passes
 * may test that implementation.  It forwards when it is told to (`inject`), looks flows up by going
 * through all of them, and knows the actions output, userspace, trunc, recirc.
 *
 * @module
 */
import type {
  DatapathStats,
  OpenOptions,
  Provider,
  ProviderDatapath,
} from "../../providers/contract/provider.ts";
import type {
  FlowDump,
  FlowDumpOptions,
  OpResult,
  ProviderOp,
} from "../../providers/contract/flows.ts";
import type {
  Port,
  PortRequest,
  PortStats,
  PortWatch,
} from "../../providers/contract/ports.ts";
import type { UpcallHandler } from "../../providers/contract/upcalls.ts";
import { DatapathError } from "../../providers/errors.ts";
import type { ErrnoName } from "../../providers/errno.ts";
import type { PortNo } from "../../providers/ids.ts";
import { FakeHandler } from "./fake_handler.ts";
import { fakeDump, type FakePort, FakeTable, operateOne } from "./fake_table.ts";

/** How a fake is made. */
export interface FakeOptions {
  /** Its type; "fake" if absent. */
  readonly type?: string;
  /** Upcalls that a handler keeps; 64 if absent. */
  readonly ringSize?: number;
}

/** Makes a provider whose datapaths are its own. */
export function fakeProvider(options: FakeOptions = {}): Provider {
  const type = options.type ?? "fake";
  const tables = new Map<string, FakeTable>();
  return {
    type,
    cleanupRequired: true,
    enumerate: () => Promise.resolve([...tables.keys()]),
    // deno-lint-ignore require-await -- rejects, rather than throws
    async open(name: string, { create }: OpenOptions): Promise<ProviderDatapath> {
      const fail = (code: ErrnoName): never => {
        throw new DatapathError({
          operation: "open datapath",
          object: `${type}@${name}`,
          code,
        });
      };
      let table = tables.get(name);
      if (table !== undefined && create === "exclusive") fail("EEXIST");
      if (table === undefined && !create) fail("ENODEV");
      table ??= new FakeTable(options.ringSize ?? 64);
      if (!tables.has(name)) {
        tables.set(name, table);
        table.addPort({ name, type: "dummy", no: 0 });
      }
      return new FakeDatapath(type, name, table, () => tables.delete(name));
    },
  };
}

class FakeDatapath implements ProviderDatapath {
  readonly type: string;
  readonly name: string;
  readonly ports;
  readonly flows;
  readonly upcalls;
  readonly #table: FakeTable;
  readonly #onGone: () => void;
  #closed = false;
  /** Whether this object closed or destroyed it. */
  #ended = false;
  readonly #handlers = new Set<FakeHandler>();
  readonly #wakeListeners = new Set<() => void>();

  constructor(type: string, name: string, table: FakeTable, onGone: () => void) {
    this.type = type;
    this.name = name;
    this.#table = table;
    this.#onGone = onGone;
    table.references++;
    this.ports = this.#makePorts();
    this.flows = {
      flush: (): void => void this.#use("flush flows").flows.clear(),
      dump: (options: FlowDumpOptions): FlowDump =>
        fakeDump([...this.#use("dump flows").flows], options),
    };
    this.upcalls = {
      required: () => undefined,
      setHandlers: (count: number): void => {
        const table = this.#use("set handlers");
        if (count > 64) {
          throw new DatapathError({ operation: "set handlers", code: "EINVAL" });
        }
        table.handlerCount = count;
      },
      setReceive: (): void => {},
      handler: (id: number): UpcallHandler => this.#handler(id),
      purge: (): void => {
        for (const handler of this.#use("purge upcalls").handlers.values()) {
          handler.purge();
        }
      },
    };
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = this.#ended = true;
    await this.#quiet();
    this.#table.references--;
    if (this.#table.references === 0 && !this.#table.destroyed) this.#onGone();
  }

  async destroy(): Promise<void> {
    if (this.#table.destroyed) return;
    this.#table.destroyed = this.#ended = true;
    this.#table.tellPortChange();
    for (const handler of this.#table.handlers.values()) {
      if (!this.#handlers.has(handler)) handler.end();
    }
    await this.#quiet();
    this.#onGone();
  }

  stats(): DatapathStats {
    const { hit, missed, lost, flows } = this.#use("read statistics");
    const masks = new Set([...flows].map(({ maskBytes }) => maskBytes.join()));
    return { hit, missed, lost, flows: flows.size, masks: masks.size };
  }

  version(): undefined {}

  operate(ops: readonly ProviderOp[]): OpResult[] {
    const table = this.#use("operate");
    return ops.map((op) => {
      try {
        return operateOne(table, op);
      } catch (error) {
        if (!(error instanceof DatapathError)) throw error;
        return { ok: false, code: error.code, detail: error.detail, cause: error };
      }
    });
  }

  #use(operation: string): FakeTable {
    if (!this.#closed && !this.#table.destroyed) return this.#table;
    const code = this.#closed ? "EBADF" : "ENODEV";
    throw new DatapathError({ operation, datapath: `${this.type}@${this.name}`, code });
  }

  async #quiet(): Promise<void> {
    for (const wake of this.#wakeListeners) wake();
    await Promise.all([...this.#handlers].map((handler) => handler.close()));
  }

  #handler(id: number): UpcallHandler {
    const table = this.#use("open handler");
    const code = id >= table.handlerCount
      ? "EINVAL"
      : table.handlers.has(id)
      ? "EBUSY"
      : undefined;
    if (code !== undefined) {
      throw new DatapathError({ operation: "open handler", object: `${id}`, code });
    }
    const handler = new FakeHandler(table.ringSize, () => {
      table.handlers.delete(id);
      this.#handlers.delete(handler);
    });
    table.handlers.set(id, handler);
    this.#handlers.add(handler);
    return handler;
  }

  #makePorts() {
    const find = (no: PortNo, operation: string): FakePort => {
      const port = this.#use(operation).ports.get(no);
      if (port !== undefined) return port;
      throw new DatapathError({ operation, object: `${no}`, code: "ENODEV" });
    };
    const plain = ({ no, name, type }: Port): Port => ({
      no,
      name,
      type,
      mtu: 65521,
      mac: `02:00:00:00:00:${no.toString(16).padStart(2, "0").slice(-2)}`,
      link: { up: true },
    });
    return {
      // deno-lint-ignore require-await -- rejects, rather than throws
      add: async (request: PortRequest): Promise<Port> =>
        this.#use("add port").addPort(request),
      // deno-lint-ignore require-await -- rejects, rather than throws
      delete: async (no: PortNo): Promise<void> => {
        if (no === 0) {
          throw new DatapathError({
            operation: "delete port",
            object: "0",
            code: "EINVAL",
          });
        }
        find(no, "delete port");
        this.#table.ports.delete(no);
        this.#table.tellPortChange();
      },
      get: (port: PortNo | string): Port | undefined => {
        const ports = [...this.#use("get port").ports.values()];
        const found = ports.find(({ no, name }) => no === port || name === port);
        return found && plain(found);
      },
      dump: (): Port[] =>
        [...this.#use("dump ports").ports.values()].sort((a, b) => a.no - b.no).map(
          plain,
        ),
      stats: (no: PortNo): PortStats => {
        const { rxPackets, rxBytes, txPackets, txBytes } = find(
          no,
          "read port statistics",
        );
        const none = { rxErrors: 0n, txErrors: 0n, rxDropped: 0n, txDropped: 0n };
        return { rxPackets, rxBytes, txPackets, txBytes, ...none };
      },
      watch: () => this.#watch(),
      inject: (no: PortNo, frame: Uint8Array): void => {
        const port = find(no, "inject");
        port.rxPackets++;
        port.rxBytes += BigInt(frame.length);
        if (frame.length >= 14) this.#table.forward(frame.slice(), no);
      },
      collect: (no: PortNo): Uint8Array | undefined => find(no, "collect").sent.shift(),
    };
  }

  #watch(): PortWatch {
    const table = this.#use("watch ports");
    let seen: number | undefined;
    let wake = (): void => {};
    let closed = false;
    return {
      receive: () => {
        if (closed || this.#ended) return undefined;
        if (table.destroyed) this.#use("watch ports");
        if (table.portChanges === seen) return [];
        seen = table.portChanges;
        return [{ kind: "rescan" }];
      },
      wait: async () => {
        if (closed || this.#ended || table.portChanges !== seen) return;
        const { promise, resolve } = Promise.withResolvers<void>();
        wake = resolve;
        table.onPortChange.add(resolve);
        this.#wakeListeners.add(resolve);
        await promise;
        table.onPortChange.delete(resolve);
        this.#wakeListeners.delete(resolve);
      },
      wake: () => wake(),
      close: () => {
        closed = true;
        wake();
        return Promise.resolve();
      },
    };
  }
}
