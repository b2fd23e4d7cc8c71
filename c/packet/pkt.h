/* SPDX-License-Identifier: Apache-2.0
 * pkt.h - what a packet carries along besides its bytes.
 *
 * It lives in the private area of the packet's first mbuf (every pool is made with it, port.h).  A
 * packet just received has none of it written yet: the fast path passes the metadata of the whole
 * burst beside it and fills this in only when the packet leaves the fast path: for recirculation,
 * an upcall or an action that needs it.
 *
 * A packet without Ethernet header is marked twice: in `md.more`, of which its key is made, and in
 * the mbuf, where ports look, which are given packets of which nothing is written here.
 *
 * Threads: the owner of the mbuf. */
#ifndef UPCALL_PKT_H
#define UPCALL_PKT_H

#include <rte_mbuf_core.h>
#include <string.h>

#include "packet/key.h"

struct userdata;

/* The part of a key that cannot be read from the packet's bytes. */
struct pkt_md {
    uint32_t in_port;
    uint32_t recirc_id;
    uint32_t dp_hash;
    uint32_t skb_mark;
    uint32_t skb_priority;
    uint32_t ct_mark;
    uint16_t ct_zone;
    uint8_t ct_state;
    uint8_t more;            /* PKT_MORE_*: which of the lines below count. */
    /* be16, with PKT_MORE_L3: the type of the packet, which no header says. */
    uint16_t packet_type;
    uint16_t pad;
};
#define PKT_MORE_TUNNEL 1u
#define PKT_MORE_CT 2u
#define PKT_MORE_CONN 4u         /* `conn` and what follows it. */
#define PKT_MORE_L3 8u           /* Begins with its network header, label or service header. */

/* In `ol_flags`: has PKT_MORE_L3, and a struct pkt that is complete.  No port of ours asks for
 * MACsec, no driver sets the flag, and no device is given it: path/tx.c sees to that. */
#define PKT_L3 RTE_MBUF_F_TX_MACSEC
/* In `ol_flags`: an action, or the key of a packet that a program executes, set skb_mark or
 * skb_priority, and ports that have a use for them find them in the struct pkt.  Of the bits that
 * drivers leave alone, reserved by eal.c. */
#define PKT_MARKED_BIT 40
#define PKT_MARKED (UINT64_C(1) << PKT_MARKED_BIT)
/* Likewise: an action said by which tunnel the packet shall go, in `tunnel` of the struct pkt. */
#define PKT_TUNNEL_BIT 39
#define PKT_TUNNEL (UINT64_C(1) << PKT_TUNNEL_BIT)
/* Likewise three bits: how many outer headers the packet was given or lost. */
#define PKT_TUNNELS_BIT 36
#define PKT_TUNNELS (UINT64_C(7) << PKT_TUNNELS_BIT)

struct pkt {
    struct pkt_md md;
    /* Of an upcall in the ring (upcall.c). */
    struct userdata *userdata;   /* Counted reference, or NULL. */
    uint32_t original_size;          /* Before truncation. */
    uint32_t kind;                   /* As in struct dp_upcall. */
    /* The connection that ct_run found it to be of, until something changes what it was found by;
     * only within the burst. */
    uint32_t conn;
    uint8_t conn_reply, conn_related;
    struct key_tunnel tunnel __attribute__((aligned(64)));
    struct key_ct ct;
    /* The first tunnel.options_size count. */
    uint8_t options[KEY_OPTIONS];
} __attribute__((aligned(64)));

static inline struct pkt *pkt_of(struct rte_mbuf *m)
{
    return (struct pkt *)(m + 1); /* As rte_mbuf_to_priv(), whose header is large. */
}

/* To the key of a packet, whose options are 0. */
static inline void pkt_key_tunnel(const struct pkt *pkt, struct key *key)
{
    key->tunnel = pkt->tunnel;
    memcpy(key->options, pkt->options, pkt->tunnel.options_size);
}

/* The tunnel of a packet, and of one more. */
static inline void pkt_copy_tunnel(struct pkt *to, const struct pkt *from)
{
    to->tunnel = from->tunnel;
    if (from->tunnel.options_size)
        memcpy(to->options, from->options, KEY_OPTIONS);
}

/* What a copy made by rte_pktmbuf_copy() says of itself is true for it, too. */
static inline void pkt_copy_marks(struct rte_mbuf *copy, const struct rte_mbuf *m)
{
    if (m->ol_flags & PKT_TUNNEL)
        pkt_copy_tunnel(pkt_of(copy), (const struct pkt *)(m + 1));
    if (m->ol_flags & (PKT_L3 | PKT_MARKED))
        pkt_of(copy)->md = ((const struct pkt *)(m + 1))->md;
}

/* From now on the packet has no Ethernet header, and is of this type (be16). */
static inline void pkt_set_l3(struct rte_mbuf *m, uint16_t type)
{
    m->ol_flags |= PKT_L3;
    pkt_of(m)->md.more |= PKT_MORE_L3;
    pkt_of(m)->md.packet_type = type;
}

/* It has one (again). */
static inline void pkt_set_ethernet(struct rte_mbuf *m)
{
    m->ol_flags &= ~PKT_L3;
    pkt_of(m)->md.more &= (uint8_t)~PKT_MORE_L3;
}

#endif
