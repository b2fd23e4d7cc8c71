// SPDX-License-Identifier: Apache-2.0
/**
 * Actions that choose, by a hash or by chance, in the notation of ovs-ofctl(8), both ways.
 *
 * @module
 */
import {
  type BundleAction,
  HASH_FIELDS,
  type HashFields,
  MULTIPATH_ALGORITHMS,
  type MultipathAction,
  type SampleAction,
} from "../wire/action.ts";
import { Port } from "../wire/port_number.ts";
import { splitParts } from "./match.ts";
import { formatSubField, numberOf, parseSubField } from "./subfield.ts";
import { formatPort, parsePort, type PortNames } from "./value.ts";

/** One of some words. Throws `SyntaxError` for another. */
function wordOf<T extends string>(words: readonly T[], text: string): T {
  const found = words.find((word) => word === text);
  if (found === undefined) {
    throw new SyntaxError(`${text} is none of ${words.join(", ")}`);
  }
  return found;
}

function hashFields(text: string): HashFields {
  return wordOf(HASH_FIELDS, text);
}

/** Writes a `bundle`, or a `bundle_load`. */
export function formatBundle(action: BundleAction, ports?: PortNames): string {
  const { fields, basis, algorithm, dst } = action;
  const parts = [fields, basis, algorithm, "ofport"];
  if (dst !== undefined) parts.push(formatSubField(dst));
  const members = action.ports.map((port) => formatPort(port, ports)).join(",");
  return `${dst === undefined ? "bundle" : "bundle_load"}(${
    parts.join(",")
  },members:${members})`;
}

/** Reads what is in the brackets of a `bundle`. Throws `SyntaxError`. */
export function parseBundle(
  text: string,
  loads: boolean,
  ports?: PortNames,
): BundleAction {
  const found = /^(.*?),?\s*(?:members|slaves):(.*)$/s.exec(text);
  if (found === null) throw new SyntaxError(`${text} has no members`);
  const parts = splitParts(found[1] as string);
  const [fields = "", basis = "", algorithm = "", type, dst] = parts;
  if (type !== "ofport" || parts.length !== (loads ? 5 : 4)) {
    throw new SyntaxError(`${text} is no bundle`);
  }
  return {
    type: "bundle",
    fields: hashFields(fields),
    basis: numberOf(basis, 0xffff),
    algorithm: wordOf(["active_backup", "hrw"], algorithm),
    ports: splitParts(found[2] as string).map((port) => parsePort(port, ports)),
    ...(dst !== undefined && { dst: parseSubField(dst) }),
  };
}

/** Writes a `multipath`. */
export function formatMultipath(action: MultipathAction): string {
  const { fields, basis, algorithm, links, argument, dst } = action;
  return `multipath(${fields},${basis},${algorithm},${links},${argument},${
    formatSubField(dst)
  })`;
}

/** Reads what is in the brackets of a `multipath`. Throws `SyntaxError`. */
export function parseMultipath(text: string): MultipathAction {
  const parts = splitParts(text);
  const [fields = "", basis = "", algorithm = "", links = "", argument = "", to = ""] =
    parts;
  if (parts.length !== 6) throw new SyntaxError(`${text} is no multipath`);
  const dst = parseSubField(to);
  const count = numberOf(links, 0x10000);
  if (count < 1 || dst.bits < 16 && count > 2 ** dst.bits) {
    throw new SyntaxError(`${links} does not fit into ${to}`);
  }
  return {
    type: "multipath",
    fields: hashFields(fields),
    basis: numberOf(basis, 0xffff),
    algorithm: wordOf(MULTIPATH_ALGORITHMS, algorithm),
    links: count,
    argument: numberOf(argument, 0xffffffff),
    dst,
  };
}

/** Writes a `sample`. */
export function formatSample(action: SampleAction, ports?: PortNames): string {
  const { probability, collectors, domain, point, port, direction } = action;
  const parts = [
    `probability=${probability}`,
    `collector_set_id=${collectors}`,
    `obs_domain_id=${domain}`,
    `obs_point_id=${point}`,
  ];
  if (port !== undefined && port !== Port.none) {
    parts.push(`sampling_port=${formatPort(port, ports)}`);
  }
  if (direction !== undefined) parts.push(direction);
  return `sample(${parts.join(",")})`;
}

/** Reads what is in the brackets of a `sample`. Throws `SyntaxError`. */
export function parseSample(text: string, ports?: PortNames): SampleAction {
  let made: SampleAction = {
    type: "sample",
    probability: 0,
    collectors: 0,
    domain: 0,
    point: 0,
  };
  for (const part of splitParts(text)) {
    const [name = "", value = ""] = part.split("=");
    const key = Object.hasOwn(sampleNumbers, name) ? sampleNumbers[name] : undefined;
    if (key !== undefined) {
      const most = key === "probability" ? 0xffff : 0xffffffff;
      made = { ...made, [key]: numberOf(value, most) };
    } else if (name === "sampling_port") {
      made = { ...made, port: parsePort(value, ports) };
    } else if (name === "ingress" || name === "egress") {
      made = { ...made, port: made.port ?? Port.none, direction: name };
    } else throw new SyntaxError(`${part} is no part of sample`);
  }
  if (made.probability === 0) throw new SyntaxError("sample needs a probability");
  return made;
}

const sampleNumbers: Readonly<Record<string, keyof SampleAction>> = {
  probability: "probability",
  collector_set_id: "collectors",
  obs_domain_id: "domain",
  obs_point_id: "point",
};
