/* SPDX-License-Identifier: Apache-2.0
 * link: everything
 * sanitize: address
 *
 * Names of flows come and go while their table grows: each is found as long as it is there, and no
 * flow that comes has to move more than a little of the table. */
#include "cls_fixture.h"
#include "flow/flow_int.h"

#define FLOWS 300000u                /* Their tables are given back piece by piece. */
#define MOST 256u                    /* Places moved at once: a few, to the end of a run. */

static struct rcu *rcu;
static struct flow_table *table;
static struct flow *flows;
static bool there[FLOWS + 1];
static uint32_t longest;

static void add(uint32_t i)
{
    const uint32_t moved = table->names.old ? table->names.moved : 0;
    uint32_t now;

    CHECK(!flow_names_make_room(&table->names, cls_ahead(table->cls)));
    now = table->names.old ? table->names.moved : moved;
    if (now - moved > longest)
        longest = now - moved;
    table->flows[i] = &flows[i];
    flow_names_put(table, &flows[i], flow_names_tag(table, flows[i].ufid));
    there[i] = true;
}

static void drop(uint32_t i)
{
    flow_names_take(table, &flows[i]);
    table->flows[i] = NULL;
    there[i] = false;
}

static void see(uint32_t i)
{
    flow_names_prefetch(table, flows[i].ufid, flow_names_tag(table, flows[i].ufid));
    CHECK(flow_by_ufid(table, flows[i].ufid) == (there[i] ? &flows[i] : NULL));
}

/* So many steps with flows up to `end`; of those that are there, one in `keep` goes. */
static void churn(uint32_t steps, uint32_t end, uint32_t keep)
{
    while (steps--) {
        const uint32_t i = 1 + rnd(end);

        see(i);
        if (!there[i])
            add(i);
        else if (!rnd(keep))
            drop(i);
        see(i);
        see(1 + rnd(end));
    }
}

int main(void)
{
    bool grew = false;

    rcu = rcu_create();
    table = flow_table_create(rcu);
    flows = calloc(FLOWS + 1, sizeof *flows);
    if (!rcu || !table || !flows)
        abort();
    for (uint32_t i = 1; i <= FLOWS; i++) {
        flows[i].index = i;
        flows[i].named = true;
        /* Some differ in the second half only. */
        flows[i].ufid[0] = i / 2;
        flows[i].ufid[1] = i;
    }
    for (uint32_t end = 16; end < 6000; end += end / 3) {
        churn(4 * end, end, 2);
        grew |= table->names.old != NULL;
    }
    CHECK(grew); /* Otherwise nothing was seen of a table that is being moved. */
    churn(30000, 6000, 3);
    for (uint32_t i = 1; i <= 6000; i++)
        see(i);
    for (uint32_t i = 6001; i <= FLOWS; i++) {
        add(i);
        see(1 + rnd(i));
        if (!rnd(4)) {
            const uint32_t gone = 1 + rnd(i);

            if (there[gone])
                drop(gone);
        }
    }
    for (uint32_t i = 1; i <= FLOWS; i++) {
        see(i);
        if (there[i])
            drop(i);
    }
    CHECK(!table->names.n);
    if (longest > MOST)
        printf("%u places were moved at once\n", longest);
    CHECK(longest <= MOST);
    flow_table_destroy(table);
    rcu_destroy(rcu);
    free(flows);
    return failures != 0;
}
