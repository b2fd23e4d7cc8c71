/* SPDX-License-Identifier: Apache-2.0
 * cls.c - classifier, control side: flows in, out and changed; counters.
 *
 * Why it looks as it does.  Cycles a packet by the time stamp counter, for copying a 60-byte frame
 * in, lookup, counting and the transmit buffer; one core of a Zen 5, at 2.6 GHz unless 2.1 is said,
 * AVX-512 build, tests/bench/cls_bench.ts:
 *   bitmaps that say which masks to probe (cls_prune.c): 20 masks 41 instead of 167, 64 masks 42
 *     instead of 484, 512 masks 73 instead of 3942, the frames of the last being new each time;
 *   one line a flow and thread for key, counters and verdict: a packet of a large table misses the
 *     cache for its bucket and its entry, nothing else: 71 where 100,000 exact flows are hit at
 *     random;
 *   no cache of exact keys in front: it would add such a miss wherever it is large enough to help;
 *   headers that are expected, equal keys found in the frame (cls_hot_like.h): of one flow 17
 *     instead of 20, of IPv6 17 instead of 27, at 2.1 GHz;
 *   partitions: what is extracted and compared stays small beside other ports' flows;
 *   one sum of a burst (burst_sum.h), no loop over runs: 20 instead of 24, 20 masks 36, not 44;
 *   what is like the packet before compared once, and summed up by vectors: of one flow 13 instead
 *     of 17, at 2.1 GHz; kinds that alternate told apart by one comparison: 57 instead of 69;
 *   builds, at 2.1 GHz: 15, AVX2 15, scalar 38 for one flow; 54, 54, 112 for 100,000. */
#include <errno.h>
#include <stdlib.h>

#include "base/invariant.h"
#include "base/mem.h"
#include "cls/cls_int.h"

#define PARTS_FIRST 16

struct cls *cls_create(struct rcu *rcu)
{
    struct cls *cls = aligned_alloc(64, (sizeof *cls + 63) & ~(size_t)63);

    if (!cls)
        return NULL;
    memset(cls, 0, sizeof *cls);
    cls->rcu = rcu;
    cls->parts = cls_parts_create(PARTS_FIRST);
    cls->sub_of = mem_map(CLS_FLOWS_MAX * sizeof cls->sub_of[0]);
    if (hash_seed(&cls->key) || !cls->parts || !cls->sub_of || !cls_replica_add(cls, 0)) {
        cls_destroy(cls);
        return NULL;
    }
    ahead_want(&cls->ahead, cls->sub_of, CLS_FLOWS_STEP * sizeof cls->sub_of[0]);
    return cls;
}

void cls_destroy(struct cls *cls)
{
    struct cls_parts *parts = atomic_load_explicit(&cls->parts, memory_order_relaxed);

    rcu_drain(cls->rcu); /* What is deferred points here. */
    for (uint32_t i = 0; parts && i <= parts->mask; i++) {
        struct cls_part *part = atomic_load_explicit(&parts->slots[i].part, memory_order_relaxed);

        if (part && part != &cls_part_gone)
            cls_part_free(cls, part);
    }
    free(parts);
    if (cls->replicas[0])
        cls_replica_free(cls, cls->replicas[0]);
    mem_unmap(cls->sub_of, CLS_FLOWS_MAX * sizeof cls->sub_of[0]);
    mem_unmap(cls->spill_near, (size_t)CLS_FLOWS_MAX * 2 * HASH_CHUNK * 4);
    mem_unmap(cls->spill_far, (size_t)CLS_FLOWS_MAX * (CLS_CHUNKS - 1) * HASH_CHUNK * 4);
    free(cls);
}

struct ahead *cls_ahead(struct cls *cls)
{
    return &cls->ahead;
}

void cls_want(struct cls *cls, uint32_t first, uint32_t n)
{
    for (unsigned int i = 0; i <= cls->thread_last; i++) {
        if (cls->replicas[i])
            ahead_want(&cls->ahead, &cls->replicas[i]->entries[first], n * sizeof(struct cls_entry));
    }
    ahead_want(&cls->ahead, &cls->sub_of[first], n * sizeof cls->sub_of[0]);
    if (cls->spill_near)
        ahead_want(&cls->ahead, cls->spill_near + (size_t)first * 2 * HASH_CHUNK * 4, (size_t)n * 2 * HASH_CHUNK * 4);
}

const struct hash_key *cls_hash_key(const struct cls *cls)
{
    return &cls->key;
}

static void pack(const struct cls_sub *sub, const struct key *key, uint32_t *packed)
{
    for (unsigned int i = 0; i < sub->chunks; i++)
        cls_pack_chunk(sub, key, i, packed + i * HASH_CHUNK);
}

/* The flow of a packed key in one subtable, 0 if none. */
static uint32_t find_in(const struct cls *cls, const struct cls_sub *sub, const uint32_t *packed, uint32_t sig)
{
    const struct cls_entry *entries = cls->replicas[0]->entries;
    cls_table table = atomic_load_explicit(&sub->table, memory_order_relaxed);
    size_t wide = (sub->chunks - 1u) * HASH_CHUNK * sizeof packed[0];

    for (uint32_t i = sig;; i++) {
        const struct cls_bucket *b = &cls_buckets(table)[i & cls_bucket_mask(table)];

        for (int j = 0; j < CLS_SLOTS; j++) {
            uint32_t flow = atomic_load_explicit(&b->flow[j], memory_order_relaxed);

            if (atomic_load_explicit(&b->sig[j], memory_order_relaxed) == sig
                && !memcmp(entries[flow].packed, packed, sizeof entries[flow].packed)
                && (!wide || !memcmp(cls_spill(sub, flow), packed + HASH_CHUNK, wide)))
                return flow;
        }
        if (!atomic_load_explicit(&b->passed, memory_order_relaxed))
            return 0;
    }
}

/* The place of a key in a subtable that there is. */
static void place_in(const struct cls *cls, struct cls_sub *sub, const struct key *key, struct cls_place *place)
{
    place->sub = sub;
    place->shape = cls->shape;
    pack(sub, key, place->packed);
    place->sig = cls_sig(hash_chunks(&cls->key, place->packed, sub->chunks));
}

static bool is_current(const struct cls *cls, const struct cls_place *place)
{
    return place->sub && place->shape == cls->shape;
}

uint32_t cls_find_near(struct cls *cls, const struct key *key, const struct cls_place *near)
{
    const struct cls_part *part = cls_part_find(cls, key->base.in_port, key->base.recirc_id);
    uint64_t map[CLS_MAP_WORDS];
    const struct cls_view *view;
    uint32_t flow = 0;

    if (!part)
        return 0;
    view = atomic_load_explicit(&part->view, memory_order_relaxed);
    cls_prune_map(view, key, map);
    for (uint32_t w = 0; !flow && w < view->map_words; w++) {
        while (!flow && map[w]) {
            struct cls_sub *sub = view->subs[w * 64 + (uint32_t)__builtin_ctzll(map[w])];
            struct cls_place place;

            map[w] &= map[w] - 1;
            if (near && near->sub == sub && is_current(cls, near)) {
                flow = find_in(cls, sub, near->packed, near->sig);
            } else {
                place_in(cls, sub, key, &place);
                flow = find_in(cls, sub, place.packed, place.sig);
            }
        }
    }
    return flow;
}

uint32_t cls_find(struct cls *cls, const struct key *key)
{
    return cls_find_near(cls, key, NULL);
}

static void look(struct cls *cls, const struct key *key, const struct key *mask, struct cls_place *place)
{
    struct cls_part *part = cls_part_find(cls, key->base.in_port, key->base.recirc_id);
    struct cls_sub *sub = part ? cls_sub_find(cls, part, mask) : NULL;

    place->sub = NULL;
    if (sub)
        place_in(cls, sub, key, place);
}

uint32_t cls_find_exact(struct cls *cls, const struct key *key, const struct key *mask)
{
    struct cls_place place;

    look(cls, key, mask, &place);
    return place.sub ? find_in(cls, place.sub, place.packed, place.sig) : 0;
}

static void prefetch_bucket(const struct cls_place *place)
{
    const cls_table table = atomic_load_explicit(&place->sub->table, memory_order_relaxed);

    __builtin_prefetch(&cls_buckets(table)[place->sig & cls_bucket_mask(table)], 1);
}

void cls_look(struct cls *cls, const struct key *key, const struct key *mask, struct cls_place *place)
{
    look(cls, key, mask, place);
    if (place->sub)
        prefetch_bucket(place);
}

bool cls_look_near(struct cls *cls, const struct key *key, const struct cls_place *near, struct cls_place *place)
{
    if (!is_current(cls, near))
        return false;
    place_in(cls, near->sub, key, place);
    prefetch_bucket(place);
    return true;
}

uint32_t cls_look_closer(struct cls *cls, const struct cls_place *place)
{
    const struct cls_bucket *b;
    cls_table table;

    if (!is_current(cls, place))
        return 0;
    table = atomic_load_explicit(&place->sub->table, memory_order_relaxed);
    b = &cls_buckets(table)[place->sig & cls_bucket_mask(table)];
    for (int j = 0; j < CLS_SLOTS; j++) {
        if (atomic_load_explicit(&b->sig[j], memory_order_relaxed) == place->sig) {
            const uint32_t flow = atomic_load_explicit(&b->flow[j], memory_order_relaxed);

            cls_prefetch_entry(cls, flow);
            return flow;
        }
    }
    return 0;
}

void cls_prefetch_entry(struct cls *cls, uint32_t flow)
{
    for (unsigned int i = 0; i <= cls->thread_last; i++) {
        if (cls->replicas[i])
            __builtin_prefetch(&cls->replicas[i]->entries[flow], 1);
    }
}

/* What packets need of a flow, for every thread, before any of them can find it. */
static void write_entries(struct cls *cls, const struct cls_sub *sub, uint32_t flow, const uint32_t *packed, uint64_t verdict)
{
    if (sub->chunks > 1)
        memcpy(cls_spill(sub, flow), packed + HASH_CHUNK, (sub->chunks - 1u) * HASH_CHUNK * sizeof packed[0]);
    for (unsigned int i = 0; i <= cls->thread_last; i++) {
        struct cls_entry *entry;

        if (!cls->replicas[i])
            continue;
        entry = &cls->replicas[i]->entries[flow];
        memcpy(entry->packed, packed, sizeof entry->packed);
        atomic_store_explicit(&entry->packets, 0, memory_order_relaxed);
        atomic_store_explicit(&entry->bytes, 0, memory_order_relaxed);
        cls_use(entry, 0);
        atomic_store_explicit(&entry->tcp_flags, 0, memory_order_relaxed);
        atomic_store_explicit(&entry->verdict, verdict, memory_order_relaxed);
    }
}

/* Makes partition and subtable of a place, and room in it. */
static int make_place(struct cls *cls, const struct key *key, const struct key *mask, struct cls_place *place)
{
    struct cls_part *part = cls_part_get(cls, key->base.in_port, key->base.recirc_id);
    struct cls_sub *sub = part ? cls_sub_find(cls, part, mask) : NULL;
    int error = part ? 0 : ENOMEM;

    if (part && !sub)
        error = cls_sub_add(cls, part, mask, &sub);
    if (!error)
        place_in(cls, sub, key, place);
    else if (part && !part->flows)
        cls_part_remove(cls, part);
    return error;
}

/* Around a change: what lookups have found so far says nothing any more (cls_next.h), and what they
 * find until the second call, while the number is odd, is not remembered. */
static void note_change(struct cls *cls)
{
    atomic_store_explicit(&cls->changes, atomic_load_explicit(&cls->changes, memory_order_relaxed) + 1, memory_order_release);
    atomic_thread_fence(memory_order_release); /* The change itself comes behind it. */
}

int cls_insert_at(struct cls *cls, uint32_t flow, const struct key *key, const struct key *mask, uint64_t verdict,
                  struct cls_place *place)
{
    int error = is_current(cls, place) ? 0 : make_place(cls, key, mask, place);
    struct cls_sub *sub = place->sub;
    struct cls_part *part;
    struct key masked;

    INVARIANT(flow && flow < CLS_FLOWS_MAX && !cls->sub_of[flow]);
    INVARIANT(verdict);
    if (error)
        return error;
    part = sub->part;
    error = cls_sub_make_room(cls, sub);
    if (error) {
        if (!sub->flows)
            cls_sub_remove(cls, sub);
        if (!part->flows)
            cls_part_remove(cls, part);
        return error;
    }
    for (int w = 0; (part->prune_n || part->next) && w < KEY_WORDS; w++)
        masked.words[w] = key->words[w] & mask->words[w];
    cls_prune_add(part, sub, flow, &masked);
    cls->sub_of[flow] = sub;
    note_change(cls);
    write_entries(cls, sub, flow, place->packed, verdict);
    cls_sub_put_flow(sub, place->sig, flow);
    note_change(cls);
    if (flow >= cls->flow_end)
        cls->flow_end = flow + 1;
    cls->flow_count++;
    sub->flows++;
    part->flows++;
    cls_prune_review(cls, part);
    return 0;
}

int cls_insert(struct cls *cls, uint32_t flow, const struct key *key, const struct key *mask, uint64_t verdict)
{
    struct cls_place place = { .sub = NULL };

    return cls_insert_at(cls, flow, key, mask, verdict, &place);
}

void cls_remove(struct cls *cls, uint32_t flow)
{
    struct cls_sub *sub = cls->sub_of[flow];
    struct cls_part *part = sub->part;
    uint32_t packed[CLS_CHUNKS * HASH_CHUNK];
    struct key masked;

    INVARIANT(flow && flow < cls->flow_end && sub->flows && part->flows && cls->flow_count);
    note_change(cls);
    cls_unpack(cls, sub, flow, &masked);
    pack(sub, &masked, packed);
    cls_sub_take_flow(sub, cls_sig(hash_chunks(&cls->key, packed, sub->chunks)), flow);
    cls_prune_remove(part, sub, flow, &masked);
    cls->sub_of[flow] = NULL;
    cls->flow_count--;
    sub->flows--;
    part->flows--;
    if (!part->flows)
        cls_part_remove(cls, part);
    else if (!sub->flows)
        cls_sub_remove(cls, sub);
    else
        cls_prune_review(cls, part);
    note_change(cls); /* With the narrower view: who looks at it now learns from that. */
}

void cls_set_verdict(struct cls *cls, uint32_t flow, uint64_t verdict)
{
    INVARIANT(verdict && flow && flow < cls->flow_end && cls->sub_of[flow]);
    for (unsigned int i = 0; i <= cls->thread_last; i++) {
        if (cls->replicas[i])
            atomic_store_explicit(&cls->replicas[i]->entries[flow].verdict, verdict, memory_order_release);
    }
}

void cls_counters(struct cls *cls, uint32_t flow, struct cls_counters *counters)
{
    memset(counters, 0, sizeof *counters);
    for (unsigned int i = 0; i <= cls->thread_last; i++) {
        const struct cls_entry *entry;
        uint64_t used;

        if (!cls->replicas[i])
            continue;
        entry = &cls->replicas[i]->entries[flow];
        counters->packets += atomic_load_explicit(&entry->packets, memory_order_relaxed);
        counters->bytes += atomic_load_explicit(&entry->bytes, memory_order_relaxed);
        counters->tcp_flags |= atomic_load_explicit(&entry->tcp_flags, memory_order_relaxed);
        used = cls_used(entry);
        if (used > counters->used_ms)
            counters->used_ms = used;
    }
}

void cls_forget(struct cls *cls, uint32_t flow)
{
    for (unsigned int i = 0; i <= cls->thread_last; i++) {
        if (!cls->replicas[i])
            continue;
        cls_use(&cls->replicas[i]->entries[flow], 0);
        atomic_store_explicit(&cls->replicas[i]->entries[flow].tcp_flags, 0, memory_order_relaxed);
    }
}

uint32_t cls_flow_count(const struct cls *cls)
{
    return cls->flow_count;
}

uint32_t cls_mask_count(const struct cls *cls)
{
    return cls->sub_count;
}
