/* SPDX-License-Identifier: Apache-2.0
 * sanitize: address thread
 * A descriptor that is readable for ever, of a port that brings nothing, does not make a poll thread
 * spin; and one that has a queue to make up for does not sleep.  The ports are played here.
 * link: pmd/pmd.c pmd/pmd_rest.c pmd/perf.c pmd/rxq.c base/histogram.c base/rcu.c base/slab.c base/mem.c base/stat.c */
#define _GNU_SOURCE
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/stat.h"
#include "check.h"
#include "path/burst.h"
#include "pmd/pmd_int.h"
#include "pmd/pmd_rest.h"
#include "port/port.h"

static int readable;
static struct pmd_thread thread;
static struct rcu *rcu;

/* --- A descriptor that tells falsely ---------------------------------------------------------- */

static uint16_t receive_nothing(struct port *port, uint16_t queue, struct rte_mbuf **packets, uint16_t n)
{
    (void)port, (void)queue, (void)packets, (void)n;
    return 0;
}

static int wait_readable(struct port *port, uint16_t queue)
{
    (void)port, (void)queue;
    return readable;
}

/* --- A queue that is passed over -------------------------------------------------------------- */

#define COSTLY 1u                  /* The number of the port of which bursts are that. */
#define COSTLY_CYCLES 50000u
#define TURNS 20u

static uint32_t cheap_since;     /* Bursts of the other port since the last costly one. */
static bool passed;              /* There was nothing else to do meanwhile, for long. */
static uint64_t slept_before;
static _Atomic uint32_t turns, slept;

static uint16_t receive_costly(struct port *port, uint16_t queue, struct rte_mbuf **packets, uint16_t n)
{
    (void)port, (void)queue, (void)packets;
    if (passed) {
        atomic_fetch_add(&slept, thread.stat.sleeps != slept_before);
        atomic_fetch_add(&turns, 1);
    }
    passed = false;
    cheap_since = 0;
    return n;
}

/* Full bursts as well, until the other queue is passed over for them; then there is nothing, and to
 * find that out takes longer than a thread is idle before it sleeps on descriptors. */
static uint16_t receive_cheap(struct port *port, uint16_t queue, struct rte_mbuf **packets, uint16_t n)
{
    (void)port, (void)queue, (void)packets;
    if (!cheap_since++)
        return n;
    passed = true;
    slept_before = thread.stat.sleeps;
    usleep(3 * REST_DEEP_US / 2);
    return 0;
}

/* --- What else a thread calls ----------------------------------------------------------------- */

int rte_thread_register(void)
{
    return 0;
}

void rte_thread_unregister(void)
{
}

void worker_tick(struct worker *worker)
{
    (void)worker;
}

void burst_receive(struct worker *worker, struct rte_mbuf **packets, unsigned int n, const struct pkt_md *md)
{
    const uint64_t until = rte_rdtsc() + COSTLY_CYCLES;

    (void)worker, (void)packets, (void)n;
    while (md->in_port == COSTLY && rte_rdtsc() < until)
        ;
}

void burst_receive_l3(struct worker *worker, struct rte_mbuf **packets, unsigned int n, uint32_t in_port)
{
    (void)worker, (void)packets, (void)n, (void)in_port;
}

void burst_settle(struct worker *worker)
{
    (void)worker;
}

/* --- Threads ---------------------------------------------------------------------------------- */

/* Runs a thread that has one queue of each port. */
static void begin(struct rxq *queues, struct port *ports, uint32_t n)
{
    struct rxq_list *list = malloc(sizeof *list + n * sizeof list->rxqs[0]);
    cpu_set_t cores;
    uint32_t core = 0;

    for (list->n = 0; list->n < n; list->n++) {
        queues[list->n] = (struct rxq){ .port = &ports[list->n] };
        list->rxqs[list->n] = &queues[list->n];
    }
    CHECK(!sched_getaffinity(0, sizeof cores, &cores));
    while (!CPU_ISSET(core, &cores))
        core++;
    rcu = rcu_create();
    memset(&thread, 0, sizeof thread);
    thread.worker.qsbr = rcu_qsbr(rcu);
    thread.worker.index = 1;
    thread.worker.core = core;
    thread.wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    atomic_store(&thread.rxqs, list);
    atomic_store(&thread.max_sleep_us, 50);
    atomic_store(&thread.sample_cycles, UINT64_MAX);
    sem_init(&thread.ready, 0, 0);
    CHECK(!rcu_register(rcu, 1) && !pthread_create(&thread.thread, NULL, pmd_main, &thread));
    sem_wait(&thread.ready);
    CHECK(!thread.error);
}

static void end(void)
{
    atomic_store(&thread.stop, 1);
    pmd_wake(&thread);
    pthread_join(thread.thread, NULL);
    rcu_unregister(rcu, 1);
    rcu_destroy(rcu);
    sem_destroy(&thread.ready);
    close(thread.wake);
    free(atomic_load(&thread.rxqs));
}

static void wait_woken(uint64_t more)
{
    const uint64_t enough = atomic_load(&thread.stat.woken) + more;

    while (atomic_load(&thread.stat.woken) < enough)
        usleep(500);
}

static void test_told_in_vain(void)
{
    static const struct port_class class = { .rx_burst = receive_nothing, .rx_wait = wait_readable };
    static struct port port = { .class = &class };
    static struct rxq queue;
    uint64_t woken, sleeps;

    readable = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
    begin(&queue, &port, 1);
    wait_woken(1);
    woken = atomic_load(&thread.stat.woken);
    sleeps = atomic_load(&thread.stat.sleeps);
    wait_woken(100);
    end();
    woken = atomic_load(&thread.stat.woken) - woken;
    sleeps = atomic_load(&thread.stat.sleeps) - sleeps;
    printf("%llu sleeps, of which the descriptor ended %llu\n", (unsigned long long)sleeps, (unsigned long long)woken);
    CHECK(2 * woken <= sleeps + 3);
    close(readable);
}

static void test_passed_over(void)
{
    static const struct port_class costly = { .rx_burst = receive_costly, .rx_wait = wait_readable };
    static const struct port_class cheap = { .rx_burst = receive_cheap, .rx_wait = wait_readable };
    static struct port ports[] = { { .class = &costly, .no = COSTLY }, { .class = &cheap } };
    static struct rxq queues[2];

    readable = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK); /* It never is. */
    begin(queues, ports, 2);
    while (atomic_load(&turns) < TURNS)
        usleep(500);
    end();
    printf("%u sleeps in %u turns\n", atomic_load(&slept), atomic_load(&turns));
    CHECK(!atomic_load(&slept));
    close(readable);
}

int main(void)
{
    test_told_in_vain();
    test_passed_over();
    return failures != 0;
}
