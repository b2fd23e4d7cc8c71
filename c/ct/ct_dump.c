/* SPDX-License-Identifier: Apache-2.0
 * ct_dump.c - what programs see of connections, and forgetting them (ct.h).
 *
 * Records are walked by number: one that is there all the time is seen exactly once, whatever
 * comes and goes meanwhile. */
#include <errno.h>

#include "ct/ct_int.h"

#define SLICE 65536u                 /* Records looked at in one call of a dump. */
#define FLUSH 4096u                  /* The same of a flush, which costs more. */

static bool is_none(const uint8_t label[16])
{
    static const uint8_t none[16];

    return !memcmp(label, none, sizeof none);
}

static bool matches(const struct ct_key *key, const struct ct_key *value, const struct ct_key *mask)
{
    uint64_t differs = 0;

    for (int i = 0; i < 5; i++)
        differs |= (key->words[i] ^ value->words[i]) & mask->words[i];
    return !differs;
}

static bool is_every(const struct ct_filter *filter)
{
    static const struct ct_key none;

    return filter->zone < 0 && !filter->mark_mask && is_none(filter->label_mask) && !memcmp(&filter->orig_mask, &none, sizeof none)
           && !memcmp(&filter->reply_mask, &none, sizeof none);
}

/* Whether a record is alive and one of those that are wanted. */
static bool is_wanted(struct ct_conn *conn, const struct ct_filter *filter, uint64_t now)
{
    bool same = true;

    if (!ct_alive(conn, now) || (filter->zone >= 0 && conn->key.zone != filter->zone))
        return false;
    if ((atomic_load_explicit(&conn->mark, memory_order_relaxed) ^ filter->mark) & filter->mark_mask)
        return false;
    if (!matches(&conn->key, &filter->orig, &filter->orig_mask) || !matches(&conn->reply, &filter->reply, &filter->reply_mask))
        return false;
    if (is_none(filter->label_mask))
        return true;
    ct_conn_lock(conn);
    for (int i = 0; i < 16; i++)
        same &= !((conn->label[i] ^ filter->label[i]) & filter->label_mask[i]);
    ct_conn_unlock(conn);
    return same;
}

uint32_t ct_dump(struct ct *ct, uint32_t *at, const struct ct_filter *filter, uint64_t now, struct ct_info *info, uint32_t n)
{
    const uint32_t end = atomic_load_explicit(&ct->fresh, memory_order_acquire);
    const uint32_t stop = *at < end && end - *at > SLICE ? *at + SLICE : end;
    uint32_t found = 0;

    ct_enter(ct);
    for (; found < n && *at < stop; ++*at) {
        if (is_wanted(&ct->conns[*at], filter, now))
            ct_describe(ct, &ct->conns[*at], now, &info[found++]);
    }
    ct_leave(ct);
    if (*at >= end)
        *at = CT_DUMP_END;
    return found;
}

bool ct_flush_some(struct ct *ct, uint32_t *at, const struct ct_filter *filter, uint64_t now)
{
    const uint32_t end = atomic_load_explicit(&ct->fresh, memory_order_acquire);
    const uint32_t stop = *at < end && end - *at > FLUSH ? *at + FLUSH : end;
    const bool all = is_every(filter);

    ct_enter(ct);
    for (; *at < stop; ++*at) {
        struct ct_conn *conn = &ct->conns[*at];

        /* One that has expired counts as well: what is flushed is out of the table's numbers. */
        if (all ? atomic_load_explicit(&conn->life, memory_order_acquire) == CT_LIVE : is_wanted(conn, filter, now))
            ct_kill(ct, &ct->threads[0], *at);
    }
    ct_leave(ct);
    return *at < end;
}

void ct_flush(struct ct *ct, const struct ct_filter *filter, uint64_t now)
{
    uint32_t at = 0;

    while (ct_flush_some(ct, &at, filter, now))
        ;
}

int ct_flush_tuple(struct ct *ct, const struct ct_key *key, uint64_t now)
{
    uint8_t reply;
    uint32_t id;
    int error = ENOENT;

    ct_enter(ct);
    id = ct_find(ct, key, ct_hash(ct, key), now, &reply);
    /* The answers' tuple names a connection only where nothing is translated, as in Open
     * vSwitch. */
    if (id != CT_NONE && !(reply && ct->conns[id].flags & (CT_CONN_SNAT | CT_CONN_DNAT)) && ct_kill(ct, &ct->threads[0], id))
        error = 0;
    ct_leave(ct);
    return error;
}
