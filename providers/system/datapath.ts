// SPDX-License-Identifier: Apache-2.0
/**
 * A datapath of the kernel, and everything that can be asked of it.
 *
 * @module
 */
import { readSystemFile } from "../../ffi/system_file.ts";
import type {
  DatapathStats,
  FeatureFacet,
  ProviderDatapath,
} from "../contract/provider.ts";
import type { OpResult, ProviderOp } from "../contract/flows.ts";
import type { ConntrackFacet } from "../contract/conntrack.ts";
import type { MeterFacet } from "../contract/meters.ts";
import type { CacheFacet, QueueFacet } from "../contract/devices.ts";
import type { SampleFacet } from "../contract/samples.ts";
import { SystemConntrack } from "./conntrack.ts";
import {
  type DatapathRecord,
  deleteDatapath,
  getDatapath,
  setDatapath,
} from "./datapaths.ts";
import { SystemFlows } from "./flow_table.ts";
import { systemMeters } from "./meters.ts";
import { inContext } from "../netlink/errors.ts";
import { NetlinkError } from "../netlink/mod.ts";
import { Operations } from "./operations.ts";
import type { Kernel } from "./ovs.ts";
import { SystemPorts } from "./ports.ts";
import { SystemSamples } from "./samples.ts";
import { TunnelLinks } from "./tunnel_links.ts";
import { SystemUpcalls } from "./upcalls.ts";
import { listVports } from "./vports.ts";

/** An open datapath of the kernel. Belongs to one isolate; others may open it too. */
export class SystemDatapath implements ProviderDatapath {
  readonly type = "system";
  readonly name: string;
  readonly ports: SystemPorts;
  readonly flows: SystemFlows;
  readonly upcalls: SystemUpcalls;
  readonly features: FeatureFacet;
  readonly queues: QueueFacet;
  readonly conntrack: ConntrackFacet;
  readonly meters?: MeterFacet;
  readonly caches?: CacheFacet;
  readonly #kernel: Kernel;
  readonly #links = new TunnelLinks();
  readonly #conntrack: SystemConntrack;
  readonly #samples: SystemSamples;
  readonly #operations: Operations;
  readonly #ifindex: number;
  readonly #fullName: string;
  #destroyed = false;

  /** Takes over `kernel`, which `close` closes. */
  constructor(kernel: Kernel, record: DatapathRecord) {
    const { ifindex, name } = record;
    this.#kernel = kernel;
    this.#ifindex = ifindex;
    this.name = name;
    const fullName = this.#fullName = `system@${name}`;
    this.upcalls = new SystemUpcalls(kernel, record, fullName);
    this.ports = new SystemPorts(kernel, ifindex, fullName, {
      upcalls: this.upcalls,
      links: this.#links,
    });
    this.flows = new SystemFlows(kernel, ifindex, fullName);
    this.#operations = new Operations(kernel, ifindex, fullName);
    this.#conntrack = new SystemConntrack(kernel, fullName);
    this.conntrack = this.#conntrack;
    this.#samples = new SystemSamples(kernel, ifindex, fullName);
    this.features = {
      get: () => this.#features(),
      set: (bits) => this.#setFeatures(bits),
    };
    this.queues = { toPriority: (queue) => this.#toPriority(queue) };
    const meters = systemMeters(kernel, ifindex, fullName);
    if (meters) this.meters = meters;
    if (record.masksCacheSize !== undefined) this.caches = this.#caches();
  }

  #in<T>(operation: string, action: () => T): T {
    return inContext({ operation, datapath: this.#fullName }, action);
  }

  #get(): DatapathRecord {
    return getDatapath(this.#kernel, this.#ifindex);
  }

  /** Asked for anew each time, because the kernel's module may come later. */
  get samples(): SampleFacet | undefined {
    return this.#in(
      "use samples",
      () => this.#samples.isThere ? this.#samples : undefined,
    );
  }

  stats(): DatapathStats {
    const { stats, megaflows } = this.#in("read counters", () => this.#get());
    const { hit, missed, lost, flows } = stats;
    return {
      hit,
      missed,
      lost,
      flows: Number(flows),
      ...(megaflows && { masks: megaflows.masks, maskHit: megaflows.maskHit }),
      // A kernel without a mask cache says 0, and so does one whose cache was never hit.
      ...(megaflows?.cacheHit && { cacheHit: megaflows.cacheHit }),
    };
  }

  version(): string | undefined {
    // Only modules built outside the kernel's tree have one.
    return readSystemFile("/sys/module/openvswitch/version")?.trim() || undefined;
  }

  operate(ops: readonly ProviderOp[]): OpResult[] {
    return this.#operations.run(ops);
  }

  run(): boolean {
    this.#in("take in ports", () => this.upcalls.refresh());
    return false;
  }

  #features(): number {
    return this.#in("read features", () => this.#get().features);
  }

  #setFeatures(bits: number): void {
    this.#in("set features", () => {
      const wanted = (this.#get().features | bits) >>> 0;
      const { features } = setDatapath(this.#kernel, this.#ifindex, { features: wanted });
      if ((features & bits) >>> 0 !== bits >>> 0) {
        throw new NetlinkError({ code: "EOPNOTSUPP" });
      }
    });
  }

  #toPriority(queue: number): number {
    // A handle of tc: major number 1, minor numbers from 1; what is above is reserved.
    if (Number.isInteger(queue) && queue >= 0 && queue < 0xf000) {
      return 0x10000 | (queue + 1);
    }
    return this.#in("find priority of queue", () => {
      throw new NetlinkError({ code: "EINVAL", detail: `no queue ${queue}` });
    });
  }

  #caches(): CacheFacet {
    const check = (level: number) => {
      if (level === 0) return;
      throw new NetlinkError({ code: "EINVAL", detail: `no cache level ${level}` });
    };
    return {
      names: () => ["masks-cache"],
      size: (level) =>
        this.#in("read cache size", () => {
          check(level);
          return this.#get().masksCacheSize ?? 0;
        }),
      setSize: (level, entries) =>
        this.#in("set cache size", () => {
          check(level);
          const { features } = this.#get();
          if (entries > 2 ** 31) throw new NetlinkError({ code: "EINVAL" });
          // The kernel takes powers of two only, and 0.
          const masksCacheSize = entries <= 1
            ? entries
            : 2 ** Math.ceil(Math.log2(entries));
          const settings = { features, masksCacheSize };
          const record = setDatapath(this.#kernel, this.#ifindex, settings);
          if (record.masksCacheSize !== masksCacheSize) {
            throw new NetlinkError({ code: "EINVAL" });
          }
        }),
    };
  }

  async close(): Promise<void> {
    await this.#quiet();
    this.#conntrack.close();
    this.#links.close();
    this.#kernel.close();
  }

  async destroy(): Promise<void> {
    if (this.#destroyed) return;
    // First, so that streams of this object end and do not tell that somebody removed the datapath.
    await this.#quiet();
    this.#in("destroy datapath", () => {
      const names = listVports(this.#kernel, this.#ifindex).map(({ name }) => name);
      deleteDatapath(this.#kernel, this.#ifindex);
      this.#destroyed = true;
      for (const name of names) this.#links.deleteOurs(name);
    });
  }

  /** Ends every stream of this object. */
  async #quiet(): Promise<void> {
    await Promise.all([
      this.ports.close(),
      this.upcalls.close(),
      this.#conntrack.quiet(),
    ]);
    this.#samples.close();
  }
}
