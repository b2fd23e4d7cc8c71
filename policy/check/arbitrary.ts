// SPDX-License-Identifier: Apache-2.0
/**
 * Packets at random, for the oracle: keys that a parser can yield, and their neighbours.
 *
 * @module
 */
import type { FlowKey, FlowKeyFields, TunnelKey } from "../../providers/types.ts";
import { Addresses } from "./addresses.ts";
import type { Random } from "./random.ts";

/**
 * Values that a policy treats in a special way: half of all values are these or their neighbours.
 */
export interface Hints {
  /** Ports of the datapath; 1 to 4 if absent. */
  readonly ports?: readonly number[];
  /** Ethernet addresses. */
  readonly ethernet?: readonly string[];
  /** IPv4 addresses. */
  readonly ipv4?: readonly string[];
  /** IPv6 addresses. */
  readonly ipv6?: readonly string[];
  /** Ports of TCP and UDP. */
  readonly services?: readonly number[];
  /** VLAN ids. */
  readonly vlans?: readonly number[];
  /** EtherTypes. */
  readonly etherTypes?: readonly number[];
  /** Protocol numbers. */
  readonly protocols?: readonly number[];
  /** Marks of connections. */
  readonly marks?: readonly number[];
}

type Mutable<T> = { -readonly [Name in keyof T]: T[Name] };
type Key = Mutable<FlowKeyFields>;

const TUNNEL_PORT = 1000;

/** Makes packets at random. */
export class Arbitrary {
  readonly #random: Random;
  readonly #hints: Hints;
  readonly #addresses: Addresses;

  /** Draws from `random`. */
  constructor(random: Random, hints: Hints = {}) {
    this.#random = random;
    this.#hints = hints;
    this.#addresses = new Addresses(random, hints);
  }

  #one<T>(values: readonly T[]): T {
    return values[this.#random(values.length)] as T;
  }

  #chance(of: number): boolean {
    return this.#random(of) === 0;
  }

  /** A number of so many bits, mostly near one of `near`. */
  #number(bits: number, near: readonly number[] = []): number {
    const whole = (): number => this.#random(2 ** Math.min(bits, 31));
    if (near.length === 0 || this.#chance(4)) return whole();
    const value = this.#one(near);
    const other = this.#random(3);
    if (other === 0) return value;
    const all = 2 ** bits;
    if (other === 1) return (value + this.#random(3) - 1 + all) % all;
    return bits >= 32 ? value : (value ^ 1 << this.#random(bits)) % all;
  }

  #service(): number {
    return this.#number(16, this.#hints.services ?? [80, 443]);
  }

  /** A packet, with the metadata that a datapath gives it. */
  key(): FlowKey {
    const key: Key = {};
    this.#metadata(key);
    this.#ethernet(key);
    return key as FlowKey;
  }

  #metadata(key: Key): void {
    for (const name of ["tunnel", "ctTuple4", "ctTuple6"] as const) delete key[name];
    const ports = this.#hints.ports ?? [1, 2, 3, 4];
    key.inPort = this.#chance(16) ? this.#random(8) : this.#one(ports);
    key.recircId = 0;
    key.dpHash = this.#chance(4) ? this.#number(31) : 0;
    key.priority = this.#chance(4) ? this.#number(8) : 0;
    key.skbMark = this.#chance(4) ? this.#number(31) : 0;
    key.ctState = 0;
    key.ctZone = 0;
    key.ctMark = 0;
    key.ctLabels = 0n;
    if (this.#chance(8)) {
      key.inPort = TUNNEL_PORT + this.#random(2);
      key.tunnel = this.#tunnel();
    }
  }

  #tunnel(): TunnelKey {
    const tunnel: Mutable<TunnelKey> = { ttl: 64 };
    if (!this.#chance(4)) tunnel.id = BigInt(this.#number(24, [0, 1, 5]));
    if (this.#chance(4)) {
      tunnel.ipv6Src = this.#addresses.ipv6();
      tunnel.ipv6Dst = this.#addresses.ipv6();
    } else {
      tunnel.src = this.#addresses.ipv4();
      tunnel.dst = this.#addresses.ipv4();
    }
    if (this.#chance(2)) tunnel.tos = 1 + this.#random(255);
    if (this.#chance(2)) tunnel.dstPort = this.#one([4789, 6081]);
    if (this.#chance(4)) tunnel.dontFragment = true;
    return tunnel;
  }

  /** Gives a key the state of a connection, as behind `ct`. */
  tracked(key: FlowKey): FlowKey {
    const made = { ...key } as Key;
    made.ctState = this.#one([0, 0x21, 0x22, 0x2a, 0x24, 0x30, 0x62, 0xaa, 0x20]);
    if (made.ctState === 0) return made as FlowKey;
    made.ctZone = this.#random(3);
    made.ctMark = this.#number(31, this.#hints.marks ?? [0, 1]);
    made.ctLabels = this.#chance(2) ? 0n : BigInt(this.#number(31)) << 40n;
    if (made.ctState === 0x30 || made.ctState === 0x20) return made as FlowKey;
    const ports = {
      proto: 1 + this.#random(255),
      srcPort: this.#service(),
      dstPort: this.#service(),
    };
    if (made.ipv4 !== undefined) {
      made.ctTuple4 = {
        src: this.#addresses.ipv4(),
        dst: this.#addresses.ipv4(),
        ...ports,
      };
    } else if (made.ipv6 !== undefined) {
      made.ctTuple6 = {
        src: this.#addresses.ipv6(),
        dst: this.#addresses.ipv6(),
        ...ports,
      };
      // The two exclude each other in a key.
      delete made.nd;
    }
    return made as FlowKey;
  }

  #ethernet(key: Key): void {
    key.ethernet = { src: this.#addresses.ethernet(), dst: this.#addresses.ethernet() };
    const tags = this.#one([0, 0, 0, 1, 1, 2]);
    if (tags > 0) {
      key.vlans = Array.from({ length: tags }, (_, i) => ({
        tpid: i === 0 && tags === 2 ? this.#one([0x8100, 0x88a8]) : 0x8100,
        vid: this.#number(12, this.#hints.vlans ?? [1, 10]),
        pcp: this.#random(8),
        cfi: 1,
      }));
    }
    const types = this.#hints.etherTypes ??
      [0x0800, 0x0800, 0x0800, 0x0800, 0x86dd, 0x86dd, 0x0806, 0x8847, 0x894f];
    const type = this.#chance(16) ? 0x600 + this.#random(0xf9ff) : this.#one(types);
    if (this.#chance(32)) return; // A frame of 802.2.
    this.network(key as FlowKey, type === 0x8100 || type === 0x88a8 ? 0x0800 : type);
  }

  /** Gives a key, in place, an EtherType and headers that go with it. */
  network(of: FlowKey, type: number): void {
    const key = of as Key;
    for (const name of upper) delete key[name];
    key.etherType = type;
    if (type === 0x0800) {
      key.ipv4 = {
        src: this.#addresses.ipv4(),
        dst: this.#addresses.ipv4(),
        proto: 0,
        tos: this.#random(256),
        ttl: this.#one([0, 1, 64, 255]),
        frag: this.#one(["no", "no", "no", "first", "later"]),
      };
      this.transport(of, this.#protocol());
    } else if (type === 0x86dd) {
      key.ipv6 = {
        src: this.#addresses.ipv6(),
        dst: this.#addresses.ipv6(),
        label: this.#number(20),
        proto: 0,
        tclass: this.#random(256),
        hlimit: this.#one([0, 1, 64, 255]),
        frag: this.#one(["no", "no", "no", "first", "later"]),
      };
      this.transport(of, this.#protocol());
    } else if (type === 0x0806 || type === 0x8035) {
      key.arp = {
        sip: this.#addresses.ipv4(),
        tip: this.#addresses.ipv4(),
        op: this.#one([1, 2, 0, 255]),
        sha: this.#addresses.ethernet(),
        tha: this.#addresses.ethernet(),
      };
    } else if (type === 0x8847 || type === 0x8848) {
      key.mpls = this.labels();
    } else if (type === 0x894f) {
      const mdtype = this.#one([1, 2, 0]);
      key.nsh = {
        flags: this.#random(4),
        ttl: this.#random(64),
        mdtype,
        np: this.#random(6),
        spi: this.#number(24, [1, 2]),
        si: this.#random(256),
        ...(mdtype === 1 && { contexts: [0, 1, 2, 3].map(() => this.#number(31)) }),
      };
    }
  }

  /** A label stack of one to three entries; one of three may go on. */
  labels(): NonNullable<FlowKey["mpls"]> {
    const count = 1 + this.#random(3);
    return Array.from({ length: count }, (_, i) => ({
      label: this.#number(20, [16, 100]),
      tc: this.#random(8),
      ttl: this.#random(256),
      bos: i + 1 < count ? 0 : count === 3 ? this.#random(2) : 1,
    }));
  }

  #protocol(): number {
    return this.#number(8, this.#hints.protocols ?? [6, 6, 17, 132, 1, 58]);
  }

  /** Gives an IP packet, in place, a protocol and the header that goes with it. */
  transport(of: FlowKey, proto: number): void {
    const key = of as Key;
    for (const name of transports) delete key[name];
    const family = key.ipv4 !== undefined ? "ipv4" : "ipv6";
    const ip = key[family];
    if (ip === undefined) return;
    key[family] = { ...ip, proto } as never;
    if (ip.frag === "later") return;
    const ports = { src: this.#service(), dst: this.#service() };
    const message = { type: this.#one([0, 8, 135, 136, 3]), code: this.#one([0, 0, 1]) };
    if (proto === 6) {
      key.tcp = ports;
      key.tcpFlags = this.#random(4096);
    } else if (proto === 17) key.udp = ports;
    else if (proto === 132) key.sctp = ports;
    else if (proto === 1 && family === "ipv4") key.icmp = message;
    else if (proto === 58 && family === "ipv6") {
      key.icmpv6 = message;
      const isDiscovery = (message.type === 135 || message.type === 136) &&
        message.code === 0;
      if (isDiscovery && key.ctTuple6 === undefined) {
        key.nd = {
          target: this.#addresses.ipv6(),
          sll: this.#addresses.ethernet(),
          tll: this.#addresses.ethernet(),
        };
      }
    }
  }

  /**
   * A packet that is like another in most, in ways that no flip of a bit gives: other layers, other
   * depth.
   */
  relative(of: FlowKey): FlowKey {
    const key = { ...of } as Key;
    const isIp = key.ipv4 !== undefined || key.ipv6 !== undefined;
    if (key.icmpv6 !== undefined && this.#chance(3)) {
      this.#otherMessage(key);
      return key as FlowKey;
    }
    switch (this.#random(isIp ? 10 : 6)) {
      case 0:
        this.#metadata(key);
        break;
      case 1: {
        const { vlans } = key;
        if (vlans === undefined || this.#chance(2)) {
          key.vlans = [{ tpid: 0x8100, vid: this.#random(4096), pcp: 0, cfi: 1 }];
        } else if (vlans.length === 1) delete key.vlans;
        else key.vlans = vlans.slice(1);
        break;
      }
      case 2:
      case 3:
        if (key.mpls !== undefined) key.mpls = this.#relatedLabels(key.mpls);
        else if (key.etherType !== undefined) this.network(key as FlowKey, key.etherType);
        break;
      case 4:
        return this.tracked(key as FlowKey);
      case 5:
        return this.key();
      case 6:
      case 7:
        this.transport(key as FlowKey, this.#protocol());
        break;
      case 8: {
        const { proto } = (key.ipv4 ?? key.ipv6) as { proto: number };
        this.transport(key as FlowKey, proto ^ 1 << this.#random(8));
        break;
      }
      default: {
        const { proto } = (key.ipv4 ?? key.ipv6) as { proto: number };
        this.transport(key as FlowKey, proto);
      }
    }
    return key as FlowKey;
  }

  /** A packet with the same headers as another one, about half of their values drawn anew. */
  alike(of: FlowKey): FlowKey {
    const key = { ...of } as Key;
    const maybe = <T>(value: T, draw: () => T): T => this.#chance(2) ? draw() : value;
    const mac = (old: string): string => maybe(old, () => this.#addresses.ethernet());
    const ip = (old: string): string => maybe(old, () => this.#addresses.ipv4());
    const ip6 = (old: string): string => maybe(old, () => this.#addresses.ipv6());
    const number = (old: number, bits: number, near: readonly number[] = []): number =>
      maybe(old, () => this.#number(bits, near));
    const port = (old: number): number => maybe(old, () => this.#service());
    const { ethernet, vlans, ipv4, ipv6, arp, nd, mpls, nsh } = key;
    if (ethernet) key.ethernet = { src: mac(ethernet.src), dst: mac(ethernet.dst) };
    if (vlans) {
      key.vlans = vlans.map((tag) => ({
        ...tag,
        vid: number(tag.vid, 12, this.#hints.vlans ?? [1, 10]),
        pcp: number(tag.pcp, 3),
      }));
    }
    if (ipv4) {
      const { src, dst, tos, ttl } = ipv4;
      const more = { tos: number(tos, 8), ttl: number(ttl, 8) };
      key.ipv4 = { ...ipv4, src: ip(src), dst: ip(dst), ...more };
    }
    if (ipv6) {
      const { src, dst, tclass, hlimit } = ipv6;
      const more = { tclass: number(tclass, 8), hlimit: number(hlimit, 8) };
      key.ipv6 = { ...ipv6, src: ip6(src), dst: ip6(dst), ...more };
    }
    if (arp) key.arp = { ...arp, sip: ip(arp.sip), tip: ip(arp.tip), sha: mac(arp.sha) };
    if (nd) key.nd = { target: ip6(nd.target), sll: mac(nd.sll), tll: mac(nd.tll) };
    for (const name of ["tcp", "udp", "sctp"] as const) {
      const ports = key[name];
      if (ports) key[name] = { src: port(ports.src), dst: port(ports.dst) };
    }
    if (key.icmpv6 && this.#chance(2)) this.#otherMessage(key);
    if (mpls) {
      key.mpls = mpls.map((label) => ({
        ...label,
        label: number(label.label, 20, [16, 100]),
        tc: number(label.tc, 3),
        ttl: number(label.ttl, 8),
      }));
    }
    if (nsh) {
      key.nsh = { ...nsh, spi: number(nsh.spi, 24, [1, 2]), ttl: number(nsh.ttl, 6) };
    }
    key.ctMark = number(key.ctMark ?? 0, 31, this.#hints.marks ?? [0, 1]);
    key.ctZone = number(key.ctZone ?? 0, 2);
    key.skbMark = number(key.skbMark ?? 0, 31);
    key.priority = number(key.priority ?? 0, 8);
    key.dpHash = number(key.dpHash ?? 0, 31);
    return key as FlowKey;
  }

  /** Another type or code of ICMPv6, with neighbour discovery where that has it. */
  #otherMessage(key: Key): void {
    const { type, code } = key.icmpv6 as { type: number; code: number };
    const message = this.#chance(2)
      ? { type: this.#one([135, 136, type ^ 1 << this.#random(8)]), code }
      : { type, code: code ^ 1 << this.#random(8) };
    key.icmpv6 = message;
    const isDiscovery = (message.type === 135 || message.type === 136) &&
      message.code === 0 && key.ctTuple6 === undefined;
    if (!isDiscovery) delete key.nd;
    else {
      key.nd ??= {
        target: this.#addresses.ipv6(),
        sll: this.#addresses.ethernet(),
        tll: this.#addresses.ethernet(),
      };
    }
  }

  #relatedLabels(mpls: NonNullable<FlowKey["mpls"]>): NonNullable<FlowKey["mpls"]> {
    const kept = this.#random(mpls.length + 1);
    const made = [...mpls.slice(0, kept), ...this.labels()].slice(0, 3);
    return made.map((label, i) =>
      i + 1 < made.length ? { ...label, bos: i < kept ? label.bos : 0 } : label
    ).filter((_, i, all) => all.slice(0, i).every(({ bos }) => bos === 0));
  }
}

const transports = ["tcp", "tcpFlags", "udp", "sctp", "icmp", "icmpv6", "nd"] as const;
const upper = [
  "etherType",
  "ipv4",
  "ipv6",
  "arp",
  "mpls",
  "nsh",
  "ctTuple4",
  "ctTuple6",
  ...transports,
] as const;
