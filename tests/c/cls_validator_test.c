/* SPDX-License-Identifier: Apache-2.0
 * link: act/act_*.c cls/cls.c cls/cls_replica.c cls/cls_hot.c cls/cls_part.c cls/cls_prune.c cls/cls_choose.c cls/cls_table.c packet/csum.c base/error.c packet/extract.c packet/partial.c base/hash.c base/rcu.c base/slab.c base/stat.c packet/userdata.c base/mem.c cls/cls_pack.c cls/cls_view.c odp/odp_*.c tnl/tnl_ready.c
 * eal: yes
 * sanitize: address
 *
 * The mode in which all builds of the lookup must agree says so when one does not.  The unit that compares them is compiled into this file, with
 * a scalar build that is spoilt on demand. */
#include "cls/cls_int.h"

static cls_hot_fn spoilt;

#define cls_hot_scalar spoilt
#include "cls/cls_isa.c"
#undef cls_hot_scalar

#include "hazard_fixture.h"

static uint32_t wrong_flows, wrong_flags;

/* The first packets of a burst get another flow or other flags than they should. */
static void spoilt(const struct cls_replica *r, const struct cls_view *view, struct cls_burst *burst)
{
    cls_hot_scalar(r, view, burst);
    for (uint32_t i = 0; i < wrong_flows; i++)
        burst->flows[i] ^= 1;
    for (uint32_t i = 0; i < wrong_flags; i++)
        burst->tcp_flags[i] ^= 0x10;
}

/* Looks up `n` packets, of which some have a flow; returns what the validator says. */
static uint64_t mismatches(uint32_t n)
{
    struct packet packets[CLS_BURST];
    struct rte_mbuf *mbufs[CLS_BURST];
    const struct pkt_md md = { .in_port = 1 };
    uint16_t tcp_flags[CLS_BURST];
    uint32_t flows[CLS_BURST], found = 0;

    memset(&stat, 0, sizeof stat);
    for (uint32_t i = 0; i < n; i++) {
        uint8_t frame[FRAME_MAX];
        uint32_t size = frame_named(i % 2 ? "IPv4 TCP" : "IPv4 UDP", frame);

        frame[5] = (uint8_t)(i % 3);
        packets[i] = packet_create(frame, size);
        mbufs[i] = packets[i].m;
    }
    cls_lookup(replica, 1, 0, mbufs, n, &md, flows, tcp_flags, &stat);
    for (uint32_t i = 0; i < n; i++) {
        found += flows[i] != 0;
        packet_free(&packets[i]);
    }
    CHECK(found > 0 && found < n);
    return atomic_load(&stat.validator_mismatches);
}

int main(void)
{
    uint8_t frame[FRAME_MAX];
    uint32_t size = frame_named("IPv4 UDP", frame);
    struct key mask;

    if (cls_isa_set(ISA_AVX2, true)) {
        printf("a CPU with more than one build of the lookup\n");
        return 77;
    }
    program = output_program(1);
    setup();
    always(&mask);
    memset(mask.base.eth_dst, 0xff, 6);
    for (uint32_t i = 0; i < 2; i++) {
        frame[5] = (uint8_t)i;
        add(2 + 2 * i, frame, size, 1, &mask);
    }
    for (uint32_t isa = ISA_AVX2; isa <= ISA_AVX512; isa++) {
        if (cls_isa_set(isa, true))
            continue;
        CHECK(cls_isa_get() == isa);
        CHECK(mismatches(32) == 0);
        wrong_flows = 5;
        CHECK(mismatches(32) == 5 && mismatches(7) == 5);
        wrong_flags = 9;
        CHECK(mismatches(32) == 9); /* A packet counts once. */
        wrong_flows = 0;
        CHECK(mismatches(32) == 9);
        CHECK(!cls_isa_set(isa, false) && mismatches(32) == 0); /* Nobody compares. */
        wrong_flags = 0;
    }
    /* The spoilt one is in charge: every other build differs from it. */
    CHECK(!cls_isa_set(ISA_SCALAR, true));
    wrong_flows = 3;
    CHECK(mismatches(32) >= 3);
    wrong_flows = 0;
    CHECK(mismatches(32) == 0);
    cls_remove(cls, 2);
    cls_remove(cls, 4);
    teardown();
    act_free(program);
    return failures != 0;
}
