/* SPDX-License-Identifier: Apache-2.0
 * meter.c - the table of meters (meter.h). */
#include "meter/meter.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/rcu.h"
#include "meter/meter_int.h"

#define TABLE_SIZE (METER_IDS * sizeof(_Atomic(struct meter *)))

struct meters *meters_create(struct rcu *rcu)
{
    struct meters *meters = calloc(1, sizeof *meters);

    if (!meters)
        return NULL;
    meters->rcu = rcu;
    meters->by_id = mem_map(TABLE_SIZE);
    if (meters->by_id)
        return meters;
    free(meters);
    return NULL;
}

static void free_meter(void *meter, void *unused)
{
    (void)unused;
    free(meter);
}

static struct meter *meter_of(const struct meters *meters, uint32_t id)
{
    return id < METER_IDS ? atomic_load_explicit(&meters->by_id[id], memory_order_relaxed) : NULL;
}

void meters_destroy(struct meters *meters)
{
    if (!meters)
        return;
    for (uint32_t id = meter_next(meters, 0); id < METER_IDS; id = meter_next(meters, id + 1))
        free(meter_of(meters, id));
    mem_unmap(meters->by_id, TABLE_SIZE);
    free(meters);
}

/* Puts a meter, or none, in place of what is there. */
static void publish(struct meters *meters, uint32_t id, struct meter *meter)
{
    struct meter *old = atomic_exchange_explicit(&meters->by_id[id], meter, memory_order_acq_rel);

    if (old)
        rcu_defer(meters->rcu, free_meter, old, NULL);
}

int meter_set(struct meters *meters, uint32_t id, const struct meter_config *config, uint64_t now)
{
    struct meter *meter;
    size_t size;

    if (id >= METER_IDS)
        return EFBIG;
    if (config->unit > METER_PKTPS || !config->band_count || config->band_count > METER_BANDS)
        return EINVAL;
    for (uint32_t b = 0; b < config->band_count; b++)
        if (!config->bands[b].rate)
            return EDOM;
    size = (offsetof(struct meter, bands) + config->band_count * sizeof meter->bands[0] + 63) & ~(size_t)63;
    meter = aligned_alloc(64, size);
    if (!meter)
        return ENOMEM;
    memset(meter, 0, size);
    atomic_init(&meter->used, now);
    meter->unit = (uint16_t)config->unit;
    meter->band_count = (uint16_t)config->band_count;
    for (uint32_t b = 0; b < config->band_count; b++) {
        struct meter_band *band = &meter->bands[b];
        uint64_t full, most;

        band->rate = config->bands[b].rate;
        band->burst = config->bands[b].burst ? config->bands[b].burst : band->rate;
        most = (uint64_t)band->burst * METER_UNITS;
        atomic_init(&band->bucket, most);
        full = most / band->rate;
        if (full > meter->longest)
            meter->longest = full > UINT32_MAX ? UINT32_MAX : (uint32_t)full;
    }
    /* Bursts may all be less than a millisecond has.  Open vSwitch 3.1.0 rounds that down to none,
     * and such a meter passes its first burst and then nothing ever. */
    if (!meter->longest)
        meter->longest = 1;
    publish(meters, id, meter);
    if (meters->end <= id)
        meters->end = id + 1;
    return 0;
}

static uint64_t get(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

int meter_get(const struct meters *meters, uint32_t id, struct meter_config *config, struct meter_stats *stats)
{
    const struct meter *meter = meter_of(meters, id);

    if (!meter)
        return ENOENT;
    *config = (struct meter_config){ .unit = (enum meter_unit)meter->unit, .band_count = meter->band_count };
    *stats = (struct meter_stats){ .all = { get(&meter->packets), get(&meter->bytes) }, .band_count = meter->band_count };
    for (uint32_t b = 0; b < meter->band_count; b++) {
        const struct meter_band *band = &meter->bands[b];

        config->bands[b].rate = band->rate;
        config->bands[b].burst = band->burst;
        stats->bands[b] = (struct meter_count){ get(&band->packets), get(&band->bytes) };
    }
    return 0;
}

int meter_delete(struct meters *meters, uint32_t id)
{
    if (!meter_of(meters, id))
        return ENOENT;
    publish(meters, id, NULL);
    return 0;
}

uint32_t meter_next(const struct meters *meters, uint32_t id)
{
    for (; id < meters->end; id++)
        if (meter_of(meters, id))
            return id;
    return METER_IDS;
}
