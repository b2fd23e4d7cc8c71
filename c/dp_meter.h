/* SPDX-License-Identifier: Apache-2.0
 * dp_meter.h - the part of the ABI about meters; dp.h includes it, and its rules hold here.
 *
 * Threads: any, as dp.h says. */
#ifndef UPCALL_DP_METER_H
#define UPCALL_DP_METER_H

#include <stdint.h>

#include "dp_api.h"

#define DP_METER_IDS 262144u     /* Numbers of meters are below it. */
#define DP_METER_BANDS 8         /* Of a meter at most. */

#define DP_METER_KBPS 0u         /* Rates and bursts are kilobits, of 1,000 bits. */
#define DP_METER_PKTPS 1u        /* Packets. */

struct dp_meter {
    uint32_t unit;               /* DP_METER_KBPS or DP_METER_PKTPS. */
    uint32_t band_count;
    uint32_t rates[DP_METER_BANDS];  /* A second; not 0. */
    uint32_t bursts[DP_METER_BANDS]; /* What may come at once; 0: the rate. */
};

struct dp_meter_stats {
    uint64_t packets, bytes;     /* That came to it. */
    uint64_t band_packets[DP_METER_BANDS]; /* That each band dropped. */
    uint64_t band_bytes[DP_METER_BANDS];
};

/* Makes or replaces a meter; its buckets are full and its counters 0.  EFBIG, EINVAL, EDOM. */
DP_API int dp_meter_set(uint64_t dp, uint32_t id, const struct dp_meter *meter);
/* A meter and its counters.  ENOENT. */
DP_API int dp_meter_get(uint64_t dp, uint32_t id, struct dp_meter *meter, struct dp_meter_stats *stats);
/* Deletes it and gives its last counters; packets under way may be missing in them.  ENOENT. */
DP_API int dp_meter_delete(uint64_t dp, uint32_t id, struct dp_meter_stats *stats);
/* The smallest number of a meter that is >= `id`.  ENOENT. */
DP_API int dp_meter_next(uint64_t dp, uint32_t id, uint32_t *next);

#endif
