/* SPDX-License-Identifier: Apache-2.0
 * flow_int.h - flow table: what the flow_*.c units share.
 *
 * A flow costs 64 bytes in each replica of the classifier, about 30 in its tables, and `struct
 * flow`: its key without the words that are zero, which for TCP over IPv4 is 56 bytes.  Masks are
 * shared.
 *
 * Threads: all under the control mutex. */
#ifndef UPCALL_FLOW_INT_H
#define UPCALL_FLOW_INT_H

#include <stdbool.h>

#include "act/act.h"
#include "cls/cls.h"
#include "flow/flow.h"
#include "base/rcu.h"
#include "base/slab.h"

struct flow_mask {
    struct key mask;
    struct flow_mask *next;          /* In its hash bucket. */
    uint64_t hash;
    uint32_t flows;
};

struct flow {
    uint64_t ufid[2];
    struct flow_mask *mask;
    struct act_prog *prog;
    uint64_t base_packets, base_bytes; /* Counters when they were last zeroed. */
    uint32_t index;
    uint64_t key_map;                /* Bit w: word w of the key is kept. */
    uint64_t key_words[];
};

/* A place in the hash table of UFIDs: half of it are free (flow 0). */
struct flow_ufid_slot {
    uint32_t tag;                    /* Hash; its low bits choose the first place to look at. */
    uint32_t flow;
};

/* Programs of the lists of outputs that were put or executed lately; flows share them. */
#define FLOW_CACHE 16
#define FLOW_CACHE_ATTRS 64
struct flow_cached {
    struct act_prog *prog;
    uint32_t size;
    uint8_t attrs[FLOW_CACHE_ATTRS];
};

#define FLOW_MASK_BUCKETS 1024

/* The mask that was read last.  Flows of one program come with few of them, and reading one costs
 * as much as finding its flow. */
#define FLOW_READ_ATTRS 256
struct flow_read {
    uint32_t size;                   /* 0: none yet. */
    /* Where it lies in the batch under way; NULL: it was in another. */
    const uint8_t *from;
    struct key key, mask;            /* The key that it was read for. */
    uint8_t attrs[FLOW_READ_ATTRS];
};

/* A put whose bytes were read ahead of its turn. */
struct flow_put {
    struct key key, mask;
    struct cls_place place;
    uint64_t ufid[2];                /* The one given, or one made of the key. */
    const char *why;
    int error;                       /* Of the bytes; 0: they are good. */
    int key_error;                   /* The same of the key alone. */
};

/* Empty mbufs for the packets of a batch. */
#define FLOW_PACKETS 64u
struct flow_packets {
    uint32_t wanted;                 /* By operations whose turn is to come. */
    uint32_t n;
    struct rte_mbuf *at[FLOW_PACKETS];
};

struct flow_table {
    struct rcu *rcu;
    struct cls *cls;
    struct flow **flows;             /* By index. */
    struct slab slab;                /* Of flows. */
    uint32_t *unused;                /* Indexes whose grace period is over, last in first out. */
    uint32_t unused_n;
    uint32_t end;                    /* Indexes from here on were never used. */
    struct flow_ufid_slot *ufids;
    uint32_t ufid_mask, ufid_n;
    struct flow_mask *masks[FLOW_MASK_BUCKETS], *mask_last;
    struct flow_read read;
    bool tracks;                     /* A program that tracks connections was made. */
    struct flow_cached cache[FLOW_CACHE], *cache_last;
};

static inline uint32_t flow_pad(uint32_t size)
{
    return (size + 7) & ~7u;
}

/* flow.c */
struct flow *flow_by_ufid(struct flow_table *, const uint64_t ufid[2]);
/* The one that a packet with this key hits; `near` is where it may be, or NULL. */
struct flow *flow_by_key(struct flow_table *, const struct key *, const struct cls_place *near);
/* Looks at a put whose key, mask and UFID are read: finds its place, and fetches what flow_add()
 * will touch if it is the one after the next `ahead`. */
void flow_look(struct flow_table *, struct flow_put *, uint32_t ahead);
void flow_make_ufid(const struct flow_table *, const struct key *, uint64_t ufid[2]);
/* Makes a flow of a put and a program that it takes over, unless it fails.  ENOMEM, ENOSPC. */
int flow_add(struct flow_table *, struct flow_put *, struct act_prog *);
void flow_remove(struct flow_table *, struct flow *);
void flow_set_program(struct flow_table *, struct flow *, struct act_prog *);
void flow_key(const struct flow *, struct key *);
void flow_stats(struct flow_table *, const struct flow *, struct dp_flow_stats *);
void flow_zero_stats(struct flow_table *, struct flow *);

/* flow_put.c.  Reading depends on nothing but the bytes; `ahead` only chooses what to prefetch. */
void flow_put_read(struct flow_table *, const struct dp_op *op, const uint8_t *key, const uint8_t *mask, uint32_t ahead,
                   struct flow_put *put);
int flow_put_perform(struct flow_table *, const struct dp_op *op, struct flow_put *put, const uint8_t *actions,
                     struct dp_result *result, const char **why);
void flow_write_stats(struct flow_table *, const struct flow *, struct dp_result *);

/* flow_exec.c.  0 or errno; `*why` on EINVAL.  `known` is what the bytes of the key say, if
 * somebody has read them, or NULL. */
int flow_execute(struct flow_table *, struct worker *control, const struct dp_op *op, const uint8_t *key, const struct key *known,
                 const uint8_t *actions, const uint8_t *packet, struct flow_packets *, const char **why);

/* flow_program.c */
/* The program of a flow, to be freed by act_free(). */
int flow_program(struct flow_table *, const uint8_t *actions, uint32_t size, const struct key *key, struct act_prog **prog,
                 const char **why);
/* A program of outputs only, of FLOW_CACHE_ATTRS bytes at most, which belongs to the cache.  It is
 * the same for all keys of frames. */
int flow_cached(struct flow_table *, const uint8_t *actions, uint32_t size, const struct key *key, struct act_prog **prog,
                const char **why);
/* The number of outputs in a list of nothing else; 0: anything else. */
uint32_t flow_outputs_only(const uint8_t *actions, uint32_t size);
void flow_cache_clear(struct flow_table *);

/* flow_dump.c: key, mask and actions, each padded to 8 bytes.  0: they do not fit; else the bytes
 * written.  Sizes go to `sizes`. */
uint32_t flow_write(const struct flow *, uint8_t *to, uint32_t room, uint32_t sizes[3]);

#endif
