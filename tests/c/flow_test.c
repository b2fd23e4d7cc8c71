/* SPDX-License-Identifier: Apache-2.0
 * link: everything
 * eal: yes
 * sanitize: address
 *
 * The flow table through flow_operate(): what put, delete, get and dump answer, and that no buffer,
 * however wrong, does harm. */
#include "flow_fixture.h"

/* Looks a frame up as a poll thread does; counts it. */
static uint32_t hit(const uint8_t *frame, uint32_t size)
{
    struct packet p = packet_create(frame, size);
    const struct pkt_md md = { .in_port = 1 };
    uint16_t tcp_flags;
    uint32_t flow;

    cls_lookup(control.replica, 1, 0, &p.m, 1, &md, &flow, &tcp_flags, &stat);
    if (flow) {
        struct cls_entry *entry = &cls_entries(control.replica)[flow];

        stat_add(&entry->packets, 1);
        stat_add(&entry->bytes, size);
        cls_use(entry, worker_clock());
        entry->tcp_flags |= 2;
    }
    packet_free(&p);
    return flow;
}

static void test_put(void)
{
    struct bytes key = udp_key(1, 1), other = udp_key(1, 2), far = udp_key(2, 1), exact = dst_mask(32, UINT32_MAX);
    struct bytes wide = dst_mask(24, UINT32_MAX), drop = { .n = 0 }, two = outputs(2), output = outputs(1);
    struct dp_result r;
    uint8_t frame[FRAME_MAX];
    uint32_t size;

    setup();
    CHECK(PUT(MODIFY, NULL, &key, &wide, &drop).error == ENOENT);
    CHECK(PUT(0, NULL, &key, &wide, &drop).error == ENOENT);
    r = PUT(CREATE, NULL, &key, &wide, &drop);
    CHECK(!r.error && !r.stats.packets && (r.ufid[6] & 0xf0) == 0x40 && (r.ufid[8] & 0xc0) == 0x80);
    CHECK(PUT(CREATE, NULL, &key, &wide, &drop).error == EEXIST);
    CHECK(PUT(CREATE, NULL, &other, &exact, &drop).error == EEXIST); /* Overlaps. */
    CHECK(PUT(CREATE | DP_OPF_PROBE, NULL, &other, &exact, &drop).error == EEXIST);
    CHECK(!PUT(CREATE, NULL, &far, &wide, &drop).error);
    CHECK(cls_flow_count(flow_table_cls(table)) == 2 && cls_mask_count(flow_table_cls(table)) == 1);

    /* Modify: the counters of before are answered, and go on. */
    size = udp_frame(1, 9, frame);
    CHECK(hit(frame, size) && hit(frame, size));
    r = PUT(MODIFY | DP_OPF_WANT_STATS, NULL, &other, &wide, &two);
    CHECK(r.stats.used_ms <= worker_clock() && worker_clock() - r.stats.used_ms < 60000);
    CHECK(!r.error && r.stats.packets == 2 && r.stats.bytes == 2 * size && r.stats.tcp_flags == 2 && r.stats.used_ms);
    CHECK(hit(frame, size));
    r = PUT(CREATE | MODIFY | DP_OPF_WANT_STATS, NULL, &key, &wide, &output);
    CHECK(!r.error && r.stats.packets == 3);
    r = PUT(MODIFY | DP_OPF_ZERO_STATS, NULL, &key, &wide, &output);
    CHECK(!r.error && r.stats.packets == 3);
    r = one(DP_OP_GET, 0, NULL, &key, NULL, NULL);
    CHECK(!r.error && !r.stats.packets && !r.stats.bytes && !r.stats.used_ms && !r.stats.tcp_flags);
    CHECK(hit(frame, size));
    r = one(DP_OP_GET, 0, NULL, &key, NULL, NULL);
    CHECK(r.stats.packets == 1 && r.stats.bytes == size);
    CHECK(r.actions_size == output.n && cls_flow_count(flow_table_cls(table)) == 2);

    /* Without a mask, only what the key has counts. */
    r = one(DP_OP_DELETE, 0, NULL, &key, NULL, NULL);
    CHECK(!r.error && r.stats.packets == 1);
    CHECK(!hit(frame, size));
    CHECK(!one(DP_OP_PUT, CREATE, NULL, &key, NULL, &drop).error);
    CHECK(!PUT(CREATE, NULL, &other, NULL, &drop).error);
    CHECK(cls_flow_count(flow_table_cls(table)) == 3);
    teardown();
}

static void test_refused(void)
{
    struct bytes key = udp_key(1, 1), mask = dst_mask(24, UINT32_MAX), inexact = dst_mask(24, 1), drop = { .n = 0 };
    struct bytes cut = key, bad = { .n = 0 };

    setup();
    CHECK(PUT(CREATE, NULL, &key, &inexact, &drop).error == EINVAL);
    cut.n = 10;
    CHECK(PUT(CREATE, NULL, &cut, &mask, &drop).error == EINVAL);
    attr32(&bad, 999, 0);
    CHECK(PUT(CREATE, NULL, &key, &mask, &bad).error == EINVAL);
    CHECK(PUT(CREATE, NULL, &bad, &mask, &drop).error == EINVAL);
    CHECK(one(DP_OP_DELETE, 0, NULL, &cut, NULL, NULL).error == EINVAL);
    CHECK(one(99, 0, NULL, &key, NULL, NULL).error == EINVAL);
    CHECK(cls_flow_count(flow_table_cls(table)) == 0 && cls_mask_count(flow_table_cls(table)) == 0);
    teardown();
}

/* What is put is what get gives back: the same key and mask, the same action bytes. */
static void test_get(void)
{
    struct bytes key = udp_key(1, 1), mask = dst_mask(20, UINT32_MAX), actions = outputs(3);
    struct key a, b, am, bm;
    struct dp_result r;
    const uint8_t *at = results + sizeof r;
    const char *why;
    uint32_t used;

    setup();
    CHECK(!PUT(CREATE, NULL, &key, &mask, &actions).error);
    r = one(DP_OP_GET, 0, NULL, &key, NULL, NULL);
    CHECK(!odp_key_read(key.at, key.n, &a, &why) && !odp_key_read(at, r.key_size, &b, &why));
    CHECK(!memcmp(&a, &b, sizeof a));
    at += (r.key_size + 7) & ~7u;
    CHECK(!odp_mask_read(mask.at, mask.n, &a, &am, &why) && !odp_mask_read(at, r.mask_size, &b, &bm, &why));
    CHECK(!memcmp(&am, &bm, sizeof am));
    at += (r.mask_size + 7) & ~7u;
    CHECK(r.actions_size == actions.n && !memcmp(at, actions.at, actions.n));

    /* Room for the headers only: get does not fit, those behind it run. */
    add_op(DP_OP_GET, 0, NULL, &key, NULL, NULL, NULL);
    add_op(DP_OP_DELETE, 0, NULL, &key, NULL, NULL, NULL);
    CHECK(!operate(2 * sizeof r + 16, &used) && used == 2 * sizeof r);
    memcpy(&r, results, sizeof r);
    CHECK(r.error == ENOBUFS && r.size == sizeof r && !r.key_size);
    memcpy(&r, results + sizeof r, sizeof r);
    CHECK(!r.error && !cls_flow_count(flow_table_cls(table)));
    add_op(DP_OP_GET, 0, NULL, &key, NULL, NULL, NULL);
    add_op(DP_OP_GET, 0, NULL, &key, NULL, NULL, NULL);
    CHECK(operate(2 * sizeof r - 1, &used) == EINVAL && !used);
    teardown();
}

/* A flow that was last hit months after the machine was started, and months ago: clocks of 32 bits have
 * gone round since. */
static void test_long_ago(void)
{
    static const uint64_t times[] = { 1, 0xffffffff, 1ull << 32, (1ull << 32) + 5, 1ull << 40, (1ull << 48) - 1 };
    struct bytes key = udp_key(1, 1), mask = dst_mask(24, UINT32_MAX), drop = { .n = 0 };
    uint8_t frame[FRAME_MAX];
    uint32_t flow;

    setup();
    CHECK(!PUT(CREATE, NULL, &key, &mask, &drop).error);
    flow = hit(frame, udp_frame(1, 9, frame));
    for (uint32_t i = 0; i < sizeof times / sizeof times[0]; i++) {
        cls_use(&cls_entries(control.replica)[flow], times[i]);
        CHECK(one(DP_OP_GET, 0, NULL, &key, NULL, NULL).stats.used_ms == times[i]);
    }
    teardown();
}

/* Wrong sizes anywhere: the whole batch is refused, and nothing of it done. */
static void test_hostile(void)
{
    struct bytes key = udp_key(1, 1), mask = dst_mask(24, UINT32_MAX), actions = outputs(1);
    static const uint32_t sizes[] = { 0, 1, 7, 63, 64, 65, 1000, 0x7fffffff, 0x80000000, 0xfffffff8, 0xffffffff };
    uint32_t n, used;

    setup();
    add_op(DP_OP_PUT, CREATE, NULL, &key, &mask, &actions, NULL);
    n = ops_n;
    for (uint32_t field = 0; field < 32; field += 4) {
        if (field == 4 || field == 8 || field == 28)
            continue; /* Type, flags and mru are no sizes. */
        for (uint32_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            uint8_t *copy = malloc(2 * n); /* Of exactly the size, for AddressSanitizer. */
            uint32_t value = sizes[i];

            memcpy(copy, ops, n);
            memcpy(copy + n, ops, n);
            memcpy(copy + n + field, &value, 4);
            if (!flow_operate(table, &control, NULL, NULL, copy, 2 * n, 2, results, sizeof results, &used)) {
                CHECK(field && value <= n); /* Shorter is no harm. */
                flush();
            } else {
                CHECK(!used);
            }
            CHECK(!cls_flow_count(flow_table_cls(table)));
            free(copy);
        }
    }
    for (uint32_t cut = 0; cut < n; cut++) {
        uint8_t *copy = malloc(cut + 1);

        memcpy(copy, ops, cut);
        CHECK(flow_operate(table, &control, NULL, NULL, copy, cut, 1, results, sizeof results, &used) == EINVAL);
        free(copy);
    }
    ops_n = ops_count = 0;
    teardown();
}

#define STEPS 32u

/* One operation of a random batch, added to the one under way.  Ports, masks and flows are so few
 * that the last of a port often goes. */
static void add_step(uint32_t step)
{
    static const uint32_t bits[] = { 16, 24, 32 };
    const uint32_t port = 1 + step % 2;
    struct bytes key = udp_key((uint8_t)(1 + step / 2 % 2), (uint8_t)(1 + step / 4 % 2));
    struct bytes mask = dst_mask(bits[step / 8 % 3], UINT32_MAX), actions = outputs(1);

    memcpy(key.at + 4, &port, 4);
    switch (step / 24 % 5) {
    case 0:
    case 1:
        add_op(DP_OP_DELETE, 0, NULL, &key, NULL, NULL, NULL);
        break;
    case 2:
        add_op(DP_OP_PUT, CREATE, NULL, &key, &mask, &actions, NULL);
        break;
    case 3:
        add_op(DP_OP_PUT, CREATE | MODIFY, NULL, &key, &mask, &actions, NULL);
        break;
    default:
        add_op(DP_OP_GET, 0, NULL, &key, NULL, NULL, NULL);
        break;
    }
}

/* Does the steps, `at_once` in a batch; their errors, and the flows that packets find then. */
static void take_steps(const uint32_t *steps, uint32_t at_once, uint32_t *errors, uint32_t found[8])
{
    for (uint32_t i = 0; i < STEPS;) {
        uint32_t used, at = 0, n = 0;

        for (; n < at_once; n++)
            add_step(steps[i + n]);
        CHECK(!operate(sizeof results, &used));
        for (; n; n--, i++) {
            const struct dp_result *result = (const struct dp_result *)(results + at);

            errors[i] = result->error;
            at += result->size;
        }
    }
    for (uint32_t k = 0; k < 8; k++) {
        const uint32_t port = 1 + k % 2;
        struct bytes b = udp_key((uint8_t)(1 + k / 2 % 2), (uint8_t)(1 + k / 4));
        const char *why;
        struct key key;

        memcpy(b.at + 4, &port, 4);
        CHECK(!odp_key_read(b.at, b.n, &key, &why));
        found[k] = cls_find(flow_table_cls(table), &key) != 0;
    }
    flush();
    CHECK(!cls_flow_count(flow_table_cls(table)) && !cls_mask_count(flow_table_cls(table)));
}

/* A batch does what its operations do one by one: whatever was looked up ahead of its turn, and
 * whatever came or went since. */
static void test_batches(void)
{
    uint32_t steps[STEPS], errors[2][STEPS], found[2][8], state = 7;

    setup();
    for (int round = 0; round < 3000; round++) {
        for (uint32_t i = 0; i < STEPS; i++) {
            state = state * 1664525 + 1013904223;
            steps[i] = state >> 8;
        }
        take_steps(steps, 1, errors[0], found[0]);
        take_steps(steps, STEPS, errors[1], found[1]);
        CHECK(!memcmp(errors[0], errors[1], sizeof errors[0]) && !memcmp(found[0], found[1], sizeof found[0]));
    }
    teardown();
}

/* Flows that stay through a dump are in it exactly once, whatever comes and goes. */
static void test_dump(void)
{
    struct bytes mask = dst_mask(32, UINT32_MAX), drop = { .n = 0 };
    static uint32_t seen[256];
    uint32_t count, used, total = 0;
    struct flow_dump *dump;

    setup();
    memset(seen, 0, sizeof seen);
    for (uint32_t i = 0; i < 200; i++) {
        struct bytes key = udp_key(1, (uint8_t)i);

        CHECK(!PUT(CREATE, NULL, &key, &mask, &drop).error);
    }
    CHECK(!flow_dump_open(table, 0, &dump));
    do {
        const uint8_t *at = results;

        CHECK(!flow_dump_next(table, dump, 7, results, 4096, &count, &used));
        for (uint32_t i = 0; i < count; i++) {
            struct dp_flow_record record;
            struct key key;
            const char *why;

            memcpy(&record, at, sizeof record);
            CHECK(!odp_key_read(at + sizeof record, record.key_size, &key, &why));
            CHECK(record.key_size && record.mask_size && !record.actions_size && !record.simple);
            seen[key.base.ip4_dst >> 24] += ((key.base.ip4_dst >> 16) & 0xff) == 1;
            at += record.size;
        }
        CHECK(at == results + used);
        total += count;
        /* The odd ones go, others come. */
        if (total < 150) {
            struct bytes gone = udp_key(1, (uint8_t)(rnd(100) * 2 + 1)), come = udp_key(2, (uint8_t)rnd(256));

            one(DP_OP_DELETE, 0, NULL, &gone, NULL, NULL);
            PUT(CREATE, NULL, &come, &mask, &drop);
        }
    } while (count);
    for (uint32_t i = 0; i < 200; i++)
        CHECK(i % 2 ? seen[i] <= 1 : seen[i] == 1);
    flow_dump_close(dump);

    CHECK(!flow_dump_open(table, DP_DUMP_TERSE, &dump));
    CHECK(flow_dump_next(table, dump, 7, results, sizeof(struct dp_flow_record) - 1, &count, &used) == ENOBUFS);
    total = 0;
    do {
        CHECK(!flow_dump_next(table, dump, 50, results, sizeof results, &count, &used));
        CHECK(used == count * sizeof(struct dp_flow_record));
        total += count;
    } while (count);
    CHECK(total == cls_flow_count(flow_table_cls(table)));
    flow_dump_close(dump);
    flush();
    CHECK(!cls_flow_count(flow_table_cls(table)) && !cls_mask_count(flow_table_cls(table)));
    teardown();
}

int main(void)
{
    test_put();
    test_refused();
    test_get();
    test_hostile();
    test_long_ago();
    test_dump();
    test_batches();
    return failures != 0;
}
