// SPDX-License-Identifier: Apache-2.0
/**
 * Hostile netlink: answers of a kernel that are cut, changed, doubled, lost, late or somebody
 * else's.  Whatever comes, an operation gives a result or throws a typed error, asks again no more
 * often than it may, and leaves no socket open.
 *
 * `FUZZ_SECONDS` makes it run for that long, `FUZZ_SEED` repeats a run; a failure names its seed.
 */
import { ok, strictEqual as equal } from "node:assert/strict";
import { hostile, mutate, randomBody } from "../../tests/support/hostile_kernel.ts";
import { type Random, random } from "../../tests/support/random.ts";
import { DatapathError } from "../errors.ts";
import { SystemConntrack } from "./conntrack.ts";
import { getDatapath, listDatapaths, negotiateDatapath } from "./datapaths.ts";
import { SystemFlows } from "./flow_table.ts";
import { systemMeters } from "./meters.ts";
import { Conversation, FakePeer, NetlinkError, type Transport } from "../netlink/mod.ts";
import { Operations } from "./operations.ts";
import { Kernel } from "./ovs.ts";
import { parseUpcall } from "./packets.ts";
import { SystemTimeoutPolicies } from "./timeout_policies.ts";
import { TunnelLinks } from "./tunnel_links.ts";
import { findVport, listVports } from "./vports.ts";

const seconds = Number(Deno.env.get("FUZZ_SECONDS") ?? 2);
const seed = Number(Deno.env.get("FUZZ_SEED") ?? Date.now() % 0x7fffffff);

/** Every socket of a round, all of them with the hostile kernel behind. */
class Sockets {
  readonly peers: FakePeer[] = [];
  readonly #next: Random;
  /** How many of a hundred answers are spoiled; few, for what takes many of them. */
  readonly #spoiled: number;

  constructor(next: Random) {
    this.#next = next;
    this.#spoiled = [3, 20, 70][next(3)] ?? 0;
  }

  readonly connect = (): Transport => {
    const peer: FakePeer = new FakePeer((requests) =>
      hostile(this.#next, requests, { portId: peer.portId, spoiled: this.#spoiled })
    );
    this.peers.push(peer);
    return peer;
  };
}

/** Reads all that is lazy. */
function readAll(value: unknown): void {
  if (typeof value !== "object" || value === null || ArrayBuffer.isView(value)) return;
  const names = new Set<string>(Object.keys(value));
  const prototype = Object.getPrototypeOf(value);
  if (prototype && prototype !== Object.prototype) {
    for (const name of Object.getOwnPropertyNames(prototype)) names.add(name);
  }
  for (const name of names) {
    const member = (value as Record<string, unknown>)[name];
    if (name !== "cause") readAll(member);
  }
}

const bytes = new Uint8Array(8);

/** Operations of every family; each gets sockets of its own. */
const operations: Readonly<Record<string, (sockets: Sockets) => unknown>> = {
  datapaths: (sockets) => withKernel(sockets, listDatapaths),
  open: (sockets) => withKernel(sockets, (kernel) => getDatapath(kernel, "dp")),
  create: (sockets) => withKernel(sockets, (kernel) => negotiateDatapath(kernel, "dp")),
  ports: (sockets) => withKernel(sockets, (kernel) => listVports(kernel, 8)),
  port: (sockets) => withKernel(sockets, (kernel) => findVport(kernel, "eth0")),
  dump: (sockets) =>
    withKernel(sockets, (kernel) => {
      const dump = new SystemFlows(kernel, 8, "system@dp").dump({});
      try {
        for (let i = 0; i < 1000; i++) {
          const flows = dump.next(3);
          readAll(flows);
          if (flows.length === 0) return;
        }
        throw new Error("a dump without an end");
      } finally {
        dump.close();
      }
    }),
  flush: (sockets) =>
    withKernel(sockets, (kernel) => new SystemFlows(kernel, 8, "system@dp").flush()),
  operate: (sockets) =>
    withKernel(sockets, (kernel) => {
      const results = new Operations(kernel, 8, "system@dp").run([
        {
          op: "put",
          key: bytes,
          actions: bytes,
          create: true,
          modify: false,
          wantStats: true,
        },
        { op: "get", key: bytes },
        { op: "delete", key: bytes, wantStats: true },
        { op: "execute", packet: new Uint8Array(60), actions: bytes },
      ]);
      equal(results.length, 4);
      for (const result of results) {
        if (!result.ok) {
          ok(result.cause === undefined || isTyped(result.cause), `${result.cause}`);
        }
        readAll(result);
      }
    }),
  meters: (sockets) =>
    withKernel(sockets, (kernel) => {
      const meters = systemMeters(kernel, 8, "system@dp");
      return [meters?.features(), meters?.get(1), meters?.delete(1)];
    }),
  connections: (sockets) =>
    withKernel(sockets, (kernel) => {
      const conntrack = new SystemConntrack(kernel, "system@dp", sockets.connect);
      try {
        readAll([...conntrack.dump({ zone: 1 })]);
        conntrack.flush({ zone: 0 });
        return conntrack.limits?.get();
      } finally {
        conntrack.close();
      }
    }),
  timeouts: (sockets) =>
    withPolicies(sockets, (policies) => {
      policies.set({ id: 1, timeouts: { tcpEstablished: 5 } });
      return policies.get(1);
    }),
  "timeouts listed": (sockets) => withPolicies(sockets, (policies) => policies.dump()),
  tunnels: (sockets) => {
    const links = new TunnelLinks(sockets.connect);
    try {
      links.ensure("vxlan_sys_4789", "vxlan", {});
      links.deleteOurs("vxlan_sys_4789");
    } finally {
      links.close();
    }
  },
};

function withKernel<T>(sockets: Sockets, action: (kernel: Kernel) => T): T {
  const kernel = new Kernel(sockets.connect);
  try {
    return action(kernel);
  } finally {
    kernel.close();
  }
}

function withPolicies<T>(
  sockets: Sockets,
  action: (policies: SystemTimeoutPolicies) => T,
): T {
  const conversation = new Conversation(sockets.connect);
  try {
    return action(new SystemTimeoutPolicies(conversation, "system@dp"));
  } finally {
    conversation.close();
  }
}

function isTyped(error: unknown): boolean {
  return error instanceof NetlinkError || error instanceof DatapathError;
}

/** Most datagrams that one operation may send: its requests, each as often as it is asked again. */
const mostSent = 400;

Deno.test("operations end in a result or a typed error, whatever the kernel answers", () => {
  const next = random(seed);
  const names = Object.keys(operations);
  /** By operation: results and errors. */
  const outcomes = new Map(names.map((name) => [name, { results: 0, errors: 0 }]));
  const end = Date.now() + seconds * 1000;
  for (let round = 0; Date.now() < end || round < 3000; round++) {
    const name = names[round % names.length] ?? "";
    const outcome = outcomes.get(name) ?? { results: 0, errors: 0 };
    const sockets = new Sockets(next);
    try {
      try {
        readAll(operations[name]?.(sockets));
        outcome.results++;
      } catch (error) {
        if (!isTyped(error)) throw error;
        outcome.errors++;
      }
      const sent = sockets.peers.reduce((sum, peer) => sum + peer.requests.length, 0);
      ok(sent <= mostSent, `${sent} messages sent`);
      ok(sockets.peers.every((peer) => peer.closed), "a socket was left open");
    } catch (error) {
      throw new Error(`FUZZ_SEED=${seed}, round ${round}, ${name}`, { cause: error });
    }
  }
  // What is never answered, or never spoiled, is not tested.
  for (const [name, { results, errors }] of outcomes) {
    ok(
      results > 0 && (errors > 0 || name === "operate"),
      `${name}: ${results}, ${errors}`,
    );
  }
});

Deno.test("an upcall of any bytes is one or is refused", () => {
  const next = random(seed);
  const end = Date.now() + seconds * 250;
  for (let round = 0; Date.now() < end || round < 500; round++) {
    const body = mutate(randomBody(next, 33), next);
    try {
      const { key, packet } = parseUpcall({
        type: 33,
        flags: 0,
        sequence: 0,
        portId: 0,
        body,
      });
      ok(key.length + packet.length <= body.length);
    } catch (error) {
      if (error instanceof NetlinkError && error.code === "EBADMSG") continue;
      throw new Error(`FUZZ_SEED=${seed}, round ${round}`, { cause: error });
    }
  }
});
