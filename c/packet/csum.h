/* SPDX-License-Identifier: Apache-2.0
 * csum.h - checksums that follow a change of what they cover (RFC 1624, equation 3), and SCTP's
 * CRC32C.
 *
 * A change is a sum of 16-bit words in one's complement, new ones added, old ones subtracted, in
 * the byte order of memory; it applies to every checksum that covers the words at even offsets.
 *
 * Threads: any; no state. */
#ifndef UPCALL_CSUM_H
#define UPCALL_CSUM_H

#include <stdint.h>
#include <string.h>

static inline uint16_t csum_fold(uint64_t sum)
{
    sum = (sum & 0xffffffff) + (sum >> 32);
    sum = (sum & 0xffff) + ((sum >> 16) & 0xffff) + (sum >> 32);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)sum;
}

/* The change of one word. */
static inline uint64_t csum_change16(uint16_t from, uint16_t to)
{
    return (uint64_t)(uint16_t)~from + to;
}

/* The change of `size` bytes, which is even. */
static inline uint64_t csum_change(const void *from, const void *to, uint32_t size)
{
    const uint8_t *a = from, *b = to;
    uint64_t sum = 0;

    for (uint32_t i = 0; i < size; i += 2) {
        uint16_t x, y;

        memcpy(&x, a + i, 2);
        memcpy(&y, b + i, 2);
        if (x != y) /* No change is 0, not 0xffff, so that a checksum can be left alone. */
            sum += csum_change16(x, y);
    }
    return sum;
}

/* Applies a change to a checksum. */
static inline void csum_update(uint8_t *field, uint64_t change)
{
    uint16_t sum;

    if (!change)
        return;
    memcpy(&sum, field, 2);
    sum = (uint16_t)~csum_fold((uint16_t)~sum + change);
    memcpy(field, &sum, 2);
}

/* Applies a change to a partial checksum: the sum of the pseudo-header, not complemented. */
static inline void csum_update_partial(uint8_t *field, uint64_t change)
{
    uint16_t sum;

    if (!change)
        return;
    memcpy(&sum, field, 2);
    sum = csum_fold(sum + change);
    memcpy(field, &sum, 2);
}

/* One's complement sum of `size` bytes, to be folded. */
uint64_t csum_sum(const void *bytes, uint32_t size);

/* CRC32C of `size` more bytes, without its initial and final inversion: starts from ~0, and the
 * result is to be inverted. */
uint32_t csum_crc32c(uint32_t crc, const void *bytes, uint32_t size);

/* What CRC32C over `size` >= 4 bytes changes by (exclusive or, as it stands in memory) when the
 * first four change by `difference`. */
uint32_t csum_crc32c_change(uint32_t difference, uint32_t size);

#endif
