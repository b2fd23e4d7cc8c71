/* SPDX-License-Identifier: Apache-2.0
 * link: act/act_build*.c act/act_known.c act/act_ct.c base/hash.c base/mem.c bond/bond_find.c ct/ct*.c ipf/ipf*.c packet/eal_hold.c act/act_compile.c act/act_frame.c act/act_hash.c act/act_header.c act/act_set.c packet/csum.c packet/extract.c packet/partial.c odp/odp_*.c packet/userdata.c tnl/tnl_ready.c tnl/tnl_inner.c tnl/tnl_outer.c tnl/tnl_pop.c tnl/tnl_bundle.c tnl/tnl_read.c segment/segment_merge.c packet/worker.c record/record.c
 * eal: yes
 * sanitize: address
 *
 * A rewrite and an output by themselves: the same packets as by a list, and what their port's buffer
 * notes of them is true. */
#include "act_fixture.h"

#undef act_balance
#define act_balance output_balance
void output_balance(struct worker *worker, struct rte_mbuf *m, uint32_t id);
/* The fixture's variables have the names of parameters. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"
#include "act/act_output.c"
#pragma GCC diagnostic pop

#define BURST 8

static struct act_prog *compile(const struct act_list_text *list)
{
    struct act_prog *prog = NULL;
    const char *why;

    CHECK(!act_compile(list->bytes, list->size, NULL, &prog, &why));
    return prog;
}

static void rewrite_list(struct act_list_text *l, uint32_t what)
{
    uint32_t nest = al_begin(l, OVS_ACTION_ATTR_SET);

    memcpy(al_add(l, OVS_KEY_ATTR_ETHERNET, 12), "\2\0\0\0\0\1\2\0\0\0\0\2", 12);
    al_end(l, nest);
    if (what & ACT_RE_TTL) {
        uint8_t *at;

        nest = al_begin(l, OVS_ACTION_ATTR_SET_MASKED);
        at = al_add(l, OVS_KEY_ATTR_IPV4, 24);
        at[10] = 63;
        at[22] = 0xff;
        al_end(l, nest);
    }
    if (what & ACT_RE_VLAN)
        memcpy(al_add(l, OVS_ACTION_ATTR_PUSH_VLAN, 4), "\x81\x00\x10\x05", 4);
    al_u32(l, OVS_ACTION_ATTR_OUTPUT, 1);
}

/* What leaves by the list, and by itself, is the same. */
static void test_same(void)
{
    uint8_t frame[FRAME_MAX];
    const uint32_t size = frame_named("IPv4 UDP", frame);

    for (uint32_t what = 0; what < 4; what++) {
        struct act_list_text l = { .size = 0 };
        struct rte_mbuf *packets[2][BURST];
        struct burst_sum sum;
        struct act_prog *prog;

        rewrite_list(&l, (what & 1 ? ACT_RE_TTL : 0) | (what & 2 ? ACT_RE_VLAN : 0));
        prog = compile(&l);
        for (uint32_t i = 0; i < BURST; i++)
            for (uint32_t by = 0; by < 2; by++)
                packets[by][i] = make_packet(frame, size, 1000, i);
        event_count = 0;
        burst_sum_up(packets[0], BURST, &sum);
        CHECK(act_quick(worker, prog, packets[0], BURST, &sum));
        test_flush(worker);
        test_act_run(worker, prog, packets[1], BURST, NULL);
        test_flush(worker);
        CHECK(event_count == 2 * BURST);
        for (uint32_t i = 0; i < BURST; i++)
            CHECK(events[i].tag == i && !memcmp(&events[i].event.bytes, &events[BURST + i].event.bytes, events[i].event.size)
                  && events[i].event.size == events[BURST + i].event.size);
        act_free(prog);
    }
}

/* One of a burst fills its mbuf, so that a tag has it cut in two: no port may take the burst for
 * packets in one piece. */
static void test_full(void)
{
    struct worker_tx *tx = atomic_load(&worker->tx[1]);
    struct act_list_text l = { .size = 0 };
    struct rte_mbuf *packets[BURST];
    uint8_t frame[FRAME_MAX];
    const uint32_t size = frame_named("IPv4 UDP", frame);
    struct burst_sum sum;
    struct act_prog *prog;

    rewrite_list(&l, ACT_RE_VLAN);
    prog = compile(&l);
    for (uint32_t full = 0; full < 2; full++) {
        for (uint32_t i = 0; i < BURST; i++)
            packets[i] = make_packet(frame, size, 1000, i);
        if (full) {
            struct rte_mbuf *m = packets[BURST / 2];
            const uint16_t more = rte_pktmbuf_tailroom(m);

            memset(rte_pktmbuf_append(m, more), 0, more);
            memset(rte_pktmbuf_prepend(m, rte_pktmbuf_headroom(m)), 0, 16);
            memcpy(rte_pktmbuf_mtod(m, void *), frame, size);
        }
        burst_sum_up(packets, BURST, &sum);
        tx->longest = 0;
        CHECK(act_quick(worker, prog, packets, BURST, &sum));
        CHECK(tx->n == BURST && packets[BURST / 2]->nb_segs == 1 + full);
        CHECK(tx->longest == (full ? UINT32_MAX : size + 4));
        tx->n = 0;
        rte_pktmbuf_free_bulk(packets, BURST);
    }
    act_free(prog);
    CHECK(rte_mempool_in_use_count(pool) == 0);
}

int main(void)
{
    if (!fixture_start("act_quick_test"))
        return 77;
    test_same();
    test_full();
    return failures != 0;
}
