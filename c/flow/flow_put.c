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
static int read_mask(struct flow_table *table, const struct dp_op *op, const uint8_t *attrs, struct flow_put *put)
{
    struct flow_read *read = &table->read;
    int error;

    if (!(op->flags & DP_OPF_MASK) || !op->mask_size || op->mask_size > FLOW_READ_ATTRS)
        return odp_mask_read(op->flags & DP_OPF_MASK ? attrs : NULL, op->mask_size, &put->key, &put->mask, &put->why);
    if (read->size == op->mask_size && odp_mask_alike(&read->key, &put->key)
        && (read->from == attrs || !memcmp(read->attrs, attrs, op->mask_size))) {
        put->mask = read->mask;
        return 0;
    }
    error = odp_mask_read(attrs, op->mask_size, &put->key, &put->mask, &put->why);
    if (!error) {
        read->from = attrs;
        read->size = op->mask_size;
        read->key = put->key;
        read->mask = put->mask;
        memcpy(read->attrs, attrs, op->mask_size);
    }
    return error;
}

void flow_put_read(struct flow_table *table, const struct dp_op *op, const uint8_t *key, const uint8_t *mask, uint32_t ahead,
                   struct flow_put *put)
{
    put->key_error = put->error = odp_key_read(key, op->key_size, &put->key, &put->why);
    if (!put->error)
        put->error = read_mask(table, op, mask, put);
    if (put->error)
        return;
    if (op->flags & DP_OPF_UFID)
        memcpy(put->ufid, op->ufid, sizeof put->ufid);
    else
        flow_make_ufid(table, &put->key, put->ufid);
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

int flow_put_perform(struct flow_table *table, const struct dp_op *op, struct flow_put *put, const uint8_t *actions,
                     struct dp_result *result, const char **why)
{
    const bool create = op->flags & DP_OPF_CREATE, modify = op->flags & DP_OPF_MODIFY;
    struct flow *known = NULL, *found;
    struct act_prog *prog;
    struct key key;
    int error;

    if (put->error) {
        *why = put->why;
        return put->error;
    }
    if (op->flags & DP_OPF_UFID)
        known = flow_by_ufid(table, put->ufid);
    found = known ? known : flow_by_key(table, &put->key, &put->place);
    if (found && create && !modify) {
        *why = "an equal or overlapping flow exists";
        return EEXIST;
    }
    if (known && !same_flow(known, &put->key, &put->mask)) {
        *why = "the flow with this UFID has another key or mask";
        return ENOENT;
    }
    if (!found && !create) {
        *why = "no such flow";
        return ENOENT;
    }
    /* The actions meet the packets of the flow that gets them, which may be wider. */
    if (found)
        flow_key(found, &key);
    key = found ? matched(&key, &found->mask->mask) : matched(&put->key, &put->mask);
    error = flow_program(table, actions, op->actions_size, &key, &prog, why);
    if (error)
        return error;
    if (found) {
        flow_write_stats(table, found, result);
        flow_set_program(table, found, prog);
        if (op->flags & DP_OPF_ZERO_STATS)
            flow_zero_stats(table, found);
        return 0;
    }
    if (!(op->flags & DP_OPF_UFID)) {
        /* Given by hand to some other flow.  The version and the variant stay. */
        while (flow_by_ufid(table, put->ufid))
            put->ufid[1] += 1ull << 8;
    }
    error = flow_add(table, put, prog);
    if (error) {
        *why = error == ENOSPC ? "the flow table, or the set of masks of this port, is full" : "out of memory";
        act_free(prog);
        return error;
    }
    memcpy(result->ufid, put->ufid, sizeof put->ufid);
    return 0;
}

int flow_put(struct flow_table *table, const struct dp_op *op, const uint8_t *key, const uint8_t *mask, const uint8_t *actions,
             const char **why)
{
    struct dp_result result = { .size = sizeof result };
    struct flow_put put;

    table->read.from = NULL;
    flow_put_read(table, op, key, mask, 0, &put);
    return flow_put_perform(table, op, &put, actions, &result, why);
}
