// SPDX-License-Identifier: Apache-2.0
/**
 * Bundles that a peer fills: messages as bytes, one behind the other.
 *
 * Messages are read as they come. So many of them are kept as objects; those behind are read again
 * when the bundle is committed: as bytes they take a fourth of that. What the bundles of all peers
 * take together is bounded.
 *
 * @module
 */
import { clockMs } from "../../policy/clock.ts";
import { Reader } from "../wire/bytes.ts";
import { encodeMessage } from "../wire/codec.ts";
import { OfError, ONF, type Version } from "../wire/error.ts";
import type { OptionFields } from "../wire/field.ts";
import { readFlowMod } from "../wire/flow_message.ts";
import { HEADER_SIZE, lengthAt, VENDOR_TYPE, wordAt, xidAt } from "../wire/header.ts";
import type { FlowMod, Message } from "../wire/message.ts";
import { checkTable } from "./flow_check.ts";

/** Bundles that a peer may fill at once. */
const MAX_BUNDLES = 64;
/** Messages and bytes in all bundles of a peer. */
const MAX_MESSAGES = 1_000_000;
const MAX_BYTES = 1 << 28;
/** Bytes in all bundles of all peers. */
const MAX_ALL_BYTES = 1 << 29;
/** Messages that are kept as objects, of all peers. */
const MAX_READ = 1 << 18;
/** Bytes of a bundle's first piece, and of pieces at most: a message is longer at times. */
const FIRST_PIECE = 1024;
const PIECE = 1 << 18;

/** What bundles take. */
export interface Taken {
  messages: number;
  bytes: number;
  /** Messages that are kept as objects. */
  read: number;
}

/** What the bundles of all peers take, and may. */
export interface Budget extends Taken {
  readonly maxBytes: number;
}

/** A budget of which nothing is taken. */
export function makeBudget(maxBytes = MAX_ALL_BYTES): Budget {
  return { messages: 0, bytes: 0, read: 0, maxBytes };
}

/** A bundle. */
export class Bundle {
  readonly flags: number;
  /** The message that opened it, and its number. */
  readonly opening: Uint8Array;
  readonly xid: number;
  isClosed = false;
  usedMs = clockMs();
  readonly #pieces: { bytes: Uint8Array; size: number }[] = [];
  /** What it takes: memory, and not only what is in use of it. */
  readonly taken: Taken = { messages: 0, bytes: 0, read: 0 };
  /** Of the first messages what was read, and what that depended on; undefined for some. */
  readonly #read: (FlowMod | undefined)[] = [];
  #readWith: unknown;
  /** Where the bytes of a message are: its number, its piece, its offset there. */
  #place = { number: 0, piece: 0, at: 0 };

  /** Without messages. */
  constructor(flags: number, opening: Uint8Array, xid: number) {
    this.flags = flags;
    this.opening = opening;
    this.xid = xid;
  }

  /** Bytes that a message would take more. */
  costOf(length: number): number {
    const last = this.#pieces.at(-1);
    if (last !== undefined && last.size + length <= last.bytes.length) return 0;
    const next = last === undefined ? FIRST_PIECE : 2 * last.bytes.length;
    return Math.max(Math.min(next, PIECE), length);
  }

  /** Adds a copy of a message, which begins with its header. */
  add(message: Uint8Array): void {
    const cost = this.costOf(message.length);
    if (cost > 0) this.#pieces.push({ bytes: new Uint8Array(cost), size: 0 });
    const last = this.#pieces.at(-1) as { bytes: Uint8Array; size: number };
    last.bytes.set(message, last.size);
    last.size += message.length;
    this.taken.bytes += cost;
    this.taken.messages++;
    this.usedMs = clockMs();
  }

  /**
   * Keeps what was read of the message that was added last, of those of which this is worth the
   * room. `by` is what it depends on beside the bytes.
   */
  keep(message: Message, by: unknown): void {
    if (this.#read.length === 0) this.#readWith = by;
    if (by !== this.#readWith || this.#read.length !== this.taken.messages - 1) return;
    this.#read.push(message.kind === "flowMod" ? message : undefined);
    this.taken.read++;
  }

  /** What was read of a message, if that is kept, and depends on what it depends on now. */
  known(number: number, by: unknown): FlowMod | undefined {
    return by === this.#readWith ? this.#read[number] : undefined;
  }

  /** The bytes of a message: not a copy. */
  bytes(number: number): Uint8Array {
    if (number < this.#place.number) this.#place = { number: 0, piece: 0, at: 0 };
    const place = this.#place;
    for (;;) {
      const { bytes, size } = this.#pieces[place.piece] as {
        bytes: Uint8Array;
        size: number;
      };
      if (place.at >= size) {
        place.piece++;
        place.at = 0;
        continue;
      }
      const end = place.at + lengthAt(bytes, place.at);
      if (place.number === number) return bytes.subarray(place.at, end);
      place.number++;
      place.at = end;
    }
  }
}

/** Numbers of messages; of what carries one into a bundle an experimenter's before 1.4. */
const [FLOW_MOD, BUNDLE_ADD, ONF_BUNDLE_ADD] = [14, 34, 2301];
/** Bytes that what carries a message has before it, headers aside: bundle, padding, flags. */
const BUNDLE_HEADER = 8;

/** Where the body of a message begins that carries one into a bundle; 0 for another one. */
function carries(bytes: Uint8Array, version: Version): number {
  if (bytes.length < HEADER_SIZE + 2 * BUNDLE_HEADER) return 0;
  if (bytes[0] !== version || lengthAt(bytes) !== bytes.length) return 0;
  if (version >= 5) return bytes[1] === BUNDLE_ADD ? HEADER_SIZE : 0;
  const isOnf = version === 4 && bytes[1] === VENDOR_TYPE &&
    wordAt(bytes, 8) === ONF && wordAt(bytes, 12) === ONF_BUNDLE_ADD;
  return isOnf ? HEADER_SIZE + 8 : 0;
}

/** What reading depends on beside the bytes: another `stamp` says that it is something else. */
interface Stamped {
  readonly stamp: unknown;
}

/** The bundles of a peer. */
export class Bundles {
  readonly #bundles = new Map<number, Bundle>();
  readonly #own: Taken = { messages: 0, bytes: 0, read: 0 };
  readonly #all: Budget;

  /** Without any. `all` is that of all peers. */
  constructor(all: Budget) {
    this.#all = all;
  }

  /** A bundle; undefined if it is not open. */
  get(id: number): Bundle | undefined {
    return this.#bundles.get(id);
  }

  /** Opens a bundle. Throws {@linkcode OfError}. */
  open(id: number, flags: number, version: Version = 5, xid = 0): Bundle {
    if (this.#bundles.size >= MAX_BUNDLES) throw new OfError("OFPBFC_OUT_OF_BUNDLES");
    if (flags & ~3) throw new OfError("OFPBFC_BAD_FLAGS");
    const request = { kind: "bundleControl", bundle: id, step: "openRequest" } as const;
    const opening = encodeMessage({ ...request, flags }, { version, xid });
    const made = new Bundle(flags, opening, xid);
    this.#bundles.set(id, made);
    return made;
  }

  /**
   * Adds a copy of a message to a bundle, and perhaps what was read of it, which depends on `by`
   * too. Throws {@linkcode OfError} where that is too much.
   */
  add(bundle: Bundle, message: Uint8Array, read?: Message, by?: unknown): void {
    const cost = bundle.costOf(message.length);
    const [own, all] = [this.#own, this.#all];
    if (
      own.messages >= MAX_MESSAGES || own.bytes + cost > MAX_BYTES ||
      all.bytes + cost > all.maxBytes
    ) throw new OfError("OFPBFC_MSG_TOO_MANY");
    bundle.add(message);
    for (const taken of [own, all]) {
      taken.messages++;
      taken.bytes += cost;
    }
    if (read === undefined || all.read >= MAX_READ) return;
    const before = bundle.taken.read;
    bundle.keep(read, by);
    all.read += bundle.taken.read - before;
  }

  /**
   * Adds a flow mod to the bundle that is open for it, read where it lies in `bytes`, the message
   * that carries it: they come by the hundred thousand. False, and nothing is done, where that is
   * to be looked at as other messages are. Throws {@linkcode OfError}.
   */
  addFlow(bytes: Uint8Array, version: Version, tlv: OptionFields & Stamped): boolean {
    const body = carries(bytes, version);
    const from = body + BUNDLE_HEADER;
    if (body === 0 || bytes.length < from + HEADER_SIZE) return false;
    const length = lengthAt(bytes, from);
    const isFlow = bytes[from] === version && bytes[from + 1] === FLOW_MOD &&
      length >= HEADER_SIZE && from + length <= bytes.length &&
      xidAt(bytes, from) === xidAt(bytes);
    const bundle = this.#bundles.get(wordAt(bytes, body));
    if (!isFlow || bundle === undefined || bundle.isClosed) return false;
    if (bundle.flags !== (wordAt(bytes, body + 4) & 0xffff)) return false;
    const at = from + HEADER_SIZE;
    const reader = new Reader(bytes, { at, end: from + length, options: tlv });
    const mod = readFlowMod(reader, version);
    checkTable(mod);
    this.add(bundle, bytes.subarray(from, from + length), mod, tlv.stamp);
    return true;
  }

  /** Takes a bundle out, which goes on to count until it is released; false if it is not open. */
  take(id: number): boolean {
    return this.#bundles.delete(id);
  }

  /** Lets what a bundle took go. */
  release({ taken: { messages, bytes, read } }: Bundle): void {
    for (const taken of [this.#own, this.#all]) {
      taken.messages -= messages;
      taken.bytes -= bytes;
    }
    this.#all.read -= read;
  }

  /** Lets a bundle go; false if it is not open. */
  delete(id: number): boolean {
    const bundle = this.#bundles.get(id);
    if (bundle === undefined) return false;
    this.#bundles.delete(id);
    this.release(bundle);
    return true;
  }

  /** Lets bundles go that were not used for so long; answers which. */
  expire(idleMs: number): Bundle[] {
    const gone: Bundle[] = [];
    for (const [id, bundle] of this.#bundles) {
      if (clockMs() - bundle.usedMs > idleMs && this.delete(id)) gone.push(bundle);
    }
    return gone;
  }

  /** Lets all of them go. */
  clear(): void {
    for (const id of [...this.#bundles.keys()]) this.delete(id);
  }
}
