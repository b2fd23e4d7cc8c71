// SPDX-License-Identifier: Apache-2.0
/**
 * OVN on two hosts, network namespaces of this machine, with switches of this project in the place
 * of ovs-vswitchd and unmodified programs of OVN:
 *
 *     sudo deno run -A examples/ovn/demo.ts [--keep]
 *
 * Tries what the network is to do, says what it saw, and takes everything away. With --keep it
 * says how to look around, and waits for Ctrl-C before that.
 *
 * @module
 */
import { checks } from "./checks.ts";
import { Network } from "./network.ts";

const USAGE = `usage: sudo deno run -A examples/ovn/demo.ts [--keep]

Two hosts in network namespaces, driven by OVN: a logical router and switches, ACLs, SNAT, a load
balancer, DHCP. With --keep it stays until Ctrl-C.`;

function around({ folder, one }: Network): string {
  return `It stays until Ctrl-C. In another shell, say:

  ovn-nbctl --db=unix:${folder}/nb.sock show
  ovs-vsctl --db=unix:${one.folder}/db.sock show
  ovs-appctl -t ${one.folder}/switch.ctl dpctl/dump-flows
  ip netns exec ${one.namespace} ip address`;
}

/** Makes it, and tries all until a signal ends it; how many tries failed. */
async function demonstrate(isKept: boolean, ended: AbortSignal): Promise<number> {
  const since = performance.now();
  await using network = await Network.make();
  const seconds = ((performance.now() - since) / 1000).toFixed(1);
  console.log(`two hosts, and OVN that drives them: ${seconds} s`);
  let failed = 0;
  for (const { name, run } of checks) {
    if (ended.aborted) return failed;
    try {
      console.log(`${name}: ${await run(network)}`);
    } catch (error) {
      failed++;
      console.log(`${name}: FAILED: ${(error as Error).message}`);
    }
  }
  if (isKept) {
    console.log(around(network));
    if (!ended.aborted) {
      await new Promise((resolve) => ended.addEventListener("abort", resolve));
    }
  }
  return failed;
}

async function main(): Promise<number> {
  if (Deno.args.some((arg) => arg !== "--keep")) {
    console.log(USAGE);
    return Deno.args.some((arg) => arg === "--help" || arg === "-h") ? 0 : 1;
  }
  if (Deno.uid() !== 0) {
    console.error(`network namespaces are for root\n${USAGE}`);
    return 1;
  }
  const ended = new AbortController();
  let signals = 0;
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    // The second is for what does not end at the first; the next run takes away what it leaves.
    Deno.addSignalListener(signal, () => ++signals > 1 ? Deno.exit(1) : ended.abort());
  }
  return await demonstrate(Deno.args.includes("--keep"), ended.signal) === 0 ? 0 : 1;
}

Deno.exit(await main());
