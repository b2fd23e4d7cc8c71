// SPDX-License-Identifier: Apache-2.0
/**
 * Actions and instructions read from the notation of ovs-ofctl(8).
 *
 * @module
 */
import {
  type Instructions,
  type ModName,
  NO_TABLE,
  type OfAction,
  type SubField,
} from "../wire/action.ts";
import { mods } from "../wire/actions/action_write.ts";
import { fieldNamed, fieldOfName, fieldOfNxmName } from "../wire/field.ts";
import { ones } from "../wire/flow.ts";
import { allOf } from "../wire/match.ts";
import { Port } from "../wire/port_number.ts";
import { splitParts } from "./match.ts";
import { reasonNames } from "./action.ts";
import { parseBundle, parseMultipath, parseSample } from "./choice.ts";
import { parseCt, parseNat } from "./ct.ts";
import { parseLearn } from "./learn.ts";
import { halves, numberOf, parseSubField } from "./subfield.ts";
import { parseBig, parsePort, parseValue, type PortNames } from "./value.ts";

function parseSetField(text: string, ports?: PortNames): OfAction {
  const [from, to] = halves(text);
  const field = fieldNamed(to === "in_port" ? "in_port_oxm" : to) ?? fieldOfNxmName(to);
  if (field === undefined) throw new SyntaxError(`${to} is no field`);
  if (!field.writable) throw new SyntaxError(`${to} cannot be set`);
  const { value, mask } = parseValue(field, from, ports);
  return { type: "setField", field, value, mask, form: "set" };
}

function parseLoad(text: string): OfAction {
  const [from, to] = halves(text);
  const { field, offset, bits } = parseSubField(to);
  const value = parseBig(from);
  if (value >> BigInt(bits) !== 0n) {
    throw new SyntaxError(`${from} does not fit into ${to}`);
  }
  const shift = BigInt(offset);
  return {
    type: "setField",
    field,
    value: value << shift,
    mask: ones(bits) << shift,
    form: "load",
  };
}

function parseMove(text: string): OfAction {
  const [from, to] = halves(text).map(parseSubField) as unknown as [SubField, SubField];
  if (from.bits !== to.bits) throw new SyntaxError(`${text} has two sizes`);
  return { type: "move", src: from, dst: to };
}

function parseController(text: string): OfAction {
  if (/^\d*$/.test(text)) {
    return {
      type: "output",
      port: Port.controller,
      maxLength: text === "" ? 0xffff : numberOf(text, 0xffff),
    };
  }
  let made: OfAction & { readonly type: "controller" } = {
    type: "controller",
    maxLength: 0xffff,
    controllerId: 0,
    reason: 1,
  };
  for (const part of splitParts(text)) {
    const [name = "", value = ""] = part.split("=");
    switch (name) {
      case "pause":
        made = { ...made, pause: true };
        break;
      case "max_len":
        made = { ...made, maxLength: numberOf(value, 0xffff) };
        break;
      case "id":
        made = { ...made, controllerId: numberOf(value, 0xffff) };
        break;
      case "reason":
        if (!reasonNames.includes(value)) throw new SyntaxError(`${value} is no reason`);
        made = { ...made, reason: reasonNames.indexOf(value) };
        break;
      case "userdata":
        made = { ...made, userdata: dotted(value) };
        break;
      case "meter_id":
        made = { ...made, meter: numberOf(value, 0xffffffff) };
        break;
      default:
        throw new SyntaxError(`controller has no ${name}`);
    }
  }
  return made;
}

function dotted(text: string): Uint8Array {
  const digits = text.replaceAll(".", "");
  if (digits.length % 2 !== 0 || !/^[0-9a-f]*$/i.test(digits)) {
    throw new SyntaxError(`${text} is not bytes in hexadecimal`);
  }
  return Uint8Array.from(digits.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
}

function parseResubmit(text: string, ports?: PortNames): OfAction {
  const [port = "", table = "", ct] = text.split(",");
  if (ct !== undefined && ct !== "ct") throw new SyntaxError(`resubmit has no ${ct}`);
  return {
    type: "resubmit",
    port: port === "" ? Port.inPort : parsePort(port, ports),
    table: table === "" ? NO_TABLE : numberOf(table, 255),
    ...(ct !== undefined && { isOfConnection: true }),
  };
}

function parseFinTimeout(text: string): OfAction {
  const seconds = { idle_timeout: 0, hard_timeout: 0 };
  for (const part of splitParts(text)) {
    const [name = "", value = ""] = part.split("=");
    if (!Object.hasOwn(seconds, name)) {
      throw new SyntaxError(`fin_timeout has no ${name}`);
    }
    seconds[name as keyof typeof seconds] = numberOf(value, 0xffff);
  }
  return { type: "finTimeout", idle: seconds.idle_timeout, hard: seconds.hard_timeout };
}

function parseOutput(text: string, ports?: PortNames): OfAction {
  const isTrunc = /^port=/.test(text);
  if (isTrunc) {
    const found = /^port=([^,]+),max_len=(\d+)$/.exec(text);
    if (found === null) throw new SyntaxError(`${text} is no output`);
    const [, port = "", length = ""] = found;
    return {
      type: "outputTrunc",
      port: parsePort(port, ports),
      maxLength: numberOf(length, 0xffffffff),
    };
  }
  const sub = /\[/.test(text);
  if (sub) return { type: "outputReg", src: parseSubField(text), maxLength: 0xffff };
  const port = parsePort(text.replace(/^"(.*)"$/, "$1"), ports);
  return { type: "output", port, maxLength: port === Port.controller ? 0xffff : 0 };
}

function parseMod(name: ModName, text: string, pushes: boolean): OfAction {
  const field = mods[name].field;
  const isPort = name === "tp_src" || name === "tp_dst";
  if (/^(dl|nw)_(src|dst)$/.test(name)) {
    return { type: "mod", name, value: parseValue(fieldOfName(field), text).value };
  }
  const most = name === "nw_tos"
    ? 255n
    : name === "vlan_vid"
    ? 0xfffn
    : isPort
    ? 0xffffn
    : allOf(fieldOfName(field));
  const value = parseBig(text);
  if (value > most) throw new SyntaxError(`${text} is too large for ${name}`);
  const isVlan = name === "vlan_vid" || name === "vlan_pcp";
  return isVlan && pushes
    ? { type: "mod", name, value, pushes }
    : { type: "mod", name, value };
}

type Parse = (text: string, ports?: PortNames) => OfAction;

function plain(action: OfAction): Parse {
  return (text) => {
    if (text !== "") throw new SyntaxError(`${action.type} has no argument`);
    return action;
  };
}

const verbs: Readonly<Record<string, Parse>> = {
  output: parseOutput,
  controller: parseController,
  enqueue: (text, ports) => {
    const [port = "", queue = ""] = text.split(/[:,]/);
    return {
      type: "enqueue",
      port: parsePort(port, ports),
      queue: numberOf(queue, 0xffffffff),
    };
  },
  group: (text) => ({ type: "group", group: numberOf(text, 0xffffffff) }),
  set_queue: (text) => ({ type: "setQueue", queue: numberOf(text, 0xffffffff) }),
  pop_queue: plain({ type: "popQueue" }),
  set_field: parseSetField,
  load: parseLoad,
  move: parseMove,
  push: (text) => ({ type: "push", of: parseSubField(text) }),
  pop: (text) => ({ type: "pop", of: parseSubField(text) }),
  push_vlan: (text) => ({ type: "pushVlan", etherType: numberOf(text, 0xffff) }),
  pop_vlan: plain({ type: "popVlan" }),
  strip_vlan: plain({ type: "popVlan", strips: true }),
  push_mpls: (text) => ({ type: "pushMpls", etherType: numberOf(text, 0xffff) }),
  pop_mpls: (text) => ({ type: "popMpls", etherType: numberOf(text, 0xffff) }),
  dec_ttl: (text) =>
    text === ""
      ? { type: "decTtl" }
      : { type: "decTtl", ids: text.split(",").map((id) => numberOf(id, 0xffff)) },
  dec_mpls_ttl: plain({ type: "decMplsTtl" }),
  resubmit: parseResubmit,
  set_tunnel: (text) => ({ type: "setTunnel", id: parseBig(text), is64: false }),
  set_tunnel64: (text) => ({ type: "setTunnel", id: parseBig(text), is64: true }),
  note: (text) => ({ type: "note", bytes: padded(dotted(text)) }),
  exit: plain({ type: "exit" }),
  fin_timeout: parseFinTimeout,
  ct_clear: plain({ type: "ctClear" }),
  debug_recirc: plain({ type: "debugRecirc" }),
  debug_slow: plain({ type: "debugSlow" }),
  ct: (text, ports) => parseCt(text, (list) => parseActions(list, ports)),
  nat: parseNat,
  conjunction: parseConjunction,
  learn: (text, ports) => parseLearn(text, ports),
  check_pkt_larger: (text) => {
    const found = /^(\d+)\)?->(.*)$/.exec(text);
    if (found === null) throw new SyntaxError(`${text} is no size and a bit`);
    const dst = parseSubField(found[2] as string);
    if (dst.bits !== 1) throw new SyntaxError(`${found[2]} is not one bit`);
    const length = numberOf(found[1] as string, 0xffff);
    return { type: "checkPktLarger", length, dst };
  },
  bundle: (text, ports) => parseBundle(text, false, ports),
  bundle_load: (text, ports) => parseBundle(text, true, ports),
  multipath: parseMultipath,
  sample: parseSample,
  delete_field: (text) => {
    const field = fieldNamed(text) ?? fieldOfNxmName(text);
    if (field === undefined) throw new SyntaxError(`${text} is no field`);
    return { type: "deleteField", field };
  },
  clone: (text, ports) => ({ type: "clone", actions: parseActions(text, ports) }),
};

function parseConjunction(text: string): OfAction {
  const found = /^(0x[0-9a-f]+|\d+),\s*(\d+)\/(\d+)$/i.exec(text);
  if (found === null) throw new SyntaxError(`${text} is no part of a conjunction`);
  const [, id = "", clause = "", clauses = ""] = found;
  const [k, n] = [Number(clause), Number(clauses)];
  if (k < 1 || k > n || n < 2 || n > 64) {
    throw new SyntaxError(`${text} is not clause 1 to n of n, 2 to 64`);
  }
  return {
    type: "conjunction",
    clause: k - 1,
    clauses: n,
    id: numberOf(id, 0xffffffff),
  };
}

/** A note fills its action: its bytes have zeros behind them. */
function padded(bytes: Uint8Array): Uint8Array {
  const whole = new Uint8Array(bytes.length + (-(bytes.length + 10) & 7));
  whole.set(bytes);
  return whole;
}

function split(part: string): readonly [verb: string, text: string] {
  const found = /^(\w+)(?:\((.*)\)(->.*)?|[:=](.*))?$/s.exec(part);
  if (found === null) throw new SyntaxError(`${part} is no action`);
  const [, verb = "", brackets, arrow = "", rest] = found;
  return [verb, brackets === undefined ? rest ?? "" : brackets + arrow];
}

function parseAction(part: string, ports?: PortNames): OfAction {
  const [verb, text] = split(part);
  const name = verb.toLowerCase();
  const of = Object.hasOwn(verbs, name) ? verbs[name] : undefined;
  if (of !== undefined) return of(text, ports);
  const mod = /^(mod|set)_(\w+)$/.exec(verb);
  if (mod !== null && Object.hasOwn(mods, mod[2] as string)) {
    return parseMod(mod[2] as ModName, text, mod[1] === "mod");
  }
  // A port by itself is an output.
  if (text === "") return parseOutput(part, ports);
  throw new SyntaxError(`${verb} is no action`);
}

/** Reads a list of actions. Throws `SyntaxError`. */
export function parseActions(text: string, ports?: PortNames): OfAction[] {
  if (text.trim() === "drop" || text.trim() === "") return [];
  return splitParts(text).map((part) => parseAction(part, ports));
}

/** Reads instructions: actions among them are applied. Throws `SyntaxError`. */
export function parseInstructions(text: string, ports?: PortNames): Instructions {
  const apply: OfAction[] = [];
  let made: Instructions = {};
  for (const part of splitParts(text)) {
    if (part === "drop") continue;
    const [verb, rest] = split(part);
    switch (verb) {
      case "goto_table":
        made = { ...made, goto: numberOf(rest, 254) };
        break;
      case "write_metadata": {
        const { value, mask } = parseValue(fieldOfName("metadata"), rest);
        made = { ...made, metadata: { value, mask } };
        break;
      }
      case "write_actions":
        made = { ...made, write: parseActions(rest, ports) };
        break;
      case "clear_actions":
        made = { ...made, clear: true };
        break;
      case "meter":
        made = { ...made, meter: numberOf(rest, 0xffffffff) };
        break;
      case "apply_actions":
        apply.push(...parseActions(rest, ports));
        break;
      default:
        apply.push(parseAction(part, ports));
    }
  }
  return apply.length === 0 ? made : { ...made, apply };
}
