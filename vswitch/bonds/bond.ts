// SPDX-License-Identifier: Apache-2.0
/**
 * A bond: ports that are one to NORMAL. Those whose links are up take its packets, one of them all,
 * or each those of some addresses.
 *
 * Source: ofproto/bond.c of Open vSwitch 3.1, for what is chosen when.
 *
 * @module
 */
import { BOND_BUCKETS } from "../../openflow/translate/forward/bond.ts";
import type { Bond as BondThere, BondNow } from "../../openflow/translate/pipeline.ts";
import { Cell } from "../../policy/mod.ts";
import { balance, type Load } from "./balance.ts";
import { Lacp, type LacpConfig, type LacpPortConfig, type SendLacp } from "./lacp.ts";

/** What the database says of a bond. */
export interface BondConfig {
  readonly name: string;
  readonly mode: BondNow["mode"];
  /** What is said to the other end; undefined for nothing. */
  readonly lacp: LacpConfig | undefined;
  /** The port that is used whenever it is up. */
  readonly primary: string | undefined;
  readonly basis: number;
  /** A link counts as up, or as down, once it is so for so long, ms. */
  readonly updelay: number;
  readonly downdelay: number;
  /** Loads are shared anew so often, ms; 0 for never. */
  readonly rebalanceMs: number;
  /** Whether packets to many may come by each port. */
  readonly isAllActive: boolean;
}

/** What the database says of a port of a bond. */
export interface MemberConfig {
  readonly name: string;
  /** Its number in OpenFlow. */
  readonly port: number;
  readonly mac: string;
  readonly lacp: LacpPortConfig;
}

/** A port of a bond. */
export interface Member {
  readonly name: string;
  /** Its number in OpenFlow. */
  port: number;
  mac: string;
  /** Whether packets are sent there. */
  isEnabled: boolean;
  /** Whether the other end agrees. */
  mayEnable: boolean;
  /** When that changes, if the link stays as it is. */
  changesMs: number | undefined;
}

/** What a bond asks of its switch. */
export interface BondHost {
  /** Whether the link of a port is up. */
  isUp(port: number): boolean;
  /** Sends a message of LACP. */
  readonly send: SendLacp;
  /** Says what happened. */
  say(text: string): void;
}

const NO_MAC = "00:00:00:00:00:00";

/** A bond. */
export class Bond implements BondThere {
  config: BondConfig;
  readonly members = new Map<string, Member>();
  readonly now: Cell<BondNow>;
  readonly counters: Load[];
  /** What is said with the other end. */
  lacp: Lacp | undefined;
  /** Which member has each value of the hash, by name. */
  readonly #owners: (string | undefined)[] = new Array(BOND_BUCKETS);
  /** Members that have had their share. */
  readonly #shared = new Set<string>();
  #active: Member | undefined;
  /** The address of the member that was active last. */
  activeMac = NO_MAC;
  nextBalanceMs = 0;
  /** Whether others are to be told where addresses are. */
  isToTeach = false;
  #next = 0;

  /** Begins without members. */
  constructor(config: BondConfig, nowMs: number) {
    this.config = config;
    this.nextBalanceMs = nowMs + config.rebalanceMs;
    this.counters = Array.from({ length: BOND_BUCKETS }, (_, i) => ({
      name: `hash ${i} of ${config.name}`,
      bytes: 0,
      count(_packets: number, bytes: number) {
        this.bytes += bytes;
      },
    }));
    this.now = new Cell(this.#state());
  }

  /** The member that packets to many come by. */
  get active(): Member | undefined {
    return this.#active;
  }

  /** Has it be what the database says, with these members. */
  set(
    config: BondConfig,
    members: readonly MemberConfig[],
    own: string,
    host: BondHost,
    nowMs: number,
  ): void {
    if (config.rebalanceMs !== this.config.rebalanceMs) {
      this.nextBalanceMs = nowMs + config.rebalanceMs;
    }
    this.config = config;
    const names = new Set(members.map(({ name }) => name));
    for (const name of this.members.keys()) {
      if (!names.has(name)) this.#leave(name);
    }
    for (const { name, port, mac } of members) {
      const known = this.members.get(name);
      if (known !== undefined) Object.assign(known, { port, mac });
      // As in Open vSwitch: a new one need not wait.
      else {
        const isEnabled = host.isUp(port);
        const mayEnable = config.lacp === undefined;
        const made = { name, port, mac, mayEnable, changesMs: undefined };
        this.members.set(name, { ...made, isEnabled: isEnabled && mayEnable });
      }
    }
    this.lacp = config.lacp && (this.lacp ?? new Lacp(config.lacp));
    if (config.lacp !== undefined) this.lacp?.set(config.lacp, own, members);
    this.run(host, nowMs);
  }

  #leave(name: string): void {
    this.members.delete(name);
    this.#shared.delete(name);
  }

  /** Looks at links, and what follows from them. */
  run(host: BondHost, nowMs: number): void {
    this.lacp?.run((port) => host.isUp(port), host.send, nowMs);
    for (const member of this.members.values()) this.#look(member, host, nowMs);
    const { primary: name, mode } = this.config;
    const primary = mode === "active-backup" && name !== undefined
      ? this.members.get(name)
      : undefined;
    const isThere = this.#active !== undefined &&
      this.members.get(this.#active.name) === this.#active;
    const isBetter = primary?.isEnabled === true && primary !== this.#active;
    if (!isThere || !this.#active?.isEnabled || isBetter) this.#choose(host);
    this.#spread();
    if (mode !== "active-backup" && this.config.rebalanceMs > 0) {
      this.#balance(nowMs, host);
    }
    this.#tell();
  }

  #look(member: Member, host: BondHost, nowMs: number): void {
    member.mayEnable = host.isUp(member.port) &&
      (this.lacp?.mayEnable(member.name) ?? true);
    const isUp = member.mayEnable;
    if (isUp === member.isEnabled) {
      member.changesMs = undefined;
      return;
    }
    const { updelay, downdelay } = this.config;
    if (member.changesMs === undefined) {
      member.changesMs = nowMs + (isUp ? updelay : downdelay);
      host.say(`member ${member.name}: link state ${isUp ? "up" : "down"}`);
    }
    if (nowMs >= member.changesMs) this.enable(member, isUp, host);
  }

  /** Has packets be sent to a member, or not. */
  enable(member: Member, isEnabled: boolean, host: BondHost): void {
    member.changesMs = undefined;
    if (member.isEnabled === isEnabled) return;
    member.isEnabled = isEnabled;
    if (isEnabled) this.#shared.delete(member.name);
    else this.isToTeach = true;
    host.say(`member ${member.name}: ${isEnabled ? "enabled" : "disabled"}`);
  }

  #choose(host: BondHost): void {
    const before = this.#active;
    const all = [...this.members.values()];
    const { primary } = this.config;
    const soonest =
      all.filter(({ changesMs, mayEnable }) => changesMs !== undefined && mayEnable)
        .sort((a, b) => (a.changesMs ?? 0) - (b.changesMs ?? 0))[0];
    const enabled = all.filter(({ isEnabled }) => isEnabled);
    const now = enabled.find(({ name }) => name === primary) ??
      enabled.find(({ mac }) => mac === this.activeMac) ?? enabled[0] ?? soonest;
    if (now === undefined) {
      this.#active = undefined;
      if (before !== undefined) {
        host.say(`bond ${this.config.name}: all members disabled`);
      }
      return;
    }
    // Where no other is up, one need not wait.
    if (!now.isEnabled) this.enable(now, true, host);
    this.activate(now, host);
  }

  /** Has a member be the active one. */
  activate(member: Member, host: BondHost): void {
    host.say(`bond ${this.config.name}: active member is now ${member.name}`);
    this.#active = member;
    this.activeMac = member.mac;
    this.isToTeach = true;
    this.#tell();
  }

  /** Gives values of the hash whose member is not there, or not up, to others in turn. */
  #spread(): void {
    const enabled = [...this.members.values()].filter(({ isEnabled }) => isEnabled);
    for (let i = 0; i < BOND_BUCKETS; i++) {
      const owner = this.members.get(this.#owners[i] ?? "");
      if (owner?.isEnabled) continue;
      this.#owners[i] = enabled[this.#next++ % Math.max(1, enabled.length)]?.name;
    }
    for (const { name } of enabled) this.#share(name, enabled);
  }

  /** Gives a member that has come values that no packets have had, up to its share. */
  #share(name: string, enabled: readonly Member[]): void {
    if (this.#shared.has(name)) return;
    this.#shared.add(name);
    const share = Math.floor(BOND_BUCKETS / enabled.length);
    let missing = share - this.hashesOf(name).length;
    for (const other of enabled) {
      const own = other.name === name ? [] : this.hashesOf(other.name);
      const idle = own.filter((hash) => this.counters[hash]?.bytes === 0);
      const spare = Math.min(missing, Math.max(0, own.length - share));
      for (const hash of idle.slice(0, spare)) this.#owners[hash] = name;
      missing -= Math.min(spare, idle.length);
    }
  }

  #balance(nowMs: number, host: BondHost): void {
    if (nowMs < this.nextBalanceMs) return;
    this.nextBalanceMs = nowMs + this.config.rebalanceMs;
    const enabled = [...this.members.values()].filter(({ isEnabled }) => isEnabled);
    const names = enabled.map(({ name }) => name);
    for (const { hash, to } of balance(this.counters, this.#owners, names)) {
      host.say(`bond ${this.config.name}: shift hash ${hash} to ${to}`);
      this.#owners[hash] = to;
    }
    for (const load of this.counters) load.bytes = Math.floor(load.bytes / 2);
  }

  /** Values of the hash that a member has. */
  hashesOf(name: string): number[] {
    return this.#owners.flatMap((owner, hash) => owner === name ? [hash] : []);
  }

  /** Has a value of the hash go to a member. */
  migrate(hash: number, { name }: Member): void {
    this.#owners[hash % BOND_BUCKETS] = name;
    this.#tell();
  }

  #state(): BondNow {
    const { mode, basis, isAllActive } = this.config;
    const table = this.#owners.map((name) => this.members.get(name ?? "")?.port);
    const lacp = this.lacp === undefined
      ? "off"
      : this.lacp.negotiated
      ? "negotiated"
      : "configured";
    const enabled = [...this.members.values()].filter(({ isEnabled, mayEnable }) =>
      isEnabled || mayEnable
    ).map(({ port }) => port);
    const fallsBack = this.config.lacp?.fallback ?? false;
    const active = this.#active?.port;
    return { mode, lacp, fallsBack, basis, isAllActive, active, enabled, table };
  }

  /** Flows rest on what it is: they are told only where that is another. */
  #tell(): void {
    const now = this.#state();
    if (JSON.stringify(now) !== JSON.stringify(this.now.value)) this.now.value = now;
  }
}
