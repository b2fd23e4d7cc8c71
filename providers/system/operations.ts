// SPDX-License-Identifier: Apache-2.0
/**
 * Batches of operations: packed into as few messages to the kernel as fit.
 *
 * @module
 */
import type { OpResult, ProviderOp } from "../contract/flows.ts";
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
  const detail = error instanceof Error ? error.message : String(error);
  return { ok: false, code: "EIO", detail, cause: error };
}

/** Runs operations on one datapath. Belongs to one isolate. */
export class Operations {
  readonly #kernel: Kernel;
  readonly #ifindex: number;
  readonly #datapath: string;
  readonly #writer = new MessageWriter(batchBytes);

  /** `datapath` is the full name, for errors. */
  constructor(kernel: Kernel, ifindex: number, datapath: string) {
    this.#kernel = kernel;
    this.#ifindex = ifindex;
    this.#datapath = datapath;
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
    const send = (): void => {
      this.#send(ops, batch, results, asks);
      batch = [];
      weight = 0;
    };
    writer.reset();
    for (const [index, op] of ops.entries()) {
      if ((op.op === "get") !== asks) send();
      asks = op.op === "get";
      const start = writer.length;
      try {
        this.#write(op);
        batch.push(index);
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
      results[index] = outcome.error ? failed(outcome.error) : this.#result(op, outcome);
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
