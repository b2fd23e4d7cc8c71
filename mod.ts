// SPDX-License-Identifier: Apache-2.0
/**
 * Upcall: datapaths for Deno.
 *
 * A datapath forwards packets by a flow table. What the table does not cover comes up to the
 * program, which decides, executes the packet, and puts a flow for the next one. The datapath is
 * the kernel's (`system@name`), or one in this process over DPDK (`netdev@name`).
 *
 * ```ts
 * import { exact, openDatapath, output } from "./mod.ts";
 *
 * export async function connect(left: string, right: string): Promise<void> {
 *   await using dp = await openDatapath("netdev@wire", { create: true });
 *   const a = await dp.ports.add({ name: left });
 *   const b = await dp.ports.add({ name: right });
 *   for await (const { kind, key, packet } of dp.upcalls()) {
 *     if (kind !== "miss") continue;
 *     const actions = [output(key.inPort === a.no ? b.no : a.no)];
 *     // The flow for those that follow; and the packet itself, on its way.
 *     dp.operate([
 *       { op: "put", key, mask: exact("inPort", "ethernet"), actions, packet },
 *     ]);
 *   }
 * }
 * ```
 *
 * **Settings** are given to {@linkcode openDatapath} in `config`; unknown ones are refused.
 *
 * - `netdev`: `pollThreads` (hexadecimal mask of cores, by default the last free core),
 *   `maxSleepUs` (longest nap of an idle poll thread, microseconds), `local` (kind of port 0:
 *   `dummy`, `tap`, `null`, `none`), `eal` (arguments of DPDK), `library` (a compiled library);
 * - `system`: `dispatch` (`per-cpu` or `per-vport`).
 *
 * **Ports** are added by {@linkcode Ports.add} with a `type` and `options`. `netdev` has the types
 * `system` (a Linux device, the default), `tap`, `afxdp`, `dpdk`, `vhost-user`,
 * `vhost-user-client`, `memif`, `pcap`, `patch`, `ring`, `dummy`, `null` and tunnels; `system` has
 * Linux devices, `internal` and tunnels. `docs/ports.md` has every type and option. Into a port of
 * type `dummy` a program puts frames by {@linkcode Ports.inject}, and takes out what was sent by
 * {@linkcode Ports.collect}: tests need no devices (entry `./testing`).
 *
 * **Errors** are {@linkcode DatapathError}s with the operation, the object, an errno by name
 * (`code`) and a reason (`detail`). `ENODEV`: there is no such datapath, port or device; `EEXIST`:
 * there is one already; `ENOENT`: no such flow, or no module, library or compiler; `EBUSY`: a
 * number is in use; `EINVAL`: an option, key or action is wrong; `EAFNOSUPPORT`: no such type;
 * `EOPNOTSUPP`: this provider cannot; `EPERM`: not allowed; `EBADF`: closed. Wrong arguments are
 * `TypeError` or `RangeError`, wrong text is `SyntaxError` with its `offset`. In
 * {@linkcode Datapath.operate} each operation has its own result, and none throws.
 *
 * **dpctl** can ask a program that calls `serve(dp)` of the entry `./serve`.
 *
 * Other entries have what fewer programs need: `./types` all shapes of keys and actions, `./odp`
 * bytes and text, `./contract` what a provider must do, `./netlink` conversations with the kernel,
 * `./frames` packets built and parsed, `./pcapng` captures, `./testing` tests without root.
 *
 * Importing this module opens no library and needs no permission.
 *
 * @module
 */

export {
  datapathTypes,
  enumerateDatapaths,
  openDatapath,
  parseDatapathName,
  registerProvider,
  unregisterProvider,
} from "./providers/registry.ts";
export { Datapath, type UpcallOptions } from "./providers/datapath.ts";
export type { Flows } from "./providers/datapath_flows.ts";
export type { Ports } from "./providers/datapath_ports.ts";
export { Flow } from "./providers/flow.ts";
export { Upcall } from "./providers/upcall.ts";
export type { PortChanges } from "./providers/contract/port_changes.ts";
export type {
  Watch,
  WatchOptions,
  WatchStream,
} from "./providers/contract/watch_stream.ts";
export type {
  UpcallBatchStream,
  UpcallStream,
  UpcallStreamOptions,
} from "./providers/contract/upcall_stream.ts";
export type {
  Execute,
  FlowPut,
  FlowReference,
  Op,
  Result,
  Verdict,
} from "./providers/operations.ts";
export { DatapathError } from "./providers/errors.ts";
export type { ErrnoName } from "./providers/errno.ts";
export type {
  CtZone,
  Ipv4Address,
  Ipv6Address,
  MacAddress,
  MeterId,
  PmdId,
  PortNo,
  RecircId,
  Ufid,
} from "./providers/ids.ts";
export {
  ctZone,
  LOCAL_PORT,
  macAddress,
  meterId,
  portNo,
  recircId,
  ufid,
} from "./providers/ids.ts";
export type {
  Action,
  ActionsInput,
  FlowKey,
  FlowKeyInit,
  FlowMask,
  KeyInput,
  MaskInput,
} from "./providers/types.ts";
export * from "./providers/odp/constructors.ts";
export {
  any,
  exact,
  extractKey,
  formatActions,
  formatKey,
  parseActions,
  parseKey,
} from "./providers/odp/mod.ts";
export type {
  BondFacet,
  CacheFacet,
  Connection,
  ConnFilter,
  ConntrackEvent,
  ConntrackFacet,
  ConnTuple,
  DatapathStats,
  DirectUpcall,
  DirectVerdict,
  FeatureFacet,
  FlowDumpOptions,
  FlowStats,
  FragmentCounters,
  FragmentFacet,
  MeterBand,
  MeterConfig,
  MeterFacet,
  MeterFeatures,
  MeterStats,
  OffloadFacet,
  OpenOptions,
  PollThread,
  PollThreadFacet,
  PollThreadOptions,
  Port,
  PortChange,
  PortRequest,
  PortStats,
  Provider,
  QueueFacet,
  RawFlow,
  RawUpcall,
  TimeoutPolicy,
  UpcallCallbackFacet,
  UpcallControlFacet,
  ZoneLimit,
  ZoneLimitState,
} from "./providers/contract/mod.ts";
