/* SPDX-License-Identifier: Apache-2.0
 * ct_sum.h - sums of what checksums cover, inline: every packet is verified.
 *
 * Threads: any; no state. */
#ifndef UPCALL_CT_SUM_H
#define UPCALL_CT_SUM_H

#include <rte_mbuf_core.h>
#include <stdint.h>
#include <string.h>
#if defined(__AVX512BW__) && defined(__AVX512VL__) && defined(__BMI2__) && !defined(__SANITIZE_THREAD__)
#include <immintrin.h>
#define CT_SUM_WIDE 1
#endif

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

#ifdef CT_SUM_WIDE

/* csum_sum(): 64 bytes at a time; no byte behind is read. */
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

static inline uint64_t ct_sum(const uint8_t *at, uint32_t size)
{
    uint64_t sum = 0;

    for (; size >= 8; at += 8, size -= 8)
        sum += ct_sum64(ct_load64(at));
    if (size & 4) {
        sum += ct_load32(at);
        at += 4;
    }
    if (size & 2) {
        sum += ct_load16(at);
        at += 2;
    }
    return size & 1 ? sum + *at : sum;
}

#endif
#endif
