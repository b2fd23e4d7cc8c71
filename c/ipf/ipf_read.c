/* SPDX-License-Identifier: Apache-2.0
 * ipf_read.c - what a fragment says of itself, and whether it can be believed (ipf_int.h). */
#include "ipf/ipf_int.h"
#include "packet/csum.h"
#include "packet/extract.h"
#include "packet/partial.h"

#define PROTO_HOPOPTS 0
#define PROTO_ROUTING 43
#define PROTO_FRAGMENT 44
#define PROTO_AH 51
#define PROTO_DSTOPTS 60

#define MORE_V4 0x2000u
#define OFFSET_V4 0x1fffu            /* In units of 8 bytes. */
#define MORE_V6 1u
#define OFFSET_V6 0xfff8u

static uint16_t be16(const uint8_t *at)
{
    return (uint16_t)(at[0] << 8 | at[1]);
}

static uint32_t be32(const uint8_t *at)
{
    return (uint32_t)be16(at) << 16 | be16(at + 2);
}

static bool checksum_good(const struct rte_mbuf *m, const uint8_t *ip, uint32_t size)
{
    const uint64_t flags = m->ol_flags & RTE_MBUF_F_RX_IP_CKSUM_MASK;

    if (flags == RTE_MBUF_F_RX_IP_CKSUM_GOOD || m->ol_flags & RTE_MBUF_F_TX_IP_CKSUM)
        return true;
    return flags != RTE_MBUF_F_RX_IP_CKSUM_BAD && csum_fold(csum_sum(ip, size)) == 0xffff;
}

/* Headers were measured by the extractor; `ip` has `room` contiguous bytes.  Both answer with the
 * size from the IP header on, 0: malformed. */
static uint32_t read_v4(const struct rte_mbuf *m, const uint8_t *ip, struct ipf_fragment *f)
{
    const uint32_t header = (ip[0] & 15u) * 4, total = be16(ip + 2);

    if (ip[0] >> 4 != 4 || !checksum_good(m, ip, header))
        return 0;
    f->key.family = 4;
    f->key.proto = ip[9];
    f->key.id = be16(ip + 4);
    memcpy(f->key.src, ip + 12, 4);
    memcpy(f->key.dst, ip + 16, 4);
    f->ecn = ip[1] & 3;
    f->field_at = (uint16_t)(f->piece.l3 + 6);
    f->field = be16(ip + 6);
    f->more = f->field & MORE_V4;
    f->piece.start = (uint16_t)((f->field & OFFSET_V4) * 8);
    f->piece.data = (uint16_t)(f->piece.l3 + header);
    return total;
}

static uint32_t read_v6(const uint8_t *ip, uint32_t room, struct ipf_fragment *f)
{
    uint32_t at = 40, next = ip[6];

    while (next != PROTO_FRAGMENT) {
        const uint32_t kind = next;

        if ((next != PROTO_HOPOPTS && next != PROTO_ROUTING && next != PROTO_AH && next != PROTO_DSTOPTS) || at + 8 > room)
            return 0;
        next = ip[at];
        at += kind == PROTO_AH ? (ip[at + 1] + 2u) * 4 : (ip[at + 1] + 1u) * 8;
    }
    if (ip[0] >> 4 != 6 || at + 8 > room)
        return 0;
    f->key.family = 6;
    f->key.id = be32(ip + at + 4);
    memcpy(f->key.src, ip + 8, 32); /* And the destination. */
    f->ecn = ip[1] >> 4 & 3;
    f->field_at = (uint16_t)(f->piece.l3 + at + 2);
    f->field = be16(ip + at + 2);
    f->more = f->field & MORE_V6;
    f->piece.start = f->field & OFFSET_V6;
    f->piece.data = (uint16_t)(f->piece.l3 + at + 8);
    return be16(ip + 4) + 40u;
}

/* Lengths that fit together, and the frame. */
static bool measure(const struct rte_mbuf *m, uint32_t total, struct ipf_fragment *f)
{
    struct ipf_piece *p = &f->piece;
    const uint32_t header = p->data - p->l3;
    const struct rte_mbuf *last = rte_pktmbuf_lastseg((struct rte_mbuf *)(uintptr_t)m);

    /* IPv6 has a whole packet with reserved bits that is a fragment to all that look at them. */
    if (!p->start && !f->more)
        return false;
    if (total <= header || p->l3 + total > m->pkt_len || p->data >= m->data_len)
        return false;
    /* The header that a packet gets is its first fragment's, in IPv6 less the fixed one. */
    if (p->start + total - (f->key.family == 4 ? 0 : 40) > UINT16_MAX)
        return false;
    p->size = (uint16_t)(total - header);
    p->padding = (uint16_t)(m->pkt_len - p->l3 - total);
    p->segments = m->nb_segs;
    return m->pkt_len - p->l3 - total < (m->nb_segs == 1 ? UINT16_MAX : last->data_len);
}

bool ipf_read(struct ipf *ipf, uint16_t zone, struct rte_mbuf *m, struct ipf_fragment *f)
{
    const bool l3 = m->ol_flags & PKT_L3;
    const struct pkt_md md = { .more = l3 ? PKT_MORE_L3 : 0, .packet_type = l3 ? pkt_of(m)->md.packet_type : 0 };
    const uint8_t *frame = rte_pktmbuf_mtod(m, const uint8_t *);
    struct extract_layers layers;
    struct key key;
    uint32_t total, v6;

    memset(f, 0, sizeof *f);
    extract_blocks(frame, m->data_len, m->pkt_len, &md, NULL, 1, &key, &layers);
    if (key.base.nw_frag == KEY_FRAG_NONE || !layers.l4)
        return false;
    v6 = key.base.eth_type == IPF_BE16(0x86dd);
    if (!atomic_load_explicit(&ipf->enabled[v6], memory_order_relaxed))
        return false;
    f->key.zone = zone;
    f->key.recirc_id = pkt_of(m)->md.recirc_id;
    if (!ipf_is_ct(&f->key)) {
        f->key.port = pkt_of(m)->md.in_port;
        for (uint32_t i = 0; i < KEY_VLANS; i++)
            f->key.vlans[i] = IPF_BE16(key.base.vlan[i].tci) & 0xfff;
    }
    f->piece.m = m;
    f->piece.port = (uint16_t)pkt_of(m)->md.in_port;
    f->piece.l3 = layers.l3;
    total = v6 ? read_v6(frame + layers.l3, (uint32_t)m->data_len - layers.l3, f) : read_v4(m, frame + layers.l3, f);
    /* No host leaves the checksum of a fragment to be computed by others. */
    if (!total || !measure(m, total, f) || m->ol_flags & PARTIAL_FLAGS) {
        ipf_count(&ipf->bad, 1);
        return false;
    }
    if (f->more && total < ipf_least(ipf, &f->key)) {
        ipf_count(&ipf->too_small[v6], 1);
        return false;
    }
    return true;
}
