/* SPDX-License-Identifier: Apache-2.0
 * ipf_int.h - the table of packets that are not whole, and what is read of a fragment, for the
 * files of ipf/ (ipf.h).
 *
 * Threads: as ipf.h says; what the lock guards is noted. */
#ifndef UPCALL_IPF_INT_H
#define UPCALL_IPF_INT_H

#include <rte_mbuf.h>
#include <rte_pause.h>
#include <stdatomic.h>

#include "base/hash.h"
#include "ipf/ipf.h"
#include "packet/eal_hold.h"
#include "packet/pkt.h"

#define IPF_BUCKETS 4096u
#define IPF_NONE UINT32_MAX
#define IPF_PORTS 65536u
#define IPF_BE16(x) __builtin_bswap16((uint16_t)(x))

/* What the fragments of a packet have in common. */
struct ipf_key {
    union {
        struct {
            uint8_t src[16], dst[16];
            uint32_t id;             /* Host order. */
            uint32_t recirc_id;
            uint16_t zone;
            uint8_t proto;           /* IPv6: 0. */
            uint8_t family;
            /* Of those that are for no `ct`; otherwise 0. */
            uint32_t port;
            uint16_t vlans[KEY_VLANS]; /* Identifiers; of no tag 0. */
        };
        uint32_t words[2 * HASH_CHUNK];
    };
};

/* A fragment that is held. */
struct ipf_piece {
    struct rte_mbuf *m;
    uint32_t next;                   /* In order of `start`; of free ones. */
    uint16_t start, size;            /* Of its data, bytes. */
    uint16_t l3;                     /* Where in the frame the IP header starts, ... */
    uint16_t data;                   /* ... and the data. */
    uint16_t padding;                /* Bytes behind it. */
    uint16_t segments;
    uint16_t port;                   /* That it came by. */
};

/* A fragment as it was read. */
struct ipf_fragment {
    struct ipf_key key;
    struct ipf_piece piece;
    uint16_t field;                  /* Offset and flags as they stand in the header. */
    uint16_t field_at;               /* Where in the frame. */
    uint8_t ecn;
    bool more;
};

/* What `ct` made of a packet. */
struct ipf_result {
    struct key_ct ct;
    uint8_t src[16], dst[16];
    uint32_t mark;
    uint16_t zone;
    uint8_t state;
    uint8_t more;
};

struct ipf_list {
    struct ipf_whole whole;          /* First: a whole packet is known by it. */
    struct ipf_key key;
    uint64_t expires;                /* Milliseconds. */
    uint32_t next;                   /* In its bucket; of free ones. */
    uint32_t older, newer;           /* By age. */
    uint32_t first, last;            /* Pieces. */
    uint32_t done;                   /* Those that were cut off, the last one first. */
    uint32_t pieces;
    uint32_t bytes;                  /* Of data. */
    uint32_t end;                    /* Of all data; 0: the last piece is not there. */
    uint16_t field, field_at;        /* Of the first piece. */
    uint8_t failed;                  /* Whole, but too large: it waits for its end. */
    uint8_t used;                    /* In the table. */
    uint8_t cutting;
    uint8_t ecns;                    /* Of all fragments, as bits. */
    struct ipf_result result;
};

/* What the fragments that came by a port hold. */
struct ipf_user {
    _Atomic uint32_t pieces;
    struct eal_hold hold;
};

struct ipf {
    struct hash_key hash;
    _Atomic uint32_t lock;
    /* Under the lock. */
    uint32_t buckets[IPF_BUCKETS];   /* Number + 1; 0: empty. */
    uint32_t oldest, newest;         /* Lists; IPF_NONE. */
    uint32_t free_list, free_piece;
    uint32_t fresh_list, fresh_piece; /* From here on never used. */
    uint32_t held_apart;             /* Pieces that are for no `ct`. */
    /* Written under the lock, but `too_small` and `bad`. */
    _Atomic uint32_t held;           /* Pieces that are not free. */
    _Atomic uint32_t max, enabled[2], min_size[2];
    _Atomic uint64_t accepted[2], completed[2], expired[2], too_small[2], overlapped[2], purged[2];
    _Atomic uint64_t full, no_mbuf, bad;
    struct ipf_list lists[IPF_MAX_MOST];
    struct ipf_piece pieces[IPF_MAX_MOST];
    /* Of fragments that are for no `ct`, and of the others: by ipf_is_ct(), and by port. */
    struct ipf_user users[2][IPF_PORTS];
};

/* Whether fragments are for a `ct`. */
static inline bool ipf_is_ct(const struct ipf_key *key)
{
    return key->recirc_id != IPF_NO_CT;
}

/* The account that a fragment of such a packet is held on. */
static inline struct ipf_user *ipf_user(struct ipf *ipf, const struct ipf_key *key, const struct ipf_piece *piece)
{
    return &ipf->users[ipf_is_ct(key)][piece->port];
}

/* Bytes that all fragments of a packet but the last one have, from the IP header on. */
static inline uint32_t ipf_least(const struct ipf *ipf, const struct ipf_key *key)
{
    return !ipf_is_ct(key) ? IPF_MIN_LEAST : atomic_load_explicit(&ipf->min_size[key->family == 6], memory_order_relaxed);
}

static inline void ipf_lock(struct ipf *ipf)
{
    while (atomic_exchange_explicit(&ipf->lock, 1, memory_order_acquire))
        while (atomic_load_explicit(&ipf->lock, memory_order_relaxed))
            rte_pause();
}

static inline void ipf_unlock(struct ipf *ipf)
{
    atomic_store_explicit(&ipf->lock, 0, memory_order_release);
}

static inline void ipf_count(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

/* ipf_read.c.  Reads a fragment; false: it is refused, and counted. */
bool ipf_read(struct ipf *, uint16_t zone, struct rte_mbuf *, struct ipf_fragment *);

/* ipf_chain.c.  Makes one packet of a list that is complete and out of the table. */
void ipf_join(struct ipf *, struct ipf_list *);

/* Takes its next piece off again. */
struct rte_mbuf *ipf_cut_one(struct ipf_list *, struct ipf_piece *);

#endif
