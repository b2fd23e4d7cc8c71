// SPDX-License-Identifier: Apache-2.0
import { deepStrictEqual as equal, ok, throws } from "node:assert/strict";
import { Conversation } from "./conversation.ts";
import { acknowledge, type FakeKernel, FakePeer } from "./fake_peer.ts";
import { Genl } from "./genl.ts";
import { MessageWriter, u16, u32, u8 } from "./message.ts";
import { NetlinkSocket, Protocol } from "./socket.ts";

/** What nlctrl says of a family. */
function description(): Uint8Array {
  const writer = new MessageWriter();
  for (const byte of [1, 2, 0, 0]) writer.put(u8, byte);
  writer.attributeText(2, "ovs_vport");
  writer.attribute(1, u16, 30);
  writer.attribute(3, u32, 1);
  writer.attribute(4, u32, 4);
  writer.attribute(5, u32, 9);
  writer.attributeBytes(77, Uint8Array.of(1, 2, 3));
  writer.nested(7, () =>
    writer.nested(1, () => {
      writer.attribute(2, u32, 5);
      writer.attributeText(1, "ovs_vport");
    }));
  return writer.bytes.slice();
}

function genlWith(kernel: FakeKernel): Genl {
  return new Genl(new Conversation(() => new FakePeer(kernel), { timeoutMs: 30_000 }));
}

Deno.test("a family is asked for once", () => {
  let asked = 0;
  const genl = genlWith((requests) => {
    asked++;
    return [
      [{ type: 16, body: description() }],
      requests.map((request) => acknowledge(request)),
    ];
  });
  const family = genl.family("ovs_vport");
  equal(family, {
    name: "ovs_vport",
    id: 30,
    version: 1,
    headerSize: 4,
    maxAttribute: 9,
    groups: new Map([["ovs_vport", 5]]),
  });
  equal(genl.family("ovs_vport"), family);
  equal(genl.group("ovs_vport", "ovs_vport"), 5);
  throws(() => genl.group("ovs_vport", "others"), { code: "ENOENT" });
  equal(asked, 1);
});

Deno.test("a family that is missing, and an answer that is none", () => {
  const missing = genlWith((requests) => [
    requests.map((request) => acknowledge(request, 2)),
  ]);
  throws(() => missing.family("ovs_vport"), { code: "ENOENT" });
  const silent = genlWith((requests) => [
    requests.map((request) => acknowledge(request)),
  ]);
  throws(() => silent.family("ovs_vport"), { code: "EPROTO" });
  const wrong = genlWith((requests) => [
    [{ type: 17, body: description() }],
    requests.map((request) => acknowledge(request)),
  ]);
  throws(() => wrong.family("ovs_vport"), { code: "EPROTO" });
});

Deno.test("a reply of another family is refused", () => {
  const genl = genlWith((requests) => [
    requests[0]?.type === 16
      ? [{ type: 16, body: description() }]
      : [{ type: 31, body: new Uint8Array(8) }],
    requests.map((request) => acknowledge(request)),
  ]);
  const family = genl.family("ovs_vport");
  throws(() => genl.request(family, 3, {}, () => {}), { code: "EPROTO" });
});

Deno.test("a family cut at any byte is an error or lacks something, never hangs", () => {
  const whole = description();
  for (let length = 0; length < whole.length; length++) {
    const genl = genlWith((requests) => [
      [{ type: 16, body: whole.slice(0, length) }],
      requests.map((request) => acknowledge(request)),
    ]);
    try {
      const family = genl.family("ovs_vport");
      ok(family.groups.size === 0 || length > whole.length - 4);
    } catch (error) {
      equal((error as { code: string }).code, "EBADMSG");
    }
  }
});

Deno.test("the running kernel has a controller, and says why it refuses", () => {
  const genl = new Genl(new Conversation(() => new NetlinkSocket(Protocol.generic)));
  try {
    const controller = genl.families().find(({ name }) => name === "nlctrl");
    equal(controller?.id, 16);
    equal(genl.family("nlctrl").id, 16);
    throws(() => genl.family("no such family"), { code: "ENOENT" });
    equal(genl.families().length > 0, true);
  } finally {
    genl.close();
  }
});
