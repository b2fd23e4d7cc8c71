/* SPDX-License-Identifier: Apache-2.0 */
#include "upcall/upcall_handler.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <rte_mempool.h>

#include "base/error.h"
#include "base/rcu.h"
#include "packet/eal.h"
#include "upcall/upcall_int.h"

/* Arenas that were mapped once, by the pointer in their first bytes.  A program may still look at
 * the arena of a handler that it closed: it then sees zeros, or another handler's upcalls, but
 * never dies of it. */
static pthread_mutex_t arenas_lock = PTHREAD_MUTEX_INITIALIZER;
static uint8_t *arenas[UPCALL_HANDLERS_MAX];
static uint32_t arena_count;

static uint8_t *arena_take(void)
{
    uint8_t *arena = NULL;

    pthread_mutex_lock(&arenas_lock);
    if (arena_count)
        arena = arenas[--arena_count];
    pthread_mutex_unlock(&arenas_lock);
    if (arena)
        return arena;
    arena = mmap(NULL, UPCALL_ARENA, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return arena == MAP_FAILED ? NULL : arena;
}

static void arena_give(uint8_t *arena)
{
    if (!arena)
        return;
    madvise(arena, UPCALL_ARENA, MADV_DONTNEED);
    pthread_mutex_lock(&arenas_lock);
    if (arena_count < UPCALL_HANDLERS_MAX)
        arenas[arena_count++] = arena;
    pthread_mutex_unlock(&arenas_lock);
}

/* --- The set ---------------------------------------------------------------------------------- */

static void free_set(void *set, void *arg)
{
    (void)arg;
    free(set);
}

/* After any change.  ENOMEM. */
static int publish(struct upcalls *upcalls)
{
    struct upcall_set *set = calloc(1, sizeof *set + UPCALL_HANDLERS_MAX * sizeof set->handlers[0]), *old;

    if (!set)
        return ENOMEM;
    set->enabled = upcalls->enabled;
    set->direct = upcalls->direct;
    for (uint32_t id = 0; id < upcalls->count; id++)
        if (upcalls->open[id])
            set->handlers[set->n++] = upcalls->open[id];
    old = atomic_exchange_explicit(&upcalls->set, set, memory_order_acq_rel);
    if (old)
        rcu_defer(upcalls->rcu, free_set, old, NULL);
    return 0;
}

struct upcalls *upcalls_create(struct rcu *rcu)
{
    struct upcalls *upcalls = aligned_alloc(64, RTE_ALIGN(sizeof *upcalls, 64));
    uint32_t quarter = rte_align32prevpow2(eal_pool()->size / 4);

    if (!upcalls)
        return NULL;
    memset(upcalls, 0, sizeof *upcalls);
    upcalls->rcu = rcu;
    upcalls->count = 1;
    upcalls->enabled = true;
    upcalls->ring_size = RTE_MIN(quarter, (uint32_t)UPCALL_RING);
    if (hash_seed(&upcalls->hash_key) || publish(upcalls)) {
        free(upcalls);
        return NULL;
    }
    return upcalls;
}

void upcalls_destroy(struct upcalls *upcalls)
{
    if (!upcalls)
        return;
    free(atomic_load_explicit(&upcalls->set, memory_order_relaxed));
    free(upcalls);
}

/* Throws away what waits; with `close`, for good. */
static void purge(struct handler *handler, bool close)
{
    struct rte_mbuf *m;
    uint64_t n = 0;

    pthread_mutex_lock(&handler->consumer);
    if (close)
        atomic_store_explicit(&handler->closed, true, memory_order_release);
    for (; handler->batch_at < handler->batch_n; n++) {
        m = handler->batch[handler->batch_at++];
        upcall_leave(handler, &m, 1);
        upcall_free(m);
    }
    for (; !rte_ring_sc_dequeue(handler->ring, (void **)&m); n++) {
        UPCALL_OBSERVE(handler->ring);
        upcall_leave(handler, &m, 1);
        upcall_free(m);
    }
    atomic_fetch_add_explicit(&handler->purged, n, memory_order_relaxed);
    pthread_mutex_unlock(&handler->consumer);
    if (close)
        handler_ring_doorbell(handler);
}

void upcalls_shutdown(struct upcalls *upcalls)
{
    for (uint32_t id = 0; id < UPCALL_HANDLERS_MAX; id++)
        if (upcalls->open[id])
            purge(upcalls->open[id], true);
    upcalls->count = 0;
    upcalls->direct = (struct upcall_direct){ .function = NULL };
    while (publish(upcalls)) /* A few hundred bytes: memory comes back. */
        usleep(1000);
}

static void add_counts(const struct handler *handler, uint64_t *handled, uint64_t *purged)
{
    *handled += atomic_load_explicit(&handler->handled, memory_order_relaxed);
    *purged += atomic_load_explicit(&handler->purged, memory_order_relaxed);
}

void upcalls_count(struct upcalls *upcalls, uint64_t *handled, uint64_t *purged)
{
    *handled = upcalls->handled_gone;
    *purged = upcalls->purged_gone;
    for (uint32_t id = 0; id < UPCALL_HANDLERS_MAX; id++)
        if (upcalls->open[id])
            add_counts(upcalls->open[id], handled, purged);
    for (const struct handler *handler = upcalls->gone; handler; handler = handler->next_gone)
        add_counts(handler, handled, purged);
}

/* --- Handlers --------------------------------------------------------------------------------- */

void handler_free(struct handler *handler)
{
    if (atomic_fetch_sub_explicit(&handler->users, 1, memory_order_acq_rel) > 1)
        return;
    if (handler->doorbell >= 0)
        close(handler->doorbell);
    arena_give(handler->arena);
    pthread_mutex_destroy(&handler->consumer);
    pthread_mutex_destroy(&handler->holder);
    free(handler->waiting);
    free(handler->ring);
    free(handler);
}

static struct handler *handler_new(const struct upcalls *upcalls, uint32_t id)
{
    struct handler *handler = aligned_alloc(64, RTE_ALIGN(sizeof *handler, 64));
    int bad;

    if (!handler)
        return NULL;
    memset(handler, 0, sizeof *handler);
    atomic_init(&handler->users, 1);
    handler->id = id;
    handler->pool = eal_pool();
    pthread_mutex_init(&handler->consumer, NULL);
    pthread_mutex_init(&handler->holder, NULL);
    handler->doorbell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    handler->arena = arena_take();
    handler->taken.arena = handler->arena;
    handler->ring = aligned_alloc(64, RTE_ALIGN((size_t)rte_ring_get_memsize(upcalls->ring_size), 64));
    /* Touched for ports that have upcalls. */
    handler->waiting = calloc(WORKER_PORTS, sizeof(*handler->waiting));
    handler->quota = upcalls->quota;
    bad = handler->doorbell < 0 || !handler->arena || !handler->ring || !handler->waiting ||
          rte_ring_init(handler->ring, "upcall", upcalls->ring_size, RING_F_SC_DEQ);
    if (!bad)
        return handler;
    handler_free(handler);
    return NULL;
}

/* No poll thread knows the handler any more: drops what came last and keeps its figures. */
static void forget(void *object, void *arg)
{
    struct handler *handler = object, **at;
    struct upcalls *upcalls = arg;

    purge(handler, false);
    add_counts(handler, &upcalls->handled_gone, &upcalls->purged_gone);
    for (at = &upcalls->gone; *at != handler; at = &(*at)->next_gone)
        ;
    *at = handler->next_gone;
    handler_free(handler);
}

/* Takes a handler away from poll threads and drops what waits for it. */
static void retire(struct upcalls *upcalls, struct handler *handler)
{
    upcalls->open[handler->id] = NULL;
    while (publish(upcalls))
        usleep(1000);
    purge(handler, true);
    handler->next_gone = upcalls->gone;
    upcalls->gone = handler;
    rcu_defer(upcalls->rcu, forget, handler, upcalls);
    rcu_reclaim(upcalls->rcu); /* Where no thread runs, at once. */
}

/* For calls that do not wait: most threads come round in microseconds. */
static int come_round(struct upcalls *upcalls, const char *what)
{
    if (!rcu_synchronize_for(upcalls->rcu, UPCALL_WAIT_MS))
        return 0;
    return error_set(EBUSY, "%s, but a poll thread has not come round for %d ms: it may be about to make one more", what, UPCALL_WAIT_MS);
}

int upcalls_open(struct upcalls *upcalls, uint32_t id, struct handler **opened, uint8_t **arena)
{
    struct handler *handler;

    if (id >= upcalls->count)
        return error_set(EINVAL, "there are %u handlers, none with id %u", upcalls->count, id);
    if (upcalls->open[id])
        return error_set(EBUSY, "handler %u is open already", id);
    handler = handler_new(upcalls, id);
    if (!handler)
        return error_set(ENOMEM, "no memory or file descriptor");
    upcalls->open[id] = handler;
    if (publish(upcalls)) {
        upcalls->open[id] = NULL;
        handler_free(handler); /* No poll thread has seen it. */
        return ENOMEM;
    }
    atomic_fetch_add_explicit(&handler->users, 1, memory_order_relaxed);
    *opened = handler;
    *arena = handler->arena;
    return 0;
}

void upcalls_close(struct upcalls *upcalls, struct handler *handler)
{
    if (upcalls->open[handler->id] == handler)
        retire(upcalls, handler);
}

/* --- Control ---------------------------------------------------------------------------------- */

void upcalls_set_ring(struct upcalls *upcalls, uint32_t size)
{
    upcalls->ring_size = size;
}

void upcalls_set_quota(struct upcalls *upcalls, uint32_t quota)
{
    upcalls->quota = quota;
}

int upcalls_set_count(struct upcalls *upcalls, uint32_t count)
{
    if (!count || count > UPCALL_HANDLERS_MAX)
        return error_set(EINVAL, "a datapath has 1 to %d handlers, not %u", UPCALL_HANDLERS_MAX, count);
    for (uint32_t id = count; id < UPCALL_HANDLERS_MAX; id++)
        if (upcalls->open[id])
            retire(upcalls, upcalls->open[id]);
    upcalls->count = count;
    return publish(upcalls);
}

int upcalls_enable(struct upcalls *upcalls, bool enable)
{
    int error;

    upcalls->enabled = enable;
    error = publish(upcalls);
    return error || enable ? error : come_round(upcalls, "Upcalls are disabled");
}

int upcalls_set_direct(struct upcalls *upcalls, const struct upcall_direct *direct)
{
    const struct upcall_direct before = upcalls->direct;
    int error;

    upcalls->direct = *direct;
    error = publish(upcalls);
    if (error)
        upcalls->direct = before;
    /* One that is taken away is waited for even if it was away already: a call before may have
     * given up waiting. */
    return error || (direct->function && !before.function) ? error : come_round(upcalls, "The callback is gone");
}

void upcalls_purge(struct upcalls *upcalls)
{
    for (uint32_t id = 0; id < UPCALL_HANDLERS_MAX; id++)
        if (upcalls->open[id])
            purge(upcalls->open[id], false);
}
