/* SPDX-License-Identifier: Apache-2.0
 * ct_limit.c - how many connections a zone may have (ct_int.h), and the lock of settings (ct.h).
 *
 * As in Open vSwitch 3.1.0: a limit counts what it has admitted, not what was there before it
 * was set; the default limit has one count for all zones without a limit of their own; 0 admits
 * nothing.  A connection remembers which set of the limit admitted it, so that one set anew is
 * not diminished by the end of connections that it never counted: not even of one that ends at
 * that very moment, after which the count would be below zero, and nothing be admitted any more. */
#include "ct/ct_int.h"

static inline uint32_t serial_of(uint64_t admitted)
{
    return (uint32_t)(admitted >> 32);
}

/* The set that has admitted one more; 0: there is no limit, or, with `*full`, it is reached. */
static uint32_t admit(struct ct_limit *limit, bool *full)
{
    uint64_t admitted = atomic_load_explicit(&limit->admitted, memory_order_acquire);

    do {
        if (CT_LIKELY(!serial_of(admitted)))
            return 0;
        *full = (uint32_t)admitted >= atomic_load_explicit(&limit->limit, memory_order_relaxed);
        if (*full)
            return 0;
    } while (!atomic_compare_exchange_weak_explicit(&limit->admitted, &admitted, admitted + 1, memory_order_acquire, memory_order_acquire));
    return serial_of(admitted);
}

bool ct_limit_admit(struct ct *ct, struct ct_conn *conn)
{
    uint32_t slot = conn->key.zone, serial;
    bool full = false;

    serial = admit(&ct->limits[slot], &full);
    if (CT_LIKELY(!serial && !full)) {
        slot = CT_ZONE_DEFAULT;
        serial = admit(&ct->limits[slot], &full);
    }
    conn->limit_slot = serial ? slot + 1 : 0;
    conn->limit_serial = serial;
    return !full;
}

void ct_limit_leave(struct ct *ct, const struct ct_conn *conn)
{
    struct ct_limit *limit;
    uint64_t admitted;

    if (CT_LIKELY(!conn->limit_slot))
        return;
    limit = &ct->limits[conn->limit_slot - 1];
    admitted = atomic_load_explicit(&limit->admitted, memory_order_relaxed);
    while (serial_of(admitted) == conn->limit_serial
           && !atomic_compare_exchange_weak_explicit(&limit->admitted, &admitted, admitted - 1, memory_order_relaxed, memory_order_relaxed))
        ;
}

void ct_limit_set(struct ct *ct, uint32_t zone, uint32_t limit)
{
    struct ct_limit *at = &ct->limits[zone];

    ct_enter(ct);
    atomic_store_explicit(&at->limit, limit, memory_order_relaxed);
    if (!serial_of(atomic_load_explicit(&at->admitted, memory_order_relaxed)))
        atomic_store_explicit(&at->admitted, (uint64_t)++ct->limit_serial << 32, memory_order_release);
    ct_leave(ct);
}

void ct_limit_delete(struct ct *ct, uint32_t zone)
{
    ct_enter(ct);
    atomic_store_explicit(&ct->limits[zone].admitted, 0, memory_order_release);
    ct_leave(ct);
}

bool ct_limit_get(const struct ct *ct, uint32_t zone, uint32_t *limit, uint32_t *count)
{
    const struct ct_limit *at = &ct->limits[zone];
    const uint64_t admitted = atomic_load_explicit(&at->admitted, memory_order_acquire);
    const bool there = serial_of(admitted);

    *limit = there ? atomic_load_explicit(&at->limit, memory_order_relaxed) : 0;
    *count = there ? (uint32_t)admitted : 0;
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
