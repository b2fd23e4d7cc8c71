/* SPDX-License-Identifier: Apache-2.0
 * meter_run.c - meters on the way of a packet (meter.h). */
#include "meter/meter_int.h"

#include <rte_mbuf.h>
#include <stdbool.h>

#include "base/invariant.h"

/* What a burst takes from a bucket. */
struct load {
    struct rte_mbuf *const *packets;
    unsigned int n;
    bool bits;                       /* Each packet takes its bits, not METER_UNITS. */
    uint64_t all;                    /* Units of all packets. */
};

static uint64_t units_of(const struct load *load, unsigned int i)
{
    return load->bits ? (uint64_t)load->packets[i]->pkt_len * 8 : METER_UNITS;
}

/* Milliseconds that this caller has to fill the buckets for; 0: others have, or nothing is due. */
static uint64_t elapsed(struct meter *meter, uint64_t now)
{
    uint64_t used = atomic_load_explicit(&meter->used, memory_order_relaxed);

    while (now > used)
        if (atomic_compare_exchange_weak_explicit(&meter->used, &used, now, memory_order_relaxed, memory_order_relaxed))
            return RTE_MIN(now - used, (uint64_t)meter->longest);
    return 0;
}

/* What a bucket has after `ms` more milliseconds. */
static uint64_t filled(const struct meter_band *band, uint64_t bucket, uint64_t ms)
{
    const uint64_t most = (uint64_t)band->burst * METER_UNITS, more = ms * band->rate;

    return more >= most || bucket + more >= most ? most : bucket + more;
}

/* Packets that do not fit into `*bucket`, packet by packet: a small one may still fit where a
 * larger one before it did not. */
static uint32_t share(const struct load *load, uint64_t *bucket)
{
    uint32_t over = 0;

    for (unsigned int i = 0; i < load->n; i++) {
        const uint64_t units = units_of(load, i);

        if (*bucket >= units)
            *bucket -= units;
        else
            over |= 1u << i;
    }
    return over;
}

/* Takes a burst from a band's bucket; answers with the packets that are over its rate. */
static inline uint32_t take(struct meter_band *band, const struct load *load, uint64_t ms)
{
    uint64_t bucket = atomic_load_explicit(&band->bucket, memory_order_relaxed), left;
    uint32_t over;

    do {
        over = 0;
        left = ms ? filled(band, bucket, ms) : bucket;
        if (likely(left >= load->all))
            left -= load->all;
        else
            over = share(load, &left);
        if (left == bucket)
            break;
    } while (!atomic_compare_exchange_weak_explicit(&band->bucket, &bucket, left, memory_order_relaxed, memory_order_relaxed));
    return over;
}

static void add(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

/* Counts every packet that is dropped, once: for the exceeded band of the highest rate. */
static void charge(struct meter *meter, const struct load *load, uint32_t over, const uint32_t *by_band)
{
    struct meter_count sums[METER_BANDS] = { { 0, 0 } };

    for (unsigned int i = 0; i < load->n; i++) {
        uint32_t charged = METER_BANDS;

        if (!(over >> i & 1))
            continue;
        for (uint32_t b = 0; b < meter->band_count; b++)
            if (by_band[b] >> i & 1 && (charged == METER_BANDS || meter->bands[b].rate > meter->bands[charged].rate))
                charged = b;
        sums[charged].packets++;
        sums[charged].bytes += load->packets[i]->pkt_len;
    }
    for (uint32_t b = 0; b < meter->band_count; b++) {
        if (!sums[b].packets)
            continue;
        add(&meter->bands[b].packets, sums[b].packets);
        add(&meter->bands[b].bytes, sums[b].bytes);
    }
}

uint32_t meter_run(struct meters *meters, uint32_t id, struct rte_mbuf *const *packets, unsigned int n, uint64_t now)
{
    struct meter *meter = id < METER_IDS ? atomic_load_explicit(&meters->by_id[id], memory_order_acquire) : NULL;
    struct load load = { .packets = packets, .n = n };
    uint32_t over = 0, by_band[METER_BANDS];
    uint64_t bytes = 0, ms;

    INVARIANT(n <= METER_BURST);
    if (!meter)
        return 0;
    for (unsigned int i = 0; i < n; i++)
        bytes += packets[i]->pkt_len;
    load.bits = meter->unit == METER_KBPS;
    load.all = load.bits ? bytes * 8 : (uint64_t)n * METER_UNITS;
    ms = elapsed(meter, now);
    add(&meter->packets, n);
    add(&meter->bytes, bytes);
    for (uint32_t b = 0; b < meter->band_count; b++) {
        by_band[b] = take(&meter->bands[b], &load, ms);
        over |= by_band[b];
    }
    if (unlikely(over))
        charge(meter, &load, over, by_band);
    return over;
}
