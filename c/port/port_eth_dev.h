/* SPDX-License-Identifier: Apache-2.0
 * port_eth_dev.h - an ethdev device: found, started, and removed.
 *
 * Threads: who opens or closes the port; for a device that comes back, the thread of
 * link_watch.h. */
#ifndef UPCALL_PORT_ETH_DEV_H
#define UPCALL_PORT_ETH_DEV_H

#include <net/if.h>
#include <rte_spinlock.h>
#include <stdbool.h>

#include "link/link_device.h"
#include "port/port_eth.h"

/* Its thread has the lock while it is in the driver, so that none is while a device is opened
 * again. */
struct eth_queue {
    rte_spinlock_t lock;
    bool stopped;
} __attribute__((aligned(64)));

struct eth {
    struct rte_mempool *own_pool; /* Or NULL. */
    struct eth_request request;   /* Without a pool; `devargs` is owned. */
    struct rte_device *device;
    void *extra;
    unsigned int if_index;        /* Of the Linux device that it stands on; 0: on none. */
    char if_name[IF_NAMESIZE];    /* By which it will be back. */
    struct link_device_claim *claim;
    bool started, watched;
    bool makes_device;            /* The driver makes it, and nobody else. */
    struct eth_queue *queues;     /* Receiving ones first; NULL: no device to follow. */
    /* Held by the thread that asks the device, or opens it again. */
    rte_spinlock_t ask;
    struct dp_port_stats before, last; /* Counted by devices that went; all, when last asked. */
};

/* Probes, starts, and fills in the port. */
int eth_dev_begin(struct port *, const struct eth_request *);
/* Stops and removes the device, if there is one. */
void eth_dev_end(struct port *);
/* Claim and pool. */
void eth_dev_give_back(struct eth *);
/* Stops and starts it.  False: it did not start. */
bool eth_dev_restart(struct port *);

#endif
