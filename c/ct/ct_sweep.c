/* SPDX-License-Identifier: Apache-2.0
 * ct_sweep.c - what the service does: takes out what has expired, and makes free what nobody reads
 * any more (ct.h).
 *
 * Records are looked at by number, not by lists that packets would have to keep.  A slice takes
 * well under a millisecond. */
#include <rte_rcu_qsbr.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "ct/ct_alg_int.h"

#define SLICE 8192u                  /* Records looked at in one call. */
#define BATCH 256u                   /* Records given back under one lock. */
/* Milliseconds between calls: while a sweep is under way, ... */
#define TICK_BUSY 1u
#define TICK_LIMBO 10u               /* ... while something waits for its grace period, ... */
#define TICK_IDLE 100u               /* ... while there are connections, ... */
#define TICK_EMPTY 1000u             /* ... and else. */
#define AHEAD 4096u                  /* Records that have memory before they are asked for. */

/* Puts a list of records back into the pool. */
static void give_back(struct ct *ct, uint32_t list)
{
    uint32_t batch[BATCH];

    while (list) {
        uint32_t n = 0;

        for (; list && n < BATCH; list = ct->conns[batch[n++]].next) {
            batch[n] = list - 1;
            if (ct->conns[list - 1].flags & (CT_CONN_HELPER | CT_CONN_CHILD))
                ct_alg_release(ct, ct->conns[list - 1].alg);
            atomic_store_explicit(&ct->conns[list - 1].life, CT_FREE, memory_order_relaxed);
        }
        ct_spin(&ct->pool_lock);
        memcpy(ct->pool + ct->pool_n, batch, n * sizeof batch[0]);
        ct->pool_n += n;
        ct_unspin(&ct->pool_lock);
    }
}

/* Frees what waited for a grace period that is over, and starts the next one.  Answers whether
 * something still waits. */
static bool reclaim(struct ct *ct)
{
    struct ct_policies *policies;
    uint32_t list;

    if (ct->waiting || ct->waiting_policies) {
        if (rte_rcu_qsbr_check(ct->qsbr, ct->token, false) != 1)
            return true;
        list = ct->waiting;
        policies = ct->waiting_policies;
        ct->waiting = 0;
        ct->waiting_policies = NULL;
        ct_enter(ct); /* Readers without a number have left. */
        ct_leave(ct);
        give_back(ct, list);
        while (policies) {
            struct ct_policies *older = policies->older;

            free(policies);
            policies = older;
        }
    }
    ct->waiting = atomic_exchange_explicit(&ct->limbo, 0, memory_order_acquire);
    ct_enter(ct);
    ct->waiting_policies = ct->old_policies;
    ct->old_policies = NULL;
    ct_leave(ct);
    if (!ct->waiting && !ct->waiting_policies)
        return false;
    ct->token = rte_rcu_qsbr_start(ct->qsbr);
    return true;
}

/* Looks at the next slice.  Answers whether there is more of this sweep. */
static bool sweep(struct ct *ct, uint64_t now)
{
    const uint32_t end = atomic_load_explicit(&ct->fresh, memory_order_acquire);
    uint32_t at = ct->sweep_at, stop;

    if (at == CT_NONE) {
        if (now < ct->sweep_next)
            return false;
        at = 0;
    }
    stop = end - at < SLICE || at > end ? end : at + SLICE;
    for (; at < stop; at++) {
        struct ct_conn *conn = &ct->conns[at];

        if (atomic_load_explicit(&conn->life, memory_order_acquire) == CT_LIVE
            && now >= atomic_load_explicit(&conn->expires, memory_order_relaxed))
            ct_kill(ct, &ct->threads[CT_THREADS], at);
    }
    ct->sweep_at = at;
    if (at < end)
        return true;
    ct->sweep_at = CT_NONE;
    ct->sweep_next = now + ct_sweep_ms(ct);
    return false;
}

/* Keeps memory under the records that come next, so that packets seldom wait for the kernel to
 * clear a page. */
static void touch(struct ct *ct)
{
    const uint32_t fresh = atomic_load_explicit(&ct->fresh, memory_order_relaxed);
    uint32_t want = fresh + fresh / 4 + AHEAD;

    if (want > ct->capacity)
        want = ct->capacity;
    if (ct->touched >= want || !fresh)
        return;
#ifdef MADV_POPULATE_WRITE
    uintptr_t from = (uintptr_t)(ct->conns + ct->touched) & ~(uintptr_t)4095;

    madvise((void *)from, (uintptr_t)(ct->conns + want) - from, MADV_POPULATE_WRITE);
#endif
    ct->touched = want;
}

uint32_t ct_service(struct ct *ct, uint64_t now)
{
    const bool more = sweep(ct, now), waits = reclaim(ct);
    uint32_t sweep_ms;

    touch(ct);
    if (more)
        return TICK_BUSY;
    sweep_ms = ct_sweep_ms(ct);
    if (ct->sweep_next > now + sweep_ms)
        ct->sweep_next = now + sweep_ms; /* The interval was made shorter. */
    return waits ? TICK_LIMBO : ct_count(ct) ? TICK_IDLE : TICK_EMPTY;
}
