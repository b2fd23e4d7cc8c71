/* SPDX-License-Identifier: Apache-2.0
 * hash.h - keyed hash of keys: 32-byte chunks to 32 or 128 bits, random per start.
 *
 * A hash that outsiders can compute, or one that is linear (CRC32C, whatever its seed), lets them
 * choose packets and flows that collide.  Here each chunk goes through AES rounds under secret
 * round keys: three at least between any input bit and the result, so that a difference in the
 * input passes nine S-boxes before it could cancel out.  Machines without AES instructions get
 * SipHash-1-3.  All builds of a library on one machine give the same values.
 *
 * Threads: any; a key is not written after hash_seed. */
#ifndef UPCALL_HASH_H
#define UPCALL_HASH_H

#include <stdint.h>
#include <string.h>
#ifdef __AES__
#include <immintrin.h>
#endif

#define HASH_CHUNK 8                /* 32-bit words: 32 bytes. */

struct hash_key {
    uint64_t words[12];             /* Two whitening keys, then four round keys. */
} __attribute__((aligned(64)));

/* Draws a key.  errno of getrandom(2); ENOTSUP: built with AES, and the processor has none. */
int hash_seed(struct hash_key *);

#ifdef __AES__

static inline __m128i hash_round_key(const struct hash_key *key, unsigned int i)
{
    return _mm_load_si128((const __m128i *)key->words + i);
}

static inline __m128i hash_final(const struct hash_key *key, __m128i low, __m128i high)
{
    __m128i x = _mm_aesenc_si128(low, high);

    x = _mm_aesenc_si128(x, hash_round_key(key, 4));
    return _mm_aesenc_si128(x, hash_round_key(key, 5));
}

/* `chunks` of them; both halves run three rounds between one chunk and the next. */
static inline __m128i hash_state(const struct hash_key *key, const uint32_t *data, unsigned int chunks)
{
    const __m128i k2 = hash_round_key(key, 2), k3 = hash_round_key(key, 3);
    __m128i low = hash_round_key(key, 0), high = hash_round_key(key, 1);

    for (unsigned int i = 0;; i++) {
        low = _mm_aesenc_si128(_mm_xor_si128(low, _mm_loadu_si128((const __m128i *)(data + HASH_CHUNK * i))), k2);
        high = _mm_aesenc_si128(_mm_xor_si128(high, _mm_loadu_si128((const __m128i *)(data + HASH_CHUNK * i + 4))), k3);
        if (i + 1 >= chunks)
            return hash_final(key, low, high);
        low = _mm_aesenc_si128(_mm_aesenc_si128(low, k3), k2);
        high = _mm_aesenc_si128(_mm_aesenc_si128(high, k2), k3);
    }
}

static inline uint32_t hash_chunks(const struct hash_key *key, const uint32_t *data, unsigned int chunks)
{
    return (uint32_t)_mm_cvtsi128_si32(hash_state(key, data, chunks));
}

/* One chunk in four words: the same value as hash_chunks().  Words that were just stored are not
 * loaded again as vectors, which would wait for the stores. */
static inline uint32_t hash_words(const struct hash_key *key, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
    __m128i low = _mm_xor_si128(hash_round_key(key, 0), _mm_set_epi64x((int64_t)b, (int64_t)a));
    __m128i high = _mm_xor_si128(hash_round_key(key, 1), _mm_set_epi64x((int64_t)d, (int64_t)c));

    low = _mm_aesenc_si128(low, hash_round_key(key, 2));
    high = _mm_aesenc_si128(high, hash_round_key(key, 3));
    return (uint32_t)_mm_cvtsi128_si32(hash_final(key, low, high));
}

static inline void hash_128(const struct hash_key *key, const uint32_t *data, unsigned int chunks, uint64_t out[2])
{
    _mm_storeu_si128((__m128i *)out, hash_state(key, data, chunks));
}

#ifdef __VAES__
/* One chunk in a register: the same value as hash_chunks(). */
static inline uint32_t hash_chunk256(const struct hash_key *key, __m256i data)
{
    const __m256i *keys = (const __m256i *)key->words;
    __m256i x = _mm256_aesenc_epi128(_mm256_xor_si256(data, _mm256_load_si256(keys)), _mm256_load_si256(keys + 1));

    return (uint32_t)_mm_cvtsi128_si32(hash_final(key, _mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1)));
}
#endif

#else

static inline void hash_sip_round(uint64_t v[4])
{
#define HASH_ROTATE(x, n) ((x) << (n) | (x) >> (64 - (n)))
    v[0] += v[1];
    v[2] += v[3];
    v[1] = HASH_ROTATE(v[1], 13) ^ v[0];
    v[3] = HASH_ROTATE(v[3], 16) ^ v[2];
    v[0] = HASH_ROTATE(v[0], 32);
    v[2] += v[1];
    v[0] += v[3];
    v[1] = HASH_ROTATE(v[1], 17) ^ v[2];
    v[3] = HASH_ROTATE(v[3], 21) ^ v[0];
    v[2] = HASH_ROTATE(v[2], 32);
#undef HASH_ROTATE
}

static inline void hash_128(const struct hash_key *key, const uint32_t *data, unsigned int chunks, uint64_t out[2])
{
    uint64_t v[4] = { key->words[0] ^ 0x736f6d6570736575ull, key->words[1] ^ 0x646f72616e646f6dull ^ 0xee,
                      key->words[0] ^ 0x6c7967656e657261ull, key->words[1] ^ 0x7465646279746573ull };

    for (unsigned int i = 0; i < 4 * chunks; i++) {
        uint64_t word;

        memcpy(&word, data + 2 * i, sizeof word);
        v[3] ^= word;
        hash_sip_round(v);
        v[0] ^= word;
    }
    v[2] ^= 0xee;
    for (int i = 0; i < 3; i++)
        hash_sip_round(v);
    out[0] = v[0] ^ v[1] ^ v[2] ^ v[3];
    v[1] ^= 0xdd;
    for (int i = 0; i < 3; i++)
        hash_sip_round(v);
    out[1] = v[0] ^ v[1] ^ v[2] ^ v[3];
}

static inline uint32_t hash_chunks(const struct hash_key *key, const uint32_t *data, unsigned int chunks)
{
    uint64_t out[2];

    hash_128(key, data, chunks, out);
    return (uint32_t)out[0];
}

static inline uint32_t hash_words(const struct hash_key *key, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
    const uint64_t words[4] = { a, b, c, d };
    uint32_t data[HASH_CHUNK];

    memcpy(data, words, sizeof data);
    return hash_chunks(key, data, 1);
}

#endif
#endif
