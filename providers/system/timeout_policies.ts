// SPDX-License-Identifier: Apache-2.0
/**
 * Timeout policies of connections, kept as objects of cttimeout.
 *
 * One policy is six objects, for TCP, UDP and ICMP over IPv4 and IPv6, named
 * `ovs_tp_<id>_<protocol>` as Open vSwitch names them, so that either sees the other's. Format:
 * `<linux/netfilter/nfnetlink_cttimeout.h>`.
 *
 * @module
 */
import { idsOf } from "../odp/attributes.ts";
import {
  ctTimeoutIcmp,
  ctTimeoutMessage,
  ctTimeoutTcp,
  ctTimeoutUdp,
} from "./ct_messages.ts";
import type {
  ConntrackFacet,
  TimeoutName,
  TimeoutPolicy,
} from "../contract/conntrack.ts";
import {
  AF_INET,
  AF_INET6,
  beginNf,
  NfCommand,
  nfHeaderSize,
  Subsystem,
} from "./ctnetlink.ts";
import {
  Attributes,
  be16,
  be32,
  type Conversation,
  type Message,
  nestedId,
  NetlinkError,
  NetlinkFlag,
  u8,
} from "../netlink/mod.ts";
import { inContext } from "../netlink/errors.ts";

const {
  name: CTA_TIMEOUT_NAME,
  l3Proto: CTA_TIMEOUT_L3PROTO,
  l4Proto: CTA_TIMEOUT_L4PROTO,
  data: CTA_TIMEOUT_DATA,
} = idsOf(ctTimeoutMessage.table);

const tcpIds = idsOf(ctTimeoutTcp.table);
const udpIds = idsOf(ctTimeoutUdp.table);
const icmpIds = idsOf(ctTimeoutIcmp.table);

const prefix = "ovs_tp_";

const tcpTimeouts: Readonly<Record<number, TimeoutName>> = {
  [tcpIds.synSent]: "tcpSynSent",
  [tcpIds.synRecv]: "tcpSynRecv",
  [tcpIds.established]: "tcpEstablished",
  [tcpIds.finWait]: "tcpFinWait",
  [tcpIds.closeWait]: "tcpCloseWait",
  [tcpIds.lastAck]: "tcpLastAck",
  [tcpIds.timeWait]: "tcpTimeWait",
  [tcpIds.close]: "tcpClose",
  [tcpIds.synSent2]: "tcpSynSent2",
  [tcpIds.retrans]: "tcpRetransmit",
  [tcpIds.unack]: "tcpUnack",
};
/** The kernel has no timeout for a first UDP packet, nor one for ICMP replies. */
const udpTimeouts: Readonly<Record<number, TimeoutName>> = {
  [udpIds.unreplied]: "udpSingle",
  [udpIds.replied]: "udpMultiple",
};
const icmpTimeouts: Readonly<Record<number, TimeoutName>> = {
  [icmpIds.timeout]: "icmpFirst",
};

/** One of the six objects of a policy. */
interface TimeoutObject {
  readonly suffix: string;
  readonly l3: number;
  readonly l4: number;
  /** Attributes of CTA_TIMEOUT_DATA. */
  readonly data: Readonly<Record<number, TimeoutName>>;
}

const objects: readonly TimeoutObject[] = [
  { suffix: "tcp4", l3: AF_INET, l4: 6, data: tcpTimeouts },
  { suffix: "udp4", l3: AF_INET, l4: 17, data: udpTimeouts },
  { suffix: "icmp4", l3: AF_INET, l4: 1, data: icmpTimeouts },
  { suffix: "tcp6", l3: AF_INET6, l4: 6, data: tcpTimeouts },
  { suffix: "udp6", l3: AF_INET6, l4: 17, data: udpTimeouts },
  { suffix: "icmpv6", l3: AF_INET6, l4: 58, data: icmpTimeouts },
];

type Policies = NonNullable<ConntrackFacet["timeoutPolicies"]>;

interface ParsedObject {
  readonly id: number;
  readonly timeouts: { [Name in TimeoutName]?: number };
}

/** The object that a message describes; undefined if it is none of a policy. */
function parseObject(message: Message): ParsedObject | undefined {
  const attributes = new Attributes(message.body, nfHeaderSize);
  const name = attributes.text(CTA_TIMEOUT_NAME) ?? "";
  const [, id, suffix] = /^ovs_tp_(\d+)_(\w+)$/.exec(name) ?? [];
  const object = objects.find((one) => one.suffix === suffix);
  if (id === undefined || !object) return undefined;
  const data = attributes.nested(CTA_TIMEOUT_DATA);
  const timeouts: { [Name in TimeoutName]?: number } = {};
  for (const [attribute, timeout] of Object.entries(object.data)) {
    const seconds = data?.get(Number(attribute), be32);
    if (seconds !== undefined) timeouts[timeout] = seconds;
  }
  return { id: Number(id), timeouts };
}

function objectName(id: number, object: TimeoutObject): string {
  return `${prefix}${id}_${object.suffix}`;
}

/** Timeout policies of this network namespace, over a conversation of `Protocol.netfilter`. */
export class SystemTimeoutPolicies implements Policies {
  readonly #conversation: Conversation;
  readonly #datapath: string;

  /** `datapath` is the full name, for errors. */
  constructor(conversation: Conversation, datapath: string) {
    this.#conversation = conversation;
    this.#datapath = datapath;
  }

  #in<T>(operation: string, id: number | undefined, action: () => T): T {
    const object = id === undefined ? undefined : String(id);
    return inContext({ operation, datapath: this.#datapath, object }, action);
  }

  set(policy: TimeoutPolicy): void {
    this.#in("set timeout policy", policy.id, () => {
      for (const object of objects) this.#setObject(policy, object);
    });
  }

  #setObject(policy: TimeoutPolicy, object: TimeoutObject): void {
    const { create, replace } = NetlinkFlag;
    this.#conversation.request((writer) => {
      const { timeout: subsystem } = Subsystem;
      const flags = create | replace;
      beginNf(writer, { subsystem, command: NfCommand.new, flags });
      writer.attributeText(CTA_TIMEOUT_NAME, objectName(policy.id, object));
      writer.attribute(CTA_TIMEOUT_L3PROTO, be16, object.l3);
      writer.attribute(CTA_TIMEOUT_L4PROTO, u8, object.l4);
      writer.nested(nestedId(CTA_TIMEOUT_DATA), () => {
        for (const [attribute, name] of Object.entries(object.data)) {
          const seconds = policy.timeouts[name];
          if (seconds !== undefined) writer.attribute(Number(attribute), be32, seconds);
        }
      });
      writer.end();
    });
  }

  get(id: number): TimeoutPolicy {
    return this.#in("read timeout policy", id, () => {
      const timeouts: { [Name in TimeoutName]?: number } = {};
      for (const object of objects) {
        const reply = this.#conversation.request((writer) => {
          beginNf(writer, { subsystem: Subsystem.timeout, command: NfCommand.get });
          writer.attributeText(CTA_TIMEOUT_NAME, objectName(id, object));
          writer.end();
        }, { repeatable: true });
        const parsed = reply && parseObject(reply);
        if (!parsed) throw new NetlinkError({ code: "EPROTO", detail: "no such reply" });
        Object.assign(timeouts, parsed.timeouts);
      }
      return { id, timeouts };
    });
  }

  delete(id: number): void {
    this.#in("delete timeout policy", id, () => {
      let found = false;
      let failure: unknown;
      for (const object of objects) {
        try {
          this.#deleteObject(objectName(id, object));
          found = true;
        } catch (error) {
          if (!(error instanceof NetlinkError) || error.code !== "ENOENT") {
            failure ??= error;
          }
        }
      }
      if (failure !== undefined) throw failure;
      if (!found) throw new NetlinkError({ code: "ENOENT" });
    });
  }

  #deleteObject(name: string): void {
    this.#conversation.request((writer) => {
      beginNf(writer, { subsystem: Subsystem.timeout, command: NfCommand.delete });
      writer.attributeText(CTA_TIMEOUT_NAME, name);
      writer.end();
    });
  }

  dump(): TimeoutPolicy[] {
    return this.#in("list timeout policies", undefined, () => {
      const policies = new Map<number, { [Name in TimeoutName]?: number }>();
      const messages = this.#conversation.dump((writer) => {
        beginNf(writer, { subsystem: Subsystem.timeout, command: NfCommand.get });
        writer.end();
      });
      for (const message of messages) {
        const parsed = parseObject(message);
        if (!parsed) continue;
        policies.set(parsed.id, { ...policies.get(parsed.id), ...parsed.timeouts });
      }
      return [...policies].map(([id, timeouts]) => ({ id, timeouts }))
        .sort((a, b) => a.id - b.id);
    });
  }

  name(id: number, etherType: number, proto: number) {
    const l3 = etherType === 0x0800 ? AF_INET : etherType === 0x86dd ? AF_INET6 : 0;
    const object = objects.find((one) => one.l3 === l3 && one.l4 === proto);
    if (object) return { name: objectName(id, object), generic: false };
    return this.#in("name timeout policy", id, () => {
      throw new NetlinkError({
        code: "EOPNOTSUPP",
        detail: `no timeouts for Ethernet type 0x${etherType.toString(16)}, ` +
          `IP protocol ${proto}`,
      });
    });
  }
}
