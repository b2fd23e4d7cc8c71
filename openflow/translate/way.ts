// SPDX-License-Identifier: Apache-2.0
/**
 * What parts of a translation see of it.
 *
 * @module
 */
import type { OfAction } from "../wire/action.ts";
import type { Field, Needs } from "../wire/field.ts";
import type { Action } from "../../providers/types_action.ts";
import type { SubField } from "../wire/action.ts";
import type { FlowWords } from "../wire/flow.ts";
import type { PacketState } from "./commit.ts";
import type { Counter } from "../table/tally.ts";
import type { Frozen } from "./frozen.ts";
import type { Pipeline } from "./pipeline.ts";

/** What counts what goes by. */
export type Credit = (counter: Counter) => void;

/** What packets teach: that an address is at a port, or that there is to be a flow. */
export interface Lesson {
  readonly table: Pipeline["stations"] | Pipeline["learned"];
  readonly key: string;
  /** The port; of a flow how many there may be. */
  readonly value: number;
}

/** A packet on its way. */
export interface Way {
  readonly pipeline: Pipeline;
  readonly credit: Credit;
  /** The packet as it is now. */
  readonly now: PacketState;
  /** The port that it came by. */
  readonly inPort: number;
  /** Groups that it is in. */
  groups: number;
  /** Whether a label went, and what is below it has not been looked at. */
  readonly isBlind: boolean;
  /** Bits that are not those that the packet came with. */
  readonly written: FlowWords;
  /** What the datapath does so far. */
  readonly actions: Action[];
  /** Whether the connection tracker said something of it. */
  tracked: boolean;
  /** Which hash the datapath has computed of it, `symL4 0`; empty for none. */
  readonly hashed: string;
  /** What packets like it teach. */
  lessons: readonly Lesson[];
  /** Mirrors that have a copy, as bits. */
  mirrored: number;
  /** Bytes of the copy that is sent; 0 is all of them, and so it is where none is. */
  cut: number;
  /** Whether the packet has what a field needs; what tells so matters then. */
  has(needs: Needs): boolean;
  /** Has bits of the packet matter. */
  see(field: Field, mask?: bigint): void;
  /** The bits of a field, which matter then; zero where the packet has none. */
  read(part: SubField): bigint;
  /** Changes a part of a field. */
  put(part: SubField, value: bigint): void;
  /** Has the datapath's packet be what the flow says. */
  commit(): void;
  /** The action that has the packet looked up again, in a table. */
  recirculate(table: number, tracked: boolean): Action;
  /** Sends it out of a bond, by a hash that the datapath computes. */
  sendByHash(bond: string, basis: number): void;
  /** Has the datapath compute a hash by `how`, and does the group again. */
  hashAgain(how: (frozen: Frozen) => readonly Action[]): void;
  /** Whether the packet may be put through so many more actions or buckets. */
  spend(count: number): boolean;
  /** Whether a flood may have it go out of one more port; far behind patches that costs more. */
  spendOnFlood(): boolean;
  /** Does what may lead to itself, and nothing at all where that went too deep. */
  back(what: () => void): void;
  /** Notes what becomes of the packet, for a trace. */
  tell(text: string): void;
  /** Ends the way, and says why. */
  drop(reason: string): void;
  /** The VLAN of the second tag, 0 without one: it matters from here on. */
  seeInnerVlan(): number;
  /** Does actions on what the packet is now, then `then`, and has it be again what it was. */
  aside(
    list: readonly OfAction[],
    reason?: number,
    isClone?: boolean,
    then?: () => void,
  ): void;
  /** Sends it out of a port, if only back. */
  sendTo(port: number): void;
  /** Sends it out of a port. */
  output(port: number, maxLength?: number): void;
}
