/* SPDX-License-Identifier: Apache-2.0
 * flow_op.c - batches of operations on flows, from bytes and to bytes.
 *
 * What put means is what Open vSwitch's userspace datapath (3.1) does, and the kernel where that one is lax:
 *   found       the flow of that UFID if one is given and known, else the flow that a packet with this key would hit
 *   CREATE      found: EEXIST, be it equal or only overlapping
 *   MODIFY      not found: ENOENT; found: its actions are replaced; so with both flags
 *   a UFID that is known, but under another key or mask: EEXIST with CREATE alone, else ENOENT
 *   neither     as MODIFY
 * ZERO_STATS counts with MODIFY only.  PROBE puts like any other, for who probes asks for the flow next; it keeps its failures quiet. */
#include <errno.h>
#include <string.h>

#include "error.h"
#include "flow_int.h"
#include "odp.h"
#include "pmd.h"

/* Where the parts of an operation lie. */
struct parts {
    const uint8_t *key, *mask, *actions, *packet;
};

/* Checks an operation's sizes against what is left of the buffer. */
static bool op_read(const uint8_t *at, uint32_t left, struct dp_op *op, struct parts *parts)
{
    uint64_t need = sizeof *op;

    if (left < sizeof *op)
        return false;
    memcpy(op, at, sizeof *op);
    parts->key = at + need;
    need += ((uint64_t)op->key_size + 7) & ~7ull;
    parts->mask = at + (need <= left ? need : 0);
    need += ((uint64_t)op->mask_size + 7) & ~7ull;
    parts->actions = at + (need <= left ? need : 0);
    need += ((uint64_t)op->actions_size + 7) & ~7ull;
    parts->packet = at + (need <= left ? need : 0);
    need += ((uint64_t)op->packet_size + 7) & ~7ull;
    return need <= op->size && op->size <= left && op->size % 8 == 0;
}

static void write_stats(struct flow_table *table, const struct flow *flow, struct dp_result *result)
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

static int put(struct flow_table *table, const struct dp_op *op, const struct parts *parts, struct dp_result *result,
               const char **why)
{
    const bool create = op->flags & DP_OPF_CREATE, modify = op->flags & DP_OPF_MODIFY;
    struct flow *known = NULL, *found;
    struct act_prog *prog;
    struct key key, mask;
    uint64_t ufid[2];
    int error;

    error = odp_key_read(parts->key, op->key_size, &key, why);
    if (!error)
        error = odp_mask_read(op->flags & DP_OPF_MASK ? parts->mask : NULL, op->mask_size, &key, &mask, why);
    if (error)
        return error;
    if (op->flags & DP_OPF_UFID) {
        memcpy(ufid, op->ufid, sizeof ufid);
        known = flow_by_ufid(table, ufid);
    }
    found = known ? known : flow_by_key(table, &key);
    if (found && create && !modify) {
        *why = "an equal or overlapping flow exists";
        return EEXIST;
    }
    if (known && !same_flow(known, &key, &mask)) {
        *why = "the flow with this UFID has another key or mask";
        return ENOENT;
    }
    if (!found && !create) {
        *why = "no such flow";
        return ENOENT;
    }
    error = act_compile(parts->actions, op->actions_size, &key, &prog, why);
    if (error)
        return error;
    if (found) {
        write_stats(table, found, result);
        flow_set_program(table, found, prog);
        if (op->flags & DP_OPF_ZERO_STATS)
            flow_zero_stats(table, found);
        return 0;
    }
    if (!(op->flags & DP_OPF_UFID)) {
        flow_make_ufid(table, &key, ufid);
        while (flow_by_ufid(table, ufid)) /* Given by hand to some other flow.  The version and the variant stay. */
            ufid[1] += 1ull << 8;
    }
    error = flow_add(table, ufid, &key, &mask, prog);
    if (error) {
        *why = error == ENOSPC ? "the flow table, or the set of masks of this port, is full" : "out of memory";
        act_free(prog);
        return error;
    }
    memcpy(result->ufid, ufid, sizeof ufid);
    return 0;
}

/* The flow that delete or get is about. */
static int find(struct flow_table *table, const struct dp_op *op, const struct parts *parts, struct flow **flow, const char **why)
{
    if (op->flags & DP_OPF_UFID) {
        uint64_t ufid[2];

        memcpy(ufid, op->ufid, sizeof ufid);
        *flow = flow_by_ufid(table, ufid);
    } else {
        struct key key;
        int error = odp_key_read(parts->key, op->key_size, &key, why);

        if (error)
            return error;
        *flow = flow_by_key(table, &key);
    }
    if (*flow)
        return 0;
    *why = "no such flow";
    return ENOENT;
}

static int get(struct flow_table *table, const struct dp_op *op, const struct parts *parts, struct dp_result *result, uint8_t *rest,
               uint32_t room, const char **why)
{
    struct flow *flow;
    uint32_t sizes[3], used;
    int error = find(table, op, parts, &flow, why);

    if (error)
        return error;
    used = flow_write(flow, rest, room, sizes);
    if (!used) {
        *why = "the flow does not fit the buffer for results";
        return ENOBUFS;
    }
    write_stats(table, flow, result);
    result->key_size = sizes[0];
    result->mask_size = sizes[1];
    result->actions_size = sizes[2];
    result->size += used;
    return 0;
}

static int delete(struct flow_table *table, const struct dp_op *op, const struct parts *parts, struct dp_result *result,
                  const char **why)
{
    struct flow *flow;
    int error = find(table, op, parts, &flow, why);

    if (error)
        return error;
    write_stats(table, flow, result);
    flow_remove(table, flow);
    return 0;
}

static const char *name_of(uint32_t type)
{
    switch (type) {
    case DP_OP_PUT:
        return "flow put";
    case DP_OP_DELETE:
        return "flow delete";
    case DP_OP_GET:
        return "flow get";
    case DP_OP_EXECUTE:
        return "execute";
    default:
        return "operation";
    }
}

/* One operation; `rest` is where what follows its result may go. */
static void perform(struct flow_table *table, struct pmd *control, const struct dp_op *op, const struct parts *parts,
                    struct dp_result *result, uint8_t *rest, uint32_t room)
{
    const char *why = NULL;
    int error;

    switch (op->type) {
    case DP_OP_PUT:
        error = put(table, op, parts, result, &why);
        break;
    case DP_OP_DELETE:
        error = delete(table, op, parts, result, &why);
        break;
    case DP_OP_GET:
        error = get(table, op, parts, result, rest, room, &why);
        break;
    case DP_OP_EXECUTE:
        error = flow_execute(table, control, op, parts->key, parts->actions, parts->packet, &why);
        break;
    default:
        error = EINVAL;
        why = "no such operation";
        break;
    }
    result->error = (uint32_t)error;
    if (error && !(op->flags & DP_OPF_PROBE))
        error_set(error, "%s: %s", name_of(op->type), why ? why : strerror(error));
}

int flow_operate(struct flow_table *table, struct pmd *control, const uint8_t *ops, uint32_t ops_size, uint32_t count,
                 uint8_t *results, uint32_t results_size, uint32_t *results_used)
{
    uint32_t at = 0, used = 0;
    struct parts parts;
    struct dp_op op;

    *results_used = 0;
    if (count > results_size / sizeof(struct dp_result))
        return error_set(EINVAL, "The buffer for results is too small for %u of them", count);
    /* All or nothing: a batch that is malformed further on has no effect. */
    for (uint32_t i = 0; i < count; i++, at += op.size) {
        if (!op_read(ops + at, ops_size - at, &op, &parts))
            return error_set(EINVAL, "Operation %u does not fit its buffer", i);
    }
    at = 0;
    for (uint32_t i = 0; i < count; i++, at += op.size) {
        struct dp_result result = { .size = sizeof result };
        uint32_t kept = (count - i) * (uint32_t)sizeof result; /* For the headers of this and all later results. */

        op_read(ops + at, ops_size - at, &op, &parts);
        perform(table, control, &op, &parts, &result, results + used + sizeof result, results_size - used - kept);
        memcpy(results + used, &result, sizeof result);
        used += result.size;
    }
    pmd_flush(control);
    rcu_reclaim(table->rcu);
    *results_used = used;
    return 0;
}

int flow_put(struct flow_table *table, const struct dp_op *op, const uint8_t *key, const uint8_t *mask, const uint8_t *actions,
             const char **why)
{
    const struct parts parts = { .key = key, .mask = mask, .actions = actions };
    struct dp_result result = { .size = sizeof result };

    return put(table, op, &parts, &result, why);
}
