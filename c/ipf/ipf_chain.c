/* SPDX-License-Identifier: Apache-2.0
 * ipf_chain.c - one packet of many fragments, and the fragments of it again (ipf_int.h).
 *
 * Headers of all fragments but the first are hidden in front of their data, and padding behind it,
 * while they are one packet. */
#include "ipf/ipf_int.h"
#include "packet/csum.h"

#define KEEP_V4 0x4000u              /* The flag of a whole packet: do not fragment. */

static void put16(uint8_t *at, uint32_t x)
{
    at[0] = (uint8_t)(x >> 8);
    at[1] = (uint8_t)x;
}

/* Length and fragment field of a packet's header. */
static void set_header(uint8_t *frame, const struct ipf_list *list, uint32_t l3, uint32_t total, uint16_t field)
{
    uint8_t *ip = frame + l3, before[4];

    if (list->key.family == 4) {
        memcpy(before, ip + 2, 2);
        memcpy(before + 2, ip + 6, 2);
        put16(ip + 2, total);
        put16(ip + 6, field);
        csum_update(ip + 10, csum_change(before, ip + 2, 2) + csum_change(before + 2, ip + 6, 2));
    } else {
        put16(ip + 4, total - 40);
        put16(frame + list->field_at, field);
    }
}

void ipf_join(struct ipf *ipf, struct ipf_list *list)
{
    const struct ipf_piece *head = &ipf->pieces[list->first];
    struct rte_mbuf *m = head->m, *tail = rte_pktmbuf_lastseg(m);
    uint16_t field = 0;

    tail->data_len = (uint16_t)(tail->data_len - head->padding);
    m->pkt_len -= head->padding;
    for (uint32_t i = head->next; i != IPF_NONE; i = ipf->pieces[i].next) {
        const struct ipf_piece *piece = &ipf->pieces[i];

        tail->next = piece->m;
        piece->m->data_off = (uint16_t)(piece->m->data_off + piece->data);
        piece->m->data_len = (uint16_t)(piece->m->data_len - piece->data);
        tail = rte_pktmbuf_lastseg(piece->m);
        tail->data_len = (uint16_t)(tail->data_len - piece->padding);
        m->nb_segs = (uint16_t)(m->nb_segs + piece->segments);
        m->pkt_len += piece->size;
    }
    if (list->key.family == 4)
        field = list->field & KEEP_V4;
    set_header(rte_pktmbuf_mtod(m, uint8_t *), list, head->l3, m->pkt_len - head->l3, field);
    /* What a device said of the first fragment's checksum is not true of the packet's. */
    m->ol_flags &= ~(uint64_t)RTE_MBUF_F_RX_L4_CKSUM_MASK;
    list->whole.m = m;
    list->whole.next = NULL;
    list->whole.ecns = list->ecns;
    list->cutting = 0;
}

/* What is to be written into the fragments, before the first one leaves. */
static void read_result(struct ipf_list *list, const struct ipf_piece *head)
{
    const struct pkt *pkt = pkt_of(list->whole.m);
    const uint8_t *frame = rte_pktmbuf_mtod(list->whole.m, const uint8_t *), *ip = frame + head->l3;
    struct ipf_result *r = &list->result;

    r->state = pkt->md.ct_state;
    r->zone = pkt->md.ct_zone;
    r->mark = pkt->md.ct_mark;
    r->more = pkt->md.more & PKT_MORE_CT;
    r->ct = pkt->ct;
    memcpy(r->src, ip + (list->key.family == 4 ? 12 : 8), list->key.family == 4 ? 4 : 16);
    memcpy(r->dst, ip + (list->key.family == 4 ? 16 : 24), list->key.family == 4 ? 4 : 16);
    set_header(rte_pktmbuf_mtod(list->whole.m, uint8_t *), list, head->l3, (uint32_t)(head->data - head->l3) + head->size, list->field);
    list->cutting = 1;
}

static void write_result(const struct ipf_list *list, const struct ipf_piece *piece, bool first)
{
    const struct ipf_result *r = &list->result;
    struct pkt *pkt = pkt_of(piece->m);
    uint8_t *ip = rte_pktmbuf_mtod(piece->m, uint8_t *) + piece->l3;

    pkt->md.ct_state = r->state;
    pkt->md.ct_zone = r->zone;
    pkt->md.ct_mark = r->mark;
    pkt->md.more = (uint8_t)((pkt->md.more & ~(PKT_MORE_CT | PKT_MORE_CONN)) | r->more);
    memcpy(pkt->ct.label, r->ct.label, sizeof pkt->ct.label);
    memcpy(pkt->ct.orig_src, r->ct.orig_src, 32); /* And the destination. */
    pkt->ct.orig_proto = r->ct.orig_proto;
    /* Those that have no header of their own have no ports. */
    pkt->ct.orig_tp_src = first ? r->ct.orig_tp_src : 0;
    pkt->ct.orig_tp_dst = first ? r->ct.orig_tp_dst : 0;
    if (first)
        return;
    if (list->key.family == 6) {
        memcpy(ip + 8, r->src, 16);
        memcpy(ip + 24, r->dst, 16);
    } else {
        csum_update(ip + 10, csum_change(ip + 12, r->src, 4) + csum_change(ip + 16, r->dst, 4));
        memcpy(ip + 12, r->src, 4);
        memcpy(ip + 16, r->dst, 4);
    }
}

struct rte_mbuf *ipf_cut_one(struct ipf_list *list, struct ipf_piece *piece)
{
    struct rte_mbuf *m = piece->m, *tail = m;
    const bool first = !list->cutting;

    if (first)
        read_result(list, piece);
    for (uint32_t k = 1; k < piece->segments; k++)
        tail = tail->next;
    list->whole.m = tail->next;
    tail->next = NULL;
    tail->data_len = (uint16_t)(tail->data_len + piece->padding);
    if (!first) {
        m->data_off = (uint16_t)(m->data_off - piece->data);
        m->data_len = (uint16_t)(m->data_len + piece->data);
    }
    m->nb_segs = piece->segments;
    m->pkt_len = (uint32_t)piece->data + piece->size + piece->padding;
    write_result(list, piece, first);
    return m;
}
