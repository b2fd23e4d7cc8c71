/* SPDX-License-Identifier: Apache-2.0
 * Datapaths by their ABI, end to end over dummy ports: misses, handlers, verdicts. What goes in
 * comes out or is counted, and nothing stays behind. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>

#include <rte_mbuf.h>

#include "base/stat.h"
#include "dp_fixture.h"
#include "packet/eal.h"
#include "packet/eal_packet.h"

static struct dp_exchange take(uint64_t handler, uint32_t max)
{
    struct dp_exchange exchange;

    OK(dp_upcall_exchange(handler, NULL, 0, 0, NULL, 0, max, &exchange));
    return exchange;
}

/* A poll thread counts a packet as received first, and as missed after it may have been handled. */
static bool at_rest(uint64_t dp)
{
    struct dp_stats s = fixture_stats(dp);

    return s.received == s.hit + s.missed + s.lost;
}

static void balance(uint64_t dp, uint64_t waiting)
{
    struct dp_stats s;

    EVENTUALLY(at_rest(dp));
    s = fixture_stats(dp);
    EQUAL(s.received, s.hit + s.missed + s.lost);
    EQUAL(s.missed, s.upcalls_handled + s.upcalls_purged + waiting);
}

/* Inject, miss, exchange with a verdict, collect. */
static void test_end_to_end(void)
{
    uint64_t dp = fixture_dp("end", 2);
    struct dp_handler_info handler;
    struct dp_exchange exchange;
    const struct dp_upcall *up;
    struct dp_op put = { .type = DP_OP_PUT, .flags = DP_OPF_CREATE | DP_OPF_MASK }, run = { .type = DP_OP_EXECUTE };
    uint8_t ops[4096], results[1024] __attribute__((aligned(8))), actions[16], frame[128], expected[100];
    uint32_t to = 2, size, used;

    OK(dp_upcall_open(dp, 0, &handler));
    EQUAL(dp_upcall_open(dp, 0, &handler), EBUSY);
    EQUAL(dp_upcall_open(dp, 1, &handler), EINVAL);
    fixture_inject(dp, 1, 100, 7);
    EVENTUALLY((exchange = take(handler.handler, 256)).count);
    EQUAL(exchange.count, 1);
    up = (const struct dp_upcall *)(uintptr_t)handler.arena;
    EQUAL(up->size, exchange.used);
    EQUAL(up->kind, 0);
    EQUAL(up->packet_size, 100);
    EQUAL(up->original_size, 100);
    fixture_frame(expected, 100, 7);
    CHECK(!memcmp((const uint8_t *)(up + 1) + ((up->key_size + 7) & ~7u), expected, 100));

    put.key_size = run.key_size = up->key_size;
    put.actions_size = run.actions_size = fixture_attribute(actions, 1, &to, 4);
    run.packet_size = 100;
    size = fixture_append(ops, &put, up + 1, actions, NULL);
    size += fixture_append(ops + size, &run, up + 1, actions, expected);
    OK(dp_upcall_exchange(handler.handler, ops, size, 2, results, sizeof results, 256, &exchange));
    EQUAL(((struct dp_result *)(void *)results)->error, 0);
    OK(dp_dummy_collect(dp, 2, frame, sizeof frame, &used));
    CHECK(used == 100 && !memcmp(frame, expected, 100));
    EQUAL(dp_dummy_collect(dp, 2, frame, sizeof frame, &used), ENOENT);

    fixture_inject(dp, 1, 100, 7);
    EVENTUALLY(!dp_dummy_collect(dp, 2, frame, sizeof frame, &used));
    EQUAL(fixture_stats(dp).hit, 1);
    balance(dp, 0);
    OK(dp_upcall_close(handler.handler));
    EQUAL(dp_upcall_close(handler.handler), EBADF);
    OK(dp_close(dp));
}

/* Every packet is handled, lost, purged or waits; frames larger than a buffer included. */
static void test_accounts(void)
{
    uint64_t dp = fixture_dp("accounts", 2), handled = 0;
    struct dp_handler_info handler;

    for (uint32_t i = 0; i < 100; i++)
        fixture_inject(dp, 1, 60, i);
    EVENTUALLY(fixture_drops(dp, "upcall_no_handler") == 100);
    OK(dp_set_config(dp, "upcall-ring=64"));
    OK(dp_upcall_open(dp, 0, &handler));
    for (uint32_t i = 0; i < 1000; i++)
        fixture_inject(dp, 1, i % 100 ? 60 : 9000, i);
    EVENTUALLY(fixture_stats(dp).received == 1100);
    /* One port gets half of the ring. */
    EVENTUALLY(fixture_drops(dp, "upcall_quota") == 1000 - 32);
    balance(dp, 32);
    for (uint32_t count; (count = take(handler.handler, 10).count); handled += count)
        ;
    EQUAL(handled, 32);
    EVENTUALLY(take(handler.handler, 10).lost == 1000 - 32); /* Counted after the reason is. */
    for (uint32_t i = 0; i < 30; i++)
        /* New ones: the others may still be taken to be pending. */
        fixture_inject(dp, 1, 60, 1000 + i);
    EVENTUALLY(fixture_stats(dp).missed == 62);
    EQUAL(take(handler.handler, 20).count, 20);
    OK(dp_upcall_purge(dp));
    EQUAL(take(handler.handler, 20).count, 0);
    EQUAL(fixture_stats(dp).upcalls_purged, 10);
    balance(dp, 0);
    OK(dp_upcall_enable(dp, 0));
    fixture_inject(dp, 1, 60, 1);
    EVENTUALLY(fixture_drops(dp, "upcall_disabled") == 1);
    OK(dp_upcall_enable(dp, 1));
    for (uint32_t size = 0; size < 14; size++)
        fixture_inject(dp, 1, 14, 0), OK(dp_dummy_inject(dp, 1, (const uint8_t *)"0123456789abcd", size));
    EVENTUALLY(fixture_drops(dp, "rx_runt") == 14);
    OK(dp_close(dp)); /* With upcalls waiting and the handler open. */
    EQUAL(dp_upcall_exchange(handler.handler, NULL, 0, 0, NULL, 0, 1, &(struct dp_exchange){ 0 }), ESHUTDOWN);
    OK(dp_upcall_close(handler.handler));
}

static void test_quota(void)
{
    uint64_t dp = fixture_dp("quota", 2);
    struct dp_handler_info handler;
    uint32_t taken;

    OK(dp_set_config(dp, "upcall-quota=10"));
    OK(dp_upcall_open(dp, 0, &handler));
    for (uint32_t round = 1; round <= 3; round++) {
        for (uint32_t i = 0; i < 25; i++)
            fixture_inject(dp, 1, 60, i);
        fixture_inject(dp, 2, 60, 0);
        /* A packet is received before it is queued or dropped. */
        EVENTUALLY(fixture_stats(dp).received == 26 * round);
        EVENTUALLY(fixture_drops(dp, "upcall_quota") == 15 * round);
        taken = 0;
        EVENTUALLY((taken += take(handler.handler, 256).count) == 11);
    }
    balance(dp, 0);
    OK(dp_upcall_close(handler.handler));
    OK(dp_close(dp));
}

/* All packets of a connection come to one handler, and several share the load. */
static void test_handlers(void)
{
    uint64_t dp = fixture_dp("handlers", 1);
    struct dp_handler_info handlers[4];
    uint64_t sum = 0;

    OK(dp_upcall_set_handlers(dp, 4));
    for (uint32_t id = 0; id < 4; id++)
        OK(dp_upcall_open(dp, id, &handlers[id]));
    for (uint32_t i = 0; i < 400; i++)
        fixture_inject(dp, 1, 60, i);
    EVENTUALLY(fixture_stats(dp).missed == 400); /* Counted once they are queued. */
    for (uint32_t id = 0; id < 4; id++) {
        uint32_t count = take(handlers[id].handler, 256).count;

        CHECK(count > 50);
        sum += count;
    }
    EQUAL(sum, 400);
    OK(dp_upcall_set_handlers(dp, 1)); /* The others are shut down. */
    EQUAL(dp_upcall_arm(handlers[3].handler), ESHUTDOWN);
    fixture_inject(dp, 1, 60, 0);
    EVENTUALLY(take(handlers[0].handler, 256).count == 1);
    balance(dp, 0);
    for (uint32_t id = 0; id < 4; id++)
        OK(dp_upcall_close(handlers[id].handler));
    OK(dp_close(dp));
}

/* --- No buffers -------------------------------------------------------------------------------------------- */

static uint64_t iterations(uint64_t dp)
{
    struct dp_poll_thread_info thread;

    OK(dp_poll_thread_next(dp, 0, &thread));
    return thread.iterations;
}

/* Handlers that take nothing hold no more than half of the buffers, large packets or small: a
 * flow's packets go through, and each upcall that found no buffer is counted. */
static void test_held(void)
{
    uint64_t dp = fixture_dp("held", 4), taken = 0, got = 0;
    struct dp_handler_info handlers[8];
    static uint8_t frame[60000];
    struct dp_stats stats;
    uint32_t used;

    fixture_flow(dp, 3, 2);
    OK(dp_upcall_set_handlers(dp, 8));
    for (uint32_t id = 0; id < 8; id++)
        OK(dp_upcall_open(dp, id, &handlers[id]));
    for (uint32_t i = 0; i < 20000; i++) {
        fixture_frame(frame, i & 2 ? 60000 : 60, i);
        /* The poll thread catches up. */
        while (dp_dummy_inject(dp, i & 1 ? 1 : 4, frame, i & 2 ? 60000 : 60))
            usleep(50);
    }
    EVENTUALLY(fixture_stats(dp).received == 20000 && at_rest(dp));
    stats = fixture_stats(dp);
    CHECK(stats.drops[DROP_upcall_mbufs] && stats.lost >= stats.drops[DROP_upcall_mbufs]);
    CHECK(fixture_mbufs() < eal_pool()->size / 4 * 3);
    for (uint32_t i = 0; i < 1000; i++) {
        fixture_inject(dp, 3, 60, 0);
        EVENTUALLY(!dp_dummy_collect(dp, 2, frame, sizeof frame, &used));
        got++;
    }
    EQUAL(got, 1000);
    for (uint32_t id = 0; id < 8; id++) {
        uint32_t count;

        while ((count = take(handlers[id].handler, 256).count) != 0)
            taken += count;
    }
    EQUAL(taken, fixture_stats(dp).missed);
    balance(dp, 0);
    for (uint32_t id = 0; id < 8; id++)
        OK(dp_upcall_close(handlers[id].handler));
    OK(dp_close(dp));
}

/* Large packets of one port that nobody takes leave buffers for upcalls of another. */
static void test_shared(void)
{
    uint64_t dp = fixture_dp("shared", 2), missed;
    struct dp_handler_info handler;
    static uint8_t frame[60000];

    OK(dp_upcall_open(dp, 0, &handler));
    for (uint32_t i = 0; i < 1000; i++) {
        fixture_frame(frame, sizeof frame, i);
        while (dp_dummy_inject(dp, 1, frame, sizeof frame))
            usleep(50);
    }
    EVENTUALLY(fixture_stats(dp).received == 1000 && at_rest(dp));
    CHECK(fixture_stats(dp).drops[DROP_upcall_mbufs]);
    missed = fixture_stats(dp).missed;
    for (uint32_t i = 0; i < 20; i++)
        fixture_inject(dp, 2, 60, i);
    EVENTUALLY(fixture_stats(dp).received == 1020 && at_rest(dp));
    EQUAL(fixture_stats(dp).missed, missed + 20);
    while (take(handler.handler, 256).count)
        ;
    balance(dp, 0);
    OK(dp_upcall_close(handler.handler));
    OK(dp_close(dp));
}

/* No buffer is left at all: nobody gets stuck, what needs one is told so, and it goes on when there
 * are some again. */
static void test_exhausted(void)
{
    uint64_t dp = fixture_dp("exhausted", 3), before;
    struct dp_op run = { .type = DP_OP_EXECUTE };
    uint8_t ops[1024], key[256], actions[8], frame[64];
    struct rte_mbuf *first = NULL, *m;
    uint32_t to = 2;

    while (eal_packets_take(&m, 1) || (m = rte_pktmbuf_alloc(eal_pool())) != NULL) {
        m->next = first; /* Not a packet: only a list. */
        first = m;
    }
    before = iterations(dp);
    EVENTUALLY(iterations(dp) >= before + 5);
    fixture_frame(frame, 60, 0);
    EQUAL(dp_dummy_inject(dp, 3, frame, 60), ENOBUFS);
    run.key_size = fixture_key(key, 3, 0);
    run.packet_size = 60;
    run.actions_size = fixture_attribute(actions, 1, &to, 4);
    EQUAL(fixture_operate(dp, ops, fixture_append(ops, &run, key, actions, frame)), ENOMEM);
    while ((m = first) != NULL) {
        first = m->next;
        m->next = NULL;
        rte_pktmbuf_free(m);
    }
    OK(dp_dummy_inject(dp, 3, frame, 60));
    EVENTUALLY(at_rest(dp));
    OK(dp_close(dp));
}

/* --- Hostile buffers -------------------------------------------------------------------------------------- */

static void test_hostile(void)
{
    uint64_t dp = fixture_dp("hostile", 1), seed = 88172645463325252ull;
    struct dp_op op = { .size = sizeof op, .type = DP_OP_PUT };
    uint8_t results[64 * sizeof(struct dp_result)] __attribute__((aligned(8)));
    uint32_t used;

    EQUAL(dp_operate(dp, NULL, 0, 1, results, sizeof results, &used), EINVAL);
    EQUAL(dp_operate(dp, (uint8_t *)&op, sizeof op, 2, results, sizeof(struct dp_result), &used), EINVAL);
    for (int round = 0; round < 20000; round++) {
        uint32_t size = (uint32_t)(seed >> 40) % 400;
        uint8_t *ops = malloc(size + 1); /* Its end is guarded by the sanitizer. */

        for (uint32_t i = 0; i < size; i++) {
            seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
            /* Small numbers in the header. */
            ops[i] = (uint8_t)(i % sizeof op < 36 && i % 4 ? 0 : seed);
        }
        if (size >= 4 && seed & 1)
            memcpy(ops, &size, 4);
        dp_operate(dp, ops, size, (uint32_t)(seed % 4), results, sizeof results, &used);
        CHECK(used <= sizeof results);
        free(ops);
    }
    OK(dp_close(dp));
}

int main(void)
{
    void (*const tests[])(void) = {
        test_end_to_end, test_accounts, test_quota, test_handlers, test_held, test_shared, test_exhausted, test_hostile,
    };

    return fixture_run(tests, sizeof tests / sizeof tests[0]);
}
