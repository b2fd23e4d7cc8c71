/* SPDX-License-Identifier: Apache-2.0
 * What strangers send and what programs ask of tunnels, to the limits: floods of events, as many
 * next hops as there can be, more ports than a list of them holds, what devices say of packets.
 *
 * link: everything */
#include <errno.h>

#include <rte_mbuf.h>

#include "packet/eal_packet.h"
#include "tnl_fixture.h"
#include "tnl/tnl_pop_int.h"

#define FLOOD 6000u

static void inject_patiently(uint64_t dp, uint32_t port, const struct bytes *frame)
{
    EVENTUALLY(!dp_dummy_inject(dp, port, frame->at, frame->size));
}

/* Whether a question about a remote end is among the events. */
static bool is_asked(uint64_t watch)
{
    static struct dp_tnl_event events[DP_TNL_EVENTS];
    uint32_t count, asked = 0;

    OK(dp_tnl_events(watch, DP_TNL_EVENTS, events, &count));
    for (uint32_t i = 0; i < count; i++)
        asked += events[i].kind == DP_TNL_ASK;
    return asked == 1;
}

/* Routers that nobody knows say how large packets to thousands may be, and hosts who they are: next
 * hops are still asked for. */
static void test_flood_of_events(void)
{
    const uint64_t dp = tunnel_dp("flood", "vxlan", "");
    const struct nest far = tunnel_nest(5, NULL, "1.1.2.94"), farther = tunnel_nest(5, NULL, "1.1.2.95");
    struct dp_tnl_watch_info info;
    static struct bytes frame;
    uint8_t actions[4];

    put_flow(dp, 2, 0x0800, NULL, NULL, actions, 0);
    put_flow(dp, 2, 0x0806, NULL, NULL, actions, 0);
    OK(dp_tnl_watch(dp, &info));
    from_hex("aa55aa550000f8bc124434b60800" "45000038000000004001" "0000" "0a00000101010258" "03040000" "00000578"
             "4500004e00004000401133ea" "0101025801010200" "15b312b5003a0000", &frame);
    for (uint32_t i = 0; i < FLOOD; i++) {
        frame.at[60] = (uint8_t)(i >> 8); /* The destination of what is quoted. */
        frame.at[61] = (uint8_t)i;
        inject_patiently(dp, 2, &frame);
    }
    EVENTUALLY(fixture_drops(dp, "action") == FLOOD);
    send_by(dp, 10, &far, INNER);
    CHECK(is_asked(info.watch));
    from_hex("ffffffffffff" REMOTE_MAC "0806" "0001080006040001" REMOTE_MAC "01010000" LOCAL_MAC "01010000", &frame);
    for (uint32_t i = 0; i < FLOOD; i++) {
        frame.at[30] = frame.at[40] = (uint8_t)(i >> 8);
        frame.at[31] = frame.at[41] = (uint8_t)i;
        inject_patiently(dp, 2, &frame);
    }
    EVENTUALLY(fixture_drops(dp, "action") == 2 * FLOOD);
    send_by(dp, 10, &farther, INNER);
    CHECK(is_asked(info.watch));
    OK(dp_tnl_watch_close(info.watch));
    OK(dp_close(dp));
}

/* A full table takes no more, and what is in it can change. */
static void test_full_table(void)
{
    const uint64_t dp = tunnel_dp("full", "vxlan", "");
    struct dp_tnl_hop hop = hop_to(10, "10.0.0.0", LOCAL4), listed;
    uint32_t at = 0, changed = 0;

    for (uint32_t i = 0; i < DP_TNL_HOPS - 2; i++) { /* Two are there. */
        hop.key.dst[2] = (uint8_t)(i >> 8);
        hop.key.dst[3] = (uint8_t)i;
        OK(dp_tnl_hop_set(dp, &hop));
    }
    hop.header[5] = 0x99; /* The neighbour's device was exchanged. */
    OK(dp_tnl_hop_set(dp, &hop));
    while (!dp_tnl_hop_next(dp, &at, &listed))
        changed += listed.header[5] == 0x99;
    EQUAL(changed, 1);
    hop.key.dst[1] = 1;
    EQUAL(dp_tnl_hop_set(dp, &hop), ENOSPC);
    OK(dp_close(dp));
}

/* What a device found right about an outer packet says nothing of the packet inside. */
static void test_device_sums(void)
{
    const struct tunnel_config config = { .kind = TUNNEL_VXLAN, .dst_port = 4789 };
    const uint64_t said = RTE_MBUF_F_RX_IP_CKSUM_GOOD | RTE_MBUF_F_RX_L4_CKSUM_GOOD;
    struct tnl_seen seen;
    struct tnl_found found;
    static struct bytes frame;
    struct rte_mbuf *m;

    from_hex("aa55aa550000f8bc124434b60800" "4500004e00004000401133f0" "0101025601010258" "15b312b5003a0000" "0800000000007b00" INNER, &frame);
    EQUAL(eal_packets_take(&m, 1), 1);
    m = eal_packet_fill(m, frame.at, frame.size);
    CHECK(m);
    m->ol_flags |= said;
    CHECK(tnl_see(m, &seen));
    EQUAL(tnl_read(&config, m, &seen, &found), TNL_NO_DROP);
    EQUAL(tnl_strip(m, &seen, &found, 10), TNL_NO_DROP);
    EQUAL(m->pkt_len, 42);
    EQUAL(m->ol_flags & said, 0);
    rte_pktmbuf_free(m);
}

#define MANY 1024u                   /* As many as a list of ports to flush has. */

/* A tunnel sends by a port that is not on the list of those to flush, which is full: it is sent by
 * all the same, now and later. */
static void test_full_list(void)
{
    const uint64_t dp = tunnel_dp("list", "vxlan", "remote_ip=1.1.2.92");
    static uint8_t actions[(MANY + 1) * 8], ops[(MANY + 1) * 8 + 4096];
    struct dp_op op = { .type = DP_OP_EXECUTE };
    static struct bytes frame;
    uint32_t ports = 1;

    for (uint32_t no = 10; ports <= MANY; no++) {
        char name[16];

        snprintf(name, sizeof name, "m%u", no);
        if (no > 10)
            OK(fixture_port(dp, no, name, "dummy", "", NULL));
        op.actions_size += fixture_attribute(actions + op.actions_size, ATTR_OUTPUT, &no, 4);
        ports++;
    }
    from_hex(INNER, &frame);
    op.packet_size = frame.size;
    for (int i = 0; i < 2; i++) {
        EQUAL(fixture_operate(dp, ops, fixture_append(ops, &op, NULL, actions, frame.at)), 0);
        collected(dp, 2, &frame);
        EQUAL(frame.size, 92);
        from_hex(INNER, &frame);
    }
    OK(dp_close(dp));
}

int main(void)
{
    static void (*const tests[])(void) = { test_flood_of_events, test_full_table, test_device_sums, test_full_list };

    return fixture_run(tests, sizeof tests / sizeof tests[0]);
}
