/* SPDX-License-Identifier: Apache-2.0
 * tnl_outer.c - outer headers: what each kind writes, and how one gets before a packet.
 *
 * VXLAN is RFC 7348, its group policy draft-smith-vxlan-group-policy; Geneve RFC 8926; GRE RFC 2784
 * and 2890; ERSPAN draft-foschiano-erspan; GTP-U 3GPP TS 29.281; bareudp Linux's, and RFC 7510. */
#include <string.h>

#include <rte_ip.h>
#include <rte_mbuf.h>

#include "packet/csum.h"
#include "packet/partial.h"
#include "tnl/tnl_push_int.h"

#define HEADERS 256u         /* Bytes that hold every header of a packet (extract.h). */

static void put16(uint8_t *at, uint32_t x)
{
    at[0] = (uint8_t)(x >> 8);
    at[1] = (uint8_t)x;
}

static void put32(uint8_t *at, uint32_t x)
{
    put16(at, x >> 16);
    put16(at + 2, x);
}

/* --- What kinds write ------------------------------------------------------------------------- */

static uint32_t key_of(const struct tnl_want *want)
{
    return (uint32_t)__builtin_bswap64(want->tunnel->id);
}

static bool write_vxlan(const struct tnl_want *want, uint8_t *at)
{
    const struct key_tunnel *t = want->tunnel;
    const bool gbp = want->hop->port->config.gbp && (t->gbp_id | t->gbp_flags);

    put32(at, 0x08000000u | (gbp ? 0x80000000u | (uint32_t)(t->gbp_flags & 0x48) << 16 | t->gbp_id : 0));
    put32(at + 4, key_of(want) << 8);
    return !want->type;
}

static bool write_geneve(const struct tnl_want *want, uint8_t *at)
{
    const struct key_tunnel *t = want->tunnel;
    uint8_t critical = 0;

    for (uint32_t i = 0; i + 4 <= t->options_size; i += 4 + 4u * (want->options[i + 3] & 0x1f))
        critical |= want->options[i + 2] & 0x80;
    at[0] = (uint8_t)(t->options_size / 4);
    at[1] = (uint8_t)((t->flags & KEY_TUNNEL_OAM ? 0x80 : 0) | (critical ? 0x40 : 0));
    put16(at + 2, 0x6558);
    put32(at + 4, key_of(want) << 8);
    memcpy(at + 8, want->options, t->options_size);
    return !want->type;
}

static bool write_gtpu(const struct tnl_want *want, uint8_t *at)
{
    const struct key_tunnel *t = want->tunnel;

    at[0] = t->gtpu_flags ? t->gtpu_flags : 0x30;
    at[1] = t->gtpu_msgtype ? t->gtpu_msgtype : 255;
    put16(at + 2, want->inner_size);
    put32(at + 4, key_of(want));
    return want->type;
}

/* Its size. */
static uint32_t write_gre(struct tnl_port *port, const struct tnl_want *want, uint8_t *at)
{
    const struct key_tunnel *t = want->tunnel;
    uint32_t size = 4, flags = 0;

    if (t->flags & KEY_TUNNEL_CSUM) {
        flags |= 0x8000;
        put32(at + size, 0);
        size += 4;
    }
    if (t->flags & KEY_TUNNEL_KEY) {
        flags |= 0x2000;
        put32(at + size, key_of(want));
        size += 4;
    }
    if (port->config.seq) {
        flags |= 0x1000;
        put32(at + size, atomic_fetch_add_explicit(&port->sequence, 1, memory_order_relaxed));
        size += 4;
    }
    put16(at, flags);
    put16(at + 2, want->type ? __builtin_bswap16(want->type) : 0x6558);
    return size;
}

static uint32_t write_erspan(struct tnl_port *port, const struct tnl_want *want, uint8_t *at)
{
    const struct key_tunnel *t = want->tunnel;
    const struct tunnel_config *config = &port->config;
    const bool told = t->erspan_ver;
    const uint8_t version = told ? t->erspan_ver : config->erspan_ver;
    uint32_t bits = told ? __builtin_bswap32(t->erspan) : config->erspan_idx;

    put16(at, 0x1000);
    put16(at + 2, version == 1 ? 0x88be : 0x22eb);
    put32(at + 4, atomic_fetch_add_explicit(&port->sequence, 1, memory_order_relaxed));
    put32(at + 8, (uint32_t)version << 28 | (key_of(want) & 0x3ff));
    if (version == 1) {
        put32(at + 12, bits & 0xfffff);
        return 16;
    }
    if (!told)
        bits = (uint32_t)config->erspan_hwid << 4 | (uint32_t)config->erspan_dir << 3;
    put32(at + 12, want->now_ms * 10); /* In units of 100 microseconds. */
    put32(at + 16, bits & 0x3f8);
    return 20;
}

bool tnl_outer_write(struct tnl *tnl, const struct tnl_want *want, struct tnl_outer *outer)
{
    struct tnl_port *port = (struct tnl_port *)(uintptr_t)want->hop->port;
    const struct tunnel_config *config = &port->config;
    uint8_t *at = outer->bytes + outer->l4;
    uint32_t size;
    bool good;

    outer->udp = tunnel_is_udp(config->kind);
    /* Over IPv6 a receiver has to be told to take UDP without one (RFC 6935), and few are. */
    outer->csum = want->tunnel->flags & KEY_TUNNEL_CSUM || (outer->udp && outer->ip6 && !config->csum6_zero);
    if (!outer->udp) {
        const bool erspan = config->kind == TUNNEL_ERSPAN || config->kind == TUNNEL_IP6ERSPAN;

        if (erspan)
            outer->csum = false;
        size = erspan ? write_erspan(port, want, at) : write_gre(port, want, at);
        outer->size = outer->l4 + size;
        return !want->type == (erspan || !config->l3);
    }
    put16(at, want->tunnel->tp_src ? __builtin_bswap16(want->tunnel->tp_src) : tnl_source_port(tnl, want->hash));
    put16(at + 2, want->tunnel->tp_dst ? __builtin_bswap16(want->tunnel->tp_dst) : config->dst_port);
    put32(at + 4, 0);
    switch (config->kind) {
    case TUNNEL_VXLAN:
        good = write_vxlan(want, at + 8);
        size = 16;
        break;
    case TUNNEL_GENEVE:
        good = write_geneve(want, at + 8);
        size = 16 + want->tunnel->options_size;
        break;
    case TUNNEL_GTPU:
        good = write_gtpu(want, at + 8);
        size = 16;
        break;
    default:
        good = want->type && (__builtin_bswap16(want->type) == config->payload || config->multiproto);
        size = 8;
    }
    outer->size = outer->l4 + size;
    return good;
}

/* --- Before a packet -------------------------------------------------------------------------- */

/* Room for a header that does not fit before the packet: in a buffer of its own, to which the
 * packet's headers move, so that all headers stay in one. */
static struct rte_mbuf *put_buffer(struct rte_mbuf *m, uint32_t size)
{
    struct rte_mbuf *first = rte_pktmbuf_alloc(m->pool);
    const uint16_t moved = (uint16_t)RTE_MIN(m->data_len, HEADERS);

    if (!first)
        return NULL;
    if (rte_pktmbuf_tailroom(first) < size + moved) {
        rte_pktmbuf_free(first);
        return NULL;
    }
    memcpy(rte_pktmbuf_mtod_offset(first, uint8_t *, size), rte_pktmbuf_mtod(m, const uint8_t *), moved);
    first->data_len = (uint16_t)(size + moved);
    first->pkt_len = m->pkt_len + size;
    /* But where the bytes lie. */
    first->ol_flags = m->ol_flags & ~(RTE_MBUF_F_EXTERNAL | RTE_MBUF_F_INDIRECT);
    first->tx_offload = m->tx_offload;
    first->hash = m->hash;
    first->port = m->port;
    if (m->nb_segs == 1 && m->data_len == moved) {
        rte_pktmbuf_free(m);
        return first;
    }
    if (m->data_len == moved) { /* No empty one in the middle. */
        first->next = m->next;
        first->nb_segs = m->nb_segs;
        m->next = NULL;
        m->nb_segs = 1;
        rte_pktmbuf_free(m);
        return first;
    }
    rte_pktmbuf_adj(m, moved);
    first->next = m;
    first->nb_segs = (uint16_t)(m->nb_segs + 1);
    return first;
}

/* The sum from a byte on, as it will be when what was left undone has been done. */
static uint16_t sum_from(struct rte_mbuf *m, uint32_t at)
{
    const uint8_t *frame = rte_pktmbuf_mtod(m, const uint8_t *);
    struct partial partial;
    uint16_t sum = 0, held;

    if (partial_get(m, &partial) && partial.start >= at && !((partial.start - at) & 1)) {
        memcpy(&held, frame + partial.field, sizeof held);
        return csum_fold(csum_sum(frame + at, partial.start - at) + (uint16_t)~held);
    }
    return rte_raw_cksum_mbuf(m, at, m->pkt_len - at, &sum) ? 0 : sum;
}

/* Lengths and checksums of an outer header that is before its packet. */
static void fill_in(struct rte_mbuf *m, const struct tnl_outer *outer)
{
    uint8_t *frame = rte_pktmbuf_mtod(m, uint8_t *), *ip = frame + outer->l3, *l4 = frame + outer->l4;
    const uint32_t all = m->pkt_len - outer->l3, rest = m->pkt_len - outer->l4;
    uint64_t sum = 0;
    uint16_t folded;

    /* What is to be cut may be too long for its length, which is the pieces' then. */
    if (outer->ip6) {
        put16(ip + 4, all - 40 > UINT16_MAX ? 0 : all - 40);
    } else {
        struct rte_ipv4_hdr *header = (struct rte_ipv4_hdr *)ip;

        put16(ip + 2, all > UINT16_MAX ? 0 : all);
        header->hdr_checksum = 0;
        header->hdr_checksum = rte_ipv4_cksum(header);
    }
    if (outer->udp)
        put16(l4 + 4, rest > UINT16_MAX ? 0 : rest);
    if (!outer->csum)
        return;
    if (outer->udp) {
        const uint8_t pseudo[8] = { 0, 0, (uint8_t)(rest >> 8), (uint8_t)rest, 0, 0, 0, 17 };

        sum = csum_sum(pseudo, sizeof pseudo) + (outer->ip6 ? csum_sum(ip + 8, 32) : csum_sum(ip + 12, 8));
    }
    memset(l4 + (outer->udp ? 6 : 4), 0, 2);
    folded = (uint16_t)~csum_fold(sum + sum_from(m, outer->l4));
    if (!folded && outer->udp)
        folded = UINT16_MAX;
    memcpy(l4 + (outer->udp ? 6 : 4), &folded, sizeof folded);
}

/* A mark without a place means the transport header that is seen now. */
static void pin_partial(struct rte_mbuf *m)
{
    struct partial partial;
    const uint64_t offload = m->tx_offload;

    if (!(m->ol_flags & PARTIAL_FLAGS) || m->tx_offload >> 40)
        return;
    if (!partial_get(m, &partial)) {
        m->ol_flags &= ~PARTIAL_FLAGS;
        return;
    }
    partial_mark(m, partial.start, partial.field - partial.start, 0);
    m->l3_len = (offload >> RTE_MBUF_L2_LEN_BITS) & ((1u << RTE_MBUF_L3_LEN_BITS) - 1);
    m->l4_len = (uint8_t)(partial.payload - partial.start);
    m->tso_segsz = (offload >> (RTE_MBUF_L2_LEN_BITS + RTE_MBUF_L3_LEN_BITS + RTE_MBUF_L4_LEN_BITS)) & UINT16_MAX;
}

struct rte_mbuf *tnl_outer_put(struct worker *worker, struct rte_mbuf *m, struct tnl_outer *outer)
{
    const uint32_t tunnels = (uint32_t)((m->ol_flags & PKT_TUNNELS) >> PKT_TUNNELS_BIT);
    enum stat_drop reason = DROP_no_mbuf;
    struct rte_mbuf *with = m;

    if (m->pkt_len + outer->size > UINT16_MAX && !(m->ol_flags & PARTIAL_SEG))
        reason = DROP_tunnel_mtu;
    else if (tunnels == 7)
        reason = DROP_tunnel_depth;
    else {
        pin_partial(m);
        if (!rte_pktmbuf_prepend(m, (uint16_t)outer->size))
            with = put_buffer(m, outer->size);
    }
    if (reason != DROP_no_mbuf || !with) {
        worker_drop(worker, m, reason);
        return NULL;
    }
    memcpy(rte_pktmbuf_mtod(with, uint8_t *), outer->bytes, outer->size);
    with->ol_flags = (with->ol_flags & ~(PKT_TUNNELS | PKT_TUNNEL | PKT_L3 | PKT_MARKED | TNL_RX_SUMS)) | (uint64_t)(tunnels + 1) << PKT_TUNNELS_BIT;
    fill_in(with, outer);
    return with;
}
