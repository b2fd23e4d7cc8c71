// SPDX-License-Identifier: Apache-2.0
import { deepStrictEqual as equal, throws } from "node:assert/strict";
import { NetlinkError } from "./errors.ts";
import {
  Attributes,
  be16,
  be32,
  MessageWriter,
  NetlinkFlag,
  parseMessages,
  s32,
  u16,
  u32,
  u64,
  u8,
} from "./message.ts";

/** A message of two attributes behind four bytes of header. */
function sample(): Uint8Array {
  const writer = new MessageWriter(1);
  writer.begin({ type: 29, flags: NetlinkFlag.echo });
  writer.put(s32, -7);
  writer.attributeText(1, "eth1");
  writer.nested(2, () => {
    writer.attribute(3, u8, 9);
    writer.attribute(4, be16, 0x1234);
    writer.attributeBytes(5);
  });
  writer.attribute(6, u64, 0x0102030405060708n);
  writer.end();
  return writer.bytes.slice();
}

Deno.test("a message comes back as it was written", () => {
  const bytes = sample();
  const [message, ...rest] = parseMessages(bytes);
  equal(rest, []);
  equal(message?.type, 29);
  equal(message?.flags, NetlinkFlag.request | NetlinkFlag.echo);
  equal(bytes.length % 4, 0);
  const attributes = new Attributes(message?.body ?? new Uint8Array(), 4);
  equal(attributes.text(1), "eth1");
  equal(attributes.nested(2)?.get(3, u8), 9);
  equal(attributes.nested(2)?.get(4, be16), 0x1234);
  equal(attributes.nested(2)?.has(5), true);
  equal(attributes.need(6, u64), 0x0102030405060708n);
  equal(attributes.get(99, u32), undefined);
  equal([...attributes.entries()].map(([id]) => id), [1, 2, 6]);
});

Deno.test("text is sent with its zero, padding is zero", () => {
  const writer = new MessageWriter();
  writer.begin({ type: 16 });
  writer.attributeText(2, "abcd");
  writer.end();
  equal(
    writer.bytes.subarray(16),
    Uint8Array.of(9, 0, 2, 0, 97, 98, 99, 100, 0, 0, 0, 0),
  );
  // A buffer that is used again must not leak what it held.
  writer.reset();
  writer.begin({ type: 16 });
  writer.attributeBytes(1, Uint8Array.of(1));
  writer.end();
  equal(writer.bytes.subarray(16), Uint8Array.of(5, 0, 1, 0, 1, 0, 0, 0));
});

Deno.test("several messages lie one behind the other", () => {
  const writer = new MessageWriter(8);
  for (const type of [20, 21, 22]) {
    writer.begin({ type });
    writer.attributeBytes(1, new Uint8Array(type));
    writer.end();
  }
  equal(parseMessages(writer.bytes).map((message) => message.type), [20, 21, 22]);
});

Deno.test("the last message of a datagram may be unpadded", () => {
  const writer = new MessageWriter();
  writer.begin({ type: 20 });
  writer.putBytes(Uint8Array.of(1, 2, 3));
  writer.end();
  equal(parseMessages(writer.bytes)[0]?.body, Uint8Array.of(1, 2, 3));
});

Deno.test("a message cut at any byte is refused or shorter, never more", () => {
  const bytes = sample();
  for (let length = 0; length < bytes.length; length++) {
    const cut = bytes.slice(0, length);
    if (length === 0) equal(parseMessages(cut), []);
    else throws(() => parseMessages(cut), NetlinkError);
  }
});

Deno.test("attributes cut at any byte are refused or fewer, never more", () => {
  const body = parseMessages(sample())[0]?.body.slice(4) ?? new Uint8Array();
  const whole = [...new Attributes(body).entries()].length;
  for (let length = 0; length < body.length; length++) {
    try {
      const count = [...new Attributes(body.subarray(0, length)).entries()].length;
      equal(count < whole, true);
    } catch (error) {
      equal(error instanceof NetlinkError && error.code, "EBADMSG");
    }
  }
});

Deno.test("lengths that lie are refused", () => {
  for (const length of [0, 1, 15, 29, 0xffffffff]) {
    const writer = new MessageWriter();
    writer.put(u32, length);
    writer.putBytes(new Uint8Array(24));
    throws(() => parseMessages(writer.bytes), { code: "EBADMSG" });
  }
  for (const length of [0, 3, 9, 0xffff]) {
    const writer = new MessageWriter();
    writer.put(u16, length);
    writer.putBytes(new Uint8Array(6));
    throws(() => new Attributes(writer.bytes), { code: "EBADMSG" });
  }
  throws(() => new Attributes(new Uint8Array(4), 8), { code: "EBADMSG" });
});

Deno.test("an attribute shorter than its type is refused", () => {
  const attributes = new Attributes(Uint8Array.of(5, 0, 1, 0, 7, 0, 0, 0));
  equal(attributes.get(1, u8), 7);
  throws(() => attributes.get(1, be32), { code: "EBADMSG" });
  throws(() => attributes.need(2, u8), { code: "EBADMSG" });
});

Deno.test("flag bits of an attribute's type are no part of its id", () => {
  const attributes = new Attributes(Uint8Array.of(5, 0, 1, 0xc0, 7, 0, 0, 0));
  equal(attributes.get(1, u8), 7);
});

Deno.test("what does not fit into an attribute is refused", () => {
  const writer = new MessageWriter();
  writer.begin({ type: 16 });
  writer.attributeBytes(1, new Uint8Array(65531));
  throws(() => writer.attributeBytes(1, new Uint8Array(65532)), { code: "ENOBUFS" });
  const mark = writer.beginNested(2);
  writer.putBytes(new Uint8Array(65532));
  throws(() => writer.endNested(mark), { code: "ENOBUFS" });
});
