/* SPDX-License-Identifier: Apache-2.0
 * flow_dump.c - flows as bytes, one by one or all of them.
 *
 * A dump walks the indexes: a flow keeps its own for life, so one that stays is given exactly
 * once. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "flow/flow_int.h"
#include "odp/odp.h"

#define AHEAD 8u                     /* Flows. */

struct flow_dump {
    uint32_t flags;
    uint32_t next;                   /* Index. */
};

/* Puts zeros up to the next multiple of 8; false: no room. */
static bool pad(uint8_t *to, uint32_t size, uint32_t room)
{
    if (flow_pad(size) > room)
        return false;
    memset(to + size, 0, flow_pad(size) - size);
    return true;
}

/* The mask of a flow with this key, whose layout odp_plain_write() knows, or which is 0. */
static uint32_t write_mask(const struct flow *flow, const struct key *key, uint32_t layout, uint8_t *to, uint32_t room,
                           struct flow_shown *shown)
{
    uint32_t size;

    if (layout && shown->mask == flow->mask && shown->layout == layout && shown->size <= room) {
        memcpy(to, shown->bytes, shown->size);
        return shown->size;
    }
    size = odp_mask_write(&flow->mask->mask, key, to, room);
    if (layout && size && size <= sizeof shown->bytes) {
        shown->mask = flow->mask;
        shown->layout = layout;
        shown->size = size;
        memcpy(shown->bytes, to, size);
    }
    return size;
}

uint32_t flow_write(const struct flow *flow, uint8_t *to, uint32_t room, uint32_t sizes[3], struct flow_shown *shown)
{
    const uint8_t *actions = act_attrs(flow->prog, &sizes[2]);
    uint32_t used, layout;
    struct key key;

    flow_key(flow, &key);
    layout = odp_plain_write(&key, to, room);
    sizes[0] = layout ? layout : odp_key_write(&key, to, room);
    if (!sizes[0] || !pad(to, sizes[0], room))
        return 0;
    used = flow_pad(sizes[0]);
    sizes[1] = write_mask(flow, &key, layout, to + used, room - used, shown);
    if (!sizes[1] || !pad(to + used, sizes[1], room - used))
        return 0;
    used += flow_pad(sizes[1]);
    if (sizes[2] > room - used)
        return 0;
    if (sizes[2])
        memcpy(to + used, actions, sizes[2]);
    if (!pad(to + used, sizes[2], room - used))
        return 0;
    return used + flow_pad(sizes[2]);
}

/* Fetches what will be said of the flow with this index. */
static void prefetch(const struct flow_table *table, uint32_t index)
{
    const struct flow *flow = index < table->end ? table->flows[index] : NULL;

    if (!flow)
        return;
    __builtin_prefetch(flow);
    __builtin_prefetch((const uint8_t *)flow + 64);
    cls_prefetch_entry(table->cls, index);
}

int flow_dump_open(struct flow_table *table, uint32_t flags, struct flow_dump **dump)
{
    (void)table;
    *dump = malloc(sizeof **dump);
    if (!*dump)
        return ENOMEM;
    **dump = (struct flow_dump){ .flags = flags, .next = 1 };
    return 0;
}

int flow_dump_next(struct flow_table *table, struct flow_dump *dump, uint32_t max, uint8_t *records, uint32_t size, uint32_t *count,
                   uint32_t *used)
{
    struct flow_shown shown = { .mask = NULL };

    *count = *used = 0;
    for (; dump->next < table->end && *count < max; dump->next++) {
        const struct flow *flow = table->flows[dump->next];
        struct dp_flow_record record = { .size = sizeof record };
        uint32_t sizes[3] = { 0 }, rest = 0;

        prefetch(table, dump->next + AHEAD);
        if (!flow)
            continue;
        if (size - *used < sizeof record)
            return *count ? 0 : ENOBUFS;
        if (!(dump->flags & DP_DUMP_TERSE)) {
            rest = flow_write(flow, records + *used + sizeof record, size - *used - (uint32_t)sizeof record, sizes, &shown);
            if (!rest)
                return *count ? 0 : ENOBUFS;
        }
        record.size += rest;
        record.key_size = sizes[0];
        record.mask_size = sizes[1];
        record.actions_size = sizes[2];
        memcpy(record.ufid, flow->ufid, sizeof record.ufid);
        flow_stats(table, flow, &record.stats);
        record.flow = flow->index;
        record.simple = act_kind(flow->prog) == ACT_OUTPUT;
        memcpy(records + *used, &record, sizeof record);
        *used += record.size;
        ++*count;
    }
    return 0;
}

void flow_dump_close(struct flow_dump *dump)
{
    free(dump);
}
