/* SPDX-License-Identifier: Apache-2.0
 * ct_begin.c - a packet of no connection: whether it may begin one, and the record of it
 * (ct_int.h). */
#include <errno.h>
#include <rte_mbuf.h>

#include "ct/ct_alg_int.h"
#include "ct/ct_event_int.h"
#include "packet/pkt.h"

static bool valid_new(struct ct_burst *b, const struct ct_packet *p)
{
    switch (p->key.proto) {
    case CT_PROTO_TCP:
        return ct_tcp_valid_new(b, p);
    case CT_PROTO_ICMP:
    case CT_PROTO_ICMPV6:
        return ct_icmp_valid_new(p);
    default:
        return true;
    }
}

static void begin(const struct ct_burst *b, const struct ct_packet *p, struct ct_conn *conn)
{
    switch (p->key.proto) {
    case CT_PROTO_TCP:
        ct_tcp_new(b, p, conn);
        break;
    case CT_PROTO_ICMP:
    case CT_PROTO_ICMPV6:
        ct_icmp_new(b, conn);
        break;
    default:
        ct_other_new(b, conn);
        break;
    }
}

/* Stores a connection; CT_NONE: it was refused, and counted, or another thread was first. */
static uint32_t store(struct ct_burst *b, const struct ct_packet *p, const struct ct_expected *expected)
{
    struct ct *ct = b->ct;
    struct ct_conn *conn;
    uint32_t id;
    int error;

    if (atomic_load_explicit(&ct->count, memory_order_relaxed) >= atomic_load_explicit(&ct->max, memory_order_relaxed)
        || (id = ct_take(ct, b->thread)) == CT_NONE) {
        ct_counted(b->thread, CT_COUNT_full);
        return CT_NONE;
    }
    conn = &ct->conns[id];
    conn->key = p->key;
    ct_reverse(&p->key, &conn->reply);
    conn->hash = conn->reply_hash = p->hash;
    conn->flags = 0;
    conn->policy = b->request->policy;
    atomic_store_explicit(&conn->mark, 0, memory_order_relaxed);
    atomic_store_explicit(&conn->has_label, 0, memory_order_relaxed);
    atomic_store_explicit(&conn->event_mask, (uint16_t)(b->request->flags & CT_EVENT_MASK ? b->request->event_mask : UINT16_MAX),
                          memory_order_relaxed);
    memset(conn->label, 0, sizeof conn->label);
    begin(b, p, conn);
    if (!ct_limit_admit(ct, conn)) {
        ct_counted(b->thread, CT_COUNT_zone_full);
        ct_give(b->thread, id);
        return CT_NONE;
    }
    if (CT_UNLIKELY(expected))
        ct_alg_adopt(b, conn, expected);
    else if (CT_UNLIKELY(b->request->helper))
        ct_alg_attach(b, id);
    if (CT_UNLIKELY(ct_is_heard(ct)))
        ct_bury(ct, b->thread, &conn->key, conn->hash, b->now);
    if (CT_UNLIKELY(expected)) /* Its translation follows from that of its parent. */
        error = ct_insert(ct, b->thread, id, b->now, &b->place);
    else if (b->request->flags & (CT_NAT_SRC | CT_NAT_DST))
        error = ct_nat_insert(b, id);
    else
        error = ct_insert(ct, b->thread, id, b->now, &b->place);
    if (!error) {
        if (CT_UNLIKELY(expected))
            ct_counted(b->thread, CT_COUNT_expected_came);
        return id;
    }
    if (error != EEXIST)
        ct_counted(b->thread, error == EADDRNOTAVAIL ? CT_COUNT_nat_exhausted : CT_COUNT_full);
    ct_limit_leave(ct, conn);
    if (CT_UNLIKELY(conn->flags & CT_CONN_HELPER))
        ct_alg_release(ct, conn->alg);
    ct_give(b->thread, id);
    return CT_NONE;
}

/* Stores the connection that a packet begins, and translates the packet. */
static uint32_t commit(struct ct_burst *b, struct ct_packet *p, const struct ct_expected *expected)
{
    const uint32_t id = store(b, p, expected);

    if (id != CT_NONE && b->request->flags & CT_NAT)
        ct_nat_packet(b->request, p, &b->ct->conns[id]);
    return id;
}

/* A packet that a helper expects, of a connection that is related to another one. */
static uint32_t begin_expected(struct ct_burst *b, struct ct_packet *p, const struct ct_expected *expected)
{
    struct pkt_md *md = &pkt_of(p->m)->md;
    uint32_t id = CT_NONE;

    md->ct_state = CT_STATE_INVALID;
    if (valid_new(b, p)) {
        md->ct_state = CT_STATE_NEW | CT_STATE_REL;
        if (b->request->flags & CT_COMMIT)
            id = commit(b, p, expected);
    }
    if (id == CT_NONE) {
        ct_alg_tell(b, p, expected);
        ct_alg_release(b->ct, expected->alg);
    }
    return id;
}

uint32_t ct_begin(struct ct_burst *b, struct ct_packet *p)
{
    struct pkt_md *md = &pkt_of(p->m)->md;
    struct ct_expected expected;

    p->reply = 0;
    if (CT_UNLIKELY(ct_expects_any(b->ct)) && ct_expect_find(b, &p->key, &expected))
        return begin_expected(b, p, &expected);
    if (!valid_new(b, p)) {
        md->ct_state = CT_STATE_INVALID;
        return CT_NONE;
    }
    md->ct_state = CT_STATE_NEW;
    return b->request->flags & CT_COMMIT ? commit(b, p, NULL) : CT_NONE;
}
