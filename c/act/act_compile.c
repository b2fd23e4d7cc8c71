/* SPDX-License-Identifier: Apache-2.0
 * act_compile.c - compiles ODP actions (act.h).
 *
 * What can be decided once is decided here: which effect is the last and may have the packets,
 * which obeys a trunc, where layers must be read again, and that changes which nothing sees are not
 * made. */
#include "act/act.h"

#include <errno.h>

#include "act/act_build_ct.h"
#include "act/act_build_set.h"
#include "act/act_build_userspace.h"
#include "port/port.h"

/* Not in every kernel's header; the numbers are Linux's. */
#define ACTION_DEC_TTL 23
#define ACTION_DROP 24
#define DEC_TTL_ACTION 1

static const uint8_t classes[] = {
#define X(code, class) [ACT_OP_##code] = ACT_##class,
    ACT_OPS(X)
#undef X
};

static void compile_list(struct act_builder *b, const uint8_t *attrs, uint32_t size, const struct act_list *outer);

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

/* Compiles the list in `nest` behind the operation `at`; returns how many operations it has. */
static uint32_t compile_nested(struct act_builder *b, const struct act_list *outer, const struct odp_attr *nest)
{
    struct act_list inner = *outer;
    uint32_t from = b->op_count;

    if (outer->depth == ACT_NEST_MAX) {
        act_build_fail(b, EOVERFLOW, "actions nested more than 16 deep");
        return 0;
    }
    inner.depth++;
    inner.parsed = false; /* Each list has its own layers. */
    compile_list(b, nest->at, nest->size, &inner);
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
    nested = compile_nested(b, l, nest);
    close_branch(b, l, at, nested, 0);
    l->acted |= nested > 0;
}

static void compile_sample(struct act_builder *b, struct act_list *l, const struct odp_attr *nest)
{
    struct odp_walk walk = { nest->at, nest->size };
    struct odp_attr attr, actions = { .at = NULL };
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
    nested = compile_nested(b, l, &actions);
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
    nested = compile_nested(b, l, &greater);
    nested_else = compile_nested(b, l, &less);
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
    nested = compile_nested(b, l, &actions);
    close_branch(b, l, at, nested, 0);
}

static void compile_push_vlan(struct act_builder *b, struct act_list *l, const struct odp_attr *attr)
{
    uint16_t tag[2];
    struct act_op *op;

    memcpy(tag, attr->at, sizeof tag);
    if (!odp_is_vlan(tag[0]) || !(tag[1] & ODP_BE16(KEY_TCI_PRESENT))) {
        act_build_fail(b, EINVAL, "push_vlan of an unknown tpid or without the present bit 0x1000");
        return;
    }
    tag[1] &= (uint16_t)~ODP_BE16(KEY_TCI_PRESENT);
    b->writes = true;
    l->parsed = false;
    l->tags++;
    op = act_build_op(b, ACT_OP_PUSH_VLAN);
    if (op)
        memcpy(&op->a, tag, sizeof tag);
}

static void compile_mpls(struct act_builder *b, struct act_list *l, const struct odp_attr *attr, bool push)
{
    uint16_t type = act_u16(attr->at + (push ? 4 : 0));
    struct act_op *op;

    if (push && !odp_is_mpls(type)) {
        act_build_fail(b, EINVAL, "push_mpls of an eth_type that is not MPLS");
        return;
    }
    act_build_layers(b, l);
    l->parsed = false;
    op = act_build_op(b, push ? ACT_OP_PUSH_MPLS : ACT_OP_POP_MPLS);
    if (!op)
        return;
    op->a = push ? act_u32(attr->at) : 0;
    op->b = type;
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

static void compile_pop_vlan(struct act_builder *b, struct act_list *l, const struct odp_attr *attr)
{
    (void)attr;
    b->writes = true;
    l->parsed = false;
    l->tags -= l->tags > 0;
    act_build_op(b, ACT_OP_POP_VLAN);
}

static void compile_drop(struct act_builder *b, struct act_list *l, const struct odp_attr *attr)
{
    (void)b, (void)attr;
    l->ended = true;
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

static void compile_push_mpls(struct act_builder *b, struct act_list *l, const struct odp_attr *attr)
{
    compile_mpls(b, l, attr, true);
}

static void compile_pop_mpls(struct act_builder *b, struct act_list *l, const struct odp_attr *attr)
{
    compile_mpls(b, l, attr, false);
}

static void compile_set(struct act_builder *b, struct act_list *l, const struct odp_attr *attr)
{
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
    void (*compile)(struct act_builder *, struct act_list *, const struct odp_attr *);
} actions[] = {
    [OVS_ACTION_ATTR_OUTPUT] = { 4, compile_output },
    [OVS_ACTION_ATTR_USERSPACE] = { NESTED, act_build_userspace },
    [OVS_ACTION_ATTR_SET] = { NESTED, compile_set },
    [OVS_ACTION_ATTR_PUSH_VLAN] = { 4, compile_push_vlan },
    [OVS_ACTION_ATTR_POP_VLAN] = { 0, compile_pop_vlan },
    [OVS_ACTION_ATTR_SAMPLE] = { NESTED, compile_sample },
    [OVS_ACTION_ATTR_RECIRC] = { 4, compile_recirc },
    [OVS_ACTION_ATTR_HASH] = { 8, compile_hash },
    [OVS_ACTION_ATTR_PUSH_MPLS] = { 8, compile_push_mpls },
    [OVS_ACTION_ATTR_POP_MPLS] = { 2, compile_pop_mpls },
    [OVS_ACTION_ATTR_SET_MASKED] = { NESTED, compile_set_masked },
    [OVS_ACTION_ATTR_TRUNC] = { 4, compile_trunc },
    [OVS_ACTION_ATTR_CT] = { NESTED, act_build_ct },
    [OVS_ACTION_ATTR_CT_CLEAR] = { 0, compile_ct_clear },
    [OVS_ACTION_ATTR_METER] = { 4, compile_meter },
    [OVS_ACTION_ATTR_CLONE] = { NESTED, compile_clone },
    [OVS_ACTION_ATTR_CHECK_PKT_LEN] = { NESTED, compile_check_len },
    [ACTION_DEC_TTL] = { NESTED, compile_dec_ttl },
    [ACTION_DROP] = { 4, compile_drop },
};

static void compile_action(struct act_builder *b, struct act_list *l, const struct odp_attr *attr)
{
    const struct action *action = attr->type < sizeof actions / sizeof actions[0] ? &actions[attr->type] : NULL;

    if (!action || !action->compile)
        act_build_fail(b, EINVAL, "action unknown or not supported");
    else if (action->size != NESTED && attr->size != action->size)
        act_build_fail(b, EINVAL, "action of the wrong size");
    else
        action->compile(b, l, attr);
}

static void compile_list(struct act_builder *b, const uint8_t *attrs, uint32_t size, const struct act_list *outer)
{
    struct odp_walk walk = { attrs, size };
    struct act_list l = *outer;
    uint32_t from = b->op_count;
    struct odp_attr attr;

    while (!b->error && odp_next(&walk, &attr)) {
        if (l.ended)
            act_build_fail(b, EINVAL, "action behind drop");
        compile_action(b, &l, &attr);
    }
    if (walk.left)
        act_build_fail(b, EINVAL, "action cut short");
    finish_list(b, from);
}

int act_compile(const uint8_t *attrs, uint32_t size, const struct key *key, struct act_prog **prog, const char **why)
{
    struct act_builder b = { .attrs = attrs, .attrs_size = size, .key = key };
    const struct act_list outermost = { .depth = 0 };

    *prog = NULL;
    if (size > ACT_ATTRS_MAX)
        act_build_fail(&b, EMSGSIZE, "a list of actions has 32768 bytes at most");
    else if (key->base.l2)
        act_build_fail(&b, EINVAL, "actions on packets without an Ethernet header are not supported");
    if (!b.error)
        compile_list(&b, attrs, size, &outermost);
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
