/* SPDX-License-Identifier: Apache-2.0
 *
 * Ports of type memif: shared memory with another process, whose n_rxq is this side's n_txq.
 *
 *     socket=PATH socket-abstract=yes|no id=N role=client|server … : as DPDK's net_memif has them
 *
 * What DPDK 22.11's driver does not do is done here.  A client whose server went connects again.
 * Counters go on where they were when the peer went, though the driver begins anew.  What a killed
 * server left in the file system is removed.  And memory that a peer shared is not unmapped, as the
 * driver does when the peer goes, while a poll thread is reading it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <rte_mbuf.h>
#include <rte_spinlock.h>

#include "base/error.h"
#include "base/stat.h"
#include "packet/eal_divert.h"
#include "port/port_eth.h"
#include "link/link_socket.h"
#include "link/link_watch.h"

#define OPTIONS "id role bsize rsize socket socket-abstract mac secret zero-copy owner-uid owner-gid"

/* The driver is called under the lock: by the queue's thread, which does not wait for it, and by
 * who must have no thread in the driver. */
struct queue {
    rte_spinlock_t lock;
    bool stopped;
    _Atomic uint64_t packets, bytes;
} __attribute__((aligned(64)));

/* A port's queues, receiving ones first. */
struct memif {
    struct memif *next;
    uint32_t n;
    bool was_up;
    uint64_t seen;               /* Packets, when it was last attended to. */
    struct queue queues[];
};

/* All of the process, under a lock that is taken before those of queues. */
static rte_spinlock_t list_lock = RTE_SPINLOCK_INITIALIZER;
static struct memif *list;

static struct memif *memif_of(const struct port *port)
{
    return eth_extra(port);
}

static void lock_queues(struct memif *memif)
{
    for (uint32_t i = 0; i < memif->n; i++)
        rte_spinlock_lock(&memif->queues[i].lock);
}

static void unlock_queues(struct memif *memif)
{
    for (uint32_t i = 0; i < memif->n; i++)
        rte_spinlock_unlock(&memif->queues[i].lock);
}

/* A peer's memory is about to be unmapped: the driver has marked its device as not connected, so
 * threads that come later do not touch it.  This waits for those that are there. */
static void wait_for_threads(void)
{
    rte_spinlock_lock(&list_lock);
    for (struct memif *memif = list; memif; memif = memif->next) {
        lock_queues(memif);
        unlock_queues(memif);
    }
    rte_spinlock_unlock(&list_lock);
}

/* --- Opening ---------------------------------------------------------------------------------- */

static bool is_client(const struct port *port)
{
    char role[32];

    return !port_option(port, "role", role, sizeof role) || !(strstr(role, "server") || strstr(role, "master"));
}

static int prepare_socket(const struct port *port)
{
    char path[DP_TEXT_SIZE], abstract[16] = "yes";

    if (!port_option(port, "socket", path, sizeof path))
        return 0;
    port_option(port, "socket-abstract", abstract, sizeof abstract);
    if (is_client(port) || strcmp(abstract, "no"))
        return link_socket_check(path);
    return eal_memif_listens(path) ? 0 : link_socket_clear(path);
}

/* Connects a client to a server that has come, or come back: an attempt each time, of which the
 * outcome is seen the next time. */
static void attend(void *arg)
{
    struct port *port = arg;
    struct memif *memif = memif_of(port);
    const bool up = eth_link_up(port);
    uint64_t packets = 0;
    bool works;

    for (uint32_t i = 0; i < memif->n; i++)
        packets += atomic_load_explicit(&memif->queues[i].packets, memory_order_relaxed);
    memif->was_up |= packets != memif->seen; /* A peer that came and went in between. */
    memif->seen = packets;
    port_set_peer(port, up, &memif->was_up);
    port_follow_link(port);
    if (up || !is_client(port))
        return;
    lock_queues(memif);
    for (uint32_t i = 0; i < memif->n; i++)
        memif->queues[i].stopped = true;
    unlock_queues(memif);
    works = eth_restart(port);
    for (uint32_t i = 0; i < memif->n && works; i++) {
        rte_spinlock_lock(&memif->queues[i].lock);
        memif->queues[i].stopped = false;
        rte_spinlock_unlock(&memif->queues[i].lock);
    }
}

static void memif_close(struct port *port)
{
    struct memif *memif = memif_of(port), **at = &list;

    link_watch_remove(port);
    if (memif) {
        rte_spinlock_lock(&list_lock);
        while (*at != memif)
            at = &(*at)->next;
        *at = memif->next;
        rte_spinlock_unlock(&list_lock);
    }
    eth_close(port);
    free(memif);
}

static int add_queues(struct port *port)
{
    const uint32_t n = (uint32_t)port->rxq_count + port->txq_count;
    struct memif *memif = aligned_alloc(64, RTE_ALIGN(sizeof *memif + n * sizeof memif->queues[0], 64));

    if (!memif)
        return ENOMEM;
    memset(memif, 0, sizeof *memif + n * sizeof memif->queues[0]);
    memif->n = n;
    for (uint32_t i = 0; i < n; i++)
        rte_spinlock_init(&memif->queues[i].lock);
    eth_set_extra(port, memif);
    rte_spinlock_lock(&list_lock);
    memif->next = list;
    list = memif;
    rte_spinlock_unlock(&list_lock);
    return link_watch_add(port, attend);
}

static int memif_open(struct port *port)
{
    char arguments[2 * DP_TEXT_SIZE];
    struct eth_request request = { .devargs = arguments, .paired = true, .watched = true };
    int error = port_options_check(port, OPTIONS " " ETH_OPTIONS);

    if (!error)
        error = prepare_socket(port);
    if (!error)
        error = eth_devargs(port, "net_memif", OPTIONS, "", arguments, sizeof arguments);
    eal_before_unmap(wait_for_threads);
    if (!error)
        error = eth_open(port, &request);
    if (error)
        return error;
    error = add_queues(port);
    if (error)
        memif_close(port);
    return error;
}

/* --- Running ---------------------------------------------------------------------------------- */

static uint64_t bytes_of(struct rte_mbuf **packets, uint16_t n)
{
    uint64_t bytes = 0;

    for (uint16_t i = 0; i < n; i++)
        bytes += rte_pktmbuf_pkt_len(packets[i]);
    return bytes;
}

static uint16_t memif_rx(struct port *port, uint16_t number, struct rte_mbuf **packets, uint16_t n)
{
    struct queue *queue = &memif_of(port)->queues[number];

    if (!rte_spinlock_trylock(&queue->lock))
        return 0;
    n = queue->stopped ? 0 : eth_rx(port, number, packets, n);
    if (n) {
        stat_add(&queue->packets, n);
        stat_add(&queue->bytes, bytes_of(packets, n));
    }
    rte_spinlock_unlock(&queue->lock);
    return n;
}

static uint16_t memif_tx(struct port *port, uint16_t number, struct rte_mbuf **packets, uint16_t n)
{
    struct queue *queue = &memif_of(port)->queues[port->rxq_count + number];
    uint32_t sizes[64];
    uint64_t bytes = 0;

    if (!rte_spinlock_trylock(&queue->lock))
        return 0;
    n = (uint16_t)RTE_MIN((uint32_t)n, RTE_DIM(sizes));
    for (uint16_t i = 0; i < n; i++)
        sizes[i] = rte_pktmbuf_pkt_len(packets[i]);
    n = queue->stopped ? 0 : eth_tx(port, number, packets, n);
    for (uint16_t i = 0; i < n; i++)
        bytes += sizes[i];
    stat_add(&queue->packets, n);
    stat_add(&queue->bytes, bytes);
    rte_spinlock_unlock(&queue->lock);
    return n;
}

static void memif_stats(struct port *port, struct dp_port_stats *stats)
{
    const struct memif *memif = memif_of(port);

    eth_stats(port, stats);
    stats->rx_packets = stats->rx_bytes = stats->tx_packets = stats->tx_bytes = 0;
    for (uint32_t i = 0; i < memif->n; i++) {
        const struct queue *queue = &memif->queues[i];
        const bool receives = i < port->rxq_count;

        *(receives ? &stats->rx_packets : &stats->tx_packets) += atomic_load_explicit(&queue->packets, memory_order_relaxed);
        *(receives ? &stats->rx_bytes : &stats->tx_bytes) += atomic_load_explicit(&queue->bytes, memory_order_relaxed);
    }
}

const struct port_class port_class_memif = {
    .type = "memif", .open = memif_open, .close = memif_close, .rx_burst = memif_rx, .tx_burst = memif_tx, .stats = memif_stats,
    ETH_QUESTIONS,
};
