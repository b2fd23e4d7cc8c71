// SPDX-License-Identifier: Apache-2.0
/**
 * Verdicts on upcalls by their place in the arena: the library still has keys and packets, so that
 * a verdict is a header, a mask where it is another than the one before, and actions.
 *
 * @module
 */
import { constants, dpOp, dpResult } from "../../ffi/layout.ts";
import type { OpResult } from "../contract/flows.ts";
import type { RawUpcall, RawVerdict, VerdictFacet } from "../contract/upcalls.ts";
import { RecurringMask } from "../odp/input.ts";
import type { Context } from "./context.ts";
import { check } from "./library.ts";
import { OpBuffer, ResultBuffer } from "./op_buffer.ts";
import { NetdevUpcall, type UpcallBatch } from "./upcalls.ts";

const FLAGS = constants.DP_OPF_CREATE | constants.DP_OPF_PACKET | constants.DP_OPF_UPCALL;
const NO_PACKET = new Uint8Array(0);
const EEXIST = 17;
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
    for (let i = 0; i < upcalls.length; i++) {
      const verdict = verdicts[i];
      if (verdict === undefined) continue;
      if (!this.#pack(upcalls[i] as NetdevUpcall, verdict)) return undefined;
    }
    this.#results.reserve(ops.count * dpResult.structSize);
    const { symbols, subject } = this.#context;
    const errno = batch.exchange(ops.bytes, ops.at, ops.count, this.#results.bytes);
    check(symbols, errno, subject("answer upcalls"));
    return this.#read(verdicts);
  }

  #read(verdicts: readonly (RawVerdict | undefined)[]): (OpResult | undefined)[] {
    const { words } = this.#results;
    const results = new Array<OpResult | undefined>(verdicts.length);
    let at = dpResult.error;
    for (let i = 0; i < verdicts.length; i++) {
      if (verdicts[i] === undefined) continue;
      const error = words[at >> 2] as number;
      const isThere = error === EEXIST && verdicts[i]?.modify === undefined;
      results[i] = error === 0 || isThere ? DONE : { ok: false, code: error };
      at += dpResult.structSize;
    }
    return results;
  }

  /** False: the flow needs more in its key than the packet has. */
  #pack(upcall: NetdevUpcall, verdict: RawVerdict): boolean {
    let mask: Uint8Array | undefined;
    if (verdict.mask instanceof Uint8Array) {
      mask = verdict.mask;
    } else if (verdict.mask !== undefined) {
      const { batch: { words }, keyAt, keySize } = upcall;
      mask = this.#recurring.recall(verdict.mask, words, keyAt, keySize);
      if (mask === undefined) {
        const { key } = upcall;
        const flow = this.#recurring.learn(verdict.mask, key);
        if (flow.key !== key) return false;
        mask = flow.mask;
      }
    }
    const flags = verdict.modify === true ? FLAGS | constants.DP_OPF_MODIFY : FLAGS;
    const ops = this.#ops;
    const { actions } = verdict;
    const start = ops.append(
      constants.DP_OP_PUT,
      flags,
      undefined,
      mask,
      actions,
      NO_PACKET,
    );
    ops.words[(start + dpOp.upcall) >> 2] = upcall.at;
    return true;
  }
}
