/* SPDX-License-Identifier: Apache-2.0
 * histogram.h - how often values of a kind fell between walls.  Kinds and walls are those of Open
 * vSwitch's pmd-perf-show, so that figures of both can be compared bin by bin.
 *
 * Threads: each thread writes its own; anybody may read. */
#ifndef UPCALL_HISTOGRAM_H
#define UPCALL_HISTOGRAM_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/stat.h"

#define HISTOGRAM_BINS 32
#define HISTOGRAM_HINTS 480

enum histogram_kind {
    HISTOGRAM_CYCLES,            /* Of an iteration. */
    HISTOGRAM_PACKETS,           /* Of an iteration. */
    HISTOGRAM_CYCLES_A_PACKET,
    HISTOGRAM_BATCH,             /* Packets of a batch. */
    HISTOGRAM_FILL,              /* Largest number of packets that waited in a vhost queue. */
    HISTOGRAM_UPCALLS,           /* Of an iteration. */
    HISTOGRAM_CYCLES_AN_UPCALL,
    HISTOGRAM_KINDS
};

struct histogram {
    _Atomic uint64_t bins[HISTOGRAM_BINS];
};

/* The largest value of each bin but the last, which takes what is larger. */
extern const uint32_t histogram_walls[HISTOGRAM_KINDS][HISTOGRAM_BINS - 1];

/* Of each class of values, in steps of a sixteenth, the first bin that may be theirs. */
extern uint8_t histogram_hints[HISTOGRAM_KINDS][HISTOGRAM_HINTS];

/* Fills the hints in: before the first value is added, as often as anybody likes. */
void histogram_prepare(void);

static inline uint32_t histogram_class(uint32_t value)
{
    uint32_t top;

    if (value < 64)
        return value;
    top = 31u - (uint32_t)__builtin_clz(value);
    return 64 + (top - 6) * 16 + (value >> (top - 4) & 15);
}

static inline uint32_t histogram_bin(enum histogram_kind kind, uint64_t value)
{
    const uint32_t *walls = histogram_walls[kind];
    const uint32_t clamped = value > UINT32_MAX ? UINT32_MAX : (uint32_t)value;
    uint32_t bin;

    if (clamped < 64) /* A class of its own. */
        return histogram_hints[kind][clamped];
    bin = histogram_hints[kind][histogram_class(clamped)];
    while (bin < HISTOGRAM_BINS - 1 && clamped > walls[bin])
        bin++;
    return bin;
}

/* Adds a value `n` times. */
static inline void histogram_add(struct histogram *histogram, enum histogram_kind kind, uint64_t value, uint64_t n)
{
    stat_add(&histogram->bins[histogram_bin(kind, value)], n);
}

#endif
