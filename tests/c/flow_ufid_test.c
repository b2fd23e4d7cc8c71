/* SPDX-License-Identifier: Apache-2.0
 * link: everything
 * eal: yes
 * sanitize: address
 *
 * Flows by UFID: those that programs give, and those that flows get. */
#include "flow/flow_int.h"
#include "flow_fixture.h"

static void test_ufid(void)
{
    struct bytes key = udp_key(1, 1), other = udp_key(2, 1), mask = dst_mask(24, UINT32_MAX), exact = dst_mask(32, UINT32_MAX);
    struct bytes drop = { .n = 0 }, output = outputs(1);
    uint8_t a[16] = { 1 }, b[16] = { 2 };
    struct dp_result r;

    setup();
    r = PUT(CREATE, a, &key, &mask, &drop);
    CHECK(!r.error && !memcmp(r.ufid, a, 16));
    CHECK(PUT(CREATE, a, &other, &mask, &drop).error == EEXIST);
    CHECK(PUT(MODIFY, a, &other, &mask, &drop).error == ENOENT);
    CHECK(PUT(CREATE | MODIFY, a, &other, &mask, &drop).error == ENOENT);
    CHECK(PUT(CREATE | MODIFY, a, &key, &exact, &drop).error == ENOENT);
    CHECK(PUT(CREATE, b, &key, &mask, &drop).error == EEXIST);
    r = PUT(CREATE | MODIFY, b, &key, &mask, &output);
    CHECK(!r.error && !memcmp(r.ufid, a, 16)); /* The flow keeps its name. */
    CHECK(one(DP_OP_GET, 0, b, NULL, NULL, NULL).error == ENOENT);
    r = one(DP_OP_GET, 0, a, NULL, NULL, NULL);
    CHECK(!r.error && r.actions_size == output.n);
    CHECK(!PUT(CREATE, b, &other, &mask, &drop).error);
    CHECK(one(DP_OP_DELETE, 0, b, &key, NULL, NULL).error == 0); /* The UFID counts, not the key. */
    CHECK(one(DP_OP_GET, 0, NULL, &key, NULL, NULL).error == 0);
    CHECK(one(DP_OP_GET, 0, NULL, &other, NULL, NULL).error == ENOENT);
    CHECK(one(DP_OP_DELETE, 0, b, NULL, NULL, NULL).error == ENOENT);

    teardown();
}

/* The name that a flow would get is that of another already: it gets the next one. */
static void test_taken_name(void)
{
    struct bytes first = udp_key(1, 1), second = udp_key(2, 1), mask = dst_mask(32, UINT32_MAX), drop = { .n = 0 };
    uint8_t a[16], b[16] = { 2 };
    struct dp_result r;
    uint64_t made;

    setup();
    made = table->names.made;
    r = PUT(CREATE, NULL, &first, &mask, &drop);
    memcpy(a, r.ufid, 16);
    CHECK(!one(DP_OP_DELETE, 0, a, NULL, NULL, NULL).error);
    CHECK(one(DP_OP_GET, 0, a, NULL, NULL, NULL).error == ENOENT);
    CHECK(!PUT(CREATE, b, &first, &mask, &drop).error); /* For a while it has the index. */
    CHECK(!PUT(CREATE, a, &second, &mask, &drop).error);
    CHECK(!one(DP_OP_DELETE, 0, b, NULL, NULL, NULL).error);
    table->names.made = made;
    r = PUT(CREATE, NULL, &first, &mask, &drop);
    CHECK(!r.error && memcmp(r.ufid, a, 16));
    CHECK(table->names.made == made + 2);
    CHECK(!one(DP_OP_GET, 0, r.ufid, NULL, NULL, NULL).error);
    r = PUT(CREATE, a, &first, &mask, &drop);
    CHECK(r.error == EEXIST);
    teardown();
}

/* Flows by the names that they got, many of them coming and going. */
static void test_own_names(void)
{
    struct bytes mask = dst_mask(32, UINT32_MAX), drop = { .n = 0 };
    static uint8_t names[1000][16];
    static bool there[1000];

    setup();
    for (uint32_t step = 0; step < 20000; step++) {
        const uint32_t i = rnd(1000);
        struct bytes key = udp_key((uint8_t)(i >> 8), (uint8_t)i);

        CHECK(one(DP_OP_GET, 0, names[i], NULL, NULL, NULL).error == (there[i] ? 0 : ENOENT));
        if (there[i]) {
            CHECK(!one(DP_OP_DELETE, 0, names[i], NULL, NULL, NULL).error);
        } else {
            struct dp_result r = PUT(CREATE, NULL, &key, &mask, &drop);

            CHECK(!r.error && (r.ufid[6] & 0xf0) == 0x40 && (r.ufid[8] & 0xc0) == 0x80);
            CHECK(memcmp(names[i], r.ufid, 16)); /* Not that of the one before. */
            memcpy(names[i], r.ufid, 16);
        }
        there[i] = !there[i];
    }
    CHECK(!table->names.n);
    teardown();
}

/* Flows by UFID, many of them coming and going. */
static void test_ufid_churn(void)
{
    static bool there[65536];
    struct bytes mask = dst_mask(32, UINT32_MAX), drop = { .n = 0 };

    setup();
    for (uint32_t round = 0; round < 6000; round++) {
        const uint32_t i = rnd(round < 3000 ? 1500 : 300);
        uint8_t ufid[16] = { (uint8_t)i, (uint8_t)(i >> 8) };
        struct bytes key = udp_key((uint8_t)(i >> 8), (uint8_t)i);

        CHECK(one(DP_OP_GET, 0, ufid, NULL, NULL, NULL).error == (there[i] ? 0 : ENOENT));
        CHECK(there[i] ? !one(DP_OP_DELETE, 0, ufid, NULL, NULL, NULL).error : !PUT(CREATE, ufid, &key, &mask, &drop).error);
        there[i] = !there[i];
    }
    teardown();
}

int main(void)
{
    test_ufid();
    test_taken_name();
    test_own_names();
    test_ufid_churn();
    return failures != 0;
}
