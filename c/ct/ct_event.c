/* SPDX-License-Identifier: Apache-2.0
 * ct_event.c - threads tell what becomes of connections (ct_event.h); ct_dump.c has who listens. */
#include <sys/eventfd.h>

#include "ct/ct_event_int.h"

static struct ct_event_ring *ring_of(const struct ct *ct, const struct ct_thread *thread)
{
    return &ct->events->rings[thread - ct->threads];
}

uint64_t ct_event_place(struct ct *ct, struct ct_thread *thread)
{
    struct ct_event_ring *ring = ring_of(ct, thread);
    const uint32_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);

    if (tail - atomic_load_explicit(&ring->head, memory_order_acquire) == CT_EVENT_RING) {
        atomic_store_explicit(&ring->lost, atomic_load_explicit(&ring->lost, memory_order_relaxed) + 1, memory_order_relaxed);
        return 0;
    }
    return atomic_fetch_add_explicit(&ct->events->places, 1, memory_order_acq_rel) + 1;
}

static void ring_bells(struct ct_events *events)
{
    uint32_t asleep = atomic_exchange_explicit(&events->asleep, 0, memory_order_seq_cst);

    for (; asleep; asleep &= asleep - 1)
        eventfd_write(events->listeners[__builtin_ctz(asleep)].bell, 1);
}

/* The record that the place is told in next. */
static struct ct_event_record *next_record(struct ct *ct, struct ct_thread *thread, uint64_t place)
{
    struct ct_event_ring *ring = ring_of(ct, thread);
    struct ct_event_record *record = &ring->records[atomic_load_explicit(&ring->tail, memory_order_relaxed) % CT_EVENT_RING];

    record->place = place;
    return record;
}

static void tell(struct ct *ct, struct ct_thread *thread)
{
    struct ct_event_ring *ring = ring_of(ct, thread);
    const uint32_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);

    /* In one order with the look at who sleeps, which the sleeper keeps as well: take(). */
    atomic_store_explicit(&ring->tail, tail + 1, memory_order_seq_cst);
    if (CT_UNLIKELY(atomic_load_explicit(&ct->events->asleep, memory_order_seq_cst)))
        ring_bells(ct->events);
}

static void take_back(struct ct *ct, struct ct_thread *thread, uint64_t place)
{
    next_record(ct, thread, place)->kind = CT_EVENT_VOID;
    tell(ct, thread);
}

void ct_event_new(struct ct *ct, struct ct_thread *thread, uint64_t place, struct ct_conn *conn, uint32_t reports, uint64_t now)
{
    struct ct_event_record *record;

    if (!(reports & atomic_load_explicit(&conn->event_mask, memory_order_relaxed))) {
        take_back(ct, thread, place);
        return;
    }
    record = next_record(ct, thread, place);
    record->kind = CT_EVENT_NEW;
    record->reports = reports;
    ct_describe(ct, conn, now, &record->info);
    tell(ct, thread);
}

void ct_event_update(struct ct *ct, struct ct_thread *thread, struct ct_conn *conn, uint32_t reports, uint64_t now)
{
    struct ct_event_record *record;
    uint64_t place;

    if (!(reports & atomic_load_explicit(&conn->event_mask, memory_order_relaxed)))
        return;
    ct_conn_lock(conn);
    /* Who ends it does so under the lock: ct_kill(). */
    place = atomic_load_explicit(&conn->life, memory_order_acquire) == CT_LIVE ? ct_event_place(ct, thread) : 0;
    ct_conn_unlock(conn);
    if (!place)
        return;
    record = next_record(ct, thread, place);
    record->kind = CT_EVENT_UPDATE;
    record->reports = reports;
    ct_describe(ct, conn, now, &record->info);
    tell(ct, thread);
}

void ct_event_destroy(struct ct *ct, struct ct_thread *thread, uint64_t place, struct ct_conn *conn)
{
    struct ct_event_record *record;

    if (!place)
        return;
    if (!conn || !(CT_REPORT_DESTROY & atomic_load_explicit(&conn->event_mask, memory_order_relaxed))) {
        take_back(ct, thread, place);
        return;
    }
    record = next_record(ct, thread, place);
    record->kind = CT_EVENT_DESTROY;
    record->reports = CT_REPORT_DESTROY;
    ct_describe(ct, conn, UINT64_MAX, &record->info); /* No time is left to it. */
    tell(ct, thread);
}

uint32_t ct_event_state(struct ct_conn *conn)
{
    uint32_t state;

    if (conn->key.proto != CT_PROTO_TCP)
        return atomic_load_explicit(&conn->progress, memory_order_relaxed);
    ct_conn_lock(conn);
    state = conn->peers[0].state | (uint32_t)conn->peers[1].state << 8;
    ct_conn_unlock(conn);
    return state;
}

uint32_t ct_event_changes(struct ct_conn *conn, uint32_t before)
{
    const uint32_t after = ct_event_state(conn);

    if (conn->key.proto == CT_PROTO_TCP)
        return (before == after ? 0 : CT_REPORT_PROTOCOL) | (before >> 8 || !(after >> 8) ? 0 : CT_REPORT_REPLY);
    return before != after && after == (ct_is_icmp_query(&conn->key) ? CT_ANSWERED : CT_BOTH_WAYS) ? CT_REPORT_REPLY : 0;
}
