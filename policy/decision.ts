// SPDX-License-Identifier: Apache-2.0
/**
 * What policies say: verdicts, and the actions that they are mostly made of.
 *
 * @module
 */
import { frozenCopy } from "./copy.ts";
import type { MeterId, PortNo } from "../providers/ids.ts";
import { meter, output, trunc, userspace } from "../providers/odp/constructors.ts";
import type { Action } from "../providers/types_action.ts";
import type { Packet } from "./packet/packet.ts";
import type { PortsView } from "./state/state.ts";

/**
 * Decides what happens to packets like this one. Pure: it reads the packet and tracked state, and
 * returns.
 */
export type Policy = (packet: Packet, ports: PortsView) => Verdict;

/** Actions, or actions and what else there is to say of them. An empty list drops. */
export type Verdict = readonly Action[] | Decision;

/** A verdict with all that can be said. */
export interface Decision {
  /** What happens to the packet, and to those that hit its flow. */
  readonly actions: readonly Action[];
  /** `false`: this packet only, no flow. */
  readonly cache?: boolean;
  /** The flow goes after so long without packets, ms. */
  readonly idleMs?: number;
  /** The flow goes after so long in any case, ms. */
  readonly hardMs?: number;
  /** Shown by `explain`, counted by name, recorded. */
  readonly reason?: string;
  /** What {@linkcode slowly} does to each packet. */
  readonly edit?: Edit;
}

/** Changes a frame in a way that no action does; undefined drops it. */
export type Edit = (frame: Uint8Array, packet: Packet) => Uint8Array | undefined;

const forwards: (readonly Action[])[] = [];
const KEPT = 4096;

/** Sends the packet out of a port. */
export function forward(port: PortNo): readonly Action[] {
  if (typeof port !== "number" || !(port >= 0 && port < KEPT)) return [output(port)];
  // The same list each time: its bytes are made once.
  return forwards[port] ??= frozenCopy([output(port)]);
}

/** Sends the packet out of every port but one. The flow depends on which ports there are. */
export function flood(ports: PortsView, except?: PortNo): readonly Action[] {
  return ports.allBut(except);
}

const drops = new Map<string | undefined, Decision>();
const NOTHING: readonly Action[] = Object.freeze([]);

/** Drops the packet, and says why. */
export function drop(reason?: string): Decision {
  let known = drops.get(reason);
  if (known !== undefined) return known;
  known = Object.freeze(
    reason === undefined ? { actions: NOTHING } : { actions: NOTHING, reason },
  );
  if (drops.size < KEPT) drops.set(reason, known);
  return known;
}

/** Sends a copy to a port, of at most `snap` bytes. */
export function mirrorTo(
  port: PortNo,
  options: { readonly snap?: number } = {},
): Action[] {
  const { snap } = options;
  return snap === undefined ? [output(port)] : [trunc(snap), output(port)];
}

/** Drops what exceeds the rate of a meter. */
export function limit(id: MeterId): Action[] {
  return [meter(id)];
}

/** How often packets may be handed to the program. */
export interface ToProgramOptions {
  /** Packets a second. */
  readonly perSecond: number;
  /** Packets at once; as many as a second has if absent. */
  readonly burst?: number;
  /** Bytes that come with them. */
  readonly userdata?: Uint8Array;
}

/** Tells the upcalls of policies from those of others. */
const MAGIC = 0x75_70_63_6c;
const SLOWLY = 2;
const TO_PROGRAM = 3;

/** Bytes before the reason: what it is, its length, and the rate as two doubles. */
const HEAD = 22;

/**
 * Hands the packet to the program: `PolicyOptions.onPacket` gets it with the reason, at most
 * `perSecond` times a second. The rate goes with the packet, so that only verdicts that are carried
 * out have one; where verdicts say different rates of one reason, each packet is held to its own.
 */
export function toProgram(reason: string, options: ToProgramOptions): Action[] {
  if (!(options.perSecond > 0)) throw new RangeError("perSecond must be above 0");
  const text = new TextEncoder().encode(reason);
  if (text.length > 255) throw new RangeError(`reason is too long: ${reason}`);
  const { perSecond, burst = perSecond, userdata = new Uint8Array() } = options;
  const bytes = new Uint8Array(HEAD + text.length + userdata.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, MAGIC);
  view.setFloat64(6, perSecond);
  view.setFloat64(14, burst);
  bytes[4] = TO_PROGRAM;
  bytes[5] = text.length;
  bytes.set(text, HEAD);
  bytes.set(userdata, HEAD + text.length);
  return [userspace({ userdata: bytes })];
}

/**
 * What actions cannot do: a flow that hands each packet up, where `edit` changes its bytes and
 * `then` happens to what it returns. `edit` may read the packet, each one for itself.
 */
export function slowly(edit: Edit, then: readonly Action[]): Decision {
  return { actions: then, edit };
}

/** The actions of a flow whose packets are edited by the program. */
export const handUp: readonly Action[] = (() => {
  const bytes = new Uint8Array(6);
  new DataView(bytes.buffer).setUint32(0, MAGIC);
  bytes[4] = SLOWLY;
  return Object.freeze([userspace({ userdata: bytes })]);
})();

/** What an upcall of kind "action" is for. */
export type Handed =
  | { readonly kind: "slowly" }
  | {
    readonly kind: "toProgram";
    readonly reason: string;
    readonly perSecond: number;
    readonly burst: number;
    readonly userdata: Uint8Array;
  };

/**
 * Reads what {@linkcode toProgram} and {@linkcode slowly} wrote; undefined for the userdata of
 * others.
 */
export function handedBy(userdata: Uint8Array | undefined): Handed | undefined {
  if (userdata === undefined || userdata.length < 6) return undefined;
  const view = new DataView(userdata.buffer, userdata.byteOffset, userdata.length);
  if (view.getUint32(0) !== MAGIC) return undefined;
  if (userdata[4] === SLOWLY) return { kind: "slowly" };
  if (userdata[4] !== TO_PROGRAM) return undefined;
  const end = HEAD + (userdata[5] as number);
  if (end > userdata.length) return undefined;
  return {
    kind: "toProgram",
    reason: new TextDecoder().decode(userdata.subarray(HEAD, end)),
    perSecond: view.getFloat64(6),
    burst: view.getFloat64(14),
    userdata: userdata.slice(end),
  };
}

/** A verdict with everything in its place. */
export function decisionOf(verdict: Verdict): Decision {
  if (Array.isArray(verdict)) return { actions: verdict };
  const decision = verdict as Decision | undefined;
  if (typeof decision !== "object" || !Array.isArray(decision?.actions)) {
    const isPromise = (verdict as unknown) instanceof Promise;
    // What it reads from now on throws, which nobody else would wait for.
    if (isPromise) (verdict as unknown as Promise<unknown>).catch(() => {});
    const why = isPromise ? "; it must not be async" : "";
    throw new TypeError(`a policy must return actions or a decision with actions${why}`);
  }
  const { idleMs, hardMs } = decision;
  if (idleMs !== undefined && !(idleMs > 0) || hardMs !== undefined && !(hardMs > 0)) {
    throw new RangeError(`idleMs and hardMs must be above 0: ${idleMs}, ${hardMs}`);
  }
  return decision;
}
