/* SPDX-License-Identifier: Apache-2.0
 * LACP has a receive queue for itself: what a card hashes goes to the queues before it, also where
 * that is only one.  And threads that have queues of one card switch the interrupts of those one at
 * a time.  The card is played here.
 * sanitize: address thread
 * link: port/port_eth_wish.c port/port_options.c link/link_device.c base/error.c */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <rte_ethdev.h>
#include <rte_flow.h>
#include <string.h>

#include "base/error.h"
#include "check.h"
#include "port/port.h"
#include "port/port_eth_int.h"

static uint16_t table[RTE_ETH_RSS_RETA_SIZE_512];
static uint16_t reta_size, lacp_queue;
static uint64_t hashes;
static unsigned int updates;

int rte_eth_dev_info_get(uint16_t port_id, struct rte_eth_dev_info *info)
{
    CHECK(port_id == 3);
    *info = (struct rte_eth_dev_info){ .reta_size = reta_size, .flow_type_rss_offloads = hashes };
    return 0;
}

int rte_eth_dev_rss_reta_update(uint16_t port_id, struct rte_eth_rss_reta_entry64 *entries, uint16_t size)
{
    CHECK(port_id == 3 && size == reta_size);
    for (uint16_t i = 0; i < size; i++) {
        CHECK(entries[i / 64].mask >> (i % 64) & 1);
        table[i] = entries[i / 64].reta[i % 64];
    }
    updates++;
    return 0;
}

struct rte_flow *rte_flow_create(uint16_t port_id, const struct rte_flow_attr *attr, const struct rte_flow_item pattern[],
                                 const struct rte_flow_action actions[], struct rte_flow_error *error)
{
    static char flow;

    (void)error;
    CHECK(port_id == 3 && attr->ingress && pattern[0].type == RTE_FLOW_ITEM_TYPE_ETH && actions[0].type == RTE_FLOW_ACTION_TYPE_QUEUE);
    lacp_queue = ((const struct rte_flow_action_queue *)actions[0].conf)->index;
    return (struct rte_flow *)&flow;
}

/* --- Interrupts ------------------------------------------------------------------------------- */

#define QUEUES 2u
#define TURNS 200u

/* Queues from this one on have the interrupt of one before. */
static uint16_t vectors = QUEUES;

/* Of all queues, as drivers keep it: read, changed and written. */
static _Atomic uint32_t mask;
static _Atomic uint32_t lost, inside, beside;
static struct eth eth;
static struct port card = { .eth_port = 3, .state = &eth };

static int switch_one(uint16_t queue, bool on)
{
    const uint32_t before = atomic_load(&mask), bit = 1u << queue;

    atomic_fetch_add(&beside, atomic_fetch_add(&inside, 1) != 0);
    sched_yield();
    atomic_store(&mask, on ? before | bit : before & ~bit);
    atomic_fetch_sub(&inside, 1);
    return 0;
}

int rte_eth_dev_rx_intr_enable(uint16_t port_id, uint16_t queue)
{
    CHECK(port_id == 3);
    return switch_one(queue, true);
}

int rte_eth_dev_rx_intr_disable(uint16_t port_id, uint16_t queue)
{
    CHECK(port_id == 3);
    return switch_one(queue, false);
}

int rte_eth_dev_rx_intr_ctl_q(uint16_t port_id, uint16_t queue, int epfd, int op, void *data)
{
    CHECK(port_id == 3 && queue < QUEUES && epfd >= 0 && !data);
    return op == RTE_INTR_EVENT_ADD && queue >= vectors ? -EEXIST : 0;
}

int rte_epoll_wait(int epfd, struct rte_epoll_event *events, int n, int timeout)
{
    (void)events;
    CHECK(epfd >= 0 && n == 1 && !timeout);
    return 0;
}

/* A thread that sleeps and wakes. */
static void *take_turns(void *arg)
{
    const uint16_t queue = *(const uint16_t *)arg;

    for (uint32_t i = 0; i < TURNS; i++) {
        const int fd = eth_wake_wait(&card, queue);

        CHECK(fd >= 0 || fd == PORT_CANNOT_WAIT);
        if (fd >= 0 && !(atomic_load(&mask) >> queue & 1))
            atomic_fetch_add(&lost, 1); /* It would sleep, and nobody wake it. */
        eth_wake_resume(&card, queue);
    }
    return NULL;
}

static void test_interrupts(void)
{
    static const uint16_t queues[QUEUES] = { 0, 1 };
    pthread_t threads[QUEUES];

    CHECK(!eth_wake_begin(&card, QUEUES));
    for (uint32_t q = 0; q < QUEUES; q++)
        CHECK(!pthread_create(&threads[q], NULL, take_turns, (void *)(uintptr_t)&queues[q]));
    for (uint32_t q = 0; q < QUEUES; q++)
        CHECK(!pthread_join(threads[q], NULL));
    CHECK(!atomic_load(&lost) && !atomic_load(&beside));
    /* What could not be switched off then can be now. */
    for (uint16_t q = 0; q < QUEUES; q++)
        eth_wake_resume(&card, q);
    CHECK(!atomic_load(&mask));
    eth_wake_end(&card);
}

/* Queues that share one are refused, for that reason. */
static void test_shared_interrupt(void)
{
    vectors = 1;
    CHECK(eth_wake_begin(&card, QUEUES) == EOPNOTSUPP && strstr(error_text(), "receive queue 1 has no interrupt of its own"));
    eth_wake_end(&card);
    vectors = QUEUES;
}

/* With so many queues in all; `offloads`: what it can hash, if anything. */
static int steer(uint16_t queues, uint16_t size, uint64_t offloads)
{
    static const struct eth_wishes wishes = { .lacp = true };
    static struct port port = { .eth_port = 3 };

    reta_size = size;
    hashes = offloads;
    updates = 0;
    lacp_queue = UINT16_MAX;
    memset(table, 0xff, sizeof table);
    return eth_wishes_apply(&port, &wishes, queues);
}

int main(void)
{
    for (uint16_t queues = 2; queues < 6; queues++) {
        CHECK(!steer(queues, 512, RTE_ETH_RSS_IP) && updates == 1 && lacp_queue == queues - 1);
        for (uint16_t i = 0; i < 512; i++)
            CHECK(table[i] < queues - 1);
    }
    CHECK(!steer(2, 64, RTE_ETH_RSS_IP) && updates == 1 && table[1] == 0);
    /* It hashes nothing, and one queue gets it all. */
    CHECK(!steer(2, 0, 0) && !updates && lacp_queue == 1);
    CHECK(steer(2, 0, RTE_ETH_RSS_IP) == EOPNOTSUPP && steer(3, 0, 0) == EOPNOTSUPP && steer(3, 1024, RTE_ETH_RSS_IP) == EOPNOTSUPP);
    test_interrupts();
    test_shared_interrupt();
    return failures != 0;
}
