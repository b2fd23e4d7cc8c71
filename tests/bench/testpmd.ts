// SPDX-License-Identifier: Apache-2.0
/**
 * DPDK's testpmd in `mac` mode: receive, write both MAC addresses, transmit. No lookup, so it is
 * the limit for a program that looks packets up.
 *
 * @module
 */
import { Child } from "./child.ts";
import { CONTROL_CORE, ealOptions, POLL_CORE } from "./machine.ts";
import type { Program, Setting } from "./program.ts";

/** Starts testpmd. */
export function startTestpmd(setting: Setting): Promise<Program> {
  const child = new Child("dpdk-testpmd", [
    "-l",
    `${CONTROL_CORE},${POLL_CORE}`,
    `--main-lcore=${CONTROL_CORE}`,
    ...ealOptions(setting.hugepages),
    "--vdev",
    setting.receiver,
    "--vdev",
    setting.senders[0] ?? "", // It forwards in pairs of ports.
    "--",
    "--forward-mode=mac",
    "--nb-cores=1",
    "--no-flush-rx", // which would throw away what comes in the first second
    // The pcap source keeps an mbuf for each packet of its file.
    `--total-num-mbufs=${setting.receiver.startsWith("net_pcap") ? 262144 : 16384}`,
  ], { env: { LD_PRELOAD: setting.netGen }, log: `${setting.folder}/testpmd.log` });
  return Promise.resolve({
    child,
    settle: () => Promise.resolve(0),
    [Symbol.asyncDispose]: () => child[Symbol.asyncDispose](),
  });
}
