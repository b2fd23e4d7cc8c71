/* SPDX-License-Identifier: Apache-2.0 */
#include "path/gather.h"

#include <rte_mbuf.h>

#include "ipf/ipf.h"
#include "packet/pkt.h"
#include "packet/worker.h"

/* Zones: what is received was not looked up yet, what is sent was, and neither goes the other's
 * way. */
enum { RECEIVED, SENT };

/* `port` is whose share it is, and tells it from those of other networks. */
static enum tnl_gathered take(struct worker *worker, uint16_t zone, uint32_t port, struct rte_mbuf *m, struct tnl_whole *whole)
{
    struct ipf_whole *made;

    pkt_of(m)->md.in_port = port;
    pkt_of(m)->md.recirc_id = IPF_NO_CT;
    switch (ipf_take(worker->ipf, zone, m, worker->now, &made)) {
    case IPF_WHOLE:
        *whole = (struct tnl_whole){ .m = made->m, .by = made, .ecns = made->ecns };
        return TNL_MADE_WHOLE;
    case IPF_HELD:
        return TNL_GATHERED;
    default:
        pkt_of(m)->md.recirc_id = 0;
        return TNL_NOT_GATHERED;
    }
}

static enum tnl_gathered take_received(struct worker *worker, uint32_t port, struct rte_mbuf *m, struct tnl_whole *whole)
{
    pkt_of(m)->md = (struct pkt_md){ 0 };
    return take(worker, RECEIVED, port, m, whole);
}

/* Mark and priority stay what actions set. */
enum tnl_gathered gather_take_sent(struct worker *worker, uint32_t port, struct rte_mbuf *m, struct tnl_whole *whole)
{
    return take(worker, SENT, port, m, whole);
}

struct rte_mbuf *gather_keep(struct worker *worker, const struct tnl_whole *whole)
{
    return ipf_keep(worker->ipf, whole->by);
}

unsigned int gather_cut(struct worker *worker, struct tnl_whole *whole, struct rte_mbuf **pieces, unsigned int n)
{
    bool left = false;

    n = whole->by ? ipf_cut(worker->ipf, whole->by, pieces, n, &left) : 0;
    for (unsigned int i = 0; i < n; i++)
        pkt_of(pieces[i])->md.recirc_id = 0;
    if (!left)
        whole->by = NULL;
    return n;
}

static void look_up(struct worker *worker, uint32_t port, struct tnl_whole *whole)
{
    struct ipf_whole *by = whole->by;

    (void)port;
    if (!by)
        return;
    by->next = NULL;
    *(worker->gathered ? &worker->gathered_last->next : &worker->gathered) = by;
    worker->gathered_last = by;
}

void gather_look_up(struct worker *worker)
{
    struct ipf_whole *by = worker->gathered, *next = by->next;
    struct tnl_whole whole = { .by = by };
    struct rte_mbuf *pieces[WORKER_BURST];
    const unsigned int n = gather_cut(worker, &whole, pieces, WORKER_BURST);

    if (!whole.by)
        worker->gathered = next;
    for (unsigned int i = 0; i < n; i++)
        worker_recirculate(worker, pieces[i]);
}

const struct tnl_gather gather_received = { .take = take_received, .keep = gather_keep, .pass = look_up };
