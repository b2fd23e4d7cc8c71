/* SPDX-License-Identifier: Apache-2.0 */
#include "path/burst_direct.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <rte_branch_prediction.h>
#include <rte_cycles.h>
#include <rte_mbuf.h>
#include <rte_ring.h>

#include "base/invariant.h"
#include "act/act.h"
#include "base/bell.h"
#include "base/histogram.h"
#include "odp/odp.h"
#include "packet/extract.h"
#include "packet/worker.h"
#include "upcall/upcall.h"

#define DIRECT_ACTIONS 16384     /* Bytes that a callback may fill. */
#define DIRECT_PUTS 4096

struct burst_puts {
    bell_t bell;
    _Atomic bool asleep;
    struct rte_ring *ring;
    _Atomic uint16_t waiting[WORKER_PORTS]; /* Of packets that came by a port. */
};

/* --- Poll threads ----------------------------------------------------------------------------- */

/* Whether one more may wait for a port, which counts from now on: no port has more than it leaves
 * to others, so that a flood of misses of one does not keep the others without flows. */
static bool may_wait(struct burst_puts *puts, uint32_t port)
{
    const uint32_t own = atomic_fetch_add_explicit(&puts->waiting[port], 1, memory_order_relaxed);

    if (own < rte_ring_free_count(puts->ring))
        return true;
    atomic_fetch_sub_explicit(&puts->waiting[port], 1, memory_order_relaxed);
    return false;
}

/* What does not get a place is tried again by the next miss. */
static struct burst_put *make_put(struct burst_puts *puts, uint32_t port, const struct dp_direct_upcall *up)
{
    struct burst_put *put;

    if (!may_wait(puts, port))
        return NULL;
    put = malloc(sizeof *put + up->key_size + up->mask_size + up->actions_size);

    if (!put) {
        atomic_fetch_sub_explicit(&puts->waiting[port], 1, memory_order_relaxed);
        return NULL;
    }
    put->port = port;
    put->op = (struct dp_op){
        .type = DP_OP_PUT, .flags = DP_OPF_CREATE | DP_OPF_MASK, .key_size = up->key_size, .mask_size = up->mask_size,
        .actions_size = up->actions_size,
    };
    memcpy(put->bytes, up->key, up->key_size);
    memcpy(put->bytes + up->key_size, up->mask, up->mask_size);
    memcpy(put->bytes + up->key_size + up->mask_size, up->actions, up->actions_size);
    return put;
}

static void defer_put(struct burst_puts *puts, uint32_t port, const struct dp_direct_upcall *up)
{
    struct burst_put *put = make_put(puts, port, up);

    if (!put)
        return;
    if (rte_ring_mp_enqueue(puts->ring, put)) {
        atomic_fetch_sub_explicit(&puts->waiting[port], 1, memory_order_relaxed);
        free(put);
        return;
    }
    atomic_thread_fence(memory_order_seq_cst); /* Pairs with burst_puts_wait(). */
    if (atomic_exchange_explicit(&puts->asleep, false, memory_order_acq_rel))
        bell_ring(&puts->bell);
}

static bool decide(struct worker *worker, const struct upcall_direct *direct, struct rte_mbuf *m)
{
    static _Thread_local uint8_t gathered[65536], actions[DIRECT_ACTIONS];
    uint8_t key_bytes[ODP_KEY_MAX], mask[ODP_KEY_MAX];
    struct dp_direct_upcall up = {
        .key = key_bytes, .mask = mask, .actions = actions, .mask_size = sizeof mask, .actions_size = sizeof actions,
    };
    uint32_t size = rte_pktmbuf_pkt_len(m);
    struct act_prog *prog;
    const char *why;
    struct key key;
    int verdict;

    extract_packet(m, &key);
    up.key_size = odp_key_write(&key, key_bytes, sizeof key_bytes);
    up.packet = rte_pktmbuf_read(m, 0, size < sizeof gathered ? size : sizeof gathered, gathered);
    up.packet_size = size < sizeof gathered ? size : sizeof gathered;
    verdict = direct->function(&up, direct->aux);
    if ((verdict && verdict != ENOSPC) || up.mask_size > sizeof mask || up.actions_size > sizeof actions ||
        act_compile(actions, up.actions_size, &key, &prog, &why)) {
        stat_add(&worker->stat->lost, 1);
        worker_drop(worker, m, DROP_upcall_error);
        return false;
    }
    act_run(worker, prog, &m, 1, NULL);
    act_free(prog);
    if (!verdict)
        defer_put(direct->puts, key.base.in_port & (WORKER_PORTS - 1), &up);
    return true;
}

void burst_direct(struct worker *worker, const struct upcall_direct *direct, struct rte_mbuf **packets, unsigned int n)
{
    uint64_t decided = 0;

    for (unsigned int i = 0; i < n; i++)
        decided += decide(worker, direct, packets[i]);
    stat_add(&worker->stat->missed, decided);
}

/* Packets that no flow matched. */
static void hand_up(struct worker *worker, struct rte_mbuf **packets, unsigned int n, const struct pkt_md *md)
{
    const struct upcall_direct *direct = upcall_direct(worker);

    if (direct) {
        upcall_mark(packets, n, md);
        burst_direct(worker, direct, packets, n);
    } else {
        upcall_miss(worker, packets, n, md);
    }
}

/* What it takes is recorded where that is wanted: of each that goes up, the same. */
void burst_miss(struct worker *worker, struct rte_mbuf **packets, unsigned int n, const struct pkt_md *md)
{
    struct histogram *record = worker->upcall_cycles;
    uint64_t missed, begin;

    if (likely(!record)) {
        hand_up(worker, packets, n, md);
        return;
    }
    missed = atomic_load_explicit(&worker->stat->missed, memory_order_relaxed);
    begin = rte_rdtsc();
    hand_up(worker, packets, n, md);
    missed = atomic_load_explicit(&worker->stat->missed, memory_order_relaxed) - missed;
    if (missed) {
        const uint64_t cycles = rte_rdtsc() - begin;

        stat_add(&worker->stat->cycles_upcall, cycles);
        histogram_add(record, HISTOGRAM_CYCLES_AN_UPCALL, cycles / missed, missed);
    }
}

/* --- Service thread --------------------------------------------------------------------------- */

struct burst_put *burst_puts_take(struct burst_puts *puts)
{
    struct burst_put *put;

    if (rte_ring_sc_dequeue(puts->ring, (void **)&put))
        return NULL;
    atomic_fetch_sub_explicit(&puts->waiting[put->port], 1, memory_order_relaxed);
    return put;
}

uint32_t burst_puts_bell(struct burst_puts *puts)
{
    return atomic_load_explicit(&puts->bell, memory_order_acquire);
}

void burst_puts_wait(struct burst_puts *puts, uint32_t bell, int timeout_ms)
{
    atomic_store_explicit(&puts->asleep, true, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst); /* Pairs with defer_put(). */
    if (rte_ring_empty(puts->ring))
        bell_wait(&puts->bell, bell, timeout_ms);
}

void burst_puts_ring(struct burst_puts *puts)
{
    bell_ring(&puts->bell);
}

struct burst_puts *burst_puts_create(void)
{
    struct burst_puts *puts = calloc(1, sizeof *puts);

    if (!puts)
        return NULL;
    puts->ring = aligned_alloc(64, RTE_ALIGN((size_t)rte_ring_get_memsize(DIRECT_PUTS), 64));
    if (puts->ring && !rte_ring_init(puts->ring, "puts", DIRECT_PUTS, RING_F_SC_DEQ))
        return puts;
    burst_puts_destroy(puts);
    return NULL;
}

void burst_puts_destroy(struct burst_puts *puts)
{
    if (!puts)
        return;
    free(puts->ring);
    free(puts);
}
