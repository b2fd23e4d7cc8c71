/* SPDX-License-Identifier: Apache-2.0
 * One meter and four threads: what they let pass together in a second of a made-up clock is the rate and the burst, to the packet, while
 * other meters are replaced and deleted under them, and while some threads' clocks are late.  The clock waits for all of them, so that a busy
 * machine makes no difference: what is lost is lost by the meter.
 * link: meter/meter.c meter/meter_run.c base/rcu.c base/slab.c base/mem.c
 * sanitize: address thread */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "meter_fixture.h"

#define WORKERS 4u
#define SHARED 1u            /* The meter that all use; the one after it comes and goes. */
#define RATE 40000u          /* 40 packets, or kilobits, a millisecond. */
#define BURST 400u
#define MS 1000u
#define SIZE 125u            /* Bytes: a kilobit. */

static struct world world;
static _Atomic uint64_t clock_ms;
static _Atomic uint64_t passed, offered;
static uint64_t latest;      /* The clock of thread i is up to i times this late, in turn; of the first never. */
static _Atomic uint64_t rounds[WORKERS];

static void *work(void *arg)
{
    const uint32_t self = (uint32_t)(uintptr_t)arg;
    struct rte_rcu_qsbr *qsbr = rcu_qsbr(world.rcu);
    uint64_t now = 0, late, through = 0, all = 0;
    struct burst burst;

    burst_make(&burst, SIZE);
    rcu_online(qsbr, self + 1);
    for (uint32_t more = 2; now < MS || more--;) { /* At the end the last millisecond's are still to be had. */
        now = atomic_load(&clock_ms);
        late = RTE_MIN(now, self * latest * (all / METER_BURST % 3) / 2);
        through += METER_BURST - (uint32_t)__builtin_popcount(meter_run(world.meters, SHARED, burst.packets, METER_BURST, now - late));
        all += METER_BURST;
        meter_run(world.meters, SHARED + 1, burst.packets, METER_BURST, now - late);
        rcu_quiescent(qsbr, self + 1);
        if (atomic_fetch_add(&rounds[self], 1) % 2)
            sched_yield(); /* Cores are few. */
    }
    rcu_offline(qsbr, self + 1);
    atomic_fetch_add(&passed, through);
    atomic_fetch_add(&offered, all);
    return NULL;
}

/* Waits until every thread has had a few bursts in this millisecond, so that they want more than the rate, also the first one alone. */
static void let_them(void)
{
    for (uint32_t i = 0; i < WORKERS; i++) {
        uint64_t seen = atomic_load(&rounds[i]);

        while (atomic_load(&rounds[i]) < seen + 3)
            sched_yield();
    }
}

static void test_unit(enum meter_unit unit, uint64_t late)
{
    struct meter_config config = one_band(unit, RATE, BURST), other = one_band(METER_PKTPS, 5, 0);
    pthread_t threads[WORKERS];
    struct meter_stats stats;

    latest = late;
    atomic_store(&clock_ms, 0);
    atomic_store(&passed, 0);
    atomic_store(&offered, 0);
    CHECK(!meter_set(world.meters, SHARED, &config, 0));
    for (uint32_t i = 0; i < WORKERS; i++) {
        atomic_store(&rounds[i], 0);
        pthread_create(&threads[i], NULL, work, (void *)(uintptr_t)i);
    }
    for (uint64_t now = 1; now < MS; now++) {
        let_them();
        atomic_store(&clock_ms, now);
        if (now % 3)
            CHECK(!meter_set(world.meters, SHARED + 1, &other, now));
        else
            meter_delete(world.meters, SHARED + 1);
        rcu_reclaim(world.rcu);
    }
    let_them();
    atomic_store(&clock_ms, MS);
    for (uint32_t i = 0; i < WORKERS; i++)
        pthread_join(threads[i], NULL);
    CHECK(!meter_get(world.meters, SHARED, &config, &stats));
    CHECK(atomic_load(&passed) == RATE + BURST);
    CHECK(stats.all.packets == atomic_load(&offered) && stats.all.bytes == SIZE * stats.all.packets);
    CHECK(stats.bands[0].packets == atomic_load(&offered) - atomic_load(&passed));
    printf("%s, clocks up to %lu ms late: %lu of %u passed, %lu offered\n", unit == METER_KBPS ? "kbps" : "pktps",
           (unsigned long)(late * (WORKERS - 1)), (unsigned long)atomic_load(&passed), RATE + BURST, (unsigned long)atomic_load(&offered));
}

int main(void)
{
    world_begin(&world);
    for (uint32_t i = 0; i < WORKERS; i++)
        if (rcu_register(world.rcu, i + 1))
            abort();
    test_unit(METER_PKTPS, 0);
    test_unit(METER_KBPS, 0);
    test_unit(METER_PKTPS, 4);
    for (uint32_t i = 0; i < WORKERS; i++)
        rcu_unregister(world.rcu, i + 1);
    world_end(&world);
    return failures != 0;
}
