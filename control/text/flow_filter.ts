// SPDX-License-Identifier: Apache-2.0
/**
 * The `filter=` of `dump-flows`: a match in the words of ovs-ofctl(8), laid over flows of the
 * datapath.
 *
 * A flow is shown if every bit that both the filter and the flow care for is the same, and every
 * bit that the filter alone cares for is zero in it (lib/dpctl.c of Open vSwitch does so with its
 * own words).
 *
 * @module
 */
import type { Flow } from "../../providers/flow.ts";
import { decodeKey, decodeMask } from "../../providers/odp/mod.ts";
import {
  type Field,
  type FieldBits,
  fields,
  keywords,
  parseFieldValue,
  readField,
} from "../../providers/odp/fields.ts";
import { allBits } from "../../providers/odp/field_bits.ts";

/** A field of the filter, and what it must be. */
interface Condition extends FieldBits {
  readonly field: Field;
}

/** Ports by number and name. */
type Ports = Iterable<{ readonly no: number; readonly name: string }>;

/** A filter. */
export class FlowFilter {
  readonly #conditions: Condition[] = [];

  /** Parses `tcp,in_port=1,nw_src=10.0.0.0/8`. Throws `SyntaxError`. */
  constructor(text: string, options: { readonly ports?: Ports } = {}) {
    const names = new Map([...options.ports ?? []].map(({ no, name }) => [name, no]));
    // As in Open vSwitch: a value may be in brackets behind its name, too.
    const plain = text.replace(/(\w+)\(([^()]*)\)/g, "$1=$2");
    for (const word of plain.split(/[,\s]+/).filter((part) => part !== "")) {
      this.#add(word, names);
    }
  }

  /** Whether a flow is to be shown. */
  matches(flow: Flow): boolean {
    const { key: keyBytes = new Uint8Array(), mask: maskBytes } = flow.raw;
    const key = decodeKey(keyBytes);
    const mask = maskBytes === undefined ? undefined : decodeMask(maskBytes, keyBytes);
    return this.#conditions.every(({ field, value, mask: wanted }) => {
      const found = readField(field, key, mask);
      const cares = found.mask & wanted;
      // Bits that do not matter to the flow are zero on either side.
      return (found.value & cares) === (value & cares);
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
    const field = fields.get(name);
    if (field === undefined) throw new SyntaxError(`${word}: unknown field ${name}`);
    if (parts.length === 0) throw new SyntaxError(`field ${name} missing value`);
    const [valueText = "", maskText] = splitMask(text, hasPrefixes(field));
    const port = field.name === "in_port" ? names.get(valueText) : undefined;
    const all = allBits(field.bits);
    const parsed = port === undefined
      ? parseFieldValue(field, valueText)
      : { value: BigInt(port), mask: all };
    const mask = maskText === undefined ? parsed?.mask : parseMask(maskText, field);
    if (parsed === undefined || mask === undefined) {
      throw new SyntaxError(`${text}: invalid value for ${name}`);
    }
    const { value } = parsed;
    if (value > all || mask > all) {
      throw new SyntaxError(
        `${text}: value too large for ${field.bits}-bit field ${name}`,
      );
    }
    this.#checkNeeds(word, name, field);
    this.#conditions.push({ field, value: value & mask, mask });
  }

  /** Fields of a protocol may be named behind that protocol only, as ovs-ofctl(8) has it. */
  #checkNeeds(word: string, name: string, { needs }: Field): void {
    if (needs === undefined) return;
    const has = (wanted: string): bigint | undefined =>
      this.#conditions.findLast(({ field }) => field.name === wanted)?.value;
    const type = has("eth_type");
    const proto = has("nw_proto");
    const { etherTypes, protos } = needs;
    const isRight = type !== undefined && etherTypes.includes(Number(type)) &&
      (protos === undefined || (proto !== undefined && protos.includes(Number(proto))));
    if (!isRight) {
      throw new SyntaxError(`${word}: prerequisites not met for setting ${name}`);
    }
  }
}

/** Whether a mask of a field may be a number of leading bits. */
function hasPrefixes({ form }: Field): boolean {
  return form === "ipv4" || form === "ipv6";
}

function splitMask(text: string, isAddress: boolean): [string, string?] {
  const at = text.lastIndexOf("/");
  if (at < 0) return [text];
  return isAddress || /^\/(0x|\d|[0-9a-f]+:)/i.test(text.slice(at))
    ? [text.slice(0, at), text.slice(at + 1)]
    : [text];
}

function parseMask(text: string, field: Field): bigint | undefined {
  if (hasPrefixes(field) && /^\d+$/.test(text) && Number(text) <= field.bits) {
    const ones = allBits(Number(text));
    return ones << (BigInt(field.bits) - BigInt(text));
  }
  return parseFieldValue(field, text)?.value;
}
