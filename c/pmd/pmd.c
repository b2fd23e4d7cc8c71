/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "pmd/pmd.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include <rte_cycles.h>
#include <rte_lcore.h>
#include <rte_mbuf.h>
#include <rte_pause.h>

#include "path/burst.h"
#include "pmd/pmd_int.h"
#include "port/port.h"
#include "port/port_offload.h"
#include "base/rcu.h"

#define SEND_RETRIES 4
#define PARK_US 2000             /* And after this long it sleeps until something comes, if its ports can tell. */
#define PARK_MAX_MS 10           /* Then it looks by itself, so that its counters are never older than this. */
#define PARK_PORTS 256
#define IDLE_US 200              /* Without a packet for this long, a thread begins to nap. */
#define BUSY_BURST 16            /* A burst this large ends napping at once. */

void pmd_drop(struct pmd *pmd, struct rte_mbuf *m, enum stat_drop reason)
{
    stat_drop(pmd->stat, reason, 1);
    rte_pktmbuf_free(m);
}

void pmd_drop_bulk(struct pmd *pmd, struct rte_mbuf **packets, unsigned int n, enum stat_drop reason)
{
    stat_drop(pmd->stat, reason, n);
    rte_pktmbuf_free_bulk(packets, n);
}

/* Drops what a port would not take. */
static void drop_unsent(struct pmd *pmd, struct pmd_tx *tx, struct rte_mbuf **packets, unsigned int n, enum stat_drop reason)
{
    /* Not stat_add: threads may share the queue, and drops are rare. */
    atomic_fetch_add_explicit(&tx->port->txqs[tx->txq].dropped, n, memory_order_relaxed);
    pmd_drop_bulk(pmd, packets, n, reason);
}

void pmd_send(struct pmd *pmd, struct pmd_tx *tx, struct rte_mbuf **packets, unsigned int n)
{
    struct port *port = tx->port;
    struct port_txq *txq = &port->txqs[tx->txq];
    unsigned int sent = 0, retries = 0;
    uint64_t refused;
    bool gone;

    if (txq->shared)
        rte_spinlock_lock(&txq->lock);
    refused = atomic_load_explicit(&port->tx.errors, memory_order_relaxed);
    while (sent < n) {
        uint16_t took = port->class->tx_burst(port, tx->txq, packets + sent, (uint16_t)(n - sent));

        sent += took;
        if (!took && ++retries > SEND_RETRIES)
            break;
    }
    refused = atomic_load_explicit(&port->tx.errors, memory_order_relaxed) - refused;
    if (txq->shared)
        rte_spinlock_unlock(&txq->lock);
    stat_add(&pmd->stat->tx_packets, sent - refused);
    stat_add(&pmd->stat->tx_batches, 1);
    if (likely(sent == n && !refused))
        return;
    gone = atomic_load_explicit(&port->gone, memory_order_relaxed);
    stat_drop(pmd->stat, gone ? DROP_link_down : DROP_tx_error, refused); /* The class has freed these. */
    if (sent < n)
        drop_unsent(pmd, tx, packets + sent, n - sent, gone ? DROP_link_down : DROP_tx_full);
}

void pmd_flush_port(struct pmd *pmd, struct pmd_tx *tx)
{
    unsigned int n = tx->n, plain = 0;

    if (!n)
        return;
    tx->n = 0;
    if (atomic_load_explicit(&tx->port->gone, memory_order_relaxed)) {
        drop_unsent(pmd, tx, tx->packets, n, DROP_link_down);
        return;
    }
    while (plain < n && !port_offload_needed(tx->port, tx->packets[plain]))
        plain++;
    if (plain)
        pmd_send(pmd, tx, tx->packets, plain);
    if (plain < n)
        port_offload_send(pmd, tx, tx->packets + plain, n - plain);
}

void pmd_flush(struct pmd *pmd)
{
    for (uint32_t i = 0; i < pmd->dirty_n; i++) {
        struct pmd_tx *tx = atomic_load_explicit(&pmd->tx[pmd->dirty[i]], memory_order_acquire);

        if (tx) { /* Otherwise the port is being removed: what waited is dropped by who removes it. */
            pmd_flush_port(pmd, tx);
            tx->dirty = 0;
        }
    }
    pmd->dirty_n = 0;
}

void pmd_recirculate(struct pmd *pmd, struct rte_mbuf *m)
{
    struct pmd_recirc *recirc = &pmd->recirc;

    if (pmd->depth >= PMD_RECIRC_MAX) {
        pmd_drop(pmd, m, DROP_recirc_depth);
        return;
    }
    if (recirc->n == PMD_RECIRC_QUEUE) {
        pmd_drop(pmd, m, DROP_recirc_full);
        return;
    }
    recirc->depth[recirc->n] = (uint8_t)(pmd->depth + 1);
    recirc->packets[recirc->n++] = m;
}

uint32_t pmd_clock_ms(void)
{
    struct timespec now;
    uint32_t ms;

    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    ms = (uint32_t)((uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000);
    return ms ? ms : 1;
}

int pmd_init(struct pmd *pmd, struct stat_counters *stat, uint32_t index, uint32_t core)
{
    pmd->tx = calloc(PMD_PORTS, sizeof *pmd->tx);
    if (!pmd->tx)
        return ENOMEM;
    pmd->stat = stat;
    pmd->index = index;
    pmd->core = core;
    pmd->now_ms = pmd_clock_ms();
    pmd->random = rte_rdtsc() * 2 + 1; /* Anything but 0. */
    return 0;
}

void pmd_fini(struct pmd *pmd)
{
    free(pmd->tx);
    pmd->tx = NULL;
}

/* What a thread remembers between rounds of its loop. */
struct pace {
    uint64_t tsc, tick, tick_cycles; /* Now; when the clock is read again; how often. */
    uint64_t idle_since, idle_cycles, park_cycles;
    uint32_t nap_us;
};

/* One burst of a queue, handled to the end; returns its size. */
static inline uint32_t poll_queue(struct pmd_thread *self, struct rxq *rxq)
{
    struct port *port = rxq->port;
    struct rte_mbuf *packets[PMD_BURST];
    const struct pkt_md md = { .in_port = port->no };
    uint16_t n = port->class->rx_burst(port, (uint16_t)rxq->queue, packets, PMD_BURST);

    rxq->full = n == PMD_BURST;
    if (!n)
        return 0;
    stat_add(&self->stat.received, n);
    stat_add(&self->stat.rx_batches, 1);
    stat_add(&rxq->packets, n);
    burst_receive(&self->pmd, packets, n, &md);
    pmd_flush(&self->pmd);
    return n;
}

/* Charges a queue for what poll_queue() took. */
static void charge(struct rxq *rxq, uint64_t cycles, uint32_t n, uint64_t hits)
{
    cycles = RTE_MIN(cycles, (uint64_t)RXQ_CHARGE_MAX);
    rxq->ahead += 2 * hits < n ? cycles * RXQ_MISS_FACTOR : cycles;
}

/* Polls every queue once, but those that have had their share of time; returns the largest burst.  Time is taken only while it is contended, because a time
 * stamp costs as much as half a packet. */
static uint32_t poll_queues(struct pmd_thread *self)
{
    const struct rxq_list *list = atomic_load_explicit(&self->rxqs, memory_order_acquire);
    const bool contended = self->contended;
    uint64_t before = contended ? rte_rdtsc() : 0;
    uint32_t largest = 0, busy = 0;

    for (uint32_t i = 0; i < list->n; i++) {
        struct rxq *rxq = list->rxqs[i];
        uint64_t hit = atomic_load_explicit(&self->stat.hit, memory_order_relaxed);
        uint32_t n;

        if (contended && rxq->ahead > RXQ_AHEAD)
            continue;
        n = poll_queue(self, rxq);
        busy += n > 0;
        largest = n > largest ? n : largest;
        if (contended) {
            uint64_t now = rte_rdtsc();

            charge(rxq, now - before, n, atomic_load_explicit(&self->stat.hit, memory_order_relaxed) - hit);
            before = now;
        }
    }
    self->contended = busy > 1;
    if (contended && rxq_level(list))
        self->contended = true;
    return largest;
}

/* Sleeps a little longer than last time; the control side need not wait for sleepers. */
static void nap(struct pmd_thread *self, struct pace *pace, uint32_t max_us)
{
    struct timespec time = { 0, 0 };
    uint64_t before = rte_rdtsc();

    if (pace->nap_us < max_us)
        pace->nap_us++;
    else
        pace->nap_us = max_us;
    time.tv_nsec = pace->nap_us * 1000l;
    rcu_offline(self->pmd.qsbr, self->pmd.index);
    nanosleep(&time, NULL);
    rcu_online(self->pmd.qsbr, self->pmd.index);
    pace->tsc = rte_rdtsc();
    stat_add(&self->stat.cycles_sleep, pace->tsc - before);
}

void pmd_wake(struct pmd_thread *thread)
{
    const uint64_t one = 1;

    if (write(thread->wake, &one, sizeof one) < 0)
        return; /* It has been rung already. */
}

static void resume(const struct rxq_list *list)
{
    for (uint32_t i = 0; i < list->n; i++)
        if (list->rxqs[i]->port->class->rx_resume)
            list->rxqs[i]->port->class->rx_resume(list->rxqs[i]->port, (uint16_t)list->rxqs[i]->queue);
}

/* Sleeps until a port has packets or pmd_wake() is called.  False: a port cannot tell, so the thread must go on polling. */
static bool park(struct pmd_thread *self, struct pace *pace)
{
    const struct rxq_list *list = atomic_load_explicit(&self->rxqs, memory_order_acquire);
    struct pollfd fds[PARK_PORTS + 1] = { { .fd = self->wake, .events = POLLIN } };
    uint64_t before = rte_rdtsc(), rings;
    const nfds_t n = list->n;

    if (n > PARK_PORTS)
        return false;
    for (uint32_t i = 0; i < list->n; i++)
        if (!list->rxqs[i]->port->class->rx_wait)
            return false;
    for (uint32_t i = 0; i < list->n; i++) {
        fds[i + 1] = (struct pollfd){ .fd = list->rxqs[i]->port->class->rx_wait(list->rxqs[i]->port, (uint16_t)list->rxqs[i]->queue),
                                      .events = POLLIN };
        if (fds[i + 1].fd == PORT_CANNOT_WAIT) {
            resume(list);
            return false;
        }
    }
    if (poll_queues(self)) {
        pace->idle_since = before;
        resume(list);
        return true;
    }
    /* Offline, the list and its ports may go at any time: they are not touched again before the thread is online, and then the list is asked for anew. */
    rcu_offline(self->pmd.qsbr, self->pmd.index);
    poll(fds, n + 1, PARK_MAX_MS);
    rcu_online(self->pmd.qsbr, self->pmd.index);
    resume(atomic_load_explicit(&self->rxqs, memory_order_acquire));
    if (read(self->wake, &rings, sizeof rings) < 0 && errno != EAGAIN)
        return false;
    pace->tsc = rte_rdtsc();
    stat_add(&self->stat.cycles_sleep, pace->tsc - before);
    return true;
}

/* Accounts for a round, and rests if there has been nothing to do. */
static void settle(struct pmd_thread *self, struct pace *pace, uint32_t largest)
{
    uint64_t now = rte_rdtsc();
    uint32_t max_us;

    stat_add(&self->stat.iterations, 1);
    stat_add(largest ? &self->stat.cycles_busy : &self->stat.cycles_idle, now - pace->tsc);
    pace->tsc = now;
    if (largest) {
        pace->idle_since = now;
        if (largest >= BUSY_BURST)
            pace->nap_us = 0;
    } else if (now - pace->idle_since > pace->idle_cycles) {
        max_us = atomic_load_explicit(&self->max_sleep_us, memory_order_relaxed);
        if (max_us) {
            if (now - pace->idle_since <= pace->park_cycles || !park(self, pace))
                nap(self, pace, max_us);
        } else if (!(atomic_load_explicit(&self->stat.iterations, memory_order_relaxed) % 64)) {
            sched_yield(); /* The core may be shared with others. */
        } else {
            rte_pause();
        }
    }
    if (pace->tsc >= pace->tick) {
        self->pmd.now_ms = pmd_clock_ms();
        pace->tick = pace->tsc + pace->tick_cycles;
    }
}

static int come_up(struct pmd_thread *self)
{
    char name[16];
    cpu_set_t cores;

    snprintf(name, sizeof name, "pmd-c%02u", self->pmd.core);
    pthread_setname_np(pthread_self(), name);
    CPU_ZERO(&cores);
    CPU_SET(self->pmd.core, &cores);
    if (pthread_setaffinity_np(pthread_self(), sizeof cores, &cores))
        return EINVAL;
    prctl(PR_SET_TIMERSLACK, 1000); /* 1 us, so that short naps are short; the default is 50. */
    return rte_thread_register() ? ENOMEM : 0;
}

void *pmd_main(void *arg)
{
    struct pmd_thread *self = arg;
    uint64_t hz = rte_get_tsc_hz();
    struct pace pace = { .tick_cycles = hz / 1000, .idle_cycles = hz / 1000000 * IDLE_US,
                         .park_cycles = hz / 1000000 * PARK_US };

    self->error = come_up(self);
    if (self->error) {
        sem_post(&self->ready);
        return NULL;
    }
    rcu_online(self->pmd.qsbr, self->pmd.index);
    sem_post(&self->ready);
    pace.tsc = pace.idle_since = rte_rdtsc();
    while (!atomic_load_explicit(&self->stop, memory_order_acquire)) {
        uint32_t largest = poll_queues(self);

        rcu_quiescent(self->pmd.qsbr, self->pmd.index);
        settle(self, &pace, largest);
    }
    rcu_offline(self->pmd.qsbr, self->pmd.index);
    rte_thread_unregister();
    return NULL;
}
