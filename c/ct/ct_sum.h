/* SPDX-License-Identifier: Apache-2.0
 * ct_sum.h - sums of what checksums cover, inline: every packet is verified.
 *
 * Threads: any; no state. */
#ifndef UPCALL_CT_SUM_H
#define UPCALL_CT_SUM_H

#include <rte_mbuf_core.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#if defined(__AVX2__) && !defined(__SANITIZE_THREAD__)
#include <immintrin.h>
#endif
#if defined(__AVX512BW__) && defined(__AVX512VL__) && defined(__BMI2__) && !defined(__SANITIZE_THREAD__)
#define CT_SUM_WIDE 1
#endif

#include "ct/ct_int.h"

/* What is to be completed further inside belongs to what an outer checksum covers: it cannot be
 * checked before. */
#define CT_L4_PENDING (RTE_MBUF_F_TX_L4_MASK | RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_UDP_SEG)

static inline uint16_t ct_load16(const void *at)
{
    uint16_t x;

    memcpy(&x, at, sizeof x);
    return x;
}

static inline uint32_t ct_load32(const void *at)
{
    uint32_t x;

    memcpy(&x, at, sizeof x);
    return x;
}

static inline uint64_t ct_load64(const void *at)
{
    uint64_t x;

    memcpy(&x, at, sizeof x);
    return x;
}

/* One's complement sum of two halves of a word, not folded. */
static inline uint64_t ct_sum64(uint64_t word)
{
    return (uint32_t)word + (word >> 32);
}

/* ct_sum() is csum_sum() of eight bytes or more.  No others are read. */
#ifdef CT_SUM_WIDE

/* 64 bytes at a time. */
static inline uint64_t ct_sum(const uint8_t *at, uint32_t size)
{
    const __m512i low = _mm512_set1_epi64(UINT32_MAX);
    __m512i sum = _mm512_setzero_si512();
    __m512i x;

    for (; size > 64; at += 64, size -= 64) {
        x = _mm512_loadu_si512(at);
        sum = _mm512_add_epi64(sum, _mm512_add_epi64(_mm512_and_si512(x, low), _mm512_srli_epi64(x, 32)));
    }
    x = _mm512_maskz_loadu_epi8(_bzhi_u64(~0ull, size), at);
    sum = _mm512_add_epi64(sum, _mm512_add_epi64(_mm512_and_si512(x, low), _mm512_srli_epi64(x, 32)));
    return (uint64_t)_mm512_reduce_add_epi64(sum);
}

#else

/* Of 32 bytes at a time; the compiler makes vectors of it. */
static inline uint64_t ct_sum_long(const uint8_t **at, uint32_t *size)
{
    uint64_t sums[4] = { 0 }, words[4];

    for (; *size >= sizeof words; *at += sizeof words, *size -= (uint32_t)sizeof words) {
        memcpy(words, *at, sizeof words);
        for (int i = 0; i < 4; i++)
            sums[i] += ct_sum64(words[i]);
    }
    return sums[0] + sums[1] + sums[2] + sums[3];
}

static inline uint64_t ct_sum(const uint8_t *at, uint32_t size)
{
    uint64_t sum = 0, high = 0;

    if (size > 64)
        high = ct_sum_long(&at, &size);
    for (; size >= 8; at += 8, size -= 8) {
        const uint64_t word = ct_load64(at);

        sum += word;
        sum += sum < word; /* The carry comes in again at the end. */
    }
    /* What is left is the end of the last eight bytes. */
    return ct_sum64(sum) + high + (ct_load64(at + size - 8) >> 8 >> (56 - 8 * size));
}

#endif

/* --- Bursts ----------------------------------------------------------------------------------- */

/* Whether a sum of all that a checksum covers, and of itself, is right: its folds are ones, and so
 * it is a multiple of 65,535.  A multiple of an odd number is one if its product with the inverse
 * of that number is no more than the largest quotient.  The sum of no packet is 0. */
static inline bool ct_sum_right(uint64_t sum)
{
    const uint64_t most = UINT64_MAX / 65535;

    return sum * -most <= most;
}

#if defined(__AVX2__) && !defined(__SANITIZE_THREAD__)

/* Sums of IPv4 headers without options and of what they carry, of the packets of a burst: first of
 * each, in parts; then all parts are put together at once. */
struct ct_sums {
    /* Four parts, of words less 32,768 each, for either sum. */
    __m256i parts[CT_BURST];
    /* What makes up for that, and is not in the packet. */
    uint32_t rest[CT_BURST][2] __attribute__((aligned(64)));
};

/* Fewer bytes in layer 4 are summed by other means.  No byte behind them is read. */
#define CT_SUMS_LEAST 12u

/* `size`: bytes of layer 4; `more`: what of its pseudo header is not in the IP header. */
static inline void ct_sums_put(struct ct_sums *sums, uint32_t i, const uint8_t *ip, uint32_t size, uint32_t more)
{
    static const int16_t weights[32] __attribute__((aligned(64))) = { [16] = 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1 };
    const __m256i flip = _mm256_set1_epi16(INT16_MIN), head = _mm256_xor_si256(_mm256_loadu_si256((const void *)ip), flip);
    /* The header is ten words; addresses and the first bytes behind are ten as well. */
    const __m256i l3 = _mm256_madd_epi16(head, _mm256_setr_epi16(1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0));
    __m256i l4 = _mm256_madd_epi16(head, _mm256_setr_epi16(0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1)), tail;
    const uint32_t even = (size - CT_SUMS_LEAST) & ~1u;
    const uint8_t *at = ip + 32, *end = at + even;

    for (; CT_UNLIKELY(end - at >= 32); at += 32)
        l4 = _mm256_add_epi32(l4, _mm256_madd_epi16(_mm256_xor_si256(_mm256_loadu_si256((const void *)at), flip), _mm256_set1_epi16(1)));
    /* The last 32 bytes, of which the first have been summed. */
    tail = _mm256_loadu_si256((const void *)((const uint8_t *)weights + (end - at)));
    l4 = _mm256_add_epi32(l4, _mm256_madd_epi16(_mm256_xor_si256(_mm256_loadu_si256((const void *)(end - 32)), flip), tail));
    sums->parts[i] = _mm256_hadd_epi32(l3, l4);
    sums->rest[i][0] = 10u * 32768;
    sums->rest[i][1] = 10u * 32768 + even / 2 * 32768 + more + (ip[19 + size] & -(size & 1));
}

/* Bits of four packets of which both sums are right. */
static inline uint32_t ct_sums_right(const struct ct_sums *sums, uint32_t i)
{
    const __m256i a = _mm256_hadd_epi32(sums->parts[i], sums->parts[i + 1]), b = _mm256_hadd_epi32(sums->parts[i + 2], sums->parts[i + 3]);
    const __m256i most = _mm256_set1_epi32(UINT32_MAX / 65535);
    __m256i x = _mm256_add_epi32(_mm256_permute2x128_si256(a, b, 0x20), _mm256_permute2x128_si256(a, b, 0x31));

    x = _mm256_add_epi32(x, _mm256_load_si256((const void *)sums->rest[i]));
    x = _mm256_mullo_epi32(x, _mm256_set1_epi32(-(int32_t)(UINT32_MAX / 65535)));
    x = _mm256_cmpeq_epi32(_mm256_min_epu32(x, most), x);
    x = _mm256_and_si256(x, _mm256_shuffle_epi32(x, 0xb1));
    return (uint32_t)_mm256_movemask_pd(_mm256_castsi256_pd(x));
}

#else

struct ct_sums {
    bool right[CT_BURST];
};

#define CT_SUMS_LEAST 8u

static inline void ct_sums_put(struct ct_sums *sums, uint32_t i, const uint8_t *ip, uint32_t size, uint32_t more)
{
    const uint64_t addresses = ct_sum64(ct_load64(ip + 12)), before = ct_sum64(ct_load64(ip)) + ct_load32(ip + 8);

    sums->right[i] = ct_sum_right(before + addresses) & ct_sum_right(addresses + more + ct_sum(ip + 20, size));
}

static inline uint32_t ct_sums_right(const struct ct_sums *sums, uint32_t i)
{
    const bool *right = sums->right + i;

    return (uint32_t)(right[0] | right[1] << 1 | right[2] << 2 | right[3] << 3);
}

#endif
#endif
