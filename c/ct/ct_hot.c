/* SPDX-License-Identifier: Apache-2.0
 * ct_hot.c - ct_track: a burst of plain packets, most of them of established connections (ct.h).
 *
 * Plain is IPv4 without options, tags and fragmentation, in one segment.  The burst goes through
 * stages, so that the memory of its packets is asked for at once, and something is done until it
 * comes: read headers, hash, and ask for buckets; verify sums; find entries, and ask for records;
 * then, in order, the connections.  Struct pkt is not touched.  UDP and TCP of established
 * connections that go on as they did, and packets of no connection that are to begin none, are
 * handled here; whatever else there is goes through ct_run.c's steps at its turn, so that both
 * give the same. */
#include <rte_mbuf.h>
#include <rte_prefetch.h>

#include "ct/ct_alg_int.h"
#include "ct/ct_sum.h"
#include "ct/ct_table.h"
#include "ct/ct_tcp.h"
#include "packet/csum.h"
#include "packet/pkt.h"

#define L3 14u
#define L4 (L3 + 20u)
/* Flags of a request that an established connection does not care about. */
#define SIMPLE (CT_COMMIT | CT_NAT | CT_NAT_SRC | CT_NAT_DST | CT_NAT_PORTS | CT_NAT_RANDOM | CT_NAT_PERSISTENT)

struct hot {
    /* The key's, as ct_ends() has them. */
    uint64_t ends[CT_BURST][2] __attribute__((aligned(64)));
    struct ct_sums sums;
    const struct ct_bucket *buckets[CT_BURST]; /* NULL: empty, or the packet is nothing for here. */
    const uint8_t *frames[CT_BURST];
    uint32_t hashes[CT_BURST];
    uint32_t conns[CT_BURST];        /* CT_NONE: not one of those handled here. */
    /* Bits of packets.  `unknown`: of no connection. */
    uint32_t good, tcp, unknown;
    bool nat;                        /* Packets may be translated. */
};

/* --- Headers ---------------------------------------------------------------------------------- */

/* Whether a frame is plain. */
static inline bool is_plain(const struct rte_mbuf *m, const uint8_t *frame)
{
    return CT_LIKELY(m->data_len >= L4 + 8 && (ct_load32(frame + 12) & 0xffffff) == 0x450008)
           && !(ct_load16(frame + L3 + 6) & 0xff3f) && m->data_len == m->pkt_len && !(m->ol_flags & PKT_L3);
}

/* First stage.  False: a packet is not plain. */
static inline bool read_all(const struct ct *ct, struct hot *hot, struct rte_mbuf **packets, unsigned int n, uint16_t zone)
{
    const uint64_t tail = (uint64_t)zone << 32 | UINT64_C(4) << 56;
    uint32_t good = 0, tcps = 0;

    for (uint32_t i = 0; i < n; i++) {
        const uint8_t *frame = rte_pktmbuf_mtod(packets[i], const uint8_t *), *ip = frame + L3;
        uint32_t total, proto, tcp, ports, hash;
        uint64_t addresses, rest;

        if (CT_UNLIKELY(!is_plain(packets[i], frame)))
            return false;
        hot->frames[i] = frame;
        total = CT_BE16(ct_load16(ip + 2));
        proto = ip[9];
        tcp = proto == CT_PROTO_TCP;
        ports = ct_load32(ip + 20);
        if (CT_UNLIKELY(total > packets[i]->data_len - L3 || total < 28 + 12 * tcp || !(tcp | (proto == CT_PROTO_UDP)) || !(ports & 0xffff)
                        || !(ports >> 16))) {
            hot->buckets[i] = NULL;
            continue;
        }
        addresses = ct_load64(ip + 12);
        rest = ports | (uint64_t)proto << 48 | tail;
        hash = ct_hash_ends(ct, addresses, rest);
        hot->ends[i][0] = addresses;
        hot->ends[i][1] = rest;
        hot->hashes[i] = hash;
        hot->buckets[i] = ct_bucket_of(ct, hash);
        rte_prefetch0(hot->buckets[i]);
        good |= 1u << i;
        tcps |= tcp << i;
    }
    hot->good = good;
    hot->tcp = tcps;
    return true;
}

/* --- Sums ------------------------------------------------------------------------------------- */

#define CHECKS (RTE_MBUF_F_RX_IP_CKSUM_MASK | RTE_MBUF_F_RX_L4_CKSUM_MASK | RTE_MBUF_F_TX_IP_CKSUM | CT_L4_PENDING)

/* Whether the sums of a packet are right, where a device says something of them or will do
 * something about them, the packet is short, or UDP has none.  No if it is nothing for here. */
static __attribute__((noinline)) bool verify_odd(const struct hot *hot, uint32_t i, uint64_t flags)
{
    const uint64_t l3 = flags & RTE_MBUF_F_RX_IP_CKSUM_MASK, l4 = flags & RTE_MBUF_F_RX_L4_CKSUM_MASK;
    const uint8_t *ip = hot->frames[i] + L3;
    const uint32_t size = CT_BE16(ct_load16(ip + 2)) - 20u;
    const uint64_t pseudo = ct_sum64(hot->ends[i][0]) + CT_BE16(size) + ((uint64_t)ip[9] << 8);

    if (hot->nat && flags & (CT_L4_PENDING | RTE_MBUF_F_TX_IP_CKSUM))
        return false; /* A partial sum is updated in another way. */
    if (l3 != RTE_MBUF_F_RX_IP_CKSUM_GOOD && !(flags & RTE_MBUF_F_TX_IP_CKSUM)
        && (l3 == RTE_MBUF_F_RX_IP_CKSUM_BAD || !ct_sum_right(ct_sum(ip, 20))))
        return false;
    if (l4 == RTE_MBUF_F_RX_L4_CKSUM_GOOD || flags & CT_L4_PENDING || (!(hot->tcp >> i & 1) && !ct_load16(ip + 26)))
        return true;
    return l4 != RTE_MBUF_F_RX_L4_CKSUM_BAD && ct_sum_right(pseudo + ct_sum(ip + 20, size));
}

/* Whether the header of layer 4 is as long as it can be. */
static inline bool is_long(const uint8_t *l4, uint32_t size, bool tcp)
{
    const uint32_t length = tcp ? (l4[12] >> 4) * 4u : CT_BE16(ct_load16(l4 + 4));

    return length >= (tcp ? 20 : 8) && length <= size;
}

/* Second stage. */
static inline void verify_all(struct hot *hot, struct rte_mbuf **packets, unsigned int n)
{
    uint32_t good = hot->good, odd = 0, right = 0;

    for (uint32_t i = 0; i < n; i++) {
        const uint8_t *ip = hot->frames[i] + L3, *l4 = ip + 20;
        const uint32_t size = CT_BE16(ct_load16(ip + 2)) - 20u;
        const bool tcp = hot->tcp >> i & 1;

        if (CT_UNLIKELY(!(good >> i & 1)))
            continue;
        if (CT_UNLIKELY(!is_long(l4, size, tcp))) {
            good &= ~(1u << i);
        } else if (CT_UNLIKELY(packets[i]->ol_flags & CHECKS || size < CT_SUMS_LEAST || (!tcp && !ct_load16(l4 + 6)))) {
            odd |= 1u << i;
            if (!verify_odd(hot, i, packets[i]->ol_flags))
                good &= ~(1u << i);
        } else {
            ct_sums_put(&hot->sums, i, ip, size, CT_BE16(size) + ((uint32_t)ip[9] << 8));
        }
    }
    for (uint32_t i = 0; i < n; i += 4)
        right |= ct_sums_right(&hot->sums, i) << i;
    hot->good = good & (right | odd);
}

/* --- Connections ------------------------------------------------------------------------------ */

/* The ends of what answers. */
static inline void turn(const uint64_t ends[2], uint64_t turned[2])
{
    const uint32_t ports = (uint32_t)ends[1];

    turned[0] = ends[0] << 32 | ends[0] >> 32;
    turned[1] = (ends[1] & ~UINT64_C(0xffffffff)) | (ports << 16 | ports >> 16);
}

/* The change from `from` to `to`, which is 0 only if there is none (csum.h). */
static inline uint64_t change_of(uint64_t from, uint64_t to)
{
    return from == to ? 0 : ct_sum64(~from) + ct_sum64(to);
}

/* Gives a packet the ends that it is to have: what ct_nat_packet() does, in one go. */
static inline void rewrite(uint8_t *frame, bool tcp, const uint64_t from[2], const uint64_t to[2])
{
    uint8_t *field = frame + L4 + (tcp ? 16 : 6);
    const uint64_t addresses = change_of(from[0], to[0]), ports = change_of((uint32_t)from[1], (uint32_t)to[1]);
    const uint32_t both = (uint32_t)to[1];

    csum_update(frame + L3 + 10, addresses);
    if (tcp || ct_load16(field)) {
        csum_update(field, addresses + ports);
        if (!tcp && !ct_load16(field))
            memset(field, 0xff, 2);
    }
    memcpy(frame + L3 + 12, &to[0], 8);
    memcpy(frame + L4, &both, 4);
}

/* Which way of a connection a packet goes, 0 or 1; -1: neither, or the connection is none of those
 * handled here. */
static inline int way_of(const struct ct_conn *conn, const uint64_t ends[2])
{
    const uint8_t flags = conn->flags & (uint8_t)~CT_CONN_TWO;
    const bool first = !((conn->ends[0] ^ ends[0]) | (conn->ends[1] ^ ends[1]));
    uint64_t turned[2];

    if (CT_UNLIKELY(flags)) {
        if (flags & (uint8_t)~(CT_CONN_SNAT | CT_CONN_DNAT))
            return -1;
        if (first)
            return 0;
        ct_ends(&conn->reply, turned);
        return (turned[0] ^ ends[0]) | (turned[1] ^ ends[1]) ? -1 : 1;
    }
    turn(ends, turned);
    if (CT_UNLIKELY(!(first | !((conn->ends[0] ^ turned[0]) | (conn->ends[1] ^ turned[1])))))
        return -1;
    return !first;
}

/* Third stage: entries, records.  Keys of records do not change while this burst is handled;
 * whether they are alive is asked later. */
static inline void find_all(const struct ct *ct, struct hot *hot, unsigned int n)
{
    hot->unknown = 0;
    for (unsigned int i = 0; i < n; i++) {
        const struct ct_bucket *bucket = hot->buckets[i];

        hot->conns[i] = CT_NONE;
        if (CT_UNLIKELY(!(hot->good >> i & 1)))
            continue;
        if (CT_LIKELY(bucket))
            hot->conns[i] = ct_candidate(bucket, hot->hashes[i]);
        if (CT_LIKELY(hot->conns[i] != CT_NONE)) {
            rte_prefetch0(&ct->conns[hot->conns[i]]);
            if (hot->nat)
                rte_prefetch0(&ct->conns[hot->conns[i]].reply);
        } else {
            hot->unknown |= (uint32_t)(!bucket || ct_ends_here(bucket, hot->hashes[i])) << i;
        }
    }
}

/* Translates a packet; answers the bits of its state. */
static inline uint8_t translate(const struct hot *hot, uint32_t i, const struct ct_conn *conn, int way)
{
    uint64_t from[2], to[2];

    if (way) {
        turn(conn->ends, to);
    } else {
        ct_ends(&conn->reply, from);
        turn(from, to);
    }
    rewrite((uint8_t *)(uintptr_t)hot->frames[i], hot->tcp >> i & 1, hot->ends[i], to);
    return !!(conn->flags & CT_CONN_SNAT) != !!way ? CT_STATE_SNAT : CT_STATE_DNAT;
}

/* One packet of an established connection.  False, and nothing has been done: it is none. */
static inline bool go_on(struct ct_burst *b, struct hot *hot, uint32_t i, struct ct_result *result)
{
    struct ct_conn *conn = &b->ct->conns[hot->conns[i]];
    const bool tcp = hot->tcp >> i & 1;
    const int way = way_of(conn, hot->ends[i]);
    uint8_t state = CT_STATE_TRACKED | CT_STATE_EST;

    if (CT_UNLIKELY(way < 0 || !ct_alive(conn, b->now)))
        return false;
    if (tcp) {
        const uint8_t *ip = hot->frames[i] + L3;

        if (CT_UNLIKELY(!ct_tcp_goes_on(conn, (uint8_t)way, ip + 20, CT_BE16(ct_load16(ip + 2)) - 20u)))
            return false;
    } else if (CT_UNLIKELY(!ct_other_goes_on(conn))) {
        return false;
    }
    if (CT_LIKELY(!conn->policy))
        ct_expire(b, conn, tcp ? CT_SECONDS_ESTABLISHED : CT_SECONDS_MULTIPLE);
    else
        ct_refresh(b, conn, tcp ? CT_TCP_ESTABLISHED : CT_UDP_MULTIPLE);
    state |= (uint8_t)(way * CT_STATE_REPLY);
    if (CT_UNLIKELY(hot->nat) && conn->flags & (CT_CONN_SNAT | CT_CONN_DNAT))
        state |= translate(hot, i, conn, way);
    result->conn = hot->conns[i];
    result->mark = atomic_load_explicit(&conn->mark, memory_order_relaxed);
    result->state = state;
    result->reply = (uint8_t)way;
    result->written = 0;
    return true;
}

/* A packet of no connection, where none is to begin.  False: it needs another look. */
static inline bool stays_unknown(struct ct_burst *b, const struct hot *hot, uint32_t i, struct ct_result *result)
{
    if (CT_UNLIKELY(ct_expects_any(b->ct)) || (hot->tcp >> i & 1 && !ct_tcp_begins(hot->frames[i][L4 + 13] & 0x3f)))
        return false;
    *result = (struct ct_result){ .state = CT_STATE_TRACKED | CT_STATE_NEW, .conn = CT_NONE };
    return true;
}

/* Packet `i`, and those behind it that are nothing for here either, are for ct_run.c.  Answers the
 * next one. */
static __attribute__((noinline)) uint32_t others(struct ct_burst *b, const struct hot *hot, uint32_t i, struct rte_mbuf **packets,
                                                 unsigned int n, const struct pkt_md *md, struct ct_result *results)
{
    const uint32_t from = i;

    do
        pkt_of(packets[i])->md = *md;
    while (++i < n && hot->conns[i] == CT_NONE && !(hot->unknown >> i & 1));
    ct_run_all(b, packets + from, i - from);
    for (uint32_t k = from; k < i; k++) {
        results[k].state = pkt_of(packets[k])->md.ct_state;
        results[k].mark = pkt_of(packets[k])->md.ct_mark;
        results[k].written = 1;
    }
    return i;
}

bool ct_track(struct ct *ct, uint32_t thread, const struct ct_request *request, struct rte_mbuf **packets, unsigned int n, uint64_t now,
              const struct pkt_md *md, struct ct_result *results)
{
    struct ct_burst b = { .ct = ct, .thread = &ct->threads[thread], .request = request, .now = now };
    struct hot hot;

    hot.nat = request->flags & CT_NAT;
    if (CT_UNLIKELY(request->flags & ~SIMPLE || md->ct_state || !read_all(ct, &hot, packets, n, request->zone)))
        return false;
    verify_all(&hot, packets, n);
    find_all(ct, &hot, n);
    if (request->flags & CT_COMMIT)
        hot.unknown = 0; /* They begin connections, of which later ones may be. */
    for (uint32_t i = 0; i < n;) {
        if (CT_LIKELY(hot.conns[i] != CT_NONE && go_on(&b, &hot, i, &results[i])))
            i++;
        else if (hot.unknown >> i & 1 && stays_unknown(&b, &hot, i, &results[i]))
            i++;
        else
            i = others(&b, &hot, i, packets, n, md, results);
    }
    return true;
}

/* What a packet of no connection carries: its own tuple. */
static void write_unknown(struct rte_mbuf *m, struct pkt *pkt)
{
    const uint8_t *ip = rte_pktmbuf_mtod(m, const uint8_t *) + L3;

    memset(pkt->ct.orig_src, 0, 32); /* And orig_dst. */
    memcpy(pkt->ct.orig_src, ip + 12, 4);
    memcpy(pkt->ct.orig_dst, ip + 16, 4);
    memcpy(&pkt->ct.orig_tp_src, ip + 20, 2);
    memcpy(&pkt->ct.orig_tp_dst, ip + 22, 2);
    pkt->ct.orig_proto = ip[9];
}

void ct_write(struct ct *ct, const struct ct_request *request, struct rte_mbuf *m, const struct pkt_md *md, const struct ct_result *result)
{
    struct pkt *pkt = pkt_of(m);
    struct ct_conn *conn;

    pkt->md = *md;
    pkt->md.ct_state = result->state;
    pkt->md.ct_zone = request->zone;
    pkt->md.ct_mark = result->mark;
    pkt->md.more = (uint8_t)((md->more & ~PKT_MORE_CONN) | PKT_MORE_CT);
    memset(pkt->ct.label, 0, sizeof pkt->ct.label);
    if (result->conn == CT_NONE) {
        write_unknown(m, pkt);
        return;
    }
    conn = &ct->conns[result->conn];
    if (CT_UNLIKELY(atomic_load_explicit(&conn->has_label, memory_order_relaxed))) {
        ct_conn_lock(conn);
        memcpy(pkt->ct.label, conn->label, sizeof pkt->ct.label);
        ct_conn_unlock(conn);
    }
    ct_write_tuple(&pkt->ct, &conn->key);
    if (request->flags & CT_NAT)
        return;
    pkt->md.more |= PKT_MORE_CONN;
    pkt->conn = result->conn;
    pkt->conn_reply = result->reply;
    pkt->conn_related = 0;
}
