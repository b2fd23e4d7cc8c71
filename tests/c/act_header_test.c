/* SPDX-License-Identifier: Apache-2.0
 * link: act/act_build*.c act/act_known.c act/act_ct.c base/hash.c base/mem.c ct/ct*.c ipf/ipf*.c packet/eal_hold.c act/act_compile.c act/act_frame.c act/act_hash.c act/act_header.c act/act_set.c packet/csum.c packet/extract.c packet/partial.c odp/odp_*.c packet/userdata.c tnl/tnl_ready.c tnl/tnl_inner.c tnl/tnl_outer.c tnl/tnl_pop.c tnl/tnl_bundle.c tnl/tnl_read.c segment/segment_merge.c packet/worker.c record/record.c
 * eal: yes
 * sanitize: address
 *
 * Headers in front of packets: what is refused and where the text says so, room for them, and what
 * ends a packet under which name; every mbuf accounted for. */
#include "act_fixture.h"

static int compile(const struct act_list_text *list, struct act_prog **prog)
{
    const char *why;

    return act_compile(list->bytes, list->size, NULL, prog, &why);
}

static void expect_why(const struct act_list_text *l, const struct key *key, const char *wanted)
{
    struct act_prog *prog = NULL;
    const char *why = "accepted";
    int error = act_compile(l->bytes, l->size, key, &prog, &why);

    if (strcmp(why, wanted) || error != (strcmp(wanted, "accepted") ? EINVAL : 0)) {
        fprintf(stderr, "\"%s\" instead of \"%s\"\n", why, wanted);
        failures++;
    }
    act_free(prog);
}

/* What a packet must have is asked for where it is used, and the text says where that is. */
static void test_prerequisites(void)
{
    struct key udp = { .base = { .eth_type = ODP_BE16(0x0800), .nw_proto = 17 } }, any = { .base = { .eth_type = ODP_BE16(0x0800) } };
    struct act_list_text l = { .size = 0 };
    uint32_t nest, inner;

    al_u32(&l, OVS_ACTION_ATTR_OUTPUT, 1);
    inner = al_begin(&l, OVS_ACTION_ATTR_CLONE);
    al_u32(&l, OVS_ACTION_ATTR_OUTPUT, 1);
    nest = al_begin(&l, OVS_ACTION_ATTR_SET);
    al_add(&l, OVS_KEY_ATTR_UDP, 4);
    al_end(&l, nest);
    al_end(&l, inner);
    expect_why(&l, &udp, "accepted");
    expect_why(&l, NULL, "accepted");
    expect_why(&l, &any, "actions[1].clone[1].set.udp: the key does not say that the packet is UDP");
    l.size = 0;
    al_add(&l, OVS_ACTION_ATTR_POP_ETH, 0);
    nest = al_begin(&l, OVS_ACTION_ATTR_SET);
    al_add(&l, OVS_KEY_ATTR_ETHERNET, 12);
    al_end(&l, nest);
    expect_why(&l, &udp, "actions[1].set.eth: the packet has no Ethernet header there");
    l.size = 0;
    al_add(&l, OVS_ACTION_ATTR_PUSH_ETH, 12);
    expect_why(&l, &udp, "actions[0].push_eth: the packet has an Ethernet header there");
    udp.base.l2 = 1;
    expect_why(&l, &udp, "accepted");
    udp.base.l2 = 0;
    l.size = 0;
    al_add(&l, OVS_ACTION_ATTR_POP_NSH, 0);
    expect_why(&l, &udp, "actions[0].pop_nsh: the key does not say that the packet has a network service header");
    l.size = 0;
    memcpy(al_add(&l, OVS_ACTION_ATTR_PUSH_MPLS, 8), "\0\1\1\100\x88\x47", 6);
    memcpy(al_add(&l, OVS_ACTION_ATTR_POP_MPLS, 2), "\x08\0", 2);
    nest = al_begin(&l, OVS_ACTION_ATTR_SET);
    al_add(&l, OVS_KEY_ATTR_IPV4, 12);
    al_end(&l, nest);
    expect_why(&l, &udp, "actions[2].set.ipv4: what the packet is by now only another lookup tells: recirc before");
    l.size = 0;
    nest = al_begin(&l, 25);
    al_add(&l, 2, 16);
    al_end(&l, nest);
    expect_why(&l, &udp, "actions[0].psample: psample without a group");
    l.size = 0;
    nest = al_begin(&l, 25);
    al_u32(&l, 1, 7);
    al_add(&l, 2, 17);
    al_end(&l, nest);
    expect_why(&l, &udp, "actions[0].psample: psample attribute unknown or of the wrong size");
    l.size = 0;
    al_u32(&l, 24, 0);
    al_u32(&l, OVS_ACTION_ATTR_OUTPUT, 1);
    expect_why(&l, &udp, "actions[1].output: action behind drop");
}

/* Headers larger than the room in front of a packet, of which the buffer may be full. */
static void test_room(void)
{
    static uint8_t frame[2048];
    struct act_list_text l = { .size = 0 };
    struct act_prog *prog;

    for (int i = 0; i < 3; i++) {
        uint32_t nest = al_begin(&l, OVS_ACTION_ATTR_PUSH_NSH), inner = al_begin(&l, OVS_KEY_ATTR_NSH);
        uint8_t *base = al_add(&l, OVS_NSH_KEY_ATTR_BASE, 8);

        base[2] = 2;
        memset(al_add(&l, OVS_NSH_KEY_ATTR_MD2, 244), i, 244);
        al_end(&l, inner);
        al_end(&l, nest);
    }
    al_u32(&l, OVS_ACTION_ATTR_OUTPUT, 1);
    CHECK(!compile(&l, &prog));
    for (uint32_t size = 14; size <= 1920; size += 61) {
        struct rte_mbuf *m;

        for (uint32_t i = 0; i < size; i++)
            frame[i] = (uint8_t)(i * 7);
        frame[12] = 0x88;
        m = make_packet(frame, size, 2000, 0);
        event_count = 0;
        test_act_run(worker, prog, &m, 1, &(const struct pkt_md){ .in_port = 1 });
        test_flush(worker);
        CHECK(event_count == 1 && events[0].event.size == size + 3 * 252 && events[0].event.l3);
        CHECK(!memcmp(events[0].event.bytes + 3 * 252, frame, size));
    }
    act_free(prog);
    CHECK(rte_mempool_in_use_count(pool) == 0);
}

/* A service header that says more than there is, or of something unknown, ends its packet under a
 * name of its own; so does drop with a reason, which counts the packet whatever came before. */
static void test_named_drops(void)
{
    static const uint8_t good[32] = { 0x0f, 0xc6, 1, 1 };
    struct act_list_text l = { .size = 0 };
    struct act_prog *prog;

    al_add(&l, OVS_ACTION_ATTR_POP_NSH, 0);
    al_u32(&l, OVS_ACTION_ATTR_OUTPUT, 1);
    CHECK(!compile(&l, &prog));
    for (int i = 0; i < 4; i++) {
        const bool fits = i == 0;
        struct rte_mbuf *m;
        uint8_t header[32];

        memcpy(header, good, sizeof header);
        header[1] = i == 1 ? 0xc9 : i == 2 ? 0xc1 : header[1]; /* 36 bytes, 4 bytes. */
        header[3] = i == 3 ? 7 : header[3];
        m = make_packet(header, sizeof header, 600, 0);
        pkt_set_l3(m, ODP_BE16(0x894f));
        event_count = drop_count = 0;
        test_act_run(worker, prog, &m, 1, NULL);
        test_flush(worker);
        CHECK(event_count == fits && drop_count == !fits && (fits || last_drop == DROP_nsh));
    }
    act_free(prog);
    l.size = 0;
    al_u32(&l, OVS_ACTION_ATTR_OUTPUT, 1);
    al_u32(&l, 24, 6);
    CHECK(!compile(&l, &prog));
    CHECK(stat_explicit(1) == DROP_bridge_not_found && stat_explicit(15) == DROP_tunnel_header_build_failed);
    CHECK(stat_explicit(16) == DROP_explicit && stat_explicit(UINT32_MAX) == DROP_explicit);
    {
        struct rte_mbuf *m = make_packet(good, sizeof good, 600, 0);

        event_count = drop_count = 0;
        test_act_run(worker, prog, &m, 1, &(const struct pkt_md){ .in_port = 1 });
        test_flush(worker);
        CHECK(event_count == 1 && drop_count == 1 && last_drop == DROP_recirculation_conflict);
    }
    act_free(prog);
}

int main(void)
{
    if (!fixture_start("act_header_test"))
        return 77;
    test_prerequisites();
    test_room();
    test_named_drops();
    return failures != 0;
}
