/* SPDX-License-Identifier: Apache-2.0
 * act_header.c - headers put before a packet and taken away: tags, labels, Ethernet, NSH
 * (act_int.h).
 *
 * Where Open vSwitch 3.1.0 was seen to do otherwise, or would end: it aborts on a second Ethernet
 * header, on taking away one that is not there, and on a service header before a packet of a type
 * that has no number there; it writes a tag into packets without Ethernet header; a label before
 * such a packet leaves its type as it was. */
#include <rte_mbuf.h>

#include "act/act_int.h"
#include "odp/odp_attr.h"
#include "packet/extract.h"

#define ETHERNET 14u
#define TYPE_IP ODP_BE16(0x0800)
#define TYPE_IP6 ODP_BE16(0x86dd)
#define TYPE_NSH ODP_BE16(0x894f)
#define TYPE_TEB ODP_BE16(0x6558)
#define NSH_NEXT_IP 1
#define NSH_NEXT_IP6 2
#define NSH_NEXT_ETHERNET 3
#define NSH_NEXT_NSH 4

static uint16_t load16(const uint8_t *at)
{
    uint16_t x;

    memcpy(&x, at, 2);
    return x;
}

/* Moves the end of the first segment's bytes to a new one behind it, so that there is room. */
static bool split(struct rte_mbuf *m)
{
    const uint16_t part = m->data_len / 2;
    struct rte_mbuf *rest = rte_pktmbuf_alloc(m->pool);
    char *to = rest ? rte_pktmbuf_append(rest, part) : NULL;

    if (!to) {
        rte_pktmbuf_free(rest);
        return false;
    }
    memcpy(to, rte_pktmbuf_mtod_offset(m, const char *, m->data_len - part), part);
    rest->next = m->next;
    m->next = rest;
    m->nb_segs++;
    m->data_len -= part;
    return true;
}

/* `size` bytes more in front of the packet, NULL if there is no buffer for them.  What the headroom
 * does not have is taken from behind the first segment's bytes. */
static uint8_t *prepend(struct rte_mbuf *m, uint32_t size)
{
    const uint32_t lack = size > rte_pktmbuf_headroom(m) ? size - rte_pktmbuf_headroom(m) : 0;

    if (unlikely(lack)) {
        const uint8_t *from = rte_pktmbuf_mtod(m, const uint8_t *);

        if (rte_pktmbuf_tailroom(m) < lack && (!split(m) || rte_pktmbuf_tailroom(m) < lack))
            return NULL;
        m->data_off += (uint16_t)lack;
        memmove(rte_pktmbuf_mtod(m, uint8_t *), from, m->data_len);
    }
    return (uint8_t *)rte_pktmbuf_prepend(m, (uint16_t)size);
}

bool act_push_vlan(struct rte_mbuf *m, uint32_t tag)
{
    uint8_t *start;

    if (m->ol_flags & PKT_L3 || m->data_len < ETHERNET)
        return false;
    start = prepend(m, 4);
    if (!start)
        return false;
    memmove(start, start + 4, 12);
    memcpy(start + 12, &tag, 4);
    return true;
}

void act_pop_vlan(struct rte_mbuf *m)
{
    uint8_t *frame = rte_pktmbuf_mtod(m, uint8_t *);

    if (m->ol_flags & PKT_L3 || m->data_len < 18 || !odp_is_vlan(load16(frame + 12)))
        return;
    memmove(frame + 4, frame, 12);
    rte_pktmbuf_adj(m, 4);
}

bool act_push_mpls(struct rte_mbuf *m, const struct act_layers *l, uint32_t lse, uint32_t eth_type)
{
    uint16_t type = (uint16_t)eth_type;
    uint8_t *start;

    if (!l->eth_type || m->data_len < l->l3)
        return false; /* 802.2: there is no type that could be replaced. */
    start = prepend(m, 4);
    if (!start)
        return false;
    memmove(start, start + 4, l->l3);
    memcpy(start + l->l3, &lse, 4);
    if (m->ol_flags & PKT_L3)
        pkt_set_l3(m, type);
    else
        memcpy(start + l->l3 - 2, &type, 2);
    return true;
}

bool act_add_mpls(struct rte_mbuf *m, uint32_t lse, uint32_t eth_type)
{
    uint8_t *start = prepend(m, 4);

    if (!start)
        return false;
    memcpy(start, &lse, 4);
    pkt_set_l3(m, (uint16_t)eth_type);
    return true;
}

bool act_pop_mpls(struct rte_mbuf *m, const struct act_layers *l, uint32_t eth_type)
{
    uint8_t *frame = rte_pktmbuf_mtod(m, uint8_t *);
    uint16_t type = (uint16_t)eth_type;

    if (!odp_is_mpls(l->eth_type) || m->data_len < l->l3 + 4u)
        return true;
    if (m->pkt_len == 4)
        return false;
    if (!(m->ol_flags & PKT_L3))
        memcpy(frame + l->l3 - 2, &type, 2);
    else if (type == TYPE_TEB)
        pkt_set_ethernet(m);
    else
        pkt_set_l3(m, type);
    memmove(frame + 4, frame, l->l3);
    rte_pktmbuf_adj(m, 4);
    return true;
}

bool act_push_eth(struct rte_mbuf *m, const uint8_t *addresses)
{
    uint8_t *start;

    if (!(m->ol_flags & PKT_L3))
        return false;
    start = prepend(m, ETHERNET);
    if (!start)
        return false;
    memcpy(start, addresses, 12);
    memcpy(start + 12, &pkt_of(m)->md.packet_type, 2);
    pkt_set_ethernet(m);
    return true;
}

bool act_pop_eth(struct rte_mbuf *m, const struct act_layers *l)
{
    if (m->ol_flags & PKT_L3 || !l->eth_type || m->data_len < l->l3 || m->pkt_len == l->l3)
        return false; /* Of 802.2 nothing would say what it is. */
    rte_pktmbuf_adj(m, l->l3);
    pkt_set_l3(m, l->eth_type);
    return true;
}

/* The number of what is behind a service header; 0: it has none. */
static uint8_t nsh_next(const struct rte_mbuf *m)
{
    if (!(m->ol_flags & PKT_L3))
        return NSH_NEXT_ETHERNET;
    switch (pkt_of((struct rte_mbuf *)(uintptr_t)m)->md.packet_type) {
    case TYPE_IP:
        return NSH_NEXT_IP;
    case TYPE_IP6:
        return NSH_NEXT_IP6;
    case TYPE_NSH:
        return NSH_NEXT_NSH;
    default:
        return 0;
    }
}

bool act_push_nsh(struct rte_mbuf *m, const uint8_t *header, uint32_t size)
{
    const uint8_t next = nsh_next(m);
    uint8_t *start = next ? prepend(m, size) : NULL;

    if (!start)
        return false;
    memcpy(start, header, size);
    start[3] = next;
    pkt_set_l3(m, TYPE_NSH);
    return true;
}

bool act_pop_nsh(struct rte_mbuf *m)
{
    const uint8_t *nsh = rte_pktmbuf_mtod(m, const uint8_t *);
    uint32_t size;

    if (!(m->ol_flags & PKT_L3) || pkt_of(m)->md.packet_type != TYPE_NSH)
        return true;
    size = m->data_len >= 8 ? (nsh[1] & 0x3fu) * 4 : 0;
    if (size < 8 || size > m->data_len || size == m->pkt_len)
        return false;
    switch (nsh[3]) {
    case NSH_NEXT_IP:
        pkt_set_l3(m, TYPE_IP);
        break;
    case NSH_NEXT_IP6:
        pkt_set_l3(m, TYPE_IP6);
        break;
    case NSH_NEXT_ETHERNET:
        pkt_set_ethernet(m);
        break;
    case NSH_NEXT_NSH:
        break;
    default:
        return false;
    }
    rte_pktmbuf_adj(m, (uint16_t)size);
    return true;
}
