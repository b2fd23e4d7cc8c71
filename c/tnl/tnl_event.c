/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "tnl/tnl_event.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/invariant.h"

#define PROBES 4u

enum { FREE, WRITTEN, WAITING, TOLD };

/* Slots of a kind of event. */
struct share {
    uint32_t from, mask;
};
_Static_assert((DP_TNL_EVENTS & (DP_TNL_EVENTS - 1)) == 0, "a slot is found by low bits");

/* Packets of strangers make events about neighbours and paths, as many as they like.  Questions
 * have room that those cannot take. */
static struct share share_of(uint32_t kind)
{
    switch (kind) {
    case DP_TNL_NEIGHBOUR:
        return (struct share){ DP_TNL_EVENTS / 2, DP_TNL_EVENTS / 4 - 1 };
    case DP_TNL_MTU:
        return (struct share){ DP_TNL_EVENTS / 4 * 3, DP_TNL_EVENTS / 4 - 1 };
    default:
        return (struct share){ 0, DP_TNL_EVENTS / 2 - 1 };
    }
}

static struct tnl_event *slot_of(struct tnl_events *events, struct share share, uint64_t id)
{
    return &events->at[share.from + (id & share.mask)];
}

int tnl_events_init(struct tnl_events *events)
{
    atomic_init(&events->watch, -1);
    events->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return events->bell < 0 ? errno : 0;
}

void tnl_events_fini(struct tnl_events *events)
{
    if (events->bell >= 0)
        close(events->bell);
}

void tnl_event_ring(struct tnl_events *events)
{
    const uint64_t one = 1;

    if (write(events->bell, &one, sizeof one) < 0)
        return; /* Its counter is full: it is readable already. */
}

void tnl_tell(struct tnl_events *events, uint64_t id, uint32_t now_ms, const struct dp_tnl_event *event)
{
    const struct share share = share_of(event->kind);

    INVARIANT(id);
    for (uint32_t i = 0; i < PROBES; i++) {
        struct tnl_event *slot = slot_of(events, share, id + i);
        uint32_t state = atomic_load_explicit(&slot->state, memory_order_acquire);
        const bool recent = state == TOLD && now_ms - atomic_load_explicit(&slot->ms, memory_order_relaxed) < TNL_EVENT_AGAIN_MS;

        if (state != FREE && atomic_load_explicit(&slot->id, memory_order_relaxed) == id && (state != TOLD || recent))
            return;
        if (state == WRITTEN || state == WAITING || recent)
            continue;
        if (!atomic_compare_exchange_strong_explicit(&slot->state, &state, WRITTEN, memory_order_acquire, memory_order_relaxed))
            continue;
        slot->event = *event;
        atomic_store_explicit(&slot->id, id, memory_order_relaxed);
        atomic_store_explicit(&slot->state, WAITING, memory_order_release);
        if (!atomic_exchange_explicit(&events->rung, 1, memory_order_acq_rel))
            tnl_event_ring(events);
        return;
    }
}

void tnl_event_forget(struct tnl_events *events, uint64_t id)
{
    for (uint32_t i = 0; i < PROBES; i++) {
        struct tnl_event *slot = slot_of(events, share_of(DP_TNL_ASK), id + i);
        uint32_t told = TOLD;

        if (atomic_load_explicit(&slot->id, memory_order_relaxed) == id)
            atomic_compare_exchange_strong_explicit(&slot->state, &told, FREE, memory_order_acq_rel, memory_order_relaxed);
    }
}

uint32_t tnl_event_take(struct tnl_events *events, uint32_t now_ms, uint32_t max, struct dp_tnl_event *to)
{
    uint64_t rings;
    uint32_t n = 0;
    bool more = false;

    if (read(events->bell, &rings, sizeof rings) < 0)
        rings = 0;
    /* Before the slots are looked at: an event behind this rings again. */
    atomic_exchange_explicit(&events->rung, 0, memory_order_acq_rel);
    for (uint32_t i = 0; i < DP_TNL_EVENTS && !more; i++) {
        struct tnl_event *slot = &events->at[i];

        if (atomic_load_explicit(&slot->state, memory_order_acquire) != WAITING)
            continue;
        more = n == max;
        if (more)
            break;
        to[n++] = slot->event;
        atomic_store_explicit(&slot->ms, now_ms, memory_order_relaxed);
        atomic_store_explicit(&slot->state, TOLD, memory_order_release);
    }
    if (more && !atomic_exchange_explicit(&events->rung, 1, memory_order_acq_rel))
        tnl_event_ring(events);
    return n;
}

int tnl_event_watch(struct tnl_events *events, int *descriptor)
{
    int free_place = -1, copy = fcntl(events->bell, F_DUPFD_CLOEXEC, 0);

    if (copy < 0)
        return errno;
    if (!atomic_compare_exchange_strong_explicit(&events->watch, &free_place, copy, memory_order_acq_rel, memory_order_relaxed)) {
        close(copy);
        return EBUSY;
    }
    *descriptor = copy;
    return 0;
}

void tnl_event_unwatch(struct tnl_events *events, int descriptor)
{
    close(descriptor);
    atomic_store_explicit(&events->watch, -1, memory_order_release);
}
