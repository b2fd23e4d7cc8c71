/* SPDX-License-Identifier: Apache-2.0
 * Datapaths by their ABI: handles, ports that come and go, packets of any size, devices that are
 * full, queues that move between poll threads. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>

#include "dp_fixture.h"

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
    EQUAL(dp_upcall_arm(second), EBADF); /* A handle of another kind. */
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
    EQUAL(fixture_port(dp, 9, "y", "pcap", "rx_pcap=/proc/nothing", NULL), ENOENT);
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
    uint64_t dp = fixture_dp("exhaustion", 1), accepted = 0, got = 0;
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
    /* A poll thread that is faster than this one never fills the queue: so not for ever. */
    while (accepted < 30000 && !dp_dummy_inject(dp, 1, frame, 60000))
        accepted++;
    CHECK(accepted > 10);
    EVENTUALLY(fixture_stats(dp).received == 20 + accepted);
    /* One queue does not hold the whole pool: what it may not take is dropped, with a name. */
    EVENTUALLY((got += !dp_dummy_collect(dp, 2, frame, sizeof frame, &used)) + fixture_drops(dp, "tx_full") - 13 == accepted);
    CHECK(got > 10 && got < accepted);
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
    /* And everything is as it was. */
    EQUAL(dp_poll_threads_set(dp, 1, 0, DP_POLL_SLEEP_MAX_US + 1), ERANGE);
    EQUAL(dp_poll_threads_set(dp, 0, 1ull << 63, 20), EINVAL);
    OK(dp_poll_thread_next(dp, 0, &thread));
    EQUAL(fixture_stats(dp).received, sent);
    OK(dp_close(dp));
}

/* The program's own threads stay off the cores of poll threads, while there are others, and get
 * them back. */
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

int main(void)
{
    void (*const tests[])(void) = {
        test_handles, test_ports, test_pair, test_sizes, test_exhaustion, test_moves, test_cores,
    };

    return fixture_run(tests, sizeof tests / sizeof tests[0]);
}
