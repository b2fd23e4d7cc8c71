/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <rte_ethdev.h>

#include "base/error.h"
#include "link/link_watch.h"
#include "packet/eal.h"
#include "packet/worker.h"
#include "port/port_eth.h"
#include "port/port_eth_int.h"

static _Atomic uint32_t serial;          /* Of names of devices. */

/* --- Queues ----------------------------------------------------------------------------------- */

/* When it returns, no thread is in the driver, and none will be while they are stopped. */
static void set_stopped(struct port *port, bool stopped)
{
    struct eth *eth = port->state;

    for (uint32_t i = 0; i < (uint32_t)port->rxq_count + port->txq_count; i++) {
        rte_spinlock_lock(&eth->queues[i].lock);
        eth->queues[i].stopped = stopped;
        rte_spinlock_unlock(&eth->queues[i].lock);
    }
}

uint16_t eth_rx(struct port *port, uint16_t queue, struct rte_mbuf **packets, uint16_t n)
{
    if (!eth_enter(port, queue))
        return 0;
    n = rte_eth_rx_burst(port->eth_port, queue, packets, n);
    eth_leave(port, queue);
    return n;
}

uint32_t eth_rx_waiting(struct port *port, uint16_t queue)
{
    int n = 0;

    if (eth_enter(port, queue)) {
        n = rte_eth_rx_queue_count(port->eth_port, queue);
        eth_leave(port, queue);
    }
    return n > 0 ? (uint32_t)n : 0;
}

uint16_t eth_tx(struct port *port, uint16_t queue, struct rte_mbuf **packets, uint16_t n)
{
    if (!eth_enter(port, (uint32_t)port->rxq_count + queue))
        return 0;
    if (unlikely(port->caps & PORT_CAP_FIELDS))
        n = rte_eth_tx_prepare(port->eth_port, queue, packets, n);
    n = rte_eth_tx_burst(port->eth_port, queue, packets, n);
    eth_leave(port, (uint32_t)port->rxq_count + queue);
    return n;
}

/* --- Questions -------------------------------------------------------------------------------- */

/* Counters of the device, and of those before it; under `ask`. */
static void count(const struct port *port, struct eth *eth)
{
    struct rte_eth_stats s;

    if (port->eth_port == UINT16_MAX || rte_eth_stats_get(port->eth_port, &s))
        return;
#define X(name, of) atomic_store_explicit(&eth->last.name, eth->before.name + s.of, memory_order_relaxed);
    ETH_COUNTERS(X)
#undef X
}

/* The device goes, and another will count on; under `ask`. */
static void keep_count(const struct port *port, struct eth *eth)
{
    count(port, eth);
#define X(name, of) eth->before.name = atomic_load_explicit(&eth->last.name, memory_order_relaxed);
    ETH_COUNTERS(X)
#undef X
}

void eth_stats(struct port *port, struct dp_port_stats *stats)
{
    struct eth *eth = port->state;

    /* A device that is being opened takes its time, and counts nothing. */
    if (rte_spinlock_trylock(&eth->ask)) {
        count(port, eth);
        rte_spinlock_unlock(&eth->ask);
    }
#define X(name, of) stats->name = atomic_load_explicit(&eth->last.name, memory_order_relaxed);
    ETH_COUNTERS(X)
#undef X
}

bool eth_link_up(struct port *port)
{
    struct eth *eth = port->state;
    struct rte_eth_link link;

    /* Another is asking: what was seen last. */
    if (!rte_spinlock_trylock(&eth->ask))
        return atomic_load_explicit(&eth->up, memory_order_relaxed);
    atomic_store_explicit(&eth->up,
                          port->eth_port != UINT16_MAX && !rte_eth_link_get_nowait(port->eth_port, &link) &&
                              link.link_status == RTE_ETH_LINK_UP,
                          memory_order_relaxed);
    rte_spinlock_unlock(&eth->ask);
    return atomic_load_explicit(&eth->up, memory_order_relaxed);
}

struct link_speed eth_link_speed(struct port *port)
{
    struct eth *eth = port->state;
    struct link_speed speed = { 0 };
    struct rte_eth_link link;

    if (!rte_spinlock_trylock(&eth->ask))
        return port_link_speed(port);
    if (port->eth_port != UINT16_MAX && !rte_eth_link_get_nowait(port->eth_port, &link)) {
        speed.mbits = link.link_speed == RTE_ETH_SPEED_NUM_UNKNOWN ? 0 : link.link_speed;
        speed.duplex = link.link_duplex == RTE_ETH_LINK_FULL_DUPLEX ? DP_DUPLEX_FULL : DP_DUPLEX_HALF;
    }
    rte_spinlock_unlock(&eth->ask);
    return speed;
}

/* Under `ask`. */
static int read_counters(const struct port *port, struct dp_port_counter *counters, uint32_t room, uint32_t *n)
{
    const int count = rte_eth_xstats_get_names(port->eth_port, NULL, 0);
    struct rte_eth_xstat_name *names;
    struct rte_eth_xstat *values;
    int error = 0;

    if (count <= 0)
        return count ? -count : EOPNOTSUPP;
    names = calloc((size_t)count, sizeof *names);
    values = calloc((size_t)count, sizeof *values);
    if (!names || !values)
        error = ENOMEM;
    else if (rte_eth_xstats_get_names(port->eth_port, names, (unsigned int)count) != count ||
             rte_eth_xstats_get(port->eth_port, values, (unsigned int)count) != count)
        error = EAGAIN;
    *n = (uint32_t)count;
    for (uint32_t i = 0; !error && i < *n && i < room; i++) {
        snprintf(counters[i].name, sizeof counters[i].name, "%s", values[i].id < *n ? names[values[i].id].name : "?");
        counters[i].value = values[i].value;
    }
    free(names);
    free(values);
    return error;
}

int eth_counters(struct port *port, struct dp_port_counter *counters, uint32_t room, uint32_t *n)
{
    struct eth *eth = port->state;
    int error = ENODEV;

    if (!rte_spinlock_trylock(&eth->ask))
        return EBUSY; /* It is being opened. */
    if (port->eth_port != UINT16_MAX)
        error = read_counters(port, counters, room, n);
    rte_spinlock_unlock(&eth->ask);
    return error;
}

/* Drivers that must stop for it are not stopped: that would lose the packets of all queues. */
static int set_mtu(const struct port *port, uint16_t mtu)
{
    const int error = port->eth_port == UINT16_MAX ? -ENODEV : rte_eth_dev_set_mtu(port->eth_port, mtu);

    if (error == -EBUSY || error == -ENOTSUP)
        return error_set(-error, "the driver cannot change the MTU while it runs: delete the port, and add it with mtu=%u", mtu);
    return error ? error_set(-error, "the driver refuses an MTU of %u: %s", mtu, strerror(-error)) : 0;
}

int eth_set_config(struct port *port, const char *key, const char *value)
{
    struct eth *eth = port->state;
    uint32_t mtu;
    int error = port_setting_mtu(port, key, value, EAL_FRAME_ROOM - RTE_ETHER_HDR_LEN - RTE_ETHER_CRC_LEN - 8, &mtu);

    if (error)
        return error;
    if (!rte_spinlock_trylock(&eth->ask))
        return error_set(EBUSY, "the device is being asked or opened: try again");
    error = set_mtu(port, (uint16_t)mtu);
    if (!error) {
        eth->mtu = (uint16_t)mtu;
        atomic_store_explicit(&port->mtu, mtu, memory_order_relaxed);
    }
    rte_spinlock_unlock(&eth->ask);
    return error;
}

/* --- The Linux device comes and goes ---------------------------------------------------------- */

const char *eth_arguments(const struct port *port)
{
    return ((const struct eth *)port->state)->request.devargs;
}

void eth_shut(struct port *port)
{
    struct eth *eth = port->state;

    rte_spinlock_lock(&eth->ask); /* By trial everywhere else. */
    keep_count(port, eth);
    eth_dev_end(port);
    eth_dev_give_back(eth);
    rte_spinlock_unlock(&eth->ask);
}

int eth_reopen(struct port *port, struct rte_mempool *pool)
{
    struct eth *eth = port->state;
    struct eth_request request = eth->request;
    int error;

    eth_shut(port);
    rte_spinlock_lock(&eth->ask);
    eth->own_pool = request.pool = pool;
    error = eth_dev_begin(port, &request);
    if (error) {
        eth_dev_end(port);
        eth_dev_give_back(eth);
    }
    rte_spinlock_unlock(&eth->ask);
    return error;
}

/* What DPDK opened on a Linux device is of no use once that is gone, whatever comes under its name:
 * it is closed, and opened anew once there is such a device. */
static void attend(void *arg)
{
    struct port *port = arg;
    struct eth *eth = port->state;
    char name[IF_NAMESIZE];
    uint32_t index;
    int error;

    if (!atomic_load_explicit(&port->gone, memory_order_relaxed)) {
        link_device_heed(eth->linux_device.claim);
        if (link_device_name(&eth->linux_device, name)) {
            port_follow_link(port);
            return;
        }
        port_set_gone(port);
    }
    set_stopped(port, true); /* Also if DPDK's event told first that it is gone. */
    index = if_nametoindex(eth->linux_device.name);
    if ((!eth->makes_device && !index) || !eth_retry_now(&eth->retry, index, worker_clock()))
        return;
    error = eth->request.reopen ? eth->request.reopen(port) : eth_reopen(port, NULL);
    if (error)
        return; /* And tried again later. */
    eth->retry = (struct eth_retry){ 0 };
    set_stopped(port, false);
    port_set_here(port);
    port_follow_link(port);
}

/* --- A card asks to be reset ------------------------------------------------------------------ */

static void reset(struct port *port)
{
    struct eth *eth = port->state;
    int error;

    set_stopped(port, true);
    rte_spinlock_lock(&eth->ask); /* By trial everywhere else. */
    keep_count(port, eth);
    atomic_store_explicit(&eth->reset_asked, false, memory_order_relaxed);
    error = eth_dev_reset(port);
    rte_spinlock_unlock(&eth->ask);
    if (error) { /* It is tried again later. */
        atomic_store_explicit(&eth->reset_asked, true, memory_order_relaxed);
        port_set_gone(port);
        return;
    }
    memset(&eth->retry, 0, sizeof eth->retry);
    set_stopped(port, false);
    port_set_here(port);
}

/* A device that stays: its link comes and goes. */
static void attend_link(void *arg)
{
    struct port *port = arg;
    struct eth *eth = port->state;

    if (atomic_load_explicit(&eth->reset_asked, memory_order_acquire) && eth_retry_now(&eth->retry, 0, worker_clock()))
        reset(port);
    port_follow_link(port);
}

static int make_queues(struct port *port)
{
    const uint32_t n = (uint32_t)port->rxq_count + port->txq_count;
    struct eth *eth = port->state;

    eth->queues = aligned_alloc(64, n * sizeof *eth->queues);
    if (!eth->queues)
        return ENOMEM;
    for (uint32_t i = 0; i < n; i++) {
        eth->queues[i].stopped = false;
        rte_spinlock_init(&eth->queues[i].lock);
    }
    return 0;
}

/* The device comes and goes from now on. */
static int follow(struct port *port)
{
    struct eth *eth = port->state;

    eth->linux_device.fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (eth->linux_device.fd < 0)
        return error_set(errno, "cannot open a socket: %s", strerror(errno));
    port->linux_device = &eth->linux_device;
    return link_watch_add(port, attend);
}

/* --- Opening ---------------------------------------------------------------------------------- */

/* What a device is opened with again when it comes back. */
static int remember(struct eth *eth, const struct eth_request *request)
{
    eth->request = *request;
    eth->request.pool = NULL;
    eth->request.devargs = strdup(request->devargs);
    return eth->request.devargs ? 0 : ENOMEM;
}

int eth_open(struct port *port, const struct eth_request *request)
{
    struct eth *eth = calloc(1, sizeof *eth);
    int error;

    if (!eth) {
        eal_pool_retire(request->pool);
        return ENOMEM;
    }
    port->state = eth;
    eth->own_pool = request->pool;
    eth->linux_device.fd = -1;
    rte_spinlock_init(&eth->ask);
    rte_spinlock_init(&eth->switching);
    port->eth_port = UINT16_MAX;
    error = remember(eth, request);
    if (!error)
        error = eth_dev_begin(port, request);
    if (!error && (request->resets || eth->linux_device.index))
        error = make_queues(port);
    if (!error && eth->linux_device.index)
        error = follow(port);
    else if (!error && !request->watched)
        error = link_watch_add(port, attend_link);
    if (error)
        eth_close(port);
    return error;
}

bool eth_restart(struct port *port)
{
    return eth_dev_restart(port);
}

void *eth_extra(const struct port *port)
{
    return ((const struct eth *)port->state)->extra;
}

void eth_set_extra(struct port *port, void *extra)
{
    ((struct eth *)port->state)->extra = extra;
}

struct rte_mempool *eth_own_pool(const struct port *port)
{
    return ((const struct eth *)port->state)->own_pool;
}

void eth_close(struct port *port)
{
    struct eth *eth = port->state;

    link_watch_remove(port);
    eth_dev_end(port);
    eth_dev_give_back(eth);
    if (eth->linux_device.fd >= 0)
        close(eth->linux_device.fd);
    free((char *)eth->request.devargs);
    free(eth->queues);
    free(eth->descriptors);
    free(eth);
    port->state = NULL;
}

int eth_devargs(const struct port *port, const char *driver, const char *passed, const char *extra, char *text, uint32_t size)
{
    char value[DP_TEXT_SIZE], key[DP_NAME_SIZE];
    uint32_t used = (uint32_t)snprintf(text, size, "%s_up%u%s", driver, atomic_fetch_add(&serial, 1), extra);

    for (const char *at = passed; *at; at += strspn(at, " ")) {
        size_t n = strcspn(at, " ");

        snprintf(key, sizeof key, "%.*s", (int)n, at);
        at += n;
        if (!port_option(port, key, value, sizeof value))
            continue;
        if (strpbrk(value, ",[]"))
            return error_set(EINVAL, "option %s is \"%s\", and DPDK takes no comma or bracket there", key, value);
        if (used < size)
            used += (uint32_t)snprintf(text + used, size - used, ",%s=%s", key, value);
    }
    return used < size ? 0 : error_set(EINVAL, "its options are too long");
}
