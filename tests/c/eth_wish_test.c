/* SPDX-License-Identifier: Apache-2.0
 * LACP has a receive queue for itself: what a card hashes goes to the queues before it, also where that is only one.  The card
 * is played here.
 * link: port/port_eth_wish.c port/port_options.c link/link_device.c base/error.c */
#include <errno.h>
#include <rte_ethdev.h>
#include <rte_flow.h>
#include <string.h>

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
    return failures != 0;
}
