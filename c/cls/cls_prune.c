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

#define SAMPLES 8192u
#define TRIALS 1024u
#define NARROW_BYTES 3u              /* With 64-bit bitmaps. */
#define GAIN 0.15                    /* Candidates that a byte must save: its cost. */

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

/* Sets or clears the bit of `slot` for every value that is `value` under `mask`. */
static void mark(_Atomic uint64_t *map, uint32_t words, uint32_t slot, uint8_t mask, uint8_t value, bool set)
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

void cls_prune_add(struct cls_part *part, struct cls_sub *sub, const struct key *masked)
{
    for (uint32_t i = 0; i < part->prune_n; i++) {
        uint16_t at = part->prune_at[i];

        if (!sub->counts[i][masked->bytes[at]]++)
            mark(part->prune[i], part->map_words, sub->slot, sub->key_mask.bytes[at], masked->bytes[at], true);
    }
}

void cls_prune_remove(struct cls_part *part, struct cls_sub *sub, const struct key *masked)
{
    for (uint32_t i = 0; i < part->prune_n; i++) {
        uint16_t at = part->prune_at[i];

        if (!--sub->counts[i][masked->bytes[at]])
            mark(part->prune[i], part->map_words, sub->slot, sub->key_mask.bytes[at], masked->bytes[at], false);
    }
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

int cls_prune_prepare(struct cls_part *part, struct cls_sub *sub, uint32_t slot)
{
    if (part->prune_n) {
        sub->counts = calloc(part->prune_n, sizeof sub->counts[0]);
        if (!sub->counts)
            return ENOMEM;
    }
    if (slot < 64 || part->map_words > 1)
        return 0;
    return widen(part);
}

/* A flow of the sample, as a packet that hits it might look: random where the mask is open. */
struct sample {
    struct key key;
    const struct cls_sub *sub;
    uint64_t map[CLS_MAP_WORDS];     /* Masks left after the bytes chosen so far. */
};

struct choice {
    const struct cls *cls;
    const struct cls_part *part;
    struct sample *samples;
    uint32_t n, step;                /* Every step-th sample is tried. */
    uint64_t random;
    uint64_t table[256][CLS_MAP_WORDS];
};

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static void draw_sub(struct choice *c, const struct cls_sub *sub, uint32_t quota)
{
    cls_table table = atomic_load_explicit(&sub->table, memory_order_relaxed);
    uint32_t step = sub->flows > quota ? sub->flows / quota : 1, skip = 0;

    for (uint32_t i = 0; i <= cls_bucket_mask(table); i++) {
        const struct cls_bucket *b = &cls_buckets(table)[i];

        for (int j = 0; j < CLS_SLOTS; j++) {
            struct sample *s = &c->samples[c->n];

            if (!atomic_load_explicit(&b->sig[j], memory_order_relaxed) || skip++ % step || c->n == SAMPLES)
                continue;
            c->n++;
            cls_unpack(c->cls, sub, atomic_load_explicit(&b->flow[j], memory_order_relaxed), &s->key);
            for (int w = 0; w < KEY_WORDS; w++)
                s->key.words[w] |= next_random(&c->random) & ~sub->key_mask.words[w];
            memset(s->map, 0xff, sizeof s->map);
            s->sub = sub;
        }
    }
}

/* What the bitmaps of a byte would be. */
static void tabulate(struct choice *c, uint32_t at)
{
    memset(c->table, 0, sizeof c->table);
    for (uint32_t i = 0; i < c->n; i++) {
        const struct sample *s = &c->samples[i];
        uint8_t mask = s->sub->key_mask.bytes[at];

        if (!(c->table[s->key.bytes[at]][s->sub->slot / 64] >> (s->sub->slot % 64) & 1))
            mark((_Atomic uint64_t *)c->table, CLS_MAP_WORDS, s->sub->slot, mask, s->key.bytes[at] & mask, true);
    }
}

static double candidates(const struct choice *c, uint32_t at)
{
    uint64_t sum = 0, n = 0;

    for (uint32_t i = 0; i < c->n; i += c->step, n++) {
        const struct sample *s = &c->samples[i];
        const uint64_t *row = c->table[s->key.bytes[at]];

        for (uint32_t w = 0; w < c->part->map_words; w++)
            sum += (uint64_t)__builtin_popcountll(row[w] & s->map[w]);
    }
    return n ? (double)sum / (double)n : 0;
}

/* Greedy: the byte that saves most, then the one that saves most of what is left ... */
static uint32_t choose(struct choice *c, const struct key *mask, uint16_t *bytes)
{
    uint32_t most = c->part->map_words == 1 ? NARROW_BYTES : CLS_PRUNE, n = 0;
    double now = c->part->sub_count;

    c->step = c->n > TRIALS ? c->n / TRIALS : 1;
    while (n < most && now > 1) {
        double best = now;

        for (uint32_t at = CLS_WORD_FIRST * 4; at < KEY_SIZE; at++) {
            double left;

            if (!mask->bytes[at])
                continue;
            tabulate(c, at);
            left = candidates(c, at);
            if (left < best) {
                best = left;
                bytes[n] = (uint16_t)at;
            }
        }
        if (best > now - GAIN)
            break;
        tabulate(c, bytes[n]);
        for (uint32_t i = 0; i < c->n; i++) {
            struct sample *s = &c->samples[i];

            for (uint32_t w = 0; w < CLS_MAP_WORDS; w++)
                s->map[w] &= c->table[s->key.bytes[bytes[n]]][w];
        }
        now = best;
        n++;
    }
    return n;
}

/* Bitmaps and counts for other bytes, from all flows. */
static void apply(struct cls *cls, struct cls_part *part, uint32_t n, const uint16_t *bytes)
{
    struct cls_view *view = cls_view_create(part);
    uint32_t (**counts)[256] = calloc(part->sub_room, sizeof *counts);
    _Atomic uint64_t *maps[CLS_PRUNE] = { NULL };
    bool good = view && counts;

    for (uint32_t i = 0; good && i < n; i++)
        good = (maps[i] = create_map(part->map_words)) != NULL;
    for (uint32_t i = 0; good && n && i < part->sub_room; i++)
        good = !part->subs[i] || (counts[i] = calloc(n, sizeof counts[i][0])) != NULL;
    if (!good) {
        for (uint32_t i = 0; counts && i < part->sub_room; i++)
            free(counts[i]);
        for (uint32_t i = 0; i < n; i++)
            free((void *)maps[i]);
        free(counts);
        free(view);
        return;
    }
    part->prune_n = n;
    memcpy(part->prune_at, bytes, n * sizeof bytes[0]);
    memcpy(part->prune, maps, n * sizeof maps[0]);
    for (uint32_t i = 0; i < part->sub_room; i++) {
        struct cls_sub *sub = part->subs[i];
        cls_table table;

        if (!sub)
            continue;
        free(sub->counts);
        sub->counts = counts[i];
        table = atomic_load_explicit(&sub->table, memory_order_relaxed);
        for (uint32_t k = 0; k <= cls_bucket_mask(table); k++) {
            const struct cls_bucket *b = &cls_buckets(table)[k];

            for (int j = 0; j < CLS_SLOTS; j++) {
                struct key masked;

                if (!atomic_load_explicit(&b->sig[j], memory_order_relaxed))
                    continue;
                cls_unpack(cls, sub, atomic_load_explicit(&b->flow[j], memory_order_relaxed), &masked);
                cls_prune_add(part, sub, &masked);
            }
        }
    }
    free(counts);
    cls_view_publish(cls, part, view);
}

void cls_prune_review(struct cls *cls, struct cls_part *part)
{
    const struct cls_view *view = atomic_load_explicit(&part->view, memory_order_relaxed);
    uint16_t bytes[CLS_PRUNE];
    struct choice *c;
    uint32_t n = 0;

    if (part->sub_count < 2 && !part->prune_n)
        return;
    if (part->sub_count < part->chosen_subs + (part->chosen_subs + 1) / 2
        && part->flows < part->chosen_flows + part->chosen_flows / 2 + 8 && part->flows > part->chosen_flows / 4)
        return;
    part->chosen_subs = part->sub_count;
    part->chosen_flows = part->flows;
    c = calloc(1, sizeof *c);
    if (c)
        c->samples = malloc(SAMPLES * sizeof c->samples[0]);
    if (c && c->samples) {
        c->cls = cls;
        c->part = part;
        c->random = 0x9e3779b97f4a7c15ull;
        for (uint32_t i = 0; i < part->sub_room; i++) {
            if (part->subs[i])
                draw_sub(c, part->subs[i], SAMPLES / part->sub_count);
        }
        n = choose(c, &view->mask, bytes);
        if (n != part->prune_n || memcmp(bytes, part->prune_at, n * sizeof bytes[0]))
            apply(cls, part, n, bytes);
        free(c->samples);
    }
    free(c);
}
