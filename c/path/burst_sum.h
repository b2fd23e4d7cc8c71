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

#include <stdint.h>

#include <rte_mbuf_core.h>

struct burst_sum {
    uint64_t bytes;
    uint64_t flags;              /* `ol_flags` of all, ored. */
    uint32_t longest;            /* pkt_len. */
    uint32_t shortest;           /* data_len of a first segment. */
    uint32_t segments;           /* nb_segs of all, ored. */
};

static inline void burst_sum_up(struct rte_mbuf *const *packets, unsigned int n, struct burst_sum *sum)
{
    uint64_t bytes = 0, flags = 0;
    uint32_t longest = 0, shortest = UINT32_MAX, segments = 0;

    for (unsigned int i = 0; i < n; i++) {
        const struct rte_mbuf *m = packets[i];

        bytes += m->pkt_len;
        flags |= m->ol_flags;
        segments |= m->nb_segs;
        longest = m->pkt_len > longest ? m->pkt_len : longest;
        shortest = m->data_len < shortest ? m->data_len : shortest;
    }
    *sum = (struct burst_sum){ .bytes = bytes, .flags = flags, .longest = longest, .shortest = shortest, .segments = segments };
}

#endif
