// SPDX-License-Identifier: Apache-2.0
/**
 * A dump of the kernel's flow table that gives each flow that stays exactly once.
 *
 * The kernel doubles its table when it has more flows than buckets, and deals the flows out anew
 * every ten minutes. Both happen when a flow is added, and to a dump under way the place that it
 * has reached means something else then: flows come twice, and others not at all. The kernel does
 * not say so. So additions are listened to while a dump runs, and after a pass in which the table
 * may have been dealt out anew another pass gives what is missing.
 *
 * @module
 */
import type { FlowDump, RawFlow } from "../contract/flows.ts";
import { inContext } from "../netlink/errors.ts";
import {
  type Dump,
  type DumpPart,
  littleEndian,
  NetlinkError,
  NetlinkSocket,
  parseMessages,
  Protocol,
} from "../netlink/mod.ts";
import { getDatapath } from "./datapaths.ts";
import { fetchFlow, type KernelRawFlow, parseFlowAt, startFlowDump } from "./flows.ts";
import { Command, Kernel, messageIfindex } from "./ovs.ts";

/** Buckets of the smallest table: TBL_MIN_BUCKETS of net/openvswitch/flow_table.c. */
const minBuckets = 1024;
/** Passes after which a dump ends all the same, if the last one found nothing new. */
const enoughPasses = 4;
/** Passes after which a dump is given up. */
const maxPasses = 16;
/** Bytes of news that may wait between two reads of a dump. */
const newsBytes = 4 << 20;

/** A set of flows by 64 bits of a hash of their identifiers, 16 bytes or less a flow. */
export class SeenFlows {
  readonly #seed = crypto.getRandomValues(new Uint32Array(2));
  #words = new Uint32Array(2 * 2048);
  #size = 0;

  /** Adds the flow whose identifier lies there; false if it was in already. */
  add(view: DataView, at: number, end: number): boolean {
    let [low = 0, high = 0] = this.#seed;
    for (; at < end; at += 4) {
      const word = at + 4 <= end
        ? view.getUint32(at, littleEndian)
        : view.getUint8(at) | view.getUint8(end - 1) << 8;
      low = Math.imul(low ^ word, 0x85ebca6b);
      low = low << 13 | low >>> 19;
      high = Math.imul(high + word ^ low, 0xc2b2ae35);
      high ^= high >>> 15;
    }
    low = Math.imul(low ^ high >>> 16, 0x27d4eb2f);
    // A pair of zeros is a free place.
    return this.#place(this.#words, (low ^ low >>> 15 | 1) >>> 0, high >>> 0);
  }

  #place(words: Uint32Array, low: number, high: number): boolean {
    const last = words.length / 2 - 1;
    for (let at = high & last;; at = at + 1 & last) {
      if (words[2 * at] === 0) {
        words[2 * at] = low;
        words[2 * at + 1] = high;
        break;
      }
      if (words[2 * at] === low && words[2 * at + 1] === high) return false;
    }
    if (words === this.#words && ++this.#size * 2 > last) this.#grow();
    return true;
  }

  #grow(): void {
    const before = this.#words;
    const words = new Uint32Array(2 * before.length);
    for (let at = 0; at < before.length; at += 2) {
      const low = before[at] ?? 0;
      if (low !== 0) this.#place(words, low, before[at + 1] ?? 0);
    }
    this.#words = words;
  }
}

/** What is known of a pass that ended. */
interface Pass {
  /** Flows in the table when it began, and those that were added since; Infinity if unknown. */
  readonly before: number;
  readonly additions: number;
  /** Flows that no pass before had given. */
  readonly found: number;
  /** Whether part of it was lost. */
  readonly isBroken: boolean;
}

/** Tells when the passes over a table have given every flow that stays. */
export class Passes {
  #count = 0;
  /** Passes in which it is known how large the table may have become. */
  #known = 0;
  /** Numbers of buckets that such a pass may have found too few. */
  readonly #outgrown = new Set<number>();

  /** How many ended. */
  get count(): number {
    return this.#count;
  }

  /** Ends one; true if no other is needed. */
  end({ before, additions, found, isBroken }: Pass): boolean {
    this.#count++;
    const most = before + additions;
    let buckets = 2 ** Math.ceil(Math.log2(Math.max(before, minBuckets)));
    const hasGrown = most > buckets || isBroken;
    // The first pass may have been disturbed by the dealing out of every ten minutes, which cannot
    // come again so soon.
    if (additions === 0 && !isBroken || this.#count > 1 && !hasGrown) return true;
    if (this.#count >= enoughPasses && found === 0 && !isBroken) return true;
    if (isBroken || most === Infinity) return false;
    this.#known++;
    for (; most > buckets; buckets *= 2) this.#outgrown.add(buckets);
    // A table never shrinks, so that it outgrows each number once: of more passes than it was dealt
    // out anew, that one among them, one was left alone. As many come and go at a power of two.
    return this.#known > this.#outgrown.size + 1;
  }
}

/** Counts the flows that this program and others add to a datapath. */
class Additions {
  readonly #kernel: Kernel;
  readonly #ifindex: number;
  readonly #socket: NetlinkSocket;
  #count = 0;

  constructor(kernel: Kernel, ifindex: number) {
    this.#kernel = kernel;
    this.#ifindex = ifindex;
    this.#socket = new NetlinkSocket(Protocol.generic, { receiveBuffer: newsBytes });
    try {
      this.#socket.join(kernel.genl.group("ovs_flow", "ovs_flow"));
    } catch (error) {
      this.#socket.close();
      throw error;
    }
  }

  /** Flows that were added since the last `reset`; Infinity if there were too many to tell. */
  count(): number {
    const { flow } = this.#kernel;
    for (;;) {
      try {
        const datagram = this.#socket.receive();
        if (!datagram) return this.#count;
        for (const message of parseMessages(datagram)) {
          const isAddition = message.type === flow.id && message.body[0] === Command.new;
          if (isAddition && messageIfindex(message) === this.#ifindex) this.#count++;
        }
      } catch (error) {
        if (!(error instanceof NetlinkError) || error.code !== "ENOBUFS") throw error;
        this.#count = Infinity;
      }
    }
  }

  reset(): void {
    this.count();
    this.#count = 0;
  }

  close(): void {
    this.#socket.close();
  }
}

/** A dump of flows under way. */
export class SystemFlowDump implements FlowDump {
  readonly #kernel: Kernel;
  readonly #ifindex: number;
  readonly #datapath: string;
  readonly #terse: boolean;
  readonly #seen = new SeenFlows();
  readonly #additions: Additions;
  #dump: Dump;
  #part: DumpPart | undefined;
  #at = 0;
  readonly #passes = new Passes();
  /** Flows that the pass under way gave. */
  #found = 0;
  /** Flows in the table when it began. */
  #before: number;
  /** Whether the pass under way lost something. */
  #isBroken = false;
  #ended = false;

  /** Begins the first pass. `datapath` is the full name, for errors. */
  constructor(kernel: Kernel, ifindex: number, datapath: string, terse: boolean) {
    this.#kernel = kernel;
    this.#ifindex = ifindex;
    this.#datapath = datapath;
    this.#terse = terse;
    this.#additions = new Additions(kernel, ifindex);
    try {
      this.#before = this.#size();
      this.#dump = startFlowDump(kernel, ifindex, terse);
    } catch (error) {
      this.#additions.close();
      throw error;
    }
  }

  #size(): number {
    return Number(getDatapath(this.#kernel, this.#ifindex).stats.flows);
  }

  next(max: number): RawFlow[] {
    return inContext({ operation: "dump flows", datapath: this.#datapath }, () => {
      try {
        return this.#next(max);
      } catch (error) {
        this.close();
        throw error;
      }
    });
  }

  #next(max: number): RawFlow[] {
    const flows: RawFlow[] = [];
    while (flows.length < max && !this.#ended) {
      const at = this.#part?.starts[this.#at];
      if (this.#part && at !== undefined) {
        this.#at++;
        const flow = this.#take(parseFlowAt(this.#kernel.flow, this.#part.view, at));
        if (flow) flows.push(flow);
        continue;
      }
      // Give what there is before waiting for the kernel.
      if (flows.length > 0) break;
      this.#additions.count();
      this.#part = this.#nextPart();
      this.#at = 0;
      if (!this.#part) this.#endPass();
    }
    return flows;
  }

  /** The next datagram; undefined at the end of the pass, which it also is when one was lost. */
  #nextPart(): DumpPart | undefined {
    try {
      return this.#dump.nextPart();
    } catch (error) {
      if (!(error instanceof NetlinkError) || error.code !== "ENOBUFS") throw error;
      this.#isBroken = true;
      return undefined;
    }
  }

  /** The flow as it is to be given; undefined if it was, or is gone. */
  #take(flow: KernelRawFlow): RawFlow | undefined {
    const { view, at, end } = flow.identity;
    if (!this.#seen.add(view, at, end)) return undefined;
    this.#found++;
    if (this.#terse || flow.hasActions) return flow;
    // A pass of identifiers, or actions that did not fit into the message.
    return fetchFlow(this.#kernel, this.#ifindex, flow);
  }

  /** Begins another pass if this one may have missed flows; else ends the dump. */
  #endPass(): void {
    const isWhole = this.#passes.end({
      before: this.#before,
      additions: this.#additions.count(),
      found: this.#found,
      isBroken: this.#isBroken || this.#dump.interrupted,
    });
    if (isWhole) {
      this.close();
      return;
    }
    if (this.#passes.count >= maxPasses) {
      throw new NetlinkError({ code: "EINTR", detail: "the table changed all the time" });
    }
    this.#found = 0;
    this.#isBroken = false;
    this.#additions.reset();
    this.#before = this.#size();
    // Only identifiers: most were given before.
    this.#dump = startFlowDump(this.#kernel, this.#ifindex, true);
  }

  close(): void {
    this.#ended = true;
    this.#part = undefined;
    this.#dump.close();
    this.#additions.close();
  }
}
