/* SPDX-License-Identifier: Apache-2.0
 * flow_program.c - programs of lists of actions.
 *
 * Upcall loops put and execute the same few lists over and over, mostly of one output: short lists
 * of outputs are compiled once and kept. */
#include <linux/openvswitch.h>
#include <string.h>

#include "flow/flow_int.h"
#include "odp/odp_attr.h"
#include "port/port.h"

uint32_t flow_outputs_only(const uint8_t *actions, uint32_t size)
{
    struct odp_walk walk = { actions, size };
    struct odp_attr attr;
    uint32_t n = 0;

    while (odp_next(&walk, &attr)) {
        uint32_t port;

        if (attr.type != OVS_ACTION_ATTR_OUTPUT || attr.size != sizeof port)
            return 0;
        memcpy(&port, attr.at, sizeof port);
        if (port > PORT_NO_MAX)
            return 0; /* Compiling says what is wrong. */
        n++;
    }
    return walk.left ? 0 : n;
}

int flow_cached(struct flow_table *table, const uint8_t *actions, uint32_t size, const struct key *key, struct act_prog **prog,
                const char **why)
{
    uint32_t words[FLOW_CACHE_ATTRS / 4] = { 0 };
    struct flow_cached *c = table->cache_last;
    int error;

    if (c && c->size == size && !memcmp(c->attrs, actions, size)) {
        *prog = c->prog;
        return 0;
    }
    memcpy(words, actions, size);
    c = table->cache_last = &table->cache[hash_chunks(cls_hash_key(table->cls), words, FLOW_CACHE_ATTRS / 32) % FLOW_CACHE];
    if (c->size == size && !memcmp(c->attrs, actions, size)) {
        *prog = c->prog;
        return 0;
    }
    error = act_compile(actions, size, key, prog, why);
    if (error)
        return error;
    if (c->size)
        act_free(c->prog);
    *c = (struct flow_cached){ .prog = *prog, .size = size };
    memcpy(c->attrs, actions, size);
    return 0;
}

struct act_prog *flow_recent_program(struct flow_table *table, const uint8_t *actions, uint32_t size)
{
    const struct flow_cached *c = table->cache_last;

    return c && size && c->size == size && !memcmp(c->attrs, actions, size) ? act_share(c->prog) : NULL;
}

int flow_program(struct flow_table *table, const uint8_t *actions, uint32_t size, const struct key *key, struct act_prog **prog,
                 const char **why)
{
    int error;

    if (size > FLOW_CACHE_ATTRS || !flow_outputs_only(actions, size)) {
        error = act_compile(actions, size, key, prog, why);
        table->tracks |= !error && act_tracks(*prog);
        return error;
    }
    error = flow_cached(table, actions, size, key, prog, why);
    if (!error)
        act_share(*prog);
    return error;
}

bool flow_table_tracks(const struct flow_table *table)
{
    return table->tracks;
}

void flow_cache_clear(struct flow_table *table)
{
    for (int i = 0; i < FLOW_CACHE; i++) {
        if (table->cache[i].size)
            act_free(table->cache[i].prog);
        table->cache[i].size = 0;
    }
}
