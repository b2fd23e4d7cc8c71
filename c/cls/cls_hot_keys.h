/* SPDX-License-Identifier: Apache-2.0
 * cls_hot_keys.h - the first loop of a lookup, for cls_hot.c: a key for each packet that is not
 * like the one before.
 *
 * Equal keys in a row: a packet whose masked key equals its predecessor's gets the same flow
 * without a lookup.  The chain never leaves the burst, so it cannot outlive a flow or a view; every
 * packet here has a key (runts never come), so its predecessor is always the one compared with.
 * Where fewer than half of the packets of a port gain from it, it pauses for 1024 bursts of that
 * port: what is saved by a hit is lost again by a branch that was mispredicted.
 *
 * Threads: as cls_lookup. */
#ifndef UPCALL_CLS_HOT_KEYS_H
#define UPCALL_CLS_HOT_KEYS_H

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

#define HOT static inline __attribute__((always_inline))
#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)

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
/* Writes the key of a packet under the view's mask, only the blocks that the view asks for, and its
 * TCP flags.  By vectors, if its frame is one of those that cls_hot_frame.h knows.  `common`: the
 * context has all of its metadata. */
HOT hot_block hot_extract(const struct hot_context *context, struct rte_mbuf *m, uint32_t kind, struct key *key, uint16_t *tcp_flags,
                          const bool common)
{
    const struct pkt_md *md = context->md ? context->md : &pkt_of(m)->md;
    struct hot_frame f;
    hot_block block;

    if (UNLIKELY(!common && !context->plain && hot_is_rare(context->view, md))
        || UNLIKELY(!hot_read(rte_pktmbuf_mtod(m, const uint8_t *), m->data_len, m->pkt_len, kind, &f)))
        return hot_extract_any(context, m, key, tcp_flags);
    block = hot_make(context, m, &f, key, common);
    *tcp_flags = f.tcp_flags;
    return block;
}
#endif

/* Where a burst's first loop is. */
struct hot_chain {
    uint32_t *flows;                /* Of the burst. */
    hot_block before;               /* Of the packet that was given a key last, ... */
    uint32_t before_at;             /* ... which this one is. */
    uint32_t n;                     /* Of pending. */
    bool shortcut;
};

/* A packet's key is made: it has the flow of the one before, or is to be looked up. */
HOT void take_key(struct hot *hot, const struct cls *cls, const struct cls_view *view, struct hot_chain *chain, hot_block block, uint32_t i,
                  const bool single)
{
    if (chain->shortcut && i && hot_same(block, chain->before)
        && (view->blocks == 1 || same_blocks(view, &hot->keys[i], &hot->keys[chain->before_at]))) {
        chain->flows[i] = SAME;
        return;
    }
    chain->before = block;
    chain->before_at = i;
    chain->flows[i] = 0;
    hot->pending[chain->n++] = (uint8_t)i;
    if (single)
        aim_at(hot, cls, view->subs[0], block, i, view->blocks != 1);
}

/* Finds the kinds of all packets first: reading on waits for them (cls_hot_kind.h). */
HOT void find_kinds(struct hot *hot, const struct cls_burst *burst)
{
    struct rte_mbuf **packets = burst->packets;
    const uint32_t n = burst->n;

    for (uint32_t i = 0; i < n; i++) {
        const struct rte_mbuf *m = packets[i];

        hot->kinds[i] = (uint8_t)hot_find(rte_pktmbuf_mtod(m, const uint8_t *), m->data_len);
    }
}

HOT void make_each(struct hot *hot, const struct hot_context *context, const struct cls *cls, const struct cls_view *view,
                   const struct cls_burst *burst, struct hot_chain *chain, const bool single, const bool common)
{
    struct rte_mbuf **packets = burst->packets;
    uint16_t *tcp_flags = burst->tcp_flags;
    const uint32_t n = burst->n;

    for (uint32_t i = 0; i < n; i++)
        take_key(hot, cls, view, chain, hot_extract(context, packets[i], hot->kinds[i], &hot->keys[i], &tcp_flags[i], common), i, single);
}

/* The first loop.  Returns how many packets are like the one before. */
HOT uint32_t make_keys(struct hot *hot, const struct cls_replica *replica, const struct cls_view *view, struct cls_burst *burst,
                       const bool single)
{
    struct hot_chain chain = { .flows = burst->flows, .shortcut = !burst->habit->same_pause };
    struct hot_context context;

    hot_begin(&context, view, burst->md, burst->by);
    if (HOT_FINDS)
        find_kinds(hot, burst);
    if (LIKELY(hot_is_common(&context)))
        make_each(hot, &context, replica->cls, view, burst, &chain, single, true);
    else
        make_each(hot, &context, replica->cls, view, burst, &chain, single, false);
    hot->n = chain.n;
    return burst->n - chain.n;
}

#if UPCALL_ISA
/* Gives packets from number `i` on the flow of the one before, whose headers were expected, while
 * they have these and its key.  Returns the number of the first that has not. */
HOT uint32_t run_on(const struct hot_guess *guess, const struct cls_burst *burst, uint32_t i, hot_head head, const bool tcp)
{
    struct rte_mbuf **packets = burst->packets;
    uint32_t *flows = burst->flows;
    uint16_t *tcp_flags = burst->tcp_flags;
    const uint32_t n = burst->n;

    for (; i < n; i++) {
        const uint8_t *frame = rte_pktmbuf_mtod(packets[i], const uint8_t *);
        hot_head own;

        if (!hot_guess_is(guess, packets[i], frame, head, guess->same, &own))
            break;
        flows[i] = SAME;
        tcp_flags[i] = tcp ? like_tcp_flags(guess->like, frame) : 0;
    }
    return i;
}

/* The first loop where headers are expected: packets that have them are compared with the one
 * before in the frame. */
HOT uint32_t make_keys_like(struct hot *hot, const struct cls_replica *replica, const struct cls_view *view, struct cls_burst *burst,
                            const bool single)
{
    struct hot_chain chain = { .flows = burst->flows, .shortcut = !burst->habit->same_pause };
    struct cls_like *like = &burst->habit->like;
    uint32_t unlike = 0, unlike_at = UINT32_MAX - 1;
    struct hot_context context;
    struct hot_guess guess;

    hot_begin(&context, view, burst->md, burst->by);
    hot_guess_begin(&guess, &context, like);
    for (uint32_t i = 0; i < burst->n;) {
        struct rte_mbuf *m = burst->packets[i];
        const uint8_t *frame = rte_pktmbuf_mtod(m, const uint8_t *);
        hot_block block;
        struct hot_frame f;
        hot_head head;

        if (hot_guess_is(&guess, m, frame, guess.want, guess.care, &head)) {
            burst->tcp_flags[i] = like_tcp_flags(like, frame);
            block = hot_guess_make(&context, &guess, m, frame, head, &hot->keys[i]);
            take_key(hot, replica->cls, view, &chain, block, i++, single);
            if (chain.shortcut)
                i = like->l4 == HOT_TCP ? run_on(&guess, burst, i, head, true) : run_on(&guess, burst, i, head, false);
            continue;
        }
        if (!hot_read_any(frame, m->data_len, m->pkt_len, &f)) {
            block = hot_extract_any(&context, m, &hot->keys[i], &burst->tcp_flags[i]);
        } else {
            burst->tcp_flags[i] = f.tcp_flags;
            block = hot_make(&context, m, &f, &hot->keys[i], true);
            if (!like->size || unlike_at + 1 == i) {
                unlike -= like_learn(like, frame, &f);
                hot_guess_begin(&guess, &context, like);
            }
        }
        unlike++;
        unlike_at = i;
        take_key(hot, replica->cls, view, &chain, block, i++, single);
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

#endif
