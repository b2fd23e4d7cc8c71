/* SPDX-License-Identifier: Apache-2.0
 * act_balance.c - output by a bond (act_int.h). */
#include <rte_mbuf.h>

#include "act/act_int.h"
#include "bond/bond.h"
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
