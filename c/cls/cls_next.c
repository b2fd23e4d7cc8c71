/* SPDX-License-Identifier: Apache-2.0
 * cls_next.c - see cls_next.h. */
#include "cls/cls_int.h"

/* What translation changes is not what the first flow saw. */
static void forget_moved(struct key *mask)
{
    mask->base.ip4_src = mask->base.ip4_dst = 0;
    mask->base.tp_src = mask->base.tp_dst = 0;
    memset(mask->wide.ip6_src, 0, 32); /* And ip6_dst. */
}

/* Whether what the next flows look at is known of every packet of the flow, and of what tracking
 * adds. */
static bool is_known(const struct cls_view *view, const struct cls_sub *sub, bool moved)
{
    struct key known = sub->key_mask;
    uint64_t unknown = 0;

    if (moved)
        forget_moved(&known);
    /* The second two choose the partition; the zone is the action's. */
    known.base.ct_state = UINT8_MAX;
    known.base.ct_mark = UINT32_MAX;
    known.base.ct_zone = UINT16_MAX;
    known.base.in_port = known.base.recirc_id = UINT32_MAX;
    /* Tracking writes label and original tuple, whatever the first flow saw of them. */
    memset(&known.ct, 0, offsetof(struct key_ct, nd_options_type));
    for (int w = 0; w < KEY_WORDS; w++)
        unknown |= view->mask.words[w] & ~known.words[w];
    return !unknown;
}

static void begin(struct cls_replica *replica, struct cls_next *next)
{
    const struct cls_part *part = cls_part_find(replica->cls, next->in_port, next->recirc_id);
    const struct cls_sub *sub = atomic_load_explicit(&replica->cls->sub_of[next->flow], memory_order_acquire);
    const struct cls_view *view;

    next->n = next->turn = 0;
    next->useless = true;
    if (!part || !sub)
        return;
    view = atomic_load_explicit(&((struct cls_part *)(uintptr_t)part)->view, memory_order_acquire);
    next->useless = !is_known(view, sub, next->moved);
    next->state_mask = view->mask.base.ct_state;
    next->mark_mask = view->mask.base.ct_mark;
}

uint64_t cls_changes(const struct cls_replica *replica)
{
    return atomic_load_explicit(&replica->cls->changes, memory_order_acquire) + 1;
}

struct cls_next *cls_next_of(struct cls_replica *replica, uint32_t flow, uint32_t in_port, uint32_t recirc_id, uint16_t zone, bool moved)
{
    struct cls_next *next = &replica->nexts[flow & (CLS_NEXTS - 1)];
    const uint64_t changes = cls_changes(replica);

    if (__builtin_expect(!(changes & 1), 0))
        return NULL; /* A flow comes or goes at this moment. */
    if (__builtin_expect(next->changes != changes || next->flow != flow || next->in_port != in_port || next->recirc_id != recirc_id
                         || next->zone != zone || next->moved != moved, 0)) {
        next->flow = flow;
        next->in_port = in_port;
        next->recirc_id = recirc_id;
        next->changes = changes;
        next->zone = zone;
        next->moved = moved;
        begin(replica, next);
    }
    return next->useless ? NULL : next;
}

void cls_next_learn(struct cls_next *next, uint8_t ct_state, uint32_t ct_mark, uint32_t flow)
{
    const uint64_t key = cls_next_key(next, ct_state, ct_mark);

    if (!flow || cls_next_flow(next, key))
        return;
    next->keys[next->turn] = key;
    next->answers[next->turn] = flow;
    next->turn = (uint8_t)((next->turn + 1u) % CLS_NEXT_ANSWERS);
    if (next->n < CLS_NEXT_ANSWERS)
        next->n++;
}
