// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import type { Action } from "../types.ts";
import { actionTable } from "./action.ts";
import {
  AttributeError,
  checkPktLen,
  clone,
  ct,
  CtState,
  decodeActions,
  encodeActions,
  formatActions,
  output,
  parseActions,
  popVlan,
  pushVlan,
  sample,
  set,
  userspace,
} from "./mod.ts";
import { toActionBytes } from "./input.ts";
import { Writer } from "../codec/writer.ts";

const src = "02:00:00:00:00:01";
const dst = "02:00:00:00:00:02";
const nsh = {
  flags: 0,
  ttl: 63,
  mdtype: 1,
  np: 3,
  spi: 1,
  si: 255,
  contexts: [1, 2, 3, 4],
};
const label = { label: 0xfffff, tc: 7, ttl: 255, bos: 1, etherType: 0x8847 };

/** Each action, by type, with its text. */
const actions: readonly (readonly [Action, string])[] = [
  [output(0), "0"],
  [
    userspace({ portId: 5, userdata: Uint8Array.of(1, 2, 3), actions: true }),
    "userspace(pid=5,userdata(010203),actions)",
  ],
  [
    userspace({ portId: 5, tunnelOutPort: 0 }),
    "userspace(pid=5,tunnel_out_port=0)",
  ],
  [set({ ethernet: { src, dst } }), `set(eth(src=${src},dst=${dst}))`],
  [
    {
      type: "set",
      key: { tcp: { src: 80, dst: 0 } },
      mask: { tcp: { src: 0xff00, dst: 0 } },
    },
    "set(tcp(src=80/0xff00))",
  ],
  [
    { type: "set", key: { vlans: [{ vid: 5, pcp: 1, cfi: 1 }] } },
    "set(vlan(vid=5,pcp=1))",
  ],
  [
    {
      type: "set",
      key: { tunnel: { id: 1n, dst: "1.1.1.1", ttl: 64, dontFragment: true } },
    },
    "set(tunnel(tun_id=0x1,dst=1.1.1.1,ttl=64,flags(df|key)))",
  ],
  [
    {
      type: "set",
      key: { nsh: { flags: 0, ttl: 0, mdtype: 0, np: 0, spi: 7, si: 0 } },
      mask: { nsh: { flags: 0, ttl: 0, mdtype: 0, np: 0, spi: 0xffffff, si: 0 } },
    },
    "set(nsh(spi=0x7))",
  ],
  [pushVlan({ vid: 12, pcp: 3, tpid: 0x88a8 }), "push_vlan(tpid=0x88a8,vid=12,pcp=3)"],
  [popVlan(), "pop_vlan"],
  [
    { type: "sample", probability: 0xffffffff, actions: [output(1)] },
    "sample(sample=100.0%,actions(1))",
  ],
  [{ type: "recirc", id: 0x2b }, "recirc(0x2b)"],
  [{ type: "hash", algorithm: "l4", basis: 0 }, "hash(l4(0))"],
  [{ type: "hash", algorithm: "symL4", basis: 7 }, "hash(sym_l4(7))"],
  [
    { type: "pushMpls", ...label },
    "push_mpls(label=1048575,tc=7,ttl=255,bos=1,eth_type=0x8847)",
  ],
  [{ type: "popMpls", etherType: 0x0800 }, "pop_mpls(eth_type=0x800)"],
  [
    { type: "addMpls", ...label, tunnelFlags: 0 },
    "add_mpls(label=1048575,tc=7,ttl=255,bos=1,eth_type=0x8847)",
  ],
  [ct(), "ct"],
  [
    ct({
      commit: true,
      zone: 4,
      mark: { value: 1, mask: 0xff },
      labels: { value: 5n, mask: 15n },
      helper: "ftp",
      timeout: "tp",
      nat: {
        kind: "src",
        min: "10.1.1.1",
        max: "10.1.1.9",
        portMin: 2000,
        portMax: 2999,
      },
    }),
    "ct(commit,zone=4,mark=0x1/0xff,label=0x5/0xf,helper=ftp,timeout=tp," +
    "nat(src=10.1.1.1-10.1.1.9:2000-2999))",
  ],
  [ct({ forceCommit: true, nat: true }), "ct(force_commit,nat)"],
  [
    ct({
      nat: { kind: "dst", min: "fd00::5", portMin: 80, persistent: true, hash: true },
    }),
    "ct(nat(dst=[fd00::5]:80,persistent,hash))",
  ],
  [{ type: "ctClear" }, "ct_clear"],
  [clone([]), "clone(drop)"],
  [clone([clone([output(1)]), output(2)]), "clone(clone(1),2)"],
  [{ type: "trunc", size: 100 }, "trunc(100)"],
  [{ type: "pushEth", src, dst }, `push_eth(src=${src},dst=${dst})`],
  [{ type: "popEth" }, "pop_eth"],
  [
    { type: "pushNsh", nsh },
    "push_nsh(flags=0,ttl=63,mdtype=1,np=3,spi=0x1,si=255,c1=0x1,c2=0x2,c3=0x3,c4=0x4)",
  ],
  [{ type: "popNsh" }, "pop_nsh()"],
  [{ type: "meter", id: 9 }, "meter(9)"],
  [
    checkPktLen(1400, { greater: [output(4)], lessEqual: [] }),
    "check_pkt_len(size=1400,gt(4),le(drop))",
  ],
  [{ type: "decTtl", actions: [output(3)] }, "dec_ttl(le_1(3))"],
  [{ type: "drop", reason: 5 }, "drop(5)"],
  [
    { type: "psample", group: 12, cookie: Uint8Array.of(0xf1, 2) },
    "psample(group=12,cookie=0xf102)",
  ],
  [
    {
      type: "tunnelPush",
      tunnelPort: 4,
      outPort: 1,
      tunnelType: 99,
      header: Uint8Array.of(1, 2, 3),
    },
    "tnl_push(tnl_port(4),header(size=3,type=99,raw(010203)),out_port(1))",
  ],
  [{ type: "tunnelPop", port: 4 }, "tnl_pop(4)"],
  [{ type: "lbOutput", bond: 1 }, "lb_output(1)"],
  [{ type: "unknown", id: 77, bytes: Uint8Array.of(1, 2) }, "action77(01 02)"],
];

Deno.test("every action survives bytes and text", () => {
  const seen = new Set(actions.map(([{ type }]) => type));
  for (const type of Object.keys(actionTable)) {
    assert.ok(seen.has(type as Action["type"]), type);
  }
  for (const [action, text] of actions) {
    const bytes = encodeActions([action]);
    assert.deepEqual(decodeActions(bytes), [action], text);
    assert.equal(formatActions([action]), text);
    assert.equal(formatActions(bytes), text);
    assert.deepEqual(encodeActions(parseActions(text)), bytes, text);
  }
});

Deno.test("an empty list drops", () => {
  assert.equal(formatActions([]), "drop");
  assert.deepEqual(parseActions("drop"), []);
  assert.deepEqual(parseActions(""), []);
  for (const text of ["drop,1", "1,drop,2", "drop drop", "clone(drop,1)"]) {
    assert.throws(() => parseActions(text), SyntaxError, text);
  }
});

Deno.test("an explicit drop comes back from its text, wherever it stands", () => {
  const drop: Action = { type: "drop", reason: 0 };
  const lists: readonly [list: Action[], text: string][] = [
    [[output(1), drop], "1,drop"],
    [[drop], "drop(0)"],
    [[drop, output(1)], "drop(0),1"],
    [[clone([output(1), drop])], "clone(1,drop)"],
    [[clone([drop]), output(1)], "clone(drop(0)),1"],
    [[{ type: "psample", group: 42 }, drop], "psample(group=42),drop"],
    [
      [checkPktLen(9, { greater: [output(1), drop], lessEqual: [] })],
      "check_pkt_len(size=9,gt(1,drop),le(drop))",
    ],
    [[{ type: "decTtl", actions: [output(1), drop] }], "dec_ttl(le_1(1,drop))"],
    [[sample(1, [output(1), drop])], "sample(sample=100.0%,actions(1,drop))"],
  ];
  for (const [list, text] of lists) {
    assert.equal(formatActions(list), text);
    assert.deepEqual(parseActions(text), list, text);
  }
  assert.deepEqual(parseActions("1, drop "), [output(1), drop]);
});

Deno.test("constructors say what they are for", () => {
  assert.deepEqual([1, 2].map(output), [output(1), output(2)]);
  assert.deepEqual(ct({ mark: 1, labels: 2n }), {
    type: "ct",
    mark: { value: 1, mask: 0xffffffff },
    labels: { value: 2n, mask: (1n << 128n) - 1n },
  });
  assert.equal(sample(0.5, []).probability, 0x80000000);
  assert.equal(CtState.Tracked | CtState.Established, 0x22);
});

Deno.test("lists of outputs are written without looking anything up", () => {
  for (const ports of [[], [0], [1, 2, 3], [0xffffffff]]) {
    assert.deepEqual(toActionBytes(ports.map(output)), encodeActions(ports.map(output)));
  }
  for (const port of [-1, 1.5, 2 ** 32, Number.NaN]) {
    assert.throws(() => toActionBytes([output(port)]), RangeError);
  }
});

Deno.test("lists around 64 KiB fit or are refused before a length wraps", () => {
  for (const size of [32_760, 32_768, 65_520, 65_528, 65_536, 65_544, 70_000]) {
    const list = Array.from({ length: size / 8 | 0 }, () => output(1));
    const total = list.length * 8;
    const tooLong = (error: unknown) =>
      error instanceof AttributeError && error.code === "EMSGSIZE";
    if (total <= 65_531) {
      assert.equal(toActionBytes(list).length, total);
      assert.equal(decodeActions(toActionBytes(list)).length, list.length);
    } else {
      assert.throws(() => toActionBytes(list), tooLong, `${size}`);
    }
    if (total + 4 > 65_535) assert.throws(() => encodeActions([clone(list)]), tooLong);
    else assert.equal(encodeActions([clone(list)]).length, total + 4);
  }
  const userdata = new Uint8Array(65_520);
  assert.throws(() => encodeActions([userspace({ userdata })]), AttributeError);
});

Deno.test("nesting stops at 16 levels, in every direction", () => {
  for (let depth = 0; depth <= 64; depth++) {
    let list: Action[] = [output(1)];
    let text = "1";
    let bytes = encodeActions(list);
    for (let i = 0; i < depth; i++) {
      list = [i % 2 === 0 ? clone(list) : sample(1, list)];
      text = `clone(${text})`;
      const writer = new Writer(64);
      writer.attribute(20, bytes, "test");
      bytes = writer.slice();
    }
    const overflow = (error: unknown) =>
      error instanceof AttributeError && error.code === "EOVERFLOW";
    if (depth <= 16) {
      encodeActions(list);
      decodeActions(bytes);
      parseActions(text);
    } else {
      assert.throws(() => encodeActions(list), overflow);
      assert.throws(() => decodeActions(bytes), overflow);
      assert.throws(() => parseActions(text), SyntaxError);
    }
  }
  // What failed half-way leaves no depth behind.
  assert.deepEqual(decodeActions(encodeActions([clone([output(1)])])), [
    clone([output(1)]),
  ]);
});

Deno.test("every wrong size of every action is refused, with its path", () => {
  for (const { id, min, max, text } of Object.values(actionTable)) {
    for (let size = 0; size <= 40; size++) {
      const writer = new Writer(64);
      writer.attribute(id, new Uint8Array(size), "test");
      if (size >= min && size <= max) continue;
      assert.throws(() => decodeActions(writer.slice()), (error: unknown) => {
        assert.ok(error instanceof AttributeError);
        assert.equal(error.path, text);
        assert.equal(error.offset, 0);
        return true;
      });
    }
  }
});

Deno.test("errors name the path and the offset of what is wrong", () => {
  const bytes = encodeActions([output(1), clone([popVlan(), sample(1, [output(2)])])]);
  // The length of the innermost output.
  const at = bytes.length - 8;
  bytes[at] = 9;
  assert.throws(() => decodeActions(bytes), (error: unknown) => {
    assert.ok(error instanceof AttributeError);
    assert.equal(error.path, "clone/sample/actions");
    assert.equal(error.offset, at);
    return true;
  });
});

Deno.test("nests that lack what they need are refused", () => {
  for (const id of [2, 6, 21, 23, 25]) {
    const writer = new Writer(64);
    writer.attribute(id, new Uint8Array(), "test");
    assert.throws(() => decodeActions(writer.slice()), /is missing/);
  }
  const bad = { type: "checkPktLen", size: 1, greater: [] } as unknown as Action;
  assert.throws(() => encodeActions([bad]), TypeError);
});

Deno.test("a set takes one field, and the mask of the same one", () => {
  assert.throws(() => encodeActions([set({})]), TypeError);
  assert.throws(() => encodeActions([set({ skbMark: 1, priority: 2 })]), TypeError);
  assert.throws(() => encodeActions([set({ skbMark: 1 }, { priority: 2 })]), TypeError);
  assert.throws(
    () => encodeActions([set({ tunnel: { dst: "1.1.1.1" } }, { tunnel: true })]),
    TypeError,
  );
  const bytes = encodeActions([set({ skbMark: 1 }, { skbMark: true })]);
  assert.deepEqual(
    bytes,
    Uint8Array.of(16, 0, 11, 0, 12, 0, 15, 0, 1, 0, 0, 0, 255, 255, 255, 255),
  );
});

Deno.test("an action of unknown type is refused", () => {
  const bad = { type: "toString" } as unknown as Action;
  assert.throws(() => encodeActions([bad]), /no action of type "toString"/);
  assert.throws(() => encodeActions("1" as never), TypeError);
});

Deno.test("push_nsh has its header in the attribute that keys have it in, as Open vSwitch writes it", () => {
  const text = "push_nsh(flags=1,ttl=63,mdtype=2,np=3,spi=0x1234,si=255,md2=0x10000a04)";
  const bytes = encodeActions(parseActions(text));
  // Action 17, attribute 28, its attributes 1 and 3.
  const expected = "1c00110018001c00" + "0c000100013f0203001234ff" + "0800030010000a04";
  assert.equal(bytes.toHex(), expected);
  assert.equal(formatActions(decodeActions(bytes)), text);
  assert.throws(
    () => decodeActions(Uint8Array.fromHex("04001100")),
    /attribute nsh is missing/,
  );
});
