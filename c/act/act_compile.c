/* SPDX-License-Identifier: Apache-2.0
 * act_compile.c - compiles ODP actions (act.h).
 *
 * What can be decided once is decided here: which effect is the last and may have the packets,
 * which obeys a trunc, where layers must be read again, and that changes which nothing sees are not
 * made. */
#include "act/act.h"

#include <errno.h>

#include "act/act_build_ct.h"
#include "act/act_build_header.h"
#include "act/act_build_set.h"
#include "act/act_build_tunnel.h"
#include "act/act_build_userspace.h"
#include "port/port.h"

/* Not in every kernel's header; the numbers are Linux's. */
#define ACTION_DEC_TTL 23
#define ACTION_DROP 24
#define ACTION_PSAMPLE 25
#define ACTION_TNL_PUSH 26       /* Open vSwitch's own, as the next two. */
#define ACTION_TNL_POP 27
#define ACTION_ADD_MPLS 22
#define ACTION_LB_OUTPUT 28
#define DEC_TTL_ACTION 1

static const uint8_t classes[] = {
#define X(code, class) [ACT_OP_##code] = ACT_##class,
    ACT_OPS(X)
#undef X
};

static void compile_list(struct act_builder *b, const char *name, const uint8_t *attrs, uint32_t size, const struct act_list *outer);

/* Marks what the list does last, drops changes after it.  `from`: its first operation. */
static void finish_list(struct act_builder *b, uint32_t from)
{
    uint32_t last = UINT32_MAX, after = from;

    act_build_fuse(b, from);
    if (b->error)
        return;
    for (uint32_t i = from; i < b->op_count; i += 1 + b->ops[i].nested + b->ops[i].nested_else) {
        const struct act_op *op = &b->ops[i];

        if (classes[op->code] == ACT_EFFECT || (classes[op->code] == ACT_EFFECT_NESTED && op->nested)) {
            last = i;
            after = i + 1 + op->nested + op->nested_else;
        }
    }
    b->op_count = after;
    if (last != UINT32_MAX)
        b->ops[last].last = 1;
}

/* Compiles the list in `nest`, called `name`, behind the operation `at`; returns how many
 * operations it has. */
static uint32_t compile_nested(struct act_builder *b, const struct act_list *outer, const char *name, const struct odp_attr *nest)
{
    struct act_list inner = *outer;
    const char *action = b->action;
    uint32_t from = b->op_count;

    if (outer->depth == ACT_NEST_MAX) {
        act_build_fail(b, EOVERFLOW, "actions nested more than 16 deep");
        return 0;
    }
    inner.depth++;
    inner.parsed = false; /* Each list has its own layers. */
    compile_list(b, name, nest->at, nest->size, &inner);
    b->action = action;
    return b->error ? 0 : b->op_count - from;
}

/* Sets what is known of a branching operation after its lists; takes it back if they do nothing. */
static void close_branch(struct act_builder *b, struct act_list *l, uint32_t at, uint32_t nested, uint32_t nested_else)
{
    if (b->error)
        return;
    if (!nested && !nested_else && b->ops[at].code != ACT_OP_DEC_TTL) {
        b->op_count = at;
        return;
    }
    b->ops[at].nested = nested;
    b->ops[at].nested_else = nested_else;
    b->ops[at].acted = l->acted;
}

static void compile_clone(struct act_builder *b, struct act_list *l, const struct odp_attr *nest)
{
    uint32_t at = b->op_count, nested;

    if (!act_build_op(b, ACT_OP_CLONE))
        return;
    nested = compile_nested(b, l, "clone", nest);
    close_branch(b, l, at, nested, 0);
    l->acted |= nested > 0;
}

static void compile_sample(struct act_builder *b, struct act_list *l, const struct odp_attr *nest)
{
    struct odp_walk walk = { nest->at, nest->size };
    struct odp_attr attr, actions = { .at = NULL };
    const uint32_t outer = l->probability;
    uint32_t at = b->op_count, probability = 0, nested;
    bool has_probability = false;

    while (odp_next(&walk, &attr)) {
        if (attr.type == OVS_SAMPLE_ATTR_PROBABILITY && attr.size == 4) {
            probability = act_u32(attr.at);
            has_probability = true;
        } else if (attr.type == OVS_SAMPLE_ATTR_ACTIONS) {
            actions = attr;
        } else {
            act_build_fail(b, EINVAL, "sample attribute unknown or of the wrong size");
        }
    }
    if (walk.left || !has_probability || !actions.at)
        act_build_fail(b, EINVAL, "sample without probability and actions");
    if (!act_build_op(b, ACT_OP_SAMPLE))
        return;
    b->ops[at].a = probability;
    l->probability = probability;
    nested = compile_nested(b, l, "sample.actions", &actions);
    l->probability = outer;
    close_branch(b, l, at, nested, 0);
}

static void compile_check_len(struct act_builder *b, struct act_list *l, const struct odp_attr *nest)
{
    struct odp_walk walk = { nest->at, nest->size };
    struct odp_attr attr, greater = { .at = NULL }, less = { .at = NULL };
    uint32_t at = b->op_count, size = 0, nested, nested_else;

    while (odp_next(&walk, &attr)) {
        if (attr.type == OVS_CHECK_PKT_LEN_ATTR_PKT_LEN && attr.size == 2)
            size = act_u16(attr.at);
        else if (attr.type == OVS_CHECK_PKT_LEN_ATTR_ACTIONS_IF_GREATER)
            greater = attr;
        else if (attr.type == OVS_CHECK_PKT_LEN_ATTR_ACTIONS_IF_LESS_EQUAL)
            less = attr;
        else
            act_build_fail(b, EINVAL, "check_pkt_len attribute unknown or of the wrong size");
    }
    if (walk.left || !size || !greater.at || !less.at)
        act_build_fail(b, EINVAL, "check_pkt_len without a size and both lists");
    if (!act_build_op(b, ACT_OP_CHECK_LEN))
        return;
    b->ops[at].a = size;
    b->ops[at].b = l->cut;
    nested = compile_nested(b, l, "check_pkt_len.gt", &greater);
    nested_else = compile_nested(b, l, "check_pkt_len.le", &less);
    close_branch(b, l, at, nested, nested_else);
    b->writes = true; /* It reads headers of packets that a port is to cut. */
    l->acted |= nested && nested_else;
}

static void compile_dec_ttl(struct act_builder *b, struct act_list *l, const struct odp_attr *nest)
{
    struct odp_walk walk = { nest->at, nest->size };
    struct odp_attr actions;
    uint32_t at, nested;

    if (!odp_next(&walk, &actions) || actions.type != DEC_TTL_ACTION || walk.left) {
        act_build_fail(b, EINVAL, "dec_ttl without exactly one list");
        return;
    }
    act_build_layers(b, l);
    at = b->op_count;
    if (!act_build_op(b, ACT_OP_DEC_TTL))
        return;
    nested = compile_nested(b, l, "dec_ttl.le_1", &actions);
    close_branch(b, l, at, nested, 0);
}

static void compile_output(struct act_builder *b, struct act_list *l, const struct odp_attr *attr)
{
    if (act_u32(attr->at) > PORT_NO_MAX)
        act_build_fail(b, EINVAL, "output to a port number that no port can have");
    act_build_effect(b, l, ACT_OP_OUTPUT, act_u32(attr->at));
}

static void compile_recirc(struct act_builder *b, struct act_list *l, const struct odp_attr *attr)
{
    b->needs_md = true;
    act_build_effect(b, l, ACT_OP_RECIRC, act_u32(attr->at));
}

static void compile_trunc(struct act_builder *b, struct act_list *l, const struct odp_attr *attr)
{
    struct act_op *op;

    if (act_u32(attr->at) < 14)
        act_build_fail(b, EINVAL, "trunc below 14 bytes");
    op = act_build_op(b, ACT_OP_TRUNC);
    if (op)
        op->a = act_u32(attr->at);
    l->cut = b->cuts = true;
}

static void compile_hash(struct act_builder *b, struct act_list *l, const struct odp_attr *attr)
{
    struct act_op *op;

    if (act_u32(attr->at) > ACT_HASH_SYM_L4)
        act_build_fail(b, EINVAL, "unknown hash algorithm");
    b->needs_md = b->writes = true;
    op = act_build_op(b, ACT_OP_HASH);
    if (!op)
        return;
    op->a = act_u32(attr->at);
    op->tags = act_build_tags(l);
    op->b = act_u32(attr->at + 4);
}

static void compile_drop(struct act_builder *b, struct act_list *l, const struct odp_attr *attr)
{
    if (act_u32(attr->at)) /* Without an error it is the end of the list, no more. */
        act_build_effect(b, l, ACT_OP_DROP, act_u32(attr->at));
    l->ended = true;
}

static void compile_lb_output(struct act_builder *b, struct act_list *l, const struct odp_attr *attr)
{
    b->balances = b->writes = true; /* The hash is of headers, which must be in one piece. */
    act_build_effect(b, l, ACT_OP_BALANCE, act_u32(attr->at));
}

static void compile_meter(struct act_builder *b, struct act_list *l, const struct odp_attr *attr)
{
    struct act_op *op = act_build_op(b, ACT_OP_METER);

    if (!op)
        return;
    op->a = act_u32(attr->at);
    op->acted = l->acted;
}

static void compile_ct_clear(struct act_builder *b, struct act_list *l, const struct odp_attr *attr)
{
    (void)l, (void)attr;
    b->needs_md = true;
    act_build_op(b, ACT_OP_CT_CLEAR);
}

static void compile_set(struct act_builder *b, struct act_list *l, const struct odp_attr *attr)
{
    struct odp_walk walk = { attr->at, attr->size };
    struct odp_attr field;

    if (odp_next(&walk, &field) && !walk.left && field.type == OVS_KEY_ATTR_TUNNEL)
        act_build_set_tunnel(b, l, &field);
    else
        act_build_set(b, l, attr, false);
}

static void compile_set_masked(struct act_builder *b, struct act_list *l, const struct odp_attr *attr)
{
    act_build_set(b, l, attr, true);
}

/* The actions that there are, one a line. */
#define NESTED (-1)              /* The payload is attributes, of any size. */

static const struct action {
    int size;                    /* Of the payload. */
    const char *name;            /* In text. */
    void (*compile)(struct act_builder *, struct act_list *, const struct odp_attr *);
} actions[] = {
    [OVS_ACTION_ATTR_OUTPUT] = { 4, "output", compile_output },
    [OVS_ACTION_ATTR_USERSPACE] = { NESTED, "userspace", act_build_userspace },
    [OVS_ACTION_ATTR_SET] = { NESTED, "set", compile_set },
    [OVS_ACTION_ATTR_PUSH_VLAN] = { 4, "push_vlan", act_build_push_vlan },
    [OVS_ACTION_ATTR_POP_VLAN] = { 0, "pop_vlan", act_build_pop_vlan },
    [OVS_ACTION_ATTR_SAMPLE] = { NESTED, "sample", compile_sample },
    [OVS_ACTION_ATTR_RECIRC] = { 4, "recirc", compile_recirc },
    [OVS_ACTION_ATTR_HASH] = { 8, "hash", compile_hash },
    [OVS_ACTION_ATTR_PUSH_MPLS] = { 8, "push_mpls", act_build_push_mpls },
    [OVS_ACTION_ATTR_POP_MPLS] = { 2, "pop_mpls", act_build_pop_mpls },
    [OVS_ACTION_ATTR_SET_MASKED] = { NESTED, "set", compile_set_masked },
    [OVS_ACTION_ATTR_TRUNC] = { 4, "trunc", compile_trunc },
    [OVS_ACTION_ATTR_PUSH_ETH] = { 12, "push_eth", act_build_push_eth },
    [OVS_ACTION_ATTR_POP_ETH] = { 0, "pop_eth", act_build_pop_eth },
    [OVS_ACTION_ATTR_PUSH_NSH] = { NESTED, "push_nsh", act_build_push_nsh },
    [OVS_ACTION_ATTR_POP_NSH] = { 0, "pop_nsh", act_build_pop_nsh },
    [OVS_ACTION_ATTR_CT] = { NESTED, "ct", act_build_ct },
    [OVS_ACTION_ATTR_CT_CLEAR] = { 0, "ct_clear", compile_ct_clear },
    [OVS_ACTION_ATTR_METER] = { 4, "meter", compile_meter },
    [OVS_ACTION_ATTR_CLONE] = { NESTED, "clone", compile_clone },
    [OVS_ACTION_ATTR_CHECK_PKT_LEN] = { NESTED, "check_pkt_len", compile_check_len },
    [ACTION_ADD_MPLS] = { 8, "add_mpls", act_build_add_mpls },
    [ACTION_DEC_TTL] = { NESTED, "dec_ttl", compile_dec_ttl },
    [ACTION_DROP] = { 4, "drop", compile_drop },
    [ACTION_PSAMPLE] = { NESTED, "psample", act_build_psample },
    [ACTION_TNL_PUSH] = { ACT_TNL_PUSH_SIZE, "tnl_push", act_build_tnl_push },
    [ACTION_TNL_POP] = { 4, "tnl_pop", act_build_tnl_pop },
    [ACTION_LB_OUTPUT] = { 4, "lb_output", compile_lb_output },
};

static void compile_action(struct act_builder *b, struct act_list *l, const struct odp_attr *attr)
{
    const struct action *action = attr->type < sizeof actions / sizeof actions[0] ? &actions[attr->type] : NULL;

    b->action = action ? action->name : NULL;
    b->field = NULL;
    if (!action || !action->compile)
        act_build_fail(b, EINVAL, "action unknown or not supported");
    else if (action->size != NESTED && attr->size != action->size)
        act_build_fail(b, EINVAL, "action of the wrong size");
    else if (l->ended)
        act_build_fail(b, EINVAL, "action behind drop");
    else
        action->compile(b, l, attr);
}

static void compile_list(struct act_builder *b, const char *name, const uint8_t *attrs, uint32_t size, const struct act_list *outer)
{
    struct odp_walk walk = { attrs, size };
    struct act_list l = *outer;
    uint32_t from = b->op_count;
    struct odp_attr attr;

    b->places[b->depth].list = name;
    b->places[b->depth++].index = 0;
    for (; !b->error && odp_next(&walk, &attr); b->places[b->depth - 1].index++)
        compile_action(b, &l, &attr);
    b->action = b->field = NULL;
    if (walk.left)
        act_build_fail(b, EINVAL, "action cut short");
    b->depth--;
    finish_list(b, from);
}

int act_compile(const uint8_t *attrs, uint32_t size, const struct key *key, struct act_prog **prog, const char **why)
{
    static const struct key none;
    struct act_builder b = { .attrs = attrs, .attrs_size = size, .key = key ? key : &none };
    const struct act_list outermost = { .known = act_known_of(key), .probability = UINT32_MAX };

    *prog = NULL;
    if (size > ACT_ATTRS_MAX)
        act_build_fail(&b, EMSGSIZE, "a list of actions has 32768 bytes at most");
    if (!b.error)
        compile_list(&b, "actions", attrs, size, &outermost);
    if (b.error) {
        act_build_abandon(&b);
        *why = b.why;
        return b.error;
    }
    *prog = act_build_finish(&b);
    if (!*prog) {
        act_build_abandon(&b);
        *why = "out of memory";
        return ENOMEM;
    }
    return 0;
}
