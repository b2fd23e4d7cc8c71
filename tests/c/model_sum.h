/* SPDX-License-Identifier: Apache-2.0
 * model_sum.h - checksums by their definitions: the Internet's (RFC 1071) over 16-bit words, and CRC32C (RFC 9260) bit by bit. */
#ifndef UPCALL_MODEL_SUM_H
#define UPCALL_MODEL_SUM_H

#include <stdint.h>

static inline uint16_t model_sum(const uint8_t *at, uint32_t size, uint32_t sum)
{
    for (uint32_t i = 0; i < size; i++)
        sum += i & 1 ? at[i] : (uint32_t)at[i] << 8;
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)sum;
}

static inline void model_put16(uint8_t *at, uint32_t x)
{
    at[0] = (uint8_t)(x >> 8);
    at[1] = (uint8_t)x;
}

static inline uint32_t model_crc32c(const uint8_t *at, uint32_t size)
{
    uint32_t crc = UINT32_MAX;

    while (size--) {
        crc ^= *at++;
        for (int i = 0; i < 8; i++)
            crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
    }
    return ~crc;
}

/* Meters of tests drop by the size of a packet. */
static inline bool model_meters(uint32_t size, uint32_t id)
{
    return size >> (id & 3) & 1;
}

#endif
