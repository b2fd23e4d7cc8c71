/* SPDX-License-Identifier: Apache-2.0
 * ct_event.c - what programs see of a connection (ct_int.h), and being told what becomes of
 * connections (ct_event.h). */
#include <errno.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/invariant.h"
#include "ct/ct_alg_int.h"
#include "ct/ct_event_int.h"

#define FLAG_WINDOW_SCALE 0x01u      /* IP_CT_TCP_FLAG_*. */
#define FLAG_BE_LIBERAL 0x08u

void ct_describe(const struct ct *ct, struct ct_conn *conn, uint64_t now, struct ct_info *info)
{
    const uint64_t expires = atomic_load_explicit(&conn->expires, memory_order_relaxed);

    *info = (struct ct_info){
        .orig = conn->key, .reply = conn->reply, .mark = atomic_load_explicit(&conn->mark, memory_order_relaxed),
        .timeout = expires > now ? (uint32_t)((expires - now) / 1000) : 0,
    };
    if (conn->flags & CT_CONN_CHILD)
        info->parent = *ct_told_key(ct, conn);
    if (conn->flags & CT_CONN_HELPER)
        ct_name_helper(conn, info->helper);
    ct_conn_lock(conn);
    memcpy(info->label, conn->label, sizeof info->label);
    if (conn->key.proto == CT_PROTO_TCP) {
        for (int i = 0; i < 2; i++) {
            const struct ct_peer *peer = &conn->peers[i];

            info->tcp_state[i] = peer->state;
            info->tcp_wscale[i] = peer->scale & CT_SCALE_SHIFT;
            info->tcp_flags[i] = (uint8_t)((peer->scale & CT_SCALE_KNOWN ? FLAG_WINDOW_SCALE : 0)
                                           | (peer->scale & CT_SCALE_UNKNOWN ? FLAG_BE_LIBERAL : 0));
        }
    }
    ct_conn_unlock(conn);
}

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

/* --- Programs that listen --------------------------------------------------------------------- */

/* Moves what rings have into the log, in order.  Under the lock. */
static void collect(struct ct_events *events)
{
    for (uint32_t i = 0; i < CT_EVENT_RINGS; i++) {
        struct ct_event_ring *ring = &events->rings[i];
        uint32_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
        const uint32_t tail = atomic_load_explicit(&ring->tail, memory_order_seq_cst);

        for (; head != tail; head++) {
            const struct ct_event_record *record = &ring->records[head % CT_EVENT_RING];

            if (record->place >= events->next + CT_EVENT_KEPT)
                break; /* What comes before it is in another ring. */
            events->log[record->place % CT_EVENT_LOG] = *record;
        }
        atomic_store_explicit(&ring->head, head, memory_order_release);
    }
    while (events->log[events->next % CT_EVENT_LOG].place == events->next)
        events->next++;
}

static uint64_t lost_of_rings(const struct ct_events *events)
{
    uint64_t lost = 0;

    for (uint32_t i = 0; i < CT_EVENT_RINGS; i++)
        lost += atomic_load_explicit(&events->rings[i].lost, memory_order_relaxed);
    return lost;
}

static bool is_heard(const struct ct_event_listener *l, const struct ct_event_record *record)
{
    return l->what.kinds >> record->kind & 1 && (l->what.zone < 0 || record->info.orig.zone == l->what.zone);
}

/* What the log has for a listener.  Under the lock. */
static uint32_t copy(struct ct_events *events, struct ct_event_listener *l, struct ct_event *to, uint32_t n)
{
    uint64_t lost;
    uint32_t found = 0;

    if (events->next - l->at > CT_EVENT_KEPT) {
        l->lost += events->next - CT_EVENT_KEPT - l->at;
        l->at = events->next - CT_EVENT_KEPT;
    }
    lost = l->lost + lost_of_rings(events) - l->rings_lost;
    if (n && lost != l->told) {
        to[found++] = (struct ct_event){ .kind = CT_EVENT_LOST, .lost = lost - l->told };
        l->told = lost;
    }
    for (; found < n && l->at < events->next; l->at++) {
        const struct ct_event_record *record = &events->log[l->at % CT_EVENT_LOG];

        if (is_heard(l, record))
            to[found++] = (struct ct_event){ .kind = record->kind, .reports = record->reports, .info = record->info };
    }
    return found;
}

uint32_t ct_take_events(struct ct *ct, uint32_t listener, struct ct_event *to, uint32_t n)
{
    struct ct_events *events = ct->events;
    struct ct_event_listener *l = &events->listeners[listener];
    uint32_t found = 0;
    eventfd_t rings;

    pthread_mutex_lock(&events->lock);
    INVARIANT(l->used);
    if (eventfd_read(l->bell, &rings)) /* Before the look: what comes behind it rings again. */
        rings = 0;
    /* The second look is for what came before it was known that this one sleeps. */
    for (int look = 0; look < 2 && !found; look++) {
        collect(events);
        found = copy(events, l, to, n);
        if (!found && !look)
            atomic_fetch_or_explicit(&events->asleep, 1u << listener, memory_order_seq_cst);
    }
    pthread_mutex_unlock(&events->lock);
    return found;
}

void ct_wake_listeners(struct ct *ct)
{
    if (!ct->events)
        return;
    pthread_mutex_lock(&ct->events->lock);
    for (uint32_t i = 0; i < CT_LISTENERS; i++) {
        if (ct->events->listeners[i].used)
            eventfd_write(ct->events->listeners[i].bell, 1);
    }
    pthread_mutex_unlock(&ct->events->lock);
}

/* Takes a free place among listeners.  Under the lock. */
static int enlist(struct ct_events *events, const struct ct_listening *what, uint32_t *number)
{
    struct ct_event_listener *l;
    uint32_t i;

    for (i = 0; i < CT_LISTENERS && events->listeners[i].used; i++)
        ;
    if (i == CT_LISTENERS)
        return ENFILE;
    l = &events->listeners[i];
    if (l->bell < 0)
        l->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (l->bell < 0)
        return errno;
    collect(events);
    l->at = events->next;
    l->lost = l->told = 0;
    l->rings_lost = lost_of_rings(events);
    l->what = *what;
    l->used = true;
    *number = i;
    return 0;
}

static struct ct_events *make(void)
{
    struct ct_events *events =
        mmap(NULL, sizeof *events, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (events == MAP_FAILED)
        return NULL;
    pthread_mutex_init(&events->lock, NULL);
    events->next = 1;
    for (uint32_t i = 0; i < CT_LISTENERS; i++)
        events->listeners[i].bell = -1;
    return events;
}

int ct_listen(struct ct *ct, const struct ct_listening *what, uint32_t *listener, int *descriptor)
{
    int error;

    ct_enter(ct);
    if (!ct->events)
        ct->events = make();
    ct_leave(ct);
    if (!ct->events)
        return ENOMEM;
    pthread_mutex_lock(&ct->events->lock);
    error = enlist(ct->events, what, listener);
    if (!error) {
        *descriptor = ct->events->listeners[*listener].bell;
        ct->events->listening++;
        atomic_store_explicit(&ct->heard, true, memory_order_release);
    }
    pthread_mutex_unlock(&ct->events->lock);
    return error;
}

void ct_unlisten(struct ct *ct, uint32_t listener)
{
    struct ct_events *events = ct->events;
    eventfd_t rings;

    pthread_mutex_lock(&events->lock);
    events->listeners[listener].used = false;
    atomic_fetch_and_explicit(&events->asleep, ~(1u << listener), memory_order_seq_cst);
    if (eventfd_read(events->listeners[listener].bell, &rings)) /* For the next one. */
        rings = 0;
    if (!--events->listening)
        atomic_store_explicit(&ct->heard, false, memory_order_release);
    pthread_mutex_unlock(&events->lock);
}

void ct_events_destroy(struct ct *ct)
{
    struct ct_events *events = ct->events;

    if (!events)
        return;
    for (uint32_t i = 0; i < CT_LISTENERS; i++) {
        if (events->listeners[i].bell >= 0)
            close(events->listeners[i].bell);
    }
    pthread_mutex_destroy(&events->lock);
    munmap(events, sizeof *events);
}
