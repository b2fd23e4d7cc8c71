/* SPDX-License-Identifier: Apache-2.0
 * tnl_read.c - reads outer headers (tnl_pop_int.h). */
#include <string.h>

#include <rte_ip.h>
#include <rte_mbuf.h>

#include "packet/csum.h"
#include "packet/partial.h"
#include "tnl/tnl_pop_int.h"

static uint32_t be16(const uint8_t *at)
{
    return (uint32_t)at[0] << 8 | at[1];
}

static uint32_t be32(const uint8_t *at)
{
    return be16(at) << 16 | be16(at + 2);
}

/* --- Up to the transport header --------------------------------------------------------------- */

static bool see_ip4(const struct rte_mbuf *m, struct tnl_seen *seen)
{
    const uint8_t *ip = seen->frame + seen->l3;
    const uint32_t header = (ip[0] & 15) * 4u, total = be16(ip + 2), fragment = be16(ip + 6);

    /* What is to be cut may be longer than a length can say. */
    seen->end = !total && (m->ol_flags & PARTIAL_SEG) ? m->pkt_len : seen->l3 + total;
    if (ip[0] >> 4 != 4 || header < 20 || seen->l3 + header > seen->end || seen->end > m->pkt_len || seen->room < seen->l3 + header)
        return false;
    seen->l4 = seen->l3 + header;
    seen->options = header > 20;
    seen->proto = ip[9];
    seen->tos = ip[1];
    seen->ttl = ip[8];
    seen->fragment = fragment & 0x1fff ? 2 : fragment & 0x2000 ? 1 : 0;
    return true;
}

static bool see_ip6(const struct rte_mbuf *m, struct tnl_seen *seen)
{
    const uint8_t *ip = seen->frame + seen->l3;
    const uint32_t payload = be16(ip + 4);

    seen->end = !payload && (m->ol_flags & PARTIAL_SEG) ? m->pkt_len : seen->l3 + 40 + payload;
    if (ip[0] >> 4 != 6 || seen->end > m->pkt_len)
        return false;
    seen->tos = (uint8_t)(ip[0] << 4 | ip[1] >> 4);
    seen->ttl = ip[7];
    seen->proto = ip[6];
    seen->l4 = seen->l3 + 40;
    for (int i = 0; i < 8; i++) { /* More than that nobody sends. */
        const uint8_t *at = seen->frame + seen->l4;

        if (seen->proto != 0 && seen->proto != 43 && seen->proto != 44 && seen->proto != 60)
            return true;
        if (seen->l4 + 8 > seen->room || seen->l4 + 8 > seen->end)
            return false;
        if (seen->proto == 44)
            seen->fragment = be16(at + 2) & 0xfff8 ? 2 : be16(at + 2) & 1 ? 1 : seen->fragment;
        seen->l4 += seen->proto == 44 ? 8 : (at[1] + 1u) * 8;
        seen->proto = at[0];
        if (seen->l4 > seen->end || seen->l4 > seen->room || seen->fragment == 2)
            return seen->fragment == 2;
    }
    return false;
}

bool tnl_see(const struct rte_mbuf *m, struct tnl_seen *seen)
{
    uint32_t type;

    memset(seen, 0, sizeof *seen);
    seen->frame = rte_pktmbuf_mtod(m, const uint8_t *);
    seen->room = m->data_len;
    if (m->ol_flags & PKT_L3 || seen->room < 34)
        return false;
    type = be16(seen->frame + 12);
    seen->l3 = 14;
    while ((type == 0x8100 || type == 0x88a8) && seen->tags < 2) {
        seen->vlan = (uint16_t)(be16(seen->frame + seen->l3) & 0xfff);
        type = be16(seen->frame + seen->l3 + 2);
        seen->tags++;
        seen->l3 += 4;
    }
    if (type == 0x0800 && seen->room >= seen->l3 + 20)
        seen->family = see_ip4(m, seen) ? 4 : 0;
    else if (type == 0x86dd && seen->room >= seen->l3 + 40)
        seen->family = see_ip6(m, seen) ? 6 : 0;
    return seen->family;
}

/* --- What kinds have -------------------------------------------------------------------------- */

/* A header under the reader's eyes. */
struct reading {
    const struct tunnel_config *config;
    const struct tnl_seen *seen;
    struct tnl_found *found;
    const uint8_t *at;           /* The tunnel's own header, ... */
    uint32_t size;               /* ... of which so many bytes can be looked at. */
};

static void set_key(struct reading *r, uint64_t key)
{
    r->found->tunnel.id = __builtin_bswap64(key);
    r->found->tunnel.flags |= KEY_TUNNEL_KEY;
}

static enum stat_drop read_vxlan(struct reading *r)
{
    uint32_t flags, known = 0x08000000u;

    if (r->size < 8)
        return DROP_tunnel;
    flags = be32(r->at);
    if (r->config->gbp) {
        known |= 0x80ffffffu;
        if (flags & 0x80000000u) {
            r->found->tunnel.gbp_id = (uint16_t)flags;
            r->found->tunnel.gbp_flags = (uint8_t)(flags >> 16 & 0x48);
        }
    }
    if (!(flags & 0x08000000u))
        return DROP_tunnel;
    if (flags & ~known || r->at[7])
        return DROP_tunnel_option;
    set_key(r, be32(r->at + 4) >> 8);
    r->found->inner += 8;
    return TNL_NO_DROP;
}

static enum stat_drop read_geneve(struct reading *r)
{
    uint32_t options;

    if (r->size < 8)
        return DROP_tunnel;
    options = (r->at[0] & 0x3f) * 4u;
    if (r->at[0] >> 6)
        return DROP_tunnel_option;
    if (be16(r->at + 2) != 0x6558 || r->size < 8 + options)
        return DROP_tunnel;
    for (uint32_t i = 0; i < options;) {
        if (options - i < 4)
            return DROP_tunnel;
        i += 4 + (r->at[8 + i + 3] & 0x1f) * 4u;
        if (i > options)
            return DROP_tunnel;
    }
    memcpy(r->found->options, r->at + 8, options);
    r->found->tunnel.options_size = (uint8_t)options;
    if (r->at[1] & 0x80)
        r->found->tunnel.flags |= KEY_TUNNEL_OAM;
    set_key(r, be32(r->at + 4) >> 8);
    r->found->inner += 8 + options;
    return TNL_NO_DROP;
}

/* By its first four bits. */
static uint16_t ip_type(const uint8_t *at)
{
    return *at >> 4 == 4 ? RTE_BE16(0x0800) : *at >> 4 == 6 ? RTE_BE16(0x86dd) : 0;
}

static enum stat_drop read_gtpu(struct reading *r)
{
    struct key_tunnel *t = &r->found->tunnel;
    uint32_t size = 8, next;

    if (r->size < 8)
        return DROP_tunnel;
    t->gtpu_flags = r->at[0];
    t->gtpu_msgtype = r->at[1];
    set_key(r, be32(r->at + 4));
    r->found->whole = r->at[1] != 255;
    if (r->found->whole)
        return TNL_NO_DROP;
    if ((r->at[0] & 0xf0) != 0x30)
        return DROP_tunnel_option;
    if (be16(r->at + 2) > r->found->end - r->found->inner - 8)
        return DROP_tunnel;
    r->found->end = r->found->inner + 8 + be16(r->at + 2);
    if (r->at[0] & 7) {
        if (r->size < 12)
            return DROP_tunnel;
        next = r->at[0] & 4 ? r->at[11] : 0;
        for (size = 12; next; next = r->at[size - 1]) {
            if (r->size < size + 1 || !r->at[size] || r->size < size + r->at[size] * 4u)
                return DROP_tunnel;
            size += r->at[size] * 4u;
        }
    }
    r->found->inner += size;
    if (r->found->inner >= r->found->end || r->size < size + 1)
        return DROP_tunnel;
    r->found->type = ip_type(r->at + size);
    return r->found->type ? TNL_NO_DROP : DROP_tunnel;
}

static enum stat_drop read_bareudp(struct reading *r)
{
    const uint16_t payload = r->config->payload;
    const bool multicast = r->seen->family == 4 ? tnl_destination(r->seen)[0] >> 4 == 14 : tnl_destination(r->seen)[0] == 0xff;

    if (!r->size)
        return DROP_tunnel;
    r->found->type = __builtin_bswap16(payload);
    if (payload == 0x0800 && r->config->multiproto)
        r->found->type = ip_type(r->at);
    else if (payload == 0x8847 && multicast && r->config->multiproto)
        r->found->type = RTE_BE16(0x8848);
    return r->found->type ? TNL_NO_DROP : DROP_tunnel;
}

static enum stat_drop read_erspan(struct reading *r)
{
    struct key_tunnel *t = &r->found->tunnel;
    const uint8_t version = r->size < 12 ? 0 : r->at[8] >> 4;
    const uint32_t size = version == 1 ? 16 : 20;

    if (be16(r->at) != 0x1000)
        return DROP_tunnel_option;
    if (r->size < 12)
        return DROP_tunnel;
    if (version != 1 && version != 2)
        return DROP_tunnel_option;
    if (r->size < size)
        return DROP_tunnel;
    t->erspan_ver = version;
    t->erspan = __builtin_bswap32(version == 1 ? be32(r->at + 12) & 0xfffff : be16(r->at + 18) & 0x3f8);
    set_key(r, be32(r->at + 8) & 0x3ff);
    r->found->inner += size;
    return TNL_NO_DROP;
}

/* Over all from a byte on; what Linux left undone is believed to come out right. */
static bool sum_is_good(const struct rte_mbuf *m, uint32_t at, uint32_t end, uint64_t pseudo)
{
    uint16_t sum = 0;

    if (m->ol_flags & PARTIAL_FLAGS)
        return true;
    return !rte_raw_cksum_mbuf(m, at, end - at, &sum) && csum_fold(pseudo + sum) == UINT16_MAX;
}

static enum stat_drop read_gre(struct reading *r, const struct rte_mbuf *m)
{
    uint32_t flags, size = 4, type;

    if (r->size < 4)
        return DROP_tunnel;
    flags = be16(r->at);
    type = be16(r->at + 2);
    if (r->config->kind == TUNNEL_ERSPAN || r->config->kind == TUNNEL_IP6ERSPAN)
        return type == 0x88be || type == 0x22eb ? read_erspan(r) : DROP_tunnel;
    if (flags & ~0xb000u)
        return DROP_tunnel_option;
    if (r->size < 4 + 4u * (uint32_t)__builtin_popcount(flags) || type < 0x600)
        return DROP_tunnel;
    if (flags & 0x8000) {
        if (!sum_is_good(m, r->seen->l4, r->found->end, 0))
            return DROP_tunnel_checksum;
        r->found->tunnel.flags |= KEY_TUNNEL_CSUM;
        size += 4;
    }
    if (flags & 0x2000) {
        set_key(r, be32(r->at + size));
        size += 4;
    }
    size += flags & 0x1000 ? 4 : 0;
    r->found->type = type == 0x6558 ? 0 : __builtin_bswap16((uint16_t)type);
    r->found->inner += size;
    return TNL_NO_DROP;
}

static enum stat_drop read_udp(struct reading *r, struct rte_mbuf *m)
{
    const uint8_t *udp = r->seen->frame + r->seen->l4;
    const uint32_t rest = r->seen->end - r->seen->l4;
    uint8_t pseudo[8] = { 0, 0, 0, 0, 0, 0, 0, 17 };
    uint32_t length;

    if (rest < 8 || r->seen->room < r->seen->l4 + 8)
        return DROP_tunnel;
    length = be16(udp + 4);
    memcpy(pseudo + 2, udp + 4, 2);
    /* Several datagrams in one, of which nobody says where each begins. */
    if (partial_is_at(m, r->seen->l4) && (m->ol_flags & PARTIAL_SEG))
        return DROP_tunnel;
    if ((length || !(m->ol_flags & PARTIAL_SEG)) && (length < 8 || length > rest))
        return DROP_tunnel;
    if (length)
        r->found->end = r->seen->l4 + length;
    memcpy(&r->found->tunnel.tp_src, udp, 4); /* And tp_dst. */
    if (!(udp[6] | udp[7]))
        return TNL_NO_DROP;
    r->found->tunnel.flags |= KEY_TUNNEL_CSUM;
    return sum_is_good(m, r->seen->l4, r->found->end,
                       csum_sum(pseudo, sizeof pseudo) + csum_sum(tnl_source(r->seen), r->seen->family == 4 ? 8 : 32))
               ? TNL_NO_DROP
               : DROP_tunnel_checksum;
}

enum stat_drop tnl_read(const struct tunnel_config *config, struct rte_mbuf *m, const struct tnl_seen *seen, struct tnl_found *found)
{
    const bool is_udp = tunnel_is_udp(config->kind);
    struct reading r = { .config = config, .seen = seen, .found = found };
    enum stat_drop reason;

    memset(&found->tunnel, 0, sizeof found->tunnel);
    found->type = 0;
    found->whole = false;
    found->end = seen->end;
    found->inner = seen->l4 + (is_udp ? 8 : 0);
    if (seen->fragment)
        return DROP_tunnel_fragment;
    if (seen->options)
        return DROP_tunnel_option;
    if (seen->proto != (is_udp ? 17 : 47))
        return DROP_tunnel;
    if (seen->family == 4 && rte_ipv4_cksum((const struct rte_ipv4_hdr *)(seen->frame + seen->l3)))
        return DROP_tunnel_checksum;
    reason = is_udp ? read_udp(&r, m) : TNL_NO_DROP;
    if (reason != TNL_NO_DROP)
        return reason;
    r.at = seen->frame + found->inner;
    r.size = found->inner > RTE_MIN(found->end, seen->room) ? 0 : RTE_MIN(found->end, seen->room) - found->inner;
    found->tunnel.family = seen->family;
    memcpy(&found->tunnel.src, tnl_source(seen), seen->family == 4 ? 4 : 16);
    memcpy(&found->tunnel.dst, tnl_destination(seen), seen->family == 4 ? 4 : 16);
    found->tunnel.tos = seen->tos;
    found->tunnel.ttl = seen->ttl;
    switch (config->kind) {
    case TUNNEL_VXLAN:
        return read_vxlan(&r);
    case TUNNEL_GENEVE:
        return read_geneve(&r);
    case TUNNEL_GTPU:
        return read_gtpu(&r);
    case TUNNEL_BAREUDP:
        return read_bareudp(&r);
    default:
        return read_gre(&r, m);
    }
}
