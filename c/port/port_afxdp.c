/* SPDX-License-Identifier: Apache-2.0
 *
 * Ports of type afxdp: a Linux device, by AF_XDP sockets (device=NAME, or the port's name).
 *
 * Three things that DPDK 22.11's driver leaves undone are done here.  It registers as many bytes of
 * a pool as its mbufs have, though none of them crosses a page without hugepages, so that there are
 * gaps between them: what lies behind the end, the kernel neither fills nor sends, and every frame
 * in it is lost.  Here an mbuf is made as large as a page nearly, and those behind the end stay
 * unused.  It forgets the mbufs that are in the kernel's hands when the device is closed (2048 a
 * queue): such a port has a pool of its own that knows of each mbuf whether the driver has it, and
 * takes those back.  And checksums that veth left partial come without a word: they are told by
 * their value. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/if_xdp.h>
#include <net/if.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <rte_mbuf_dyn.h>
#include <rte_ring.h>

#include "packet/eal.h"
#include "packet/partial.h"
#include "base/error.h"
#include "packet/pkt.h"
#include "link/link_device.h"
#include "port/port_eth_int.h"
#include "link/link_xdp.h"

#define OPEN_TRIES 20u           /* In a second. */
#define OPTIONS "start_queue queue_count shared_umem xdp_prog busy_budget force_copy"
#define POOL_MBUFS 8191u         /* 2048 with the kernel, the rest under way. */
#define OPS "upcall_marked"
/* With its headers; an odd number of cache lines, which DPDK pads no further, in a page. */
#define MBUF_BYTES 4032u
#define MBUF_HEADERS (RTE_CACHE_LINE_ROUNDUP(sizeof(struct rte_mempool_objhdr)) + sizeof(struct rte_mbuf) + sizeof(struct pkt) + RTE_PKTMBUF_HEADROOM)
#define MBUFS_LEAST 6000u

/* The sockets of an open port, which are the driver's. */
struct sockets {
    struct sockets *next;
    const struct port *port;
    struct link_xdp_sockets open;
};

/* Packets, by the sockets before those of now, and by all. */
struct full {
    uint64_t before;
    _Atomic uint64_t all;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* Devices come and go one at a time. */
static struct sockets *sockets;

enum mark { MARK_HOME, MARK_OURS, MARK_DRIVER, MARK_OUTSIDE };

static int mark_offset = -1;
static _Thread_local bool driver_runs; /* Who allocates now is the driver. */

static uint8_t *mark_of(struct rte_mbuf *m)
{
    return RTE_MBUF_DYNFIELD(m, mark_offset, uint8_t *);
}

/* --- Pool ------------------------------------------------------------------------------------- */

static int pool_alloc(struct rte_mempool *pool)
{
    uint32_t entries = rte_align32pow2(pool->size + 1);
    struct rte_ring *ring = aligned_alloc(64, RTE_ALIGN((size_t)rte_ring_get_memsize(entries), 64));

    if (!ring || rte_ring_init(ring, OPS, entries, 0)) {
        free(ring);
        return -ENOMEM;
    }
    pool->pool_data = ring;
    return 0;
}

static void pool_free(struct rte_mempool *pool)
{
    free(pool->pool_data);
}

static int pool_enqueue(struct rte_mempool *pool, void *const *objects, unsigned int n)
{
    for (unsigned int i = 0; i < n; i++)
        *mark_of(objects[i]) = MARK_HOME;
    return rte_ring_mp_enqueue_bulk(pool->pool_data, objects, n, NULL) ? 0 : -ENOBUFS;
}

static int pool_dequeue(struct rte_mempool *pool, void **objects, unsigned int n)
{
    if (!rte_ring_mc_dequeue_bulk(pool->pool_data, objects, n, NULL))
        return -ENOBUFS;
    for (unsigned int i = 0; i < n; i++)
        *mark_of(objects[i]) = driver_runs ? MARK_DRIVER : MARK_OURS;
    return 0;
}

static unsigned int pool_count(const struct rte_mempool *pool)
{
    return rte_ring_count(pool->pool_data);
}

/* Once per process: DPDK 22.11 takes the same name again and again, until its table of 16 is
 * full. */
static int pool_register(void)
{
    static int registered = -1;
    static const struct rte_mbuf_dynfield field = { .name = "upcall_mark", .size = 1, .align = 1 };
    static const struct rte_mempool_ops ops = {
        .name = OPS, .alloc = pool_alloc, .free = pool_free, .enqueue = pool_enqueue, .dequeue = pool_dequeue,
        .get_count = pool_count,
    };
    int error = 0;

    pthread_mutex_lock(&lock);
    mark_offset = rte_mbuf_dynfield_register(&field);
    if (mark_offset < 0)
        error = rte_errno;
    else if (registered < 0)
        registered = rte_mempool_register_ops(&ops);
    if (!error && registered < 0)
        error = -registered;
    pthread_mutex_unlock(&lock);
    return error;
}

static void take_back(struct rte_mempool *pool, void *arg, void *object, unsigned int index)
{
    struct rte_mbuf *m = object;

    (void)arg, (void)index;
    if (*mark_of(m) != MARK_DRIVER && *mark_of(m) != MARK_OUTSIDE)
        return;
    m->next = NULL;
    m->nb_segs = 1;
    rte_mbuf_refcnt_set(m, 1);
    rte_mempool_put(pool, m);
}

static void reclaim(struct rte_mempool *pool)
{
    rte_mempool_obj_iter(pool, take_back, NULL);
}

/* Takes the mbufs that the driver will not register out of a new pool, until reclaim().  Returns
 * how many are left. */
static uint32_t exclude_outside(struct rte_mempool *pool)
{
    uintptr_t start = (uintptr_t)STAILQ_FIRST(&pool->mem_list)->addr;
    uintptr_t size = pool->header_size + pool->elt_size + pool->trailer_size, end = start + pool->populated_size * size;
    uint32_t left = 0;
    void *object;

    for (uint32_t i = pool->populated_size; i && !rte_mempool_get(pool, &object); i--) {
        uintptr_t at = (uintptr_t)object - pool->header_size;

        if (at >= start && at + size <= end) {
            rte_mempool_put(pool, object);
            left++;
        } else {
            *mark_of(object) = MARK_OUTSIDE;
        }
    }
    return left;
}

/* --- Port ------------------------------------------------------------------------------------- */

static struct rte_mempool *make_pool(void)
{
    struct rte_mempool *pool = eal_pool_make(POOL_MBUFS, MBUF_BYTES - MBUF_HEADERS, OPS, SOCKET_ID_ANY);

    if (pool && exclude_outside(pool) < MBUFS_LEAST) { /* It is in pieces. */
        reclaim(pool);
        eal_pool_retire(pool);
        pool = NULL;
    }
    return pool;
}

/* What found the ring of a slow thread full, which the kernel counts for each socket; under the
 * lock. */
static void count_full(struct port *port)
{
    struct full *full = eth_extra(port);
    uint64_t sum = full->before;

    for (const struct sockets *s = sockets; s; s = s->next) {
        for (uint32_t i = 0; s->port == port && i < s->open.n; i++) {
            struct xdp_statistics kernel;
            socklen_t size = sizeof kernel;

            /* Linux before 5.9 reports less. */
            if (!getsockopt(s->open.fds[i], SOL_XDP, XDP_STATISTICS, &kernel, &size) && size == sizeof kernel)
                sum += kernel.rx_ring_full;
        }
    }
    /* A device that went takes its sockets' counts along. */
    if (sum > full->all)
        full->all = sum;
}

/* Threads sleep on the socket of each queue. */
static void wake_by(struct port *port, const struct link_xdp_sockets *open)
{
    uint32_t first = 0;

    if (port_option_number(port, "start_queue", 0, UINT16_MAX, 0, &first))
        return; /* The driver takes it for what it is. */
    for (uint16_t q = 0; q < port->rxq_count; q++)
        eth_wake_by(port, q, port->rxq_count == 1 && open->n == 1 ? open->fds[0] : link_xdp_socket_of(open, first + q));
}

static int reopen(struct port *port);

/* DPDK 22.11.11 with libxdp 1.3.1 leaves the first socket of a closed device open, and as long as
 * it is, no other can be bound to the device: link_xdp_close() is for that.
 *
 * Opens the device, for the first time or again, and remembers the sockets that are new then: DPDK
 * does not say which they are.  Under the lock. */
static int open_sockets(struct port *port, const char *devargs)
{
    struct sockets *s = calloc(1, sizeof *s);
    struct eth_request request = { .devargs = devargs, .reclaim = reclaim, .reopen = reopen, .pool = s ? make_pool() : NULL };
    const bool again = port->state;
    struct link_xdp_sockets before;
    int error;

    if (!request.pool) {
        free(s);
        return eal_pools_full() ? ENOSPC : error_set(ENOMEM, "no memory for its packet buffers");
    }
    s->port = port;
    link_xdp_sockets(&before);
    driver_runs = true;
    error = again ? eth_reopen(port, request.pool) : eth_open(port, &request);
    driver_runs = false;
    link_xdp_sockets(&s->open);
    link_xdp_without(&s->open, &before);
    if (error) {
        link_xdp_close(&s->open);
        free(s);
    } else {
        s->next = sockets;
        sockets = s;
        wake_by(port, &s->open);
    }
    return error;
}

/* Forgets the sockets of a port; returns them. */
static struct sockets *unlist(const struct port *port)
{
    struct sockets **at, *s;

    for (at = &sockets; *at && (*at)->port != port; at = &(*at)->next)
        ;
    s = *at;
    if (s)
        *at = s->next;
    return s;
}

/* The device is another now.  A thread that opens a port has the lock and waits for this one,
 * which therefore does not wait. */
static int reopen(struct port *port)
{
    struct sockets *old;
    int error, owner;

    if (pthread_mutex_trylock(&lock))
        return EBUSY;
    count_full(port);
    ((struct full *)eth_extra(port))->before = ((struct full *)eth_extra(port))->all;
    eth_shut(port);
    old = unlist(port);
    if (old)
        link_xdp_close(&old->open);
    free(old);
    error = link_xdp_clean(port->device, &owner);
    if (!error)
        error = open_sockets(port, eth_arguments(port));
    pthread_mutex_unlock(&lock);
    return error;
}

static int open_first(struct port *port, const char *devargs)
{
    struct full *full = calloc(1, sizeof *full);
    int error = full ? 0 : ENOMEM;

    pthread_mutex_lock(&lock);
    if (!error)
        error = open_sockets(port, devargs);
    if (!error)
        eth_set_extra(port, full);
    pthread_mutex_unlock(&lock);
    if (error)
        free(full);
    return error;
}

static int afxdp_open(struct port *port)
{
    char arguments[2 * DP_TEXT_SIZE], extra[2 * DP_NAME_SIZE];
    unsigned int type;
    int error = port_options_check(port, PORT_DEVICE_OPTIONS " " OPTIONS " " ETH_OPTIONS), owner;

    if (error)
        return error;
    if (!port_option(port, "device", port->device, sizeof port->device))
        memcpy(port->device, port->name, sizeof port->device);
    if (strpbrk(port->device, ",[]") || !if_nametoindex(port->device))
        return error_set(ENODEV, "no device %s", port->device);
    if (!link_device_type(port->device, &type) && !link_device_is_ethernet(type))
        return link_device_refuse(port->device, type);
    snprintf(extra, sizeof extra, ",iface=%s", port->device);
    error = eth_devargs(port, "net_af_xdp", OPTIONS, extra, arguments, sizeof arguments);
    if (!error)
        error = pool_register();
    if (error)
        return error;
    if (link_xdp_clean(port->device, &owner))
        return error_set(EBUSY, "process %d has AF_XDP sockets on %s", owner, port->device);
    link_xdp_silence();
    link_xdp_follow();
    /* The kernel lets go of a device a while after the socket was closed or its process killed, and
     * the driver says no more than EINVAL. */
    for (unsigned int tries = 0; (error = open_first(port, arguments)) == EINVAL && tries < OPEN_TRIES; tries++)
        usleep(1000000 / OPEN_TRIES);
    return error;
}

static void afxdp_close(struct port *port)
{
    struct full *full = eth_extra(port);
    struct sockets *s;

    pthread_mutex_lock(&lock);
    s = unlist(port);
    eth_close(port);
    if (s)
        link_xdp_close(&s->open);
    pthread_mutex_unlock(&lock);
    free(s);
    free(full);
}

/* What the driver counts as missed is what no buffer was there for. */
static void afxdp_stats(struct port *port, struct dp_port_stats *stats)
{
    struct full *full = eth_extra(port);

    eth_stats(port, stats);
    if (!pthread_mutex_trylock(&lock)) { /* A device that is being opened takes its time. */
        count_full(port);
        pthread_mutex_unlock(&lock);
    }
    stats->rx_dropped += full->all;
}

/* Marks change while the queue is entered: when its device is opened again, what the driver has is
 * taken from it by them. */
static uint16_t afxdp_rx(struct port *port, uint16_t queue, struct rte_mbuf **packets, uint16_t n)
{
    if (!eth_enter(port, queue))
        return 0;
    driver_runs = true;
    n = rte_eth_rx_burst(port->eth_port, queue, packets, n);
    driver_runs = false;
    for (uint16_t i = 0; i < n; i++)
        *mark_of(packets[i]) = MARK_OURS;
    eth_leave(port, queue);
    for (uint16_t i = 0; i < n; i++)
        partial_detect(packets[i]);
    return n;
}

static uint16_t afxdp_tx(struct port *port, uint16_t queue, struct rte_mbuf **packets, uint16_t n)
{
    const uint32_t number = (uint32_t)port->rxq_count + queue;
    const struct rte_mempool *own;
    uint16_t sent;

    if (!eth_enter(port, number))
        return 0;
    own = eth_own_pool(port);
    for (uint16_t i = 0; i < n; i++)
        if (packets[i]->pool == own)
            /* It may keep those until the kernel has sent them. */
            *mark_of(packets[i]) = MARK_DRIVER;
    driver_runs = true;
    sent = rte_eth_tx_burst(port->eth_port, queue, packets, n);
    driver_runs = false;
    for (uint16_t i = sent; i < n; i++)
        if (packets[i]->pool == own)
            *mark_of(packets[i]) = MARK_OURS;
    eth_leave(port, number);
    return sent;
}

const struct port_class port_class_afxdp = {
    .type = "afxdp", .open = afxdp_open, .close = afxdp_close, .rx_burst = afxdp_rx, .tx_burst = afxdp_tx, .stats = afxdp_stats, .rx_wait = eth_wake_wait,
    ETH_QUESTIONS,
};
