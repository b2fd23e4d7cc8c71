/* SPDX-License-Identifier: Apache-2.0
 * sanitize: address thread
 *
 * What a poll thread has for several ports leaves in larger bursts while full ones come, and waits
 * for nothing when no more comes, or when the thread ends. */
#include "dp_fixture.h"

#define OUTPUTS 8u
#define BURST 32u

/* As in dp_threads_test.c, with the reasons. */
__attribute__((visibility("default"))) const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void)
{
    return "race:eal_packet\nrace:rte_pktmbuf_\nrace:rte_mbuf_\nrace:rte_mempool_\nrace:rte_ring_count\nrace:rte_ring_empty\n"
           "race:__rte_ring_dequeue_elems\nrace:hot_match\n";
}

/* Ports 2 to 9, in turn by the tag of a packet that comes by port 1. */
static uint64_t start(const char *name)
{
    uint64_t dp;

    OK(dp_open(name, DP_CREATE | DP_EXCLUSIVE, &dp));
    for (uint32_t i = 0; i < OUTPUTS; i++) {
        char port[16];

        snprintf(port, sizeof port, "out%u", i);
        OK(fixture_port(dp, 2 + i, port, "dummy", "", NULL));
    }

    for (uint32_t tag = 0; tag < BURST; tag++) {
        struct dp_op op = { .type = DP_OP_PUT, .flags = DP_OPF_CREATE };
        const uint32_t port = 2 + tag % OUTPUTS;
        uint8_t ops[1024], key[256], actions[16];

        op.key_size = fixture_key(key, 1, tag);
        op.actions_size = fixture_attribute(actions, 1, &port, 4);
        EQUAL(fixture_operate(dp, ops, fixture_append(ops, &op, key, actions, NULL)), 0);
    }
    return dp;
}

/* Port 1 brings `n` packets, and nothing behind them. */
static void bring(uint64_t dp, uint32_t n)
{
    const uint32_t head[6] = { 0xa1b2c3d4, 0x00040002, 0, 0, 65535, 1 }, record[4] = { 0, 0, 60, 60 };
    char path[] = "/tmp/upcall-held-XXXXXX", options[64];
    int fd = mkstemp(path);

    CHECK(fd >= 0 && write(fd, head, sizeof head) == sizeof head);
    for (uint32_t i = 0; i < n; i++) {
        uint8_t frame[60];

        fixture_frame(frame, sizeof frame, i % BURST);
        CHECK(write(fd, record, sizeof record) == sizeof record && write(fd, frame, sizeof frame) == sizeof frame);
    }
    close(fd);
    snprintf(options, sizeof options, "rx_pcap=%s", path);
    OK(fixture_port(dp, 1, "in", "pcap", options, NULL));
    unlink(path);
}

/* Waits for `n` packets in all, as many at each port. */
static void collect(uint64_t dp, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        uint8_t frame[64];
        uint32_t used;

        EVENTUALLY(!dp_dummy_collect(dp, 2 + i % OUTPUTS, frame, sizeof frame, &used));
        EQUAL(used, 60);
    }
}

static uint64_t batches(uint64_t dp)
{
    struct dp_poll_thread_info thread;

    OK(dp_poll_thread_next(dp, 0, &thread));
    EQUAL(thread.tx_packets % OUTPUTS, 0);
    return thread.tx_batches;
}

/* One full burst, and nothing behind it; then four, and half of one: a fifth of the calls. */
static void test_bursts(void)
{
    const uint64_t dp = start("bursts");

    OK(dp_poll_threads_set(dp, 1, 0, 20));
    bring(dp, BURST);
    collect(dp, BURST);
    EQUAL(batches(dp), OUTPUTS);
    OK(dp_port_delete(dp, 1));
    bring(dp, 4 * BURST + BURST / 2);
    collect(dp, 4 * BURST + BURST / 2);
    EQUAL(batches(dp), 3 * OUTPUTS);
    OK(dp_destroy(dp));
}

/* A thread that ends, or gives its queue away, sends everything, whenever it does. */
static void test_moves(void)
{
    const bool several = sysconf(_SC_NPROCESSORS_ONLN) > 1;
    const uint64_t dp = start("moves");

    for (uint32_t i = 0; i < 40; i++) {
        bring(dp, 2 * BURST);
        usleep((useconds_t)(7 * i));
        OK(dp_poll_threads_set(dp, several && i % 2 ? 2 : 1, 0, 20));
        collect(dp, 2 * BURST);
        OK(dp_port_delete(dp, 1));
    }
    OK(dp_destroy(dp));
}

int main(void)
{
    static void (*const tests[])(void) = { test_bursts, test_moves };

    return fixture_run(tests, sizeof tests / sizeof tests[0]);
}
