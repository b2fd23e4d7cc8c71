// SPDX-License-Identifier: Apache-2.0
/**
 * Attributes of conntrack messages: nfnetlink's ctnetlink and timeout policies.
 *
 * All integers are in network order.  Source of the format:
 * `<linux/netfilter/nfnetlink_conntrack.h>` and `<linux/netfilter/nfnetlink_cttimeout.h>`.
 *
 * @module
 */

import { AttributeSet, type AttributeTable, line } from "../odp/attributes.ts";
import { one, StringCodec, StructCodec, ViewCodec } from "../codec/codec.ts";
import { u8 } from "../codec/leaf.ts";
import type { WithUnknown } from "./ovs_messages.ts";

/** `CTA_IP_*` */
export interface CtIpMessage extends WithUnknown {
  readonly ipv4Src?: string;
  readonly ipv4Dst?: string;
  readonly ipv6Src?: string;
  readonly ipv6Dst?: string;
}

/** `CTA_PROTO_*` */
export interface CtProtoMessage extends WithUnknown {
  readonly number?: number;
  readonly srcPort?: number;
  readonly dstPort?: number;
  readonly icmpId?: number;
  readonly icmpType?: number;
  readonly icmpCode?: number;
  readonly icmpv6Id?: number;
  readonly icmpv6Type?: number;
  readonly icmpv6Code?: number;
}

/** `CTA_TUPLE_*` */
export interface CtTupleMessage extends WithUnknown {
  readonly ip?: CtIpMessage;
  readonly proto?: CtProtoMessage;
  readonly zone?: number;
}

/** Codec of {@linkcode CtIpMessage}. */
export const ctIp: AttributeSet<CtIpMessage> = new AttributeSet("ip", {
  ipv4Src: line(1, one.ipv4),
  ipv4Dst: line(2, one.ipv4),
  ipv6Src: line(3, one.ipv6),
  ipv6Dst: line(4, one.ipv6),
});

/** Codec of {@linkcode CtProtoMessage}. */
export const ctProto: AttributeSet<CtProtoMessage> = new AttributeSet("proto", {
  number: line(1, one.u8),
  srcPort: line(2, one.be16),
  dstPort: line(3, one.be16),
  icmpId: line(4, one.be16),
  icmpType: line(5, one.u8),
  icmpCode: line(6, one.u8),
  icmpv6Id: line(7, one.be16),
  icmpv6Type: line(8, one.u8),
  icmpv6Code: line(9, one.u8),
});

/** Codec of {@linkcode CtTupleMessage}. */
export const ctTuple: AttributeSet<CtTupleMessage> = new AttributeSet("tuple", {
  ip: line(1, ctIp),
  proto: line(2, ctProto),
  zone: line(3, one.be16),
});

/** `struct nf_ct_tcp_flags` */
export interface CtTcpFlags {
  readonly flags: number;
  readonly mask: number;
}

const tcpFlags = new StructCodec<CtTcpFlags>("flags", 2, {
  flags: { at: 0, leaf: u8 },
  mask: { at: 1, leaf: u8 },
});

/** `CTA_PROTOINFO_TCP_*` */
export interface CtTcpMessage extends WithUnknown {
  readonly state?: number;
  readonly wscaleOrig?: number;
  readonly wscaleReply?: number;
  readonly flagsOrig?: CtTcpFlags;
  readonly flagsReply?: CtTcpFlags;
}

/** `CTA_PROTOINFO_SCTP_*` */
export interface CtSctpMessage extends WithUnknown {
  readonly state?: number;
  readonly vtagOrig?: number;
  readonly vtagReply?: number;
}

/** `CTA_PROTOINFO_*` */
export interface CtProtoInfoMessage extends WithUnknown {
  readonly tcp?: CtTcpMessage;
  readonly sctp?: CtSctpMessage;
}

/** `CTA_HELP_*` and `CTA_SECCTX_*` */
export interface CtNameMessage extends WithUnknown {
  readonly name?: string;
}

/** `CTA_COUNTERS_*` */
export interface CtCountersMessage extends WithUnknown {
  readonly packets?: bigint;
  readonly bytes?: bigint;
}

/** `CTA_TIMESTAMP_*`: nanoseconds since 1970. */
export interface CtTimestampMessage extends WithUnknown {
  readonly start?: bigint;
  readonly stop?: bigint;
}

/** Codec of {@linkcode CtTcpMessage}. */
export const ctTcp: AttributeSet<CtTcpMessage> = new AttributeSet("tcp", {
  state: line(1, one.u8),
  wscaleOrig: line(2, one.u8),
  wscaleReply: line(3, one.u8),
  flagsOrig: line(4, tcpFlags),
  flagsReply: line(5, tcpFlags),
});

/** Codec of {@linkcode CtSctpMessage}. */
export const ctSctp: AttributeSet<CtSctpMessage> = new AttributeSet("sctp", {
  state: line(1, one.u8),
  vtagOrig: line(2, one.be32),
  vtagReply: line(3, one.be32),
});

/** Codec of {@linkcode CtProtoInfoMessage}. */
export const ctProtoInfo: AttributeSet<CtProtoInfoMessage> = new AttributeSet(
  "protoInfo",
  { tcp: line(1, ctTcp), sctp: line(3, ctSctp) },
);

/** Codec of {@linkcode CtCountersMessage}. */
export const ctCounters: AttributeSet<CtCountersMessage> = new AttributeSet("counters", {
  packets: line(1, one.be64),
  bytes: line(2, one.be64),
}, [5]);

/** Codec of {@linkcode CtTimestampMessage}. */
export const ctTimestamp: AttributeSet<CtTimestampMessage> = new AttributeSet(
  "timestamp",
  { start: line(1, one.be64), stop: line(2, one.be64) },
  [3],
);

/** Codec of {@linkcode CtNameMessage}. */
export const ctName: AttributeSet<CtNameMessage> = new AttributeSet("name", {
  name: line(1, new StringCodec(256)),
});

/** `CTA_*` */
export interface CtMessage extends WithUnknown {
  readonly tupleOrig?: CtTupleMessage;
  readonly tupleReply?: CtTupleMessage;
  /** Bits of `IPS_*`. */
  readonly status?: number;
  readonly protoInfo?: CtProtoInfoMessage;
  readonly help?: CtNameMessage;
  /** Seconds. */
  readonly timeout?: number;
  readonly mark?: number;
  readonly countersOrig?: CtCountersMessage;
  readonly countersReply?: CtCountersMessage;
  readonly use?: number;
  readonly id?: number;
  readonly tupleMaster?: CtTupleMessage;
  readonly zone?: number;
  readonly securityContext?: CtNameMessage;
  readonly timestamp?: CtTimestampMessage;
  readonly markMask?: number;
  /** Up to 16 bytes, in the byte order in which the kernel keeps them. */
  readonly labels?: Uint8Array;
  readonly labelsMask?: Uint8Array;
}

/** Codec of {@linkcode CtMessage}. */
export const ctMessage: AttributeSet<CtMessage> = new AttributeSet<CtMessage>(
  "conntrack",
  {
    tupleOrig: line(1, ctTuple),
    tupleReply: line(2, ctTuple),
    status: line(3, one.be32),
    protoInfo: line(4, ctProtoInfo),
    help: line(5, ctName),
    timeout: line(7, one.be32),
    mark: line(8, one.be32),
    countersOrig: line(9, ctCounters),
    countersReply: line(10, ctCounters),
    use: line(11, one.be32),
    id: line(12, one.be32),
    tupleMaster: line(14, ctTuple),
    zone: line(18, one.be16),
    securityContext: line(19, ctName),
    timestamp: line(20, ctTimestamp),
    markMask: line(21, one.be32),
    labels: line(22, new ViewCodec(0, 16)),
    labelsMask: line(23, new ViewCodec(0, 16)),
  },
);

/** `CTA_TIMEOUT_*`: a timeout policy. */
export interface CtTimeoutMessage extends WithUnknown {
  readonly name?: string;
  /** Address family, `ETH_P_IP` or `ETH_P_IPV6` as the kernel wants it. */
  readonly l3Proto?: number;
  readonly l4Proto?: number;
  /** Nest of seconds, see the tables below. */
  readonly data?: Uint8Array;
  readonly use?: number;
}

/** Codec of {@linkcode CtTimeoutMessage}. */
export const ctTimeoutMessage: AttributeSet<CtTimeoutMessage> = new AttributeSet(
  "timeout",
  {
    name: line(1, new StringCodec(32)),
    l3Proto: line(2, one.be16),
    l4Proto: line(3, one.u8),
    data: line(4, new ViewCodec()),
    use: line(5, one.be32),
  },
);

/** `CTA_TIMEOUT_TCP_*`: seconds in each state. */
export interface CtTimeoutTcp extends WithUnknown {
  readonly synSent?: number;
  readonly synRecv?: number;
  readonly established?: number;
  readonly finWait?: number;
  readonly closeWait?: number;
  readonly lastAck?: number;
  readonly timeWait?: number;
  readonly close?: number;
  readonly synSent2?: number;
  readonly retrans?: number;
  readonly unack?: number;
}

const tcpTable: AttributeTable<CtTimeoutTcp> = {
  synSent: line(1, one.be32),
  synRecv: line(2, one.be32),
  established: line(3, one.be32),
  finWait: line(4, one.be32),
  closeWait: line(5, one.be32),
  lastAck: line(6, one.be32),
  timeWait: line(7, one.be32),
  close: line(8, one.be32),
  synSent2: line(9, one.be32),
  retrans: line(10, one.be32),
  unack: line(11, one.be32),
};

/** Codec of {@linkcode CtTimeoutTcp}. */
export const ctTimeoutTcp: AttributeSet<CtTimeoutTcp> = new AttributeSet("tcp", tcpTable);

/** `CTA_TIMEOUT_UDP_*` */
export interface CtTimeoutUdp extends WithUnknown {
  readonly unreplied?: number;
  readonly replied?: number;
}

/** Codec of {@linkcode CtTimeoutUdp}. */
export const ctTimeoutUdp: AttributeSet<CtTimeoutUdp> = new AttributeSet("udp", {
  unreplied: line(1, one.be32),
  replied: line(2, one.be32),
});

/** `CTA_TIMEOUT_ICMP_*` and `CTA_TIMEOUT_ICMPV6_*` */
export interface CtTimeoutIcmp extends WithUnknown {
  readonly timeout?: number;
}

/** Codec of {@linkcode CtTimeoutIcmp}. */
export const ctTimeoutIcmp: AttributeSet<CtTimeoutIcmp> = new AttributeSet("icmp", {
  timeout: line(1, one.be32),
});
