// SPDX-License-Identifier: Apache-2.0
/**
 * Lazy views of keys: what an upcall brings.
 *
 * A view behaves like the plain object that {@linkcode decodeKey} returns (it can be
 * compared, spread, enumerated), but a field is decoded when it is first read, and the bytes
 * come back without being encoded again.
 *
 * @module
 */

import type { FlowKey } from "../types.ts";
import { checkPayload, placed } from "./attributes.ts";
import { KeyIndex } from "./key_index.ts";
import { decodeKey, keyAttributes, keyTable } from "./key.ts";
import { u32 } from "../codec/leaf.ts";

/** Under this name a view gives its index. */
const INDEX: unique symbol = Symbol("index of a key view");

/** What prints a value, as `Deno.customInspect` is given it. */
type Inspect = (value: unknown, options: unknown) => string;

/** What is behind a view: the index, and the fields that were read. */
class ViewTarget {
  readonly index: KeyIndex;
  /** Values by id; made when the first field of a structure is read. */
  values: unknown[] | undefined = undefined;
  /** The whole key, decoded for what the index does not have: tags and unknown. */
  whole: FlowKey | undefined = undefined;

  constructor(bytes: Uint8Array) {
    this.index = new KeyIndex(bytes);
  }

  read(id: number): unknown {
    const at = this.index.offsets[id] as number;
    if (at === 0) return undefined;
    const { bytes } = this.index;
    const size = ((bytes[at - 4] as number) | (bytes[at - 3] as number) << 8) - 4;
    // Numbers of four bytes are most of the metadata: not worth remembering.
    if (size === 4 && isU32[id] === true) return u32.get(bytes, at);
    if (this.values === undefined) this.values = [];
    const known = this.values[id];
    if (known !== undefined) return known;
    const line = lineById[id] as typeof keyAttributes[number];
    checkPayload(line, at, size, line.name);
    try {
      const value = line.wire.read(bytes, at, size);
      this.values[id] = value;
      return value;
    } catch (error) {
      throw placed(error, line.name, at);
    }
  }

  decoded(): FlowKey {
    return this.whole ??= decodeKey(this.index.bytes);
  }

  /** Shows the key in `console.log`, not what is behind it. */
  [Symbol.for("Deno.customInspect")](inspect: Inspect, options: unknown): string {
    return inspect(this.decoded(), options);
  }
}

const lineById: (typeof keyAttributes[number] | undefined)[] = [];
const isU32: boolean[] = [];
const idByName = new Map<string, number>();
for (const line of keyAttributes) {
  lineById[line.id] = line;
  idByName.set(line.name, line.id);
}
for (
  const line of [
    keyTable.recircId,
    keyTable.dpHash,
    keyTable.priority,
    keyTable.inPort,
    keyTable.skbMark,
    keyTable.ctState,
    keyTable.ctMark,
  ]
) {
  isU32[line.id] = true;
}

/** Names of the fields that a view has, in the order of the table. */
function namesOf(target: ViewTarget): string[] {
  return Object.keys(target.decoded());
}

const handler: ProxyHandler<ViewTarget> = {
  get(target, name): unknown {
    if (typeof name === "symbol") return name === INDEX ? target.index : undefined;
    const id = idByName.get(name);
    if (id !== undefined) return target.read(id);
    if (name === "vlans") {
      return target.index.depth === 0 ? undefined : target.decoded().vlans;
    }
    if (name === "unknown") {
      return target.index.hasUnknown ? target.decoded().unknown : undefined;
    }
    return undefined;
  },
  has(target, name): boolean {
    return name in target.decoded();
  },
  ownKeys(target): string[] {
    return namesOf(target);
  },
  getOwnPropertyDescriptor(target, name): PropertyDescriptor | undefined {
    const descriptor = Object.getOwnPropertyDescriptor(target.decoded(), name);
    // Otherwise the engine would insist that the target itself has the property.
    return descriptor === undefined ? undefined : { ...descriptor, configurable: true };
  },
  getPrototypeOf(): object {
    return Object.prototype;
  },
  set(_, name): never {
    throw new TypeError(`the key of a packet cannot be changed: ${String(name)}`);
  },
  defineProperty(_, name): never {
    throw new TypeError(`the key of a packet cannot be changed: ${String(name)}`);
  },
  deleteProperty(_, name): never {
    throw new TypeError(`the key of a packet cannot be changed: ${String(name)}`);
  },
};

/**
 * A view of key bytes.
 *
 * The bytes belong to the view from then on: they must not change.  Throws `AttributeError`
 * when lengths or nesting are malformed; a field whose payload is wrong throws when it is
 * read.
 */
export function keyView(bytes: Uint8Array): FlowKey {
  return new Proxy(new ViewTarget(bytes), handler) as unknown as FlowKey;
}

/** The index of a view; undefined for anything else. */
export function viewIndex(key: unknown): KeyIndex | undefined {
  return (key as { [INDEX]?: KeyIndex })[INDEX];
}

/** The attribute bytes of a view, uncopied; undefined for anything else. */
export function viewBytes(key: unknown): Uint8Array | undefined {
  return (key as { [INDEX]?: KeyIndex })[INDEX]?.bytes;
}
