/* SPDX-License-Identifier: Apache-2.0
 *
 * What attacks cost those who have a flow.  In turn, burst by burst, a port receives established traffic and another one the attack; the cycles
 * of either are taken apart.  Built and run by cls_bench.ts.
 *
 *   attack_bench [ROUNDS]
 *
 * Each line: cycles an established packet with its ratio to the quiet case (ordinary packets, one flow, instead of the attack), and cycles an attacking packet; medians
 * of the rounds, in which all cases take turns, so that a noisy neighbour disturbs all alike.  Exit status 1 if established packets became dearer by more than 20 %, or
 * 10 % by a flood of misses; or if colliding flows cost 20 % more than any others. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_cycles.h>
#include <rte_mbuf.h>

#include "attack_table.h"
#include "dp_int.h"
#include "packet/eal_packet.h"
#include "flow/flow.h"
#include "path/burst.h"
#include "path/tx.h"
#include "pmd/pmd_int.h"
#include "port/port.h"
#include "upcall/upcall_int.h"

#define TURNS 24u                    /* Bursts of either kind in a round. */
#define ROUNDS_MAX 400u

#define RANDOM 1
#define COLLISIONS 2

static struct dp *dp;
static struct cls *cls;
static struct worker worker;
static struct stat_counters stat;
static double established[ATTACKS][ROUNDS_MAX], ratio[ATTACKS][ROUNDS_MAX], attacking[ATTACKS][ROUNDS_MAX];

static uint16_t take(struct port *port, uint16_t queue, struct rte_mbuf **packets, uint16_t n)
{
    (void)port;
    (void)queue;
    rte_pktmbuf_free_bulk(packets, n);
    return n;
}

static uint64_t run_burst(uint32_t in_port, const struct attack *attack, uint32_t first)
{
    const struct pkt_md md = { .in_port = in_port };
    struct rte_mbuf *packets[WORKER_BURST];
    uint64_t start;

    for (uint32_t i = 0; i < WORKER_BURST; i++) {
        uint8_t frame[ATTACK_FRAME];
        uint32_t size = attack_packet(attack, first + i, frame);

        packets[i] = eal_packet(frame, size);
    }
    start = rte_rdtsc();
    burst_receive(&worker, packets, WORKER_BURST, &md);
    tx_flush(&worker);
    return rte_rdtsc() - start;
}

static void play(uint32_t round)
{
    for (uint32_t a = 0; a < ATTACKS; a++) {
        static uint32_t at;
        uint64_t good = 0, bad = 0;

        for (uint32_t turn = 0; turn < TURNS; turn++, at += WORKER_BURST) {
            bad += run_burst(2 + a, &attacks[a], at);
            good += run_burst(1, NULL, at);
        }
        established[a][round] = (double)good / (TURNS * WORKER_BURST);
        attacking[a][round] = (double)bad / (TURNS * WORKER_BURST);
        ratio[a][round] = established[a][round] / established[0][round];
    }
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double median(double *values, uint32_t n)
{
    qsort(values, n, sizeof values[0], by_value);
    return values[n / 2];
}

static int report(uint32_t rounds)
{
    double cost[ATTACKS];
    int failed = 0;

    for (uint32_t a = 0; a < ATTACKS; a++) {
        double r = median(ratio[a], rounds);

        cost[a] = median(attacking[a], rounds);
        printf("%-18s established %6.1f cycles, %5.3f of quiet (%5.3f to %5.3f); attacking %6.1f cycles\n", attacks[a].name,
               median(established[a], rounds), r, ratio[a][rounds / 4], ratio[a][rounds * 3 / 4], cost[a]);
        if (a && r > 1 + attacks[a].percent / 100.0) {
            printf("%s: established packets cost more than %u %% more\n", attacks[a].name, attacks[a].percent);
            failed = 1;
        }
    }
    if (cost[COLLISIONS] > 1.2 * cost[RANDOM]) {
        printf("colliding flows cost more than any others\n");
        failed = 1;
    }
    return failed;
}

int main(int argc, char **argv)
{
    static const struct port_class class = { .type = "sink", .tx_burst = take };
    static struct port_txq txq;
    static struct port port = { .class = &class, .txqs = &txq, .txq_count = 1, .mtu = 1500, .no = ATTACK_OUT };
    static struct worker_tx tx = { .port = &port, .no = ATTACK_OUT };
    uint32_t rounds = argc > 1 ? (uint32_t)atoi(argv[1]) : 200;
    struct dp_handler_info info;
    uint64_t handle;

    if (dp_eal_start()) {
        printf("EAL\n");
        return 77;
    }
    if (rounds < 1 || rounds > ROUNDS_MAX || dp_open("attack", DP_CREATE, &handle) || !(dp = dp_of(handle)) ||
        dp_upcall_open(handle, 0, &info) || worker_init(&worker, &stat, 100, 0))
        return 2;
    worker.upcalls = dp->upcalls;
    cls = flow_table_cls(dp->flows);
    worker.replica = cls_replica_add(cls, 100);
    atomic_store(&worker.tx[ATTACK_OUT], &tx);
    attack_put_flows(cls);
    for (uint32_t round = 0; round < 20; round++) /* Warm, and nobody takes upcalls: the ring is as full as it gets. */
        play(0);
    for (uint32_t round = 0; round < rounds; round++)
        play(round);
    if (stat.drops[DROP_upcall_quota] + stat.drops[DROP_upcall_duplicate] == 0 || stat.tx_packets == 0) {
        printf("no upcall was refused, or nothing forwarded\n");
        return 2;
    }
    return report(rounds);
}
