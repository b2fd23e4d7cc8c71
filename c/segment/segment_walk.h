/* SPDX-License-Identifier: Apache-2.0
 * segment_walk.h - finds the headers in front of a transport header whose place is known.
 *
 * Threads: any. */
#ifndef UPCALL_SEGMENT_WALK_H
#define UPCALL_SEGMENT_WALK_H

#include <stdbool.h>

struct rte_mbuf;
struct segment_plan;

/* Fills in the headers of a plan.  False: they are not understood. */
bool segment_walk(const struct rte_mbuf *, struct segment_plan *);

#endif
