/* SPDX-License-Identifier: Apache-2.0
 * link: act/act_build*.c act/act_known.c act/act_ct.c base/hash.c base/mem.c ct/ct*.c ipf/ipf*.c packet/eal_hold.c act/act_compile.c act/act_frame.c act/act_hash.c act/act_header.c act/act_set.c packet/csum.c packet/extract.c packet/partial.c odp/odp_*.c packet/userdata.c tnl/tnl_ready.c tnl/tnl_inner.c tnl/tnl_outer.c tnl/tnl_pop.c tnl/tnl_bundle.c tnl/tnl_read.c segment/segment_merge.c packet/worker.c record/record.c
 * eal: yes
 * sanitize: address
 *
 * Random lists of actions against the byte-level model of act_model.h, whole and in chains, with whole and with partial checksums; and
 * on frames that are anything; every mbuf accounted for. */
#include "act_fixture.h"

static uint32_t compared;

struct expected {
    struct event *events;
    uint32_t n;
};

static void expect_event(void *to, const struct event *e)
{
    struct expected *expected = to;

    if (expected->n == LOG_MAX)
        abort();
    expected->events[expected->n++] = *e;
}

static bool same_event(const struct event *a, const struct event *b, bool md)
{
    if (a->l3 != b->l3 || (a->l3 && (!(b->md.more & PKT_MORE_L3) || a->md.packet_type != b->md.packet_type)))
        return false;
    if (a->kind != b->kind || a->size != b->size || memcmp(a->bytes, b->bytes, a->size))
        return false;
    if (a->kind == EVENT_UPCALL && a->original_size != b->original_size)
        return false;
    if (a->kind == EVENT_RECIRC)
        return a->arg == b->arg && a->md.skb_mark == b->md.skb_mark && a->md.skb_priority == b->md.skb_priority;
    return (a->kind == EVENT_UPCALL || a->arg == b->arg)
           && (!md || a->kind != EVENT_UPCALL || (a->md.skb_mark == b->md.skb_mark && a->md.skb_priority == b->md.skb_priority));
}

static void print_bytes(const char *what, const uint8_t *at, uint32_t size)
{
    fprintf(stderr, "%s ", what);
    for (uint32_t i = 0; i < size; i++)
        fprintf(stderr, "%02x", at[i]);
    fputc('\n', stderr);
}

/* Outputs are seen when they are flushed, so the order among different kinds or ports is not compared: each expected event must be found, the
 * first that fits, and none be left over. */
static void compare(uint32_t tag, const struct expected *expected, const uint8_t *frame, uint32_t size, const struct act_list_text *list)
{
    static uint8_t taken[LOG_MAX];
    uint32_t found = 0, ours = 0;

    for (uint32_t i = 0; i < event_count; i++) {
        taken[i] = 0;
        ours += events[i].tag == tag;
    }
    for (uint32_t i = 0; i < expected->n; i++)
        for (uint32_t j = 0; j < event_count; j++)
            if (events[j].tag == tag && !taken[j] && same_event(&expected->events[i], &events[j].event, true)) {
                taken[j] = 1;
                found++;
                break;
            }
    compared += found;
    if (found == expected->n && ours == found)
        return;
    failures++;
    fprintf(stderr, "expected %u events, found %u, there are %u\n", expected->n, found, ours);
    print_bytes("frame  ", frame, size);
    print_bytes("actions", list->bytes, list->size);
    for (uint32_t i = 0; i < expected->n; i++)
        print_bytes(expected->events[i].kind ? "expected other " : "expected output", expected->events[i].bytes, expected->events[i].size);
    for (uint32_t j = 0; j < event_count; j++)
        if (events[j].tag == tag)
            print_bytes(events[j].event.kind ? "got other " : "got output", events[j].event.bytes, events[j].event.size);
}

/* Makes the checksum of TCP or UDP partial, as Linux hands it over. */
static void make_partial(struct rte_mbuf *m, const uint8_t *frame, uint32_t size)
{
    struct model model = { .size = size };
    struct extract_layers l;
    struct key key;
    uint32_t field;
    uint8_t *at;

    memcpy(model.bytes, frame, size);
    model_extract(&model, &key, &l);
    field = model_l4_field(&key, &l);
    if (!field || (key.base.nw_proto != 6 && key.base.nw_proto != 17) || m->nb_segs > 1)
        return;
    at = rte_pktmbuf_mtod(m, uint8_t *) + l.l4 + field;
    if ((!at[0] && !at[1]) || l.l4 + l.l4_size != size)
        return; /* UDP without one; padding, which Linux does not add to such packets. */
    model_put16(at, model_sum(NULL, 0, model_pseudo(frame, &key, &l)));
    partial_mark(m, l.l4, field, key.base.nw_proto == 6 ? RTE_MBUF_F_TX_TCP_CKSUM : RTE_MBUF_F_TX_UDP_CKSUM);
}

static void run_against_model(uint64_t *state, int round, bool partial)
{
    static struct act_list_text list;
    static uint8_t frames_in[WORKER_BURST][FRAME_MAX];
    static struct expected expected;
    struct rte_mbuf *packets[WORKER_BURST];
    uint16_t types[WORKER_BURST];
    uint32_t sizes[WORKER_BURST], n = 1 + frame_random(state) % WORKER_BURST;
    const struct pkt_md md = { .in_port = 1, .skb_mark = 5, .skb_priority = 6 };
    const bool l3 = frame_random(state) % 4 == 0;
    struct act_prog *prog;
    const char *why;

    list.size = 0;
    al_random(&list, state, 0);
    if (act_compile(list.bytes, list.size, NULL, &prog, &why)) {
        fprintf(stderr, "round %d: %s\n", round, why);
        failures++;
        return;
    }
    for (uint32_t i = 0; i < n; i++) {
        do
            sizes[i] = frame_get(frame_random(state) % FRAMES, frames_in[i]);
        while (!has_right_checksums(frames_in[i], sizes[i]) || (l3 && (sizes[i] < 28 || frames_in[i][12] < 6 || frames_in[i][12] == 0x81)));
        packets[i] = make_packet(frames_in[i], sizes[i], frame_random(state) % 8 ? 600 : 14 + frame_random(state) % 60, i);
        if (partial)
            make_partial(packets[i], frames_in[i], sizes[i]);
        pkt_of(packets[i])->md = md;
        if (l3) {
            memcpy(&types[i], frames_in[i] + 12, 2);
            rte_pktmbuf_adj(packets[i], 14);
            pkt_set_l3(packets[i], types[i]);
        }
    }
    event_count = 0;
    if (act_kind(prog) == ACT_OUTPUT)
        CHECK(act_output_port(prog) >= 1 && act_output_port(prog) <= 4);
    test_act_run(worker, prog, packets, n, l3 ? NULL : &md);
    test_flush(worker);
    if (!expected.events)
        expected.events = malloc(LOG_MAX * sizeof *expected.events);
    for (uint32_t i = 0; i < n && failures < 3; i++) {
        struct model model = { .size = sizes[i], .md = md };

        memcpy(model.bytes, frames_in[i], sizes[i]);
        if (l3) {
            model_remove_bytes(&model, 0, 14);
            model_type(&model, true, types[i]);
        }
        expected.n = 0;
        model_run(&model, list.bytes, list.size, expect_event, &expected);
        compare(i, &expected, frames_in[i], sizes[i], &list);
    }
    act_free(prog);
    if (rte_mempool_in_use_count(pool)) {
        fprintf(stderr, "round %d: %u mbufs lost\n", round, rte_mempool_in_use_count(pool));
        failures++;
    }
}

/* Lists on frames that are anything: nothing is read or written that must not be, no mbuf is lost. */
static void run_on_spoiled(uint64_t *state)
{
    static struct act_list_text list;
    struct rte_mbuf *packets[WORKER_BURST];
    uint32_t n = 1 + frame_random(state) % WORKER_BURST;
    struct act_prog *prog;
    const char *why;

    list.size = 0;
    al_random(&list, state, 0);
    CHECK(!act_compile(list.bytes, list.size, NULL, &prog, &why));
    for (uint32_t i = 0; i < n; i++) {
        uint8_t frame[FRAME_MAX];
        uint32_t size = frame_get(frame_random(state) % FRAMES, frame);

        size = frame_spoil(state, frame, size);
        packets[i] = make_packet(frame, size, frame_random(state) % 4 ? 600 : 1 + frame_random(state) % 60, i);
        packets[i]->ol_flags |= frame_random(state) % 4 ? 0 : RTE_MBUF_F_TX_TCP_CKSUM | RTE_MBUF_F_TX_TCP_SEG;
        packets[i]->tx_offload = (uint64_t)frame_random(state) << 32 | frame_random(state);
    }
    event_count = 0;
    test_act_run(worker, prog, packets, n, NULL);
    test_flush(worker);
    act_free(prog);
    CHECK(rte_mempool_in_use_count(pool) == 0);
}

int main(void)
{
    uint64_t state = 0x1234567890abcdefull;

    if (!fixture_start("act_model_test"))
        return 77;
    for (int i = 0; i < 9000 && failures < 3; i++)
        run_against_model(&state, i, i & 1);
    for (int i = 0; i < 6000 && failures < 3; i++)
        run_on_spoiled(&state);
    printf("%u outputs, upcalls and recirculations compared\n", compared);
    return failures != 0 || compared < 100000;
}
