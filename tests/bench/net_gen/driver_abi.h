// SPDX-License-Identifier: Apache-2.0
/*
 * driver_abi: the part of DPDK's driver interface that net_gen uses.
 *
 * Distributions ship DPDK's application headers but not the headers for drivers, so
 * what a driver must see of an ethdev is declared here: each structure names the members
 * that net_gen touches and pads the rest. Member offsets are those of the 22.11 ABI
 * (soname 23), which is frozen for the life of that release; another release does not
 * compile. Checked against the driver headers of 22.11.11.
 *
 * Ownership: every structure belongs to ethdev or to the vdev bus; a driver fills it in.
 * Threads: none of this is synchronised; ethdev calls a driver's control functions from
 * one thread at a time.
 */
#ifndef DRIVER_ABI_H
#define DRIVER_ABI_H

#include <stddef.h>
#include <rte_dev.h>
#include <rte_devargs.h>
#include <rte_ethdev.h>
#include <rte_version.h>

#if RTE_VERSION < RTE_VERSION_NUM(22, 11, 0, 0) || RTE_VERSION >= RTE_VERSION_NUM(22, 12, 0, 0)
#error "driver_abi.h describes DPDK 22.11; add the offsets of this release"
#endif

#define ABI_AT(STRUCT, MEMBER, OFFSET) \
    _Static_assert(offsetof(STRUCT, MEMBER) == (OFFSET), #STRUCT "." #MEMBER)

struct rte_device {
    void *links[2];
    const char *name;
    void *unused[3];
    int numa_node;
    struct rte_devargs *devargs;
};
ABI_AT(struct rte_device, numa_node, 48);
ABI_AT(struct rte_device, devargs, 56);

struct rte_vdev_device {
    void *links[2];
    struct rte_device device;
};

struct rte_vdev_driver {
    void *links[2];
    struct {
        void *links[2];
        const char *name;
        const char *alias;
    } driver;
    int (*probe)(struct rte_vdev_device *);
    int (*remove)(struct rte_vdev_device *);
    void *unused[2];
    uint32_t flags;
};
ABI_AT(struct rte_vdev_driver, probe, 48);
ABI_AT(struct rte_vdev_driver, flags, 80);

/* Bits of the byte that ethdev keeps receive modes in. */
#define ABI_PROMISCUOUS 0x01
#define ABI_ALL_MULTICAST 0x04
#define ABI_QUEUES 1024

struct rte_eth_dev_data {
    char name[64];
    void **rx_queues;
    void **tx_queues;
    uint16_t rx_queue_count;
    uint16_t tx_queue_count;
    char unused_1[12];
    void *dev_private;
    struct rte_eth_link link;
    char unused_2[2288];
    struct rte_ether_addr *mac_addrs;
    char unused_3[1032];
    uint16_t port_id;
    uint8_t modes;
    uint8_t rx_queue_state[ABI_QUEUES];
    uint8_t tx_queue_state[ABI_QUEUES];
    uint32_t flags;
    int numa_node;
};
ABI_AT(struct rte_eth_dev_data, dev_private, 96);
ABI_AT(struct rte_eth_dev_data, link, 104);
ABI_AT(struct rte_eth_dev_data, mac_addrs, 2400);
ABI_AT(struct rte_eth_dev_data, port_id, 3440);
ABI_AT(struct rte_eth_dev_data, rx_queue_state, 3443);
ABI_AT(struct rte_eth_dev_data, tx_queue_state, 4467);
ABI_AT(struct rte_eth_dev_data, numa_node, 5496);

struct eth_dev_ops;

struct rte_eth_dev {
    eth_rx_burst_t rx_pkt_burst;
    eth_tx_burst_t tx_pkt_burst;
    void *unused_1[4];
    struct rte_eth_dev_data *data;
    void *unused_2;
    const struct eth_dev_ops *dev_ops;
    struct rte_device *device;
};
ABI_AT(struct rte_eth_dev, data, 48);
ABI_AT(struct rte_eth_dev, dev_ops, 64);
ABI_AT(struct rte_eth_dev, device, 72);

struct eth_dev_ops {
    int (*configure)(struct rte_eth_dev *);
    int (*start)(struct rte_eth_dev *);
    int (*stop)(struct rte_eth_dev *);
    void *unused_1[2];
    int (*close)(struct rte_eth_dev *);
    void *unused_2;
    int (*link_update)(struct rte_eth_dev *, int wait);
    void *unused_3;
    int (*promiscuous_enable)(struct rte_eth_dev *);
    int (*promiscuous_disable)(struct rte_eth_dev *);
    int (*allmulticast_enable)(struct rte_eth_dev *);
    int (*allmulticast_disable)(struct rte_eth_dev *);
    void *unused_4[2];
    int (*mac_addr_set)(struct rte_eth_dev *, struct rte_ether_addr *);
    void *unused_5;
    int (*mtu_set)(struct rte_eth_dev *, uint16_t mtu);
    int (*stats_get)(struct rte_eth_dev *, struct rte_eth_stats *);
    int (*stats_reset)(struct rte_eth_dev *);
    void *unused_6[4];
    int (*infos_get)(struct rte_eth_dev *, struct rte_eth_dev_info *);
    void *unused_7[16];
    int (*rx_queue_setup)(struct rte_eth_dev *, uint16_t queue, uint16_t descriptors,
                          unsigned socket, const struct rte_eth_rxconf *,
                          struct rte_mempool *);
    void *unused_8[3];
    int (*tx_queue_setup)(struct rte_eth_dev *, uint16_t queue, uint16_t descriptors,
                          unsigned socket, const struct rte_eth_txconf *);
    void *unused_9[67]; /* to the full size: ethdev reads every member */
};
ABI_AT(struct eth_dev_ops, link_update, 56);
ABI_AT(struct eth_dev_ops, promiscuous_enable, 72);
ABI_AT(struct eth_dev_ops, mac_addr_set, 120);
ABI_AT(struct eth_dev_ops, mtu_set, 136);
ABI_AT(struct eth_dev_ops, stats_get, 144);
ABI_AT(struct eth_dev_ops, infos_get, 192);
ABI_AT(struct eth_dev_ops, rx_queue_setup, 328);
ABI_AT(struct eth_dev_ops, tx_queue_setup, 360);

void rte_vdev_register(struct rte_vdev_driver *);
void rte_vdev_unregister(struct rte_vdev_driver *);
struct rte_eth_dev *rte_eth_dev_allocate(const char *name);
struct rte_eth_dev *rte_eth_dev_allocated(const char *name);
void rte_eth_dev_probing_finish(struct rte_eth_dev *);
int rte_eth_dev_release_port(struct rte_eth_dev *);

#endif
