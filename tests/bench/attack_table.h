/* SPDX-License-Identifier: Apache-2.0
 * attack_table.h - the attacks that attack_bench.c and attack_share_bench.c try, and their flows: port 1 is established, port 2 + n sends attack n.
 *
 * Threads: the control side's. */
#ifndef UPCALL_ATTACK_TABLE_H
#define UPCALL_ATTACK_TABLE_H

#include "attack_frames.h"
#include "cls/cls.h"
#include "packet/extract.h"

#define ATTACK_ESTABLISHED 1000u
#define ATTACK_OUT 100u              /* Where established packets go. */

struct attack {
    const char *name;
    uint32_t (*make)(uint32_t i, uint8_t *frame);
    uint32_t flows;                  /* Of the frames 0 to flows - 1; 0: one flow for all of the port. */
    void (*mask)(uint32_t i, struct key *mask);
    bool misses;                     /* No flow at all. */
    uint32_t percent;                /* Allowed cost of established packets. */
};

static const struct attack attacks[] = {
    { "quiet", attack_plain, 0, NULL, false, 0 },
    { "random-10k", attack_random, 10000, attack_mask_addresses, false, 20 },
    { "collisions-10k", attack_collision, 10000, attack_mask_addresses, false, 20 },
    { "explosion-512", attack_explosion, 512, attack_mask_explosion, false, 20 },
    { "mpls", attack_mpls, 0, NULL, false, 20 },
    { "ipv6-chains", attack_chain, 0, NULL, false, 20 },
    { "fragments", attack_fragment, 0, NULL, false, 20 },
    { "upcalls", attack_random, 0, NULL, true, 10 },
    { "upcalls, one flow", attack_plain, 0, NULL, true, 10 },
};
#define ATTACKS (sizeof attacks / sizeof attacks[0])

static inline void attack_put(struct cls *cls, uint32_t in_port, const uint8_t *frame, uint32_t size, const struct key *mask,
                              const struct act_prog *prog)
{
    static uint32_t next_flow = 1;
    const struct pkt_md md = { .in_port = in_port };
    struct key key;

    extract_key(frame, size, size, &md, NULL, &key, NULL);
    if (!cls_find(cls, &key) && cls_insert(cls, next_flow++, &key, mask, act_verdict(prog)))
        exit(2);
}

static inline void attack_put_flows(struct cls *cls)
{
    const struct act_prog *forward = attack_program(ATTACK_OUT), *discard = attack_program(UINT32_MAX);
    uint8_t frame[ATTACK_FRAME];
    struct key mask;

    for (uint32_t i = 0; i < ATTACK_ESTABLISHED; i++) {
        uint32_t size = attack_random(i, frame);

        attack_mask_addresses(i, &mask);
        attack_put(cls, 1, frame, size, &mask, forward);
    }
    for (uint32_t a = 0; a < ATTACKS; a++) {
        const struct attack *attack = &attacks[a];

        if (!attack->misses && !attack->flows) {
            memset(&mask, 0, sizeof mask); /* The partition is the port. */
            attack_put(cls, 2 + a, frame, attack->make(0, frame), &mask, discard);
        }
        for (uint32_t i = 0; i < attack->flows; i++) {
            uint32_t size = attack->make(i, frame);

            attack->mask(i, &mask);
            attack_put(cls, 2 + a, frame, size, &mask, discard);
        }
    }
}

/* Packet `i` of an attack, or (`attack` is NULL) of established traffic; in an order that no cache foresees. */
static inline uint32_t attack_packet(const struct attack *attack, uint32_t i, uint8_t *frame)
{
    const uint32_t at = attack_mix(i), flows = attack ? attack->flows : ATTACK_ESTABLISHED;

    return (attack ? attack->make : attack_random)(flows ? at % flows : at, frame);
}

#endif
