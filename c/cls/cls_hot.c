/* SPDX-License-Identifier: Apache-2.0
 * cls_hot.c - the lookup of a burst: compiled once for each kind of CPU, chosen by cls_isa.c.
 *
 * A burst goes through stages, so that the cache misses of its packets overlap:
 *   keys     extract, mask by the union, compare with the packet before; the data are on their way
 *            (burst_sum.h)
 *   aim      next mask worth probing, pack, hash, prefetch the bucket
 *   match    compare signatures, prefetch the entry
 *   verify   compare packed keys; packets with more masks to probe go round again from aim, side by
 *            side
 * The first of them is cls_hot_keys.h.  With one mask, aim is part of it. */
#include <rte_prefetch.h>

#include "cls/cls_int.h"

#include "cls/cls_hot_keys.h"

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
/* Masks worth probing, where there are up to 64. */
HOT uint64_t map_of(const struct cls_view *view, const struct key *key)
{
    uint64_t map = view->all[0];

    for (uint32_t k = 0; k < view->prune_n; k++)
        map &= atomic_load_explicit(&view->prune[k][key->bytes[view->prune_at[k]]], memory_order_relaxed);
    return map;
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

/* Aims at the next mask of each packet that has one.  `maps`: they are made. */
HOT void aim_all(struct hot *hot, const struct cls *cls, const struct cls_view *view, const uint32_t words, const bool maps)
{
    const bool wide = view->blocks != 1;
    uint32_t n = 0;

    for (uint32_t j = 0; j < hot->n; j++) {
        uint32_t i = hot->pending[j], slot;

        if (!maps)
            hot->maps[i][0] = map_of(view, &hot->keys[i]);
        if (UNLIKELY(!next_slot(hot->maps[i], words, &slot)))
            continue;
        aim_at(hot, cls, view->subs[slot], hot_load(&hot->keys[i]), i, wide);
        hot->pending[n++] = (uint8_t)i;
    }
    hot->n = n;
}

HOT void aim_first(struct hot *hot, const struct cls *cls, const struct cls_view *view)
{
    if (LIKELY(view->map_words == 1)) {
        aim_all(hot, cls, view, 1, false);
        return;
    }
    for (uint32_t j = 0; j < hot->n; j++)
        hot_map(view, &hot->keys[hot->pending[j]], hot->maps[hot->pending[j]]);
    aim_all(hot, cls, view, view->map_words, true);
}

HOT void aim_next(struct hot *hot, const struct cls *cls, const struct cls_view *view)
{
    if (hot->n)
        aim_all(hot, cls, view, view->map_words, true);
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

/* Gives packets that have the flow of the one before its number. */
HOT void spread(const struct cls_burst *burst)
{
    uint32_t *flows = burst->flows, flow = flows[0];
    const uint32_t n = burst->n;

    if (burst->whole) {
        for (uint32_t i = 1; i < n; i++)
            flows[i] = flow;
        return;
    }
    for (uint32_t i = 1; i < n; i++) {
        flow = flows[i] == SAME ? flow : flows[i];
        flows[i] = flow;
    }
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
        for (aim_first(&hot, replica->cls, view); hot.n; aim_next(&hot, replica->cls, view)) {
            burst->probes += hot.n;
            match(&hot, entries);
            verify(&hot, entries, burst);
        }
    }
    burst->whole = same + 1 == burst->n;
    if (same)
        spread(burst);
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
