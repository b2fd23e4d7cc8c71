/* SPDX-License-Identifier: Apache-2.0
 * port_eth_int.h - an ethdev device: found, started, and removed.
 *
 * Threads: who opens or closes the port; for a device that comes back, the thread of
 * link_watch.h. */
#ifndef UPCALL_PORT_ETH_INT_H
#define UPCALL_PORT_ETH_INT_H

#include <net/if.h>
#include <rte_branch_prediction.h>
#include <rte_ethdev.h>
#include <rte_spinlock.h>
#include <stdbool.h>

#include "link/link_device.h"
#include "port/port_eth.h"

#define ETH_TXQS_LEAST 16u

/* Its thread has the lock while it is in the driver, so that none is while a device is opened
 * again. */
struct eth_queue {
    rte_spinlock_t lock;
    bool stopped;
} __attribute__((aligned(64)));

/* When to try again to open a device that was lost.  Each attempt takes DPDK's locks and may take
 * long, while devices may change a hundred times a second: after one that failed the next waits,
 * twice as long each time.  Another device of the name is tried at once. */
#define ETH_RETRY_LEAST_MS 500u
#define ETH_RETRY_MOST_MS 8000u
struct eth_retry {
    uint32_t index;               /* Of the Linux device that was tried. */
    uint32_t wait_ms;             /* 0: none was. */
    uint64_t due_ms;
};

/* Whether to try now; if so, that is remembered as an attempt.  All 0 after a success. */
static inline bool eth_retry_now(struct eth_retry *retry, uint32_t index, uint64_t now_ms)
{
    if (retry->index != index)
        *retry = (struct eth_retry){ .index = index };
    if (now_ms < retry->due_ms)
        return false;
    retry->wait_ms = RTE_MIN(RTE_MAX(2 * retry->wait_ms, ETH_RETRY_LEAST_MS), ETH_RETRY_MOST_MS);
    retry->due_ms = now_ms + retry->wait_ms;
    return true;
}

/* Counters of a port, and what they are in DPDK's struct rte_eth_stats. */
#define ETH_COUNTERS(X)                                                                                                 \
    X(rx_packets, ipackets) X(rx_bytes, ibytes) X(rx_errors, ierrors) X(rx_dropped, imissed) X(rx_no_mbuf, rx_nombuf)    \
    X(tx_packets, opackets) X(tx_bytes, obytes) X(tx_errors, oerrors)

struct eth {
    struct rte_mempool *own_pool; /* Or NULL. */
    struct eth_request request;   /* Without a pool; `devargs` is owned. */
    struct rte_device *device;
    void *extra;
    /* The Linux device that it stands on, by which name it will be back; index 0: on none. */
    struct link_device linux_device;
    bool started, watched, interrupts;
    _Atomic bool reset_asked;     /* By the card. */
    struct eth_retry retry;
    bool makes_device;            /* The driver makes it, and nobody else. */
    struct eth_wake *wakes;       /* Of receive queues; NULL: no interrupts. */
    uint16_t wake_n;
    /* Held, by trial only, by the thread that switches an interrupt of a queue: drivers keep those
     * of several in one mask, which they read, change and write without a lock. */
    rte_spinlock_t switching;
    _Atomic int *descriptors;     /* Of receive queues: eth_wake_by(); NULL: none. */
    /* Receiving ones first; NULL: the device is neither followed nor reset. */
    struct eth_queue *queues;
    /* Held by the thread that asks the device, or opens it again. */
    rte_spinlock_t ask;
    _Atomic bool up;              /* When last asked. */
    uint16_t mtu;                 /* As set since it was opened; 0: as the options say. */
    struct dp_port_stats before;  /* Counted by devices that went; under `ask`. */
    /* By all of them, when last asked: for who does not wait while another asks. */
    struct {
#define X(name, of) _Atomic uint64_t name;
        ETH_COUNTERS(X)
#undef X
    } last;
};

/* A queue of the device, receiving ones first, for the thread that has it.  False: the device is
 * being opened again. */
static inline bool eth_enter(struct port *port, uint32_t number)
{
    struct eth_queue *queue = ((struct eth *)port->state)->queues;

    if (!queue)
        return true;
    queue += number;
    if (!rte_spinlock_trylock(&queue->lock))
        return false;
    if (likely(!queue->stopped))
        return true;
    rte_spinlock_unlock(&queue->lock);
    return false;
}

static inline void eth_leave(struct port *port, uint32_t number)
{
    struct eth_queue *queue = ((struct eth *)port->state)->queues;

    if (queue)
        rte_spinlock_unlock(&queue[number].lock);
}

/* What port_eth_wish.c says of options, by which a card is asked for more than queues. */
struct eth_wishes {
    struct rte_ether_addr vf_mac;
    bool vf_mac_given, flow_given;
    bool rx_pause, tx_pause, autoneg, lsc, rx_interrupt, lacp;
    uint32_t caps;               /* Of the port, by what it sends with: PORT_CAP_*. */
};
#define ETH_WISHES "rx-flow-ctrl tx-flow-ctrl flow-ctrl-autoneg dpdk-lsc-interrupt rx-interrupt dpdk-vf-mac rx-steering tx-steering tx-offload"

/* EINVAL for a value that is none; EOPNOTSUPP for what the device cannot do.  With error_set(). */
int eth_wishes_read(const struct port *, struct eth_wishes *);
int eth_wishes_configure(const struct eth_wishes *, const struct rte_eth_dev_info *, struct rte_eth_conf *);
/* Of a device that runs, with so many receive queues. */
int eth_wishes_apply(const struct port *, const struct eth_wishes *, uint16_t queues);

/* Transmit queues of a device that nobody said a number for: one for each poll thread that there
 * can be and one that is shared, as far as the device has them. */
static inline uint32_t eth_txqs(uint32_t most, uint32_t cores)
{
    return RTE_MIN(most, RTE_MIN(RTE_MAX(ETH_TXQS_LEAST, cores + 1), (uint32_t)RTE_MAX_QUEUES_PER_PORT));
}

/* What a poll thread sleeps on that has queues of the device: interrupts, if rx-interrupt asks for
 * them, or the descriptors that a kind of port says.  DPDK's own epoll reads what has to be read
 * of an interrupt, so that each queue has such an epoll, and a thread sleeps on that.
 *
 * Of a device that was started with interrupts.  errno, and error_set(). */
int eth_wake_begin(struct port *, uint16_t queues);
/* A descriptor of a kind's own, which is readable while the queue has packets; -1: none. */
void eth_wake_by(struct port *, uint16_t queue, int descriptor);
/* Neither any more: before the device is closed. */
void eth_wake_end(struct port *);
/* `rx_wait` and `rx_resume` of classes. */
int eth_wake_wait(struct port *, uint16_t queue);
void eth_wake_resume(struct port *, uint16_t queue);

/* Probes, starts, and fills in the port. */
int eth_dev_begin(struct port *, const struct eth_request *);
/* Stops and removes the device, if there is one. */
void eth_dev_end(struct port *);
/* Claim and pool. */
void eth_dev_give_back(struct eth *);
/* Stops and starts it.  False: it did not start. */
bool eth_dev_restart(struct port *);
/* Resets it as its driver does, sets it up as it was, and starts it; errno.  With no thread in
 * it. */
int eth_dev_reset(struct port *);

#endif
