/* SPDX-License-Identifier: Apache-2.0 */
#include "base/stat.h"

#include <stddef.h>

#include "base/invariant.h"
#include "dp.h"

_Static_assert(DROP_COUNT <= DP_DROP_MAX, "every drop reason has room in struct dp_stats");
_Static_assert(sizeof(struct stat_counters) % 64 == 0, "counters of two threads never share a line");

void stat_sum(struct stat_counters *to, const struct stat_counters *from)
{
    _Atomic uint64_t *sums = (_Atomic uint64_t *)to;
    const _Atomic uint64_t *counters = (const _Atomic uint64_t *)from;

    /* Nothing but counters in there; padding at the end adds 0 to 0. */
    for (size_t i = 0; i < sizeof *to / sizeof *sums; i++)
        stat_add(&sums[i], atomic_load_explicit(&counters[i], memory_order_relaxed));
}

const char *stat_drop_name(enum stat_drop reason)
{
    static const char *const names[] = {
#define X(name, meaning) #name,
        STAT_DROPS(X)
#undef X
    };

    INVARIANT(reason < DROP_COUNT);
    return names[reason];
}
