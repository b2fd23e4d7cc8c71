/* SPDX-License-Identifier: Apache-2.0
 * pmd.c - the loop of a poll thread: queues in turn, when it rests, what its time went to. */
#define _GNU_SOURCE
#include "pmd/pmd_int.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <rte_cycles.h>
#include <rte_lcore.h>
#include <rte_mbuf.h>
#include <rte_pause.h>

#include "base/rcu.h"
#include "path/burst.h"
#include "pmd/perf.h"
#include "pmd/pmd_rest.h"
#include "port/port.h"

#define IDLE_US 200              /* Without a packet for this long, a thread begins to nap. */
#define BUSY_BURST 16            /* A burst this large ends napping at once. */
#define HELD 4u                  /* Full bursts in a row of which one must send all. */
/* Where others want the core, those who bring packets among them, a thread has neither time: so
 * long after it last had to wait for them, it sleeps as soon as there is nothing for a moment. */
#define SHARED_MS 100
#define SHARED_IDLE_US 8

/* What came of polling every queue once. */
struct round {
    uint32_t largest;                /* Burst. */
    uint32_t packets, busy;          /* Queues that had some. */
    bool timed;                      /* Their cycles are counted already. */
    bool owes;                       /* To a queue that was passed over and has more. */
    struct rxq *last;                /* Of those. */
};

/* Sends what was handled, unless as much as fits a burst has come, so that there is more: what goes
 * to several ports then leaves in larger bursts, which cost less a packet. */
static inline void settle_burst(struct pmd_thread *self, bool more)
{
    if (more && ++self->held < HELD)
        return;
    self->held = 0;
    burst_settle(&self->worker);
}

/* One burst of a queue, handled to the end; returns its size. */
static inline uint32_t poll_queue(struct pmd_thread *self, struct rxq *rxq, struct perf *perf)
{
    struct port *port = rxq->port;
    struct rte_mbuf *packets[WORKER_BURST];
    const struct pkt_md md = { .in_port = port->no };
    uint16_t n = port->class->rx_burst(port, (uint16_t)rxq->queue, packets, WORKER_BURST);

    rxq->burst = n;
    rxq->full = n == WORKER_BURST;
    if (!n)
        return 0;
    stat_add(&self->stat.received, n);
    stat_add(&self->stat.rx_batches, 1);
    stat_add(&rxq->packets, n);
    if (unlikely(self->held) && self->worker.in_port != port->no)
        settle_burst(self, false); /* What is dropped on the way is another port's. */
    if (unlikely(perf)) {
        perf_batch(perf, n);
        if (rxq->full && port->class->rx_waiting)
            perf_fill(perf, port->class->rx_waiting(port, (uint16_t)rxq->queue));
    }
    if (unlikely(port->caps & PORT_CAP_L3))
        burst_receive_l3(&self->worker, packets, n, port->no);
    else
        burst_receive(&self->worker, packets, n, &md);
    settle_burst(self, rxq->full);
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

/* Polls every queue once, but those that have had their share of time.  Time is taken only while it
 * is contended, because a time stamp costs as much as half a packet.  `armed`: those that have a
 * bell, all of them. */
static inline struct round poll_queues(struct pmd_thread *self, struct perf *perf, const bool armed)
{
    const struct rxq_list *list = atomic_load_explicit(&self->rxqs, memory_order_acquire);
    const bool contended = self->contended && !armed;
    uint64_t before = contended ? rte_rdtsc() : 0;
    struct round round = { .timed = contended };

    for (uint32_t i = 0; i < list->n; i++) {
        struct rxq *rxq = list->rxqs[i];
        uint64_t hit = atomic_load_explicit(&self->stat.hit, memory_order_relaxed);
        uint32_t n;

        if (armed ? !rest_has_bell(rxq) : contended && rxq->ahead > RXQ_AHEAD) {
            round.owes |= !armed && rxq->full;
            continue;
        }
        n = poll_queue(self, rxq, perf);
        if (n) {
            round.busy++;
            round.packets += n;
            round.last = rxq;
        }
        round.largest = n > round.largest ? n : round.largest;
        if (contended) {
            uint64_t now = rte_rdtsc();

            if (n)
                stat_add(&rxq->cycles, now - before);
            charge(self, rxq, now - before, n, atomic_load_explicit(&self->stat.hit, memory_order_relaxed) - hit);
            before = now;
        }
    }
    if (unlikely(self->held && !round.busy))
        settle_burst(self, false);
    self->contended = round.busy > 1;
    if (contended && rxq_level(list))
        self->contended = true;
    return round;
}

/* Says which queues the cycles of a round that was not timed were for.  Several had packets only in
 * the first round of those that will be timed. */
static void attribute(const struct pmd_thread *self, const struct round *round, uint64_t cycles)
{
    const struct rxq_list *list = atomic_load_explicit(&self->rxqs, memory_order_acquire);

    if (likely(round->busy == 1)) {
        stat_add(&round->last->cycles, cycles);
        return;
    }
    for (uint32_t i = 0; i < list->n; i++)
        stat_add(&list->rxqs[i]->cycles, cycles * list->rxqs[i]->burst / round->packets);
}

/* Counts a round that has just ended. */
static inline void account(struct pmd_thread *self, struct pace *pace, const struct round *round, struct perf *perf)
{
    const uint64_t now = rte_rdtsc(), cycles = now - pace->tsc;

    stat_add(&self->stat.iterations, 1);
    if (round->busy) {
        stat_add(&self->stat.iterations_busy, 1);
        stat_add(&self->stat.cycles_busy, cycles);
        if (!round->timed)
            attribute(self, round, cycles);
    } else {
        stat_add(&self->stat.cycles_idle, cycles);
    }
    if (unlikely(perf))
        perf_iteration(perf, cycles, round->packets, round->busy, atomic_load_explicit(&self->stat.missed, memory_order_relaxed),
                       atomic_load_explicit(&self->stat.cycles_upcall, memory_order_relaxed));
    pace->tsc = now;
}

/* Sleeps until a queue has packets, pmd_wake() is called, or queues that cannot tell are due. */
static void sleep_deeply(struct pmd_thread *self, struct pace *pace, struct perf *perf, uint32_t max_us)
{
    struct rest rest;
    struct round round;

    rest_arm(self, &rest);
    if (rest.bells) {
        /* A bell rings for what comes from now on.  What came before is found here. */
        round = poll_queues(self, perf, true);
        if (round.busy) {
            account(self, pace, &round, perf);
            pace->idle_since = pace->tsc;
            rest_resume(self);
            return;
        }
    }
    rest_sleep(self, pace, &rest, max_us);
}

/* Ends a sample of the thread's load, and of its queues'. */
static void sample(struct pmd_thread *self, struct pace *pace)
{
    const struct rxq_list *list = atomic_load_explicit(&self->rxqs, memory_order_acquire);

    for (uint32_t i = 0; i < list->n; i++)
        load_sample(&list->rxqs[i]->load, atomic_load_explicit(&list->rxqs[i]->cycles, memory_order_relaxed));
    load_sample(&self->busy, atomic_load_explicit(&self->stat.cycles_busy, memory_order_relaxed));
    load_sample(&self->passed, pace->tsc);
    pace->sampled = pace->tsc;
}

/* Whether others wanted the core since it was last asked. */
static void look_around(struct pace *pace)
{
    struct rusage usage;

    if (getrusage(RUSAGE_THREAD, &usage) || usage.ru_nivcsw == pace->preempted)
        return;
    pace->preempted = usage.ru_nivcsw;
    pace->shared_until = pace->tsc + SHARED_MS * pace->tick_cycles;
}

/* What is due once in a millisecond. */
static void tick(struct pmd_thread *self, struct pace *pace, struct perf *perf)
{
    worker_tick(&self->worker);
    pace->tick = pace->tsc + pace->tick_cycles;
    look_around(pace);
    if (self->contended)
        self->ran_ns = run_ns();
    if (unlikely(perf))
        perf_millisecond(perf, &self->stat, self->worker.now);
    if (pace->tsc - pace->sampled >= atomic_load_explicit(&self->sample_cycles, memory_order_relaxed))
        sample(self, pace);
}

/* Rests if there has been nothing to do. */
static void settle(struct pmd_thread *self, struct pace *pace, const struct round *round, struct perf *perf)
{
    const bool shared = pace->tsc < pace->shared_until;
    const bool in_vain = pace->told && !round->busy;
    uint32_t max_us;

    if (unlikely(pace->woke))
        rest_end(self, pace); /* The packets that ended it have been handled. */
    /* What a port has read ahead for a queue, its descriptor says nothing of. */
    if (round->busy || round->owes) {
        pace->idle_since = pace->tsc;
        if (round->largest >= BUSY_BURST)
            pace->nap_us = 0;
    } else if (pace->tsc - pace->idle_since > (shared ? pace->shared_cycles : pace->idle_cycles)) {
        max_us = atomic_load_explicit(&self->max_sleep_us, memory_order_relaxed);
        if (max_us) {
            if (!in_vain && (shared || pace->tsc - pace->idle_since > pace->deep_cycles))
                sleep_deeply(self, pace, perf, max_us);
            else
                rest_nap(self, pace, max_us);
        } else if (!(atomic_load_explicit(&self->stat.iterations, memory_order_relaxed) % 64)) {
            sched_yield(); /* The core may be shared with others. */
        } else {
            rte_pause();
        }
    }
    if (pace->tsc >= pace->tick)
        tick(self, pace, perf);
}

/* Records from now on, or no longer. */
static void begin_recording(struct pmd_thread *self, struct pace *pace, struct perf *perf)
{
    self->worker.upcall_cycles = perf ? &perf->histograms[HISTOGRAM_CYCLES_AN_UPCALL] : NULL;
    if (perf)
        perf_begin(perf, &self->stat, self->worker.now);
    pace->perf = perf;
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
                         .deep_cycles = hz / 1000000 * REST_DEEP_US, .shared_cycles = hz / 1000000 * SHARED_IDLE_US };

    self->error = come_up(self);
    if (self->error) {
        sem_post(&self->ready);
        return NULL;
    }
    rcu_online(self->worker.qsbr, self->worker.index);
    sem_post(&self->ready);
    pace.tsc = pace.idle_since = pace.sampled = self->passed.before = rte_rdtsc();
    while (!atomic_load_explicit(&self->stop, memory_order_acquire)) {
        struct perf *perf = atomic_load_explicit(&self->perf, memory_order_acquire);
        struct round round;

        if (unlikely(perf != pace.perf))
            begin_recording(self, &pace, perf);
        round = poll_queues(self, perf, false);
        account(self, &pace, &round, perf); /* The queues may go after this. */
        rcu_quiescent(self->worker.qsbr, self->worker.index);
        settle(self, &pace, &round, perf);
    }
    if (self->held)
        settle_burst(self, false);
    rcu_offline(self->worker.qsbr, self->worker.index);
    rte_thread_unregister();
    atomic_store_explicit(&self->ended, 1, memory_order_release);
    return NULL;
}
