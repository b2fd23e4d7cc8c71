/* SPDX-License-Identifier: Apache-2.0
 * act_ct.h - the `ct` action on a burst: fragments are put together before it, and go on as
 * fragments behind it.
 *
 * Threads: as in act.h. */
#ifndef UPCALL_ACT_CT_H
#define UPCALL_ACT_CT_H

#include <stdbool.h>
#include <stdint.h>

struct act_op;
struct act_prog;
struct ipf_whole;
struct rte_mbuf;
struct worker;

/* Tracks packets.  Answers with a bit for each that is not the caller's any more: a fragment that
 * waits, or one of those packets that are behind `wholes` now, tracked. */
uint32_t act_ct(struct worker *, const struct act_prog *, const struct act_op *, struct rte_mbuf **packets, unsigned int n,
                struct ipf_whole **wholes);

/* The next fragments of the first packet of `wholes`, WORKER_BURST at most, and the operation that
 * they have just been through. */
unsigned int act_ct_cut(struct worker *, struct ipf_whole **wholes, struct rte_mbuf **packets, const struct act_op **op);

#endif
