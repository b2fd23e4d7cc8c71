// SPDX-License-Identifier: Apache-2.0
/**
 * Where each scenario that Open vSwitch tests its poll threads with is tested here, or why there is
 * none.
 *
 * @module
 */

/** A test here, as its file and words that stand in it; or why there is none. */
export type Row = readonly [file: string, words: string] | string;

const rules = "tests/c/rxq_assign_test.c";
const affinity = "tests/netdev/affinity_test.ts";
const figures = "tests/netdev/poll_figures_test.ts";
const range = '"pmd-auto-lb-rebal-interval", "20001"';

/** By file of Open vSwitch, by title. */
export const threadRows: Readonly<Record<string, Readonly<Record<string, Row>>>> = {
  "pmd.at": {
    "PMD - creating a thread/add-port": [
      figures,
      'await both("pmd-rxq-show");',
    ],
    "PMD - multiqueue support": [rules, "static void test_sizes"],
    "PMD - pmd-cpu-mask/distribution of rx queues": [
      rules,
      'IS("0 1", "0 0 0 0", RXQ_CYCLES, true, "0 1 1 0")',
    ],
    "PMD - pmd-cpu-mask - dual NUMA": [rules, "static void test_nodes"],
    "PMD - pmd-cpu-mask - multi NUMA": [rules, "static void test_nodes"],
    "PMD - stats": [figures, 'await both("pmd-stats-show", "-pmd", "0")'],
    "PMD - pmd-rxq-show pmd usage time": [figures, '"pmd-rxq-show", "-secs", "7"'],
    "PMD - reconfigure n_rxq":
      "the number of queues is an option of adding a port: another number is another port",
    "PMD - same flow multiple threads":
      "a flow belongs to all threads at once, so that there is one to list and one to delete",
    "PMD - change numa node":
      "a port's node is its device's, and stays; dummy ports have none to choose",
    "PMD - non pmd device": "every port is polled by poll threads",
    "PMD - add remove ports": ["tests/c/dp_threads_test.c", "dp_port_delete"],
    "PMD - rxq affinity": [affinity, "a pinned queue stays on its core and isolates it"],
    "PMD - rxq affinity - non-isolate": [affinity, '"pmd-rxq-isolate": "false"'],
    "PMD - rxq affinity - NUMA": [rules, "static void test_nodes"],
    "PMD - monitor threads":
      "monitors of connectivity (BFD, CFM) are ofproto's; a datapath has none",
    "PMD - dpctl":
      "a flow belongs to all threads, so pmd= names none of them (docs/from_open_vswitch.md)",
    "PMD - dpif configuration":
      "implementations of the input of packets: the lookup reads headers itself, and dp_isa_set() chooses its build",
    "PMD - dpcls configuration":
      "there is one lookup, which pmd's subtable-lookup-info-get says; its builds are compared by tests/c/cls_validator_test.c",
    "PMD - pmd sleep": [
      "tests/netdev/threads_test.ts",
      "an idle one sleeps, and one that may not does not",
    ],
  },
  "alb.at": {
    "ALB - default state": [figures, "theirs.logged()).includes(balanceLine("],
    "ALB - enable/disable": [figures, "includes(line)"],
    "ALB - min num PMD/RxQ": ["tests/c/balance_test.c", "static void test_few"],
    "ALB - cross-numa": ["tests/c/balance_test.c", "DP_BALANCE_CROSS"],
    "ALB - PMD/RxQ assignment type": ["tests/c/balance_test.c", "DP_BALANCE_ROUNDROBIN"],
    // What is out of range is refused here, where Open vSwitch takes its default.
    "ALB - interval param": [figures, range],
    "ALB - improvement param": [
      figures,
      '"pmd-auto-lb-improvement-threshold", "-1"',
    ],
    "ALB - load param": [figures, '"pmd-auto-lb-load-threshold", "101"'],
  },
};
