/* SPDX-License-Identifier: Apache-2.0
 * tnl_fragments.h - outer packets, and fragments of them, for tests of tunnels (tnl_fixture.h). */
#ifndef UPCALL_TNL_FRAGMENTS_H
#define UPCALL_TNL_FRAGMENTS_H

#include "tnl_fixture.h"

#define INNER_SIZE 1014u

static inline uint32_t be16(const uint8_t *at)
{
    return (uint32_t)at[0] << 8 | at[1];
}

/* A frame of 1000 bytes of IPv4, without DF. */
static inline void inner_frame(struct bytes *frame)
{
    from_hex("50540000000b505400000009" "0800" "450003e8" "00010000" "40110000" "0a0000010a000002" "0035003603d40000", frame);
    for (uint32_t i = frame->size; i < INNER_SIZE; i++)
        frame->at[i] = (uint8_t)(i * 7);
    frame->size = INNER_SIZE;
}

static inline void set_checksum(uint8_t *ip)
{
    uint32_t sum = 0;

    memset(ip + 10, 0, 2);
    for (uint32_t k = 0; k < 20; k += 2)
        sum += be16(ip + k);
    sum = ~((sum & 0xffff) + (sum >> 16));
    ip[10] = (uint8_t)(sum >> 8);
    ip[11] = (uint8_t)sum;
}

/* A fragment of a packet: its header, and `size` bytes from byte `at` behind it. */
static inline void fragment_of(const struct bytes *whole, uint32_t at, uint32_t size, struct bytes *fragment)
{
    const uint32_t total = 20 + size, field = at / 8 | (34 + at + size < whole->size ? 0x2000u : 0);
    uint8_t *ip = fragment->at + 14;

    memcpy(fragment->at, whole->at, 34);
    memcpy(fragment->at + 34, whole->at + 34 + at, size);
    ip[2] = (uint8_t)(total >> 8);
    ip[3] = (uint8_t)total;
    ip[6] = (uint8_t)(field >> 8);
    ip[7] = (uint8_t)field;
    set_checksum(ip);
    fragment->size = 34 + size;
}

/* A UDP packet to us of `payload` bytes, with a frame inside if it is for the tunnel's port. */
static inline void outer_packet(const char *port, const struct bytes *inner, struct bytes *whole)
{
    const uint32_t udp = 16 + inner->size, total = 20 + udp;
    char text[200];

    snprintf(text, sizeof text, LOCAL_MAC REMOTE_MAC "0800" "4500%04x" "77770000" "40110000" "0101025c01010258" "15b3%s%04x0000" "0800000000000900",
             total, port, udp);
    from_hex(text, whole);
    memcpy(whole->at + whole->size, inner->at, inner->size);
    whole->size += inner->size;
}

/* Sends a packet to port 2 in fragments of this size and what is left. */
static inline void inject_in(uint64_t dp, const struct bytes *whole, uint32_t size)
{
    static struct bytes fragment;

    for (uint32_t at = 0; at < whole->size - 34; at += size) {
        const uint32_t left = whole->size - 34 - at;

        fragment_of(whole, at, left < size ? left : size, &fragment);
        OK(dp_dummy_inject(dp, 2, fragment.at, fragment.size));
    }
}

#endif
