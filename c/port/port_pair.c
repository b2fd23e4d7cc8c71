/* SPDX-License-Identifier: Apache-2.0
 *
 * Ports of type ring and patch: two ports of a datapath, each naming the other (`peer=NAME`); what
 * is sent by one is received by the other.  They can be made in any order; while one is missing,
 * the other's link is down.
 *
 * Threads: a ring has one producer at a time, because the sending port's one txq has a lock, and
 * one consumer, because a queue has one owner. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <rte_mbuf.h>
#include <rte_ring.h>

#include "base/error.h"
#include "packet/eal_hold.h"
#include "packet/pkt.h"
#include "port/port.h"
#include "port/port_bell.h"
#include "base/stat.h"

#define QUEUE 1024u
#define QUEUE_MAX 65536u

struct end {
    char name[DP_NAME_SIZE];
    _Atomic(struct port *) port; /* NULL: not there (yet, any more). */
    struct rte_ring *ring;       /* What this end receives. */
    struct eal_hold hold;        /* What waits there. */
    struct port_bell bell;
};

struct pair {
    struct pair *next;
    struct port_table *table;
    struct end ends[2];
};

/* What a port remembers. */
struct side {
    struct pair *pair;
    struct end *own, *other;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct pair *pairs;

static void empty(struct end *end)
{
    struct rte_mbuf *m;

    while (end->ring && !rte_ring_sc_dequeue(end->ring, (void **)&m)) {
        eal_release(&end->hold, &m, 1);
        rte_pktmbuf_free(m);
    }
}

static void pair_free(struct pair *pair)
{
    for (int i = 0; i < 2; i++) {
        empty(&pair->ends[i]);
        free(pair->ends[i].ring);
    }
    port_bell_close(&pair->ends[0].bell);
    port_bell_close(&pair->ends[1].bell);
    free(pair);
}

static struct pair *pair_new(struct port_table *table, const char *name, const char *peer, uint32_t entries)
{
    struct pair *pair = calloc(1, sizeof *pair);
    bool good = pair != NULL;

    for (int i = 0; good && i < 2; i++) {
        struct rte_ring *ring = aligned_alloc(64, RTE_ALIGN((size_t)rte_ring_get_memsize(entries), 64));

        pair->ends[i].ring = ring;
        good = ring && !rte_ring_init(ring, "pair", entries, RING_F_SP_ENQ | RING_F_SC_DEQ);
        if (!good) {
            free(ring);
            pair->ends[i].ring = NULL;
        }
    }
    if (!good) {
        if (pair)
            pair_free(pair);
        return NULL;
    }
    pair->table = table;
    memcpy(pair->ends[0].name, name, DP_NAME_SIZE);
    memcpy(pair->ends[1].name, peer, DP_NAME_SIZE);
    pair->next = pairs;
    pairs = pair;
    return pair;
}

/* The free end called `name` of a pair of which the other is called `peer`. */
static struct pair *find(struct port_table *table, const char *name, const char *peer, uint32_t *end)
{
    for (struct pair *pair = pairs; pair; pair = pair->next) {
        *end = strcmp(pair->ends[0].name, name) ? 1 : 0;
        if (pair->table == table && !strcmp(pair->ends[*end].name, name) && !strcmp(pair->ends[!*end].name, peer) &&
            !atomic_load(&pair->ends[*end].port))
            return pair;
    }
    return NULL;
}

/* A port whose peer is missing drops what it is to send, and its link is down: as if its device
 * were gone. */
static void set_link(const struct side *side, struct port *other)
{
    struct port *own = atomic_load(&side->own->port);

    if (own)
        atomic_store(&own->gone, !other);
    if (other)
        atomic_store(&other->gone, !own);
}

static int pair_open(struct port *port)
{
    char peer[DP_NAME_SIZE] = "";
    uint32_t entries, end = 0;
    struct side *side;
    int error = port_options_check(port, "peer queue");

    if (!error)
        error = port_option_number(port, "queue", 64, QUEUE_MAX, QUEUE, &entries);
    if (error)
        return error;
    if (!port_option(port, "peer", peer, sizeof peer) || !peer[0])
        return error_set(EINVAL, "type %s needs the option peer=NAME, the other port", port->type);
    if (!strcmp(peer, port->name))
        return error_set(EINVAL, "it cannot be its own peer");
    side = calloc(1, sizeof *side);
    if (!side)
        return ENOMEM;
    pthread_mutex_lock(&lock);
    side->pair = find(port->table, port->name, peer, &end);
    if (!side->pair)
        side->pair = pair_new(port->table, port->name, peer, rte_align32pow2(entries));
    if (side->pair) {
        side->own = &side->pair->ends[end];
        side->other = &side->pair->ends[!end];
        atomic_store(&side->own->port, port);
        set_link(side, atomic_load(&side->other->port));
    }
    pthread_mutex_unlock(&lock);
    if (!side->pair) {
        free(side);
        return ENOMEM;
    }
    port->state = side;
    port->rxq_count = 1;
    port->txq_count = 1;
    port->mtu = PORT_MTU_ANY;
    port->caps = PORT_CAP_CHAIN | PORT_CAP_CSUM | PORT_CAP_TSO;
    port_make_mac(port);
    return 0;
}

static void pair_close(struct port *port)
{
    struct side *side = port->state;
    struct pair **at = &pairs;

    pthread_mutex_lock(&lock);
    atomic_store(&side->own->port, NULL);
    set_link(side, atomic_load(&side->other->port));
    if (!atomic_load(&side->other->port)) {
        while (*at != side->pair)
            at = &(*at)->next;
        *at = side->pair->next;
        pair_free(side->pair);
    } else {
        empty(side->own);
    }
    pthread_mutex_unlock(&lock);
    free(side);
}

static uint64_t bytes_of(struct rte_mbuf **packets, uint16_t n)
{
    uint64_t bytes = 0;

    for (uint16_t i = 0; i < n; i++)
        bytes += rte_pktmbuf_pkt_len(packets[i]);
    return bytes;
}

static uint16_t pair_rx(struct port *port, uint16_t queue, struct rte_mbuf **packets, uint16_t n)
{
    struct side *side = port->state;

    (void)queue;
    n = (uint16_t)rte_ring_sc_dequeue_burst(side->own->ring, (void **)packets, n, NULL);
    if (n) {
        eal_release(&side->own->hold, packets, n);
        stat_add(&port->rx.packets, n);
        stat_add(&port->rx.bytes, bytes_of(packets, n));
    }
    return n;
}

static uint16_t pair_tx(struct port *port, uint16_t queue, struct rte_mbuf **packets, uint16_t n)
{
    struct side *side = port->state;
    uint64_t bytes;

    (void)queue;
    n = (uint16_t)RTE_MIN(n, rte_ring_free_count(side->other->ring));
    n = eal_hold(&side->other->hold, packets, n);
    for (uint16_t i = 0; i < n; i++)
        /* Metadata ends with the datapath that has it. */
        packets[i]->ol_flags &= ~(PKT_MARKED | PKT_TUNNEL);
    bytes = bytes_of(packets, n);
    n = (uint16_t)rte_ring_sp_enqueue_burst(side->other->ring, (void **)packets, n, NULL);
    if (n) {
        stat_add(&port->tx.packets, n);
        stat_add(&port->tx.bytes, bytes);
        port_bell_ring(&side->other->bell);
    }
    return n;
}

static int pair_wait(struct port *port, uint16_t queue)
{
    (void)queue;
    return port_bell_arm(&((struct side *)port->state)->own->bell);
}

static void pair_resume(struct port *port, uint16_t queue)
{
    (void)queue;
    port_bell_clear(&((struct side *)port->state)->own->bell);
}

const struct port_class port_class_ring = {
    .type = "ring", .open = pair_open, .close = pair_close, .rx_burst = pair_rx, .tx_burst = pair_tx,
    .rx_wait = pair_wait, .rx_resume = pair_resume,
};
const struct port_class port_class_patch = {
    .type = "patch", .open = pair_open, .close = pair_close, .rx_burst = pair_rx, .tx_burst = pair_tx,
    .rx_wait = pair_wait, .rx_resume = pair_resume,
};
