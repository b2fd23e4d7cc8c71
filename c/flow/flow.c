/* SPDX-License-Identifier: Apache-2.0
 * flow.c - the flow table: indexes, names, masks, counters. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/invariant.h"
#include "base/mem.h"
#include "flow/flow_int.h"

#define UFIDS_FIRST 64u
#define FLOWS_SIZE (CLS_FLOWS_MAX * sizeof(struct flow *))
#define UNUSED_SIZE (CLS_FLOWS_MAX * sizeof(uint32_t))

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
    table->ufids = mem_array(UFIDS_FIRST * sizeof table->ufids[0]);
    table->ufid_mask = UFIDS_FIRST - 1;
    if (!table->cls || !table->flows || !table->unused || !table->ufids) {
        flow_table_destroy(table);
        return NULL;
    }
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
    if (table->cls)
        cls_destroy(table->cls);
    slab_clear(&table->slab);
    mem_unmap(table->flows, FLOWS_SIZE);
    mem_unmap(table->unused, UNUSED_SIZE);
    mem_array_free(table->ufids, ((size_t)table->ufid_mask + 1) * sizeof table->ufids[0]);
    free(table);
}

struct cls *flow_table_cls(struct flow_table *table)
{
    return table->cls;
}

/* --- Names ------------------------------------------------------------------------------------ */

static uint32_t ufid_tag(const struct flow_table *table, const uint64_t ufid[2])
{
    uint32_t words[HASH_CHUNK] = { 0 };

    memcpy(words, ufid, 16);
    return hash_chunks(cls_hash_key(table->cls), words, 1);
}

void flow_make_ufid(const struct flow_table *table, const struct key *key, uint64_t ufid[2])
{
    uint8_t *bytes = (uint8_t *)ufid;
    uint64_t rest = 0;

    for (uint32_t w = KEY_WORDS / KEY_BLOCKS; w < KEY_WORDS; w++)
        rest |= key->words[w];
    hash_128(cls_hash_key(table->cls), (const uint32_t *)key->words, (rest ? KEY_SIZE : KEY_SIZE / KEY_BLOCKS) / 32, ufid);
    /* A random UUID, version 4, as Open vSwitch's are. */
    bytes[6] = (uint8_t)((bytes[6] & 0x0f) | 0x40);
    bytes[8] = (uint8_t)((bytes[8] & 0x3f) | 0x80);
}

static void ufid_put(struct flow_ufid_slot *slots, uint32_t mask, uint32_t tag, uint32_t flow)
{
    uint32_t i = tag & mask;

    while (slots[i].flow)
        i = (i + 1) & mask;
    slots[i] = (struct flow_ufid_slot){ tag, flow };
}

static int ufid_make_room(struct flow_table *table)
{
    uint32_t mask = table->ufid_mask * 2 + 1;
    struct flow_ufid_slot *slots;

    if (2 * (table->ufid_n + 1) <= table->ufid_mask)
        return 0;
    slots = mem_array(((size_t)mask + 1) * sizeof *slots);
    if (!slots)
        return ENOMEM;
    for (uint32_t i = 0; i <= table->ufid_mask; i++) {
        if (table->ufids[i].flow)
            ufid_put(slots, mask, table->ufids[i].tag, table->ufids[i].flow);
    }
    mem_array_free(table->ufids, ((size_t)table->ufid_mask + 1) * sizeof *slots);
    table->ufids = slots;
    table->ufid_mask = mask;
    return 0;
}

/* Closes the gap, so that no search ends too early. */
static void ufid_remove(struct flow_table *table, const struct flow *flow)
{
    uint32_t mask = table->ufid_mask, i = ufid_tag(table, flow->ufid) & mask, next;

    while (table->ufids[i].flow != flow->index)
        i = (i + 1) & mask;
    for (next = (i + 1) & mask; table->ufids[next].flow; next = (next + 1) & mask) {
        uint32_t home = table->ufids[next].tag & mask;

        if (((next - home) & mask) >= ((next - i) & mask)) {
            table->ufids[i] = table->ufids[next];
            i = next;
        }
    }
    table->ufids[i].flow = 0;
    table->ufid_n--;
}

struct flow *flow_by_ufid(struct flow_table *table, const uint64_t ufid[2])
{
    uint32_t tag = ufid_tag(table, ufid);

    for (uint32_t i = tag & table->ufid_mask; table->ufids[i].flow; i = (i + 1) & table->ufid_mask) {
        struct flow *flow = table->flows[table->ufids[i].flow];

        if (table->ufids[i].tag == tag && flow->ufid[0] == ufid[0] && flow->ufid[1] == ufid[1])
            return flow;
    }
    return NULL;
}

struct flow *flow_by_key(struct flow_table *table, const struct key *key, const struct cls_place *near)
{
    uint32_t index = cls_find_near(table->cls, key, near);

    return index ? table->flows[index] : NULL;
}

/* --- Flows ------------------------------------------------------------------------------------ */

static struct flow_mask *mask_get(struct flow_table *table, const struct key *mask)
{
    uint64_t hash[2];
    struct flow_mask **bucket, *m = table->mask_last;

    if (m && !memcmp(&m->mask, mask, sizeof *mask)) {
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

static struct flow *flow_create(struct flow_table *table, const struct key *key)
{
    uint64_t map = 0;
    uint32_t n = 0;
    struct flow *flow;

    for (uint32_t w = 0; w < KEY_WORDS; w++)
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
    __builtin_prefetch(&table->ufids[ufid_tag(table, put->ufid) & table->ufid_mask], 1);
    cls_look(table->cls, &put->key, &put->mask, &put->place);
    if (table->unused_n > ahead)
        cls_prefetch_entry(table->cls, table->unused[table->unused_n - 1 - ahead]);
    else if (CLS_FLOWS_MAX - table->end > ahead)
        cls_prefetch_entry(table->cls, table->end + ahead);
}

/* An index that no poll thread remembers; 0: the table is full. */
static uint32_t take_index(struct flow_table *table)
{
    if (!table->unused_n && table->end == CLS_FLOWS_MAX)
        rcu_reclaim(table->rcu);
    if (table->unused_n)
        return table->unused[--table->unused_n];
    return table->end < CLS_FLOWS_MAX ? table->end++ : 0;
}

int flow_add(struct flow_table *table, struct flow_put *put, struct act_prog *prog)
{
    struct flow *flow;
    uint32_t index;
    int error;

    INVARIANT(prog);
    if (ufid_make_room(table))
        return ENOMEM;
    flow = flow_create(table, &put->key);
    if (!flow)
        return ENOMEM;
    index = take_index(table);
    flow->mask = index ? mask_get(table, &put->mask) : NULL;
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
    memcpy(flow->ufid, put->ufid, sizeof flow->ufid);
    flow->prog = prog;
    flow->index = index;
    table->flows[index] = flow;
    ufid_put(table->ufids, table->ufid_mask, ufid_tag(table, flow->ufid), index);
    table->ufid_n++;
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

void flow_remove(struct flow_table *table, struct flow *flow)
{
    INVARIANT(table->flows[flow->index] == flow);
    cls_remove(table->cls, flow->index);
    ufid_remove(table, flow);
    mask_put(table, flow->mask);
    table->flows[flow->index] = NULL;
    rcu_defer(table->rcu, release, flow, table);
}

bool flow_flush(struct flow_table *table, uint32_t *at, uint32_t max)
{
    for (*at = *at ? *at : 1; *at < table->end && max; ++*at) {
        if (!table->flows[*at])
            continue;
        flow_remove(table, table->flows[*at]);
        max--;
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
