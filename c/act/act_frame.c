/* SPDX-License-Identifier: Apache-2.0
 * act_frame.c - layers, metadata, rewriting, hashes: what actions do with a whole frame
 * (act_int.h). */
#include <rte_ip.h>
#include <rte_mbuf.h>
#include <rte_prefetch.h>

#include "act/act_int.h"
#include "packet/extract.h"
#include "packet/partial.h"
#include "packet/worker.h"
#include "odp/odp_attr.h"

#define HEADERS 256u         /* Bytes that hold every header (extract.h). */
#define AHEAD 6u             /* Packets whose struct pkt is on its way. */

/* Whether `proto` has its whole header in the `room` bytes at l4.  ICMP belongs to IPv4, ICMPv6 to
 * IPv6. */
static bool has_header(uint8_t proto, uint32_t room, uint8_t ip)
{
    switch (proto) {
    case 1:
        return ip == 4 && room >= 8;
    case 6:
        return room >= 20;
    case 17:
        return room >= 8;
    case 58:
        return ip == 6 && room >= 8;
    case 132:
        return room >= 12;
    default:
        return false;
    }
}

/* Whether a routing header between `at` and `end`, all of it validated, has segments left. */
static bool has_segments_left(const uint8_t *at, const uint8_t *end, uint8_t proto)
{
    while (at + 8 <= end) {
        uint32_t size = (at[1] + 1u) * 8;

        switch (proto) {
        case 43:
            if (at[3])
                return true;
            break;
        case 44:
            size = 8;
            break;
        case 51:
            size = (at[1] + 2u) * 4;
            break;
        case 0:
        case 60:
            break;
        default:
            return false;
        }
        proto = at[0];
        at += size;
    }
    return false;
}

void act_read_key(const struct rte_mbuf *m, uint32_t tags, struct key *key, struct extract_layers *found)
{
    static const struct pkt_md none;
    const bool l3 = m->ol_flags & PKT_L3;
    const struct pkt_md md = { .more = PKT_MORE_L3, .packet_type = l3 ? pkt_of((struct rte_mbuf *)(uintptr_t)m)->md.packet_type : 0 };
    const uint32_t skip = l3 ? 0 : 4 * tags;

    /* Too short to have layers: what lies behind its bytes is another packet's. */
    if (__builtin_expect(m->data_len < EXTRACT_RUNT + skip && !l3, 0)) {
        memset(key, 0, sizeof *key);
        *found = (struct extract_layers){ .l3 = (uint16_t)(EXTRACT_RUNT + skip) };
        return;
    }
    extract_blocks(rte_pktmbuf_mtod(m, const uint8_t *) + skip, m->data_len - skip, m->pkt_len - skip, l3 ? &md : &none, NULL,
                   KEY_BLOCKS_PLAIN, key, found);
    found->l3 = (uint16_t)(found->l3 + skip);
    if (found->l4)
        found->l4 = (uint16_t)(found->l4 + skip);
}

void act_parse(const struct rte_mbuf *m, uint32_t tags, struct act_layers *l)
{
    const uint8_t *frame = rte_pktmbuf_mtod(m, const uint8_t *);
    struct extract_layers found;
    struct key key;

    act_read_key(m, tags, &key, &found);
    *l = (struct act_layers){ .l3 = found.l3, .l4 = found.l4, .l4_size = found.l4_size, .eth_type = key.base.eth_type };
    if (!found.l4)
        return;
    l->ip = key.base.eth_type == ODP_BE16(0x0800) ? 4 : 6;
    if (key.base.nw_frag != KEY_FRAG_LATER
        && has_header(key.base.nw_proto, RTE_MIN((uint32_t)found.l4_size, (uint32_t)m->data_len - found.l4), l->ip))
        l->l4_kind = key.base.nw_proto;
    if (l->ip == 6 && found.l4 > found.l3 + 40)
        l->routed = has_segments_left(frame + found.l3 + 40, frame + found.l4, frame[found.l3 + 6]);
}

static __attribute__((noinline)) void rewrite_ttl_of_any(struct rte_mbuf *m, uint32_t ttl)
{
    const struct odp_ipv4 value = { .ttl = (uint8_t)ttl }, mask = { .ttl = 0xff };
    struct act_layers l;

    act_parse(m, 0, &l);
    act_set(m, &l, OVS_KEY_ATTR_IPV4, (const uint8_t *)&value, (const uint8_t *)&mask);
}

/* Sets the TTL of a plain IPv4 packet; any other goes the general way.  Eight bytes from eth_type
 * on tell which, and TTL, protocol and checksum are one word. */
static inline void rewrite_ttl(struct rte_mbuf *m, uint8_t *frame, uint32_t ttl)
{
    uint32_t size = m->pkt_len - 14, total, word, sum;
    uint64_t head;

    if (likely(m->data_len >= 34)) {
        memcpy(&head, frame + 12, 8);
        memcpy(&word, frame + 22, 4);
        total = ODP_BE16((uint32_t)(head >> 32) & 0xffff);
        if (likely((head & 0x0fffff) == 0x050008 && total >= 20 && total <= size && size - total <= UINT16_MAX)) {
            /* ~checksum + ~old + new (RFC 1624); the TTL is the low half of its word in memory. */
            sum = (~word >> 16) + (uint16_t)~(word & 0xff) + ttl;
            if ((word & 0xff) == ttl)
                return;
            sum = (sum & 0xffff) + (sum >> 16);
            sum += sum >> 16;
            word = ttl | (word & 0xff00) | ~sum << 16;
            memcpy(frame + 22, &word, 4);
            return;
        }
    }
    rewrite_ttl_of_any(m, ttl);
}

static inline __attribute__((always_inline)) bool rewrite(struct rte_mbuf *m, const struct act_rewrite *re, const uint32_t what)
{
    uint8_t *frame = rte_pktmbuf_mtod(m, uint8_t *);
    uint64_t sizes;
    uint32_t tag;

    if (unlikely(m->ol_flags & PKT_L3 || m->data_len < EXTRACT_RUNT)) { /* No Ethernet header. */
        if (what & ACT_RE_TTL)
            rewrite_ttl_of_any(m, re->ttl);
        return !(what & ACT_RE_VLAN);
    }
    if (what & ACT_RE_TTL)
        rewrite_ttl(m, frame, re->ttl);
    if (!(what & ACT_RE_VLAN)) {
        memcpy(frame, re->head, 12);
        return true;
    }
    if (likely(m->data_off >= 4)) {
        m->data_off -= 4;
        /* Both sizes in one word, which others read soon. */
        memcpy(&sizes, &m->pkt_len, sizeof sizes);
        sizes += 4 | 4ull << 32;
        memcpy(&m->pkt_len, &sizes, sizeof sizes);
        memcpy(frame - 4, re->head, 16);
        return true;
    }
    memcpy(frame, re->head, 12);
    memcpy(&tag, re->head + 12, 4);
    return act_push_vlan(m, tag);
}
_Static_assert(offsetof(struct rte_mbuf, data_len) == offsetof(struct rte_mbuf, pkt_len) + 4, "sizes are one word");

static inline __attribute__((always_inline)) uint32_t rewrite_all(struct rte_mbuf **packets, uint32_t n, const struct act_rewrite *re,
                                                                  const uint32_t what)
{
    const struct act_rewrite local = *re; /* Stores to packets cannot change it. */
    uint32_t bad = 0;

    for (uint32_t i = 0; i < n; i++)
        bad |= (uint32_t)!rewrite(packets[i], &local, what) << i;
    return bad;
}

uint32_t act_rewrite(struct rte_mbuf **packets, uint32_t n, const struct act_rewrite *re)
{
    switch (re->what & (ACT_RE_TTL | ACT_RE_VLAN)) {
    case ACT_RE_TTL | ACT_RE_VLAN:
        return rewrite_all(packets, n, re, ACT_RE_TTL | ACT_RE_VLAN);
    case ACT_RE_TTL:
        return rewrite_all(packets, n, re, ACT_RE_TTL);
    case ACT_RE_VLAN:
        return rewrite_all(packets, n, re, ACT_RE_VLAN);
    default:
        return rewrite_all(packets, n, re, 0);
    }
}

/* One step of a multiply-and-fold hash; both inputs reach all bits of the result. */
static inline uint64_t mix(uint64_t a, uint64_t b)
{
    __uint128_t product = (__uint128_t)(a ^ 0x9e3779b97f4a7c15ull) * (b ^ 0xc2b2ae3d27d4eb4full);

    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

uint32_t act_hash(const struct rte_mbuf *m, uint32_t tags, uint32_t algorithm, uint32_t basis)
{
    struct extract_layers found;
    struct key key;
    uint64_t source[2], destination[2], ports, hash = basis;

    act_read_key(m, tags, &key, &found);
    memcpy(source, key.wide.ip6_src, 16);
    memcpy(destination, key.wide.ip6_dst, 16);
    if (key.base.eth_type != ODP_BE16(0x86dd)) {
        source[0] = key.base.ip4_src;
        destination[0] = key.base.ip4_dst;
        if (!found.l4 && algorithm == ACT_HASH_SYM_L4) {
            /* Not IP: the Ethernet addresses. */
            source[1] = destination[1] = 0;
            memcpy(&source[1], key.base.eth_src, 6);
            memcpy(&destination[1], key.base.eth_dst, 6);
        }
    }
    ports = key.base.tp_src | (uint64_t)key.base.tp_dst << 16;
    if (algorithm == ACT_HASH_SYM_L4) {
        source[0] ^= destination[0];
        source[1] ^= destination[1];
        destination[0] = destination[1] = 0;
        /* The two directions of ping or of fragments have no ports to tell them apart. */
        ports = (key.base.nw_proto == 6 || key.base.nw_proto == 132) && !key.base.nw_frag ? key.base.tp_src ^ key.base.tp_dst : 0;
    }
    hash = mix(hash ^ source[0], destination[0]);
    hash = mix(hash ^ source[1], destination[1]);
    hash = mix(hash ^ ports, key.base.nw_proto | (uint64_t)key.base.eth_type << 8);
    hash ^= hash >> 32;
    return (uint32_t)hash ? (uint32_t)hash : 1; /* 0 means "not computed". */
}

uint32_t act_wire_size(const struct rte_mbuf *m)
{
    struct partial partial;

    if (m->ol_flags & PARTIAL_SEG && m->tso_segsz && partial_get(m, &partial))
        return RTE_MIN(m->pkt_len, partial.payload + m->tso_segsz);
    return m->pkt_len;
}

void act_truncate(struct rte_mbuf *m, uint32_t size)
{
    if (m->pkt_len <= size)
        return;
    /* What is left of a packet does not want its checksum completed, nor to be cut again. */
    partial_finish(m);
    while (m->pkt_len > size) {
        struct rte_mbuf *last = rte_pktmbuf_lastseg(m), *before = m;
        uint32_t excess = m->pkt_len - size;

        if (excess < last->data_len || last == m) {
            rte_pktmbuf_trim(m, (uint16_t)excess);
            return;
        }
        while (before->next != last)
            before = before->next;
        before->next = NULL;
        m->pkt_len -= last->data_len;
        m->nb_segs--;
        rte_pktmbuf_free_seg(last);
    }
}

void act_give_metadata(struct rte_mbuf **packets, unsigned int n, const struct pkt_md *md)
{
    for (unsigned int i = 0; i < n; i++) {
        if (i + AHEAD < n)
            rte_prefetch0(pkt_of(packets[i + AHEAD]));
        pkt_of(packets[i])->md = *md;
    }
}

struct rte_mbuf *act_copy(struct worker *worker, const struct rte_mbuf *m, bool has_md)
{
    struct rte_mbuf *copy = rte_pktmbuf_copy(m, m->pool, 0, UINT32_MAX);
    const struct pkt *from = (const struct pkt *)(m + 1);

    if (!copy) {
        stat_add(&worker->stat->drops[DROP_no_mbuf], 1);
        return NULL;
    }
    if (has_md) {
        struct pkt *to = pkt_of(copy);

        to->md = from->md;
        if (from->md.more) {
            pkt_copy_tunnel(to, from);
            to->ct = from->ct;
            to->conn = from->conn;
            to->conn_reply = from->conn_reply;
            to->conn_related = from->conn_related;
        }
    } else {
        pkt_copy_marks(copy, m);
    }
    return copy;
}

unsigned int act_gather(struct worker *worker, struct rte_mbuf **packets, unsigned int n, bool has_md)
{
    for (unsigned int i = 0; i < n;) {
        struct rte_mbuf *m = packets[i];

        if (likely(m->nb_segs == 1 || m->data_len >= HEADERS)) {
            i++;
            continue;
        }
        packets[i] = act_copy(worker, m, has_md);
        rte_pktmbuf_free(m);
        if (packets[i])
            i++;
        else
            packets[i] = packets[--n];
    }
    return n;
}

void act_set_tunnel(struct rte_mbuf *m, const struct act_tunnel *want)
{
    struct pkt *pkt = pkt_of(m);

    pkt->tunnel = want->tunnel;
    if (want->tunnel.options_size)
        memcpy(pkt->options, want->options, KEY_OPTIONS);
    pkt->md.more |= PKT_MORE_TUNNEL;
    m->ol_flags |= PKT_TUNNEL;
}
