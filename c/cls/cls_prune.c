/* SPDX-License-Identifier: Apache-2.0
 * cls_prune.c - which masks are worth probing for a packet.
 *
 * For a few bytes of the key there is a table from the byte's value to a bitmap of masks: bit s
 * says that subtable s has a flow that is compatible with this value.  The intersection of the
 * bitmaps holds every mask that can match, and with well-chosen bytes hardly any other: one
 * candidate a packet where there are 20, 64 or 512 masks.  A probe that is saved is 14 cycles, a
 * byte looked up costs 2 with 64-bit bitmaps.
 *
 * Flows are counted by subtable and masked value of the byte, so that a bit falls with the last
 * flow behind it.  A bit is set before its flow can be found and cleared after it cannot any more;
 * no grace period is needed, because a bit that a reader misses belongs to a flow that is put, or
 * deleted, while the reader runs.  Bits of a slot that has changed hands since a reader took its
 * view lead it to the old, empty subtable. */
#include <errno.h>
#include <stdlib.h>

#include "cls/cls_int.h"

#define CHOOSE_AT_ONCE 256u          /* Flows for which the bytes are chosen at once. */
/* Flows that are counted at once when the bytes change; of more, some with each that comes or goes:
 * for ten million it takes a second, and others wait for the mutex. */
#define AT_ONCE 4096u
#define INDEXES 32u
#define INDEXES_MOST 512u
#define COUNTED_MOST 8u
/* Where most flows have gone, tables are as large as they were, and to go through them for the few
 * that are left takes longer than anybody may wait: none who brings or takes a flow does, but whole
 * calls do a share each, for as long as they have time (cls_tend()). */
#define BUCKETS_MOST (2 * AT_ONCE)

void cls_prune_map(const struct cls_view *view, const struct key *key, uint64_t *map)
{
    for (uint32_t w = 0; w < view->map_words; w++)
        map[w] = view->all[w];
    for (uint32_t i = 0; i < view->prune_n; i++) {
        const _Atomic uint64_t *row = view->prune[i] + (size_t)key->bytes[view->prune_at[i]] * view->map_words;

        for (uint32_t w = 0; w < view->map_words; w++)
            map[w] &= atomic_load_explicit(&row[w], memory_order_relaxed);
    }
}

/* Counts a flow in for some bytes, or out. */
static void count(uint32_t n, const uint16_t *at, _Atomic uint64_t *const *maps, uint32_t words, const struct cls_sub *sub,
                  uint32_t (*counts)[256], const struct key *masked, bool in)
{
    for (uint32_t i = 0; i < n; i++) {
        const uint8_t value = masked->bytes[at[i]];

        if (in ? !counts[i][value]++ : !--counts[i][value])
            cls_prune_mark(maps[i], words, sub->slot, sub->key_mask.bytes[at[i]], value, in);
    }
}

/* A flow comes or goes. */
static void change(struct cls_part *part, struct cls_sub *sub, uint32_t flow, const struct key *masked, bool in)
{
    const struct cls_prune_next *next = part->next;

    count(part->prune_n, part->prune_at, part->prune, part->map_words, sub, sub->counts, masked, in);
    if (next && flow < next->flow)
        count(next->n, next->at, next->maps, part->map_words, sub, sub->next_counts, masked, in);
}

void cls_prune_add(struct cls_part *part, struct cls_sub *sub, uint32_t flow, const struct key *masked)
{
    change(part, sub, flow, masked, true);
}

void cls_prune_remove(struct cls_part *part, struct cls_sub *sub, uint32_t flow, const struct key *masked)
{
    change(part, sub, flow, masked, false);
}

static _Atomic uint64_t *create_map(uint32_t words)
{
    size_t size = 256 * words * sizeof(uint64_t);
    void *map = aligned_alloc(64, size);

    if (map)
        memset(map, 0, size);
    return map;
}

/* Longer bitmaps.  The present view keeps the old ones; its successor, which the caller publishes
 * next, frees them. */
static int widen(struct cls_part *part)
{
    _Atomic uint64_t *maps[CLS_PRUNE];

    for (uint32_t i = 0; i < part->prune_n; i++) {
        maps[i] = create_map(CLS_MAP_WORDS);
        if (!maps[i]) {
            while (i--)
                free((void *)maps[i]);
            return ENOMEM;
        }
        for (uint32_t value = 0; value < 256; value++)
            maps[i][value * CLS_MAP_WORDS] = part->prune[i][value];
    }
    memcpy(part->prune, maps, part->prune_n * sizeof maps[0]);
    part->map_words = CLS_MAP_WORDS;
    return 0;
}

void cls_prune_abandon(struct cls_part *part)
{
    struct cls_prune_next *next = part->next;

    if (part->choice) {
        cls_choice_free(part->choice);
        part->choice = NULL;
        part->chosen_flows = 0;
    }
    if (!next)
        return;
    part->next = NULL;
    part->chosen_flows = 0; /* It is to be thought of anew. */
    for (uint32_t i = 0; i < part->sub_room; i++) {
        if (!part->subs[i])
            continue;
        free(part->subs[i]->next_counts);
        part->subs[i]->next_counts = NULL;
    }
    for (uint32_t i = 0; i < next->n; i++)
        free((void *)next->maps[i]);
    free(next);
}

int cls_prune_prepare(struct cls_part *part, struct cls_sub *sub, uint32_t slot)
{
    const bool wider = slot >= 64 && part->map_words == 1;

    if (wider)
        cls_prune_abandon(part);
    if (part->prune_n) {
        sub->counts = calloc(part->prune_n, sizeof sub->counts[0]);
        if (!sub->counts)
            return ENOMEM;
    }
    if (part->next && part->next->n) {
        sub->next_counts = calloc(part->next->n, sizeof sub->next_counts[0]);
        if (!sub->next_counts)
            return ENOMEM;
    }
    return wider ? widen(part) : 0;
}

/* Begins with bitmaps and counts for other bytes. */
static void begin(struct cls_part *part, uint32_t n, const uint16_t *bytes)
{
    const uint32_t chosen = part->chosen_flows;
    struct cls_prune_next *next = part->next = calloc(1, sizeof *next);
    bool good = next;

    for (; good && next->n < n; next->n++) {
        next->at[next->n] = bytes[next->n];
        good = (next->maps[next->n] = create_map(part->map_words)) != NULL;
    }
    for (uint32_t i = 0; good && n && i < part->sub_room; i++) {
        if (part->subs[i])
            good = (part->subs[i]->next_counts = calloc(n, sizeof part->subs[i]->next_counts[0])) != NULL;
    }
    if (!good)
        cls_prune_abandon(part);
    part->chosen_flows = chosen; /* If there was no memory now, there is none with the next flow. */
}

static void count_next(const struct cls *cls, struct cls_part *part, struct cls_sub *sub, uint32_t flow)
{
    const struct cls_prune_next *next = part->next;
    struct key masked;

    cls_unpack(cls, sub, flow, &masked);
    count(next->n, next->at, next->maps, part->map_words, sub, sub->next_counts, &masked, true);
}

/* Counts all flows in at once; there are few. */
static void count_all(const struct cls *cls, struct cls_part *part)
{
    for (uint32_t i = 0; i < part->sub_room; i++) {
        struct cls_sub *sub = part->subs[i];
        const cls_table table = sub ? atomic_load_explicit(&sub->table, memory_order_relaxed) : 0;

        for (uint32_t k = 0; sub && k <= cls_bucket_mask(table); k++) {
            const struct cls_bucket *b = &cls_buckets(table)[k];

            for (int j = 0; j < CLS_SLOTS; j++) {
                if (atomic_load_explicit(&b->sig[j], memory_order_relaxed))
                    count_next(cls, part, sub, atomic_load_explicit(&b->flow[j], memory_order_relaxed));
            }
        }
    }
    part->next->flow = UINT32_MAX;
}

/* Counts some flows in: so many that it is done before there are half as many more, or as many as
 * nobody notices. */
static void count_some(const struct cls *cls, struct cls_part *part)
{
    struct cls_prune_next *next = part->next;
    const uint64_t some = RTE_MIN(INDEXES + 4ull * cls->flow_end / part->flows, (uint64_t)INDEXES_MOST);
    const uint64_t end = next->n ? RTE_MIN((uint64_t)cls->flow_end, next->flow + some) : 0;

    for (uint32_t counted = 0; next->flow < end && counted < COUNTED_MOST; next->flow++) {
        struct cls_sub *sub = cls->sub_of[next->flow];

        if (!sub || sub->part != part)
            continue;
        count_next(cls, part, sub, next->flow);
        counted++;
    }
    if (next->flow >= cls->flow_end || !next->n)
        next->flow = UINT32_MAX;
}

/* All flows are counted in: packets look at the new bitmaps from now on. */
static void finish(struct cls *cls, struct cls_part *part)
{
    struct cls_view *view = cls_view_create(part);
    struct cls_prune_next *next = part->next;

    if (!view) /* With the next flow, perhaps. */
        return;
    part->next = NULL;
    part->prune_n = next->n;
    memcpy(part->prune_at, next->at, sizeof part->prune_at);
    memcpy(part->prune, next->maps, sizeof part->prune);
    for (uint32_t i = 0; i < part->sub_room; i++) {
        struct cls_sub *sub = part->subs[i];

        if (!sub)
            continue;
        free(sub->counts);
        sub->counts = sub->next_counts;
        sub->next_counts = NULL;
    }
    free(next);
    cls_view_publish(cls, part, view);
}

/* Whether so much has changed since bytes were chosen that others may be better. */
static bool is_due(const struct cls_part *part)
{
    if (part->sub_count < 2 && !part->prune_n)
        return false;
    return part->sub_count >= part->chosen_subs + (part->chosen_subs + 1) / 2
           || part->flows >= part->chosen_flows + part->chosen_flows / 2 + 8 || part->flows <= part->chosen_flows / 4;
}

static bool is_sparse(const struct cls_part *part)
{
    return part->flows <= AT_ONCE && part->buckets > BUCKETS_MOST;
}

/* Goes on with the choice: so far that it is made before there are a quarter more flows. */
static void choose_some(struct cls *cls, struct cls_part *part)
{
    const uint32_t steps = is_sparse(part)                  ? 1
                           : part->flows <= CHOOSE_AT_ONCE ? UINT32_MAX
                                                           : 1 + 4 * cls_choice_steps(part->choice) / part->flows;
    uint16_t bytes[CLS_PRUNE];
    uint32_t n;

    for (uint32_t i = 0; i < steps; i++) {
        if (cls_choice_step(cls, part, part->choice))
            continue;
        n = cls_choice_bytes(part->choice, bytes);
        cls_choice_free(part->choice);
        part->choice = NULL;
        if (n != part->prune_n || memcmp(bytes, part->prune_at, n * sizeof bytes[0]))
            begin(part, n, bytes);
        return;
    }
}

static void review(struct cls *cls, struct cls_part *part, bool tending)
{
    if (is_sparse(part) && (part->choice || part->next) && !tending)
        return;
    if (!part->choice && !part->next) {
        if (!is_due(part))
            return;
        part->chosen_subs = part->sub_count;
        part->chosen_flows = part->flows;
        part->choice = cls_choice_begin(part);
    }
    if (part->choice) {
        choose_some(cls, part);
        if (!part->next || part->flows > AT_ONCE || is_sparse(part))
            return;
        count_all(cls, part);
    } else if (part->next && part->next->flow != UINT32_MAX) {
        count_some(cls, part);
    }
    if (part->next && part->next->flow == UINT32_MAX)
        finish(cls, part);
}

static void go_on(struct cls *cls, struct cls_part *part, bool tending)
{
    review(cls, part, tending);
    if (part->choice || part->next)
        cls->making = part;
    else if (cls->making == part)
        cls->making = NULL;
}

void cls_prune_review(struct cls *cls, struct cls_part *part)
{
    go_on(cls, part, false);
}

bool cls_tend(struct cls *cls)
{
    if (cls->making)
        go_on(cls, cls->making, true);
    return cls->making;
}
