// SPDX-License-Identifier: Apache-2.0
/**
 * What `psample` actions of the kernel see: it sends that to a group of its family `psample`.
 *
 * @module
 */
import type { PacketSample, SampleFacet, SampleWatch } from "../contract/samples.ts";
import { inContext } from "../netlink/errors.ts";
import { LinkTable } from "../netlink/link_table.ts";
import {
  type KernelSample,
  NetlinkError,
  NetlinkSocket,
  parseMessages,
  parseSample,
  Protocol,
  psampleFamily,
  psampleGroup,
} from "../netlink/mod.ts";
import type { Kernel } from "./ovs.ts";
import { listVports, type VportRecord } from "./vports.ts";

const SAMPLES_AT_ONCE = 1024;

/** What `psample` actions of one datapath see, among all samples that the kernel sends. */
export class SystemSamples implements SampleFacet {
  readonly #kernel: Kernel;
  readonly #ifindex: number;
  readonly #datapath: string;
  readonly #watches = new Set<SystemSampleWatch>();

  /** `datapath` is the full name, for errors. */
  constructor(kernel: Kernel, ifindex: number, datapath: string) {
    this.#kernel = kernel;
    this.#ifindex = ifindex;
    this.#datapath = datapath;
  }

  /** Whether the kernel has the family: its module is loaded, or part of it. */
  get isThere(): boolean {
    try {
      this.#kernel.genl.family(psampleFamily);
      return true;
    } catch (error) {
      if (error instanceof NetlinkError && error.code === "ENOENT") return false;
      throw error;
    }
  }

  watch(): SampleWatch {
    const subject = { operation: "watch samples", datapath: this.#datapath };
    return inContext(subject, () => {
      const group = this.#kernel.genl.group(psampleFamily, psampleGroup);
      const watch: SystemSampleWatch = new SystemSampleWatch(
        group,
        () => listVports(this.#kernel, this.#ifindex),
        () => this.#watches.delete(watch),
      );
      this.#watches.add(watch);
      return watch;
    });
  }

  /** Ends every watch. */
  close(): void {
    for (const watch of this.#watches) watch[Symbol.dispose]();
  }
}

class SystemSampleWatch implements SampleWatch {
  readonly #socket = new NetlinkSocket(Protocol.generic);
  readonly #links = new LinkTable();
  readonly #list: () => readonly VportRecord[];
  readonly #onClose: () => void;
  /** Ports by the low 16 bits of their devices' indexes, which is all that samples have. */
  #ports: ReadonlyMap<number, number> = new Map();
  /** By group, of the sample that comes next. */
  readonly #sequences = new Map<number, number>();
  #closed = false;
  lost = 0n;

  constructor(group: number, list: () => readonly VportRecord[], onClose: () => void) {
    this.#list = list;
    this.#onClose = onClose;
    try {
      this.#socket.join(group);
    } catch (error) {
      this.#socket.close();
      throw error;
    }
  }

  receive(): PacketSample[] {
    const samples: PacketSample[] = [];
    let listed = false;
    while (!this.#closed && samples.length < SAMPLES_AT_ONCE) {
      const sample = this.#next();
      if (sample === undefined) break;
      const { sequence, ifindex, time = BigInt(Date.now()) * 1_000_000n, ...rest } =
        sample;
      const due = this.#sequences.get(sample.group) ?? sequence;
      this.lost += BigInt(sequence - due >>> 0);
      this.#sequences.set(sample.group, sequence + 1 >>> 0);
      if (ifindex === undefined) continue; // Of nobody's port.
      if (!listed && !this.#ports.has(ifindex)) {
        this.#ports = this.#read();
        listed = true;
      }
      const inPort = this.#ports.get(ifindex);
      if (inPort !== undefined) samples.push({ ...rest, time, inPort });
    }
    return samples;
  }

  #next(): KernelSample | undefined {
    for (;;) {
      try {
        const datagram = this.#socket.receive();
        if (datagram === undefined) return undefined;
        for (const message of parseMessages(datagram)) {
          const sample = parseSample(message);
          if (sample !== undefined) return sample;
        }
      } catch (error) {
        // The gap in the numbers says how many.
        if (!(error instanceof NetlinkError) || error.code !== "ENOBUFS") throw error;
      }
    }
  }

  #read(): ReadonlyMap<number, number> {
    return new Map(
      this.#list().flatMap(({ name, no, isElsewhere }) => {
        const link = isElsewhere ? undefined : this.#links.get(name);
        return link === undefined ? [] : [[link.index & 0xffff, no] as const];
      }),
    );
  }

  [Symbol.dispose](): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#links.close();
    this.#socket.close();
    this.#onClose();
  }
}
