/* SPDX-License-Identifier: Apache-2.0 */
#include "flow/flow_read.h"

#include <string.h>

#include "upcall/upcall_exchange.h"

static uint64_t pad8(uint64_t size)
{
    return (size + 7) & ~7ull;
}

/* Takes a part of an operation, or the one before if `same`; false: there is none, or there are
 * two. */
static bool take_part(const uint8_t *at, uint32_t left, uint64_t *need, bool same, uint32_t *size, const uint8_t **last, uint32_t *last_size)
{
    if (same) {
        if (*size || !*last)
            return false;
        *size = *last_size;
        return true;
    }
    *last = at + (*need <= left ? *need : 0);
    *last_size = *size;
    *need += pad8(*size);
    return true;
}

/* Takes key and packet of the upcall at this byte of the arena; false: there is no such upcall. */
static bool take_upcall(struct flow_reader *r, uint32_t at)
{
    const struct upcall_taken *taken = r->upcalls;
    const struct upcall_place *place;
    uint32_t i;

    if (!taken)
        return false;
    i = upcall_find(taken, at, r->upcall);
    if (i == taken->count)
        return false;
    place = &taken->places[i];
    r->upcall = i + 1;
    r->step.plain = taken->plain[i] ? &taken->keys[i] : NULL;
    r->step.key = r->key = taken->arena + at + sizeof(struct dp_upcall);
    r->step.op.key_size = r->key_size = place->key_size;
    r->step.packet = taken->arena + place->packet_at;
    r->step.op.packet_size = place->packet_size;
    return true;
}

static bool next_listed(struct flow_reader *r)
{
    uint32_t at;

    memcpy(&at, r->list, sizeof at);
    r->list += sizeof at;
    r->left--;
    r->step.number++;
    return take_upcall(r, at);
}

/* The list of upcalls behind the actions of an operation. */
static bool take_list(struct flow_reader *r, const uint8_t *at, uint32_t left, uint64_t *need)
{
    const struct dp_op *op = &r->step.op;

    if (op->type != DP_OP_PUT || op->flags & (DP_OPF_UPCALL | DP_OPF_UFID) || !op->upcall)
        return false;
    r->list = at + (*need <= left ? *need : 0);
    *need += pad8(4 * (uint64_t)op->upcall);
    if (*need > left)
        return false;
    r->step.listed = r->left = op->upcall;
    r->step.number = UINT32_MAX; /* The first is 0. */
    return true;
}

bool flow_read_next(struct flow_reader *r)
{
    const uint8_t *at = r->ops + r->at;
    const uint32_t left = r->size - r->at;
    struct flow_step *step = &r->step;
    struct dp_op *op = &step->op;
    uint64_t need = sizeof *op;
    bool upcall;

    if (r->left)
        return next_listed(r);
    if (left < sizeof *op)
        return false;
    memcpy(op, at, sizeof *op);
    upcall = op->flags & (DP_OPF_UPCALL | DP_OPF_UPCALLS);
    step->plain = NULL;
    step->listed = step->number = 0;
    if (upcall && (op->key_size || op->packet_size))
        return false;
    if (!upcall && !take_part(at, left, &need, op->flags & DP_OPF_SAME_KEY, &op->key_size, &r->key, &r->key_size))
        return false;
    step->key = r->key;
    if ((op->type == DP_OP_PUT || op->mask_size)
        && !take_part(at, left, &need, op->flags & DP_OPF_SAME_MASK, &op->mask_size, &r->mask, &r->mask_size))
        return false;
    step->mask = r->mask;
    step->actions = at + (need <= left ? need : 0);
    need += pad8(op->actions_size);
    if (op->flags & DP_OPF_UPCALLS && !take_list(r, at, left, &need))
        return false;
    if (!upcall) {
        step->packet = at + (need <= left ? need : 0);
        need += pad8(op->packet_size);
    }
    if (need > op->size || op->size > left || op->size % 8)
        return false;
    r->at += op->size;
    return step->listed ? next_listed(r) : !upcall || take_upcall(r, op->upcall);
}
