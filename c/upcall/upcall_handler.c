/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <rte_mempool.h>

#include "dp_int.h"
#include "packet/eal.h"
#include "base/error.h"
#include "base/rcu.h"
#include "upcall/upcall_int.h"

/* Arenas that were mapped once, by the pointer in their first bytes.  A program may still look at the arena of a handler that it closed: it then sees
 * zeros, or another handler's upcalls, but never dies of it. */
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

/* --- The set ---------------------------------------------------------------------------------------------- */

static void free_set(void *set, void *arg)
{
    (void)arg;
    free(set);
}

int upcalls_publish(struct upcalls *upcalls)
{
    struct upcall_set *set = calloc(1, sizeof *set + UPCALL_HANDLERS_MAX * sizeof set->handlers[0]), *old;

    if (!set)
        return ENOMEM;
    set->enabled = upcalls->enabled;
    set->direct = upcalls->direct;
    set->aux = upcalls->aux;
    set->service = upcalls->service;
    for (uint32_t id = 0; id < upcalls->count; id++)
        if (upcalls->open[id])
            set->handlers[set->n++] = upcalls->open[id];
    old = atomic_exchange_explicit(&upcalls->set, set, memory_order_acq_rel);
    if (old)
        rcu_defer(upcalls->dp->rcu, free_set, old, NULL);
    return 0;
}

struct upcalls *upcalls_create(struct dp *dp)
{
    struct upcalls *upcalls = aligned_alloc(64, RTE_ALIGN(sizeof *upcalls, 64));
    uint32_t quarter = rte_align32prevpow2(eal_pool()->size / 4);

    if (!upcalls)
        return NULL;
    memset(upcalls, 0, sizeof *upcalls);
    upcalls->dp = dp;
    upcalls->count = 1;
    upcalls->enabled = true;
    upcalls->ring_size = RTE_MIN(quarter, (uint32_t)UPCALL_RING);
    if (hash_seed(&upcalls->hash_key) || upcalls_publish(upcalls)) {
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

void upcalls_shutdown(struct upcalls *upcalls)
{
    for (uint32_t id = 0; id < UPCALL_HANDLERS_MAX; id++)
        if (upcalls->open[id])
            handler_purge(upcalls->open[id], true);
    upcalls->count = 0;
    upcalls->direct = NULL;
    while (upcalls_publish(upcalls)) /* A few hundred bytes: memory comes back. */
        usleep(1000);
}

void upcalls_count(struct upcalls *upcalls, uint64_t *handled, uint64_t *purged)
{
    *handled = upcalls->handled_gone;
    *purged = upcalls->purged_gone;
    for (uint32_t id = 0; id < UPCALL_HANDLERS_MAX; id++) {
        if (upcalls->open[id]) {
            *handled += atomic_load_explicit(&upcalls->open[id]->handled, memory_order_relaxed);
            *purged += atomic_load_explicit(&upcalls->open[id]->purged, memory_order_relaxed);
        }
    }
}

/* --- Handlers --------------------------------------------------------------------------------------------- */

void handler_purge(struct handler *handler, bool close)
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

static void handler_release(struct handle_object *object)
{
    struct handler *handler = (struct handler *)object;

    if (handler->doorbell >= 0)
        close(handler->doorbell);
    arena_give(handler->arena);
    pthread_mutex_destroy(&handler->consumer);
    free(handler->waiting);
    free(handler->ring);
    dp_unref(handler->dp);
    free(handler);
}

static struct handler *handler_new(struct dp *dp, uint32_t id)
{
    struct upcalls *upcalls = dp->upcalls;
    struct handler *handler = aligned_alloc(64, RTE_ALIGN(sizeof *handler, 64));
    int bad;

    if (!handler)
        return NULL;
    memset(handler, 0, sizeof *handler);
    atomic_init(&handler->object.references, 1);
    handler->object.release = handler_release;
    handler->dp = dp;
    dp_ref(dp);
    handler->id = id;
    pthread_mutex_init(&handler->consumer, NULL);
    handler->doorbell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    handler->arena = arena_take();
    handler->ring = aligned_alloc(64, RTE_ALIGN((size_t)rte_ring_get_memsize(upcalls->ring_size), 64));
    handler->waiting = calloc(PMD_PORTS, sizeof(*handler->waiting)); /* Touched for ports that have upcalls. */
    handler->quota = upcalls->quota;
    bad = handler->doorbell < 0 || !handler->arena || !handler->ring || !handler->waiting ||
          rte_ring_init(handler->ring, "upcall", upcalls->ring_size, RING_F_SC_DEQ);
    if (!bad)
        return handler;
    handle_put(&handler->object);
    return NULL;
}

int dp_upcall_open(uint64_t handle, uint32_t id, struct dp_handler_info *info)
{
    struct handler *handler;
    struct dp *dp;
    int error = info ? dp_enter(handle, &dp) : EINVAL;

    if (error)
        return error;
    if (id >= dp->upcalls->count)
        return dp_leave(dp, error_set(EINVAL, "Datapath %s has %u handlers, none with id %u", dp->name, dp->upcalls->count, id));
    if (dp->upcalls->open[id])
        return dp_leave(dp, error_set(EBUSY, "Handler %u of datapath %s is open already", id, dp->name));
    handler = handler_new(dp, id);
    if (!handler)
        return dp_leave(dp, error_set(ENOMEM, "Cannot open handler %u of datapath %s: no memory or file descriptor", id, dp->name));
    dp->upcalls->open[id] = handler;
    error = upcalls_publish(dp->upcalls);
    if (!error)
        error = handle_open(HANDLE_HANDLER, &handler->object, &info->handler);
    if (error) {
        dp->upcalls->open[id] = NULL;
        upcalls_publish(dp->upcalls);
        rcu_synchronize(dp->rcu);
        handler_purge(handler, true);
        handle_put(&handler->object);
        return dp_leave(dp, error);
    }
    info->arena = (uintptr_t)handler->arena;
    info->arena_size = UPCALL_ARENA;
    return dp_leave(dp, 0);
}

/* Takes a handler away from poll threads, drops what waits for it and keeps its figures. */
static void retire(struct upcalls *upcalls, struct handler *handler)
{
    upcalls->open[handler->id] = NULL;
    while (upcalls_publish(upcalls))
        usleep(1000);
    rcu_synchronize(upcalls->dp->rcu);
    handler_purge(handler, true);
    upcalls->handled_gone += atomic_load_explicit(&handler->handled, memory_order_relaxed);
    upcalls->purged_gone += atomic_load_explicit(&handler->purged, memory_order_relaxed);
}

int dp_upcall_close(uint64_t handle)
{
    struct handler *handler;
    struct upcalls *upcalls;

    error_clear();
    handler = (struct handler *)handle_close(handle, HANDLE_HANDLER);
    if (!handler)
        return error_set(EBADF, "No such handler");
    upcalls = handler->dp->upcalls;
    /* Not dp_lock(): a destroyed datapath still remembers the handler. */
    pthread_mutex_lock(&handler->dp->control);
    if (upcalls->open[handler->id] == handler)
        retire(upcalls, handler);
    pthread_mutex_unlock(&handler->dp->control);
    handle_put(&handler->object);
    return 0;
}

/* --- Control ---------------------------------------------------------------------------------------------- */

int dp_upcall_set_handlers(uint64_t handle, uint32_t count)
{
    struct dp *dp;
    int error = dp_enter(handle, &dp);

    if (error)
        return error;
    if (!count || count > UPCALL_HANDLERS_MAX)
        return dp_leave(dp, error_set(EINVAL, "A datapath has 1 to %d handlers, not %u", UPCALL_HANDLERS_MAX, count));
    for (uint32_t id = count; id < UPCALL_HANDLERS_MAX; id++)
        if (dp->upcalls->open[id])
            retire(dp->upcalls, dp->upcalls->open[id]);
    dp->upcalls->count = count;
    return dp_leave(dp, upcalls_publish(dp->upcalls));
}

int dp_upcall_enable(uint64_t handle, uint32_t enable)
{
    struct dp *dp;
    int error = dp_enter(handle, &dp);

    if (error)
        return error;
    dp->upcalls->enabled = enable != 0;
    error = upcalls_publish(dp->upcalls);
    if (!error && !enable)
        rcu_synchronize(dp->rcu); /* When this returns, no further upcall is made. */
    return dp_leave(dp, error);
}

int dp_upcall_purge(uint64_t handle)
{
    struct dp *dp;
    int error = dp_enter(handle, &dp);

    if (error)
        return error;
    for (uint32_t id = 0; id < UPCALL_HANDLERS_MAX; id++)
        if (dp->upcalls->open[id])
            handler_purge(dp->upcalls->open[id], false);
    return dp_leave(dp, 0);
}

int dp_upcall_direct(uint64_t handle, uint64_t function, uint64_t aux)
{
    struct upcall_service *old = NULL;
    struct dp *dp;
    int error = dp_enter(handle, &dp);

    if (error)
        return error;
    if (function && !dp->upcalls->service) {
        dp->upcalls->service = upcall_service_start(dp);
        if (!dp->upcalls->service)
            return dp_leave(dp, error_set(ENOMEM, "Cannot start the thread that puts flows of direct upcalls"));
    } else if (!function) {
        old = dp->upcalls->service;
        dp->upcalls->service = NULL;
    }
    dp->upcalls->direct = (dp_direct_upcall_fn)(uintptr_t)function;
    dp->upcalls->aux = (void *)(uintptr_t)aux;
    error = upcalls_publish(dp->upcalls);
    rcu_synchronize(dp->rcu); /* The old function is not running any more. */
    dp_unlock(dp);
    upcall_service_stop(old);
    dp_unref(dp);
    return error;
}
