/* SPDX-License-Identifier: Apache-2.0
 * Whether dealing queues out anew is worth it: Open vSwitch 3.1's rules, on machines of any shape.
 * link: pmd/balance.c pmd/rxq_assign.c */
#include <stdlib.h>

#include "check.h"
#include "pmd/balance.h"

#define EQUAL(a, b) CHECK((a) == (b))

#define PASSED 1000u

static struct rxq_core cores[1024];
static uint64_t passed[1024];
static struct rxq_wish wishes[4096];
static uint32_t n_cores, n;
static struct dp_balance_info info;

static void begin(void)
{
    n_cores = n = 0;
}

static void core(uint32_t number, uint32_t numa, bool isolated)
{
    passed[n_cores] = PASSED;
    cores[n_cores++] = (struct rxq_core){ .core = number, .numa = numa, .isolated = isolated };
}

/* A queue that the core at a place polls now. */
static void queue(uint32_t place, uint64_t load, uint32_t numa, uint32_t pin)
{
    cores[place].queues++;
    cores[place].load += load;
    wishes[n++] = (struct rxq_wish){ .numa = numa, .pin = pin, .load = load };
}

static uint32_t verdict(enum rxq_algorithm algorithm, uint32_t threshold)
{
    info = (struct dp_balance_info){ .improvement_threshold = threshold };
    CHECK(!balance_try(cores, passed, n_cores, wishes, n, algorithm, true, &info));
    return info.verdict;
}

/* Two busy queues on one core, two idle ones on the other: 95 % and 5 % become 50 and 50. */
static void uneven(void)
{
    begin();
    core(0, 0, false);
    core(1, 0, false);
    queue(0, 470, 0, RXQ_UNPINNED);
    queue(0, 480, 0, RXQ_UNPINNED);
    queue(1, 30, 0, RXQ_UNPINNED);
    queue(1, 20, 0, RXQ_UNPINNED);
}

static void test_variance(void)
{
    uneven();
    EQUAL(verdict(RXQ_GROUP, 25), DP_BALANCE_YES);
    EQUAL(info.nodes, 1);
    EQUAL(info.current[0], 45 * 45);
    EQUAL(info.estimate[0], 0); /* 500 and 500. */
    EQUAL(info.improvement[0], 100);
    EQUAL(verdict(RXQ_CYCLES, 100), DP_BALANCE_YES);
    EQUAL(verdict(RXQ_ROUNDROBIN, 25), DP_BALANCE_ROUNDROBIN);
    /* Nothing to gain: what is there already. */
    begin();
    core(0, 0, false);
    core(1, 0, false);
    queue(0, 480, 0, RXQ_UNPINNED);
    queue(1, 470, 0, RXQ_UNPINNED);
    queue(1, 30, 0, RXQ_UNPINNED);
    EQUAL(verdict(RXQ_GROUP, 25), DP_BALANCE_LITTLE);
    EQUAL(info.improvement[0], 0);
    EQUAL(verdict(RXQ_GROUP, 0), DP_BALANCE_YES); /* As there: 0 is always met. */
    /* A mean that is cut: 95, 5 and 5 have 35, and 60 squared and twice 30 squared, over 3. */
    begin();
    for (uint32_t i = 0; i < 3; i++)
        core(i, 0, false);
    queue(0, 950, 0, RXQ_UNPINNED);
    queue(1, 50, 0, RXQ_UNPINNED);
    queue(2, 20, 0, RXQ_UNPINNED);
    queue(2, 37, 0, RXQ_UNPINNED);
    EQUAL(verdict(RXQ_GROUP, 25), DP_BALANCE_LITTLE);
    EQUAL(info.current[0], (60 * 60 + 30 * 30 + 30 * 30) / 3);
}

static void test_few(void)
{
    begin();
    core(0, 0, false);
    queue(0, 500, 0, RXQ_UNPINNED);
    queue(0, 500, 0, RXQ_UNPINNED);
    EQUAL(verdict(RXQ_GROUP, 25), DP_BALANCE_FEW);
    begin(); /* A queue for each. */
    core(0, 0, false);
    core(1, 0, false);
    queue(0, 990, 0, RXQ_UNPINNED);
    queue(1, 10, 0, RXQ_UNPINNED);
    EQUAL(verdict(RXQ_GROUP, 25), DP_BALANCE_FEW);
    begin(); /* The other is isolated, and does not count. */
    core(0, 0, false);
    core(1, 0, true);
    queue(0, 490, 0, RXQ_UNPINNED);
    queue(0, 490, 0, RXQ_UNPINNED);
    queue(1, 10, 0, 1);
    EQUAL(verdict(RXQ_GROUP, 25), DP_BALANCE_FEW);
    begin(); /* No thread, no queue. */
    EQUAL(verdict(RXQ_GROUP, 25), DP_BALANCE_FEW);
    EQUAL(info.nodes, 0);
}

static void test_nodes(void)
{
    begin();
    for (uint32_t i = 0; i < 4; i++)
        core(2 * i, i / 2, false);
    queue(0, 480, 0, RXQ_UNPINNED);
    queue(0, 480, 0, RXQ_UNPINNED);
    queue(1, 10, 0, RXQ_UNPINNED);
    queue(2, 300, 1, RXQ_UNPINNED);
    queue(3, 300, 1, RXQ_UNPINNED);
    EQUAL(verdict(RXQ_GROUP, 25), DP_BALANCE_YES);
    EQUAL(info.nodes, 2);
    EQUAL(info.numa[1], 1);
    CHECK(info.improvement[0] > 90);
    EQUAL(info.improvement[1], 0); /* Its own, where 3.1 repeats that of the node before. */
    /* The second node's queue has to be polled by the first: nothing can be said. */
    queue(0, 5, 2, RXQ_UNPINNED);
    EQUAL(verdict(RXQ_GROUP, 25), DP_BALANCE_CROSS);
    /* With one node of threads it can. */
    uneven();
    queue(0, 5, 1, RXQ_UNPINNED);
    EQUAL(verdict(RXQ_GROUP, 25), DP_BALANCE_YES);
}

static void test_sizes(void)
{
    for (uint32_t size = 1; size <= 1024; size *= 2) {
        begin();
        for (uint32_t i = 0; i < size; i++)
            core(i * 3 % 4096, i % 2, false);
        for (uint32_t i = 0; i < 4 * size; i++)
            queue(0, i % 7 ? 0 : 200, i % 2, RXQ_UNPINNED);
        for (uint32_t i = 0; i < size; i++)
            passed[i] = 200 * size;
        verdict(RXQ_GROUP, 25);
        if (size > 2)
            EQUAL(info.verdict, DP_BALANCE_YES);
        CHECK(info.estimate[0] <= info.current[0]);
    }
    uneven(); /* Before the first sample. */
    passed[0] = passed[1] = 0;
    EQUAL(verdict(RXQ_GROUP, 25), DP_BALANCE_LITTLE);
    EQUAL(info.current[0], 0);
}

int main(void)
{
    test_variance();
    test_few();
    test_nodes();
    test_sizes();
    return failures != 0;
}
