/* SPDX-License-Identifier: Apache-2.0 */
#include "segment/segment_fragment.h"

#include <string.h>

#include <rte_byteorder.h>
#include <rte_ip.h>
#include <rte_mbuf.h>

#include "packet/pkt.h"

#define HEADER 20u

struct segment_fragments segment_fragments(const struct rte_mbuf *m, uint32_t l3, uint32_t mtu)
{
    struct segment_fragments plan = { .l3 = l3, .part = mtu < HEADER + 8 ? 0 : (mtu - HEADER) & ~7u };
    const struct rte_ipv4_hdr *ip = rte_pktmbuf_mtod_offset(m, const struct rte_ipv4_hdr *, l3);

    if (!plan.part || m->data_len < l3 + HEADER || m->pkt_len > l3 + UINT16_MAX || ip->version_ihl != 0x45
        || ip->fragment_offset & RTE_BE16(0x7fff))
        return plan;
    plan.count = (m->pkt_len - l3 - HEADER + plan.part - 1) / plan.part;
    return plan;
}

struct rte_mbuf *segment_fragment(const struct rte_mbuf *m, const struct segment_fragments *plan, uint32_t index)
{
    const uint32_t head = plan->l3 + HEADER, at = index * plan->part;
    const uint32_t size = RTE_MIN(plan->part, m->pkt_len - head - at);
    struct rte_mbuf *fragment = rte_pktmbuf_copy(m, m->pool, head + at, size);
    struct rte_ipv4_hdr *ip;
    void *front = fragment ? rte_pktmbuf_prepend(fragment, (uint16_t)head) : NULL;

    if (!front) {
        rte_pktmbuf_free(fragment);
        return NULL;
    }
    memcpy(front, rte_pktmbuf_mtod(m, const void *), head);
    ip = rte_pktmbuf_mtod_offset(fragment, struct rte_ipv4_hdr *, plan->l3);
    ip->total_length = rte_cpu_to_be_16((uint16_t)(HEADER + size));
    ip->fragment_offset = rte_cpu_to_be_16((uint16_t)(at / 8 | (index + 1 < plan->count ? 0x2000 : 0)));
    ip->hdr_checksum = 0;
    ip->hdr_checksum = rte_ipv4_cksum(ip);
    pkt_copy_marks(fragment, m);
    return fragment;
}
