// SPDX-License-Identifier: Apache-2.0
/**
 * Operations of a batch, in objects that are used again: making them costs as much as filling them
 * with what a flow is.
 *
 * @module
 */
import type { Op } from "../../providers/operations.ts";
import type { Upcall } from "../../providers/upcall.ts";
import type { FlowRecord } from "./flow_record.ts";
import { wordsFor } from "./mask_table.ts";

const EMPTY = new Uint8Array();

/** A put or an execute; what is undefined counts as absent. */
class BatchOp {
  op: "put" | "execute" = "put";
  key: Uint8Array = EMPTY;
  mask: Uint8Array | undefined;
  actions: Uint8Array = EMPTY;
  ufid: Uint8Array | string | undefined;
  packet: Uint8Array | undefined;
  mru: number | undefined;
  hash: bigint | undefined;
  create = true;
  modify = false;
  #keyWords = new Uint32Array();
  #key = EMPTY;
  readonly #id = new Uint8Array(16);
  readonly #idWords = new Uint32Array(this.#id.buffer);

  /** Takes the name of a flow. */
  name(flow: FlowRecord): void {
    this.ufid = flow.writeId(this.#idWords) ? this.#id : flow.ufid;
  }

  /** Takes a copy of the key of a flow. */
  takeKey(flow: FlowRecord): void {
    const { size } = flow.layout;
    if (this.#key.length !== size) {
      this.#keyWords = new Uint32Array(wordsFor(size));
      this.#key = new Uint8Array(this.#keyWords.buffer, 0, size);
    }
    flow.writeKey(this.#keyWords);
    this.key = this.#key;
  }

  /** Takes a packet, and what its upcall said beside. */
  bring(upcall: Upcall): void {
    this.packet = upcall.packet;
    this.mru = upcall.mru;
    this.hash = upcall.hash;
  }
}

/** A list of operations. */
export class OpList {
  readonly #made: BatchOp[] = [];
  #count = 0;

  /** Makes it empty. */
  clear(): void {
    this.#count = 0;
  }

  #next(op: "put" | "execute", key: Uint8Array, actions: Uint8Array): BatchOp {
    const next = this.#made[this.#count] ??= new BatchOp();
    this.#count++;
    next.op = op;
    next.key = key;
    next.actions = actions;
    next.create = true;
    next.modify = false;
    return next;
  }

  /** Runs actions on the packet of an upcall. */
  execute(upcall: Upcall, key: Uint8Array, actions: Uint8Array): void {
    const next = this.#next("execute", key, actions);
    next.mask = undefined;
    next.ufid = undefined;
    next.bring(upcall);
  }

  /** Puts a flow whose key is `key`, and runs its actions on the packet of the upcall, if any. */
  put(flow: FlowRecord, key: Uint8Array, upcall: Upcall | undefined): void {
    const next = this.#next("put", key, flow.actions.bytes);
    next.mask = flow.mask.bytes;
    next.name(flow);
    if (upcall !== undefined) return next.bring(upcall);
    next.packet = next.mru = next.hash = undefined;
  }

  /** Gives a flow that is there its actions; `byName` says that its name is enough. */
  modify(flow: FlowRecord, byName: boolean): void {
    const next = this.#next("put", EMPTY, flow.actions.bytes);
    if (!byName) next.takeKey(flow);
    next.mask = byName ? EMPTY : flow.mask.bytes;
    next.name(flow);
    next.create = false;
    next.modify = true;
    next.packet = next.mru = next.hash = undefined;
  }

  /** The operations; good until the list is cleared. */
  all(): readonly Op[] {
    return this.#made.slice(0, this.#count) as unknown as Op[];
  }
}

/** The operation that puts a flow. */
export function putOf(flow: FlowRecord): Op & { readonly op: "put" } {
  return {
    op: "put",
    ufid: flow.id,
    key: flow.key,
    mask: flow.mask.bytes,
    actions: flow.actions.bytes,
  };
}
