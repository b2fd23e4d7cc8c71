/* SPDX-License-Identifier: Apache-2.0
 *
 * Ports of type dummy: what a program injects is received, and what is sent waits until a program
 * collects it.  No device, no root.  And ports of type null: they receive nothing and swallow
 * everything. */
#include "port/port_dummy.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <rte_mbuf.h>
#include <rte_ring.h>

#include "base/error.h"
#include "base/stat.h"
#include "packet/eal_packet.h"
#include "packet/eal_hold.h"
#include "port/port.h"
#include "port/port_bell.h"

#define QUEUE 2048u
#define QUEUE_MAX 65536u

struct dummy {
    struct rte_ring *in, *out;
    struct eal_hold hold;        /* What waits in `out`, for ever perhaps. */
    struct port_bell bell;
};

static struct rte_ring *ring_new(uint32_t entries)
{
    struct rte_ring *ring = aligned_alloc(64, RTE_ALIGN((size_t)rte_ring_get_memsize(entries), 64));

    if (ring && rte_ring_init(ring, "dummy", entries, 0)) {
        free(ring);
        return NULL;
    }
    return ring;
}

static void ring_free(struct rte_ring *ring)
{
    struct rte_mbuf *m;

    while (ring && !rte_ring_mc_dequeue(ring, (void **)&m))
        rte_pktmbuf_free(m);
    free(ring);
}

static void dummy_close(struct port *port)
{
    struct dummy *dummy = port->state;
    struct rte_mbuf *m;

    ring_free(dummy->in);
    while (dummy->out && !rte_ring_mc_dequeue(dummy->out, (void **)&m)) {
        eal_release(&dummy->hold, &m, 1);
        rte_pktmbuf_free(m);
    }
    ring_free(dummy->out);
    port_bell_close(&dummy->bell);
    free(dummy);
}

static int dummy_open(struct port *port)
{
    struct dummy *dummy;
    uint32_t entries, mtu;
    int error = port_options_check(port, "queue mtu packet_type");
    bool l3 = false;

    if (!error)
        error = port_option_l3(port, &l3);
    if (!error)
        error = port_option_number(port, "queue", 1, QUEUE_MAX - 1, QUEUE - 1, &entries);
    if (!error)
        error = port_option_number(port, "mtu", PORT_MTU_LEAST, PORT_MTU_ANY, PORT_MTU_ANY, &mtu);
    if (error)
        return error;
    port->mtu = mtu;
    dummy = calloc(1, sizeof *dummy);
    if (!dummy)
        return ENOMEM;
    port->state = dummy;
    entries = rte_align32pow2(entries + 1); /* A ring holds one less than its size. */
    dummy->in = ring_new(entries);
    dummy->out = ring_new(entries);
    if (!dummy->in || !dummy->out) {
        dummy_close(port);
        return ENOMEM;
    }
    port->rxq_count = 1;
    port->txq_count = 1;
    port->caps = PORT_CAP_CHAIN | (l3 ? PORT_CAP_L3 : 0);
    port_make_mac(port);
    return 0;
}

static int dummy_set_config(struct port *port, const char *key, const char *value)
{
    uint32_t mtu;
    int error = port_setting_mtu(port, key, value, PORT_MTU_ANY, &mtu);

    if (!error)
        atomic_store_explicit(&port->mtu, mtu, memory_order_relaxed);
    return error;
}

static uint64_t bytes_of(struct rte_mbuf **packets, uint16_t n)
{
    uint64_t bytes = 0;

    for (uint16_t i = 0; i < n; i++)
        bytes += rte_pktmbuf_pkt_len(packets[i]);
    return bytes;
}

static uint16_t dummy_rx(struct port *port, uint16_t queue, struct rte_mbuf **packets, uint16_t n)
{
    struct dummy *dummy = port->state;

    (void)queue;
    n = (uint16_t)rte_ring_mc_dequeue_burst(dummy->in, (void **)packets, n, NULL);
    if (n) {
        stat_add(&port->rx.packets, n);
        stat_add(&port->rx.bytes, bytes_of(packets, n));
    }
    return n;
}

static uint16_t dummy_tx(struct port *port, uint16_t queue, struct rte_mbuf **packets, uint16_t n)
{
    struct dummy *dummy = port->state;
    uint64_t bytes;

    (void)queue;
    n = eal_hold(&dummy->hold, packets, (uint16_t)RTE_MIN(n, rte_ring_free_count(dummy->out)));
    bytes = bytes_of(packets, n); /* Before somebody collects them. */
    n = (uint16_t)rte_ring_mp_enqueue_bulk(dummy->out, (void **)packets, n, NULL);
    if (n) {
        stat_add(&port->tx.packets, n);
        stat_add(&port->tx.bytes, bytes);
    }
    return n;
}

static int dummy_wait(struct port *port, uint16_t queue)
{
    (void)queue;
    return port_bell_arm(&((struct dummy *)port->state)->bell);
}

static void dummy_resume(struct port *port, uint16_t queue)
{
    (void)queue;
    port_bell_clear(&((struct dummy *)port->state)->bell);
}

static int null_open(struct port *port)
{
    int error = port_options_check(port, "");

    port->txq_count = 1;
    port->mtu = PORT_MTU_ANY;
    port->caps = PORT_CAP_CHAIN | PORT_CAP_CSUM | PORT_CAP_TSO;
    port_make_mac(port);
    return error;
}

static void null_close(struct port *port)
{
    (void)port;
}

static uint16_t null_rx(struct port *port, uint16_t queue, struct rte_mbuf **packets, uint16_t n)
{
    (void)port, (void)queue, (void)packets, (void)n;
    return 0;
}

static uint16_t null_tx(struct port *port, uint16_t queue, struct rte_mbuf **packets, uint16_t n)
{
    (void)queue;
    stat_add(&port->tx.packets, n);
    stat_add(&port->tx.bytes, bytes_of(packets, n));
    rte_pktmbuf_free_bulk(packets, n);
    return n;
}

int port_dummy_inject(struct port *port, const uint8_t *frame, uint32_t size)
{
    struct dummy *dummy = port->state;
    struct rte_mbuf *m = eal_packet(frame, size);

    if (!m)
        return error_set(ENOBUFS, "all packet buffers are in use");
    if (rte_ring_mp_enqueue(dummy->in, m)) {
        rte_pktmbuf_free(m);
        return error_set(ENOBUFS, "its receive queue is full");
    }
    port_bell_ring(&dummy->bell);
    return 0;
}

int port_dummy_collect(struct port *port, uint8_t *frame, uint32_t size, uint32_t *used)
{
    struct dummy *dummy = port->state;
    struct rte_mbuf *m;

    if (rte_ring_mc_dequeue(dummy->out, (void **)&m))
        return ENOENT;
    eal_release(&dummy->hold, &m, 1);
    *used = 0;
    for (const struct rte_mbuf *s = m; s && *used < size; s = s->next) {
        uint32_t part = RTE_MIN((uint32_t)s->data_len, size - *used);

        memcpy(frame + *used, rte_pktmbuf_mtod(s, const uint8_t *), part);
        *used += part;
    }
    rte_pktmbuf_free(m);
    return 0;
}

const struct port_class port_class_dummy = {
    .type = "dummy", .open = dummy_open, .close = dummy_close, .rx_burst = dummy_rx, .tx_burst = dummy_tx,
    .rx_wait = dummy_wait, .rx_resume = dummy_resume, .set_config = dummy_set_config,
};
const struct port_class port_class_null = {
    .type = "null", .open = null_open, .close = null_close, .rx_burst = null_rx, .tx_burst = null_tx,
};
