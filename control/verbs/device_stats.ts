// SPDX-License-Identifier: Apache-2.0
/**
 * Counters of the Linux device behind a port of the kernel's datapath, combined with the port's as
 * Open vSwitch does it.
 *
 * @module
 */
import type { Port, PortStats } from "../../providers/contract/ports.ts";
import type { Datapath } from "../../providers/datapath.ts";

/** Counters of Linux devices that a port's own lack; absent: not known. */
export interface DeviceCounters {
  readonly rxOverruns?: bigint;
  readonly rxFrame?: bigint;
  readonly txAborted?: bigint;
  readonly txCarrier?: bigint;
  readonly collisions?: bigint;
}

/**
 * What `show -s` prints for a port of the kernel, in place of the port's own counters. Empty for
 * other providers.
 *
 * Packets and bytes are the device's, for the port's do not see what segmentation offload merges;
 * errors and drops are those of both, although the kernel counts the device's in the port's already
 * (so up to version 3.7).
 */
export function deviceStats(
  dp: Datapath,
  port: Port,
): Partial<PortStats> & DeviceCounters {
  if (dp.type !== "system") return {};
  const none = {
    rxOverruns: 0n,
    rxFrame: 0n,
    txAborted: 0n,
    txCarrier: 0n,
    collisions: 0n,
  };
  if (port.type === "internal") return none;
  const device = (name: string): bigint | undefined => counter(port.name, name);
  if (port.type !== "system" || device("rx_packets") === undefined) return none;
  const own = dp.ports.stats(port.no);
  const count = (name: string): bigint => device(name) ?? 0n;
  return {
    rxPackets: count("rx_packets"),
    txPackets: count("tx_packets"),
    rxBytes: count("rx_bytes"),
    txBytes: count("tx_bytes"),
    rxErrors: own.rxErrors + count("rx_errors"),
    txErrors: own.txErrors + count("tx_errors"),
    rxDropped: own.rxDropped + count("rx_dropped"),
    txDropped: own.txDropped + count("tx_dropped"),
    rxOverruns: count("rx_over_errors"),
    rxFrame: count("rx_frame_errors"),
    txAborted: count("tx_aborted_errors"),
    txCarrier: count("tx_carrier_errors"),
    collisions: count("collisions"),
  };
}

function counter(device: string, name: string): bigint | undefined {
  try {
    return BigInt(
      Deno.readTextFileSync(`/sys/class/net/${device}/statistics/${name}`).trim(),
    );
  } catch {
    return undefined; // The device is in another namespace, or has gone.
  }
}
