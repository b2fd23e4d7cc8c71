/* SPDX-License-Identifier: Apache-2.0
 * dp_bond.h - the part of the ABI about bonds; dp.h includes it, and its rules hold here.
 *
 * Threads: any, as dp.h says. */
#ifndef UPCALL_DP_BOND_H
#define UPCALL_DP_BOND_H

#include <stdint.h>

#include "dp_api.h"

#define DP_BOND_BUCKETS 256

/* Buckets of a bond: the low 8 bits of a packet's hash are one. */
struct dp_bond {
    uint32_t ports[DP_BOND_BUCKETS];
    uint64_t bytes[DP_BOND_BUCKETS]; /* Sent since the port was set; dp_bond_add() ignores it. */
};

/* Makes a bond, or sets its ports: buckets whose port stays go on counting. */
DP_API int dp_bond_add(uint64_t dp, uint32_t id, const struct dp_bond *bond);
DP_API int dp_bond_delete(uint64_t dp, uint32_t id);                   /* ENOENT. */
DP_API int dp_bond_get(uint64_t dp, uint32_t id, struct dp_bond *bond); /* ENOENT. */
/* The smallest id >= `id` of a bond.  ENOENT. */
DP_API int dp_bond_next(uint64_t dp, uint32_t id, uint32_t *next);

#endif
