// SPDX-License-Identifier: Apache-2.0
/**
 * How a packet is looked up in tables, and how much of that it may be.
 *
 * @module
 */
import type { FlowTable } from "../table/flow_table.ts";
import type { Rule } from "../table/rule.ts";
import type { Place, Trail } from "../table/trail.ts";
import { lookUp } from "../table/tuple.ts";
import { STAGE_ENDS, Word } from "../wire/flow.ts";
import { Bounds } from "./bounds.ts";
import { Sending } from "./sending.ts";

/** How fragments are looked up that are taken for what they are. */
const NX_MATCH = 3;

/** A packet that is looked up. */
export abstract class Lookups extends Sending {
  /** Why the packet was dropped, if something did not let it through. */
  reason: string | undefined;
  /** The rule whose actions are done; undefined for those of none, and behind a recirculation. */
  protected rule: Rule | undefined;
  /** The first flow that the packet met. */
  protected first: { readonly table: number; readonly cookie: bigint } | undefined;
  /** Whether the next lookup is by the tuple that the packet's connection began with. */
  protected isOfConnection = false;
  /** The port that the packet is of, while the next lookup is as if it came by another one. */
  protected ownPort: { readonly port: number; readonly written: number } | undefined;
  protected readonly bounds = new Bounds();
  protected stopped = false;

  /** Notes why nothing becomes of the packet. */
  drop(reason: string): void {
    this.reason ??= reason;
    this.stopped = true;
  }

  /** Notes why nothing becomes of the packet, where a bound was reached; whether none was. */
  protected goesOn(): boolean {
    const { reached } = this.bounds;
    if (reached !== undefined) this.drop(reached);
    return reached === undefined;
  }

  /** Whether the packet may be put through so many more actions or buckets. */
  spend(count: number): boolean {
    this.bounds.spend(count);
    return this.goesOn();
  }

  /** Whether ports of the packet are not to be seen: it is a part of one. */
  #hidesPorts(): boolean {
    const isPart = ((this.now.flow[Word.nw] as number) & 3) !== 0;
    return isPart && this.pipeline.fragments.value !== NX_MATCH;
  }

  /** Bits matter that were looked at. */
  #seeAll(count: number, words: ArrayLike<number>, bits: ArrayLike<number>): void {
    const { seen, wrote, pipeline: { tight } } = this;
    for (let k = 0; k < count; k++) {
      const [i, found] = [words[k] as number, bits[k] as number];
      const own = tight || i < (STAGE_ENDS[0] as number) ? ~(wrote[i] as number) : ~0;
      if (i === Word.vlan) this.seeTag(found);
      else seen[i] = (seen[i] as number) | found & own;
    }
  }

  /** As in Open vSwitch: what a lookup finds is done as of the port that the packet is of. */
  protected takeOwnPort(): void {
    if (this.ownPort === undefined) return;
    this.now.flow[Word.inPort] = this.ownPort.port;
    this.written[Word.inPort] = this.ownPort.written;
    this.ownPort = undefined;
  }

  protected find(table: FlowTable, trail: Trail): Rule | undefined {
    const { isOfConnection, ownPort } = this;
    this.isOfConnection = false;
    const hidesPorts = this.#hidesPorts();
    const answer = lookUp(table, this, isOfConnection, hidesPorts);
    const isAlone = isOfConnection || hidesPorts || ownPort !== undefined;
    if (isAlone) trail.end();
    else trail.looked(table, answer);
    const { rule, count, words, bits } = answer;
    this.#seeAll(count, words, bits);
    this.takeOwnPort();
    this.credit(table.lookups);
    if (rule !== undefined) {
      this.first ??= { table: table.id, cookie: rule.cookie };
      this.credit(table.matched);
      this.credit(rule.counter);
    }
    return rule;
  }

  /** The rule at the end of lookups that are known, from a table on; undefined for none. */
  protected pass(table: FlowTable, trail: Trail): Rule | undefined {
    const { isOfConnection, ownPort } = this;
    if (isOfConnection || ownPort !== undefined || this.#hidesPorts()) return undefined;
    const passage = table.pass(this.now.flow, this);
    if (passage === undefined) return undefined;
    trail.end();
    const { steps, left, resubmits, words, bits } = passage;
    const [start] = steps;
    this.first ??= start && { table: start.table.id, cookie: start.kept.rule.cookie };
    this.bounds.lookUp(steps.length - 1);
    if (left !== undefined) this.goOn(trail, left, resubmits);
    this.#seeAll(words.length, words, bits);
    this.table = passage.table;
    this.credit(passage);
    return passage.rule;
  }

  /** A list has the packet go on in another table, and nothing else. */
  protected goOn(trail: Trail, place: Place, lists: number): void {
    trail.goOn(place, lists);
    this.bounds.goOn(lists);
  }
}
