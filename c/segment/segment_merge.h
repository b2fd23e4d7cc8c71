/* SPDX-License-Identifier: Apache-2.0
 * segment_merge.h - a bundle (segment_bundle.h) becomes one TCP packet again.
 *
 * Threads: any; no state. */
#ifndef UPCALL_SEGMENT_MERGE_H
#define UPCALL_SEGMENT_MERGE_H

#include <stdbool.h>
#include <stdint.h>

struct rte_mbuf;

/* A bundle as it was received: places in it. */
struct segment_pieces {
    uint32_t at;                 /* Where the first one begins: behind UDP. */
    uint32_t end;                /* Of the last. */
    uint32_t inner;              /* Where the packet in the first one begins: Ethernet, or ... */
    uint16_t type;               /* ... this (be16); 0: Ethernet. */
};

/* Makes it one TCP packet that is to be cut, and marked so.  The caller makes the lengths of outer
 * headers true.  False: it is none that this can be made of, and stays as it was. */
bool segment_merge(struct rte_mbuf *, const struct segment_pieces *);

/* Frees what is behind `size` bytes. */
void segment_trim(struct rte_mbuf *, uint32_t size);

#endif
