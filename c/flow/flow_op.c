/* SPDX-License-Identifier: Apache-2.0
 * flow_op.c - batches of operations on flows, from bytes and to bytes.
 *
 * Puts are read some operations ahead of their turn, and what they will touch is fetched meanwhile:
 * in a table of a million flows each would wait for memory three times. */
#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "ct/ct.h"
#include "flow/flow_int.h"
#include "odp/odp.h"
#include "packet/eal_packet.h"
#include "packet/worker.h"
#include "path/burst.h"

#define AHEAD 8u                     /* Operations, where puts are read. */
#define PUTS 16u                     /* Kept: those ahead, and the one before. */

/* Where the parts of an operation lie.  Key and mask may be those of an operation before. */
struct parts {
    const uint8_t *key, *mask, *actions, *packet;
    uint32_t key_size, mask_size;
};

/* A batch under way. */
struct batch {
    const uint8_t *ops;
    uint32_t size, count;
    const struct flow_upcalls *upcalls;
    /* Operations that were looked at, and where the next one begins. */
    uint32_t read, read_at;
    struct parts read_parts;         /* Of the last of them. */
    uint32_t waiting;                /* Puts among them whose turn is to come. */
    struct flow_put puts[PUTS];      /* Of operation i: i % PUTS, ... */
    const uint8_t *keys[PUTS];       /* ... where its key was ... */
    uint32_t key_sizes[PUTS];        /* ... and its size; 0: it was no put. */
    struct flow_packets packets;
};

/* Takes a part of an operation, or the one before if `same`; false: there is none, or there are
 * two. */
static bool take_part(const uint8_t *at, uint32_t left, uint64_t *need, bool same, uint32_t *size, const uint8_t **last, uint32_t *last_size)
{
    if (same) {
        if (*size || !*last)
            return false;
        *size = *last_size;
        return true;
    }
    *last = at + (*need <= left ? *need : 0);
    *last_size = *size;
    *need += ((uint64_t)*size + 7) & ~7ull;
    return true;
}

/* Takes key and packet of an upcall; false: there is no such upcall. */
static bool take_upcall(const struct flow_upcalls *upcalls, struct dp_op *op, struct parts *parts)
{
    const uint64_t key = (uint64_t)op->upcall + sizeof(struct dp_upcall);
    struct dp_upcall up;
    uint64_t packet;

    if (!upcalls || op->key_size || op->packet_size || op->upcall % 8 || key > upcalls->used)
        return false;
    memcpy(&up, upcalls->arena + op->upcall, sizeof up);
    packet = key + (((uint64_t)up.key_size + 7) & ~7ull) + (((uint64_t)up.userdata_size + 7) & ~7ull)
             + (((uint64_t)up.actions_size + 7) & ~7ull);
    if (packet + up.packet_size > upcalls->used)
        return false;
    parts->key = upcalls->arena + key;
    parts->key_size = op->key_size = up.key_size;
    parts->packet = upcalls->arena + packet;
    op->packet_size = up.packet_size;
    return true;
}

/* Checks an operation's sizes against what is left of the buffer.  `parts` are those of the
 * operation before; zeros for the first. */
static bool op_read(const struct flow_upcalls *upcalls, const uint8_t *at, uint32_t left, struct dp_op *op, struct parts *parts)
{
    uint64_t need = sizeof *op;
    bool upcall;

    if (left < sizeof *op)
        return false;
    memcpy(op, at, sizeof *op);
    upcall = op->flags & DP_OPF_UPCALL;
    if (upcall ? !take_upcall(upcalls, op, parts) : !take_part(at, left, &need, op->flags & DP_OPF_SAME_KEY, &op->key_size, &parts->key, &parts->key_size))
        return false;
    if ((op->type == DP_OP_PUT || op->mask_size)
        && !take_part(at, left, &need, op->flags & DP_OPF_SAME_MASK, &op->mask_size, &parts->mask, &parts->mask_size))
        return false;
    parts->actions = at + (need <= left ? need : 0);
    need += ((uint64_t)op->actions_size + 7) & ~7ull;
    if (!upcall) {
        parts->packet = at + (need <= left ? need : 0);
        need += ((uint64_t)op->packet_size + 7) & ~7ull;
    }
    return need <= op->size && op->size <= left && op->size % 8 == 0;
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
        *flow = flow_by_key(table, &key, NULL);
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
    flow_write_stats(table, flow, result);
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
    flow_write_stats(table, flow, result);
    flow_remove(table, flow);
    return 0;
}

/* Reads the puts up to AHEAD operations ahead of `i`. */
static void read_ahead(struct flow_table *table, struct batch *batch, uint32_t i)
{
    while (batch->read < batch->count && batch->read <= i + AHEAD) {
        uint32_t slot = batch->read++ % PUTS;
        struct parts *parts = &batch->read_parts;
        struct dp_op op;

        op_read(batch->upcalls, batch->ops + batch->read_at, batch->size - batch->read_at, &op, parts);
        batch->read_at += op.size;
        batch->keys[slot] = parts->key;
        batch->key_sizes[slot] = 0;
        if (op.type != DP_OP_PUT)
            continue;
        flow_put_read(table, &op, parts->key, parts->mask, batch->waiting++, &batch->puts[slot]);
        if (!batch->puts[slot].key_error)
            batch->key_sizes[slot] = op.key_size;
    }
}

/* What the key of operation `i` says, if the operation before it or behind it is a put with the
 * same: programs send a packet on its way and put its flow.  NULL: nobody has read it. */
static const struct key *known_key(const struct batch *batch, uint32_t i, const struct dp_op *op, const uint8_t *key)
{
    const uint32_t slots[2] = { (i - 1) % PUTS, (i + 1) % PUTS };

    for (int k = i ? 0 : 1; op->key_size && k < 2; k++) {
        uint32_t slot = slots[k];

        if ((k == 0 || i + 1 < batch->read) && batch->key_sizes[slot] == op->key_size
            && (batch->keys[slot] == key || !memcmp(batch->keys[slot], key, op->key_size)))
            return &batch->puts[slot].key;
    }
    return NULL;
}

/* A put, and its packet if it brings one. */
static int put(struct flow_table *table, struct worker *control, struct batch *batch, struct flow_put *flow, const struct dp_op *op,
               const struct parts *parts, struct dp_result *result, const char **why)
{
    int error = flow_put_perform(table, op, flow, parts->actions, result, why), sent = 0;
    const char *packet_why = NULL;

    batch->waiting--;
    if (!(op->flags & DP_OPF_PACKET))
        return error;
    if (!flow->key_error)
        sent = flow_execute(table, control, op, parts->key, &flow->key, parts->actions, parts->packet, &batch->packets, &packet_why);
    batch->packets.wanted--;
    if (!error)
        *why = packet_why;
    return error ? error : sent;
}

/* Operation `i`; `rest` is where what follows its result may go. */
static void perform(struct flow_table *table, struct worker *control, struct batch *batch, uint32_t i, const struct dp_op *op,
                    const struct parts *parts, struct dp_result *result, uint8_t *rest, uint32_t room)
{
    const char *why = NULL;
    int error;

    switch (op->type) {
    case DP_OP_PUT:
        error = put(table, control, batch, &batch->puts[i % PUTS], op, parts, result, &why);
        break;
    case DP_OP_DELETE:
        error = delete(table, op, parts, result, &why);
        break;
    case DP_OP_GET:
        error = get(table, op, parts, result, rest, room, &why);
        break;
    case DP_OP_EXECUTE:
        error = flow_execute(table, control, op, parts->key, known_key(batch, i, op, parts->key), parts->actions, parts->packet,
                             &batch->packets, &why);
        batch->packets.wanted--;
        break;
    default:
        error = EINVAL;
        why = "no such operation";
        break;
    }
    result->error = (uint32_t)error;
    if (error && !(op->flags & DP_OPF_PROBE))
        error_set(error, "%s", why ? why : strerror(error));
}

#define PAUSE 1024u                  /* Operations after which others are let in. */

/* Lets others in; an error of that is the result of operation `i`, too. */
static int pause_batch(struct flow_table *table, struct worker *control, const struct flow_pause *pause, uint32_t i)
{
    int error;

    if (!pause || !i || i % PAUSE)
        return 0;
    burst_settle(control);
    rcu_reclaim(table->rcu);
    if (control->ct)
        ct_leave(control->ct); /* The others take it, with the mutex that is let go of here. */
    error = pause->let_others(pause->arg);
    if (control->ct)
        ct_enter(control->ct);
    /* Other batches lie elsewhere, perhaps where this one's next mask is not. */
    table->read.from = NULL;
    return error;
}

int flow_operate(struct flow_table *table, struct worker *control, const struct flow_upcalls *upcalls, const struct flow_pause *pause,
                 const uint8_t *ops, uint32_t ops_size, uint32_t count, uint8_t *results, uint32_t results_size, uint32_t *results_used)
{
    int ended = 0;
    struct batch batch; /* Its puts are not initialized: they would cost more than a short batch. */
    uint32_t at = 0, used = 0;
    struct parts parts = { 0 };
    struct dp_op op;

    *results_used = 0;
    batch.packets.n = batch.packets.wanted = 0;
    if ((uintptr_t)results % _Alignof(struct dp_result))
        return error_set(EINVAL, "the buffer for results is not aligned to 8 bytes");
    if (count > results_size / sizeof(struct dp_result))
        return error_set(EINVAL, "the buffer for results is too small for %u of them", count);
    /* All or nothing: a batch that is malformed further on has no effect. */
    for (uint32_t i = 0; i < count; i++, at += op.size) {
        if (!op_read(upcalls, ops + at, ops_size - at, &op, &parts))
            return error_set(EINVAL, "operation %u does not fit its buffer", i);
        batch.packets.wanted += op.type == DP_OP_EXECUTE || (op.type == DP_OP_PUT && op.flags & DP_OPF_PACKET);
    }
    if (control->ct)
        ct_enter(control->ct); /* `control` reads connections without being known to RCU. */
    table->read.from = NULL;
    batch.ops = ops;
    batch.upcalls = upcalls;
    batch.size = ops_size;
    batch.count = count;
    batch.read = batch.read_at = batch.waiting = 0;
    batch.read_parts = parts = (struct parts){ 0 };
    at = 0;
    for (uint32_t i = 0; i < count; i++, at += op.size) {
        /* Written in place: a copy would wait for every store of the operation, misses of the table
         * included. */
        struct dp_result *result = (struct dp_result *)(results + used);
        /* For the headers of this and all later results. */
        uint32_t kept = (count - i) * (uint32_t)sizeof *result;

        op_read(upcalls, ops + at, ops_size - at, &op, &parts);
        if (!ended)
            ended = pause_batch(table, control, pause, i);
        memset(result, 0, sizeof *result);
        result->size = sizeof *result;
        result->error = (uint32_t)ended;
        if (!ended) {
            read_ahead(table, &batch, i);
            perform(table, control, &batch, i, &op, &parts, result, (uint8_t *)(result + 1), results_size - used - kept);
        }
        used += result->size;
    }
    burst_settle(control);
    if (control->ct)
        ct_leave(control->ct);
    eal_packets_free(batch.packets.at, batch.packets.n);
    if (!ended)
        rcu_reclaim(table->rcu);
    *results_used = used;
    return 0;
}
