/* SPDX-License-Identifier: Apache-2.0
 * Answers that name upcalls of the arena instead of bringing their keys and packets. */
#include <errno.h>

#include "dp_fixture.h"

static struct dp_exchange take(uint64_t handler, uint32_t max)
{
    struct dp_exchange exchange;

    OK(dp_upcall_exchange(handler, NULL, 0, 0, NULL, 0, max, &exchange));
    return exchange;
}

/* Upcalls of the last exchange are put and sent, anything else is refused whole. */
static void test_answers(void)
{
    uint64_t dp = fixture_dp("answers", 2), seed = 88172645463325252ull;
    uint8_t ops[16 * 64], results[16 * sizeof(struct dp_result)] __attribute__((aligned(8))), frame[2048];
    const uint32_t actions_size = 8, to = 2;
    struct dp_handler_info handler;
    struct dp_exchange taken, done;
    const uint8_t *arena;
    uint32_t used;

    OK(dp_upcall_open(dp, 0, &handler));
    arena = (const uint8_t *)(uintptr_t)handler.arena;
    for (uint32_t i = 0; i < 16; i++)
        fixture_inject(dp, 1, 60 + 100 * i, i);
    EVENTUALLY(fixture_stats(dp).missed == 16);
    taken = take(handler.handler, 16);
    EQUAL(taken.count, 16);
    for (uint32_t i = 0, at = 0; i < 16; i++) {
        struct dp_op op = { .size = 64, .type = DP_OP_PUT, .flags = DP_OPF_CREATE | DP_OPF_PACKET | DP_OPF_UPCALL,
                            .actions_size = actions_size, .upcall = at };
        struct dp_upcall up;

        memcpy(ops + i * 64, &op, sizeof op);
        fixture_attribute(ops + i * 64 + sizeof op, 1, &to, 4);
        memcpy(&up, arena + at, sizeof up);
        at += up.size;
    }
    EQUAL(dp_operate(dp, ops, 64, 1, results, sizeof results, &used), EINVAL); /* It knows no upcalls. */
    for (int round = 0; round < 20000; round++) { /* Some place, mostly a wrong one. */
        struct dp_op op;

        seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
        memcpy(&op, ops, sizeof op);
        op.flags = DP_OPF_UPCALL | DP_OPF_CREATE | DP_OPF_PROBE;
        op.upcall = (uint32_t)(seed >> 20) % (round & 1 ? taken.used + 64 : UINT32_MAX) & (round & 2 ? ~7u : ~0u);
        op.key_size = round % 16 == 5;
        memcpy(frame, &op, sizeof op);
        memcpy(frame + sizeof op, ops + sizeof op, actions_size);
        if (dp_upcall_exchange(handler.handler, frame, 64, 1, results, sizeof results, 0, &done))
            continue;
        CHECK(op.upcall % 8 == 0 && op.upcall < taken.used && !op.key_size);
    }
    OK(dp_flow_flush(dp));
    OK(dp_upcall_exchange(handler.handler, ops, sizeof ops, 16, results, sizeof results, 0, &done));
    for (uint32_t i = 0; i < 16; i++) {
        uint8_t expected[2048];

        fixture_frame(expected, 60 + 100 * i, i);
        EVENTUALLY(!dp_dummy_collect(dp, 2, frame, sizeof frame, &used));
        CHECK(used == 60 + 100 * i && !memcmp(frame, expected, used));
    }
    EQUAL(fixture_stats(dp).flows, 16);
    fixture_inject(dp, 1, 60, 99);
    EVENTUALLY(fixture_stats(dp).missed == 17);
    EQUAL(take(handler.handler, 16).count, 1);
    EQUAL(dp_upcall_exchange(handler.handler, ops + 15 * 64, 64, 1, results, sizeof results, 0, &done), EINVAL); /* Gone. */
    OK(dp_upcall_close(handler.handler));
    OK(dp_close(dp));
}

int main(void)
{
    void (*const tests[])(void) = { test_answers };

    return fixture_run(tests, sizeof tests / sizeof tests[0]);
}
