/* SPDX-License-Identifier: Apache-2.0
 * sanitize: thread
 *
 * Everything that may change, under full traffic, round after round: ports come and go, an MTU
 * changes, threads move, the table is flushed, all flows are dumped.  What passes between two
 * other ports loses nothing and keeps its order, and every mbuf comes home.
 *
 * A few rounds with a small table; as many as DP_ROUNDS says, with 100,000 flows, half a second to a
 * second each without a sanitizer, or as many as DP_SECONDS are enough for, with DP_FLOWS:
 *
 *     DP_ROUNDS=1000 deno test -A tests/c/c_test.ts --filter "c: dp_rounds optimized" */
#include <errno.h>
#include <net/if.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "dp_fixture.h"

#define ROUNDS 4u
#define FLOWS_FEW 4000u
#define FLOWS_MANY 100000u
#define BATCH 256u
#define WINDOW 64u               /* Packets under way: fewer than a dummy port's queue holds. */
#define SINK 4u
#define TAP 7u

/* As in dp_threads_test.c, with the reasons. */
__attribute__((visibility("default"))) const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void)
{
    return "race:eal_packet\nrace:rte_pktmbuf_\nrace:rte_mbuf_\nrace:rte_mempool_\nrace:rte_ring_count\nrace:rte_ring_empty\n"
           "race:__rte_ring_dequeue_elems\nrace:hot_match\n";
}

static uint64_t dp;
static uint32_t flows = FLOWS_FEW;
static _Atomic bool stop, pause_steady, paused;
static _Atomic uint64_t passed;

/* Whether the next packet of port 2 came.  Anything but the one that is due is a loss. */
static bool take(uint32_t due)
{
    uint8_t frame[64];
    uint32_t used, tag;

    if (dp_dummy_collect(dp, 2, frame, sizeof frame, &used))
        return false;
    memcpy(&tag, frame + 8, 4);
    EQUAL(used, 60);
    EQUAL(tag, due);
    atomic_fetch_add(&passed, 1);
    return true;
}

/* Sends by port 1 what has to come out of port 2: all of it, in order. */
static void *steady(void *unused)
{
    uint32_t sent = 0, came = 0;
    uint8_t frame[64];
    time_t since = time(NULL);

    (void)unused;
    while (!atomic_load(&stop) || came != sent) {
        const bool more = sent - came < WINDOW && !atomic_load(&stop) && !atomic_load(&pause_steady);

        fixture_frame(frame, 60, sent);
        if (more && !dp_dummy_inject(dp, 1, frame, 60)) {
            /* Waiting begins now: to put it in may have taken as long as other calls did. */
            if (came == sent++)
                since = time(NULL);
        } else {
            usleep(20);
        }
        while (came != sent && take(came)) {
            came++;
            since = time(NULL);
        }
        if (came != sent && time(NULL) - since > 60)
            FAIL("%u packets of %u came out", came, sent);
        atomic_store(&paused, came == sent && atomic_load(&pause_steady));
    }
    return NULL;
}

/* Port 3 brings as much as poll threads take: it goes to a sink, and what has no flow meanwhile is lost. */
static void add_flood(void)
{
    const uint32_t head[6] = { 0xa1b2c3d4, 0x00040002, 0, 0, 65535, 1 }, record[4] = { 0, 0, 60, 60 };
    char path[] = "/tmp/upcall-rounds-XXXXXX", options[128];
    uint8_t frame[60];
    int fd = mkstemp(path);

    fixture_frame(frame, sizeof frame, 0);
    CHECK(fd >= 0 && write(fd, head, sizeof head) == sizeof head && write(fd, record, sizeof record) == sizeof record);
    CHECK(write(fd, frame, sizeof frame) == sizeof frame && !close(fd));
    snprintf(options, sizeof options, "rx_pcap=%s\ninfinite_rx=1", path);
    OK(fixture_port(dp, 3, "flood", "pcap", options, NULL));
    unlink(path);
}

/* What a round is made of, and how long that took in all. */
enum part { THREADS, PORTS, MTU, DUMP, FLUSH, PARTS };
static const char *const part_names[PARTS] = { "threads", "ports", "MTU", "dumps", "flushes and puts" };
static double part_s[PARTS];

static double now_s(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static double take_time(enum part part, double since)
{
    const double now = now_s();

    part_s[part] += now - since;
    return now;
}

static void put_flows(void)
{
    static uint8_t ops[BATCH * 256] __attribute__((aligned(8))), results[BATCH * 128] __attribute__((aligned(8)));
    const uint32_t out = SINK;

    fixture_flow(dp, 1, 2);
    fixture_flow(dp, 3, SINK);
    for (uint32_t tag = 0; tag < flows;) {
        uint32_t used = 0, n = 0, answered;

        for (; n < BATCH && tag < flows; n++, tag++) {
            struct dp_op op = { .type = DP_OP_PUT, .flags = DP_OPF_CREATE };
            uint8_t key[256], actions[16];

            op.key_size = fixture_key(key, 5, tag);
            op.actions_size = fixture_attribute(actions, 1, &out, 4);
            used += fixture_append(ops + used, &op, key, actions, NULL);
        }
        OK(dp_operate(dp, ops, used, n, results, sizeof results, &answered));
    }
    CHECK(fixture_stats(dp).flows >= flows);
}

static void dump(void)
{
    static uint8_t records[1 << 18] __attribute__((aligned(8)));
    uint32_t count, used, sum = 0;
    uint64_t dumped;

    OK(dp_dump_open(dp, 0, &dumped));
    do {
        OK(dp_dump_next(dumped, 1000, records, sizeof records, &count, &used));
        sum += count;
    } while (count);
    OK(dp_dump_close(dumped));
    CHECK(sum >= flows);
}

/* False where this process may not. */
static bool change_mtu(const char *name, int mtu)
{
    struct ifreq request = { .ifr_mtu = mtu };
    int fd = socket(AF_INET, SOCK_DGRAM, 0), error;

    snprintf(request.ifr_name, sizeof request.ifr_name, "%s", name);
    error = fd < 0 ? -1 : ioctl(fd, SIOCSIFMTU, &request);
    if (fd >= 0)
        close(fd);
    return !error;
}

static void flush(void)
{
    atomic_store(&pause_steady, true);
    EVENTUALLY(atomic_load(&paused));
    OK(dp_flow_flush(dp));
    put_flows();
    atomic_store(&pause_steady, false);
}

static void change(uint32_t round, uint32_t cores, const char *tap)
{
    const uint64_t before = atomic_load(&passed);
    struct dp_port_info info;
    double since = now_s();

    OK(dp_poll_threads_set(dp, cores == 1 ? 1 : 1 + round % cores, 0, round % 4 * 10));
    since = take_time(THREADS, since);
    OK(fixture_port(dp, 5, "a", "patch", "peer=b", NULL));
    OK(fixture_port(dp, 6, "b", "patch", "peer=a", NULL));
    fixture_flow(dp, 3, round % 2 ? 5 : SINK);
    since = take_time(PORTS, since);
    if (tap) {
        CHECK(change_mtu(tap, round % 2 ? 1400 : 9000));
        OK(dp_port_find(dp, tap, &info));
        if (round % 3 == 0) {
            OK(dp_port_delete(dp, TAP));
            OK(fixture_port(dp, TAP, tap, "tap", "", NULL));
        }
    }
    since = take_time(MTU, since);
    dump();
    since = take_time(DUMP, since);
    OK(dp_port_delete(dp, round % 2 ? 5 : 6));
    OK(dp_port_delete(dp, round % 2 ? 6 : 5));
    since = take_time(PORTS, since);
    if (round % 10 == 1)
        flush();
    take_time(FLUSH, since);
    EVENTUALLY(atomic_load(&passed) > before);
}

int main(void)
{
    const char *asked = getenv("DP_ROUNDS");
    const char *seconds = getenv("DP_SECONDS");
    const double end = seconds ? now_s() + atof(seconds) : 1e18;
    const uint32_t most = asked ? (uint32_t)atoi(asked) : ROUNDS;
    uint32_t rounds = 0;
    const uint32_t cores = sysconf(_SC_NPROCESSORS_ONLN) > 1 ? 3 : 1;
    char tap[16];
    pthread_t thread;
    uint64_t baseline;
    bool has_tap;

    if (asked)
        flows = getenv("DP_FLOWS") ? (uint32_t)atoi(getenv("DP_FLOWS")) : FLOWS_MANY;
    fixture_start();
    baseline = fixture_mbufs();
    dp = fixture_dp("rounds", 2);
    add_flood();
    OK(fixture_port(dp, SINK, "sink", "null", "", NULL));
    snprintf(tap, sizeof tap, "rounds%d", getpid() % 1000000);
    has_tap = !fixture_port(dp, TAP, tap, "tap", "", NULL);
    put_flows();
    CHECK(!pthread_create(&thread, NULL, steady, NULL));
    while (rounds < most && now_s() < end)
        change(rounds++, cores, has_tap ? tap : NULL);
    atomic_store(&stop, true);
    pthread_join(thread, NULL);
    printf("%u rounds%s, %llu packets passed, none lost\n", rounds, has_tap ? "" : " without an MTU",
           (unsigned long long)atomic_load(&passed));
    for (uint32_t i = 0; i < PARTS; i++)
        printf("%s: %.1f ms a round\n", part_names[i], 1000 * part_s[i] / rounds);
    OK(dp_poll_threads_set(dp, 1, 0, 10));
    OK(dp_close(dp));
    EVENTUALLY(fixture_mbufs() == baseline);
    return 0;
}
