// SPDX-License-Identifier: Apache-2.0
/**
 * A flow as the ledger has it, and the names of flows.
 *
 * There may be hundreds of thousands, so that each field counts: times are small integers, which
 * need no memory of their own, and the key is words in a buffer of many.
 *
 * @module
 */
import { randomBytes } from "node:crypto";
import { hexDigit } from "../../providers/codec/address.ts";
import type { Ufid } from "../../providers/ids.ts";
import type { Decision } from "../decision.ts";
import type { Effect } from "../packet/effect.ts";
import type { Layout } from "../packet/layout.ts";
import type { Continuation } from "../stage.ts";
import type { FlowBits } from "../state/dependency.ts";
import type { Actions } from "../verdicts.ts";
import { type KeyChunk, type KeyPlace, NO_CHUNK } from "./key_store.ts";
import { type Mask, wordsFor } from "./mask_table.ts";

/** Times count from here, ms since 1970. */
const EPOCH = Date.now();

/** What a flow is made of. */
export interface FlowParts {
  /** Its name if the datapath has it already; others get one. */
  readonly ufid?: Ufid;
  /** Words that begin with its key, which is copied. */
  readonly keyWords: Uint32Array;
  readonly layout: Layout;
  readonly mask: Mask;
  /** Hash of the key under the mask. */
  readonly hash: number;
  readonly actions: Actions;
  readonly decision: Decision;
  readonly at: Continuation | undefined;
  readonly effects: readonly Effect[];
  readonly nowMs: number;
  /** Prefixes were rounded up to multiples of this. */
  readonly step: number;
}

/** A flow. */
export class FlowRecord implements KeyPlace, FlowBits {
  /** Number in the ledger; used again when the flow is gone. */
  readonly number: number;
  /** What tells it from others with its number; or the name that somebody else gave. */
  readonly #name: number | Ufid;
  chunk: KeyChunk = NO_CHUNK;
  keyAt = 0;
  readonly layout: Layout;
  mask: Mask;
  /** Hash of the key under the mask. */
  hash: number;
  actions: Actions;
  decision: Decision;
  /** The stage that decided; undefined for the policy itself. */
  at: Continuation | undefined;
  effects: readonly Effect[];
  packets = 0n;
  bytes = 0n;
  /** The last walk that found it in the datapath. */
  walk = 0;
  /** Packets that it counted since the last walk. */
  recent = 0;
  /** Whether the datapath has it. */
  installed = false;
  /** It waits to be run again. */
  dirty = false;
  /** It is not in the ledger any more. */
  gone = false;
  /** First of its dependencies in the ledger's lists. */
  edges = 0;
  /**
   * Changes that there had been when the run was that its dependencies are of; -1 if its mask may
   * not have all which that one read.
   */
  changes = -1;
  readonly #created: number;
  #used: number;
  #looked: number;
  #end = -1;

  /** Made by the ledger. */
  constructor(number: number, parts: FlowParts) {
    this.number = number;
    this.#name = parts.ufid ?? nextSerial();
    this.layout = parts.layout;
    this.mask = parts.mask;
    this.hash = parts.hash;
    this.actions = parts.actions;
    this.decision = parts.decision;
    this.at = parts.at;
    this.effects = parts.effects;
    this.#created = this.#used = this.#looked = Math.floor(parts.nowMs) - EPOCH;
  }

  /** A copy of the key as it came up. */
  get key(): Uint8Array {
    const from = this.keyFrom;
    return this.chunk.bytes.slice(from, from + this.layout.size);
  }

  /** Writes the words of the key. */
  writeKey(to: Uint32Array): void {
    const { words } = this.chunk;
    const { keyAt, keyCount } = this;
    for (let i = 0; i < keyCount; i++) to[i] = words[keyAt + i] as number;
  }

  /** Words of the key. */
  get keyCount(): number {
    return wordsFor(this.layout.size);
  }

  /** Bytes in which the key is. */
  get keyBytes(): Uint8Array {
    return this.chunk.bytes;
  }

  /** Where it is in them. */
  get keyFrom(): number {
    return 4 * this.keyAt;
  }

  get maskBytes(): Uint8Array {
    return this.mask.bytes;
  }

  /** Its name in the datapath. */
  get ufid(): Ufid {
    return typeof this.#name === "string" ? this.#name : nameOf(this.#name, this.number);
  }

  /** The same as operations take it. */
  get id(): Ufid | Uint8Array {
    if (typeof this.#name === "string") return this.#name;
    const bytes = new Uint8Array(16);
    this.writeId(new Uint32Array(bytes.buffer));
    return bytes;
  }

  /** Writes its name as the four words that datapaths know; false: somebody else named it. */
  writeId(words: Uint32Array): boolean {
    if (typeof this.#name === "string") return false;
    words[0] = prefixWords[0] as number;
    words[1] = prefixWords[1] as number;
    words[2] = VARIANT | this.#name;
    words[3] = this.number;
    return true;
  }

  /** Whether these are the words of its name. */
  hasId(words: Uint32Array): boolean {
    return typeof this.#name === "number" && words[3] === this.number &&
      words[2] === (VARIANT | this.#name) >>> 0 &&
      words[0] === prefixWords[0] && words[1] === prefixWords[1];
  }

  /** Whether it has a name that was given here with this serial number, or this name. */
  isNamed(serial: number, ufid: Ufid): boolean {
    return this.#name === serial ? ufid.startsWith(prefix) : this.#name === ufid;
  }

  /** Whether somebody else named it. */
  get isForeign(): boolean {
    return typeof this.#name === "string";
  }

  /** When it was made, ms since 1970. */
  get createdMs(): number {
    return EPOCH + this.#created;
  }

  /** When it last counted a packet, ms since 1970. */
  get usedMs(): number {
    return EPOCH + this.#used;
  }

  set usedMs(nowMs: number) {
    this.#used = Math.floor(nowMs) - EPOCH;
  }

  /** When its counters were last looked at, ms since 1970. */
  get lookedMs(): number {
    return EPOCH + this.#looked;
  }

  set lookedMs(nowMs: number) {
    this.#looked = Math.floor(nowMs) - EPOCH;
  }

  /** When the verdict ends, ms since 1970; infinite if it does not. */
  get deadline(): number {
    return this.#end < 0 ? Infinity : EPOCH + this.#end;
  }

  set deadline(atMs: number) {
    this.#end = atMs === Infinity ? -1 : Math.max(0, Math.floor(atMs) - EPOCH);
  }
}

/** Digits at the end of a name: how often one was given, and the flow's number. */
const SERIAL_DIGITS = 7;
const NUMBER_DIGITS = 8;
const UFID_LENGTH = 36;
/** The variant of RFC 9562, in front of the serial number. */
const VARIANT = 0xa0000000;

// As RFC 9562 has version 4, so that nobody takes it for another kind.
const hex = randomBytes(8).toString("hex");
const prefix = `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13)}-a`;
const prefixWords = Uint32Array.of(
  Number.parseInt(hex.slice(0, 8), 16),
  Number.parseInt(`${hex.slice(8, 12)}4${hex.slice(13)}`, 16),
);
let serial = 0;

/** Part of a name that was not given before by this program, but for very long ago. */
function nextSerial(): number {
  return serial = (serial + 1) % (1 << 4 * SERIAL_DIGITS);
}

function nameOf(serial: number, number: number): Ufid {
  const digits = serial.toString(16).padStart(SERIAL_DIGITS, "0");
  const tail = number.toString(16).padStart(NUMBER_DIGITS, "0");
  return `${prefix}${digits.slice(0, 3)}-${digits.slice(3)}${tail}`;
}

function digitsAt(text: string, from: number, to: number): number {
  let number = 0;
  for (let i = from; i < to; i++) number = number << 4 | hexDigit(text.charCodeAt(i));
  return number;
}

/** The number of the flow that has a name, if the name was given here. */
export function numberIn(ufid: Ufid): number {
  return digitsAt(ufid, UFID_LENGTH - NUMBER_DIGITS, UFID_LENGTH);
}

/** The serial number of such a name. */
export function serialIn(ufid: Ufid): number {
  const dash = UFID_LENGTH - 13; // The digits are three before it and four behind it.
  return digitsAt(ufid, dash - 3, dash) << 16 | digitsAt(ufid, dash + 1, dash + 5);
}
