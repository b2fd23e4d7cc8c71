// SPDX-License-Identifier: Apache-2.0
/**
 * Verdicts on upcalls by their place in the arena: the library still has keys and packets, so that
 * a verdict is a header, a mask where it is another than the one before, and actions; and upcalls
 * of one kind in a row that get the same one are a list behind it.
 *
 * @module
 */
import { constants, dpResult, dpUpcall } from "../../ffi/layout.ts";
import type { OpResult } from "../contract/flows.ts";
import type { RawUpcall, RawVerdict, VerdictFacet } from "../contract/upcalls.ts";
import { Errno } from "../errno.ts";
import { RecurringMask } from "../odp/input.ts";
import type { Context } from "./context.ts";
import { check } from "./library.ts";
import { OpBuffer, ResultBuffer } from "./op_buffer.ts";
import { NetdevUpcall, type UpcallBatch } from "./upcalls.ts";

const FLAGS = constants.DP_OPF_CREATE | constants.DP_OPF_PACKET |
  constants.DP_OPF_UPCALLS;
const NO_PACKET = new Uint8Array(0);
const { EEXIST, ESHUTDOWN } = Errno;
const DONE: OpResult = Object.freeze({ ok: true });

/** The batch that all of `upcalls` are of, if the library still has it. */
function batchOf(upcalls: readonly RawUpcall[]): UpcallBatch | undefined {
  const [first] = upcalls;
  const batch = first instanceof NetdevUpcall ? first.batch : undefined;
  if (batch === undefined || !batch.isCurrent()) return undefined;
  for (const upcall of upcalls) {
    if (!(upcall instanceof NetdevUpcall) || upcall.batch !== batch) return undefined;
  }
  return batch;
}

/** Verdicts over `dp_upcall_exchange`. */
export class NetdevVerdicts implements VerdictFacet {
  readonly #context: Context;
  readonly #recurring = new RecurringMask();
  readonly #ops = new OpBuffer(1 << 15);
  readonly #results = new ResultBuffer();
  /** How many upcalls each list has. */
  readonly #lists: number[] = [];

  constructor(context: Context) {
    this.#context = context;
  }

  give(
    upcalls: readonly RawUpcall[],
    verdicts: readonly (RawVerdict | undefined)[],
  ): (OpResult | undefined)[] | undefined {
    const batch = batchOf(upcalls);
    if (batch === undefined) return undefined;
    const ops = this.#ops;
    ops.clear();
    this.#lists.length = 0;
    const errors = this.#pack(batch, upcalls as readonly NetdevUpcall[], verdicts);
    if (errors === undefined) return undefined;
    this.#results.reserve(ops.count * (dpResult.structSize + 4) + 4 * errors);
    const { symbols, subject } = this.#context;
    const errno = batch.exchange(ops.bytes, ops.at, ops.count, this.#results.bytes);
    // The handler is closed, and nothing was done: operations do it.
    if (errno === ESHUTDOWN) return undefined;
    check(symbols, errno, subject("answer upcalls"));
    return this.#read(verdicts);
  }

  #read(verdicts: readonly (RawVerdict | undefined)[]): (OpResult | undefined)[] {
    const { words } = this.#results;
    const results = new Array<OpResult | undefined>(verdicts.length);
    let list = 0;
    let left = 0;
    let result = 0;
    let at = 0;
    for (let i = 0; i < verdicts.length; i++) {
      if (verdicts[i] === undefined) continue;
      if (left === 0) {
        left = this.#lists[list++] as number;
        at = (result + dpResult.structSize) >> 2;
        result += words[(result + dpResult.size) >> 2] as number;
      }
      left--;
      const error = words[at++] as number;
      const isThere = error === EEXIST && verdicts[i]?.modify === undefined;
      results[i] = error === 0 || isThere ? DONE : { ok: false, code: error };
    }
    return results;
  }

  /** How many verdicts there are; undefined: a flow needs more in its key than its packet has. */
  #pack(
    batch: UpcallBatch,
    upcalls: readonly NetdevUpcall[],
    verdicts: readonly (RawVerdict | undefined)[],
  ): number | undefined {
    const { words } = batch;
    const ops = this.#ops;
    const lists = this.#lists;
    let last: RawVerdict | undefined;
    let layout = 0;
    let start = -1;
    let count = 0;
    let errors = 0;
    for (let i = 0; i < upcalls.length; i++) {
      const verdict = verdicts[i];
      if (verdict === undefined) continue;
      const { at } = upcalls[i] as NetdevUpcall;
      const own = words[(at + dpUpcall.layout) >> 2] as number;
      if (verdict !== last || own !== layout || own === 0) {
        if (start >= 0) {
          ops.endList(start);
          lists.push(count);
        }
        start = this.#begin(upcalls[i] as NetdevUpcall, verdict);
        if (start < 0) return undefined;
        last = verdict;
        layout = own;
        count = 0;
      }
      ops.list(start, at);
      count++;
      errors++;
    }
    if (start >= 0) {
      ops.endList(start);
      lists.push(count);
    }
    return errors;
  }

  /** Begins a list of upcalls. Less than 0: the flow needs more in its key than the packet has. */
  #begin(upcall: NetdevUpcall, verdict: RawVerdict): number {
    let mask: Uint8Array | undefined;
    if (verdict.mask instanceof Uint8Array) {
      mask = verdict.mask;
    } else if (verdict.mask !== undefined) {
      const { batch: { words }, keyAt, keySize } = upcall;
      mask = this.#recurring.recall(verdict.mask, words, keyAt, keySize);
      if (mask === undefined) {
        const { key } = upcall;
        const flow = this.#recurring.learn(verdict.mask, key);
        if (flow.key !== key) return -1;
        mask = flow.mask;
      }
    }
    const flags = verdict.modify === true ? FLAGS | constants.DP_OPF_MODIFY : FLAGS;
    return this.#ops.append(
      constants.DP_OP_PUT,
      flags,
      undefined,
      mask,
      verdict.actions,
      NO_PACKET,
    );
  }
}
