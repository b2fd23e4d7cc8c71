// SPDX-License-Identifier: Apache-2.0
/*
 * frames: the frames of a capture file, laid out for the cheapest possible copy.
 *
 * Every frame starts on a cache line, in one mapping with transparent huge pages, so that
 * a receive is a few whole-line copies. An optional permutation gives the order of
 * the first pass: programs that set flows up on the first sight of a packet then
 * allocate them in another order than the one in which later passes visit them.
 *
 * Ownership: the caller owns `struct frames`; frames_close() frees what frames_open() made.
 * Threads: immutable once open; any thread may read.
 */
#ifndef FRAMES_H
#define FRAMES_H

#include <stddef.h>
#include <stdint.h>

struct frames {
    uint8_t *bytes;   /* frame i is at bytes + i * stride */
    uint16_t *length; /* of frame i, without what pads it to a line */
    uint32_t *order;  /* of the first pass; NULL: the order of the file */
    uint32_t *rss;    /* hash of frame i; NULL: none was asked for */
    uint32_t count;
    uint32_t stride;  /* bytes of a frame that are kept and copied, in whole lines */
    uint32_t head;    /* at most so many; 0: all */
    size_t mapped;
};

/*
 * Reads the classic pcap file `path` (microseconds or nanoseconds, this machine's byte order).
 * `seed` other than 0 shuffles the first pass. Returns 0 or a positive errno: EINVAL for a
 * file that is not a whole capture of complete frames. `head` other than 0: of each frame so many bytes
 * are kept, rounded up to a line; what follows in a packet is whatever its mbuf held.
 */
int frames_open(struct frames *, const char *path, uint64_t seed, uint32_t head);
/* Fills in `rss`: Toeplitz with the key that Microsoft published, as cards have it by default. ENOMEM. */
int frames_hash(struct frames *);
void frames_close(struct frames *);

#endif
