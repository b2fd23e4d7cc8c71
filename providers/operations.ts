// SPDX-License-Identifier: Apache-2.0
/**
 * Operations as users write them, made into bytes for a provider; and results on their way back.
 *
 * @module
 */
import type {
  FlowStats,
  OpFailure,
  OpResult,
  ProviderExecute,
  ProviderFlowPut,
  ProviderOp,
} from "./contract/flows.ts";
import type { RawVerdict } from "./contract/upcalls.ts";
import { type ErrnoName, errnoName } from "./errno.ts";
import { DatapathError } from "./errors.ts";
import { Flow } from "./flow.ts";
import { type Ufid, ufid } from "./ids.ts";
import { integer } from "./check.ts";
import { formatActions, formatKey } from "./odp/mod.ts";
import { toActionBytes, toKeyAndMaskBytes, toKeyBytes } from "./odp/input.ts";
import { UFID_SIZE, ufidText } from "./odp/ufid.ts";
import type { ActionsInput, KeyInput, MaskInput } from "./types.ts";
import { originOf, type Upcall } from "./upcall.ts";

/** A flow to be put. Keys in text bring their own mask. */
export interface FlowPut {
  /** Key: object, text of ovs-dpctl(8), or attribute bytes. */
  readonly key: KeyInput;
  /**
   * Which bits of the key matter.  When absent: of a plain object what it names, in whole fields
   * and in parts of them; of a text what the text says; of an upcall's key, or of bytes, all that
   * there is.  A mask that the datapath cannot honour is refused (`EINVAL`), with the reason.
   */
  readonly mask?: MaskInput;
  /** What happens to packets; an empty list drops them. */
  readonly actions: ActionsInput;
  /**
   * Identifier for later: text, or its 16 bytes as `ufidBytes` of `./odp` makes them, which takes
   * less time. When absent, `netdev` makes one; a flow of the kernel then has none, and its key is
   * what names it.
   */
  readonly ufid?: Ufid | Uint8Array;
  /** Add it if there is none (the default). */
  readonly create?: boolean;
  /** Change it if there is one; otherwise that is `EEXIST`. */
  readonly modify?: boolean;
  /** With `modify`: start counting anew. */
  readonly zeroStats?: boolean;
  /**
   * Find out whether the datapath takes such a flow: put like any other, but a refusal is not
   * logged.
   */
  readonly probe?: boolean;
  /** Return the counters that the flow had before. */
  readonly wantStats?: boolean;
  /**
   * A packet of the flow, 14 to 65535 bytes. It is run through `actions` after the put, as by
   * "execute" with this key; most programs want this for an upcall. The packet is run whether or
   * not the put succeeds, because the flow may exist already (`EEXIST`). If the put succeeds and
   * the packet fails, the result is the failure of the packet.
   */
  readonly packet?: Uint8Array;
  /**
   * With `packet`: largest fragment of a packet that was put together, bytes, 0 to 65535; when
   * absent, as its upcall had it. Without it the kernel drops what is longer than the MTU.
   */
  readonly mru?: number;
  /** With `packet`: its hash, 64 bits; when absent, as its upcall had it. */
  readonly hash?: bigint;
}

/**
 * What a program says about an upcall: actions for the packet, and a flow with the same actions for
 * packets like it.
 */
export interface Verdict {
  /** Which bits of its key matter; all that it has when absent. */
  readonly mask?: MaskInput;
  /** What happens to the packet, and to those that hit the flow; an empty list drops them. */
  readonly actions: ActionsInput;
  /**
   * What to do if there is a flow already. Absent: leave it as it is, which is a success: several
   * packets of one new flow come up before the first of them has put it. `true`: give it these
   * actions; `false`: `EEXIST`.
   */
  readonly modify?: boolean;
}

/**
 * Names a flow: by its identifier, or by a key that it covers. A `Flow` names itself. The kernel
 * finds by key only flows without an identifier, by the very key of their put; `system` looks for
 * others in a listing of the table, which takes as long as that.
 */
export interface FlowReference {
  /** Key: object, text of ovs-dpctl(8), or attribute bytes. */
  readonly key?: KeyInput | undefined;
  /** Identifier, text or 16 bytes; goes before `key`. */
  readonly ufid?: Ufid | Uint8Array | undefined;
}

/** A packet to be run through actions. */
export interface Execute {
  /** From the Ethernet header on, 14 to 65535 bytes. */
  readonly packet: Uint8Array;
  /** Where it came from (`inPort`) and other metadata; headers are read from the packet. */
  readonly key?: KeyInput;
  /** What to do with it. */
  readonly actions: ActionsInput;
  /** Only find out whether the datapath would take it. */
  readonly probe?: boolean;
  /**
   * Largest fragment of a packet that was put together, bytes, 0 to 65535; when absent, as its
   * upcall had it.
   */
  readonly mru?: number;
  /** Its hash, 64 bits; when absent, as its upcall had it. */
  readonly hash?: bigint;
}

/** One of a batch of operations. */
export type Op =
  | (FlowPut & { readonly op: "put" })
  | (FlowReference & {
    readonly op: "delete";
    /**
     * Return the counters that the flow had. `"final"`: those of every packet that it forwarded;
     * `netdev` then waits until no poll thread counts for it any more, once for all of a batch.
     * That takes microseconds where their cores are free, and 100 ms at most. `system` takes it as
     * `true`: the kernel may count a packet more while the flow goes.
     */
    readonly wantStats?: boolean | "final";
  })
  | (FlowReference & { readonly op: "get" })
  | (Execute & { readonly op: "execute" });

/**
 * What came of one operation: `stats` if they were wanted, `flow` for "get". `code` is that of the
 * error, which takes more to make than most operations; `there` names the flow that a put met
 * (`EEXIST`), where the provider says it.
 */
export type Result =
  | { readonly ok: true; readonly stats?: FlowStats; readonly flow?: Flow }
  | {
    readonly ok: false;
    readonly error: DatapathError;
    readonly code?: ErrnoName;
    readonly there?: Ufid | undefined;
  };

/** The code of a result's error; undefined where there is none. */
export function codeOf(result: Result | undefined): ErrnoName | undefined {
  return result === undefined || result.ok ? undefined : result.code ?? result.error.code;
}

/**
 * Makes bytes of an operation. Throws `TypeError`, `RangeError` or `SyntaxError` for arguments that
 * are wrong whatever the datapath says of them.
 */
export function toProviderOp(op: Op): ProviderOp {
  switch (op.op) {
    case "execute":
      return executeOp(op);
    case "put":
      return putOp(op);
    case "delete":
      return { op: "delete", ...reference(op), wantStats: op.wantStats ?? false };
    case "get":
      return { op: "get", ...reference(op) };
    default:
      throw new TypeError(
        `Cannot operate: no such operation: ${(op as { op: unknown }).op}`,
      );
  }
}

/** Objects here are filled field by field: spreading costs more than the operation itself. */
type Mutable<T> = { -readonly [Name in keyof T]: T[Name] };

/** Bytes of "output to port n", by n. */
const outputs: (Uint8Array | undefined)[] = [];
const KEPT_OUTPUTS = 1024;

/**
 * Bytes of actions. Those of one output are kept: they are what most flows do, and making a small
 * array costs as much as all the rest of an operation. Providers only read them.
 */
function actionBytes(actions: ActionsInput): Uint8Array {
  const first = actions.length === 1 ? actions[0] : undefined;
  if (typeof first !== "object" || first.type !== "output") return toActionBytes(actions);
  const { port } = first;
  if (!(port >= 0 && port < KEPT_OUTPUTS)) return toActionBytes(actions);
  return outputs[port] ??= toActionBytes(actions);
}

function checkPacket(packet: unknown): void {
  if (!(packet instanceof Uint8Array)) {
    throw new TypeError("Cannot execute: packet must be a Uint8Array");
  }
}

/**
 * What a packet to execute brings besides its bytes, said here or known from its upcall. Throws
 * `RangeError` and `TypeError`.
 */
function putMetadata(
  from: { readonly packet?: Uint8Array; readonly mru?: number; readonly hash?: bigint },
  to: { mru?: number; hash?: bigint },
): void {
  const origin = from.packet && originOf(from.packet);
  const { mru = origin?.mru, hash = origin?.hash } = from;
  if (mru !== undefined) to.mru = integer("mru", mru, 0xffff);
  if (hash === undefined) return;
  if (typeof hash !== "bigint") {
    throw new TypeError(`hash must be a bigint: current value is ${hash}`);
  }
  if (hash < 0n || hash >= 1n << 64n) {
    throw new RangeError(`hash must have 64 bits at most: current value is ${hash}`);
  }
  to.hash = hash;
}

/**
 * Verdicts with their actions in bytes. Programs say the same again and again: that is made once.
 */
export function toRawVerdicts(
  verdicts: readonly (Verdict | undefined)[],
): (RawVerdict | undefined)[] {
  const raws = new Array<RawVerdict | undefined>(verdicts.length);
  let last: Verdict | undefined;
  let made: Mutable<RawVerdict> | undefined;
  for (let i = 0; i < verdicts.length; i++) {
    const verdict = verdicts[i];
    if (verdict !== last) {
      last = verdict;
      made = verdict && { actions: actionBytes(verdict.actions) };
      if (verdict?.mask !== undefined && made) made.mask = verdict.mask;
      if (verdict?.modify !== undefined && made) made.modify = verdict.modify;
    }
    raws[i] = made;
  }
  return raws;
}

function executeOp(op: Execute): ProviderExecute {
  checkPacket(op.packet);
  const made: Mutable<ProviderExecute> = {
    op: "execute",
    packet: op.packet,
    actions: actionBytes(op.actions),
  };
  if (op.key !== undefined) made.key = toKeyBytes(op.key);
  if (op.probe !== undefined) made.probe = op.probe;
  putMetadata(op, made);
  return made;
}

function putOp(op: FlowPut): ProviderFlowPut {
  const isRaw = op.key instanceof Uint8Array && op.mask instanceof Uint8Array;
  const { key, mask } = isRaw
    ? op as { key: Uint8Array; mask: Uint8Array }
    : toKeyAndMaskBytes(op.key, op.mask);
  const made: Mutable<ProviderFlowPut> = {
    op: "put",
    key,
    actions: actionBytes(op.actions),
    create: op.create ?? true,
    modify: op.modify ?? false,
  };
  if (mask !== undefined) made.mask = mask;
  if (op.ufid !== undefined) made.ufid = ufidOf(op.ufid);
  if (op.zeroStats !== undefined) made.zeroStats = op.zeroStats;
  if (op.probe !== undefined) made.probe = op.probe;
  if (op.wantStats !== undefined) made.wantStats = op.wantStats;
  if (op.packet !== undefined) {
    checkPacket(op.packet);
    made.packet = op.packet;
    putMetadata(op, made);
  }
  return made;
}

/** The put that a verdict on an upcall is, with all that its packet came with. */
export function verdictOp(
  verdict: Verdict,
  upcall: Pick<Upcall, "key" | "packet" | "mru" | "hash">,
): Op {
  const { key, packet, mru, hash } = upcall;
  return {
    ...verdict,
    op: "put",
    key,
    packet,
    ...(mru !== undefined && { mru }),
    ...(hash !== undefined && { hash }),
  };
}

/** Checks an identifier. Throws `SyntaxError` or `RangeError`. */
function ufidOf(given: Ufid | Uint8Array): Ufid | Uint8Array {
  if (!(given instanceof Uint8Array)) return ufid(given);
  if (given.length === UFID_SIZE) return given;
  throw new RangeError(`ufid must have 16 bytes: it has ${given.length}`);
}

function reference(
  flow: FlowReference,
): { key?: Uint8Array; ufid?: Ufid | Uint8Array } {
  if (flow.ufid !== undefined) return { ufid: ufidOf(flow.ufid) };
  if (flow.key !== undefined) return { key: toKeyBytes(flow.key) };
  throw new TypeError("Cannot find a flow: neither key nor ufid is given");
}

const verbs = {
  put: "put flow",
  delete: "delete flow",
  get: "get flow",
  execute: "execute",
} as const satisfies Record<Op["op"], string>;

/** The result that most operations have. */
const DONE: Result = Object.freeze({ ok: true });

/** What came of `op`, in the words of users. */
export function toResult(result: OpResult, op: Op, datapath: string): Result {
  if (!result.ok) return new Failure(result, op, datapath);
  const { flow, stats } = result;
  if (flow !== undefined) return { ok: true, flow: new Flow(flow) };
  return stats === undefined ? DONE : { ok: true, stats };
}

/**
 * What came of a verdict: without `modify`, a flow that is there already is as good as one that
 * was put.
 */
export function verdictResult(
  result: Result | undefined,
  verdict: Verdict | undefined,
): Result | undefined {
  if (result === undefined || result.ok || verdict?.modify !== undefined) return result;
  return codeOf(result) === "EEXIST" ? DONE : result;
}

/**
 * An operation that failed. The error, which has the flow in text, is made when it is looked at.
 */
class Failure {
  readonly ok = false;
  readonly #failure: OpFailure;
  readonly #op: Op;
  readonly #datapath: string;
  #error: DatapathError | undefined;

  constructor(failure: OpFailure, op: Op, datapath: string) {
    this.#failure = failure;
    this.#op = op;
    this.#datapath = datapath;
  }

  /** As of the error. */
  get code(): ErrnoName {
    const { code } = this.#failure;
    return typeof code === "number" ? errnoName(code) : code;
  }

  /** The flow in the way of a put. */
  get there(): Ufid | undefined {
    return this.#failure.there;
  }

  get error(): DatapathError {
    const { code, detail, cause } = this.#failure;
    return this.#error ??= new DatapathError({
      operation: verbs[this.#op.op],
      datapath: this.#datapath,
      object: describe(this.#op),
      code,
      detail,
      cause,
    });
  }
}

/** The operation's object in text. Never throws, because it describes other errors. */
function describe(op: Op): string | undefined {
  try {
    if (op.op === "execute") {
      return `${op.packet.length} bytes, actions ${actionText(op.actions)}`;
    }
    if (op.op !== "put" && op.ufid !== undefined) {
      return `ufid:${typeof op.ufid === "string" ? op.ufid : ufidText(op.ufid)}`;
    }
    if (op.key === undefined) return undefined;
    if (op.op !== "put") {
      return typeof op.key === "string" ? op.key : formatKey({ key: toKeyBytes(op.key) });
    }
    return `${formatKey(toKeyAndMaskBytes(op.key, op.mask))}, actions:${
      actionText(op.actions)
    }`;
  } catch {
    return undefined;
  }
}

function actionText(actions: ActionsInput): string {
  return typeof actions === "string" ? actions : formatActions(toActionBytes(actions));
}
