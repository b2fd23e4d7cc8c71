/* SPDX-License-Identifier: Apache-2.0
 * Fragments by many threads at once: three bring pieces of the same packets in different orders, one is the service, one purges, reads and
 * sets.  In the end nothing is held, nothing is lost, and all numbers add up; a thousand times the service stops in the midst of it.
 * link: ipf/ipf*.c base/hash.c base/mem.c packet/csum.c packet/extract.c packet/eal_hold.c
 * eal: yes
 * sanitize: address thread */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "ipf_fixture.h"

#define WORKERS 3u
#define ROUNDS 1000u
#define PACKETS 16u
#define PIECES 4u

static struct ipf *ipf;
static _Atomic uint64_t clock_ms = 1000000;
static _Atomic uint32_t running;
static _Atomic uint64_t brought, returned, cut;

/* mbufs come from DPDK's shared library, which is not instrumented: one that one thread frees and another allocates has no history. */
__attribute__((visibility("default"))) const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void)
{
    return "race:rte_pktmbuf_\nrace:rte_mbuf_\nrace:rte_mempool_\nrace:frame_mbuf\nrace:fragment_frame\n";
}

static void bring(const struct datagram *d, uint32_t start, uint8_t *frame)
{
    struct rte_mbuf *pieces[PIECES];
    struct ipf_whole *whole;
    struct rte_mbuf *m;
    bool left = true;

    m = frame_mbuf(frame, fragment_frame(d, start, 1200, start + 1200 < d->size, frame), 0, 2048);
    atomic_fetch_add(&brought, 1);
    /* Time flies, so that packets expire under their fragments. */
    switch (ipf_take(ipf, 0, m, atomic_fetch_add(&clock_ms, 150), &whole)) {
    case IPF_REFUSED:
        MBUFS_GIVE();
        rte_pktmbuf_free(m);
        atomic_fetch_add(&returned, 1);
        break;
    case IPF_WHOLE:
        CHECK(whole->m->pkt_len == 14 + 20 + PIECES * 1200);
        rte_mbuf_sanity_check(whole->m, 1);
        while (left) {
            const unsigned int n = ipf_cut(ipf, whole, pieces, 3, &left);

            MBUFS_GIVE();
            rte_pktmbuf_free_bulk(pieces, n);
            atomic_fetch_add(&cut, n);
        }
        break;
    default:
        break;
    }
}

static void *work(void *arg)
{
    struct datagram *d = malloc(sizeof *d);
    uint8_t *frame = malloc(2048);
    uint32_t state = (uint32_t)(uintptr_t)arg * 77 + 1;

    make_datagram(d, 4, PIECES * 1200, 0);
    for (uint32_t round = 0; round < ROUNDS; round++) {
        for (uint32_t i = 0; i < PACKETS; i++) {
            state = state * 1664525 + 1013904223;
            d->id = state >> 24 & 15;
            bring(d, (state >> 12 & 3) * 1200, frame);
        }
    }
    free(frame);
    free(d);
    atomic_fetch_sub(&running, 1);
    return NULL;
}

static void *serve(void *arg)
{
    (void)arg;
    while (atomic_load(&running)) {
        ipf_service(ipf, atomic_load(&clock_ms));
        sched_yield();
    }
    return NULL;
}

static void *look(void *arg)
{
    struct ipf_info info[8];
    struct ipf_status status;

    (void)arg;
    for (uint32_t i = 0; atomic_load(&running); i++) {
        uint32_t at = 0;

        while (at != UINT32_MAX)
            for (uint32_t n = ipf_dump(ipf, &at, info, 8), k = 0; k < n; k++)
                CHECK(info[k].family == 4 && info[k].id < 16 && info[k].pieces < PIECES);
        ipf_status(ipf, &status);
        CHECK(status.held <= IPF_MAX_MOST);
        ipf_set_max(ipf, i & 1 ? 8 : IPF_MAX_DEFAULT);
        if (i % 64 == 0)
            ipf_purge(ipf);
        sched_yield();
    }
    return NULL;
}

static void once(void)
{
    pthread_t threads[WORKERS + 2];

    atomic_store(&running, WORKERS);
    for (uint32_t i = 0; i < WORKERS; i++)
        pthread_create(&threads[i], NULL, work, (void *)(uintptr_t)(i + 1));
    pthread_create(&threads[WORKERS], NULL, serve, NULL);
    pthread_create(&threads[WORKERS + 1], NULL, look, NULL);
    for (uint32_t i = 0; i < WORKERS + 2; i++)
        pthread_join(threads[i], NULL);
    ipf_purge(ipf);
}

static void campaign(void)
{
    struct ipf_status s;

    /* Until everything has happened: a busy machine may run one thread after the other. */
    for (uint32_t i = 0; i < 50; i++) {
        once();
        ipf_status(ipf, &s);
        if (s.counters[0].completed && s.counters[0].expired && s.counters[0].purged)
            break;
    }
    printf("completed %lu expired %lu purged %lu overlapped %lu\n", s.counters[0].completed, s.counters[0].expired, s.counters[0].purged,
           s.counters[0].overlapped);
    CHECK(!s.held && !in_use());
    CHECK(s.counters[0].accepted == s.counters[0].completed + s.counters[0].expired + s.counters[0].purged);
    CHECK(s.counters[0].completed == atomic_load(&cut) && cut && s.counters[0].expired > 0 && s.counters[0].purged > 0);
    CHECK(brought == s.counters[0].accepted + returned);
    CHECK(returned == s.counters[0].overlapped + s.full + s.no_mbuf);
}

/* The service ends while there is work for it, and what is left goes with the table. */
static void stops(void)
{
    struct datagram *d = malloc(sizeof *d);
    uint8_t *frame = malloc(2048);

    make_datagram(d, 4, PIECES * 1200, 0);
    for (uint32_t round = 0; round < 1000; round++) {
        pthread_t service;

        ipf = ipf_create();
        atomic_store(&running, 1);
        pthread_create(&service, NULL, serve, NULL);
        for (uint32_t i = 0; i < 24; i++) {
            d->id = i % 13;
            bring(d, i % 3 * 1200, frame);
        }
        atomic_store(&running, 0);
        pthread_join(service, NULL);
        ipf_destroy(ipf);
        CHECK(!in_use());
    }
    free(frame);
    free(d);
}

int main(void)
{
    if (!ipf_start("ipf_threads_test")) {
        puts("EAL does not start");
        return 77;
    }
    ipf = ipf_create();
    campaign();
    ipf_destroy(ipf);
    stops();
    return failures != 0;
}
