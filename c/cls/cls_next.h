/* SPDX-License-Identifier: Apache-2.0
 * cls_next.h - which flows the packets of a flow hit after they were tracked and recirculated,
 * without a second lookup.
 *
 * Packets of one flow agree in all that its mask looks at.  If the flows behind the recirculation
 * look at no more than that, and at what tracking adds (ct_state, ct_mark), then these two alone
 * decide which of them a packet hits, and the answer of one lookup is that of all alike.  Each
 * thread remembers a few answers.  They hold until any flow comes or goes; a change of actions does
 * not matter, because only the flow is remembered.
 *
 * Threads: the owner of the replica, in the read-side section of cls_next_of(). */
#ifndef UPCALL_CLS_NEXT_H
#define UPCALL_CLS_NEXT_H

#include <stdbool.h>
#include <stdint.h>

struct cls_replica;

#define CLS_NEXT_ANSWERS 7u

struct cls_next {
    /* What it is about. */
    uint64_t changes;                /* Of the classifier, plus 1; 0: never used. */
    uint32_t flow, in_port, recirc_id;
    uint16_t zone;
    uint8_t moved;
    uint8_t useless;                 /* The next flows look at more. */
    /* What of a packet they look at. */
    uint32_t mark_mask;
    uint8_t state_mask;
    uint8_t n;                       /* Answers, ... */
    uint8_t turn;                    /* ... and which is the next to be forgotten. */
    uint8_t pad;
    uint32_t answers[CLS_NEXT_ANSWERS];
    uint64_t keys[CLS_NEXT_ANSWERS];
} __attribute__((aligned(64)));

/* Answers for packets of `flow` that are tracked in `zone` and looked up again under `recirc_id`.
 * `moved`: tracking may change addresses and ports.  NULL: only a lookup can tell. */
struct cls_next *cls_next_of(struct cls_replica *, uint32_t flow, uint32_t in_port, uint32_t recirc_id, uint16_t zone, bool moved);
/* What `changes` of answers are that hold now. */
uint64_t cls_changes(const struct cls_replica *);
/* Remembers what a lookup found; 0, no flow, is not worth it.  `next->changes` must be what
 * cls_changes() was before the lookup. */
void cls_next_learn(struct cls_next *, uint8_t ct_state, uint32_t ct_mark, uint32_t flow);

static inline uint64_t cls_next_key(const struct cls_next *next, uint8_t ct_state, uint32_t ct_mark)
{
    return (uint64_t)(ct_mark & next->mark_mask) << 8 | (ct_state & next->state_mask);
}

/* The flow that a packet hits; 0: nobody knows. */
static inline uint32_t cls_next_flow(const struct cls_next *next, uint64_t key)
{
    for (uint32_t i = 0; i < next->n; i++)
        if (next->keys[i] == key)
            return next->answers[i];
    return 0;
}

#endif
