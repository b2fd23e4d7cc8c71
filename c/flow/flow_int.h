/* SPDX-License-Identifier: Apache-2.0
 * flow_int.h - flow table: what the flow_*.c units share.
 *
 * A flow costs 64 bytes in each replica of the classifier, about 30 in its tables, 16 to 32 more if
 * a program named it, and `struct flow`: its key without the words that are zero, which for TCP
 * over IPv4 is 56 bytes.  Masks are shared.
 *
 * Threads: all under the control mutex. */
#ifndef UPCALL_FLOW_INT_H
#define UPCALL_FLOW_INT_H

#include <stdbool.h>
#include <sys/queue.h>

#include "act/act.h"
#include "cls/cls.h"
#include "flow/flow.h"
#include "flow/flow_read.h"
#include "base/mem.h"
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
    bool named;                      /* Its UFID was given, and is in `names`. */
    uint64_t key_map;                /* Bit w: word w of the key is kept. */
    uint64_t key_words[];
};

/* A place in a hash table of UFIDs. */
struct flow_name {
    uint32_t tag;                    /* Hash; its low bits choose the first place to look at. */
    uint32_t flow;                   /* Index; 0: the place is free. */
};

/* Flows by the UFIDs that programs gave; half of the places are free.  A table that is full is
 * moved to one of twice its size bit by bit: a step with each flow that comes.  UFIDs that are made
 * here say themselves which flow they mean, and are not in it. */
struct flow_names {
    struct flow_name *at;
    struct flow_name *old;           /* What is not moved yet; NULL: nothing. */
    struct flow_name *next;          /* What comes after `at`, when that is full; NULL: none. */
    uint32_t mask, old_mask;
    uint32_t n;
    uint32_t moved;                  /* `old` counts from here on. */
    uint64_t made;                   /* UFIDs. */
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
    uint64_t id;                     /* Another one for each mask that is read; 0: none yet. */
    struct key key, mask;            /* The key that it was read for. */
    uint8_t attrs[FLOW_READ_ATTRS];
};

/* A put whose bytes were read ahead of its turn.  Keys and masks are large, and mostly nearly empty
 * or those of the put before: what is known to be so is neither cleared nor copied again. */
struct flow_put {
    struct key key, mask;
    struct cls_place place;
    uint64_t ufid[2];                /* The one given. */
    uint64_t mask_id;                /* Of struct flow_read, which has the same mask; 0: of none. */
    uint32_t name;                   /* Tag of that (flow_names.c). */
    uint32_t found;                  /* The flow that it probably changes; 0: none. */
    bool plain;                      /* Only `base` of the key is not zero. */
    bool given;                      /* It has a UFID. */
    bool named;                      /* It changes the flow of its UFID, whatever that matches. */
    const char *why;
    int error;                       /* Of the bytes; 0: they are good. */
    int key_error;                   /* The same of the key alone. */
};

/* Before a put is read for the first time. */
static inline void flow_put_init(struct flow_put *put)
{
    put->mask_id = 0;
    put->plain = false;
}

/* A flow that was removed, and whose last counters a batch waits for. */
struct flow_final {
    LIST_ENTRY(flow_final) others;   /* Of the batch. */
    struct flow *flow;
    struct dp_flow_stats *stats;     /* Where they go; NULL: the batch waits no longer. */
};
LIST_HEAD(flow_finals, flow_final);

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
    struct flow_names names;
    struct flow_mask *masks[FLOW_MASK_BUCKETS], *mask_last;
    uint64_t mask_last_id;           /* Of struct flow_read; 0: of none. */
    struct flow_read read;
    /* Where the last put belongs, and what it has to do with the next: its partition and mask. */
    struct cls_place looked;
    uint64_t looked_part, looked_id;
    bool tracks;                     /* A program that tracks connections was made. */
    struct flow_cached cache[FLOW_CACHE], *cache_last;
};

static inline uint32_t flow_pad(uint32_t size)
{
    return (size + 7) & ~7u;
}

/* flow_names.c */
int flow_names_create(struct flow_names *);    /* ENOMEM. */
void flow_names_destroy(struct flow_names *);  /* Zeros are allowed. */
/* For one more; what they will want is told ahead.  ENOMEM. */
int flow_names_make_room(struct flow_names *, struct ahead *);
/* By the tag of its UFID.  Only flows with one that was given are put and taken. */
uint32_t flow_names_tag(const struct flow_table *, const uint64_t ufid[2]);
void flow_names_put(struct flow_table *, const struct flow *, uint32_t tag);
void flow_names_take(struct flow_table *, const struct flow *);
/* Fetches what finding a flow by any UFID will touch. */
void flow_names_prefetch(const struct flow_table *, const uint64_t ufid[2], uint32_t tag);
struct flow *flow_names_find(const struct flow_table *, const uint64_t ufid[2], uint32_t tag);
struct flow *flow_by_ufid(const struct flow_table *, const uint64_t ufid[2]);
/* One for the flow of this index, which none has had. */
void flow_names_make(struct flow_table *, uint32_t index, uint64_t ufid[2]);

/* flow.c */
/* The one that a packet with this key hits; `near` is where it may be, or NULL. */
struct flow *flow_by_key(struct flow_table *, const struct key *, const struct cls_place *near);
/* Looks at a put whose key, mask and UFID are read: finds its place, and fetches what flow_add()
 * will touch if it is the one after the next `ahead`. */
void flow_look(struct flow_table *, struct flow_put *, uint32_t ahead);
/* The same of a put that changes a flow, when what flow_look() fetched has come: fetches that; and
 * once more, when that has come. */
void flow_look_closer(struct flow_table *, struct flow_put *);
void flow_look_at(const struct flow_table *, const struct flow_put *);
/* Makes a flow of a put and a program that it takes over, unless it fails.  ENOMEM, ENOSPC. */
int flow_add(struct flow_table *, struct flow_put *, struct act_prog *);
void flow_remove(struct flow_table *, struct flow *);
/* The same; when no poll thread counts for the flow any more, its counters go to `stats`, and it
 * leaves `finals`. */
void flow_remove_finally(struct flow_table *, struct flow *, struct dp_flow_stats *stats, struct flow_finals *finals);
/* Waits for those, without the mutex.  What is left when that takes too long gets the counters of
 * then. */
void flow_await_finals(struct flow_table *, struct flow_finals *);
void flow_set_program(struct flow_table *, struct flow *, struct act_prog *);
void flow_key(const struct flow *, struct key *);
void flow_stats(struct flow_table *, const struct flow *, struct dp_flow_stats *);
void flow_zero_stats(struct flow_table *, struct flow *);

/* flow_put.c.  Reading depends on nothing but the bytes; `ahead` only chooses what to prefetch. */
void flow_put_read(struct flow_table *, const struct flow_step *, uint32_t ahead, struct flow_put *put);
int flow_put_perform(struct flow_table *, const struct dp_op *op, struct flow_put *put, const uint8_t *actions,
                     struct dp_result *result, const char **why);
void flow_write_stats(struct flow_table *, const struct flow *, struct dp_result *);

/* flow_exec.c.  0 or errno; `*why` on EINVAL.  `known` is what the bytes of the key say, if
 * somebody has read them, or NULL. */
int flow_execute(struct flow_table *, struct worker *control, const struct dp_op *op, const uint8_t *key, const struct key *known,
                 const uint8_t *actions, const uint8_t *packet, struct flow_packets *, const char **why);

/* flow_program.c */
/* The program of a flow whose actions were put or executed lately, to be freed by act_free(); NULL:
 * it is to be made. */
struct act_prog *flow_recent_program(struct flow_table *, const uint8_t *actions, uint32_t size);
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

/* The mask that was written last.  Many flows have it, and its bytes follow from the layout of the
 * key.  Only until a flow goes. */
struct flow_shown {
    const struct flow_mask *mask;    /* NULL: none yet. */
    uint32_t layout, size;
    uint8_t bytes[FLOW_READ_ATTRS];
};

/* flow_dump.c: key, mask and actions, each padded to 8 bytes.  0: they do not fit; else the bytes
 * written.  Sizes go to `sizes`. */
uint32_t flow_write(const struct flow *, uint8_t *to, uint32_t room, uint32_t sizes[3], struct flow_shown *);

#endif
