/* SPDX-License-Identifier: Apache-2.0
 * cls_int.h - classifier: the structures that its units share (cls*.c).
 *
 *   struct cls ── partition table ── struct cls_part ── struct cls_view
 *                                                         ├─ union of the masks
 *                                                         ├─ bitmaps: which masks to probe
 *                                                         └─ struct cls_sub, one a mask
 *                                                              └─ buckets ── flow index
 *
 * A view never changes, but for bits of its bitmaps, and is published by pointer; a lookup takes it
 * once per burst.  When a mask comes or goes, a new view replaces it and the old one is freed after
 * a grace period.  Orders that lookups rely on:
 *   - a flow becomes findable last: view with its mask, bitmap bits, entries of all replicas, then
 *     its slot in a bucket;
 *   - a slot stays where it is for the life of its flow, or of its table when that grows;
 *   - a flow's entries and spill are not touched between its removal and the end of a grace period.
 *
 * Threads: written under the control mutex, read by poll threads. */
#ifndef UPCALL_CLS_INT_H
#define UPCALL_CLS_INT_H

#include <string.h>

#include "cls/cls.h"
#include "cls/cls_next.h"
#include "base/mem.h"
#include "base/hash.h"
#include "base/rcu.h"

#define CLS_SLOTS 7
/* in_port and recirc_id, words 0 and 1, choose the partition. */
#define CLS_WORD_FIRST 2
#define CLS_KEY_WORDS (KEY_SIZE / 4)
#define CLS_CHUNKS ((CLS_KEY_WORDS - CLS_WORD_FIRST + HASH_CHUNK - 1) / HASH_CHUNK)
#define CLS_PRUNE 6                 /* Key bytes with bitmaps, at most. */
#define CLS_MAP_WORDS (CLS_MASKS_MAX / 64)

/* One line.  A signature is the flow's hash, never 0; 0 is a free slot.  `passed` counts flows that
 * did not find room here and lie in a later bucket. */
struct cls_bucket {
    _Atomic uint32_t sig[CLS_SLOTS];
    _Atomic uint32_t passed;
    _Atomic uint32_t flow[CLS_SLOTS];
    uint32_t pad;
} __attribute__((aligned(64)));

/* Address of the first of 2^n buckets, with n in the low six bits: one load gives both. */
typedef uintptr_t cls_table;

/* The flows of one mask in one partition. */
struct cls_sub {
    /* First line: how to pack a key.  Unused ends have mask 0. */
    uint32_t at[HASH_CHUNK];        /* Numbers of 32-bit words of the key. */
    uint32_t mask[HASH_CHUNK];
    /* Second line. */
    _Atomic(cls_table) table;
    /* Chunks behind the first, by flow index; NULL if there is but one. */
    uint8_t *spill;
    uint32_t stride;                /* Bytes between flows in it. */
    uint16_t chunks;
    uint8_t span;                   /* CLS_SPAN_*. */
    /* Control side only. */
    uint16_t slot;                  /* In the partition. */
    uint32_t flows;
    struct cls_part *part;
    uint32_t (*counts)[256];        /* Flows by pruning byte and its masked value. */
    uint32_t (*next_counts)[256];   /* The same for struct cls_prune_next. */
    /* The larger table that will take the place of `table`, of which so many buckets have been
     * copied to it; 0: none. */
    cls_table next;
    uint32_t copied;
    uint32_t wide_at[(CLS_CHUNKS - 1) * HASH_CHUNK] __attribute__((aligned(64)));
    uint32_t wide_mask[(CLS_CHUNKS - 1) * HASH_CHUNK];
    struct key key_mask;
} __attribute__((aligned(64)));

#define CLS_SPAN_0 0                /* The first chunk lies in block 0 ... */
#define CLS_SPAN_01 1               /* ... in blocks 0 and 1 ... */
#define CLS_SPAN_ALL 2              /* ... or anywhere. */

struct cls_view {
    struct key mask;                /* Union of all masks. */
    uint64_t number;                /* No other view of the classifier has had it. */
    uint32_t blocks;                /* Bit b: some mask looks at block b.  Bit 0 always. */
    uint32_t sub_n;                 /* Slots, some perhaps free. */
    uint32_t single;                /* There is one mask, at slot 0. */
    uint32_t map_words;             /* 64-bit words of a bitmap: 1 or CLS_MAP_WORDS. */
    uint32_t prune_n;
    uint16_t prune_at[CLS_PRUNE];   /* Bytes of the key. */
    const _Atomic uint64_t *prune[CLS_PRUNE]; /* [value of the byte][map_words]. */
    uint64_t all[CLS_MAP_WORDS];    /* Slots in use. */
    struct cls_sub *subs[];
};

/* Pruning by other bytes, in the making. */
struct cls_prune_next {
    uint32_t n;
    uint16_t at[CLS_PRUNE];
    _Atomic uint64_t *maps[CLS_PRUNE];
    /* Flows with lower indexes are counted in; UINT32_MAX: all are. */
    uint32_t flow;
};

struct cls_choice;

struct cls_part {
    _Atomic(struct cls_view *) view;
    uint32_t in_port, recirc_id;
    /* Control side only. */
    uint32_t flows;
    uint32_t sub_count, sub_room;   /* Slots in use; slots that the arrays have. */
    uint32_t buckets;               /* Of all their tables, which do not get smaller. */
    struct cls_sub **subs;          /* By slot. */
    uint64_t *mask_hashes;
    uint32_t sub_last;              /* Slot that was found last: flows come many to a mask. */
    uint32_t prune_n, map_words;
    uint32_t chosen_flows, chosen_subs; /* When the pruning bytes were chosen. */
    uint16_t prune_at[CLS_PRUNE];
    _Atomic uint64_t *prune[CLS_PRUNE];
    struct cls_prune_next *next;    /* NULL: nothing is in the making. */
    struct cls_choice *choice;      /* Of its bytes, before that; NULL: none is being made. */
};

struct cls_part_slot {
    _Atomic uint64_t id;            /* in_port << 32 | recirc_id. */
    _Atomic(struct cls_part *) part; /* NULL: never used; &cls_part_gone: was removed. */
};

struct cls_parts {
    uint32_t mask;
    uint32_t used;                  /* Slots that are not NULL. */
    struct cls_part_slot slots[];
};
extern struct cls_part cls_part_gone;

#define CLS_LIKE 64u                /* Bytes of a frame. */

/* The headers that a thread expects of packets (cls_hot_like.h). */
struct cls_like {
    uint8_t want[CLS_LIKE] __attribute__((aligned(64)));
    uint8_t care[CLS_LIKE];         /* Bits of the frame that are to be as in `want`. */
    uint8_t looked_at[CLS_LIKE];    /* Those that the view looks at which has this number. */
    uint64_t view;                  /* 0: not known yet. */
    uint32_t size;                  /* Of the headers; 0: nothing is expected. */
    uint32_t tags, ipv6, l4;        /* As in struct hot_frame. */
    uint32_t l4_at;
    /* A length field, and what it says at least; of packets of `base` bytes it says no more. */
    uint32_t length_at, least, base;
    uint32_t pause;                 /* Bursts for which nothing is expected. */
};

/* What a thread expects of the packets of a port, or of those that recirculate by an id.  What
 * others send does not change it: an attacker's packets would make everybody's cost more. */
struct cls_habit {
    struct cls_like like;
    /* Same-key shortcut (cls_hot.c): packets that it was tried on and that it served; bursts for
     * which it stays off. */
    uint32_t same_tried, same_hit, same_pause;
} __attribute__((aligned(64)));

/* Ports whose numbers are so far apart share one: who brings packets by either can make those of
 * the other cost more, but only where one thread has both.  Of recirculated packets some share one
 * by chance.  Powers of two. */
#define CLS_HABITS 1024u
#define CLS_HABITS_RECIRC 64u
#define CLS_NEXTS 128u              /* Flows whose next ones are remembered; a power of two. */

struct cls_replica {
    struct cls *cls;
    struct cls_entry *entries;
    uint32_t thread;
    /* Flows below these indexes were copied to it; their counters were folded into replica 0.
     * Control side. */
    uint32_t filled, folded;
    struct cls_habit habits[CLS_HABITS + CLS_HABITS_RECIRC];
    struct cls_next nexts[CLS_NEXTS];
} __attribute__((aligned(64)));

struct cls {
    struct hash_key key;
    _Atomic(struct cls_parts *) parts;
    struct rcu *rcu;
    struct cls_replica *replicas[RCU_THREADS];
    _Atomic(struct cls_sub *) *sub_of; /* By flow index. */
    uint8_t *spill_near, *spill_far; /* Two chunks a flow; all that there may be. */
    uint32_t flow_count, sub_count, part_count;
    uint64_t views;                 /* That there were. */
    /* Changes whenever a subtable comes or goes, alone or with its partition. */
    uint32_t shape;
    /* Changes whenever a flow comes or goes, after it can or cannot be found. */
    _Atomic uint64_t changes;
    struct cls_part *making;        /* What prunes one is in the making; NULL: none is known. */
    uint32_t flow_end;              /* Indexes from here on were never used. */
    uint32_t thread_last;           /* Replicas end here. */
    struct ahead ahead;             /* Memory that flows to come will touch. */
};

static inline uint64_t cls_part_id(uint32_t in_port, uint32_t recirc_id)
{
    return (uint64_t)in_port << 32 | recirc_id;
}

static inline uint32_t cls_part_hash(uint64_t id)
{
    id *= 0x9e3779b97f4a7c15ull;
    return (uint32_t)(id >> 32);
}

static inline struct cls_bucket *cls_buckets(cls_table table)
{
    return (struct cls_bucket *)(table & ~(uintptr_t)63);
}

static inline uint32_t cls_bucket_mask(cls_table table)
{
    return (uint32_t)(((uint64_t)1 << (table & 63)) - 1);
}

static inline uint32_t cls_sig(uint32_t hash)
{
    return hash ? hash : 1;
}

/* The partition of packets, NULL if no flow matches any. */
static inline struct cls_part *cls_part_find(const struct cls *cls, uint32_t in_port, uint32_t recirc_id)
{
    const struct cls_parts *parts = atomic_load_explicit(&cls->parts, memory_order_acquire);
    uint64_t id = cls_part_id(in_port, recirc_id);

    for (uint32_t i = cls_part_hash(id);; i++) {
        const struct cls_part_slot *slot = &parts->slots[i & parts->mask];
        struct cls_part *part = atomic_load_explicit(&slot->part, memory_order_acquire);

        if (!part)
            return NULL;
        if (atomic_load_explicit(&slot->id, memory_order_relaxed) == id && part != &cls_part_gone)
            return part;
    }
}

/* Chunk `i` of a key under a subtable's mask. */
static inline void cls_pack_chunk(const struct cls_sub *sub, const struct key *key, unsigned int i, uint32_t *packed)
{
    const uint32_t *words = (const uint32_t *)key->words;
    const uint32_t *at = i ? sub->wide_at + (i - 1) * HASH_CHUNK : sub->at;
    const uint32_t *mask = i ? sub->wide_mask + (i - 1) * HASH_CHUNK : sub->mask;

    for (int j = 0; j < HASH_CHUNK; j++)
        packed[j] = words[at[j]] & mask[j];
}

static inline uint32_t *cls_spill(const struct cls_sub *sub, uint32_t flow)
{
    return (uint32_t *)(sub->spill + (size_t)flow * sub->stride);
}

/* Whether the chunks of a key behind the first are those of a flow. */
static inline bool cls_wide_equal(const struct cls_sub *sub, const struct key *key, uint32_t flow)
{
    const uint32_t *spill = cls_spill(sub, flow);
    uint32_t packed[HASH_CHUNK];

    for (unsigned int k = 1; k < sub->chunks; k++, spill += HASH_CHUNK) {
        cls_pack_chunk(sub, key, k, packed);
        if (memcmp(packed, spill, sizeof packed))
            return false;
    }
    return true;
}

/* cls_replica.c; nobody reads it any more. */
void cls_replica_free(struct cls *, struct cls_replica *);

/* cls_table.c: the buckets of one subtable. */
cls_table cls_table_create(uint32_t flows);           /* Room for so many; 0: no memory. */
void cls_table_free(cls_table);
size_t cls_table_size(cls_table);                     /* Bytes of its buckets. */
bool cls_table_full(cls_table, uint32_t flows);       /* One more would make it slow. */
bool cls_table_filling(cls_table, uint32_t flows);    /* It will soon be full. */
bool cls_table_late(cls_table, uint32_t flows);       /* So soon that it has to be copied now. */
/* Both answer which bucket it is, or was, in.  False: there is none. */
uint32_t cls_table_add(cls_table, uint32_t sig, uint32_t flow);
bool cls_table_take(cls_table, uint32_t sig, uint32_t flow, uint32_t *bucket);
static inline bool cls_table_remove(cls_table table, uint32_t sig, uint32_t flow)
{
    uint32_t bucket;

    return cls_table_take(table, sig, flow, &bucket);
}
cls_table cls_table_larger(cls_table);                /* An empty one; 0: no memory. */
/* Copies at most so many buckets from the one numbered `*copied` on.  True: those were the last. */
bool cls_table_copy(cls_table from, cls_table to, uint32_t *copied, uint32_t most);

/* cls_part.c: partitions and subtables. */
struct cls_parts *cls_parts_create(uint32_t room);
/* Made if there is none; NULL: no memory. */
struct cls_part *cls_part_get(struct cls *, uint32_t in_port, uint32_t recirc_id);
void cls_part_remove(struct cls *, struct cls_part *);  /* It has no subtable. */
struct cls_sub *cls_sub_find(const struct cls *, struct cls_part *, const struct key *mask);
int cls_sub_make_room(struct cls *, struct cls_sub *);   /* For one more flow.  ENOMEM. */
/* A flow's place in the table, and in the one that is to follow it. */
void cls_sub_put_flow(struct cls_sub *, uint32_t sig, uint32_t flow);
void cls_sub_take_flow(struct cls_sub *, uint32_t sig, uint32_t flow);
/* Publishes a subtable for a mask, by a new view.  ENOMEM, ENOSPC. */
int cls_sub_add(struct cls *, struct cls_part *, const struct key *mask, struct cls_sub **);
void cls_sub_remove(struct cls *, struct cls_sub *);    /* It has no flow. */
/* With all it has; nobody reads it any more. */
void cls_part_free(struct cls *, struct cls_part *);

/* cls_view.c: what lookups see of a partition. */
struct cls_view *cls_view_create(const struct cls_part *); /* NULL: no memory. */
/* Fills in what the control side knows of the partition, and publishes it.  The view before, and
 * its bitmaps if they are others, are freed after a grace period. */
void cls_view_publish(struct cls *, struct cls_part *, struct cls_view *);

/* cls_prune.c: bitmaps of the masks that may have a flow for a byte's value. */
void cls_prune_add(struct cls_part *, struct cls_sub *, uint32_t flow, const struct key *masked);
void cls_prune_remove(struct cls_part *, struct cls_sub *, uint32_t flow, const struct key *masked);
/* After each change, of a partition with flows.  Chooses the bytes anew if it has changed enough
 * since, and goes on with what is in the making.  Failure to allocate leaves things as they are. */
void cls_prune_review(struct cls *, struct cls_part *);
void cls_prune_abandon(struct cls_part *);              /* What is in the making. */
/* For a further subtable.  ENOMEM. */
int cls_prune_prepare(struct cls_part *, struct cls_sub *, uint32_t slot);
/* Sets or clears the bit of `slot` for every value of a byte that is `value` under `mask`. */
static inline void cls_prune_mark(_Atomic uint64_t *map, uint32_t words, uint32_t slot, uint8_t mask, uint8_t value, bool set)
{
    uint32_t free_bits = ~mask & 0xffu, rest = free_bits;
    uint64_t bit = 1ull << (slot % 64);

    for (;;) {
        _Atomic uint64_t *word = &map[(size_t)(value | rest) * words + slot / 64];
        uint64_t old = atomic_load_explicit(word, memory_order_relaxed);

        atomic_store_explicit(word, set ? old | bit : old & ~bit, memory_order_release);
        if (!rest)
            return;
        rest = (rest - 1) & free_bits;
    }
}
/* Masks of a view that may match a key; `map` has room for CLS_MAP_WORDS. */
void cls_prune_map(const struct cls_view *, const struct key *, uint64_t *map);

/* cls_choose.c: the bytes that tell masks apart, chosen bit by bit. */
struct cls_choice *cls_choice_begin(const struct cls_part *); /* NULL: no memory. */
/* False: it is made. */
bool cls_choice_step(const struct cls *, const struct cls_part *, struct cls_choice *);
uint32_t cls_choice_steps(const struct cls_choice *);   /* At most, about. */
uint32_t cls_choice_bytes(const struct cls_choice *, uint16_t bytes[CLS_PRUNE]); /* How many. */
void cls_choice_free(struct cls_choice *);              /* NULL is allowed. */

/* cls_pack.c: the key of a flow under its mask. */
void cls_unpack(const struct cls *, const struct cls_sub *, uint32_t flow, struct key *masked);

/* cls_hot.c, once for each build; without AES instructions (hash.h) there is only the first. */
struct cls_burst {
    struct rte_mbuf **packets;
    const struct pkt_md *md;        /* Or NULL. */
    /* With an `md` that has PKT_MORE_TUNNEL: the tunnel of all packets, or NULL: each has its own
     * in its struct pkt. */
    const struct pkt *by;
    struct cls_habit *habit;
    uint32_t *flows;
    uint16_t *tcp_flags;
    uint32_t n;
    uint32_t probes;                /* Out: masks probed. */
    bool whole;                     /* Out: see cls_lookup(). */
};

/* Both are small numbers mostly: a sum of them would be another port's number. */
static inline struct cls_habit *cls_habit_of(struct cls_replica *replica, uint32_t in_port, uint32_t recirc_id)
{
    const uint32_t at = recirc_id ? CLS_HABITS + (cls_part_hash(cls_part_id(in_port, recirc_id)) & (CLS_HABITS_RECIRC - 1))
                                  : in_port & (CLS_HABITS - 1);

    return &replica->habits[at];
}

typedef void cls_hot_fn(const struct cls_replica *, const struct cls_view *, struct cls_burst *);
cls_hot_fn cls_hot_scalar, cls_hot_avx2, cls_hot_avx512;

#endif
