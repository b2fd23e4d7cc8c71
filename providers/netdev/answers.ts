// SPDX-License-Identifier: Apache-2.0
/**
 * Answers to upcalls by their place in the arena: the library still has keys and packets, so that an answer is a header, a mask where
 * it is another than the one before, and actions.
 *
 * @module
 */
import { constants, dpOp, dpResult } from "../../ffi/layout.ts";
import type { OpResult, RawUpcall } from "../contract/provider.ts";
import type { AnswerFacet, RawAnswer } from "../contract/more.ts";
import { RecurringMask } from "../odp/mod.ts";
import type { Context } from "./datapath.ts";
import { check } from "./library.ts";
import { Failed } from "./flows.ts";
import { NetdevUpcall, type UpcallBatch } from "./upcalls.ts";

const FLAGS = constants.DP_OPF_CREATE | constants.DP_OPF_PACKET | constants.DP_OPF_UPCALL;
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

/** Answers over `dp_upcall_exchange`. */
export class NetdevAnswers implements AnswerFacet {
  readonly #context: Context;
  readonly #recurring = new RecurringMask();
  #ops = new Uint8Array(1 << 15);
  #words = new Uint32Array(this.#ops.buffer);
  #results = new Uint8Array(0);
  #resultWords = new Uint32Array(0);
  /** Bytes of `#ops` in use, and answers in it. */
  #at = 0;
  #count = 0;
  #mask: Uint8Array | undefined;

  constructor(context: Context) {
    this.#context = context;
  }

  answer(
    upcalls: readonly RawUpcall[],
    answers: readonly (RawAnswer | undefined)[],
  ): (OpResult | undefined)[] | undefined {
    const batch = batchOf(upcalls);
    if (batch === undefined) return undefined;
    this.#at = 0;
    this.#count = 0;
    this.#mask = undefined;
    for (let i = 0; i < upcalls.length; i++) {
      const answer = answers[i];
      if (answer === undefined) continue;
      if (!this.#pack(upcalls[i] as NetdevUpcall, answer)) return undefined;
    }
    const room = this.#count * dpResult.structSize;
    if (this.#results.length < room) {
      this.#results = new Uint8Array(2 * room);
      this.#resultWords = new Uint32Array(this.#results.buffer);
    }
    const { symbols, subject } = this.#context;
    const errno = batch.exchange(this.#ops, this.#at, this.#count, this.#results);
    check(symbols, errno, subject("answer upcalls"));
    return this.#read(answers);
  }

  #read(answers: readonly (RawAnswer | undefined)[]): (OpResult | undefined)[] {
    const results = new Array<OpResult | undefined>(answers.length);
    let at = dpResult.error;
    for (let i = 0; i < answers.length; i++) {
      if (answers[i] === undefined) continue;
      const error = this.#resultWords[at >> 2] as number;
      results[i] = error === 0
        ? DONE
        : new Failed(error, "put", this.#context, undefined);
      at += dpResult.structSize;
    }
    return results;
  }

  /** False: the flow needs more in its key than the packet has. */
  #pack(upcall: NetdevUpcall, answer: RawAnswer): boolean {
    let flags: number = answer.modify === true ? FLAGS | constants.DP_OPF_MODIFY : FLAGS;
    const { actions } = answer;
    let mask: Uint8Array | undefined;
    if (answer.mask instanceof Uint8Array) {
      mask = answer.mask;
    } else if (answer.mask !== undefined) {
      const { batch: { words }, keyAt, keySize } = upcall;
      mask = this.#recurring.recall(answer.mask, words, keyAt, keySize);
      if (mask === undefined) {
        const { key } = upcall;
        const flow = this.#recurring.learn(answer.mask, key);
        if (flow.key !== key) return false;
        mask = flow.mask;
      }
    }
    if (mask !== undefined) flags |= constants.DP_OPF_MASK;
    const isSame = mask !== undefined && mask === this.#mask;
    if (isSame) flags |= constants.DP_OPF_SAME_MASK;
    this.#mask = mask;

    const maskSize = isSame || mask === undefined ? 0 : mask.length;
    const size = dpOp.structSize + padded(maskSize) + padded(actions.length);
    const start = this.#at;
    if (start + size > this.#ops.length) this.#grow(start + size);
    const words = this.#words;
    const word = start >> 2;
    words[word + (dpOp.size >> 2)] = size;
    words[word + (dpOp.type >> 2)] = constants.DP_OP_PUT;
    words[word + (dpOp.flags >> 2)] = flags;
    words[word + (dpOp.keySize >> 2)] = 0;
    words[word + (dpOp.maskSize >> 2)] = maskSize;
    words[word + (dpOp.actionsSize >> 2)] = actions.length;
    words[word + (dpOp.packetSize >> 2)] = 0;
    words[word + (dpOp.upcall >> 2)] = upcall.at;
    const bytes = this.#ops;
    const next = start + dpOp.structSize;
    if (maskSize > 0) bytes.set(mask as Uint8Array, next);
    const actionsAt = next + padded(maskSize);
    if (actions.length > 24) bytes.set(actions, actionsAt);
    else {
      for (let i = 0; i < actions.length; i++) {
        bytes[actionsAt + i] = actions[i] as number;
      }
    }
    this.#at = start + size;
    this.#count++;
    return true;
  }

  #grow(size: number): void {
    const bytes = new Uint8Array(2 * size + 7 & ~7);
    bytes.set(this.#ops.subarray(0, this.#at));
    this.#ops = bytes;
    this.#words = new Uint32Array(bytes.buffer);
  }
}

function padded(size: number): number {
  return size + 7 & ~7;
}
