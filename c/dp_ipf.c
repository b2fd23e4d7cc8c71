/* SPDX-License-Identifier: Apache-2.0
 *
 * The entry points of dp.h about fragments. */
#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "dp_int.h"
#include "ipf/ipf.h"

#define BATCH 64u

static void write_version(const struct ipf_status *from, int v6, struct dp_ipf_version *to)
{
    const struct ipf_counters *c = &from->counters[v6];

    *to = (struct dp_ipf_version){
        .accepted = c->accepted, .completed = c->completed, .expired = c->expired, .too_small = c->too_small,
        .overlapped = c->overlapped, .purged = c->purged, .enabled = from->enabled[v6], .min_size = from->min_size[v6],
    };
}

int dp_ipf_get(uint64_t handle, struct dp_ipf_status *status)
{
    struct ipf_status now;
    struct dp *dp;
    int error = status ? dp_enter(handle, &dp) : EINVAL;

    if (error)
        return error;
    ipf_status(dp->ipf, &now);
    *status = (struct dp_ipf_status){ .full = now.full, .no_mbuf = now.no_mbuf, .bad = now.bad, .held = now.held, .max = now.max };
    write_version(&now, 0, &status->v4);
    write_version(&now, 1, &status->v6);
    return dp_leave(dp, 0);
}

int dp_ipf_set(uint64_t handle, uint32_t what, uint32_t value)
{
    struct dp *dp;
    int error = dp_enter(handle, &dp);

    if (error)
        return error;
    switch (what) {
    case DP_IPF_ENABLED:
    case DP_IPF_ENABLED + DP_IPF_V6:
        ipf_set_enabled(dp->ipf, what & DP_IPF_V6, value);
        break;
    case DP_IPF_MIN_SIZE:
    case DP_IPF_MIN_SIZE + DP_IPF_V6:
        error = ipf_set_min(dp->ipf, what & DP_IPF_V6, value);
        if (error)
            error_set(error, "fragments have %u bytes at least, not %u", IPF_MIN_LEAST, value);
        break;
    case DP_IPF_MAX:
        error = ipf_set_max(dp->ipf, value);
        if (error)
            error_set(error, "%u fragments at most can wait, not %u", IPF_MAX_MOST, value);
        break;
    default:
        error = error_set(EINVAL, "fragments have no setting %u", what);
    }
    return dp_leave(dp, error);
}

int dp_ipf_dump(uint64_t handle, uint32_t at, uint8_t *entries, uint32_t size, uint32_t *count, uint32_t *next)
{
    struct ipf_info infos[BATCH];
    struct dp_ipf_entry entry;
    uint32_t room = size / sizeof entry;
    struct dp *dp;
    int error = entries && count && next ? dp_enter(handle, &dp) : EINVAL;

    if (error)
        return error;
    *count = ipf_dump(dp->ipf, &at, infos, room < BATCH ? room : BATCH);
    for (uint32_t i = 0; i < *count; i++) {
        const struct ipf_info *info = &infos[i];

        entry = (struct dp_ipf_entry){ .id = info->id, .recirc_id = info->recirc_id, .zone = info->zone, .fragments = info->pieces,
                                       .proto = info->proto, .family = info->family, .first = info->first, .last = info->last };
        memcpy(entry.src, info->src, sizeof entry.src);
        memcpy(entry.dst, info->dst, sizeof entry.dst);
        memcpy(entries + (size_t)i * sizeof entry, &entry, sizeof entry);
    }
    *next = at;
    return dp_leave(dp, 0);
}
