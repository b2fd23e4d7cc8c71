/* SPDX-License-Identifier: Apache-2.0
 * cls_part.c - partitions and their subtables. */
#include <errno.h>
#include <stdlib.h>

#include "base/invariant.h"
#include "base/mem.h"
#include "cls/cls_int.h"

#define SUB_ROOM_FIRST 4u
#define NEAR_CHUNKS 2u
/* Buckets with each flow: half of the flows that are yet to come will do. */
#define GROW_STEP 4u

struct cls_part cls_part_gone;

static void free_object(void *object, void *arg)
{
    (void)arg;
    free(object);
}

struct cls_parts *cls_parts_create(uint32_t room)
{
    struct cls_parts *parts = calloc(1, sizeof *parts + room * sizeof parts->slots[0]);

    if (parts)
        parts->mask = room - 1;
    return parts;
}

static void put_part(struct cls_parts *parts, struct cls_part *part)
{
    uint64_t id = cls_part_id(part->in_port, part->recirc_id);

    for (uint32_t i = cls_part_hash(id);; i++) {
        struct cls_part_slot *slot = &parts->slots[i & parts->mask];
        struct cls_part *old = atomic_load_explicit(&slot->part, memory_order_relaxed);

        /* A slot whose partition was removed is only good for the same numbers: a reader may be
         * between its two loads. */
        if (old && atomic_load_explicit(&slot->id, memory_order_relaxed) != id)
            continue;
        if (!old)
            parts->used++;
        atomic_store_explicit(&slot->id, id, memory_order_relaxed);
        atomic_store_explicit(&slot->part, part, memory_order_release);
        return;
    }
}

/* Keeps the table at most half full; recirculation ids come and go, so the slots of removed ones
 * are left out. */
static int make_room(struct cls *cls)
{
    struct cls_parts *old = atomic_load_explicit(&cls->parts, memory_order_relaxed), *parts;
    uint32_t room = old->mask + 1;

    if (2 * (old->used + 1) <= room)
        return 0;
    while (4 * (cls->part_count + 1) > room)
        room *= 2;
    parts = cls_parts_create(room);
    if (!parts)
        return ENOMEM;
    for (uint32_t i = 0; i <= old->mask; i++) {
        struct cls_part *part = atomic_load_explicit(&old->slots[i].part, memory_order_relaxed);

        if (part && part != &cls_part_gone)
            put_part(parts, part);
    }
    atomic_store_explicit(&cls->parts, parts, memory_order_release);
    rcu_defer(cls->rcu, free_object, old, NULL);
    return 0;
}

struct cls_part *cls_part_get(struct cls *cls, uint32_t in_port, uint32_t recirc_id)
{
    struct cls_part *part = cls_part_find(cls, in_port, recirc_id);
    struct cls_view *view;

    if (part)
        return part;
    part = calloc(1, sizeof *part);
    if (!part)
        return NULL;
    part->in_port = in_port;
    part->recirc_id = recirc_id;
    part->map_words = 1;
    view = cls_view_create(part);
    if (!view || make_room(cls)) {
        free(view);
        free(part);
        return NULL;
    }
    cls_view_publish(cls, part, view);
    put_part(atomic_load_explicit(&cls->parts, memory_order_relaxed), part);
    cls->part_count++;
    return part;
}

static void give_back(struct cls *cls, cls_table table)
{
    ahead_forget(&cls->ahead, cls_buckets(table), cls_table_size(table));
    cls_table_free(table);
}

/* Of a table that nobody reads any more so much is given back at once: without huge pages Linux
 * takes 80 us for it, and 4 ms for the table of a million flows, while others want the mutex. */
#define PIECE ((size_t)2 << 20)

struct leaving {
    cls_table table;
    size_t given;
};

static void give_back_piece(void *object, void *arg)
{
    struct leaving *leaving = object;
    const size_t size = cls_table_size(leaving->table), from = leaving->given;

    if (from == size) {
        cls_table_free(leaving->table);
        free(leaving);
        return;
    }
    leaving->given += PIECE < size - from ? PIECE : size - from;
    mem_array_done(cls_buckets(leaving->table), size, from, leaving->given);
    rcu_defer(arg, give_back_piece, leaving, arg);
}

/* For callbacks of RCU: the rest comes by later ones. */
static void begin_giving_back(struct cls *cls, cls_table table)
{
    struct leaving *leaving = cls_table_size(table) > PIECE ? malloc(sizeof *leaving) : NULL;

    if (!leaving) {
        give_back(cls, table);
        return;
    }
    *leaving = (struct leaving){ .table = table };
    ahead_forget(&cls->ahead, cls_buckets(table), cls_table_size(table));
    give_back_piece(leaving, cls->rcu);
}

static void free_sub(struct cls *cls, struct cls_sub *sub)
{
    if (sub->table)
        give_back(cls, sub->table);
    if (sub->next)
        give_back(cls, sub->next);
    free(sub->counts);
    free(sub->next_counts);
    free(sub);
}

static void free_removed_sub(void *object, void *arg)
{
    struct cls_sub *sub = object;

    begin_giving_back(arg, sub->table);
    if (sub->next)
        begin_giving_back(arg, sub->next);
    sub->table = sub->next = 0;
    free_sub(arg, sub);
}

void cls_part_free(struct cls *cls, struct cls_part *part)
{
    cls_prune_abandon(part);
    for (uint32_t i = 0; i < part->sub_room; i++) {
        if (part->subs[i])
            free_sub(cls, part->subs[i]);
    }
    for (uint32_t i = 0; i < part->prune_n; i++)
        free((void *)part->prune[i]);
    free(atomic_load_explicit(&part->view, memory_order_relaxed));
    free(part->subs);
    free(part->mask_hashes);
    free(part);
}

static void free_part(void *object, void *arg)
{
    struct cls_part *part = object;

    for (uint32_t i = 0; i < part->sub_room; i++) {
        if (part->subs[i])
            free_removed_sub(part->subs[i], arg);
        part->subs[i] = NULL;
    }
    cls_part_free(arg, part);
}

/* Subtables come or go: every struct cls_place that was found before says nothing any more. */
static void count_subs(struct cls *cls, int n)
{
    cls->sub_count += (uint32_t)n;
    cls->shape++;
}

void cls_part_remove(struct cls *cls, struct cls_part *part)
{
    struct cls_parts *parts = atomic_load_explicit(&cls->parts, memory_order_relaxed);
    uint64_t id = cls_part_id(part->in_port, part->recirc_id);

    INVARIANT(!part->flows);
    for (uint32_t i = cls_part_hash(id);; i++) {
        struct cls_part_slot *slot = &parts->slots[i & parts->mask];

        if (atomic_load_explicit(&slot->part, memory_order_relaxed) == part) {
            atomic_store_explicit(&slot->part, &cls_part_gone, memory_order_release);
            break;
        }
    }
    if (cls->making == part)
        cls->making = NULL;
    cls->part_count--;
    count_subs(cls, -(int)part->sub_count);
    rcu_defer(cls->rcu, free_part, part, cls);
}

static uint64_t hash_mask(const struct cls *cls, const struct key *mask)
{
    uint64_t hash[2];

    hash_128(&cls->key, (const uint32_t *)mask->words, KEY_SIZE / 32, hash);
    return hash[0];
}

/* What a subtable compares: not the port and the recirculation id, which choose the partition. */
static void key_mask_of(const struct key *mask, struct key *key_mask)
{
    *key_mask = *mask;
    key_mask->base.in_port = 0;
    key_mask->base.recirc_id = 0;
}

struct cls_sub *cls_sub_find(const struct cls *cls, struct cls_part *part, const struct key *mask)
{
    struct cls_sub *last = part->sub_last < part->sub_room ? part->subs[part->sub_last] : NULL;
    struct key key_mask;
    uint64_t hash;

    /* All but in_port and recirc_id, the first word. */
    if (last && !memcmp(last->key_mask.words + 1, mask->words + 1, sizeof *mask - sizeof mask->words[0]))
        return last;
    key_mask_of(mask, &key_mask);
    hash = hash_mask(cls, &key_mask);

    for (uint32_t i = 0; i < part->sub_room; i++) {
        if (part->mask_hashes[i] == hash && part->subs[i] && !memcmp(&part->subs[i]->key_mask, &key_mask, sizeof key_mask)) {
            part->sub_last = i;
            return part->subs[i];
        }
    }
    return NULL;
}

/* Which words of a key the mask looks at, and where those go that do not fit an entry. */
static int lay_out(struct cls *cls, struct cls_sub *sub)
{
    const uint32_t *words = (const uint32_t *)sub->key_mask.words;
    uint32_t n = 0, last = 0;

    for (uint32_t w = CLS_WORD_FIRST; w < CLS_KEY_WORDS; w++) {
        if (!words[w])
            continue;
        if (n < HASH_CHUNK) {
            sub->at[n] = w;
            sub->mask[n] = words[w];
            last = w;
        } else {
            sub->wide_at[n - HASH_CHUNK] = w;
            sub->wide_mask[n - HASH_CHUNK] = words[w];
        }
        n++;
    }
    sub->span = last < 16 ? CLS_SPAN_0 : last < 32 ? CLS_SPAN_01 : CLS_SPAN_ALL;
    sub->chunks = (uint16_t)(n ? (n + HASH_CHUNK - 1) / HASH_CHUNK : 1);
    if (sub->chunks > 1) {
        uint32_t chunks = sub->chunks - 1u <= NEAR_CHUNKS ? NEAR_CHUNKS : CLS_CHUNKS - 1;
        uint8_t **spill = chunks == NEAR_CHUNKS ? &cls->spill_near : &cls->spill_far;

        sub->stride = chunks * HASH_CHUNK * 4;
        if (!*spill)
            *spill = mem_map((size_t)sub->stride * CLS_FLOWS_MAX);
        sub->spill = *spill;
        return *spill ? 0 : ENOMEM;
    }
    return 0;
}

static struct cls_sub *sub_create(struct cls *cls, const struct key *mask)
{
    struct cls_sub *sub = aligned_alloc(64, sizeof *sub);

    if (!sub)
        return NULL;
    memset(sub, 0, sizeof *sub);
    key_mask_of(mask, &sub->key_mask);
    sub->table = cls_table_create(1);
    if (!sub->table || lay_out(cls, sub)) {
        free_sub(cls, sub);
        return NULL;
    }
    return sub;
}

/* The lowest free slot, so that bitmaps stay short.  CLS_MASKS_MAX: none. */
static uint32_t free_slot(struct cls_part *part)
{
    uint32_t room = part->sub_room;

    for (uint32_t i = 0; i < room; i++) {
        if (!part->subs[i])
            return i;
    }
    if (room < CLS_MASKS_MAX) {
        uint32_t more = room ? 2 * room : SUB_ROOM_FIRST;
        struct cls_sub **subs = realloc(part->subs, more * sizeof *subs);
        uint64_t *hashes;

        if (!subs)
            return CLS_MASKS_MAX;
        part->subs = subs;
        hashes = realloc(part->mask_hashes, more * sizeof *hashes);
        if (!hashes)
            return CLS_MASKS_MAX;
        part->mask_hashes = hashes;
        memset(subs + room, 0, (more - room) * sizeof *subs);
        memset(hashes + room, 0, (more - room) * sizeof *hashes);
        part->sub_room = more;
    }
    return room;
}

int cls_sub_add(struct cls *cls, struct cls_part *part, const struct key *mask, struct cls_sub **out)
{
    uint32_t slot = free_slot(part);
    struct cls_view *view;
    struct cls_sub *sub;

    if (slot == CLS_MASKS_MAX)
        return part->sub_count == CLS_MASKS_MAX ? ENOSPC : ENOMEM;
    view = cls_view_create(part);
    sub = view ? sub_create(cls, mask) : NULL;
    if (!sub || cls_prune_prepare(part, sub, slot)) {
        if (sub)
            free_sub(cls, sub);
        free(view);
        return ENOMEM;
    }
    sub->part = part;
    sub->slot = (uint16_t)slot;
    part->subs[slot] = sub;
    part->mask_hashes[slot] = hash_mask(cls, &sub->key_mask);
    part->sub_count++;
    part->buckets += cls_bucket_mask(sub->table) + 1;
    count_subs(cls, 1);
    cls_view_publish(cls, part, view);
    *out = sub;
    return 0;
}

void cls_sub_remove(struct cls *cls, struct cls_sub *sub)
{
    struct cls_part *part = sub->part;
    struct cls_view *view = cls_view_create(part);

    INVARIANT(!sub->flows && part->subs[sub->slot] == sub);
    if (!view) /* It stays, empty, and may serve again. */
        return;
    part->subs[sub->slot] = NULL;
    part->sub_count--;
    part->buckets -= cls_bucket_mask(sub->table) + 1;
    count_subs(cls, -1);
    cls_view_publish(cls, part, view);
    rcu_defer(cls->rcu, free_removed_sub, sub, cls);
}

static void free_table(void *object, void *arg)
{
    begin_giving_back(arg, (uintptr_t)object);
}

/* A table that is filling is copied to a larger one bit by bit, by those who add flows: if the one
 * who finds it full copied all of it, 10 million flows would hold up every other call for a tenth
 * of a second. */
int cls_sub_make_room(struct cls *cls, struct cls_sub *sub)
{
    const cls_table table = atomic_load_explicit(&sub->table, memory_order_relaxed);
    const bool full = cls_table_full(table, sub->flows);

    if (!sub->next) {
        if (!full && !cls_table_filling(table, sub->flows))
            return 0;
        sub->next = cls_table_larger(table);
        sub->copied = 0;
        if (!sub->next)
            return full ? ENOMEM : 0;
        ahead_want(&cls->ahead, cls_buckets(sub->next), cls_table_size(sub->next));
    }
    if (!cls_table_late(table, sub->flows) && ahead_wants(&cls->ahead, cls_buckets(sub->next), cls_table_size(sub->next)))
        return 0; /* Its memory comes first. */
    if (!cls_table_copy(table, sub->next, &sub->copied, full ? UINT32_MAX : GROW_STEP))
        return 0;
    sub->part->buckets += cls_bucket_mask(sub->next) - cls_bucket_mask(table);
    atomic_store_explicit(&sub->table, sub->next, memory_order_release);
    sub->next = 0;
    rcu_defer(cls->rcu, free_table, (void *)table, cls);
    return 0;
}

void cls_sub_put_flow(struct cls_sub *sub, uint32_t sig, uint32_t flow)
{
    const uint32_t bucket = cls_table_add(atomic_load_explicit(&sub->table, memory_order_relaxed), sig, flow);

    if (sub->next && bucket < sub->copied)
        cls_table_add(sub->next, sig, flow);
}

void cls_sub_take_flow(struct cls_sub *sub, uint32_t sig, uint32_t flow)
{
    uint32_t bucket;

    if (cls_table_take(atomic_load_explicit(&sub->table, memory_order_relaxed), sig, flow, &bucket) && sub->next && bucket < sub->copied)
        cls_table_remove(sub->next, sig, flow);
}
