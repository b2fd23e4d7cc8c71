/* SPDX-License-Identifier: Apache-2.0
 * cls.h - classifier: the flows that match a burst of packets.
 *
 * Partitions by (in_port, recirc_id).  A partition knows the union of its masks, one hash table per
 * mask (subtable) and bitmaps that say which masks are worth probing.  See cls_int.h for the
 * structure and cls.c for the measurements behind it.
 *
 * A flow has an index from 1; 0 is "no flow".  What the packet path needs of it is one 64-byte
 * entry, kept once per thread ("replica"), so that counting writes no shared line; the rest is
 * `struct flow` (flow.h).
 *
 * Threads: cls_lookup by the owner of the replica, inside a read-side section of the datapath's
 * RCU; everything else under the control mutex.  Replica 0 belongs to the control side. */
#ifndef UPCALL_CLS_H
#define UPCALL_CLS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/hash.h"
#include "packet/key.h"
#include "packet/pkt.h"

struct rte_mbuf;

#define CLS_BURST 32
#define CLS_FLOWS_MAX (1u << 24)   /* Indexes; memory is touched as it is needed. */
#define CLS_FLOWS_STEP (1u << 15)  /* Their entries in a replica fill a huge page. */
#define CLS_MASKS_MAX 512          /* Masks of one partition. */

struct ahead;
struct ahead_range;
struct rcu;
struct stat_counters;
struct cls;                  /* The flows of a datapath. */
struct cls_replica;          /* One thread's view: entries, shortcuts. */

/* What the packet path knows of a flow: one line.  The owner of the replica writes the counters,
 * with plain stores; the control side writes `packed` before the flow can be found, and
 * `verdict`. */
struct cls_entry {
    /* Masked key, only the 32-bit words that its mask uses; longer ones go on in cls's spill. */
    uint32_t packed[HASH_CHUNK];
    _Atomic uint64_t packets, bytes; /* Of this replica only. */
    /* Coarse CLOCK_MONOTONIC ms: the low 32 bits, and below the 16 above them, which change every
     * 49 days; all 0: never. */
    _Atomic uint32_t used_ms;
    _Atomic uint16_t tcp_flags;    /* Host order, or-ed. */
    _Atomic uint16_t used_high;
    /* A program, or one of the two below, told apart by the low bits. */
    _Atomic uint64_t verdict;
} __attribute__((aligned(64)));
_Static_assert(sizeof(struct cls_entry) == 64, "an entry is one line");

#define CLS_VERDICT_OUTPUT 1u      /* The port is in the bits from 2 on. */
#define CLS_VERDICT_DROP 2u

/* Counters of a flow, all replicas together. */
struct cls_counters {
    uint64_t packets, bytes;
    uint64_t used_ms;              /* 0: never. */
    uint16_t tcp_flags;
};

/* When an entry was hit last, and that it is hit now; by the owner of the replica. */
static inline uint64_t cls_used(const struct cls_entry *entry)
{
    return (uint64_t)atomic_load_explicit(&entry->used_high, memory_order_relaxed) << 32
           | atomic_load_explicit(&entry->used_ms, memory_order_relaxed);
}
static inline void cls_use(struct cls_entry *entry, uint64_t now)
{
    atomic_store_explicit(&entry->used_ms, (uint32_t)now, memory_order_relaxed);
    atomic_store_explicit(&entry->used_high, (uint16_t)(now >> 32), memory_order_relaxed);
}

struct cls *cls_create(struct rcu *);
void cls_destroy(struct cls *);                       /* All replicas but 0 gone. */
const struct hash_key *cls_hash_key(const struct cls *);

/* Replicas are made and removed while others run; a removed one's counters are folded into replica
 * 0.  To add one that there is is to get it.  Replica 0 is the classifier's own and stays. */
struct cls_replica *cls_replica_add(struct cls *, unsigned int thread);
void cls_replica_remove(struct cls *, struct cls_replica *);
/* The same bit by bit, for tables so large that nobody should wait until it is done; flows may come
 * and go in between.  A replica that was begun is filled before its thread starts, some indexes at
 * a time; it is folded when its thread has ended, and then removed.  False: that was the last of
 * it. */
struct cls_replica *cls_replica_begin(struct cls *, unsigned int thread);
/* On its thread's NUMA node, if there is room; before anything else. */
void cls_replica_near(struct cls_replica *, uint32_t node);
/* What the next fill of so many will touch, to be fetched before. */
struct ahead_range cls_replica_next(const struct cls *, const struct cls_replica *, uint32_t most);
bool cls_replica_fill(struct cls *, struct cls_replica *, uint32_t most);
bool cls_replica_fold(struct cls *, struct cls_replica *, uint32_t most);
struct cls_entry *cls_entries(struct cls_replica *);   /* Array by flow index. */

/* Finds the flow of each of `n` <= CLS_BURST packets that share in_port and recirc_id.  `md` is
 * their common metadata, or NULL: each has its own in its struct pkt (recirculated packets; in_port
 * and recirc_id are still common).  Writes flow indexes (0: miss) and the TCP flags of each packet
 * (host order; 0 if it has none).  Packets whose first segment is shorter than EXTRACT_RUNT must
 * have been dropped before.  Keys are not kept.  True: all have the same flow, or none has one;
 * false says nothing. */
bool cls_lookup(struct cls_replica *, uint32_t in_port, uint32_t recirc_id, struct rte_mbuf **packets, unsigned int n,
                const struct pkt_md *md, uint32_t *flows, uint16_t *tcp_flags, struct stat_counters *);

/* The same of packets that came by one tunnel with the same outer header: `by` is of all of them
 * but for UDP's source port, and their own struct pkt is not looked at.  False: flows match that
 * port, and nothing was looked up. */
bool cls_lookup_by(struct cls_replica *, const struct pkt *by, struct rte_mbuf **packets, unsigned int n, uint32_t *flows,
                   uint16_t *tcp_flags, struct stat_counters *, bool *whole);

/* The flow that a packet with this key would hit, 0 if none: the same answer as cls_lookup, by the
 * plainest way. */
uint32_t cls_find(struct cls *, const struct key *);
/* The flow with exactly this mask and this key under it, 0 if none. */
uint32_t cls_find_exact(struct cls *, const struct key *, const struct key *mask);

/* Where a flow of one key and mask belongs.  Found out ahead of time, so that its memory is on its
 * way when the flow's turn comes; once masks have come or gone it says nothing any more. */
struct cls_place {
    struct cls_sub *sub;           /* NULL: no flow has this mask. */
    uint32_t shape;                /* Of the classifier then. */
    uint32_t sig;
    uint32_t packed[KEY_SIZE / 4]; /* What the mask leaves of the key. */
};
/* Fills a place, and fetches what is there; and the entries that a flow of this index gets. */
void cls_look(struct cls *, const struct key *, const struct key *mask, struct cls_place *);
/* The same for a key of the partition, and a mask, that `near` was filled for.  False: that says
 * nothing any more. */
bool cls_look_near(struct cls *, const struct key *, const struct cls_place *near, struct cls_place *);
void cls_prefetch_entry(struct cls *, uint32_t flow);
/* The flow that probably is there, once the memory of the place has come: its entries are fetched.
 * 0: none seems to be. */
uint32_t cls_look_closer(struct cls *, const struct cls_place *);
/* cls_find() for a key that was looked at. */
uint32_t cls_find_near(struct cls *, const struct key *, const struct cls_place *);

/* Adds a flow whose index the caller owns (flow.h); key is masked here.  ENOMEM; ENOSPC: the
 * partition has CLS_MASKS_MAX masks. */
int cls_insert(struct cls *, uint32_t flow, const struct key *, const struct key *mask, uint64_t verdict);
/* The same where cls_look() was called for key and mask. */
int cls_insert_at(struct cls *, uint32_t flow, const struct key *, const struct key *mask, uint64_t verdict, struct cls_place *);
/* Unlinks it; the index may be used again after a grace period. */
void cls_remove(struct cls *, uint32_t flow);
/* Other actions for a flow; the old program must be freed after a grace period only. */
void cls_set_verdict(struct cls *, uint32_t flow, uint64_t verdict);

/* Counters so far; cls_forget clears used and flags (packets and bytes only grow: remember what
 * they were). */
void cls_counters(struct cls *, uint32_t flow, struct cls_counters *);
void cls_forget(struct cls *, uint32_t flow);

/* Goes on with what is made bit by bit and would else wait for the next flow; some ten
 * microseconds.  True: there may be more. */
bool cls_tend(struct cls *);

/* Memory that flows to come will touch: a call that may let go of the control mutex fetches it. */
struct ahead *cls_ahead(struct cls *);
/* Wants what `n` flows from an index on will touch, of whatever their thread and mask. */
void cls_want(struct cls *, uint32_t first, uint32_t n);

/* Numbers for dp_stats. */
uint32_t cls_flow_count(const struct cls *);
uint32_t cls_mask_count(const struct cls *);          /* Subtables of all partitions. */

/* Builds of the lookup, numbered as in dp_isa_get().  Process-wide; the best one that the CPU has
 * is taken at first use.  EOPNOTSUPP. */
int cls_isa_set(uint32_t isa, bool validate);
uint32_t cls_isa_get(void);

#endif
