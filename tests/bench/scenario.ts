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
import { ODD_KINDS, type OddSpec, writeOddPackets } from "./odd_packets.ts";
import {
  mixed,
  type PacketClass,
  PacketSource,
  type PacketSpec,
  writeFrames,
} from "./packets.ts";
import { formatCidr, formatMasked, type Prefix, widthOf } from "./prefix.ts";
import { tunnelFault, type TunnelSpec } from "./tunnelled.ts";

/** How often a template is written out. */
export type Repeat = "once" | "class" | "packet";

/**
 * What is measured: packets forwarded, flows set up from upcalls, connections begun, or what of a
 * fixed load an attack leaves.
 */
export type Measure = "forward" | "upcall" | "connections" | "attack";

const MEASURES: readonly unknown[] = [
  "forward",
  "upcall",
  "connections",
  "attack",
  undefined,
];

/** A flow template. */
export interface FlowTemplate {
  readonly each: Repeat;
  readonly key: string;
  readonly actions: string;
}

/** An OpenFlow rule template. */
export interface RuleTemplate {
  readonly each: Repeat;
  readonly rule: string;
}

/**
 * Traffic that comes by a port of its own, 3, as fast as the program takes it, and leaves by port
 * 1, while the scenario's packets come by port 1 at a fixed rate.
 */
export interface Attack {
  readonly packets: PacketSpec | OddSpec;
  /**
   * None: every packet is a miss; the program sets flows up, and stops at as many as Open vSwitch.
   */
  readonly flows: readonly FlowTemplate[];
  readonly openflow: readonly RuleTemplate[];
  /** The share of its rate that established traffic must keep. */
  readonly keeps: number;
}

/** Packets of one kind, and what forwards them. */
export interface Kind {
  readonly packets: PacketSpec;
  /**
   * Flows as ovs-dpctl(8) takes and prints them. Ports: 1 receives, 2 sends, and so do those behind
   * it.
   */
  readonly flows: FlowTemplate | readonly FlowTemplate[];
  /** OpenFlow rules as ovs-ofctl(8) takes them. */
  readonly openflow: readonly RuleTemplate[];
}

/** A scenario file. */
export interface Scenario extends Kind {
  readonly name: string;
  /** A sentence for people. */
  readonly about: string;
  readonly measure?: Measure;
  /** Other kinds of packets, which come among those above at random. */
  readonly also?: readonly Kind[];
  /** Ports that send: 2 and up; 1 when absent. */
  readonly outputs?: number;
  /** Bytes that the actions add to a frame; 0 when absent. */
  readonly grows?: number;
  /** How many connections the table may have; a program's default when absent. */
  readonly maxConnections?: number;
  /** Its port is number 9. */
  readonly tunnel?: TunnelSpec;
  /** Flows as Open vSwitch has them, where the same is said in other words there. */
  readonly openvswitch?: readonly FlowTemplate[];
  /** With `"measure": "attack"`. */
  readonly attack?: Attack;
}

/** A flow, written out. */
export interface FlowText {
  readonly key: string;
  readonly actions: string;
}

/** A scenario with its templates written out. */
export interface Prepared {
  readonly scenario: Scenario;
  /** Bytes of a frame on average. */
  readonly frameSize: number;
  /** Writes the packets, or the first `limit` of them, to a capture file; returns their number. */
  write(path: string, limit?: number): Promise<number>;
  /** Empty when flows come from upcalls. */
  readonly flows: readonly FlowText[];
  /** The same as Open vSwitch prints them. */
  readonly megaflows: readonly FlowText[];
  readonly rules: readonly string[];
  /** Flows of the attacking port, and how to write its packets; absent where nobody attacks. */
  readonly attack?: {
    readonly flows: readonly FlowText[];
    write(path: string): Promise<number>;
  };
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
  if (!MEASURES.includes(top.measure)) {
    wrong('measure must be "forward", "upcall", "connections" or "attack"');
  }
  if (top.grows !== undefined && !Number.isSafeInteger(top.grows)) {
    wrong("grows must be an integer");
  }
  if (top.maxConnections !== undefined && !Number.isSafeInteger(top.maxConnections)) {
    wrong("maxConnections must be an integer");
  }
  const packets = (part: unknown, what: string, kinds: readonly string[]): void => {
    const spec = object(part, what);
    if (!kinds.includes(text(spec.kind, `${what}.kind`))) {
      wrong(`${what}.kind must be one of ${kinds.join(" ")}`);
    }
    if (!Number.isSafeInteger(spec.count) || Number(spec.count) < 1) {
      wrong(`${what}.count must be a positive integer`);
    }
    if (!Number.isSafeInteger(spec.seed)) wrong(`${what}.seed must be an integer`);
  };
  const flow = (part: unknown, what: string): void => {
    const template = object(part, what);
    repeat(template.each, `${what}.each`);
    text(template.key, `${what}.key`);
    text(template.actions, `${what}.actions`);
  };
  const rules = (part: unknown, what: string): void => {
    for (const rule of Array.isArray(part) ? part : wrong(`${what} must be a list`)) {
      repeat(object(rule, "an OpenFlow rule").each, "each of an OpenFlow rule");
      text(object(rule, "an OpenFlow rule").rule, "rule");
    }
  };
  const kind = (part: Record<string, unknown>, what: string): void => {
    packets(part.packets, `${what}packets`, REGULAR);
    for (const one of [part.flows].flat()) flow(one, `${what}flows`);
    rules(part.openflow, `${what}openflow`);
  };
  kind(top, "");
  const also = top.also ?? [];
  for (const part of Array.isArray(also) ? also : wrong("also must be a list")) {
    kind(object(part, "also"), "also.");
  }
  if (!Array.isArray(top.openvswitch ?? [])) wrong("openvswitch must be a list");
  for (const part of [top.openvswitch ?? []].flat()) flow(part, "openvswitch");
  const fault = top.tunnel === undefined ? undefined : tunnelFault(top.tunnel);
  if (fault !== undefined) wrong(fault);
  const outputs = top.outputs ?? 1;
  if (!Number.isSafeInteger(outputs) || Number(outputs) < 1 || Number(outputs) > 16) {
    wrong("outputs must be an integer from 1 to 16");
  }
  if (outputs !== 1 && top.attack !== undefined) {
    wrong("attack and outputs exclude each other");
  }
  if ((top.measure === "attack") !== (top.attack !== undefined)) {
    wrong('attack and "measure": "attack" go together');
  }
  if (top.attack !== undefined) {
    const attack = object(top.attack, "attack");
    packets(attack.packets, "attack.packets", [...REGULAR, ...ODD_KINDS]);
    if (!Array.isArray(attack.flows)) wrong("attack.flows must be a list");
    for (const part of attack.flows as unknown[]) flow(part, "attack.flows");
    rules(attack.openflow, "attack.openflow");
    const keeps = Number(attack.keeps);
    if (!(keeps > 0 && keeps <= 1)) wrong("attack.keeps must be a share");
  }
  return value as Scenario;
}

const REGULAR: readonly string[] = ["udp4", "udp6", "tcp4", "tcp6", "syn4", "icmp4"];

/** Writes out the templates of a scenario. */
export function prepare(scenario: Scenario): Prepared {
  const kinds = [scenario, ...scenario.also ?? []].map((kind) => ({
    kind,
    source: new PacketSource(kind.packets, scenario.tunnel),
  }));
  const sources = kinds.map(({ source }) => source);
  const [first, ...more] = sources;
  if (first === undefined) throw new TypeError("a scenario without packets");
  const { attack, openvswitch } = scenario;
  const attacked = attack && prepareAttack(attack);
  const flows = scenario.measure === "upcall"
    ? []
    : kinds.flatMap(({ kind, source }) =>
      [kind.flows].flat().flatMap((flow) => expandFlow(flow, source))
    );
  const sum = (of: (source: PacketSource) => number): number =>
    sources.reduce((sum, source) => sum + of(source), 0);
  return {
    scenario,
    frameSize: sum(({ frameSize, spec }) => frameSize * spec.count) /
      sum(({ spec }) => spec.count),
    write: (path, limit) =>
      more.length === 0
        ? first.write(path, limit)
        : writeFrames(path, mixed(sources, scenario.packets.seed), limit),
    flows,
    megaflows: openvswitch?.flatMap((flow) => expandFlow(flow, first)) ?? flows,
    rules: [
      ...kinds.flatMap(({ kind, source }) =>
        kind.openflow.flatMap(({ each, rule }) => expand(rule, each, source))
      ),
      ...attacked?.rules ?? [],
    ],
    ...(attacked === undefined ? {} : { attack: attacked }),
  };
}

function prepareAttack({ packets, flows, openflow }: Attack) {
  if (isOdd(packets)) {
    return {
      flows: flows.map(({ key, actions }) => ({ key, actions })),
      rules: openflow.map(({ rule }) => rule),
      write: (path: string) => writeOddPackets(packets, path),
    };
  }
  const source = new PacketSource(packets);
  return {
    flows: flows.flatMap((flow) => expandFlow(flow, source)),
    rules: openflow.flatMap(({ each, rule }) => expand(rule, each, source)),
    write: (path: string) => source.write(path),
  };
}

function isOdd(spec: PacketSpec | OddSpec): spec is OddSpec {
  return !REGULAR.includes(spec.kind);
}

function expandFlow({ each, key, actions }: FlowTemplate, source: PacketSource) {
  return expand(key, each, source).map((text) => ({ key: text, actions }));
}

function expand(template: string, each: Repeat, source: PacketSource): string[] {
  if (each === "once") return [template];
  if (each === "class") return source.classes.map((one) => substitute(template, one));
  const texts = new Set<string>();
  const kinds = source.classes[0];
  if (kinds === undefined) return [];
  for (const fields of source.packets()) {
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
  }
  return [...texts];
}

function substitute(template: string, values: PacketClass): string {
  return template.replace(
    /\{(src|dst|sport|dport)(\.cidr)?\}/g,
    (_, name: keyof PacketClass, cidr?: string) =>
      cidr ? formatCidr(values[name]) : formatMasked(values[name]),
  );
}
