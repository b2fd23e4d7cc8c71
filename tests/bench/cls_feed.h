/* SPDX-License-Identifier: Apache-2.0
 *
 * What cls_bench.c and growth_bench.c share: packets as a device would bring them, and the cycles that a poll thread spends on them.
 *
 * Figures are of slices of 3,000,000 cycles.  Whatever runs on the other half of the core steals from a slice, so each stands between two
 * runs of a loop of known length, and counts only if these were at full speed. */
#ifndef UPCALL_CLS_FEED_H
#define UPCALL_CLS_FEED_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_cycles.h>
#include <rte_mbuf.h>

#include "act/act.h"
#include "base/stat.h"
#include "cls/cls.h"
#include "cls_bench_shapes.h"
#include "packet/extract.h"
#include "path/burst.h"
#include "path/tx.h"
#include "pmd/pmd_int.h"

#define SLICES 100
#define TRIES 600
#define POOL 64
#define DATA_OFF 128

/* What one thread receives, over and over. */
struct feed {
    uint8_t (*frames)[FRAME];
    uint32_t count, at;
    uint32_t size;                   /* Of a packet; 0: each has its own. */
    uint32_t lines;                  /* Of a frame. */
    uint32_t from;                   /* Of the pool, the half that comes next. */
    struct rte_mbuf *pool[POOL];
    uint64_t fastest;                /* Cycles of pace() on a free core. */
};

static void feed_init(struct feed *feed)
{
    memset(feed, 0, sizeof *feed);
    feed->fastest = UINT64_MAX;
    for (int i = 0; i < POOL; i++) {
        /* An odd number of lines, as in a pool: at the same place in each page they would get in each other's way. */
        struct rte_mbuf *m = aligned_alloc(64, 39 * 64);

        memset(m, 0, 39 * 64);
        m->priv_size = sizeof(struct pkt);
        m->buf_addr = (uint8_t *)(m + 1) + sizeof(struct pkt);
        m->buf_len = (uint16_t)(39 * 64 - sizeof *m - sizeof(struct pkt));
        m->nb_segs = 1;
        rte_mbuf_refcnt_set(m, 1);
        feed->pool[i] = m;
    }
}

static uint32_t lines_of(const struct shape *shape)
{
    return shape->mixed ? 2 : 1;
}

/* The frames of a shape, from the first on. */
static uint8_t (*make_frames(const struct shape *shape))[FRAME]
{
    const uint32_t lines = lines_of(shape);
    uint8_t (*frames)[FRAME] = aligned_alloc(64, ((size_t)shape->packets + 16) * lines * FRAME);

    for (uint32_t i = 0; i < shape->packets; i++) {
        if (shape->mixed)
            make_mixed(frames[i * lines]);
        else
            make_frame(frames[i], shape, i);
    }
    memset(frames[shape->packets * lines], 0, 16 * lines * FRAME);
    return frames;
}

static void feed_start(struct feed *feed, const struct shape *shape, uint8_t (*frames)[FRAME])
{
    feed->frames = frames;
    feed->count = shape->packets;
    feed->size = shape->mixed ? 0 : shape->ipv6 ? 64 : 60;
    feed->lines = lines_of(shape);
    feed->at = 0;
}

/* As a device would: the next frames, in the buffers used last. */
static void receive(struct feed *feed, struct rte_mbuf **packets)
{
    feed->from ^= WORKER_BURST;
    for (uint32_t i = 0; i < WORKER_BURST; i++) {
        uint8_t *frame = feed->frames[feed->at * feed->lines];

        packets[i] = feed->pool[feed->from + i];
        __builtin_prefetch(frame + 8 * feed->lines * FRAME);
        packets[i]->data_off = DATA_OFF;
        packets[i]->data_len = (uint16_t)(packets[i]->pkt_len = feed->size ? feed->size : end_of(frame)->size);
        memcpy(rte_pktmbuf_mtod(packets[i], void *), frame, FRAME);
        if (feed->lines == 2)
            memcpy(rte_pktmbuf_mtod_offset(packets[i], void *, FRAME), frame + FRAME, FRAME);
        if (++feed->at == feed->count)
            feed->at = 0;
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

/* Cycles a packet, of the copy alone without a worker. */
static double slice(struct feed *feed, struct worker *worker)
{
    const struct pkt_md md = { .in_port = 1 };
    uint64_t start = rte_rdtsc(), end = start, n = 0;

    for (; end - start < 3000000; end = rte_rdtsc()) {
        for (int k = 0; k < 8; k++) {
            struct rte_mbuf *packets[WORKER_BURST];

            receive(feed, packets);
            if (worker) {
                burst_receive(worker, packets, WORKER_BURST, &md);
                tx_flush(worker);
            }
            n += WORKER_BURST;
        }
    }
    return (double)(end - start) / (double)n;
}

/* Cycles a packet in clean slices, sorted; returns how many there are. */
static int clean_slices(struct feed *feed, struct worker *worker, double cycles[SLICES])
{
    int clean = 0;

    for (int i = 0; i < TRIES && clean < SLICES; i++) {
        uint64_t before = pace(), after;
        double c = slice(feed, worker);

        after = pace();
        if (before < feed->fastest || after < feed->fastest) {
            feed->fastest = before < after ? before : after;
            clean = 0;
        }
        if (i >= 10 && before < feed->fastest + feed->fastest / 16 && after < feed->fastest + feed->fastest / 16)
            cycles[clean++] = c;
    }
    qsort(cycles, (size_t)clean, sizeof cycles[0], by_value);
    return clean;
}

/* Flows get the programs in turn.  In random order, so that memory order flatters nobody. */
static uint32_t put_flows(struct cls *cls, const struct shape *shape, uint8_t (*frames)[FRAME], struct act_prog *const *progs, uint32_t n)
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

        uint8_t *frame = frames[order[i] * lines_of(shape)];
        const struct frame_end *end = shape->mixed ? end_of(frame) : NULL;

        extract_key(frame, lines_of(shape) * FRAME, end ? end->size : FRAME, &md, NULL, &key, NULL);
        shape->mask(end ? end->mask : order[i] % shape->masks, &mask);
        if (!cls_find(cls, &key) && !cls_insert(cls, 1 + put, &key, &mask, act_verdict(progs[put % n])))
            put++;
    }
    free(order);
    return put;
}

/* There is nobody to take a miss. */
static void check_hits(struct feed *feed, struct worker *worker, const char *name)
{
    const struct pkt_md md = { .in_port = 1 };

    feed->at = 0;
    for (uint32_t i = 0; i < feed->count; i += WORKER_BURST) {
        struct rte_mbuf *packets[WORKER_BURST];
        uint32_t flows[WORKER_BURST];
        uint16_t tcp_flags[WORKER_BURST];

        receive(feed, packets);
        cls_lookup(worker->replica, 1, 0, packets, WORKER_BURST, &md, flows, tcp_flags, worker->stat);
        for (int k = 0; k < WORKER_BURST; k++) {
            if (!flows[k]) {
                printf("%s: packet %u has no flow\n", name, i + (uint32_t)k);
                exit(1);
            }
        }
    }
    feed->at = 0;
}

#endif
