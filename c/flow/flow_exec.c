/* SPDX-License-Identifier: Apache-2.0
 * flow_exec.c - actions run on a packet of the program's.
 *
 * One output needs no program at all; short lists of outputs have one in the cache
 * (flow_program.c).  Other lists are compiled each time, for what they may do depends on the
 * packet's key. */
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include <rte_mbuf.h>

#include "flow/flow_int.h"
#include "odp/odp.h"
#include "packet/eal_packet.h"
#include "packet/extract.h"
#include "path/burst.h"
#include "path/tx.h"

#define FRAME_MIN 14u
#define FRAME_MAX 65535u

static int run(struct flow_table *table, struct worker *control, struct rte_mbuf *m, const uint8_t *actions, uint32_t size,
               const char **why)
{
    uint32_t outputs = flow_outputs_only(actions, size), port;
    struct act_prog *prog;
    struct key key;
    int error;

    if (outputs == 1) {
        memcpy(&port, actions + 4, sizeof port);
        tx_output(control, m, port);
        return 0;
    }
    extract_key(rte_pktmbuf_mtod(m, const uint8_t *), m->data_len, m->pkt_len, &pkt_of(m)->md, pkt_of(m), &key, NULL);
    if (outputs && size <= FLOW_CACHE_ATTRS) {
        error = flow_cached(table, actions, size, &key, &prog, why);
        if (!error)
            act_run(control, prog, &m, 1, NULL);
    } else {
        error = flow_program(table, actions, size, &key, &prog, why);
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

int flow_execute(struct flow_table *table, struct worker *control, const struct dp_op *op, const uint8_t *key, const struct key *known,
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
    if (known && !known->base.l2) /* Of others the attributes say if a packet_type was given. */
        odp_md_of(known, pkt);
    else if (op->key_size)
        error = odp_md_read(key, op->key_size, pkt, why);
    if (error) {
        rte_pktmbuf_free(m);
        return error;
    }
    control->in_port = pkt->md.in_port;
    if (pkt->md.skb_mark || pkt->md.skb_priority)
        m->ol_flags |= PKT_MARKED;
    if (pkt->md.more & PKT_MORE_L3)
        pkt_set_l3(m, pkt->md.packet_type);
    return run(table, control, m, actions, op->actions_size, why);
}
