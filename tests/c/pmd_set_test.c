/* SPDX-License-Identifier: Apache-2.0
 * What a thread armed to be woken by a queue is disarmed while the queue moves to another and nobody
 * has it.  Threads and ports are played here.
 * link: pmd/pmd_set.c pmd/rxq.c base/rcu.c base/slab.c base/mem.c base/error.c */
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "pmd/pmd_int.h"
#include "pmd/pmd_set.h"
#include "port/port.h"

#define QUEUES 4u

static struct pmd_set set;
static struct pmd_thread threads[2];
static struct rxq queues[QUEUES];
static uint32_t resumed[QUEUES];

static bool is_listed(const struct pmd_thread *thread, uint32_t queue)
{
    const struct rxq_list *list = atomic_load(&thread->rxqs);

    for (uint32_t i = 0; i < list->n; i++)
        if (list->rxqs[i]->queue == queue)
            return true;
    return false;
}

static void resume(struct port *port, uint16_t queue)
{
    CHECK(port == queues[queue].port && !is_listed(&threads[0], queue) && !is_listed(&threads[1], queue));
    resumed[queue]++;
}

void pmd_wake(struct pmd_thread *thread)
{
    CHECK(thread == &threads[0] || thread == &threads[1]);
}

int main(void)
{
    static const struct port_class told = { .rx_resume = resume }, untold = { 0 };
    static struct port ports[2] = { { .class = &told }, { .class = &untold } };
    static struct pmd_thread *places[] = { &threads[0], &threads[1] };
    struct rxq *all[QUEUES];

    for (uint32_t q = 0; q < QUEUES; q++) {
        queues[q] = (struct rxq){ .port = &ports[q == 3], .queue = q, .owner = RXQ_NOBODY, .next_owner = q % 2 };
        all[q] = &queues[q];
    }
    set = (struct pmd_set){ .rcu = rcu_create(), .threads = places, .n = 2, .rxqs = all, .rxq_n = QUEUES };
    for (uint32_t t = 0; t < 2; t++)
        atomic_store(&threads[t].rxqs, rxq_list_make(NULL, 0, 0, 0, 0));
    /* Nobody had them. */
    CHECK(!pmd_rxqs_apply(&set) && is_listed(&threads[0], 0) && is_listed(&threads[1], 1) && is_listed(&threads[1], 3));
    memset(resumed, 0, sizeof resumed);
    CHECK(!pmd_rxqs_apply(&set) && !resumed[0] && !resumed[1] && !resumed[2]);
    /* Two move, one of them of a port that has nothing to disarm. */
    queues[1].next_owner = queues[3].next_owner = 0;
    CHECK(!pmd_rxqs_apply(&set) && is_listed(&threads[0], 1) && is_listed(&threads[0], 3) && !is_listed(&threads[1], 1));
    CHECK(!resumed[0] && resumed[1] == 1 && !resumed[2]);
    /* And one goes to nobody. */
    queues[0].next_owner = RXQ_NOBODY;
    CHECK(!pmd_rxqs_apply(&set) && resumed[0] == 1 && resumed[1] == 1 && !is_listed(&threads[0], 0));
    for (uint32_t t = 0; t < 2; t++)
        free(atomic_load(&threads[t].rxqs));
    rcu_destroy(set.rcu);
    return failures != 0;
}
