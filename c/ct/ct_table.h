/* SPDX-License-Identifier: Apache-2.0
 * ct_table.h - the first look into the hash table, inline because every packet takes it.
 *
 * Threads: as ct_run. */
#ifndef UPCALL_CT_TABLE_H
#define UPCALL_CT_TABLE_H

#if defined(__AVX2__) && !defined(__SANITIZE_THREAD__)
#include <immintrin.h>
#endif

#include "ct/ct_int.h"

static inline uint32_t ct_shard_of(uint32_t hash)
{
    return hash >> (32 - CT_SHARD_BITS);
}

static inline struct ct_bucket *ct_array_of(uintptr_t word, uint32_t *mask)
{
    *mask = (1u << (word & 63)) - 1;
    return (struct ct_bucket *)(word & ~(uintptr_t)63);
}

/* Where the entries of a hash begin; NULL: the shard is empty. */
static inline const struct ct_bucket *ct_bucket_of(const struct ct *ct, uint32_t hash)
{
    const uintptr_t word = atomic_load_explicit(&ct->shards[ct_shard_of(hash)], memory_order_acquire);
    uint32_t mask;
    struct ct_bucket *array = ct_array_of(word, &mask);

    return CT_LIKELY(word) ? &array[hash & mask] : NULL;
}

/* Bits of the bucket's entries, two apart, whose hash is this one. */
static inline uint32_t ct_matches(const struct ct_bucket *bucket, uint32_t hash)
{
#if defined(__AVX512F__) && !defined(__SANITIZE_THREAD__)
    return _mm512_mask_cmpeq_epi32_mask(0x5554, _mm512_load_si512(bucket), _mm512_set1_epi32((int)hash)) >> 2;
#elif defined(__AVX2__) && !defined(__SANITIZE_THREAD__)
    const __m256i *half = (const __m256i *)bucket, wanted = _mm256_set1_epi32((int)hash);
    const int low = _mm256_movemask_ps(_mm256_castsi256_ps(_mm256_cmpeq_epi32(_mm256_load_si256(half), wanted)));
    const int high = _mm256_movemask_ps(_mm256_castsi256_ps(_mm256_cmpeq_epi32(_mm256_load_si256(half + 1), wanted)));

    return (uint32_t)(low | high << 8) >> 2 & 0x1555;
#else
    uint32_t found = 0;

    for (unsigned int i = 0; i < CT_SLOTS; i++)
        found |= (uint32_t)((uint32_t)atomic_load_explicit(&bucket->entries[i], memory_order_relaxed) == hash) << 2 * i;
    return found;
#endif
}

/* Whether a bucket has no entry of a hash, and none is behind it. */
static inline bool ct_ends_here(const struct ct_bucket *bucket, uint32_t hash)
{
    return !atomic_load_explicit(&bucket->overflow, memory_order_acquire) && !ct_matches(bucket, hash);
}

/* The record of an entry; CT_NONE if it is being taken out. */
static inline uint32_t ct_entry_id(const struct ct_bucket *bucket, uint32_t slot)
{
    return (uint32_t)(atomic_load_explicit(&bucket->entries[slot], memory_order_acquire) >> 32) - 1;
}

/* The number of a connection in this bucket that may be the one; CT_NONE: look with ct_find. */
static inline uint32_t ct_candidate(const struct ct_bucket *bucket, uint32_t hash)
{
    const uint32_t found = ct_matches(bucket, hash);

    return found ? ct_entry_id(bucket, (uint32_t)__builtin_ctz(found) / 2) : CT_NONE;
}

#endif
