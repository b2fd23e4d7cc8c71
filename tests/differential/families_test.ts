// SPDX-License-Identifier: Apache-2.0
/**
 * The cases of families.ts, here and in Open vSwitch's own code: the same frames leave by the same
 * ports in the same order, every flow counts the same packets and bytes, and what no flow takes
 * goes up with the same key. And keys of frames at random, byte for byte.
 *
 * `FAMILIES=5000 FAMILIES_KEYS=100000 FAMILIES_SEED=2` runs more, and others.
 */
import assert from "node:assert/strict";
import type { Datapath } from "../../providers/datapath.ts";
import type { PortNo } from "../../providers/ids.ts";
import { holdLibrary } from "../../providers/netdev/library.ts";
import { encodeActions, encodeKey, parseActions } from "../../providers/odp/mod.ts";
import type { Upcall } from "../../providers/upcall.ts";
import { figure } from "../support/figure.ts";
import { collectAll, NetdevBench } from "../support/netdev.ts";
import { Judge } from "../support/ovs_judge.ts";
import { skippable } from "../support/skip.ts";
import { type FamilyCase, familyCase, familyDifferences } from "./families.ts";
import { keyOf, randomFrame } from "./family_state.ts";

const COUNT = Number(Deno.env.get("FAMILIES") ?? 1000);
const KEYS = Number(Deno.env.get("FAMILIES_KEYS") ?? 10000);
const SEED = Number(Deno.env.get("FAMILIES_SEED") ?? 1);
const BATCH = 50;
/** Recirculation id of the first round here, which is 0 there. */
const FIRST = 1000;

/** A bond whose even buckets are port 2's, and odd ones 3's. */
const BOND = 5;
/** `drop` and `lb_output`, which Open vSwitch 3.1 numbers otherwise. */
const theirNumbers: ReadonlyMap<number, number> = new Map([[24, 25], [28, 26]]);

/** The outermost actions of a list. */
function outermost(actions: string): string[] {
  const words: string[] = [];
  let depth = 0;
  for (const part of actions.split(",")) {
    if (depth > 0) words[words.length - 1] += `,${part}`;
    else words.push(part);
    depth += part.split("(").length - part.split(")").length;
  }
  return words;
}

/**
 * Some outputs of the first round go by the bond, and some lists end with a drop for a reason.
 * Later rounds do not: a packet's hash is taken there when it is first asked for, and not when it
 * comes in. Nor do outputs behind pop_mpls, which makes Open vSwitch forget the hash, so that a
 * copy's is whatever its memory held.
 */
function spiced(one: FamilyCase): FamilyCase {
  const flows = one.flows.map((flow) => {
    if (flow.round !== 0 || one.seed % 3 !== 0) return flow;
    let hashed = true;
    const words = outermost(flow.actions).map((word) => {
      hashed &&= !word.includes("pop_mpls");
      return hashed && (word === "2" || word === "3") ? `lb_output(${BOND})` : word;
    });
    const drop = one.seed % 2 === 0 ? [`drop(${one.seed % 20 + 1})`] : [];
    return { ...flow, actions: [...words, ...drop].join(",") };
  });
  return { ...one, flows };
}

/** Numbers of the outermost actions as Open vSwitch has them. */
function renumbered(bytes: Uint8Array): Uint8Array {
  const copy = bytes.slice();
  const view = new DataView(copy.buffer);
  for (let at = 0; at + 4 <= copy.length; at += view.getUint16(at, true) + 3 & ~3) {
    const theirs = theirNumbers.get(view.getUint16(at + 2, true));
    if (theirs !== undefined) view.setUint16(at + 2, theirs, true);
  }
  return copy;
}

/** The number of a round's flow. */
const idOf = (round: number) => FIRST + round;
const actionsOf = (actions: string) =>
  actions.replace(/<(\d)>/, (_, round) => `${idOf(Number(round))}`);

/**
 * Attributes in the order of their numbers, in hexadecimal: either side has its own order. Two ways
 * of saying nothing are alike: Open vSwitch leaves out TCP flags that are all zero, which the
 * kernel has too, and labels that a frame was too short for, which are zero here, as in all keys of
 * three labels. The opcode 255 of ARP it writes as 65535, which it does not read.
 */
function sorted(bytes: Uint8Array): string {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const attributes: [number, string][] = [];
  for (let at = 0; at + 4 <= bytes.length;) {
    const size = view.getUint16(at, true);
    const type = view.getUint16(at + 2, true) & 0x3fff;
    const payload = bytes.subarray(at + 4, at + size);
    at += size + 3 & ~3;
    if (type === ENCAP) attributes.push([type, `(${sorted(payload)})`]);
    else if (type === ARP) {
      attributes.push([type, payload.toHex().replace(/^(.{16})ffff/, "$100ff")]);
    } else if (type === MPLS) {
      attributes.push([type, payload.toHex().replace(/(00000000)+$/, "")]);
    } else if (type !== TCP_FLAGS || payload.some((byte) => byte !== 0)) {
      attributes.push([type, payload.toHex()]);
    }
  }
  return attributes.sort(([a], [b]) => a - b).map((pair) => pair.join(":")).join(" ");
}

const ENCAP = 1;
const ARP = 13;
const TCP_FLAGS = 18;
const MPLS = 21;

/** What a case came to, in words that both sides use. */
type Outcome = readonly string[];

function question({ frame, flows }: FamilyCase): string {
  const words = flows.map(({ round, actions }) => {
    const bytes = renumbered(encodeActions(parseActions(actionsOf(actions))));
    return `${round === 0 ? 0 : idOf(round)}=${bytes.toHex()}`;
  });
  return ["run", "0000", frame.toHex(), ...words].join(" ");
}

function answered(answer: string): Outcome {
  const carried = new Map<string, number>();
  const words = answer.split(" ").filter((word) => {
    const [kind, bucket = "", bytes] = word.split(":");
    if (kind !== "bond") return true;
    carried.set(bucket, (carried.get(bucket) ?? 0) + Number(bytes));
    return false;
  });
  words.push(...[...carried].map(([bucket, bytes]) => `bond:${bucket}:${bytes}`));
  return words.map((word) => {
    const [kind = "", id = "", key = ""] = word.split(":");
    return kind === "miss" ? `miss:${id}:${sorted(Uint8Array.fromHex(key))}` : word;
  }).sort();
}

/** Runs a case by way of recirc: the packet is executed, and looked up. */
async function ours(
  dp: Datapath,
  { frame, flows }: FamilyCase,
  upcalls: AsyncIterator<Upcall, unknown>,
): Promise<Outcome> {
  dp.flows.flush();
  const ufids = flows.map(({ round, key, actions }) => {
    const ufid = `00000000-0000-4000-8000-${`${idOf(round)}`.padStart(12, "0")}`;
    dp.flows.put({
      key: `recirc_id(${idOf(round)}),in_port(1),${key}`,
      actions: actionsOf(actions),
      ufid,
    });
    return ufid;
  });
  const lost = dp.stats().missed;
  const carried = dp.bonds?.stats(BOND) ?? [];
  dp.execute({ packet: frame, key: { inPort: 1 }, actions: `recirc(${FIRST})` });
  const words: string[] = [];
  for (let n = dp.stats().missed - lost; n > 0n; n--) {
    const { value } = await upcalls.next();
    const { key } = value as Upcall;
    words.push(`miss:${key.recircId}:${sorted(encodeKey(key))}`);
  }
  for (const port of [2, 3]) {
    words.push(
      ...collectAll(dp, port as PortNo).map((sent) => `${port}:${sent.toHex()}`),
    );
  }
  for (const [bucket, bytes] of (dp.bonds?.stats(BOND) ?? []).entries()) {
    const more = bytes - (carried[bucket] ?? 0n);
    if (more > 0n) words.push(`bond:${bucket}:${more}`);
  }
  const counts = new Map(
    [...dp.flows.dump()].map(({ ufid, stats }) => [`${ufid}`, stats]),
  );
  for (const [i, { round }] of flows.entries()) {
    const stats = counts.get(ufids[i] as string);
    words.push(`${round === 0 ? 0 : idOf(round)}=${stats?.packets}/${stats?.bytes}`);
  }
  return words.sort();
}

Deno.test(
  "thousands of flows with headers in front of headers do what Open vSwitch's code does",
  skippable(async () => {
    await using judge = await Judge.start();
    await using bench = await NetdevBench.open();
    await bench.ports("p1", "p2", "p3");
    bench.dp.bonds?.add(BOND, Array.from({ length: 256 }, (_, i) => 2 + (i & 1)));
    const upcalls = bench.dp.upcalls({ signal: AbortSignal.timeout(600_000) });
    const iterator = upcalls[Symbol.asyncIterator]();
    const wrong: string[] = [];
    let compared = 0;
    let frames = 0;
    let misses = 0;
    for (let from = 0; from < COUNT; from += BATCH) {
      const cases = Array.from(
        { length: Math.min(BATCH, COUNT - from) },
        (_, i) => spiced(familyCase(SEED * 1_000_000 + from + i)),
      );
      const answers = await judge.ask(cases.map(question));
      for (const [i, one] of cases.entries()) {
        const show = one.flows.map(({ round, key, actions }) =>
          `  ${round}: ${key} ${actions}`
        );
        const them = answered(answers[i] as string);
        const us = await ours(bench.dp, one, iterator).catch((error) => [`${error}`]);
        compared++;
        frames += us.filter((word) => /^\d:/.test(word)).length;
        misses += us.filter((word) => word.startsWith("miss")).length;
        if (JSON.stringify(them) === JSON.stringify(us)) continue;
        wrong.push(
          `seed ${one.seed}\n${show.join("\n")}\n  in ${one.frame.toHex()}\n` +
            `  theirs ${them.join("\n         ")}\n  ours   ${us.join("\n         ")}`,
        );
      }
    }
    await upcalls.return?.();
    figure(`families: ${compared} cases, ${frames} frames, ${misses} misses compared`);
    assert.equal(
      wrong.length,
      0,
      `${wrong.length} of ${compared}:\n${wrong.slice(0, 8).join("\n\n")}`,
    );
    assert.ok(frames > compared / 2 && misses > compared / 50, `${frames} ${misses}`);
  }),
);

Deno.test(
  "what Open vSwitch's code does otherwise with headers in front of headers is known, and why",
  skippable(async (t) => {
    await using judge = await Judge.start();
    await using bench = await NetdevBench.open();
    await bench.ports("p1", "p2", "p3");
    bench.dp.bonds?.add(BOND, Array.from({ length: 256 }, (_, i) => 2 + (i & 1)));
    const upcalls = bench.dp.upcalls({ signal: AbortSignal.timeout(600_000) });
    const iterator = upcalls[Symbol.asyncIterator]();
    for (const { reason, frame, actions, ours: expected } of familyDifferences) {
      await t.step(reason, async () => {
        const one = { seed: 0, frame, flows: [{ round: 0, key: keyOf(frame), actions }] };
        const [answer = ""] = await judge.ask([question(one)]);
        const us = await ours(bench.dp, one, iterator);
        assert.deepEqual(
          us.filter((word) => word.startsWith("2:")),
          expected.map((sent) => `2:${sent}`),
        );
        assert.notDeepEqual(answered(answer), us, "no longer different");
      });
    }
    await upcalls.return?.();
  }),
);

Deno.test(
  "keys of frames at random, service headers among them, are Open vSwitch's byte for byte",
  skippable(async () => {
    await using judge = await Judge.start();
    const library = await holdLibrary({ operation: "extract keys" });
    try {
      const room = new Uint8Array(1024);
      const used = new Uint32Array(1);
      const wrong: string[] = [];
      let services = 0;
      for (let from = 0; from < KEYS; from += 500) {
        const frames = Array.from(
          { length: 500 },
          (_, i) => randomFrame(SEED * 1_000_000 + from + i),
        );
        const answers = await judge.ask(
          frames.map((frame) => `key 0000 ${frame.toHex()}`),
        );
        for (const [i, frame] of frames.entries()) {
          const errno = library.symbols.dp_extract(
            frame as Uint8Array<ArrayBuffer>,
            frame.length,
            1,
            room,
            room.length,
            new Uint8Array(used.buffer),
          );
          assert.equal(errno, 0);
          const them = sorted(Uint8Array.fromHex(answers[i] as string));
          const us = sorted(room.subarray(0, used[0]));
          if (us.includes(" 28:")) services++;
          if (them !== us) {
            wrong.push(`${frame.toHex()}\n  theirs ${them}\n  ours   ${us}`);
          }
        }
      }
      figure(
        `families: ${KEYS} keys compared, ${services} of them with a service header`,
      );
      assert.equal(wrong.length, 0, `${wrong.length}:\n${wrong.slice(0, 8).join("\n")}`);
      assert.ok(services > KEYS / 10, `only ${services} service headers`);
    } finally {
      library.release();
    }
  }),
);
