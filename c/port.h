/* SPDX-License-Identifier: Apache-2.0
 * port.h - ports of a datapath: table, kinds, receive and transmit.
 *
 * A kind of port is a `struct port_class`; ethdev devices (port_eth.c) are one of them, Linux devices by AF_PACKET (port_packet.c), TAP devices
 * (port_tap.c), dummies (port_dummy.c) and pairs (port_pair.c) others.  A port is made and removed on the control side while poll threads
 * run: it is unpublished, a grace period passes, then its class closes it.
 *
 * Packets may be chains.  `ol_flags` carry RTE_MBUF_F_TX_* wishes (partial checksum: l2_len, l3_len, l4_len, TX_TCP_CKSUM …; TSO: tso_segsz) from kinds that receive them
 * (virtio-net header) to kinds that can pass them on; port_offload.c does in software what a kind cannot.
 *
 * Threads: rx_burst by the one poll thread that owns the queue; tx_burst by the owner of a txq, or under its lock if shared. */
#ifndef UPCALL_PORT_H
#define UPCALL_PORT_H

#include <rte_mbuf.h>
#include <rte_spinlock.h>
#include <stdatomic.h>
#include <stdint.h>

#include "dp.h"

struct dp;
struct port;

struct port_class {
    const char *type;
    /* Opens the device; fills in the port's rxq_count, txq_count, mtu, mac, capabilities.  May wait.  errno, and a text. */
    int (*open)(struct port *, char *error, uint32_t error_size);
    void (*close)(struct port *);
    /* At most `n` packets, at once. */
    uint16_t (*rx_burst)(struct port *, uint16_t queue, struct rte_mbuf **, uint16_t n);
    /* Takes over what it sends and returns how many that are; the rest stays the caller's. */
    uint16_t (*tx_burst)(struct port *, uint16_t queue, struct rte_mbuf **, uint16_t n);
    void (*stats)(struct port *, struct dp_port_stats *);
    int (*set_config)(struct port *, const char *key, const char *value); /* NULL: nothing can be changed. */
};

#define PORT_CAP_CHAIN 1u        /* Sends chains of mbufs. */
#define PORT_CAP_CSUM 2u         /* Completes partial checksums, or passes them on. */
#define PORT_CAP_TSO 4u          /* Passes TCP segments larger than the MTU on. */

struct port_txq {
    rte_spinlock_t lock;
    uint32_t shared;             /* Several threads send by it: take the lock. */
} __attribute__((aligned(64)));

struct port {
    const struct port_class *class;
    struct dp *dp;
    void *state;                 /* Of its class. */
    struct port_txq *txqs;
    uint32_t no;
    uint32_t caps;               /* PORT_CAP_*. */
    uint16_t rxq_count, txq_count;
    uint16_t eth_port;           /* ethdev: port id of DPDK. */
    uint16_t pad;
    uint32_t mtu;
    _Atomic uint32_t gone;       /* The device disappeared: receive nothing, drop what is sent (DROP_link_down). */
    uint8_t mac[6];
    char name[DP_NAME_SIZE];
    char type[DP_NAME_SIZE];
    char options[DP_TEXT_SIZE];
};

#endif
