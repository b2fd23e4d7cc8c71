// SPDX-License-Identifier: Apache-2.0
/**
 * Stations and a switch that learns where they are, for tests.
 *
 * @module
 */
import {
  drop,
  flood,
  forward,
  type Packet,
  portsOf,
  StateMap,
} from "../../policy/mod.ts";
import type { Datapath } from "../../providers/datapath.ts";
import { ethernet } from "../support/frames.ts";

/** Address of a station. */
export const mac = (n: number): string =>
  `02:00:00:00:00:${n.toString(16).padStart(2, "0")}`;
/** A frame between two stations. */
export const frame = (src: number, dst: number): Uint8Array =>
  ethernet(0x1234, new Uint8Array(50), { src: mac(src), dst: mac(dst) });

/** A switch that learns. */
export function learning(dp: Datapath, idleMs?: number) {
  const ports = portsOf(dp);
  const stations = new StateMap<string, number>({
    name: "stations",
    holdMs: 0,
    ...(idleMs && { idleMs }),
  });
  const policy = (packet: Packet) => {
    if (packet.ethernet === undefined) return drop("no Ethernet header");
    packet.learn(stations, packet.ethernet.src, packet.inPort);
    const to = stations.lookup(packet, "ethernet.dst");
    return to === undefined
      ? flood(ports, packet.inPort)
      : to === packet.inPort
      ? drop("hairpin")
      : forward(to);
  };
  return { policy, stations };
}
