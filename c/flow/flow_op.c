/* SPDX-License-Identifier: Apache-2.0
 * flow_op.c - batches of operations on flows, from bytes and to bytes.
 *
 * Puts are read some operations ahead of their turn, and what they will touch is fetched meanwhile:
 * in a table of a million flows each would wait for memory three times. */
#include <errno.h>
#include <string.h>

#include <rte_cycles.h>

#include "base/error.h"
#include "ct/ct.h"
#include "flow/flow_int.h"
#include "odp/odp.h"
#include "packet/eal_packet.h"
#include "packet/worker.h"
#include "path/burst.h"

#define AHEAD 8u                     /* Operations, where puts are read, ... */
#define CLOSER 5u                    /* ... and looked at, if they change flows, ... */
#define CLOSEST 2u                   /* ... twice. */
#define SLOTS 16u                    /* Kept: those ahead, and the one before. */

/* A step that was looked at. */
struct slot {
    struct flow_step step;
    uint32_t key_size;               /* Of a put with a key that is good; 0: of others. */
    struct flow_put put;
};

/* A batch under way. */
struct batch {
    struct flow_reader reader;       /* Of what was looked at. */
    uint32_t steps, read;            /* Of all, and those that were looked at. */
    uint64_t since;                  /* Nobody was let in: time stamp. */
    uint32_t waiting;                /* Puts that were looked at and whose turn is to come. */
    struct slot slots[SLOTS];        /* Of step i: i % SLOTS. */
    struct flow_packets packets;
    struct flow_finals finals;       /* Flows whose last counters are still to come. */
};

/* The flow that delete or get is about. */
static int find(struct flow_table *table, const struct flow_step *step, struct flow **flow, const char **why)
{
    const struct dp_op *op = &step->op;

    if (op->flags & DP_OPF_UFID) {
        uint64_t ufid[2];

        memcpy(ufid, op->ufid, sizeof ufid);
        *flow = flow_by_ufid(table, ufid);
    } else {
        struct key key;
        int error = odp_key_read(step->key, op->key_size, &key, why);

        if (error)
            return error;
        *flow = flow_by_key(table, &key, NULL);
    }
    if (*flow)
        return 0;
    *why = "no such flow";
    return ENOENT;
}

static int get(struct flow_table *table, const struct flow_step *step, struct dp_result *result, uint8_t *rest, uint32_t room,
               const char **why)
{
    struct flow *flow;
    struct flow_shown shown = { .mask = NULL };
    uint32_t sizes[3], used;
    int error = find(table, step, &flow, why);

    if (error)
        return error;
    used = flow_write(flow, rest, room, sizes, &shown);
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

static int delete(struct flow_table *table, struct batch *batch, const struct flow_step *step, struct dp_result *result,
                  const char **why)
{
    struct flow *flow;
    int error = find(table, step, &flow, why);

    if (error)
        return error;
    flow_write_stats(table, flow, result);
    if (step->op.flags & DP_OPF_FINAL_STATS)
        flow_remove_finally(table, flow, &result->stats, &batch->finals);
    else
        flow_remove(table, flow);
    return 0;
}

/* Looks at the steps up to AHEAD of step `i`; where the batch has `ended`, only for what their
 * results are to be. */
static void read_ahead(struct flow_table *table, struct batch *batch, uint32_t i, bool ended)
{
    while (batch->read < batch->steps && batch->read <= i + AHEAD) {
        struct slot *slot = &batch->slots[batch->read++ % SLOTS];

        /* A caller who writes to what was looked over meanwhile has the batch end there. */
        if (!flow_read_next(&batch->reader)) {
            batch->steps = --batch->read;
            return;
        }
        slot->step = batch->reader.step;
        slot->key_size = 0;
        if (ended || slot->step.op.type != DP_OP_PUT)
            continue;
        flow_put_read(table, &slot->step, batch->waiting++, &slot->put);
        if (!slot->put.key_error)
            slot->key_size = slot->step.op.key_size;
    }
}

/* Step `i`, if it is a put that changes a flow and has been read; or NULL. */
static struct flow_put *change_at(struct batch *batch, uint32_t i)
{
    struct slot *slot = &batch->slots[i % SLOTS];

    if (i >= batch->read || slot->step.op.type != DP_OP_PUT || !(slot->step.op.flags & DP_OPF_MODIFY))
        return NULL;
    return slot->put.error || slot->put.named ? NULL : &slot->put;
}

/* Looks closer at what follows step `i`.  A flow that goes meanwhile does no harm: its memory stays
 * until a grace period has passed, and what is fetched is not read. */
static void look_closer(struct flow_table *table, struct batch *batch, uint32_t i)
{
    struct flow_put *closer = change_at(batch, i + CLOSER), *closest = change_at(batch, i + CLOSEST);

    if (closer)
        flow_look_closer(table, closer);
    if (closest)
        flow_look_at(table, closest);
}

/* What the key of step `i` says, if the step before it or behind it is a put with the same:
 * programs send a packet on its way and put its flow.  NULL: nobody has read it. */
static const struct key *known_key(const struct batch *batch, uint32_t i, const struct flow_step *step)
{
    const struct slot *slots[2] = { &batch->slots[(i - 1) % SLOTS], &batch->slots[(i + 1) % SLOTS] };
    const uint32_t size = step->op.key_size;

    for (int k = i ? 0 : 1; size && k < 2; k++) {
        if ((k == 0 || i + 1 < batch->read) && slots[k]->key_size == size
            && (slots[k]->step.key == step->key || !memcmp(slots[k]->step.key, step->key, size)))
            return &slots[k]->put.key;
    }
    return NULL;
}

/* A put, and its packet if it brings one. */
static int put(struct flow_table *table, struct worker *control, struct batch *batch, struct slot *slot, struct dp_result *result,
               const char **why)
{
    const struct flow_step *step = &slot->step;
    int error = flow_put_perform(table, &step->op, &slot->put, step->actions, result, why), sent = 0;
    const char *packet_why = NULL;

    batch->waiting--;
    if (!(step->op.flags & DP_OPF_PACKET))
        return error;
    if (!slot->put.key_error)
        sent = flow_execute(table, control, &step->op, step->key, &slot->put.key, step->actions, step->packet, &batch->packets, &packet_why);
    batch->packets.wanted--;
    if (!error)
        *why = packet_why;
    return error ? error : sent;
}

/* Step `i`; `rest` is where what follows its result may go. */
static int perform(struct flow_table *table, struct worker *control, struct batch *batch, uint32_t i, struct dp_result *result,
                   uint8_t *rest, uint32_t room, const char **why)
{
    struct slot *slot = &batch->slots[i % SLOTS];
    const struct flow_step *step = &slot->step;
    int error;

    switch (step->op.type) {
    case DP_OP_PUT:
        return put(table, control, batch, slot, result, why);
    case DP_OP_DELETE:
        return delete(table, batch, step, result, why);
    case DP_OP_GET:
        return get(table, step, result, rest, room, why);
    case DP_OP_EXECUTE:
        error = flow_execute(table, control, &step->op, step->key, known_key(batch, i, step), step->actions, step->packet,
                             &batch->packets, why);
        batch->packets.wanted--;
        return error;
    default:
        *why = "no such operation";
        return EINVAL;
    }
}

#define LOOK 16u                     /* Operations after which it is seen whether others wait. */
#define PAUSE_US 400u                /* They wait for so long: to change hands takes time. */
#define RECLAIM 1024u                /* Operations after which what they replaced is freed. */

static void fetch(void *of)
{
    ahead_fetch(*(const struct ahead_range *)of);
}

int flow_fetch(struct flow_table *table, const struct flow_pause *pause)
{
    struct ahead_range range;
    int error = 0;

    do {
        if (!ahead_take(cls_ahead(table->cls), &range))
            break;
        error = pause->meanwhile(pause->arg, fetch, &range);
    } while (!error && table->end == 1); /* The first flow wants all at once. */
    return error;
}

/* Lets others in where it is time, or where memory is to be fetched; an error of that is the result
 * of operation `i`, too. */
static int pause_batch(struct flow_table *table, struct worker *control, const struct flow_pause *pause, struct batch *batch, uint32_t i)
{
    const bool wants = pause && cls_ahead(table->cls)->n;
    int error;

    if (i % LOOK)
        return 0;
    if (i && i % RECLAIM == 0)
        rcu_reclaim(table->rcu);
    if (!wants && (!i || !pause || !pause->wanted(pause->arg) || rte_rdtsc() - batch->since < rte_get_tsc_hz() / 1000000 * PAUSE_US))
        return 0;
    burst_settle(control);
    rcu_reclaim(table->rcu);
    if (control->ct)
        ct_leave(control->ct); /* The others take it, with the mutex that is let go of here. */
    error = wants ? flow_fetch(table, pause) : pause->let_others(pause->arg);
    if (control->ct)
        ct_enter(control->ct);
    /* Other batches lie elsewhere, perhaps where this one's next mask is not. */
    table->read.from = NULL;
    batch->since = rte_rdtsc();
    return error;
}

/* Reads a batch to its end: all or nothing, one that is malformed further on has no effect.
 * `*room` is what its results take at least. */
static int look_over(struct batch *batch, uint32_t count, uint64_t *room)
{
    struct flow_reader reader = batch->reader;

    *room = 0;
    for (uint32_t i = 0; i < count; batch->steps++) {
        const struct flow_step *step = &reader.step;

        if (!flow_read_next(&reader))
            return error_set(EINVAL, "operation %u does not fit its buffer", i);
        if (!step->number)
            *room += sizeof(struct dp_result) + flow_list_size(step->listed);
        batch->packets.wanted += step->op.type == DP_OP_EXECUTE || (step->op.type == DP_OP_PUT && step->op.flags & DP_OPF_PACKET);
        i += !reader.left;
    }
    return 0;
}

/* Results that are written. */
struct written {
    uint8_t *at;
    uint32_t size, used;
    uint32_t kept;                   /* For what must follow. */
    uint32_t *errors;                /* Of the list under way. */
};

/* Begins the result of a step, the first one of a list if it is of one.  False: when it was looked
 * over it was to be smaller. */
static bool begin_result(struct written *to, struct dp_result *result, const struct flow_step *step)
{
    const uint32_t size = (uint32_t)sizeof *result + flow_list_size(step->listed);

    if (size > to->kept)
        return false;
    memset(result, 0, size);
    result->size = size;
    to->kept -= size;
    to->errors = (uint32_t *)(result + 1);
    return true;
}

/* Step `i`, and its result.  Written in place: a copy would wait for every store of the operation,
 * misses of the table included.  False: its bytes are not those that were looked over. */
static bool take_step(struct flow_table *table, struct worker *control, struct batch *batch, uint32_t i, int ended, struct written *to)
{
    const struct flow_step *step = &batch->slots[i % SLOTS].step;
    struct dp_result *result = (struct dp_result *)(to->at + to->used), of_listed;
    const char *why = NULL;
    int error = ended;

    if (i >= batch->read || (!step->number && !begin_result(to, result, step)))
        return false;
    if (step->listed) {
        if (!ended)
            error = perform(table, control, batch, i, &of_listed, NULL, 0, &why);
        if (!step->number)
            to->used += result->size;
        to->errors[step->number] = (uint32_t)error;
        return true;
    }
    if (!ended)
        error = perform(table, control, batch, i, result, (uint8_t *)(result + 1),
                        to->size - to->used - to->kept - (uint32_t)sizeof *result, &why);
    result->error = (uint32_t)error;
    to->used += result->size;
    if (!ended && error && !(step->op.flags & DP_OPF_PROBE))
        error_set(error, "%s", why ? why : strerror(error));
    return true;
}

int flow_operate(struct flow_table *table, struct worker *control, const struct upcall_taken *upcalls, const struct flow_pause *pause,
                 const uint8_t *ops, uint32_t ops_size, uint32_t count, uint8_t *results, uint32_t results_size, uint32_t *results_used)
{
    struct written written = { results, results_size, 0, 0, NULL };
    struct batch batch; /* Slots are not initialized: that costs more than a short batch. */
    uint64_t room;
    int ended = 0, error;

    *results_used = 0;
    batch.reader = flow_reader(ops, ops_size, upcalls);
    batch.steps = batch.read = batch.waiting = 0;
    batch.packets.n = batch.packets.wanted = 0;
    LIST_INIT(&batch.finals);
    for (uint32_t i = 0; i < SLOTS; i++)
        flow_put_init(&batch.slots[i].put);
    if ((uintptr_t)results % _Alignof(struct dp_result))
        return error_set(EINVAL, "the buffer for results is not aligned to 8 bytes");
    if (count > results_size / sizeof(struct dp_result))
        return error_set(EINVAL, "the buffer for results is too small for %u of them", count);
    error = look_over(&batch, count, &room);
    if (error)
        return error;
    if (room > results_size)
        return error_set(EINVAL, "the buffer for results is too small for the errors of their lists");
    written.kept = (uint32_t)room;
    if (control->ct)
        ct_enter(control->ct); /* `control` reads connections without being known to RCU. */
    table->read.from = NULL;
    batch.since = rte_rdtsc();
    for (uint32_t i = 0; i < batch.steps; i++) {
        if (!ended)
            ended = pause_batch(table, control, pause, &batch, i);
        read_ahead(table, &batch, i, ended);
        if (!ended)
            look_closer(table, &batch, i);
        if (!take_step(table, control, &batch, i, ended, &written))
            break;
    }
    burst_settle(control);
    if (control->ct)
        ct_leave(control->ct);
    eal_packets_free(batch.packets.at, batch.packets.n);
    if (!LIST_EMPTY(&batch.finals))
        flow_await_finals(table, &batch.finals);
    if (!ended)
        rcu_reclaim(table->rcu);
    *results_used = written.used;
    return 0;
}
