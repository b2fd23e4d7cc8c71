// SPDX-License-Identifier: Apache-2.0
/**
 * Family `ovs_flow`: flows written for and read from the kernel.
 *
 * Keys, masks and actions stay bytes all the way.  Format: `enum ovs_flow_attr` of
 * `<linux/openvswitch.h>`.
 *
 * @module
 */
import { idsOf } from "../odp/attributes.ts";
import { keyTable } from "../odp/key.ts";
import { meantForLinux } from "../odp/normalize.ts";
import { flowMessage } from "./ovs_messages.ts";
import { UFID_SIZE, ufidBytes, ufidText } from "../odp/ufid.ts";
import {
  type FlowStats,
  plainFlow,
  type ProviderFlowDelete,
  type ProviderFlowGet,
  type ProviderFlowPut,
  type RawFlow,
} from "../contract/flows.ts";
import type { Ufid } from "../ids.ts";
import {
  align,
  checkReply,
  type Dump,
  type Family,
  littleEndian,
  type Message,
  messageAt,
  messageHeaderSize,
  type MessageWriter,
  NetlinkError,
  NetlinkFlag,
  s32,
  u32,
  viewOf,
} from "../netlink/mod.ts";
import {
  attributeSize,
  attributesOffset,
  beginOvs,
  Command,
  findAttribute,
  Kernel,
  needReply,
} from "./ovs.ts";

const {
  key: OVS_FLOW_ATTR_KEY,
  actions: OVS_FLOW_ATTR_ACTIONS,
  stats: OVS_FLOW_ATTR_STATS,
  tcpFlags: OVS_FLOW_ATTR_TCP_FLAGS,
  used: OVS_FLOW_ATTR_USED,
  clear: OVS_FLOW_ATTR_CLEAR,
  mask: OVS_FLOW_ATTR_MASK,
  probe: OVS_FLOW_ATTR_PROBE,
  ufid: OVS_FLOW_ATTR_UFID,
  ufidFlags: OVS_FLOW_ATTR_UFID_FLAGS,
} = idsOf(flowMessage.table);

/**
 * OMIT_KEY, OMIT_MASK and OMIT_ACTIONS: only identifier (the key, of a flow without) and
 * counters.
 */
const terseFlags = 7;

const {
  packetType: OVS_KEY_ATTR_PACKET_TYPE,
  ndExtensions: OVS_KEY_ATTR_ND_EXTENSIONS,
} = idsOf(keyTable);

/**
 * `bytes`, which must be attributes one behind the other. Throws {@linkcode NetlinkError} `EINVAL`:
 * the kernel says ERANGE to some bytes that are none.
 */
export function checkAttributes(bytes: Uint8Array, what: string): Uint8Array {
  for (let at = 0; at < bytes.length;) {
    const size = at + 4 <= bytes.length ? attributeSize(bytes, at) : 0;
    if (size < 4 || at + size > bytes.length) {
      const detail = `the ${what} has no attribute at byte ${at}`;
      throw new NetlinkError({ code: "EINVAL", detail });
    }
    at += align(size);
  }
  return bytes;
}

/**
 * `key` without the attributes that only a datapath in userspace knows: the kernel answers EINVAL
 * to packet_type(29) and nd_ext(30) (seen with Linux 6.1).
 */
export function kernelKey(key: Uint8Array): Uint8Array {
  checkAttributes(key, "key");
  const foreign = [OVS_KEY_ATTR_PACKET_TYPE, OVS_KEY_ATTR_ND_EXTENSIONS];
  for (const id of foreign) {
    const at = findAttribute(key, id);
    if (at < 0) continue;
    const end = Math.min(at + align(attributeSize(key, at)), key.length);
    const shorter = new Uint8Array(key.length - (end - at));
    shorter.set(key.subarray(0, at));
    shorter.set(key.subarray(end), at);
    key = shorter;
  }
  return key;
}

/** The mask as the kernel knows it. Throws `EINVAL` for one that it would widen without a word. */
function kernelMask(bytes: Uint8Array): Uint8Array {
  const { mask, part } = meantForLinux(bytes);
  if (part !== undefined) {
    const detail = `${part} is matched in whole or not at all`;
    throw new NetlinkError({ code: "EINVAL", detail });
  }
  const extensions = findAttribute(mask, OVS_KEY_ATTR_ND_EXTENSIONS);
  if (extensions >= 0 && mask.subarray(extensions + 4, extensions + 9).some(Boolean)) {
    throw new NetlinkError({ code: "EINVAL", detail: "the kernel does not know nd_ext" });
  }
  return kernelKey(mask);
}

/** Writes the request for a put. Throws {@linkcode NetlinkError} `ENOBUFS` for what is too long. */
export function writePut(
  writer: MessageWriter,
  kernel: Kernel,
  ifindex: number,
  op: ProviderFlowPut,
): void {
  // NEW without NLM_F_CREATE adds or replaces; SET only replaces.
  const command = op.create ? Command.new : Command.set;
  const create = op.create && !op.modify ? NetlinkFlag.create : 0;
  const echo = op.wantStats ? NetlinkFlag.echo : 0;
  beginOvs(writer, kernel.flow, command, ifindex, create | echo);
  if (op.ufid !== undefined) {
    writer.attributeBytes(OVS_FLOW_ATTR_UFID, ufidBytes(op.ufid));
  }
  if (echo) writer.attribute(OVS_FLOW_ATTR_UFID_FLAGS, u32, terseFlags);
  writer.attributeBytes(OVS_FLOW_ATTR_KEY, kernelKey(op.key));
  if (op.mask) writer.attributeBytes(OVS_FLOW_ATTR_MASK, kernelMask(op.mask));
  const actions = checkAttributes(op.actions, "action list");
  writer.attributeBytes(OVS_FLOW_ATTR_ACTIONS, actions);
  if (op.zeroStats) writer.attributeBytes(OVS_FLOW_ATTR_CLEAR);
  if (op.probe) writer.attributeBytes(OVS_FLOW_ATTR_PROBE);
  writer.end();
}

/** Writes the request for a delete or a get. Throws `EINVAL` without key and identifier. */
export function writeLookup(
  writer: MessageWriter,
  kernel: Kernel,
  ifindex: number,
  op: ProviderFlowDelete | ProviderFlowGet,
): void {
  const isDelete = op.op === "delete";
  const echo = isDelete && op.wantStats ? NetlinkFlag.echo : 0;
  const command = isDelete ? Command.delete : Command.get;
  beginOvs(writer, kernel.flow, command, ifindex, echo);
  if (op.ufid !== undefined) {
    writer.attributeBytes(OVS_FLOW_ATTR_UFID, ufidBytes(op.ufid));
  } else if (op.key) {
    writer.attributeBytes(OVS_FLOW_ATTR_KEY, kernelKey(op.key));
  } else {
    // The kernel would take a delete of nothing in particular as a delete of everything.
    throw new NetlinkError({ code: "EINVAL", detail: "neither key nor ufid given" });
  }
  if (echo) writer.attribute(OVS_FLOW_ATTR_UFID_FLAGS, u32, terseFlags);
  writer.end();
}

/**
 * A flow as the kernel describes it.
 *
 * Only where its attributes lie is found out at once; most readers of a long list want little of
 * each. Ends of 0 mean that there is no such attribute.
 */
class KernelFlow {
  readonly plain = plainFlow;
  readonly #view: DataView;
  #key = 0;
  #keyEnd = 0;
  #mask = 0;
  #maskEnd = 0;
  #actions = 0;
  #actionsEnd = 0;
  #ufid = 0;
  #ufidEnd = 0;
  #stats = 0;
  #used = 0;
  #tcpFlags = 0;

  /** Of the attributes from `start` to `end` in the view. Throws `EBADMSG`. */
  constructor(view: DataView, start: number, end: number) {
    this.#view = view;
    for (let at = start; at + 4 <= end;) {
      const size = view.getUint16(at, littleEndian);
      if (size < 4 || at + size > end) throw malformed(at - start);
      const smallest = this.#place(
        view.getUint16(at + 2, littleEndian) & 0x3fff,
        at + 4,
        at + size,
      );
      if (size - 4 < smallest) throw malformed(at - start);
      at += align(size);
    }
  }

  /** Notes where an attribute's payload lies; gives how many bytes it must have. */
  #place(id: number, at: number, end: number): number {
    switch (id) {
      case OVS_FLOW_ATTR_KEY:
        this.#key = at;
        this.#keyEnd = end;
        return 0;
      case OVS_FLOW_ATTR_MASK:
        this.#mask = at;
        this.#maskEnd = end;
        return 0;
      case OVS_FLOW_ATTR_ACTIONS:
        this.#actions = at;
        this.#actionsEnd = end;
        return 0;
      case OVS_FLOW_ATTR_UFID:
        this.#ufid = at;
        this.#ufidEnd = end;
        return 0;
      case OVS_FLOW_ATTR_STATS:
        this.#stats = at;
        return 16;
      case OVS_FLOW_ATTR_USED:
        this.#used = at;
        return 8;
      case OVS_FLOW_ATTR_TCP_FLAGS:
        this.#tcpFlags = at;
        return 1;
      default:
        return 0;
    }
  }

  #bytes(at: number, end: number): Uint8Array | undefined {
    if (end === 0) return undefined;
    const { buffer, byteOffset } = this.#view;
    return new Uint8Array(buffer, byteOffset + at, end - at);
  }

  get key(): Uint8Array | undefined {
    return this.#bytes(this.#key, this.#keyEnd);
  }

  get mask(): Uint8Array | undefined {
    return this.#bytes(this.#mask, this.#maskEnd);
  }

  get actions(): Uint8Array | undefined {
    return this.#bytes(this.#actions, this.#actionsEnd);
  }

  /** Whether the kernel gave its actions. */
  get hasActions(): boolean {
    return this.#actionsEnd !== 0;
  }

  get ufid(): Ufid | undefined {
    const bytes = this.#bytes(this.#ufid, this.#ufidEnd);
    return bytes?.length === UFID_SIZE ? ufidText(bytes) : undefined;
  }

  get layer(): string {
    return "ovs";
  }

  /**
   * Where its identifier lies: the UFID, or the key of a flow that has none, which is the same in
   * every dump.
   */
  get identity(): { readonly view: DataView; readonly at: number; readonly end: number } {
    const isNamed = this.#ufidEnd !== 0;
    return {
      view: this.#view,
      at: isNamed ? this.#ufid : this.#key,
      end: isNamed ? this.#ufidEnd : this.#keyEnd,
    };
  }

  get stats(): FlowStats {
    const [stats, used, flags] = [this.#stats, this.#used, this.#tcpFlags];
    const view = this.#view;
    return {
      packets: stats === 0 ? 0n : view.getBigUint64(stats, littleEndian),
      bytes: stats === 0 ? 0n : view.getBigUint64(stats + 8, littleEndian),
      tcpFlags: flags === 0 ? 0 : view.getUint8(flags),
      ...(used !== 0 && { usedMs: view.getBigUint64(used, littleEndian) }),
    };
  }
}

/** A flow of the kernel, whether its actions were in the message, and where its identifier is. */
export type KernelRawFlow = RawFlow & Pick<KernelFlow, "hasActions" | "identity">;

/**
 * The flow that a message describes; its bytes are views into the message.
 * Throws {@linkcode NetlinkError} `EBADMSG`.
 */
export function parseFlow(message: Message): KernelRawFlow {
  const view = viewOf(message.body);
  // What is absent reads as undefined here, which the compiler takes for something else.
  return new KernelFlow(view, attributesOffset, view.byteLength) as KernelFlow & RawFlow;
}

/** The flow that the message at `at` of a datagram describes, as {@linkcode parseFlow}. */
export function parseFlowAt(family: Family, view: DataView, at: number): KernelRawFlow {
  const start = at + messageHeaderSize + attributesOffset;
  const end = at + view.getUint32(at, littleEndian);
  if (view.getUint16(at + 4, littleEndian) !== family.id || start > end) {
    checkReply(family, messageAt(view, at));
  }
  return new KernelFlow(view, start, end) as KernelFlow & RawFlow;
}

function malformed(at: number): NetlinkError {
  return new NetlinkError({ code: "EBADMSG", detail: `malformed flow at byte ${at}` });
}

/** Starts a listing of the table as it is; `terse`: identifiers and counters only. */
export function startFlowDump(kernel: Kernel, ifindex: number, terse: boolean): Dump {
  return kernel.genl.startDump(kernel.flow, Command.get, (writer) => {
    writer.put(s32, ifindex);
    if (terse) writer.attribute(OVS_FLOW_ATTR_UFID_FLAGS, u32, terseFlags);
  });
}

/**
 * A flow of a dump with all of it; undefined when it is gone meanwhile.
 * Throws {@linkcode NetlinkError}.
 */
export function fetchFlow(
  kernel: Kernel,
  ifindex: number,
  flow: RawFlow,
): RawFlow | undefined {
  const { key, ufid } = flow;
  const write = (writer: MessageWriter) =>
    writeLookup(writer, kernel, ifindex, {
      op: "get",
      ...(key && { key }),
      ...(ufid !== undefined && { ufid }),
    });
  try {
    const { conversation } = kernel.genl;
    return parseFlow(needReply(conversation.request(write, { repeatable: true })));
  } catch (error) {
    if (error instanceof NetlinkError && error.code === "ENOENT") return undefined;
    throw error;
  }
}
