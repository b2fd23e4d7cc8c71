/* SPDX-License-Identifier: Apache-2.0
 * gather.h - fragments of outer packets put together for tunnels (tnl_sift.h, ipf.h).
 *
 * They wait where those wait that `ct` puts together, with the same bounds, but never meet them.
 *
 * Threads: poll threads, and the control side with its own worker. */
#ifndef UPCALL_GATHER_H
#define UPCALL_GATHER_H

#include "tnl/tnl_sift.h"

/* Of packets that a port brings: what turns out to be for no tunnel is looked up. */
extern const struct tnl_gather gather_received;

/* The next fragments of what was put together in vain (worker.h), as many as are looked up at once:
 * they go round again. */
void gather_look_up(struct worker *);

/* Takes a fragment that a port is sent; tnl_gather's `take`. */
enum tnl_gathered gather_take_sent(struct worker *, uint32_t port, struct rte_mbuf *, struct tnl_whole *);
/* The packet, from now on the caller's; tnl_gather's `keep`. */
struct rte_mbuf *gather_keep(struct worker *, const struct tnl_whole *);
/* The next `n` fragments of it at most; 0: those were all. */
unsigned int gather_cut(struct worker *, struct tnl_whole *, struct rte_mbuf **pieces, unsigned int n);

#endif
