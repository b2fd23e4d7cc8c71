// SPDX-License-Identifier: Apache-2.0
import { deepStrictEqual as equal, throws } from "node:assert/strict";
import { Conversation } from "./conversation.ts";
import { NetlinkError } from "./errors.ts";
import { acknowledge, type FakeKernel, FakePeer, overflow } from "./fake_peer.ts";
import {
  type Message,
  MessageType,
  MessageWriter,
  NetlinkFlag,
  s32,
  u32,
} from "./message.ts";

/** A conversation with `kernel`, and the peers it opened. */
function talk(kernel: FakeKernel, options = {}) {
  const peers: FakePeer[] = [];
  const conversation = new Conversation(() => {
    const peer = new FakePeer(kernel);
    peers.push(peer);
    return peer;
  }, { timeoutMs: 30_000, ...options });
  return { conversation, peers };
}

function batch(...flags: number[]): Uint8Array {
  const writer = new MessageWriter();
  for (const flag of flags) {
    writer.begin({ type: 20, flags: flag });
    writer.attribute(1, u32, flags.length);
    writer.end();
  }
  return writer.bytes.slice();
}

const one = (writer: MessageWriter) => {
  writer.begin({ type: 20 });
  writer.end();
};

const wantsAck = (message: Message) => (message.flags & NetlinkFlag.ack) !== 0;
const done = {
  type: MessageType.done,
  flags: NetlinkFlag.multi,
  body: new Uint8Array(4),
};

function word(value: number): Uint8Array {
  const writer = new MessageWriter();
  writer.put(s32, value);
  return writer.bytes.slice();
}

Deno.test("each request of a batch is acknowledged, failures are told apart", () => {
  const { conversation, peers } = talk((requests) => [
    requests.map((request, index) =>
      index === 1 ? acknowledge(request, 17, "flow exists") : acknowledge(request)
    ),
  ]);
  const outcomes = conversation.exchange(batch(0, 0, 0, 0));
  equal(outcomes.map((outcome) => outcome.error?.code), [
    undefined,
    "EEXIST",
    undefined,
    undefined,
  ]);
  equal(outcomes[1]?.error?.message, "flow exists");
  equal(outcomes[1]?.error?.offset, 24);
  const sent = peers[0]?.requests ?? [];
  equal(sent.map(wantsAck), [true, true, true, true]);
  equal(new Set(sent.map((request) => request.sequence)).size, 4);
  equal(sent.every((request) => request.portId === 0x1234), true);
});

Deno.test("silence about one request of a batch is no success", () => {
  const { conversation } = talk((requests) => [
    requests.slice(-1).map((request) => acknowledge(request, 2)),
  ]);
  equal(conversation.exchange(batch(0, 0)).map((outcome) => outcome.error?.code), [
    "ETIMEDOUT",
    "ENOENT",
  ]);
});

Deno.test("replies are given to the requests that they answer", () => {
  const { conversation } = talk((requests) => {
    const replies = requests.toReversed().map((request) => ({
      sequence: request.sequence,
      body: word(request.sequence),
    }));
    return [replies, requests.map((request) => acknowledge(request))];
  });
  const outcomes = conversation.exchange(batch(0, 0, 0));
  for (const { reply } of outcomes) equal(reply?.body, word(reply?.sequence ?? 0));
});

Deno.test("an empty batch asks nobody", () => {
  const { conversation, peers } = talk(() => []);
  equal(conversation.exchange(new Uint8Array()), []);
  equal(peers.length, 0);
});

Deno.test("answers with a wrong sequence or port id are passed over", () => {
  const { conversation } = talk((requests) => {
    const right = requests.slice(-1).map((request) => acknowledge(request));
    const [request] = requests;
    return [
      [{ ...right[0], sequence: (request?.sequence ?? 0) + 1000 }],
      [{ ...right[0], portId: 99 }],
      right,
    ];
  });
  equal(conversation.exchange(batch(0))[0], {});
});

Deno.test("no answer is a time-out, not a wait", () => {
  const { conversation } = talk(() => []);
  throws(() => conversation.request(one), { code: "ETIMEDOUT" });
});

Deno.test("answers that are never the right one end in a time-out", () => {
  const { conversation } = talk(() => []);
  const endless = new Conversation(() => {
    const peer = new FakePeer(() => []);
    peer.receive = () => word(16).length === 4 ? new Uint8Array(0) : undefined;
    return peer;
  }, { timeoutMs: 20 });
  throws(() => endless.request(one), { code: "ETIMEDOUT" });
  throws(() => endless.dump(one), NetlinkError);
  conversation.close();
});

Deno.test("requests that only ask are sent again when their answers are lost, one by one", () => {
  let rounds = 0;
  const { conversation, peers } = talk((requests) => {
    if (rounds++ === 0) {
      const [first] = requests;
      return [first ? [acknowledge(first, 17)] : [], overflow()];
    }
    return [requests.map((request) => acknowledge(request))];
  });
  const outcomes = conversation.exchange(batch(0, 0, 0), { repeatable: true });
  equal(outcomes.map((outcome) => outcome.error?.code), ["EEXIST", undefined, undefined]);
  // Three at first, then the two that nothing was known of.
  equal(peers[0]?.requests.length, 5);
});

Deno.test("requests that do something are sent once, whatever becomes of the answer", () => {
  const { conversation, peers } = talk((requests) => [
    requests.slice(0, 1).map((request) => acknowledge(request)),
    overflow(),
    // What was queued in front of the loss, or behind it, still counts.
    requests.slice(2, 3).map((request) => acknowledge(request, 17)),
  ]);
  const outcomes = conversation.exchange(batch(0, 0, 0));
  equal(outcomes.map(({ error }) => error?.code), [undefined, "ENOBUFS", "EEXIST"]);
  equal(outcomes[1]?.error?.message.includes("may have done"), true);
  equal(peers[0]?.requests.length, 3);
});

Deno.test("a reply whose acknowledgement was lost is an answer", () => {
  const { conversation, peers } = talk((requests) => [
    requests.map(({ sequence }) => ({ sequence, body: word(7) })),
    overflow(),
  ]);
  const [outcome] = conversation.exchange(batch(0));
  equal([outcome?.error, outcome?.reply?.body], [undefined, word(7)]);
  equal(peers[0]?.requests.length, 1);
});

Deno.test("answers that are lost every time are an error", () => {
  const { conversation, peers } = talk(() => [overflow()]);
  const [outcome] = conversation.exchange(batch(0), { repeatable: true });
  equal(outcome?.error?.code, "ENOBUFS");
  equal(peers[0]?.requests.length, 5);
});

Deno.test("errors come with and without explanation, capped and not", () => {
  const kinds: [string, (request: Message) => ReturnType<typeof acknowledge>][] = [
    ["no such device", (request) => acknowledge(request, 19)],
    ["because", (request) => acknowledge(request, 19, "because")],
    ["no such device", (request) => {
      // Attributes that cannot be read do not hide the error.
      const reply = acknowledge(request, 19, "because");
      return { ...reply, body: reply.body?.slice(0, -2) ?? new Uint8Array() };
    }],
    ["no such device", (request) => ({
      ...acknowledge(request, 19),
      flags: 0,
      body: Uint8Array.of(...word(-19), ...new Uint8Array(16 + request.body.length)),
    })],
  ];
  for (const [message, answer] of kinds) {
    const { conversation } = talk((requests) => [requests.map(answer)]);
    throws(() => conversation.request(one), { code: "ENODEV", message });
  }
});

Deno.test("an errno without a name keeps its number", () => {
  const { conversation } = talk((requests) => [
    requests.map((request) => acknowledge(request, 521)),
  ]);
  throws(() => conversation.request(one), { code: "EIO", errno: 521 });
});

Deno.test("error messages that are none are refused", () => {
  for (
    const body of [
      new Uint8Array(),
      word(-1),
      Uint8Array.of(...word(1), ...new Uint8Array(16)),
    ]
  ) {
    const { conversation } = talk((requests) => [
      requests.map((request) => ({
        type: MessageType.error,
        sequence: request.sequence,
        body,
      })),
    ]);
    throws(() => conversation.request(one), { code: "EBADMSG" });
  }
});

Deno.test("an answer cut at any byte ends in an error", () => {
  for (let length = 0; length < 36; length++) {
    const { conversation } = talk((requests) => {
      const peer = new FakePeer(() => [requests.map((request) => acknowledge(request))]);
      peer.send(batch(0));
      return [peer.receive()?.slice(0, length) ?? new Uint8Array()];
    });
    throws(() => conversation.request(one), NetlinkError);
  }
});

Deno.test("a dump goes on until it is done, and its socket is used again", () => {
  const { conversation, peers } = talk(() => [
    [{ flags: NetlinkFlag.multi, body: word(1) }, {
      flags: NetlinkFlag.multi,
      body: word(2),
    }],
    [],
    [{ flags: NetlinkFlag.multi, body: word(3) }, done, { body: word(4) }],
  ]);
  for (let i = 0; i < 3; i++) {
    const bodies = conversation.dump(one).map((message) => message.body[0]);
    equal(bodies, [1, 2, 3]);
  }
  equal(peers.length, 1);
  equal(peers[0]?.requests.every((r) => (r.flags & NetlinkFlag.dump) !== 0), true);
  conversation.close();
  equal(peers[0]?.closed, true);
});

Deno.test("two dumps and a request at a time do not mix", () => {
  const { conversation, peers } = talk((requests) => {
    const isDump = ((requests[0]?.flags ?? 0) & NetlinkFlag.dump) === NetlinkFlag.dump;
    if (!isDump) return [requests.map((request) => acknowledge(request))];
    return [[{ body: word(1) }], [{ body: word(2) }, done]];
  });
  const [a, b] = [conversation.startDump(one), conversation.startDump(one)];
  equal(a.next()?.length, 1);
  equal(conversation.request(one), undefined);
  equal(b.next()?.length, 1);
  equal([a.next()?.length, b.next()?.length], [1, 1]);
  equal([a.next(), b.next()], [undefined, undefined]);
  equal(peers.length, 3);
});

Deno.test("a dump that is left early gives its socket up", () => {
  const { conversation, peers } = talk(() => [[{ body: word(1) }], [done]]);
  const dump = conversation.startDump(one);
  dump.next();
  dump.close();
  dump.close();
  equal(dump.next(), undefined);
  equal(peers[0]?.closed, true);
});

Deno.test("an interrupted dump is restarted, and given up in the end", () => {
  const interrupted = NetlinkFlag.multi | NetlinkFlag.dumpInterrupted;
  let rounds = 0;
  const { conversation } = talk(() => {
    const flags = rounds++ < 2 ? interrupted : NetlinkFlag.multi;
    return [[{ flags, body: word(rounds) }, done]];
  });
  equal(conversation.dump(one).map((message) => message.body[0]), [3]);
  const { conversation: never } = talk(
    () => [[{ flags: interrupted, body: word(1) }, done]],
  );
  throws(() => never.dump(one), { code: "EINTR" });
});

Deno.test("a dump ends in the kernel's error, in an error message or at its end", () => {
  const { conversation } = talk((requests) => [
    [{ body: word(1) }],
    requests.map((request) => acknowledge(request, 19)),
  ]);
  throws(() => conversation.dump(one), { code: "ENODEV" });
  const { conversation: late } = talk(() => [[{ ...done, body: word(-12) }]]);
  throws(() => late.dump(one), { code: "ENOMEM" });
});

Deno.test("a dump that never ends is stopped", () => {
  const { conversation } = talk(() => [[{ body: word(1) }]], { dumpDatagrams: 100 });
  throws(() => conversation.dump(one), { code: "ETIMEDOUT" });
  const endless = new Conversation(() => {
    const peer = new FakePeer(() => []);
    peer.receive = () => {
      peer.notify({
        sequence: peer.requests[0]?.sequence ?? 0,
        portId: peer.portId,
        type: 20,
      });
      return FakePeer.prototype.receive.call(peer);
    };
    return peer;
  }, { dumpDatagrams: 100 });
  throws(() => endless.dump(one), { code: "EPROTO" });
});

Deno.test("a closed conversation says so", () => {
  const { conversation } = talk(() => []);
  conversation.close();
  throws(() => conversation.request(one), { code: "EBADF" });
  throws(() => conversation.startDump(one), { code: "EBADF" });
});
