/* SPDX-License-Identifier: Apache-2.0
 * ct_seq.c - sequence numbers of TCP where a helper has made a payload longer or shorter
 * (ct_alg_int.h).
 *
 * As the kernel: a change counts from the byte on where it was made, and a payload that is sent
 * again does not count twice.  Open vSwitch 3.1.0 moves every number, and counts each time. */
#include "ct/ct_alg_int.h"
#include "packet/csum.h"
#include "packet/partial.h"

#define FLAG_ACK 0x10u
#define OPTION_END 0u
#define OPTION_NOP 1u
#define OPTION_SACK 5u

static uint32_t load(const uint8_t *at)
{
    uint32_t x;

    memcpy(&x, at, sizeof x);
    return CT_BE32(x);
}

static bool is_after(uint32_t a, uint32_t b)
{
    return (int32_t)(a - b) > 0;
}

void ct_seq_set(struct ct_skew *skew, uint32_t seq, int32_t change)
{
    if (skew->before != skew->after && !is_after(seq, skew->at))
        return;
    skew->at = seq;
    skew->before = skew->after;
    skew->after += change;
}

static int32_t change_of(const struct ct_skew *skew, uint32_t seq)
{
    return is_after(seq, skew->at) ? skew->after : skew->before;
}

/* What was moved, back. */
static uint32_t moved_back(const struct ct_skew *skew, uint32_t number)
{
    const bool behind = is_after(number - (uint32_t)skew->before, skew->at);

    return number - (uint32_t)(behind ? skew->after : skew->before);
}

/* Writes a number at any byte of the TCP header. */
static void set(const struct ct_packet *p, uint32_t at, uint32_t number)
{
    uint8_t *l4 = p->data + p->l4, before[6] = { 0 }, after[6] = { 0 };
    const uint32_t odd = at & 1;

    memcpy(before + odd, l4 + at, 4);
    number = CT_BE32(number);
    memcpy(after + odd, &number, 4);
    memcpy(l4 + at, &number, 4);
    if (!partial_is_at(p->m, p->l4)) /* The header is not in the pseudo header's sum. */
        csum_update(l4 + 16, csum_change(before, after, 6));
}

static void move_sack(const struct ct_packet *p, const struct ct_skew *other)
{
    const uint8_t *l4 = p->data + p->l4;
    const uint32_t end = (l4[12] >> 4) * 4u;
    uint32_t at = 20;

    while (at + 2 <= end && l4[at] != OPTION_END) {
        const uint32_t size = l4[at] == OPTION_NOP ? 1 : l4[at + 1];

        if (size == 0 || size > end - at || (l4[at] != OPTION_NOP && size < 2))
            return;
        for (uint32_t edge = at + 2; l4[at] == OPTION_SACK && edge + 4 <= at + size; edge += 4)
            set(p, edge, moved_back(other, load(l4 + edge)));
        at += size;
    }
}

void ct_seq_move_ack(const struct ct_packet *p, const struct ct_skew *other)
{
    const uint8_t *l4 = p->data + p->l4;

    if (!(other->before | other->after) || !(l4[13] & FLAG_ACK))
        return;
    set(p, 8, moved_back(other, load(l4 + 8)));
    move_sack(p, other);
}

void ct_seq_move(const struct ct_packet *p, const struct ct_skew *own)
{
    const uint32_t seq = load(p->data + p->l4 + 4);

    if (own->before | own->after)
        set(p, 4, seq + (uint32_t)change_of(own, seq));
}
