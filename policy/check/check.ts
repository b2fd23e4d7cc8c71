// SPDX-License-Identifier: Apache-2.0
/**
 * The oracle: looks for packets and changes of state that make a derived flow false.
 *
 * For each packet x the tracked policy gives a verdict and a mask. Every other packet that agrees
 * with x on the mask must get the same verdict, credits and effects from the bare function. Flows
 * of earlier packets are kept beside: when state changes, those that the dependencies do not name
 * must still be true, for x and for all that is like it.
 *
 * @module
 */
import { decodeKey, encodeKey } from "../../providers/odp/key.ts";
import type { FlowKey } from "../../providers/types.ts";
import { Arbitrary, type Hints } from "./arbitrary.ts";
import { coarsen } from "../packet/coarse.ts";
import { PortsView } from "../state/state.ts";
import { type Random, seeded } from "./random.ts";
import { firstDifference } from "./difference.ts";
import { frozenCopy } from "../copy.ts";
import type { Policy } from "../decision.ts";
import {
  changesSoFar,
  holdDependency,
  listen,
  releaseDependency,
  type Touches,
} from "../state/dependency.ts";
import { Covered } from "./covered.ts";
import { Flips } from "./flips.ts";
import { isReadAlike, type KeptFlow } from "./kept_flow.ts";
import { freeBits, isParsable, nameOf } from "./model.ts";
import {
  NOW,
  type Outcome,
  outcome,
  type Part,
  PolicyUnsound,
  say,
  saysTheSame,
} from "./outcome.ts";
import { looseMask } from "../run/mask_table.ts";
import { Runner } from "../runner.ts";
import { Continuations } from "../stage.ts";

/** What to look at, and how hard. */
export interface CheckOptions {
  /** Packets; 1,000 if absent. */
  readonly runs?: number;
  /** Starts the random numbers: equal seeds give equal checks. */
  readonly seed?: number;
  /** Other packets that are tried for each; 64 if absent. */
  readonly mutants?: number;
  /** Values that the policy treats in a special way. */
  readonly hints?: Hints;
  /** Changes some state at random; called now and then. */
  readonly change?: (random: Random) => void;
  /** The ports that there are; 1 to 4 if absent. */
  readonly ports?: PortsView;
  /** Whether packets teach what their effects say, as in a running switch; true if absent. */
  readonly learn?: boolean;
}

/** What the check did. */
export interface CheckReport {
  /** Packets whose flow was checked. */
  readonly runs: number;
  /** Other packets that agreed with one on its mask, all of which got its verdict. */
  readonly mutants: number;
  /**
   * Of these, packets that differ from the other in nothing that the function read a value of: it
   * says the same of them, and was not asked.
   */
  readonly unread: number;
  /** Packets that the policy threw on, or that get no flow. */
  readonly withoutFlow: number;
  /** Changes of state, and flows that they made run again. */
  readonly changes: number;
  /** Flows that dependencies named after a change. */
  readonly named: number;
  /** Of these, flows whose verdict had not changed. */
  readonly surplus: number;
  /** Different masks. */
  readonly masks: number;
  /**
   * For each attribute, bits that were masked, and those of them that changed a verdict when
   * flipped.
   */
  readonly tightness: Readonly<Record<string, { masked: number; needed: number }>>;
}

const KEPT_FLOWS = 48;
/** Of the packets of the same shape, those that may differ in any bit that the flow leaves open. */
const ANYWHERE = 3;
const COVERS = "a flow covers another verdict";
const MAX_DEPTH = 3;

/**
 * Checks a policy against the bare function, without a datapath. Throws {@linkcode PolicyUnsound}
 * with a counterexample.
 */
export function checkPolicy(policy: Policy, options: CheckOptions = {}): CheckReport {
  const check = new Check(options);
  try {
    return check.run({
      decide: policy,
      ports: options.ports ?? new PortsView([1, 2, 3, 4]),
    });
  } finally {
    check.end();
  }
}

class Check {
  readonly #options: CheckOptions;
  readonly #random: Random;
  readonly #arbitrary: Arbitrary;
  readonly #runner: Runner;
  readonly #kept: KeptFlow[] = [];
  readonly #changed = new Map<number, Touches[] | true>();
  readonly #listening: Disposable;
  readonly #masks = new Set<string>();
  readonly #report = {
    runs: 0,
    mutants: 0,
    unread: 0,
    withoutFlow: 0,
    changes: 0,
    named: 0,
    surplus: 0,
    tightness: {} as Record<string, { masked: number; needed: number }>,
  };

  constructor(options: CheckOptions) {
    this.#options = options;
    this.#random = seeded(options.seed ?? 1);
    this.#arbitrary = new Arbitrary(this.#random, options.hints);
    this.#runner = new Runner(
      new Continuations(),
      options.ports ?? new PortsView([1, 2, 3, 4]),
    );
    this.#listening = listen({
      changed: (id, touches) => {
        const known = this.#changed.get(id);
        if (touches === undefined) this.#changed.set(id, true);
        else if (known === undefined) this.#changed.set(id, [touches]);
        else if (known !== true) known.push(touches);
      },
    });
  }

  end(): void {
    this.#listening[Symbol.dispose]();
    for (const flow of this.#kept) flow.dependencies.forEach(releaseDependency);
  }

  run(part: Part): CheckReport {
    const { runs = 1000, change } = this.#options;
    for (let i = 0; i < runs; i++) {
      if (change !== undefined && this.#random(3) === 0) {
        change(this.#random);
        this.#afterChange();
      }
      const key = this.#arbitrary.key();
      this.#packet(part, this.#random(16) === 0 ? this.#arbitrary.tracked(key) : key, 0);
    }
    return { ...this.#report, masks: this.#masks.size };
  }

  /** Checks the flow of one packet, and those of the stages that it goes into. */
  #packet(part: Part, key: FlowKey, depth: number): void {
    const bytes = encodeKey(key);
    const read = new Set<string>();
    const bare = outcome(part, key, read);
    const flow = this.#track(part, bytes, bare, read);
    if (flow instanceof Error && !bare.threw) {
      throw new PolicyUnsound("the tracked packet makes the policy throw", {
        x: bytes,
        y: bytes,
        mask: this.#runner.mask.slice(),
        said: `throws ${flow}`,
        saidOther: bare.said,
      });
    }
    if (flow === undefined || flow instanceof Error) {
      this.#report.withoutFlow++;
    } else {
      if (flow.said !== bare.said) {
        throw new PolicyUnsound("the tracked packet reads otherwise than the bare one", {
          x: bytes,
          y: bytes,
          mask: flow.mask,
          said: flow.said,
          saidOther: bare.said,
        });
      }
      this.#report.runs++;
      this.#masks.add(flow.mask.toHex());
      this.#flips(flow);
      this.#relatives(flow);
      if (this.#random(64) === 0) this.#small(flow);
      if (this.#random(32) === 0) this.#tightness(flow);
      this.#keep(flow);
    }
    const { learn = true } = this.#options;
    if (learn && this.#random(4) === 0) {
      for (const effect of bare.effects) {
        if (effect.kind === "learn") effect.table.hear(effect.key, effect.value, NOW);
      }
      this.#afterChange();
    }
    if (depth === MAX_DEPTH) return;
    for (const { stage, carry } of bare.stages) {
      const next: Part = {
        decide: (packet, ports) => stage.then(packet, carry as never, ports),
        ports: part.ports,
        at: { stage, carry },
      };
      const behind = { ...this.#arbitrary.tracked(key), recircId: 1 + depth } as FlowKey;
      this.#packet(next, behind, depth + 1);
    }
  }

  /** What the runtime makes of a packet: undefined without a flow, or what was thrown. */
  #track(
    part: Part,
    key: Uint8Array,
    bare: Outcome,
    read: ReadonlySet<string>,
  ): KeptFlow | undefined | Error {
    const { tracker } = this.#runner;
    try {
      // The verdict may have parts of the packet in it, which cannot be read behind the run.
      const policy: Policy = (...of) => frozenCopy(part.decide(...of));
      const ran = this.#runner.run(policy, key, NOW);
      if (ran.uncacheable !== undefined) return void tracker.dropDependencies();
      // Now and then as with many masks.
      const number = ++this.#tracked;
      if (number % 16 === 0) coarsen(tracker, number % 32 > 0 ? 2 : 4);
      else if (number % 16 === 8) this.#borrow();
      const { key: whole } = this.#runner;
      const mask = this.#runner.mask.slice();
      const x = decodeKey(whole);
      const free = freeBits(whole, mask);
      return {
        ...{ part, key: whole, mask, free, x, bare },
        ...{ keyBytes: whole, keyFrom: 0, layout: tracker.layout, maskBytes: mask },
        covered: new Covered(x, mask, whole),
        flips: new Flips(x, whole, free, read),
        read,
        dependencies: tracker.dependencies,
        changes: changesSoFar(),
        said: say(ran.decision, tracker.effects, tracker.deadline),
      };
    } catch (error) {
      tracker.dropDependencies();
      return error instanceof Error ? error : new Error(String(error));
    }
  }
  #tracked = 0;

  /** A flow may have any mask that has all which was read: here with what others have beside. */
  #borrow(): void {
    const { layout, mask } = this.#runner.tracker;
    const other = this.#kept.findLast((flow) => flow.layout === layout);
    other?.mask.forEach((bits, i) => mask[i] = (mask[i] as number) | bits);
  }

  /** Other packets of the same shape: one open bit flipped, some, most. */
  #flips(flow: KeptFlow): void {
    const { mutants = 64 } = this.#options;
    const count = Math.ceil(mutants * 3 / 4);
    const { flips } = flow;
    for (let i = 0; i < count; i++) {
      const isAny = i < ANYWHERE;
      if (!isAny && !flips.matters) {
        this.#report.mutants += count - i;
        this.#report.unread += count - i;
        return;
      }
      this.#try(flow, flips.next(this.#random, i, isAny), flips);
    }
  }

  /** Tries a packet; its bytes are the last of `flips`, or made if it is of another shape. */
  #try(flow: KeptFlow, other: FlowKey, flips?: Flips, why = COVERS): void {
    this.#report.mutants++;
    if (saysTheSame(flow.part, other, flow.said, flow.bare)) return;
    this.#unsound(flow, flips?.bytes() ?? encodeKey(other), why);
  }

  /** Packets of other shapes, or with special values, that agree with the mask all the same. */
  #relatives(flow: KeptFlow): void {
    const { mutants = 64 } = this.#options;
    for (let i = 0; i < Math.floor(mutants / 4); i++) {
      // Some draws cannot agree: twice as many are made as a packet is to have.
      const other = this.#relative(flow) ?? this.#relative(flow);
      if (other === undefined) continue;
      if (!isReadAlike(flow, other)) this.#try(flow, other);
      else {
        this.#report.mutants++;
        this.#report.unread++;
      }
    }
  }

  #relative({ x, covered }: KeptFlow): FlowKey | undefined {
    const arbitrary = this.#arbitrary;
    const drawn = this.#random(2) === 0 ? arbitrary.relative(x) : arbitrary.alike(x);
    const y = { ...drawn, recircId: x.recircId ?? 0 } as FlowKey;
    if (covered.has(y)) return y;
    covered.lay(y);
    return isParsable(y) && covered.has(y) ? y : undefined;
  }

  /** Every value of a field of up to 16 bits, where some of its bits are open. */
  #small(flow: KeptFlow): void {
    const { flips } = flow;
    const places = flips.halfOpen;
    if (places.length === 0) return;
    const place = places[this.#random(places.length)] as number;
    for (const other of flips.valuesAt(place)) this.#try(flow, other, flips);
  }

  /** Flips bits that are masked, one at a time: those that change nothing were not needed here. */
  #tightness({ free: { closed, ids }, flips, part, said, bare }: KeptFlow): void {
    for (const [i, bits] of closed.entries()) {
      if (bits === 0) continue;
      const name = nameOf(ids[i] as number);
      const counted = this.#report.tightness[name] ??= { masked: 0, needed: 0 };
      counted.masked++;
      if (!saysTheSame(part, flips.closedAt(i), said, bare)) counted.needed++;
    }
  }

  #keep(flow: KeptFlow): void {
    flow.dependencies.forEach(holdDependency);
    if (this.#kept.length < KEPT_FLOWS) {
      this.#kept.push(flow);
      return;
    }
    const i = this.#random(KEPT_FLOWS);
    const old = this.#kept[i] as KeptFlow;
    this.#kept[i] = flow;
    old.dependencies.forEach(releaseDependency);
  }

  /**
   * State changed: flows that are named run again as the runtime runs them, the others must be true
   * as they are.
   */
  #afterChange(): void {
    if (this.#changed.size === 0) return;
    this.#report.changes++;
    const changed = new Map(this.#changed);
    this.#changed.clear();
    for (let i = this.#kept.length - 1; i >= 0; i--) {
      const flow = this.#kept[i] as KeptFlow;
      const isNamed = flow.dependencies.some((id) => {
        const touches = changed.get(id);
        return touches === true || touches?.some((touch) => touch(flow)) === true;
      });
      if (isNamed && !this.#rerun(flow)) this.#kept.splice(i, 1);
      else this.#isStillTrue(flow, isNamed);
    }
  }

  /** Runs a flow again within its mask; false if it cannot be proven, and goes. */
  #rerun(flow: KeptFlow): boolean {
    this.#report.named++;
    const { tracker } = this.#runner;
    const { dependencies: before, key, mask, part, changes } = flow;
    const former = Int32Array.from(before).reverse();
    try {
      tracker.former.recall(former, former.length, changes);
      const ran = this.#runner.run(part.decide, key, NOW, undefined, looseMask(mask));
      const isWithin = this.#runner.key === key && !tracker.grew;
      if (!isWithin || ran.uncacheable !== undefined) {
        tracker.dropDependencies();
        return false;
      }
      const said = say(ran.decision, tracker.effects, tracker.deadline);
      if (said === flow.said) this.#report.surplus++;
      flow.said = said;
      flow.bare = undefined;
      flow.dependencies = tracker.dependencies;
      flow.changes = changesSoFar();
      flow.dependencies.forEach(holdDependency);
      return true;
    } catch {
      tracker.dropDependencies();
      return false;
    } finally {
      before.forEach(releaseDependency);
    }
  }

  #isStillTrue(flow: KeptFlow, wasRun: boolean): void {
    const why = wasRun
      ? "a flow that ran again covers another verdict"
      : "a flow became false and no dependency named it";
    this.#try(flow, flow.x, undefined, why);
    this.#try(flow, flow.flips.next(this.#random, 1, true), flow.flips, why);
    for (let i = 0; i < 4; i++) {
      const other = this.#relative(flow);
      if (other !== undefined) this.#try(flow, other, undefined, why);
    }
  }

  #unsound(flow: KeptFlow, found: Uint8Array, why: string): never {
    let other = found;
    // Closer: each byte that the fault does without is made equal.
    for (let i = 0; other.length === flow.key.length && i < other.length; i++) {
      if (other[i] === flow.key[i]) continue;
      const closer = other.slice();
      closer[i] = flow.key[i] as number;
      if (outcome(flow.part, decodeKey(closer)).said !== flow.said) other = closer;
    }
    throw new PolicyUnsound(why, {
      x: flow.key,
      y: other,
      mask: flow.mask,
      said: flow.said,
      saidOther: outcome(flow.part, decodeKey(other)).said,
      read: firstDifference(flow.part, flow.key, other),
    });
  }
}
