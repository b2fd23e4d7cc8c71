/* SPDX-License-Identifier: Apache-2.0
 * tnl_event.h - events from poll threads: a table of a fixed size, a bell.
 *
 * An event has a number, a keyed hash of what it is about.  Its slot is one of few that the number
 * says; one that is taken by events that were told less than a second ago, or not yet, has no room.
 * Each kind has slots of its own, so a flood of one kind costs others of that kind their turn, and
 * nothing else.
 *
 * Threads: tnl_tell() by poll threads; the rest under the control mutex. */
#ifndef UPCALL_TNL_EVENT_H
#define UPCALL_TNL_EVENT_H

#include <stdatomic.h>
#include <stdint.h>

#include "dp.h"

#define TNL_EVENT_AGAIN_MS 1000u

struct tnl_event {
    _Atomic uint32_t state, ms;
    _Atomic uint64_t id;
    struct dp_tnl_event event;   /* The thread's that the state says. */
};

struct tnl_events {
    int bell;                    /* eventfd. */
    _Atomic int watch;           /* A duplicate of it: somebody's; -1: nobody's. */
    _Atomic uint32_t rung;
    struct tnl_event at[DP_TNL_EVENTS];
};

int tnl_events_init(struct tnl_events *);        /* errno. */
void tnl_events_fini(struct tnl_events *);
/* `id` is not 0. */
void tnl_tell(struct tnl_events *, uint64_t id, uint32_t now_ms, const struct dp_tnl_event *);
/* A question may be told again at once. */
void tnl_event_forget(struct tnl_events *, uint64_t id);
uint32_t tnl_event_take(struct tnl_events *, uint32_t now_ms, uint32_t max, struct dp_tnl_event *);
void tnl_event_ring(struct tnl_events *);
/* EBUSY: somebody watches. */
int tnl_event_watch(struct tnl_events *, int *descriptor);
/* By the owner of the watch; needs no mutex. */
void tnl_event_unwatch(struct tnl_events *, int descriptor);

#endif
