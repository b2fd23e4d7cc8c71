// SPDX-License-Identifier: Apache-2.0
/**
 * Flows and batches of operations of a datapath of this process.
 *
 * A batch is packed into one buffer that is used again, and run by one call.  This is half of what a decision of a program
 * costs, so it is written for speed: no objects between an operation and its bytes, and results that say no more than
 * "done" are all the same object.
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
import type {
  FlowDump,
  FlowDumpOptions,
  FlowStats,
  OpResult,
  ProviderFlows,
  ProviderOp,
  RawFlow,
} from "../contract/provider.ts";
import { DatapathError } from "../errors.ts";
import type { Ufid } from "../ids.ts";
import { ufidBytes, ufidText } from "../odp/mod.ts";
import type { Context } from "./datapath.ts";
import { check, reason } from "./library.ts";

/** A packet is at most this long; one byte more is packed of a longer one, so that it is refused. */
const MAX_PACKET = 65535;
/** Room in the buffer of results for what one "get" answers. */
const GET_ROOM = 4096;
/** Room for a flow with attributes of the largest size. */
const MAX_GET_ROOM = 4 * 65536;
/** A batch goes to the library when it is this long, bytes. */
const CHUNK = 4 << 20;
const UFID_SIZE = 16;
const DUMP_ROOM = 1 << 18;
const ENOBUFS = 105;
const ENOENT = 2;
const EEXIST = 17;
const E2BIG = 7;

const DONE: OpResult = Object.freeze({ ok: true });
const empty = new Uint8Array(0);

/** Flow table over `dp_operate`, `dp_flow_*` and `dp_dump_*`. */
export class NetdevFlows implements ProviderFlows {
  readonly #context: Context;
  #ops = new Uint8Array(1 << 16);
  #opWords = new Uint32Array(this.#ops.buffer);
  #results = new Uint8Array(1 << 15);
  #resultWords = new Uint32Array(this.#results.buffer);
  readonly #used = new Uint8Array(4);
  /** Bytes of `#ops` in use. */
  #at = 0;
  /** Bytes that the results of the operations in `#ops` may take. */
  #room = 0;
  /** Key and mask of the last operation that had one: programs put a flow and execute its packet. */
  #key: Uint8Array | undefined;
  #mask: Uint8Array | undefined;

  constructor(context: Context) {
    this.#context = context;
  }

  operate(ops: readonly ProviderOp[]): OpResult[] {
    const results = new Array<OpResult>(ops.length);
    let first = 0;
    this.#start();
    for (let i = 0; i < ops.length; i++) {
      this.#pack(ops[i] as ProviderOp, GET_ROOM);
      if (this.#at < CHUNK && i + 1 < ops.length) continue;
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
    this.#at = 0;
    this.#room = 0;
    this.#key = undefined;
    this.#mask = undefined;
  }

  /** Runs what is packed: operations `first` to `end`. */
  #run(
    ops: readonly ProviderOp[],
    first: number,
    end: number,
    results: OpResult[],
  ): void {
    const { symbols, dp, subject } = this.#context;
    if (this.#results.length < this.#room) {
      this.#results = new Uint8Array(2 * this.#room);
      this.#resultWords = new Uint32Array(this.#results.buffer);
    }
    const errno = symbols.dp_operate(
      dp,
      this.#ops,
      this.#at,
      end - first,
      this.#results,
      this.#results.length,
      this.#used,
    );
    check(symbols, errno, subject("operate"));
    const words = this.#resultWords;
    const retries: number[] = [];
    let at = 0;
    for (let i = first; i < end; i++) {
      const error = words[(at + dpResult.error) >> 2] as number;
      const op = ops[i] as ProviderOp;
      if (error === ENOBUFS && op.op === "get") retries.push(i);
      results[i] = error !== 0
        ? this.#failed(error, op, end - first === 1)
        : op.op === "get"
        ? { ok: true, flow: readFlow(this.#results, at, resultFields) }
        : op.op !== "execute" && op.wantStats === true
        ? { ok: true, stats: readStats(this.#results, at + dpResult.stats) }
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
      this.#ops,
      this.#at,
      1,
      results,
      results.length,
      this.#used,
    );
    check(symbols, errno, subject("operate"));
    const error = new DataView(results.buffer).getUint32(dpResult.error, true);
    if (error !== 0) return this.#failed(error, op, true);
    return { ok: true, flow: readFlow(results, 0, resultFields) };
  }

  /** `alone`: the library's last words are about this operation. */
  #failed(errno: number, op: ProviderOp, alone: boolean): OpResult {
    const { symbols } = this.#context;
    // Programs provoke the two others all the time, and know why.
    const asked = alone && errno !== EEXIST && errno !== ENOENT;
    return new Failed(errno, op.op, this.#context, asked ? reason(symbols) : undefined);
  }

  #pack(op: ProviderOp, getRoom: number): void {
    let type: number = constants.DP_OP_EXECUTE;
    let flags = 0;
    let mask = empty as Uint8Array;
    let actions = empty as Uint8Array;
    let packet = empty as Uint8Array;
    let ufid: Ufid | undefined;
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
        if (op.mask !== undefined) {
          mask = op.mask;
          flags |= constants.DP_OPF_MASK;
        }
      } else if (op.op === "delete") {
        type = constants.DP_OP_DELETE;
        if (op.wantStats === true) flags |= constants.DP_OPF_WANT_STATS;
      } else {
        type = constants.DP_OP_GET;
        room += getRoom;
      }
    }
    if (packet.length > MAX_PACKET) packet = packet.subarray(0, MAX_PACKET + 1);
    let key = op.key ?? empty;
    if (op.key !== undefined && op.key === this.#key) {
      key = empty;
      flags |= constants.DP_OPF_SAME_KEY;
    } else {
      this.#key = op.key;
    }
    if (op.op === "put") {
      if (op.mask !== undefined && op.mask === this.#mask) {
        mask = empty;
        flags |= constants.DP_OPF_SAME_MASK;
      } else {
        this.#mask = op.mask;
      }
    }
    const start = this.#at;
    const size = dpOp.structSize + padded(key.length) + padded(mask.length) +
      padded(actions.length) + padded(packet.length);
    if (start + size > this.#ops.length) this.#grow(start + size);
    this.#room += room;

    const words = this.#opWords;
    const word = start >> 2;
    words[word + (dpOp.size >> 2)] = size;
    words[word + (dpOp.type >> 2)] = type;
    words[word + (dpOp.flags >> 2)] = ufid === undefined
      ? flags
      : flags | constants.DP_OPF_UFID;
    words[word + (dpOp.keySize >> 2)] = key.length;
    words[word + (dpOp.maskSize >> 2)] = mask.length;
    words[word + (dpOp.actionsSize >> 2)] = actions.length;
    words[word + (dpOp.packetSize >> 2)] = packet.length;
    const hash = op.op === "execute" ? op.hash : undefined;
    words[word + (dpOp.hash >> 2)] = hash === undefined ? 0 : Number(hash & 0xffffffffn);
    words[word + (dpOp.hash >> 2) + 1] = hash === undefined ? 0 : Number(hash >> 32n);

    const bytes = this.#ops;
    if (ufid !== undefined) bytes.set(ufidBytes(ufid), start + dpOp.ufid);
    let at = start + dpOp.structSize;
    copy(key, bytes, at);
    at += padded(key.length);
    copy(mask, bytes, at);
    at += padded(mask.length);
    copy(actions, bytes, at);
    at += padded(actions.length);
    copy(packet, bytes, at);
    this.#at = start + size;
  }

  #grow(size: number): void {
    const bytes = new Uint8Array(2 * size + 7 & ~7);
    bytes.set(this.#ops.subarray(0, this.#at));
    this.#ops = bytes;
    this.#opWords = new Uint32Array(bytes.buffer);
  }
}

function padded(size: number): number {
  return size + 7 & ~7;
}

/** Copies `source`. A loop is faster than `set` up to some words. */
function copy(source: Uint8Array, target: Uint8Array, at: number): void {
  const size = source.length;
  if (size > 24) target.set(source, at);
  else for (let i = 0; i < size; i++) target[at + i] = source[i] as number;
}

/** An operation that failed. Errors take microseconds to make, and of most nobody looks at more than `ok`. */
export class Failed {
  readonly ok = false;
  readonly #errno: number;
  readonly #op: ProviderOp["op"];
  readonly #context: Context;
  readonly #detail: string | undefined;
  #error: DatapathError | undefined;

  constructor(
    errno: number,
    op: ProviderOp["op"],
    context: Context,
    detail: string | undefined,
  ) {
    this.#errno = errno;
    this.#op = op;
    this.#context = context;
    this.#detail = detail;
  }

  get error(): DatapathError {
    return this.#error ??= new DatapathError({
      operation: this.#op === "execute" ? "execute" : `${this.#op} flow`,
      datapath: this.#context.fullName,
      code: this.#errno,
      detail: this.#detail,
    });
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
    const bytes = this.#records.slice(0, used);
    const view = new DataView(bytes.buffer);
    const flows: RawFlow[] = [];
    for (
      let at = 0;
      flows.length < count;
      at += view.getUint32(at + dpFlowRecord.size, true)
    ) {
      flows.push(readFlow(bytes, at, dpFlowRecord, true));
    }
    return flows;
  }
}

interface FlowFields {
  readonly structSize: number;
  readonly keySize: number;
  readonly maskSize: number;
  readonly actionsSize: number;
  readonly ufid: number;
  readonly stats: number;
}

const resultFields: FlowFields = dpResult;

/** Reads a flow at `at`. `shared`: `bytes` belong to the flow's reader, so that its parts need no copies. */
function readFlow(
  bytes: Uint8Array<ArrayBuffer>,
  at: number,
  fields: FlowFields,
  shared = false,
): RawFlow {
  const view = new DataView(bytes.buffer, at);
  let next = at + fields.structSize;
  const part = (sizeAt: number): Uint8Array => {
    const size = view.getUint32(sizeAt, true);
    const start = next;
    next += padded(size);
    return shared
      ? bytes.subarray(start, start + size)
      : bytes.slice(start, start + size);
  };
  const ufid = ufidText(bytes.subarray(at + fields.ufid, at + fields.ufid + UFID_SIZE));
  const stats = readStats(bytes, at + fields.stats);
  // A key has two attributes at least, so one without any was left out.
  if (view.getUint32(fields.keySize, true) === 0) return { ufid, stats, layer: "ovs" };
  return {
    key: part(fields.keySize),
    mask: part(fields.maskSize),
    actions: part(fields.actionsSize),
    ufid,
    stats,
    layer: "ovs",
  };
}

function readStats(bytes: Uint8Array<ArrayBuffer>, at: number): FlowStats {
  const view = new DataView(bytes.buffer, at);
  const usedMs = view.getBigUint64(dpFlowStats.usedMs, true);
  return {
    packets: view.getBigUint64(dpFlowStats.packets, true),
    bytes: view.getBigUint64(dpFlowStats.bytes, true),
    ...(usedMs !== 0n && { usedMs }),
    tcpFlags: view.getUint32(dpFlowStats.tcpFlags, true),
  };
}
