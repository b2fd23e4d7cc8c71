/* SPDX-License-Identifier: Apache-2.0
 * meter.h - meters: how many packets or bits a second the `meter` action lets pass.
 *
 * A meter has up to METER_BANDS bands, each a bucket that fills by its rate, up to its burst, and
 * that every packet takes from: 1,000 units a packet, or its bits.  A packet that finds too little
 * in a bucket is over that band's rate, and the caller drops it.  What is counted, and when, is as
 * in Open vSwitch 3.1.0 (dpif-netdev.c): time counts in whole milliseconds, a band with room is
 * charged for packets that another band drops, a dropped packet is counted by the exceeded band of
 * the highest rate.
 *
 * One bucket for all threads.  A word of each meter says up to which millisecond its buckets have
 * been filled; the thread that moves it fills them, so nothing is credited twice.  Each bucket is
 * one word, changed by compare and exchange, so nothing is spent twice.  A meter of one band is one
 * cache line.
 *
 * Owners.  The table owns the meters; one that was replaced or deleted is freed after a grace
 * period.  A `meter` action names a number, not a meter: where there is none, packets pass.
 *
 * Threads: meter_run by any thread that `rcu` knows, or the control side; everything else under
 * the control mutex. */
#ifndef UPCALL_METER_H
#define UPCALL_METER_H

#include <stdint.h>

struct meters;
struct rcu;
struct rte_mbuf;

#define METER_IDS (1u << 18)         /* Numbers are below it. */
#define METER_BANDS 8
#define METER_BURST 32               /* Packets of a burst at most. */

enum meter_unit {
    METER_KBPS,                      /* Kilobits (1,000 bits) a second. */
    METER_PKTPS,                     /* Packets a second. */
};

struct meter_config {
    enum meter_unit unit;
    uint32_t band_count;             /* 1 to METER_BANDS. */
    struct {
        uint32_t rate;               /* A second; not 0. */
        uint32_t burst;              /* Packets or kilobits that may come at once; 0: `rate`. */
    } bands[METER_BANDS];
};

struct meter_count {
    uint64_t packets, bytes;
};

struct meter_stats {
    struct meter_count all;          /* Packets that came to it. */
    uint32_t band_count;
    struct meter_count bands[METER_BANDS]; /* Packets that each band dropped. */
};

/* Up to METER_IDS meters.  NULL: no memory. */
struct meters *meters_create(struct rcu *);
void meters_destroy(struct meters *);  /* No thread in meter_run; NULL is fine. */

/* Makes or replaces a meter: full buckets, counters of 0.  `now` as meter_run takes it.  EFBIG:
 * there is no such number; EINVAL: a unit or count of bands that there is not; EDOM: a rate of 0;
 * ENOMEM. */
int meter_set(struct meters *, uint32_t id, const struct meter_config *, uint64_t now);
/* ENOENT. */
int meter_get(const struct meters *, uint32_t id, struct meter_config *, struct meter_stats *);
int meter_delete(struct meters *, uint32_t id);
/* The smallest number of a meter that is >= `id`; METER_IDS: there is none. */
uint32_t meter_next(const struct meters *, uint32_t id);

/* Meters a burst of at most METER_BURST packets: answers with the bits of those over the rate,
 * which are the caller's as the others are.  `now` is milliseconds of any clock that runs; one that
 * is behind what another thread said counts as the same. */
uint32_t meter_run(struct meters *, uint32_t id, struct rte_mbuf *const *packets, unsigned int n, uint64_t now);

#endif
