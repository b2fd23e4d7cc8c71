/* SPDX-License-Identifier: Apache-2.0
 * act_compile.c - compiles ODP actions (act.h).
 *
 * What can be decided once is decided here: which effect is the last and may have the packets, which obeys a trunc, where layers must be read
 * again, and that changes which nothing sees are not made. */
#include "act/act.h"

#include <errno.h>
#include <stdatomic.h>

#include "act/act_build_set.h"
#include "packet/userdata.h"

/* Not in every kernel's header; the numbers are Linux's. */
#define ACTION_DEC_TTL 23
#define ACTION_DROP 24
#define DEC_TTL_ACTION 1

static void compile_list(struct act_builder *b, const uint8_t *attrs, uint32_t size, const struct act_list *outer);

static void add_effect(struct act_builder *b, struct act_list *l, enum act_code code, uint32_t a)
{
    struct act_op *op = act_build_op(b, code);

    if (!op)
        return;
    op->a = a;
    if (code != ACT_OP_RECIRC)
        op->b = l->cut;
    l->cut = false;
    l->acted = true;
}

static void compile_userspace(struct act_builder *b, struct act_list *l, const struct odp_attr *nest)
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
        uint32_t actions_size = actions ? b->attrs_size : 0;

        userdata = malloc(sizeof *userdata + given.size + actions_size);
        if (!userdata) {
            act_build_fail(b, ENOMEM, "out of memory");
            return;
        }
        atomic_init(&userdata->references, 1);
        userdata->given = has_userdata;
        userdata->size = given.size;
        userdata->actions_size = actions_size;
        if (given.size)
            memcpy(userdata->bytes, given.at, given.size);
        if (actions_size)
            memcpy(userdata->bytes + given.size, b->attrs, actions_size);
    }
    b->needs_md = true;
    add_effect(b, l, ACT_OP_USERSPACE, 0);
    if (b->error) {
        userdata_free(userdata);
        return;
    }
    b->ops[b->op_count - 1].operand = operand;
    memcpy(b->pool + operand, &userdata, sizeof userdata);
}

/* Marks what the list does last, drops changes after it.  `from`: its first operation. */
static void finish_list(struct act_builder *b, uint32_t from)
{
    uint32_t last = UINT32_MAX, after = from;

    act_build_fuse(b, from);
    if (b->error)
        return;
    for (uint32_t i = from; i < b->op_count; i += 1 + b->ops[i].nested + b->ops[i].nested_else) {
        const struct act_op *op = &b->ops[i];

        if (op->code < ACT_OP_DEC_TTL || (op->code == ACT_OP_DEC_TTL && op->nested)) {
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

static void compile_simple(struct act_builder *b, struct act_list *l, const struct odp_attr *attr)
{
    struct act_op *op;

    switch (attr->type) {
    case OVS_ACTION_ATTR_OUTPUT:
        add_effect(b, l, ACT_OP_OUTPUT, act_u32(attr->at));
        break;
    case OVS_ACTION_ATTR_RECIRC:
        b->needs_md = true;
        add_effect(b, l, ACT_OP_RECIRC, act_u32(attr->at));
        break;
    case OVS_ACTION_ATTR_TRUNC:
        if (act_u32(attr->at) < 14)
            act_build_fail(b, EINVAL, "trunc below 14 bytes");
        op = act_build_op(b, ACT_OP_TRUNC);
        if (op)
            op->a = act_u32(attr->at);
        l->cut = b->cuts = true;
        break;
    case OVS_ACTION_ATTR_HASH:
        if (act_u32(attr->at) > ACT_HASH_SYM_L4)
            act_build_fail(b, EINVAL, "unknown hash algorithm");
        b->needs_md = b->writes = true;
        op = act_build_op(b, ACT_OP_HASH);
        if (op) {
            op->a = act_u32(attr->at);
            op->tags = act_build_tags(l);
            memcpy(&op->b, attr->at + 4, 4);
        }
        break;
    case OVS_ACTION_ATTR_PUSH_VLAN:
        compile_push_vlan(b, l, attr);
        break;
    case OVS_ACTION_ATTR_POP_VLAN:
        b->writes = true;
        l->parsed = false;
        l->tags -= l->tags > 0;
        act_build_op(b, ACT_OP_POP_VLAN);
        break;
    case OVS_ACTION_ATTR_PUSH_MPLS:
    case OVS_ACTION_ATTR_POP_MPLS:
        compile_mpls(b, l, attr, attr->type == OVS_ACTION_ATTR_PUSH_MPLS);
        break;
    default:
        l->ended = true; /* Drop. */
        break;
    }
}

/* Payload sizes of actions without nests; -1: other or unknown. */
static int simple_size(uint32_t type)
{
    switch (type) {
    case OVS_ACTION_ATTR_OUTPUT:
    case OVS_ACTION_ATTR_PUSH_VLAN:
    case OVS_ACTION_ATTR_RECIRC:
    case OVS_ACTION_ATTR_TRUNC:
    case ACTION_DROP:
        return 4;
    case OVS_ACTION_ATTR_HASH:
    case OVS_ACTION_ATTR_PUSH_MPLS:
        return 8;
    case OVS_ACTION_ATTR_POP_MPLS:
        return 2;
    case OVS_ACTION_ATTR_POP_VLAN:
        return 0;
    default:
        return -1;
    }
}

static void compile_action(struct act_builder *b, struct act_list *l, const struct odp_attr *attr)
{
    int size = simple_size(attr->type);

    if (size >= 0) {
        if (attr->size != size)
            act_build_fail(b, EINVAL, "action of the wrong size");
        else
            compile_simple(b, l, attr);
        return;
    }
    switch (attr->type) {
    case OVS_ACTION_ATTR_USERSPACE:
        compile_userspace(b, l, attr);
        break;
    case OVS_ACTION_ATTR_SET:
    case OVS_ACTION_ATTR_SET_MASKED:
        act_build_set(b, l, attr, attr->type == OVS_ACTION_ATTR_SET_MASKED);
        break;
    case OVS_ACTION_ATTR_SAMPLE:
        compile_sample(b, l, attr);
        break;
    case OVS_ACTION_ATTR_CLONE:
        compile_clone(b, l, attr);
        break;
    case OVS_ACTION_ATTR_CHECK_PKT_LEN:
        compile_check_len(b, l, attr);
        break;
    case ACTION_DEC_TTL:
        compile_dec_ttl(b, l, attr);
        break;
    default:
        act_build_fail(b, EINVAL, "action unknown or not supported");
        break;
    }
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
    struct act_builder b = { .attrs = attrs, .attrs_size = size };
    const struct act_list outermost = { .depth = 0 };

    *prog = NULL;
    if (key->base.l2)
        act_build_fail(&b, EINVAL, "actions on packets without an Ethernet header are not supported");
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
