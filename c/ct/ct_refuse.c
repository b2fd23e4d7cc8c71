/* SPDX-License-Identifier: Apache-2.0
 * ct_refuse.c - what a packet carries that is not tracked, or cannot be (ct.h). */
#include <rte_mbuf.h>

#include "ct/ct_int.h"
#include "packet/pkt.h"

void ct_refuse(const struct ct_request *request, struct rte_mbuf *m)
{
    struct pkt *pkt = pkt_of(m);

    pkt->md.ct_state = CT_STATE_INVALID | CT_STATE_TRACKED;
    pkt->md.ct_zone = request->zone;
    pkt->md.ct_mark = 0;
    pkt->md.more = (uint8_t)((pkt->md.more & ~PKT_MORE_CONN) | PKT_MORE_CT);
    memset(pkt->ct.label, 0, sizeof pkt->ct.label);
    memset(pkt->ct.orig_src, 0, 32); /* And orig_dst. */
    pkt->ct.orig_tp_src = pkt->ct.orig_tp_dst = 0;
    pkt->ct.orig_proto = 0;
}

void ct_clear(struct rte_mbuf *m)
{
    struct pkt_md *md = &pkt_of(m)->md;

    md->ct_state = 0;
    md->ct_zone = 0;
    md->ct_mark = 0;
    md->more &= (uint8_t)~(PKT_MORE_CT | PKT_MORE_CONN);
}
