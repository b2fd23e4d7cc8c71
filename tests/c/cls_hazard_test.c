/* SPDX-License-Identifier: Apache-2.0
 * link: everything
 * eal: yes
 * sanitize: address
 *
 * The known ways in which a classifier of masked flows goes wrong, each as a test, for every build of the lookup.
 * Numbers 11 to 13 are in cls_attack_test.c. */
#include <errno.h>
#include <rte_mbuf.h>

#include "path/burst.h"
#include "hazard_fixture.h"
#include "odp/odp.h"
#include "path/tx.h"
#include "pmd/pmd_int.h"
#include "port/port.h"

/* The union of masks grows and shrinks; flows of all masks are found at each step, also under an index that was another flow's. */
static void hazard_1_union_changes(void)
{
    uint8_t frame[FRAME_MAX], other[FRAME_MAX];
    uint32_t size = frame_named("IPv4 UDP", frame);
    struct key narrow, wide;

    memcpy(other, frame, size);
    other[5] ^= 1;
    other[30] ^= 0x10;
    always(&narrow);
    narrow.base.ip4_dst = 0xff;
    always(&wide);
    memset(wide.base.eth_dst, 0xff, 6);
    wide.base.tp_src = wide.base.tp_dst = 0xffff;
    for (int round = 0; round < 20; round++) {
        add(1, frame, size, 1, &narrow);
        CHECK(find(frame, size, 1) == 1 && find(other, size, 1) == 0);
        add(2, other, size, 1, &wide);
        CHECK(find(frame, size, 1) == 1 && find(other, size, 1) == 2);
        CHECK(view_of(1)->mask.base.tp_src == 0xffff);
        cls_remove(cls, 2);
        CHECK(find(frame, size, 1) == 1 && find(other, size, 1) == 0);
        CHECK(!view_of(1)->mask.base.tp_src && view_of(1)->single);
        rcu_synchronize(rcu);
        add(2, other, size, 1, &narrow); /* The index again, in another table. */
        CHECK(find(other, size, 1) == 2);
        cls_remove(cls, 1);
        cls_remove(cls, 2);
        CHECK(!find(frame, size, 1) && !view_of(1));
        rcu_synchronize(rcu);
    }
}

/* What always counts does so under an empty mask too; one port's flows neither match nor widen another's. */
static void hazard_2_always_in_the_key(void)
{
    uint8_t frame[FRAME_MAX], fragment[FRAME_MAX], ip6[FRAME_MAX], tagged[FRAME_MAX];
    uint32_t size = frame_named("IPv4 UDP", frame), fragment_size = frame_named("IPv4 later fragment", fragment);
    uint32_t ip6_size = frame_named("IPv6 UDP", ip6), tagged_size = frame_named("802.1Q", tagged);
    struct key key, mask, all;
    const char *why;

    key_of(frame, size, 1, &key);
    CHECK(odp_mask_read((const uint8_t *)"\x08\x00\x03\x00\xff\xff\xff\xff", 8, &key, &mask, &why) == 0); /* in_port only. */
    add(1, frame, size, 1, &mask);
    CHECK(find(frame, size, 1) == 1 && find(fragment, fragment_size, 1) == 1);
    CHECK(!find(ip6, ip6_size, 1) && !find(tagged, tagged_size, 1));
    cls_remove(cls, 1);
    rcu_synchronize(rcu);
    CHECK(odp_mask_read((const uint8_t *)"", 0, &key, &mask, &why) == 0); /* Nothing. */
    add(1, frame, size, 1, &mask);
    CHECK(find(frame, size, 1) == 1);
    CHECK(!find(fragment, fragment_size, 1) && !find(ip6, ip6_size, 1) && !find(tagged, tagged_size, 1));
    CHECK(!find(frame, size, 2));
    memset(&all, 0xff, sizeof all);
    add(2, frame, size, 2, &all);
    CHECK(find(frame, size, 2) == 2 && find(frame, size, 1) == 1);
    CHECK(!view_of(1)->mask.base.tp_src && view_of(1)->blocks == 1 && view_of(2)->blocks == (1u << KEY_BLOCKS) - 1);
    cls_remove(cls, 1);
    cls_remove(cls, 2);
}

/* No tag and a tag of VLAN 0 differ; so do TPIDs where the mask looks at them. */
static void hazard_3_vlan(void)
{
    uint8_t plain[FRAME_MAX], tagged[FRAME_MAX];
    uint32_t size = frame_named("IPv4 TCP", plain), tagged_size = frame_named("802.1Q", tagged);
    struct key mask;

    tagged[14] = tagged[15] = 0;
    always(&mask);
    add(1, plain, size, 1, &mask);
    CHECK(find(plain, size, 1) == 1 && !find(tagged, tagged_size, 1));
    add(2, tagged, tagged_size, 1, &mask);
    CHECK(find(plain, size, 1) == 1 && find(tagged, tagged_size, 1) == 2);
    tagged[14] = 0x0f;
    CHECK(find(tagged, tagged_size, 1) == 2);
    cls_remove(cls, 2);
    mask.base.vlan[0].tpid = 0xffff;
    add(3, tagged, tagged_size, 1, &mask);
    CHECK(find(tagged, tagged_size, 1) == 3);
    tagged[12] = 0x88;
    tagged[13] = 0xa8;
    CHECK(!find(tagged, tagged_size, 1));
    cls_remove(cls, 1);
    cls_remove(cls, 3);
}

/* First fragments have ports, later ones do not; an atomic one is none. */
static void hazard_4_fragments(void)
{
    static const char *const names[] = { "IPv4 UDP", "IPv4 first fragment", "IPv4 later fragment", "IPv6 UDP", "IPv6 first fragment",
                                         "IPv6 later fragment" };
    uint8_t frame[FRAME_MAX];
    uint32_t size;
    struct key key, mask;

    always(&mask);
    mask.base.nw_proto = 0xff;
    mask.base.tp_src = mask.base.tp_dst = 0xffff;
    for (uint32_t i = 0; i < 6; i++) {
        size = frame_named(names[i], frame);
        add(1 + i, frame, size, 1, &mask);
        key_of(frame, size, 1, &key);
        CHECK(key.base.nw_frag == i % 3 && !key.base.tp_src == (i % 3 == 2));
    }
    for (uint32_t i = 0; i < 6; i++) {
        size = frame_named(names[i], frame);
        CHECK(find(frame, size, 1) == 1 + i);
    }
    size = frame_named("IPv6 atomic fragment", frame);
    CHECK(find(frame, size, 1) == 4);
    for (uint32_t i = 0; i < 6; i++)
        cls_remove(cls, 1 + i);
}

/* What follows a packet in its buffer (the packet before, say) is no part of it. */
static void hazard_5_stale_bytes(void)
{
    struct key mask;

    memset(&mask, 0xff, sizeof mask);
    for (uint32_t i = 0; i < FRAMES; i++) {
        uint8_t frame[FRAME_MAX], stale[FRAME_MAX];
        uint32_t size = frame_get(i, frame);

        for (uint32_t cut = EXTRACT_RUNT; cut <= size; cut++) {
            const struct pkt_md md = { .in_port = 1 };
            uint16_t tcp_flags;
            struct packet p;
            uint32_t flow;

            add(1, frame, cut, 1, &mask);
            memcpy(stale, frame, size);
            memset(stale + cut, 0x5a + (int)(cut % 7), sizeof stale - cut);
            p = packet_create(stale, sizeof stale);
            p.m->data_len = (uint16_t)cut;
            p.m->pkt_len = cut;
            cls_lookup(replica, 1, 0, &p.m, 1, &md, &flow, &tcp_flags, &stat);
            CHECK(flow == 1);
            packet_free(&p);
            cls_remove(cls, 1);
        }
        rcu_synchronize(rcu);
    }
}

/* TCP flags are told though no mask looks beyond layer 2. */
static void hazard_6_tcp_flags(void)
{
    static const char *const names[] = { "IPv4 TCP", "IPv6 TCP", "802.1Q", "802.1ad with IPv6", "IPv4 UDP", "ARP request" };
    struct key mask;

    memset(&mask, 0, sizeof mask);
    mask.base.l2 = 0xff;
    for (uint32_t i = 0; i < 6; i++) {
        uint8_t frame[FRAME_MAX];
        uint32_t size = frame_named(names[i], frame);

        add(1, frame, size, 1, &mask);
        CHECK(find(frame, size, 1) == 1 && last_flags == (i < 4 ? 0x018 : 0));
        cls_remove(cls, 1);
    }
}

/* Tunnel metadata counts for who asks for it, and only then. */
static void hazard_7_tunnel(void)
{
    uint8_t frame[FRAME_MAX];
    uint32_t size = frame_named("IPv4 UDP", frame), flow;
    struct packet p = packet_create(frame, size);
    uint16_t tcp_flags;
    struct key key, mask;

    always(&mask);
    mask.tunnel.id = UINT64_MAX;
    pkt_of(p.m)->md.in_port = 1;
    pkt_of(p.m)->md.more = PKT_MORE_TUNNEL;
    pkt_of(p.m)->tunnel.id = 42;
    packet_key(&p, NULL, &key);
    CHECK(cls_insert(cls, 1, &key, &mask, act_verdict(program)) == 0);
    cls_lookup(replica, 1, 0, &p.m, 1, NULL, &flow, &tcp_flags, &stat);
    CHECK(flow == 1 && !find(frame, size, 1));
    pkt_of(p.m)->tunnel.id = 43;
    cls_lookup(replica, 1, 0, &p.m, 1, NULL, &flow, &tcp_flags, &stat);
    CHECK(!flow);
    mask.tunnel.id = 0;
    CHECK(cls_insert(cls, 2, &key, &mask, act_verdict(program)) == 0);
    cls_lookup(replica, 1, 0, &p.m, 1, NULL, &flow, &tcp_flags, &stat);
    CHECK(flow == 2 && find(frame, size, 1) == 2);
    cls_remove(cls, 1);
    cls_remove(cls, 2);
    packet_free(&p);
}

/* Where two flows overlap, what is found is one of them, the other as soon as that is gone, and never one that is gone. */
static void hazard_8_overlap(void)
{
    uint8_t frame[FRAME_MAX];
    uint32_t size = frame_named("IPv4 UDP", frame), first, second;
    struct key mask, wide;

    always(&mask);
    wide = mask;
    mask.base.ip4_dst = 0xffff;
    add(1, frame, size, 1, &mask);
    add(2, frame, size, 1, &wide);
    first = find(frame, size, 1);
    CHECK(first == 1 || first == 2);
    cls_remove(cls, first);
    second = find(frame, size, 1);
    CHECK(second == 3 - first);
    cls_remove(cls, second);
    CHECK(!find(frame, size, 1));
}

static uint64_t sent;

static uint16_t count_sent(struct port *port, uint16_t queue, struct rte_mbuf **packets, uint16_t n)
{
    (void)port;
    (void)queue;
    sent += n;
    rte_pktmbuf_free_bulk(packets, n);
    return n;
}

/* A runt between equal packets: it is dropped, they are not. */
static void hazard_9_runt_between_equals(void)
{
    static const struct port_class class = { .type = "sink", .tx_burst = count_sent };
    static struct port_txq txq;
    static struct port port = { .class = &class, .txqs = &txq, .txq_count = 1, .mtu = 1500, .no = 1 };
    static struct worker_tx tx = { .port = &port, .no = 1 };
    const struct pkt_md md = { .in_port = 1 };
    struct rte_mempool *pool = rte_pktmbuf_pool_create("hazard9", 255, 0, sizeof(struct pkt), 2048, SOCKET_ID_ANY);
    static struct stat_counters counters;
    struct rte_mbuf *packets[WORKER_BURST];
    static struct worker worker;
    uint8_t frame[FRAME_MAX];
    uint32_t size = frame_named("IPv4 UDP", frame);
    struct cls_counters sum;
    struct key mask;

    if (!pool || worker_init(&worker, &counters, 1, 0))
        abort();
    memset(&counters, 0, sizeof counters);
    atomic_store(&worker.tx[1], &tx);
    worker.replica = replica;
    always(&mask);
    add(1, frame, size, 1, &mask);
    for (uint32_t n = 1; n <= WORKER_BURST; n++) {
        for (uint32_t i = 0; i < n; i++) {
            packets[i] = rte_pktmbuf_alloc(pool);
            memcpy(rte_pktmbuf_append(packets[i], i % 3 == 1 ? 13 : (uint16_t)size), frame, i % 3 == 1 ? 13 : size);
        }
        burst_receive(&worker, packets, n, &md);
        tx_flush(&worker);
    }
    CHECK(sent == counters.hit && counters.drops[DROP_rx_runt] + sent == WORKER_BURST * (WORKER_BURST + 1) / 2);
    CHECK(counters.drops[DROP_rx_runt] == 176);
    cls_counters(cls, 1, &sum);
    CHECK(sum.packets == sent && sum.bytes == sent * size && sum.used_ms);
    CHECK(rte_mempool_in_use_count(pool) == 0);
    cls_remove(cls, 1);
    sent = 0;
    worker_fini(&worker);
    rte_mempool_free(pool);
}

/* Nothing is assumed of what a mask leaves open: ports without the protocol, some bits of a byte that prunes. */
static void hazard_10_nothing_implied(void)
{
    uint8_t tcp[FRAME_MAX], udp[FRAME_MAX];
    uint32_t tcp_size = frame_named("IPv4 TCP", tcp), udp_size = frame_named("IPv4 UDP", udp);
    struct key mask;

    memcpy(udp + 34, tcp + 34, 4); /* The same ports. */
    always(&mask);
    mask.base.tp_dst = 0xffff;
    add(1, tcp, tcp_size, 1, &mask);
    CHECK(find(tcp, tcp_size, 1) == 1 && find(udp, udp_size, 1) == 1);
    for (uint32_t bits = 0; bits < 8; bits++) { /* Eight masks, each of one bit of one byte, and a flow for each value. */
        always(&mask);
        mask.base.tp_dst = 0xffff;
        mask.base.ip4_dst = (1u << bits) << 24;
        for (uint32_t value = 0; value < 2; value++) {
            tcp[36] = (uint8_t)(100 + bits);
            tcp[33] = (uint8_t)(value << bits);
            add(2 + 2 * bits + value, tcp, tcp_size, 1, &mask);
        }
    }
    CHECK(view_of(1)->prune_n > 0);
    for (uint32_t bits = 0; bits < 8; bits++) {
        for (uint32_t byte = 0; byte < 256; byte++) {
            tcp[36] = (uint8_t)(100 + bits);
            tcp[33] = (uint8_t)byte;
            CHECK(find(tcp, tcp_size, 1) == 2 + 2 * bits + (byte >> bits & 1));
        }
    }
    for (uint32_t flow = 1; flow < 18; flow++)
        cls_remove(cls, flow);
}

int main(void)
{
    static void (*const hazards[])(void) = {
        hazard_1_union_changes, hazard_2_always_in_the_key, hazard_3_vlan, hazard_4_fragments, hazard_5_stale_bytes, hazard_6_tcp_flags,
        hazard_7_tunnel, hazard_8_overlap, hazard_10_nothing_implied, hazard_9_runt_between_equals,
    };
    const bool eal = dp_eal_start() == 0; /* The last one needs a pool. */

    for_each_build(hazards, sizeof hazards / sizeof hazards[0] - !eal);
    if (!eal && !failures) {
        printf("EAL\n");
        return 77;
    }
    return failures != 0;
}
