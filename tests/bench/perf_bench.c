/* SPDX-License-Identifier: Apache-2.0
 *
 * Cycles that recording costs an iteration of a poll thread: of full bursts, of small ones, of none. Beside it, what an iteration of 32
 * packets takes at the least: the smallest committed figure of bench:peers is 31 cycles a packet, so that 2 % are 20 cycles.
 * Built and run by cls_bench.ts.
 * link: pmd/perf.c base/histogram.c base/stat.c
 *
 *   perf_bench */
#include <rte_cycles.h>
#include <stdio.h>
#include <stdlib.h>

#include "pmd/perf.h"

#define ROUNDS 41
#define ITERATIONS 20000u

static uint64_t seed = 1;

static uint32_t noise(uint32_t below)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (uint32_t)(seed % below);
}

/* What the loop costs without recording is taken off; the least of all rounds, which nobody interrupted. */
static double cost(uint32_t packets)
{
    static uint32_t cycles[ITERATIONS];
    struct stat_counters *stat = calloc(1, sizeof *stat + 64);
    struct perf *perf = perf_create();
    double least[2] = { 1e9, 1e9 }, took;

    if (!perf || !stat)
        exit(1);
    perf_begin(perf, stat, 1);
    for (uint32_t i = 0; i < ITERATIONS; i++)
        cycles[i] = 80 + packets * 35 + noise(100 + packets * 10);
    for (int round = 0; round < 2 * ROUNDS; round++) {
        const uint64_t before = rte_rdtsc();

        for (uint32_t i = 0; i < ITERATIONS; i++) {
            if (round % 2) {
                if (packets)
                    perf_batch(perf, packets);
                perf_iteration(perf, cycles[i], packets, packets != 0, 0, 0);
            }
            __asm__ volatile("" ::"r"(cycles[i]) : "memory"); /* As a loop that does something in between. */
        }
        took = (double)(rte_rdtsc() - before) / ITERATIONS;
        least[round % 2] = took < least[round % 2] ? took : least[round % 2];
    }
    perf_destroy(perf);
    free(stat);
    return least[1] - least[0];
}

int main(void)
{
    printf("recording, cycles an iteration: 32 packets %.1f [20], 4 packets %.1f, none %.1f\n", cost(32), cost(4), cost(0));
    return 0;
}
