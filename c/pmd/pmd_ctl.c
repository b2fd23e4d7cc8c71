/* SPDX-License-Identifier: Apache-2.0 */
#include "pmd/pmd_ctl.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cores.h"
#include "base/error.h"
#include "pmd/pmd_int.h"
#include "port/port.h"

/* Waits until a thread has gone round once more from now on, so that what it was told holds and
 * what it slept before is counted. */
static void settle(struct pmd_set *set, struct pmd_thread *thread)
{
    uint64_t seen = atomic_load_explicit(&thread->stat.iterations, memory_order_relaxed);

    pmd_wake(thread);
    rcu_outside(set->rcu);
    while (atomic_load_explicit(&thread->stat.iterations, memory_order_relaxed) < seen + 2)
        sched_yield();
    rcu_inside(set->rcu);
}

void pmd_set_settle(struct pmd_set *set)
{
    for (uint32_t t = 0; t < set->n; t++)
        settle(set, set->threads[t]);
}

void pmd_set_max_sleep(struct pmd_set *set, uint32_t max_sleep_us)
{
    set->max_sleep_us = max_sleep_us;
    for (uint32_t t = 0; t < set->n; t++)
        atomic_store_explicit(&set->threads[t]->max_sleep_us, set->max_sleep_us, memory_order_relaxed);
    for (uint32_t t = 0; t < set->n; t++)
        pmd_wake(set->threads[t]);
}

static uint64_t get(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

static bool wanted(const uint64_t *cores, uint32_t core)
{
    return cores[core / 64] >> core % 64 & 1;
}

static bool running(const struct pmd_set *set, uint32_t core)
{
    for (uint32_t t = 0; t < set->n; t++)
        if (set->threads[t]->worker.core == core)
            return true;
    return false;
}

/* Stops the threads on cores that are not (`keep`) wanted; their queues must have gone
 * elsewhere. */
static void stop_others(struct pmd_set *set, const uint64_t *keep)
{
    for (uint32_t t = set->n; t-- > 0;)
        if (!wanted(keep, set->threads[t]->worker.core))
            pmd_thread_stop(set, t);
}

struct rxq_wish *pmd_wishes(const struct pmd_set *set)
{
    struct rxq_wish *wishes = calloc(set->rxq_n + 1, sizeof *wishes);

    for (uint32_t i = 0; i < set->rxq_n && wishes; i++)
        wishes[i] = (struct rxq_wish){ .numa = set->rxqs[i]->port->numa, .pin = set->rxqs[i]->pin, .load = rxq_load(set->rxqs[i]) };
    return wishes;
}

/* Deals all queues out over the threads on wanted cores. */
static int deal(struct pmd_set *set, const uint64_t *cores)
{
    struct rxq_wish *wishes = pmd_wishes(set);
    struct rxq_core list[PMD_THREADS_MAX];
    uint32_t places[PMD_THREADS_MAX], n = 0;
    int error = wishes ? 0 : ENOMEM;

    for (uint32_t t = 0; t < set->n; t++)
        if (wanted(cores, set->threads[t]->worker.core)) {
            list[n] = (struct rxq_core){ .core = set->threads[t]->worker.core, .numa = set->threads[t]->numa };
            places[n++] = t;
        }
    if (!error)
        error = rxq_assign(list, n, wishes, set->rxq_n, set->algorithm, set->isolate);
    for (uint32_t i = 0; i < set->rxq_n && !error; i++)
        set->rxqs[i]->next_owner = wishes[i].place == RXQ_NOBODY ? RXQ_NOBODY : places[wishes[i].place];
    free(wishes);
    return error ? error : pmd_rxqs_apply(set);
}

int pmd_set_rebalance(struct pmd_set *set)
{
    uint64_t all[DP_CORES / 64];

    memset(all, 0xff, sizeof all);
    return deal(set, all);
}

void pmd_set_algorithm(struct pmd_set *set, enum rxq_algorithm algorithm)
{
    set->algorithm = algorithm;
}

void pmd_set_isolate(struct pmd_set *set, bool isolate)
{
    set->isolate = isolate;
}

/* Reads `QUEUE:CORE` and what separates it from the next. */
static bool read_pin(const char **text, uint32_t *queue, uint32_t *core)
{
    unsigned int q, c;
    int used = 0;

    if (sscanf(*text, "%5u:%5u%n", &q, &c, &used) < 2 || !used || c >= DP_CORES)
        return false;
    *text += used;
    *queue = q;
    *core = c;
    if (!**text)
        return true;
    if (**text != ',' && **text != ';' && **text != ' ')
        return false;
    (*text)++;
    return true;
}

int pmd_set_affinity(struct pmd_set *set, const struct port *port, const char *text)
{
    uint32_t queue, core;

    for (const char *at = text; *at;)
        if (!read_pin(&at, &queue, &core))
            return error_set(EINVAL, "setting pmd-rxq-affinity is \"%s\", expected QUEUE:CORE, separated by commas", text);
    for (uint32_t i = 0; i < set->rxq_n; i++) {
        if (set->rxqs[i]->port != port)
            continue;
        set->rxqs[i]->pin = RXQ_UNPINNED;
        for (const char *at = text; *at && read_pin(&at, &queue, &core);)
            if (queue == set->rxqs[i]->queue)
                set->rxqs[i]->pin = core;
    }
    return 0;
}

static int set_cores(struct pmd_set *set, const uint64_t *cores)
{
    uint64_t before[DP_CORES / 64] = { 0 };
    int error = 0;

    for (uint32_t t = 0; t < set->n; t++)
        before[set->threads[t]->worker.core / 64] |= 1ull << set->threads[t]->worker.core % 64;
    for (uint32_t core = 0; core < DP_CORES && !error; core++)
        if (wanted(cores, core) && !running(set, core))
            error = pmd_thread_start(set, core);
    if (!error)
        error = deal(set, cores);
    if (error) /* As it was. */
        stop_others(set, before);
    else
        stop_others(set, cores);
    return error;
}

int pmd_set_cores(struct pmd_set *set, uint64_t cores[DP_CORES / 64])
{
    bool chosen = false;

    for (uint32_t i = 0; i < DP_CORES / 64; i++)
        chosen |= cores[i] != 0;
    if (!chosen) {
        uint32_t core = cores_default();

        cores[core / 64] |= 1ull << core % 64;
    }
    /* Chosen cores get their threads now, the default one with the first queue. */
    return chosen || set->rxq_n ? set_cores(set, cores) : 0;
}

/* --- Going, and figures ----------------------------------------------------------------------- */

/* Whether a thread that is to stop has done so, or does within a second. */
static bool ends_soon(struct pmd_thread *thread)
{
    pmd_wake(thread);
    for (int i = 0; i < 1000 && !atomic_load_explicit(&thread->ended, memory_order_acquire); i++)
        nanosleep(&(struct timespec){ 0, 1000000 }, NULL);
    return atomic_load_explicit(&thread->ended, memory_order_acquire);
}

bool pmd_set_stop(struct pmd_set *set, bool hurry)
{
    for (uint32_t t = 0; t < set->n; t++)
        atomic_store_explicit(&set->threads[t]->stop, 1, memory_order_release);
    for (uint32_t t = 0; t < set->n && hurry; t++)
        if (!ends_soon(set->threads[t]))
            return false;
    while (set->n)
        pmd_thread_stop(set, set->n - 1);
    for (uint32_t i = 0; i < set->rxq_n; i++)
        set->rxqs[i]->owner = RXQ_NOBODY;
    return true;
}

void pmd_set_sum(struct pmd_set *set, struct stat_counters *sum)
{
    stat_sum(sum, &set->gone);
    stat_sum(sum, &set->control_stat);
    for (uint32_t t = 0; t < set->n; t++)
        stat_sum(sum, &set->threads[t]->stat);
}

uint64_t pmd_set_received(struct pmd_set *set, const struct port *port)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < set->rxq_n; i++)
        if (set->rxqs[i]->port == port)
            sum += get(&set->rxqs[i]->packets);
    return sum;
}

static void describe(const struct pmd_set *set, uint32_t place, struct dp_poll_thread_info *info)
{
    const struct pmd_thread *thread = set->threads[place];
    const struct stat_counters *s = &thread->stat;

    *info = (struct dp_poll_thread_info){
        .core = thread->worker.core, .packets = get(&s->received), .hit = get(&s->hit), .missed = get(&s->missed),
        .lost = get(&s->lost), .recirculated = get(&s->recirculated), .mask_hit = get(&s->mask_hit),
        .rx_batches = get(&s->rx_batches), .tx_packets = get(&s->tx_packets), .tx_batches = get(&s->tx_batches),
        .iterations = get(&s->iterations), .cycles_busy = get(&s->cycles_busy), .cycles_idle = get(&s->cycles_idle),
        .cycles_sleep = get(&s->cycles_sleep), .isolated = pmd_isolated(set, place), .numa = thread->numa,
        .iterations_busy = get(&s->iterations_busy), .sleeps = get(&s->sleeps), .woken = get(&s->woken),
        .cycles_upcall = get(&s->cycles_upcall),
        .max_sleep_us = atomic_load_explicit(&thread->max_sleep_us, memory_order_relaxed),
    };
    for (uint32_t i = 0; i < set->rxq_n; i++)
        info->rxq_count += set->rxqs[i]->owner == place;
}

int pmd_set_thread(struct pmd_set *set, uint32_t core, struct dp_poll_thread_info *info)
{
    uint32_t place = 0;

    while (place < set->n && set->threads[place]->worker.core < core)
        place++;
    if (place == set->n)
        return ENOENT;
    describe(set, place, info);
    return 0;
}

int pmd_set_rxq(struct pmd_set *set, uint32_t index, struct dp_rxq_info *info)
{
    const struct rxq *rxq;

    if (index >= set->rxq_n)
        return ENOENT;
    rxq = set->rxqs[index];
    *info = (struct dp_rxq_info){
        .port = rxq->port->no, .queue = rxq->queue, .packets = get(&rxq->packets), .pin = rxq->pin, .cycles = get(&rxq->cycles),
        .core = rxq->owner == RXQ_NOBODY ? UINT32_MAX : set->threads[rxq->owner]->worker.core,
    };
    return 0;
}
