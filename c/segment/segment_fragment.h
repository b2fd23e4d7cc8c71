/* SPDX-License-Identifier: Apache-2.0
 * segment_fragment.h - an IPv4 packet in fragments (RFC 791), as Linux makes them: each has the
 * header, and all but the last as many bytes as fit in units of eight.
 *
 * Threads: any; no state. */
#ifndef UPCALL_SEGMENT_FRAGMENT_H
#define UPCALL_SEGMENT_FRAGMENT_H

#include <stdint.h>

struct rte_mbuf;

/* A packet whose header of 20 bytes begins at byte `l3`, for a path that takes `mtu` from there
 * on. */
struct segment_fragments {
    uint32_t l3;
    uint32_t part;               /* Payload of all but the last. */
    uint32_t count;              /* 0: it cannot be, or the packet may not be fragmented. */
};

/* The packet's checksums are complete, and its length is true. */
struct segment_fragments segment_fragments(const struct rte_mbuf *, uint32_t l3, uint32_t mtu);

/* The fragment number `index`, a copy.  NULL: no mbuf. */
struct rte_mbuf *segment_fragment(const struct rte_mbuf *, const struct segment_fragments *, uint32_t index);

#endif
