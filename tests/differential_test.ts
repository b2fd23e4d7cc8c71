// SPDX-License-Identifier: Apache-2.0
/**
 * The same flows and packets to two datapaths that have nothing in common: the classifier in C with
 * its partitions, pruned masks and vector code, and one that goes through a list. They must agree
 * on every packet.
 */
import assert from "node:assert/strict";
import { holdLibrary } from "../providers/netdev/library.ts";
import { toKeyAndMaskBytes } from "../providers/odp/input.ts";
import { openDatapath, registerProvider } from "../providers/registry.ts";
import { fakeProvider } from "./support/fake_provider.ts";
import { type Attributes, attributes } from "./support/fake_table.ts";
import { arpFrame, icmpFrame, tcpFrame, udpFrame } from "./support/frames.ts";
import { collectAll, NetdevBench } from "./support/netdev.ts";
import { type Random, random } from "./support/random.ts";
import { skippable } from "./support/skip.ts";

const address = (pick: Random) => `10.${pick(3)}.${pick(3)}.${pick(4)}`;
const address6 = (pick: Random) => `fd00::${pick(3)}:${pick(4)}`;

/** A frame from small pools, so that flows cover many. */
function frame(pick: Random): Uint8Array {
  const ports = { srcPort: pick(4), dstPort: pick(4) };
  switch (pick(8)) {
    case 0:
      return arpFrame({ sip: address(pick), tip: address(pick) });
    case 1:
      return icmpFrame({ src: address(pick), dst: address(pick) });
    case 2:
    case 3:
      return tcpFrame({
        src: address(pick),
        dst: address(pick),
        ttl: 1 + pick(3),
        ...ports,
      });
    case 4:
    case 5:
      return udpFrame({ version: 6, src: address6(pick), dst: address6(pick), ...ports });
    default:
      return udpFrame({
        src: address(pick),
        dst: address(pick),
        tos: 4 * pick(3),
        ...ports,
      });
  }
}

const prefixes = [
  "255.0.0.0",
  "255.255.0.0",
  "255.255.255.0",
  "255.255.255.255",
  "0.0.255.0",
  "0.255.0.255",
];
const prefixes6 = [
  "ffff::",
  "::ffff",
  "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
  "::ffff:0",
];

/** The text of a flow's key, its mask at random. */
function key(pick: Random): string {
  const start = "recirc_id(0),in_port(1),eth()";
  const one = <T>(values: readonly T[]): T => values[pick(values.length)] as T;
  const ports = (name: string) => {
    const parts = [`src=${pick(4)}`, `dst=${pick(4)}`].filter(() => pick(2) === 0);
    return `${name}(${parts.join(",")})`;
  };
  const ip = (fields: string[], rest: string) =>
    `${start},eth_type(0x0800),ipv4(${
      [...fields, rest, "frag=no"].filter((part) => part !== "").join(",")
    })`;
  const addresses = () =>
    ["src", "dst"].filter(() => pick(3) > 0).map((side) =>
      `${side}=${address(pick)}/${one(prefixes)}`
    );
  switch (pick(6)) {
    case 0:
      return `${start},eth_type(0x0806),arp(sip=${address(pick)}/${one(prefixes)})`;
    case 1:
      return ip(addresses(), `ttl=${1 + pick(3)}`);
    case 2:
      return `${ip(addresses(), "proto=6")},${ports("tcp")}`;
    case 3: {
      const fields = ["src", "dst"].filter(() => pick(3) > 0)
        .map((side) => `${side}=${address6(pick)}/${one(prefixes6)}`);
      return `${start},eth_type(0x86dd),ipv6(${
        [...fields, "proto=17", "frag=no"].join(",")
      }),${ports("udp")}`;
    }
    case 4:
      return ip(addresses(), `tos=${4 * pick(3)}/0xfc`);
    default:
      return `${ip(addresses(), "proto=17")},${ports("udp")}`;
  }
}

/** A flow's key and mask as attributes. */
interface Match {
  readonly key: Attributes;
  readonly mask: Attributes;
}

function match(text: string): Match {
  const { key, mask } = toKeyAndMaskBytes(text);
  return { key: attributes(key), mask: attributes(mask ?? key) };
}

/** Forgets the flow that a key found. */
function forget(matches: Map<string, Match>, found: Match): void {
  for (const [text, { key, mask }] of matches) {
    if (overlap({ key, mask }, { key: found.key, mask })) matches.delete(text);
  }
}

/**
 * Whether a packet could be covered by both. Which of the two it then goes by is up to a datapath.
 */
function overlap(a: Match, b: Match): boolean {
  for (const [path, bits] of a.mask) {
    const others = b.mask.get(path) ?? [];
    for (let i = 0; i < others.length; i++) {
      const both = (bits[i] ?? 0) & (others[i] ?? 0);
      if (((a.key.get(path)?.[i] ?? 0) ^ (b.key.get(path)?.[i] ?? 0)) & both) {
        return false;
      }
    }
  }
  return true;
}

registerProvider(fakeProvider({ type: "list", ringSize: 1 << 20 }));

Deno.test(
  "differential: the classifier and a list agree on every flow and every packet",
  skippable(async (t) => {
    const library = await holdLibrary({ operation: "choose build" });
    await using bench = await NetdevBench.open();
    const isa = new Uint8Array(4);
    library.symbols.dp_isa_get(isa);
    const best = isa[0] ?? 0;
    // Every build of the lookup that this processor has sees every burst.
    assert.equal(library.symbols.dp_isa_set(best, 1), 0);
    try {
      const { dp } = bench;
      await bench.ports("p1", "p2", "p3");
      for (let seed = 1; seed <= 12; seed++) {
        await t.step(`seed ${seed}`, async () => {
          await using list = await openDatapath(`list@s${seed}`, { create: "exclusive" });
          for (const name of ["p1", "p2", "p3"]) await list.ports.add({ name });
          const pick = random(seed * 0x9e3779b1);
          const matches = new Map<string, Match>();
          dp.flows.flush();
          for (let round = 0; round < 4; round++) {
            for (let i = 0; i < 200; i++) {
              const text = key(pick);
              const actions = ["2", "3", "2,3", "drop"][pick(4)] ?? "2";
              const wanted = match(text);
              const remove = pick(5) === 0;
              if (!remove && [...matches.values()].some((one) => overlap(one, wanted))) {
                continue;
              }
              if (!remove) matches.set(text, wanted);
              const op = remove
                ? { op: "delete" as const, key: text }
                : { op: "put" as const, key: text, actions };
              const [ours] = dp.operate([op]);
              const [theirs] = list.operate([op]);
              const code = (result: typeof ours) =>
                result?.ok === false ? result.error.code : "ok";
              assert.equal(code(ours), code(theirs), `${op.op} ${text}`);
              if (remove && ours?.ok) forget(matches, wanted);
            }
            assert.equal(dp.stats().flows, list.stats().flows);

            const before = { ours: dp.stats(), theirs: list.stats() };
            const frames = Array.from({ length: 500 }, () => frame(pick));
            await bench.injectAll(1, frames);
            for (const one of frames) list.ports.inject?.(1, one);
            await bench.settle();
            const hits = dp.stats().hit - before.ours.hit;
            assert.equal(hits, list.stats().hit - before.theirs.hit, "hits");
            assert.ok(hits > 0n && hits < 500n, `${hits} hits of 500 show nothing`);
            for (const port of [2, 3]) {
              const hex = (all: Uint8Array[]) => all.map((one) => one.toHex());
              assert.deepEqual(
                hex(collectAll(dp, port)),
                hex(collectAll(list, port)),
                `port ${port}`,
              );
            }
          }
          assert.equal(dp.stats().counters?.validator_mismatches, 0n);
        });
      }
    } finally {
      library.symbols.dp_isa_set(best, 0);
      library.release();
    }
  }),
);
