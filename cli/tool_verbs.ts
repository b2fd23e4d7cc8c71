// SPDX-License-Identifier: Apache-2.0
/**
 * The verbs that ovs-dpctl does not have: names and usage. What they do is in files of their names.
 *
 * @module
 */

import type { NamedVerb } from "../control/verbs/verb.ts";

/** Verbs of our own. */
export const toolVerbs = [
  {
    name: "serve",
    usage: "DP [NAME[:TYPE[,OPTION=VALUE...]]...] [--socket FILE] [--flows FILE] " +
      "[--miss drop|flood|learn | --policy FILE] [--poll-threads MASK] [--metrics ADDRESS:PORT] " +
      "[--web ADDRESS:PORT [--web-token FILE]]",
    summary: "run a datapath and answer dpctl and ovs-appctl",
    details: [
      ["DP", "netdev@NAME, or system@NAME where the kernel has the datapath"],
      [
        "NAME[:TYPE[,OPTION=...]]",
        "a port: of which types and options, docs/ports.md says",
      ],
      [
        "--flows FILE",
        "flows to begin with; a line is FLOW ACTIONS",
      ],
      ["--miss POLICY", "what becomes of packets without a flow; drop if absent"],
      ["--policy FILE", "a program that decides instead; taken anew when it changes"],
      ["--poll-threads MASK", "cores of the poll threads, in hexadecimal: 6 is 1 and 2"],
      ["--socket FILE", "where to answer; by the name of the datapath if absent"],
      ["--metrics ADDRESS:PORT", "serve counters for Prometheus there, under /metrics"],
      ["--web ADDRESS:PORT", "serve a page to look at the datapath with"],
      ["--web-token FILE", "what the page asks for; needed beyond 127.0.0.1"],
      ["e.g.", "dpctl serve netdev@br0 eth1 eth2 tap0:tap --miss learn"],
    ],
  },
  {
    name: "build",
    usage: "--output FILE [--portable]",
    summary: "compile the datapath library into a file, for UPCALL_LIBRARY",
  },
  {
    name: "doctor",
    usage: "[--sysroot DIR] [--verbose]",
    summary: "say what stands between this machine and a running datapath",
  },
  {
    name: "top",
    usage: "[DP] [--interval SECONDS] [--count N]",
    summary: "watch ports, rates, misses and flows",
  },
  {
    name: "trace",
    usage: "[DP] PACKET|FLOW",
    summary: "say step by step what would become of a packet",
  },
  {
    name: "explain",
    usage: "[DP] PACKET|FLOW",
    summary: "say why the policy of a served datapath decides so",
  },
  {
    name: "policy",
    usage: "show [DP] | record [DP] | replay RECORD --policy FILE",
    summary: "count, record and replay what a policy decides",
    details: [
      ["show", "print what the policy of a served datapath has done, and its flows"],
      ["record", "print its last 10,000 events, a line of JSON each: > RECORD"],
      [
        "replay RECORD",
        "run them under another policy, and print what it decides otherwise",
      ],
      ["--policy FILE", "that policy; exit status 1 if a packet gets another verdict"],
    ],
  },
  {
    name: "capture",
    usage:
      "[DP] FILE|- [port=PORT] [flow=FLOW] [reason=drop|drop_NAME|miss] [count=N] [seconds=N]",
    summary: "write packets to a pcapng file, or to a pipe",
  },
  {
    name: "monitor-conntrack",
    usage: "[-m] [-s] [DP] [zone=N] [kind=new,update,destroy] [count=N]",
    summary: "print what becomes of connections as it happens",
  },
  { name: "metrics", usage: "[DP]", summary: "print counters as OpenMetrics text" },
  {
    name: "completions",
    usage: "bash|zsh|fish",
    summary: "print completions for a shell",
  },
] as const satisfies readonly NamedVerb[];
