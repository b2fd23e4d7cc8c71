/* SPDX-License-Identifier: Apache-2.0
 * flow_exec.c - actions run on a packet of the program's.
 *
 * Upcall loops execute the same few lists over and over, mostly one output: that needs no program at all, and short lists of outputs
 * keep theirs.  Other lists are compiled each time, for what they may do depends on the packet's key. */
#include <errno.h>
#include <linux/openvswitch.h>
#include <stddef.h>
#include <string.h>

#include <rte_mbuf.h>

#include "path/burst.h"
#include "packet/eal.h"
#include "packet/extract.h"
#include "flow/flow_int.h"
#include "odp/odp.h"
#include "odp/odp_int.h"
#include "pmd/pmd.h"

#define FRAME_MIN 14u
#define FRAME_MAX 65535u
#define OUTPUT_SIZE 8u               /* Of one output attribute. */

/* The number of outputs in a list of nothing else; 0: anything else. */
static uint32_t outputs_only(const uint8_t *actions, uint32_t size)
{
    struct odp_walk walk = { actions, size };
    struct odp_attr attr;
    uint32_t n = 0;

    while (odp_next(&walk, &attr)) {
        if (attr.type != OVS_ACTION_ATTR_OUTPUT || attr.size != 4)
            return 0;
        n++;
    }
    return walk.left ? 0 : n;
}

/* A program of outputs only, which belongs to the cache.  It is the same for all keys of frames. */
static int cached(struct flow_table *table, const uint8_t *actions, uint32_t size, const struct key *key, struct act_prog **prog,
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

int flow_program(struct flow_table *table, const uint8_t *actions, uint32_t size, const struct key *key, struct act_prog **prog,
                 const char **why)
{
    int error;

    if (key->base.l2 || size > FLOW_CACHE_ATTRS || !outputs_only(actions, size))
        return act_compile(actions, size, key, prog, why);
    error = cached(table, actions, size, key, prog, why);
    if (!error)
        act_share(*prog);
    return error;
}

void flow_cache_clear(struct flow_table *table)
{
    for (int i = 0; i < FLOW_CACHE; i++) {
        if (table->cache[i].size)
            act_free(table->cache[i].prog);
        table->cache[i].size = 0;
    }
}

static int run(struct flow_table *table, struct pmd *control, struct rte_mbuf *m, const uint8_t *actions, uint32_t size,
               const char **why)
{
    uint32_t outputs = outputs_only(actions, size), port;
    struct act_prog *prog;
    struct key key;
    int error;

    if (outputs == 1) {
        memcpy(&port, actions + 4, sizeof port);
        pmd_output(control, m, port);
        return 0;
    }
    extract_key(rte_pktmbuf_mtod(m, const uint8_t *), m->data_len, m->pkt_len, &pkt_of(m)->md, pkt_of(m), &key, NULL);
    if (outputs && size <= FLOW_CACHE_ATTRS) {
        error = cached(table, actions, size, &key, &prog, why);
        if (!error)
            act_run(control, prog, &m, 1, NULL);
    } else {
        error = act_compile(actions, size, &key, &prog, why);
        if (!error) {
            act_run(control, prog, &m, 1, NULL);
            burst_recirculate(control);
            act_free(prog);
        }
    }
    if (error)
        rte_pktmbuf_free(m);
    return error;
}

/* An mbuf for the packet of this operation; NULL if the pool is empty. */
static struct rte_mbuf *take(struct flow_packets *packets)
{
    if (!packets->n)
        packets->n = eal_packets_take(packets->at, RTE_MIN(packets->wanted, FLOW_PACKETS));
    return packets->n ? packets->at[--packets->n] : NULL;
}

int flow_execute(struct flow_table *table, struct pmd *control, const struct dp_op *op, const uint8_t *key, const struct key *known,
                 const uint8_t *actions, const uint8_t *packet, struct flow_packets *packets, const char **why)
{
    struct rte_mbuf *m;
    struct pkt *pkt;
    int error;

    if (op->packet_size < FRAME_MIN || op->packet_size > FRAME_MAX) {
        *why = "a packet has 14 to 65535 bytes";
        return EINVAL;
    }
    if (op->flags & DP_OPF_PROBE)
        return 0; /* As Open vSwitch's userspace: nothing runs. */
    m = take(packets);
    if (m)
        m = eal_packet_fill(m, packet, op->packet_size);
    if (!m) {
        *why = "all packet buffers are in use";
        return ENOMEM;
    }
    pkt = pkt_of(m);
    memset(pkt, 0, offsetof(struct pkt, tunnel)); /* The rest counts only if `more` says so. */
    pkt->md.in_port = UINT32_MAX; /* Unless the key names one. */
    error = 0;
    if (known)
        odp_md_of(known, pkt);
    else if (op->key_size)
        error = odp_md_read(key, op->key_size, pkt, why);
    if (error) {
        rte_pktmbuf_free(m);
        return error;
    }
    return run(table, control, m, actions, op->actions_size, why);
}
