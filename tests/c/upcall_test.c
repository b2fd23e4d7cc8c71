/* SPDX-License-Identifier: Apache-2.0
 * link: everything
 * eal: yes
 * sanitize: address
 *
 * Who gets room in a handler's ring: shares of ports, duplicates of pending misses, and the account of them all. */
#include <rte_mbuf.h>

#include "cls_fixture.h"
#include "dp_int.h"
#include "packet/eal_packet.h"
#include "path/tx.h"
#include "pmd/pmd_int.h"
#include "upcall/upcall_int.h"

#define RING 1024u

static struct dp *dp;
static struct worker worker;
static struct stat_counters stat;
static uint64_t handle;
static struct dp_handler_info info;

/* An IPv4 packet of one of many connections. */
static struct rte_mbuf *packet(uint32_t connection)
{
    uint8_t frame[FRAME_MAX];
    uint32_t size = frame_named("IPv4 UDP", frame);

    memcpy(frame + 26, &connection, 4);
    return eal_packet(frame, size);
}

/* Misses of connections from `first` on, or of the first alone; a burst of each `burst`. */
static void miss(uint32_t port, uint32_t first, uint32_t n, uint32_t burst, bool same)
{
    const struct pkt_md md = { .in_port = port };

    for (uint32_t done = 0; done < n;) {
        struct rte_mbuf *packets[WORKER_BURST];
        uint32_t k = 0;

        for (; k < burst && done < n; done++)
            packets[k++] = packet(first + (same ? 0 : done));
        upcall_miss(&worker, packets, k, &md);
    }
}

static uint64_t drops(enum stat_drop reason)
{
    return atomic_load(&stat.drops[reason]);
}

static uint32_t waiting(uint32_t port)
{
    return atomic_load(&dp->upcalls->open[0]->waiting[port].n);
}

/* Takes `n` upcalls; returns how many came from each port. */
static void take(uint32_t n, uint32_t from[8])
{
    memset(from, 0, 8 * sizeof from[0]);
    while (n) {
        struct dp_exchange exchange;
        const uint8_t *at = (const uint8_t *)(uintptr_t)info.arena;

        CHECK(!dp_upcall_exchange(info.handler, NULL, 0, 0, NULL, 0, n < 256 ? n : 256, &exchange));
        if (!exchange.count)
            break;
        n -= exchange.count;
        for (uint32_t i = 0; i < exchange.count; i++) {
            const struct dp_upcall *up = (const void *)at;
            uint32_t in_port = 0;

            for (const uint8_t *a = at + sizeof *up; a < at + sizeof *up + up->key_size;) {
                uint16_t head[2];

                memcpy(head, a, 4);
                if (head[1] == 3)
                    memcpy(&in_port, a + 4, 4);
                a += (head[0] + 3u) & ~3u;
            }
            from[in_port < 8 ? in_port : 0]++;
            at += up->size;
        }
    }
}

/* A handler of its own for each test; every counter is 0. */
static void begin(const char *config)
{
    memset(&stat, 0, sizeof stat);
    memset(worker.recent, 0, sizeof worker.recent);
    worker.now_ms = 1000;
    CHECK(!dp_set_config(handle, config) && !dp_upcall_open(handle, 0, &info));
}

/* Everything that came up is accounted for, and nothing waits any more. */
static void end(uint64_t misses)
{
    const struct handler *handler = dp->upcalls->open[0];
    uint32_t from[8];
    uint64_t named = 0;

    take(UINT32_MAX, from);
    for (int i = 0; i < DROP_COUNT; i++)
        named += drops(i);
    CHECK(stat.missed + stat.lost == misses && named == stat.lost && atomic_load(&handler->lost) == stat.lost);
    CHECK(atomic_load(&handler->handled) == stat.missed);
    for (uint32_t port = 0; port < 8; port++)
        CHECK(waiting(port) == 0);
    CHECK(!dp_upcall_close(info.handler));
}

/* One port alone gets half of the ring, the next a half of what is left; a trickle from others is never lost. */
static void test_shares(void)
{
    uint32_t from[8];

    begin("upcall-ring=1024\nupcall-quota=0");
    miss(1, 0, 5000, 32, false);
    CHECK(waiting(1) == RING / 2 && drops(DROP_upcall_quota) == 5000 - RING / 2);
    miss(2, 0, 5000, 7, false);
    CHECK(waiting(2) == RING / 4 && drops(DROP_upcall_quota) == 10000 - RING / 2 - RING / 4);
    miss(3, 0, 100, 1, false);
    CHECK(waiting(3) == 100 && drops(DROP_upcall_full) == 0 && drops(DROP_upcall_duplicate) == 0);
    take(256, from); /* Oldest first: all of port 1. */
    CHECK(from[1] == 256);
    miss(1, 10000, 5000, 32, false); /* Gets no more than its share of what is there now. */
    CHECK(waiting(1) <= RING / 2 && waiting(1) >= 256);
    miss(4, 0, 50, 1, false);
    CHECK(waiting(4) == 50);
    end(15150);
}

/* Floods of several ports at once come to equal shares, and room for the next is left. */
static void test_equal_shares(void)
{
    begin("upcall-ring=1024\nupcall-quota=0");
    for (uint32_t round = 0; round < 400; round++)
        for (uint32_t port = 1; port <= 3; port++)
            miss(port, 32 * round, 32, 32, false);
    for (uint32_t port = 1; port <= 3; port++)
        CHECK(waiting(port) >= RING / 4 - 40 && waiting(port) <= RING / 4 + 40);
    miss(4, 0, 20, 1, false);
    CHECK(waiting(4) == 20);
    end(3 * 400 * 32 + 20);
}

static void test_quota(void)
{
    begin("upcall-ring=1024\nupcall-quota=10");
    miss(1, 0, 100, 32, false);
    miss(2, 0, 5, 1, false);
    CHECK(waiting(1) == 10 && waiting(2) == 5 && drops(DROP_upcall_quota) == 90);
    end(105);
}

/* Repeated misses go up while there is room; then one each 2 ms, and others of the port go in beside them. */
static void test_duplicates(void)
{
    uint32_t before;

    begin("upcall-ring=1024\nupcall-quota=0");
    miss(1, 7, 300, 8, true);
    CHECK(waiting(1) == 300 && stat.lost == 0);
    miss(1, 7, 1000, 8, true);
    before = waiting(1);
    CHECK(before >= RING / 3 && before <= RING / 3 + 16 && drops(DROP_upcall_duplicate) == 1300 - before && stat.lost == 1300 - before);
    worker.now_ms++;
    miss(1, 7, 1, 1, true);
    CHECK(waiting(1) == before);
    worker.now_ms++;
    miss(1, 7, 100, 8, true);
    CHECK(waiting(1) == before + 1);
    miss(1, 1000, 100, 8, false); /* New connections. */
    CHECK(waiting(1) == before + 101);
    miss(2, 7, 1, 1, true); /* The same bytes by another port are another key. */
    CHECK(waiting(2) == 1);
    worker.now_ms = UINT32_MAX; /* The clock starts anew. */
    miss(1, 9, 2, 1, true);
    CHECK(waiting(1) == before + 102);
    worker.now_ms = 1;
    miss(1, 9, 2, 1, true);
    CHECK(waiting(1) == before + 103);
    end(1300 + 1 + 100 + 100 + 1 + 4);
}

/* Duplicates are what has equal keys, whatever the packet is. */
static void test_duplicate_keys(void)
{
    struct upcall_refused refused;
    uint32_t equal = 0, different = 0;

    begin("upcall-ring=1024\nupcall-quota=0");
    miss(1, 0, 400, 32, false);
    for (uint32_t round = 0; round < 20000; round++) {
        uint8_t frame[FRAME_MAX];
        uint32_t size = random_frame(frame);
        struct rte_mbuf *pair[2];
        struct key keys[2];
        bool same;

        memset(worker.recent, 0, sizeof worker.recent);
        for (uint32_t i = 0; i < 2; i++) {
            pair[i] = eal_packet(frame, size);
            random_md(pkt_of(pair[i]), 1, round & 1, i ? !rnd(8) : false);
            if (i && rnd(4))
                *pkt_of(pair[1]) = *pkt_of(pair[0]);
            pkt_of(pair[i])->kind = DP_UPCALL_MISS;
            pkt_of(pair[i])->userdata = NULL;
            extract_packet(pair[i], &keys[i]);
            if (size > 14 && rnd(2))
                frame[14 + rnd(size < 54 ? size - 14 : 40)] ^= (uint8_t)(1u << rnd(8)); /* Lengths and checksums too. */
        }
        same = !memcmp(&keys[0], &keys[1], sizeof keys[0]);
        equal += same;
        different += !same;
        for (uint32_t i = 0; i < 2; i++) {
            struct rte_mbuf *one[1] = { pair[i] };

            CHECK(upcall_admit(&worker, dp->upcalls->open[0], one, 1, &refused) == !(i && same));
            CHECK(refused.duplicates == (i && same));
            if (!(i && same))
                upcall_leave(dp->upcalls->open[0], &pair[i], 1);
        }
        rte_pktmbuf_free_bulk(pair, 2);
    }
    CHECK(equal > 3000 && different > 3000);
    end(400);
}

/* What userspace actions send is never a duplicate. */
static void test_actions(void)
{
    begin("upcall-ring=1024\nupcall-quota=0");
    for (uint32_t i = 0; i < 1000; i++) {
        struct rte_mbuf *m = packet(5);

        pkt_of(m)->md = (struct pkt_md){ .in_port = 1 };
        upcall_action(&worker, m, NULL, 60);
    }
    CHECK(waiting(1) == RING / 2 && drops(DROP_upcall_quota) == 1000 - RING / 2 && drops(DROP_upcall_duplicate) == 0);
    CHECK(!dp_upcall_purge(handle) && waiting(1) == 0 && !dp_upcall_close(info.handler));
}

int main(void)
{
    uint64_t before, after;

    if (dp_eal_start()) {
        printf("EAL\n");
        return 77;
    }
    if (dp_open("upcall", DP_CREATE, &handle) || !(dp = dp_of(handle)) || worker_init(&worker, &stat, 100, 0))
        abort();
    CHECK(!dp_mbufs_in_use(&before));
    worker.upcalls = dp->upcalls;
    test_shares();
    test_equal_shares();
    test_quota();
    test_duplicates();
    test_duplicate_keys();
    test_actions();
    CHECK(!dp_mbufs_in_use(&after) && after == before);
    worker_fini(&worker);
    dp_unref(dp);
    CHECK(!dp_close(handle));
    return failures != 0;
}
