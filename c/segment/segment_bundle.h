/* SPDX-License-Identifier: Apache-2.0
 * segment_bundle.h - segments of TCP in a tunnel over UDP, many in one packet.
 *
 * Linux knows UDP packets that hold many datagrams of one size, of which the last may be shorter
 * (USO, virtio-net's GSO_UDP_L4, Linux >= 6.2).  Those pass the kernel and a veth pair as one.  A
 * bundle is one whose datagrams are the segments of a tunnelled TCP packet: Ethernet, IP and UDP
 * once, then piece after piece, each with the tunnel's header, the headers inside, and its part of
 * the payload.  Where a device must cut it, out come the packets that segment_cut() makes, but that
 * each has a UDP checksum.
 *
 *     TCP to be cut:  Ethernet IP UDP | VXLAN Ethernet IP TCP | aaaaabbbbbccc
 *     bundle:         Ethernet IP UDP | VXLAN Ethernet IP TCP aaaaa | VXLAN Ethernet IP TCP bbb…
 *
 * The receiver, segment_merge(), makes the packet that is to be cut again, if everything is as
 * bundles have it, the checksums inside too.  Otherwise the bundle is cut like any such packet.
 *
 * Of outer UDP over IPv4 only that without checksum is bundled, of IPv6 only that with one.  So a
 * receiver knows of either what single packets of the tunnel have (port_tnl's `csum`), though the
 * bundle always asks for one.
 *
 * Threads: any; no state. */
#ifndef UPCALL_SEGMENT_BUNDLE_H
#define UPCALL_SEGMENT_BUNDLE_H

#include <stdbool.h>
#include <stdint.h>

#include "segment/segment.h"

struct segment_bundle {
    uint32_t inside;             /* Bytes that are there once: behind UDP. */
    uint32_t piece;              /* Of a datagram, but perhaps the last. */
    uint32_t most;               /* Segments in one bundle. */
};

/* Whether a packet's segments can go in bundles. */
bool segment_bundle_plan(const struct rte_mbuf *, const struct segment_plan *, struct segment_bundle *);

/* The segments from number `first` on; `*count` of them.  NULL: no mbuf, or there is only one
 * left. */
struct rte_mbuf *segment_bundle(const struct rte_mbuf *, const struct segment_plan *, const struct segment_bundle *, uint32_t first,
                                uint32_t *count);

#endif
