/* SPDX-License-Identifier: Apache-2.0 */
#include "port/port_eth_int.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <rte_dev.h>
#include <rte_ethdev.h>

#include "packet/eal.h"
#include "base/cores.h"
#include "base/error.h"
#include "base/log.h"
#include "packet/worker.h"

#define DESCRIPTORS 1024u
#define DESCRIPTORS_SMALL 512u   /* Where mbufs are few. */

/* DPDK's buses do not like to be changed by two at once. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const struct port *users[RTE_MAX_ETHPORTS]; /* The port that has it, or NULL. */

static int fail(int error, const char *what)
{
    const char *said = log_captured();

    error = error < 0 ? -error : error;
    return error_set(error, "%s: %s%s%s", what, strerror(error), *said ? ": " : "", said);
}

/* --- Opening ---------------------------------------------------------------------------------- */

/* The network device of devargs; UINT16_MAX: there is none yet. */
static uint16_t find(const char *devargs)
{
    struct rte_dev_iterator iterator;
    uint16_t id;

    RTE_ETH_FOREACH_MATCHING_DEV(id, devargs, &iterator) {
        rte_eth_iterator_cleanup(&iterator);
        return id;
    }
    return UINT16_MAX;
}

/* Whether another device cannot be had in this process: drivers say so in many ways. */
static bool is_full(void)
{
    for (uint16_t id = 0; id < RTE_MAX_ETHPORTS; id++)
        if (!rte_eth_dev_is_valid_port(id))
            return false;
    return true;
}

static int probe(struct port *port, const char *devargs)
{
    uint16_t id;
    int error = rte_dev_probe(devargs); /* Also 0 for a device that was probed before. */

    if (error && is_full())
        return error_set(ENOSPC, "DPDK was built for %d devices in a process, and all are in use", RTE_MAX_ETHPORTS);
    if (error == -EFAULT || error == -ENODEV)
        return fail(ENODEV, "DPDK cannot probe the device, or has no driver of its kind installed");
    if (error == -EPERM && !geteuid())
        error = -EINVAL;                /* Drivers' -1: they did not like something. */
    if (error)
        return fail(error, "DPDK cannot probe the device");
    id = find(devargs);
    if (id == UINT16_MAX)
        return fail(ENODEV, "the device is not a network device");
    if (users[id])
        return error_set(EBUSY, "port \"%s\" has the device", users[id]->name);
    users[id] = port;
    port->eth_port = id;
    port->numa = rte_eth_dev_socket_id(id) > 0 ? (uint16_t)rte_eth_dev_socket_id(id) : 0;
    return 0;
}

/* Some drivers stand on a Linux device (net_af_packet, net_af_xdp, mlx5 …), of which the same holds
 * as of ports of type system. */
static int claim_linux_device(struct port *port, const struct rte_eth_dev_info *info)
{
    const struct link_user user = port_user(port);
    struct eth *eth = port->state;
    char name[IF_NAMESIZE];
    unsigned int type;
    int error;

    if (!info->if_index || !if_indextoname(info->if_index, name) || eth->linux_device.claim)
        return 0;
    atomic_store(&eth->linux_device.index, (int)info->if_index);
    memcpy(eth->linux_device.name, name, sizeof eth->linux_device.name);
    eth->makes_device = !strcmp(info->driver_name, "net_tap");
    error = link_device_type(name, &type);
    if (!error && !link_device_is_ethernet(type))
        return link_device_refuse(name, type);
    return link_device_claim(&user, (int)info->if_index, name, &eth->linux_device.claim);
}

struct plan {
    uint32_t rxqs, txqs;
    uint16_t rx_descriptors, tx_descriptors;
    struct eth_wishes wishes;
};

/* Whether a driver wants as many queues to send by as to receive by, and says so in no other way
 * than by refusing. */
static bool is_paired(const struct eth_request *request, const struct rte_eth_dev_info *info)
{
    return request->paired || !strcmp(info->driver_name, "net_tap") || !strcmp(info->driver_name, "net_memif");
}

static int make_plan(const struct port *port, const struct eth_request *request, const struct rte_eth_dev_info *info, struct plan *plan)
{
    uint32_t some = rte_eal_has_hugepages() ? DESCRIPTORS : DESCRIPTORS_SMALL, rx = 0, tx = 0;
    int error = eth_wishes_read(port, &plan->wishes);

    if (!error && plan->wishes.lacp && info->max_rx_queues < 2)
        error = error_set(EOPNOTSUPP, "rx-steering=rss+lacp: the device has one receive queue");
    if (!error)
        error = port_option_number(port, "n_rxq", 1, info->max_rx_queues - plan->wishes.lacp, 1, &plan->rxqs);
    plan->rxqs += plan->wishes.lacp;
    if (!error)
        error = port_option_number(port, "n_txq", 1, info->max_tx_queues,
                                   is_paired(request, info) ? RTE_MIN(plan->rxqs, (uint32_t)info->max_tx_queues) : eth_txqs(info->max_tx_queues, cores_count()), &plan->txqs);
    if (!error)
        error = port_option_number(port, "n_rxq_desc", 1, 32768, some, &rx);
    if (!error)
        error = port_option_number(port, "n_txq_desc", 1, 32768, some, &tx);
    plan->rx_descriptors = (uint16_t)rx;
    plan->tx_descriptors = (uint16_t)tx;
    if (port->rxq_count) { /* A device that comes back: threads use its queues. */
        plan->rxqs = port->rxq_count;
        plan->txqs = port->txq_count;
        if (plan->rxqs > info->max_rx_queues || plan->txqs > info->max_tx_queues)
            error = error_set(ENODEV, "it came back with fewer queues");
    }
    return error;
}

static int configure(struct port *port, const struct eth_request *request, struct plan *plan)
{
    struct rte_eth_conf conf = { 0 };
    struct rte_eth_dev_info info;
    uint32_t mtu;
    int error = rte_eth_dev_info_get(port->eth_port, &info);

    if (error)
        return fail(error, "cannot ask the device what it can do");
    if (!info.max_rx_queues || !info.max_tx_queues)
        return error_set(EOPNOTSUPP, "its device cannot both receive and send");
    error = claim_linux_device(port, &info);
    if (error)
        return error;
    error = make_plan(port, request, &info, plan);
    if (!error)
        error = port_option_number(port, "mtu", PORT_MTU_LEAST, PORT_MTU_ANY, 0, &mtu);
    if (!error && !mtu)
        error = port_option_number(port, "mtu_request", PORT_MTU_LEAST, PORT_MTU_ANY, 0, &mtu);
    if (((const struct eth *)port->state)->mtu)
        mtu = ((const struct eth *)port->state)->mtu;
    if (!error)
        error = eth_wishes_configure(&plan->wishes, &info, &conf);
    if (error)
        return error;
    ((struct eth *)port->state)->device = info.device;
    conf.txmode.offloads |= info.tx_offload_capa & RTE_ETH_TX_OFFLOAD_MULTI_SEGS;
    if (mtu + RTE_ETHER_HDR_LEN + RTE_ETHER_CRC_LEN + 8 > EAL_FRAME_ROOM)
        conf.rxmode.offloads = info.rx_offload_capa & RTE_ETH_RX_OFFLOAD_SCATTER;
    if (plan->rxqs > 1 && info.flow_type_rss_offloads) {
        conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
        conf.rx_adv_conf.rss_conf.rss_hf = info.flow_type_rss_offloads & (RTE_ETH_RSS_IP | RTE_ETH_RSS_UDP | RTE_ETH_RSS_TCP);
    }
    if (mtu && !request->mtu)
        conf.rxmode.mtu = mtu;
    error = rte_eth_dev_configure(port->eth_port, (uint16_t)plan->rxqs, (uint16_t)plan->txqs, &conf);
    if (error)
        return fail(error, "cannot configure the device");
    error = rte_eth_dev_adjust_nb_rx_tx_desc(port->eth_port, &plan->rx_descriptors, &plan->tx_descriptors);
    if (error)
        return fail(error, "cannot size the queues");
    /* af_xdp, memif, pcap and others send chains without saying so; what does say nothing gets one
     * mbuf a packet. */
    port->caps = plan->wishes.caps | (conf.txmode.offloads & RTE_ETH_TX_OFFLOAD_MULTI_SEGS ? PORT_CAP_CHAIN : 0);
    return 0;
}

/* The common pool of its node holds what goes round between ports, and a device with few
 * descriptors beside.
 * One that could take a quarter of it for its queues alone gets a pool of its own, on its node: for
 * each descriptor an mbuf, and what threads have in hand and in their caches. */
static int choose_pool(const struct port *port, const struct plan *plan, struct rte_mempool **pool)
{
    /* Queues that no thread has hold nothing. */
    const uint32_t senders = RTE_MIN(plan->txqs, cores_count() + 1);
    const uint32_t descriptors = plan->rxqs * plan->rx_descriptors + senders * plan->tx_descriptors;
    const uint32_t threads = RTE_MIN(plan->rxqs, cores_count()) + 1;
    const uint32_t need = descriptors + threads * (EAL_POOL_CACHE + EAL_POOL_CACHE / 2 + WORKER_BURST);
    const int node = rte_eth_dev_socket_id(port->eth_port);
    struct eth *eth = port->state;

    if (*pool)
        return 0;
    *pool = eal_pool_near(node);
    if (descriptors <= (*pool)->size / 4)
        return 0;
    eth->own_pool = eal_pool_make(need, EAL_FRAME_ROOM, NULL, node);
    /* There is none left there: elsewhere it is slower, and works. */
    if (!eth->own_pool && node != SOCKET_ID_ANY && !eal_pools_full())
        eth->own_pool = eal_pool_make(need, EAL_FRAME_ROOM, NULL, SOCKET_ID_ANY);
    if (!eth->own_pool && eal_pools_full())
        return ENOSPC;
    if (!eth->own_pool)
        return error_set(ENOMEM, "not enough memory for %u packet buffers, which %u receive and %u transmit queues want "
                                 "(n_rxq, n_txq, n_rxq_desc, n_txq_desc)", need, plan->rxqs, plan->txqs);
    *pool = eth->own_pool;
    return 0;
}

static int set_up_queues(struct port *port, const struct plan *plan, struct rte_mempool *pool)
{
    int socket = rte_eth_dev_socket_id(port->eth_port), error = 0;

    for (uint32_t q = 0; q < plan->rxqs && !error; q++)
        error = rte_eth_rx_queue_setup(port->eth_port, (uint16_t)q, plan->rx_descriptors, (unsigned int)socket, NULL, pool);
    for (uint32_t q = 0; q < plan->txqs && !error; q++)
        error = rte_eth_tx_queue_setup(port->eth_port, (uint16_t)q, plan->tx_descriptors, (unsigned int)socket, NULL);
    return error ? fail(error, "cannot set up the queues") : 0;
}

static int link_changed(uint16_t id, enum rte_eth_event_type type, void *arg, void *result)
{
    (void)id, (void)type, (void)result;
    port_follow_link(arg);
    return 0;
}

/* When it returns, the callback does not run and never will. */
static void forget(const struct port *port, enum rte_eth_event_type type, rte_eth_dev_cb_fn callback)
{
    while (rte_eth_dev_callback_unregister(port->eth_port, type, callback, (void *)(uintptr_t)port) == -EAGAIN)
        sched_yield();
}

/* The device was pulled out. */
static int removed(uint16_t id, enum rte_eth_event_type type, void *arg, void *result)
{
    (void)id, (void)type, (void)result;
    port_set_gone(arg);
    return 0;
}

/* Who calls this holds locks of the driver: it is done later (port_eth.c). */
static int reset_asked(uint16_t id, enum rte_eth_event_type type, void *arg, void *result)
{
    (void)id, (void)type, (void)result;
    atomic_store_explicit(&((struct eth *)((struct port *)arg)->state)->reset_asked, true, memory_order_release);
    return 0;
}

static void hear(struct port *port, const struct eth_wishes *wishes)
{
    struct eth *eth = port->state;

    eth->watched = !rte_eth_dev_callback_register(port->eth_port, RTE_ETH_EVENT_INTR_RMV, removed, port);
    eth->interrupts = wishes->lsc && !rte_eth_dev_callback_register(port->eth_port, RTE_ETH_EVENT_INTR_LSC, link_changed, port);
    if (eth->request.resets)
        rte_eth_dev_callback_register(port->eth_port, RTE_ETH_EVENT_INTR_RESET, reset_asked, port);
}

static int start(struct port *port, const struct eth_request *request)
{
    struct eth *eth = port->state;
    struct rte_ether_addr mac;
    struct rte_mempool *pool = request->pool;
    struct plan plan;
    uint16_t mtu = RTE_ETHER_MTU;
    int error = configure(port, request, &plan);

    if (!error)
        error = choose_pool(port, &plan, &pool);
    if (!error)
        error = set_up_queues(port, &plan, pool);
    if (error)
        return error;
    error = rte_eth_dev_start(port->eth_port);
    if (error)
        return fail(error, "cannot start the device");
    eth->started = true;
    rte_eth_promiscuous_enable(port->eth_port); /* Virtual devices that cannot need not. */
    hear(port, &plan.wishes);
    error = eth_wishes_apply(port, &plan.wishes, (uint16_t)plan.rxqs);
    if (!error && plan.wishes.rx_interrupt)
        error = eth_wake_begin(port, (uint16_t)plan.rxqs);
    if (error)
        return error;
    if (!rte_eth_macaddr_get(port->eth_port, &mac))
        port_set_mac(port, mac.addr_bytes);
    if (!request->mtu)
        rte_eth_dev_get_mtu(port->eth_port, &mtu);
    atomic_store_explicit(&port->mtu, request->mtu ? request->mtu : mtu, memory_order_relaxed);
    if (!port->rxq_count) { /* Threads know them ever after. */
        port->rxq_count = (uint16_t)plan.rxqs;
        port->txq_count = (uint16_t)plan.txqs;
    }
    return 0;
}

int eth_dev_begin(struct port *port, const struct eth_request *request)
{
    int error;

    pthread_mutex_lock(&lock);
    log_capture();
    error = probe(port, request->devargs);
    if (!error)
        error = start(port, request);
    log_captured();
    pthread_mutex_unlock(&lock);
    return error;
}

void eth_dev_end(struct port *port)
{
    struct eth *eth = port->state;
    struct rte_eth_dev_info info;

    if (port->eth_port == UINT16_MAX)
        return;
    pthread_mutex_lock(&lock);
    log_capture(); /* What virtual devices say when they go is of no use. */
    if (eth->watched)
        forget(port, RTE_ETH_EVENT_INTR_RMV, removed);
    if (eth->interrupts)
        forget(port, RTE_ETH_EVENT_INTR_LSC, link_changed);
    if (eth->request.resets)
        forget(port, RTE_ETH_EVENT_INTR_RESET, reset_asked);
    eth_wake_end(port);
    if (eth->started)
        rte_eth_dev_stop(port->eth_port);
    if (!eth->device && !rte_eth_dev_info_get(port->eth_port, &info))
        eth->device = info.device;
    rte_eth_dev_close(port->eth_port);
    if (eth->device)
        rte_dev_remove(eth->device);
    eth->device = NULL;
    eth->started = eth->watched = eth->interrupts = false;
    users[port->eth_port] = NULL;
    port->eth_port = UINT16_MAX;
    log_captured();
    pthread_mutex_unlock(&lock);
}

bool eth_dev_restart(struct port *port)
{
    struct eth *eth = port->state;

    pthread_mutex_lock(&lock);
    log_capture();
    if (eth->started)
        rte_eth_dev_stop(port->eth_port);
    eth->started = !rte_eth_dev_start(port->eth_port);
    log_captured();
    pthread_mutex_unlock(&lock);
    return eth->started;
}

int eth_dev_reset(struct port *port)
{
    struct eth *eth = port->state;
    struct eth_request request = eth->request;
    int error;

    request.pool = eth->own_pool;
    pthread_mutex_lock(&lock);
    log_capture();
    eth_wake_end(port);
    error = -rte_eth_dev_reset(port->eth_port); /* It is stopped first. */
    eth->started = false;
    if (!error)
        error = start(port, &request);
    log_captured();
    pthread_mutex_unlock(&lock);
    return error;
}

void eth_dev_give_back(struct eth *eth)
{
    link_device_leave(&eth->linux_device);
    if (eth->own_pool && eth->request.reclaim)
        eth->request.reclaim(eth->own_pool);
    if (eth->own_pool)
        eal_pool_retire(eth->own_pool);
    eth->own_pool = NULL;
}
