/* SPDX-License-Identifier: Apache-2.0
 *
 * The entry points of dp.h about connections. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/handle.h"
#include "ct/ct_event.h"
#include "dp_int.h"
#include "packet/worker.h"

#define BATCH 64u

_Static_assert(DP_CT_DEFAULT == CT_ZONE_DEFAULT && (int)DP_CT_TIMEOUTS == (int)CT_TIMEOUTS, "one number, two names");
_Static_assert(sizeof(struct dp_ct_tuple) == sizeof(struct ct_key), "a tuple is a key");

static int no_zone(uint32_t zone)
{
    return error_set(EINVAL, "there is no zone %u: zones are 0 to 65535", zone);
}

static struct ct_filter of_zone(uint32_t zone)
{
    return (struct ct_filter){ .zone = zone == DP_CT_ALL ? -1 : (int32_t)zone };
}

static void write_tuple(const struct ct_key *key, struct dp_ct_tuple *tuple)
{
    memcpy(tuple, key, sizeof *tuple);
}

static void write_entry(const struct ct_info *info, struct dp_ct_entry *entry)
{
    memset(entry, 0, sizeof *entry);
    write_tuple(&info->orig, &entry->orig);
    write_tuple(&info->reply, &entry->reply);
    write_tuple(&info->parent, &entry->parent);
    entry->mark = info->mark;
    entry->timeout = info->timeout;
    memcpy(entry->label, info->label, sizeof entry->label);
    memcpy(entry->tcp_state, info->tcp_state, sizeof entry->tcp_state);
    memcpy(entry->tcp_scale, info->tcp_wscale, sizeof entry->tcp_scale);
    memcpy(entry->tcp_flags, info->tcp_flags, sizeof entry->tcp_flags);
    memcpy(entry->helper, info->helper, sizeof entry->helper);
}

static uint32_t dump_stored(struct ct *ct, uint32_t *at, int32_t zone, uint64_t now, struct ct_info *infos, uint32_t n)
{
    const struct ct_filter filter = { .zone = zone };

    return ct_dump(ct, at, &filter, now, infos, n);
}

/* Connections as `next_ones` has them, as many as fit. */
static int dump(uint64_t handle, uint32_t zone, uint32_t at, uint8_t *entries, uint32_t size, uint32_t *count, uint32_t *next,
                uint32_t (*next_ones)(struct ct *, uint32_t *, int32_t, uint64_t, struct ct_info *, uint32_t))
{
    struct ct_info infos[BATCH];
    struct dp_ct_entry entry;
    uint32_t room = size / sizeof entry, found;
    struct dp *dp;
    int error = entries && count && next ? dp_enter(handle, &dp) : EINVAL;

    if (error)
        return error;
    *count = 0;
    if (zone != DP_CT_ALL && zone > UINT16_MAX)
        return dp_leave(dp, no_zone(zone));
    do {
        found = next_ones(dp->ct, &at, zone == DP_CT_ALL ? -1 : (int32_t)zone, worker_clock(), infos, room < BATCH ? room : BATCH);
        for (uint32_t i = 0; i < found; i++) {
            write_entry(&infos[i], &entry);
            memcpy(entries + (size_t)(*count)++ * sizeof entry, &entry, sizeof entry);
        }
        room -= found;
    } while (room && found == BATCH && at != CT_DUMP_END);
    *next = at;
    return dp_leave(dp, 0);
}

int dp_ct_dump(uint64_t handle, uint32_t zone, uint32_t at, uint8_t *entries, uint32_t size, uint32_t *count, uint32_t *next)
{
    return dump(handle, zone, at, entries, size, count, next, dump_stored);
}

int dp_ct_expected(uint64_t handle, uint32_t zone, uint32_t at, uint8_t *entries, uint32_t size, uint32_t *count, uint32_t *next)
{
    /* All that one connection announced come together. */
    if (size < DP_CT_EXPECTED * sizeof(struct dp_ct_entry))
        return EINVAL;
    return dump(handle, zone, at, entries, size, count, next, ct_dump_expected);
}

int dp_ct_flush(uint64_t handle, uint32_t zone)
{
    const struct ct_filter filter = of_zone(zone);
    uint32_t at = 0;
    struct dp *dp;
    int error = dp_enter(handle, &dp);

    if (error)
        return error;
    if (zone != DP_CT_ALL && zone > UINT16_MAX)
        return dp_leave(dp, no_zone(zone));
    while (!error && ct_flush_some(dp->ct, &at, &filter, worker_clock()))
        error = dp_give_way(dp); /* There may be millions. */
    return dp_leave(dp, error);
}

static void read_tuple(const struct dp_ct_tuple *tuple, const struct dp_ct_tuple *mask, struct ct_key *key, struct ct_key *key_mask)
{
    memcpy(key, tuple, sizeof *key);
    memcpy(key_mask, mask, sizeof *key_mask);
    key_mask->zone = 0;
}

int dp_ct_flush_where(uint64_t handle, const struct dp_ct_filter *where)
{
    struct ct_filter filter;
    uint32_t at = 0;
    struct dp *dp;
    int error = where ? dp_enter(handle, &dp) : EINVAL;

    if (error)
        return error;
    if (where->zone != DP_CT_ALL && where->zone > UINT16_MAX)
        return dp_leave(dp, no_zone(where->zone));
    filter = of_zone(where->zone);
    filter.mark = where->mark;
    filter.mark_mask = where->mark_mask;
    memcpy(filter.label, where->label, sizeof filter.label);
    memcpy(filter.label_mask, where->label_mask, sizeof filter.label_mask);
    read_tuple(&where->orig, &where->orig_mask, &filter.orig, &filter.orig_mask);
    read_tuple(&where->reply, &where->reply_mask, &filter.reply, &filter.reply_mask);
    while (!error && ct_flush_some(dp->ct, &at, &filter, worker_clock()))
        error = dp_give_way(dp);
    return dp_leave(dp, error);
}

int dp_ct_flush_tuple(uint64_t handle, const struct dp_ct_tuple *tuple)
{
    struct ct_key key;
    struct dp *dp;
    int error = tuple ? dp_enter(handle, &dp) : EINVAL;

    if (error)
        return error;
    memcpy(&key, tuple, sizeof key);
    error = key.family == 4 || key.family == 6 ? ct_flush_tuple(dp->ct, &key, worker_clock()) : EINVAL;
    if (error)
        error_set(error, error == ENOENT ? "no connection has this tuple in zone %u" : "a tuple has addresses of IPv4 or IPv6", key.zone);
    return dp_leave(dp, error);
}

int dp_ct_get(uint64_t handle, uint32_t what, uint64_t *value)
{
    struct dp *dp;
    int error = value ? dp_enter(handle, &dp) : EINVAL;

    if (error)
        return error;
    switch (what) {
    case DP_CT_COUNT:
        *value = ct_count(dp->ct);
        break;
    case DP_CT_MAX:
        *value = ct_max(dp->ct);
        break;
    case DP_CT_TCP_SEQ_CHECK:
        *value = ct_tcp_seq_check(dp->ct);
        break;
    case DP_CT_SWEEP_MS:
        *value = ct_sweep_ms(dp->ct);
        break;
    default:
        if (what < DP_CT_COUNTER || what - DP_CT_COUNTER >= CT_COUNT_END)
            error = error_set(EINVAL, "there is no setting %u", what);
        else
            *value = ct_counter(dp->ct, (enum ct_counter)(what - DP_CT_COUNTER));
        break;
    }
    return dp_leave(dp, error);
}

int dp_ct_set(uint64_t handle, uint32_t what, uint32_t value)
{
    struct dp *dp;
    int error = dp_enter(handle, &dp);

    if (error)
        return error;
    switch (what) {
    case DP_CT_MAX:
        ct_set_max(dp->ct, value);
        break;
    case DP_CT_TCP_SEQ_CHECK:
        ct_set_tcp_seq_check(dp->ct, value != 0);
        break;
    case DP_CT_SWEEP_MS:
        ct_set_sweep_ms(dp->ct, value);
        break;
    default:
        error = error_set(EINVAL, "there is no setting %u that can be written", what);
        break;
    }
    return dp_leave(dp, error);
}

int dp_ct_counter_name(uint32_t counter, char *text, uint32_t size)
{
    static const char *const names[] = {
#define X(name, what) #name,
        CT_COUNTERS(X)
#undef X
    };

    error_clear();
    if (!text || !size)
        return EINVAL;
    if (counter >= sizeof names / sizeof names[0])
        return error_set(ENOENT, "there is no counter %u of connections", counter);
    snprintf(text, size, "%s", names[counter]);
    return 0;
}

int dp_ct_limit_set(uint64_t handle, uint32_t zone, uint32_t limit)
{
    struct dp *dp;
    int error = dp_enter(handle, &dp);

    if (error)
        return error;
    if (zone > DP_CT_DEFAULT)
        return dp_leave(dp, no_zone(zone));
    ct_limit_set(dp->ct, zone, limit);
    return dp_leave(dp, 0);
}

int dp_ct_limit_delete(uint64_t handle, uint32_t zone)
{
    struct dp *dp;
    int error = dp_enter(handle, &dp);

    if (error)
        return error;
    if (zone > DP_CT_DEFAULT)
        return dp_leave(dp, no_zone(zone));
    ct_limit_delete(dp->ct, zone);
    return dp_leave(dp, 0);
}

int dp_ct_limit_next(uint64_t handle, uint32_t zone, struct dp_ct_limit *limit)
{
    struct dp *dp;
    int error = limit ? dp_enter(handle, &dp) : EINVAL;

    if (error)
        return error;
    for (error = ENOENT; zone <= DP_CT_DEFAULT; zone++) {
        *limit = (struct dp_ct_limit){ .zone = zone };
        if (ct_limit_get(dp->ct, zone, &limit->limit, &limit->count)) {
            error = 0;
            break;
        }
    }
    return dp_leave(dp, error);
}

int dp_ct_policy_set(uint64_t handle, const struct dp_ct_policy *policy)
{
    struct dp_ct_policy copy;
    struct dp *dp;
    int error = policy ? dp_enter(handle, &dp) : EINVAL;

    if (error)
        return error;
    memcpy(&copy, policy, sizeof copy);
    error = ct_policy_set(dp->ct, copy.id, copy.seconds);
    if (error == EINVAL)
        error_set(error, "timeout policy 0 are the defaults, which cannot be set");
    return dp_leave(dp, error);
}

int dp_ct_policy_get(uint64_t handle, uint32_t id, struct dp_ct_policy *policy)
{
    struct dp *dp;
    int error = policy ? dp_enter(handle, &dp) : EINVAL;

    if (error)
        return error;
    *policy = (struct dp_ct_policy){ .id = id };
    error = ct_policy_get(dp->ct, id, policy->seconds);
    if (error)
        error_set(error, "there is no timeout policy %u", id);
    return dp_leave(dp, error);
}

int dp_ct_policy_delete(uint64_t handle, uint32_t id)
{
    struct dp *dp;
    int error = dp_enter(handle, &dp);

    if (error)
        return error;
    error = ct_policy_delete(dp->ct, id);
    if (error == ENOENT)
        error_set(error, "there is no timeout policy %u", id);
    return dp_leave(dp, error);
}

int dp_ct_policy_next(uint64_t handle, uint32_t id, uint32_t *next)
{
    struct dp *dp;
    int error = next ? dp_enter(handle, &dp) : EINVAL;

    if (error)
        return error;
    *next = ct_policy_next(dp->ct, id);
    return dp_leave(dp, *next ? 0 : ENOENT);
}

/* --- What becomes of connections -------------------------------------------------------------- */

_Static_assert((int)DP_CT_EVENT_NEW == CT_EVENT_NEW && (int)DP_CT_EVENT_UPDATE == CT_EVENT_UPDATE
               && (int)DP_CT_EVENT_DESTROY == CT_EVENT_DESTROY && (int)DP_CT_EVENT_LOST == CT_EVENT_LOST, "one number, two names");

struct ct_watch {
    struct handle_object object;
    struct dp *dp;
    uint32_t listener;
};

static void ct_watch_release(struct handle_object *object)
{
    struct ct_watch *watch = (struct ct_watch *)object;

    ct_unlisten(watch->dp->ct, watch->listener);
    dp_unref(watch->dp);
    free(watch);
}

int dp_ct_watch(uint64_t handle, uint32_t zone, uint32_t kinds, struct dp_watch_info *info)
{
    const struct ct_listening what = { .zone = zone == DP_CT_ALL ? -1 : (int32_t)zone, .kinds = kinds };
    struct ct_watch *watch;
    struct dp *dp;
    int error = info ? dp_enter(handle, &dp) : EINVAL;

    if (error)
        return error;
    if (zone != DP_CT_ALL && zone > UINT16_MAX)
        return dp_leave(dp, error_set(EINVAL, "there is no zone %u: zones are 0 to 65535", zone));
    watch = calloc(1, sizeof *watch);
    if (!watch)
        return dp_leave(dp, ENOMEM);
    atomic_init(&watch->object.references, 1);
    watch->object.release = ct_watch_release;
    watch->dp = dp;
    error = ct_listen(dp->ct, &what, &watch->listener, &info->descriptor);
    if (error) {
        free(watch);
        if (error == ENFILE)
            error_set(error, "%u programs watch connections already", CT_LISTENERS);
        return dp_leave(dp, error);
    }
    dp_ref(dp);
    error = handle_open(HANDLE_CT_WATCH, &watch->object, &info->watch);
    info->pad = 0;
    dp_unlock(dp);
    if (error)
        handle_put(&watch->object);
    dp_unref(dp);
    return error;
}

int dp_ct_watch_read(uint64_t handle, uint8_t *events, uint32_t size, uint32_t *count)
{
    uint32_t room = size / sizeof(struct dp_ct_event), found;
    struct ct_event batch[BATCH];
    struct dp_ct_event event;
    struct ct_watch *watch;
    int error;

    error_clear();
    if (!events || !count || !room)
        return EINVAL;
    *count = 0;
    watch = (struct ct_watch *)handle_get(handle, HANDLE_CT_WATCH);
    if (!watch)
        return error_set(EBADF, "no such watch");
    error = dp_lock(watch->dp);
    if (!error) {
        do {
            found = ct_take_events(watch->dp->ct, watch->listener, batch, room < BATCH ? room : BATCH);
            for (uint32_t i = 0; i < found; i++) {
                event = (struct dp_ct_event){ .kind = batch[i].kind, .reports = batch[i].reports, .lost = batch[i].lost };
                write_entry(&batch[i].info, &event.entry);
                memcpy(events + (size_t)(*count)++ * sizeof event, &event, sizeof event);
            }
            room -= found;
        } while (room && found == BATCH);
        dp_unlock(watch->dp);
    }
    handle_put(&watch->object);
    return error;
}

int dp_ct_watch_close(uint64_t handle)
{
    struct handle_object *watch;

    error_clear();
    watch = handle_close(handle, HANDLE_CT_WATCH);
    if (!watch)
        return error_set(EBADF, "no such watch");
    handle_put(watch);
    return 0;
}
