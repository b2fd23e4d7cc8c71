/* SPDX-License-Identifier: Apache-2.0
 * flow_read.h - the operations of a batch, one after the other, from its bytes.
 *
 * A put of a list of upcalls is a step for each of them.  Reading depends on nothing but the bytes
 * and the upcalls: a second reader of the same ones finds the same.
 *
 * Threads: all under the control mutex. */
#ifndef UPCALL_FLOW_READ_H
#define UPCALL_FLOW_READ_H

#include <stdbool.h>
#include <stdint.h>

#include "dp.h"
#include "packet/key.h"

struct upcall_taken;

struct flow_step {
    /* Sizes of key, mask and packet are those of the parts below, wherever they lie. */
    struct dp_op op;
    const uint8_t *key, *mask, *actions, *packet;
    /* All that is not zero of the key, if that is known already; or NULL. */
    const struct key_base *plain;
    uint32_t listed;                 /* Upcalls in the list; 0: there is none. */
    uint32_t number;                 /* Of the step in that. */
};

struct flow_reader {
    const uint8_t *ops;
    uint32_t size, at;               /* Of all, and where the next one begins. */
    const struct upcall_taken *upcalls; /* Or NULL. */
    uint32_t upcall;                 /* Probably the next one. */
    uint32_t left;                   /* Of the list under way. */
    const uint8_t *list;
    struct flow_step step;           /* The last; zeros at first. */
    /* Key and mask that the next one may say that it has, too. */
    const uint8_t *key, *mask;
    uint32_t key_size, mask_size;
};

static inline struct flow_reader flow_reader(const uint8_t *ops, uint32_t size, const struct upcall_taken *upcalls)
{
    return (struct flow_reader){ .ops = ops, .size = size, .upcalls = upcalls };
}

/* The next step, which is `reader->step` then.  False: what comes next is no operation, or does not
 * fit the bytes. */
bool flow_read_next(struct flow_reader *reader);

/* Bytes of the errors of a list. */
static inline uint32_t flow_list_size(uint32_t listed)
{
    return (4 * listed + 7) & ~7u;
}

#endif
