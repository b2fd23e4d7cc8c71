/* SPDX-License-Identifier: Apache-2.0
 *
 * The entry points of dp.h about meters. */
#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "dp_int.h"
#include "meter/meter.h"
#include "packet/worker.h"
#include "pmd/pmd_set.h"

_Static_assert(DP_METER_IDS == METER_IDS && (int)DP_METER_BANDS == (int)METER_BANDS, "one number, two names");
_Static_assert((int)DP_METER_KBPS == (int)METER_KBPS && (int)DP_METER_PKTPS == (int)METER_PKTPS, "one number, two names");

static int explain(int error, uint32_t id, const struct dp_meter *meter)
{
    switch (error) {
    case ENOENT:
        return error_set(error, "there is no meter %u", id);
    case EFBIG:
        return error_set(error, "numbers of meters are below %u", DP_METER_IDS);
    case EDOM:
        return error_set(error, "a rate is 0");
    case EINVAL:
        return meter->unit > DP_METER_PKTPS ? error_set(error, "there is no unit %u of rates", meter->unit)
                                            : error_set(error, "a meter has 1 to %d bands, not %u", DP_METER_BANDS, meter->band_count);
    default:
        return error;
    }
}

int dp_meter_set(uint64_t handle, uint32_t id, const struct dp_meter *meter)
{
    struct meter_config config;
    struct dp_meter copy;
    struct dp *dp;
    int error = meter ? dp_enter(handle, &dp) : EINVAL;

    if (error)
        return error;
    memcpy(&copy, meter, sizeof copy);
    config = (struct meter_config){ .unit = copy.unit == DP_METER_KBPS ? METER_KBPS : METER_PKTPS, .band_count = copy.band_count };
    for (uint32_t b = 0; b < DP_METER_BANDS; b++) {
        config.bands[b].rate = copy.rates[b];
        config.bands[b].burst = copy.bursts[b];
    }
    error = copy.unit > DP_METER_PKTPS ? EINVAL : meter_set(dp->meters, id, &config, worker_ms(pmd_set_control(dp->pmds)));
    return dp_leave(dp, explain(error, id, &copy));
}

static void write_stats(const struct meter_stats *from, struct dp_meter_stats *to)
{
    *to = (struct dp_meter_stats){ .packets = from->all.packets, .bytes = from->all.bytes };
    for (uint32_t b = 0; b < from->band_count; b++) {
        to->band_packets[b] = from->bands[b].packets;
        to->band_bytes[b] = from->bands[b].bytes;
    }
}

int dp_meter_get(uint64_t handle, uint32_t id, struct dp_meter *meter, struct dp_meter_stats *stats)
{
    struct meter_config config;
    struct meter_stats counted;
    struct dp *dp;
    int error = meter && stats ? dp_enter(handle, &dp) : EINVAL;

    if (error)
        return error;
    error = meter_get(dp->meters, id, &config, &counted);
    if (!error) {
        *meter = (struct dp_meter){ .unit = (uint32_t)config.unit, .band_count = config.band_count };
        for (uint32_t b = 0; b < config.band_count; b++) {
            meter->rates[b] = config.bands[b].rate;
            meter->bursts[b] = config.bands[b].burst;
        }
        write_stats(&counted, stats);
    }
    return dp_leave(dp, explain(error, id, meter));
}

int dp_meter_delete(uint64_t handle, uint32_t id, struct dp_meter_stats *stats)
{
    struct meter_config config;
    struct meter_stats counted;
    struct dp *dp;
    int error = stats ? dp_enter(handle, &dp) : EINVAL;

    if (error)
        return error;
    error = meter_get(dp->meters, id, &config, &counted);
    if (!error) {
        write_stats(&counted, stats);
        error = meter_delete(dp->meters, id);
    }
    return dp_leave(dp, explain(error, id, NULL));
}

int dp_meter_next(uint64_t handle, uint32_t id, uint32_t *next)
{
    struct dp *dp;
    int error = next ? dp_enter(handle, &dp) : EINVAL;

    if (error)
        return error;
    *next = meter_next(dp->meters, id);
    return dp_leave(dp, *next < METER_IDS ? 0 : ENOENT);
}
