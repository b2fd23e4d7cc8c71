/* SPDX-License-Identifier: Apache-2.0
 *
 * What ports of type dpdk may ask of a card beyond its queues, by Open vSwitch's names:
 *
 *     rx-flow-ctrl, tx-flow-ctrl, flow-ctrl-autoneg   pause frames that are heeded, and sent
 *     dpdk-lsc-interrupt    changes of the link by interrupt
 *     rx-interrupt          packets by interrupt, for threads that sleep; not Open vSwitch's
 *     dpdk-vf-mac           address of the virtual function that a representor stands for
 *     rx-steering=rss+lacp  a further receive queue for LACP, so that bonds live through floods
 *     tx-steering=hash      a packet's hash chooses its transmit queue, not its thread
 *
 * Open vSwitch has one setting for all ports in place of this:
 *
 *     tx-offload=checksum, tso    the card completes checksums, and cuts TCP
 *
 * A wish that the device cannot grant is refused: a port that quietly goes without it would be
 * found out on the day that it matters. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <rte_ethdev.h>
#include <rte_flow.h>
#include <rte_interrupts.h>

#include "base/error.h"
#include "port/port_eth_int.h"

static int read_bool(const struct port *port, const char *key, bool *value, bool *given)
{
    char text[16];

    if (!port_option(port, key, text, sizeof text))
        return 0;
    *given = true;
    *value = !strcmp(text, "true");
    return *value || !strcmp(text, "false") ? 0 : error_set(EINVAL, "option %s is \"%s\", expected true or false", key, text);
}

static int read_mac(const struct port *port, struct eth_wishes *wishes)
{
    char text[32];

    if (!port_option(port, "dpdk-vf-mac", text, sizeof text))
        return 0;
    wishes->vf_mac_given = true;
    if (rte_ether_unformat_addr(text, &wishes->vf_mac) || !rte_is_valid_assigned_ether_addr(&wishes->vf_mac))
        return error_set(EINVAL, "option dpdk-vf-mac is \"%s\", expected the MAC address of one station", text);
    return 0;
}

static int read_steering(const struct port *port, struct eth_wishes *wishes)
{
    char text[32];

    if (!port_option(port, "rx-steering", text, sizeof text) || !strcmp(text, "rss"))
        return 0;
    wishes->lacp = !strcmp(text, "rss+lacp");
    return wishes->lacp ? 0 : error_set(EINVAL, "option rx-steering is \"%s\", expected rss or rss+lacp", text);
}

static int read_sending(const struct port *port, struct eth_wishes *wishes)
{
    char text[32];

    if (port_option(port, "tx-steering", text, sizeof text) && strcmp(text, "thread")) {
        wishes->caps |= PORT_CAP_SPREAD;
        if (strcmp(text, "hash"))
            return error_set(EINVAL, "option tx-steering is \"%s\", expected thread or hash", text);
    }
    if (!port_option(port, "tx-offload", text, sizeof text) || !strcmp(text, "none"))
        return 0;
    wishes->caps |= PORT_CAP_FIELDS | PORT_CAP_CSUM | (strcmp(text, "checksum") ? PORT_CAP_TSO : 0);
    if (strcmp(text, "checksum") && strcmp(text, "tso"))
        return error_set(EINVAL, "option tx-offload is \"%s\", expected none, checksum or tso", text);
    return 0;
}

int eth_wishes_read(const struct port *port, struct eth_wishes *wishes)
{
    bool ignored;
    int error;

    memset(wishes, 0, sizeof *wishes);
    error = read_bool(port, "dpdk-lsc-interrupt", &wishes->lsc, &ignored);
    if (!error)
        error = read_bool(port, "rx-interrupt", &wishes->rx_interrupt, &ignored);
    if (!error)
        error = read_bool(port, "rx-flow-ctrl", &wishes->rx_pause, &wishes->flow_given);
    if (!error)
        error = read_bool(port, "tx-flow-ctrl", &wishes->tx_pause, &wishes->flow_given);
    if (!error)
        error = read_bool(port, "flow-ctrl-autoneg", &wishes->autoneg, &wishes->flow_given);
    if (!error)
        error = read_mac(port, wishes);
    if (!error)
        error = read_sending(port, wishes);
    return error ? error : read_steering(port, wishes);
}

int eth_wishes_configure(const struct eth_wishes *wishes, const struct rte_eth_dev_info *info, struct rte_eth_conf *conf)
{
    if (wishes->lsc && !(*info->dev_flags & RTE_ETH_DEV_INTR_LSC))
        return error_set(EOPNOTSUPP, "dpdk-lsc-interrupt: driver %s does not interrupt for changes of the link", info->driver_name);
    if (wishes->vf_mac_given && !(*info->dev_flags & RTE_ETH_DEV_REPRESENTOR))
        return error_set(EOPNOTSUPP, "dpdk-vf-mac: the device stands for no virtual function");
    conf->intr_conf.lsc = wishes->lsc;
    conf->intr_conf.rxq = wishes->rx_interrupt;
    if (wishes->caps & PORT_CAP_CSUM)
        conf->txmode.offloads |= RTE_ETH_TX_OFFLOAD_TCP_CKSUM | RTE_ETH_TX_OFFLOAD_UDP_CKSUM;
    if (wishes->caps & PORT_CAP_TSO)
        conf->txmode.offloads |= RTE_ETH_TX_OFFLOAD_TCP_TSO | RTE_ETH_TX_OFFLOAD_IPV4_CKSUM;
    if (conf->txmode.offloads & ~info->tx_offload_capa)
        return error_set(EOPNOTSUPP, "tx-offload: driver %s cannot %s", info->driver_name,
                         wishes->caps & PORT_CAP_TSO ? "cut TCP and complete the checksums" : "complete checksums of TCP and UDP");
    return 0;
}

static int set_flow_control(const struct port *port, const struct eth_wishes *wishes)
{
    static const enum rte_eth_fc_mode modes[2][2] = {
        { RTE_ETH_FC_NONE, RTE_ETH_FC_TX_PAUSE },
        { RTE_ETH_FC_RX_PAUSE, RTE_ETH_FC_FULL },
    };
    struct rte_eth_fc_conf conf = { 0 };
    int error = rte_eth_dev_flow_ctrl_get(port->eth_port, &conf);

    if (!error) {
        conf.mode = modes[wishes->rx_pause][wishes->tx_pause];
        conf.autoneg = wishes->autoneg;
        error = rte_eth_dev_flow_ctrl_set(port->eth_port, &conf);
    }
    if (!error)
        return 0;
    return error == -ENOTSUP ? error_set(EOPNOTSUPP, "the device has no flow control, and rx-flow-ctrl, tx-flow-ctrl or flow-ctrl-autoneg asks for it")
                             : error_set(-error, "cannot set flow control: %s", strerror(-error));
}

/* LACP goes to the last queue, and nothing else does: what is hashed goes to those before it. */
static int steer_lacp(const struct port *port, const struct rte_eth_dev_info *info, uint16_t queues)
{
    const uint16_t last = queues - 1;
    const struct rte_flow_attr attr = { .ingress = 1 };
    const struct rte_flow_item_eth slow = { .type = RTE_BE16(RTE_ETHER_TYPE_SLOW) }, mask = { .type = RTE_BE16(0xffff) };
    const struct rte_flow_item pattern[] = {
        { .type = RTE_FLOW_ITEM_TYPE_ETH, .spec = &slow, .mask = &mask },
        { .type = RTE_FLOW_ITEM_TYPE_END },
    };
    const struct rte_flow_action_queue queue = { .index = last };
    const struct rte_flow_action actions[] = {
        { .type = RTE_FLOW_ACTION_TYPE_QUEUE, .conf = &queue },
        { .type = RTE_FLOW_ACTION_TYPE_END },
    };
    struct rte_eth_rss_reta_entry64 table[RTE_ETH_RSS_RETA_SIZE_512 / RTE_ETH_RETA_GROUP_SIZE] = { 0 };
    struct rte_flow_error why = { .message = NULL };

    /* One queue before it, of a device that hashes, would share with it. */
    if (last > 1 || info->flow_type_rss_offloads) {
        if (!info->reta_size || info->reta_size > RTE_ETH_RSS_RETA_SIZE_512)
            return error_set(EOPNOTSUPP, "rx-steering=rss+lacp: the device cannot leave a queue out of its hash");
        for (uint16_t i = 0; i < info->reta_size; i++) {
            table[i / RTE_ETH_RETA_GROUP_SIZE].mask |= 1ull << (i % RTE_ETH_RETA_GROUP_SIZE);
            table[i / RTE_ETH_RETA_GROUP_SIZE].reta[i % RTE_ETH_RETA_GROUP_SIZE] = i % last;
        }
        if (rte_eth_dev_rss_reta_update(port->eth_port, table, info->reta_size))
            return error_set(EOPNOTSUPP, "rx-steering=rss+lacp: the device refuses the table of its hash");
    }
    if (rte_flow_create(port->eth_port, &attr, pattern, actions, &why))
        return 0;
    return error_set(EOPNOTSUPP, "rx-steering=rss+lacp: the device cannot give LACP a queue of its own%s%s", why.message ? ": " : "",
                     why.message ? why.message : "");
}

int eth_wishes_apply(const struct port *port, const struct eth_wishes *wishes, uint16_t queues)
{
    struct rte_ether_addr mac = wishes->vf_mac;
    struct rte_eth_dev_info info;
    int error = 0;

    if (wishes->flow_given)
        error = set_flow_control(port, wishes);
    if (!error && wishes->vf_mac_given && (error = -rte_eth_dev_default_mac_addr_set(port->eth_port, &mac)))
        error_set(error, "dpdk-vf-mac: %s", strerror(error));
    if (!error && wishes->lacp)
        error = -rte_eth_dev_info_get(port->eth_port, &info);
    if (!error && wishes->lacp)
        error = steer_lacp(port, &info, queues);
    return error;
}

/* --- Waking a thread that sleeps -------------------------------------------------------------- */

/* Of a queue. */
struct eth_wake {
    int epoll;                   /* -1: none. */
    bool armed;                  /* The thread's that has the queue. */
};

/* Adds a queue's interrupt to the epoll.  Where a card has fewer than queues, several have one,
 * which only the first of them can have an epoll for. */
static int await_interrupt(const struct port *port, int epoll, uint16_t queue)
{
    const int error = rte_eth_dev_rx_intr_ctl_q(port->eth_port, queue, epoll, RTE_INTR_EVENT_ADD, NULL);

    if (error == -EEXIST)
        return error_set(EOPNOTSUPP, "rx-interrupt: receive queue %u has no interrupt of its own here: ask for fewer (n_rxq)", queue);
    return error ? error_set(EOPNOTSUPP, "rx-interrupt: the driver does not interrupt for packets") : 0;
}

int eth_wake_begin(struct port *port, uint16_t queues)
{
    struct eth *eth = port->state;
    int error = 0;

    eth->wakes = calloc(queues, sizeof *eth->wakes);
    if (!eth->wakes)
        return ENOMEM;
    eth->wake_n = queues;
    for (uint16_t q = 0; q < queues; q++)
        eth->wakes[q].epoll = -1;
    for (uint16_t q = 0; q < queues && !error; q++) {
        eth->wakes[q].epoll = epoll_create1(EPOLL_CLOEXEC);
        if (eth->wakes[q].epoll < 0)
            error = error_set(errno, "cannot make an epoll: %s", strerror(errno));
        else
            error = await_interrupt(port, eth->wakes[q].epoll, q);
    }
    return error;
}

void eth_wake_end(struct port *port)
{
    struct eth *eth = port->state;

    for (uint16_t q = 0; q < eth->wake_n; q++) {
        const int epoll = eth->wakes[q].epoll;

        if (epoll < 0)
            continue;
        rte_eth_dev_rx_intr_ctl_q(port->eth_port, q, epoll, RTE_INTR_EVENT_DEL, NULL);
        close(epoll);
    }
    free(eth->wakes);
    eth->wakes = NULL;
    eth->wake_n = 0;
    for (uint16_t q = 0; eth->descriptors && q < port->rxq_count; q++)
        atomic_store_explicit(&eth->descriptors[q], -1, memory_order_relaxed);
}

/* Those that nothing is said of have none. */
static void make_descriptors(const struct port *port, struct eth *eth)
{
    eth->descriptors = malloc(port->rxq_count * sizeof *eth->descriptors);
    for (uint16_t q = 0; eth->descriptors && q < port->rxq_count; q++)
        atomic_init(&eth->descriptors[q], -1);
}

void eth_wake_by(struct port *port, uint16_t queue, int descriptor)
{
    struct eth *eth = port->state;

    if (!eth->descriptors) /* No thread has the port yet. */
        make_descriptors(port, eth);
    if (eth->descriptors)
        atomic_store_explicit(&eth->descriptors[queue], descriptor, memory_order_relaxed);
}

/* Drivers without a switch for it (net_tap) have descriptors that always tell.  While another
 * thread switches, this one naps: the other may have lost its core, so that it is not waited
 * for. */
static int arm(const struct port *port, struct eth *eth, uint16_t queue)
{
    int error;

    if (!rte_spinlock_trylock(&eth->switching))
        return PORT_CANNOT_WAIT;
    error = rte_eth_dev_rx_intr_enable(port->eth_port, queue);
    rte_spinlock_unlock(&eth->switching);
    if (error && error != -ENOTSUP)
        return PORT_CANNOT_WAIT;
    eth->wakes[queue].armed = true;
    return eth->wakes[queue].epoll;
}

/* What could not be switched off now will be when its thread is back from its next sleep: until
 * then it interrupts in vain. */
static void disarm(const struct port *port, struct eth *eth, uint16_t queue)
{
    struct rte_epoll_event event;

    if (!rte_spinlock_trylock(&eth->switching))
        return;
    rte_eth_dev_rx_intr_disable(port->eth_port, queue);
    rte_spinlock_unlock(&eth->switching);
    /* Reads what is to be read; nothing is said of it. */
    rte_epoll_wait(eth->wakes[queue].epoll, &event, 1, 0);
    eth->wakes[queue].armed = false;
}

int eth_wake_wait(struct port *port, uint16_t queue)
{
    struct eth *eth = port->state;
    int fd;

    if (atomic_load_explicit(&port->gone, memory_order_relaxed) || !eth_enter(port, queue))
        return PORT_CANNOT_WAIT;
    fd = eth->wakes         ? arm(port, eth, queue)
         : eth->descriptors ? atomic_load_explicit(&eth->descriptors[queue], memory_order_relaxed)
                            : -1;
    eth_leave(port, queue);
    return fd < 0 ? PORT_CANNOT_WAIT : fd;
}

void eth_wake_resume(struct port *port, uint16_t queue)
{
    struct eth *eth = port->state;

    if (!eth_enter(port, queue))
        return;
    if (eth->wakes && eth->wakes[queue].armed)
        disarm(port, eth, queue);
    eth_leave(port, queue);
}
