// SPDX-License-Identifier: Apache-2.0
/**
 * The action `learn` in the notation of ovs-ofctl(8), both ways.
 *
 * @module
 */
import type { LearnAction, LearnSpec, SubField } from "../wire/action.ts";
import { fieldNamed, partBits } from "../wire/field.ts";
import { allOf } from "../wire/match.ts";
import { DEFAULT_PRIORITY, splitParts } from "./match.ts";
import { formatSubField, halves, numberOf, parseSubField } from "./subfield.ts";
import {
  alternateHex,
  formatValue,
  hex,
  parseBig,
  parseValue,
  type PortNames,
} from "./value.ts";

function isWhole({ field, offset, bits }: SubField): boolean {
  return offset === 0 && bits === partBits(field);
}

function formatSpec({ src, to, dst }: LearnSpec, ports?: PortNames): string {
  const from = "field" in src ? formatSubField(src) : alternateHex(src.value);
  if (dst === undefined) return `output:${from}`;
  const target = formatSubField(dst);
  if (to === "load") return `load:${from}->${target}`;
  if (!("field" in src)) {
    if (!isWhole(dst)) return `${target}=${from}`;
    const { field } = dst;
    return `${field.name}=${formatValue(field, src.value, allOf(field), ports)}`;
  }
  const isSame = src.field === dst.field && src.offset === dst.offset;
  return isSame ? target : `${target}=${from}`;
}

/** Writes a `learn`. */
export function formatLearn(action: LearnAction, ports?: PortNames): string {
  const parts = [`table=${action.table}`];
  if (action.idle !== 0) parts.push(`idle_timeout=${action.idle}`);
  if (action.hard !== 0) parts.push(`hard_timeout=${action.hard}`);
  if (action.finIdle !== 0) parts.push(`fin_idle_timeout=${action.finIdle}`);
  if (action.finHard !== 0) parts.push(`fin_hard_timeout=${action.finHard}`);
  if (action.priority !== DEFAULT_PRIORITY) parts.push(`priority=${action.priority}`);
  if (action.sendFlowRemoved) parts.push("send_flow_rem");
  if (action.deleteLearned) parts.push("delete_learned");
  if (action.cookie !== 0n) parts.push(`cookie=${hex(action.cookie)}`);
  if (action.limit !== 0) parts.push(`limit=${action.limit}`);
  if (action.result !== undefined) {
    parts.push(`result_dst=${formatSubField(action.result)}`);
  }
  return `learn(${
    [...parts, ...action.specs.map((spec) => formatSpec(spec, ports))].join(",")
  })`;
}

function parseSpec(part: string, ports?: PortNames): LearnSpec {
  if (part.startsWith("load:")) {
    const [from, to] = halves(part.slice(5));
    const dst = parseSubField(to);
    if (!dst.field.writable) throw new SyntaxError(`${to} cannot be set`);
    return { src: source(from, dst.bits), to: "load", dst };
  }
  if (part.startsWith("output:")) {
    return { src: parseSubField(part.slice(7)), to: "output", dst: undefined };
  }
  const at = part.indexOf("=");
  const name = at < 0 ? part : part.slice(0, at);
  const field = fieldNamed(name);
  if (at < 0 || field === undefined) {
    const dst = parseSubField(name);
    return {
      src: at < 0 ? dst : source(part.slice(at + 1), dst.bits),
      to: "match",
      dst,
    };
  }
  const dst = { field, offset: 0, bits: partBits(field) };
  const text = part.slice(at + 1);
  try {
    const { value, mask } = parseValue(field, text, ports);
    if (mask !== allOf(field)) throw new SyntaxError(`${text} has a mask`);
    return { src: { bits: partBits(field), value }, to: "match", dst };
  } catch (error) {
    // What is no value of the field may be another field.
    if (!(error instanceof SyntaxError) || !/\[/.test(text)) throw error;
    return { src: source(text, dst.bits), to: "match", dst };
  }
}

function source(text: string, bits: number): LearnSpec["src"] {
  if (/^(0x[0-9a-f]+|\d+)$/i.test(text)) {
    const value = parseBig(text);
    if (value >> BigInt(bits) !== 0n) {
      throw new SyntaxError(`${text} has more than ${bits} bits`);
    }
    return { bits, value };
  }
  const part = parseSubField(text);
  if (part.bits !== bits) throw new SyntaxError(`${text} has not ${bits} bits`);
  return part;
}

/** Reads what is in the brackets of a `learn`. Throws `SyntaxError`. */
export function parseLearn(text: string, ports?: PortNames): LearnAction {
  let made: LearnAction = {
    type: "learn",
    idle: 0,
    hard: 0,
    finIdle: 0,
    finHard: 0,
    priority: DEFAULT_PRIORITY,
    cookie: 0n,
    sendFlowRemoved: false,
    deleteLearned: false,
    table: 1,
    limit: 0,
    specs: [],
  };
  for (const part of splitParts(text)) {
    const [name = "", value = ""] = part.split("=");
    const number = Object.hasOwn(numbers, name) ? numbers[name] : undefined;
    if (number !== undefined) {
      made = { ...made, [number[0]]: numberOf(value, number[1]) };
    } else if (name === "cookie") made = { ...made, cookie: parseBig(value) };
    else if (name === "send_flow_rem") made = { ...made, sendFlowRemoved: true };
    else if (name === "delete_learned") made = { ...made, deleteLearned: true };
    else if (name === "result_dst") {
      const result = parseSubField(value);
      if (result.bits !== 1) throw new SyntaxError(`${value} is not one bit`);
      made = { ...made, result };
    } else made = { ...made, specs: [...made.specs, parseSpec(part, ports)] };
  }
  return made;
}

const numbers: Readonly<
  Record<string, readonly [name: keyof LearnAction, most: number]>
> = {
  table: ["table", 254],
  priority: ["priority", 0xffff],
  idle_timeout: ["idle", 0xffff],
  hard_timeout: ["hard", 0xffff],
  fin_idle_timeout: ["finIdle", 0xffff],
  fin_hard_timeout: ["finHard", 0xffff],
  limit: ["limit", 0xffffffff],
};
