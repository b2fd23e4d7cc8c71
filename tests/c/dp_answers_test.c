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

/* --- Lists ------------------------------------------------------------------------------------ */

#define LISTED 24u

/* Frames of UDP, TCP and what is neither, in turn: keys that are known and such that are read. */
static uint32_t some_frame(uint8_t *frame, uint32_t i)
{
    const uint32_t size = 60 + 40 * i;

    fixture_frame(frame, size, i);
    if (i % 3 == 2)
        return size;
    memcpy(frame + 12, "\x08\x00\x45\x03", 4);
    frame[16] = (uint8_t)((size - 14) >> 8);
    frame[17] = (uint8_t)(size - 14);
    memcpy(frame + 18, "\x00\x00\x00\x00\x40", 5);
    frame[23] = i % 3 ? 6 : 17;
    memcpy(frame + 26, "\x0a\x00\x00", 3);
    frame[29] = (uint8_t)i;
    memcpy(frame + 30, "\x0a\x00\x01\x01\x12\x34\x00\x35", 8);
    frame[46] = 0x50;
    frame[47] = 0x10;
    frame[38] = (uint8_t)((size - 34) >> 8);
    frame[39] = (uint8_t)(size - 34);
    return size;
}

/* Upcalls of all frames, and where they lie. */
static void take_some(uint64_t dp, uint64_t handler, const uint8_t *arena, uint32_t *at)
{
    struct dp_exchange taken;
    uint8_t frame[2048];

    for (uint32_t i = 0; i < LISTED; i++) {
        const uint32_t size = some_frame(frame, i);

        while (dp_dummy_inject(dp, 1, frame, size) == ENOBUFS)
            ;
    }
    EVENTUALLY(fixture_stats(dp).missed % LISTED == 0 && fixture_stats(dp).missed > fixture_stats(dp).upcalls_handled);
    taken = take(handler, LISTED);
    EQUAL(taken.count, LISTED);
    for (uint32_t i = 0, next = 0; i < LISTED; i++) {
        struct dp_upcall up;

        memcpy(&up, arena + next, sizeof up);
        at[i] = next;
        CHECK(!up.layout == (i % 3 == 2));
        next += up.size;
    }
}

static uint32_t write_list(uint8_t *to, uint32_t flags, const uint32_t *at, uint32_t n, uint32_t port)
{
    struct dp_op op = { .type = DP_OP_PUT, .flags = DP_OPF_CREATE | DP_OPF_UPCALLS | flags, .actions_size = 8, .upcall = n };

    fixture_attribute(to + sizeof op, 1, &port, 4);
    memcpy(to + sizeof op + 8, at, 4 * n);
    memset(to + sizeof op + 8 + 4 * n, 0, 4);
    op.size = ((uint32_t)sizeof op + 8 + 4 * n + 7) & ~7u;
    memcpy(to, &op, sizeof op);
    return op.size;
}

/* All flows, without what changes, and names, which are other ones each time. */
static uint32_t list_flows(uint64_t dp, uint8_t *to, uint32_t room)
{
    uint32_t count, used;
    uint64_t dump;

    OK(dp_dump_open(dp, 0, &dump));
    OK(dp_dump_next(dump, 1000, to, room, &count, &used));
    OK(dp_dump_close(dump));
    for (uint32_t at = 0; at < used;) {
        struct dp_flow_record record;

        memcpy(&record, to + at, sizeof record);
        memset(&record.stats, 0, sizeof record.stats);
        memset(record.ufid, 0, sizeof record.ufid);
        record.flow = 0;
        memcpy(to + at, &record, sizeof record);
        at += record.size;
    }
    return used;
}

static bool has_record(const uint8_t *records, uint32_t used, const uint8_t *record, uint32_t size)
{
    struct dp_flow_record other;

    for (uint32_t at = 0; at < used; at += other.size) {
        memcpy(&other, records + at, sizeof other);
        if (other.size == size && !memcmp(records + at, record, size))
            return true;
    }
    return false;
}

/* Whether two listings have the same flows, in whatever order. */
static bool same_flows(const uint8_t *a, const uint8_t *b, uint32_t used)
{
    struct dp_flow_record record;

    for (uint32_t at = 0; at < used; at += record.size) {
        memcpy(&record, a + at, sizeof record);
        if (!has_record(b, used, a + at, record.size))
            return false;
    }
    return true;
}

static const uint32_t *errors_of(const uint8_t *results)
{
    return (const uint32_t *)(results + sizeof(struct dp_result));
}

/* A list puts and sends what an operation for each would. */
static void test_list(void)
{
    uint64_t dp = fixture_dp("list", 2);
    static uint8_t ops[1 << 16], results[1 << 14] __attribute__((aligned(8))), listed[1 << 16], single[1 << 16];
    const uint32_t room = sizeof(struct dp_result) + 4 * LISTED;
    uint32_t at[LISTED], size, used, other;
    struct dp_handler_info handler;
    struct dp_exchange done;
    const uint8_t *arena;

    OK(dp_upcall_open(dp, 0, &handler));
    arena = (const uint8_t *)(uintptr_t)handler.arena;
    take_some(dp, handler.handler, arena, at);
    size = write_list(ops, DP_OPF_PACKET, at, LISTED, 2);
    EQUAL(dp_upcall_exchange(handler.handler, ops, size, 1, results, room - 8, 0, &done), EINVAL);
    OK(dp_upcall_exchange(handler.handler, ops, size, 1, results, room, 0, &done));
    EQUAL(done.results_used, room);
    for (uint32_t i = 0; i < LISTED; i++) {
        uint8_t frame[2048], sent[2048];
        const uint32_t wanted = some_frame(frame, i);

        EQUAL(errors_of(results)[i], 0);
        EVENTUALLY(!dp_dummy_collect(dp, 2, sent, sizeof sent, &used));
        CHECK(used == wanted && !memcmp(frame, sent, used));
    }
    EQUAL(fixture_stats(dp).flows, LISTED);
    OK(dp_upcall_exchange(handler.handler, ops, size, 1, results, room, 0, &done));
    for (uint32_t i = 0; i < LISTED; i++)
        EQUAL(errors_of(results)[i], EEXIST);
    used = list_flows(dp, listed, sizeof listed);
    OK(dp_flow_flush(dp));
    for (uint32_t i = size = 0; i < LISTED; i++) {
        struct dp_op op = { .type = DP_OP_PUT, .flags = DP_OPF_CREATE, .actions_size = 8 };
        const uint32_t port = 2;
        uint8_t actions[8];
        struct dp_upcall up;

        memcpy(&up, arena + at[i], sizeof up);
        op.key_size = up.key_size;
        fixture_attribute(actions, 1, &port, 4);
        size += fixture_append(ops + size, &op, arena + at[i] + sizeof up, actions, NULL);
    }
    OK(dp_operate(dp, ops, size, LISTED, results, sizeof results, &other));
    EQUAL(list_flows(dp, single, sizeof single), used);
    CHECK(same_flows(listed, single, used));
    OK(dp_upcall_close(handler.handler));
    OK(dp_close(dp));
}

/* Lists between other operations, of upcalls that come twice, and lists that are none. */
static void test_lists(void)
{
    uint64_t dp = fixture_dp("lists", 2);
    static uint8_t ops[4096], results[1 << 14] __attribute__((aligned(8)));
    uint32_t at[LISTED], size, first, n = 3, twice[3], port = 2, value;
    struct dp_handler_info handler;
    struct dp_exchange done;
    struct dp_result result;
    struct dp_op op;

    OK(dp_upcall_open(dp, 0, &handler));
    take_some(dp, handler.handler, (const uint8_t *)(uintptr_t)handler.arena, at);
    for (uint32_t i = 0; i < n; i++)
        twice[i] = at[i / 2 * 4];
    first = size = write_list(ops, 0, twice, n, port);
    op = (struct dp_op){ .size = sizeof op, .type = 99 };
    memcpy(ops + size, &op, sizeof op);
    size += op.size;
    size += write_list(ops + size, DP_OPF_MODIFY, at, 2, port);
    OK(dp_upcall_exchange(handler.handler, ops, size, 3, results, sizeof results, 0, &done));
    CHECK(!errors_of(results)[0] && errors_of(results)[1] == EEXIST && !errors_of(results)[2]);
    memcpy(&result, results + sizeof result + 16, sizeof result);
    EQUAL(result.error, EINVAL);
    CHECK(!errors_of(results + 2 * sizeof result + 16)[0] && !errors_of(results + 2 * sizeof result + 16)[1]);
    EQUAL(done.results_used, 3 * sizeof result + 16 + 8);
    EQUAL(fixture_stats(dp).flows, 3);
    OK(dp_flow_flush(dp));
    for (int i = 0; i < 9; i++) {
        write_list(ops, 0, at, n, port);
        memcpy(&op, ops, sizeof op);
        value = i == 0 ? at[1] + 8 : UINT32_MAX - 7;
        op.upcall = i == 2 ? 0 : i == 3 ? n + 2 : i == 4 ? UINT32_MAX : op.upcall;
        op.flags |= i == 5 ? DP_OPF_UFID : i == 6 ? DP_OPF_UPCALL : 0;
        op.type = i == 7 ? DP_OP_EXECUTE : op.type;
        op.key_size = i == 8 ? 8 : 0;
        if (i < 2)
            memcpy(ops + sizeof op + 8 + 4, &value, 4);
        memcpy(ops, &op, sizeof op);
        EQUAL(dp_upcall_exchange(handler.handler, ops, first, 1, results, sizeof results, 0, &done), EINVAL);
        EQUAL(dp_operate(dp, ops, first, 1, results, sizeof results, &value), EINVAL);
    }
    EQUAL(fixture_stats(dp).flows, 0);
    OK(dp_upcall_close(handler.handler));
    OK(dp_close(dp));
}

/* Nothing is done for a handler that is closed. */
static void test_closed(void)
{
    uint64_t dp = fixture_dp("closed", 2);
    static uint8_t ops[4096], results[1 << 14] __attribute__((aligned(8)));
    uint32_t at[LISTED], size;
    struct dp_handler_info handler;
    struct dp_exchange done;

    OK(dp_upcall_open(dp, 0, &handler));
    take_some(dp, handler.handler, (const uint8_t *)(uintptr_t)handler.arena, at);
    size = write_list(ops, 0, at, LISTED, 2);
    OK(dp_upcall_exchange(handler.handler, ops, size, 1, results, sizeof results, 0, &done));
    EQUAL(fixture_stats(dp).flows, LISTED);
    OK(dp_flow_flush(dp));
    OK(dp_upcall_set_handlers(dp, 2));
    OK(dp_upcall_close(handler.handler));
    OK(dp_upcall_open(dp, 1, &handler));
    OK(dp_upcall_set_handlers(dp, 1));
    size = write_list(ops, 0, at, 1, 2);
    EQUAL(dp_upcall_exchange(handler.handler, ops, size, 1, results, sizeof results, 0, &done), ESHUTDOWN);
    EQUAL(dp_upcall_exchange(handler.handler, NULL, 0, 0, NULL, 0, 0, &done), ESHUTDOWN);
    EQUAL(fixture_stats(dp).flows, 0);
    OK(dp_upcall_close(handler.handler));
    OK(dp_close(dp));
}

int main(void)
{
    void (*const tests[])(void) = { test_answers, test_list, test_lists, test_closed };

    return fixture_run(tests, sizeof tests / sizeof tests[0]);
}
