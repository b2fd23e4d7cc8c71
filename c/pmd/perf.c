/* SPDX-License-Identifier: Apache-2.0 */
#include "pmd/perf.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/stat.h"

_Static_assert(DP_PERF_BINS == HISTOGRAM_BINS && DP_PERF_KINDS == HISTOGRAM_KINDS, "the ABI's histograms are these");
_Static_assert(DP_PERF_COUNTS == HISTOGRAM_BINS * HISTOGRAM_KINDS && DP_PERF_WALLS == sizeof histogram_walls / 4, "and whole");
_Static_assert(PERF_RING > DP_PERF_HISTORY, "what is asked for is not being written");

#define NEVER UINT64_MAX

static uint64_t get(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

struct perf *perf_create(void)
{
    struct perf *perf = aligned_alloc(64, (sizeof *perf + 63) / 64 * 64);

    if (!perf)
        return NULL;
    histogram_prepare();
    memset(perf, 0, sizeof *perf);
    perf->suspect = perf->end = NEVER;
    atomic_init(&perf->limit_cycles, NEVER);
    atomic_init(&perf->limit_fill, UINT32_MAX);
    return perf;
}

void perf_destroy(struct perf *perf)
{
    free(perf);
}

void perf_watch(struct perf *perf, const struct dp_perf_watch *watch, uint64_t hz)
{
    atomic_store_explicit(&perf->before, watch->before, memory_order_relaxed);
    atomic_store_explicit(&perf->after, watch->after, memory_order_relaxed);
    atomic_store_explicit(&perf->extend, watch->extend, memory_order_relaxed);
    atomic_store_explicit(&perf->limit_fill, watch->enabled ? watch->fill : UINT32_MAX, memory_order_relaxed);
    atomic_store_explicit(&perf->limit_cycles, watch->enabled ? (uint64_t)watch->us * (hz / 1000000) : NEVER, memory_order_relaxed);
}

/* --- The thread ------------------------------------------------------------------------------- */

/* Keeps the suspect, with what is around it unless it is the first part of a longer story. */
static void keep(struct perf *perf, bool around)
{
    const uint64_t kept = get(&perf->kept), taken = atomic_load_explicit(&perf->taken, memory_order_acquire);
    struct perf_incident *incident = &perf->incidents[kept % PERF_INCIDENTS];

    if (kept - taken == PERF_INCIDENTS) {
        stat_add(&perf->lost, 1);
        return;
    }
    incident->iteration = perf->suspect;
    incident->cycles = perf->suspect_cycles;
    incident->reason = perf->reason;
    incident->first = perf->begin;
    incident->n = around ? (uint32_t)(perf->end - perf->begin + 1) : 0;
    for (uint32_t i = 0; i < incident->n; i++) {
        const struct perf_record *record = &perf->ring[(perf->begin + i) % PERF_RING];

        incident->work[i] = get(&record->work);
        incident->rest[i] = get(&record->rest);
    }
    atomic_store_explicit(&perf->kept, kept + 1, memory_order_release);
}

/* Another iteration is suspicious. */
static void note(struct perf *perf, uint64_t number, uint64_t cycles, uint32_t reason)
{
    const uint32_t before = atomic_load_explicit(&perf->before, memory_order_relaxed);
    const uint32_t after = atomic_load_explicit(&perf->after, memory_order_relaxed);

    if (perf->suspect == NEVER) {
        perf->begin = number > before ? number - before : 0;
    } else {
        if (!atomic_load_explicit(&perf->extend, memory_order_relaxed))
            return;
        keep(perf, false);
    }
    perf->suspect = number;
    perf->suspect_cycles = cycles;
    perf->reason = reason;
    perf->end = number + after;
    if (perf->end - perf->begin >= DP_PERF_HISTORY)
        perf->end = perf->begin + DP_PERF_HISTORY - 1;
}

void perf_suspect(struct perf *perf, uint64_t number, uint64_t cycles, uint32_t fill)
{
    if (cycles > get(&perf->limit_cycles))
        note(perf, number, cycles, DP_PERF_CYCLES);
    else if (fill && fill >= atomic_load_explicit(&perf->limit_fill, memory_order_relaxed))
        note(perf, number, cycles, DP_PERF_FILL);
    if (number >= perf->end) {
        keep(perf, true);
        perf->suspect = perf->end = NEVER;
    }
}

static void read_totals(const struct perf *perf, const struct stat_counters *stat, uint64_t sums[PERF_SUMS])
{
    const uint64_t busy = get(&stat->cycles_busy);

    sums[PERF_ITERATIONS] = get(&stat->iterations);
    sums[PERF_CYCLES] = busy + get(&stat->cycles_idle);
    sums[PERF_CYCLES_BUSY] = busy;
    sums[PERF_PACKETS] = get(&stat->received);
    sums[PERF_BATCHES] = get(&stat->rx_batches);
    sums[PERF_UPCALLS] = get(&stat->missed);
    sums[PERF_CYCLES_UPCALL] = get(&stat->cycles_upcall);
    sums[PERF_FILL] = get(&perf->fill_sum);
}

void perf_begin(struct perf *perf, const struct stat_counters *stat, uint64_t ms)
{
    read_totals(perf, stat, perf->then);
    perf->upcalls = perf->then[PERF_UPCALLS];
    perf->cycles_upcall = perf->then[PERF_CYCLES_UPCALL];
    perf->suspect = perf->end = NEVER;
    atomic_store_explicit(&perf->ms[get(&perf->ms_count) % DP_PERF_HISTORY].ms, ms, memory_order_relaxed);
}

void perf_millisecond(struct perf *perf, const struct stat_counters *stat, uint64_t ms)
{
    const uint64_t count = get(&perf->ms_count);
    struct perf_ms *is = &perf->ms[count % DP_PERF_HISTORY], *next = &perf->ms[(count + 1) % DP_PERF_HISTORY];
    uint64_t now[PERF_SUMS];

    read_totals(perf, stat, now);
    for (uint32_t i = 0; i < PERF_SUMS; i++) {
        atomic_store_explicit(&is->sums[i], now[i] - perf->then[i], memory_order_relaxed);
        stat_add(&perf->totals[i], now[i] - perf->then[i]);
        perf->then[i] = now[i];
    }
    atomic_store_explicit(&next->ms, ms, memory_order_relaxed);
    atomic_store_explicit(&perf->ms_count, count + 1, memory_order_release);
}

/* --- The control side ------------------------------------------------------------------------- */

/* Iterations without a value of a kind are not counted, because most are. */
static void complete(uint64_t *counts, uint64_t iterations)
{
    uint64_t others = 0;

    for (uint32_t bin = 1; bin < HISTOGRAM_BINS; bin++)
        others += counts[bin];
    counts[0] = iterations > others ? iterations - others : 0;
}

void perf_describe(const struct perf *perf, struct dp_perf_info *info)
{
    const uint64_t iterations = get(&perf->iterations);

    for (uint32_t kind = 0; kind < HISTOGRAM_KINDS; kind++)
        for (uint32_t bin = 0; bin < HISTOGRAM_BINS; bin++)
            info->counts[kind * HISTOGRAM_BINS + bin] = get(&perf->histograms[kind].bins[bin]);
    complete(&info->counts[HISTOGRAM_FILL * HISTOGRAM_BINS], iterations);
    complete(&info->counts[HISTOGRAM_UPCALLS * HISTOGRAM_BINS], iterations);
    info->iterations = get(&perf->totals[PERF_ITERATIONS]);
    info->cycles = get(&perf->totals[PERF_CYCLES]);
    info->cycles_busy = get(&perf->totals[PERF_CYCLES_BUSY]);
    info->packets = get(&perf->totals[PERF_PACKETS]);
    info->batches = get(&perf->totals[PERF_BATCHES]);
    info->upcalls = get(&perf->totals[PERF_UPCALLS]);
    info->cycles_upcall = get(&perf->totals[PERF_CYCLES_UPCALL]);
    info->fill = get(&perf->totals[PERF_FILL]);
    info->incidents_lost = get(&perf->lost);
}

static struct dp_perf_sample unpacked(uint64_t number, uint64_t work, uint64_t rest)
{
    const uint64_t packets = work >> 32 & 0xffff;

    return (struct dp_perf_sample){
        .when = number, .iterations = 1, .cycles = (uint32_t)work, .cycles_busy = packets ? (uint32_t)work : 0, .packets = packets,
        .batches = work >> 48, .cycles_upcall = (uint32_t)rest, .upcalls = rest >> 32 & 0xffff, .fill = rest >> 48,
    };
}

uint32_t perf_iterations(const struct perf *perf, struct dp_perf_sample *samples, uint32_t room)
{
    const uint64_t count = atomic_load_explicit(&perf->iterations, memory_order_acquire);
    uint64_t written;
    uint32_t n = room < DP_PERF_HISTORY ? room : DP_PERF_HISTORY;

    n = count < n ? (uint32_t)count : n;
    for (uint32_t i = 0; i < n; i++) {
        const struct perf_record *record = &perf->ring[(count - 1 - i) % PERF_RING];

        samples[i] = unpacked(count - 1 - i, get(&record->work), get(&record->rest));
    }
    atomic_thread_fence(memory_order_acquire);
    /* The oldest ones may have been overwritten meanwhile. */
    written = get(&perf->iterations) + 1;
    while (n && count - n + PERF_RING < written)
        n--;
    return n;
}

uint32_t perf_milliseconds(const struct perf *perf, struct dp_perf_sample *samples, uint32_t room)
{
    const uint64_t count = atomic_load_explicit(&perf->ms_count, memory_order_acquire);
    uint64_t written;
    uint32_t n = room < DP_PERF_HISTORY - 1 ? room : DP_PERF_HISTORY - 1;

    n = count < n ? (uint32_t)count : n;
    for (uint32_t i = 0; i < n; i++) {
        const struct perf_ms *is = &perf->ms[(count - 1 - i) % DP_PERF_HISTORY];

        samples[i] = (struct dp_perf_sample){
            .when = get(&is->ms), .iterations = get(&is->sums[PERF_ITERATIONS]), .cycles = get(&is->sums[PERF_CYCLES]),
            .cycles_busy = get(&is->sums[PERF_CYCLES_BUSY]), .packets = get(&is->sums[PERF_PACKETS]),
            .batches = get(&is->sums[PERF_BATCHES]), .upcalls = get(&is->sums[PERF_UPCALLS]),
            .cycles_upcall = get(&is->sums[PERF_CYCLES_UPCALL]), .fill = get(&is->sums[PERF_FILL]),
        };
    }
    atomic_thread_fence(memory_order_acquire);
    written = get(&perf->ms_count) + 2; /* The one under way, and when the next one begins. */
    while (n && count - n + DP_PERF_HISTORY < written)
        n--;
    return n;
}

int perf_take(struct perf *perf, struct dp_perf_incident *taken, struct dp_perf_sample *samples, uint32_t room)
{
    const uint64_t at = get(&perf->taken);
    const struct perf_incident *incident = &perf->incidents[at % PERF_INCIDENTS];

    if (at == atomic_load_explicit(&perf->kept, memory_order_acquire))
        return ENOENT;
    if (incident->n > room)
        return ENOBUFS;
    *taken = (struct dp_perf_incident){
        .iteration = incident->iteration, .cycles = incident->cycles, .reason = incident->reason, .count = incident->n,
    };
    for (uint32_t i = 0; i < incident->n; i++) {
        const uint32_t from = incident->n - 1 - i;

        samples[i] = unpacked(incident->first + from, incident->work[from], incident->rest[from]);
    }
    atomic_store_explicit(&perf->taken, at + 1, memory_order_release);
    return 0;
}
