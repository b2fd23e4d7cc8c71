/* SPDX-License-Identifier: Apache-2.0
 * burst_sum.h - what all packets of a received burst are, summed up in one pass: so no later step
 * looks at each of them again for what is rare.
 *
 * The sum is of packets as they are, and holds for any part of them, until one is made longer,
 * copied or chained.
 *
 * Threads: any; no state. */
#ifndef UPCALL_BURST_SUM_H
#define UPCALL_BURST_SUM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <rte_mbuf.h>
#include <rte_prefetch.h>
#ifdef __SSE4_1__
#include <smmintrin.h>
#endif

struct burst_sum {
    uint64_t bytes;
    uint64_t flags;              /* `ol_flags` of all, ored. */
    uint32_t longest;            /* pkt_len. */
    uint32_t shortest;           /* data_len of a first segment; UINT16_MAX: there is none. */
    uint32_t segments;           /* nb_segs of all, ored. */
};

#ifdef __SSE4_1__
/* What is summed up lies in 32 bytes of a struct rte_mbuf. */
_Static_assert(offsetof(struct rte_mbuf, nb_segs) == 20 && offsetof(struct rte_mbuf, ol_flags) == 24
               && offsetof(struct rte_mbuf, pkt_len) == 36 && offsetof(struct rte_mbuf, data_len) == 40, "as burst_sum_read() reads them");

/* `fetch`: data are on their way afterwards. */
static inline __attribute__((always_inline)) void burst_sum_read(struct rte_mbuf *const *packets, unsigned int n, struct burst_sum *sum,
                                                                 const bool fetch)
{
    __m128i odd = _mm_setzero_si128(), bytes = odd, longest = odd, shortest = _mm_set1_epi32(-1);

    for (unsigned int i = 0; i < n; i++) {
        const struct rte_mbuf *m = packets[i];
        const __m128i sizes = _mm_loadu_si128((const __m128i *)&m->packet_type);

        odd = _mm_or_si128(odd, _mm_loadu_si128((const __m128i *)&m->data_off));
        bytes = _mm_add_epi32(bytes, sizes); /* A burst has less than 4 GiB. */
        longest = _mm_max_epu32(longest, sizes);
        shortest = _mm_min_epu16(shortest, sizes);
        if (fetch)
            rte_prefetch0(rte_pktmbuf_mtod(m, const void *));
    }
    *sum = (struct burst_sum){
        .bytes = (uint32_t)_mm_extract_epi32(bytes, 1), .flags = (uint64_t)_mm_extract_epi64(odd, 1),
        .longest = (uint32_t)_mm_extract_epi32(longest, 1), .shortest = (uint32_t)_mm_extract_epi16(shortest, 4),
        .segments = (uint32_t)_mm_extract_epi16(odd, 2),
    };
}
#else
static inline void burst_sum_read(struct rte_mbuf *const *packets, unsigned int n, struct burst_sum *sum, const bool fetch)
{
    uint64_t bytes = 0, flags = 0;
    uint32_t longest = 0, shortest = UINT16_MAX, segments = 0;

    for (unsigned int i = 0; i < n; i++) {
        const struct rte_mbuf *m = packets[i];

        bytes += m->pkt_len;
        flags |= m->ol_flags;
        segments |= m->nb_segs;
        longest = m->pkt_len > longest ? m->pkt_len : longest;
        shortest = m->data_len < shortest ? m->data_len : shortest;
        if (fetch)
            rte_prefetch0(rte_pktmbuf_mtod(m, const void *));
    }
    *sum = (struct burst_sum){ .bytes = bytes, .flags = flags, .longest = longest, .shortest = shortest, .segments = segments };
}
#endif

static inline void burst_sum_up(struct rte_mbuf *const *packets, unsigned int n, struct burst_sum *sum)
{
    burst_sum_read(packets, n, sum, false);
}

/* The same of packets whose data nobody has looked at: all of them are fetched at once, because
 * what comes from a card is far away, and the lookup does not wait for memory. */
static inline void burst_sum_first(struct rte_mbuf *const *packets, unsigned int n, struct burst_sum *sum)
{
    burst_sum_read(packets, n, sum, true);
}

#endif
