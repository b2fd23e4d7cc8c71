// SPDX-License-Identifier: Apache-2.0
/** Messages of the family `psample`, as Linux 5.4, 6.1 and 6.11 send them. */
import { deepStrictEqual as deepEqual, throws } from "node:assert/strict";
import { type Message, MessageWriter, u16, u32 } from "./message.ts";
import { parseSample } from "./psample.ts";
import { u64 } from "./scalar.ts";

function messageOf(write: (writer: MessageWriter) => void, command = 0): Message {
  const writer = new MessageWriter();
  writer.put(u32, 0x100 | command);
  write(writer);
  return { type: 33, flags: 0, sequence: 0, portId: 0, body: writer.bytes.slice() };
}

const common = (writer: MessageWriter): void => {
  writer.attribute(0, u16, 8);
  writer.attribute(5, u32, 100);
  writer.attribute(2, u32, 1500);
  writer.attribute(3, u32, 7);
  writer.attribute(4, u32, 41);
};
const base = {
  group: 7,
  sequence: 41,
  rate: 100,
  ifindex: 8,
  originalLength: 1500,
  packet: Uint8Array.of(1, 2, 3),
};

Deno.test("samples of any release are read", () => {
  const data = (writer: MessageWriter) => writer.attributeBytes(6, base.packet);
  deepEqual(
    parseSample(messageOf((writer) => {
      common(writer);
      data(writer);
    })),
    base,
  );
  deepEqual(
    parseSample(messageOf((writer) => {
      common(writer);
      writer.attribute(12, u64, 5n);
      writer.attribute(13, u64, 1_700_000_000_000_000_000n);
      writer.attribute(14, u16, 0x800);
      data(writer);
    })),
    { ...base, time: 1_700_000_000_000_000_000n },
  );
  deepEqual(
    parseSample(messageOf((writer) => {
      writer.attribute(5, u32, 0xffffffff / 3);
      writer.attribute(2, u32, 60);
      writer.attribute(3, u32, 0xffffffff);
      writer.attribute(4, u32, 0);
      writer.attributeBytes(15, Uint8Array.of(0xf1, 2));
      writer.attributeBytes(16, new Uint8Array());
      data(writer);
    })),
    {
      group: 0xffffffff,
      sequence: 0,
      rate: 3,
      originalLength: 60,
      packet: base.packet,
      cookie: Uint8Array.of(0xf1, 2),
    },
  );
});

Deno.test("what is no sample is passed over, and half of one is an error", () => {
  deepEqual(parseSample(messageOf(common, 2)), undefined);
  throws(() => parseSample(messageOf((writer) => writer.attribute(3, u32, 7))));
});
