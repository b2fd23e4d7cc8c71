// SPDX-License-Identifier: Apache-2.0
/**
 * Flows and batches of operations of a datapath of this process.
 *
 * A batch is packed into one buffer and run by one call. Results that say no more than "done" are
 * all the same object.
 *
 * @module
 */
import {
  constants,
  dpFlowRecord,
  dpFlowStats,
  dpOp,
  dpResult,
} from "../../ffi/layout.ts";
import {
  type FlowDump,
  type FlowDumpOptions,
  type FlowStats,
  type OpResult,
  plainFlow,
  type ProviderFlows,
  type ProviderOp,
  type RawFlow,
} from "../contract/flows.ts";
import { Errno } from "../errno.ts";
import type { Ufid } from "../ids.ts";
import { ufidBytes, ufidText } from "../odp/mod.ts";
import type { Context } from "./context.ts";
import { check, reason } from "./library.ts";
import { OpBuffer, padded, ResultBuffer } from "./op_buffer.ts";

/**
 * A packet is at most this long; one byte more is packed of a longer one, so that it is refused.
 */
const MAX_PACKET = 65535;
/** Room in the buffer of results for what one "get" returns. */
const GET_ROOM = 4096;
/** Room for a flow with attributes of the largest size. */
const MAX_GET_ROOM = 4 * 65536;
/** A batch goes to the library when it is this long, bytes. */
const CHUNK = 4 << 20;
const DUMP_ROOM = 1 << 18;
const { E2BIG, EEXIST, ENOBUFS, ENOENT } = Errno;

const DONE: OpResult = Object.freeze({ ok: true });
const empty = new Uint8Array(0);

/** Flow table over `dp_operate`, `dp_flow_*` and `dp_dump_*`. */
export class NetdevFlows implements ProviderFlows {
  readonly changesByName = true;
  readonly #context: Context;
  readonly #ops = new OpBuffer(1 << 16);
  readonly #results = new ResultBuffer();
  readonly #used = new Uint8Array(4);
  /** Bytes that the results of the operations in `#ops` may take. */
  #room = 0;

  constructor(context: Context) {
    this.#context = context;
  }

  operate(ops: readonly ProviderOp[]): OpResult[] {
    const results = new Array<OpResult>(ops.length);
    let first = 0;
    this.#start();
    for (let i = 0; i < ops.length; i++) {
      this.#pack(ops[i] as ProviderOp, GET_ROOM);
      if (this.#ops.at < CHUNK && i + 1 < ops.length) continue;
      this.#run(ops, first, i + 1, results);
      first = i + 1;
      this.#start();
    }
    return results;
  }

  flush(): void {
    const { symbols, dp, subject } = this.#context;
    check(symbols, symbols.dp_flow_flush(dp), subject("flush flows"));
  }

  dump(options: FlowDumpOptions): FlowDump {
    return new NetdevFlowDump(this.#context, options.terse ?? false);
  }

  /** Makes the buffer of operations empty. */
  #start(): void {
    this.#ops.clear();
    this.#room = 0;
  }

  /** Runs what is packed: operations `first` to `end`. */
  #run(
    ops: readonly ProviderOp[],
    first: number,
    end: number,
    results: OpResult[],
  ): void {
    const { symbols, dp, subject } = this.#context;
    this.#results.reserve(this.#room);
    const { bytes, words, view } = this.#results;
    const errno = symbols.dp_operate(
      dp,
      this.#ops.bytes,
      this.#ops.at,
      this.#ops.count,
      bytes,
      bytes.length,
      this.#used,
    );
    check(symbols, errno, subject("operate"));
    const retries: number[] = [];
    let at = 0;
    for (let i = first; i < end; i++) {
      const error = words[(at + dpResult.error) >> 2] as number;
      const op = ops[i] as ProviderOp;
      if (error === ENOBUFS && op.op === "get") retries.push(i);
      results[i] = error === EEXIST && op.op === "put"
        ? { ok: false, code: error, there: ufidText(bytes, at + dpResult.ufid) }
        : error !== 0
        ? this.#failed(error, end - first === 1)
        : op.op === "get"
        ? { ok: true, flow: readFlow(bytes, view, at) }
        : op.op !== "execute" && op.wantStats
        ? { ok: true, stats: readStats(view, at + dpResult.stats) }
        : DONE;
      at += words[(at + dpResult.size) >> 2] as number;
    }
    for (const i of retries) results[i] = this.#getLarge(ops[i] as ProviderOp);
  }

  /** Gets a flow that did not fit. */
  #getLarge(op: ProviderOp): OpResult {
    this.#start();
    this.#pack(op, MAX_GET_ROOM);
    const { symbols, dp, subject } = this.#context;
    const results = new Uint8Array(this.#room);
    const errno = symbols.dp_operate(
      dp,
      this.#ops.bytes,
      this.#ops.at,
      1,
      results,
      results.length,
      this.#used,
    );
    check(symbols, errno, subject("operate"));
    const view = new DataView(results.buffer);
    const error = view.getUint32(dpResult.error, true);
    if (error !== 0) return this.#failed(error, true);
    return { ok: true, flow: readFlow(results, view, 0) };
  }

  /** `alone`: the library's last words are about this operation. */
  #failed(code: number, alone: boolean): OpResult {
    // Programs provoke the two others all the time, and know why.
    if (!alone || code === EEXIST || code === ENOENT) return { ok: false, code };
    return { ok: false, code, detail: reason(this.#context.symbols) };
  }

  #pack(op: ProviderOp, getRoom: number): void {
    let type: number = constants.DP_OP_EXECUTE;
    let flags = 0;
    let mask: Uint8Array | undefined;
    let actions = empty as Uint8Array;
    let packet = empty as Uint8Array;
    let ufid: Ufid | Uint8Array | undefined;
    let room: number = dpResult.structSize;
    if (op.op === "execute") {
      ({ actions, packet } = op);
      if (op.probe === true) flags = constants.DP_OPF_PROBE;
    } else {
      ufid = op.ufid;
      if (op.op === "put") {
        type = constants.DP_OP_PUT;
        actions = op.actions;
        if (op.packet !== undefined) {
          packet = op.packet;
          flags |= constants.DP_OPF_PACKET;
        }
        if (op.create) flags |= constants.DP_OPF_CREATE;
        if (op.modify) flags |= constants.DP_OPF_MODIFY;
        if (op.zeroStats === true) flags |= constants.DP_OPF_ZERO_STATS;
        if (op.probe === true) flags |= constants.DP_OPF_PROBE;
        if (op.wantStats === true) flags |= constants.DP_OPF_WANT_STATS;
        mask = op.mask;
      } else if (op.op === "delete") {
        type = constants.DP_OP_DELETE;
        if (op.wantStats) flags |= constants.DP_OPF_WANT_STATS;
        if (op.wantStats === "final") flags |= constants.DP_OPF_FINAL_STATS;
      } else {
        type = constants.DP_OP_GET;
        room += getRoom;
      }
    }
    if (packet.length > MAX_PACKET) packet = packet.subarray(0, MAX_PACKET + 1);
    if (ufid !== undefined) flags |= constants.DP_OPF_UFID;
    this.#room += room;
    const ops = this.#ops;
    const start = ops.append(type, flags, op.key, mask, actions, packet);
    if (ufid !== undefined) ops.bytes.set(ufidBytes(ufid), start + dpOp.ufid);
    if ((op.op === "execute" || op.op === "put") && op.hash !== undefined) {
      const at = (start + dpOp.hash) >> 2;
      ops.words[at] = Number(op.hash & 0xffffffffn);
      ops.words[at + 1] = Number(op.hash >> 32n);
    }
  }
}

/** A listing under way over `dp_dump_*`. */
class NetdevFlowDump implements FlowDump {
  readonly #context: Context;
  readonly #dump: bigint;
  #records = new Uint8Array(DUMP_ROOM);
  readonly #count = new Uint32Array(1);
  readonly #used = new Uint32Array(1);
  #open = true;

  constructor(context: Context, terse: boolean) {
    const { symbols, dp, subject } = context;
    const handle = new BigUint64Array(1);
    const flags = terse ? constants.DP_DUMP_TERSE : 0;
    const errno = symbols.dp_dump_open(dp, flags, new Uint8Array(handle.buffer));
    check(symbols, errno, subject("dump flows"));
    this.#context = context;
    this.#dump = handle[0] as bigint;
  }

  next(max: number): RawFlow[] {
    if (!this.#open || max <= 0) return [];
    const { symbols, subject } = this.#context;
    for (;;) {
      const errno = symbols.dp_dump_next(
        this.#dump,
        max,
        this.#records,
        this.#records.length,
        new Uint8Array(this.#count.buffer),
        new Uint8Array(this.#used.buffer),
      );
      // One flow that is larger than all the room.
      if (
        (errno === ENOBUFS || errno === E2BIG) && this.#records.length < MAX_GET_ROOM * 4
      ) {
        this.#records = new Uint8Array(this.#records.length * 2);
        continue;
      }
      check(symbols, errno, subject("dump flows"));
      return this.#read(this.#count[0] as number, this.#used[0] as number);
    }
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#context.symbols.dp_dump_close(this.#dump);
  }

  #read(count: number, used: number): RawFlow[] {
    if (count === 0) return [];
    // One copy for all of them: flows are the caller's, and the buffer is used again.
    const records = new Records(this.#records.slice(0, used));
    const flows = new Array<RawFlow>(count);
    let at = 0;
    for (let i = 0; i < count; i++) {
      flows[i] = new ListedFlow(records, at);
      at += records.view.getUint32(at + dpFlowRecord.size, true);
    }
    return flows;
  }
}

/** Flows that were listed together: one copy of what the library wrote. */
class Records {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly view: DataView<ArrayBuffer>;

  constructor(bytes: Uint8Array<ArrayBuffer>) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer);
  }
}

/** A listed flow, read when it is looked at: programs list millions for a part of each. */
class ListedFlow implements RawFlow {
  readonly plain = plainFlow;
  readonly #records: Records;
  readonly #at: number;

  /** `at` is where its `struct dp_flow_record` is. */
  constructor(records: Records, at: number) {
    this.#records = records;
    this.#at = at;
  }

  get key(): Uint8Array | undefined {
    return this.#part(dpFlowRecord.keySize, 0);
  }

  get mask(): Uint8Array | undefined {
    return this.#part(dpFlowRecord.maskSize, this.#padded(dpFlowRecord.keySize));
  }

  get actions(): Uint8Array | undefined {
    const before = this.#padded(dpFlowRecord.keySize) +
      this.#padded(dpFlowRecord.maskSize);
    return this.#part(dpFlowRecord.actionsSize, before);
  }

  get layer(): string {
    return "ovs";
  }

  get ufid(): Ufid {
    return ufidText(this.#records.bytes, this.#at + dpFlowRecord.ufid);
  }

  /** @ignore */
  writeUfid(to: Uint32Array): void {
    const { view } = this.#records;
    const at = this.#at + dpFlowRecord.ufid;
    for (let i = 0; i < 4; i++) to[i] = view.getUint32(at + 4 * i, true);
  }

  get packetCount(): number {
    const { view } = this.#records;
    const at = this.#at + dpFlowRecord.stats + dpFlowStats.packets;
    return view.getUint32(at, true) + 2 ** 32 * view.getUint32(at + 4, true);
  }

  get stats(): FlowStats {
    return readStats(this.#records.view, this.#at + dpFlowRecord.stats);
  }

  #padded(field: number): number {
    return padded(this.#records.view.getUint32(this.#at + field, true));
  }

  #part(field: number, before: number): Uint8Array | undefined {
    const { bytes, view } = this.#records;
    // A key has two attributes at least, so one without any was left out.
    if (view.getUint32(this.#at + dpFlowRecord.keySize, true) === 0) return undefined;
    const start = this.#at + dpFlowRecord.structSize + before;
    return new Uint8Array(bytes.buffer, start, view.getUint32(this.#at + field, true));
  }
}

/** Reads the flow of a result at `at`. Its parts are copies: the buffer is used again. */
function readFlow(bytes: Uint8Array<ArrayBuffer>, view: DataView, at: number): RawFlow {
  let next = at + dpResult.structSize;
  const part = (sizeAt: number): Uint8Array => {
    const size = view.getUint32(at + sizeAt, true);
    const start = next;
    next += padded(size);
    return bytes.slice(start, start + size);
  };
  return {
    key: part(dpResult.keySize),
    mask: part(dpResult.maskSize),
    actions: part(dpResult.actionsSize),
    ufid: ufidText(bytes, at + dpResult.ufid),
    stats: readStats(view, at + dpResult.stats),
    layer: "ovs",
  };
}

function readStats(view: DataView, at: number): FlowStats {
  const packets = view.getBigUint64(at + dpFlowStats.packets, true);
  const bytes = view.getBigUint64(at + dpFlowStats.bytes, true);
  const usedMs = view.getBigUint64(at + dpFlowStats.usedMs, true);
  const tcpFlags = view.getUint32(at + dpFlowStats.tcpFlags, true);
  return usedMs === 0n
    ? { packets, bytes, tcpFlags }
    : { packets, bytes, usedMs, tcpFlags };
}
