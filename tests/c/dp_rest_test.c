/* SPDX-License-Identifier: Apache-2.0
 * sanitize: address thread
 *
 * What ends the sleep of an idle poll thread: packets of ports that can tell, also beside one that
 * cannot; changes of the control side; and a port that goes while a thread sleeps on it. */
#include "dp_fixture.h"

#define PACKETS 60u
/* Longer than a thread naps by the clock before it sleeps on descriptors. */
#define IDLE_US 4000u

/* As in dp_threads_test.c, with the reasons. */
__attribute__((visibility("default"))) const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void)
{
    return "race:eal_packet\nrace:rte_pktmbuf_\nrace:rte_mbuf_\nrace:rte_mempool_\nrace:rte_ring_count\nrace:rte_ring_empty\n"
           "race:__rte_ring_dequeue_elems\n";
}

static uint64_t dp;

static struct dp_poll_thread_info thread_info(void)
{
    struct dp_poll_thread_info info;

    OK(dp_poll_thread_next(dp, 0, &info));
    return info;
}

/* Sends packets to a thread that sleeps; returns how many of its sleeps packets ended. */
static uint64_t send_to_sleeper(void)
{
    const struct dp_poll_thread_info before = thread_info();
    struct dp_poll_thread_info after;
    uint8_t frame[64];
    uint32_t used;

    for (uint32_t i = 0; i < PACKETS; i++) {
        usleep(IDLE_US + i % 7 * 300);
        fixture_inject(dp, 1, 60, i);
        EVENTUALLY(!dp_dummy_collect(dp, 2, frame, sizeof frame, &used));
    }
    EVENTUALLY((after = thread_info()).packets >= before.packets + PACKETS);
    printf("%llu sleeps, of which packets ended %llu\n", (unsigned long long)(after.sleeps - before.sleeps),
           (unsigned long long)(after.woken - before.woken));
    CHECK(after.woken - before.woken <= after.sleeps - before.sleeps);
    return after.woken - before.woken;
}

/* A port that has no descriptor, and never receives anything but the first packet. */
static void add_blind(void)
{
    const uint32_t head[6] = { 0xa1b2c3d4, 0x00040002, 0, 0, 65535, 1 }, record[4] = { 0, 0, 60, 60 };
    char path[] = "/tmp/upcall-rest-XXXXXX", options[128];
    uint8_t frame[60];
    int fd = mkstemp(path);

    fixture_frame(frame, sizeof frame, 0);
    CHECK(fd >= 0 && write(fd, head, sizeof head) == sizeof head && write(fd, record, sizeof record) == sizeof record);
    CHECK(write(fd, frame, sizeof frame) == sizeof frame && !close(fd));
    snprintf(options, sizeof options, "rx_pcap=%s", path);
    OK(fixture_port(dp, 3, "blind", "pcap", options, NULL));
    unlink(path);
}

/* A thread that sleeps hears of what changes, and of ports that go. */
static void change_under_sleeper(void)
{
    for (uint32_t i = 0; i < 20; i++) {
        const struct dp_poll_thread_info before = thread_info();

        OK(fixture_port(dp, 9, "guest", "dummy", "", NULL));
        usleep(IDLE_US); /* It sleeps on that one, too. */
        fixture_inject(dp, 9, 60, i);
        OK(dp_port_delete(dp, 9));
        EVENTUALLY(thread_info().iterations > before.iterations);
    }
}

int main(void)
{
    uint64_t baseline, woken;

    fixture_start();
    baseline = fixture_mbufs();
    dp = fixture_dp("rest", 2);
    OK(dp_poll_threads_set(dp, 1, 0, 10));
    fixture_flow(dp, 1, 2);
    woken = send_to_sleeper();
    CHECK(woken >= PACKETS / 2 && woken <= PACKETS + 5);
    change_under_sleeper();
    add_blind();
    EVENTUALLY(thread_info().packets);
    /* Longer naps than it comes to: each is one microsecond longer than the last. */
    OK(dp_poll_threads_set(dp, 1, 0, DP_POLL_SLEEP_MAX_US));
    EVENTUALLY(thread_info().sleeps > 500);
    woken = send_to_sleeper();
    CHECK(woken >= PACKETS / 4);
    change_under_sleeper();
    OK(dp_poll_threads_set(dp, 1, 0, 0));
    EQUAL(send_to_sleeper(), 0);
    OK(dp_close(dp));
    EVENTUALLY(fixture_mbufs() == baseline);
    return 0;
}
