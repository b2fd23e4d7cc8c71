/* SPDX-License-Identifier: Apache-2.0
 * link: everything
 *
 * Memory is wanted before flows come that touch it: if all that is wanted was fetched, every page is there when a flow
 * needs it.  What was given back is wanted no more. */
#include <string.h>
#include <sys/mman.h>

#include "base/mem.h"
#include "cls/cls_int.h"
#include "flow/flow_int.h"
#include "flow_fixture.h"

#define HUGE_PAGE ((size_t)2 << 20)

static bool is_there(const void *at)
{
    unsigned char there = 0;

    CHECK(!mincore((void *)((uintptr_t)at & ~(uintptr_t)4095), 4096, &there));
    return there & 1;
}

/* Ranges come back whole, the first wanted first, a huge page at most at a time. */
static void test_ranges(void)
{
    uint8_t *const array = mem_map(5 * HUGE_PAGE);
    static struct ahead ahead;
    struct ahead_range range;
    size_t sum = 0;

    CHECK(!ahead_take(&ahead, &range));
    ahead_want(&ahead, array, AHEAD_LEAST - 1);
    CHECK(!ahead_take(&ahead, &range));
    ahead_want(&ahead, array + 4096, 3 * HUGE_PAGE);
    ahead_want(&ahead, array + 4 * HUGE_PAGE, AHEAD_LEAST);
    CHECK(ahead_wants(&ahead, array, HUGE_PAGE) && !ahead_wants(&ahead, array, 4096));
    for (const uint8_t *at = array + 4096; ahead_take(&ahead, &range) && sum < 3 * HUGE_PAGE; at += range.size) {
        CHECK(range.at == at && range.size <= HUGE_PAGE);
        CHECK(!is_there(range.at + range.size - 1) || range.size < HUGE_PAGE);
        ahead_fetch(range);
        CHECK(is_there(range.at) && is_there(range.at + range.size - 1));
        sum += range.size;
    }
    CHECK(sum == 3 * HUGE_PAGE && range.at == array + 4 * HUGE_PAGE && range.size == AHEAD_LEAST);
    CHECK(!ahead.n);
    ahead_want(&ahead, array, HUGE_PAGE);
    ahead_want(&ahead, array + 4 * HUGE_PAGE, HUGE_PAGE);
    ahead_forget(&ahead, array, 3 * HUGE_PAGE);
    CHECK(ahead.n == 1 && ahead_take(&ahead, &range) && range.at == array + 4 * HUGE_PAGE);
    for (uint32_t i = 0; i <= AHEAD_RANGES; i++) /* Too much does no harm. */
        ahead_want(&ahead, array, HUGE_PAGE);
    mem_unmap(array, 5 * HUGE_PAGE);
    while (ahead_take(&ahead, &range))
        ahead_fetch(range); /* Nothing is mapped there. */
}

static uint32_t fetched;

static bool not_wanted(void *arg)
{
    (void)arg;
    return false;
}

static int nobody(void *arg)
{
    (void)arg;
    return 0;
}

static int at_once(void *arg, void (*work)(void *), void *of)
{
    (void)arg;
    work(of);
    fetched++;
    return 0;
}

static const struct flow_pause pause = { not_wanted, nobody, at_once, NULL };

/* What the next flow will touch of the arrays by index, and of a larger table of names. */
static void see_next(void)
{
    const uint32_t next = table->end;
    struct cls *cls = flow_table_cls(table);
    const struct flow_names *names = &table->names;

    CHECK(is_there(&table->flows[next]) && is_there(&cls_entries(control.replica)[next]) && is_there(&cls->sub_of[next]));
    if (names->old && (names->mask + 1) * sizeof names->at[0] >= AHEAD_LEAST && names->moved < 64)
        CHECK(is_there(names->at) && is_there(&names->at[names->mask]) && is_there(&names->at[names->mask / 2]));
}

/* Puts flows by 64, as many as fill the first step and half of another. */
static void test_flows(void)
{
    const struct bytes mask = dst_mask(32, UINT32_MAX), none = { .n = 0 };
    uint32_t used, n = 0;

    setup();
    for (uint32_t i = 0; i < CLS_FLOWS_STEP + CLS_FLOWS_STEP / 2 && !failures; i++) {
        struct bytes key = udp_key((uint8_t)(i >> 8), (uint8_t)i);

        ((struct ovs_key_ipv4 *)(key.at + 36))->ipv4_dst ^= i >> 16;
        add_op(DP_OP_PUT, CREATE, NULL, &key, &mask, &none, NULL);
        if (++n < 64)
            continue;
        n = 0;
        CHECK(!flow_operate(table, &control, NULL, &pause, ops, ops_n, ops_count, results, sizeof results, &used));
        ops_n = ops_count = 0;
        see_next();
    }
    CHECK(table->end > CLS_FLOWS_STEP && fetched > 6);
    flush();
    teardown();
}

int main(void)
{
    test_ranges();
    test_flows();
    return failures != 0;
}
