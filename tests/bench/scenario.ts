// SPDX-License-Identifier: Apache-2.0
/**
 * Scenarios of the comparison: packets, the flows that forward them, and the OpenFlow rules from
 * which Open vSwitch makes the same megaflows.
 *
 * A scenario is a JSON file (`scenarios/NAME.json`). Its texts are templates, written out once, for
 * each class of packets (`"each": "class"`) or for each packet (`"each": "packet"`). In them
 * `{src}` is the field as ovs-dpctl(8) writes it, with its mask where that is not all ones,
 * and `{src.cidr}` the same for ovs-ofctl(8); likewise `dst`, `sport`, `dport`.
 *
 * @module
 */
import { type PacketClass, PacketSource, type PacketSpec } from "./packets.ts";
import { formatCidr, formatMasked, type Prefix, widthOf } from "./prefix.ts";

/** How often a template is written out. */
export type Repeat = "once" | "class" | "packet";

/** What is measured: packets forwarded, or flows set up from upcalls. */
export type Measure = "forward" | "upcall";

/** A scenario file. */
export interface Scenario {
  readonly name: string;
  /** A sentence for people. */
  readonly about: string;
  readonly measure?: Measure;
  readonly packets: PacketSpec;
  /** Bytes that the actions add to a frame; 0 when absent. */
  readonly grows?: number;
  /** Flows as ovs-dpctl(8) takes and prints them. Ports: 1 receives, 2 sends. */
  readonly flows: {
    readonly each: Repeat;
    readonly key: string;
    readonly actions: string;
  };
  /** OpenFlow rules as ovs-ofctl(8) takes them. */
  readonly openflow: readonly { readonly each: Repeat; readonly rule: string }[];
}

/** A flow, written out. */
export interface FlowText {
  readonly key: string;
  readonly actions: string;
}

/** A scenario with its templates written out. */
export interface Prepared {
  readonly scenario: Scenario;
  readonly source: PacketSource;
  /** Empty when flows come from upcalls. */
  readonly flows: readonly FlowText[];
  readonly rules: readonly string[];
}

const FOLDER = new URL("./scenarios/", import.meta.url);

/** Names of the scenarios that come with the project, in the order of `order.json`. */
export function listScenarios(): string[] {
  return JSON.parse(Deno.readTextFileSync(new URL("order.json", FOLDER)));
}

/** Reads a scenario by the name of one that comes with the project, or by path. */
export function readScenario(nameOrPath: string): Scenario {
  const file = nameOrPath.endsWith(".json")
    ? nameOrPath
    : new URL(`${nameOrPath}.json`, FOLDER);
  let text: string;
  try {
    text = Deno.readTextFileSync(file);
  } catch (cause) {
    throw new Error(
      `scenario ${nameOrPath}: no such file; known: ${listScenarios().join(" ")}`,
      { cause },
    );
  }
  return checkScenario(JSON.parse(text), nameOrPath);
}

/** `value` as a scenario, or a TypeError that says what is wrong with it. */
export function checkScenario(value: unknown, from: string): Scenario {
  const wrong = (what: string): never => {
    throw new TypeError(`scenario ${from}: ${what}`);
  };
  const object = (part: unknown, what: string): Record<string, unknown> =>
    typeof part === "object" && part !== null && !Array.isArray(part)
      ? part as Record<string, unknown>
      : wrong(`${what} must be an object`);
  const text = (part: unknown, what: string): string =>
    typeof part === "string" ? part : wrong(`${what} must be text`);
  const repeat = (part: unknown, what: string): void => {
    if (part !== "once" && part !== "class" && part !== "packet") {
      wrong(`${what} must be "once", "class" or "packet"`);
    }
  };
  const top = object(value, "the file");
  text(top.name, "name");
  text(top.about, "about");
  if (!["forward", "upcall", undefined].includes(top.measure as Measure | undefined)) {
    wrong('measure must be "forward" or "upcall"');
  }
  if (top.grows !== undefined && !Number.isSafeInteger(top.grows)) {
    wrong("grows must be an integer");
  }
  const packets = object(top.packets, "packets");
  if (packets.kind !== "udp4" && packets.kind !== "udp6") {
    wrong('packets.kind must be "udp4" or "udp6"');
  }
  if (!Number.isSafeInteger(packets.count) || Number(packets.count) < 1) {
    wrong("packets.count must be a positive integer");
  }
  if (!Number.isSafeInteger(packets.seed)) wrong("packets.seed must be an integer");
  const flows = object(top.flows, "flows");
  repeat(flows.each, "flows.each");
  text(flows.key, "flows.key");
  text(flows.actions, "flows.actions");
  if (!Array.isArray(top.openflow)) wrong("openflow must be a list");
  for (const rule of top.openflow as unknown[]) {
    repeat(object(rule, "an OpenFlow rule").each, "each of an OpenFlow rule");
    text(object(rule, "an OpenFlow rule").rule, "rule");
  }
  return value as Scenario;
}

/** Writes out the templates of a scenario. */
export function prepare(scenario: Scenario): Prepared {
  const source = new PacketSource(scenario.packets);
  const { key, actions, each } = scenario.flows;
  const keys = scenario.measure === "upcall" ? [] : expand(key, each, source);
  return {
    scenario,
    source,
    flows: keys.map((text) => ({ key: text, actions })),
    rules: scenario.openflow.flatMap(({ each, rule }) => expand(rule, each, source)),
  };
}

function expand(template: string, each: Repeat, source: PacketSource): string[] {
  if (each === "once") return [template];
  if (each === "class") return source.classes.map((one) => substitute(template, one));
  const texts = new Set<string>();
  const kinds = source.classes[0];
  if (kinds === undefined) return [];
  source.forEach((fields) => {
    const exact = (name: keyof PacketClass): Prefix => ({
      kind: kinds[name].kind,
      words: [...fields[name]],
      length: widthOf(kinds[name].kind),
    });
    texts.add(substitute(template, {
      src: exact("src"),
      dst: exact("dst"),
      sport: exact("sport"),
      dport: exact("dport"),
    }));
  });
  return [...texts];
}

function substitute(template: string, values: PacketClass): string {
  return template.replace(
    /\{(src|dst|sport|dport)(\.cidr)?\}/g,
    (_, name: keyof PacketClass, cidr?: string) =>
      cidr ? formatCidr(values[name]) : formatMasked(values[name]),
  );
}
