/* SPDX-License-Identifier: Apache-2.0
 * cls_choose.c - which bytes of the key tell the masks of a partition apart best.
 *
 * Greedy: the byte that saves most candidates of a sample of the flows, then the one that saves
 * most of what is left.  Of each byte that some mask looks at there is a column with what the flows
 * of the sample have there, and a table that says what the bitmaps would be.
 *
 * Steps take some ten microseconds.  Flows and masks come and go in between: it is a guess. */
#include <errno.h>
#include <stdlib.h>

#include "cls/cls_int.h"

#define SAMPLES 8192u
#define TRIALS 1024u                 /* Samples that candidates are counted for. */
#define NARROW_BYTES 3u              /* With 64-bit bitmaps. */
#define GAIN 0.15                    /* Candidates that a byte must save: its cost. */
/* Samples that a step draws, and buckets that it looks at for them. */
#define DRAWN 64u
#define BUCKETS 512u

/* Drawing from one mask after another, a table for each byte, then round after round. */
enum stage { DRAW, TABULATE, COMPARE };

struct cls_choice {
    enum stage stage;
    uint32_t slot, bucket, quota;    /* Where it is drawn, and how many more there. */
    uint32_t byte;                   /* The next one in `at` for this stage. */
    uint32_t at_n, words;
    uint32_t n, step;                /* Samples; every step-th is tried. */
    uint32_t room;                   /* For so many samples. */
    uint32_t chosen_n, best_byte;
    double now, best;                /* Candidates a packet; with one more byte. */
    uint64_t random;
    uint16_t chosen[CLS_PRUNE];
    uint16_t at[KEY_SIZE];           /* Bytes of the key that are looked at. */
    uint16_t *slots;                 /* Of samples. */
    uint8_t *columns;                /* [at_n][room]; random where the mask is open. */
    _Atomic uint64_t *tables;        /* [at_n][256][words]. */
    uint64_t *maps;                  /* [TRIALS][words]: masks left after the bytes so far. */
};

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static uint32_t quota(const struct cls_part *part)
{
    return part->sub_count ? SAMPLES / part->sub_count : 0;
}

void cls_choice_free(struct cls_choice *c)
{
    if (!c)
        return;
    free(c->slots);
    free(c->columns);
    free((void *)c->tables);
    free(c->maps);
    free(c);
}

struct cls_choice *cls_choice_begin(const struct cls_part *part)
{
    const struct cls_view *view = atomic_load_explicit(&part->view, memory_order_relaxed);
    struct cls_choice *c = calloc(1, sizeof *c);

    if (!c)
        return NULL;
    for (uint32_t at = CLS_WORD_FIRST * 4; at < KEY_SIZE; at++) {
        if (view->mask.bytes[at])
            c->at[c->at_n++] = (uint16_t)at;
    }
    c->words = part->map_words;
    c->random = 0x9e3779b97f4a7c15ull;
    c->room = part->flows < SAMPLES ? part->flows : SAMPLES;
    c->quota = quota(part);
    c->slots = malloc((c->room + 1) * sizeof c->slots[0]);
    c->columns = malloc((size_t)c->room * c->at_n + 1);
    c->tables = malloc((size_t)256 * c->words * sizeof(uint64_t) * c->at_n + 1);
    c->maps = malloc((size_t)TRIALS * c->words * sizeof(uint64_t));
    if (!c->slots || !c->columns || !c->tables || !c->maps) {
        cls_choice_free(c);
        return NULL;
    }
    return c;
}

static void draw_flow(const struct cls *cls, struct cls_choice *c, const struct cls_sub *sub, uint32_t flow)
{
    struct key key;

    cls_unpack(cls, sub, flow, &key);
    for (int w = 0; w < KEY_WORDS; w++) {
        if (~sub->key_mask.words[w])
            key.words[w] |= next_random(&c->random) & ~sub->key_mask.words[w];
    }
    for (uint32_t k = 0; k < c->at_n; k++)
        c->columns[(size_t)k * c->room + c->n] = key.bytes[c->at[k]];
    c->slots[c->n++] = sub->slot;
    c->quota--;
}

/* Where a flow lies in its table is as good as random: the first are as good as any.  False: there
 * are no more. */
static bool draw(const struct cls *cls, const struct cls_part *part, struct cls_choice *c)
{
    const uint32_t end = c->n + DRAWN;

    for (uint32_t left = BUCKETS; left && c->n < end; left--) {
        const struct cls_sub *sub = c->slot < part->sub_room ? part->subs[c->slot] : NULL;
        const cls_table table = sub ? atomic_load_explicit(&sub->table, memory_order_relaxed) : 0;
        const struct cls_bucket *b = sub ? &cls_buckets(table)[c->bucket] : NULL;

        if (c->slot >= part->sub_room || c->n == c->room)
            return false;
        if (!sub || !c->quota || c->bucket > cls_bucket_mask(table)) {
            c->slot++;
            c->bucket = 0;
            c->quota = quota(part);
            continue;
        }
        c->bucket++;
        for (int j = 0; j < CLS_SLOTS && c->quota && c->n < c->room; j++) {
            if (atomic_load_explicit(&b->sig[j], memory_order_relaxed))
                draw_flow(cls, c, sub, atomic_load_explicit(&b->flow[j], memory_order_relaxed));
        }
    }
    return true;
}

/* What the bitmaps of a byte would be. */
static void tabulate(const struct cls_part *part, struct cls_choice *c, uint32_t k)
{
    _Atomic uint64_t *table = c->tables + (size_t)k * 256 * c->words;
    const uint8_t *column = c->columns + (size_t)k * c->room;

    memset((void *)table, 0, 256 * c->words * sizeof *table);
    for (uint32_t i = 0; i < c->n; i++) {
        const uint32_t slot = c->slots[i];
        const struct cls_sub *sub = part->subs[slot];

        if (sub && !(atomic_load_explicit(&table[column[i] * c->words + slot / 64], memory_order_relaxed) >> slot % 64 & 1)) {
            const uint8_t mask = sub->key_mask.bytes[c->at[k]];

            cls_prune_mark(table, c->words, slot, mask, column[i] & mask, true);
        }
    }
}

static const _Atomic uint64_t *row_of(const struct cls_choice *c, uint32_t k, uint32_t sample)
{
    return c->tables + ((size_t)k * 256 + c->columns[(size_t)k * c->room + sample]) * c->words;
}

static double candidates(const struct cls_choice *c, uint32_t k)
{
    uint64_t sum = 0, n = 0;

    for (uint32_t i = 0; i < c->n && n < TRIALS; i += c->step, n++) {
        const _Atomic uint64_t *row = row_of(c, k, i);

        for (uint32_t w = 0; w < c->words; w++)
            sum += (uint64_t)__builtin_popcountll(atomic_load_explicit(&row[w], memory_order_relaxed) & c->maps[n * c->words + w]);
    }
    return n ? (double)sum / (double)n : 0;
}

/* A round is over.  False: no byte is worth its cost, or there is none to choose any more. */
static bool take_best(struct cls_choice *c)
{
    uint32_t n = 0;

    if (c->best > c->now - GAIN)
        return false;
    for (uint32_t i = 0; i < c->n && n < TRIALS; i += c->step, n++) {
        const _Atomic uint64_t *row = row_of(c, c->best_byte, i);

        for (uint32_t w = 0; w < c->words; w++)
            c->maps[n * c->words + w] &= atomic_load_explicit(&row[w], memory_order_relaxed);
    }
    c->chosen[c->chosen_n++] = c->at[c->best_byte];
    c->now = c->best;
    c->byte = 0;
    return c->now > 1 && c->chosen_n < (c->words == 1 ? NARROW_BYTES : CLS_PRUNE);
}

bool cls_choice_step(const struct cls *cls, const struct cls_part *part, struct cls_choice *c)
{
    double left;

    switch (c->stage) {
    case DRAW:
        if (draw(cls, part, c))
            return true;
        c->step = c->n > TRIALS ? c->n / TRIALS : 1;
        c->now = c->best = part->sub_count;
        memset(c->maps, 0xff, (size_t)TRIALS * c->words * sizeof c->maps[0]);
        c->stage = TABULATE;
        return c->n && c->at_n && c->now > 1;
    case TABULATE:
        tabulate(part, c, c->byte++);
        if (c->byte == c->at_n) {
            c->byte = 0;
            c->stage = COMPARE;
        }
        return true;
    default:
        left = candidates(c, c->byte);
        if (left < c->best) {
            c->best = left;
            c->best_byte = c->byte;
        }
        return ++c->byte < c->at_n || take_best(c);
    }
}

uint32_t cls_choice_steps(const struct cls_choice *c)
{
    return c->room / DRAWN + c->at_n * (2 + (c->words == 1 ? NARROW_BYTES : CLS_PRUNE));
}

uint32_t cls_choice_bytes(const struct cls_choice *c, uint16_t bytes[CLS_PRUNE])
{
    memcpy(bytes, c->chosen, c->chosen_n * sizeof bytes[0]);
    return c->chosen_n;
}
