/* SPDX-License-Identifier: Apache-2.0
 * cls_hot.c - the lookup of a burst: compiled once for each kind of CPU, chosen by cls_isa.c.
 *
 * A burst goes through stages, so that the cache misses of its packets overlap:
 *   keys     extract, mask by the union, compare with the packet before; prefetch the data of the
 *            fourth next
 *   aim      next mask worth probing, pack, hash, prefetch the bucket
 *   match    compare signatures, prefetch the entry
 *   verify   compare packed keys; packets with more masks to probe go round again from aim, side by
 *            side
 * With one mask, aim is part of the first loop.
 *
 * Equal keys in a row: a packet whose masked key equals its predecessor's gets the same flow
 * without a lookup.  The chain never leaves the burst, so it cannot outlive a flow or a view; every
 * packet here has a key (runts never come), so its predecessor is always the one compared with.
 * Where fewer than half of the packets of a port gain from it, it pauses for 1024 bursts of that
 * port: what is saved by a hit is lost again by a branch that was mispredicted. */
#include <rte_prefetch.h>

#include "cls/cls_int.h"

#ifndef UPCALL_ISA
#define UPCALL_ISA 0
#endif
#if UPCALL_ISA == 2
#include "cls/cls_hot_avx512.h"
#define HOT_NAME cls_hot_avx512
#elif UPCALL_ISA == 1
#include "cls/cls_hot_avx2.h"
#define HOT_NAME cls_hot_avx2
#else
#include "cls/cls_hot_scalar.h"
#define HOT_NAME cls_hot_scalar
#endif
#if !UPCALL_ISA || defined(__SANITIZE_THREAD__)
/* Slots of a bucket with a signature, as bits.  The control side changes one of them while a vector
 * is read: what is found is verified, and a thread sanitizer reads them one by one. */
static inline uint32_t hot_match(const struct cls_bucket *bucket, uint32_t sig)
{
    uint32_t match = 0;

    for (uint32_t j = 0; j < CLS_SLOTS; j++)
        match |= (uint32_t)(atomic_load_explicit(&bucket->sig[j], memory_order_acquire) == sig) << j;
    return match;
}
#endif

#define HOT static inline __attribute__((always_inline))
#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)

#define AHEAD 4                     /* Packets whose data is on its way. */
#define SAME UINT32_MAX             /* The flow of the packet before. */
#define SAME_TRIES 2048
#define SAME_WORTH 2                /* One in so many must gain. */
#define SAME_PAUSE 1024

struct hot {
    struct key keys[CLS_BURST];
    uint32_t packed[CLS_BURST][HASH_CHUNK] __attribute__((aligned(64)));
    uint64_t maps[CLS_BURST][CLS_MAP_WORDS] __attribute__((aligned(64)));
    const struct cls_sub *subs[CLS_BURST];
    const struct cls_bucket *buckets[CLS_BURST];
    uint32_t sigs[CLS_BURST];
    uint32_t flows[CLS_BURST];      /* Candidates. */
    uint8_t pending[CLS_BURST];
    uint8_t kinds[CLS_BURST];       /* By hot_find(), if HOT_FINDS. */
    uint32_t n;                     /* Of pending. */
};

/* Packs a key for a subtable, and starts to fetch its bucket.  `wide`: the view has masks of more
 * than block 0. */
HOT void aim_at(struct hot *hot, const struct cls *cls, const struct cls_sub *sub, hot_block block, uint32_t i, bool wide)
{
    cls_table table = atomic_load_explicit(&((struct cls_sub *)(uintptr_t)sub)->table, memory_order_acquire);
    uint32_t sig = hot_pack(&cls->key, sub, block, &hot->keys[i], hot->packed[i], wide);

    if (UNLIKELY(sub->chunks > 1)) {
        uint32_t packed[CLS_CHUNKS * HASH_CHUNK];

        for (unsigned int k = 0; k < sub->chunks; k++)
            cls_pack_chunk(sub, &hot->keys[i], k, packed + k * HASH_CHUNK);
        sig = hash_chunks(&cls->key, packed, sub->chunks);
    }
    hot->sigs[i] = cls_sig(sig);
    hot->subs[i] = sub;
    hot->buckets[i] = &cls_buckets(table)[hot->sigs[i] & cls_bucket_mask(table)];
    rte_prefetch0(hot->buckets[i]);
}

HOT bool same_blocks(const struct cls_view *view, const struct key *a, const struct key *b)
{
    uint64_t difference = 0;

    for (uint32_t block = 1; view->blocks >> block; block++) {
        if (!(view->blocks >> block & 1))
            continue;
        for (uint32_t w = 8 * block; w < 8 * block + 8; w++)
            difference |= a->words[w] ^ b->words[w];
    }
    return !difference;
}

#if UPCALL_ISA
/* Whether a packet's key is made by vectors: of the frames that cls_hot_frame.h knows. */
HOT bool is_plain(const struct hot_context *context, struct rte_mbuf *m, uint32_t kind, struct hot_frame *f)
{
    const struct pkt_md *md = context->md ? context->md : &pkt_of(m)->md;

    return LIKELY((context->plain || !hot_is_rare(context->view, md))
                  && hot_read(rte_pktmbuf_mtod(m, const uint8_t *), m->data_len, m->pkt_len, kind, f));
}

/* Writes the key of a packet under the view's mask, only the blocks that the view asks for, and its
 * TCP flags. */
HOT hot_block hot_extract(const struct hot_context *context, struct rte_mbuf *m, uint32_t kind, struct key *key, uint16_t *tcp_flags)
{
    struct hot_frame f;

    if (!is_plain(context, m, kind, &f))
        return hot_extract_any(context, m, key, tcp_flags);
    *tcp_flags = f.tcp_flags;
    return hot_make(context, m, &f, key);
}
#endif

/* Where a burst's first loop is. */
struct hot_chain {
    hot_block before;               /* Of the packet that was given a key last, ... */
    uint32_t before_at;             /* ... which this one is. */
    uint32_t n;                     /* Of pending. */
    bool shortcut;
};

/* A packet's key is made: it has the flow of the one before, or is to be looked up. */
HOT void take_key(struct hot *hot, const struct cls *cls, const struct cls_view *view, struct cls_burst *burst, struct hot_chain *chain,
                  hot_block block, uint32_t i, const bool single)
{
    if (chain->shortcut && i && hot_same(block, chain->before)
        && (view->blocks == 1 || same_blocks(view, &hot->keys[i], &hot->keys[chain->before_at]))) {
        burst->flows[i] = SAME;
        return;
    }
    chain->before = block;
    chain->before_at = i;
    burst->flows[i] = 0;
    hot->pending[chain->n++] = (uint8_t)i;
    if (single)
        aim_at(hot, cls, view->subs[0], block, i, view->blocks != 1);
}

HOT void prefetch_first(const struct cls_burst *burst)
{
    for (uint32_t i = 0; i < AHEAD && i < burst->n; i++)
        rte_prefetch0(rte_pktmbuf_mtod(burst->packets[i], const void *));
}

HOT void prefetch_next(const struct cls_burst *burst, uint32_t i)
{
    if (i + AHEAD < burst->n)
        rte_prefetch0(rte_pktmbuf_mtod(burst->packets[i + AHEAD], const void *));
}

/* Finds the kinds of all packets first: reading on waits for them (cls_hot_kind.h). */
HOT void find_kinds(struct hot *hot, const struct cls_burst *burst)
{
    for (uint32_t i = 0; i < burst->n; i++) {
        const struct rte_mbuf *m = burst->packets[i];

        prefetch_next(burst, i);
        hot->kinds[i] = (uint8_t)hot_find(rte_pktmbuf_mtod(m, const uint8_t *), m->data_len);
    }
}

/* The first loop.  Returns how many packets are like the one before. */
HOT uint32_t make_keys(struct hot *hot, const struct cls_replica *replica, const struct cls_view *view, struct cls_burst *burst,
                       const bool single)
{
    struct hot_chain chain = { .shortcut = !burst->habit->same_pause };
    struct hot_context context;

    hot_begin(&context, view, burst->md, burst->by);
    prefetch_first(burst);
    if (HOT_FINDS)
        find_kinds(hot, burst);
    for (uint32_t i = 0; i < burst->n; i++) {
        hot_block block;

        if (!HOT_FINDS)
            prefetch_next(burst, i);
        block = hot_extract(&context, burst->packets[i], hot->kinds[i], &hot->keys[i], &burst->tcp_flags[i]);
        take_key(hot, replica->cls, view, burst, &chain, block, i, single);
    }
    hot->n = chain.n;
    return burst->n - chain.n;
}

#if UPCALL_ISA
/* The first loop where headers are expected: packets that have them are compared with the one
 * before in the frame. */
HOT uint32_t make_keys_like(struct hot *hot, const struct cls_replica *replica, const struct cls_view *view, struct cls_burst *burst,
                            const bool single)
{
    struct hot_chain chain = { .shortcut = !burst->habit->same_pause };
    struct cls_like *like = &burst->habit->like;
    uint32_t unlike = 0, unlike_at = UINT32_MAX - 1;
    struct hot_context context;
    struct hot_guess guess;
    hot_head head, head_before = { 0 };
    bool run = false;               /* `head_before` is of the packet before. */

    hot_begin(&context, view, burst->md, burst->by);
    hot_guess_begin(&guess, &context, like);
    prefetch_first(burst);
    for (uint32_t i = 0; i < burst->n; i++) {
        struct rte_mbuf *m = burst->packets[i];
        const uint8_t *frame = rte_pktmbuf_mtod(m, const uint8_t *);
        hot_block block;
        struct hot_frame f;

        prefetch_next(burst, i);
        if (hot_guess_fits(&guess, m, frame, &head)) {
            burst->tcp_flags[i] = like_tcp_flags(like, frame);
            if (run && hot_guess_same(&guess, head, head_before)) {
                burst->flows[i] = SAME;
                continue;
            }
            block = hot_guess_make(&context, &guess, m, frame, head, &hot->keys[i]);
            head_before = head;
            run = chain.shortcut;
            take_key(hot, replica->cls, view, burst, &chain, block, i, single);
            continue;
        }
        run = false;
        if (!is_plain(&context, m, hot_find(frame, m->data_len), &f)) {
            block = hot_extract_any(&context, m, &hot->keys[i], &burst->tcp_flags[i]);
        } else {
            burst->tcp_flags[i] = f.tcp_flags;
            block = hot_make(&context, m, &f, &hot->keys[i]);
            if (!like->size || unlike_at + 1 == i) {
                unlike -= like_learn(like, frame, &f);
                hot_guess_begin(&guess, &context, like);
            }
        }
        unlike++;
        unlike_at = i;
        take_key(hot, replica->cls, view, burst, &chain, block, i, single);
    }
    if (UNLIKELY(unlike > LIKE_LEARN + burst->n / LIKE_UNLIKE)) {
        like->pause = LIKE_PAUSE;
        like_forget(like);
    }
    hot->n = chain.n;
    return burst->n - chain.n;
}
#endif

HOT uint32_t first_loop(struct hot *hot, const struct cls_replica *replica, const struct cls_view *view, struct cls_burst *burst,
                        const bool single)
{
#if UPCALL_ISA
    struct cls_habit *habit = burst->habit;

    if ((HOT_GUESS_ALONE || !habit->same_pause) && burst->md && !hot_needs_pkt(view, burst->md, burst->by)) {
        if (LIKELY(!habit->like.pause))
            return make_keys_like(hot, replica, view, burst, single);
        habit->like.pause--;
    }
#endif
    return make_keys(hot, replica, view, burst, single);
}

HOT void make_maps(struct hot *hot, const struct cls_view *view)
{
    if (UNLIKELY(view->map_words > 1)) {
        for (uint32_t j = 0; j < hot->n; j++)
            hot_map(view, &hot->keys[hot->pending[j]], hot->maps[hot->pending[j]]);
        return;
    }
    for (uint32_t j = 0; j < hot->n; j++) {
        const uint8_t *bytes = hot->keys[hot->pending[j]].bytes;
        uint64_t map = view->all[0];

        for (uint32_t k = 0; k < view->prune_n; k++)
            map &= atomic_load_explicit(&view->prune[k][bytes[view->prune_at[k]]], memory_order_relaxed);
        hot->maps[hot->pending[j]][0] = map;
    }
}

/* Takes the lowest bit of a bitmap.  False: there is none. */
HOT bool next_slot(uint64_t *map, uint32_t words, uint32_t *slot)
{
    for (uint32_t w = 0; w < words; w++) {
        if (map[w]) {
            *slot = w * 64 + (uint32_t)__builtin_ctzll(map[w]);
            map[w] &= map[w] - 1;
            return true;
        }
    }
    return false;
}

HOT void aim(struct hot *hot, const struct cls *cls, const struct cls_view *view)
{
    const uint32_t words = view->map_words;
    const bool wide = view->blocks != 1;
    uint32_t n = 0;

    for (uint32_t j = 0; j < hot->n; j++) {
        uint32_t i = hot->pending[j], slot;

        if (UNLIKELY(!next_slot(hot->maps[i], words, &slot)))
            continue;
        aim_at(hot, cls, view->subs[slot], hot_load(&hot->keys[i]), i, wide);
        hot->pending[n++] = (uint8_t)i;
    }
    hot->n = n;
}

HOT void match(struct hot *hot, const struct cls_entry *entries)
{
    for (uint32_t j = 0; j < hot->n; j++) {
        uint32_t i = hot->pending[j], found = hot_match(hot->buckets[i], hot->sigs[i]);

        hot->flows[i] = found ? atomic_load_explicit(&hot->buckets[i]->flow[__builtin_ctz(found)], memory_order_acquire) : 0;
        rte_prefetch0(&entries[hot->flows[i]]);
        if (UNLIKELY(hot->subs[i]->chunks > 1))
            rte_prefetch0(cls_spill(hot->subs[i], hot->flows[i]));
    }
}

HOT bool is_flow(const struct hot *hot, const struct cls_entry *entries, uint32_t i, uint32_t flow)
{
    return LIKELY(hot_equal(hot->packed[i], &entries[flow]))
        && (LIKELY(hot->subs[i]->chunks == 1) || cls_wide_equal(hot->subs[i], &hot->keys[i], flow));
}

/* Not the first flow of the bucket with this signature: goes through all of them, and through the
 * buckets behind. */
static __attribute__((noinline)) uint32_t search(const struct hot *hot, const struct cls_entry *entries, cls_table table, uint32_t i)
{
    for (uint32_t at = hot->sigs[i];; at++) {
        const struct cls_bucket *b = &cls_buckets(table)[at & cls_bucket_mask(table)];

        for (uint32_t found = hot_match(b, hot->sigs[i]); found; found &= found - 1) {
            uint32_t flow = atomic_load_explicit(&b->flow[__builtin_ctz(found)], memory_order_acquire);

            if (is_flow(hot, entries, i, flow))
                return flow;
        }
        if (!atomic_load_explicit(&b->passed, memory_order_acquire) || at - hot->sigs[i] > cls_bucket_mask(table))
            return 0;
    }
}

HOT void verify(struct hot *hot, const struct cls_entry *entries, struct cls_burst *burst)
{
    uint32_t n = 0;

    for (uint32_t j = 0; j < hot->n; j++) {
        uint32_t i = hot->pending[j], flow = hot->flows[i];

        if (UNLIKELY(!flow || !is_flow(hot, entries, i, flow))) {
            flow = 0;
            /* Nothing with the signature here and nothing pushed out of here: the usual end of a
             * probe in vain. */
            if (hot->flows[i] || atomic_load_explicit(&hot->buckets[i]->passed, memory_order_acquire))
                flow = search(hot, entries, atomic_load_explicit(&((struct cls_sub *)(uintptr_t)hot->subs[i])->table,
                                                                 memory_order_acquire), i);
        }
        if (flow)
            burst->flows[i] = flow;
        else
            hot->pending[n++] = (uint8_t)i;
    }
    hot->n = n;
}

HOT void look_up(const struct cls_replica *replica, const struct cls_view *view, struct cls_burst *burst, const bool single)
{
    const struct cls_entry *entries = replica->entries;
    struct cls_habit *habit = burst->habit;
    struct hot hot;
    uint32_t same = first_loop(&hot, replica, view, burst, single);

    burst->probes = 0;
    if (single) {
        burst->probes = hot.n;
        match(&hot, entries);
        verify(&hot, entries, burst);
    } else {
        make_maps(&hot, view);
        for (aim(&hot, replica->cls, view); hot.n; aim(&hot, replica->cls, view)) {
            burst->probes += hot.n;
            match(&hot, entries);
            verify(&hot, entries, burst);
        }
    }
    burst->whole = same + 1 == burst->n;
    if (burst->whole) {
        for (uint32_t i = 1; i < burst->n; i++)
            burst->flows[i] = burst->flows[0];
    } else if (same) {
        for (uint32_t i = 1; i < burst->n; i++) {
            if (burst->flows[i] == SAME)
                burst->flows[i] = burst->flows[i - 1];
        }
    }
    if (habit->same_pause) {
        habit->same_pause--;
        return;
    }
    habit->same_tried += burst->n;
    habit->same_hit += same;
    if (UNLIKELY(habit->same_tried >= SAME_TRIES)) {
        if (habit->same_hit < habit->same_tried / SAME_WORTH)
            habit->same_pause = SAME_PAUSE;
        habit->same_tried = habit->same_hit = 0;
    }
}

void HOT_NAME(const struct cls_replica *replica, const struct cls_view *view, struct cls_burst *burst)
{
    if (view->single)
        look_up(replica, view, burst, true);
    else
        look_up(replica, view, burst, false);
}
