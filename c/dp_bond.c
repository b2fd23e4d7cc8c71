/* SPDX-License-Identifier: Apache-2.0
 *
 * The entry points of dp.h about bonds. */
#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "bond/bond.h"
#include "dp_int.h"

_Static_assert((int)DP_BOND_BUCKETS == (int)BOND_BUCKETS, "one number, two names");

static int no_bond(uint32_t id)
{
    return error_set(ENOENT, "there is no bond %u", id);
}

int dp_bond_add(uint64_t handle, uint32_t id, const struct dp_bond *bond)
{
    uint32_t ports[DP_BOND_BUCKETS];
    struct dp *dp;
    int error = bond ? dp_enter(handle, &dp) : EINVAL;

    if (error)
        return error;
    memcpy(ports, bond->ports, sizeof ports);
    return dp_leave(dp, bond_add(dp->bonds, id, ports));
}

int dp_bond_delete(uint64_t handle, uint32_t id)
{
    struct dp *dp;
    int error = dp_enter(handle, &dp);

    if (error)
        return error;
    error = bond_delete(dp->bonds, id);
    return dp_leave(dp, error == ENOENT ? no_bond(id) : error);
}

int dp_bond_get(uint64_t handle, uint32_t id, struct dp_bond *bond)
{
    struct dp *dp;
    int error = bond ? dp_enter(handle, &dp) : EINVAL;

    if (error)
        return error;
    return dp_leave(dp, bond_get(dp->bonds, id, bond->ports, bond->bytes) ? no_bond(id) : 0);
}

int dp_bond_next(uint64_t handle, uint32_t id, uint32_t *next)
{
    struct dp *dp;
    int error = next ? dp_enter(handle, &dp) : EINVAL;

    return error ? error : dp_leave(dp, bond_next(dp->bonds, id, next));
}
