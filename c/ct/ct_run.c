/* SPDX-License-Identifier: Apache-2.0
 * ct_run.c - the `ct` action on a burst (ct.h).
 *
 * Three passes over the burst, so that memory is asked for before it is needed: read and verify
 * each packet, and ask for its bucket; find its entry there, and ask for the connection; then,
 * packet by packet in order, the state.  What an earlier packet of the burst has created or
 * ended is seen by later ones, because the last pass looks again where the candidate of the
 * second does not hold, and takes a connection that the packet knows only if it still lives. */
#include <rte_mbuf.h>
#include <rte_prefetch.h>

#include "ct/ct_alg_int.h"
#include "ct/ct_event_int.h"
#include "ct/ct_table.h"
#include "packet/pkt.h"

static inline enum ct_update update(struct ct_burst *b, const struct ct_packet *p, struct ct_conn *conn)
{
    switch (p->key.proto) {
    case CT_PROTO_TCP:
        return ct_tcp_update(b, p, conn);
    case CT_PROTO_ICMP:
    case CT_PROTO_ICMPV6:
        return ct_icmp_update(b, p, conn);
    default:
        return ct_other_update(b, p, conn);
    }
}

/* State of a packet of a connection.  Answers whether it begins a new one instead. */
static inline bool apply(struct ct_burst *b, struct ct_packet *p, uint32_t id)
{
    struct pkt_md *md = &pkt_of(p->m)->md;
    enum ct_update result;

    if (CT_UNLIKELY(p->related)) {
        md->ct_state |= (uint8_t)(CT_STATE_REL | (p->reply ? CT_STATE_REPLY : 0));
        return false;
    }
    if (CT_UNLIKELY(b->ct->conns[id].flags & CT_CONN_CHILD))
        md->ct_state |= CT_STATE_REL;
    if (CT_UNLIKELY(ct_is_heard(b->ct))) {
        const uint32_t before = ct_event_state(&b->ct->conns[id]);

        result = update(b, p, &b->ct->conns[id]);
        b->reports |= ct_event_changes(&b->ct->conns[id], before);
    } else {
        result = update(b, p, &b->ct->conns[id]);
    }
    switch (result) {
    case CT_VALID:
        md->ct_state = (uint8_t)((md->ct_state | CT_STATE_EST | (p->reply ? CT_STATE_REPLY : 0)) & ~CT_STATE_NEW);
        return false;
    case CT_VALID_NEW:
        md->ct_state |= CT_STATE_NEW;
        return false;
    case CT_INVALID:
        md->ct_state = CT_STATE_INVALID;
        return false;
    default:
        ct_kill(b->ct, b->thread, id);
        b->reports = 0;
        return true;
    }
}

/* The connection of a packet that has been translated before is found by what answers to it
 * would look like. */
static uint32_t find_translated(struct ct_burst *b, struct ct_packet *p)
{
    struct ct_key reverse;
    uint8_t reply;
    uint32_t id;

    ct_reverse(&p->key, &reverse);
    id = ct_find(b->ct, &reverse, p->hash, b->now, &reply);
    if (id == CT_NONE) {
        ct_counted(b->thread, CT_COUNT_lookup_natted_miss);
        return CT_NONE;
    }
    p->reply = !reply;
    p->key = p->reply ? b->ct->conns[id].reply : b->ct->conns[id].key;
    p->hash = p->reply ? b->ct->conns[id].reply_hash : b->ct->conns[id].hash;
    return id;
}

/* By the original tuple that a packet carries, when actions have changed its addresses since. */
static uint32_t find_original(struct ct_burst *b, struct ct_packet *p)
{
    const struct pkt *pkt = pkt_of(p->m);
    struct ct_key key = { .zone = pkt->md.ct_zone, .proto = pkt->ct.orig_proto, .family = p->key.family };
    uint8_t reply;
    uint32_t id;

    if (b->request->flags & CT_NAT || !(pkt->md.ct_state & (CT_STATE_SNAT | CT_STATE_DNAT)) || !(pkt->md.more & PKT_MORE_CT)
        || !key.proto)
        return CT_NONE;
    memcpy(key.src, pkt->ct.orig_src, 32); /* And the destination. */
    key.sport = pkt->ct.orig_tp_src;
    key.dport = pkt->ct.orig_tp_dst;
    if (ct_is_icmp_query(&key)) {
        if (p->related || p->key.proto != key.proto)
            return CT_NONE;
        key.sport = p->key.sport; /* The tuple has type and code in place of the identifier. */
        key.dport = CT_BE16(pkt->ct.orig_tp_src);
    }
    id = ct_find(b->ct, &key, ct_hash(b->ct, &key), b->now, &reply);
    return id;
}

/* Whether a key is that of answers.  Without a translation it is the original one turned round, and
 * the line that has it need not be read. */
static inline bool is_answer(const struct ct_conn *conn, const struct ct_key *key)
{
    if (CT_LIKELY(!(conn->flags & (CT_CONN_SNAT | CT_CONN_DNAT)) && !ct_is_icmp_query(key)))
        return ct_key_answers(&conn->key, key);
    return ct_key_equal(&conn->reply, key);
}

static inline uint32_t find(struct ct_burst *b, struct ct_packet *p)
{
    const uint8_t state = pkt_of(p->m)->md.ct_state;

    if (CT_UNLIKELY(state & (CT_STATE_SNAT | CT_STATE_DNAT))) {
        uint32_t id = find_translated(b, p);

        if (id != CT_NONE)
            return id;
    }
    if (CT_LIKELY(p->conn != CT_NONE)) {
        const struct ct_conn *conn = &b->ct->conns[p->conn];

        if (CT_LIKELY(ct_alive(conn, b->now))) {
            if (ct_key_equal(&conn->key, &p->key))
                return p->conn;
            if (is_answer(conn, &p->key)) {
                p->reply = 1;
                return p->conn;
            }
        }
    }
    return ct_find(b->ct, &p->key, p->hash, b->now, &p->reply);
}

static void set_label(struct ct_burst *b, struct ct_conn *conn, uint8_t label[16])
{
    static const uint8_t none[16];
    uint8_t before[16];

    /* At once: another thread may set other bits for the other direction. */
    ct_conn_lock(conn);
    memcpy(before, conn->label, 16);
    for (int i = 0; i < 16; i++)
        label[i] = (uint8_t)(b->request->label[i] | (conn->label[i] & ~b->request->label_mask[i]));
    memcpy(conn->label, label, 16);
    atomic_store_explicit(&conn->has_label, memcmp(label, none, 16) != 0, memory_order_relaxed);
    ct_conn_unlock(conn);
    if (CT_UNLIKELY(ct_is_heard(b->ct)) && memcmp(before, label, 16))
        b->reports |= CT_REPORT_LABEL;
}

/* Mark and label as the connection has them, and as the request changes them. */
static inline void write_marks(struct ct_burst *b, struct pkt *pkt, struct ct_conn *conn)
{
    uint32_t flags = b->request->flags;

    pkt->md.ct_mark = conn ? atomic_load_explicit(&conn->mark, memory_order_relaxed) : 0;
    memset(pkt->ct.label, 0, sizeof pkt->ct.label);
    if (!conn)
        return;
    if (CT_UNLIKELY(conn->flags & CT_CONN_CHILD))
        flags = 0; /* They have their parent's, and keep them. */
    if (CT_UNLIKELY(atomic_load_explicit(&conn->has_label, memory_order_relaxed))) {
        ct_conn_lock(conn);
        memcpy(pkt->ct.label, conn->label, sizeof pkt->ct.label);
        ct_conn_unlock(conn);
    }
    if (flags & CT_MARK) {
        uint32_t before = pkt->md.ct_mark, mark;

        do
            mark = b->request->mark | (before & ~b->request->mark_mask);
        while (mark != before
               && !atomic_compare_exchange_weak_explicit(&conn->mark, &before, mark, memory_order_relaxed, memory_order_relaxed));
        pkt->md.ct_mark = mark;
        if (CT_UNLIKELY(ct_is_heard(b->ct)) && mark != before)
            b->reports |= CT_REPORT_MARK;
    }
    if (CT_UNLIKELY(flags & CT_LABEL))
        set_label(b, conn, pkt->ct.label);
}

/* What the packet carries from here on.  `key` NULL: no tuple. */
static inline void write_metadata(struct ct_burst *b, struct ct_packet *p, uint32_t id, const struct ct_key *key)
{
    struct pkt *pkt = pkt_of(p->m);
    struct ct_conn *conn = id == CT_NONE ? NULL : &b->ct->conns[id];

    pkt->md.ct_state |= CT_STATE_TRACKED;
    pkt->md.ct_zone = b->request->zone;
    pkt->md.more |= PKT_MORE_CT;
    write_marks(b, pkt, conn);
    if (CT_LIKELY(conn || key)) {
        ct_write_tuple(&pkt->ct, conn ? ct_told_key(b->ct, conn) : key);
    } else {
        memset(pkt->ct.orig_src, 0, 32); /* And orig_dst. */
        pkt->ct.orig_tp_src = pkt->ct.orig_tp_dst = 0;
        pkt->ct.orig_proto = 0;
    }
}

/* The connection is remembered with the packet until something changes what it was found by. */
static inline void remember(struct ct_burst *b, struct ct_packet *p, uint32_t id)
{
    struct pkt *pkt = pkt_of(p->m);

    pkt->md.more &= (uint8_t)~PKT_MORE_CONN;
    if (id == CT_NONE || b->request->flags & CT_NAT)
        return;
    pkt->md.more |= PKT_MORE_CONN;
    pkt->conn = id;
    pkt->conn_reply = p->reply;
    pkt->conn_related = p->related;
}

/* Tells what the packet has made of its connection. */
static __attribute__((noinline)) void tell(struct ct_burst *b, uint32_t id)
{
    struct ct_conn *conn = &b->ct->conns[id];

    if (b->place) {
        b->reports |= conn->flags & CT_CONN_CHILD ? CT_REPORT_RELATED : CT_REPORT_NEW;
        b->reports |= conn->flags & CT_CONN_HELPER ? CT_REPORT_HELPER : 0;
        ct_event_new(b->ct, b->thread, b->place, conn, b->reports, b->now);
    } else {
        ct_event_update(b->ct, b->thread, conn, b->reports, b->now);
    }
    b->place = b->reports = 0;
}

static void track(struct ct_burst *b, struct ct_packet *p)
{
    struct pkt_md *md = &pkt_of(p->m)->md;
    bool creates;
    uint32_t id;

    if (CT_UNLIKELY(!p->good)) {
        md->ct_state = CT_STATE_INVALID;
        write_metadata(b, p, CT_NONE, NULL);
        remember(b, p, CT_NONE);
        return;
    }
    if (md->ct_state && md->ct_zone != b->request->zone)
        md->ct_state = 0;
    id = find(b, p);
    if (id != CT_NONE && b->request->flags & CT_FORCE && p->reply) {
        ct_kill(b->ct, b->thread, id);
        id = CT_NONE;
        p->reply = 0;
    }
    if (CT_LIKELY(id != CT_NONE)) {
        if (CT_UNLIKELY(b->request->flags & CT_EVENT_MASK && b->request->flags & CT_COMMIT))
            atomic_store_explicit(&b->ct->conns[id].event_mask, (uint16_t)b->request->event_mask, memory_order_relaxed);
        if (CT_UNLIKELY(b->ct->conns[id].flags & CT_CONN_FTP))
            ct_alg_before(b, p, id);
        creates = apply(b, p, id);
        if (!creates && b->request->flags & CT_NAT)
            ct_nat_packet(b->request, p, &b->ct->conns[id]);
    } else if ((id = find_original(b, p)) != CT_NONE) {
        creates = apply(b, p, id);
    } else {
        creates = !p->related;
        if (p->related)
            md->ct_state = CT_STATE_INVALID;
    }
    if (CT_UNLIKELY(creates))
        id = ct_begin(b, p);
    if (CT_LIKELY(!p->expected))
        write_metadata(b, p, id, &p->key); /* As it came: translation changes the bytes only. */
    if (CT_UNLIKELY(id != CT_NONE && b->ct->conns[id].flags & CT_CONN_HELPER))
        ct_alg_after(b, p, id);
    if (CT_UNLIKELY(b->place | b->reports))
        tell(b, id);
    remember(b, p, id);
}

/* The second `ct` of a list, or after a recirculation: the connection is known, and the packet
 * has been counted for it. */
static bool track_again(struct ct_burst *b, struct ct_packet *p)
{
    struct pkt *pkt = pkt_of(p->m);
    struct ct_conn *conn;

    if (b->request->flags & CT_FORCE)
        return false;
    conn = &b->ct->conns[pkt->conn];
    if (conn->key.zone != b->request->zone || atomic_load_explicit(&conn->life, memory_order_acquire) != CT_LIVE)
        return false;
    if (CT_UNLIKELY(conn->flags & CT_CONN_HELPER))
        return false; /* Their payload is read each time. */
    p->reply = pkt->conn_reply;
    if (b->request->flags & CT_NAT) {
        ct_extract(b, p); /* For where the headers are. */
        if (p->good) {
            p->reply = pkt->conn_reply;
            ct_nat_packet(b->request, p, conn);
        }
        pkt->md.more &= (uint8_t)~PKT_MORE_CONN;
    }
    pkt->md.ct_zone = b->request->zone;
    write_marks(b, pkt, conn);
    if (CT_UNLIKELY(b->reports))
        tell(b, pkt->conn);
    return true;
}

/* Reads a packet and asks for its bucket; NULL: there is none, or the packet is not good. */
static inline const struct ct_bucket *look(struct ct_burst *b, struct ct_packet *p)
{
    const struct ct_bucket *bucket;

    p->again = 0;
    ct_extract(b, p);
    if (CT_UNLIKELY(!p->good))
        return NULL;
    p->hash = ct_hash(b->ct, &p->key);
    bucket = ct_bucket_of(b->ct, p->hash);
    rte_prefetch0(bucket);
    return bucket;
}

/* Whether track_again() will do, as far as the packet says; asks for its connection. */
static inline bool may_be_known(const struct ct_burst *b, struct ct_packet *p)
{
    const struct pkt *pkt = pkt_of(p->m);

    if (CT_LIKELY(!(pkt->md.more & PKT_MORE_CONN)) || pkt->md.ct_zone != b->request->zone)
        return false;
    rte_prefetch0(&b->ct->conns[pkt->conn]);
    rte_prefetch0(&b->ct->conns[pkt->conn].key);
    p->again = 1;
    p->fragment = 0;
    return true;
}

uint32_t ct_run_all(struct ct_burst *b, struct rte_mbuf **packets, unsigned int n)
{
    struct ct_packet work[CT_BURST];
    const struct ct_bucket *buckets[CT_BURST];
    uint32_t fragments = 0;

    for (unsigned int i = 0; i < n; i++) {
        struct ct_packet *p = &work[i];

        p->m = packets[i];
        p->data = rte_pktmbuf_mtod(p->m, uint8_t *);
        p->conn = CT_NONE;
        rte_prefetch0(&pkt_of(p->m)->ct);
        buckets[i] = may_be_known(b, p) ? NULL : look(b, p);
    }
    for (unsigned int i = 0; i < n; i++) {
        if (CT_UNLIKELY(!buckets[i]))
            continue;
        work[i].conn = ct_candidate(buckets[i], work[i].hash);
        if (work[i].conn != CT_NONE) {
            rte_prefetch0(&b->ct->conns[work[i].conn]);
            rte_prefetch0(&b->ct->conns[work[i].conn].key);
        }
    }
    for (unsigned int i = 0; i < n; i++) {
        struct ct_packet *p = &work[i];

        /* Only now, because an earlier packet may have ended the connection. */
        if (CT_UNLIKELY(p->again)) {
            if (CT_LIKELY(track_again(b, p)))
                continue;
            look(b, p);
        }
        if (CT_UNLIKELY(p->fragment))
            fragments |= 1u << i;
        else
            track(b, p);
    }
    return fragments;
}

uint32_t ct_run(struct ct *ct, uint32_t thread, const struct ct_request *request, struct rte_mbuf **packets, unsigned int n, uint64_t now)
{
    struct ct_burst b = { .ct = ct, .thread = &ct->threads[thread], .request = request, .now = now };

    return ct_run_all(&b, packets, n);
}

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
