/* SPDX-License-Identifier: Apache-2.0
 *
 * The entry points of dp.h about upcalls: handles and locks here, everything else in upcall/. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/handle.h"
#include "dp_int.h"
#include "flow/flow.h"
#include "path/tx.h"
#include "pmd/pmd_set.h"
#include "upcall/upcall.h"
#include "upcall/upcall_exchange.h"
#include "upcall/upcall_handler.h"

/* What the handle of a handler stands for.  It outlives the datapath's end, so the datapath is
 * referenced. */
struct opened_handler {
    struct handle_object object;
    struct dp *dp;
    struct handler *handler;
    uint8_t *arena;
};

static void opened_release(struct handle_object *object)
{
    struct opened_handler *opened = (struct opened_handler *)object;

    if (opened->handler)
        handler_free(opened->handler);
    dp_unref(opened->dp);
    free(opened);
}

int dp_upcall_open(uint64_t handle, uint32_t id, struct dp_handler_info *info)
{
    struct opened_handler *opened;
    struct dp *dp;
    int error = info ? dp_enter(handle, &dp) : EINVAL;

    if (error)
        return error;
    opened = calloc(1, sizeof *opened);
    if (!opened)
        return dp_leave(dp, ENOMEM);
    atomic_init(&opened->object.references, 1);
    opened->object.release = opened_release;
    opened->dp = dp;
    dp_ref(dp);
    error = upcalls_open(dp->upcalls, id, &opened->handler, &opened->arena);
    if (!error) {
        error = handle_open(HANDLE_HANDLER, &opened->object, &info->handler);
        if (error)
            upcalls_close(dp->upcalls, opened->handler);
    }
    if (error) {
        handle_put(&opened->object);
        return dp_leave(dp, error);
    }
    info->arena = (uintptr_t)opened->arena;
    info->arena_size = UPCALL_ARENA;
    info->doorbell = handler_doorbell(opened->handler);
    info->pad = 0;
    return dp_leave(dp, 0);
}

int dp_upcall_close(uint64_t handle)
{
    struct opened_handler *opened;

    error_clear();
    opened = (struct opened_handler *)handle_close(handle, HANDLE_HANDLER);
    if (!opened)
        return error_set(EBADF, "no such handler");
    /* Not dp_lock(): a destroyed datapath still remembers the handler. */
    pthread_mutex_lock(&opened->dp->control);
    upcalls_close(opened->dp->upcalls, opened->handler);
    pthread_mutex_unlock(&opened->dp->control);
    handle_put(&opened->object);
    return 0;
}

/* --- One handler ------------------------------------------------------------------------------ */

/* What a handle stands for, referenced; NULL: EBADF, with its text. */
static struct opened_handler *enter(uint64_t handle)
{
    struct handle_object *object;

    error_clear();
    object = handle_get(handle, HANDLE_HANDLER);
    if (!object)
        error_set(EBADF, "no such handler");
    return (struct opened_handler *)object;
}

static int leave(struct opened_handler *opened, int error)
{
    handle_put(&opened->object);
    return error;
}

static int operate(struct opened_handler *opened, const struct upcall_taken *upcalls, const uint8_t *ops, uint32_t ops_size,
                   uint32_t count, uint8_t *results, uint32_t results_size, uint32_t *results_used)
{
    struct dp *dp = opened->dp;
    struct flow_pause pause;
    struct worker *control;
    int error = dp_lock(dp);

    if (error)
        return error;
    if (handler_is_closed(opened->handler)) {
        dp_unlock(dp);
        return ESHUTDOWN;
    }
    control = pmd_set_control(dp->pmds);
    dp_pause(dp, &pause);
    error = flow_operate(dp->flows, control, upcalls, &pause, ops, ops_size, count, results, results_size, results_used);
    tx_flush(control);
    dp_service_track(dp);
    dp_unlock(dp);
    return error;
}

int dp_upcall_exchange(uint64_t handle, const uint8_t *ops, uint32_t ops_size, uint32_t ops_count, uint8_t *results,
                       uint32_t results_size, uint32_t max, struct dp_exchange *exchange)
{
    struct opened_handler *opened = enter(handle);
    const struct upcall_taken *taken;
    int error = 0;

    if (!opened)
        return EBADF;
    if (!exchange || (ops_count && (!ops || !results)))
        return leave(opened, EINVAL);
    memset(exchange, 0, sizeof *exchange);
    taken = handler_hold(opened->handler);
    if (ops_count)
        error = operate(opened, taken, ops, ops_size, ops_count, results, results_size, &exchange->results_used);
    /* What was carried out has its results, also where the handler closed meanwhile. */
    if (!error && (max || !ops_count))
        error = handler_take(opened->handler, max, exchange);
    else if (handler_is_closed(opened->handler))
        error = ESHUTDOWN;
    handler_let_go(opened->handler);
    exchange->lost = handler_lost(opened->handler);
    return leave(opened, error);
}

int dp_upcall_arm(uint64_t handle)
{
    struct opened_handler *opened = enter(handle);

    return opened ? leave(opened, handler_arm(opened->handler)) : EBADF;
}

/* --- All handlers of a datapath --------------------------------------------------------------- */

int dp_upcall_set_handlers(uint64_t handle, uint32_t count)
{
    struct dp *dp;
    int error = dp_enter(handle, &dp);

    return error ? error : dp_leave(dp, upcalls_set_count(dp->upcalls, count));
}

int dp_upcall_enable(uint64_t handle, uint32_t enable)
{
    struct dp *dp;
    int error = dp_enter(handle, &dp);

    return error ? error : dp_leave(dp, upcalls_enable(dp->upcalls, enable != 0));
}

int dp_upcall_purge(uint64_t handle)
{
    struct dp *dp;
    int error = dp_enter(handle, &dp);

    if (error)
        return error;
    upcalls_purge(dp->upcalls);
    return dp_leave(dp, 0);
}

int dp_upcall_direct(uint64_t handle, uint64_t function, uint64_t aux)
{
    struct upcall_direct direct = { .function = (dp_direct_upcall_fn)(uintptr_t)function, .aux = (void *)(uintptr_t)aux };
    struct dp *dp;
    int error = dp_enter(handle, &dp);

    if (error)
        return error;
    /* It stays until the datapath is destroyed: a poll thread may still be about to hand it a put
     * of a callback that is gone. */
    if (function && !dp->service) {
        dp->service = dp_service_start(dp);
        if (!dp->service)
            return dp_leave(dp, error_set(ENOMEM, "no thread to put flows of direct upcalls"));
    }
    if (function)
        direct.puts = dp_service_puts(dp->service);
    return dp_leave(dp, upcalls_set_direct(dp->upcalls, &direct));
}
