/* SPDX-License-Identifier: Apache-2.0
 *
 * Ports of type afxdp: a Linux device, by AF_XDP sockets (device=NAME, or the port's name).
 *
 * Three things that DPDK 22.11's driver leaves undone are done here.  It registers as many bytes of a pool as its mbufs have, though none of them crosses a
 * page without hugepages, so that there are gaps between them: what lies behind the end, the kernel neither fills nor sends, and every frame in it is
 * lost.  Here an mbuf is made as large as a page nearly, and those behind the end stay unused.  It forgets the mbufs that are in the kernel's hands when the device is closed (2048 a queue):
 * such a port has a pool of its own that knows of each mbuf whether the driver has it, and takes those back.  And checksums that veth left partial come without
 * a word: they are told by their value. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <net/if.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_errno.h>
#include <rte_mbuf.h>
#include <rte_mbuf_dyn.h>
#include <rte_ring.h>

#include "eal.h"
#include "error.h"
#include "pkt.h"
#include "port_eth.h"
#include "port_offload.h"

#define OPTIONS "start_queue queue_count shared_umem xdp_prog busy_budget force_copy"
#define POOL_MBUFS 8191u         /* 2048 with the kernel, the rest under way. */
#define OPS "upcall_marked"
#define MBUF_BYTES 4032u         /* With its headers; an odd number of cache lines, which DPDK pads no further, in a page. */
#define MBUF_HEADERS (RTE_CACHE_LINE_ROUNDUP(sizeof(struct rte_mempool_objhdr)) + sizeof(struct rte_mbuf) + sizeof(struct pkt) + RTE_PKTMBUF_HEADROOM)
#define MBUFS_LEAST 6000u

enum mark { MARK_HOME, MARK_OURS, MARK_DRIVER, MARK_OUTSIDE };

static int mark_offset = -1;
static _Thread_local bool driver_runs; /* Who allocates now is the driver. */

static uint8_t *mark_of(struct rte_mbuf *m)
{
    return RTE_MBUF_DYNFIELD(m, mark_offset, uint8_t *);
}

/* --- Pool ------------------------------------------------------------------------------------------------- */

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

/* Once per process; ports are opened one at a time by several threads, so it may be tried twice. */
static int pool_register(void)
{
    static const struct rte_mbuf_dynfield field = { .name = "upcall_mark", .size = 1, .align = 1 };
    static const struct rte_mempool_ops ops = {
        .name = OPS, .alloc = pool_alloc, .free = pool_free, .enqueue = pool_enqueue, .dequeue = pool_dequeue,
        .get_count = pool_count,
    };
    int index;

    mark_offset = rte_mbuf_dynfield_register(&field);
    if (mark_offset < 0)
        return rte_errno;
    index = rte_mempool_register_ops(&ops);
    return index >= 0 || index == -EEXIST ? 0 : -index;
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

/* Takes the mbufs that the driver will not register out of a new pool, until reclaim().  Returns how many are left. */
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

/* --- Port ------------------------------------------------------------------------------------------------- */

static int say_nothing(int level, const char *format, va_list arguments)
{
    (void)level, (void)format, (void)arguments;
    return 0;
}

/* libbpf and libxdp tell stderr what they try on the way to success. */
static void silence(const char *library, const char *function)
{
    void *(*set_print)(int (*)(int, const char *, va_list));
    void *handle = dlopen(library, RTLD_LAZY | RTLD_NOLOAD);

    if (!handle)
        return;
    *(void **)&set_print = dlsym(handle, function);
    if (set_print)
        set_print(say_nothing);
    dlclose(handle);
}

static int afxdp_open(struct port *port)
{
    char arguments[2 * DP_TEXT_SIZE], extra[2 * DP_NAME_SIZE];
    struct eth_request request = { .devargs = arguments, .reclaim = reclaim };
    int error = port_options_check(port, "device " OPTIONS " " ETH_OPTIONS);

    if (error)
        return error;
    if (!port_option(port, "device", port->device, sizeof port->device))
        memcpy(port->device, port->name, sizeof port->device);
    if (strpbrk(port->device, ",[]") || !if_nametoindex(port->device))
        return error_set(ENODEV, "Cannot add port %s: no device %s", port->name, port->device);
    snprintf(extra, sizeof extra, ",iface=%s", port->device);
    error = eth_devargs(port, "net_af_xdp", OPTIONS, extra, arguments, sizeof arguments);
    if (!error)
        error = pool_register();
    if (error)
        return error;
    request.pool = eal_pool_make(POOL_MBUFS, MBUF_BYTES - MBUF_HEADERS, OPS);
    if (request.pool && exclude_outside(request.pool) < MBUFS_LEAST) { /* The pool is in pieces. */
        reclaim(request.pool);
        eal_pool_retire(request.pool);
        request.pool = NULL;
    }
    if (!request.pool)
        return error_set(ENOMEM, "Cannot add port %s: no memory for its packet buffers", port->name);
    silence("libbpf.so.1", "libbpf_set_print");
    silence("libbpf.so.0", "libbpf_set_print");
    silence("libxdp.so.1", "libxdp_set_print");
    eth_xdp_clean(port->device);
    driver_runs = true;
    error = eth_open(port, &request);
    driver_runs = false;
    return error;
}

static uint16_t afxdp_rx(struct port *port, uint16_t queue, struct rte_mbuf **packets, uint16_t n)
{
    driver_runs = true;
    n = eth_rx(port, queue, packets, n);
    driver_runs = false;
    for (uint16_t i = 0; i < n; i++) {
        *mark_of(packets[i]) = MARK_OURS;
        port_offload_detect(packets[i]);
    }
    return n;
}

static uint16_t afxdp_tx(struct port *port, uint16_t queue, struct rte_mbuf **packets, uint16_t n)
{
    const struct rte_mempool *own = eth_own_pool(port);
    uint16_t sent;

    for (uint16_t i = 0; i < n; i++)
        if (packets[i]->pool == own)
            *mark_of(packets[i]) = MARK_DRIVER; /* It may keep those until the kernel has sent them. */
    driver_runs = true;
    sent = eth_tx(port, queue, packets, n);
    driver_runs = false;
    for (uint16_t i = sent; i < n; i++)
        if (packets[i]->pool == own)
            *mark_of(packets[i]) = MARK_OURS;
    return sent;
}

const struct port_class port_class_afxdp = {
    .type = "afxdp", .open = afxdp_open, .close = eth_close, .rx_burst = afxdp_rx, .tx_burst = afxdp_tx, .stats = eth_stats,
    .link_up = eth_link_up,
};
