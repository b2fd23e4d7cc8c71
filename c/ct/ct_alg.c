/* SPDX-License-Identifier: Apache-2.0
 * ct_alg.c - which connections have a helper, their children, and what a helper does with a packet
 * (ct_alg_int.h). */
#include "ct/ct_alg_int.h"
#include "packet/csum.h"
#include "packet/partial.h"
#include "packet/pkt.h"

/* One that nobody uses; CT_NONE. */
static uint32_t take(struct ct_helpers *h)
{
    uint32_t alg = CT_NONE;

    ct_spin(&h->lock);
    if (h->pool_n)
        alg = h->pool[--h->pool_n];
    else if (h->fresh < CT_ALGS)
        alg = h->fresh++;
    ct_unspin(&h->lock);
    return alg;
}

void ct_alg_attach(struct ct_burst *b, uint32_t id)
{
    struct ct_helpers *h = b->ct->helpers;
    struct ct_conn *conn = &b->ct->conns[id];
    const uint8_t helper = b->request->helper;
    struct ct_alg *alg;
    uint32_t i;

    if (conn->key.proto != (helper == CT_HELPER_FTP ? CT_PROTO_TCP : CT_PROTO_UDP))
        return;
    i = take(h);
    if (i == CT_NONE) {
        ct_counted(b->thread, CT_COUNT_helper_full);
        return;
    }
    alg = &h->algs[i];
    alg->key = conn->key;
    alg->conn = id;
    alg->closed = alg->turn = 0;
    memset(alg->cut_known, 0, sizeof alg->cut_known);
    memset(alg->skew, 0, sizeof alg->skew);
    atomic_store_explicit(&alg->refs, 1, memory_order_relaxed);
    conn->alg = i;
    conn->flags |= helper == CT_HELPER_FTP ? CT_CONN_FTP : CT_CONN_TFTP;
}

void ct_alg_release(struct ct *ct, uint32_t alg)
{
    struct ct_helpers *h = ct->helpers;

    if (atomic_fetch_sub_explicit(&h->algs[alg].refs, 1, memory_order_acq_rel) != 1)
        return;
    ct_spin(&h->lock);
    h->pool[h->pool_n++] = alg;
    ct_unspin(&h->lock);
}

void ct_alg_close(struct ct *ct, uint32_t i)
{
    struct ct_alg *alg = &ct->helpers->algs[i];

    ct_spin(&alg->lock);
    alg->closed = 1;
    ct_expect_drop(ct, alg);
    ct_unspin(&alg->lock);
}

void ct_alg_adopt(struct ct_burst *b, struct ct_conn *conn, const struct ct_expected *e)
{
    static const uint8_t none[16];

    conn->alg = e->alg;
    conn->flags |= CT_CONN_CHILD;
    atomic_store_explicit(&conn->mark, e->mark, memory_order_relaxed);
    memcpy(conn->label, e->label, sizeof conn->label);
    atomic_store_explicit(&conn->has_label, memcmp(e->label, none, sizeof none) != 0, memory_order_relaxed);
    if (!(b->request->flags & CT_NAT) || e->nat == CT_EXPECT_PLAIN)
        return;
    if (e->nat == CT_EXPECT_SNAT) {
        conn->flags |= CT_CONN_SNAT;
        memcpy(conn->reply.dst, e->addr, sizeof e->addr);
    } else {
        conn->flags |= CT_CONN_DNAT;
        memcpy(conn->reply.src, e->addr, sizeof e->addr);
        conn->reply.sport = e->port;
    }
    conn->reply_hash = ct_hash(b->ct, &conn->reply);
}

void ct_alg_tell(struct ct_burst *b, struct ct_packet *p, const struct ct_expected *e)
{
    struct pkt *pkt = pkt_of(p->m);

    pkt->md.ct_state |= CT_STATE_TRACKED;
    pkt->md.ct_zone = b->request->zone;
    pkt->md.ct_mark = e->mark;
    pkt->md.more |= PKT_MORE_CT;
    memcpy(pkt->ct.label, e->label, sizeof e->label);
    ct_write_tuple(&pkt->ct, &e->parent);
    p->expected = 1;
}

/* The window is checked by the numbers of the sender, which the other side has seen moved. */
void ct_alg_before(struct ct_burst *b, struct ct_packet *p, uint32_t id)
{
    const struct ct_conn *conn = &b->ct->conns[id];
    struct ct_alg *alg = &b->ct->helpers->algs[conn->alg];

    if (p->related || !ct_nat_applies(b->request, p, conn))
        return;
    ct_spin(&alg->lock);
    ct_seq_move_ack(p, &alg->skew[!p->reply]);
    ct_unspin(&alg->lock);
}

void ct_alg_after(struct ct_burst *b, struct ct_packet *p, uint32_t id)
{
    struct ct_conn *conn = &b->ct->conns[id];
    struct ct_alg *alg = &b->ct->helpers->algs[conn->alg];
    /* One out of the window announces nothing. */
    const bool believed = !(pkt_of(p->m)->md.ct_state & CT_STATE_INVALID);

    if (p->related)
        return;
    ct_spin(&alg->lock);
    if (conn->flags & CT_CONN_FTP) {
        if (believed && !alg->closed)
            ct_ftp_packet(b, p, alg, conn);
        if (p->translated)
            ct_seq_move(p, &alg->skew[p->reply]);
    } else if (believed && !alg->closed && !p->reply) {
        uint16_t seen = conn->reply.dport;

        /* To the port that the server sees.  3.1.0 takes the one from before the translation,
         * where no data comes; the kernel does not. */
        ct_expect_add(b, alg, conn, true, conn->key.sport, &seen);
    }
    ct_unspin(&alg->lock);
}
