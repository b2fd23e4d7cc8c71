/* SPDX-License-Identifier: Apache-2.0
 * tnl_bundle.c - several outer packets in one (tnl_pop_int.h, segment_bundle.h). */
#include <string.h>

#include <rte_ip.h>
#include <rte_mbuf.h>

#include "segment/segment_merge.h"
#include "tnl/tnl_pop_int.h"

static void put16(uint8_t *at, uint32_t x)
{
    at[0] = (uint8_t)(x >> 8);
    at[1] = (uint8_t)x;
}

void tnl_unsum(const struct tunnel_config *config, struct rte_mbuf *m, const struct tnl_seen *seen)
{
    uint8_t *udp = rte_pktmbuf_mtod_offset(m, uint8_t *, seen->l4);

    /* A bundle asks for a checksum, of whatever it was made. */
    if (seen->family == 4 && !config->csum)
        memset(udp + 6, 0, 2);
    else if (!(udp[6] | udp[7]))
        memset(udp + 6, 0xff, 2);
}

/* The outer lengths of a packet that has become shorter. */
static void fix_lengths(struct rte_mbuf *m, const struct tnl_seen *seen)
{
    uint8_t *frame = rte_pktmbuf_mtod(m, uint8_t *), *ip = frame + seen->l3;
    uint16_t sum;

    put16(frame + seen->l4 + 4, m->pkt_len - seen->l4);
    if (seen->family == 6) {
        put16(ip + 4, m->pkt_len - seen->l3 - 40);
        return;
    }
    put16(ip + 2, m->pkt_len - seen->l3);
    memset(ip + 10, 0, 2);
    sum = rte_ipv4_cksum((const struct rte_ipv4_hdr *)ip);
    memcpy(ip + 10, &sum, sizeof sum);
}

bool tnl_merge(const struct tunnel_config *config, struct rte_mbuf *m, struct tnl_seen *seen)
{
    const uint64_t flags = m->ol_flags;
    struct segment_pieces pieces = { .at = seen->l4 + 8 };
    enum stat_drop reason;
    struct tnl_found found;

    if (config->kind == TUNNEL_GTPU) /* Its header has a length. */
        return false;
    m->ol_flags &= ~PARTIAL_SEG; /* The first one is what is read. */
    reason = tnl_read(config, m, seen, &found);
    m->ol_flags = flags;
    if (reason != TNL_NO_DROP)
        return false;
    pieces.end = found.end;
    pieces.inner = found.inner;
    pieces.type = found.type;
    if (!segment_merge(m, &pieces))
        return false;
    fix_lengths(m, seen);
    tnl_unsum(config, m, seen);
    return tnl_see(m, seen);
}
