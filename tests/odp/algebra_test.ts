// SPDX-License-Identifier: Apache-2.0
// What flows cover, what set actions make of keys, and what fields are called.

import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import { applySet } from "../../providers/odp/apply.ts";
import { walk } from "../../providers/odp/attributes.ts";
import { ENCAP, keyTable } from "../../providers/odp/key.ts";
import { covers, decodeFlows } from "../../providers/odp/covers.ts";
import {
  fields,
  keywords,
  parseFieldValue,
  readField,
} from "../../providers/odp/fields.ts";
import {
  decodeActions,
  decodeKey,
  encodeActions,
  encodeKey,
  encodeMask,
  parseActions,
  parseKeyBytes,
} from "../../providers/odp/mod.ts";
import { maskedEqual } from "../../providers/odp/match.ts";
import type { FlowKey } from "../../providers/types.ts";
import type { SetAction } from "../../providers/types_action.ts";
import { tryRun } from "../support/command.ts";
import { findProgram, skippable, Unsupported } from "../support/skip.ts";
import { flow, tunnelFlow } from "./arbitrary.ts";

/** Options of a tunnel are nests of their own: vxlan, geneve, erspan. */
const options: readonly number[] = [11, 8, 15];

/** Where the values of a key are: payloads of attributes, not their headers. */
function placesOf(bytes: Uint8Array, from = 0, to = bytes.length): number[] {
  const places: number[] = [];
  const all = (at: number, size: number): void => {
    for (let i = 0; i < size; i++) places.push(at + i);
  };
  walk(bytes, from, to, "key", (id, at, size) => {
    if (id === ENCAP) places.push(...placesOf(bytes, at, at + size));
    else if (id !== keyTable.tunnel.id) all(at, size);
    else {walk(bytes, at, at + size, "tunnel", (id, at, size) =>
        !options.includes(id) && all(at, size));}
  });
  return places;
}

/** A key with some bits of its values turned: the flow's own packet, or nearly. */
function packetOf(key: FlowKey, turned: readonly number[]): Uint8Array {
  const bytes = encodeKey(key);
  const places = placesOf(bytes);
  for (const bit of turned) {
    const at = places[bit % places.length] as number;
    bytes[at] = (bytes[at] as number) ^ 1 << (bit >> 8 & 7);
  }
  return bytes;
}

Deno.test("a flow covers what agrees with it in the bytes of the key", () => {
  let covered = 0;
  let others = 0;
  fc.assert(
    fc.property(
      fc.oneof(flow, tunnelFlow),
      fc.array(fc.nat({ max: 0xffff }), { maxLength: 3 }),
      ({ key, mask }, turned) => {
        const bytes = encodeKey(key);
        const packet = packetOf(key, turned);
        let decoded: FlowKey;
        try {
          decoded = decodeKey(packet);
        } catch {
          return; // No such fragment type, say.
        }
        const expected = maskedEqual(packet, bytes, encodeMask(mask, bytes));
        expected ? covered++ : others++;
        assert.equal(covers(decoded, { key, mask }), expected);
      },
    ),
    { numRuns: 3000 },
  );
  assert.ok(covered > 300 && others > 100, `${covered} covered, ${others} not`);
});

const one = (text: string) => {
  const { key, mask } = parseKeyBytes(text);
  const [decoded] = decodeFlows([{ raw: { key, mask } }]);
  assert.ok(decoded);
  return decoded;
};
const keyOf = (text: string): FlowKey => decodeKey(parseKeyBytes(text).key);

Deno.test("a flow of one header does not cover packets of another", () => {
  const eth = "in_port(1),eth(src=02:00:00:00:00:01,dst=02:00:00:00:00:02)";
  const udp =
    `${eth},eth_type(0x0800),ipv4(src=1.1.1.1,dst=2.2.2.2,proto=17),udp(src=1,dst=2)`;
  const plain = keyOf(udp);
  const tagged = keyOf(
    `${eth},eth_type(0x8100),vlan(vid=5,pcp=0),encap(eth_type(0x0800),` +
      "ipv4(src=1.1.1.1,dst=2.2.2.2,proto=17),udp(src=1,dst=2))",
  );
  const cases: [flow: string, key: FlowKey, covered: boolean][] = [
    ["in_port(1),eth(),eth_type(0x0800),ipv4()", plain, true],
    ["in_port(1),eth(),eth_type(0x0800),ipv4()", tagged, false],
    ["in_port(1),eth(),eth_type(0x0800),ipv4(proto=17),udp(dst=2)", plain, true],
    ["in_port(1),eth(),eth_type(0x0800),ipv4(proto=17),udp(dst=3)", plain, false],
    ["in_port(1),eth(),eth_type(0x0800),ipv4(proto=6),tcp()", plain, false],
    [
      "in_port(1),eth(),eth_type(0x8100),vlan(vid=5),encap(eth_type(0x0800))",
      tagged,
      true,
    ],
    ["in_port(1),eth(),eth_type(0x8100),vlan(vid=4/4),encap()", tagged, true],
    ["in_port(1),eth(),eth_type(0x8100),vlan(vid=2/2),encap()", tagged, false],
    ["in_port(1),eth(),eth_type(0x8100),vlan(vid=5),encap()", plain, false],
    ["tunnel(tun_id=1/0,dst=1.1.1.1/0.0.0.0,ttl=0/0),in_port(1),eth()", plain, false],
    // Metadata that a packet lacks is 0.
    ["skb_mark(0),ct_state(-trk),in_port(1),eth(),eth_type(0x0800)", plain, true],
    ["skb_mark(1/1),in_port(1),eth(),eth_type(0x0800)", plain, false],
    ["ct_state(+trk),in_port(1),eth(),eth_type(0x0800)", plain, false],
  ];
  for (const [text, key, covered] of cases) {
    assert.equal(covers(key, one(text)), covered, text);
  }
});

/** A set action after the way through bytes that every flow's actions go. */
const setOf = (text: string): SetAction => {
  const [action] = decodeActions(encodeActions(parseActions(text)));
  assert.equal(action?.type, "set");
  return action as SetAction;
};

Deno.test("a set action changes the bits of its mask", () => {
  const key = keyOf(
    "in_port(1),eth(src=02:00:00:00:00:01,dst=02:00:00:00:00:02),eth_type(0x0800)," +
      "ipv4(src=10.0.0.1,dst=10.0.0.2,proto=6,tos=0xb8,ttl=64,frag=no),tcp(src=1,dst=80)",
  );
  const before = structuredClone(key);
  const after = (text: string): FlowKey => applySet(key, setOf(text));
  assert.deepEqual(after("set(ipv4(ttl=63))").ipv4, { ...key.ipv4, ttl: 63 });
  assert.equal(after("set(ipv4(src=192.168.7.9/255.255.0.0))").ipv4?.src, "192.168.0.1");
  assert.equal(after("set(ipv4(tos=0x1/0x3))").ipv4?.tos, 0xb9);
  assert.equal(
    after("set(eth(dst=ff:ff:00:00:00:00/01:00:00:00:00:00))").ethernet?.dst,
    "03:00:00:00:00:02",
  );
  assert.equal(after("set(tcp(src=0x1200/0xff00))").tcp?.src, 0x1201);
  assert.equal(after("set(skb_mark(0xf0/0xf0))").skbMark, 0xf0);
  assert.deepEqual(
    after("set(tunnel(tun_id=7,dst=1.2.3.4,ttl=64,flags(df)))").tunnel,
    { id: 7n, dst: "1.2.3.4", ttl: 64, dontFragment: true },
  );
  assert.deepEqual(key, before, "the key itself stays");
});

Deno.test("sets of an IPv6 address and of labels keep what their masks leave out", () => {
  const key = keyOf(
    "in_port(1),eth(),eth_type(0x86dd),ipv6(src=fd00::1,dst=fd00::2,proto=17),udp(src=1,dst=2)",
  );
  const set: SetAction = {
    type: "set",
    key: { ipv6: { src: "2001:db8:5::", label: 5 } },
    mask: { ipv6: { src: "ffff:ffff::", label: 4 } },
  };
  const { ipv6 } = applySet(key, set);
  assert.deepEqual([ipv6?.src, ipv6?.label, ipv6?.dst], ["2001:db8::1", 4, "fd00::2"]);
  const marked = applySet({ ...key, ctLabels: 0xf0n }, {
    type: "set",
    key: { ctLabels: 0x3fn },
    mask: { ctLabels: 0x0fn },
  });
  assert.equal(marked.ctLabels, 0xffn);
});

Deno.test("fields are read from where a key has them", () => {
  const { key, mask } = one(
    "in_port(3),eth(),eth_type(0x0800),ipv4(src=10.1.0.0/255.255.0.0,proto=17,tos=0xb8," +
      "frag=later)",
  );
  const read = (name: string): [bigint, bigint] => {
    const field = fields.get(name);
    assert.ok(field, name);
    const { value, mask: bits } = readField(field, key, mask);
    return [value, bits];
  };
  assert.deepEqual(read("in_port"), [3n, 0xffffffffn]);
  assert.deepEqual(read("nw_src"), [0x0a010000n, 0xffff0000n]);
  assert.deepEqual(read("ip_dscp"), [0x2en, 0x3fn]);
  assert.deepEqual(read("ip_ecn"), [0n, 3n]);
  assert.deepEqual(read("ip_frag"), [3n, 3n]);
  assert.deepEqual(read("nw_ttl"), [0n, 0n], "no bit of it matters");
  assert.deepEqual(read("tp_src"), [0n, 0n], "there is none");
  assert.deepEqual(read("vlan_vid"), [0n, 0xfffn], "there is no tag");
});

Deno.test(
  "ovs-ofctl knows every field by each of its names, and takes what is taken here",
  skippable(async () => {
    if (findProgram("ovs-ofctl") === undefined) {
      throw new Unsupported("program ovs-ofctl", { requirement: "peer" });
    }
    const sample = { ethernet: "02:00:00:00:00:01", ipv4: "10.0.0.1", ipv6: "fd00::1" };
    const wordsFor = (etherType: number, proto?: number): string => {
      const type = `dl_type=0x${etherType.toString(16)}`;
      return proto === undefined ? `${type},` : `${type},nw_proto=${proto},`;
    };
    const lines: string[] = [];
    for (const [name, { form, needs, bits }] of fields) {
      const value = form === "fragment"
        ? "later"
        : form === "flags"
        ? "0x1"
        : form === "number"
        ? `${bits < 4 ? 1 : 3}`
        : sample[form];
      // Open vSwitch has neither by number in files of flows.
      if (["in_port", "dp_hash", "recirc_id", "skb_priority"].includes(name)) continue;
      const context = needs && !/^nd_/.test(name)
        ? wordsFor(needs.etherTypes[0] as number, needs.protos?.[0])
        : needs
        ? "icmp6,icmpv6_type=135,icmpv6_code=0,"
        : "";
      const tracked = name.startsWith("ct_") && needs ? "ct_state=+trk," : "";
      lines.push(`${tracked}${context}${name}=${value}`);
    }
    const outcomes = await Promise.all(lines.map(async (line) => {
      const { code, stderr } = await tryRun(
        "ovs-ofctl",
        "parse-flow",
        `${line},actions=drop`,
      );
      return code === 0 ? undefined : `${line}: ${stderr.trim()}`;
    }));
    assert.deepEqual(outcomes.filter((outcome) => outcome !== undefined), []);
    for (const [, words] of keywords) {
      for (const word of words) assert.ok(fields.has(word.split("=", 1)[0] ?? ""), word);
    }
  }),
);

Deno.test("values of fields are written as ovs-fields(7) says", () => {
  const parse = (name: string, text: string): readonly [bigint, bigint] | undefined => {
    const field = fields.get(name);
    assert.ok(field, name);
    const parsed = parseFieldValue(field, text);
    return parsed && [parsed.value, parsed.mask];
  };
  assert.deepEqual(parse("ct_state", "+trk-new"), [0x20n, 0x21n]);
  assert.deepEqual(parse("ct_state", "trk|est"), [0x22n, 0xffffffffn]);
  assert.deepEqual(parse("tcp_flags", "+syn-ack"), [2n, 0x12n]);
  assert.equal(parse("ct_state", "+trk+trk"), undefined);
  assert.equal(parse("ct_state", "+nosuch"), undefined);
  assert.equal(parse("ct_state", "constructor"), undefined);
  assert.deepEqual(parse("ip_frag", "yes"), [1n, 1n]);
  assert.deepEqual(parse("ip_frag", "not_later"), [0n, 2n]);
  assert.equal(parse("ip_frag", "toString"), undefined);
  assert.deepEqual(parse("eth_src", "2:0:0:0:0:1"), [0x020000000001n, (1n << 48n) - 1n]);
  assert.deepEqual(parse("ipv6_src", "::ffff:1.2.3.4"), [
    0xffff01020304n,
    (1n << 128n) - 1n,
  ]);
  for (const bad of ["1.2.3", "1.2.3.256", "1.2.3.4.5", "::1", ""]) {
    assert.equal(parse("ip_src", bad), undefined, bad);
  }
});
