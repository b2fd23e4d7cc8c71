/* SPDX-License-Identifier: Apache-2.0
 *
 * Cycles a packet of burst_receive() and tx_flush(), without devices: tables and packets of the shapes that bench:peers measures, so that a
 * regression of the lookup shows in seconds.  Built and run by cls_bench.ts.
 *
 *   cls_bench [SHAPE [ISA [BURSTS]]]
 *
 * With BURSTS, so many are received, for instructions.ts to count what they take, and nothing is measured.
 *
 * A frame is copied into each packet first, as a device would write it; `copy` is what that alone costs, and is part of every figure.
 * Figures are of slices of 3,000,000 cycles.  Whatever runs on the other half of the core steals from a slice, so each stands between two runs
 * of a loop of known length, and counts only if these were at full speed: tenth percentile, median, and how many counted.  Flows are put
 * in random order, so that memory order flatters nobody.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_mbuf.h>
#include <rte_cycles.h>

#include "act/act.h"
#include "path/burst.h"
#include "cls/cls.h"
#include "packet/extract.h"
#include "path/tx.h"
#include "pmd/pmd_int.h"
#include "port/port.h"
#include "base/rcu.h"
#include "base/stat.h"
#include "cls_bench_shapes.h"

#define SLICES 100
#define TRIES 600
#define POOL 64
#define DATA_OFF 128

static uint8_t (*frames)[FRAME];
static struct rte_mbuf *pool[POOL];
static uint32_t size;             /* Of a packet. */

static uint16_t take_all(struct port *port, uint16_t queue, struct rte_mbuf **packets, uint16_t n)
{
    (void)port;
    (void)queue;
    (void)packets;
    return n;
}

/* As a device would: the next frames, in the buffers used last. */
static void receive(uint32_t *at, uint32_t count, struct rte_mbuf **packets)
{
    static uint32_t from;

    from ^= WORKER_BURST;
    for (uint32_t i = 0; i < WORKER_BURST; i++) {
        packets[i] = pool[from + i];
        __builtin_prefetch(frames[*at + 8]);
        packets[i]->data_off = DATA_OFF;
        packets[i]->data_len = (uint16_t)(packets[i]->pkt_len = size);
        memcpy(rte_pktmbuf_mtod(packets[i], void *), frames[*at], FRAME);
        if (++*at == count)
            *at = 0;
    }
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* Cycles of the time stamp counter that a fixed number of core cycles takes. */
static uint64_t pace(void)
{
    uint64_t start = rte_rdtsc(), n = 30000;

    __asm__ volatile("1: dec %0\n\tjnz 1b" : "+r"(n) : : "cc");
    return rte_rdtsc() - start;
}

static double slice(struct worker *worker, uint32_t *at, uint32_t count)
{
    const struct pkt_md md = { .in_port = 1 };
    uint64_t start = rte_rdtsc(), end = start, n = 0;

    for (; end - start < 3000000; end = rte_rdtsc()) {
        for (int k = 0; k < 8; k++) {
            struct rte_mbuf *packets[WORKER_BURST];

            receive(at, count, packets);
            if (worker) {
                burst_receive(worker, packets, WORKER_BURST, &md);
                tx_flush(worker);
            }
            n += WORKER_BURST;
        }
    }
    return (double)(end - start) / (double)n;
}

static void measure(const char *name, const char *build, struct worker *worker, uint32_t count)
{
    static double cycles[SLICES];
    static uint64_t fastest = UINT64_MAX;
    uint32_t at = 0;
    int clean = 0;

    for (int i = 0; i < TRIES && clean < SLICES; i++) {
        uint64_t before = pace(), after;
        double c = slice(worker, &at, count);

        after = pace();
        if (before < fastest || after < fastest) {
            fastest = before < after ? before : after;
            clean = 0;
        }
        if (i >= 10 && before < fastest + fastest / 16 && after < fastest + fastest / 16)
            cycles[clean++] = c;
    }
    qsort(cycles, (size_t)clean, sizeof cycles[0], by_value);
    printf("%-14s %-7s %7.1f %7.1f cycles (%d slices)", name, build, clean ? cycles[clean / 10] : 0, clean ? cycles[clean / 2] : 0, clean);
    if (worker)
        printf("  %.2f probes a packet", (double)atomic_load(&worker->stat->mask_hit) / (double)(atomic_load(&worker->stat->hit) + 1));
    printf("\n");
    fflush(stdout);
}

/* A fixed number of bursts. */
static void receive_bursts(struct worker *worker, uint32_t count, uint32_t bursts)
{
    const struct pkt_md md = { .in_port = 1 };

    for (uint32_t at = 0; bursts; bursts--) {
        struct rte_mbuf *packets[WORKER_BURST];

        receive(&at, count, packets);
        burst_receive(worker, packets, WORKER_BURST, &md);
        tx_flush(worker);
    }
}

static uint32_t put_flows(struct cls *cls, const struct shape *shape, const struct act_prog *prog)
{
    uint32_t *order = malloc(shape->flows * sizeof *order), put = 0;

    for (uint32_t i = 0; i < shape->flows; i++)
        order[i] = i;
    for (uint32_t i = shape->flows; i > 1; i--) {
        uint32_t j = rnd() % i, x = order[i - 1];

        order[i - 1] = order[j];
        order[j] = x;
    }
    for (uint32_t i = 0; i < shape->flows; i++) {
        const struct pkt_md md = { .in_port = 1 };
        struct key key, mask;

        extract_key(frames[order[i]], FRAME, FRAME, &md, NULL, &key, NULL);
        shape->mask(order[i] % shape->masks, &mask);
        if (!cls_find(cls, &key) && !cls_insert(cls, 1 + put, &key, &mask, act_verdict(prog)))
            put++;
    }
    free(order);
    return put;
}

/* There is nobody to take a miss. */
static void check_hits(struct worker *worker, const struct shape *shape)
{
    const struct pkt_md md = { .in_port = 1 };

    for (uint32_t at = 0, i = 0; i < shape->packets; i += WORKER_BURST) {
        struct rte_mbuf *packets[WORKER_BURST];
        uint32_t flows[WORKER_BURST];
        uint16_t tcp_flags[WORKER_BURST];

        receive(&at, shape->packets, packets);
        cls_lookup(worker->replica, 1, 0, packets, WORKER_BURST, &md, flows, tcp_flags, worker->stat);
        for (int k = 0; k < WORKER_BURST; k++) {
            if (!flows[k]) {
                printf("%s: packet %u has no flow\n", shape->name, i + (uint32_t)k);
                exit(1);
            }
        }
    }
}

static void run(const struct shape *shape, struct worker *worker, struct stat_counters *stat, const char *only, uint32_t bursts)
{
    static const char *const builds[] = { "scalar", "avx2", "avx512" };
    struct rcu *rcu = rcu_create();
    struct cls *cls = cls_create(rcu);
    struct act_prog *prog = actions_of(shape);
    uint64_t start;
    uint32_t put;

    frames = aligned_alloc(64, ((size_t)shape->packets + 16) * FRAME);
    for (uint32_t i = 0; i < shape->packets; i++)
        make_frame(frames[i], shape, i);
    memset(frames[shape->packets], 0, 16 * FRAME);
    start = rte_rdtsc();
    put = put_flows(cls, shape, prog);
    printf("%-14s %u flows, %u masks, %.0f cycles an insert\n", shape->name, put, cls_mask_count(cls),
           (double)(rte_rdtsc() - start) / put);
    worker->replica = cls_replica_add(cls, 1);
    size = shape->ipv6 || shape->mixed ? 64 : 60;
    check_hits(worker, shape);
    if (!only)
        measure("copy", "", NULL, shape->packets);
    for (uint32_t isa = 0; isa < 3; isa++) {
        if ((only && strcmp(only, builds[isa])) || cls_isa_set(isa, false))
            continue;
        memset(stat, 0, sizeof *stat);
        if (bursts)
            receive_bursts(worker, shape->packets, bursts);
        else
            measure(shape->name, builds[isa], worker, shape->packets);
    }
    cls_replica_remove(cls, worker->replica);
    cls_destroy(cls);
    rcu_destroy(rcu);
    act_free(prog);
    free(frames);
}

int main(int argc, char **argv)
{
    static const struct port_class class = { .type = "sink", .tx_burst = take_all };
    static struct port_txq txq;
    static struct port port = { .class = &class, .txqs = &txq, .txq_count = 1, .mtu = 1500, .no = 2 };
    static struct worker_tx tx = { .port = &port, .no = 2 };
    static struct stat_counters stat;
    static struct worker worker;

    if (worker_init(&worker, &stat, 1, 0))
        return 1;
    atomic_store(&worker.tx[2], &tx);
    for (int i = 0; i < POOL; i++) {
        /* An odd number of lines, as in a pool: at the same place in each page they would get in each other's way. */
        struct rte_mbuf *m = aligned_alloc(64, 39 * 64);

        memset(m, 0, 39 * 64);
        m->priv_size = sizeof(struct pkt);
        m->buf_addr = (uint8_t *)(m + 1) + sizeof(struct pkt);
        m->buf_len = 1024;
        m->nb_segs = 1;
        rte_mbuf_refcnt_set(m, 1);
        pool[i] = m;
    }
    for (unsigned int i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        if (argc < 2 || !strcmp(argv[1], shapes[i].name) || !strcmp(argv[1], "all"))
            run(&shapes[i], &worker, &stat, argc > 2 ? argv[2] : NULL, argc > 3 ? (uint32_t)atoi(argv[3]) : 0);
    }
    worker_fini(&worker);
    return 0;
}
