/* SPDX-License-Identifier: Apache-2.0
 * tnl_int.h - the tables of tunnels, for the units of this folder.
 *
 * Threads: as tnl.h says; what poll threads read is atomic, or never changes while they can find
 * it. */
#ifndef UPCALL_TNL_INT_H
#define UPCALL_TNL_INT_H

#include "base/hash.h"
#include "tnl/tnl.h"
#include "tnl/tnl_event.h"
#include "tnl/tnl_map.h"

/* A device said it of other headers than those that are seen once there is one more, or one
 * less. */
#define TNL_RX_SUMS (RTE_MBUF_F_RX_IP_CKSUM_MASK | RTE_MBUF_F_RX_L4_CKSUM_MASK)

#define TNL_PORTS 65536u
#define TNL_HEADER 96u           /* Bytes of a hop's header at most: Ethernet, tags, IPv6, GRE. */

struct tnl_port {
    uint32_t no;
    struct tunnel_config config;
    _Atomic uint32_t sequence;   /* Of the next packet, where packets are numbered. */
};

/* A next hop: the outer header as it is in all of its packets, and what differs is left 0. */
struct tnl_hop {
    struct tnl_item item;
    struct dp_tnl_hop told;      /* As the program said it. */
    const struct tnl_port *port;
    _Atomic uint64_t used_ms;
    uint16_t l3, l4;             /* Where the IP header begins, and ends. */
    bool ip6;
    uint8_t header[TNL_HEADER];
};

/* What makes packets a tunnel's, before who it is from: the protocol, and its port. */
struct tnl_listen {
    uint16_t udp;                /* Port, host order; of GRE 1: without Ethernet header. */
    uint8_t kind;                /* enum tunnel_kind. */
    uint8_t family;              /* 4, 6; 0: both. */
};
static inline uint32_t tnl_listen_id(const struct tnl_listen *listen)
{
    return listen->udp | (uint32_t)listen->kind << 16 | (uint32_t)listen->family << 24;
}

/* Of a receiver: what it asks of packets.  More bits are asked first, in this order. */
#define TNL_CLASS_KEY 1u
#define TNL_CLASS_LOCAL 2u
#define TNL_CLASS_REMOTE 4u
#define TNL_CLASSES 8u

struct tnl_receiver {
    struct tnl_item item;
    const struct tnl_port *port;
};

#define TNL_LISTENS 64u
struct tnl_listens {
    uint32_t n;
    struct {
        struct tnl_listen listen;
        uint8_t classes;         /* Bits by class: there are such receivers. */
    } at[TNL_LISTENS];
};

struct tnl_local {
    struct tnl_item item;
    uint8_t mac[6];
    bool any_mac;
    uint32_t flags;
};

struct tnl {
    struct rcu *rcu;
    struct hash_key seed;
    _Atomic uint8_t *roles;                      /* By port number. */
    _Atomic(struct tnl_port *) *ports;           /* By number; NULL: no tunnel. */
    struct tnl_map hops, receivers;
    _Atomic(struct tnl_map *) locals;            /* Made anew when they change. */
    _Atomic(struct tnl_listens *) listens;
    _Atomic uint32_t source_ports;               /* The lowest, and how many above it << 16. */
    struct tnl_events events;
};

/* Drops the hops of a tunnel port, or by an underlay, or all. */
void tnl_hops_drop(struct tnl *, uint32_t port, uint32_t underlay);
#define TNL_ANY UINT32_MAX

static inline struct tnl_port *tnl_port_of(const struct tnl *tnl, uint32_t no)
{
    return no < TNL_PORTS ? atomic_load_explicit(&tnl->ports[no], memory_order_acquire) : NULL;
}

#endif
