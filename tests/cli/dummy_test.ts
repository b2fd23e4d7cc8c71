// SPDX-License-Identifier: Apache-2.0
/**
 * A served userspace datapath against ovs-vswitchd's: the same session of ovs-appctl, the same
 * answers.
 */
import assert from "node:assert/strict";
import { serve } from "../../control/serve.ts";
import { control, ControlError } from "../../control/socket.ts";
import { adviceLines } from "../../control/verbs/advice.ts";
import { startDummy } from "../odp/ovs_dummy.ts";
import { run, tryRun } from "../support/command.ts";
import { openNetdev, settled } from "../support/netdev.ts";
import { findProgram, skippable, Unsupported } from "../support/skip.ts";
import { until } from "../support/wait.ts";

const flow = (port: number): string =>
  `in_port(${port}),packet_type(ns=0,id=0),eth(src=02:00:00:00:00:01),eth_type(0x0800),` +
  "ipv4(src=10.0.0.0/255.255.255.0,proto=6,frag=no),tcp(dst=81)";
const packet = "in_port(1),eth(src=02:00:00:00:00:01,dst=02:00:00:00:00:02)," +
  "eth_type(0x0800),ipv4(src=10.0.0.7,dst=10.0.0.8,proto=6,tos=0,ttl=64,frag=no)," +
  "tcp(src=80,dst=81),tcp_flags(syn)";

/**
 * A session: commands of ovs-appctl in order. Flows are listed as they are left. Left out are calls
 * that ovs-vswitchd 3.1 refuses as if all were well, or without a word: `dump-flows pmd=x`,
 * `get-flow nonsense`, `add-flows /nosuchfile`.
 */
const session: readonly (readonly string[])[] = [
  ["dpctl/dump-flows"],
  ["dpctl/add-flow", flow(1), "2"],
  ["dpctl/add-flow", flow(1), "2"],
  ["dpctl/dump-flows"],
  ["dpctl/dump-flows", "filter=tcp"],
  ["dpctl/dump-flows", "filter=udp"],
  ["dpctl/dump-flows", "filter=in_port=p1"],
  ["dpctl/dump-flows", "filter=nw_src=10.0.0.3"],
  ["dpctl/dump-flows", "filter=nosuchfield=1"],
  ["dpctl/dump-flows", "type=ovs"],
  ["dpctl/dump-flows", "type=offloaded"],
  ["dpctl/dump-flows", "type=tc,nonsense"],
  ["dpctl/dump-flows", "TYPE@nothere"],
  ["dpctl/dump-flows", "--nonsense"],
  ["dpctl/dump-flows", "-x"],
  ["dpctl/add-flow", flow(2)],
  ["dpctl/add-flow", "nonsense", "1"],
  ["dpctl/add-flow", "in_port(1),nonsense(2)", "1"],
  ["dpctl/add-flow", flow(2), "nonsense"],
  ["dpctl/add-flow", "ufid:1-2", "1"],
  ["netdev-dummy/receive", "p1", packet],
  ["netdev-dummy/receive", "p1", packet, "--len", "200"],
  ["netdev-dummy/receive", "p1", packet, "--len", "20"],
  ["netdev-dummy/receive", "p1", "nonsense(1)"],
  ["netdev-dummy/receive", "p1"],
  ["netdev-dummy/receive", "nothere", packet],
  ["netdev-dummy/receive", "p1", "--qid", "7", packet],
  ["netdev-dummy/conn-state", "p1"],
  ["netdev-dummy/conn-state", "nothere"],
  ["netdev-dummy/conn-state"],
  ["dpctl/dump-flows"],
  ["dpctl/mod-flow", flow(1), "3"],
  ["dpctl/mod-flow", flow(3), "3"],
  ["dpctl/mod-flow", "--may-create", flow(3), "3"],
  ["dpctl/dump-flows"],
  ["dpctl/get-flow", "ufid:11111111-2222-3333-4444-555555555555"],
  ["dpctl/del-flow", flow(3)],
  ["dpctl/del-flow", flow(3)],
  ["dpctl/del-flow", "nonsense"],
  ["dpctl/dump-flows"],
  ["dpctl/del-flows"],
  ["dpctl/dump-flows"],
  ["dpctl/parse-actions", "1,2", "push_vlan(vid=5,pcp=0),3"],
  ["dpctl/parse-actions", "nonsense"],
  ["dpctl/parse-actions"],
  ["dpctl/normalize-actions", "in_port(1),eth(),eth_type(0x0800),ipv4()", "3,2"],
  ["dpctl/normalize-actions", "nonsense", "3,2"],
  ["dpctl/nonsense"],
  ["nonsense"],
  ["dpctl/show", "TYPE@nothere"],
  ["dpctl/del-dp", "TYPE@nothere"],
  ["dpctl/add-if", "TYPE@nothere", "p9"],
  ["dpctl/set-if", "TYPE@nothere", "p9"],
  ["dpctl/del-if", "TYPE@nothere", "p9"],
  ["dpctl/del-dp"],
  ["dpctl/cache-get-size", "TYPE@nothere"],
  ["dpctl/cache-set-size", "TYPE@nothere", "x", "1"],
  ["dpctl/cache-set-size", "TYPE@nothere", "x", "y"],
];

/** Words with the type of datapath that there is. */
function typed(words: readonly string[], type: string): string[] {
  return words.map((word) => word.replace("TYPE@", `${type}@`));
}

/** Answer or complaint, without what differs for good reasons. */
async function answer(
  call: () => Promise<string>,
  name: string,
): Promise<string> {
  const text = await call().catch((error: Error) => {
    if (error instanceof ControlError || /^\S+: /.test(error.message)) {
      return `error: ${error.message.trimEnd()}`;
    }
    throw error;
  });
  return text.replaceAll(adviceLines, "").replaceAll("ovs-vswitchd: ", "upcall: ")
    .replaceAll("dummy@ovs-dummy", "DP").replaceAll(name, "DP")
    .replaceAll(/used:\d+\.\d{3}s/g, "used:T")
    // Their flows are the main thread's here; ours belong to all threads.
    .replaceAll("flow-dump from the main thread:\n", "")
    .replaceAll("dummy@nothere", "netdev@nothere")
    .trimEnd();
}

Deno.test(
  "a session of ovs-appctl gets ovs-vswitchd's answers",
  skippable(async () => {
    await using theirs = await startDummy();
    await using dp = await openNetdev(`cli${crypto.randomUUID().slice(0, 8)}`);
    for (let n = 1; n <= 8; n++) await dp.ports.add({ name: `p${n}`, type: "dummy" });
    const folder = await Deno.makeTempDir();
    try {
      await using served = await serve(dp, { path: `${folder}/dp.ctl` });
      const different: string[] = [];
      let received = 0;
      for (const [method = "", ...params] of session) {
        const want = await answer(async () => {
          try {
            return await theirs.call(method, ...typed(params, "dummy"));
          } catch (error) {
            const { message } = error as Error;
            throw new ControlError(message.slice(method.length + 2));
          }
        }, dp.fullName);
        const have = await answer(
          () => control(served.path, method, typed(params, "netdev")),
          dp.fullName,
        );
        if (method.endsWith("receive") && !have.startsWith("error: ")) {
          await settled(dp, ++received);
        }
        if (want === have) continue;
        different.push(
          `${method} ${params.join(" ")}\n  theirs: ${want}\n  ours:   ${have}`,
        );
      }
      if (different.length > 0) throw new Error(different.join("\n"));
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  }),
);

/** Commands for the real ovs-appctl, and what its answer must have. */
const asked: readonly (readonly [words: string, answer: RegExp, status?: number])[] = [
  ["version", /^upcall \d/],
  ["list-commands", /^The available commands are:\n {2}coverage\/read-counter/],
  ["dpctl/list-commands", /dpctl\/add-dp +dp \[iface\.\.\.\]/],
  ["dpctl/dump-dps", /^netdev@\w+\n$/],
  ["dpctl/show", /port 1: p1 \(dummy\)\n {2}port 2: p2 \(dummy\)/],
  ["dpctl/show -s", /RX packets:0 errors:0 dropped:0 overruns:\? frame:\?/],
  ["dpctl/show --json", /"verb":"show","ok":true/],
  ["dpctl/add-flow in_port(1),eth(),eth_type(0x0806),arp() 2", /^$/],
  ["dpctl/dump-flows", /in_port\(1\).*eth_type\(0x0806\).*packets:0.*actions:2/],
  ["dpctl/dump-flows -m", /^ufid:.*in_port\(p1\).*dp:ovs, actions:p2/],
  ["dpctl/dump-flows --names", /in_port\(p1\)/],
  ["dpctl/dump-flows -m --no-names", /in_port\(1\)/],
  ["dpctl/mod-flow -s in_port(1),eth(),eth_type(0x0806),arp() 1", /packets:0, bytes:0/],
  ["dpctl/add-if netdev@nothere p3", /opening datapath \(No such device\)/, 2],
  ["dpctl/del-flows", /^$/],
  ["dpctl/cache-get-size", /^netdev@\w+:\n$/],
  ["dpctl/offload-stats-show", /retrieving offload statistics \(Operation not/, 2],
  ["dpif-netdev/pmd-stats-show", /^pmd thread numa_id \d+ core_id \d+:\n {2}packets rec/],
  ["dpif-netdev/pmd-stats-show -pmd 4000", /^$/],
  ["dpif-netdev/pmd-stats-show TYPE@nothere", /please specify an existing datapath/, 2],
  ["dpif-netdev/pmd-stats-clear", /^$/],
  ["dpif-netdev/pmd-rxq-show", /Displaying last 60 seconds pmd usage %[^]*port: p1 /],
  ["dpif-netdev/pmd-rxq-show -secs 7", /Displaying last 10 seconds/],
  ["dpif-netdev/pmd-perf-show", /Iterations: +\d+[^]*Rx packets: +0/],
  ["dpif-netdev/pmd-rxq-rebalance", /^pmd rxq rebalance requested\.\n$/],
  ["dpif-netdev/subtable-lookup-info-get", /Available dpcls implementations/],
  ["netdev-dummy/conn-state p1", /^p1: unknown\n$/],
  ["netdev-dummy/receive p1 ffffffffffff0200000000010806", /^$/],
  ["netdev-dummy/collect p1", /^$/],
  ["coverage/show", /events never hit\n$/],
  ["coverage/read-counter datapath_hit", /^\d+\n$/],
  ["coverage/read-counter nonsense", /No such counter/, 2],
  ["vlog/list", /console\n[^]*control +INFO/],
  ["vlog/set control:err", /^$/],
  ["vlog/set nonsense", /no destination, level, or module "nonsense"/, 2],
  ["vlog/list", /control +ERR/],
  ["metrics/show", /upcall_lookups_total\{datapath="netdev@\w+",result="hit"\} \d/],
  ["upcall/status", /"ports":\[/],
  ["upcall/trace in_port(1),eth(),eth_type(0x0806),arp()", /handed up/],
  ["dpctl/show a b --json", /"ok":false|opening datapath a failed/, 2],
  ["nonsense", /"nonsense" is not a valid command \(use "list-commands"/, 2],
];

Deno.test(
  "the real ovs-appctl works on a served datapath, to its exit",
  skippable(async () => {
    if (findProgram("ovs-appctl") === undefined) {
      throw new Unsupported("program ovs-appctl", { requirement: "peer" });
    }
    await using dp = await openNetdev(`cli${crypto.randomUUID().slice(0, 8)}`);
    for (const name of ["p1", "p2"]) await dp.ports.add({ name, type: "dummy" });
    const folder = await Deno.makeTempDir();
    try {
      const path = `${folder}/dp.ctl`;
      let left = false;
      await using served = await serve(dp, { path, onExit: () => left = true });
      for (const [words, wanted, status = 0] of asked) {
        const { code, stdout, stderr } = await tryRun(
          ...["ovs-appctl", "-t", served.path, ...words.split(" ")],
        );
        assert.match(stdout + stderr, wanted, words);
        assert.equal(code, status, words);
      }
      await run("ovs-appctl", "-t", path, "exit");
      await until("the program to be told to leave", () => left);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  }),
);
