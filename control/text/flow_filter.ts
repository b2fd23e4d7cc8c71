// SPDX-License-Identifier: Apache-2.0
/**
 * The `filter=` of `dump-flows`: a match in the words of ovs-ofctl(8), laid over flows of the datapath.
 *
 * A flow is shown if every bit that both the filter and the flow care for is the same, and every bit that the filter alone
 * cares for is zero in it (lib/dpctl.c of Open vSwitch does so with its own words).
 *
 * @module
 */
import type { Flow } from "../../providers/flow.ts";
import { decodeKey, decodeMask } from "../../providers/odp/mod.ts";
import {
  canonicalName,
  filterFields,
  keywords,
  prerequisites,
  type ReadField,
} from "../../providers/odp/fields.ts";

/** Value and mask of a field of the filter. */
interface Condition {
  readonly name: string;
  readonly read: ReadField;
  readonly value: bigint;
  readonly mask: bigint;
}

/** Ports by number and name. */
type Ports = Iterable<{ readonly no: number; readonly name: string }>;

/** A filter. */
export class FlowFilter {
  readonly #conditions: Condition[] = [];

  /** Parses `tcp,in_port=1,nw_src=10.0.0.0/8`. Throws `SyntaxError`. */
  constructor(text: string, options: { readonly ports?: Ports } = {}) {
    const names = new Map([...options.ports ?? []].map(({ no, name }) => [name, no]));
    for (const word of text.split(/[,\s]+/).filter((part) => part !== "")) {
      this.#add(word, names);
    }
  }

  /** Whether a flow is to be shown. */
  matches(flow: Flow): boolean {
    const { key: keyBytes = new Uint8Array(), mask: maskBytes } = flow.raw;
    const key = decodeKey(keyBytes);
    const mask = maskBytes === undefined ? undefined : decodeMask(maskBytes, keyBytes);
    return this.#conditions.every(({ read, value, mask: wanted }) => {
      const field = read(key, mask);
      const cares = field.mask & wanted;
      // Bits that the flow does not care for are zero on either side.
      return (field.value & cares) === (value & cares);
    });
  }

  #add(word: string, names: ReadonlyMap<string, number>): void {
    const [name = "", ...parts] = word.split("=");
    const text = parts.join("=");
    const keyword = keywords.get(name);
    if (keyword !== undefined && parts.length === 0) {
      for (const implied of keyword) this.#add(implied, names);
      return;
    }
    const field = filterFields.get(name);
    if (field === undefined) throw new SyntaxError(`${word}: unknown field ${name}`);
    if (parts.length === 0) throw new SyntaxError(`field ${name} missing value`);
    const [valueText = "", maskText] = splitMask(text, field.isAddress === true);
    const port = name === "in_port" ? names.get(valueText) : undefined;
    const value = port === undefined ? field.parse(valueText) : BigInt(port);
    const all = (1n << BigInt(field.bits)) - 1n;
    const mask = maskText === undefined ? all : parseMask(maskText, field);
    if (value === undefined || mask === undefined) {
      throw new SyntaxError(`${text}: invalid value for ${name}`);
    }
    if (value > all || mask > all) {
      throw new SyntaxError(
        `${text}: value too large for ${field.bits}-bit field ${name}`,
      );
    }
    this.#checkNeeds(word, name);
    this.#conditions.push({ name, read: field.read, value: value & mask, mask });
  }

  /** Fields of a protocol may be named behind that protocol only, as ovs-ofctl(8) has it. */
  #checkNeeds(word: string, name: string): void {
    const has = (wanted: string): bigint | undefined =>
      this.#conditions.findLast(({ name }) => canonicalName(name) === wanted)?.value;
    const type = has("dl_type");
    const proto = has("nw_proto");
    const [, types, protos] = prerequisites.find(([fields]) => fields.test(name)) ?? [];
    if (types === undefined) return;
    const isRight = type !== undefined && types.includes(Number(type)) &&
      (protos === undefined || (proto !== undefined && protos.includes(Number(proto))));
    if (!isRight) {
      throw new SyntaxError(`${word}: prerequisites not met for setting ${name}`);
    }
  }
}

function splitMask(text: string, isAddress: boolean): [string, string?] {
  const at = text.lastIndexOf("/");
  if (at < 0) return [text];
  return isAddress || /^\/(0x|\d)/i.test(text.slice(at))
    ? [text.slice(0, at), text.slice(at + 1)]
    : [text];
}

function parseMask(
  text: string,
  field: {
    readonly bits: number;
    readonly isAddress?: boolean;
    parse(text: string): bigint | undefined;
  },
): bigint | undefined {
  if (field.isAddress && /^\d+$/.test(text) && Number(text) <= field.bits) {
    const ones = (1n << BigInt(text)) - 1n;
    return ones << (BigInt(field.bits) - BigInt(text));
  }
  return field.parse(text);
}
