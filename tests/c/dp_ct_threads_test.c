/* SPDX-License-Identifier: Apache-2.0
 * link: everything
 * sanitize: address thread
 *
 * Connections that come and go by thousands while flows, ports and poll threads change, and programs dump, flush, watch, limit and
 * count them.  In the end there is none, and every mbuf is back. */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

#include "dp_fixture.h"

#define CONNECTIONS 8000u            /* Stored at least, and as many ended. */
#define ROUNDS 20u
#define ROUNDS_MAX 4000u             /* On a machine that has other things to do. */
#define FRAME 60u
#define ENTRIES 64u

/* As in dp_threads_test.c: DPDK's library is not instrumented, and hands packets from thread to thread.
 * rte_rcu_qsbr_check() of its headers also reads the acknowledged token without an atomic load, while another
 * thread that waits for a grace period writes it.  The token is one word and only grows. */
__attribute__((visibility("default"))) const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void)
{
    return "race:eal_packet\nrace:rte_pktmbuf_\nrace:rte_mbuf_\nrace:rte_mempool_\nrace:rte_ring_count\nrace:rte_ring_empty\n"
           "race:__rte_ring_dequeue_elems\nrace:rte_rcu_qsbr_check\n";
}

static _Atomic bool stop;
static _Atomic uint64_t seen, told;

/* UDP without a checksum, of one of 2^24 connections; port 2 has the answers. */
static void udp_frame(uint8_t *frame, uint32_t tag, bool answer)
{
    const uint8_t client[4] = { 10, (uint8_t)(tag >> 16), (uint8_t)(tag >> 8), (uint8_t)tag }, server[4] = { 192, 0, 2, 1 };
    uint32_t sum = 0;

    memset(frame, 0, FRAME);
    memcpy(frame, "\x02\x00\x00\x00\x00\x01\x02\x00\x00\x00\x00\x02\x08\x00\x45\x00\x00\x2e", 18);
    frame[22] = 64;
    frame[23] = 17;
    memcpy(frame + 26, answer ? server : client, 4);
    memcpy(frame + 30, answer ? client : server, 4);
    memcpy(frame + 34, answer ? "\x00\x35\x03\xe8" : "\x03\xe8\x00\x35", 4);
    frame[39] = 26;
    for (uint32_t i = 14; i < 34; i += 2)
        sum += (uint32_t)(frame[i] << 8 | frame[i + 1]);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = ~((sum & 0xffff) + (sum >> 16));
    frame[24] = (uint8_t)(sum >> 8);
    frame[25] = (uint8_t)sum;
}

static void *inject(void *arg)
{
    const uint64_t dp = *(uint64_t *)arg;
    uint8_t frame[FRAME];

    for (uint32_t i = 0; !atomic_load(&stop); i++) {
        udp_frame(frame, i, false);
        if (dp_dummy_inject(dp, 1, frame, FRAME))
            usleep(50);
        udp_frame(frame, i > 64 ? i - 64 : i, true);
        if (dp_dummy_inject(dp, 2, frame, FRAME))
            usleep(50);
    }
    return NULL;
}

static void *collect(void *arg)
{
    const uint64_t dp = *(uint64_t *)arg;
    uint8_t frame[2048];
    uint32_t used;

    while (!atomic_load(&stop))
        for (uint32_t no = 1; no <= 2; no++)
            if (dp_dummy_collect(dp, no, frame, sizeof frame, &used))
                usleep(20);
    return NULL;
}

/* Dumps, counts, and flushes a zone now and then. */
static void *look_on(void *arg)
{
    const uint64_t dp = *(uint64_t *)arg;
    uint8_t entries[ENTRIES * sizeof(struct dp_ct_entry)] __attribute__((aligned(8)));
    uint32_t at = 0, count, next;
    uint64_t value;

    for (uint32_t i = 1; !atomic_load(&stop); i++) {
        OK(dp_ct_dump(dp, i % 3 ? DP_CT_ALL : 1, at, entries, sizeof entries, &count, &next));
        atomic_fetch_add(&seen, count);
        at = next == UINT32_MAX ? 0 : next;
        OK(dp_ct_get(dp, DP_CT_COUNT, &value));
        if (i % 50 == 0)
            OK(dp_ct_flush(dp, i % 100 ? 1 : DP_CT_ALL));
    }
    return NULL;
}

/* Comes and goes as one that is told what becomes of connections. */
static void *watch(void *arg)
{
    const uint64_t dp = *(uint64_t *)arg;
    uint8_t events[ENTRIES * sizeof(struct dp_ct_event)] __attribute__((aligned(8)));
    struct dp_watch_info info;
    uint32_t count;

    while (!atomic_load(&stop)) {
        OK(dp_ct_watch(dp, DP_CT_ALL, 1u << DP_CT_EVENT_NEW | 1u << DP_CT_EVENT_UPDATE | 1u << DP_CT_EVENT_DESTROY, &info));
        for (int i = 0; i < 200 && !atomic_load(&stop); i++) {
            OK(dp_ct_watch_read(info.watch, events, sizeof events, &count));
            atomic_fetch_add(&told, count);
            if (!count)
                usleep(100);
        }
        OK(dp_ct_watch_close(info.watch));
        usleep(1000); /* Nobody listens: the way without events. */
    }
    return NULL;
}

/* ct(commit,zone=1,timeout=1), with a translation ct(commit,zone=2,nat(src=9.9.9.9)), without ct; and output. */
static uint32_t write_actions(uint8_t *actions, uint32_t kind, uint32_t out_port)
{
    const uint8_t address[4] = { 9, 9, 9, 9 };
    const uint16_t zone = kind == 1 ? 2 : 1;
    uint8_t ct[128], nat[32];
    uint32_t used = 0, nat_used, at = 0;

    if (kind < 2) {
        used = fixture_attribute(ct, 1, NULL, 0);
        used += fixture_attribute(ct + used, 2, &zone, 2);
        if (kind == 0) {
            used += fixture_attribute(ct + used, 9, "1", 2);
        } else {
            nat_used = fixture_attribute(nat, 1, NULL, 0);
            nat_used += fixture_attribute(nat + nat_used, 3, address, 4);
            used += fixture_attribute(ct + used, 6, nat, (uint16_t)nat_used);
        }
        at = fixture_attribute(actions, 12, ct, (uint16_t)used);
    }
    return at + fixture_attribute(actions + at, 1, &out_port, 4);
}

/* All IPv4 of a port. */
static void put_flow(uint64_t dp, uint32_t in_port, uint32_t kind, uint32_t out_port)
{
    struct dp_op op = { .type = DP_OP_PUT, .flags = DP_OPF_CREATE | DP_OPF_MODIFY | DP_OPF_MASK };
    static const uint8_t ipv4[12];
    const uint16_t type = 0x0008;
    uint8_t ops[1024], key[256], actions[256];

    op.key_size = fixture_attribute(key, 3, &in_port, 4);
    op.key_size += fixture_attribute(key + op.key_size, 4, "\x02\x00\x00\x00\x00\x02\x02\x00\x00\x00\x00\x01", 12);
    op.key_size += fixture_attribute(key + op.key_size, 6, &type, 2);
    op.key_size += fixture_attribute(key + op.key_size, 7, ipv4, sizeof ipv4);
    op.actions_size = write_actions(actions, kind, out_port);
    EQUAL(fixture_operate(dp, ops, fixture_append(ops, &op, key, actions, NULL)), 0);
}

/* Everything that may change while connections come and go. */
static void change(uint64_t dp, uint32_t round, uint32_t cores)
{
    struct dp_ct_policy policy = { .id = 1, .seconds = { 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1 } };

    OK(dp_poll_threads_set(dp, round % 3 ? cores : 1, 0, round % 4 * 10));
    OK(fixture_port(dp, 5, "a", "patch", "peer=b", NULL));
    OK(fixture_port(dp, 6, "b", "patch", "peer=a", NULL));
    put_flow(dp, 1, round % 4 == 3, 5); /* Answers go straight. */
    put_flow(dp, 6, round % 4 == 2 ? 2 : 0, 2);
    put_flow(dp, 2, round % 4 == 3, 1);
    OK(dp_ct_policy_set(dp, &policy));
    OK(dp_ct_limit_set(dp, 1, round % 5 ? 5000 : 50));
    OK(dp_ct_set(dp, DP_CT_MAX, round % 2 ? 100000 : 3000));
    OK(dp_ct_set(dp, DP_CT_SWEEP_MS, 100));
    usleep(20000); /* For some traffic; nothing waits for it. */
    OK(dp_port_delete(dp, round % 2 ? 5 : 6));
    OK(dp_port_delete(dp, round % 2 ? 6 : 5));
    if (round % 3 == 0)
        OK(dp_ct_limit_delete(dp, 1));
    if (round % 5 == 0)
        OK(dp_flow_flush(dp));
    if (round % 7 == 0)
        OK(dp_ct_policy_delete(dp, 1));
}

static uint64_t created(uint64_t dp)
{
    uint64_t value;

    OK(dp_ct_get(dp, DP_CT_COUNTER, &value));
    return value;
}

int main(void)
{
    void *(*const programs[])(void *) = { inject, collect, look_on, watch };
    pthread_t threads[sizeof programs / sizeof programs[0]];
    const uint32_t cores = sysconf(_SC_NPROCESSORS_ONLN) > 1 ? 3 : 1;
    struct timespec from, to;
    uint64_t dp, baseline, count;

    fixture_start();
    baseline = fixture_mbufs();
    dp = fixture_dp("churn", 2);
    clock_gettime(CLOCK_MONOTONIC, &from);
    for (size_t i = 0; i < sizeof threads / sizeof threads[0]; i++)
        CHECK(!pthread_create(&threads[i], NULL, programs[i], &dp));
    for (uint32_t round = 0; round < ROUNDS || (round < ROUNDS_MAX && created(dp) < CONNECTIONS); round++)
        change(dp, round, cores);
    clock_gettime(CLOCK_MONOTONIC, &to);
    atomic_store(&stop, true);
    for (size_t i = 0; i < sizeof threads / sizeof threads[0]; i++)
        pthread_join(threads[i], NULL);
    count = created(dp);
    printf("%llu connections in %lld s, %llu seen in dumps, %llu events\n", (unsigned long long)count, (long long)(to.tv_sec - from.tv_sec),
           (unsigned long long)atomic_load(&seen), (unsigned long long)atomic_load(&told));
    CHECK(count >= CONNECTIONS && atomic_load(&seen) > 0 && atomic_load(&told) > 0);
    OK(dp_poll_threads_set(dp, 1, 0, 10));
    OK(dp_flow_flush(dp)); /* What is under way begins none any more. */
    EVENTUALLY(!dp_ct_flush(dp, DP_CT_ALL) && !dp_ct_get(dp, DP_CT_COUNT, &count) && !count);
    OK(dp_close(dp));
    EQUAL(fixture_mbufs(), baseline);
    return 0;
}
