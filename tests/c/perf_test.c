/* SPDX-License-Identifier: Apache-2.0
 * What is recorded of a poll thread's iterations: bins, the last iterations and milliseconds, suspicious ones; and a reader beside
 * the thread.
 * link: pmd/perf.c base/histogram.c base/stat.c
 * sanitize: address thread */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "pmd/perf.h"

#define EQUAL(a, b) CHECK((a) == (b))

static struct dp_perf_sample samples[DP_PERF_HISTORY];

/* The bin of a value by the plainest way. */
static uint32_t plain_bin(uint32_t kind, uint64_t value)
{
    uint32_t bin = 0;

    while (bin < HISTOGRAM_BINS - 1 && value > histogram_walls[kind][bin])
        bin++;
    return bin;
}

static void test_bins(void)
{
    histogram_prepare();
    for (uint32_t kind = 0; kind < HISTOGRAM_KINDS; kind++) {
        for (uint32_t bin = 0; bin < HISTOGRAM_BINS - 1; bin++)
            for (int64_t off = -2; off <= 2; off++) {
                const int64_t value = (int64_t)histogram_walls[kind][bin] + off;

                if (value >= 0)
                    EQUAL(histogram_bin((enum histogram_kind)kind, (uint64_t)value), plain_bin(kind, (uint64_t)value));
            }
        for (uint64_t value = 1; value < 1ull << 40; value = value * 9 / 8 + 1)
            EQUAL(histogram_bin((enum histogram_kind)kind, value), plain_bin(kind, value));
    }
}

/* Iterations of a thread, and its counters. */
struct thread {
    struct perf *perf;
    struct stat_counters stat;
};

static void iterate(struct thread *t, uint64_t cycles, uint32_t packets, uint32_t batches, uint32_t upcalls)
{
    stat_add(&t->stat.iterations, 1);
    stat_add(packets ? &t->stat.cycles_busy : &t->stat.cycles_idle, cycles);
    stat_add(&t->stat.received, packets);
    stat_add(&t->stat.rx_batches, batches);
    stat_add(&t->stat.missed, upcalls);
    stat_add(&t->stat.cycles_upcall, 100 * upcalls);
    perf_iteration(t->perf, cycles, packets, batches, t->stat.missed, t->stat.cycles_upcall);
}

static struct thread *begin(void)
{
    struct thread *t = aligned_alloc(64, (sizeof *t + 63) / 64 * 64);

    memset(t, 0, sizeof *t);
    t->perf = perf_create();
    t->stat.missed = 7; /* Of before. */
    t->stat.received = 1000;
    perf_begin(t->perf, &t->stat, 50);
    return t;
}

static void end(struct thread *t)
{
    perf_destroy(t->perf);
    free(t);
}

static void test_iterations(void)
{
    struct dp_perf_info info = { 0 };
    struct thread *t = begin();

    iterate(t, 400, 0, 0, 0);
    perf_batch(t->perf, 32);
    perf_batch(t->perf, 8);
    perf_fill(t->perf, 5);
    perf_fill(t->perf, 3);
    iterate(t, 4000, 40, 2, 3);
    iterate(t, 1ull << 40, 1, 1, 0);
    perf_millisecond(t->perf, &t->stat, 51);
    perf_describe(t->perf, &info);
    EQUAL(info.counts[HISTOGRAM_CYCLES * 32], 1);
    EQUAL(info.counts[HISTOGRAM_CYCLES * 32 + plain_bin(HISTOGRAM_CYCLES, 4000)], 1);
    EQUAL(info.counts[HISTOGRAM_CYCLES * 32 + 31], 1);
    EQUAL(info.counts[HISTOGRAM_PACKETS * 32], 1);
    EQUAL(info.counts[HISTOGRAM_PACKETS * 32 + plain_bin(HISTOGRAM_PACKETS, 40)], 1);
    EQUAL(info.counts[HISTOGRAM_CYCLES_A_PACKET * 32], 1); /* 100. */
    EQUAL(info.counts[HISTOGRAM_BATCH * 32 + 30], 1);
    EQUAL(info.counts[HISTOGRAM_BATCH * 32 + 8], 1);
    EQUAL(info.counts[HISTOGRAM_FILL * 32 + 5], 1);
    EQUAL(info.counts[HISTOGRAM_FILL * 32], 2);
    EQUAL(info.counts[HISTOGRAM_UPCALLS * 32 + 3], 1);
    EQUAL(info.counts[HISTOGRAM_UPCALLS * 32], 2);
    EQUAL(info.iterations, 3);
    EQUAL(info.packets, 41);
    EQUAL(info.batches, 3);
    EQUAL(info.upcalls, 3);
    EQUAL(info.cycles_upcall, 300);
    EQUAL(info.fill, 5);
    EQUAL(perf_iterations(t->perf, samples, 10), 3);
    EQUAL(samples[0].when, 2);
    EQUAL(samples[0].cycles, UINT32_MAX); /* As much as there is room for. */
    EQUAL(samples[1].packets, 40);
    EQUAL(samples[1].batches, 2);
    EQUAL(samples[1].upcalls, 3);
    EQUAL(samples[1].cycles_upcall, 300);
    EQUAL(samples[1].fill, 5);
    EQUAL(samples[1].cycles_busy, 4000);
    EQUAL(samples[2].cycles_busy, 0);
    EQUAL(perf_milliseconds(t->perf, samples, 10), 1);
    EQUAL(samples[0].when, 50);
    EQUAL(samples[0].iterations, 3);
    EQUAL(samples[0].packets, 41);
    end(t);
}

/* Both histories keep the newest, in order, and go on after a pause. */
static void test_history(void)
{
    struct thread *t = begin();

    for (uint32_t i = 0; i < 5000; i++) {
        iterate(t, i, i % 33, 1, 0);
        if (i % 2)
            perf_millisecond(t->perf, &t->stat, 51 + i / 2);
    }
    EQUAL(perf_iterations(t->perf, samples, DP_PERF_HISTORY), DP_PERF_HISTORY);
    for (uint32_t i = 0; i < DP_PERF_HISTORY; i++) {
        EQUAL(samples[i].when, 4999 - i);
        EQUAL(samples[i].cycles, 4999 - i);
        EQUAL(samples[i].packets, (4999 - i) % 33);
    }
    EQUAL(perf_milliseconds(t->perf, samples, DP_PERF_HISTORY), DP_PERF_HISTORY - 2);
    for (uint32_t i = 0; i < DP_PERF_HISTORY - 2; i++) {
        EQUAL(samples[i].when, 2549 - i);
        EQUAL(samples[i].iterations, 2);
    }
    stat_add(&t->stat.missed, 50); /* While nothing is recorded. */
    perf_begin(t->perf, &t->stat, 9000);
    iterate(t, 10, 1, 1, 0);
    perf_millisecond(t->perf, &t->stat, 9001);
    EQUAL(perf_milliseconds(t->perf, samples, 1), 1);
    EQUAL(samples[0].when, 9000);
    EQUAL(samples[0].upcalls, 0);
    end(t);
}

static void watch(struct thread *t, uint32_t before, uint32_t after, uint32_t extend)
{
    perf_watch(t->perf, &(struct dp_perf_watch){ 1, extend, before, after, 10, 100 }, 1000000000);
}

static void test_incidents(void)
{
    struct dp_perf_incident incident;
    struct thread *t = begin();

    iterate(t, 1000000, 1, 1, 0); /* Nobody watches. */
    watch(t, 2, 3, 0);
    EQUAL(perf_take(t->perf, &incident, samples, DP_PERF_HISTORY), ENOENT);
    for (uint32_t i = 1; i < 10; i++)
        iterate(t, i == 5 ? 10001 : 10000, i, 1, 0);
    EQUAL(perf_take(t->perf, &incident, samples, 5), ENOBUFS);
    EQUAL(perf_take(t->perf, &incident, samples, 6), 0);
    EQUAL(incident.iteration, 5);
    EQUAL(incident.cycles, 10001);
    EQUAL(incident.reason, DP_PERF_CYCLES);
    EQUAL(incident.count, 6);
    for (uint32_t i = 0; i < 6; i++)
        EQUAL(samples[i].when, 8 - i);
    EQUAL(perf_take(t->perf, &incident, samples, DP_PERF_HISTORY), ENOENT);
    /* A full queue of a vhost port, and a second suspect that is only prolonged if asked for. */
    for (uint32_t extend = 0; extend < 2; extend++) {
        watch(t, 0, 2, extend);
        for (uint32_t i = 0; i < 6; i++) {
            perf_fill(t->perf, i == 1 || i == 2 ? 100 : 99);
            iterate(t, 10, 1, 1, 0);
        }
        EQUAL(perf_take(t->perf, &incident, samples, DP_PERF_HISTORY), 0);
        EQUAL(incident.reason, DP_PERF_FILL);
        EQUAL(incident.iteration, 11 + 6 * extend);
        EQUAL(incident.count, extend ? 0 : 3);
        if (extend) {
            EQUAL(perf_take(t->perf, &incident, samples, DP_PERF_HISTORY), 0);
            EQUAL(incident.iteration, 18);
            EQUAL(incident.count, 4);
        }
        EQUAL(perf_take(t->perf, &incident, samples, DP_PERF_HISTORY), ENOENT);
    }
    /* None is lost but for want of room, which is counted; a long story is cut at what is kept. */
    watch(t, 0, 0, 0);
    for (uint32_t i = 0; i < PERF_INCIDENTS + 3; i++)
        iterate(t, 20000, 1, 1, 0);
    for (uint32_t i = 0; i < PERF_INCIDENTS; i++)
        EQUAL(perf_take(t->perf, &incident, samples, DP_PERF_HISTORY), 0);
    EQUAL(perf_take(t->perf, &incident, samples, DP_PERF_HISTORY), ENOENT);
    EQUAL(t->perf->lost, 3);
    watch(t, 400, 598, 1);
    for (uint32_t i = 0; i < 3000; i++) {
        iterate(t, i % 500 == 499 ? 20000 : 5, 1, 1, 0);
        while (!perf_take(t->perf, &incident, samples, DP_PERF_HISTORY))
            CHECK(incident.count <= DP_PERF_HISTORY);
    }
    end(t);
}

static _Atomic bool stop;

static void *thread(void *arg)
{
    struct thread *t = arg;

    for (uint32_t i = 0; !atomic_load(&stop); i++) {
        iterate(t, i % 1000 ? 100 : 20000, i % 5, 1, i % 7 == 0);
        if (i % 10 == 0)
            perf_millisecond(t->perf, &t->stat, 51 + i);
    }
    return NULL;
}

static void test_reader(void)
{
    struct dp_perf_incident incident;
    struct dp_perf_info info = { 0 };
    struct thread *t = begin();
    pthread_t id;
    uint32_t taken = 0;

    watch(t, 5, 5, 0);
    CHECK(!pthread_create(&id, NULL, thread, t));
    for (uint32_t round = 0; round < 200 || taken < 3; round++) {
        uint32_t n = perf_iterations(t->perf, samples, DP_PERF_HISTORY);

        for (uint32_t i = 1; i < n; i++) {
            EQUAL(samples[i].when + 1, samples[i - 1].when);
            EQUAL(samples[i].packets, samples[i].when % 5); /* Not of another. */
        }
        n = perf_milliseconds(t->perf, samples, DP_PERF_HISTORY);
        for (uint32_t i = 1; i < n; i++)
            CHECK(samples[i].when < samples[i - 1].when);
        perf_describe(t->perf, &info);
        while (!perf_take(t->perf, &incident, samples, DP_PERF_HISTORY)) {
            EQUAL(incident.iteration % 1000, 0);
            taken++;
        }
    }
    atomic_store(&stop, true);
    pthread_join(id, NULL);
    end(t);
}

int main(void)
{
    test_bins();
    test_iterations();
    test_history();
    test_incidents();
    test_reader();
    return failures != 0;
}
