// SPDX-License-Identifier: Apache-2.0
/**
 * Tables in a row under changes of all kinds: what flows of the datapath rest on is told of each
 * change that makes something else of their packets, and what tables keep together is never what
 * they were. `OPENFLOW_ROWS=1000` makes it long, `OPENFLOW_SEED` begins elsewhere.
 */
import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import type { Change } from "../../openflow/switch/change.ts";
import { Switch } from "../../openflow/switch/switch.ts";
import type { Job } from "../../openflow/switch/turns.ts";
import { formatFlow, parseFlow } from "../../openflow/text/flow.ts";
import { OfError } from "../../openflow/wire/error.ts";
import {
  BucketPlace,
  type FlowMod,
  type GroupCommand,
} from "../../openflow/wire/message.ts";
import { ANY_GROUP } from "../../openflow/wire/object.ts";
import { Port } from "../../openflow/wire/port_number.ts";
import {
  dependencyCount,
  type FlowBits,
  holdDependency,
  listen,
  releaseDependency,
} from "../../policy/state/dependency.ts";
import { Tracker } from "../../policy/packet/tracker.ts";
import type { Datapath } from "../../providers/datapath.ts";
import { encodeKey } from "../../providers/odp/mod.ts";
import { figure } from "../support/figure.ts";
import { type Random, random } from "../support/random.ts";
import { type Outcome, plain, runOf } from "./tracked.ts";

const rounds = Number(Deno.env.get("OPENFLOW_ROWS") ?? 40);
const seed = Number(Deno.env.get("OPENFLOW_SEED") ?? 1);
const TABLES = 6;
const PACKETS = 40;

const dp = {
  name: "d",
  ports: { dump: () => [1, 2, 3].map((no) => ({ no, name: `p${no}` })) },
} as unknown as Datapath;

function pick<T>(next: Random, list: readonly T[]): T {
  return list[next(list.length)] as T;
}

function keyOf(next: Random): Uint8Array {
  const [isTcp, isPart] = [next(4) === 0, next(12) === 0];
  const ports = { src: 1 + next(3), dst: 1 + next(3) };
  const transport = isTcp ? { tcp: ports, tcpFlags: next(2) } : { udp: ports };
  return encodeKey(
    {
      inPort: 1 + next(2),
      skbMark: next(2),
      ethernet: { src: "02:00:00:00:00:01", dst: `02:00:00:00:00:0${next(4)}` },
      etherType: 0x800,
      ipv4: {
        src: `10.0.${next(3)}.1`,
        dst: `10.${next(2)}.${next(4)}.${next(2)}`,
        proto: isTcp ? 6 : 17,
        tos: 0,
        ttl: 1 + next(2),
        frag: isPart ? "first" : "no",
      },
      ...transport,
    } as Parameters<typeof encodeKey>[0],
  );
}

function match(next: Random): string {
  const all = [
    "",
    "",
    "in_port=1",
    "ip",
    "udp",
    "tcp",
    `udp,tp_dst=${1 + next(3)}`,
    `udp,tp_src=${next(4)}/0x2`,
    `ip,nw_dst=10.${next(2)}.${next(4)}.${next(2)}`,
    `ip,nw_dst=10.${next(2)}.0.0/${14 + next(12)}`,
    `ip,nw_src=10.0.${next(3)}.0/24`,
    `dl_dst=02:00:00:00:00:0${next(4)}`,
    `pkt_mark=${next(2)}`,
    `reg0=${next(2)}`,
    `reg0=0x0/0x2,ip,nw_ttl=${1 + next(2)}`,
    `metadata=${next(2)}/0x1`,
    `conj_id=${1 + next(2)}`,
  ];
  return pick(next, all);
}

let flows = 0;

function flow(next: Random, table = next(TABLES)): string {
  const about = match(next);
  const to = Math.min(TABLES - 1, table + 1 + next(2));
  const isUdp = about.startsWith("udp");
  const last = [
    "output:2",
    "drop",
    ...(isUdp ? ["move:NXM_OF_UDP_SRC[]->NXM_NX_REG1[0..15],output:3"] : []),
  ];
  const others = [
    `goto_table:${to}`,
    `goto_table:${to}`,
    `goto_table:${to}`,
    `resubmit(,${to})`,
    `resubmit(,${to})`,
    `load:${next(2)}->NXM_NX_REG0[],resubmit(,${to})`,
    `write_metadata:${next(2)}/0x1,goto_table:${to}`,
    `write_actions(output:3),goto_table:${to}`,
    `clear_actions,goto_table:${to}`,
    `resubmit(,${to}),output:1`,
    `resubmit(1,${to})`,
    `set_field:02:00:00:00:00:0${next(4)}->eth_dst,goto_table:${to}`,
    "group:1",
    `clone(resubmit(,${to})),resubmit(,${to})`,
    ...(isUdp ? [`set_field:${1 + next(3)}->udp_dst,goto_table:${to}`] : []),
  ];
  const soft = `conjunction(${1 + next(2)},${1 + next(2)}/2)`;
  const actions = next(9) === 0
    ? soft
    : pick(next, table === TABLES - 1 ? last : next(6) === 0 ? last : others);
  // As in Open vSwitch, either of two flows of one priority may win: there are no such ones here.
  const priority = next(6) * 10_000 + ++flows % 10_000;
  const parts = [`table=${table}`, `priority=${priority}`, about].filter(Boolean);
  return `${parts.join(",")},actions=${actions}`;
}

function mod(next: Random, of: Switch): FlowMod {
  const choice = next(10);
  if (choice < 5) return parseFlow(flow(next));
  const isStrict = choice > 7;
  const known = [...of.flows.rules()];
  const text = isStrict && known.length > 0
    ? formatFlow(pick(next, known))
    : flow(next).replace(/priority=\d+,?/, "");
  const about = text.replace(/,?\s*actions=.*/, "");
  if (choice === 9) return parseFlow(about, { command: "deleteStrict" });
  if (choice < 7) return parseFlow(about, { command: "delete" });
  const actions = pick(next, ["output:2", "drop", "resubmit(,5)"]);
  const command = isStrict ? "modifyStrict" : "modify";
  return parseFlow([about, `actions=${actions}`].filter(Boolean).join(","), { command });
}

function group(command: GroupCommand, port: number) {
  return {
    kind: "groupMod",
    command,
    type: "all",
    group: 1,
    place: BucketPlace.all,
    selection: undefined,
    buckets: [{
      id: 0,
      weight: 0,
      watchPort: Port.none,
      watchGroup: ANY_GROUP,
      actions: [{ type: "output", port, maxLength: 0 }],
    }],
  } as const;
}

/** A flow of the datapath: a packet, and what it rests on. */
interface Flow {
  readonly key: Uint8Array;
  readonly bits: FlowBits;
  outcome: Outcome;
}

function bitsOf(key: Uint8Array, mask: string): FlowBits {
  const tracker = new Tracker();
  tracker.take(key);
  return {
    keyBytes: key,
    keyFrom: 0,
    layout: tracker.layout,
    maskBytes: Uint8Array.fromHex(mask),
  };
}

/** Flows whose dependencies a change told of. */
class Told implements Disposable {
  readonly ids = new Map<number, (((flow: FlowBits) => boolean) | undefined)[]>();
  readonly #listening = listen({
    changed: (id, touches) => {
      const some = this.ids.get(id);
      if (some === undefined) this.ids.set(id, [touches]);
      else some.push(touches);
    },
  });

  has({ bits, outcome: { dependencies } }: Flow): boolean {
    return dependencies.some((id) =>
      this.ids.get(id)?.some((touches) => touches === undefined || touches(bits))
    );
  }

  [Symbol.dispose](): void {
    this.#listening[Symbol.dispose]();
  }
}

class Rows {
  readonly of = new Switch(dp, { name: "d", datapathId: 1n, tight: false });
  readonly flows: Flow[] = [];
  short = 0;
  again = 0;
  spared = 0;

  /** Rules that no lookup sees yet may cost bits: masks are compared where there are none. */
  run(key: Uint8Array, isStaging = false): Outcome {
    const ours = runOf(this.of, key, true);
    const theirs = runOf(this.of, key, false);
    const mask = isStaging ? ours.mask : theirs.mask;
    deepStrictEqual(plain(ours), { ...plain(theirs), mask });
    if (ours.isShort) this.short++;
    return ours;
  }

  /** A packet that makes no flow. */
  pass(key: Uint8Array, isStaging = false): void {
    const { dependencies } = this.run(key, isStaging);
    for (const id of dependencies) holdDependency(id);
    for (const id of dependencies) releaseDependency(id);
  }

  put(key: Uint8Array): void {
    const outcome = this.run(key);
    for (const id of outcome.dependencies) holdDependency(id);
    this.flows.push({ key, bits: bitsOf(key, outcome.mask), outcome });
  }

  /** Runs again what was told, and has the rest be what it was. */
  settle(told: Told): void {
    for (const flow of this.flows) {
      const now = runOf(this.of, flow.key, false);
      const { actions, reason, counters } = flow.outcome;
      if (told.has(flow)) {
        const before = flow.outcome;
        flow.outcome = this.run(flow.key);
        for (const id of flow.outcome.dependencies) holdDependency(id);
        for (const id of before.dependencies) releaseDependency(id);
        (flow as { bits: FlowBits }).bits = bitsOf(flow.key, flow.outcome.mask);
        this.again++;
      } else {
        const { mask: _, ...rest } = plain(now);
        deepStrictEqual({ actions, reason, counters }, rest);
        this.spared++;
      }
    }
  }

  end(): void {
    for (const { outcome: { dependencies } } of this.flows) {
      for (const id of dependencies) releaseDependency(id);
    }
  }
}

/** Does some mods as one change, in turns between which packets come; `fails` at its end. */
function* bundle(
  rows: Rows,
  next: Random,
  mods: readonly FlowMod[],
  fails: boolean,
): Job<void> {
  const { of } = rows;
  yield* of.flows.changing(function* (change: Change) {
    for (const one of mods) {
      try {
        yield* of.flows.stage(one, { isOld: false }, change);
      } catch (error) {
        if (!(error instanceof OfError)) throw error;
      }
      if (next(2) === 0) yield;
    }
    if (fails) throw new OfError("OFPBFC_MSG_FAILED");
  });
}

Deno.test("openflow rows: what flows rest on is told of whatever changes them", () => {
  const before = dependencyCount();
  let [short, again, spared] = [0, 0, 0];
  for (let round = 0; round < rounds; round++) {
    const next = random(seed + 7 * round);
    for (let k = 0; k < 8; k++) next(2);
    const rows = new Rows();
    const { of } = rows;
    const failed = (error: unknown): void => {
      if (!(error instanceof OfError)) throw error;
    };
    of.groups.apply(group("add", 2));
    for (let i = 0; i < 40; i++) {
      try {
        of.flows.apply(parseFlow(flow(next)), { isOld: false });
      } catch (error) {
        failed(error);
      }
    }
    for (let i = 0; i < PACKETS; i++) rows.put(keyOf(next));
    for (let step = 0; step < 40; step++) {
      {
        using told = new Told();
        const kind = next(8);
        try {
          if (kind === 0) of.groups.apply(group("modify", 1 + next(3)));
          else if (kind === 1) of.table(next(TABLES)).miss.value = next(4);
          else if (kind < 5) of.flows.apply(mod(next, of), { isOld: false });
          else {
            const mods = Array.from({ length: 1 + next(6) }, () => mod(next, of));
            for (const _ of bundle(rows, next, mods, next(3) === 0)) {
              // Packets between its turns see all of it or nothing.
              if (next(3) === 0) rows.pass(keyOf(next), true);
            }
          }
        } catch (error) {
          failed(error);
        }
        rows.settle(told);
      }
      for (let i = 0; i < 3; i++) rows.pass(keyOf(next));
    }
    rows.end();
    short += rows.short;
    again += rows.again;
    spared += rows.spared;
  }
  ok(short > again / 10 && spared > again / 10, `${short} ${again} ${spared}`);
  strictEqual(dependencyCount(), before);
  figure(
    `${again} flows ran again, ${spared} were left alone; ` +
      `${short} packets went through tables as one`,
  );
});
