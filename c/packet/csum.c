/* SPDX-License-Identifier: Apache-2.0 */
#include "packet/csum.h"

uint64_t csum_sum(const void *bytes, uint32_t size)
{
    const uint8_t *at = bytes;
    uint64_t sum = 0;

    for (; size >= 4; at += 4, size -= 4) {
        uint32_t word;

        memcpy(&word, at, 4);
        sum += word;
    }
    if (size >= 2) {
        uint16_t word;

        memcpy(&word, at, 2);
        sum += word;
        at += 2;
        size -= 2;
    }
    return sum + (size ? *at : 0);
}

/* CRC32C is linear: the CRCs of two messages of one length differ by the CRC, without its initial
 * and final inversion, of their difference.  That is the changed words and then zeros, so the rest
 * of the packet need not be read, wherever it lies. */
static uint32_t feed(uint32_t crc, uint32_t word)
{
#ifdef __SSE4_2__
    return __builtin_ia32_crc32si(crc, word);
#else
    crc ^= word;
    for (int i = 0; i < 32; i++)
        crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
    return crc;
#endif
}

static uint32_t feed_zero_byte(uint32_t crc)
{
    for (int i = 0; i < 8; i++)
        crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
    return crc;
}

uint32_t csum_crc32c(uint32_t crc, const void *bytes, uint32_t size)
{
    const uint8_t *at = bytes;

    for (; size >= 4; at += 4, size -= 4) {
        uint32_t word;

        memcpy(&word, at, 4);
        crc = feed(crc, word);
    }
    while (size--)
        crc = feed_zero_byte(crc ^ *at++);
    return crc;
}

uint32_t csum_crc32c_change(uint32_t difference, uint32_t size)
{
    uint32_t crc = feed(0, difference);

    for (size -= 4; size >= 4; size -= 4)
        crc = feed(crc, 0);
    while (size--)
        crc = feed_zero_byte(crc);
    return crc;
}
