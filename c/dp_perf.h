/* SPDX-License-Identifier: Apache-2.0
 * dp_perf.h - the part of the ABI about how busy poll threads are; dp.h includes it, and its rules
 * hold here.
 *
 * The settings of it are those of dp_set_config(): pmd-perf-metrics, pmd-auto-lb and their like.
 *
 * Threads: any, as dp.h says. */
#ifndef UPCALL_DP_PERF_H
#define UPCALL_DP_PERF_H

#include <stdint.h>

#include "dp_api.h"

/* --- Where the cycles of a minute went -------------------------------------------------------- */

#define DP_LOAD_SAMPLES 12u      /* That are kept. */

/* Cycles of the last samples of a poll thread. */
struct dp_load_info {
    uint32_t samples;        /* Taken of the thread, those asked for at most; 0: none yet. */
    uint32_t sample_ms;      /* How long one is. */
    uint64_t cycles;         /* All that passed. */
    uint64_t busy;           /* Of iterations with packets. */
};
/* Of the thread on a core, its last `samples`.  ENOENT: no thread. */
DP_API int dp_load_get(uint64_t dp, uint32_t core, uint32_t samples, struct dp_load_info *load);
/* Cycles that the index-th receive queue of dp_rxq_get() took in its last `samples`.  ENOENT. */
DP_API int dp_load_rxq(uint64_t dp, uint32_t index, uint32_t samples, uint64_t *cycles);

/* --- Balance by itself ------------------------------------------------------------------------ */

#define DP_BALANCE_NODES 8u

#define DP_BALANCE_YES 0u        /* It is worth it. */
#define DP_BALANCE_LITTLE 1u     /* Less than the improvement that is asked for. */
#define DP_BALANCE_ROUNDROBIN 2u /* The assignment does not look at load. */
#define DP_BALANCE_FEW 3u        /* No two threads that are not isolated, or none has two queues. */
#define DP_BALANCE_CROSS 4u      /* Queues of one NUMA node are polled by another. */

/* Settings, what came of them, and what would become of dealing the queues out now.  Variances are
 * those of the busy per cent of the threads of a NUMA node that are not isolated. */
struct dp_balance_info {
    uint32_t enabled;
    uint32_t load_threshold;        /* Per cent. */
    uint32_t improvement_threshold; /* Per cent. */
    uint32_t interval_min;
    uint32_t sample_ms;
    uint32_t overloaded;     /* Threads, not isolated, at the load threshold in all samples. */
    uint64_t checks;         /* Intervals that passed with such a thread. */
    uint64_t rebalances;     /* Checks that dealt the queues out anew. */
    uint32_t last;           /* What the last check said, DP_BALANCE_*. */
    uint32_t last_improvement;
    uint32_t verdict;        /* Of now, DP_BALANCE_*. */
    uint32_t nodes;
    uint32_t numa[DP_BALANCE_NODES];
    uint64_t current[DP_BALANCE_NODES];
    uint64_t estimate[DP_BALANCE_NODES];
    uint32_t improvement[DP_BALANCE_NODES]; /* Per cent. */
};
/* Without `dry_run` the last five fields are 0. */
DP_API int dp_balance_get(uint64_t dp, uint32_t dry_run, struct dp_balance_info *info);

/* --- What iterations were like ---------------------------------------------------------------- */

#define DP_PERF_BINS 32u
#define DP_PERF_KINDS 7u
#define DP_PERF_WALLS 217u       /* DP_PERF_KINDS * (DP_PERF_BINS - 1) */
#define DP_PERF_COUNTS 224u      /* DP_PERF_KINDS * DP_PERF_BINS */
#define DP_PERF_HISTORY 1000u

/* Kinds, in order: cycles and packets of an iteration, cycles of a packet, packets of a batch,
 * largest number of packets waiting in a vhost queue, upcalls of an iteration, cycles of one. */
struct dp_perf_info {
    uint32_t enabled;        /* 1: it is recorded now.  Figures of an earlier time stay. */
    uint32_t pad;
    uint64_t hz;             /* Cycles of a second. */
    /* Totals of what was recorded, to the last millisecond. */
    uint64_t iterations, cycles, cycles_busy, packets, batches, upcalls, cycles_upcall, fill;
    uint64_t incidents_lost; /* Suspicious iterations that nobody fetched in time. */
    uint64_t counts[DP_PERF_COUNTS]; /* Of each kind, of each bin. */
};
/* The poll thread on a core.  ENOENT: none. */
DP_API int dp_perf_get(uint64_t dp, uint32_t core, struct dp_perf_info *info);
/* The largest value of each bin but the last, of each kind: DP_PERF_WALLS numbers of 32 bits. */
DP_API int dp_perf_walls(uint8_t *walls, uint32_t size);

/* An iteration, or all those that ended in a millisecond. */
struct dp_perf_sample {
    uint64_t when;           /* Number of the iteration, or CLOCK_MONOTONIC in ms. */
    uint64_t iterations;     /* 1 for an iteration. */
    uint64_t cycles, cycles_busy, packets, batches, upcalls, cycles_upcall;
    uint64_t fill;           /* Of a millisecond: the sum. */
};
#define DP_PERF_ITERATIONS 0u
#define DP_PERF_MILLISECONDS 1u
/* The newest first, `room` at most, DP_PERF_HISTORY are kept.  ENOENT: no thread on that core. */
DP_API int dp_perf_history(uint64_t dp, uint32_t core, uint32_t which, uint8_t *samples, uint32_t room, uint32_t *count);

/* What makes an iteration suspicious, and how many around it are kept with it. */
struct dp_perf_watch {
    uint32_t enabled;
    uint32_t extend;         /* 1: further ones while it waits for what follows prolong that. */
    uint32_t before, after;  /* Iterations; DP_PERF_HISTORY - 2 in all at most (EINVAL). */
    uint32_t us;             /* It took longer. */
    uint32_t fill;           /* At least so many packets waited in a vhost queue. */
};
DP_API int dp_perf_watch_get(uint64_t dp, struct dp_perf_watch *watch);
/* Holds for all threads, while they record. */
DP_API int dp_perf_watch_set(uint64_t dp, const struct dp_perf_watch *watch);

#define DP_PERF_CYCLES 0u
#define DP_PERF_FILL 1u
struct dp_perf_incident {
    uint64_t iteration;
    uint64_t cycles;
    uint32_t reason;         /* DP_PERF_CYCLES or DP_PERF_FILL. */
    uint32_t count;          /* Samples around it; 0: a further one made it longer. */
};
/* Takes the oldest suspicious iteration of a thread, with those around it, the newest first.
 * ENOENT: none, or no such thread.  More than 100 around one are kept once only: `before`, `after`
 * and `extend` are back at 5, 5 and 0 then. */
DP_API int dp_perf_suspicious(uint64_t dp, uint32_t core, struct dp_perf_incident *incident, uint8_t *samples, uint32_t room);

#endif
