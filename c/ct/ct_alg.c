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

/* --- Sequence numbers of TCP where a helper has made a payload longer or shorter --------------
 *
 * As the kernel: a change counts from the byte on where it was made, and a payload that is sent
 * again does not count twice.  Open vSwitch 3.1.0 moves every number, and counts each time. */

#define FLAG_ACK 0x10u
#define OPTION_END 0u
#define OPTION_NOP 1u
#define OPTION_SACK 5u

static uint32_t load(const uint8_t *at)
{
    uint32_t x;

    memcpy(&x, at, sizeof x);
    return CT_BE32(x);
}

static bool is_after(uint32_t a, uint32_t b)
{
    return (int32_t)(a - b) > 0;
}

void ct_seq_set(struct ct_skew *skew, uint32_t seq, int32_t change)
{
    if (skew->before != skew->after && !is_after(seq, skew->at))
        return;
    skew->at = seq;
    skew->before = skew->after;
    skew->after += change;
}

static int32_t change_of(const struct ct_skew *skew, uint32_t seq)
{
    return is_after(seq, skew->at) ? skew->after : skew->before;
}

/* What was moved, back. */
static uint32_t moved_back(const struct ct_skew *skew, uint32_t number)
{
    const bool behind = is_after(number - (uint32_t)skew->before, skew->at);

    return number - (uint32_t)(behind ? skew->after : skew->before);
}

/* Writes a number at any byte of the TCP header. */
static void set(const struct ct_packet *p, uint32_t at, uint32_t number)
{
    uint8_t *l4 = p->data + p->l4, before[6] = { 0 }, after[6] = { 0 };
    const uint32_t odd = at & 1;

    memcpy(before + odd, l4 + at, 4);
    number = CT_BE32(number);
    memcpy(after + odd, &number, 4);
    memcpy(l4 + at, &number, 4);
    if (!partial_is_at(p->m, p->l4)) /* The header is not in the pseudo header's sum. */
        csum_update(l4 + 16, csum_change(before, after, 6));
}

static void move_sack(const struct ct_packet *p, const struct ct_skew *other)
{
    const uint8_t *l4 = p->data + p->l4;
    const uint32_t end = (l4[12] >> 4) * 4u;
    uint32_t at = 20;

    while (at + 2 <= end && l4[at] != OPTION_END) {
        const uint32_t size = l4[at] == OPTION_NOP ? 1 : l4[at + 1];

        if (size == 0 || size > end - at || (l4[at] != OPTION_NOP && size < 2))
            return;
        for (uint32_t edge = at + 2; l4[at] == OPTION_SACK && edge + 4 <= at + size; edge += 4)
            set(p, edge, moved_back(other, load(l4 + edge)));
        at += size;
    }
}

void ct_seq_move_ack(const struct ct_packet *p, const struct ct_skew *other)
{
    const uint8_t *l4 = p->data + p->l4;

    if (!(other->before | other->after) || !(l4[13] & FLAG_ACK))
        return;
    set(p, 8, moved_back(other, load(l4 + 8)));
    move_sack(p, other);
}

void ct_seq_move(const struct ct_packet *p, const struct ct_skew *own)
{
    const uint32_t seq = load(p->data + p->l4 + 4);

    if (own->before | own->after)
        set(p, 4, seq + (uint32_t)change_of(own, seq));
}
