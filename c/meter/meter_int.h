/* SPDX-License-Identifier: Apache-2.0
 * meter_int.h - a meter in memory, for the units of this folder.
 *
 * Threads: fields that are not atomic are set before a meter is published. */
#ifndef UPCALL_METER_INT_H
#define UPCALL_METER_INT_H

#include <stdatomic.h>
#include <stddef.h>

#include "meter/meter.h"

#define METER_UNITS 1000u            /* Of a bucket: a packet is so many, and a kilobit. */

struct meter_band {
    _Atomic uint64_t bucket;         /* Packets * METER_UNITS, or bits. */
    uint32_t rate, burst;
    _Atomic uint64_t packets, bytes; /* That it dropped. */
};

struct meter {
    _Atomic uint64_t used;           /* Milliseconds up to which the buckets have been filled. */
    _Atomic uint64_t packets, bytes;
    /* Milliseconds that fill every bucket, rounded down; more are counted as these. */
    uint32_t longest;
    uint16_t unit;                   /* enum meter_unit. */
    uint16_t band_count;
    struct meter_band bands[];
} __attribute__((aligned(64)));

_Static_assert(offsetof(struct meter, bands) + sizeof(struct meter_band) == 64, "the first band is on the first cache line");

struct meters {
    struct rcu *rcu;
    _Atomic(struct meter *) *by_id;  /* METER_IDS. */
    uint32_t end;                    /* No meter has had a number from here on. */
};

#endif
