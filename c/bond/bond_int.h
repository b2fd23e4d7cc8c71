/* SPDX-License-Identifier: Apache-2.0
 * bond_int.h - the table of bonds, for the units of this folder.
 *
 * Threads: as in bond.h; a published table does not change. */
#ifndef UPCALL_BOND_INT_H
#define UPCALL_BOND_INT_H

#include "bond/bond.h"

/* Sorted by id: a datapath has few bonds. */
struct bond_table {
    uint32_t n;
    struct bond *bonds[];
};

struct bonds {
    struct rcu *rcu;
    _Atomic(struct bond_table *) table;
};

#endif
