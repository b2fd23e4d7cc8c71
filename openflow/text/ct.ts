// SPDX-License-Identifier: Apache-2.0
/**
 * Actions of the connection tracker in the notation of ovs-ofctl(8), both ways.
 *
 * @module
 */
import {
  type CtAction,
  type NatAction,
  NO_TABLE,
  type OfAction,
} from "../wire/action.ts";
import { isOfConnection } from "../wire/nicira/ct.ts";
import { fieldOfName } from "../wire/field.ts";
import { allOf } from "../wire/match.ts";
import { splitParts } from "./match.ts";
import { formatSubField, numberOf, parseSubField } from "./subfield.ts";
import { formatValue, parseValue } from "./value.ts";

const helpers: Readonly<Record<string, number>> = { ftp: 21, tftp: 69 };

/** Writes a `ct`. */
export function formatCt(
  { commit, force, table, zone, alg, actions }: CtAction,
  nested: (list: readonly OfAction[]) => string,
): string {
  const parts: string[] = [];
  if (commit) parts.push("commit");
  if (force) parts.push("force");
  if (table !== NO_TABLE) parts.push(`table=${table}`);
  if (typeof zone !== "number") parts.push(`zone=${formatSubField(zone)}`);
  else if (zone !== 0) parts.push(`zone=${zone}`);
  const [first, ...rest] = actions;
  const isNat = first?.type === "nat";
  if (isNat) parts.push(formatNat(first));
  const list = isNat ? rest : actions;
  if (list.length > 0) parts.push(`exec(${nested(list)})`);
  const helper = Object.keys(helpers).find((name) => helpers[name] === alg);
  if (alg !== 0) parts.push(`alg=${helper ?? alg}`);
  return `ct(${parts.join(",")})`;
}

/** Reads what is in the brackets of a `ct`. Throws `SyntaxError`. */
export function parseCt(
  text: string,
  nested: (text: string) => OfAction[],
): CtAction {
  const made = {
    type: "ct" as const,
    commit: false,
    force: false,
    table: NO_TABLE as number,
    zone: 0 as CtAction["zone"],
    alg: 0,
    actions: [] as OfAction[],
  };
  for (const part of splitParts(text)) {
    const found = /^(\w+)(?:=(.*)|\((.*)\))?$/s.exec(part);
    if (found === null) throw new SyntaxError(`${part} is no part of ct`);
    const [, name = "", value = "", brackets = ""] = found;
    switch (name) {
      case "commit":
        made.commit = true;
        break;
      case "force":
        made.force = true;
        break;
      case "table":
        made.table = numberOf(value, 254);
        break;
      case "zone":
        made.zone = /^\d|^0x/.test(value) ? numberOf(value, 0xffff) : zoneField(value);
        break;
      case "alg":
        if (!Object.hasOwn(helpers, value)) throw new SyntaxError(`${value} is no alg`);
        made.alg = helpers[value] as number;
        break;
      case "nat":
        made.actions.unshift(parseNat(brackets));
        break;
      case "exec":
        made.actions.push(...nested(brackets).map(checked));
        break;
      default:
        throw new SyntaxError(`${part} is no part of ct`);
    }
  }
  if (made.force && !made.commit) throw new SyntaxError("force needs commit");
  return made;
}

function zoneField(text: string): Exclude<CtAction["zone"], number> {
  const part = parseSubField(text);
  if (part.bits !== 16) throw new SyntaxError(`${text} is not 16 bits`);
  return part;
}

function checked(action: OfAction): OfAction {
  const name = action.type === "setField"
    ? action.field.name
    : action.type === "move"
    ? action.dst.field.name
    : undefined;
  if (action.type === "nat" || name !== undefined && isOfConnection(name)) return action;
  throw new SyntaxError(`ct cannot do ${action.type}`);
}

function address(family: 4 | 6, value: bigint, hasPort: boolean): string {
  const field = fieldOfName(family === 4 ? "ip_src" : "ipv6_src");
  const text = formatValue(field, value, allOf(field));
  return family === 6 && hasPort ? `[${text}]` : text;
}

/** Writes a `nat`. */
export function formatNat(action: NatAction): string {
  const { kind, family, min, max, portMin, portMax } = action;
  if (kind === undefined) return "nat";
  let range: string = kind;
  const hasPort = portMin !== undefined;
  if (family !== undefined && min !== undefined) {
    range += `=${address(family, min, hasPort)}`;
    if (max !== undefined && max !== min) range += `-${address(family, max, hasPort)}`;
    if (hasPort) range += `:${portMin}`;
    if (portMax !== undefined && portMax !== portMin) range += `-${portMax}`;
  } else if (hasPort) {
    range += `=:${portMin}`;
    if (portMax !== undefined && portMax !== portMin) range += `-${portMax}`;
  }
  const parts = [range];
  for (const name of ["persistent", "hash", "random"] as const) {
    if (action[name]) parts.push(name);
  }
  return `nat(${parts.join(",")})`;
}

const range4 = /^([\d.]+)(?:-([\d.]+))?(?::(\d+)(?:-(\d+))?)?$/;
const range6 =
  /^\[?([\da-f:.]+?)\]?(?:-\[?([\da-f:.]+?)\]?)?(?:(?<=\]):(\d+)(?:-(\d+))?)?$/i;

/** Reads what is in the brackets of a `nat`. Throws `SyntaxError`. */
export function parseNat(text: string): NatAction {
  let made: NatAction = {
    type: "nat",
    kind: undefined,
    persistent: false,
    hash: false,
    random: false,
    family: undefined,
  };
  for (const part of splitParts(text)) {
    const [name = "", ...rest] = part.split("=");
    const value = rest.join("=");
    if (name === "persistent" || name === "hash" || name === "random") {
      made = { ...made, [name]: true };
    } else if (name === "src" || name === "dst") {
      if (made.kind !== undefined) throw new SyntaxError("nat has src or dst");
      made = { ...made, kind: name, ...(value !== "" && parseRange(value)) };
    } else throw new SyntaxError(`${part} is no part of nat`);
  }
  const { kind, hash, random, min, max, portMin, portMax } = made;
  if (kind === undefined && text.trim() !== "") {
    throw new SyntaxError("nat must have src or dst");
  }
  if (hash && random) throw new SyntaxError("nat has hash or random");
  if (min !== undefined && max !== undefined && max < min) {
    throw new SyntaxError(`${text} ends before it begins`);
  }
  if (portMin !== undefined && portMax !== undefined && portMax < portMin) {
    throw new SyntaxError(`${text} ends before it begins`);
  }
  return made;
}

function parseRange(
  text: string,
): Pick<NatAction, "family" | "min" | "max" | "portMin" | "portMax"> {
  const found4 = range4.exec(text);
  const found = found4 ?? range6.exec(text);
  if (found === null) throw new SyntaxError(`${text} is no range`);
  const [, first = "", last, portFirst, portLast] = found;
  const family = found4 === null ? 6 : 4;
  const field = fieldOfName(family === 4 ? "ip_src" : "ipv6_src");
  const port = (text: string): number => {
    const number = numberOf(text, 0xffff);
    if (number === 0) throw new SyntaxError("0 is no port");
    return number;
  };
  return {
    family,
    min: parseValue(field, first).value,
    ...(last !== undefined && { max: parseValue(field, last).value }),
    ...(portFirst !== undefined && { portMin: port(portFirst) }),
    ...(portLast !== undefined && { portMax: port(portLast) }),
  };
}
