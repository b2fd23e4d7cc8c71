/* SPDX-License-Identifier: Apache-2.0
 * flow_put.c - flows put: read from bytes, added or changed.
 *
 * What put means is what Open vSwitch's userspace datapath (3.1) does, and the kernel where that
 * one is lax:
 *   found       the flow of that UFID if one is given and known, else the flow that a packet with
 *               this key would hit
 *   CREATE      found: EEXIST, be it equal or only overlapping
 *   MODIFY      not found: ENOENT; found: its actions are replaced; so with both flags
 *   a UFID that is known, but under another key or mask: EEXIST with CREATE alone, else ENOENT
 *   neither     as MODIFY
 *   MODIFY alone with a UFID and without a key: the flow of that UFID, whatever its key and mask
 * ZERO_STATS counts with MODIFY only.  PROBE puts like any other, because a program that probes
 * asks for the flow next; its failures have no text. */
#include <errno.h>
#include <string.h>

#include <rte_byteorder.h>

#include "flow/flow_int.h"
#include "odp/odp.h"

void flow_write_stats(struct flow_table *table, const struct flow *flow, struct dp_result *result)
{
    flow_stats(table, flow, &result->stats);
    memcpy(result->ufid, flow->ufid, sizeof result->ufid);
}

/* A known UFID counts for nothing unless key and mask are the flow's own. */
static bool same_flow(const struct flow *flow, const struct key *key, const struct key *mask)
{
    struct key own;

    if (memcmp(&flow->mask->mask, mask, sizeof *mask))
        return false;
    flow_key(flow, &own);
    for (int w = 0; w < KEY_WORDS; w++) {
        if ((own.words[w] ^ key->words[w]) & mask->words[w])
            return false;
    }
    return true;
}

/* The mask of a key.  That of the last one serves again while neither its bytes nor what they mean
 * change. */
static int read_mask(struct flow_table *table, const struct flow_step *step, struct flow_put *put)
{
    const bool given = step->op.flags & DP_OPF_MASK;
    const uint32_t size = step->op.mask_size;
    struct flow_read *read = &table->read;
    int error;

    if (given && size && size <= FLOW_READ_ATTRS && read->size == size && odp_mask_alike(&read->key, &put->key)
        && (read->from == step->mask || !memcmp(read->attrs, step->mask, size))) {
        if (put->mask_id != read->id)
            put->mask = read->mask;
        put->mask_id = read->id;
        return 0;
    }
    put->mask_id = 0;
    error = odp_mask_read(given ? step->mask : NULL, size, &put->key, &put->mask, &put->why);
    if (!error && given && size && size <= FLOW_READ_ATTRS) {
        read->from = step->mask;
        read->size = size;
        read->key = put->key;
        read->mask = put->mask;
        memcpy(read->attrs, step->mask, size);
        put->mask_id = ++read->id;
    }
    return error;
}

static int read_key(const struct flow_step *step, struct flow_put *put)
{
    if (!step->plain) {
        put->plain = false;
        return odp_key_read(step->key, step->op.key_size, &put->key, &put->why);
    }
    if (!put->plain)
        memset(&put->key, 0, sizeof put->key);
    put->plain = true;
    put->key.base = *step->plain;
    return 0;
}

/* Whether a put has its UFID alone say which flow it changes. */
static bool is_named(const struct flow_step *step)
{
    const uint32_t flags = step->op.flags;

    return !step->op.key_size && !step->plain && flags & DP_OPF_MODIFY && flags & DP_OPF_UFID && !(flags & DP_OPF_CREATE);
}

static void read_ufid(struct flow_table *table, const struct flow_step *step, struct flow_put *put)
{
    put->given = step->op.flags & DP_OPF_UFID;
    if (!put->given)
        return;
    memcpy(put->ufid, step->op.ufid, sizeof put->ufid);
    put->name = flow_names_tag(table, put->ufid);
}

/* A put without a key: nothing else of it has to be read. */
static void read_name(struct flow_table *table, const struct flow_step *step, struct flow_put *put)
{
    put->key_error = put->error = step->op.flags & DP_OPF_PACKET ? EINVAL : 0;
    put->why = "a packet needs the key of its flow";
    read_ufid(table, step, put);
    flow_names_prefetch(table, put->ufid, put->name);
}

void flow_put_read(struct flow_table *table, const struct flow_step *step, uint32_t ahead, struct flow_put *put)
{
    put->found = 0;
    put->named = is_named(step);
    if (put->named) {
        read_name(table, step, put);
        return;
    }
    put->key_error = put->error = read_key(step, put);
    if (!put->error)
        put->error = read_mask(table, step, put);
    if (put->error)
        return;
    read_ufid(table, step, put);
    flow_look(table, put, ahead);
}

/* What a flow says of its packets: what it matches, and in whole where a part says nothing. */
static struct key matched(const struct key *all, const struct key *mask)
{
    struct key key;

    for (int w = 0; w < KEY_WORDS; w++)
        key.words[w] = all->words[w] & mask->words[w];
    if (mask->base.nw_proto != 0xff)
        key.base.nw_proto = 0;
    if (mask->base.tp_src != RTE_BE16(0xff) || mask->base.tp_dst != RTE_BE16(0xff))
        key.base.tp_src = 0; /* ICMPv6: type and code, a byte each, tell neighbour discovery. */
    if (mask->wide.l3x.nsh.np != 0xff && key.base.eth_type == RTE_BE16(0x894f))
        key.wide.l3x.nsh.np = 0;
    return key;
}

/* The program of a put.  Actions meet the packets of the flow that gets them, which is wider than
 * the put, perhaps, if it was found. */
static int make_program(struct flow_table *table, const struct flow_put *put, const struct flow *found, const uint8_t *actions,
                        uint32_t size, struct act_prog **prog, const char **why)
{
    struct key key;

    *prog = flow_recent_program(table, actions, size);
    if (*prog)
        return 0;
    if (found)
        flow_key(found, &key);
    key = found ? matched(&key, &found->mask->mask) : matched(&put->key, &put->mask);
    return flow_program(table, actions, size, &key, prog, why);
}

/* Adds a flow that is not there. */
static int add(struct flow_table *table, struct flow_put *put, struct act_prog *prog, const char **why)
{
    const int error = flow_add(table, put, prog);

    if (error) {
        *why = error == ENOSPC ? "the flow table, or the set of masks of this port, is full" : "out of memory";
        act_free(prog);
    }
    return error;
}

int flow_put_perform(struct flow_table *table, const struct dp_op *op, struct flow_put *put, const uint8_t *actions,
                     struct dp_result *result, const char **why)
{
    const bool create = op->flags & DP_OPF_CREATE, modify = op->flags & DP_OPF_MODIFY;
    struct flow *known = NULL, *found;
    struct act_prog *prog;
    int error;

    if (put->error) {
        *why = put->why;
        return put->error;
    }
    if (put->given)
        known = flow_names_find(table, put->ufid, put->name);
    found = known || put->named ? known : flow_by_key(table, &put->key, &put->place);
    if (found && create && !modify) {
        *why = "an equal or overlapping flow exists";
        memcpy(result->ufid, found->ufid, sizeof found->ufid);
        return EEXIST;
    }
    if (known && !put->named && !same_flow(known, &put->key, &put->mask)) {
        *why = "the flow with this UFID has another key or mask";
        return ENOENT;
    }
    if (!found && !create) {
        *why = "no such flow";
        return ENOENT;
    }
    error = make_program(table, put, found, actions, op->actions_size, &prog, why);
    if (error)
        return error;
    if (found) {
        memcpy(result->ufid, found->ufid, sizeof found->ufid);
        /* They lie in a line of each thread's. */
        if (op->flags & (DP_OPF_WANT_STATS | DP_OPF_ZERO_STATS))
            flow_stats(table, found, &result->stats);
        flow_set_program(table, found, prog);
        if (op->flags & DP_OPF_ZERO_STATS)
            flow_zero_stats(table, found);
        return 0;
    }
    error = add(table, put, prog, why);
    if (!error)
        memcpy(result->ufid, put->ufid, sizeof put->ufid);
    return error;
}

int flow_put(struct flow_table *table, const struct dp_op *op, const uint8_t *key, const uint8_t *mask, const uint8_t *actions,
             const char **why)
{
    const struct flow_step step = { .op = *op, .key = key, .mask = mask, .actions = actions };
    struct dp_result result = { .size = sizeof result };
    struct flow_put put;

    flow_put_init(&put);
    table->read.from = NULL;
    flow_put_read(table, &step, 0, &put);
    return flow_put_perform(table, op, &put, actions, &result, why);
}
