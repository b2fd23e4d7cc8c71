// SPDX-License-Identifier: Apache-2.0
// What must not compile, does not: `deno check` fails when one of these lines compiles.

import assert from "node:assert/strict";
import { encodeKey, exact, output, set } from "../providers/odp/mod.ts";
import { type AttributeTable, line } from "../providers/odp/attributes.ts";
import { one } from "../providers/codec/codec.ts";
import type { Action, FlowKey, FlowKeyInit, FlowMask } from "../providers/types.ts";

/** Holds what the compiler looked at, so that it is used. */
const looked: unknown[] = [];

Deno.test("keys that make no sense do not compile", () => {
  // @ts-expect-error: ports without an IP header that says whose they are
  const noHeader: FlowKey = { etherType: 0x0800, tcp: { src: 1, dst: 2 } };
  // @ts-expect-error: an IP header without the protocol
  const noProto: FlowKeyInit = { ipv4: { dst: "10.0.0.1" }, udp: { dst: 53 } };
  // @ts-expect-error: a field that no key has
  const noField: FlowKey = { inport: 1 };
  // @ts-expect-error: 128 bits are a bigint
  const width: FlowKey = { ctLabels: 5 };
  // @ts-expect-error: 32 bits are a number
  const wider: FlowKey = { skbMark: 5n };
  // @ts-expect-error: a fragment type is a word
  const fragment: FlowKeyInit = { ipv4: { proto: 6, frag: 1 } };
  // @ts-expect-error: an address is a string
  const address: FlowKeyInit = { arp: { sip: 0x0a000001 } };
  looked.push(noHeader, noProto, noField, width, wider, fragment, address);

  const good: FlowKeyInit = { etherType: 0x0800, ipv4: { proto: 6 }, tcp: { dst: 80 } };
  assert.ok(encodeKey(good).length > 0);
});

Deno.test("masks that make no sense do not compile", () => {
  // @ts-expect-error: false is no mask
  const no: FlowMask = { inPort: false };
  // @ts-expect-error: the mask of an address is in the form of an address
  const number: FlowMask = { ipv4: { dst: 24 } };
  // @ts-expect-error: a field that no key has
  assert.throws(() => exact("inport"));
  looked.push(no, number);
  const good: FlowMask = { ...exact("inPort"), ipv4: { dst: "255.255.0.0", frag: 255 } };
  assert.ok(good.inPort);
});

Deno.test("actions that make no sense do not compile", () => {
  // @ts-expect-error: a port is a number
  assert.throws(() => encodeKey({ inPort: output("eth1").port }));
  // @ts-expect-error: no such action
  const none: Action = { type: "forward", port: 1 };
  // @ts-expect-error: the field of another action
  const other: Action = { type: "recirc", port: 1 };
  // @ts-expect-error: a set of something that is no field
  looked.push(none, other, set({ ttl: 5 }));
});

interface Two {
  readonly small?: number;
  readonly large?: bigint;
}

Deno.test("tables that leave a field out or mistype it do not compile", () => {
  const good: AttributeTable<Two> = { small: line(1, one.u32), large: line(2, one.u64) };
  // @ts-expect-error: a field is missing
  const missing: AttributeTable<Two> = { small: line(1, one.u32) };
  // @ts-expect-error: 64 bits are no number
  const wrong: AttributeTable<Two> = { small: line(1, one.u64), large: line(2, one.u64) };
  looked.push(missing, wrong);
  assert.equal(good.small.id, 1);
  assert.ok(looked.length > 0);
});
