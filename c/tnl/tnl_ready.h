/* SPDX-License-Identifier: Apache-2.0
 * tnl_ready.h - Open vSwitch's tnl_push, whose header is ready.
 *
 * Threads: poll threads, and the control side with its own worker. */
#ifndef UPCALL_TNL_READY_H
#define UPCALL_TNL_READY_H

#include <stdbool.h>
#include <stdint.h>

struct rte_mbuf;
struct worker;

/* A header that is complete but for lengths, checksums, the UDP source
 * port and the sequence number. */
struct tnl_ready {
    uint32_t port;               /* The tunnel's. */
    uint32_t out_port;           /* The packet is from now on as received from this one. */
    uint32_t size;
    uint8_t header[512];
};
/* Whether it is Ethernet, IPv4 or IPv6, and UDP or GRE. */
bool tnl_ready_check(const struct tnl_ready *);

/* What is the same for many packets. */
struct tnl_laid {
    uint16_t l3, l4;
    bool ip6, udp, csum;
    /* UDP without a checksum, whose header is the same for all packets but for lengths and source
     * port; the sum of IPv4's without its length. */
    bool plain;
    uint32_t sum;
};
/* False: there is no such tunnel port. */
bool tnl_ready_lay(const struct worker *, const struct tnl_ready *, struct tnl_laid *);
/* Puts the header before packets that ask for nothing but lengths, a source port and IPv4's
 * checksum, as most do where laid->plain; `md`: they get their metadata, too.  Answers how many of
 * the first that was: the next one is for tnl_push_ready(). */
unsigned int tnl_push_plain(struct worker *, const struct tnl_ready *, const struct tnl_laid *, struct rte_mbuf *const *packets, unsigned int n,
                            bool md);
/* NULL: it was dropped. */
struct rte_mbuf *tnl_push_ready(struct worker *, const struct tnl_ready *, const struct tnl_laid *, struct rte_mbuf *);

#endif
