// SPDX-License-Identifier: Apache-2.0
/**
 * Family `ovs_flow`: flows written for and read from the kernel, flush and dump.
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
import type {
  FlowDump,
  FlowDumpOptions,
  FlowStats,
  ProviderFlowDelete,
  ProviderFlowGet,
  ProviderFlowPut,
  ProviderFlows,
  RawFlow,
} from "../contract/flows.ts";
import type { Ufid } from "../ids.ts";
import {
  align,
  checkReply,
  type Dump,
  type DumpPart,
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
import { asDatapathError, inContext } from "../netlink/errors.ts";
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
 * `key` without the attributes that only a datapath in userspace knows: the kernel answers EINVAL
 * to packet_type(29) and nd_ext(30) (seen with Linux 6.1).
 */
export function kernelKey(key: Uint8Array): Uint8Array {
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
  writer.attributeBytes(OVS_FLOW_ATTR_ACTIONS, op.actions);
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

/** A flow of the kernel, and whether its actions were in the message. */
export type KernelRawFlow = RawFlow & { readonly hasActions: boolean };

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
function parseFlowAt(family: Family, view: DataView, at: number): KernelRawFlow {
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

/** A dump of flows under way. */
class SystemFlowDump implements FlowDump {
  readonly #flows: SystemFlows;
  readonly #dump: Dump;
  readonly #terse: boolean;
  readonly #family: Family;
  #part: DumpPart | undefined;
  #at = 0;

  constructor(flows: SystemFlows, family: Family, dump: Dump, terse: boolean) {
    this.#flows = flows;
    this.#family = family;
    this.#dump = dump;
    this.#terse = terse;
  }

  next(max: number): RawFlow[] {
    return inContext({ operation: "dump flows", datapath: this.#flows.datapath }, () => {
      const flows: RawFlow[] = [];
      while (flows.length < max) {
        const at = this.#part?.starts[this.#at];
        if (this.#part && at !== undefined) {
          this.#at++;
          const flow = parseFlowAt(this.#family, this.#part.view, at);
          const whole = this.#terse || flow.hasActions ? flow : this.#flows.fetch(flow);
          if (whole) flows.push(whole);
        } else {
          // Give what there is before waiting for the kernel.
          if (flows.length > 0) break;
          this.#part = this.#dump.nextPart();
          if (!this.#part) break;
          this.#at = 0;
        }
      }
      if (flows.length === 0 && this.#dump.interrupted) {
        throw new NetlinkError({ code: "EINTR", detail: "the dump was interrupted" });
      }
      return flows;
    });
  }

  close(): void {
    this.#part = undefined;
    this.#dump.close();
  }
}

/** The flow table of a datapath in the kernel. */
export class SystemFlows implements ProviderFlows {
  readonly #kernel: Kernel;
  readonly #ifindex: number;
  /** Full name of the datapath, for errors. */
  readonly datapath: string;

  /** `datapath` is the full name, for errors. */
  constructor(kernel: Kernel, ifindex: number, datapath: string) {
    this.#kernel = kernel;
    this.#ifindex = ifindex;
    this.datapath = datapath;
  }

  flush(): void {
    inContext({ operation: "flush flows", datapath: this.datapath }, () => {
      const options = { ifindex: this.#ifindex };
      this.#kernel.request(this.#kernel.flow, Command.delete, options);
    });
  }

  dump(options: FlowDumpOptions): FlowDump {
    return inContext({ operation: "dump flows", datapath: this.datapath }, () => {
      const family = this.#kernel.flow;
      const terse = options.terse ?? false;
      const dump = this.#kernel.genl.startDump(family, Command.get, (writer) => {
        writer.put(s32, this.#ifindex);
        if (terse) writer.attribute(OVS_FLOW_ATTR_UFID_FLAGS, u32, terseFlags);
      });
      return new SystemFlowDump(this, family, dump, terse);
    });
  }

  /**
   * A flow of a dump with its actions, which the kernel leaves out when they do not fit into the
   * message.  Undefined when the flow is gone meanwhile.
   */
  fetch(flow: RawFlow): RawFlow | undefined {
    const { key, ufid } = flow;
    try {
      return parseFlow(
        needReply(
          this.#kernel.genl.conversation.request(
            (writer) =>
              writeLookup(writer, this.#kernel, this.#ifindex, {
                op: "get",
                ...(key && { key }),
                ...(ufid !== undefined && { ufid }),
              }),
            { repeatable: true },
          ),
        ),
      );
    } catch (error) {
      if (error instanceof NetlinkError && error.code === "ENOENT") return undefined;
      throw asDatapathError(error, { operation: "get flow", datapath: this.datapath });
    }
  }
}
