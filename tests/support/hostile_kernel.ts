// SPDX-License-Identifier: Apache-2.0
/**
 * A kernel that speaks netlink of Open vSwitch's families, honestly or not: what an honest one
 * would say, at random, and the same cut, changed, doubled, lost or late.
 *
 * @module
 */
import {
  acknowledge,
  encodeReplies,
  type FakeReply,
  type Message,
  MessageType,
  MessageWriter,
  NetlinkFlag,
  overflow,
  u16,
  u32,
  u8,
} from "../../providers/netlink/mod.ts";
import { type Random, randomBytes } from "./random.ts";

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
export function randomBody(next: Random, type: number): Uint8Array {
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
    // Route (16 bytes of header) and netfilter (4): nests in nests, whose depth and numbers are
    // those of both.
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
export function mutate(bytes: Uint8Array, next: Random): Uint8Array {
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
export function hostile(
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
