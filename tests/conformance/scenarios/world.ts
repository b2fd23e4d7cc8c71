// SPDX-License-Identifier: Apache-2.0
/**
 * Two hosts on ports 1 and 2 of a datapath, and what scenarios of connection tracking say and ask
 * of them.
 *
 * @module
 */
import assert from "node:assert/strict";
import type {
  Connection,
  ConntrackFacet,
} from "../../../providers/contract/conntrack.ts";
import type { Datapath } from "../../../providers/datapath.ts";
import { DatapathError } from "../../../providers/errors.ts";
import { shell } from "../../support/command.ts";
import { type Host, makeHosts } from "../../support/netns.ts";
import { until } from "../../support/wait.ts";
import { type Answer, Station } from "./station.ts";

/** Kinds of datapaths. */
export type Provider = "netdev" | "system";

/** IP versions. */
export type Version = 4 | 6;

/** One scenario, under the name that it has in Open vSwitch's system-traffic.at. */
export interface Scenario {
  /** Without `conntrack - `. */
  readonly name: string;
  /** It is none of Open vSwitch's. */
  readonly own?: true;
  /** Why it is not run on a provider. */
  readonly not?: { readonly [Name in Provider]?: string };
  /** Zones other than 0, which not every kernel has. */
  readonly needs?: "zones" | "fragments";
  readonly run: (world: World) => Promise<void> | void;
}

/** The number of the subnet, in both families. */
const NET = 99;

/** Addresses that flows give to a client; host b knows them to be at a. */
const outsides = [100, 101, 102, 109, 240];
/** Addresses that clients use for a server; host a knows them to be at b. */
const virtuals = [64, 200, 201];

/** Host `i`'s address of a family; i may be one that only flows know. */
export function address(version: Version, i: number): string {
  return version === 4 ? `10.${NET}.0.${i}` : `fd00:${NET}::${i}`;
}

/** Hosts know each other and what flows translate: no ARP and no neighbour discovery passes. */
async function introduce(a: Host, b: Host): Promise<void> {
  const lines = ([4, 6] as const).flatMap((version) => {
    const entry = (of: Host, i: number, at: Host) =>
      `ip -n ${of.namespace} neigh replace ${
        address(version, i)
      } lladdr ${at.mac} dev eth0`;
    return [
      ...[2, ...virtuals].map((i) => entry(a, i, b)),
      ...[1, ...outsides].map((i) => entry(b, i, a)),
    ];
  });
  await shell(lines.join("\n"));
}

/** ODP text of a key: a port's number, then what a packet is. */
export function keyOf(text: string): string {
  const parts = {
    port: "",
    recirc: "0",
    zone: "",
    state: "",
    mark: "",
    label: "",
    ip: "",
    etc: "",
  };
  let version: Version = 4;
  const tags: [type: string, vid: string][] = [];
  for (const word of text.split(" ")) {
    const [, name = "", value = ""] = /^([a-z]+)=(.*)$/.exec(word) ?? [];
    if (/^\d$/.test(word)) parts.port = `,in_port(${word})`;
    else if (word === "ip" || word === "ip6") version = word === "ip" ? 4 : 6;
    else if (/^[+-]/.test(word)) parts.state = `,ct_state(${word})`;
    else if (name === "r") parts.recirc = value;
    else if (name === "vlan") tags.unshift(["0x8100", value]);
    else if (name === "svlan") tags.push(["0x88a8", value]);
    else if (name === "zone") parts.zone = `,ct_zone(${value})`;
    else if (name === "mark") parts.mark = `,ct_mark(${value})`;
    else if (name === "label") parts.label = `,ct_label(${value})`;
    else if (name !== "") parts.ip += `${parts.ip === "" ? "" : ","}${word}`;
    else parts.etc += `,${word}`;
  }
  const ip = version === 4
    ? `eth_type(0x0800),ipv4(${parts.ip})`
    : `eth_type(0x86dd),ipv6(${parts.ip})`;
  const { port, recirc, zone, state, mark, label, etc } = parts;
  const inner = tags.reduce(
    (inside, [type, vid]) => `eth_type(${type}),vlan(vid=${vid}),encap(${inside})`,
    `${ip}${etc}`,
  );
  return `recirc_id(${recirc})${port}${state}${zone}${mark}${label},eth(),${inner}`;
}

/** What scenarios are told in. */
export class World implements AsyncDisposable {
  readonly dp: Datapath;
  readonly provider: Provider;
  readonly a: Station;
  readonly b: Station;
  readonly zones: boolean;
  readonly #stack: AsyncDisposableStack;

  private constructor(
    dp: Datapath,
    provider: Provider,
    [a, b]: [Station, Station],
    stack: AsyncDisposableStack,
  ) {
    this.dp = dp;
    this.provider = provider;
    this.a = a;
    this.b = b;
    this.#stack = stack;
    this.zones = this.#takes("ct(zone=1)");
  }

  /** Takes a datapath without ports, which stays the caller's. */
  static async open(dp: Datapath, provider: Provider): Promise<World> {
    await using stack = new AsyncDisposableStack();
    const { hosts } = stack.use(await makeHosts(`cs${provider[0]}`, 2, { net: NET }));
    const [a, b] = hosts as [Host, Host];
    await introduce(a, b);
    const stations: Station[] = [];
    for (const host of [a, b]) {
      stations.push(stack.use(await Station.start(host)));
      await dp.ports.add({ name: host.device });
    }
    return new World(dp, provider, stations as [Station, Station], stack.move());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.reset();
    await this.#stack.disposeAsync();
  }

  /** Whether this datapath takes an action. */
  #takes(actions: string): boolean {
    try {
      this.dp.flows.put({ key: keyOf("1 ip"), actions, probe: true });
      return true;
    } catch (error) {
      if (error instanceof DatapathError && error.code === "EINVAL") return false;
      throw error;
    } finally {
      this.dp.flows.flush();
    }
  }

  get conntrack(): ConntrackFacet {
    assert.ok(this.dp.conntrack);
    return this.dp.conntrack;
  }

  /** Forgets flows and connections. */
  reset(): void {
    this.dp.flows.flush();
    this.conntrack.flush();
  }

  /** Flows, one a line: `KEY -> ACTIONS`. */
  flows(text: string): void {
    for (const line of text.split("\n").map((line) => line.trim())) {
      if (line === "") continue;
      const [key = "", actions = ""] = line.split(" -> ");
      this.dp.flows.put({ key: keyOf(key), actions });
    }
  }

  /** Packets that a flow has had. */
  hits(key: string): number {
    return Number(this.dp.flows.get({ key: keyOf(key) })?.stats.packets ?? 0n);
  }

  /** Waits until a flow has had a packet. */
  async hit(key: string): Promise<void> {
    await until(`a packet of ${key}`, () => this.hits(key) > 0);
  }

  /** Connections that have all this. */
  found(wanted: {
    readonly proto?: number;
    readonly zone?: number;
    readonly mark?: number;
    readonly labels?: bigint;
    readonly src?: string;
    readonly replyDst?: string;
    readonly replySrc?: string;
    readonly dstPort?: number;
    readonly helper?: string;
  }): Connection[] {
    const { proto, zone, mark, labels, src, replyDst, replySrc, dstPort, helper } =
      wanted;
    const fits = (value: unknown, other: unknown) =>
      value === undefined || value === other;
    return [...this.conntrack.dump()].filter((entry) =>
      fits(proto, entry.orig.proto) && fits(zone, entry.zone) && fits(mark, entry.mark) &&
      fits(labels, entry.labels) && fits(src, entry.orig.src) &&
      fits(replyDst, entry.reply.dst) && fits(replySrc, entry.reply.src) &&
      fits(dstPort, entry.orig.dstPort) && fits(helper, entry.helper)
    );
  }

  /** A connection that has all this; there must be one. */
  one(wanted: Parameters<World["found"]>[0]): Connection {
    const [found] = this.found(wanted);
    assert.ok(
      found,
      `no connection has ${
        JSON.stringify(wanted, (_, v) => typeof v === "bigint" ? `${v}` : v)
      }`,
    );
    return found;
  }

  /** A TCP conversation from a to b, or from whom is said. */
  tcp(options: Ask = {}): Promise<Answer> {
    return this.#ask("tcp", { port: 80, ...options });
  }

  udp(options: Ask = {}): Promise<Answer> {
    return this.#ask("udp", { port: 53, ...options });
  }

  #ask(name: string, { from = this.a, version = 4, to, ...rest }: Ask): Promise<Answer> {
    const other = from === this.a ? 2 : 1;
    return from.do(name, { to: to ?? address(version, other), ...rest });
  }

  /** A conversation that must come to nothing. */
  async blocked(
    name: "tcp" | "udp" | "ftp" | "tftp",
    { from = this.a, version = 4, to, ...rest }: Ask = {},
  ): Promise<void> {
    const other = from === this.a ? 2 : 1;
    const port = { tcp: { port: 80 }, udp: { port: 53 }, ftp: {}, tftp: {} }[name];
    const options = { to: to ?? address(version, other), limit: 0.4, ...port, ...rest };
    const { error } = await from.try(name, options);
    assert.match(error ?? "an answer", /imed ?out/, `${name} ${JSON.stringify(options)}`);
  }

  /** Puts a frame in at a host, and waits for one that matches to arrive at the other. */
  async send(
    frame: Uint8Array,
    expected: string,
    from: Station = this.a,
  ): Promise<string> {
    const other = from === this.a ? this.b : this.a;
    await other.do("watch", {});
    await from.do("send", { frames: [frame.toHex()] });
    const { frames = [] } = await other.do("seen", { pattern: expected });
    assert.equal(frames.length, 1, `nothing like ${expected} arrived`);
    return frames[0] ?? "";
  }
}

/** What a client is to do: by default from a, to b, in IPv4. */
export interface Ask {
  readonly from?: Station;
  readonly version?: Version;
  readonly to?: string;
  readonly port?: number;
  readonly source?: number;
  readonly size?: number;
  readonly limit?: number;
  readonly mode?: string;
  readonly times?: number;
  readonly text?: string;
}
