// SPDX-License-Identifier: Apache-2.0
/**
 * A switch with something to see: a policy that learns, drops and forwards, on ports of a lab.
 *
 * @module
 */
import { build, ethernet, ipv4, tcp, udp } from "../../frames/mod.ts";
import {
  drop,
  flood,
  forward,
  type Policy,
  type PolicyRun,
  runPolicy,
  StateMap,
} from "../../policy/mod.ts";
import { DatapathError } from "../../providers/errors.ts";
import type { MacAddress, PortNo } from "../../providers/ids.ts";
import { type Lab, openLab } from "../../testing/mod.ts";
import { Unsupported } from "../support/skip.ts";

/** Names of its ports; the last is what a page must not take for HTML. */
export const portNames = ["uplink", "web1", "web2", "<b>&\"x'"] as const;

const mac = (station: number): MacAddress =>
  `02:00:00:00:00:${station.toString(16).padStart(2, "0")}` as MacAddress;

/** A frame of a station to another, by TCP, or UDP to port 53. */
export function frameOf(
  from: number,
  to: number,
  { port = 80, source = 1000 } = {},
): Uint8Array {
  return build([
    ethernet({ src: mac(from), dst: mac(to) }),
    ipv4({ src: `10.0.0.${from}`, dst: `10.0.0.${to}` }),
    port === 53 ? udp({ src: source, dst: port }) : tcp({ src: source, dst: port }),
  ]);
}

/** A lab with a policy on it. */
export interface LearningLab extends AsyncDisposable {
  readonly lab: Lab;
  readonly run: PolicyRun;
}

/** Opens one, or throws `Unsupported` where the library cannot be had. */
export async function openLearningLab(): Promise<LearningLab> {
  let lab: Lab;
  try {
    lab = await openLab({ ports: portNames, open: { onNotice: () => {} } });
  } catch (error) {
    if (!(error instanceof DatapathError) || error.code !== "ENOENT") throw error;
    throw new Unsupported(`datapath library: ${error.message}`, {
      requirement: "netdev",
    });
  }
  const stations = new StateMap<MacAddress, PortNo>({ name: "stations" });
  const policy: Policy = (packet, ports) => {
    if (packet.ethernet) packet.learn(stations, packet.ethernet.src, packet.inPort);
    if (packet.equals("udp.dst", 53)) return drop("no DNS here");
    const port = stations.lookup(packet, "ethernet.dst");
    return port === undefined ? flood(ports, packet.inPort) : forward(port);
  };
  // No flow goes for want of packets while a busy machine gets to the end of a test.
  const run = await runPolicy(lab.dp, policy, { idleMs: 3_600_000 });
  return { lab, run, [Symbol.asyncDispose]: () => lab[Symbol.asyncDispose]() };
}
