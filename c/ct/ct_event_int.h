/* SPDX-License-Identifier: Apache-2.0
 * ct_event_int.h - how the files of ct/ tell events (ct_event.h).
 *
 * Threads: each function by the thread that owns the struct ct_thread. */
#ifndef UPCALL_CT_EVENT_INT_H
#define UPCALL_CT_EVENT_INT_H

#include "ct/ct_event.h"
#include "ct/ct_int.h"

#define CT_EVENT_RING 16384u         /* Events that a thread's ring holds. */
#define CT_EVENT_LOG 65536u          /* Slots of the log. */
/* Events that programs can go back to; as many more may come out of order. */
#define CT_EVENT_KEPT (CT_EVENT_LOG / 2)
#define CT_EVENT_RINGS (CT_THREADS + 1)

struct ct_event_record {
    uint64_t place;                  /* From 1 on, without gaps. */
    uint32_t kind, reports;
    struct ct_info info;
} __attribute__((aligned(64)));

/* One thread writes, who has the log's mutex reads. */
struct ct_event_ring {
    _Atomic uint32_t tail;           /* The writer's. */
    _Atomic uint64_t lost;
    _Atomic uint32_t head __attribute__((aligned(64))); /* The reader's. */
    struct ct_event_record records[CT_EVENT_RING];
} __attribute__((aligned(64)));

struct ct_event_listener {
    uint64_t at;                     /* Place of its next event. */
    uint64_t lost, told;             /* Of the log; and how many of all it knows of. */
    uint64_t rings_lost;             /* What rings had lost when it began. */
    struct ct_listening what;
    bool used;
    int bell;                        /* eventfd; kept for the next one; -1: not made yet. */
};

struct ct_events {
    _Atomic uint64_t places __attribute__((aligned(64))); /* Taken so far. */
    /* Bits of listeners that wait: a thread that tells takes them, and rings. */
    _Atomic uint32_t asleep __attribute__((aligned(64)));
    pthread_mutex_t lock __attribute__((aligned(64)));
    uint64_t next;                   /* Place of the first event that the log lacks. */
    uint32_t listening;
    struct ct_event_listener listeners[CT_LISTENERS];
    struct ct_event_record log[CT_EVENT_LOG];
    struct ct_event_ring rings[CT_EVENT_RINGS];
};

/* Whether anybody wants to be told. */
static inline bool ct_is_heard(const struct ct *ct)
{
    return atomic_load_explicit(&ct->heard, memory_order_acquire);
}

/* Takes a place in the order for an event that the same thread tells before any other; 0: there is
 * no room. */
uint64_t ct_event_place(struct ct *, struct ct_thread *);
/* Tells a new connection at its place. */
void ct_event_new(struct ct *, struct ct_thread *, uint64_t place, struct ct_conn *, uint32_t reports, uint64_t now);
void ct_event_update(struct ct *, struct ct_thread *, struct ct_conn *, uint32_t reports, uint64_t now);
/* `conn` NULL: somebody else ended it. */
void ct_event_destroy(struct ct *, struct ct_thread *, uint64_t place, struct ct_conn *);

/* What of a connection's protocol is told when it changes; and what the change is reported as. */
uint32_t ct_event_state(struct ct_conn *);
uint32_t ct_event_changes(struct ct_conn *, uint32_t before);

void ct_events_destroy(struct ct *);

#endif
