/* SPDX-License-Identifier: Apache-2.0
 * perf.h - what a poll thread's iterations were like: histograms, the last iterations and
 * milliseconds, and iterations that took suspiciously long.
 *
 * Recording is off unless it is asked for; then it costs the thread a look at a pointer an
 * iteration.  While it is on, an iteration is two words in a ring and three increments; what can be
 * said of a millisecond is the difference of counters that are kept anyway.
 *
 * Threads: perf_begin(), perf_iteration(), perf_batch(), perf_fill() and perf_millisecond() by the
 * thread; the rest by the control side, under the control mutex. */
#ifndef UPCALL_PERF_H
#define UPCALL_PERF_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/histogram.h"
#include "dp.h"

#define PERF_RING 1024u          /* Iterations; a power of two, more than DP_PERF_HISTORY. */
#define PERF_INCIDENTS 8u

struct perf_record {
    _Atomic uint64_t work;       /* cycles : 32, packets : 16, batches : 16 */
    _Atomic uint64_t rest;       /* upcall_cycles : 32, upcalls : 16, fill : 16 */
};

/* What is summed up, in this order everywhere. */
enum perf_sum { PERF_ITERATIONS, PERF_CYCLES, PERF_CYCLES_BUSY, PERF_PACKETS, PERF_BATCHES, PERF_UPCALLS, PERF_CYCLES_UPCALL, PERF_FILL, PERF_SUMS };

struct perf_ms {
    _Atomic uint64_t ms;         /* CLOCK_MONOTONIC when it began. */
    _Atomic uint64_t sums[PERF_SUMS];
};

/* A suspicious iteration, and what was around it. */
struct perf_incident {
    uint64_t iteration, cycles;
    uint32_t reason;             /* DP_PERF_CYCLES or DP_PERF_FILL. */
    uint32_t n;
    uint64_t first;              /* Number of the oldest one of `around`. */
    uint64_t work[DP_PERF_HISTORY], rest[DP_PERF_HISTORY];
};

struct perf {
    struct histogram histograms[HISTOGRAM_KINDS];
    struct perf_record ring[PERF_RING];
    _Atomic uint64_t iterations; /* Recorded; number `n` is in `ring[n % PERF_RING]`. */
    _Atomic uint64_t fill_sum;   /* Of all iterations. */
    uint32_t fill;               /* Of the iteration under way. */
    uint64_t upcalls, cycles_upcall; /* Totals at the end of the last iteration. */
    uint64_t then[PERF_SUMS];    /* Totals of the thread at the end of the last millisecond. */
    _Atomic uint64_t totals[PERF_SUMS]; /* Of what was recorded. */
    struct perf_ms ms[DP_PERF_HISTORY];
    _Atomic uint64_t ms_count;   /* Milliseconds that are over. */
    /* What is suspicious; UINT64_MAX and UINT32_MAX: nothing. */
    _Atomic uint64_t limit_cycles;
    _Atomic uint32_t limit_fill, before, after, extend;
    /* The suspicious iteration that is to be kept with what follows it, and the last of those. */
    uint64_t suspect, suspect_cycles, begin, end;
    uint32_t reason;
    _Atomic uint64_t taken, kept, lost;  /* Incidents read, written, and without room. */
    struct perf_incident incidents[PERF_INCIDENTS];
};

struct stat_counters;

/* NULL: no memory. */
struct perf *perf_create(void);
void perf_destroy(struct perf *);

/* Asked for before recording starts, and whenever it changes. */
void perf_watch(struct perf *, const struct dp_perf_watch *, uint64_t hz);

void perf_describe(const struct perf *, struct dp_perf_info *);
/* The newest first; how many. */
uint32_t perf_iterations(const struct perf *, struct dp_perf_sample *, uint32_t room);
uint32_t perf_milliseconds(const struct perf *, struct dp_perf_sample *, uint32_t room);
/* Takes the oldest incident: the newest sample first.  ENOENT: none; ENOBUFS: more than `room`. */
int perf_take(struct perf *, struct dp_perf_incident *, struct dp_perf_sample *, uint32_t room);

/* Recording begins, perhaps once more. */
void perf_begin(struct perf *, const struct stat_counters *, uint64_t ms);
/* A millisecond is over. */
void perf_millisecond(struct perf *, const struct stat_counters *, uint64_t ms);
/* Something about suspicious iterations is due. */
void perf_suspect(struct perf *, uint64_t number, uint64_t cycles, uint32_t fill);

static inline void perf_batch(struct perf *perf, uint32_t n)
{
    histogram_add(&perf->histograms[HISTOGRAM_BATCH], HISTOGRAM_BATCH, n, 1);
}

/* Packets that wait in a queue after a full batch of it. */
static inline void perf_fill(struct perf *perf, uint32_t waiting)
{
    perf->fill = waiting > perf->fill ? waiting : perf->fill;
}

static inline uint64_t perf_cut(uint64_t value, uint32_t bits)
{
    return value >> bits ? (1ull << bits) - 1 : value;
}

/* An iteration is over.  `upcalls` and `cycles_upcall` are totals of the thread. */
static inline void perf_iteration(struct perf *perf, uint64_t cycles, uint32_t packets, uint32_t batches, uint64_t upcalls,
                                  uint64_t cycles_upcall)
{
    const uint64_t number = atomic_load_explicit(&perf->iterations, memory_order_relaxed);
    struct perf_record *record = &perf->ring[number % PERF_RING];
    const uint32_t fill = perf->fill;
    uint64_t rest = 0;

    histogram_add(&perf->histograms[HISTOGRAM_CYCLES], HISTOGRAM_CYCLES, cycles, 1);
    histogram_add(&perf->histograms[HISTOGRAM_PACKETS], HISTOGRAM_PACKETS, packets, 1);
    if (packets)
        histogram_add(&perf->histograms[HISTOGRAM_CYCLES_A_PACKET], HISTOGRAM_CYCLES_A_PACKET, (uint32_t)perf_cut(cycles, 32) / packets, 1);
    if (__builtin_expect(upcalls != perf->upcalls || fill, 0)) {
        /* Iterations without are counted by their difference to all. */
        histogram_add(&perf->histograms[HISTOGRAM_UPCALLS], HISTOGRAM_UPCALLS, upcalls - perf->upcalls, upcalls != perf->upcalls);
        histogram_add(&perf->histograms[HISTOGRAM_FILL], HISTOGRAM_FILL, fill, fill != 0);
        rest = perf_cut(cycles_upcall - perf->cycles_upcall, 32) | perf_cut(upcalls - perf->upcalls, 16) << 32 |
               perf_cut(fill, 16) << 48;
        perf->upcalls = upcalls;
        perf->cycles_upcall = cycles_upcall;
        stat_add(&perf->fill_sum, fill);
        perf->fill = 0;
    }
    atomic_store_explicit(&record->work, perf_cut(cycles, 32) | perf_cut(packets, 16) << 32 | perf_cut(batches, 16) << 48,
                          memory_order_relaxed);
    atomic_store_explicit(&record->rest, rest, memory_order_relaxed);
    atomic_store_explicit(&perf->iterations, number + 1, memory_order_release);
    if (__builtin_expect(cycles > atomic_load_explicit(&perf->limit_cycles, memory_order_relaxed) || fill || number == perf->end, 0))
        perf_suspect(perf, number, cycles, fill);
}

#endif
