/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "pmd/pmd_set.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <rte_cycles.h>

#include "base/cores.h"
#include "base/error.h"
#include "base/mem.h"
#include "cls/cls.h"
#include "pmd/perf.h"
#include "pmd/pmd_int.h"
#include "pmd/pmd_rest.h"
#include "port/port.h"
#include "tnl/tnl.h"

/* Ports that a new thread gets buffers for before others may have the control mutex. */
#define PORTS_STEP 64u

/* What a worker uses of the datapath's. */
static void equip(struct pmd_set *set, struct worker *worker)
{
    worker->upcalls = set->upcalls;
    worker->ct = set->ct;
    worker->meters = set->meters;
    worker->ipf = set->ipf;
    worker->bonds = set->bonds;
    worker->tnl = set->tnl;
    worker->roles = tnl_roles(set->tnl);
    worker_show(worker, set->drops, set->samples);
    worker->qsbr = rcu_qsbr(set->rcu);
    worker->replica = cls_replica_begin(set->cls, worker->index);
}

static void init_figures(struct pmd_set *set)
{
    set->sample_ms = LOAD_SAMPLE_MS;
    set->balance = (struct pmd_auto){ .load_threshold = 95, .improvement_threshold = 25, .interval_min = 1, .last = DP_BALANCE_LITTLE };
    set->watch = (struct dp_perf_watch){ .before = PMD_AROUND, .after = PMD_AROUND, .us = 250, .fill = 128 };
}

int pmd_thread_record(const struct pmd_set *set, struct pmd_thread *thread)
{
    struct perf *perf = thread->kept;

    if (!set->records) {
        atomic_store_explicit(&thread->perf, NULL, memory_order_release);
        return 0;
    }
    if (!perf)
        perf = thread->kept = perf_create();
    if (!perf)
        return ENOMEM;
    perf_watch(perf, &set->watch, rte_get_tsc_hz());
    atomic_store_explicit(&thread->perf, perf, memory_order_release);
    return 0;
}

struct pmd_set *pmd_set_create(const struct pmd_parts *parts)
{
    struct pmd_set *set = aligned_alloc(64, RTE_ALIGN(sizeof *set, 64));

    if (!set)
        return NULL;
    memset(set, 0, sizeof *set);
    set->rcu = parts->rcu;
    set->cls = parts->cls;
    set->ports = parts->ports;
    set->upcalls = parts->upcalls;
    set->ct = parts->ct;
    set->meters = parts->meters;
    set->ipf = parts->ipf;
    set->bonds = parts->bonds;
    set->tnl = parts->tnl;
    set->max_sleep_us = DP_POLL_SLEEP_US;
    set->algorithm = RXQ_GROUP;
    set->isolate = true;
    init_figures(set);
    set->threads = calloc(PMD_THREADS_MAX, sizeof(*set->threads));
    if (!set->threads || worker_init(&set->control, &set->control_stat, 0, WORKER_CONTROL_CORE)) {
        free(set->threads);
        free(set);
        return NULL;
    }
    equip(set, &set->control);
    set->used[0] = true;
    return set;
}

void pmd_set_destroy(struct pmd_set *set)
{
    if (!set)
        return;
    worker_fini(&set->control);
    free(set->rxqs);
    free(set->threads);
    free(set);
}

struct worker *pmd_set_control(struct pmd_set *set)
{
    worker_tick(&set->control);
    return &set->control;
}

void pmd_set_show(struct pmd_set *set, struct records *drops, struct records *samples)
{
    set->drops = drops;
    set->samples = samples;
    worker_show(&set->control, drops, samples);
    for (uint32_t i = 0; i < set->n; i++)
        worker_show(&set->threads[i]->worker, drops, samples);
}

/* --- Transmit buffers ------------------------------------------------------------------------- */

static int tx_add(struct worker *worker, struct port *port)
{
    struct worker_tx *tx = aligned_alloc(64, RTE_ALIGN(sizeof *tx, 64));

    if (!tx)
        return ENOMEM;
    memset(tx, 0, sizeof *tx);
    tx->port = port;
    tx->no = (uint16_t)port->no;
    /* The last one is shared, see port.h. */
    tx->txq = (uint16_t)RTE_MIN(worker->index, port->txq_count - 1u);
    atomic_store_explicit(&worker->tx[port->no], tx, memory_order_release);
    return 0;
}

/* After this and a grace period the thread has forgotten the buffer; what is left in it is the
 * caller's. */
static struct worker_tx *tx_unlink(struct worker *worker, uint32_t no)
{
    return atomic_exchange_explicit(&worker->tx[no], NULL, memory_order_acq_rel);
}

static void tx_free(struct pmd_set *set, struct worker_tx *tx)
{
    if (tx && tx->n)
        worker_drop_bulk(&set->control, tx->packets, tx->n, DROP_no_port);
    free(tx);
}

/* --- Threads ---------------------------------------------------------------------------------- */

static int thread_error(int error, uint32_t core)
{
    char cores[64];

    if (error != EINVAL)
        return error_set(error, "no poll thread on core %u: %s", core, strerror(error));
    cores_text(cores, sizeof cores);
    return error_set(error, "no poll thread on core %u: this process may run on %s only", core, cores);
}

static void thread_free(struct pmd_set *set, struct pmd_thread *thread)
{
    struct worker *worker = &thread->worker;

    for (struct port *port = port_first(set->ports, 0); port; port = port_first(set->ports, port->no + 1))
        if (worker->tx)
            tx_free(set, tx_unlink(worker, port->no));
    if (worker->replica)
        cls_replica_remove(set->cls, worker->replica);
    if (worker->index) {
        rcu_unregister(set->rcu, worker->index);
        set->used[worker->index] = false;
    }
    stat_sum(&set->gone, &thread->stat);
    free(atomic_load_explicit(&thread->rxqs, memory_order_relaxed));
    if (thread->wake >= 0)
        close(thread->wake);
    sem_destroy(&thread->ready);
    worker_fini(worker);
    perf_destroy(thread->kept);
    mem_unmap(thread, sizeof *thread);
}

/* What the set says of all threads now.  ENOMEM. */
static int tell(const struct pmd_set *set, struct pmd_thread *thread)
{
    worker_show(&thread->worker, set->drops, set->samples);
    atomic_store_explicit(&thread->max_sleep_us, set->max_sleep_us, memory_order_relaxed);
    atomic_store_explicit(&thread->sample_cycles, pmd_sample_cycles(set), memory_order_relaxed);
    return pmd_thread_record(set, thread);
}

/* A thread with everything but a life of its own; ENOMEM. */
static int thread_make(struct pmd_set *set, uint32_t core, struct pmd_thread **made)
{
    const uint32_t numa = cores_numa(core);
    struct pmd_thread *thread;
    uint32_t index = 1, ports = 0;
    int error;

    rcu_outside(set->rcu); /* Linux finds memory for it. */
    thread = mem_near(sizeof *thread, numa);
    rcu_inside(set->rcu);
    while (index < RCU_THREADS && set->used[index])
        index++;
    if (!thread || index == RCU_THREADS) {
        mem_unmap(thread, sizeof *thread);
        return ENOMEM;
    }
    sem_init(&thread->ready, 0, 0);
    thread->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    atomic_init(&thread->rxqs, rxq_list_make(NULL, 0, 0, 0, 0));
    thread->numa = numa;
    error = worker_init(&thread->worker, &thread->stat, index, core);
    if (!error)
        error = thread->wake < 0 ? errno : rcu_register(set->rcu, index);
    if (error) {
        thread->worker.index = 0;
        thread_free(set, thread);
        return ENOMEM;
    }
    set->used[index] = true;
    equip(set, &thread->worker);
    error = tell(set, thread);
    if (!error && thread->worker.replica) {
        cls_replica_near(thread->worker.replica, thread->numa);
        pmd_flows_fill(set, thread->worker.replica);
    }
    if (!error)
        error = thread->worker.replica && atomic_load_explicit(&thread->rxqs, memory_order_relaxed) ? 0 : ENOMEM;
    for (struct port *port = port_first(set->ports, 0); port && !error; port = port_first(set->ports, port->no + 1)) {
        error = tx_add(&thread->worker, port);
        if (++ports % PORTS_STEP == 0)
            pmd_let_others(set); /* With `life` held no port comes or goes. */
    }
    if (error)
        thread_free(set, thread);
    *made = thread;
    return error;
}

int pmd_thread_start(struct pmd_set *set, uint32_t core)
{
    struct pmd_thread *thread = NULL;
    int error = thread_make(set, core, &thread);
    uint32_t at = set->n;

    if (error)
        return thread_error(error, core);
    if (!cores_allowed(core)) {
        thread_free(set, thread);
        return thread_error(EINVAL, core);
    }
    error = pthread_create(&thread->thread, NULL, pmd_main, thread);
    if (!error) {
        rcu_outside(set->rcu);
        while (sem_wait(&thread->ready))
            ;
        error = thread->error;
        if (!error)
            cores_claim(core); /* It runs, under its name; all others are looked at. */
        rcu_inside(set->rcu);
        if (error)
            pthread_join(thread->thread, NULL);
    }
    if (error) {
        thread_free(set, thread);
        return thread_error(error, core);
    }
    while (at && set->threads[at - 1]->worker.core > core) {
        set->threads[at] = set->threads[at - 1];
        at--;
    }
    set->threads[at] = thread;
    set->n++;
    (void)tell(set, thread); /* Others had the mutex meanwhile.  ENOMEM: no figures. */
    pmd_wake(thread);
    for (uint32_t i = 0; i < set->rxq_n; i++) /* Owners are places in the set. */
        if (set->rxqs[i]->owner != RXQ_NOBODY && set->rxqs[i]->owner >= at)
            set->rxqs[i]->owner++;
    return 0;
}

void pmd_thread_stop(struct pmd_set *set, uint32_t at)
{
    struct pmd_thread *thread = set->threads[at];

    atomic_store_explicit(&thread->stop, 1, memory_order_release);
    pmd_wake(thread);
    rcu_outside(set->rcu);
    pthread_join(thread->thread, NULL);
    cores_release(thread->worker.core);
    rcu_inside(set->rcu);
    pmd_flows_fold(set, thread->worker.replica);
    set->n--;
    memmove(set->threads + at, set->threads + at + 1, (set->n - at) * sizeof(*set->threads));
    for (uint32_t i = 0; i < set->rxq_n; i++)
        if (set->rxqs[i]->owner != RXQ_NOBODY && set->rxqs[i]->owner > at)
            set->rxqs[i]->owner--;
    thread_free(set, thread);
}

/* --- Queues ----------------------------------------------------------------------------------- */

/* Gives every thread the queues that it has now and (`next`) keeps, or those that it is to have. */
static int publish(struct pmd_set *set, int now, int next)
{
    struct rxq_list **lists = calloc(set->n + 1, sizeof(*lists));
    int error = lists ? 0 : ENOMEM;

    for (uint32_t t = 0; t < set->n && !error; t++) {
        lists[t] = rxq_list_make(set->rxqs, set->rxq_n, t, now, next);
        error = lists[t] ? 0 : ENOMEM;
    }
    for (uint32_t t = 0; t < set->n && lists; t++) {
        if (!error)
            lists[t] = atomic_exchange_explicit(&set->threads[t]->rxqs, lists[t], memory_order_acq_rel);
        if (!error)
            pmd_wake(set->threads[t]);
    }
    if (!error)
        rcu_synchronize(set->rcu);
    for (uint32_t t = 0; t < set->n && lists; t++)
        free(lists[t]);
    free(lists);
    return error;
}

int pmd_rxqs_apply(struct pmd_set *set)
{
    int error = publish(set, 1, 1);

    for (uint32_t i = 0; i < set->rxq_n && !error; i++)
        if (set->rxqs[i]->owner != set->rxqs[i]->next_owner)
            rest_leave(set->rxqs[i]);
    if (!error)
        error = publish(set, 0, 1);
    for (uint32_t i = 0; i < set->rxq_n && !error; i++)
        set->rxqs[i]->owner = set->rxqs[i]->next_owner;
    return error;
}

static int rxqs_add(struct pmd_set *set, struct port *port)
{
    struct rxq **larger = realloc(set->rxqs, (set->rxq_n + port->rxq_count) * sizeof(*larger) + 1);

    if (!larger)
        return ENOMEM;
    set->rxqs = larger;
    for (uint32_t queue = 0; queue < port->rxq_count; queue++) {
        struct rxq *rxq = aligned_alloc(64, sizeof *rxq);

        if (!rxq)
            return ENOMEM;
        memset(rxq, 0, sizeof *rxq);
        rxq->port = port;
        rxq->queue = queue;
        rxq->owner = rxq->next_owner = RXQ_NOBODY;
        rxq->pin = RXQ_UNPINNED;
        set->rxqs[set->rxq_n++] = rxq;
    }
    return 0;
}

static void rxqs_remove(struct pmd_set *set, const struct port *port)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < set->rxq_n; i++) {
        if (set->rxqs[i]->port == port)
            free(set->rxqs[i]);
        else
            set->rxqs[n++] = set->rxqs[i];
    }
    set->rxq_n = n;
}

int pmd_set_add_port(struct pmd_set *set, struct port *port)
{
    bool isolated[PMD_THREADS_MAX];
    /* A thread that starts gives buffers to the ports that the table has, and this one is not there
     * yet: so it starts first. */
    int error = !set->n && port->rxq_count ? pmd_thread_start(set, cores_default()) : 0;

    if (error)
        return error;
    error = tx_add(&set->control, port);
    for (uint32_t t = 0; t < set->n && !error; t++)
        error = tx_add(&set->threads[t]->worker, port);
    if (!error)
        error = rxqs_add(set, port);
    for (uint32_t t = 0; t < set->n; t++)
        isolated[t] = pmd_isolated(set, t);
    if (!error) {
        rxq_place(set->rxqs, set->rxq_n, isolated, set->n);
        error = pmd_rxqs_apply(set);
    }
    if (error) {
        error_set(error, "no memory for its queues");
        pmd_set_remove_port(set, port);
    }
    return error;
}

void pmd_set_remove_port(struct pmd_set *set, struct port *port)
{
    struct worker_tx *unlinked[RCU_THREADS];
    uint32_t n = 0;

    for (uint32_t i = 0; i < set->rxq_n; i++)
        set->rxqs[i]->next_owner = set->rxqs[i]->port == port ? RXQ_NOBODY : set->rxqs[i]->owner;
    while (publish(set, 1, 1)) /* Tiny lists: memory comes back. */
        sched_yield();
    rxqs_remove(set, port);
    unlinked[n++] = tx_unlink(&set->control, port->no);
    for (uint32_t t = 0; t < set->n; t++)
        unlinked[n++] = tx_unlink(&set->threads[t]->worker, port->no);
    rcu_synchronize(set->rcu);
    while (n)
        tx_free(set, unlinked[--n]);
}
