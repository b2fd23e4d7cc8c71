/* SPDX-License-Identifier: Apache-2.0 */
#include "act/act_build_userspace.h"

#include <errno.h>
#include <stdatomic.h>

#include "packet/userdata.h"
#include "packet/worker.h"

/* Not in every kernel's header; the numbers are Linux's (6.11). */
#define PSAMPLE_GROUP 1
#define PSAMPLE_COOKIE 2

void act_build_userspace(struct act_builder *b, struct act_list *l, const struct odp_attr *nest)
{
    struct odp_walk walk = { nest->at, nest->size };
    struct odp_attr attr, given = { .size = 0 };
    struct userdata *userdata = NULL;
    bool has_userdata = false, actions = false;
    uint32_t operand;

    while (odp_next(&walk, &attr)) {
        if (attr.type == OVS_USERSPACE_ATTR_USERDATA) {
            given = attr;
            has_userdata = true;
        } else if (attr.type == OVS_USERSPACE_ATTR_ACTIONS && !attr.size) {
            actions = true;
        } else if ((attr.type != OVS_USERSPACE_ATTR_PID && attr.type != OVS_USERSPACE_ATTR_EGRESS_TUN_PORT) || attr.size != 4) {
            act_build_fail(b, EINVAL, "userspace attribute unknown or of the wrong size");
        }
    }
    if (walk.left)
        act_build_fail(b, EINVAL, "userspace attribute cut short");
    operand = act_build_operand(b, sizeof userdata);
    if (!b->error && (has_userdata || actions)) {
        userdata = malloc(sizeof *userdata + given.size);
        if (!userdata || (actions && !act_build_shared(b))) {
            free(userdata);
            act_build_fail(b, ENOMEM, "out of memory");
            return;
        }
        atomic_init(&userdata->references, 1);
        userdata->given = has_userdata;
        userdata->size = given.size;
        userdata->actions = actions ? b->shared : NULL;
        if (actions)
            atomic_fetch_add_explicit(&b->shared->references, 1, memory_order_relaxed);
        if (given.size)
            memcpy(userdata->bytes, given.at, given.size);
    }
    b->needs_md = true;
    act_build_effect(b, l, ACT_OP_USERSPACE, 0);
    if (b->error) {
        userdata_free(userdata);
        return;
    }
    b->ops[b->op_count - 1].operand = operand;
    memcpy(b->pool + operand, &userdata, sizeof userdata);
}

void act_build_psample(struct act_builder *b, struct act_list *l, const struct odp_attr *nest)
{
    struct odp_walk walk = { nest->at, nest->size };
    struct worker_sample sample = { .probability = l->probability };
    struct odp_attr attr;
    bool has_group = false;
    uint32_t operand;

    while (odp_next(&walk, &attr)) {
        if (attr.type == PSAMPLE_GROUP && attr.size == 4) {
            sample.group = act_u32(attr.at);
            has_group = true;
        } else if (attr.type == PSAMPLE_COOKIE && attr.size <= DP_SAMPLE_COOKIE) {
            sample.cookie_size = attr.size;
            memcpy(sample.cookie, attr.at, attr.size);
        } else {
            act_build_fail(b, EINVAL, "psample attribute unknown or of the wrong size");
        }
    }
    if (walk.left || !has_group)
        act_build_fail(b, EINVAL, "psample without a group");
    operand = act_build_operand(b, sizeof sample);
    act_build_effect(b, l, ACT_OP_PSAMPLE, 0);
    if (b->error)
        return;
    b->ops[b->op_count - 1].operand = operand;
    b->ops[b->op_count - 1].acted = true; /* Where it is last, the packet has come to its end. */
    memcpy(b->pool + operand, &sample, sizeof sample);
}
