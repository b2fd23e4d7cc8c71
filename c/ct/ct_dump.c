/* SPDX-License-Identifier: Apache-2.0
 * ct_dump.c - what programs see of connections, forgetting them (ct.h), and being told what becomes
 * of them (ct_event.h).
 *
 * Records are walked by number: one that is there all the time is seen exactly once, whatever
 * comes and goes meanwhile. */
#include <errno.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/invariant.h"
#include "ct/ct_alg_int.h"
#include "ct/ct_event_int.h"

#define SLICE 65536u                 /* Records looked at in one call of a dump. */
#define FLUSH 4096u                  /* The same of a flush, which costs more. */

#define FLAG_WINDOW_SCALE 0x01u      /* IP_CT_TCP_FLAG_*. */
#define FLAG_BE_LIBERAL 0x08u

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
        strcpy(info->helper, conn->flags & CT_CONN_FTP ? "ftp" : "tftp");
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
