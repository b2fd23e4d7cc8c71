/* SPDX-License-Identifier: Apache-2.0
 * pkt.h - what a packet carries along besides its bytes.
 *
 * It lives in the private area of the packet's first mbuf (every pool is made with it, port.h).  A
 * packet just received has none of it written yet: the fast path passes the metadata of the whole
 * burst beside it and fills this in only when the packet leaves the fast path: for recirculation,
 * an upcall or an action that needs it.
 *
 * Threads: the owner of the mbuf. */
#ifndef UPCALL_PKT_H
#define UPCALL_PKT_H

#include <rte_mbuf_core.h>

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
};
#define PKT_MORE_TUNNEL 1u
#define PKT_MORE_CT 2u
#define PKT_MORE_CONN 4u         /* `conn` and what follows it. */

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
} __attribute__((aligned(64)));

static inline struct pkt *pkt_of(struct rte_mbuf *m)
{
    return (struct pkt *)(m + 1); /* As rte_mbuf_to_priv(), whose header is large. */
}

#endif
