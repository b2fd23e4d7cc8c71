/* SPDX-License-Identifier: Apache-2.0
 * segment_fix.h - makes the headers of a piece true for what it carries: lengths, identifications,
 * sequence numbers, checksums.
 *
 * Threads: any; no state. */
#ifndef UPCALL_SEGMENT_FIX_H
#define UPCALL_SEGMENT_FIX_H

#include <stdint.h>

#include "segment/segment.h"

struct segment_piece {
    uint8_t *frame;              /* All headers, as the whole packet has them. */
    uint32_t size;               /* With the payload, which need not lie behind them. */
    uint64_t sum;                /* Of the payload, one's complement; of a plan with `keep`, any. */
};

/* The headers of the piece number `index`, from the plan's layer `from` on: those in front of it
 * stay as they are.  `before`: segments in front of it. */
void segment_fix(const struct segment_plan *, const struct segment_piece *, uint32_t from, uint32_t index, uint32_t before);

/* IP and UDP as outermost layers, before `size` bytes in all that are to be cut into datagrams by
 * Linux: the checksum is the pseudo-header's sum. */
void segment_fix_outer(const struct segment_plan *, uint8_t *frame, uint32_t size, uint32_t before);

#endif
