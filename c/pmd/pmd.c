/* SPDX-License-Identifier: Apache-2.0
 * pmd.c - the loop of a poll thread: queues in turn, naps, sleep. */
#define _GNU_SOURCE
#include "pmd/pmd_int.h"

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

#include "base/rcu.h"
#include "path/burst.h"
#include "path/tx.h"
#include "port/port.h"

/* And after this long it sleeps until something comes, if its ports can tell. */
#define PARK_US 2000
/* Then it looks by itself, so that its counters are never older than this. */
#define PARK_MAX_MS 10
#define PARK_PORTS 256
#define IDLE_US 200              /* Without a packet for this long, a thread begins to nap. */
#define BUSY_BURST 16            /* A burst this large ends napping at once. */

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
    struct rte_mbuf *packets[WORKER_BURST];
    const struct pkt_md md = { .in_port = port->no };
    uint16_t n = port->class->rx_burst(port, (uint16_t)rxq->queue, packets, WORKER_BURST);

    rxq->full = n == WORKER_BURST;
    if (!n)
        return 0;
    stat_add(&self->stat.received, n);
    stat_add(&self->stat.rx_batches, 1);
    stat_add(&rxq->packets, n);
    if (unlikely(port->caps & PORT_CAP_L3))
        burst_receive_l3(&self->worker, packets, n, port->no);
    else
        burst_receive(&self->worker, packets, n, &md);
    tx_flush(&self->worker);
    return n;
}

/* Nanoseconds that this thread has run. */
static uint64_t run_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* What a long burst cost: what the thread ran since it was last looked at, a millisecond before the
 * burst at most.  The rest of its time others ran on the core. */
static uint64_t cost_of(struct pmd_thread *self, uint64_t cycles)
{
    const uint64_t ran = run_ns();
    const uint64_t most = (uint64_t)((double)(ran - self->ran_ns) * ((double)rte_get_tsc_hz() / 1e9));

    self->ran_ns = ran;
    return RTE_MAX((uint64_t)RXQ_CHARGE_MAX, RTE_MIN(cycles, most));
}

/* Charges a queue for what poll_queue() took. */
static void charge(struct pmd_thread *self, struct rxq *rxq, uint64_t cycles, uint32_t n, uint64_t hits)
{
    if (unlikely(cycles > RXQ_CHARGE_MAX))
        cycles = cost_of(self, cycles);
    rxq->ahead += 2 * hits < n ? cycles * RXQ_MISS_FACTOR : cycles;
}

/* Polls every queue once, but those that have had their share of time; returns the largest burst.
 * Time is taken only while it is contended, because a time stamp costs as much as half a packet. */
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

            charge(self, rxq, now - before, n, atomic_load_explicit(&self->stat.hit, memory_order_relaxed) - hit);
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
    rcu_offline(self->worker.qsbr, self->worker.index);
    nanosleep(&time, NULL);
    rcu_online(self->worker.qsbr, self->worker.index);
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

/* Sleeps until a port has packets or pmd_wake() is called.  False: a port cannot tell, so the
 * thread must go on polling. */
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
    /* Offline, the list and its ports may go at any time: they are not touched again before the
     * thread is online, and then the list is asked for anew. */
    rcu_offline(self->worker.qsbr, self->worker.index);
    poll(fds, n + 1, PARK_MAX_MS);
    rcu_online(self->worker.qsbr, self->worker.index);
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
        worker_tick(&self->worker);
        pace->tick = pace->tsc + pace->tick_cycles;
        if (self->contended)
            self->ran_ns = run_ns();
    }
}

static int come_up(struct pmd_thread *self)
{
    char name[16];
    cpu_set_t cores;

    snprintf(name, sizeof name, "pmd-c%02u", self->worker.core);
    pthread_setname_np(pthread_self(), name);
    CPU_ZERO(&cores);
    CPU_SET(self->worker.core, &cores);
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
    rcu_online(self->worker.qsbr, self->worker.index);
    sem_post(&self->ready);
    pace.tsc = pace.idle_since = rte_rdtsc();
    while (!atomic_load_explicit(&self->stop, memory_order_acquire)) {
        uint32_t largest = poll_queues(self);

        rcu_quiescent(self->worker.qsbr, self->worker.index);
        settle(self, &pace, largest);
    }
    rcu_offline(self->worker.qsbr, self->worker.index);
    rte_thread_unregister();
    atomic_store_explicit(&self->ended, 1, memory_order_release);
    return NULL;
}
