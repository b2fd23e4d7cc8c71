/* SPDX-License-Identifier: Apache-2.0
 * Sums that connection tracking verifies packets by, of a burst at once, beside csum_sum(): every size, right and wrong, and no byte read that is
 * not of the packet.
 * link: packet/csum.c */
#include <stdio.h>
#include <stdlib.h>

#include "ct/ct_sum.h"
#include "packet/csum.h"

#define ROUNDS 4000u
#define IP 20u

static uint64_t seed = 99;

static uint32_t rnd(uint32_t below)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(seed >> 33) % below;
}

static void put_sum(uint8_t *at, uint64_t sum)
{
    const uint16_t x = (uint16_t)~csum_fold(sum);

    memcpy(at, &x, 2);
}

/* What of the pseudo header is not in the IP header. */
static uint32_t more_of(const uint8_t *ip, uint32_t size)
{
    return CT_BE16(size) + ((uint32_t)ip[9] << 8);
}

static uint64_t l4_sum(const uint8_t *ip, uint32_t size)
{
    return csum_sum(ip + 12, 8) + more_of(ip, size) + csum_sum(ip + IP, size);
}

/* A packet of which both sums are right, in a buffer without a byte to spare but its Ethernet header. */
static uint8_t *make_packet(uint32_t size)
{
    uint8_t *frame = malloc(14 + IP + size), *ip = frame + 14;

    for (uint32_t i = 0; i < 14 + IP + size; i++)
        frame[i] = (uint8_t)(rnd(4) ? rnd(256) : 255 * rnd(2));
    ip[0] = 0x45;
    ip[9] = rnd(2) ? 6 : 17;
    memset(ip + 10, 0, 2);
    put_sum(ip + 10, csum_sum(ip, IP));
    memset(ip + IP + 6, 0, 2);
    put_sum(ip + IP + 6, l4_sum(ip, size));
    return frame;
}

static bool is_right(const uint8_t *ip, uint32_t size)
{
    return csum_fold(csum_sum(ip, IP)) == 0xffff && csum_fold(l4_sum(ip, size)) == 0xffff;
}

int main(void)
{
    static struct ct_sums sums;
    uint32_t wrong = 0;

    for (uint32_t round = 0; round < ROUNDS; round++) {
        uint8_t *frames[4];
        uint32_t expected = 0, at = 4 * rnd(CT_BURST / 4);

        for (uint32_t i = 0; i < 4; i++) {
            const uint32_t size = CT_SUMS_LEAST + (rnd(50) ? rnd(200) : 65000 + rnd(500));
            uint8_t *ip;

            frames[i] = make_packet(size);
            ip = frames[i] + 14;
            if (rnd(2))
                frames[i][14 + rnd(IP + size)] ^= (uint8_t)(1 + rnd(255));
            expected |= (uint32_t)is_right(ip, size) << i;
            wrong += !is_right(ip, size);
            if (csum_fold(ct_sum(ip + IP, size)) != csum_fold(csum_sum(ip + IP, size))) {
                printf("%u bytes sum up to another number\n", size);
                return 1;
            }
            ct_sums_put(&sums, at + i, ip, size, more_of(ip, size));
        }
        if (ct_sums_right(&sums, at) != expected) {
            printf("round %u: %x are right, not %x\n", round, expected, ct_sums_right(&sums, at));
            return 1;
        }
        for (uint32_t i = 0; i < 4; i++)
            free(frames[i]);
    }
    return wrong > ROUNDS && wrong < 3 * ROUNDS ? 0 : 1;
}
