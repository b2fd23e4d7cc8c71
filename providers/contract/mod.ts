// SPDX-License-Identifier: Apache-2.0
/**
 * What a provider of datapaths must do, facet by facet: for programs that bring a provider of their
 * own and register it.
 *
 * @module
 */
export {
  DatapathError,
  type DatapathErrorInit,
  type OperationContext,
} from "../errors.ts";
export type { ErrnoName } from "../errno.ts";
export type * from "./provider.ts";
export type * from "./ports.ts";
export type * from "./flows.ts";
export type * from "./upcalls.ts";
export type * from "./conntrack.ts";
export type { Watch, WatchOptions } from "./watch_stream.ts";
export type * from "./meters.ts";
export type * from "./fragments.ts";
export type * from "./poll_figures.ts";
export type * from "./poll_threads.ts";
export type * from "./devices.ts";
export type * from "./tunnels.ts";
export type * from "./drops.ts";
export type * from "./samples.ts";
