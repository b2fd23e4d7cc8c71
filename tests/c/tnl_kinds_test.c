/* SPDX-License-Identifier: Apache-2.0
 * Every kind of tunnel: its header beside bytes written out by hand from the RFCs (some observed in
 * Open vSwitch 3.1), and what of it flows can match when it comes back.
 *
 * link: everything */
#include "tnl_fixture.h"

/* What is inside of tunnels without Ethernet header. */
#define INNER_IP "45b8001c00014000261140160a0000010a0000020035003600080000"
#define FROM_REMOTE4 "aa55aa550000f8bc124434b60800"

static const uint8_t ones[256] = { [0 ... 255] = 0xff };
static uint8_t actions[1024];

static void df(struct nest *nest)
{
    nest_put(nest, 5, NULL, 0);
}

static void to_three(uint64_t dp, uint16_t type, const struct nest *key, const struct nest *mask)
{
    const uint32_t three = 3;

    put_flow(dp, 10, type, key, mask, actions, fixture_attribute(actions, ATTR_OUTPUT, &three, 4));
}

/* Critical, and one of another class: matched as they are on the wire. */
static void test_geneve(void)
{
    static const uint8_t options[] = { 0xff, 0xff, 0x80, 1, 0x11, 0x22, 0x33, 0x44, 1, 2, 3, 2, 1, 2, 3, 4, 5, 6, 7, 8 };
    const uint64_t dp = tunnel_dp("geneve", "geneve", "");
    struct nest nest = tunnel_nest(5, NULL, REMOTE4), key = tunnel_nest(5, NULL, LOCAL4), mask = { 0 };
    uint8_t many[252];

    df(&nest);
    nest_put(&nest, 8, options, sizeof options);
    send_by(dp, 10, &nest, INNER);
    expect_at(dp, 2, ETHERNET4 "4500006200004000401133d6" "010102580101025c" "...." "17c1004e0000" "0540655800000500"
                     "ffff800111223344" "010203020102030405060708" INNER);
    /* With the flag for control packets, and without options. */
    nest = tunnel_nest(5, NULL, REMOTE4);
    df(&nest);
    nest_put(&nest, 7, NULL, 0);
    send_by(dp, 10, &nest, INNER);
    expect_at(dp, 2, ETHERNET4 "4500004e00004000401133ea" "010102580101025c" "...." "17c1003a0000" "0080655800000500" INNER);
    /* As many as there can be: more than there is room before the packet. */
    memset(many, 0, sizeof many);
    many[3] = 31;
    many[128 + 3] = 30;
    nest = tunnel_nest(5, NULL, REMOTE6);
    nest_put(&nest, 8, many, 252);
    send_by(dp, 10, &nest, INNER);
    {
        static struct bytes frame;
        static struct bytes inner;

        collected(dp, 2, &frame);
        from_hex(INNER, &inner);
        EQUAL(frame.size, 14 + 40 + 8 + 8 + 252 + inner.size);
        CHECK(!memcmp(frame.at + 70, many, 252) && !memcmp(frame.at + 322, inner.at, inner.size));
    }
    nest_put(&mask, 0, ones, 8);
    nest_put(&mask, 4, "\0", 1);
    nest_put(&key, 8, options, sizeof options);
    {
        uint8_t bits[sizeof options];

        memset(bits, 0xff, sizeof bits);
        bits[4] = 0; /* The first byte of the first option's data is any. */
        nest_put(&mask, 8, bits, sizeof bits);
    }
    to_three(dp, 0x0800, &key, &mask);
    inject(dp, 2, FROM_REMOTE4 "450000620000400040" "1133dc" "0101025601010258" "15b317c1004e0000" "0540655800000500"
           "ffff800199223344" "010203020102030405060708" INNER);
    expect_at(dp, 3, INNER);
    inject(dp, 2, FROM_REMOTE4 "450000620000400040" "1133dc" "0101025601010258" "15b317c1004e0000" "0540655800000500"
           "ffff800111223345" "010203020102030405060708" INNER);
    EVENTUALLY(fixture_stats(dp).missed + fixture_stats(dp).lost == 1);
    /* An option longer than all of them; a version; options that are not there. */
    inject(dp, 2, FROM_REMOTE4 "450000620000400040" "1133dc" "0101025601010258" "15b317c1004e0000" "0540655800000500"
           "ffff800511223344" "010203020102030405060708" INNER);
    EVENTUALLY(fixture_drops(dp, "tunnel") == 1);
    inject(dp, 2, FROM_REMOTE4 "450000620000400040" "1133dc" "0101025601010258" "15b317c1004e0000" "4540655800000500"
           "ffff800111223344" "010203020102030405060708" INNER);
    EVENTUALLY(fixture_drops(dp, "tunnel_option") == 1);
    inject(dp, 2, FROM_REMOTE4 "450000620000400040" "1133dc" "0101025601010258" "15b317c1004e0000" "3f40655800000500"
           "ffff800111223344" "010203020102030405060708" INNER);
    EVENTUALLY(fixture_drops(dp, "tunnel") == 2);
    OK(dp_close(dp));
}

static void test_gbp(void)
{
    const uint64_t dp = tunnel_dp("gbp", "vxlan", "gbp=true");
    struct nest nest = tunnel_nest(7, NULL, REMOTE4), gbp = { 0 };
    const uint32_t policy = 0x1234 | 0x08u << 16;

    df(&nest);
    nest_put(&gbp, 1, &policy, 4);
    nest_put(&nest, 11, gbp.at, (uint16_t)gbp.size);
    send_by(dp, 10, &nest, INNER);
    expect_at(dp, 2, ETHERNET4 "4500004e0000400040" "1133ea" "010102580101025c" "...." "12b5003a0000" "8808123400000700" INNER);
    put_output(dp, 10, 0x0800, 3);
    inject(dp, 2, FROM_REMOTE4 "4500004e0000400040" "1133f0" "0101025601010258" "15b312b5003a0000" "8808123400000700" INNER);
    expect_at(dp, 3, INNER);
    OK(dp_close(dp));
}

/* Key, checksum and number: the checksum is right for each number. */
static void test_gre(void)
{
    const uint64_t dp = tunnel_dp("gre", "gre", "seq=true");
    struct nest nest = tunnel_nest(0x1c8, NULL, REMOTE4), key = tunnel_nest(0x1c8, NULL, LOCAL4), mask = { 0 };

    df(&nest);
    nest_put(&nest, 6, NULL, 0);
    send_by(dp, 10, &nest, INNER);
    expect_at(dp, 2, ETHERNET4 "4500004e00004000402f33cc010102580101025c" "b00065583faf0000" "000001c800000000" INNER);
    send_by(dp, 10, &nest, INNER);
    expect_at(dp, 2, ETHERNET4 "4500004e00004000402f33cc010102580101025c" "b00065583fae0000" "000001c800000001" INNER);
    nest_put(&mask, 0, ones, 8);
    nest_put(&mask, 4, "\0", 1);
    to_three(dp, 0x0800, &key, &mask);
    inject(dp, 2, FROM_REMOTE4 "4500004e00004000402f33d20101025601010258" "b00065583fae0000" "000001c800000001" INNER);
    expect_at(dp, 3, INNER);
    inject(dp, 2, FROM_REMOTE4 "4500004e00004000402f33d20101025601010258" "b00065583faf0000" "000001c800000001" INNER);
    EVENTUALLY(fixture_drops(dp, "tunnel_checksum") == 1);
    inject(dp, 2, FROM_REMOTE4 "4500004e00004000402f33d20101025601010258" "b00165583fae0000" "000001c800000001" INNER);
    EVENTUALLY(fixture_drops(dp, "tunnel_option") == 1);
    OK(dp_close(dp));
}

static void test_erspan(void)
{
    const uint64_t dp = tunnel_dp("erspan", "erspan", "erspan_ver=2\nerspan_dir=1\nerspan_hwid=0x2a");
    struct nest nest = tunnel_nest(5, NULL, REMOTE4), second = tunnel_nest(6, NULL, REMOTE4);
    static const uint8_t index[12] = { 1, 0, 0, 0, 0x00, 0x01, 0x23, 0x45 };

    df(&nest);
    nest_put(&nest, 15, index, 12);
    send_by(dp, 10, &nest, INNER);
    expect_at(dp, 2, ETHERNET4 "4500004e00004000402f33cc010102580101025c" "100088be00000000" "1000000500012345" INNER);
    df(&second);
    send_by(dp, 10, &second, INNER);
    expect_at(dp, 2, ETHERNET4 "4500005200004000402f33c8010102580101025c" "100022eb00000001" "20000006" "........" "000002a8" INNER);
    put_output(dp, 10, 0x0800, 3);
    inject(dp, 2, FROM_REMOTE4 "4500005200004000402f33ce0101025601010258" "100022eb00000001" "20000006" "00000000" "000002a8" INNER);
    expect_at(dp, 3, INNER);
    inject(dp, 2, FROM_REMOTE4 "4500005200004000402f33ce0101025601010258" "100022eb00000001" "30000006" "00000000" "000002a8" INNER);
    EVENTUALLY(fixture_drops(dp, "tunnel_option") == 1);
    OK(dp_close(dp));
}

/* Kinds that carry packets without Ethernet header: pop_eth, set, output. */
static void send_l3(uint64_t dp, const struct nest *nest)
{
    static struct bytes frame;
    uint32_t size = fixture_attribute(actions, 15, NULL, 0);

    from_hex(INNER, &frame);
    size += send_actions(actions + size, nest, 10);
    EQUAL(run(dp, &frame, actions, size), 0);
}

/* push_eth, output to port 3, of what a tunnel brings. */
static void flow_l3(uint64_t dp)
{
    static const uint8_t addresses[12] = { 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2 };
    const uint32_t three = 3, in_port = 10, type = 0x00080100u; /* be32: namespace 1, 0x0800. */
    struct dp_op op = { .type = DP_OP_PUT, .flags = DP_OPF_CREATE | DP_OPF_MASK };
    uint8_t ops[2048] = { 0 }, key[256], mask[256];
    static const uint8_t zeros[12];

    op.key_size = fixture_attribute(key, 3, &in_port, 4);
    op.key_size += fixture_attribute(key + op.key_size, 29, &type, 4);
    op.key_size += fixture_attribute(key + op.key_size, 6, "\x08\x00", 2);
    op.key_size += fixture_attribute(key + op.key_size, 7, zeros, 12);
    op.mask_size = fixture_attribute(mask, 3, ones, 4);
    op.mask_size += fixture_attribute(mask + op.mask_size, 29, ones, 4);
    op.mask_size += fixture_attribute(mask + op.mask_size, 6, ones, 2);
    op.actions_size = fixture_attribute(actions, 14, addresses, 12);
    op.actions_size += fixture_attribute(actions + op.actions_size, ATTR_OUTPUT, &three, 4);
    op.size = sizeof op;
    memcpy(ops + op.size, key, op.key_size);
    op.size += (op.key_size + 7) & ~7u;
    memcpy(ops + op.size, mask, op.mask_size);
    op.size += (op.mask_size + 7) & ~7u;
    memcpy(ops + op.size, actions, op.actions_size);
    op.size += (op.actions_size + 7) & ~7u;
    memcpy(ops, &op, sizeof op);
    EQUAL(fixture_operate(dp, ops, op.size), 0);
}
#define PUSHED "020000000002" "020000000001" "0800"

static void test_gtpu(void)
{
    const uint64_t dp = tunnel_dp("gtpu", "gtpu", "");
    struct nest nest = tunnel_nest(0x1234, NULL, REMOTE4);

    df(&nest);
    send_l3(dp, &nest);
    expect_at(dp, 2, ETHERNET4 "4500004000004000401133f8" "010102580101025c" "...." "0868002c0000" "30ff001c00001234" INNER_IP);
    send_by(dp, 10, &nest, INNER);
    EQUAL(fixture_drops(dp, "tx_packet_type"), 1);
    flow_l3(dp);
    inject(dp, 2, FROM_REMOTE4 "4500004000004000401133fe" "0101025601010258" "15b30868002c0000" "30ff001c00000001" INNER_IP);
    expect_at(dp, 3, PUSHED INNER_IP);
    /* With a number and an extension header of eight bytes. */
    inject(dp, 2, FROM_REMOTE4 "4500004c00004000401133f2" "0101025601010258" "15b3086800380000" "37ff002800000001" "00010085"
           "0200000000000000" INNER_IP);
    expect_at(dp, 3, PUSHED INNER_IP);
    inject(dp, 2, FROM_REMOTE4 "4500004000004000401133fe" "0101025601010258" "15b30868002c0000" "30ff0fff00000001" INNER_IP);
    EVENTUALLY(fixture_drops(dp, "tunnel") == 1);
    OK(dp_close(dp));
}

static void test_bareudp(void)
{
    const uint64_t dp = tunnel_dp("bareudp", "bareudp", "payload_type=ip");
    struct nest nest = tunnel_nest(0, NULL, REMOTE4);

    df(&nest);
    send_l3(dp, &nest);
    expect_at(dp, 2, ETHERNET4 "45000038000040004011" "3400" "010102580101025c" "...." "19eb00240000" INNER_IP);
    flow_l3(dp);
    inject(dp, 2, FROM_REMOTE4 "45000038000040004011" "3406" "0101025601010258" "15b319eb00240000" INNER_IP);
    expect_at(dp, 3, PUSHED INNER_IP);
    OK(dp_close(dp));
}

/* Open vSwitch's actions: the header is ready, and is taken off whatever its addresses. */
static void test_ready(void)
{
    const uint64_t dp = tunnel_dp("ready", "vxlan", "");
    struct { uint32_t port, out_port, size, type; uint8_t header[512]; } push = { 10, 2, 50, 4, { 0 } };
    const uint32_t two = 2, ten = 10;
    static struct bytes header, frame;
    uint32_t size;

    from_hex(ETHERNET4 "4500000000004000401100" "00" "010102580101025c" "000012b500000000" "0800000000007b00", &header);
    memcpy(push.header, header.at, header.size);
    size = fixture_attribute(actions, 26, &push, sizeof push);
    size += fixture_attribute(actions + size, ATTR_OUTPUT, &two, 4);
    from_hex(INNER, &frame);
    EQUAL(run(dp, &frame, actions, size), 0);
    expect_at(dp, 2, ETHERNET4 "4500004e00004000401133ea010102580101025c" "...." "12b5003a0000" "0800000000007b00" INNER);
    put_output(dp, 10, 0x0800, 3);
    put_flow(dp, 1, 0x0800, NULL, NULL, actions, fixture_attribute(actions, 27, &ten, 4));
    inject(dp, 1, FROM_REMOTE4 "4500004e0000400040" "1133f0" "0101025601010258" "15b312b5003a0000" "0800000000007b00" INNER);
    expect_at(dp, 3, INNER);
    OK(dp_close(dp));
}

/* Fixed ends, and what the path's MTU makes of large packets. */
static void test_fixed_and_mtu(void)
{
    const uint64_t dp = tunnel_dp("fixed", "vxlan", "remote_ip=1.1.2.92\nkey=9\ndf=true\ntos=inherit\nttl=7");
    struct dp_tnl_hop hop = hop_to(10, REMOTE4, LOCAL4);
    const uint32_t ten = 10;
    static struct bytes frame;

    send_by(dp, 10, NULL, INNER);
    expect_at(dp, 2, ETHERNET4 "45b8004e00004000" "0711" "6c32" "010102580101025c" "...." "12b5003a0000" "0800000000000900" INNER);
    hop.mtu = 576;
    OK(dp_tnl_hop_set(dp, &hop));
    put_output(dp, 10, 0x0800, 3);
    from_hex(INNER, &frame);
    frame.size = 1014; /* And says so, with DF. */
    frame.at[16] = 0x03;
    frame.at[17] = 0xe8;
    EQUAL(run(dp, &frame, actions, fixture_attribute(actions, ATTR_OUTPUT, &ten, 4)), 0);
    EQUAL(fixture_drops(dp, "tunnel_mtu"), 1);
    collected(dp, 3, &frame); /* From the receiver, as if by the tunnel: fragmentation needed, 526. */
    CHECK(frame.at[23] == 1 && frame.at[34] == 3 && frame.at[35] == 4 && frame.at[40] == 0x02 && frame.at[41] == 0x0e);
    CHECK(!memcmp(frame.at + 26, "\x0a\0\0\x02\x0a\0\0\x01", 8));
    OK(dp_close(dp));
}

#define ALIKE 6u

/* Sends frames in one burst, or each in its own, and collects what leaves. */
static void send_all(uint64_t dp, const struct bytes *frames, const struct nest *nests, bool at_once, struct bytes *left)
{
    static uint8_t ops[ALIKE * 2048], results[4096] __attribute__((aligned(8)));
    uint32_t size = 0, used, ten = 10;

    for (uint32_t i = 0; i < ALIKE; i++) {
        struct dp_op op = { .type = DP_OP_EXECUTE, .packet_size = frames[i].size };

        op.actions_size = send_actions(actions, &nests[i], ten);
        size += fixture_append(ops + size, &op, NULL, actions, frames[i].at);
        if (at_once && i + 1 < ALIKE)
            continue;
        OK(dp_operate(dp, ops, size, at_once ? ALIKE : 1, results, sizeof results, &used));
        size = 0;
    }
    for (uint32_t i = 0; i < ALIKE; i++)
        collected(dp, 2, &left[i]);
}

/* Packets of a burst leave as they leave alone, be they like the one before or not. */
static void test_alike(void)
{
    static const char *const kinds[] = { "vxlan", "geneve" }, *const remotes[] = { REMOTE4, REMOTE6 };
    static struct bytes frames[ALIKE], alone[ALIKE], together[ALIKE];
    struct nest nests[ALIKE];

    for (uint32_t k = 0; k < 4; k++) {
        const uint64_t dp = tunnel_dp("alike", kinds[k / 2], "csum=false");

        for (uint32_t i = 0; i < ALIKE; i++) {
            const uint8_t tos = 0xb8;

            nests[i] = tunnel_nest(i == 3 ? 9 : 5, NULL, remotes[k % 2]);
            nest_put(&nests[i], 3, &tos, 1);
            if (i != 4)
                df(&nests[i]);
            from_hex("50540000000b5054000000090800" INNER_IP, &frames[i]);
            frames[i].at[15] = (uint8_t)(0xb8 | i % 4); /* ECN; nobody looks at the checksum. */
            frames[i].at[29] = (uint8_t)i;
            frames[i].size += i;
        }
        send_all(dp, frames, nests, false, alone);
        send_all(dp, frames, nests, true, together);
        for (uint32_t i = 0; i < ALIKE; i++) {
            EQUAL(together[i].size, alone[i].size);
            if (i == 4 && k % 2 == 0) { /* Its identification is random, and so its checksum. */
                memset(alone[i].at + 18, 0, 2);
                memset(together[i].at + 18, 0, 2);
                memset(alone[i].at + 24, 0, 2);
                memset(together[i].at + 24, 0, 2);
            }
            for (uint32_t at = 0; at < alone[i].size; at++)
                if (alone[i].at[at] != together[i].at[at])
                    FAIL("packet %u of %u, byte %u: %02x, not %02x", i, k, at, together[i].at[at], alone[i].at[at]);
        }
        OK(dp_close(dp));
    }
}

int main(void)
{
    static void (*const tests[])(void) = { test_alike, test_geneve, test_gbp, test_gre, test_erspan, test_gtpu, test_bareudp, test_ready,
                                           test_fixed_and_mtu };

    return fixture_run(tests, sizeof tests / sizeof tests[0]);
}
