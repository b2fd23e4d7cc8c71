// SPDX-License-Identifier: Apache-2.0
// Hostile bytes and hostile text: typed errors and nothing else.  `FUZZ_SECONDS` in the
// environment makes each test run for that long; the seed is printed when one fails.

import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import {
  AttributeError,
  decodeActions,
  decodeKey,
  decodeMask,
  encodeActions,
  encodeKey,
  encodeMask,
  extractKey,
  formatActions,
  formatKey,
  keyView,
  normalize,
  parseActions,
  parseKey,
  parseKeyBytes,
} from "../../providers/odp/mod.ts";
import { toKeyAndMaskBytes } from "../../providers/odp/input.ts";
import { type Random, random } from "../support/random.ts";
import { flow } from "./arbitrary.ts";
import { actions } from "./arbitrary_actions.ts";

const seconds = Number(Deno.env.get("FUZZ_SECONDS") ?? 2);
const seed = Number(Deno.env.get("FUZZ_SEED") ?? Date.now() % 0x7fffffff);

/** Runs `body` again and again for as long as the test may take. */
function repeat(body: (next: Random) => void): void {
  const next = random(seed);
  const end = Date.now() + seconds * 1000;
  for (let round = 0; Date.now() < end || round < 200; round++) {
    try {
      body(next);
    } catch (error) {
      throw new Error(`seed ${seed}, round ${round}`, { cause: error });
    }
  }
}

/** Changes some bytes: bits, lengths, ids, a cut, a repetition. */
function mutate(bytes: Uint8Array, next: Random): Uint8Array {
  let result = bytes.slice();
  for (let n = next(4); n >= 0; n--) {
    if (result.length === 0) return result;
    const at = next(result.length);
    switch (next(6)) {
      case 0:
        result[at] = (result[at] as number) ^ 1 << next(8);
        break;
      case 1:
        result[at] = next(256);
        break;
      case 2:
        result[at & ~3] = [0, 3, 4, 5, 8, 255][next(6)] as number;
        break;
      case 3:
        result = result.slice(0, at);
        break;
      case 4:
        result = Uint8Array.from([
          ...result.subarray(0, at),
          ...result.subarray(at & ~3),
        ]);
        break;
      case 5:
        result[at | 3] = [0x80, 0x40, 0xff][next(3)] as number;
    }
  }
  return result;
}

/** Runs `read` and lets only the errors pass that it may throw. */
function guarded<T>(
  read: () => T,
  ...allowed: (new (...args: never[]) => Error)[]
): T | undefined {
  try {
    return read();
  } catch (error) {
    if (allowed.some((type) => error instanceof type)) return undefined;
    throw error;
  }
}

/** What the random flows and actions do not have. */
const moreKeys = [
  "tunnel(tun_id=0x1/0xff,src=1.1.1.1,dst=2.2.2.2,tos=0x8/0xf,ttl=64,tp_src=1,tp_dst=2," +
  "geneve({class=0x102,type=0x80,len=4,0x2a/0xff}{class=1,type=2,len=0}),flags(-df+csum+key))",
  "tunnel(ipv6_src=::1,ipv6_dst=::2,ttl=64,vxlan(gbp(id=10/0xff,flags=0xb)),flags(oam))",
  "tunnel(dst=2.2.2.2,ttl=64,erspan(ver=1,idx=0x7/0xf),flags(df|key))",
  "tunnel(dst=2.2.2.2,ttl=64,erspan(ver=2,dir=1,hwid=0x7/0x3f),flags(0))",
  "tunnel(dst=2.2.2.2,ttl=64,gtpu(flags=0x30,msgtype=255),flags(0))",
  "in_port(1),eth(),eth_type(0x894f),nsh(flags=0,ttl=63,mdtype=1,np=3,spi=0x1,si=255,c1=0x1)",
  "ct_tuple4(src=10.0.0.1,dst=10.0.0.2/255.0.0.0,proto=17,tp_src=1,tp_dst=2/0xff)",
  "ct_tuple6(src=::1,dst=::2/::ffff,proto=17,src_port=1,dst_port=2)",
  "packet_type(ns=1,id=0x800),ct_label(0x5/0xf),key32(01 00/ff ff),nd_ext(nd_reserved=0x1)",
];
const moreActions = [
  "userspace(pid=1,sFlow(vid=9,pcp=7,output=10),actions),userspace(pid=1,slow_path(cfm,action))",
  "userspace(pid=1,controller(reason=1,dont_send=1,continuation=0,recirc_id=4,rule_cookie=0x5," +
  "controller_id=0,max_len=65535),tunnel_out_port=10)",
  "set(tunnel(tun_id=0x1,dst=1.1.1.1,ttl=64,geneve({class=1,type=2,len=4,0xa}),flags(df|key)))",
  "set(nsh(spi=0x7,si=3/0xf,c1=0x1)),set(arp(op=1)),set(vlan(vid=5/0x3)),set(mpls(label=5))",
  "push_nsh(flags=0,ttl=63,mdtype=2,np=3,spi=0x1,si=255,md2=0x01020304),dec_ttl(le_1(3))",
  "hash(sym_l4(1)),push_mpls(label=1,eth_type=0x8847),pop_mpls(eth_type=0x800),pop_eth",
  "psample(group=12,cookie=0xf102),push_eth(src=02:00:00:00:00:01,dst=02:00:00:00:00:02)",
  "tnl_push(tnl_port(6),header(size=58,type=5,eth(dst=f8:bc:12:44:34:b6,src=f8:bc:12:46:58:e0," +
  "dl_type=0x0800),ipv4(src=1.1.2.88,dst=1.1.2.92,proto=17,tos=0,ttl=64,frag=0x4000)," +
  "udp(src=0,dst=6081,csum=0x0),geneve(crit,vni=0x1c7,options({class=0xffff,type=0x80,len=4,0xa})))," +
  "out_port(1))",
  "tnl_push(tnl_port(4),header(size=66,type=109,eth(dst=f8:bc:12:44:34:b6,src=f8:bc:12:46:58:e0," +
  "dl_type=0x86dd),ipv6(src=2001:cafe::88,dst=2001:cafe::92,label=0,proto=47,tclass=0x0,hlimit=64)," +
  "gre((flags=0xa000,proto=0x6558),csum=0x0,key=0x1e241)),out_port(1)),tnl_pop(4),drop(3)",
];

const flows = fc.sample(flow, { seed, numRuns: 300 });
const lists = fc.sample(actions, { seed, numRuns: 300 });
const parsedKeys = moreKeys.map((text) => parseKeyBytes(text));
const keyBytes = [
  ...flows.map(({ key }) => encodeKey(key)),
  ...repeated(parsedKeys.map(({ key }) => key)),
];
const maskBytes = [
  ...flows.map(({ key, mask }) => encodeMask(mask, key)),
  ...repeated(parsedKeys.map(({ mask }) => mask)),
];
const listBytes = [
  ...lists.map((list) => encodeActions(list)),
  ...repeated(moreActions.map((text) => encodeActions(parseActions(text)))),
];

/** As many of what is rare as of what is random. */
function repeated<T>(items: readonly T[]): T[] {
  return Array.from({ length: 300 }, (_, i) => items[i % items.length] as T);
}

function pick<T>(items: readonly T[], next: Random): T {
  return items[next(items.length)] as T;
}

Deno.test("mutated keys decode to what encodes to the same again, or are refused", () => {
  let decoded = 0;
  repeat((next) => {
    const bytes = mutate(pick(keyBytes, next), next);
    const key = guarded(() => decodeKey(bytes), AttributeError);
    if (key === undefined) return;
    decoded++;
    const canonical = encodeKey(key);
    assert.deepEqual(decodeKey(canonical), key);
    assert.deepEqual(encodeKey(decodeKey(canonical)), canonical);
    assert.deepEqual({ ...keyView(canonical) }, key);
    const text = formatKey({ key: canonical }, { verbose: true });
    // The text of an unknown attribute does not show the flags of its type.
    if (key.unknown !== undefined || key.tunnel?.unknown !== undefined) return;
    if (key.nsh?.unknown !== undefined || key.nsh?.md2 !== undefined) return;
    assert.deepEqual(decodeKey(parseKeyBytes(text).key), key, text);
    // Flags of a tunnel come last in the text.
    if (key.tunnel === undefined) {
      assert.deepEqual(parseKeyBytes(text).key, canonical, text);
    }
  });
  assert.ok(decoded > 0);
});

Deno.test("mutated masks decode to what encodes to the same again, or are refused", () => {
  repeat((next) => {
    const i = next(keyBytes.length);
    const key = keyBytes[i] as Uint8Array;
    const bytes = mutate(maskBytes[i] as Uint8Array, next);
    const mask = guarded(() => decodeMask(bytes, key), AttributeError);
    if (mask === undefined) return;
    const canonical = encodeMask(mask, key);
    assert.deepEqual(encodeMask(decodeMask(canonical, key), key), canonical);
    guarded(() => formatKey({ key, mask: bytes }), AttributeError);
    guarded(() => normalize(key, bytes), AttributeError);
    // Unknown attributes that differ in their flag bits only are kept, and are duplicates when
    // levels are split.
    const once = guarded(() => normalize(key, canonical), AttributeError);
    if (once === undefined) return;
    assert.deepEqual(normalize(once.key, once.mask), once);
  });
});

Deno.test("mutated actions decode to what encodes to the same again, or are refused", () => {
  let decoded = 0;
  repeat((next) => {
    const bytes = mutate(pick(listBytes, next), next);
    const list = guarded(() => decodeActions(bytes), AttributeError);
    if (list === undefined) return;
    decoded++;
    const canonical = encodeActions(list);
    assert.deepEqual(decodeActions(canonical), list);
    assert.equal(typeof formatActions(list), "string");
  });
  assert.ok(decoded > 0);
});

Deno.test("random bytes never do more than be refused", () => {
  repeat((next) => {
    const bytes = Uint8Array.from({ length: next(96) }, () => next(next(2) ? 256 : 16));
    guarded(() => decodeKey(bytes), AttributeError);
    guarded(() => decodeMask(bytes), AttributeError);
    guarded(() => decodeActions(bytes), AttributeError);
    guarded(() => formatKey({ key: bytes }), AttributeError);
    guarded(() => normalize(bytes, bytes), AttributeError);
    const view = guarded(() => keyView(bytes), AttributeError);
    if (view) guarded(() => JSON.stringify(view.ipv4) + view.inPort, AttributeError);
    assert.ok(extractKey(bytes, { inPort: 1 }).ethernet);
  });
});

Deno.test("mutated text parses, or is refused with an offset inside it", () => {
  const texts = [
    ...flows.map(({ key, mask }) => formatKey({ key, mask }, { verbose: true })),
    ...repeated(moreKeys),
  ];
  const others = [...lists.map((list) => formatActions(list)), ...repeated(moreActions)];
  const edit = (text: string, next: Random) => {
    const at = next(text.length);
    const insert = [
      "",
      "(",
      ")",
      ",",
      "/",
      "0x",
      "4294967296",
      "18446744073709551616",
      "-1",
    ];
    return text.slice(0, at) + pick(insert, next) + text.slice(at + next(3));
  };
  const refused = (text: string, read: () => unknown) => {
    try {
      read();
    } catch (error) {
      if (error instanceof AttributeError) return;
      assert.ok(error instanceof SyntaxError, `${error}`);
      const { offset } = error as SyntaxError & { offset: number };
      assert.ok(offset >= 0 && offset <= text.length, `${offset} of ${text}`);
    }
  };
  repeat((next) => {
    const key = edit(pick(texts, next), next);
    refused(key, () => parseKey(key));
    refused(key, () => toKeyAndMaskBytes(key));
    const list = edit(pick(others, next), next);
    refused(list, () => encodeActions(parseActions(list)));
  });
});

Deno.test("random flows survive objects, bytes and text", () => {
  fc.assert(
    fc.property(flow, ({ key, mask }) => {
      const bytes = encodeKey(key);
      const bits = encodeMask(mask, key);
      assert.deepEqual(decodeKey(bytes), key);
      assert.deepEqual(decodeMask(bits, key), mask);
      const text = formatKey({ key, mask }, { verbose: true });
      const parsed = parseKeyBytes(text);
      assert.deepEqual(parsed.key, bytes, text);
      assert.deepEqual(parsed.mask, bits, text);
    }),
    { seed, numRuns: 1000 },
  );
});
