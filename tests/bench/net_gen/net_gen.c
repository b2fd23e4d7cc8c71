// SPDX-License-Identifier: Apache-2.0
/*
 * net_gen: an ethdev driver whose ports send the frames of a file round and round, and
 * free what is transmitted to them.
 *
 * It exists to measure forwarding programs: a receive costs about a dozen cycles a packet,
 * a transmit less, so nearly all the time that is measured belongs to the program. Preload the
 * shared object (LD_PRELOAD) and any DPDK program can open a port with the devargs
 *
 *     net_gen0,file=CAPTURE,control=PAGE,shuffle=SEED,rss=1,head=128
 *
 * file     pcap file of the frames; without it the port never receives (a sink)
 * control  file of one `struct control`, mapped shared: the measuring program opens the gate
 *          in it, sets a rate if it wants one, and reads the counters from it, for every program
 *          in the same way. Without it the gate is open and the counters are seen through ethdev only
 * shuffle  order of the first pass, see frames.h
 * rss      1: packets come with the hash of addresses and ports that a network card gives
 * head     bytes of each frame that are copied, all if absent: a card writes payload without the core's help
 *
 * A port has as many queues as it has counters for. Each receive queue plays the whole file, the
 * second one from its middle.
 *
 * Ownership: a port owns its frames and its mapping of the control page, until it is closed.
 * Threads: the functions here run on whichever thread the program configures its ports from;
 * for the packets see queue.h.
 */
#include "driver_abi.h"
#include "queue.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <rte_cycles.h>
#include <rte_kvargs.h>
#include <rte_malloc.h>
#include <rte_mbuf.h>

struct port {
    struct rx_queue rx[RX_QUEUES];
    struct frames frames;
    struct control *control;
    struct control own; /* used when no control page is given */
    struct rte_ether_addr mac;
    char *file;
    char *page;
    uint64_t seed;
    uint64_t rss;
    uint64_t head;
};

static int port_configure(struct rte_eth_dev *dev)
{
    (void)dev;
    return 0;
}

static int port_start(struct rte_eth_dev *dev)
{
    struct rte_eth_dev_data *data = dev->data;

    data->link.link_status = RTE_ETH_LINK_UP;
    memset(data->rx_queue_state, RTE_ETH_QUEUE_STATE_STARTED, data->rx_queue_count);
    memset(data->tx_queue_state, RTE_ETH_QUEUE_STATE_STARTED, data->tx_queue_count);
    return 0;
}

static int port_stop(struct rte_eth_dev *dev)
{
    dev->data->link.link_status = RTE_ETH_LINK_DOWN;
    return 0;
}

static void release(struct port *port)
{
    frames_close(&port->frames);
    if (port->control != &port->own)
        munmap(port->control, sizeof *port->control);
    port->control = &port->own;
    free(port->file);
    free(port->page);
    port->file = port->page = NULL;
}

static int port_close(struct rte_eth_dev *dev)
{
    release(dev->data->dev_private);
    dev->data->mac_addrs = NULL; /* part of the private data, which ethdev frees */
    return 0;
}

static int port_rx_queue(struct rte_eth_dev *dev, uint16_t index, uint16_t descriptors,
                         unsigned socket, const struct rte_eth_rxconf *conf,
                         struct rte_mempool *pool)
{
    struct port *port = dev->data->dev_private;
    struct rte_mbuf fresh = {.data_off = RTE_PKTMBUF_HEADROOM, .nb_segs = 1};

    (void)descriptors, (void)socket, (void)conf;
    fresh.port = dev->data->port_id;
    rte_mbuf_refcnt_set(&fresh, 1);
    memcpy(&port->rx[index].rearm, &fresh.rearm_data, sizeof port->rx[index].rearm);
    port->rx[index].pool = pool;
    dev->data->rx_queues[index] = &port->rx[index];
    return 0;
}

static int port_tx_queue(struct rte_eth_dev *dev, uint16_t index, uint16_t descriptors,
                         unsigned socket, const struct rte_eth_txconf *conf)
{
    struct port *port = dev->data->dev_private;

    (void)descriptors, (void)socket, (void)conf;
    dev->data->tx_queues[index] = &port->control->tx[index];
    return 0;
}

static int port_infos(struct rte_eth_dev *dev, struct rte_eth_dev_info *info)
{
    (void)dev;
    info->max_mac_addrs = 1;
    info->max_rx_pktlen = UINT32_MAX;
    info->max_rx_queues = RX_QUEUES;
    info->max_tx_queues = TX_QUEUES;
    return 0;
}

static int port_stats(struct rte_eth_dev *dev, struct rte_eth_stats *stats)
{
    struct control *control = ((struct port *)dev->data->dev_private)->control;

    for (unsigned i = 0; i < RX_QUEUES; i++) {
        stats->ipackets += atomic_load_explicit(&control->rx[i].packets, memory_order_relaxed);
        stats->ibytes += atomic_load_explicit(&control->rx[i].bytes, memory_order_relaxed);
        stats->rx_nombuf += atomic_load_explicit(&control->rx[i].starved, memory_order_relaxed);
        stats->imissed += atomic_load_explicit(&control->rx[i].missed, memory_order_relaxed);
    }
    for (unsigned i = 0; i < TX_QUEUES; i++) {
        stats->opackets += atomic_load_explicit(&control->tx[i].packets, memory_order_relaxed);
        stats->obytes += atomic_load_explicit(&control->tx[i].bytes, memory_order_relaxed);
    }
    return 0;
}

/* The counters belong to the measuring program as well, so nobody sets them back. */
static int port_stats_reset(struct rte_eth_dev *dev)
{
    (void)dev;
    return -ENOTSUP;
}

static int port_link(struct rte_eth_dev *dev, int wait)
{
    (void)dev, (void)wait;
    return 0;
}

static int port_mac(struct rte_eth_dev *dev, struct rte_ether_addr *mac)
{
    (void)dev, (void)mac;
    return 0;
}

static int port_mtu(struct rte_eth_dev *dev, uint16_t mtu)
{
    (void)dev, (void)mtu;
    return 0;
}

static const struct eth_dev_ops ops = {
    .configure = port_configure,
    .start = port_start,
    .stop = port_stop,
    .close = port_close,
    .link_update = port_link,
    .promiscuous_enable = port_configure,
    .promiscuous_disable = port_configure,
    .allmulticast_enable = port_configure,
    .allmulticast_disable = port_configure,
    .mac_addr_set = port_mac,
    .mtu_set = port_mtu,
    .stats_get = port_stats,
    .stats_reset = port_stats_reset,
    .infos_get = port_infos,
    .rx_queue_setup = port_rx_queue,
    .tx_queue_setup = port_tx_queue,
};

static int take_text(const char *key, const char *value, void *to)
{
    (void)key;
    *(char **)to = strdup(value);
    return *(char **)to ? 0 : -ENOMEM;
}

static int take_number(const char *key, const char *value, void *to)
{
    char *end;

    (void)key;
    errno = 0;
    *(uint64_t *)to = strtoull(value, &end, 0);
    return errno || *end || end == value ? -EINVAL : 0;
}

static int read_devargs(struct port *port, const char *text)
{
    static const char *const keys[] = {"file", "control", "shuffle", "rss", "head", NULL};
    struct rte_kvargs *args = rte_kvargs_parse(text, keys);
    int error;

    if (!args)
        return -EINVAL;
    error = rte_kvargs_process(args, "file", take_text, &port->file);
    if (!error)
        error = rte_kvargs_process(args, "control", take_text, &port->page);
    if (!error)
        error = rte_kvargs_process(args, "shuffle", take_number, &port->seed);
    if (!error)
        error = rte_kvargs_process(args, "rss", take_number, &port->rss);
    if (!error)
        error = rte_kvargs_process(args, "head", take_number, &port->head);
    rte_kvargs_free(args);
    return error < 0 ? error : 0;
}

static int map_control(struct port *port)
{
    int fd = open(port->page, O_RDWR | O_CLOEXEC);
    void *map;

    if (fd < 0)
        return -errno;
    map = mmap(NULL, sizeof *port->control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (map == MAP_FAILED)
        return -errno;
    port->control = map;
    return 0;
}

static int prepare(struct port *port, const char *devargs)
{
    int error = read_devargs(port, devargs);

    if (error)
        return error;
    if (port->page) {
        error = map_control(port);
        if (error)
            return error;
    }
    atomic_store_explicit(&port->control->tsc_hz, rte_get_tsc_hz(), memory_order_relaxed);
    if (!port->file)
        return 0;
    error = frames_open(&port->frames, port->file, port->seed, (uint32_t)port->head);
    if (!error && port->rss)
        error = frames_hash(&port->frames);
    for (unsigned i = 0; i < RX_QUEUES; i++) {
        port->rx[i].control = port->control;
        port->rx[i].counter = &port->control->rx[i];
        port->rx[i].frames = port->frames;
        port->rx[i].next = i * (port->frames.count / RX_QUEUES);
        port->rx[i].first_pass = !i && port->frames.order;
    }
    return -error;
}

static int probe(struct rte_vdev_device *vdev)
{
    const struct rte_devargs *devargs = vdev->device.devargs;
    struct rte_eth_dev *dev = rte_eth_dev_allocate(vdev->device.name);
    struct port *port;
    int error;

    if (!dev)
        return -ENOMEM;
    port = rte_zmalloc("net_gen", sizeof *port, RTE_CACHE_LINE_SIZE);
    dev->data->dev_private = port;
    if (!port) {
        rte_eth_dev_release_port(dev);
        return -ENOMEM;
    }
    port->control = &port->own;
    port->own.open = 1;
    error = prepare(port, devargs && devargs->args ? devargs->args : "");
    if (error) {
        release(port);
        rte_eth_dev_release_port(dev);
        return error;
    }
    rte_eth_random_addr(port->mac.addr_bytes);
    dev->device = &vdev->device;
    dev->data->numa_node = vdev->device.numa_node < 0 ? 0 : vdev->device.numa_node;
    dev->data->mac_addrs = &port->mac;
    dev->data->modes |= ABI_PROMISCUOUS | ABI_ALL_MULTICAST;
    dev->data->link.link_speed = RTE_ETH_SPEED_NUM_100G;
    dev->data->link.link_duplex = RTE_ETH_LINK_FULL_DUPLEX;
    dev->dev_ops = &ops;
    dev->rx_pkt_burst = port->file ? queue_receive : queue_receive_nothing;
    dev->tx_pkt_burst = queue_transmit;
    rte_eth_dev_probing_finish(dev);
    return 0;
}

static int detach(struct rte_vdev_device *vdev)
{
    struct rte_eth_dev *dev = rte_eth_dev_allocated(vdev->device.name);

    if (!dev)
        return 0; /* closed before: ethdev has released it */
    port_close(dev);
    return rte_eth_dev_release_port(dev);
}

static struct rte_vdev_driver driver = {
    .driver = {.name = "net_gen"},
    .probe = probe,
    .remove = detach,
};

static __attribute__((constructor)) void register_driver(void)
{
    rte_vdev_register(&driver);
}
