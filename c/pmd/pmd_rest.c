/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "pmd/pmd_rest.h"

#include <time.h>
#include <unistd.h>

#include <rte_cycles.h>

#include "base/rcu.h"
#include "base/stat.h"
#include "pmd/pmd_int.h"

/* A thread looks by itself so often, so that its counters are never older than this. */
#define LOOK_MS 10

static const struct rxq_list *queues_of(const struct pmd_thread *self)
{
    return atomic_load_explicit(&self->rxqs, memory_order_acquire);
}

static struct timespec next_nap(struct pace *pace, uint32_t max_us)
{
    if (pace->nap_us < max_us)
        pace->nap_us++;
    else
        pace->nap_us = max_us;
    return (struct timespec){ pace->nap_us / 1000000, pace->nap_us % 1000000 * 1000l };
}

static void count(struct pmd_thread *self, struct pace *pace, uint64_t before)
{
    pace->tsc = rte_rdtsc();
    stat_add(&self->stat.sleeps, 1);
    stat_add(&self->stat.cycles_sleep, pace->tsc - before);
}

void rest_nap(struct pmd_thread *self, struct pace *pace, uint32_t max_us)
{
    const struct timespec time = next_nap(pace, max_us);
    const uint64_t before = rte_rdtsc();

    /* The control side need not wait for sleepers. */
    rcu_offline(self->worker.qsbr, self->worker.index);
    nanosleep(&time, NULL);
    rcu_online(self->worker.qsbr, self->worker.index);
    count(self, pace, before);
}

void pmd_wake(struct pmd_thread *thread)
{
    const uint64_t one = 1;

    if (write(thread->wake, &one, sizeof one) < 0)
        return; /* It has been rung already. */
}

void rest_arm(const struct pmd_thread *self, struct rest *rest)
{
    const struct rxq_list *list = queues_of(self);

    rest->fds[0] = (struct pollfd){ .fd = self->wake, .events = POLLIN };
    rest->told = rest->bells = 0;
    rest->blind = list->n > REST_QUEUES ? list->n : 0;
    for (uint32_t i = 0; i < list->n && list->n <= REST_QUEUES; i++) {
        const struct rxq *rxq = list->rxqs[i];
        const struct port_class *class = rxq->port->class;
        const int fd = class->rx_wait ? class->rx_wait(rxq->port, (uint16_t)rxq->queue) : PORT_CANNOT_WAIT;

        if (fd >= 0)
            rest->fds[++rest->told] = (struct pollfd){ .fd = fd, .events = POLLIN };
        rest->blind += fd == PORT_CANNOT_WAIT;
        rest->bells += fd >= 0 && rest_has_bell(rxq);
    }
}

void rest_sleep(struct pmd_thread *self, struct pace *pace, struct rest *rest, uint32_t max_us)
{
    const struct timespec look = { LOOK_MS / 1000, LOOK_MS % 1000 * 1000000l };
    const struct timespec time = rest->blind ? next_nap(pace, max_us) : look;
    const uint64_t before = rte_rdtsc();
    int ready;

    /* Offline, the list and its ports may go at any time: they are not touched again before the
     * thread is online, and then the list is asked for anew.  A descriptor that is closed meanwhile
     * stays open for poll(), and one that is another's by then can only end the sleep. */
    rcu_offline(self->worker.qsbr, self->worker.index);
    ready = ppoll(rest->fds, rest->told + 1, &time, NULL);
    rcu_online(self->worker.qsbr, self->worker.index);
    pace->woke = true;
    pace->rung = ready > 0 && rest->fds[0].revents;
    count(self, pace, before);
    pace->told = ready > pace->rung;
    if (pace->told)
        stat_add(&self->stat.woken, 1);
}

void rest_resume(const struct pmd_thread *self)
{
    const struct rxq_list *list = queues_of(self);

    for (uint32_t i = 0; i < list->n; i++)
        if (list->rxqs[i]->port->class->rx_resume)
            list->rxqs[i]->port->class->rx_resume(list->rxqs[i]->port, (uint16_t)list->rxqs[i]->queue);
}

void rest_end(const struct pmd_thread *self, struct pace *pace)
{
    uint64_t rings;

    rest_resume(self);
    if (pace->rung && read(self->wake, &rings, sizeof rings) < 0)
        pace->rung = false; /* Somebody else has read it. */
    pace->woke = pace->told = false;
}
