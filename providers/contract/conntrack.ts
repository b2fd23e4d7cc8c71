// SPDX-License-Identifier: Apache-2.0
/**
 * Optional facet of a datapath: connection tracking. dpif: `ct_*`.
 *
 * Members that only one of the providers has are optional: an absent member is dpif's null pointer.
 *
 * @module
 */
import type { CtZone } from "../ids.ts";

/** One direction of a connection. */
export interface ConnTuple {
  /** Source address, IPv4 or IPv6. */
  readonly src: string;
  /** Destination address, of the same family. */
  readonly dst: string;
  /** IP protocol number. */
  readonly proto: number;
  /** Source port, for TCP, UDP, SCTP. */
  readonly srcPort?: number;
  /** Destination port, for TCP, UDP, SCTP. */
  readonly dstPort?: number;
  /** Identifier of an ICMP or ICMPv6 query. */
  readonly icmpId?: number;
  /** ICMP or ICMPv6 type. */
  readonly icmpType?: number;
  /** ICMP or ICMPv6 code. */
  readonly icmpCode?: number;
}

/** State of a TCP connection as Open vSwitch names it. */
export type TcpState =
  | "CLOSED"
  | "LISTEN"
  | "SYN_SENT"
  | "SYN_RECV"
  | "ESTABLISHED"
  | "CLOSE_WAIT"
  | "FIN_WAIT_1"
  | "CLOSING"
  | "LAST_ACK"
  | "FIN_WAIT_2"
  | "TIME_WAIT";

/** State of an SCTP association as Open vSwitch names it. */
export type SctpState =
  | "CLOSED"
  | "COOKIE_WAIT"
  | "COOKIE_ECHOED"
  | "ESTABLISHED"
  | "SHUTDOWN_SENT"
  | "SHUTDOWN_RECD"
  | "SHUTDOWN_ACK_SENT"
  | "HEARTBEAT_SENT"
  | "HEARTBEAT_ACKED";

/** A connection. dpif: `struct ct_dpif_entry`. */
export interface Connection {
  /** Direction of the packet that opened it. */
  readonly orig: ConnTuple;
  /** Direction of the answers, after address translation. */
  readonly reply: ConnTuple;
  /** Tuple of the connection that this one is related to. */
  readonly parent?: ConnTuple;
  /** Zone that it was committed in. */
  readonly zone: CtZone;
  /** Mark that actions gave it. */
  readonly mark: number;
  /** 128 bits. */
  readonly labels: bigint;
  /** `IPS_*` bits of nf_conntrack_common.h. */
  readonly status: number;
  /** Seconds until it expires; absent: never. */
  readonly timeout?: number;
  /** TCP: state of either side (the kernel has one for both). */
  readonly tcp?: {
    readonly orig: TcpState;
    readonly reply: TcpState;
    /** Window scale of either side, where it is known. */
    readonly windowScale?: { readonly orig: number; readonly reply: number };
    /** `IP_CT_TCP_FLAG_*` bits of nf_conntrack_tcp.h of either side, where they are known. */
    readonly flags?: { readonly orig: number; readonly reply: number };
  };
  /** SCTP: state and verification tags, where they are known. */
  readonly sctp?: {
    readonly state: SctpState;
    readonly tagOrig: number;
    readonly tagReply: number;
  };
  /** Name of the protocol helper that reads its payload, `ftp`. */
  readonly helper?: string;
  /** Number that the kernel knows it by. */
  readonly id?: number;
  /** Traffic either way, where counting is on. */
  readonly counters?: {
    readonly orig: { readonly packets: bigint; readonly bytes: bigint };
    readonly reply: { readonly packets: bigint; readonly bytes: bigint };
  };
  /** Start and stop, ns since 1970, where timestamps are on. */
  readonly timestamp?: { readonly start: bigint; readonly stop?: bigint };
}

/**
 * A connection that a helper has read about in the payload of another one, and that may still
 * come. dpif: `struct ct_dpif_exp`.
 */
export interface Expectation {
  /** Its tuple; without `srcPort` it may come from any. */
  readonly tuple: ConnTuple;
  /** Original tuple of the connection that announced it. */
  readonly parent: ConnTuple;
  /** Zone of both. */
  readonly zone: CtZone;
  /** Mark that it will have; the kernel does not say. */
  readonly mark: number;
  /** Labels that it will have; the kernel does not say. */
  readonly labels: bigint;
  /** Seconds that it may still come in. */
  readonly timeout?: number;
  /** Name of the helper, `ftp`, where it is known. */
  readonly helper?: string;
}

/**
 * What became of a connection. `new`: it was stored. `update`: the first answer came, or the state
 * of TCP, mark or labels changed. `destroy`: it has expired, was forgotten, or gave way to a new
 * one.
 */
export type ConnectionChange = "new" | "update" | "destroy";

/**
 * Something that became of a connection, as it was then. `lost`: what came here is missing, of
 * whatever zone and kind, because the program was too slow; `count` of them, where that is known.
 */
export type ConntrackEvent =
  | { readonly kind: ConnectionChange; readonly connection: Connection }
  | { readonly kind: "lost"; readonly count?: bigint };

/** Which events a stream has. */
export interface ConntrackEventOptions {
  /** Of this zone only. */
  readonly zone?: CtZone;
  /** Only these; absent: all. What is lost is told in any case. */
  readonly kinds?: readonly ConnectionChange[];
  /** Ends the stream: the iteration rejects with the signal's reason. */
  readonly signal?: AbortSignal;
}

/** Events of connections, one by one. */
export interface ConntrackEventStream
  extends AsyncIterableIterator<ConntrackEvent, undefined>, AsyncDisposable {
  /** Ends the stream, also while `next` waits. Idempotent. */
  close(): Promise<void>;
}

/** Limit of connections of a zone; `"default"`: of every zone that has none of its own. */
export interface ZoneLimit {
  /** Zone that is limited. */
  readonly zone: CtZone | "default";
  /** Connections at most; 0: no limit. */
  readonly limit: number;
}

/** Limit and current number of connections of a zone. */
export interface ZoneLimitState extends ZoneLimit {
  /** Connections now. */
  readonly count: number;
}

/** Names of the timeouts of a policy. dpif: `CT_DPIF_TP_ATTRS`. */
export type TimeoutName =
  | "tcpSynSent"
  | "tcpSynRecv"
  | "tcpEstablished"
  | "tcpFinWait"
  | "tcpCloseWait"
  | "tcpLastAck"
  | "tcpTimeWait"
  | "tcpClose"
  | "tcpSynSent2"
  | "tcpRetransmit"
  | "tcpUnack"
  | "udpFirst"
  | "udpSingle"
  | "udpMultiple"
  | "icmpFirst"
  | "icmpReply";

/** Timeouts in seconds; absent ones keep their defaults. */
export interface TimeoutPolicy {
  /** Number that it is set, read and deleted by. */
  readonly id: number;
  /** Seconds, by name of the timeout. */
  readonly timeouts: { readonly [Name in TimeoutName]?: number };
}

/** Which connections a flush forgets: those that fit everything that is said. */
export interface ConnFilter {
  /** Zone; absent: every zone, but with `tuple` zone 0. */
  readonly zone?: CtZone;
  /** The one with this original tuple; not together with `orig`, `reply`, `mark` and `labels`. */
  readonly tuple?: ConnTuple;
  /** Parts of the original tuple. */
  readonly orig?: Partial<ConnTuple>;
  /** Parts of the tuple of answers. */
  readonly reply?: Partial<ConnTuple>;
  /** Bits of the mark; those of `mask` count, all 32 if it is absent. */
  readonly mark?: { readonly value: number; readonly mask?: number };
  /** Bits of the label, of 128. */
  readonly labels?: { readonly value: bigint; readonly mask?: bigint };
}

/** Connection tracking of a datapath. */
export interface ConntrackFacet {
  /** Connections, of one zone or all. dpif: `ct_dump_*`. */
  dump(options?: { readonly zone?: CtZone }): Iterable<Connection>;
  /**
   * The same, a part at a time: other work of the program goes on in between, and traffic in any
   * case. Connections that come or go meanwhile may or may not be among them.
   */
  connections(options?: { readonly zone?: CtZone }): AsyncIterable<Connection>;
  /**
   * Forgets connections: all, or those that fit what is said, none too. `ENOENT` if there is none
   * with a whole `tuple`. dpif: `ct_flush`.
   */
  flush(options?: ConnFilter): void;
  /** Number of buckets of the table, where it is known. */
  buckets?(): number;
  /** Expected connections. dpif: `ct_exp_dump_*`. */
  expectations?(options?: { readonly zone?: CtZone }): Iterable<Expectation>;
  /**
   * What becomes of connections from now on: what happens before the first `next` is told, too.
   * The `eventmask` of the action that committed a connection says what of it is told. Ends quietly
   * when it is left and when the datapath is closed.
   *
   * Of one tuple `new` comes first and `destroy` last. A program that does not keep up is told by
   * `lost`, and never holds up packets.
   *
   * The kernel reports the whole network namespace, whichever datapath tracks it, says the
   * labels of a connection only when they change, and may tell nothing of those that were there
   * before anybody listened. `EOPNOTSUPP`: the kernel tells nothing at all (`nf_conntrack_events`
   * is 0). `ENFILE`: 16 streams listen to a datapath of `netdev` already.
   */
  events(options?: ConntrackEventOptions): ConntrackEventStream;
  /** Connections at most. dpif: `ct_set_maxconns`, `ct_get_maxconns`. */
  readonly maxConnections?: { get(): number; set(count: number): void };
  /** Connections now. dpif: `ct_get_nconns`. */
  count?(): number;
  /** Whether TCP sequence numbers are checked. dpif: `ct_set_tcp_seq_chk`, `ct_get_tcp_seq_chk`. */
  readonly tcpSequenceCheck?: { get(): boolean; set(on: boolean): void };
  /** Milliseconds between sweeps. dpif: `ct_set_sweep_interval`, `ct_get_sweep_interval`. */
  readonly sweepInterval?: { get(): number; set(ms: number): void };
  /** Limits by zone. dpif: `ct_set_limits`, `ct_get_limits`, `ct_del_limits`. */
  readonly limits?: {
    set(limits: readonly ZoneLimit[]): void;
    get(zones?: readonly CtZone[]): readonly ZoneLimitState[];
    delete(zones: readonly (CtZone | "default")[]): void;
  };
  /** Timeout policies. dpif: `ct_set_timeout_policy` and its siblings. */
  readonly timeoutPolicies?: {
    set(policy: TimeoutPolicy): void;
    /** `ENOENT` if there is none. */
    get(id: number): TimeoutPolicy;
    /** `ENOENT` if there is none; `EBUSY` while a flow refers to it. */
    delete(id: number): void;
    /** Absent where policies cannot be listed. */
    dump?(): Iterable<TimeoutPolicy>;
    /** The name that a `ct` action refers to it by, for an Ethernet type and IP protocol. */
    name(
      id: number,
      etherType: number,
      proto: number,
    ): { readonly name: string; readonly generic: boolean };
  };
  /** Feature bits; bit 0: all-zero source NAT. dpif: `ct_get_features`. */
  features?(): number;
}
