/* SPDX-License-Identifier: Apache-2.0
 * link: everything
 * eal: yes
 * sanitize: address
 *
 * Packets executed through flow_operate(): what leaves, what is refused, what is looked up again, and that no buffer is lost. */
#include "flow_fixture.h"

static struct dp_result execute(uint32_t flags, const struct bytes *key, const struct bytes *actions, const struct bytes *packet)
{
    struct dp_result result;
    uint32_t used;

    add_op(DP_OP_EXECUTE, flags, NULL, key, NULL, actions, packet);
    CHECK(!operate(sizeof results, &used) && used == sizeof result);
    memcpy(&result, results, sizeof result);
    return result;
}

static void test_execute(void)
{
    struct bytes packet = { .n = 0 }, key = { .n = 0 }, bad = { .n = 0 }, drop = { .n = 0 }, actions, recirc = { .n = 0 };
    struct bytes flow_key, mask = dst_mask(24, UINT32_MAX);
    uint64_t before, after;

    setup();
    CHECK(!dp_mbufs_in_use(&before));
    packet.n = udp_frame(1, 1, packet.at);
    attr32(&key, OVS_KEY_ATTR_IN_PORT, 1);
    for (uint32_t n = 0; n < 4; n++) {
        sent = 0;
        actions = outputs(n);
        for (int again = 0; again < 3; again++)
            CHECK(!execute(0, &key, &actions, &packet).error);
        CHECK(sent == 3 * n);
    }
    sent = 0;
    actions = outputs(40); /* Too long for the cache. */
    CHECK(!execute(0, NULL, &actions, &packet).error && sent == 40);
    for (uint32_t n = 1; n < 200; n++) { /* More lists than it holds. */
        struct bytes list = { .n = 0 };

        attr32(&list, OVS_ACTION_ATTR_OUTPUT, 2);
        attr32(&list, OVS_ACTION_ATTR_OUTPUT, 1000 + n);
        CHECK(!execute(0, &key, &list, &packet).error);
    }
    CHECK(stat.drops[DROP_no_port] == 199);

    /* Looked up again. */
    attr32(&recirc, OVS_ACTION_ATTR_RECIRC, 7);
    flow_key = udp_key(1, 1);
    attr32(&flow_key, OVS_KEY_ATTR_RECIRC_ID, 7);
    actions = outputs(1);
    CHECK(!PUT(CREATE, NULL, &flow_key, &mask, &actions).error);
    sent = 0;
    CHECK(!execute(0, &key, &recirc, &packet).error);
    CHECK(sent == 1 && stat.hit == 1 && stat.recirculated == 1);
    CHECK(one(DP_OP_GET, 0, NULL, &flow_key, NULL, NULL).stats.packets == 1);

    sent = 0;
    attr32(&bad, 999, 0);
    CHECK(execute(0, &key, &bad, &packet).error == EINVAL);
    CHECK(execute(0, &bad, &actions, &packet).error == EINVAL);
    CHECK(!execute(DP_OPF_PROBE, &key, &actions, &packet).error);
    CHECK(!execute(0, &key, &drop, &packet).error);
    packet.n = 13;
    CHECK(execute(0, &key, &actions, &packet).error == EINVAL);
    packet.n = 0;
    CHECK(execute(0, &key, &actions, &packet).error == EINVAL);
    packet.n = 14;
    CHECK(!execute(0, &key, &actions, &packet).error && sent == 1);
    CHECK(!dp_mbufs_in_use(&after) && before == after);
    teardown();
}

/* Packets of up to 65535 bytes. */
static void test_execute_large(void)
{
    static const uint32_t sizes[] = { 2048, 2049, 65535, 65536 };
    struct bytes actions = outputs(1);

    setup();
    for (uint32_t i = 0; i < 4; i++) {
        struct dp_op op = { .type = DP_OP_EXECUTE, .actions_size = actions.n, .packet_size = sizes[i] };
        struct dp_result result;
        uint32_t used;

        ops_n = sizeof op;
        part(&actions);
        memset(ops + ops_n, 0x42, sizes[i]);
        ops_n += (sizes[i] + 7) & ~7u;
        op.size = ops_n;
        memcpy(ops, &op, sizeof op);
        ops_count = 1;
        sent_bytes = 0;
        CHECK(!operate(sizeof results, &used));
        memcpy(&result, results, sizeof result);
        CHECK(result.error == (sizes[i] > 65535 ? EINVAL : 0));
        CHECK(sent_bytes == (sizes[i] > 65535 ? 0 : sizes[i]));
    }
    teardown();
}

int main(void)
{
    if (dp_eal_start()) {
        printf("EAL\n");
        return 77;
    }
    test_execute();
    test_execute_large();
    return failures != 0;
}
