/* SPDX-License-Identifier: Apache-2.0
 * link: tnl/tnl_read.c tnl/tnl_pop.c tnl/tnl_bundle.c packet/extract.c packet/partial.c packet/csum.c packet/worker.c record/record.c segment/segment.c segment/segment_fix.c segment/segment_merge.c segment/segment_walk.c
 *
 * Outer packets of every kind, with any mark that a virtio-net header can leave: nothing is read or written beside the frame, what is
 * popped lies within it, and has a key.  Input: kind and options of the port; what is set right in the frame (IPv4's checksum, no UDP
 * checksum); flags, place and segment size of the mark; the frame. */
#include <stdlib.h>
#include <string.h>

#include <rte_ip.h>
#include <rte_mbuf.h>

#include "packet/extract.h"
#include "packet/partial.h"
#include "tnl/tnl_pop_int.h"

#define HEAD 6u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(int good)
{
    if (!good)
        abort();
}

/* Otherwise hardly any packet would come past the checksums. */
static void set_right(uint8_t *frame, uint32_t size, uint8_t what)
{
    struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)(frame + 14);

    if (what & 1 && size >= 34 && (frame[14] & 15) == 5) {
        ip->hdr_checksum = 0;
        ip->hdr_checksum = rte_ipv4_cksum(ip);
    }
    if (what & 2 && size >= 42)
        frame[40] = frame[41] = 0;
    if (what & 4 && size >= 62)
        frame[60] = frame[61] = 0;
}

static void pop(const struct tunnel_config *config, struct rte_mbuf *m)
{
    struct tnl_seen seen;
    struct tnl_found found;
    struct partial partial;
    struct key key;

    if (!tnl_see(m, &seen))
        return;
    check(seen.l3 <= seen.l4 && seen.end <= m->pkt_len);
    if (tnl_is_bundle(m, &seen) && !tnl_merge(config, m, &seen))
        return;
    check(seen.l3 <= seen.l4 && seen.end <= m->pkt_len);
    if (tnl_read(config, m, &seen, &found) != TNL_NO_DROP)
        return;
    check(found.inner <= found.end && found.end <= m->pkt_len && found.inner <= m->data_len);
    if (tnl_strip(m, &seen, &found, 10) != TNL_NO_DROP)
        return;
    check(found.whole || m->pkt_len == found.end - found.inner);
    check(m->data_len == m->pkt_len && m->pkt_len);
    if (partial_get(m, &partial))
        check(partial.start <= m->pkt_len && partial.field + 2 <= m->data_len);
    tnl_ecn(m, seen.tos);
    if (m->data_len < EXTRACT_RUNT)
        return;
    extract_packet(m, &key);
    check(key.base.in_port == 10 && key.tunnel.family == seen.family);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct {
        struct rte_mbuf m;
        struct pkt pkt;
    } packet __attribute__((aligned(64)));
    struct tunnel_config config = { .erspan_ver = 1, .payload = 0x0800 };
    uint8_t *frame;

    if (size < HEAD + 14 || size > 4096)
        return 0;
    config.kind = data[0] % TUNNEL_KINDS;
    config.gbp = data[0] & 0x10;
    config.multiproto = data[0] & 0x20;
    config.l3 = data[0] & 0x40;
    config.payload = data[0] & 0x80 ? 0x8847 : 0x0800;
    frame = malloc(size - HEAD); /* Exactly, so that nothing is read behind it. */
    check(frame != NULL);
    memcpy(frame, data + HEAD, size - HEAD);
    set_right(frame, (uint32_t)(size - HEAD), data[1]);
    memset(&packet, 0, sizeof packet);
    packet.m.buf_addr = frame;
    packet.m.buf_len = packet.m.data_len = (uint16_t)(size - HEAD);
    packet.m.pkt_len = (uint32_t)(size - HEAD);
    packet.m.nb_segs = 1;
    if (data[1] & 8) {
        const uint64_t kinds[4] = { RTE_MBUF_F_TX_TCP_CKSUM, RTE_MBUF_F_TX_UDP_CKSUM, RTE_MBUF_F_TX_TCP_CKSUM | RTE_MBUF_F_TX_TCP_SEG,
                                    RTE_MBUF_F_TX_UDP_CKSUM | RTE_MBUF_F_TX_UDP_SEG };

        partial_mark(&packet.m, data[2], data[3] & 0x7f, kinds[data[4] & 3]);
        packet.m.l4_len = data[4] >> 2;
        packet.m.tso_segsz = data[5];
    }
    pop(&config, &packet.m);
    free(frame);
    return 0;
}
