// SPDX-License-Identifier: Apache-2.0
/**
 * Keys, masks and actions in every form that the API takes, made into attribute bytes.
 *
 * These are on the path of every upcall: a view gives its bytes back, the bytes of exact
 * masks are kept, and lists of outputs are written without looking anything up.
 *
 * @module
 */

import type { ActionsInput, FlowMask, KeyInput, MaskInput } from "../types.ts";
import { encodeActions } from "./action.ts";
import { AttributeError } from "../codec/errors.ts";
import { KeyIndex } from "./key_index.ts";
import { encodeKey, ETHERTYPE } from "./key.ts";
import { decodeMask, encodeMask, isExactMask, namedMask, writeMask } from "./mask.ts";
import { clearUnmasked } from "./masked_set.ts";
import { isComplete, normalize } from "./normalize.ts";
import { plainKey } from "./plain_key.ts";
import { parseActions, parseKeyBytes, type PortOptions } from "./text/text.ts";
import { viewIndex } from "./view.ts";
import { HEADER_SIZE, MAX_ATTRIBUTE_SIZE, written } from "../codec/writer.ts";

/** A flow's key and mask as bytes; no mask means that every field matters. */
export interface KeyAndMaskBytes {
  /** Key attributes. */
  readonly key: Uint8Array;
  /** Mask attributes. */
  readonly mask: Uint8Array | undefined;
}

/**
 * Bytes of a key.
 *
 * Objects and text are completed ({@linkcode normalize}), so that a key finds the flow that
 * was put with it.  Views and bytes are given back as they are.
 */
export function toKeyBytes(input: KeyInput, options: PortOptions = {}): Uint8Array {
  if (typeof input === "string") {
    const { key, mask } = parseKeyBytes(input, options);
    return normalize(key, mask).key;
  }
  // Views first: `instanceof` goes through their traps and costs three times as much.
  const index = viewIndex(input);
  if (index !== undefined) return index.bytes;
  return input instanceof Uint8Array ? input : normalize(encodeKey(input)).key;
}

/**
 * Bytes of a flow's key and mask.
 *
 * A key in text brings its own mask, unless there is another; so does an object that is no view:
 * without a mask, what it names matters.  Masks given as objects are completed for their key;
 * bytes are given back as they are.
 */
export function toKeyAndMaskBytes(
  key: KeyInput,
  mask?: MaskInput,
  options: PortOptions = {},
): KeyAndMaskBytes {
  if (typeof key === "string") {
    const parsed = parseKeyBytes(key, options);
    if (mask instanceof Uint8Array) return { key: parsed.key, mask };
    if (mask === undefined) return normalize(parsed.key, parsed.mask);
    return normalize(parsed.key, encodeMask(ofText(mask, parsed), parsed.key));
  }
  const index = viewIndex(key);
  if (index === undefined) {
    if (key instanceof Uint8Array) {
      if (mask === undefined || mask instanceof Uint8Array) return { key, mask };
      return { key, mask: normalize(key, encodeMask(mask, key), { fixed: true }).mask };
    }
    // Nothing is missing of such a key, and what it names of a field is all of it.
    const plain = mask instanceof Uint8Array || mask !== undefined && isExactMask(mask)
      ? plainKey(key)
      : undefined;
    if (plain !== undefined) {
      return mask instanceof Uint8Array
        ? { key: plain, mask }
        : maskOfView(new KeyIndex(plain), mask as FlowMask);
    }
    const bytes = encodeKey(key);
    if (mask instanceof Uint8Array) return { key: normalize(bytes).key, mask };
    const named = namedMask(key, mask);
    if (named === mask && isExactMask(mask)) {
      const own = new KeyIndex(bytes);
      if (isComplete(own)) return maskOfView(own, mask);
    }
    return normalize(bytes, encodeMask(named, bytes));
  }
  if (mask === undefined || mask instanceof Uint8Array) return { key: index.bytes, mask };
  return maskOfView(index, mask);
}

/** `true` in the mask of a key in text is what the text says of the field, if it says something. */
function ofText(mask: FlowMask, parsed: KeyAndMaskBytes): FlowMask {
  const said = decodeMask(parsed.mask ?? parsed.key, parsed.key) as Record<
    string,
    unknown
  >;
  const entries = Object.entries(mask).map(([name, bits]) => [
    name,
    bits === true && name !== "tunnel" ? said[name] ?? true : bits,
  ]);
  return Object.fromEntries(entries) as FlowMask;
}

/** Fields whose exact mask depends on more than which attributes a key has. */
const variable: readonly string[] = ["tunnel", "mpls", "nsh", "unknown"];
/** Bytes of exact masks, by the shape of the key. */
const cache = new WeakMap<object, Map<number, Uint8Array>>();
/** Shapes are few; a mask that sees more is being used with hostile keys. */
const MAX_SHAPES = 64;
/** What the cache gave last: programs mostly have one mask, and one kind of packet in a row. */
let last: { mask: object; shape: number; bytes: Uint8Array } | undefined;

function maskOfView(
  index: KeyIndex,
  mask: Exclude<MaskInput, Uint8Array>,
): KeyAndMaskBytes {
  if (last !== undefined && last.mask === mask && last.shape === index.shape) {
    return { key: index.bytes, mask: last.bytes };
  }
  const known = cache.get(mask)?.get(index.shape);
  if (known !== undefined) {
    last = { mask, shape: index.shape, bytes: known };
    return { key: index.bytes, mask: known };
  }

  const bits = written((writer) => writeMask(writer, mask, index));
  const flow = normalize(index.bytes, bits, { fixed: true });
  // The key only changes when metadata is masked that the packet does not have.
  const key = flow.key.length > index.bytes.length + 3 ? flow.key : index.bytes;
  // Tagged frames of 802.2 and those cut in their tag look alike.
  const depends = index.depth > 0 && ("vlans" in mask || !index.has(ETHERTYPE)) ||
    variable.some((field) => field in mask);
  if (key === index.bytes && !depends && isExactMask(mask)) {
    let shapes = cache.get(mask);
    if (shapes === undefined) cache.set(mask, shapes = new Map());
    if (shapes.size < MAX_SHAPES) shapes.set(index.shape, flow.mask as Uint8Array);
  }
  return { key, mask: flow.mask };
}

/**
 * A mask for keys that come one after the other in one buffer: as long as they have the same
 * attributes its bytes are the same, and no view of a key has to be made to find that out.
 */
export class RecurringMask {
  #mask: FlowMask | undefined;
  #index: KeyIndex | undefined;
  #bytes: Uint8Array | undefined;

  /**
   * Bytes of `mask` for the key of `size` bytes at `at` of the buffer that `words` is about;
   * undefined: they have to be learnt.
   */
  recall(
    mask: FlowMask,
    words: Uint32Array,
    at: number,
    size: number,
  ): Uint8Array | undefined {
    const index = this.#index;
    return mask === this.#mask && index !== undefined && index.isLike(words, at, size)
      ? this.#bytes
      : undefined;
  }

  /**
   * As {@linkcode toKeyAndMaskBytes}; remembered if it depends on nothing but which attributes the
   * key has.
   */
  learn(mask: FlowMask, key: Uint8Array): KeyAndMaskBytes {
    const index = new KeyIndex(key);
    const flow = maskOfView(index, mask);
    const known = cache.get(mask)?.get(index.shape);
    this.#mask = known === undefined ? undefined : mask;
    this.#index = index;
    this.#bytes = known;
    return flow;
  }
}

const OUTPUT = 1;
const OUTPUT_SIZE = 8;

/**
 * Bytes of a list of actions. Text is parsed, bytes are given back as they are.
 *
 * In masked sets of objects and text, bits of the value outside the mask are cleared:
 * datapaths refuse them.
 */
export function toActionBytes(
  input: ActionsInput,
  options: PortOptions = {},
): Uint8Array {
  if (input instanceof Uint8Array) return fitting(input);
  if (typeof input === "string") {
    return settable(encodeActions(parseActions(input, options)));
  }
  return encodeOutputs(input) ?? settable(encodeActions(input));
}

function settable(bytes: Uint8Array): Uint8Array {
  clearUnmasked(fitting(bytes));
  return bytes;
}

/** Refuses a list that does not fit into one attribute with its header. */
function fitting(bytes: Uint8Array): Uint8Array {
  if (bytes.length <= MAX_ATTRIBUTE_SIZE - HEADER_SIZE) return bytes;
  throw new AttributeError(
    "actions",
    0,
    `${bytes.length} bytes do not fit into an attribute`,
    "EMSGSIZE",
  );
}

/** Bytes of a list that has only outputs with good numbers; undefined for any other. */
function encodeOutputs(actions: Exclude<ActionsInput, string | Uint8Array>) {
  const { length } = actions;
  if (length * OUTPUT_SIZE > MAX_ATTRIBUTE_SIZE - HEADER_SIZE) return undefined;
  const bytes = new Uint8Array(length * OUTPUT_SIZE);
  for (let i = 0; i < length; i++) {
    const action = actions[i];
    if (action === undefined || action.type !== "output") return undefined;
    const { port } = action;
    if (port >>> 0 !== port) return undefined;
    const at = i * OUTPUT_SIZE;
    bytes[at] = OUTPUT_SIZE;
    bytes[at + 2] = OUTPUT;
    bytes[at + 4] = port;
    bytes[at + 5] = port >>> 8;
    bytes[at + 6] = port >>> 16;
    bytes[at + 7] = port >>> 24;
  }
  return bytes;
}
