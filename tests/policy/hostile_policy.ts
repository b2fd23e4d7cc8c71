// SPDX-License-Identifier: Apache-2.0
/**
 * Policies at random that lean on state: tables of many rules with nested prefixes and masks of
 * ports, maps of objects, what was found in one asked for in the next, stages behind stages.
 *
 * @module
 */
import { set } from "../../providers/odp/mod.ts";
import type { Hints } from "../../policy/check/arbitrary.ts";
import type { Random } from "../../policy/check/random.ts";
import {
  again,
  type Carry,
  Cell,
  Counter,
  drop,
  forward,
  type Leaf,
  type Packet,
  type Policy,
  PrefixMap,
  type Rule,
  RuleTable,
  type Stage,
  stage,
  StateMap,
  track,
  type Verdict,
} from "../../policy/mod.ts";
import { NOW } from "../../policy/check/outcome.ts";
import { hints as near } from "./random_policy.ts";

/** Few addresses that share much, so that prefixes nest. */
export const hints: Hints = {
  ...near,
  ipv4: ["10.0.0.1", "10.0.0.2", "10.0.0.130", "10.0.1.1", "10.128.0.0", "138.0.0.1"],
  ipv6: ["fd00::1", "fd00::2", "fd00:0:0:1::1", "fd80::1", "::1"],
  services: [22, 23, 80, 81, 443, 8080, 8081],
};

interface Made extends Rule {
  readonly to: number;
}

interface Host {
  readonly port: number;
  readonly service: number;
  readonly prefix: string;
}

const ipv4s: readonly Leaf[] = ["ipv4.src", "ipv4.dst"];
const ipv6s: readonly Leaf[] = ["ipv6.src", "ipv6.dst"];
const ports: readonly Leaf[] = ["tcp.src", "tcp.dst", "udp.dst", "sctp.dst"];

/** State of every kind, and how it changes. */
export class HostileState {
  readonly cells = [0, 1].map((i) => new Cell(i, { name: `hostile${i}` }));
  readonly hosts = new StateMap<string, Host>({ name: "hostile hosts", holdMs: 0 });
  readonly stations = new StateMap<string, number>({
    ...{ name: "hostile stations", holdMs: 0, max: 4 },
  });
  readonly services = new StateMap<number, number>({ name: "hostile services", max: 5 });
  readonly routes = new PrefixMap<number>({ name: "hostile routes" });
  readonly routes6 = new PrefixMap<number>({ name: "hostile routes6" });
  readonly links = new PrefixMap<number>({ name: "hostile links" });
  readonly tables = [0, 1].map((i) => new RuleTable<Made>({ name: `hostile rules${i}` }));
  readonly counters = [0, 1].map((i) => new Counter({ name: `hostile counter${i}` }));
  readonly #kept: Made[][] = [[], []];
  readonly #size: number;

  /** Begins with some of everything; tables have about `size` rules. */
  constructor(random: Random, size: number) {
    this.#size = size;
    for (let i = 0; i < 40; i++) this.change(random);
    for (const i of [0, 1]) {
      this.tables[i]?.transact((t) => {
        for (let n = 0; n < size; n++) t.add(this.#keep(i, this.#rule(random)));
      });
    }
  }

  #keep(table: number, rule: Made): Made {
    this.#kept[table]?.push(rule);
    return rule;
  }

  #address(random: Random): string {
    return one(random, hints.ipv4 ?? []);
  }

  #rule(random: Random): Made {
    const length = () =>
      random(4) === 0 ? random(33) : one(random, [8, 16, 24, 25, 31, 32]);
    const service = () => one(random, hints.services ?? []);
    const wishes: readonly (() => Record<string, unknown>)[] = [
      () => ({ [one(random, ipv4s)]: `${this.#address(random)}/${length()}` }),
      () => ({ [one(random, ipv4s)]: `${this.#address(random)}/${length()}` }),
      () => ({ [one(random, ipv6s)]: `${one(random, hints.ipv6 ?? [])}/${random(129)}` }),
      () => ({ [one(random, ports)]: service() }),
      () => ({
        [one(random, ports)]: [
          service(),
          one(random, [0xfff0, 0xffff, 0xfffe, 0x00ff, 0x0ff0, 0x8000, 0x0001]),
        ],
      }),
      () => ({ inPort: 1 + random(4) }),
      () => ({ "ipv4.proto": one(random, [6, 17, 132]) }),
      () => ({ "ipv4.tos": [random(256), 0xfc] }),
      () => ({ "vlan.vid": [one(random, [1, 10, 20]), one(random, [0xfff, 0xf0])] }),
      () => ({ ctState: [one(random, [0x20, 0x22, 0x21]), one(random, [0x23, 0x22])] }),
      () => ({ etherType: one(random, [0x0800, 0x86dd, 0x0806]) }),
      () => ({ tcpFlags: [2, 0x12] }),
      () => ({
        "ethernet.dst": [one(random, hints.ethernet ?? []), "ff:ff:ff:00:00:00"],
      }),
    ];
    const count = one(random, [0, 1, 1, 2, 2, 3, 4]);
    let match = {};
    for (let i = 0; i < count; i++) match = { ...match, ...one(random, wishes)() };
    const counter = random(8) === 0 ? this.counters[random(2)] : undefined;
    return {
      ...{ match, priority: random(5), to: random(4) },
      ...(counter && { counter }),
    };
  }

  /** Changes one piece, or many rules at once. */
  change(random: Random): void {
    const host = this.#address(random);
    switch (random(9)) {
      case 0: {
        const [cell] = [one(random, this.cells)];
        cell.value = random(3);
        break;
      }
      case 1:
        if (random(3) === 0) this.hosts.delete(host);
        else {
          this.hosts.set(host, {
            port: random(4),
            service: one(random, hints.services ?? []),
            prefix: `${this.#address(random)}/${random(33)}`,
          });
        }
        break;
      case 2: {
        const station = one(random, hints.ethernet ?? []);
        const spelled = random(2) === 0 ? station : station.toUpperCase();
        if (random(3) === 0) this.stations.delete(spelled);
        else this.stations.set(spelled, random(4));
        break;
      }
      case 3: {
        const service = one(random, [...hints.services ?? [], 6, 0x0800]);
        if (random(3) === 0) this.services.delete(service);
        else this.services.set(service, random(4));
        break;
      }
      case 4:
        change(random, this.routes, `${host}/${random(33)}`);
        break;
      case 5:
        change(random, this.routes6, `${one(random, hints.ipv6 ?? [])}/${random(129)}`);
        break;
      case 6:
        change(random, this.links, `${one(random, hints.ethernet ?? [])}/${random(49)}`);
        break;
      default:
        this.#changeRules(random);
    }
  }

  #changeRules(random: Random): void {
    const i = random(2);
    const kept = this.#kept[i] as Made[];
    const many = random(64) === 0 ? 300 : 1 + random(3);
    this.tables[i]?.transact((t) => {
      if (random(128) === 0) {
        t.clear();
        kept.length = 0;
      }
      for (let n = 0; n < many; n++) {
        const isFull = kept.length > this.#size + (many > 256 ? 300 : 0);
        if (isFull || kept.length > 0 && random(2) === 0 && many < 256) {
          const [gone] = kept.splice(random(kept.length), 1);
          if (gone !== undefined) t.delete(gone);
        } else t.add(this.#keep(i, this.#rule(random)));
      }
      while (kept.length > 2 * this.#size + 8) t.delete(kept.pop() as Made);
    });
  }
}

function change(random: Random, map: PrefixMap<number>, prefix: string): void {
  if (random(3) === 0) map.delete(prefix);
  else map.set(prefix, random(4));
}

function one<T>(random: Random, values: readonly T[]): T {
  return values[random(values.length)] as T;
}

type Test = (packet: Packet) => boolean;

/** What a run may ask of state and packet together. */
function testsOf(random: Random, state: HostileState): Test[] {
  const { hosts, stations, services, routes, routes6, links, tables, cells } = state;
  const [ip, mac] = [one(random, ipv4s), one(random, ["ethernet.src", "ethernet.dst"])];
  const port = one(random, ports);
  const [table, other] = random(2) === 0
    ? [tables[0], tables[1]]
    : [tables[1], tables[0]];
  const wanted = random(4);
  return [
    (packet) => table?.match(packet)?.to === wanted,
    (packet) => (table?.match(packet)?.to ?? 0) > (other?.match(packet)?.to ?? 2),
    (packet) => {
      const host = hosts.lookup(packet, ip);
      return host !== undefined && packet.equals(port, host.service);
    },
    (packet) => {
      const host = hosts.lookup(packet, ip);
      return packet.within("ipv4.src", host?.prefix ?? "10.0.0.0/9");
    },
    (packet) => {
      const found = routes.lookup(packet, ip);
      return found !== undefined && packet.within("ipv4.src", found.prefix);
    },
    (packet) =>
      routes.lookup(packet, ip)?.value === routes.lookup(packet, "arp.tip")?.value,
    (packet) => (routes6.lookup(packet, "ipv6.dst")?.value ?? wanted) > 1,
    (packet) => (links.lookup(packet, mac as Leaf)?.value ?? wanted) > 1,
    (packet) => stations.lookup(packet, mac as Leaf) === wanted,
    (packet) => stations.get(packet.ethernet?.src ?? "") === wanted,
    (packet) => services.lookup(packet, port) === services.lookup(packet, "etherType"),
    (packet) => services.lookup(packet, "ipv4.proto") === services.get(6),
    (packet) => {
      const low = services.get(80) ?? 22;
      return packet.between(port, low, low + 60);
    },
    (packet) => packet.between("ipv4.dst", "10.0.0.2", "10.0.1.0"),
    (packet) =>
      [...stations.entries()].some(([key]) => packet.equals("ethernet.dst", key)),
    () => stations.size + routes.size > wanted + 2,
    (packet) => packet.bits("ctState", cells[0]?.value === 1 ? 0x22 : 0x21) !== 0,
    (packet) => {
      try {
        return packet.ipv4?.ttl === wanted && hosts.get(packet.ipv4.dst) === undefined;
      } catch {
        return false;
      }
    },
    (packet) => packet.vlans?.[1]?.vid === packet.vlans?.[0]?.vid,
    (packet) => (packet.tcp ?? packet.udp)?.dst === (cells[1]?.value ?? 0) + 80,
  ];
}

/** Makes a policy. */
export function hostilePolicy(random: Random, state: HostileState): Policy {
  const kinds = Array.from({ length: 2 + random(3) }, () => random(20));
  const all = testsOf(random, state);
  const test = (): Test => all[one(random, kinds)] as Test;
  const last = stage<Carry>(
    `last${random(2 ** 30)}`,
    (packet, carry) =>
      packet.equals("ctMark", 7) || tests[0]?.(packet) === true
        ? forward(Number(carry))
        : drop(),
  );
  const tests = [test(), test(), test(), test()];
  const middle = stage<Carry>(
    `middle${random(2 ** 30)}`,
    (packet, carry) =>
      tests[1]?.(packet) === true
        ? again([set({ skbMark: Number(carry) })], last, Number(carry) + 1)
        : drop("middle"),
  );
  const leaves = Array.from({ length: 4 }, () => leafOf(random, state, middle));
  return (packet) => {
    const i = (tests[0]?.(packet) ? 2 : 0) + (tests[2]?.(packet) ? 1 : 0);
    const leaf = leaves[tests[3]?.(packet) ? i : 3 - i] as (packet: Packet) => Verdict;
    return leaf(packet);
  };
}

function leafOf(
  random: Random,
  state: HostileState,
  next: Stage<Carry>,
): (packet: Packet) => Verdict {
  const to = 1 + random(4);
  const kind = random(8);
  return (packet) => {
    switch (kind) {
      case 0:
        return drop(`leaf ${to}`);
      case 1: {
        const { ethernet } = packet;
        if (ethernet) packet.learn(state.stations, ethernet.src, packet.inPort % 4);
        return forward(to);
      }
      case 2: {
        const { ipv4 } = packet;
        const host = { port: packet.inPort % 4, service: 80, prefix: "10.0.0.0/8" };
        if (ipv4) packet.learn(state.hosts, ipv4.src, host);
        return forward(to);
      }
      case 3:
        return track({ zone: to }, next, state.cells[0]?.value ?? 0);
      case 4:
        packet.until(NOW + 1000 * (state.cells[1]?.value ?? 1) + 1);
        return { actions: forward(to), reason: `by ${packet.has("tcp")}` };
      case 5: {
        const { ipv4 } = packet;
        return ipv4 === undefined
          ? drop()
          : [set({ ipv4: { tos: ipv4.tos & 0xfc } }), ...forward(to)];
      }
      case 6:
        if (packet.equals("tcp.dst", 443)) packet.credit(state.counters[0] as Counter);
        return forward(to);
      default:
        return forward(state.hosts.lookup(packet, "ipv4.dst")?.port ?? to);
    }
  };
}
