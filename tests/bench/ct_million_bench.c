/* SPDX-License-Identifier: Apache-2.0
 *
 * A million connections: bytes that one takes beside the buckets, how long a dump of all takes and what it costs traffic meanwhile, how long
 * a flush takes.  Built and run by ct_bench.ts.
 *
 * Traffic is established packets of all connections; slices with another thread dumping and without take turns.  Two cores are needed for
 * that figure.  Exit status 1 if a connection takes more than 256 bytes, a dump more than two seconds or a flush more than one; 2 if a
 * dump does not list each connection once. */
#include <pthread.h>
#include <rte_rcu_qsbr.h>
#include <time.h>
#include <unistd.h>

#include "base/rcu.h"
#include "ct/ct_int.h"
#include "ct_bench_fixture.h"
#include "path/burst.h"
#include "path/tx.h"

#define CONNECTIONS 1000000u
#define ENTRIES 256u                 /* Of a call of the dump. */
#define SLICES 20u
#define SLICE_BURSTS 2000u

static struct worker worker;
static struct stat_counters stat;
static uint8_t (*frames)[FRAME];
static _Atomic bool dumping, over;
static _Atomic uint64_t dumped;

static uint64_t resident(void)
{
    FILE *file = fopen("/proc/self/statm", "r");
    unsigned long size = 0, pages = 0;

    if (!file || fscanf(file, "%lu %lu", &size, &pages) != 2)
        exit(2);
    fclose(file);
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static double now_seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Answers how many connections it listed. */
static uint32_t dump_all(void)
{
    const struct ct_filter all = { .zone = -1 };
    struct ct_info info[ENTRIES];
    uint32_t found = 0;

    for (uint32_t at = 0; at != CT_DUMP_END;)
        found += ct_dump(worker.ct, &at, &all, worker_clock(), info, ENTRIES);
    return found;
}

static void *dump_on(void *unused)
{
    (void)unused;
    while (!over) {
        if (dumping)
            dumped += dump_all();
        else
            usleep(100);
    }
    return NULL;
}

static void run_bursts(uint32_t *at, uint32_t bursts)
{
    const struct pkt_md md = { .in_port = 1 };

    for (; bursts; bursts--) {
        struct rte_mbuf *packets[WORKER_BURST];

        for (uint32_t i = 0; i < WORKER_BURST; i++) {
            packets[i] = pool[i];
            load(pool[i], frames[*at]);
            *at = (*at + 1) % (2 * CONNECTIONS);
        }
        worker_tick(&worker);
        burst_receive(&worker, packets, WORKER_BURST, &md);
        tx_flush(&worker);
    }
}

/* The median ratio of slices with a dump to those without. */
static double cost_of_dump(uint32_t *at)
{
    double ratios[SLICES];
    pthread_t thread;

    if (pthread_create(&thread, NULL, dump_on, NULL))
        exit(2);
    for (uint32_t i = 0; i < SLICES; i++) {
        double seconds[2];

        for (int with = 0; with < 2; with++) {
            double start;

            dumping = with;
            usleep(20000);
            start = now_seconds();
            run_bursts(at, SLICE_BURSTS);
            seconds[with] = now_seconds() - start;
        }
        ratios[i] = seconds[1] / seconds[0];
    }
    over = true;
    pthread_join(thread, NULL);
    qsort(ratios, SLICES, sizeof ratios[0], by_value);
    return ratios[SLICES / 2];
}

static void make_frames(void)
{
    frames = aligned_alloc(64, 2ul * CONNECTIONS * FRAME);
    for (uint32_t i = 0; i < CONNECTIONS; i++) {
        const uint32_t src = 0x0a000000u + i, dst = 0x0b000000u | (rnd() & 0xffff), sport = 1024 + rnd() % 64000, dport = 1 + rnd() % 65000;

        make_frame(frames[2 * i], 17, src, dst, sport, dport, false);
        make_frame(frames[2 * i + 1], 17, src, dst, sport, dport, true);
    }
}

static void put_flows(void)
{
    struct cls *cls = cls_create(rcu_create());

    put_flow(cls, 1, 1, 0, 0, program(7, false, false, 1, 0));
    put_flow(cls, 2, 1, 1, CT_STATE_TRACKED | CT_STATE_NEW, program(7, true, false, 0, 2));
    put_flow(cls, 3, 1, 1, CT_STATE_TRACKED | CT_STATE_EST, program(0, false, false, 0, 2));
    worker.replica = cls_replica_add(cls, 1);
}

int main(void)
{
    struct rte_rcu_qsbr *qsbr = aligned_alloc(64, (rte_rcu_qsbr_get_memsize(CT_THREADS) + 63) & ~(size_t)63);
    double bytes, dump, flush, cost, start;
    uint64_t before;
    uint32_t at = 0, found, left;

    open_worker(&worker, &stat);
    rte_rcu_qsbr_init(qsbr, CT_THREADS);
    if (ct_create(qsbr, &worker.ct))
        return 2;
    put_flows();
    make_frames();
    before = resident();
    run_bursts(&at, 2 * CONNECTIONS / WORKER_BURST);
    bytes = (double)(resident() - before - atomic_load(&worker.ct->arena_used)) / CONNECTIONS;
    start = now_seconds();
    found = dump_all();
    dump = now_seconds() - start;
    cost = cost_of_dump(&at);
    start = now_seconds();
    ct_flush(worker.ct, &(struct ct_filter){ .zone = -1 }, worker.now);
    flush = now_seconds() - start;
    left = ct_count(worker.ct);
    printf("%u connections: %.0f bytes each beside %.0f of buckets\n", found, bytes, (double)atomic_load(&worker.ct->arena_used) / CONNECTIONS);
    printf("a dump takes %.3f s, and traffic %.3f of its time meanwhile; a flush takes %.3f s\n", dump, cost, flush);
    if (found != CONNECTIONS || left || !dumped)
        return 2;
    return bytes > 256 || dump > 2 || flush > 1;
}
