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
    details: [
      ["--output FILE", "where to put it; what is there is replaced"],
      ["--portable", "for every x86-64-v2 processor with AES, or every ARM64 one"],
    ],
  },
  {
    name: "doctor",
    usage: "[--sysroot DIR] [--verbose]",
    summary: "say what stands between this machine and a running datapath",
    details: [
      ["--sysroot DIR", "look at the files of another machine, below DIR"],
      ["--verbose", "say what is well, too"],
    ],
  },
  {
    name: "top",
    usage: "[DP] [--interval SECONDS] [--count N]",
    summary: "watch ports, rates, misses and flows",
    details: [
      ["--interval SECONDS", "look so often; 1 if absent"],
      ["--count N", "end after N looks"],
      [
        "keys",
        "p pauses, h explains, q ends; elsewhere than on a terminal: a line a look",
      ],
    ],
  },
  {
    name: "trace",
    usage: "[DP] PACKET|FLOW",
    summary: "say step by step what would become of a packet",
    details: [
      ["PACKET", "a frame, in hexadecimal digits"],
      ["FLOW", "a key as dump-flows prints it, of which a packet is made"],
      ["e.g.", "dpctl trace 'in_port(1),eth(),eth_type(0x0800),ipv4(dst=10.0.0.2)'"],
    ],
  },
  {
    name: "explain",
    usage: "[DP] PACKET|FLOW",
    summary: "say why the policy of a served datapath decides so",
    details: [
      ["PACKET", "a frame, in hexadecimal digits"],
      ["FLOW", "a key as dump-flows prints it"],
    ],
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
    details: [
      ["FILE", "what is to be written; - for a pipe: | tcpdump -nr -"],
      ["port=PORT", "only what came in by a port, by number or name"],
      ["flow=FLOW", "only what a flow covers: a key as dump-flows prints it"],
      [
        "reason=REASON",
        "only what no flow was for (miss), or was dropped (drop, drop_NAME)",
      ],
      ["count=N", "end after N packets; 1000 if absent, a pipe goes on"],
      ["seconds=N", "end after N seconds; 10 if absent, an hour of a pipe"],
    ],
  },
  {
    name: "monitor-conntrack",
    usage: "[-m] [-s] [DP] [zone=N] [kind=new,update,destroy] [count=N]",
    summary: "print what becomes of connections as it happens",
    details: [
      ["zone=N", "only connections of a zone"],
      ["kind=KINDS", "only some of new, update, destroy, with commas"],
      ["count=N", "end after N lines"],
    ],
  },
  { name: "metrics", usage: "[DP]", summary: "print counters as OpenMetrics text" },
  {
    name: "completions",
    usage: "bash|zsh|fish",
    summary: "print completions for a shell",
  },
] as const satisfies readonly NamedVerb[];
