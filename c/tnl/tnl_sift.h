/* SPDX-License-Identifier: Apache-2.0
 * tnl_sift.h - finds packets that are for tunnels of ours.
 *
 * Threads: poll threads, and the control side with its own worker. */
#ifndef UPCALL_TNL_SIFT_H
#define UPCALL_TNL_SIFT_H

#include <stdint.h>

struct rte_mbuf;
struct worker;

/* An outer packet that was put together of fragments. */
struct tnl_whole {
    struct rte_mbuf *m;          /* As if it had come whole. */
    void *by;                    /* Of who did it. */
    uint8_t ecns;                /* ECN of all fragments, bit 1 << ECN of each. */
};

enum tnl_gathered {
    TNL_NOT_GATHERED,            /* Who gave the fragment has it still. */
    TNL_GATHERED,
    TNL_MADE_WHOLE,
};

/* How fragments are put together: what tunnels do not know. */
struct tnl_gather {
    enum tnl_gathered (*take)(struct worker *, uint32_t port, struct rte_mbuf *, struct tnl_whole *);
    /* The packet, from now on the caller's. */
    struct rte_mbuf *(*keep)(struct worker *, const struct tnl_whole *);
    /* It is for no tunnel: its fragments go on. */
    void (*pass)(struct worker *, uint32_t port, struct tnl_whole *);
};

/* Receives more of what came as several packets in one, where that was too much at once: for when
 * nothing else waits to be looked up again. */
void tnl_sift_more(struct worker *);

/* Of packets that a port with TNL_RECEIVES brought, or one with TNL_SENDS is sent, takes those for
 * tunnels: they are looked up again.  The others, whose number is the answer, keep their order.
 * Fragments of what may be for tunnels are put together first, as Linux does for its own.  Tells of
 * what it sees of neighbours. */
unsigned int tnl_sift(struct worker *, uint32_t port, uint32_t role, const struct tnl_gather *, struct rte_mbuf **packets,
                      unsigned int n);

#endif
