// SPDX-License-Identifier: Apache-2.0
/**
 * LACP: both ends of a bond agree which of its links are used.
 *
 * Source: lib/lacp.c of Open vSwitch 3.1, for what is chosen when.
 *
 * @module
 */
import { type LacpInfo, LacpState, noInfo } from "./lacp_pdu.ts";

/** What the database says of LACP. */
export interface LacpConfig {
  /** Whether this end begins. */
  readonly active: boolean;
  /** Whether the other end is to say something every second, and not every thirty. */
  readonly fast: boolean;
  /** The address of this end; that of the bridge if undefined. */
  readonly sysId: string | undefined;
  readonly sysPriority: number;
  /** Whether a link is used all the same where nobody answers. */
  readonly fallback: boolean;
}

/** What it says of a port. */
export interface LacpPortConfig {
  readonly portId: number | undefined;
  readonly portPriority: number;
  readonly key: number;
}

/** The usual. */
export const noLacp: LacpPortConfig = { portId: undefined, portPriority: 0xffff, key: 0 };

/** A port. */
export interface LacpMember {
  readonly name: string;
  port: number;
  config: LacpPortConfig;
  /** Whether the other end was heard, not for some time, or for long. */
  status: "current" | "expired" | "defaulted";
  attached: boolean;
  isUp: boolean;
  partner: LacpInfo;
  /** What the other end thinks that this one is. */
  told: LacpInfo;
  sendsMs: number;
  endsMs: number;
}

const [FAST_MS, SLOW_MS, PATIENCE] = [1000, 30_000, 3] as const;
/** What must be told at once when it is another. */
const TOLD = LacpState.activity | LacpState.timeout | LacpState.synchronized |
  LacpState.aggregation;

/** What a frame is sent by. */
export type SendLacp = (member: LacpMember, actor: LacpInfo, partner: LacpInfo) => void;

/** Orders ends by system, then by port: the least is asked. */
function orderOf({ sysPriority, sysId, portPriority, portId }: LacpInfo): string {
  const hex = (value: number): string => value.toString(16).padStart(4, "0");
  return `${hex(sysPriority)} ${sysId} ${hex(portPriority)} ${hex(portId)}`;
}

/** LACP of one bond. */
export class Lacp {
  readonly members = new Map<string, LacpMember>();
  config: LacpConfig;
  /** The address of the bridge. */
  #own = noInfo.sysId;
  negotiated = false;
  #isOther = true;

  /** Begins without ports. */
  constructor(config: LacpConfig) {
    this.config = config;
  }

  /** The address of this end. */
  get sysId(): string {
    return this.config.sysId ?? this.#own;
  }

  /** The number of the bond, for the other end: that of its first port. */
  get key(): number | undefined {
    const [first] = this.members.values();
    return first === undefined ? undefined : first.config.key || portIdOf(first);
  }

  /** Has it be what the database says. */
  set(
    config: LacpConfig,
    own: string,
    ports: readonly {
      readonly name: string;
      readonly port: number;
      readonly lacp: LacpPortConfig;
    }[],
  ): void {
    const text = JSON.stringify([config, own]);
    if (text !== JSON.stringify([this.config, this.#own])) this.#isOther = true;
    this.config = config;
    this.#own = own;
    const names = new Set(ports.map(({ name }) => name));
    for (const name of this.members.keys()) {
      if (names.has(name)) continue;
      this.members.delete(name);
      this.#isOther = true;
    }
    for (const { name, port, lacp } of ports) {
      const known = this.members.get(name);
      if (known !== undefined) {
        Object.assign(known, { port, config: lacp });
        continue;
      }
      this.#isOther = true;
      this.members.set(name, {
        ...{ name, port, config: lacp, status: "defaulted", attached: false },
        ...{ isUp: false, partner: noInfo, told: noInfo, sendsMs: 0, endsMs: Infinity },
      });
    }
  }

  /** Whether a port may be used. */
  mayEnable(name: string): boolean {
    const member = this.members.get(name);
    return member !== undefined && this.#may(member);
  }

  #may({ attached, partner, status }: LacpMember): boolean {
    const isAgreed = (partner.state & LacpState.synchronized) !== 0;
    return attached && (isAgreed || this.config.fallback && status === "defaulted");
  }

  /** What this end says of a port. */
  actorOf(member: LacpMember): LacpInfo {
    const { active, fast, sysPriority } = this.config;
    const { attached, status, config: { portPriority } } = member;
    const uses = attached || !this.negotiated;
    const bit = (isSet: boolean, value: number): number => isSet ? value : 0;
    return {
      sysPriority,
      sysId: this.sysId,
      key: this.key ?? 0,
      portPriority,
      portId: portIdOf(member),
      state: bit(active, LacpState.activity) | bit(fast, LacpState.timeout) |
        bit(attached, LacpState.synchronized) |
        bit(status === "defaulted", LacpState.defaulted) |
        bit(status === "expired", LacpState.expired) |
        bit(this.members.size > 1, LacpState.aggregation) |
        bit(uses, LacpState.collecting | LacpState.distributing),
    };
  }

  /** The end that decides about a port. */
  #priority(member: LacpMember): string {
    const { partner } = member;
    const actor = this.actorOf(member);
    const isOwn = actor.sysPriority < partner.sysPriority ||
      actor.sysPriority === partner.sysPriority && actor.sysId < partner.sysId;
    return orderOf(isOwn ? actor : partner);
  }

  /** Looks whether links went, says what is to be said, and waits for what is to come. */
  run(isUp: (port: number) => boolean, send: SendLacp, nowMs: number): void {
    for (const member of this.members.values()) {
      const up = isUp(member.port);
      if (member.isUp && !up && member.status === "current") this.#expire(member, nowMs);
      member.isUp = up;
      if (nowMs < member.endsMs) continue;
      if (member.status === "current") this.#expire(member, nowMs);
      else if (member.status === "expired") {
        Object.assign(member, { status: "defaulted", partner: noInfo, endsMs: Infinity });
        this.#isOther = true;
      }
    }
    if (this.#isOther) this.#attach();
    for (const member of this.members.values()) this.#speak(member, send, nowMs);
  }

  #expire(member: LacpMember, nowMs: number): void {
    const { partner } = member;
    member.status = "expired";
    const state = (partner.state | LacpState.timeout) & ~LacpState.synchronized;
    member.partner = { ...partner, state };
    member.endsMs = nowMs + PATIENCE * FAST_MS;
    this.#isOther = true;
  }

  #speak(member: LacpMember, send: SendLacp, nowMs: number): void {
    const mayAsk = this.config.active || member.status !== "defaulted";
    if (!member.isUp || !mayAsk) return;
    const actor = this.actorOf(member);
    const { told } = member;
    const isTold = ((actor.state ^ told.state) & TOLD) === 0 && actor.key === told.key &&
      orderOf(actor) === orderOf(told);
    if (nowMs < member.sendsMs && isTold) return;
    member.told = actor;
    send(member, actor, member.partner);
    const isFast = (member.partner.state & LacpState.timeout) !== 0;
    member.sendsMs = nowMs + (isFast ? FAST_MS : SLOW_MS);
  }

  /** Takes what the other end of a port says. */
  receive(
    port: number,
    { actor, partner }: { readonly actor: LacpInfo; readonly partner: LacpInfo },
    nowMs: number,
  ): void {
    const member = [...this.members.values()].find((one) => one.port === port);
    // What comes by a link that is down was under way.
    if (member === undefined || !member.isUp) return;
    member.endsMs = nowMs + PATIENCE * (this.config.fast ? FAST_MS : SLOW_MS);
    member.told = partner;
    const isSame = member.status === "current" &&
      JSON.stringify(actor) === JSON.stringify(member.partner);
    if (isSame) return;
    member.status = "current";
    member.partner = actor;
    this.#isOther = true;
  }

  /** Chooses which ports are of one bond: those that lead to the same end. */
  #attach(): void {
    this.#isOther = false;
    const all = [...this.members.values()];
    const best = (some: readonly LacpMember[]): LacpMember | undefined =>
      [...some].sort((a, b) => this.#priority(a) < this.#priority(b) ? -1 : 1)[0];
    const working = best(
      all.filter(({ status, attached }) => status === "current" && attached),
    );
    for (const member of all) {
      const { partner, status } = member;
      const isLoop = partner.sysId === this.sysId;
      const isAlike = working === undefined || working.partner.sysId === partner.sysId;
      member.attached = !isLoop &&
        (status === "defaulted" ? this.config.fallback : isAlike);
    }
    const there = all.filter(({ attached, status }) =>
      attached && status !== "defaulted"
    );
    const agreed = there.filter((one) => this.#may(one));
    const lead = working !== undefined && there.includes(working)
      ? working
      : best(agreed) ?? best(there);
    this.negotiated = lead !== undefined;
    if (lead === undefined) return;
    for (const member of all) {
      const { partner, status } = member;
      const isOther = partner.key !== lead.partner.key ||
        partner.sysId !== lead.partner.sysId;
      if (isOther || this.config.fallback && status === "defaulted") {
        member.attached = false;
      }
    }
  }
}

/** The number of a port, for the other end. */
export function portIdOf({ config, port }: LacpMember): number {
  return config.portId ?? port & 0xffff;
}
