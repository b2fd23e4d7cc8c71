// SPDX-License-Identifier: Apache-2.0
/**
 * Batches of operations: packed into as few messages to the kernel as fit.
 *
 * @module
 */
import { AttributeError } from "../codec/errors.ts";
import type { OpResult, ProviderFlowPut, ProviderOp } from "../contract/flows.ts";
import type { ErrnoName } from "../errno.ts";
import { findCovering } from "./flow_search.ts";
import { SystemFlows } from "./flow_table.ts";
import { parseFlow, writeLookup, writePut } from "./flows.ts";
import { checkReply, MessageWriter, NetlinkError, type Outcome } from "../netlink/mod.ts";
import { reasonOf } from "../netlink/errors.ts";
import { Kernel } from "./ovs.ts";
import { writeExecute } from "./packets.ts";

/** A batch goes out when it is this long: bytes, well below what a socket may send at once. */
const batchBytes = 64 << 10;
/**
 * Or when its answers may fill a small queue of a socket: an acknowledgement counts as one, a
 * flow's counters as four.
 */
const batchWeight = 256;

const succeeded: OpResult = { ok: true };

function failed(error: unknown): OpResult {
  if (error instanceof NetlinkError) return { ok: false, ...reasonOf(error) };
  // What cannot be written into a message, no datapath would take.
  const code = error instanceof AttributeError ? error.code : "EINVAL";
  const detail = error instanceof Error ? error.message : String(error);
  return { ok: false, code, detail, cause: error };
}

/** Whether an operation changes a flow that may be there, and has it count anew. */
function isRenewal(op: ProviderOp): op is ProviderFlowPut {
  return op.op === "put" && op.create && op.modify && op.zeroStats === true;
}

/**
 * Whether an operation names a flow by a key, so that one that covers the key is looked for when
 * the kernel knows none by the very key.  A put that also creates is looked for as well, but says
 * ENOENT only when a flow is there that later puts cannot have added.
 */
function isSearched(op: ProviderOp): boolean {
  if (op.op === "execute") return false;
  if (op.op === "put") return op.modify && !op.create;
  return op.ufid === undefined;
}

function isError(result: OpResult, code: ErrnoName): boolean {
  return !result.ok && result.code === code;
}

/** Runs operations on one datapath. Belongs to one isolate. */
export class Operations {
  readonly #kernel: Kernel;
  readonly #ifindex: number;
  readonly #flows: SystemFlows;
  readonly #writer = new MessageWriter(batchBytes);

  /** `datapath` is the full name, for errors. */
  constructor(kernel: Kernel, ifindex: number, datapath: string) {
    this.#kernel = kernel;
    this.#ifindex = ifindex;
    this.#flows = new SystemFlows(kernel, ifindex, datapath);
  }

  /**
   * Runs `ops` in order; one result for each.
   *
   * What only asks goes in batches of its own: its answers may be too long for the socket's
   * queue, and would take the place of acknowledgements of what must not be done twice.
   */
  run(ops: readonly ProviderOp[]): OpResult[] {
    const results: OpResult[] = new Array(ops.length);
    const writer = this.#writer;
    /** Indexes of the operations in the writer. */
    let batch: number[] = [];
    let weight = 0;
    let asks = false;
    /** Whether the batch names flows by key, so that the table may have to be looked through. */
    let mayBeSearched = false;
    const send = (): void => {
      this.#send(ops, batch, results, asks);
      batch = [];
      weight = 0;
      mayBeSearched = false;
    };
    writer.reset();
    for (const [index, op] of ops.entries()) {
      // A search must not find what a later operation of the batch puts.
      const changes = op.op === "put" || op.op === "execute";
      if ((op.op === "get") !== asks || (changes && mayBeSearched)) send();
      asks = op.op === "get";
      if (isRenewal(op)) {
        send();
        results[index] = this.#renew(op);
        continue;
      }
      const start = writer.length;
      try {
        this.#write(op);
        batch.push(index);
        mayBeSearched ||= isSearched(op);
        weight += "wantStats" in op && op.wantStats ? 4 : 1;
      } catch (error) {
        writer.reset(start);
        results[index] = failed(error);
      }
      if (writer.length >= batchBytes || weight >= batchWeight) send();
    }
    send();
    return results;
  }

  #write(op: ProviderOp): void {
    switch (op.op) {
      case "put":
        return writePut(this.#writer, this.#kernel, this.#ifindex, op);
      case "execute":
        return writeExecute(this.#writer, this.#kernel, this.#ifindex, op);
      default:
        return writeLookup(this.#writer, this.#kernel, this.#ifindex, op);
    }
  }

  #send(
    ops: readonly ProviderOp[],
    batch: readonly number[],
    results: OpResult[],
    repeatable: boolean,
  ): void {
    if (batch.length === 0) return;
    let outcomes: Outcome[];
    try {
      outcomes = this.#kernel.genl.conversation.exchange(this.#writer.bytes, {
        repeatable,
      });
    } catch (error) {
      for (const index of batch) {
        results[index] = failed(error);
      }
      return;
    } finally {
      this.#writer.reset();
    }
    for (const [i, index] of batch.entries()) {
      const outcome = outcomes[i] as Outcome;
      const op = ops[index] as ProviderOp;
      results[index] = this.#resultOf(op, outcome);
    }
    // Afterwards, because all of the batch has been done by now.
    for (const index of batch) {
      const found = this.#searched(ops[index] as ProviderOp, results[index] as OpResult);
      if (found) results[index] = found;
    }
  }

  #resultOf(op: ProviderOp, outcome: Outcome): OpResult {
    return outcome.error ? failed(outcome.error) : this.#result(op, outcome);
  }

  /** Runs one operation by itself. */
  #alone(op: ProviderOp): OpResult {
    this.#writer.reset();
    try {
      this.#write(op);
      const repeatable = op.op === "get";
      const { conversation } = this.#kernel.genl;
      const [outcome] = conversation.exchange(this.#writer.bytes, { repeatable });
      return this.#resultOf(op, outcome as Outcome);
    } catch (error) {
      return failed(error);
    } finally {
      this.#writer.reset();
    }
  }

  /**
   * Changes a flow and has it count anew, or adds it.  Only the request that changes what is there
   * has the kernel clear counters; the one that also adds passes over the wish.
   */
  #renew(op: ProviderFlowPut): OpResult {
    for (let tries = 1;; tries++) {
      const change: ProviderFlowPut = { ...op, create: false };
      const changed = this.#alone(change);
      const result = this.#searched(change, changed) ?? changed;
      if (!isError(result, "ENOENT")) return result;
      const added = this.#alone({ ...op, modify: false });
      // Somebody may have added it between the two, and may delete it again.
      if (!isError(added, "EEXIST") || tries === 3) return added;
    }
  }

  /**
   * What comes of an operation on the flow that covers its key, if the kernel knew no flow by the
   * very key; undefined if there is nothing to look for, or nothing found.
   */
  #searched(op: ProviderOp, result: OpResult): OpResult | undefined {
    if (op.op === "execute" || op.key === undefined || !isError(result, "ENOENT")) {
      return undefined;
    }
    const isModification = op.op === "put" && op.modify;
    if (!isSearched(op) && !isModification) return undefined;
    // A flow of that UFID has another key or mask, and is not to be changed.
    const { ufid } = op;
    if (ufid !== undefined && this.#alone({ op: "get", ufid }).ok) return undefined;
    try {
      const found = findCovering(this.#flows, op.key);
      if (found?.key === undefined) return undefined;
      const { ufid: _, ...rest } = op;
      const named = {
        ...rest,
        key: found.key,
        ...(found.ufid !== undefined && { ufid: found.ufid }),
      };
      if (named.op !== "put") return this.#alone(named);
      const mask = found.mask && { mask: found.mask };
      return this.#alone({ ...named, ...mask, create: false });
    } catch (error) {
      return failed(error);
    }
  }

  #result(op: ProviderOp, outcome: Outcome): OpResult {
    const wanted = op.op === "get" || ("wantStats" in op && op.wantStats);
    if (!wanted) return succeeded;
    if (!outcome.reply) {
      // A put that added a flow echoes it; a kernel that does not has nothing to count yet.
      return op.op === "get"
        ? { ok: false, code: "EPROTO", detail: "no reply" }
        : { ok: true, stats: { packets: 0n, bytes: 0n, tcpFlags: 0 } };
    }
    try {
      checkReply(this.#kernel.flow, outcome.reply);
      const flow = parseFlow(outcome.reply);
      return op.op === "get"
        ? { ok: true, flow, stats: flow.stats }
        : { ok: true, stats: flow.stats };
    } catch (error) {
      return failed(error);
    }
  }
}
