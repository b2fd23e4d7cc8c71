// SPDX-License-Identifier: Apache-2.0
// What an upcall costs outside the datapath.  Wanted on one core: each of the first four
// under 1 µs, text at 200,000 flows a second and more.

import {
  decodeKey,
  encodeActions,
  encodeKey,
  exact,
  formatKey,
  keyView,
  output,
  parseKeyBytes,
} from "./mod.ts";
import { toActionBytes, toKeyAndMaskBytes } from "./input.ts";

const text =
  "recirc_id(0),dp_hash(0),skb_priority(0),in_port(2),skb_mark(0),ct_state(0)," +
  "ct_zone(0),ct_mark(0),eth(src=02:00:00:00:00:01,dst=02:00:00:00:00:02)," +
  "eth_type(0x0800),ipv4(src=10.0.0.1,dst=10.0.0.2,proto=6,tos=0,ttl=64,frag=no)," +
  "tcp(src=1000,dst=2000),tcp_flags(+ack)";
const { key: bytes, mask: bits } = parseKeyBytes(text);
const object = decodeKey(bytes);
const mask = exact("inPort", "ethernet", "etherType", "ipv4", "tcp");
const ports = [1, 2, 3, 4].map(output);

Deno.bench("view: index and read five fields", () => {
  const key = keyView(bytes);
  if (
    key.inPort !== 2 || key.ethernet?.src.length !== 17 || key.etherType !== 0x0800 ||
    key.ipv4?.proto !== 6 || key.tcp?.dst !== 2000
  ) throw new Error("wrong key");
});

Deno.bench("put of an upcall's flow: view, exact mask, output", () => {
  const flow = toKeyAndMaskBytes(keyView(bytes), mask);
  const actions = toActionBytes([output(3)]);
  if (flow.key.length + actions.length < 100) throw new Error("too short");
});

Deno.bench("encode a list of one output", () => {
  toActionBytes([output(3)]);
});

Deno.bench("encode a list of four outputs", () => {
  toActionBytes(ports);
});

Deno.bench("encode a key of 13 fields from an object", () => {
  encodeKey(object);
});

Deno.bench("decode a key of 13 fields into an object", () => {
  decodeKey(bytes);
});

Deno.bench("complete and encode a flow from objects", () => {
  toKeyAndMaskBytes(object, mask);
  encodeActions([output(3)]);
});

Deno.bench("parse the text of 13 fields", () => {
  parseKeyBytes(text);
});

Deno.bench("print 13 fields as text", () => {
  formatKey({ key: bytes, mask: bits });
});
