/* SPDX-License-Identifier: Apache-2.0
 * sanitize: thread
 *
 * What runs at the same time in a datapath: poll threads, handlers, a program that changes ports,
 * flows, threads and settings, counters being read. */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

#include "dp_fixture.h"

#define ROUNDS 40u
#define ROUNDS_MAX 4000u /* On a machine that has other things to do. */

/* Not races, though they look like it:
 * - the mempool is in DPDK's shared library, which is not instrumented: a mbuf that one thread
 *   frees and another allocates has no history;
 * - rte_ring_count() and rte_ring_empty() read both ends of a ring plainly; their answers are
 *   hints, and are used as such;
 * - what lies in a ring is ordered as upcall_int.h says. */
/* Called by libtsan.so. */
__attribute__((visibility("default"))) const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void)
{
    return "race:eal_packet\nrace:rte_pktmbuf_\nrace:rte_mbuf_\nrace:rte_mempool_\nrace:rte_ring_count\nrace:rte_ring_empty\n"
           "race:__rte_ring_dequeue_elems\n";
}

static _Atomic bool stop;

static void *inject(void *arg)
{
    uint64_t dp = *(uint64_t *)arg;
    uint8_t frame[64];

    for (uint32_t i = 0; !atomic_load(&stop); i++) {
        fixture_frame(frame, 60, i);
        for (uint32_t no = 1; no <= 2; no++)
            if (dp_dummy_inject(dp, no, frame, 60))
                usleep(50);
    }
    return NULL;
}

static void *collect(void *arg)
{
    uint64_t dp = *(uint64_t *)arg;
    uint8_t frame[64];
    uint32_t used;

    while (!atomic_load(&stop))
        for (uint32_t no = 1; no <= 2; no++)
            if (dp_dummy_collect(dp, no, frame, sizeof frame, &used))
                usleep(20);
    return NULL;
}

static void *handle(void *arg)
{
    uint64_t dp = *(uint64_t *)arg;
    struct dp_handler_info handler;
    struct dp_exchange exchange;
    uint64_t sum = 0;

    while (!atomic_load(&stop)) {
        OK(dp_upcall_open(dp, 0, &handler));
        for (int i = 0; i < 200 && !atomic_load(&stop); i++) {
            OK(dp_upcall_exchange(handler.handler, NULL, 0, 0, NULL, 0, 256, &exchange));
            for (uint32_t at = 0; at < exchange.used; at++) /* As a program would read it. */
                sum += ((const uint8_t *)(uintptr_t)handler.arena)[at];
            if (!exchange.count && !dp_upcall_arm(handler.handler))
                fixture_readable(handler.doorbell);
        }
        OK(dp_upcall_close(handler.handler));
    }
    return (void *)(uintptr_t)(sum & 1);
}

static void *read_counters(void *arg)
{
    uint64_t dp = *(uint64_t *)arg;
    struct dp_poll_thread_info thread;
    struct dp_port_stats port;
    struct dp_rxq_info rxq;
    struct dp_stats stats;

    while (!atomic_load(&stop)) {
        OK(dp_stats_get(dp, &stats));
        dp_poll_thread_next(dp, 0, &thread);
        dp_rxq_get(dp, 0, &rxq);
        dp_port_stats_get(dp, 1, &port);
        usleep(100);
    }
    return NULL;
}

/* Everything that may change while traffic runs. */
static void change(uint64_t dp, uint32_t round, uint32_t cores)
{
    OK(dp_poll_threads_set(dp, round % 3 ? cores : 1, 0, round % 4 * 10));
    fixture_flow(dp, 1, 1 + round % 3); /* 3: no such port. */
    OK(fixture_port(dp, 5, "a", "patch", "peer=b", NULL));
    fixture_flow(dp, 1, 5);
    fixture_flow(dp, 6, 2);
    OK(fixture_port(dp, 6, "b", "patch", "peer=a", NULL));
    usleep(2000); /* For some traffic; nothing waits for it. */
    OK(dp_port_delete(dp, round % 2 ? 5 : 6));
    OK(dp_port_delete(dp, round % 2 ? 6 : 5));
    if (round % 5 == 0)
        OK(dp_flow_flush(dp));
    if (round % 7 == 0) {
        OK(dp_upcall_enable(dp, 0));
        OK(dp_upcall_purge(dp));
        OK(dp_upcall_enable(dp, 1));
    }
}

/* Whether enough has happened for the test to mean something. */
static bool eventful(uint64_t dp)
{
    const struct dp_stats stats = fixture_stats(dp);

    return stats.received > 1000 && stats.hit > 0 && stats.missed > 0;
}

int main(void)
{
    void *(*const programs[])(void *) = { inject, collect, handle, read_counters };
    pthread_t threads[sizeof programs / sizeof programs[0]];
    uint32_t cores = sysconf(_SC_NPROCESSORS_ONLN) > 1 ? 3 : 1;
    uint64_t dp, baseline;

    fixture_start();
    baseline = fixture_mbufs();
    dp = fixture_dp("threads", 2);
    for (size_t i = 0; i < sizeof threads / sizeof threads[0]; i++)
        CHECK(!pthread_create(&threads[i], NULL, programs[i], &dp));
    for (uint32_t round = 0; round < ROUNDS || (round < ROUNDS_MAX && !eventful(dp)); round++)
        change(dp, round, cores);
    atomic_store(&stop, true);
    fixture_inject(dp, 2, 60, 0); /* Wakes a handler that waits. */
    for (size_t i = 0; i < sizeof threads / sizeof threads[0]; i++)
        pthread_join(threads[i], NULL);
    OK(dp_poll_threads_set(dp, 1, 0, 10));
    CHECK(eventful(dp));
    OK(dp_close(dp));
    EQUAL(fixture_mbufs(), baseline);
    return 0;
}
