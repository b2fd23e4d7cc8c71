/* SPDX-License-Identifier: Apache-2.0
 * pmd_flows.c - all flows of a thread that begins, and of one that has ended, a step at a time. */
#include "base/mem.h"
#include "cls/cls.h"
#include "pmd/pmd_int.h"

#define FLOWS_STEP 512u              /* A fraction of a millisecond, also where memory is far. */

void pmd_flows_fold(struct pmd_set *set, struct cls_replica *replica)
{
    while (cls_replica_fold(set->cls, replica, FLOWS_STEP))
        pmd_let_others(set);
}

/* Its memory is new. */
void pmd_flows_fill(struct pmd_set *set, struct cls_replica *replica)
{
    struct ahead_range next;

    do {
        next = cls_replica_next(set->cls, replica, FLOWS_STEP);
        if (next.size) {
            rcu_outside(set->rcu);
            ahead_fetch(next);
            nanosleep(&(struct timespec){ 0, 20000 }, NULL);
            rcu_inside(set->rcu);
        }
    } while (cls_replica_fill(set->cls, replica, FLOWS_STEP));
}
