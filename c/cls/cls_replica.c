/* SPDX-License-Identifier: Apache-2.0
 * cls_replica.c - what each thread has of all flows. */
#include <stdlib.h>

#include "base/mem.h"
#include "cls/cls_int.h"

#define ENTRIES_SIZE (CLS_FLOWS_MAX * sizeof(struct cls_entry))

void cls_replica_free(struct cls *cls, struct cls_replica *replica)
{
    ahead_forget(&cls->ahead, replica->entries, ENTRIES_SIZE);
    mem_unmap(replica->entries, ENTRIES_SIZE);
    free(replica);
}

struct cls_entry *cls_entries(struct cls_replica *replica)
{
    return replica->entries;
}

struct cls_replica *cls_replica_begin(struct cls *cls, unsigned int thread)
{
    struct cls_replica *replica;
    uint32_t first, n;

    if (cls->replicas[thread])
        return cls->replicas[thread];
    replica = aligned_alloc(64, sizeof *replica);
    if (!replica)
        return NULL;
    memset(replica, 0, sizeof *replica);
    replica->cls = cls;
    replica->thread = thread;
    replica->entries = mem_map(ENTRIES_SIZE);
    if (!replica->entries) {
        free(replica);
        return NULL;
    }
    /* What lies before is fetched as it is filled. */
    first = cls->flow_end / CLS_FLOWS_STEP * CLS_FLOWS_STEP;
    n = cls->flow_end - first >= CLS_FLOWS_STEP / 2 ? 2 * CLS_FLOWS_STEP : CLS_FLOWS_STEP;
    ahead_want(&cls->ahead, &replica->entries[first], RTE_MIN(n, CLS_FLOWS_MAX - first) * sizeof replica->entries[0]);
    cls->replicas[thread] = replica;
    if (thread > cls->thread_last)
        cls->thread_last = thread;
    return replica;
}

void cls_replica_near(struct cls_replica *replica, uint32_t node)
{
    mem_prefer(replica->entries, ENTRIES_SIZE, node);
}

struct ahead_range cls_replica_next(const struct cls *cls, const struct cls_replica *replica, uint32_t most)
{
    const uint32_t left = cls->flow_end > replica->filled ? cls->flow_end - replica->filled : 0;

    return (struct ahead_range){ (const uint8_t *)&replica->entries[replica->filled], RTE_MIN(left, most) * sizeof replica->entries[0] };
}

/* Whatever index has a subtable has a flow; memory beyond the last one was never touched. */
bool cls_replica_fill(struct cls *cls, struct cls_replica *replica, uint32_t most)
{
    const struct cls_entry *from = cls->replicas[0]->entries;

    for (; most && replica->filled < cls->flow_end; most--, replica->filled++) {
        const uint32_t flow = replica->filled;

        if (!replica->thread || !cls->sub_of[flow])
            continue;
        /* Counters are its own. */
        memcpy(replica->entries[flow].packed, from[flow].packed, sizeof from[flow].packed);
        atomic_store_explicit(&replica->entries[flow].verdict, atomic_load_explicit(&from[flow].verdict, memory_order_relaxed),
                              memory_order_relaxed);
    }
    return replica->filled < cls->flow_end;
}

struct cls_replica *cls_replica_add(struct cls *cls, unsigned int thread)
{
    struct cls_replica *replica = cls->replicas[thread];

    if (replica)
        return replica; /* Nothing is written: its thread may be the one that asks. */
    replica = cls_replica_begin(cls, thread);
    if (replica)
        cls_replica_fill(cls, replica, UINT32_MAX);
    return replica;
}

static void fold(struct cls_entry *to, struct cls_entry *from)
{
    const uint64_t used = cls_used(from);

    to->packets += atomic_load_explicit(&from->packets, memory_order_relaxed);
    to->bytes += atomic_load_explicit(&from->bytes, memory_order_relaxed);
    to->tcp_flags |= atomic_load_explicit(&from->tcp_flags, memory_order_relaxed);
    if (used > cls_used(to))
        cls_use(to, used);
    from->packets = from->bytes = 0;
}

bool cls_replica_fold(struct cls *cls, struct cls_replica *replica, uint32_t most)
{
    const uint32_t first = replica->folded;

    if (!replica->thread)
        return false;
    for (; most && replica->folded < cls->flow_end; most--, replica->folded++) {
        /* Of a flow that was removed somebody may still want the last counters. */
        if (cls->sub_of[replica->folded] || atomic_load_explicit(&replica->entries[replica->folded].packets, memory_order_relaxed))
            fold(&cls->replicas[0]->entries[replica->folded], &replica->entries[replica->folded]);
    }
    mem_array_done(replica->entries, ENTRIES_SIZE, first * sizeof replica->entries[0], replica->folded * sizeof replica->entries[0]);
    return replica->folded < cls->flow_end;
}

void cls_replica_remove(struct cls *cls, struct cls_replica *replica)
{
    if (!replica->thread)
        return;
    cls_replica_fold(cls, replica, UINT32_MAX);
    cls->replicas[replica->thread] = NULL;
    cls_replica_free(cls, replica);
}
