// SPDX-License-Identifier: Apache-2.0
/**
 * The flow table of a datapath in the kernel; single operations are in `operations.ts`.
 *
 * @module
 */
import type { FlowDump, FlowDumpOptions, ProviderFlows } from "../contract/flows.ts";
import { inContext } from "../netlink/errors.ts";
import { SystemFlowDump } from "./flow_dump.ts";
import { Command, Kernel } from "./ovs.ts";

/** The flow table of a datapath in the kernel. */
export class SystemFlows implements ProviderFlows {
  readonly #kernel: Kernel;
  readonly #ifindex: number;
  readonly #datapath: string;

  /** `datapath` is the full name, for errors. */
  constructor(kernel: Kernel, ifindex: number, datapath: string) {
    this.#kernel = kernel;
    this.#ifindex = ifindex;
    this.#datapath = datapath;
  }

  flush(): void {
    inContext({ operation: "flush flows", datapath: this.#datapath }, () => {
      const options = { ifindex: this.#ifindex };
      this.#kernel.request(this.#kernel.flow, Command.delete, options);
    });
  }

  dump({ terse = false }: FlowDumpOptions): FlowDump {
    const context = { operation: "dump flows", datapath: this.#datapath };
    return inContext(
      context,
      () => new SystemFlowDump(this.#kernel, this.#ifindex, this.#datapath, terse),
    );
  }
}
