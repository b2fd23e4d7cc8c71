/* SPDX-License-Identifier: Apache-2.0 */
#include "pmd/pmd_figures.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <rte_cycles.h>

#include "base/error.h"
#include "pmd/balance.h"
#include "pmd/perf.h"
#include "pmd/pmd_ctl.h"
#include "pmd/pmd_int.h"
#include "port/port.h"

_Static_assert(DP_LOAD_SAMPLES == LOAD_SAMPLES, "the ABI says how many samples are kept");

#define AROUND_OFTEN 100u        /* More are kept once only: they take time. */

static struct pmd_thread *thread_on(const struct pmd_set *set, uint32_t core)
{
    for (uint32_t t = 0; t < set->n; t++)
        if (set->threads[t]->worker.core == core)
            return set->threads[t];
    return NULL;
}

/* --- Load ------------------------------------------------------------------------------------- */

void pmd_set_sample_ms(struct pmd_set *set, uint32_t ms)
{
    set->sample_ms = ms;
    for (uint32_t t = 0; t < set->n; t++)
        atomic_store_explicit(&set->threads[t]->sample_cycles, pmd_sample_cycles(set), memory_order_relaxed);
}

int pmd_load_thread(const struct pmd_set *set, uint32_t core, uint32_t samples, struct dp_load_info *info)
{
    const struct pmd_thread *thread = thread_on(set, core);
    uint32_t passed;

    if (!thread)
        return ENOENT;
    *info = (struct dp_load_info){ .sample_ms = set->sample_ms };
    passed = load_sum(&thread->passed, samples, &info->cycles); /* Written last. */
    info->samples = load_sum(&thread->busy, passed, &info->busy);
    return 0;
}

int pmd_load_rxq(const struct pmd_set *set, uint32_t index, uint32_t samples, uint64_t *cycles)
{
    if (index >= set->rxq_n)
        return ENOENT;
    load_sum(&set->rxqs[index]->load, samples, cycles);
    return 0;
}

/* --- Balance ---------------------------------------------------------------------------------- */

void pmd_balance_enable(struct pmd_set *set, bool enabled)
{
    set->balance.enabled = enabled;
    set->balance.next_ms = 0;
}

void pmd_balance_load(struct pmd_set *set, uint32_t percent)
{
    set->balance.load_threshold = percent;
}

void pmd_balance_improvement(struct pmd_set *set, uint32_t percent)
{
    set->balance.improvement_threshold = percent;
}

void pmd_balance_interval(struct pmd_set *set, uint32_t minutes)
{
    set->balance.interval_min = minutes;
    set->balance.next_ms = 0;
}

/* Whether each of the last samples of a thread was at the threshold. */
static bool overloaded(const struct pmd_thread *thread, uint32_t percent)
{
    const uint64_t count = atomic_load_explicit(&thread->passed.count, memory_order_acquire);

    if (count < LOAD_SAMPLES)
        return false;
    for (uint32_t i = 0; i < LOAD_SAMPLES; i++) {
        const uint64_t busy = atomic_load_explicit(&thread->busy.samples[i], memory_order_relaxed);
        const uint64_t all = atomic_load_explicit(&thread->passed.samples[i], memory_order_relaxed);

        if (busy * 100 < all * percent)
            return false;
    }
    return true;
}

/* Threads and queues as they are now, and what becomes of them. */
static int dry_run_now(const struct pmd_set *set, struct dp_balance_info *info)
{
    struct rxq_wish *wishes = pmd_wishes(set);
    struct rxq_core cores[PMD_THREADS_MAX];
    uint64_t passed[PMD_THREADS_MAX];
    int error;

    if (!wishes)
        return ENOMEM;
    for (uint32_t t = 0; t < set->n; t++) {
        cores[t] = (struct rxq_core){ .core = set->threads[t]->worker.core, .numa = set->threads[t]->numa, .isolated = pmd_isolated(set, t) };
        load_sum(&set->threads[t]->passed, LOAD_SAMPLES, &passed[t]);
    }
    for (uint32_t i = 0; i < set->rxq_n; i++) {
        load_sum(&set->rxqs[i]->load, LOAD_SAMPLES, &wishes[i].load);
        if (set->rxqs[i]->owner != RXQ_NOBODY) {
            cores[set->rxqs[i]->owner].queues++;
            cores[set->rxqs[i]->owner].load += wishes[i].load;
        }
    }
    error = balance_try(cores, passed, set->n, wishes, set->rxq_n, set->algorithm, set->isolate, info);
    free(wishes);
    return error;
}

int pmd_balance_describe(const struct pmd_set *set, bool dry_run, struct dp_balance_info *info)
{
    const struct pmd_auto *balance = &set->balance;

    *info = (struct dp_balance_info){
        .enabled = balance->enabled, .load_threshold = balance->load_threshold, .improvement_threshold = balance->improvement_threshold,
        .interval_min = balance->interval_min, .sample_ms = set->sample_ms, .checks = balance->checks, .rebalances = balance->rebalances,
        .last = balance->last, .last_improvement = balance->last_improvement,
    };
    for (uint32_t t = 0; t < set->n; t++)
        info->overloaded += !pmd_isolated(set, t) && overloaded(set->threads[t], balance->load_threshold);
    return dry_run ? dry_run_now(set, info) : 0;
}

uint32_t pmd_balance_due(const struct pmd_set *set, uint64_t now_ms)
{
    const struct pmd_auto *balance = &set->balance;

    if (!balance->enabled)
        return UINT32_MAX;
    return balance->next_ms > now_ms ? (uint32_t)(balance->next_ms - now_ms) : 0;
}

int pmd_balance(struct pmd_set *set, uint64_t now_ms)
{
    struct pmd_auto *balance = &set->balance;
    struct dp_balance_info info;
    int error = 0;

    if (pmd_balance_due(set, now_ms))
        return 0;
    /* A minute is all samples that are kept. */
    balance->next_ms = now_ms + (uint64_t)balance->interval_min * LOAD_SAMPLES * set->sample_ms + !balance->next_ms;
    error = pmd_balance_describe(set, false, &info);
    if (error || !info.overloaded)
        return error;
    error = pmd_balance_describe(set, true, &info);
    if (error)
        return error;
    balance->checks++;
    balance->last = info.verdict;
    balance->last_improvement = 0;
    for (uint32_t k = 0; k < info.nodes; k++)
        if (info.improvement[k] > balance->last_improvement)
            balance->last_improvement = info.improvement[k];
    if (info.verdict != DP_BALANCE_YES)
        return 0;
    error = pmd_set_rebalance(set);
    balance->rebalances += !error;
    return error;
}

/* --- Iterations ------------------------------------------------------------------------------- */

int pmd_record(struct pmd_set *set, bool records)
{
    int error = 0;

    set->records = records;
    for (uint32_t t = 0; t < set->n && !error; t++)
        error = pmd_thread_record(set, set->threads[t]);
    return error ? error_set(error, "no memory for the figures of poll threads") : 0;
}

int pmd_perf_get(const struct pmd_set *set, uint32_t core, struct dp_perf_info *info)
{
    const struct pmd_thread *thread = thread_on(set, core);

    if (!thread)
        return ENOENT;
    *info = (struct dp_perf_info){ .enabled = set->records, .hz = rte_get_tsc_hz() };
    if (thread->kept)
        perf_describe(thread->kept, info);
    return 0;
}

int pmd_perf_history(const struct pmd_set *set, uint32_t core, uint32_t which, struct dp_perf_sample *samples, uint32_t room,
                     uint32_t *count)
{
    const struct pmd_thread *thread = thread_on(set, core);

    if (!thread)
        return ENOENT;
    *count = 0;
    if (thread->kept)
        *count = which == DP_PERF_ITERATIONS ? perf_iterations(thread->kept, samples, room) : perf_milliseconds(thread->kept, samples, room);
    return 0;
}

const struct dp_perf_watch *pmd_perf_watch(const struct pmd_set *set)
{
    return &set->watch;
}

int pmd_perf_watch_set(struct pmd_set *set, const struct dp_perf_watch *watch)
{
    if (watch->before > DP_PERF_HISTORY || watch->after > DP_PERF_HISTORY || watch->before + watch->after > DP_PERF_HISTORY - 2)
        return error_set(EINVAL, "%u iterations around a suspicious one are kept at most", DP_PERF_HISTORY - 2);
    set->watch = *watch;
    for (uint32_t t = 0; t < set->n; t++)
        if (set->threads[t]->kept)
            perf_watch(set->threads[t]->kept, watch, rte_get_tsc_hz());
    return 0;
}

int pmd_perf_take(struct pmd_set *set, uint32_t core, struct dp_perf_incident *incident, struct dp_perf_sample *samples, uint32_t room)
{
    struct pmd_thread *thread = thread_on(set, core);
    int error = thread && thread->kept ? perf_take(thread->kept, incident, samples, room) : ENOENT;

    if (!error && incident->count > AROUND_OFTEN) {
        struct dp_perf_watch fewer = set->watch;

        fewer.before = fewer.after = PMD_AROUND;
        fewer.extend = 0;
        pmd_perf_watch_set(set, &fewer);
    }
    return error;
}
