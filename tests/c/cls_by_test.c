/* SPDX-License-Identifier: Apache-2.0
 * link: act/act_*.c cls/cls*.c packet/csum.c base/error.c packet/extract.c packet/partial.c base/hash.c base/rcu.c base/slab.c base/stat.c packet/userdata.c base/mem.c odp/odp_*.c tnl/tnl_ready.c
 * eal: yes
 * sanitize: address
 *
 * Packets that came by one tunnel, looked up together: the flows are those that each packet has by what its own struct pkt says. */
#include "hazard_fixture.h"

#define FLOWS 40u

static bool inserted[FLOWS + 3];

/* What all packets have in common outside. */
static void make_common(struct pkt *by)
{
    memset(by, 0, sizeof *by);
    by->md = (struct pkt_md){ .in_port = 1, .more = PKT_MORE_TUNNEL };
    by->tunnel.id = rnd(3);
    by->tunnel.src.ip4 = rnd(3);
    by->tunnel.dst.ip4 = 7;
    by->tunnel.family = 4;
    by->tunnel.flags = KEY_TUNNEL_KEY;
    by->tunnel.tos = (uint8_t)rnd(2);
    by->tunnel.options_size = (uint8_t)(8 * rnd(3));
    for (uint32_t i = 0; i < by->tunnel.options_size; i++)
        by->options[i] = (uint8_t)rnd(2);
}

static struct packet packet_by(const struct pkt *by)
{
    static const char *const names[] = { "IPv4 UDP", "IPv4 TCP", "IPv6 UDP", "IPv6 TCP", "ARP request" };
    uint8_t frame[FRAME_MAX];
    struct packet packet;
    uint32_t size = frame_named(names[rnd(8) ? 0 : rnd(5)], frame);

    frame[5] = (uint8_t)rnd(3);
    packet = packet_create(frame, size);
    pkt_of(packet.m)->md = by->md;
    pkt_of(packet.m)->tunnel = by->tunnel;
    pkt_of(packet.m)->tunnel.tp_src = (uint16_t)rnd(3);
    memcpy(pkt_of(packet.m)->options, by->options, by->tunnel.options_size);
    return packet;
}

static void add_one(uint32_t flow, bool port)
{
    struct key key, mask;
    struct packet packet;
    struct pkt by;

    make_common(&by);
    packet = packet_by(&by);
    packet_key(&packet, NULL, &key);
    packet_free(&packet);
    always(&mask);
    mask.base.eth_dst[5] = rnd(2) ? 0xff : 0;
    mask.tunnel.id = rnd(2) ? UINT64_MAX : 0;
    mask.tunnel.src.ip4 = rnd(2) ? UINT32_MAX : 0;
    mask.tunnel.tos = rnd(2) ? 0xff : 0;
    mask.tunnel.tp_src = port ? 0xffff : 0;
    if (rnd(2)) {
        mask.tunnel.options_size = 0xff;
        memset(mask.options, 0xff, 1 + rnd(16));
    }
    inserted[flow] = !cls_find(cls, &key);
    if (inserted[flow])
        CHECK(!cls_insert(cls, flow, &key, &mask, act_verdict(program)));
}

/* Finds the same; returns how many had a flow. */
static uint32_t compare(void)
{
    const uint32_t n = 1 + rnd(CLS_BURST);
    struct packet packets[CLS_BURST];
    struct rte_mbuf *mbufs[CLS_BURST];
    uint16_t tcp_flags[CLS_BURST], alone_flags[CLS_BURST];
    uint32_t flows[CLS_BURST], alone[CLS_BURST], found = 0;
    struct pkt by;
    bool whole;

    make_common(&by);
    for (uint32_t i = 0; i < n; i++) {
        packets[i] = packet_by(&by);
        mbufs[i] = packets[i].m;
    }
    cls_lookup(replica, 1, 0, mbufs, n, NULL, alone, alone_flags, &stat);
    for (uint32_t i = 0; i < n; i++) /* Nothing is written there when this is asked. */
        memset(pkt_of(mbufs[i]), 0xee, sizeof(struct pkt));
    CHECK(cls_lookup_by(replica, &by, mbufs, n, flows, tcp_flags, &stat, &whole));
    for (uint32_t i = 0; i < n; i++) {
        CHECK(flows[i] == alone[i] && tcp_flags[i] == alone_flags[i]);
        CHECK(!whole || flows[i] == flows[0]);
        found += flows[i] != 0;
        packet_free(&packets[i]);
    }
    return found;
}

static void test_by(void)
{
    uint16_t flags;
    uint32_t flow, found = 0, flows = 1;
    struct packet packet;
    struct pkt by;
    bool whole;

    memset(inserted, 0, sizeof inserted);
    for (uint32_t round = 0; round < 400; round++) {
        if (round % 10 == 0 && flows <= FLOWS)
            add_one(flows++, false);
        found += compare();
    }
    CHECK(found > 1000 && found < 400 * 16);
    /* What differs cannot be in common. */
    for (int tries = 0; tries < 1000 && !inserted[FLOWS + 1]; tries++)
        add_one(FLOWS + 1, true);
    CHECK(inserted[FLOWS + 1]);
    make_common(&by);
    packet = packet_by(&by);
    CHECK(!cls_lookup_by(replica, &by, &packet.m, 1, &flow, &flags, &stat, &whole));
    packet_free(&packet);
    for (uint32_t i = 0; i < FLOWS + 3; i++)
        if (inserted[i])
            cls_remove(cls, i);
}

int main(void)
{
    static void (*const tests[])(void) = { test_by };

    for_each_build(tests, 1);
    return failures != 0;
}
