/* SPDX-License-Identifier: Apache-2.0
 * cls_table.c - buckets of a subtable.
 *
 * Linear probing over one-line buckets, half full at most.  The low bits of the signature choose
 * the bucket, so that a table can grow without looking at its flows: 10 ns a flow instead of a
 * cache miss.  With 2^20 buckets twelve bits still tell flows of a bucket apart; a false match
 * costs one comparison. */
#include <stdlib.h>

#include "base/mem.h"
#include "cls/cls_int.h"

static cls_table create(uint32_t log)
{
    void *p = mem_array(sizeof(struct cls_bucket) << log);

    return p ? (uintptr_t)p | log : 0;
}

cls_table cls_table_create(uint32_t flows)
{
    uint32_t log = 0;

    while (((uint64_t)CLS_SLOTS << log) < 2 * (uint64_t)flows)
        log++;
    return create(log);
}

size_t cls_table_size(cls_table table)
{
    return sizeof(struct cls_bucket) << (table & 63);
}

void cls_table_free(cls_table table)
{
    mem_array_free(cls_buckets(table), cls_table_size(table));
}

bool cls_table_full(cls_table table, uint32_t flows)
{
    return 2 * ((uint64_t)flows + 1) > (uint64_t)CLS_SLOTS << (table & 63);
}

bool cls_table_filling(cls_table table, uint32_t flows)
{
    return 8 * ((uint64_t)flows + 1) > 3 * ((uint64_t)CLS_SLOTS << (table & 63));
}

bool cls_table_late(cls_table table, uint32_t flows)
{
    return 16 * ((uint64_t)flows + 1) > 7 * ((uint64_t)CLS_SLOTS << (table & 63));
}

uint32_t cls_table_add(cls_table table, uint32_t sig, uint32_t flow)
{
    const uint32_t mask = cls_bucket_mask(table);

    for (uint32_t i = sig;; i++) {
        struct cls_bucket *b = &cls_buckets(table)[i & mask];

        for (int j = 0; j < CLS_SLOTS; j++) {
            if (!atomic_load_explicit(&b->sig[j], memory_order_relaxed)) {
                /* A reader that sees the signature sees the index, and through it the entry. */
                atomic_store_explicit(&b->flow[j], flow, memory_order_release);
                atomic_store_explicit(&b->sig[j], sig, memory_order_release);
                return i & mask;
            }
        }
        atomic_store_explicit(&b->passed, atomic_load_explicit(&b->passed, memory_order_relaxed) + 1,
                              memory_order_release);
    }
}

static bool remove_from(struct cls_bucket *b, uint32_t sig, uint32_t flow)
{
    for (int j = 0; j < CLS_SLOTS; j++) {
        if (atomic_load_explicit(&b->sig[j], memory_order_relaxed) == sig
            && atomic_load_explicit(&b->flow[j], memory_order_relaxed) == flow) {
            atomic_store_explicit(&b->sig[j], 0, memory_order_release);
            return true;
        }
    }
    return false;
}

bool cls_table_take(cls_table table, uint32_t sig, uint32_t flow, uint32_t *bucket)
{
    uint32_t mask = cls_bucket_mask(table), i = sig;
    struct cls_bucket *b = &cls_buckets(table)[i & mask];

    while (!remove_from(b, sig, flow)) {
        if (!atomic_load_explicit(&b->passed, memory_order_relaxed) || i - sig > mask)
            return false;
        b = &cls_buckets(table)[++i & mask];
    }
    *bucket = i & mask;
    for (uint32_t k = sig; k != i; k++) {
        b = &cls_buckets(table)[k & mask];
        atomic_store_explicit(&b->passed, atomic_load_explicit(&b->passed, memory_order_relaxed) - 1,
                              memory_order_release);
    }
    return true;
}

cls_table cls_table_larger(cls_table table)
{
    return create((uint32_t)(table & 63) + 1);
}

bool cls_table_copy(cls_table from, cls_table to, uint32_t *copied, uint32_t most)
{
    const uint32_t last = cls_bucket_mask(from);

    for (; most && *copied <= last; most--, (*copied)++) {
        struct cls_bucket *b = &cls_buckets(from)[*copied];

        for (int j = 0; j < CLS_SLOTS; j++) {
            uint32_t sig = atomic_load_explicit(&b->sig[j], memory_order_relaxed);

            if (sig)
                cls_table_add(to, sig, atomic_load_explicit(&b->flow[j], memory_order_relaxed));
        }
    }
    return *copied > last;
}
