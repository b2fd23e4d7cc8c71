/* SPDX-License-Identifier: Apache-2.0
 * act_build.c - see act_build.h; and what act.h says of a finished program. */
#include "act/act_build.h"

#include <errno.h>
#include <stdio.h>

#include "base/invariant.h"
#include "cls/cls.h"
#include "packet/userdata.h"

void act_build_fail(struct act_builder *b, int error, const char *why)
{
    static _Thread_local char text[256];
    int used = 0;

    if (b->error)
        return;
    b->error = error;
    b->why = why;
    for (uint32_t i = 0; i < b->depth && used < (int)sizeof text; i++)
        used += snprintf(text + used, sizeof text - (size_t)used, "%s%s[%u]", i ? "." : "", b->places[i].list, b->places[i].index);
    if (!used || used >= (int)sizeof text)
        return;
    snprintf(text + used, sizeof text - (size_t)used, "%s%s%s%s: %s", b->action ? "." : "", b->action ? b->action : "",
             b->field ? "." : "", b->field ? b->field : "", why);
    b->why = text;
}

struct act_op *act_build_op(struct act_builder *b, enum act_code code)
{
    if (b->error)
        return NULL;
    if (b->op_count == b->op_room) {
        uint32_t room = b->op_room ? 2 * b->op_room : 16;
        struct act_op *ops = realloc(b->ops, room * sizeof *ops);

        if (!ops) {
            act_build_fail(b, ENOMEM, "out of memory");
            return NULL;
        }
        b->ops = ops;
        b->op_room = room;
    }
    b->ops[b->op_count] = (struct act_op){ .code = (uint8_t)code };
    return &b->ops[b->op_count++];
}

void act_build_effect(struct act_builder *b, struct act_list *l, enum act_code code, uint32_t a)
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

uint32_t act_build_operand(struct act_builder *b, uint32_t size)
{
    uint32_t at = b->pool_size, padded = (size + 15u) & ~15u;

    if (b->error)
        return 0;
    if (padded > b->pool_room - b->pool_size) {
        uint32_t room = 2 * b->pool_room + padded + 256;
        uint8_t *pool = realloc(b->pool, room);

        if (!pool) {
            act_build_fail(b, ENOMEM, "out of memory");
            return 0;
        }
        b->pool = pool;
        b->pool_room = room;
    }
    memset(b->pool + at, 0, padded);
    b->pool_size += padded;
    return at;
}

uint8_t act_build_tags(const struct act_list *l)
{
    /* No packet has room for that many. */
    return l->tags < UINT8_MAX ? (uint8_t)l->tags : UINT8_MAX;
}

void act_build_layers(struct act_builder *b, struct act_list *l)
{
    struct act_op *op;

    b->writes = true;
    if (l->parsed)
        return;
    l->parsed = true;
    op = act_build_op(b, ACT_OP_PARSE);
    if (op)
        op->tags = act_build_tags(l);
}

/* Whether an operation needs act_layers as the last ACT_OP_PARSE left them. */
static bool uses_layers(const struct act_op *op)
{
    return (op->code == ACT_OP_SET && op->a != OVS_KEY_ATTR_ETHERNET) || op->code == ACT_OP_PUSH_MPLS || op->code == ACT_OP_POP_MPLS
           || op->code == ACT_OP_POP_ETH || op->code == ACT_OP_DEC_TTL;
}

static bool all_ones(const uint8_t *at, uint32_t size)
{
    while (size--)
        if (*at++ != 0xff)
            return false;
    return true;
}

void act_build_fuse(struct act_builder *b, uint32_t from)
{
    static const struct odp_ipv4 only_ttl = { .ttl = 0xff };
    const struct act_op *op, *end, *next;
    struct act_rewrite re = { .what = ACT_RE_MAC };
    uint32_t operand, keep;
    bool layers = false;

    if (b->error || from == b->op_count)
        return;
    op = b->ops + from;
    end = b->ops + b->op_count;
    if (op->code != ACT_OP_SET || op->a != OVS_KEY_ATTR_ETHERNET
        || !all_ones(b->pool + op->operand + 12, 12))
        return;
    memcpy(re.head, b->pool + op->operand + 6, 6); /* The attribute has the source first. */
    memcpy(re.head + 6, b->pool + op->operand, 6);
    op++;
    if (op + 1 < end && op[0].code == ACT_OP_PARSE && !op[0].tags && op[1].code == ACT_OP_SET && op[1].a == OVS_KEY_ATTR_IPV4
        && !memcmp(b->pool + op[1].operand + 12, &only_ttl, sizeof only_ttl)) {
        re.what |= ACT_RE_TTL;
        re.ttl = b->pool[op[1].operand + offsetof(struct odp_ipv4, ttl)];
        op += 2;
    }
    if (op < end && op->code == ACT_OP_PUSH_VLAN) {
        re.what |= ACT_RE_VLAN;
        memcpy(re.head + 12, &op->a, 4);
        op++;
    }
    /* The parse that has gone may have been for others, too. */
    for (next = op; next < end && next->code != ACT_OP_PARSE && !layers; next += 1 + next->nested + next->nested_else)
        layers = uses_layers(next);
    keep = (uint32_t)(op - b->ops);
    if (layers && keep - from < 2)
        return;
    operand = act_build_operand(b, sizeof re);
    if (b->error)
        return;
    memcpy(b->pool + operand, &re, sizeof re);
    b->ops[from] = (struct act_op){ .code = ACT_OP_REWRITE, .operand = operand };
    if (layers)
        b->ops[++from] = (struct act_op){ .code = ACT_OP_PARSE };
    memmove(b->ops + from + 1, b->ops + keep, (b->op_count - keep) * sizeof b->ops[0]);
    b->op_count -= keep - (from + 1);
}

static void free_userdata(const struct act_op *ops, uint32_t count, const uint8_t *pool)
{
    struct userdata *userdata;

    for (uint32_t i = 0; i < count; i++)
        if (ops[i].code == ACT_OP_USERSPACE) {
            memcpy(&userdata, pool + ops[i].operand, sizeof userdata);
            userdata_free(userdata);
        }
}

struct userdata_actions *act_build_shared(struct act_builder *b)
{
    if (b->shared)
        return b->shared;
    b->shared = malloc(sizeof *b->shared + b->attrs_size);
    if (!b->shared)
        return NULL;
    atomic_init(&b->shared->references, 1);
    b->shared->size = b->attrs_size;
    memcpy(b->shared->bytes, b->attrs, b->attrs_size);
    return b->shared;
}

void act_build_abandon(struct act_builder *b)
{
    free_userdata(b->ops, b->op_count, b->pool);
    userdata_actions_free(b->shared);
    free(b->ops);
    free(b->pool);
}

struct act_prog *act_build_finish(struct act_builder *b)
{
    /* The pool is aligned for what lies in it. */
    size_t head = (sizeof(struct act_prog) + b->op_count * sizeof(struct act_op) + 15) & ~(size_t)15;
    struct act_prog *prog = malloc(head + b->pool_size + b->attrs_size);
    uint8_t *pool;

    if (!prog)
        return NULL;
    pool = (uint8_t *)prog + head;
    *prog = (struct act_prog){ .kind = ACT_PROGRAM, .op_count = b->op_count, .attrs_size = b->attrs_size, .pool = pool,
                               .attrs = pool + b->pool_size, .needs_md = b->needs_md, .writes = b->writes, .cuts = b->cuts, .tracks = b->tracks, .balances = b->balances };
    if (b->op_count)
        memcpy(prog->ops, b->ops, b->op_count * sizeof b->ops[0]);
    if (b->pool_size)
        memcpy(pool, b->pool, b->pool_size);
    if (b->attrs_size)
        memcpy(pool + b->pool_size, b->attrs, b->attrs_size);
    if (!b->op_count) {
        prog->kind = ACT_DROP;
    } else if (b->op_count == 1 && prog->ops[0].code == ACT_OP_OUTPUT) {
        prog->kind = ACT_OUTPUT;
        prog->port = prog->ops[0].a;
    }
    prog->quick = b->op_count == 2 && prog->ops[0].code == ACT_OP_REWRITE && prog->ops[1].code == ACT_OP_OUTPUT && !prog->ops[1].b
                  && prog->ops[1].last && !prog->needs_md;
    userdata_actions_free(b->shared);
    free(b->ops);
    free(b->pool);
    return prog;
}

struct act_prog *act_share(struct act_prog *prog)
{
    prog->shares++;
    return prog;
}

void act_free(struct act_prog *prog)
{
    INVARIANT(!prog || prog->kind <= ACT_PROGRAM);
    if (prog && prog->shares) {
        prog->shares--;
        return;
    }
    if (prog)
        free_userdata(prog->ops, prog->op_count, prog->pool);
    free(prog);
}

enum act_kind act_kind(const struct act_prog *prog)
{
    return (enum act_kind)prog->kind;
}

uint64_t act_verdict(const struct act_prog *prog)
{
    switch (act_kind(prog)) {
    case ACT_DROP:
        return CLS_VERDICT_DROP;
    case ACT_OUTPUT:
        return (uint64_t)prog->port << 2 | CLS_VERDICT_OUTPUT;
    case ACT_PROGRAM:
        break;
    }
    return (uintptr_t)prog;
}

bool act_tracks(const struct act_prog *prog)
{
    return prog->tracks;
}

const struct ct_request *act_track(const struct act_prog *prog, uint32_t *recirc_id)
{
    if (prog->op_count != 2 || prog->ops[0].code != ACT_OP_CT || prog->ops[1].code != ACT_OP_RECIRC)
        return NULL;
    *recirc_id = prog->ops[1].a;
    return (const void *)(prog->pool + prog->ops[0].operand);
}

uint32_t act_output_port(const struct act_prog *prog)
{
    return prog->port;
}

const uint8_t *act_attrs(const struct act_prog *prog, uint32_t *size)
{
    *size = prog->attrs_size;
    return prog->attrs;
}
