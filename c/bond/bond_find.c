/* SPDX-License-Identifier: Apache-2.0
 * bond_find.c - bonds on the way of a packet (bond.h). */
#include "bond/bond_int.h"

#include <stddef.h>

struct bond *bond_find(const struct bonds *bonds, uint32_t id)
{
    const struct bond_table *table = atomic_load_explicit(&bonds->table, memory_order_acquire);
    uint32_t from = 0, end = table->n;

    while (from < end) {
        uint32_t at = (from + end) / 2;

        if (table->bonds[at]->id == id)
            return table->bonds[at];
        if (table->bonds[at]->id < id)
            from = at + 1;
        else
            end = at;
    }
    return NULL;
}
