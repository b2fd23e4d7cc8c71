/* SPDX-License-Identifier: Apache-2.0
 * act_build.h - a program in the making: what the units that compile actions share.
 *
 * Threads: the control side. */
#ifndef UPCALL_ACT_BUILD_H
#define UPCALL_ACT_BUILD_H

#include <stdlib.h>
#include <string.h>

#include "act/act_int.h"
#include "act/act_known.h"
#include "odp/odp_attr.h"

/* A program in the making.  The first failure stays. */
struct act_builder {
    struct act_op *ops;
    uint8_t *pool;
    uint32_t op_count, op_room, pool_size, pool_room;
    const struct key *key;   /* Of the flow; zeros if it is not known. */
    const uint8_t *attrs;    /* All of them, for userspace actions that ask. */
    uint32_t attrs_size;
    struct userdata_actions *shared; /* The copy of them that these share; NULL: none has asked. */
    bool needs_md, writes, cuts, tracks, balances;
    /* The place that is being compiled, for the text of a failure: the lists and how far each has
     * come, the action, and the field that it sets (or NULL). */
    struct {
        const char *list;
        uint32_t index;
    } places[ACT_NEST_MAX + 2];
    uint32_t depth;              /* Lists. */
    const char *action, *field;
    int error;
    const char *why;
};

/* The list that is being compiled. */
struct act_list {
    uint32_t depth;
    bool cut;                /* A trunc waits for the next output. */
    uint32_t tags;           /* Pushed and not popped again. */
    bool acted;              /* The packet has been sent somewhere before. */
    bool parsed;             /* act_layers are those of the packet. */
    bool ended;              /* By drop: nothing may follow. */
    uint32_t probability;    /* Of the sample that it is in, out of UINT32_MAX. */
    struct act_known known;
};

/* Notes a failure, and where it is: `actions[2].set.tcp: WHY`. */
void act_build_fail(struct act_builder *, int error, const char *why);
/* A new operation, zeroed; NULL after a failure.  Valid until the next one is added. */
struct act_op *act_build_op(struct act_builder *, enum act_code);
/* An effect that a trunc before it cuts for, and that may have the packet itself if it is the
 * last. */
void act_build_effect(struct act_builder *, struct act_list *, enum act_code, uint32_t a);
/* Room in the pool, zeroed and aligned for anything; its offset. */
uint32_t act_build_operand(struct act_builder *, uint32_t size);
/* The tags that an operation of the list finds pushed, as it keeps them. */
uint8_t act_build_tags(const struct act_list *);
/* What follows looks at layers. */
void act_build_layers(struct act_builder *, struct act_list *);
/* Joins the changes that a list begins with to one ACT_OP_REWRITE, if they are such.  `from`: the
 * list's first operation. */
void act_build_fuse(struct act_builder *, uint32_t from);
/* The copy of all actions that userspace actions share, made by the first; NULL: no memory. */
struct userdata_actions *act_build_shared(struct act_builder *);
/* Frees what has been built. */
void act_build_abandon(struct act_builder *);
/* Makes the program of it, which takes over all that has been built.  NULL: no memory. */
struct act_prog *act_build_finish(struct act_builder *);

static inline uint32_t act_u32(const uint8_t *at)
{
    uint32_t x;

    memcpy(&x, at, 4);
    return x;
}

static inline uint16_t act_u16(const uint8_t *at)
{
    uint16_t x;

    memcpy(&x, at, 2);
    return x;
}

#endif
