/* SPDX-License-Identifier: Apache-2.0
 * ct_limit.c - how many connections a zone may have (ct_int.h), and the lock of settings (ct.h).
 *
 * As in Open vSwitch 3.1.0: a limit counts what it has admitted, not what was there before it
 * was set; the default limit has one count for all zones without a limit of their own; 0 admits
 * nothing.  A connection remembers which set of the limit admitted it, so that one set anew is
 * not diminished by the end of connections that it never counted. */
#include "ct/ct_int.h"

bool ct_limit_admit(struct ct *ct, struct ct_conn *conn)
{
    struct ct_limit *limit = &ct->limits[conn->key.zone];
    uint32_t slot = conn->key.zone, serial = atomic_load_explicit(&limit->serial, memory_order_acquire);

    conn->limit_slot = 0;
    if (CT_LIKELY(!serial)) {
        slot = CT_ZONE_DEFAULT;
        limit = &ct->limits[slot];
        serial = atomic_load_explicit(&limit->serial, memory_order_acquire);
        if (CT_LIKELY(!serial))
            return true;
    }
    if (atomic_fetch_add_explicit(&limit->count, 1, memory_order_relaxed) >= atomic_load_explicit(&limit->limit, memory_order_relaxed)) {
        atomic_fetch_sub_explicit(&limit->count, 1, memory_order_relaxed);
        return false;
    }
    conn->limit_slot = slot + 1;
    conn->limit_serial = serial;
    return true;
}

void ct_limit_leave(struct ct *ct, const struct ct_conn *conn)
{
    struct ct_limit *limit;

    if (CT_LIKELY(!conn->limit_slot))
        return;
    limit = &ct->limits[conn->limit_slot - 1];
    if (atomic_load_explicit(&limit->serial, memory_order_acquire) == conn->limit_serial)
        atomic_fetch_sub_explicit(&limit->count, 1, memory_order_relaxed);
}

void ct_limit_set(struct ct *ct, uint32_t zone, uint32_t limit)
{
    struct ct_limit *at = &ct->limits[zone];

    ct_enter(ct);
    atomic_store_explicit(&at->limit, limit, memory_order_relaxed);
    if (!atomic_load_explicit(&at->serial, memory_order_relaxed)) {
        atomic_store_explicit(&at->count, 0, memory_order_relaxed);
        atomic_store_explicit(&at->serial, ++ct->limit_serial, memory_order_release);
    }
    ct_leave(ct);
}

void ct_limit_delete(struct ct *ct, uint32_t zone)
{
    ct_enter(ct);
    atomic_store_explicit(&ct->limits[zone].serial, 0, memory_order_release);
    ct_leave(ct);
}

bool ct_limit_get(const struct ct *ct, uint32_t zone, uint32_t *limit, uint32_t *count)
{
    const struct ct_limit *at = &ct->limits[zone];
    const bool there = atomic_load_explicit(&at->serial, memory_order_acquire);

    *limit = there ? atomic_load_explicit(&at->limit, memory_order_relaxed) : 0;
    *count = there ? atomic_load_explicit(&at->count, memory_order_relaxed) : 0;
    return there;
}

void ct_enter(struct ct *ct)
{
    pthread_mutex_lock(&ct->control);
}

void ct_leave(struct ct *ct)
{
    pthread_mutex_unlock(&ct->control);
}
