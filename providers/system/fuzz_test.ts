// SPDX-License-Identifier: Apache-2.0
/**
 * Hostile netlink: answers of a kernel that are cut, changed, doubled, lost, late or somebody else's.  Whatever comes,
 * an operation gives a result or throws a typed error, asks again no more often than it may, and leaves no socket open.
 *
 * `FUZZ_SECONDS` makes it run for that long, `FUZZ_SEED` repeats a run; a failure names its seed.
 */
import { ok, strictEqual as equal } from "node:assert/strict";
import { type Random, random, randomBytes } from "../../tests/support/random.ts";
import { DatapathError } from "../errors.ts";
import { SystemConntrack } from "./conntrack.ts";
import { getDatapath, listDatapaths, negotiateDatapath } from "./datapaths.ts";
import { SystemFlows } from "./flows.ts";
import { systemMeters } from "./meters.ts";
import {
  acknowledge,
  Conversation,
  encodeReplies,
  FakePeer,
  type FakeReply,
  type Message,
  MessageType,
  MessageWriter,
  NetlinkError,
  NetlinkFlag,
  overflow,
  type Transport,
  u16,
  u32,
  u8,
} from "../netlink/mod.ts";
import { Operations } from "./operations.ts";
import { Kernel } from "./ovs.ts";
import { parseUpcall } from "./packets.ts";
import { SystemTimeoutPolicies } from "./timeout_policies.ts";
import { TunnelLinks } from "./tunnel_links.ts";
import { findVport, listVports } from "./vports.ts";

const seconds = Number(Deno.env.get("FUZZ_SECONDS") ?? 2);
const seed = Number(Deno.env.get("FUZZ_SEED") ?? Date.now() % 0x7fffffff);

const families = [
  "ovs_datapath",
  "ovs_vport",
  "ovs_flow",
  "ovs_packet",
  "ovs_meter",
  "ovs_ct_limit",
];
const firstFamily = 30;

function bodyOf(write: (writer: MessageWriter) => void): Uint8Array {
  const writer = new MessageWriter();
  write(writer);
  return writer.bytes.slice();
}

/** What nlctrl says of the family that `request` names. */
function describeFamily(request: Message): Uint8Array {
  const text = new TextDecoder().decode(request.body);
  const index = families.findIndex((name) => text.includes(`${name}\0`));
  return bodyOf((writer) => {
    writer.put(u32, 0x201);
    writer.attributeText(2, families[index] ?? "");
    writer.attribute(1, u16, firstFamily + Math.max(index, 0));
    writer.attribute(3, u32, 1);
    writer.attribute(4, u32, 4);
    writer.attribute(5, u32, 12);
    writer.nested(7, () =>
      writer.nested(1, () => {
        writer.attributeText(1, families[index] ?? "");
        writer.attribute(2, u32, 7);
      }));
  });
}

/** Attributes by id and size, as the kernel's replies of a family have them. */
const shapes: Readonly<Record<number, readonly (readonly [id: number, size: number])[]>> =
  {
    30: [[1, 5], [3, 32], [4, 32], [5, 4], [7, 4], [8, 8]],
    31: [[1, 4], [2, 4], [3, 6], [8, 4], [6, 64], [10, 24], [5, 4]],
    32: [[9, 16], [1, 44], [7, 44], [5, 8], [3, 16], [4, 1], [2, 8]],
    33: [[2, 40], [5, 8], [9, 2], [10, 4], [11, 8], [1, 60]],
    34: [[1, 4], [3, 16], [4, 24], [7, 4], [8, 4]],
    35: [[1, 24]],
  };

/** A connection of ctnetlink: both tuples, and some of the rest. */
function writeConnection(writer: MessageWriter, next: Random): void {
  writer.put(u32, 2);
  for (const id of [1, 2]) {
    writer.nested(id, () => {
      writer.nested(1, () => {
        for (const side of [1, 2]) writer.attributeBytes(side, randomBytes(next, 4));
      });
      writer.nested(2, () => {
        writer.attribute(1, u8, [1, 6, 17, 58, 132][next(5)] ?? 0);
        for (let field = 2; field < 10; field++) {
          if (next(2) === 0) writer.attributeBytes(field, randomBytes(next, 1 + next(2)));
        }
      });
    });
  }
  for (
    const [id, size] of [[3, 4], [7, 4], [8, 4], [12, 4], [18, 2], [22, 16]] as const
  ) {
    if (next(3) !== 0) writer.attributeBytes(id, randomBytes(next, size));
  }
  for (const id of [4, 5, 9, 10, 14, 20]) {
    if (next(3) !== 0) continue;
    writer.nested(id, () =>
      writer.nested(1 + next(3), () => {
        for (let field = 1; field < 6; field++) {
          writer.attributeBytes(field, randomBytes(next, [1, 2, 4, 8][next(4)] ?? 0));
        }
      }));
  }
}

/** A timeout policy. */
function writePolicy(writer: MessageWriter, next: Random): void {
  const kinds = ["tcp4", "udp4", "icmp4", "tcp6", "udp6", "icmpv6"];
  const kind = next(20) === 0 ? "other" : kinds[next(6)];
  writer.put(u32, 0);
  writer.attributeText(1, `ovs_tp_${next(3)}_${kind}`);
  writer.attributeBytes(2, randomBytes(next, 2));
  writer.attributeBytes(3, randomBytes(next, 1));
  writer.nested(4, () => {
    for (let field = 1; field < 12; field++) {
      writer.attributeBytes(field, randomBytes(next, 4));
    }
  });
}

/** A body that has what it must, filled at random. */
function randomBody(next: Random, type: number): Uint8Array {
  return bodyOf((writer) => {
    const isOvs = type >= firstFamily && type < firstFamily + families.length;
    if (isOvs) {
      writer.put(u8, 1 + next(3));
      writer.put(u8, 1);
      writer.put(u16, 0);
      writer.put(u32, 8);
      for (const [id, size] of shapes[type] ?? []) {
        if (next(8) === 0) continue;
        const bytes = randomBytes(next, size);
        // Most of what is nested is well-formed.
        if (size === 24 && next(8) !== 0) bytes.set([24, 0, next(4), 0, 20, 0, 4, 0]);
        writer.attributeBytes(id, bytes);
      }
      return;
    }
    if (type >> 8 === 1 && next(4) !== 0) return writeConnection(writer, next);
    if (type >> 8 === 8) return writePolicy(writer, next);
    // Route (16 bytes of header) and netfilter (4): nests in nests, whose depth and numbers are those of both.
    writer.putBytes(randomBytes(next, type < 20 ? 16 : 4));
    const nest = (depth: number): void => {
      for (let n = 1 + next(6); n > 0; n--) {
        const id = 1 + next(24);
        if (depth > 0 && next(2) === 0) writer.nested(id, () => nest(depth - 1));
        else writer.attributeBytes(id, randomBytes(next, [1, 2, 4, 8, 16][next(5)] ?? 0));
      }
    };
    nest(3);
  });
}

/** What a kernel in order answers. */
function honest(next: Random, requests: readonly Message[]): FakeReply[][] {
  const [first] = requests;
  if (!first) return [];
  if ((first.flags & NetlinkFlag.dump) === NetlinkFlag.dump) {
    const parts = Array.from(
      { length: 1 + next(3) },
      () =>
        Array.from({ length: 1 + next(3) }, (): FakeReply => ({
          type: first.type,
          flags: NetlinkFlag.multi,
          body: randomBody(next, first.type),
        })),
    );
    parts.at(-1)?.push({
      type: MessageType.done,
      flags: NetlinkFlag.multi,
      body: new Uint8Array(4),
    });
    return parts;
  }
  return requests.flatMap((request): FakeReply[][] => {
    const { type, sequence } = request;
    if (next(30) === 0) {
      const errno = [2, 17, 22, 95, 105, 521][next(6)];
      return [[acknowledge(request, errno, next(2) === 0 ? "no" : undefined)]];
    }
    const body = type === 16 ? describeFamily(request) : randomBody(next, type);
    const wanted = type === 16 || next(16) !== 0;
    return [
      wanted ? [{ type, sequence, body }] : [],
      request.flags & NetlinkFlag.ack ? [acknowledge(request)] : [],
    ].filter((replies) => replies.length > 0);
  });
}

/** Changes a datagram. */
function mutate(bytes: Uint8Array, next: Random): Uint8Array {
  let result = bytes.slice();
  for (let n = next(3); n >= 0 && result.length > 0; n--) {
    const at = next(result.length);
    const kind = next(6);
    if (kind === 0) result[at] = (result[at] ?? 0) ^ 1 << next(8);
    else if (kind === 1) result[at] = next(256);
    else if (kind === 2) result[at & ~3] = [0, 3, 4, 5, 15, 255][next(6)] ?? 0;
    else if (kind === 3) result = result.slice(0, at);
    else if (kind === 4) {
      result = Uint8Array.of(...result.subarray(0, at), ...result.subarray(at & ~3));
    } // Sequence number, port id or type of the first message.
    else result[[4, 5, 6, 7, 8, 12][next(6)] ?? 0] = next(256);
  }
  return result;
}

/** Answers as the honest kernel, and then spoils some of them. */
function hostile(
  next: Random,
  requests: readonly Message[],
  peer: { portId: number; spoiled: number },
) {
  const answers: (Uint8Array | Error)[] = honest(next, requests)
    .map((replies) => encodeReplies(replies, requests[0], peer.portId));
  // A family that is not understood would end every round at its first request.
  const spoilable = next(100) < (requests[0]?.type === 16 ? 5 : peer.spoiled);
  for (let n = spoilable ? 1 + next(2) : 0; n > 0; n--) {
    const at = next(answers.length + 1);
    const answer = answers[at];
    switch (next(6)) {
      case 0:
        answers.splice(at, 0, overflow());
        break;
      case 1:
        answers.splice(at, 1);
        break;
      case 2:
        if (answer) answers.splice(next(answers.length + 1), 0, answer);
        break;
      case 3:
        answers.splice(at, 0, randomBytes(next, next(80)));
        break;
      default:
        if (answer instanceof Uint8Array) answers[at] = mutate(answer, next);
    }
  }
  return answers;
}

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
        if (!result.ok) ok(isTyped(result.error), String(result.error));
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
