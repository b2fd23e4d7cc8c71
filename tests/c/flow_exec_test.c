/* SPDX-License-Identifier: Apache-2.0
 * link: everything
 * eal: yes
 * sanitize: address
 *
 * Packets executed through flow_operate(): what leaves, what is refused, what is looked up again,
 * and that no buffer is lost. */
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
    CHECK(!sent_marked); /* None of these keys has a mark; a port hears of one that has. */
    attr32(&key, OVS_KEY_ATTR_SKB_MARK, 7);
    CHECK(!execute(0, &key, &actions, &packet).error && sent_marked == 1);
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

static struct dp_result result_of(uint32_t i)
{
    struct dp_result result;

    memcpy(&result, results + i * sizeof result, sizeof result); /* None is longer. */
    return result;
}

static struct bytes udp_mask(void)
{
    const uint16_t ports[2] = { 0xffff, 0xffff };
    struct bytes b = dst_mask(32, UINT32_MAX);
    struct ovs_key_ipv4 ip = { .ipv4_proto = 0xff };

    b.n -= sizeof ip; /* In the place of the one of addresses. */
    memcpy(b.at + b.n, &ip, sizeof ip);
    b.n += sizeof ip;
    attr(&b, OVS_KEY_ATTR_UDP, ports, 4);
    return b;
}

/* Puts are read before their turn: what operations before them change still counts, and what they
 * say of keys and masks is of them alone. */
static void test_batch(void)
{
    struct bytes mask = dst_mask(32, UINT32_MAX), wide = dst_mask(24, UINT32_MAX), ports = udp_mask(), actions = outputs(2), key, other;
    uint32_t used;

    setup();
    for (uint8_t i = 0; i < 60; i++) {
        key = udp_key(i, 1);
        add_op(DP_OP_PUT, CREATE, NULL, &key, i % 2 ? &mask : &wide, &actions, NULL);
        add_op(DP_OP_PUT, CREATE, NULL, &key, &mask, &actions, NULL);
        add_op(DP_OP_DELETE, 0, NULL, &key, NULL, NULL, NULL);
        add_op(DP_OP_PUT, CREATE, NULL, &key, &mask, &actions, NULL);
    }
    CHECK(!operate(sizeof results, &used));
    for (uint32_t i = 0; i < 240; i++)
        CHECK(result_of(i).error == (i % 4 == 1 ? EEXIST : 0));
    key = udp_key(0, 2);
    CHECK(one(DP_OP_GET, 0, NULL, &key, NULL, NULL).error == ENOENT); /* The wide one is gone. */
    flush();

    /* The same bytes as a mask of UDP, and of a protocol that has no ports. */
    key = udp_key(1, 1);
    other = key;
    other.n -= 8;            /* Its UDP. */
    other.at[other.n - 4] = 2; /* IGMP */
    for (int i = 0; i < 3; i++) {
        add_op(DP_OP_PUT, CREATE | (i ? MODIFY : 0), NULL, &key, &ports, &actions, NULL);
        add_op(DP_OP_PUT, CREATE, NULL, &other, &ports, &actions, NULL);
    }
    CHECK(!operate(sizeof results, &used));
    for (uint32_t i = 0; i < 6; i++)
        CHECK(result_of(i).error == (i % 2 ? EINVAL : 0));
    teardown();
}

/* A packet goes where the metadata of its own key leads, whatever puts are beside it. */
static void test_neighbours(void)
{
    struct bytes mask = dst_mask(0, UINT32_MAX), drop = { .n = 0 }, recirc = { .n = 0 }, packet = { .n = 0 }, actions = outputs(1);
    struct bytes key = udp_key(1, 1), elsewhere = { .n = 0 }, bad = { .n = 0 };
    uint32_t used;

    setup();
    packet.n = udp_frame(1, 1, packet.at);
    attr32(&recirc, OVS_ACTION_ATTR_RECIRC, 7);
    attr32(&elsewhere, OVS_KEY_ATTR_IN_PORT, 5);
    attr32(&bad, 999, 0);
    attr32(&key, OVS_KEY_ATTR_RECIRC_ID, 7);
    CHECK(!PUT(CREATE, NULL, &key, &mask, &actions).error);
    memcpy(key.at + 4, &(uint32_t){ 5 }, 4); /* Those of port 5 are dropped. */
    CHECK(!PUT(CREATE, NULL, &key, &mask, &drop).error);
    memcpy(key.at + 4, &(uint32_t){ 1 }, 4);
    key.n -= 8;
    sent = 0;
    add_op(DP_OP_EXECUTE, 0, NULL, &key, NULL, &recirc, &packet);
    add_op(DP_OP_PUT, CREATE, NULL, &key, &mask, &drop, NULL);
    add_op(DP_OP_EXECUTE, 0, NULL, &key, NULL, &recirc, &packet);
    add_op(DP_OP_EXECUTE, 0, NULL, &elsewhere, NULL, &recirc, &packet);
    add_op(DP_OP_PUT, CREATE, NULL, &bad, &mask, &drop, NULL);
    add_op(DP_OP_EXECUTE, 0, NULL, &bad, NULL, &recirc, &packet);
    add_op(DP_OP_EXECUTE, 0, NULL, NULL, NULL, &actions, &packet);
    CHECK(!operate(sizeof results, &used));
    CHECK(sent == 3 && stat.hit == 3 && stat.drops[DROP_action] == 1);
    for (uint32_t i = 0; i < 7; i++)
        CHECK(result_of(i).error == (i == 4 || i == 5 ? EINVAL : 0));
    teardown();
}

/* Flows with the same outputs share a program: it outlives its place in the cache, and all flows
 * but one. */
static void test_shared(void)
{
    struct bytes mask = dst_mask(32, UINT32_MAX), actions = outputs(2), others = outputs(3), packet = { .n = 0 }, recirc = { .n = 0 };
    struct bytes key, in_port = { .n = 0 };

    setup();
    attr32(&in_port, OVS_KEY_ATTR_IN_PORT, 1);
    attr32(&recirc, OVS_ACTION_ATTR_RECIRC, 0);
    for (uint8_t i = 0; i < 100; i++) {
        key = udp_key(1, i);
        CHECK(!PUT(CREATE, NULL, &key, &mask, &actions).error);
        if (i % 3 == 0)
            CHECK(!PUT(MODIFY, NULL, &key, &mask, &others).error);
    }
    for (uint8_t i = 1; i < 100; i++) {
        key = udp_key(1, i);
        if (i % 3 != 1 || i > 1)
            CHECK(!one(DP_OP_DELETE, 0, NULL, &key, NULL, NULL).error);
    }
    for (uint32_t n = 1; n < 200; n++) {
        struct bytes list = { .n = 0 };

        attr32(&list, OVS_ACTION_ATTR_OUTPUT, 2);
        attr32(&list, OVS_ACTION_ATTR_OUTPUT, 1000 + n);
        packet.n = udp_frame(1, 1, packet.at);
        CHECK(!execute(0, &in_port, &list, &packet).error);
    }
    for (uint8_t i = 0; i < 2; i++) {
        sent = 0;
        packet.n = udp_frame(1, i, packet.at);
        CHECK(!execute(0, &in_port, &recirc, &packet).error && sent == (i ? 2 : 3));
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
    test_batch();
    test_neighbours();
    test_shared();
    return failures != 0;
}
