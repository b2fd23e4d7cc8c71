/* SPDX-License-Identifier: Apache-2.0
 * segment_wrapped.h - TCP that is to be cut inside a tunnel, in a form that Linux can cut
 * (link_wrap.h): Ethernet, IP, UDP without a checksum or GRE without checksum and number, the
 * tunnel's header (VXLAN's or Geneve's behind UDP), Ethernet, IP, TCP.
 *
 * Threads: any; no state. */
#ifndef UPCALL_SEGMENT_WRAPPED_H
#define UPCALL_SEGMENT_WRAPPED_H

#include <stdbool.h>
#include <stdint.h>

struct rte_mbuf;

struct segment_wrapped {
    uint32_t inner;              /* Where the IP header inside begins. */
    uint32_t largest;            /* Bytes of a segment from the outer IP header on. */
    bool ip6, gre;               /* Outside. */
};

#define SEGMENT_WRAPPED_MOST 352u /* Bytes in front of the IP header inside. */
bool segment_wrapped(const struct rte_mbuf *, struct segment_wrapped *);

#endif
