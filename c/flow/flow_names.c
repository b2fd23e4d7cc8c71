/* SPDX-License-Identifier: Apache-2.0
 * flow_names.c - flows by UFID: those that programs gave by a table, ours by what they say.
 *
 * The table has linear probing.  Of one that is being moved, whole runs of places in use are moved,
 * from the front: a name whose first place is behind `moved` lies behind it too, or was moved.  So
 * `old` is looked at from a name's first place on, to the next free one or to its end, and never
 * before `moved`, where its memory may have been given back. */
#include <errno.h>
#include <string.h>

#include "base/invariant.h"
#include "base/mem.h"
#include "flow/flow_int.h"

#define FIRST 64u
/* Places that are moved with each flow that comes, at least.  Two would be enough to be done before
 * the new table is full. */
#define STEP 4u
#define GONE UINT32_MAX              /* Was in `old`, and is no more. */

static size_t size_of(uint32_t mask)
{
    return ((size_t)mask + 1) * sizeof(struct flow_name);
}

int flow_names_create(struct flow_names *names)
{
    *names = (struct flow_names){ .mask = FIRST - 1 };
    names->at = mem_array(size_of(names->mask));
    return names->at ? 0 : ENOMEM;
}

void flow_names_destroy(struct flow_names *names)
{
    if (names->at)
        mem_array_free(names->at, size_of(names->mask));
    if (names->old)
        mem_array_free(names->old, size_of(names->old_mask));
    if (names->next)
        mem_array_free(names->next, size_of(names->mask * 2 + 1));
    *names = (struct flow_names){ 0 };
}

uint32_t flow_names_tag(const struct flow_table *table, const uint64_t ufid[2])
{
    uint32_t words[HASH_CHUNK] = { 0 };

    memcpy(words, ufid, 16);
    return hash_chunks(cls_hash_key(table->cls), words, 1);
}

static void put(struct flow_names *names, struct flow_name name)
{
    uint32_t i = name.tag & names->mask;

    while (names->at[i].flow)
        i = (i + 1) & names->mask;
    names->at[i] = name;
}

/* Moves some places, to the end of a run. */
static void move(struct flow_names *names, struct ahead *ahead)
{
    const uint32_t from = names->moved;
    uint32_t i = from;

    do {
        if (names->old[i].flow && names->old[i].flow != GONE)
            put(names, names->old[i]);
        i++;
    } while (i <= names->old_mask && (i - from < STEP || names->old[i - 1].flow));
    names->moved = i;
    if (i > names->old_mask) {
        ahead_forget(ahead, names->old, size_of(names->old_mask));
        mem_array_free(names->old, size_of(names->old_mask));
        names->old = NULL;
    } else {
        mem_array_done(names->old, size_of(names->old_mask), from * sizeof *names->old, i * sizeof *names->old);
    }
}

int flow_names_make_room(struct flow_names *names, struct ahead *ahead)
{
    const uint32_t mask = names->mask * 2 + 1;

    if (!names->old) {
        if (!names->next && 8 * ((uint64_t)names->n + 1) > 3 * (uint64_t)names->mask) {
            names->next = mem_array(size_of(mask));
            if (names->next)
                ahead_want(ahead, names->next, size_of(mask));
        }
        if (2 * (names->n + 1) <= names->mask)
            return 0;
        if (!names->next)
            return ENOMEM;
        names->old = names->at;
        names->old_mask = names->mask;
        names->moved = 0;
        names->at = names->next;
        names->next = NULL;
        names->mask = mask;
    }
    move(names, ahead);
    INVARIANT(2 * (names->n + 1) <= names->mask);
    return 0;
}

void flow_names_put(struct flow_table *table, const struct flow *flow, uint32_t tag)
{
    put(&table->names, (struct flow_name){ tag, flow->index });
    table->names.n++;
}

/* Closes the gap, so that no search ends too early. */
static void close_gap(struct flow_names *names, uint32_t i)
{
    const uint32_t mask = names->mask;

    for (uint32_t next = (i + 1) & mask; names->at[next].flow; next = (next + 1) & mask) {
        uint32_t home = names->at[next].tag & mask;

        if (((next - home) & mask) >= ((next - i) & mask)) {
            names->at[i] = names->at[next];
            i = next;
        }
    }
    names->at[i].flow = 0;
}

void flow_names_take(struct flow_table *table, const struct flow *flow)
{
    struct flow_names *names = &table->names;
    const uint32_t tag = flow_names_tag(table, flow->ufid);
    uint32_t i = tag & names->mask;

    names->n--;
    while (names->at[i].flow && names->at[i].flow != flow->index)
        i = (i + 1) & names->mask;
    if (names->at[i].flow) {
        close_gap(names, i);
        return;
    }
    INVARIANT(names->old);
    for (i = tag & names->old_mask; names->old[i].flow != flow->index; i++)
        INVARIANT(i >= names->moved && i < names->old_mask);
    names->old[i].flow = GONE;
}

/* --- Of our own -------------------------------------------------------------------------------
 *
 * The second word says what flow it is, and that it is ours, both hidden behind the first one: from
 * bit 8 on 24 bits of index, and then 32 that follow from the first word.  So nothing is looked at
 * for a UFID of a program's. */

#define INDEX_AT 8
#define CHECK_AT 32
_Static_assert(CLS_FLOWS_MAX <= 1u << (CHECK_AT - INDEX_AT), "an index fits its place");

static uint32_t check_of(uint64_t first)
{
    return (uint32_t)(first * 0x9e3779b97f4a7c15ull >> 32);
}

static void make(struct flow_table *table, uint32_t index, uint64_t ufid[2])
{
    uint32_t words[HASH_CHUNK] = { 0 };
    uint8_t *bytes = (uint8_t *)ufid;
    uint64_t first;

    table->names.made++;
    memcpy(words, &table->names.made, sizeof table->names.made);
    hash_128(cls_hash_key(table->cls), words, 1, ufid);
    /* A random UUID, version 4, as Open vSwitch's are. */
    bytes[6] = (uint8_t)((bytes[6] & 0x0f) | 0x40);
    bytes[8] = (uint8_t)((bytes[8] & 0x3f) | 0x80);
    first = ufid[0];
    ufid[1] = bytes[8] | ((index ^ first) & (CLS_FLOWS_MAX - 1)) << INDEX_AT | (uint64_t)check_of(first) << CHECK_AT;
}

/* The index of a UFID of ours; 0: it is none. */
static uint32_t index_of(const uint64_t ufid[2])
{
    const uint64_t first = ufid[0];

    return ufid[1] >> CHECK_AT == check_of(first) ? (uint32_t)(ufid[1] >> INDEX_AT ^ first) & (CLS_FLOWS_MAX - 1) : 0;
}

void flow_names_make(struct flow_table *table, uint32_t index, uint64_t ufid[2])
{
    do
        make(table, index, ufid);
    while (table->names.n && flow_names_find(table, ufid, flow_names_tag(table, ufid)));
}

/* --- Both ------------------------------------------------------------------------------------- */

void flow_names_prefetch(const struct flow_table *table, const uint64_t ufid[2], uint32_t tag)
{
    const struct flow_names *names = &table->names;
    const uint32_t own = index_of(ufid);

    if (own) {
        __builtin_prefetch(&table->flows[own]);
        return;
    }
    __builtin_prefetch(&names->at[tag & names->mask], 1);
    if (names->old)
        __builtin_prefetch(&names->old[tag & names->old_mask]);
}

static bool is_it(const struct flow_table *table, const struct flow_name *name, uint32_t tag, const uint64_t ufid[2])
{
    const struct flow *flow;

    if (name->tag != tag || name->flow == GONE)
        return false;
    flow = table->flows[name->flow];
    return flow->ufid[0] == ufid[0] && flow->ufid[1] == ufid[1];
}

struct flow *flow_names_find(const struct flow_table *table, const uint64_t ufid[2], uint32_t tag)
{
    const struct flow_names *names = &table->names;
    const uint32_t own = index_of(ufid);
    struct flow *flow = own ? table->flows[own] : NULL;

    if (flow && !flow->named && flow->ufid[0] == ufid[0] && flow->ufid[1] == ufid[1])
        return flow;
    for (uint32_t i = tag & names->mask; names->at[i].flow; i = (i + 1) & names->mask) {
        if (is_it(table, &names->at[i], tag, ufid))
            return table->flows[names->at[i].flow];
    }
    if (!names->old || (tag & names->old_mask) < names->moved)
        return NULL;
    for (uint32_t i = tag & names->old_mask; i <= names->old_mask && names->old[i].flow; i++) {
        if (is_it(table, &names->old[i], tag, ufid))
            return table->flows[names->old[i].flow];
    }
    return NULL;
}

struct flow *flow_by_ufid(const struct flow_table *table, const uint64_t ufid[2])
{
    return flow_names_find(table, ufid, flow_names_tag(table, ufid));
}
