/* SPDX-License-Identifier: Apache-2.0
 * act_output.c - outputs that are more than a port: to a bond (act_int.h), or behind one change. */
#include <rte_mbuf.h>

#include "act/act.h"
#include "act/act_int.h"
#include "bond/bond.h"
#include "packet/extract.h"
#include "path/tx.h"

void act_balance(struct worker *worker, struct rte_mbuf *m, uint32_t id)
{
    struct bond *bond = bond_find(worker->bonds, id);
    uint32_t port;

    if (!bond) {
        worker_drop(worker, m, DROP_no_bond);
        return;
    }
    port = bond_port(bond, m->hash.rss);
    /* Only what a port takes is counted. */
    if (port < WORKER_PORTS && atomic_load_explicit(&worker->tx[port], memory_order_relaxed))
        bond_count(bond, worker->index, m->hash.rss, m->pkt_len);
    tx_output(worker, m, port);
}

bool act_quick(struct worker *worker, const struct act_prog *prog, struct rte_mbuf **packets, unsigned int n, const struct burst_sum *sum)
{
    struct burst_sum sent = *sum;
    const struct act_rewrite *re;
    uint32_t bad;

    if (!prog->quick || sum->segments != 1 || sum->shortest < EXTRACT_RUNT || sum->flags & PKT_L3)
        return false;
    re = (const void *)(prog->pool + prog->ops[0].operand);
    bad = act_rewrite(packets, n, re);
    if (re->what & ACT_RE_VLAN) {
        sent.longest += 4;
        /* One without room for the tag has been cut in two. */
        for (unsigned int i = 0; i < n; i++)
            sent.segments |= packets[i]->nb_segs;
    }
    for (unsigned int i = 0, kept = 0, all = n; __builtin_expect(bad, 0) && i < all; i++) {
        if (bad >> i & 1) {
            worker_drop(worker, packets[i], DROP_action_error);
            n--;
        } else {
            packets[kept++] = packets[i];
        }
    }
    if (n)
        tx_output_bulk(worker, packets, n, prog->ops[1].a, &sent);
    return true;
}
