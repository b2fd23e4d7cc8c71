/* SPDX-License-Identifier: Apache-2.0
 * Connection tracking by many threads at once: connections come, are answered, closed, flushed and swept while settings change and somebody
 * dumps.  In the end nothing is left and every record can be had again.
 * link: base/mem.c ct/ct*.c base/hash.c packet/csum.c packet/extract.c
 * sanitize: address thread */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "ct_fixture.h"

#define WORKERS 3u
#define ROUNDS 4000u

static struct world world;
static _Atomic uint32_t running;
static _Atomic uint64_t clock_ms = 1000000;
static _Atomic uint64_t known;       /* Packets of connections that the fast way has found. */

/* The way of poll threads, whose results are written into every other packet. */
static void track(uint32_t self, struct rte_mbuf **burst)
{
    static const struct ct_request simple = { .flags = CT_COMMIT };
    static const struct pkt_md none;
    struct ct_result results[CT_BURST];

    if (!ct_track(world.ct, self, &simple, burst, CT_BURST, atomic_load(&clock_ms), &none, results)) {
        fprintf(stderr, "plain packets were not taken\n");
        abort();
    }
    for (uint32_t i = 0; i < CT_BURST; i++) {
        if (i % 2 && !results[i].written)
            ct_write(world.ct, &simple, burst[i], &none, &results[i]);
        atomic_fetch_add(&known, results[i].conn != UINT32_MAX && !results[i].written);
    }
}

/* Bursts of a few tuples that all workers share, so that they meet on the same connections. */
static void *work(void *arg)
{
    const uint32_t self = (uint32_t)(uintptr_t)arg;
    struct packet *packets = aligned_alloc(64, CT_BURST * sizeof *packets); /* As mbufs are. */
    struct ct_request request = { .flags = CT_COMMIT | CT_MARK | CT_LABEL, .mark = self, .mark_mask = 3, .label = { 1 }, .label_mask = { 1 } };
    struct ct_request nat = { .flags = CT_COMMIT | CT_NAT | CT_NAT_SRC, .zone = 1, .family = 4, .min_addr = { 9, 9, 9, 9 },
                              .max_addr = { 9, 9, 9, 12 } };
    struct rte_mbuf *burst[CT_BURST];
    uint32_t state = self * 77 + 1;
    char text[64];

    CHECK(packets);
    memset(packets, 0, CT_BURST * sizeof *packets);
    rte_rcu_qsbr_thread_online(world.qsbr, self);
    for (uint32_t round = 0; round < ROUNDS; round++) {
        for (uint32_t i = 0; i < CT_BURST; i++) {
            uint32_t host, port;

            state = state * 1664525 + 1013904223;
            host = state >> 24 & 7;
            port = 1000 + (state >> 12 & 63);
            if (state & 0x100)
                snprintf(text, sizeof text, "10.1.1.%u:%u>10.1.1.200:80", host, port);
            else
                snprintf(text, sizeof text, "10.1.1.200:80>10.1.1.%u:%u", host, port);
            if (state & 0x200)
                udp_packet(&packets[i], text, 8);
            else
                tcp_packet(&packets[i], text, (const uint8_t[]){ SYN, ACK, RST | ACK, FIN | ACK }[state >> 10 & 3], state, state, 0, 8192, "", 0);
            burst[i] = &packets[i].m;
        }
        if (round % 4 == 3)
            track(self, burst);
        else
            ct_run(world.ct, self, round & 1 ? &request : &nat, burst, CT_BURST, atomic_load(&clock_ms));
        rte_rcu_qsbr_quiescent(world.qsbr, self);
    }
    rte_rcu_qsbr_thread_offline(world.qsbr, self);
    free(packets);
    atomic_fetch_sub(&running, 1);
    return NULL;
}

/* Time flies, so that connections expire under their packets. */
static void *serve(void *arg)
{
    (void)arg;
    while (atomic_load(&running)) {
        atomic_fetch_add(&clock_ms, 97);
        ct_service(world.ct, atomic_load(&clock_ms));
        sched_yield();
    }
    return NULL;
}

static void settle(void)
{
    for (int i = 0; i < 100; i++) {
        atomic_fetch_add(&clock_ms, 1);
        ct_service(world.ct, atomic_load(&clock_ms));
    }
}

int main(void)
{
    static const struct ct_filter all = { .zone = -1 }, labelled = { .zone = 0, .label = { 1 }, .label_mask = { 1 } };
    static const uint32_t seconds[CT_TIMEOUTS] = { 1, 1, 1, 1 };
    struct ct_info *info = calloc(64, sizeof *info);
    pthread_t threads[WORKERS + 1];
    uint32_t at = 0, seen = 0;

    world_open(&world);
    ct_set_sweep_ms(world.ct, 500);
    for (uint32_t i = 1; i <= WORKERS; i++)
        rte_rcu_qsbr_thread_register(world.qsbr, i);
    atomic_store(&running, WORKERS);
    for (uint32_t i = 1; i <= WORKERS; i++)
        CHECK(!pthread_create(&threads[i - 1], NULL, work, (void *)(uintptr_t)i));
    CHECK(!pthread_create(&threads[WORKERS], NULL, serve, NULL));
    for (uint32_t i = 0; atomic_load(&running); i++) {
        seen += ct_dump(world.ct, &at, i & 1 ? &all : &labelled, atomic_load(&clock_ms), info, 64);
        if (at == CT_DUMP_END)
            at = 0;
        if (i % 64 == 0)
            ct_flush(world.ct, i % 128 ? &all : &labelled, atomic_load(&clock_ms));
        ct_policy_set(world.ct, 1 + i % 3, seconds);
        ct_limit_set(world.ct, i % 2, 300);
        if (i % 5 == 0) {
            ct_policy_delete(world.ct, 1 + i % 3);
            ct_limit_delete(world.ct, i % 2);
        }
        ct_set_tcp_seq_check(world.ct, i & 1);
        sched_yield();
    }
    for (uint32_t i = 0; i <= WORKERS; i++)
        pthread_join(threads[i], NULL);
    CHECK(seen > 0 && atomic_load(&known) > 0 && ct_counter(world.ct, CT_COUNT_created) > 1000);
    settle();
    ct_flush(world.ct, &all, atomic_load(&clock_ms));
    CHECK(ct_count(world.ct) == 0);
    for (uint32_t zone = 0; zone < 2; zone++) {
        uint32_t limit, admitted;

        ct_limit_get(world.ct, zone, &limit, &admitted);
        CHECK(admitted == 0); /* Whatever was set while connections ended. */
    }
    settle();
    at = 0;
    CHECK(ct_dump(world.ct, &at, &all, atomic_load(&clock_ms), info, 64) == 0);
    world_close(&world);
    free(info);
    return failures != 0;
}
