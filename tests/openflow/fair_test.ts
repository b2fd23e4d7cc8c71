// SPDX-License-Identifier: Apache-2.0
/** Peers that keep a switch busy, beside others who ask for little. */
import { deepStrictEqual, ok, strictEqual, throws } from "node:assert/strict";
import { Handler } from "../../openflow/switch/handler.ts";
import { Peer } from "../../openflow/switch/peer.ts";
import { Switch } from "../../openflow/switch/switch.ts";
import { Switches } from "../../openflow/switches.ts";
import { parseFlow, type ParseFlowOptions } from "../../openflow/text/flow.ts";
import { linkOf, steadyOf } from "../../openflow/translate/hash.ts";
import type { OfAction } from "../../openflow/wire/action.ts";
import { encodeMessage } from "../../openflow/wire/codec.ts";
import { anyMatch } from "../../openflow/wire/flow.ts";
import { BucketPlace, type GroupMod, type Message } from "../../openflow/wire/message.ts";
import { ANY_GROUP } from "../../openflow/wire/object.ts";
import { Port } from "../../openflow/wire/port_number.ts";
import { drop, stage } from "../../policy/mod.ts";
import { Continuations } from "../../policy/stage.ts";
import type { Datapath } from "../../providers/datapath.ts";
import { Snoop } from "../../vswitch/snoop.ts";

const VERSION = 5;
const meters = new Set<number>();
const dp = {
  name: "d",
  ports: { dump: () => [1, 2, 3].map((no) => ({ no, name: `p${no}` })) },
  meters: {
    features: () => ({ maxMeters: 8, maxBands: 1 }),
    set: (id: number) => void meters.add(id),
    delete: (id: number) => void meters.delete(id),
    get: () => undefined,
  },
} as unknown as Datapath;

function make(): Switch {
  return new Switch(dp, { name: "d", datapathId: 1n, tight: false });
}

function bytesOf(message: Message, xid = 1): Uint8Array {
  return encodeMessage(message, { version: VERSION, xid });
}

/** A peer's messages are handled as it says them; what it hears is kept. */
class Talker {
  readonly heard: string[] = [];
  readonly handler: Handler;

  constructor(of: Switch) {
    this.handler = new Handler(
      of,
      new Peer(VERSION, false, (said, xid) => {
        const what = said.kind === "error"
          ? said.code
          : said.kind === "bundleControl"
          ? said.step
          : said.kind;
        this.heard.push(`${what} ${xid}`);
      }),
    );
  }

  say(message: Message, xid = 1): void | Promise<void> {
    return this.handler.handle(bytesOf(message, xid));
  }

  fill(message: Message, xid = 1): void {
    const inner = bytesOf(message, xid);
    void this.say({ kind: "bundleAdd", bundle: 1, flags: 3, inner }, xid);
  }

  commit(xid = 2): void | Promise<void> {
    return this.say(
      { kind: "bundleControl", bundle: 1, step: "commitRequest", flags: 3 },
      xid,
    );
  }
}

function flow(text: string, options?: ParseFlowOptions): Message {
  return parseFlow(text, options);
}

function add(of: Switch, count: number, cookie = 0): void {
  for (let i = 0; i < count; i++) {
    const dst = `10.1.${i >> 8}.${i & 255}`;
    const text = `cookie=${cookie},priority=9,ip,nw_dst=${dst},actions=output:1`;
    of.flows.apply(parseFlow(text), { isOld: false });
  }
}

function packetOut(length: number, actions: readonly OfAction[] = []): Message {
  return {
    kind: "packetOut",
    bufferId: 0xffff_ffff,
    inPort: Port.controller,
    packet: new Uint8Array(length),
    actions,
    metadata: anyMatch(),
  } as unknown as Message;
}

Deno.test("openflow fair: packets and questions of others wait for no commit", async () => {
  const of = make();
  let sent = 0;
  of.runtime = { ...of.runtime, packetOut: () => void sent++ };
  const [long, short] = [new Talker(of), new Talker(of)];
  for (let i = 0; i < 20_000; i++) {
    long.fill(flow(`priority=9,ip,nw_dst=10.1.${i >> 8}.${i & 255},actions=output:1`));
  }
  const done = long.commit();
  ok(done instanceof Promise, "it takes many turns");
  strictEqual(short.say(packetOut(64)), undefined, "it is done at once");
  strictEqual(sent, 1);
  strictEqual(short.say({ kind: "barrierRequest" }, 3), undefined);
  // A multipart request for the features of groups.
  await short.handler.handle(
    Uint8Array.of(VERSION, 18, 0, 16, 0, 0, 0, 4, 0, 8, 0, 0, 0, 0, 0, 0),
  );
  deepStrictEqual(short.heard, ["barrierReply 3", "multipartReply 4"]);
  deepStrictEqual(long.heard, []);
  await done;
  deepStrictEqual(long.heard, ["commitReply 2"]);
});

Deno.test("openflow fair: the bundle of a peer that hung up is let go", async () => {
  const of = make();
  add(of, 2000);
  const [gone, other] = [new Talker(of), new Talker(of)];
  for (let i = 0; i < 4000; i++) {
    gone.fill(flow("table=0,cookie=0x1/0x1,actions=output:2", { command: "modify" }));
  }
  gone.fill(flow("priority=1,actions=drop"));
  const done = gone.commit();
  ok(done instanceof Promise, "it takes many turns");
  gone.handler.close();
  const since = performance.now();
  await other.say(flow("priority=2,actions=drop"));
  // Four thousand times two thousand looks take seconds.
  ok(performance.now() - since < 400, `${performance.now() - since} ms`);
  await done;
  deepStrictEqual(gone.heard, []);
  strictEqual([...of.flows.rules()].length, 2001);
  strictEqual(of.bundled.bytes, 0);
});

Deno.test("openflow fair: a bundle looks at so many flows, and at those of its cookies only", async () => {
  const of = make();
  add(of, 20_000);
  add(of, 10, 7);
  const peer = new Talker(of);
  for (let i = 0; i < 5000; i++) {
    peer.fill(flow(`table=0,cookie=${7 + i}/-1,actions=output:2`, { command: "modify" }));
  }
  const since = performance.now();
  await peer.commit();
  ok(performance.now() - since < 2000, `${performance.now() - since} ms`);
  deepStrictEqual(peer.heard, ["commitReply 2"]);
  for (let i = 0; i < 5000; i++) {
    peer.fill(
      flow("table=0,cookie=0x100/0x100,actions=output:3", { command: "modify" }),
      5,
    );
  }
  await peer.commit(6);
  deepStrictEqual(peer.heard.slice(1), ["OFPFMFC_UNKNOWN 5", "OFPBFC_MSG_FAILED 6"]);
});

Deno.test("openflow fair: a meter, and a group, go behind the commit of another peer", async () => {
  const of = make();
  const [long, short] = [new Talker(of), new Talker(of)];
  const bands = [{ type: 1, rate: 10, burst: 0 }] as const;
  const meter = { kind: "meterMod", meter: 1, flags: 1 } as const;
  void short.say({ ...meter, command: "add", bands });
  void short.say(group("add", 1));
  void short.say(flow("priority=1,actions=meter:1,output:1"));
  void short.say(flow("priority=2,actions=group:1"));
  for (let i = 0; i < 20_000; i++) {
    long.fill(flow(`priority=9,ip,nw_dst=10.1.${i >> 8}.${i & 255},actions=output:1`));
  }
  const done = long.commit();
  await short.say({ ...meter, command: "delete", bands: [] });
  await short.say({ ...group("delete", 0), group: 1 });
  await done;
  deepStrictEqual(short.heard, []);
  strictEqual([...of.flows.rules()].length, 20_000);
  strictEqual(meters.size, 0);
});

Deno.test("openflow fair: flows that packets teach wait for a commit", async () => {
  const of = make();
  const long = new Talker(of);
  for (let i = 0; i < 20_000; i++) {
    long.fill(flow(`priority=9,ip,nw_dst=10.1.${i >> 8}.${i & 255},actions=output:1`));
  }
  const done = long.commit();
  for (let i = 0; i < 3; i++) of.learned.set("table=1,priority=5,actions=drop", 0);
  strictEqual([...of.flows.rules()].length, 0, "neither holds yet");
  await done;
  await of.turns.run(function* () {}());
  strictEqual([...of.flows.rules()].length, 20_001);
});

Deno.test("openflow fair: a bundle with a packet that cannot be sent does nothing", async () => {
  const of = make();
  new Switches(dp).add(of);
  const peer = new Talker(of);
  peer.fill(flow("priority=9,actions=output:1"), 4);
  peer.fill(packetOut(4), 5);
  await peer.commit(6);
  deepStrictEqual(peer.heard, ["OFPBRC_BAD_PACKET 5", "OFPBFC_MSG_FAILED 6"]);
  deepStrictEqual([...of.flows.rules()], []);
  // Nor does one whose actions name a group that is not there.
  peer.heard.length = 0;
  peer.fill(flow("priority=9,actions=output:1"), 7);
  peer.fill(packetOut(60, [{ type: "group", group: 2 }]), 8);
  await peer.commit(9);
  deepStrictEqual(peer.heard, ["OFPBAC_BAD_OUT_GROUP 8", "OFPBFC_MSG_FAILED 9"]);
  deepStrictEqual([...of.flows.rules()], []);
});

let lastBucket = 0;

function group(command: GroupMod["command"], count: number): GroupMod {
  return {
    kind: "groupMod",
    command,
    type: "all",
    group: 1,
    place: command === "insertBucket" ? BucketPlace.last : BucketPlace.all,
    selection: undefined,
    buckets: Array.from({ length: count }, () => ({
      id: lastBucket++,
      weight: 0,
      watchPort: Port.none,
      watchGroup: ANY_GROUP,
      actions: [],
    })),
  };
}

Deno.test("openflow fair: buckets are bounded, and come in no more steps than there are", () => {
  const of = make();
  of.groups.apply(group("add", 2000));
  const since = performance.now();
  for (let i = 1; i < 4; i++) of.groups.apply(group("insertBucket", 2000));
  // Each new one against each old one: 24 million.
  ok(performance.now() - since < 100, `${performance.now() - since} ms`);
  throws(() => of.groups.apply(group("insertBucket", 2000)), {
    code: "OFPGMFC_OUT_OF_BUCKETS",
  });
  strictEqual(of.group(1)?.content.value.buckets.length, 8000);
  for (let i = 2; i <= 131; i++) of.groups.apply({ ...group("add", 8000), group: i });
  throws(() => of.groups.apply({ ...group("add", 8000), group: 200 }), {
    code: "OFPGMFC_OUT_OF_BUCKETS",
  });
  of.groups.apply({ ...group("delete", 0), group: 2 });
  of.groups.apply({ ...group("add", 8000), group: 200 });
});

Deno.test("openflow fair: there are so many groups at most", () => {
  const of = make();
  const made = { ...group("add", 0) };
  for (let i = 0; i < 65_536; i++) of.groups.apply({ ...made, group: i });
  throws(() => of.groups.apply({ ...made, group: 70_000 }), {
    code: "OFPGMFC_OUT_OF_GROUPS",
  });
});

Deno.test("openflow fair: links are chosen in few steps, evenly, and stay", () => {
  const since = performance.now();
  for (let i = 0; i < 10_000; i++) steadyOf(Math.imul(i, 0x9e3779b1) >>> 0, 65_536);
  ok(performance.now() - since < 1000, `${performance.now() - since} ms`);
  const counts = new Array(10).fill(0);
  let moved = 0;
  for (let i = 0; i < 20_000; i++) {
    const hash = Math.imul(i, 0x9e3779b1) >>> 0;
    const [link, more] = [steadyOf(hash, 10), steadyOf(hash, 11)];
    counts[link]++;
    if (link !== more) {
      strictEqual(more, 10, "it moves to the new one only");
      moved++;
    }
  }
  ok(counts.every((count) => Math.abs(count - 2000) < 300), counts.join());
  ok(Math.abs(moved - 20_000 / 11) < 300, `${moved} moved`);
  const multipath = parseFlow("actions=multipath(eth_src,50,iter_hash,3,65535,reg0[])")
    .instructions.apply?.[0];
  if (multipath?.type !== "multipath") throw new TypeError("another action");
  const drawn = performance.now();
  for (let i = 0; i < 10_000; i++) ok(linkOf(multipath, i) < 3);
  ok(performance.now() - drawn < 200, `${performance.now() - drawn} ms`);
});

Deno.test("openflow fair: what no flow goes on with is bounded, and the oldest goes first", () => {
  const known = new Continuations();
  const next = stage("next", () => drop());
  const kept = known.of(next, -1);
  known.hold(kept.id);
  for (let i = 0; i < 40_000; i++) known.of(next, i);
  strictEqual(known.size, 32_769);
  strictEqual(known.get(kept.id), kept, "a flow goes on with it");
  strictEqual(known.get(kept.id + 1), undefined);
  strictEqual(known.get(kept.id + 40_000)?.carry, 39_999);
  for (let i = 0; i < 64; i++) known.of(next, `${i}`.padEnd(1 << 20));
  ok(known.size < 40, `${known.size} of a million characters each`);
  known.sweep(Date.now() + 60_000);
  strictEqual(known.size, 1);
});

Deno.test("openflow fair: programs that snoop see messages as they were said", async () => {
  const path = `${await Deno.makeTempDir()}/snoop`;
  const of = make();
  const snoop = await Snoop.open(path, of, 1 << VERSION);
  const stream = await Deno.connect({ transport: "unix", path });
  const read = new Uint8Array(1024);
  let size = await stream.read(read) ?? 0;
  strictEqual(read[1], 0, "it says hello");
  const buffer = Uint8Array.of(VERSION, 2, 0, 8, 0, 0, 0, 0);
  for (let i = 1; i <= 3; i++) {
    buffer[7] = i;
    of.onSaid?.(buffer);
  }
  buffer[7] = 9;
  for (size = 0; size < 24;) size += await stream.read(read.subarray(size)) ?? 24;
  deepStrictEqual([read[7], read[15], read[23]], [1, 2, 3]);
  stream.close();
  await snoop.close();
});
