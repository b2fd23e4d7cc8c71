/* SPDX-License-Identifier: Apache-2.0
 * tnl_inner.h - what an outer header takes over from the packet inside: TOS, TTL, and a hash.
 *
 * Threads: poll threads. */
#ifndef UPCALL_TNL_INNER_H
#define UPCALL_TNL_INNER_H

#include <stdbool.h>
#include <stdint.h>

struct hash_key;
struct rte_mbuf;

struct tnl_inner {
    uint8_t version;             /* 4, 6; 0: no IP packet. */
    uint8_t tos, ttl;
    uint8_t proto;               /* Of IPv4: what follows; of IPv6: the first next header. */
    bool df;                     /* IPv4's flag; always of IPv6. */
    uint16_t l3;                 /* Where the IP header begins. */
};

void tnl_inner_read(const struct rte_mbuf *, struct tnl_inner *);

/* Of its addresses, and its ports where it has some: the same for all packets of a connection in
 * one direction.  What the device has computed serves as well. */
uint32_t tnl_inner_hash(const struct hash_key *, const struct rte_mbuf *, const struct tnl_inner *);

/* ECN of the outer header (RFC 6040's compatibility mode as Linux has it): that of the packet
 * inside, but ECT(0) for CE, which is known inside already. */
static inline uint8_t tnl_outer_ecn(const struct tnl_inner *inner)
{
    const uint8_t ecn = inner->version ? inner->tos & 3 : 0;

    return ecn == 3 ? 2 : ecn;
}

#endif
