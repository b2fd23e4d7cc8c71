/* SPDX-License-Identifier: Apache-2.0
 * Datapaths by their ABI, end to end over dummy ports: what goes in comes out or is counted, and nothing stays behind. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>

#include "dp_fixture.h"

static struct dp_exchange take(uint64_t handler, uint32_t max)
{
    struct dp_exchange exchange;

    OK(dp_upcall_exchange(handler, NULL, 0, 0, NULL, 0, max, &exchange));
    return exchange;
}

static void balance(uint64_t dp, uint64_t waiting)
{
    struct dp_stats s = fixture_stats(dp);

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
    uint8_t ops[4096], results[1024], actions[16], frame[128], expected[100];
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
    EQUAL(fixture_drops(dp, "upcall_quota"), 1000 - 32); /* One port gets half of the ring. */
    balance(dp, 32);
    for (struct dp_exchange e; (e = take(handler.handler, 10)).count; handled += e.count)
        EQUAL(e.lost, 1000 - 32);
    EQUAL(handled, 32);
    for (uint32_t i = 0; i < 30; i++)
        fixture_inject(dp, 1, 60, i);
    EVENTUALLY(fixture_stats(dp).received == 1130);
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

    OK(dp_set_config(dp, "upcall-quota=10"));
    OK(dp_upcall_open(dp, 0, &handler));
    for (uint32_t round = 1; round <= 3; round++) {
        for (uint32_t i = 0; i < 25; i++)
            fixture_inject(dp, 1, 60, i);
        fixture_inject(dp, 2, 60, 0);
        EVENTUALLY(fixture_stats(dp).received == 26 * round);
        EQUAL(fixture_drops(dp, "upcall_quota"), 15 * round);
        EQUAL(take(handler.handler, 256).count, 11);
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
    EVENTUALLY(fixture_stats(dp).received == 400);
    for (uint32_t id = 0; id < 4; id++) {
        uint32_t count = take(handlers[id].handler, 256).count;

        CHECK(count > 50);
        sum += count;
    }
    EQUAL(sum, 400);
    OK(dp_upcall_set_handlers(dp, 1)); /* The others are shut down. */
    EQUAL(dp_upcall_wait(handlers[3].handler), ESHUTDOWN);
    fixture_inject(dp, 1, 60, 0);
    EVENTUALLY(take(handlers[0].handler, 256).count == 1);
    balance(dp, 0);
    for (uint32_t id = 0; id < 4; id++)
        OK(dp_upcall_close(handlers[id].handler));
    OK(dp_close(dp));
}

/* --- Waiting ---------------------------------------------------------------------------------------------- */

struct waiter {
    uint64_t handle;
    uint64_t seen;
    int result;
    pthread_t thread;
};

static void *wait_for_upcall(void *arg)
{
    struct waiter *waiter = arg;

    waiter->result = dp_upcall_wait(waiter->handle);
    return NULL;
}

static void *wait_for_port(void *arg)
{
    struct waiter *waiter = arg;

    waiter->result = dp_port_wait(waiter->handle, waiter->seen);
    return NULL;
}

static int wait_while(uint64_t handle, void (*act)(uint64_t), uint64_t arg)
{
    struct waiter waiter = { .handle = handle };

    CHECK(!pthread_create(&waiter.thread, NULL, wait_for_upcall, &waiter));
    usleep(2000);
    act(arg);
    pthread_join(waiter.thread, NULL);
    return waiter.result;
}

static void inject_one(uint64_t dp)
{
    fixture_inject(dp, 1, 60, 1);
}
static void wake(uint64_t handler)
{
    OK(dp_upcall_wake(handler));
}
static void close_handler(uint64_t handler)
{
    OK(dp_upcall_close(handler));
}
static void destroy(uint64_t dp)
{
    OK(dp_destroy(dp));
}

static void test_waiting(void)
{
    uint64_t dp = fixture_dp("waiting", 1), seen;
    struct dp_handler_info handler;
    struct waiter waiter;

    OK(dp_upcall_open(dp, 0, &handler));
    for (int i = 0; i < 20; i++) {
        OK(dp_upcall_arm(handler.handler));
        OK(wait_while(handler.handler, inject_one, dp));
        EQUAL(dp_upcall_arm(handler.handler), EAGAIN);
        EQUAL(take(handler.handler, 256).count, 1);
    }
    OK(wait_while(handler.handler, wake, handler.handler));
    EQUAL(wait_while(handler.handler, close_handler, handler.handler), ESHUTDOWN);
    EQUAL(dp_upcall_arm(handler.handler), EBADF);
    OK(dp_upcall_open(dp, 0, &handler));

    OK(dp_port_sequence(dp, &seen));
    waiter = (struct waiter){ .handle = dp, .seen = seen };
    CHECK(!pthread_create(&waiter.thread, NULL, wait_for_port, &waiter));
    usleep(2000);
    OK(fixture_port(dp, DP_PORT_NONE, "late", "null", "", NULL));
    pthread_join(waiter.thread, NULL);
    OK(dp_port_sequence(dp, &waiter.seen));
    CHECK(waiter.seen > seen);
    OK(dp_port_wake(dp)); /* Before anybody waits: not lost. */
    OK(dp_port_wait(dp, waiter.seen));

    EQUAL(wait_while(handler.handler, destroy, dp), ESHUTDOWN);
    EQUAL(dp_port_sequence(dp, &seen), ENODEV);
    OK(dp_upcall_close(handler.handler));
    OK(dp_close(dp));
}

/* --- Handles, ports, devices ------------------------------------------------------------------------------ */

static void test_handles(void)
{
    uint64_t first, second, dump;
    struct dp_stats stats;
    char names[256];

    EQUAL(dp_open("none", 0, &first), ENODEV);
    EQUAL(dp_open("", DP_CREATE, &first), EINVAL);
    EQUAL(dp_open("a b", DP_CREATE, &first), EINVAL);
    OK(dp_open("two", DP_CREATE, &first));
    EQUAL(dp_open("two", DP_CREATE | DP_EXCLUSIVE, &second), EEXIST);
    OK(dp_open("two", 0, &second));
    CHECK(first != second);
    OK(dp_enumerate(names, sizeof names));
    CHECK(!strcmp(names, "two\n"));
    EQUAL(dp_enumerate(names, 3), ENOBUFS);
    OK(dp_close(first));
    EQUAL(dp_close(first), EBADF);
    EQUAL(dp_stats_get(first, &stats), EBADF);
    OK(dp_stats_get(second, &stats));
    EQUAL(dp_upcall_wait(second), EBADF); /* A handle of another kind. */
    OK(dp_dump_open(second, 0, &dump));
    OK(dp_destroy(second));
    OK(dp_destroy(second));
    EQUAL(dp_stats_get(second, &stats), ENODEV);
    EQUAL(dp_flow_flush(second), ENODEV);
    OK(dp_close(second));
    OK(dp_dump_close(dump));
    EQUAL(dp_dump_close(dump), EBADF);
    for (uint64_t handle = 0; handle < 100; handle++)
        EQUAL(dp_close(handle << 13), EBADF);
    OK(dp_enumerate(names, sizeof names));
    CHECK(!names[0]);
}

static void test_ports(void)
{
    uint64_t dp = fixture_dp("ports", 2), job;
    struct dp_port_request request = { .no = 9, .name = "staged", .type = "null" };
    struct dp_port_info info;
    struct dp_port_stats stats;

    EQUAL(fixture_port(dp, 2, "x", "dummy", "", NULL), EBUSY);
    EQUAL(fixture_port(dp, 65535, "x", "dummy", "", NULL), EFBIG);
    EQUAL(fixture_port(dp, 65534, "x", "dummy", "", NULL), 0);
    EQUAL(fixture_port(dp, 9, "p1", "dummy", "", NULL), EEXIST);
    EQUAL(fixture_port(dp, 9, "y", "nonsense", "", NULL), EAFNOSUPPORT);
    EQUAL(fixture_port(dp, 9, "y", "dummy", "speed=9", NULL), EINVAL);
    EQUAL(fixture_port(dp, 9, "y", "dummy", "mtu=abc", NULL), EINVAL);
    EQUAL(fixture_port(dp, 9, "y", "patch", "", NULL), EINVAL);
    EQUAL(fixture_port(dp, 9, "y", "system", "device=nosuchdevice0", NULL) != 0, 1);
    EQUAL(fixture_port(dp, 9, "y", "pcap", "rx_pcap=/nonexistent", NULL), ENOENT);
    EQUAL(fixture_port(dp, 9, "y", "dpdk", "devargs=net_nosuchdriver0", NULL), ENODEV);
    OK(fixture_port(dp, DP_PORT_NONE, "z", "null", "", &info));
    EQUAL(info.no, 3);
    OK(dp_port_find(dp, "z", &info));
    EQUAL(dp_port_find(dp, "nobody", &info), ENODEV);
    OK(dp_port_next(dp, 4, &info));
    EQUAL(info.no, 65534);
    EQUAL(dp_port_next(dp, 65535, &info), ENODEV);
    EQUAL(dp_port_delete(dp, 0), EINVAL);
    EQUAL(dp_port_delete(dp, 77), ENODEV);
    EQUAL(dp_port_stats_get(dp, 77, &stats), ENODEV);
    EQUAL(dp_dummy_inject(dp, 3, (const uint8_t *)"", 0), EOPNOTSUPP);
    OK(dp_port_delete(dp, 3));
    OK(dp_port_stage(dp, &request, &job)); /* Never run. */
    EQUAL(dp_port_result(job, &info, NULL, 0), ECANCELED);
    EQUAL(dp_port_add(job), EBADF);
    OK(dp_close(dp));
}

static void test_pair(void)
{
    uint64_t dp = fixture_dp("pair", 2);
    struct dp_port_info info;
    uint8_t frame[128];
    uint32_t used;

    fixture_flow(dp, 1, 10);
    fixture_flow(dp, 11, 2);
    OK(fixture_port(dp, 10, "left", "patch", "peer=right", &info));
    EQUAL(info.link_up, 0);
    fixture_inject(dp, 1, 60, 5);
    EVENTUALLY(fixture_drops(dp, "link_down") == 1);
    OK(fixture_port(dp, 11, "right", "patch", "peer=left", &info));
    EQUAL(info.link_up, 1);
    fixture_inject(dp, 1, 60, 5);
    EVENTUALLY(!dp_dummy_collect(dp, 2, frame, sizeof frame, &used));
    EQUAL(used, 60);
    OK(dp_port_delete(dp, 10));
    OK(dp_port_find(dp, "right", &info));
    EQUAL(info.link_up, 0);
    fixture_inject(dp, 1, 60, 5);
    EVENTUALLY(fixture_drops(dp, "no_port") == 1);
    OK(dp_close(dp));
}

/* Packets of any size pass unchanged; what a port cannot send is counted. */
static void test_sizes(void)
{
    static uint8_t frame[65536], expected[65536];
    uint64_t dp = fixture_dp("sizes", 1);
    uint32_t used;

    OK(fixture_port(dp, 2, "p2", "dummy", "", NULL));
    OK(fixture_port(dp, 3, "p3", "dummy", "mtu=1500", NULL));
    fixture_flow(dp, 1, 2);
    for (uint32_t size = 14; size <= 65535; size += size < 2300 ? 37 : 4001) {
        fixture_inject(dp, 1, size, size);
        EVENTUALLY(!dp_dummy_collect(dp, 2, frame, sizeof frame, &used));
        fixture_frame(expected, size, size);
        CHECK(used == size && !memcmp(frame, expected, size));
    }
    fixture_flow(dp, 1, 3);
    fixture_inject(dp, 1, 1514, 0);
    EVENTUALLY(!dp_dummy_collect(dp, 3, frame, sizeof frame, &used));
    fixture_inject(dp, 1, 1515, 0);
    EVENTUALLY(fixture_drops(dp, "tx_oversize") == 1);
    OK(dp_close(dp));
}

/* A full device and an empty pool are drops with a name, and nobody gets stuck. */
static void test_exhaustion(void)
{
    uint64_t dp = fixture_dp("exhaustion", 1), accepted = 0;
    static uint8_t frame[65536];
    uint32_t used;

    OK(fixture_port(dp, 2, "p2", "dummy", "queue=7", NULL));
    fixture_flow(dp, 1, 2);
    for (uint32_t i = 0; i < 20; i++)
        fixture_inject(dp, 1, 60, i);
    EVENTUALLY(fixture_drops(dp, "tx_full") == 13);
    OK(dp_port_delete(dp, 2));

    OK(fixture_port(dp, 2, "p2", "dummy", "queue=65535", NULL));
    fixture_frame(frame, sizeof frame, 0);
    while (!dp_dummy_inject(dp, 1, frame, 60000))
        accepted++;
    CHECK(accepted > 10);
    EVENTUALLY(fixture_stats(dp).received == 20 + accepted); /* What was let in comes out, with the pool empty. */
    for (uint64_t i = 0; i < accepted; i++) {
        EVENTUALLY(!dp_dummy_collect(dp, 2, frame, sizeof frame, &used));
        EQUAL(used, 60000);
    }
    fixture_inject(dp, 1, 60, 0);
    EVENTUALLY(!dp_dummy_collect(dp, 2, frame, sizeof frame, &used));
    OK(dp_close(dp));
}

/* --- Poll threads ----------------------------------------------------------------------------------------- */

/* Queues move between threads, threads come and go, ports too; every packet arrives, in order. */
static void test_moves(void)
{
    uint64_t dp = fixture_dp("moves", 2), sent = 0, received = 0;
    struct dp_poll_thread_info thread;
    struct dp_rxq_info rxq;
    uint8_t frame[128];
    uint32_t used, tag, cores = sysconf(_SC_NPROCESSORS_ONLN) > 1 ? 3 : 1;

    fixture_flow(dp, 1, 2);
    for (uint32_t round = 0; round < 60; round++) {
        for (int i = 0; i < 30; i++)
            fixture_inject(dp, 1, 60, (uint32_t)sent++);
        OK(dp_poll_threads_set(dp, round % 3 == 0 ? cores : round % 3 == 1 ? 1 : 0, 0, 20));
        if (round % 5 == 0) {
            OK(fixture_port(dp, 5, "comes", "dummy", "", NULL));
            OK(dp_port_delete(dp, 5));
        }
        while (received < sent) {
            EVENTUALLY(!dp_dummy_collect(dp, 2, frame, sizeof frame, &used));
            memcpy(&tag, frame + 8, 4);
            EQUAL(tag, received);
            received++;
        }
    }
    OK(dp_poll_threads_set(dp, 1, 0, 20));
    OK(dp_poll_thread_next(dp, 0, &thread));
    EQUAL(thread.core, 0);
    EQUAL(thread.rxq_count, 3);
    EQUAL(dp_poll_thread_next(dp, 1, &thread), ENOENT);
    OK(dp_rxq_get(dp, 2, &rxq));
    EQUAL(rxq.core, 0);
    EQUAL(dp_rxq_get(dp, 3, &rxq), ENOENT);
    EQUAL(dp_poll_threads_set(dp, 0, 1ull << 63, 20), EINVAL); /* And everything is as it was. */
    OK(dp_poll_thread_next(dp, 0, &thread));
    EQUAL(fixture_stats(dp).received, sent);
    OK(dp_close(dp));
}

/* The program's own threads stay off the cores of poll threads, while there are others, and get them back. */
static void test_cores(void)
{
    cpu_set_t before, during, after;
    uint64_t dp;

    OK(sched_getaffinity(0, sizeof before, &before));
    if (!CPU_ISSET(0, &before) || CPU_COUNT(&before) < 2)
        return;
    OK(dp_open("cores", DP_CREATE, &dp));
    OK(dp_poll_threads_set(dp, 1, 0, 50));
    OK(sched_getaffinity(0, sizeof during, &during));
    CHECK(!CPU_ISSET(0, &during));
    EQUAL(CPU_COUNT(&during), CPU_COUNT(&before) - 1);
    OK(dp_close(dp));
    OK(sched_getaffinity(0, sizeof after, &after));
    CHECK(CPU_EQUAL(&before, &after));
}

/* --- Direct upcalls --------------------------------------------------------------------------------------- */

struct direct {
    _Atomic uint32_t calls;
    int verdict;
};

static int decide(struct dp_direct_upcall *up, void *aux)
{
    struct direct *direct = aux;
    uint32_t to = 2;

    direct->calls++;
    up->mask_size = 0; /* All frames of the port and type. */
    up->actions_size = fixture_attribute(up->actions, 1, &to, 4);
    return direct->verdict;
}

static void test_direct(void)
{
    uint64_t dp = fixture_dp("direct", 2);
    struct direct direct = { .verdict = ENOSPC };
    uint8_t frame[128];
    uint32_t used;

    OK(dp_upcall_direct(dp, (uintptr_t)decide, (uintptr_t)&direct));
    for (uint32_t i = 0; i < 3; i++) {
        fixture_inject(dp, 1, 60, i);
        EVENTUALLY(!dp_dummy_collect(dp, 2, frame, sizeof frame, &used));
    }
    EQUAL(direct.calls, 3);
    EQUAL(fixture_stats(dp).flows, 0);
    direct.verdict = EPERM;
    fixture_inject(dp, 1, 60, 0);
    EVENTUALLY(fixture_drops(dp, "upcall_error") == 1);
    direct.verdict = 0;
    fixture_inject(dp, 1, 60, 0);
    EVENTUALLY(fixture_stats(dp).flows == 1);
    fixture_inject(dp, 1, 60, 99);
    EVENTUALLY(fixture_stats(dp).hit == 1);
    EQUAL(direct.calls, 5);
    OK(dp_upcall_direct(dp, 0, 0));
    OK(dp_flow_flush(dp));
    fixture_inject(dp, 1, 60, 0);
    EVENTUALLY(fixture_drops(dp, "upcall_no_handler") == 1);
    EQUAL(direct.calls, 5);
    OK(dp_upcall_direct(dp, (uintptr_t)decide, (uintptr_t)&direct));
    OK(dp_close(dp)); /* With the callback in place. */
}

/* --- Hostile buffers -------------------------------------------------------------------------------------- */

static void test_hostile(void)
{
    uint64_t dp = fixture_dp("hostile", 1), seed = 88172645463325252ull;
    struct dp_op op = { .size = sizeof op, .type = DP_OP_PUT };
    uint8_t results[64 * sizeof(struct dp_result)];
    uint32_t used;

    EQUAL(dp_operate(dp, NULL, 0, 1, results, sizeof results, &used), EINVAL);
    EQUAL(dp_operate(dp, (uint8_t *)&op, sizeof op, 2, results, sizeof(struct dp_result), &used), EINVAL);
    for (int round = 0; round < 20000; round++) {
        uint32_t size = (uint32_t)(seed >> 40) % 400;
        uint8_t *ops = malloc(size + 1); /* Its end is guarded by the sanitizer. */

        for (uint32_t i = 0; i < size; i++) {
            seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
            ops[i] = (uint8_t)(i % sizeof op < 36 && i % 4 ? 0 : seed); /* Small numbers in the header. */
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
        test_handles, test_end_to_end, test_accounts, test_quota, test_handlers, test_waiting, test_ports, test_pair, test_sizes,
        test_exhaustion, test_moves, test_cores, test_direct, test_hostile,
    };
    uint64_t baseline;

    fixture_start();
    baseline = fixture_mbufs();
    for (size_t i = 0; i < sizeof tests / sizeof tests[0]; i++) {
        tests[i]();
        if (fixture_mbufs() != baseline)
            FAIL("test %zu left %llu mbufs in use", i, (unsigned long long)(fixture_mbufs() - baseline));
    }
    return 0;
}
