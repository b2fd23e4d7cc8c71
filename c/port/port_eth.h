/* SPDX-License-Identifier: Apache-2.0
 * port_eth.h - ports on DPDK's ethdev devices.
 *
 * port_eth_dev.c finds, starts and removes a device, and port_eth_wish.c asks it for what only some
 * cards can do, such as to wake threads.  port_eth.c runs it, and opens it again when the Linux
 * device that it stands on went and came back.  port_eth_kinds.c says for each kind of port which
 * device that is: the devargs that its options come to.  A card that asks to be reset, as a virtual
 * function does whose physical one was, is stopped, reset and set up again, and what it counted
 * before counts on.
 *
 * Threads: as port.h says. */
#ifndef UPCALL_PORT_ETH_H
#define UPCALL_PORT_ETH_H

#include "port/port.h"

struct rte_mempool;

/* What there is to know before the device is opened. */
struct eth_request {
    const char *devargs;
    struct rte_mempool *pool;    /* NULL: the common one. */
    /* Or NULL: takes back what the closed device kept of its pool. */
    void (*reclaim)(struct rte_mempool *);
    /* Or NULL: opens the device again, by eth_reopen(). */
    int (*reopen)(struct port *);
    uint32_t mtu;                /* Of a device that takes any frame, or 0: ask the device. */
    /* A peer has a receive queue for each transmit queue, or it refuses to connect: as many as are
     * received by. */
    bool paired;
    bool watched;                /* The kind adds the port to link_watch.h itself. */
    bool resets;                 /* A card, which may ask to be reset. */
};

/* Probes a device, starts it and fills in the port.  On failure everything is undone and the pool
 * retired. */
int eth_open(struct port *, const struct eth_request *);
void eth_close(struct port *);
struct rte_mempool *eth_own_pool(const struct port *); /* Of the request; kept until eth_close(). */
/* For what such a kind's `reopen` does around them: closes the device, if it is not; opens it again
 * with another pool (errno; it is closed then). */
void eth_shut(struct port *);
int eth_reopen(struct port *, struct rte_mempool *);
const char *eth_arguments(const struct port *); /* The devargs of the request. */

/* With the queue entered, and left. */
uint16_t eth_rx(struct port *, uint16_t queue, struct rte_mbuf **, uint16_t n);
uint32_t eth_rx_waiting(struct port *, uint16_t queue);
uint16_t eth_tx(struct port *, uint16_t queue, struct rte_mbuf **, uint16_t n);
void eth_stats(struct port *, struct dp_port_stats *);
bool eth_link_up(struct port *);
struct link_speed eth_link_speed(struct port *);
int eth_counters(struct port *, struct dp_port_counter *, uint32_t room, uint32_t *n);
int eth_set_config(struct port *, const char *key, const char *value);
/* What all kinds have alike in their `struct port_class`. */
#define ETH_QUESTIONS                                                                     \
    .link_up = eth_link_up, .link_speed = eth_link_speed, .counters = eth_counters,       \
    .set_config = eth_set_config

/* Stops and starts the device, with no thread in it.  False: it did not start, and must not be
 * used. */
bool eth_restart(struct port *);

/* What a kind keeps for a port; NULL at first. */
void *eth_extra(const struct port *);
void eth_set_extra(struct port *, void *);

/* `driverN` + `extra` + `,key=value…` with those options of the port that `passed` lists.  EINVAL,
 * and error_set(). */
int eth_devargs(const struct port *, const char *driver, const char *passed, const char *extra, char *text, uint32_t size);

/* Options that every kind takes besides its own. */
#define ETH_OPTIONS "n_rxq n_txq n_rxq_desc n_txq_desc mtu"

#endif
