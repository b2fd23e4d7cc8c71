/* SPDX-License-Identifier: Apache-2.0
 * flow.c - the flow table: indexes, masks, counters. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <rte_cycles.h>

#include "base/invariant.h"
#include "base/mem.h"
#include "flow/flow_int.h"

#define FLOWS_SIZE (CLS_FLOWS_MAX * sizeof(struct flow *))
#define UNUSED_SIZE (CLS_FLOWS_MAX * sizeof(uint32_t))
/* Last counters are waited for so long: a poll thread that is stuck in a device must not hold up a
 * program for good. */
#define FINAL_MS 100u
/* A flush lets others in after so long at most, and looks at the clock after so many flows. */
#define FLUSH_US 300u
#define FLUSH_LOOK 16u

/* Wants what a step of flows from this index on will touch. */
static void want(struct flow_table *table, uint32_t first)
{
    struct ahead *ahead = cls_ahead(table->cls);

    if (first >= CLS_FLOWS_MAX)
        return;
    ahead_want(ahead, &table->flows[first], CLS_FLOWS_STEP * sizeof table->flows[0]);
    if (!first)
        return; /* Entries were wanted with each replica, and unused indexes are with the first. */
    ahead_want(ahead, &table->unused[first], CLS_FLOWS_STEP * sizeof table->unused[0]);
    cls_want(table->cls, first, CLS_FLOWS_STEP);
}

struct flow_table *flow_table_create(struct rcu *rcu)
{
    /* Keys are aligned. */
    struct flow_table *table = aligned_alloc(64, (sizeof *table + 63) & ~(size_t)63);

    if (!table)
        return NULL;
    memset(table, 0, sizeof *table);
    table->rcu = rcu;
    table->end = 1;
    table->cls = cls_create(rcu);
    table->flows = mem_map(FLOWS_SIZE);
    table->unused = mem_map(UNUSED_SIZE);
    if (!table->cls || !table->flows || !table->unused || flow_names_create(&table->names)) {
        flow_table_destroy(table);
        return NULL;
    }
    table->slab.ahead = cls_ahead(table->cls);
    want(table, 0);
    return table;
}

void flow_table_destroy(struct flow_table *table)
{
    uint32_t at = 0;

    if (!table)
        return;
    if (table->cls && table->flows)
        flow_flush(table, &at, UINT32_MAX);
    flow_cache_clear(table);
    rcu_drain(table->rcu);
    slab_clear(&table->slab);
    if (table->cls)
        cls_destroy(table->cls);
    mem_unmap(table->flows, FLOWS_SIZE);
    mem_unmap(table->unused, UNUSED_SIZE);
    flow_names_destroy(&table->names);
    free(table);
}

struct cls *flow_table_cls(struct flow_table *table)
{
    return table->cls;
}

bool flow_table_tend(struct flow_table *table)
{
    return cls_tend(table->cls);
}

/* --- Flows ------------------------------------------------------------------------------------ */

struct flow *flow_by_key(struct flow_table *table, const struct key *key, const struct cls_place *near)
{
    uint32_t index = cls_find_near(table->cls, key, near);

    return index ? table->flows[index] : NULL;
}

/* `id`: of struct flow_read, or 0. */
static struct flow_mask *mask_get(struct flow_table *table, const struct key *mask, uint64_t id)
{
    uint64_t hash[2];
    struct flow_mask **bucket, *m = table->mask_last;

    if (m && ((id && id == table->mask_last_id) || !memcmp(&m->mask, mask, sizeof *mask))) {
        table->mask_last_id = id;
        m->flows++;
        return m;
    }
    hash_128(cls_hash_key(table->cls), (const uint32_t *)mask->words, KEY_SIZE / 32, hash);
    bucket = &table->masks[hash[0] % FLOW_MASK_BUCKETS];
    for (m = *bucket; m; m = m->next) {
        if (m->hash == hash[0] && !memcmp(&m->mask, mask, sizeof *mask))
            break;
    }
    if (!m) {
        m = aligned_alloc(64, (sizeof *m + 63) & ~(size_t)63);
        if (!m)
            return NULL;
        *m = (struct flow_mask){ .mask = *mask, .next = *bucket, .hash = hash[0] };
        *bucket = m;
    }
    m->flows++;
    table->mask_last = m;
    table->mask_last_id = id;
    return m;
}

static void mask_put(struct flow_table *table, struct flow_mask *mask)
{
    struct flow_mask **at = &table->masks[mask->hash % FLOW_MASK_BUCKETS];

    if (--mask->flows)
        return;
    while (*at != mask)
        at = &(*at)->next;
    *at = mask->next;
    if (table->mask_last == mask)
        table->mask_last = NULL;
    free(mask);
}

static size_t flow_size(uint64_t key_map)
{
    return sizeof(struct flow) + (size_t)__builtin_popcountll(key_map) * sizeof(uint64_t);
}
_Static_assert(sizeof(struct flow) + KEY_SIZE <= SLAB_MAX, "a flow with a full key fits the slab");

static struct flow *flow_create(struct flow_table *table, const struct key *key, bool plain)
{
    const uint32_t words = plain ? KEY_WORDS / KEY_BLOCKS : KEY_WORDS;
    uint64_t map = 0;
    uint32_t n = 0;
    struct flow *flow;

    for (uint32_t w = 0; w < words; w++)
        map |= (uint64_t)(key->words[w] != 0) << w;
    flow = slab_get(&table->slab, flow_size(map));
    if (!flow)
        return NULL;
    memset(flow, 0, sizeof *flow);
    flow->key_map = map;
    for (; map; map &= map - 1)
        flow->key_words[n++] = key->words[__builtin_ctzll(map)];
    return flow;
}

void flow_key(const struct flow *flow, struct key *key)
{
    uint32_t n = 0;

    memset(key, 0, sizeof *key);
    for (uint64_t map = flow->key_map; map; map &= map - 1)
        key->words[__builtin_ctzll(map)] = flow->key_words[n++];
}

void flow_look(struct flow_table *table, struct flow_put *put, uint32_t ahead)
{
    const uint64_t part = put->key.words[0]; /* in_port and recirc_id. */

    if (put->given)
        flow_names_prefetch(table, put->ufid, put->name);
    if (!put->mask_id || put->mask_id != table->looked_id || part != table->looked_part
        || !cls_look_near(table->cls, &put->key, &table->looked, &put->place)) {
        cls_look(table->cls, &put->key, &put->mask, &put->place);
        table->looked.sub = put->place.sub;
        table->looked.shape = put->place.sub ? put->place.shape : 0;
        table->looked_part = part;
        table->looked_id = put->mask_id;
    }
    if (table->unused_n > ahead)
        cls_prefetch_entry(table->cls, table->unused[table->unused_n - 1 - ahead]);
    else if (CLS_FLOWS_MAX - table->end > ahead)
        cls_prefetch_entry(table->cls, table->end + ahead);
}

void flow_look_closer(struct flow_table *table, struct flow_put *put)
{
    put->found = cls_look_closer(table->cls, &put->place);
    if (put->found)
        __builtin_prefetch(&table->flows[put->found]);
}

void flow_look_at(const struct flow_table *table, const struct flow_put *put)
{
    const struct flow *flow = put->found ? table->flows[put->found] : NULL;

    if (!flow)
        return;
    __builtin_prefetch(flow, 1);
    __builtin_prefetch((const uint8_t *)flow + 64);
}

/* An index that no poll thread remembers; 0: the table is full. */
static uint32_t take_index(struct flow_table *table)
{
    if (!table->unused_n && table->end == CLS_FLOWS_MAX)
        rcu_reclaim(table->rcu);
    if (table->unused_n)
        return table->unused[--table->unused_n];
    if (table->end == CLS_FLOWS_MAX)
        return 0;
    if (table->end % CLS_FLOWS_STEP == CLS_FLOWS_STEP / 2) /* While there is time. */
        want(table, table->end + CLS_FLOWS_STEP / 2);
    return table->end++;
}

int flow_add(struct flow_table *table, struct flow_put *put, struct act_prog *prog)
{
    struct flow *flow;
    uint32_t index;
    int error;

    INVARIANT(prog);
    if (put->given && flow_names_make_room(&table->names, cls_ahead(table->cls)))
        return ENOMEM;
    flow = flow_create(table, &put->key, put->plain);
    if (!flow)
        return ENOMEM;
    index = take_index(table);
    flow->mask = index ? mask_get(table, &put->mask, put->mask_id) : NULL;
    error = !index       ? ENOSPC
            : !flow->mask ? ENOMEM
                          : cls_insert_at(table->cls, index, &put->key, &put->mask, act_verdict(prog), &put->place);
    if (error) {
        if (flow->mask)
            mask_put(table, flow->mask);
        if (index)
            table->unused[table->unused_n++] = index;
        slab_put(&table->slab, flow, flow_size(flow->key_map));
        return error;
    }
    if (!put->given)
        flow_names_make(table, index, put->ufid);
    memcpy(flow->ufid, put->ufid, sizeof flow->ufid);
    flow->prog = prog;
    flow->index = index;
    flow->named = put->given;
    table->flows[index] = flow;
    if (put->given)
        flow_names_put(table, flow, put->name);
    return 0;
}

/* The grace period of a removed flow is over. */
static void release(void *object, void *arg)
{
    struct flow_table *table = arg;
    struct flow *flow = object;

    table->unused[table->unused_n++] = flow->index;
    act_free(flow->prog);
    slab_put(&table->slab, flow, flow_size(flow->key_map));
}

static void unlink_flow(struct flow_table *table, struct flow *flow)
{
    INVARIANT(table->flows[flow->index] == flow);
    if (!table->unused[0]) /* Nothing was ever put back. */
        ahead_want(cls_ahead(table->cls), table->unused, CLS_FLOWS_STEP * sizeof table->unused[0]);
    cls_remove(table->cls, flow->index);
    if (flow->named)
        flow_names_take(table, flow);
    mask_put(table, flow->mask);
    table->flows[flow->index] = NULL;
}

void flow_remove(struct flow_table *table, struct flow *flow)
{
    unlink_flow(table, flow);
    rcu_defer(table->rcu, release, flow, table);
}

static void release_final(void *object, void *arg)
{
    struct flow_final *final = object;

    if (final->stats) {
        flow_stats(arg, final->flow, final->stats);
        LIST_REMOVE(final, others);
    }
    release(final->flow, arg);
    free(final);
}

void flow_remove_finally(struct flow_table *table, struct flow *flow, struct dp_flow_stats *stats, struct flow_finals *finals)
{
    struct flow_final *final = malloc(sizeof *final);

    flow_stats(table, flow, stats);
    if (!final) {
        flow_remove(table, flow);
        return;
    }
    unlink_flow(table, flow);
    *final = (struct flow_final){ .flow = flow, .stats = stats };
    LIST_INSERT_HEAD(finals, final, others);
    rcu_defer(table->rcu, release_final, final, table);
}

void flow_await_finals(struct flow_table *table, struct flow_finals *finals)
{
    struct flow_final *final;

    rcu_synchronize_for(table->rcu, FINAL_MS);
    while ((final = LIST_FIRST(finals)) != NULL) {
        flow_stats(table, final->flow, final->stats);
        final->stats = NULL;
        LIST_REMOVE(final, others);
    }
}

bool flow_flush(struct flow_table *table, uint32_t *at, uint32_t max)
{
    const uint64_t end = max == UINT32_MAX ? UINT64_MAX : rte_rdtsc() + rte_get_tsc_hz() / 1000000 * FLUSH_US;

    for (*at = *at ? *at : 1; *at < table->end && max; ++*at) {
        if (!table->flows[*at])
            continue;
        flow_remove(table, table->flows[*at]);
        if (!(--max % FLUSH_LOOK) && rte_rdtsc() > end)
            break;
    }
    return *at < table->end;
}

static void free_program(void *object, void *arg)
{
    (void)arg;
    act_free(object);
}

void flow_set_program(struct flow_table *table, struct flow *flow, struct act_prog *prog)
{
    struct act_prog *old = flow->prog;

    if (prog == old) { /* Shared: one owner less. */
        act_free(prog);
        return;
    }
    flow->prog = prog;
    cls_set_verdict(table->cls, flow->index, act_verdict(prog));
    rcu_defer(table->rcu, free_program, old, NULL);
}

/* --- Counters --------------------------------------------------------------------------------- */

void flow_stats(struct flow_table *table, const struct flow *flow, struct dp_flow_stats *stats)
{
    struct cls_counters sum;

    cls_counters(table->cls, flow->index, &sum);
    *stats = (struct dp_flow_stats){
        .packets = sum.packets - flow->base_packets, .bytes = sum.bytes - flow->base_bytes, .used_ms = sum.used_ms,
        .tcp_flags = sum.tcp_flags,
    };
}

/* Packets and bytes are remembered and subtracted: they belong to poll threads, which never stop
 * adding.  The time and the flags are overwritten; a thread that is counting at this very moment
 * may write its own once more. */
void flow_zero_stats(struct flow_table *table, struct flow *flow)
{
    struct cls_counters sum;

    cls_counters(table->cls, flow->index, &sum);
    flow->base_packets = sum.packets;
    flow->base_bytes = sum.bytes;
    cls_forget(table->cls, flow->index);
}
