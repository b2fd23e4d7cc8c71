/* SPDX-License-Identifier: Apache-2.0
 *
 * Cycles a packet of a hot meter, and how much four threads let pass together in a second, beside its rate: by the clock of
 * the machine, where what comes while the scheduler has none of them run for longer than the burst lasts is lost to any meter;
 * and by one that goes on with them only, where all that is missing was lost by the meter.  Built and run by cls_bench.ts.
 * link: meter/meter.c meter/meter_run.c base/rcu.c base/slab.c base/mem.c
 *
 *   meter_bench [SECONDS] */
#include <pthread.h>
#include <rte_cycles.h>
#include <rte_mbuf.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/rcu.h"
#include "meter/meter.h"

#define ROUNDS 200000u
#define WORKERS 4u
#define RATE 1000000u
#define BURST 20000u         /* 20 ms: a thread that the scheduler holds back does not lose what came meanwhile. */

struct packets {
    struct rte_mbuf m[METER_BURST];
    struct rte_mbuf *list[METER_BURST];
};

static struct meters *meters;
static _Atomic uint64_t passed;
static uint64_t begin_ms, end_ms;
static bool waits;           /* The clock does, for threads that do not run. */
static _Atomic uint64_t reached_ms;

static uint64_t clock_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void make(struct packets *p)
{
    memset(p, 0, sizeof *p);
    for (int i = 0; i < METER_BURST; i++) {
        p->m[i].pkt_len = 60;
        p->list[i] = &p->m[i];
    }
}

/* The median of 21 rounds. */
static double cycles(const struct meter_config *config)
{
    struct packets p;
    double each[21];
    uint64_t sum = 0;

    make(&p);
    meter_set(meters, 1, config, 0);
    for (int round = 0; round < 21; round++) {
        const uint64_t before = rte_rdtsc();

        for (uint32_t i = 0; i < ROUNDS / 21; i++)
            sum += meter_run(meters, 1, p.list, METER_BURST, i / 50);
        each[round] = (double)(rte_rdtsc() - before) / (ROUNDS / 21) / METER_BURST;
        for (int at = round; at && each[at - 1] > each[at]; at--) {
            const double swap = each[at];

            each[at] = each[at - 1];
            each[at - 1] = swap;
        }
    }
    return sum == UINT64_MAX ? 0 : each[10];
}

/* A clock that never goes on by more than a millisecond between two looks at it. */
static uint64_t now_ms(void)
{
    const uint64_t real = clock_ms();
    uint64_t seen = atomic_load(&reached_ms);
    static __thread uint64_t looked;

    if (!waits)
        return real;
    if (real == looked) /* A millisecond goes on once. */
        return seen;
    looked = real;
    if (atomic_compare_exchange_strong(&reached_ms, &seen, seen + 1))
        seen++;
    return seen;
}

static void *work(void *unused)
{
    struct packets p;
    uint64_t through = 0, now;

    (void)unused;
    make(&p);
    while ((now = now_ms()) < end_ms)
        through += METER_BURST - (uint32_t)__builtin_popcount(meter_run(meters, 1, p.list, METER_BURST, now));
    atomic_fetch_add(&passed, through);
    return NULL;
}

static void accuracy(uint32_t seconds, bool waiting)
{
    struct meter_config config = { .unit = METER_PKTPS, .band_count = 1, .bands = { { RATE, BURST } } };
    const uint64_t due = (uint64_t)RATE * seconds;
    pthread_t threads[WORKERS];

    waits = waiting;
    begin_ms = waits ? 1 : clock_ms();
    atomic_store(&reached_ms, begin_ms);
    atomic_store(&passed, 0);
    end_ms = begin_ms + 1000 * seconds + 1;
    meter_set(meters, 1, &config, begin_ms);
    for (uint32_t i = 0; i < WORKERS; i++)
        pthread_create(&threads[i], NULL, work, NULL);
    for (uint32_t i = 0; i < WORKERS; i++)
        pthread_join(threads[i], NULL);
    printf("%u threads, %u packets a second for %u s by %s: %lu passed, %+.3f %% beside rate and burst\n", WORKERS, RATE, seconds,
           waits ? "a clock that waits for them" : "the machine's clock",
           (unsigned long)passed, 100 * ((double)passed - (double)(due + BURST)) / (double)due);
}

int main(int argc, char **argv)
{
    static const struct meter_config wide = { .unit = METER_PKTPS, .band_count = 1, .bands = { { UINT32_MAX, UINT32_MAX } } },
                                     bits = { .unit = METER_KBPS, .band_count = 1, .bands = { { UINT32_MAX, UINT32_MAX } } },
                                     over = { .unit = METER_PKTPS, .band_count = 1, .bands = { { 1, 1 } } },
                                     two = { .unit = METER_KBPS, .band_count = 2, .bands = { { UINT32_MAX, UINT32_MAX }, { UINT32_MAX, 0 } } };
    struct rcu *rcu = rcu_create();

    meters = meters_create(rcu);
    if (!meters)
        return 1;
    printf("cycles a packet, bursts of %d: packets %.2f, kilobits %.2f, two bands %.2f, all over the rate %.2f\n", METER_BURST,
           cycles(&wide), cycles(&bits), cycles(&two), cycles(&over));
    accuracy(argc > 1 ? (uint32_t)atoi(argv[1]) : 1, false);
    accuracy(argc > 1 ? (uint32_t)atoi(argv[1]) : 1, true);
    meters_destroy(meters);
    rcu_destroy(rcu);
    return 0;
}
