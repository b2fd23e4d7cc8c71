/* SPDX-License-Identifier: Apache-2.0
 * ct_hot.c - ct_track: a burst of plain packets, most of them of established connections (ct.h).
 *
 * Plain is IPv4 without options, tags and fragmentation, in one segment.  The burst goes through
 * stages, so that the memory of its packets is asked for at once: read headers and sums; verify,
 * hash, and ask for buckets; find entries, and ask for records; then, in order, the connections.
 * Struct pkt is not touched.  Whatever is not UDP or TCP of an established connection that goes
 * on as it did goes through ct_run.c's steps at its turn, so that both give the same. */
#include <rte_mbuf.h>
#include <rte_prefetch.h>

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
    /* The key's, as ct_ends() has them; and in order, as they are hashed. */
    uint64_t ends[CT_BURST][2] __attribute__((aligned(64)));
    uint64_t sorted[CT_BURST][2] __attribute__((aligned(64)));
    uint64_t l3_sums[CT_BURST] __attribute__((aligned(64)));
    uint64_t l4_sums[CT_BURST] __attribute__((aligned(64)));
    uint32_t hashes[CT_BURST] __attribute__((aligned(64)));
    uint32_t conns[CT_BURST];        /* CT_NONE: not one of those handled here. */
    uint8_t ways[CT_BURST];          /* As struct ct_result's `reply`. */
    const uint8_t *frames[CT_BURST];
    uint32_t good, tcp;              /* Bits of packets. */
    bool nat;                        /* Packets may be translated. */
};

/* Whether a frame is plain; `*rest`: bytes 6 to 13 of its IP header. */
static inline bool is_plain(const struct rte_mbuf *m, const uint8_t *frame, uint64_t *rest)
{
    if (CT_UNLIKELY(m->data_len < L4 + 8 || (ct_load32(frame + 12) & 0xffffff) != 0x450008))
        return false;
    *rest = ct_load64(frame + L3 + 6);
    return !(*rest & 0xff3f) && m->data_len == m->pkt_len && !(m->ol_flags & PKT_L3);
}

/* The sum of layer 4 with its pseudo header; ones if it need not be right.  False: a header is
 * wrong. */
static inline bool sum_l4(const uint8_t *l4, uint32_t size, bool tcp, uint64_t pseudo, uint64_t *sum)
{
    if (tcp) {
        const uint32_t header = (l4[12] >> 4) * 4u;

        *sum = pseudo + ct_sum(l4, size);
        return header >= 20 && header <= size;
    }
    if (CT_UNLIKELY(CT_BE16(ct_load16(l4 + 4)) < 8 || CT_BE16(ct_load16(l4 + 4)) > size))
        return false;
    *sum = CT_LIKELY(ct_load16(l4 + 6)) ? pseudo + ct_sum(l4, size) : 0xffff;
    return true;
}

/* What the device says of checksums, or will do about them.  False: nothing for here. */
static __attribute__((noinline)) bool trust(uint64_t flags, bool nat, uint64_t *l3_sum, uint64_t *l4_sum)
{
    const uint64_t l3 = flags & RTE_MBUF_F_RX_IP_CKSUM_MASK, l4 = flags & RTE_MBUF_F_RX_L4_CKSUM_MASK;

    if (nat && flags & (CT_L4_PENDING | RTE_MBUF_F_TX_IP_CKSUM))
        return false; /* A partial sum is updated in another way. */
    if (l3 == RTE_MBUF_F_RX_IP_CKSUM_GOOD || flags & RTE_MBUF_F_TX_IP_CKSUM)
        *l3_sum = 0xffff;
    else if (l3 == RTE_MBUF_F_RX_IP_CKSUM_BAD)
        return false;
    if (l4 == RTE_MBUF_F_RX_L4_CKSUM_GOOD || flags & CT_L4_PENDING)
        *l4_sum = 0xffff;
    else if (l4 == RTE_MBUF_F_RX_L4_CKSUM_BAD)
        return false;
    return true;
}

#define CHECKS (RTE_MBUF_F_RX_IP_CKSUM_MASK | RTE_MBUF_F_RX_L4_CKSUM_MASK | RTE_MBUF_F_TX_IP_CKSUM | CT_L4_PENDING)

/* The key of a plain packet, and its sums; false: nothing for here. */
static inline bool read_plain(struct hot *hot, uint32_t i, const struct rte_mbuf *m, const uint8_t *frame, uint64_t rest, uint64_t tail)
{
    const uint8_t *ip = frame + L3;
    const uint32_t total = CT_BE16(ct_load16(ip + 2)), size = total - 20, proto = (uint8_t)(rest >> 24);
    const bool tcp = proto == CT_PROTO_TCP;
    const uint64_t first = ct_load64(ip), second = ct_load64(ip + 8), ports = ct_load32(ip + 20);
    const uint64_t src = second >> 32, dst = ct_load32(ip + 16);
    uint64_t a, b, swap;

    if (CT_UNLIKELY(total > m->data_len - L3 || size > UINT16_MAX || size < (tcp ? 20u : 8u) || !(tcp || proto == CT_PROTO_UDP)
                    || !(ports & 0xffff) || !(ports >> 16)))
        return false;
    hot->l3_sums[i] = ct_sum64(first) + ct_sum64(second) + dst;
    if (CT_UNLIKELY(!sum_l4(ip + 20, size, tcp, src + dst + CT_BE16(size) + (uint64_t)(proto << 8), &hot->l4_sums[i])))
        return false;
    if (CT_UNLIKELY(m->ol_flags & CHECKS) && !trust(m->ol_flags, hot->nat, &hot->l3_sums[i], &hot->l4_sums[i]))
        return false;
    hot->ends[i][0] = src | dst << 32;
    hot->ends[i][1] = ports | (uint64_t)proto << 48 | tail;
    a = src << 16 | (ports & 0xffff);
    b = dst << 16 | ports >> 16;
    swap = (a ^ b) & -(uint64_t)(a > b);
    hot->sorted[i][0] = a ^ swap;
    hot->sorted[i][1] = b ^ swap;
    hot->tcp |= (uint32_t)tcp << i;
    return true;
}

/* First stage.  False: a packet is not plain. */
static inline bool read_all(struct hot *hot, struct rte_mbuf **packets, unsigned int n, uint16_t zone)
{
    const uint64_t tail = (uint64_t)zone << 32 | UINT64_C(4) << 56;

    hot->good = hot->tcp = 0;
    for (uint32_t i = 0; i < n; i++) {
        const uint8_t *frame = hot->frames[i] = rte_pktmbuf_mtod(packets[i], const uint8_t *);
        uint64_t rest;

        if (CT_UNLIKELY(!is_plain(packets[i], frame, &rest)))
            return false;
        hot->good |= (uint32_t)read_plain(hot, i, packets[i], frame, rest, tail) << i;
    }
    return true;
}

#if defined(CT_SUM_WIDE) && defined(__VAES__)

/* Bits of sums that fold to ones, of eight. */
static inline uint32_t fold_ones(const uint64_t *sums)
{
    const __m512i half = _mm512_set1_epi64(0xffff);
    __m512i x = _mm512_load_si512(sums);

    x = _mm512_add_epi64(_mm512_and_si512(x, _mm512_set1_epi64(UINT32_MAX)), _mm512_srli_epi64(x, 32));
    for (int i = 0; i < 3; i++)
        x = _mm512_add_epi64(_mm512_and_si512(x, half), _mm512_srli_epi64(x, 16));
    return _mm512_cmpeq_epi64_mask(x, half);
}

static inline void verify_all(struct hot *hot, unsigned int n)
{
    uint32_t right = 0;

    for (unsigned int i = 0; i < n; i += 8)
        right |= (fold_ones(&hot->l3_sums[i]) & fold_ones(&hot->l4_sums[i])) << i;
    hot->good &= right;
}

/* The last chunk of a key of one protocol, as hash_words() has it after the first round. */
static inline __m512i hash_high(const struct hash_key *key, uint64_t tail)
{
    const __m128i x = _mm_xor_si128(hash_round_key(key, 1), _mm_set_epi64x(0, (int64_t)tail));

    return _mm512_broadcast_i32x4(_mm_aesenc_si128(x, hash_round_key(key, 3)));
}

/* ct_hash(), four at a time. */
static inline void hash_all(const struct ct *ct, struct hot *hot, unsigned int n, uint16_t zone)
{
    const struct hash_key *key = &ct->hash;
    const __m512i high_udp = hash_high(key, zone | (uint64_t)CT_PROTO_UDP << 16 | 4u << 24);
    const __m512i high_tcp = hash_high(key, zone | (uint64_t)CT_PROTO_TCP << 16 | 4u << 24);
    const __m512i k0 = _mm512_broadcast_i32x4(hash_round_key(key, 0)), k2 = _mm512_broadcast_i32x4(hash_round_key(key, 2));
    const __m512i k4 = _mm512_broadcast_i32x4(hash_round_key(key, 4)), k5 = _mm512_broadcast_i32x4(hash_round_key(key, 5));

    for (unsigned int i = 0; i < n; i += 4) {
        const __mmask8 tcp = (__mmask8)(_pdep_u32(hot->tcp >> i, 0x55) * 3);
        __m512i x = _mm512_aesenc_epi128(_mm512_xor_si512(_mm512_load_si512(hot->sorted[i]), k0), k2);

        x = _mm512_aesenc_epi128(x, _mm512_mask_blend_epi64(tcp, high_udp, high_tcp));
        x = _mm512_aesenc_epi128(_mm512_aesenc_epi128(x, k4), k5);
        _mm_store_si128((__m128i *)&hot->hashes[i], _mm512_castsi512_si128(_mm512_permutexvar_epi32(
            _mm512_set_epi32(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 12, 8, 4, 0), x)));
    }
}

#else

static inline void verify_all(struct hot *hot, unsigned int n)
{
    for (unsigned int i = 0; i < n; i++)
        if (csum_fold(hot->l3_sums[i]) != 0xffff || csum_fold(hot->l4_sums[i]) != 0xffff)
            hot->good &= ~(1u << i);
}

static inline void hash_all(const struct ct *ct, struct hot *hot, unsigned int n, uint16_t zone)
{
    (void)zone;
    for (unsigned int i = 0; i < n; i++)
        hot->hashes[i] = hash_words(&ct->hash, hot->sorted[i][0], hot->sorted[i][1], hot->ends[i][1] >> 32, 0);
}

#endif

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
    uint64_t turned[2], reply[2];
    const uint8_t flags = conn->flags & (uint8_t)~CT_CONN_TWO;

    if (CT_UNLIKELY(flags & (uint8_t)~(CT_CONN_SNAT | CT_CONN_DNAT)))
        return -1;
    if (!((conn->ends[0] ^ ends[0]) | (conn->ends[1] ^ ends[1])))
        return 0;
    if (CT_UNLIKELY(flags)) {
        ct_ends(&conn->reply, reply);
        return (reply[0] ^ ends[0]) | (reply[1] ^ ends[1]) ? -1 : 1;
    }
    turn(ends, turned);
    return (conn->ends[0] ^ turned[0]) | (conn->ends[1] ^ turned[1]) ? -1 : 1;
}

/* Buckets, entries, records.  Keys of records do not change while this burst is handled; whether
 * they are alive is asked later. */
static inline void find_all(const struct ct *ct, struct hot *hot, unsigned int n)
{
    const struct ct_bucket *buckets[CT_BURST];

    for (unsigned int i = 0; i < n; i++) {
        buckets[i] = ct_bucket_of(ct, hot->hashes[i]);
        rte_prefetch0(buckets[i]);
    }
    for (unsigned int i = 0; i < n; i++) {
        hot->conns[i] = CT_LIKELY(hot->good >> i & 1 && buckets[i]) ? ct_candidate(buckets[i], hot->hashes[i]) : CT_NONE;
        if (hot->conns[i] != CT_NONE) {
            rte_prefetch0(&ct->conns[hot->conns[i]]);
            if (hot->nat)
                rte_prefetch0(&ct->conns[hot->conns[i]].reply);
        }
    }
    for (unsigned int i = 0; i < n; i++) {
        int way;

        if (CT_UNLIKELY(hot->conns[i] == CT_NONE))
            continue;
        way = way_of(&ct->conns[hot->conns[i]], hot->ends[i]);
        hot->ways[i] = way > 0;
        if (CT_UNLIKELY(way < 0))
            hot->conns[i] = CT_NONE;
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
    const int way = hot->ways[i];
    uint8_t state = CT_STATE_TRACKED | CT_STATE_EST;

    if (CT_UNLIKELY(!ct_alive(conn, b->now)))
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
    if (way)
        state |= CT_STATE_REPLY;
    if (CT_UNLIKELY(hot->nat) && conn->flags & (CT_CONN_SNAT | CT_CONN_DNAT))
        state |= translate(hot, i, conn, way);
    result->conn = hot->conns[i];
    result->mark = atomic_load_explicit(&conn->mark, memory_order_relaxed);
    result->state = state;
    result->reply = (uint8_t)way;
    result->written = 0;
    return true;
}

/* Packet `i`, and those behind it of which no connection was found, are for ct_run.c.  Answers the
 * next one. */
static __attribute__((noinline)) uint32_t others(struct ct_burst *b, const struct hot *hot, uint32_t i, struct rte_mbuf **packets,
                                                 unsigned int n, const struct pkt_md *md, struct ct_result *results)
{
    const uint32_t from = i;

    do
        pkt_of(packets[i])->md = *md;
    while (++i < n && hot->conns[i] == CT_NONE);
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
    if (CT_UNLIKELY(request->flags & ~SIMPLE || md->ct_state || !read_all(&hot, packets, n, request->zone)))
        return false;
    verify_all(&hot, n);
    hash_all(ct, &hot, n, request->zone);
    find_all(ct, &hot, n);
    for (uint32_t i = 0; i < n;) {
        if (CT_LIKELY(hot.conns[i] != CT_NONE && go_on(&b, &hot, i, &results[i])))
            i++;
        else
            i = others(&b, &hot, i, packets, n, md, results);
    }
    return true;
}

void ct_write(struct ct *ct, const struct ct_request *request, struct rte_mbuf *m, const struct pkt_md *md, const struct ct_result *result)
{
    struct ct_conn *conn = &ct->conns[result->conn];
    struct pkt *pkt = pkt_of(m);

    pkt->md = *md;
    pkt->md.ct_state = result->state;
    pkt->md.ct_zone = request->zone;
    pkt->md.ct_mark = result->mark;
    pkt->md.more |= PKT_MORE_CT;
    memset(pkt->ct.label, 0, sizeof pkt->ct.label);
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
