// SPDX-License-Identifier: Apache-2.0
/**
 * Which flows of the datapath a change of rules runs again: all whose packets it may concern, and
 * few others.
 */
import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { Switch } from "../../openflow/switch/switch.ts";
import { flowOfKey, layFlow } from "../../openflow/table/packet_flow.ts";
import { MeetIndex } from "../../openflow/table/meet_index.ts";
import { parseFlow, type ParseFlowOptions } from "../../openflow/text/flow.ts";
import { Translation } from "../../openflow/translate/translation.ts";
import type { Match } from "../../openflow/wire/flow.ts";
import { packMatch } from "../../openflow/wire/packed/packed_match.ts";
import { Tracker } from "../../policy/packet/tracker.ts";
import {
  type FlowBits,
  holdDependency,
  listen,
  releaseDependency,
} from "../../policy/state/dependency.ts";
import type { Datapath } from "../../providers/datapath.ts";
import { encodeKey } from "../../providers/odp/mod.ts";
import { type Random, random } from "../support/random.ts";

const dp = {
  name: "d",
  ports: { dump: () => [1, 2, 3].map((no) => ({ no, name: `p${no}` })) },
} as unknown as Datapath;

/** A flow of the datapath, as far as a change needs it. */
class Flow {
  readonly #of: Switch;
  readonly #bytes: Uint8Array;
  #dependencies: readonly number[] = [];
  #bits: FlowBits | undefined;
  actions = "";

  constructor(of: Switch, mark: number, src: number, dst: number) {
    this.#of = of;
    const mac = (last: number): string =>
      `02:00:00:00:00:${last.toString(16).padStart(2, "0")}`;
    const ethernet = { src: mac(src), dst: mac(dst) };
    this.#bytes = encodeKey(
      {
        inPort: 1 + (src & 1),
        skbMark: mark,
        ethernet,
        etherType: 0x800,
        ipv4: {
          src: `10.0.0.${src}`,
          dst: `10.0.${dst & 3}.${dst}`,
          proto: 17,
          tos: 0,
          ttl: 64,
          frag: "no",
        },
        udp: { src, dst: 9 },
      } as Parameters<typeof encodeKey>[0],
    );
    this.run();
  }

  run(): void {
    const before = this.#dependencies;
    const tracker = new Tracker();
    tracker.take(this.#bytes);
    tracker.begin(Date.now());
    let way: Translation;
    try {
      const packet = flowOfKey(tracker.key, tracker.layout);
      way = new Translation(this.#of, packet, () => {});
      way.run();
      layFlow(tracker, way.seen, way.seenInner);
    } finally {
      tracker.end();
    }
    this.actions = JSON.stringify(way.actions);
    this.#dependencies = [...tracker.dependencyIds.subarray(0, tracker.dependencyCount)];
    this.#bits = {
      keyBytes: this.#bytes,
      keyFrom: 0,
      layout: tracker.layout,
      maskBytes: tracker.mask.slice(0, tracker.maskSize),
    };
    for (const id of this.#dependencies) holdDependency(id);
    for (const id of before) releaseDependency(id);
  }

  /** Whether a change of a dependency is one of what it rests on. */
  rests(id: number, touches?: (bits: FlowBits) => boolean): boolean {
    if (!this.#dependencies.includes(id)) return false;
    return touches === undefined || touches(this.#bits as FlowBits);
  }

  forget(): void {
    for (const id of this.#dependencies) releaseDependency(id);
  }
}

/** The flows that a change runs again. */
function concerned(flows: readonly Flow[], change: () => void): Set<Flow> {
  const found = new Set<Flow>();
  const listening = listen({
    changed: (id, touches) => {
      for (const flow of flows) if (flow.rests(id, touches)) found.add(flow);
    },
  });
  change();
  listening[Symbol.dispose]();
  return found;
}

/** A match of a random flow, in table 0 or behind a register that table 0 wrote. */
function randomMatch(next: Random): string {
  const pick = (...of: string[]): string => of[next(of.length)] as string;
  const parts = [`table=${next(2)}`, `priority=${next(4)}`];
  if (next(3) === 0) parts.push(`in_port=${1 + next(3)}`);
  if (next(4) === 0) parts.push(`pkt_mark=${next(3)}`);
  if (next(4) === 0) parts.push(`dl_dst=02:00:00:00:00:0${next(8)}`);
  if (next(2) === 0) {
    parts.push("ip");
    if (next(2) === 0) parts.push(`nw_src=10.0.0.${next(8)}/${pick("24", "30", "32")}`);
    if (next(2) === 0) {
      parts.push(`nw_dst=10.0.${next(4)}.${next(8)}/${pick("24", "32")}`);
    }
  }
  if (parts[0] === "table=1" && next(2) === 0) parts.push(`reg0=${next(3)}`);
  return parts.join(",");
}

function randomActions(match: string, next: Random): string {
  if (match.startsWith("table=1")) return `actions=output:${1 + next(3)}`;
  const all = [
    `load:${next(3)}->NXM_NX_REG0[],resubmit(,1)`,
    `set_field:02:00:00:00:00:0${next(8)}->dl_dst,resubmit(,1)`,
    "resubmit(,1)",
    `output:${1 + next(3)}`,
  ];
  return `actions=${all[next(all.length)]}`;
}

Deno.test("openflow concern: a change runs all flows again whose packets it moves", () => {
  for (let seed = 1; seed <= 12; seed++) {
    const next = random(seed * 7919);
    const of = new Switch(dp, { name: "d", datapathId: 1n, tight: false });
    const mod = (text: string, options: ParseFlowOptions = {}): void =>
      of.flows.apply(parseFlow(text, options), { isOld: false });
    for (let i = 0; i < 20; i++) {
      const match = randomMatch(next);
      mod(`${match},${randomActions(match, next)}`);
    }
    const flows = Array.from(
      { length: 40 },
      () => new Flow(of, next(3), next(8), next(8)),
    );
    for (let round = 0; round < 25; round++) {
      const count = next(6) === 0 ? 80 : 1;
      const texts = Array.from({ length: count }, () => randomMatch(next));
      const again = concerned(flows, () => {
        of.flows.now(function* (change) {
          for (const match of texts) {
            const all = [...of.flows.rules(change.version)];
            const rule = all[next(all.length)];
            if (next(3) === 0 && rule !== undefined) of.flows.remove(rule, 2, change);
            else {
              const add = parseFlow(`${match},${randomActions(match, next)}`);
              yield* of.flows.stage(add, { isOld: false }, change);
            }
          }
        });
      });
      for (const flow of flows) {
        const before = flow.actions;
        flow.run();
        const isSame = flow.actions === before;
        ok(
          isSame || again.has(flow),
          `seed ${seed}, round ${round}: a flow was forgotten`,
        );
      }
    }
    for (const flow of flows) flow.forget();
  }
});

Deno.test("openflow concern: one rule of many concerns its own flows only", () => {
  const of = new Switch(dp, { name: "d", datapathId: 1n, tight: false });
  const mod = (text: string, options: ParseFlowOptions = {}): void =>
    of.flows.apply(parseFlow(text, options), { isOld: false });
  for (let i = 0; i < 32; i++) mod(`priority=5,ip,nw_src=10.0.0.${i},actions=output:2`);
  mod("priority=1,actions=output:3");
  const flows = Array.from({ length: 40 }, (_, i) => new Flow(of, 0, i, i & 7));
  const which = (change: () => void): number[] => {
    const again = concerned(flows, change);
    return flows.flatMap((flow, i) => again.has(flow) ? [i] : []);
  };
  const one = "ip,nw_src=10.0.0.5,priority=5";
  deepStrictEqual(
    which(() => mod(`${one},actions=output:1`, { command: "modifyStrict" })),
    [5],
  );
  for (const flow of flows) flow.run();
  deepStrictEqual(which(() => mod(one, { command: "deleteStrict" })), [5]);
  for (const flow of flows) flow.run();
  deepStrictEqual(which(() => mod(`${one},actions=drop`)), [5], "it found a lesser one");
  for (const flow of flows) flow.run();
  deepStrictEqual(which(() => mod("priority=4,ip,nw_src=10.0.0.6,actions=drop")), []);
  deepStrictEqual(
    which(() => mod("priority=4,ip,nw_src=10.0.0.36,actions=drop")),
    [32, 33, 34, 35, 36, 37, 38, 39],
    "they are one flow of the datapath: no prefix of any rule told them apart",
  );
  strictEqual(
    which(() => mod("priority=9,ip,nw_dst=10.0.3.3,actions=drop")).length,
    40,
    "no flow of the datapath says anything of its destination",
  );
  for (const flow of flows) flow.forget();
});

Deno.test("openflow concern: matches that may meet are found, whatever their masks", () => {
  const next = random(99);
  const texts = new Set(Array.from({ length: 150 }, () => randomMatch(next)));
  const things = [...texts].map((text) => ({
    text,
    match: packMatch(parseFlow(`${text},actions=drop`).match),
  })).map((one) => ({ ...one, value: one.match.value, mask: one.match.mask }));
  const index = new MeetIndex<(typeof things)[number]>();
  const inIt = new Set<(typeof things)[number]>();
  for (let round = 0; round < 800; round++) {
    const one = things[next(things.length)] as (typeof things)[number];
    if (next(3) > 0) {
      const found = [...index.meeting(one.match)].map(({ text }) => text).sort();
      const wanted = [...inIt].filter((other) => meets(other, one));
      deepStrictEqual(found, wanted.map(({ text }) => text).sort());
    } else if (inIt.delete(one)) index.delete(one);
    else {
      index.add(one);
      inIt.add(one);
    }
  }
  for (const one of inIt) index.delete(one);
  strictEqual([...index.meeting(packMatch(parseFlow("actions=drop").match))].length, 0);
});

/** Bit by bit, on whole flows. */
function meets(a: Match, b: Match): boolean {
  return a.value.every((word, i) =>
    ((word ^ (b.value[i] as number)) & (a.mask[i] as number) & (b.mask[i] as number)) ===
      0
  );
}
