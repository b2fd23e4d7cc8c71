/* SPDX-License-Identifier: Apache-2.0
 * Tunnels by the ABI: outer headers beside bytes written out by hand from the RFCs, next hops that
 * come, change and go, what is asked and told, packets for addresses of ours and others.
 *
 * link: everything */
#include <errno.h>

#include "tnl_fixture.h"

#define OUTER4_DF ETHERNET4 "4500004e00004000401133ea010102580101025c"
#define OUTER6 ETHERNET6 "60000000003a1140" "2001cafe000000000000000000000088" "2001cafe000000000000000000000092"

/* IPv4 with DF, its bytes and checksum observed in Open vSwitch 3.1; VNI 0x7b. */
static void test_vxlan_push(void)
{
    uint64_t dp = tunnel_dp("vxlan", "vxlan", "");
    struct nest nest = tunnel_nest(0x7b, NULL, REMOTE4);

    nest_put(&nest, 5, NULL, 0); /* Do not fragment. */
    send_by(dp, 10, &nest, INNER);
    expect_at(dp, 2, OUTER4_DF "...." "12b5" "003a" "0000" "0800000000007b00" INNER);
    /* Without it; no checksum, unless it is asked for. */
    nest = tunnel_nest(0x7b, NULL, REMOTE4);
    send_by(dp, 10, &nest, INNER);
    expect_at(dp, 2, ETHERNET4 "4500004e" "...." "0000" "4011" "...." "010102580101025c" "...." "12b5003a0000" "0800000000007b00" INNER);
    /* Over IPv6 there is one, unless the port's options say that there is none. */
    nest = tunnel_nest(0x7b, NULL, REMOTE6);
    nest_put(&nest, 9, "\xcf\x0a", 2); /* The source port that the bytes were observed with. */
    send_by(dp, 10, &nest, INNER);
    expect_at(dp, 2, OUTER6 "cf0a12b5003a1a71" "0800000000007b00" INNER);
    OK(dp_close(dp));
    dp = tunnel_dp("vxlan", "vxlan", "csum=false");
    send_by(dp, 10, &nest, INNER);
    expect_at(dp, 2, OUTER6 "cf0a12b5003a0000" "0800000000007b00" INNER);
    nest_put(&nest, 6, NULL, 0); /* Checksum. */
    send_by(dp, 10, &nest, INNER);
    expect_at(dp, 2, OUTER6 "cf0a12b5003a1a71" "0800000000007b00" INNER);
    OK(dp_close(dp));
}

/* A hop comes, changes, goes; questions are told once. */
static void test_hops(void)
{
    const uint64_t dp = tunnel_dp("hops", "vxlan", "");
    struct nest nest = tunnel_nest(5, NULL, "1.1.2.93"), far = tunnel_nest(5, LOCAL4, "1.1.2.94");
    struct dp_tnl_hop hop = hop_to(10, "1.1.2.93", LOCAL4), listed;
    struct dp_tnl_watch_info info, again;
    struct dp_tnl_event events[4];
    uint32_t count, at = 0, found = 0;

    OK(dp_tnl_watch(dp, &info));
    EQUAL(dp_tnl_watch(dp, &again), EBUSY);
    for (int i = 0; i < 3; i++)
        send_by(dp, 10, &nest, INNER);
    EQUAL(fixture_drops(dp, "tunnel_no_hop"), 3);
    fixture_readable(info.descriptor);
    OK(dp_tnl_events(info.watch, 4, events, &count));
    EQUAL(count, 1);
    EQUAL(events[0].kind, DP_TNL_ASK);
    EQUAL(events[0].port, 10);
    EQUAL(events[0].family, DP_TNL_IPV4);
    CHECK(!memcmp(events[0].dst, hop.key.dst, 16));
    send_by(dp, 10, &far, INNER);
    OK(dp_tnl_events(info.watch, 4, events, &count));
    EQUAL(count, 1);
    CHECK(!memcmp(events[0].src, hop.src, 16));
    OK(dp_tnl_hop_set(dp, &hop));
    send_by(dp, 10, &nest, INNER);
    expect_at(dp, 2, ETHERNET4 "4500004e" "...." "0000" "4011" "...." "010102580101025d" "...." "12b5003a00000800000000000500" INNER);
    hop.header[5] = 0x77; /* The neighbour has another address now. */
    hop.ttl = 9;
    OK(dp_tnl_hop_set(dp, &hop));
    nest.at[nest.size - 4] = 0; /* Whatever TTL there is. */
    send_by(dp, 10, &nest, INNER);
    expect_at(dp, 2, "f8bc12443477" LOCAL_MAC "0800" "4500004e" "...." "0000" "0911" "...." "010102580101025d" "...." "12b5003a00000800000000000500" INNER);
    while (!dp_tnl_hop_next(dp, &at, &listed))
        found += !memcmp(&listed.key, &hop.key, sizeof hop.key) ? 100 : 1;
    EQUAL(found, 102);
    OK(dp_tnl_hop_delete(dp, &hop.key));
    EQUAL(dp_tnl_hop_delete(dp, &hop.key), ENOENT);
    send_by(dp, 10, &nest, INNER); /* And it is asked about at once. */
    OK(dp_tnl_events(info.watch, 4, events, &count));
    EQUAL(count, 1);
    hop.flags = DP_TNL_HOP_NONE;
    OK(dp_tnl_hop_set(dp, &hop));
    send_by(dp, 10, &nest, INNER);
    OK(dp_tnl_events(info.watch, 4, events, &count));
    EQUAL(count, 0);
    EQUAL(fixture_drops(dp, "tunnel_no_hop"), 6);
    OK(dp_tnl_hop_flush(dp, 2));
    OK(dp_port_delete(dp, 10));
    at = 0;
    EQUAL(dp_tnl_hop_next(dp, &at, &listed), ENOENT);
    EQUAL(dp_tnl_hop_set(dp, &hop), ENODEV); /* No tunnel any more. */
    OK(dp_close(dp));
    fixture_readable(info.descriptor); /* Told that it has gone. */
    EQUAL(dp_tnl_events(info.watch, 4, events, &count), ENODEV);
    OK(dp_tnl_watch_close(info.watch));
    EQUAL(dp_tnl_watch_close(info.watch), EBADF);
}

static const uint8_t any[16] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };

/* From the underlay to a flow that matches the VNI; other packets go where the underlay's flow
 * says. */
static void test_vxlan_pop(void)
{
    const uint64_t dp = tunnel_dp("pop", "vxlan", "");
    const struct nest key = tunnel_nest(0x7b, NULL, LOCAL4);
    struct nest mask = { 0 };
    uint8_t actions[16];
    const uint32_t three = 3;

    nest_put(&mask, 0, any, 8);
    nest_put(&mask, 2, any, 4);
    nest_put(&mask, 4, "\0", 1);
    put_flow(dp, 10, 0x0800, &key, &mask, actions, fixture_attribute(actions, ATTR_OUTPUT, &three, 4));
    put_output(dp, 2, 0x0800, 1);
#define FROM_REMOTE "aa55aa550000f8bc124434b60800"
    inject(dp, 2, FROM_REMOTE "4500004e00004000401133f0" "0101025601010258" "15b312b5003a0000" "0800000000007b00" INNER);
    expect_at(dp, 3, INNER);
    /* With padding of Ethernet, which goes. */
    inject(dp, 2, FROM_REMOTE "4500004e00004000401133f0" "0101025601010258" "15b312b5003a0000" "0800000000007b00" INNER "00000000");
    expect_at(dp, 3, INNER);
    /* To another address, or another UDP port: nobody's. */
    inject(dp, 2, FROM_REMOTE "4500004e00004000401133ef" "0101025601010259" "15b312b5003a0000" "0800000000007b00" INNER);
    expect_at(dp, 1, FROM_REMOTE "4500004e00004000401133ef" "0101025601010259" "15b312b5003a0000" "0800000000007b00" INNER);
    inject(dp, 2, FROM_REMOTE "4500004e00004000401133f0" "0101025601010258" "15b312b6003a0000" "0800000000007b00" INNER);
    expect_at(dp, 1, FROM_REMOTE "4500004e00004000401133f0" "0101025601010258" "15b312b6003a0000" "0800000000007b00" INNER);
    /* What is wrong is dropped under its name. */
    inject(dp, 2, FROM_REMOTE "4500004e00004000401133f0" "0101025601010258" "15b312b5003a0000" "0000000000007b00" INNER);
    EVENTUALLY(fixture_drops(dp, "tunnel") == 1);
    inject(dp, 2, FROM_REMOTE "4500004e00004000401133f0" "0101025601010258" "15b312b5003a0000" "0c00000000007b00" INNER);
    EVENTUALLY(fixture_drops(dp, "tunnel_option") == 1);
    inject(dp, 2, FROM_REMOTE "4500004e00004000401133f0" "0101025601010258" "15b312b5003a1234" "0800000000007b00" INNER);
    EVENTUALLY(fixture_drops(dp, "tunnel_checksum") == 1);
    inject(dp, 2, FROM_REMOTE "4500004e00004000401133f1" "0101025601010258" "15b312b5003a0000" "0800000000007b00" INNER);
    EVENTUALLY(fixture_drops(dp, "tunnel_checksum") == 2);
    inject(dp, 2, FROM_REMOTE "4500004e00004000401133f0" "0101025601010258" "15b312b500070000" "0800000000007b00" INNER);
    EVENTUALLY(fixture_drops(dp, "tunnel") == 2);
    inject(dp, 2, FROM_REMOTE "4503004e00004000401133ed" "0101025601010258" "15b312b5003a0000" "0800000000007b00"
           "50540000000b505400000009080045b4001c000140002611401a0a0000010a0000020035003600080000");
    EVENTUALLY(fixture_drops(dp, "tunnel_ecn") == 1);
    /* Congestion goes inside where it can. */
    inject(dp, 2, FROM_REMOTE "4503004e00004000401133ed" "0101025601010258" "15b312b5003a0000" "0800000000007b00"
           "50540000000b505400000009080045ba001c00014000261140140a0000010a0000020035003600080000");
    expect_at(dp, 3, "50540000000b505400000009080045bb001c00014000261140130a0000010a0000020035003600080000");
    OK(dp_close(dp));
}

/* UDP over IPv6 without a checksum: taken only where the port's options say that there is none, as by
 * Linux's devices, or by Open vSwitch's action, which asks for none. */
static void test_no_sum6(void)
{
    static const char *const types[] = { "vxlan", "geneve" }, *const headers[] = { "0800000000007b00", "0000655800007b00" };
    static const char *const ports[] = { "12b5", "17c1" }, *const ours[] = { "88", "89" };
    const uint32_t ten = 10;
    char frame[512];
    uint8_t actions[16];

    for (int i = 0; i < 2; i++) {
        for (int none = 0; none < 2; none++) {
            const uint64_t dp = tunnel_dp("nosum", types[i], none ? "csum=false" : "");

            put_output(dp, 10, 0x0800, 3);
            put_flow(dp, 2, 0x86dd, NULL, NULL, actions, fixture_attribute(actions, ATTR_TNL_POP, &ten, 4));
            for (int other = 0; other < 2; other++) {
                snprintf(frame, sizeof frame, "%s%s" "86dd60000000003a1140" "2001cafe000000000000000000000092" "2001cafe0000000000000000000000%s"
                         "cf0a%s003a0000%s" INNER, LOCAL_MAC, REMOTE_MAC, ours[other], ports[i], headers[i]);
                inject(dp, 2, frame);
                if (none || other)
                    expect_at(dp, 3, INNER);
                else
                    EVENTUALLY(fixture_drops(dp, "tunnel_checksum") == 1);
            }
            OK(dp_close(dp));
        }
    }
}

/* What a program sends to a host goes through the same eyes (DP_TNL_LOCAL_SENT); tunnels in
 * tunnels, and through themselves. */
static void test_sent_and_depth(void)
{
    const uint64_t dp = tunnel_dp("sent", "vxlan", "");
    struct dp_tnl_local local = { .port = 0, .flags = DP_TNL_LOCAL_SENT, .family = DP_TNL_IPV4 };
    struct dp_tnl_hop hop = hop_to(10, REMOTE4, LOCAL4);
    struct nest nest = tunnel_nest(1, NULL, REMOTE4);
    static struct bytes frame;
    uint8_t actions[1024];
    const uint32_t zero = 0;

    address(LOCAL4, local.address);
    OK(dp_tnl_locals_set(dp, &local, 1));
    put_output(dp, 10, 0x0800, 3);
    from_hex(FROM_REMOTE "4500004e00004000401133f0" "0101025601010258" "15b312b5003a0000" "0800000000007b00" INNER, &frame);
    EQUAL(run(dp, &frame, actions, fixture_attribute(actions, ATTR_OUTPUT, &zero, 4)), 0);
    expect_at(dp, 3, INNER);
    CHECK(!collect(dp, 0, &frame));
    /* Looked up as received from port 0, where the flow sends it by the tunnel again. */
    hop.underlay = 0;
    hop.flags = DP_TNL_HOP_RECEIVED;
    OK(dp_tnl_hop_set(dp, &hop));
    put_flow(dp, 0, 0x0800, NULL, NULL, actions, send_actions(actions, &nest, 10));
    send_by(dp, 10, &nest, INNER);
    EQUAL(fixture_drops(dp, "tunnel_depth"), 1);
    /* Or straight: the tunnel is its own underlay. */
    hop.underlay = 10;
    hop.flags = 0;
    OK(dp_tnl_hop_set(dp, &hop));
    put_flow(dp, 1, 0x0800, NULL, NULL, actions, send_actions(actions, &nest, 10));
    send_by(dp, 10, &nest, INNER);
    EVENTUALLY(fixture_drops(dp, "tunnel_no_remote") == 1);
    OK(dp_close(dp));
}

/* Requests and replies that concern us, and nothing else. */
static void test_neighbours(void)
{
    const uint64_t dp = tunnel_dp("neighbours", "vxlan", "");
    struct dp_tnl_watch_info info;
    struct dp_tnl_event events[8];
    uint8_t peer[16];
    uint32_t count;

    put_output(dp, 2, 0x0806, 1);
    OK(dp_tnl_watch(dp, &info));
    address(REMOTE4, peer);
    inject(dp, 2, LOCAL_MAC REMOTE_MAC "0806" "0001080006040002" REMOTE_MAC "0101025c" LOCAL_MAC "01010258");
    expect_at(dp, 1, LOCAL_MAC REMOTE_MAC "0806" "0001080006040002" REMOTE_MAC "0101025c" LOCAL_MAC "01010258");
    OK(dp_tnl_events(info.watch, 8, events, &count));
    EQUAL(count, 1);
    EQUAL(events[0].kind, DP_TNL_NEIGHBOUR);
    EQUAL(events[0].port, 2);
    CHECK(!memcmp(events[0].src, peer, 16) && events[0].mac[0] == 0xf8 && events[0].mac[5] == 0xb6);
    inject(dp, 2, LOCAL_MAC REMOTE_MAC "0806" "0001080006040002" REMOTE_MAC "0101025c" LOCAL_MAC "01010259"); /* To another. */
    expect_at(dp, 1, LOCAL_MAC REMOTE_MAC "0806" "0001080006040002" REMOTE_MAC "0101025c" LOCAL_MAC "01010259");
    OK(dp_tnl_events(info.watch, 8, events, &count));
    EQUAL(count, 0);
    /* A neighbour solicitation for us, as Linux sends it. */
    inject(dp, 2, "3333ff000088" REMOTE_MAC "86dd" "6000000000203aff" "2001cafe000000000000000000000092" "ff0200000000000000000001ff000088"
           "8700" "6246" "00000000" "2001cafe000000000000000000000088" "0101" REMOTE_MAC);
    EVENTUALLY(!dp_tnl_events(info.watch, 8, events, &count) && count == 1);
    address(REMOTE6, peer);
    EQUAL(events[0].family, DP_TNL_IPV6);
    CHECK(!memcmp(events[0].src, peer, 16));
    OK(dp_tnl_watch_close(info.watch));
    OK(dp_close(dp));
}

int main(void)
{
    static void (*const tests[])(void) = { test_vxlan_push, test_hops, test_vxlan_pop, test_no_sum6, test_sent_and_depth, test_neighbours };

    return fixture_run(tests, sizeof tests / sizeof tests[0]);
}
