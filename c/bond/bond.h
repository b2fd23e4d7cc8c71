/* SPDX-License-Identifier: Apache-2.0
 * bond.h - bonds: which port a packet leaves by, by a hash of it, for the `lb_output` action.
 *
 * A bond is 256 buckets with a port each, and the bytes that each has sent.  What a bond is for,
 * and which ports are well, its maker decides and sets anew.
 *
 * Owners.  The table owns the bonds and replaces itself when one comes or goes; what was replaced
 * is freed after a grace period.  Setting a bond anew changes its buckets in place: those whose
 * port stays keep their count.  Each thread counts for itself, and reading sums.
 *
 * Threads: bond_find and what it gives by any thread that `rcu` knows, or the control side;
 * everything else under the control mutex. */
#ifndef UPCALL_BOND_H
#define UPCALL_BOND_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/rcu.h"
#include "base/stat.h"

#define BOND_BUCKETS 256u

struct bond {
    uint32_t id;
    _Atomic uint32_t ports[BOND_BUCKETS];
    uint64_t before[BOND_BUCKETS];   /* Bytes that were counted for an earlier port. */
    _Atomic uint64_t bytes[RCU_THREADS][BOND_BUCKETS];
};

struct bonds;

/* NULL: no memory. */
struct bonds *bonds_create(struct rcu *);
void bonds_destroy(struct bonds *);  /* No thread uses one; NULL is fine. */

/* Makes a bond, or sets its ports.  ENOMEM. */
int bond_add(struct bonds *, uint32_t id, const uint32_t ports[BOND_BUCKETS]);
int bond_delete(struct bonds *, uint32_t id);  /* ENOENT. */
/* Ports, and bytes sent to them since they were set.  ENOENT. */
int bond_get(const struct bonds *, uint32_t id, uint32_t ports[BOND_BUCKETS], uint64_t bytes[BOND_BUCKETS]);
/* The smallest id >= `id` of a bond.  ENOENT. */
int bond_next(const struct bonds *, uint32_t id, uint32_t *next);

/* NULL: there is none; valid until the thread is quiescent. */
struct bond *bond_find(const struct bonds *, uint32_t id);

/* The port of a packet with this hash. */
static inline uint32_t bond_port(const struct bond *bond, uint32_t hash)
{
    return atomic_load_explicit(&bond->ports[hash % BOND_BUCKETS], memory_order_relaxed);
}

/* Counts what thread `thread` sends to it. */
static inline void bond_count(struct bond *bond, uint32_t thread, uint32_t hash, uint32_t bytes)
{
    INVARIANT(thread < RCU_THREADS);
    stat_add(&bond->bytes[thread][hash % BOND_BUCKETS], bytes);
}

#endif
