// SPDX-License-Identifier: Apache-2.0
/**
 * Provider `system`: the Linux kernel's openvswitch datapath, over netlink.
 *
 * @module
 */
import type { OpenOptions, Provider, ProviderDatapath } from "../contract/provider.ts";
import { SystemDatapath } from "./datapath.ts";
import {
  type DatapathRecord,
  type Dispatch,
  Feature,
  getDatapath,
  listDatapaths,
  negotiateDatapath,
  setDatapath,
} from "./datapaths.ts";
import { checkDeviceName } from "./vports.ts";
import { inContext } from "../netlink/errors.ts";
import { NetlinkError } from "../netlink/mod.ts";
import { Kernel } from "./ovs.ts";

/** Names and values of {@linkcode OpenOptions.config}. */
function checkConfig(config: NonNullable<OpenOptions["config"]>): Dispatch | undefined {
  let dispatch: Dispatch | undefined;
  for (const [name, value] of Object.entries(config)) {
    if (name !== "dispatch" || (value !== "per-cpu" && value !== "per-vport")) {
      throw new NetlinkError({
        code: "EINVAL",
        detail:
          `no setting ${name}=${value}; there is dispatch=per-cpu and dispatch=per-vport`,
      });
    }
    dispatch = value;
  }
  return dispatch;
}

function createOrGet(
  kernel: Kernel,
  name: string,
  options: OpenOptions,
): DatapathRecord {
  checkDeviceName(name, options.create !== undefined && options.create !== false);
  const dispatch = checkConfig(options.config ?? {});
  if (!options.create) return getDatapath(kernel, name);
  try {
    const record = negotiateDatapath(kernel, name, dispatch);
    shareRecirculation(kernel, record);
    return record;
  } catch (error) {
    if (options.create === "exclusive" || !(error instanceof NetlinkError)) throw error;
    if (error.code !== "EEXIST" && error.code !== "EBUSY") throw error;
    return getDatapath(kernel, name);
  }
}

/** Lets tc hand packets over in the middle of recirculation, where the kernel can. */
function shareRecirculation(kernel: Kernel, record: DatapathRecord): void {
  const features = record.features | Feature.tcRecircSharing;
  try {
    setDatapath(kernel, record.ifindex, { features });
  } catch (error) {
    // Needs CONFIG_NET_TC_SKB_EXT; without it there is no such hand-over.
    if (!(error instanceof NetlinkError) || error.code !== "EOPNOTSUPP") throw error;
  }
}

/**
 * The kernel's datapath.
 *
 * Setting `dispatch` (of `open` with `create`) chooses how upcalls find their handler: `per-cpu`,
 * the default from Linux 5.15 on, or `per-vport`.
 */
export const systemProvider: Provider = {
  type: "system",
  cleanupRequired: false,

  // deno-lint-ignore require-await -- what it throws must reject
  async enumerate(): Promise<string[]> {
    const kernel = new Kernel();
    try {
      return inContext(
        { operation: "list datapaths" },
        () => listDatapaths(kernel).map((record) => record.name),
      );
    } finally {
      kernel.close();
    }
  },

  // deno-lint-ignore require-await -- what it throws must reject
  async open(name: string, options: OpenOptions): Promise<ProviderDatapath> {
    const kernel = new Kernel();
    try {
      const operation = options.create ? "create datapath" : "open datapath";
      return inContext({ operation, datapath: `system@${name}` }, () => {
        return new SystemDatapath(kernel, createOrGet(kernel, name, options));
      });
    } catch (error) {
      kernel.close();
      throw error;
    }
  },
};
