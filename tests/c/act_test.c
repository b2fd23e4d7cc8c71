/* SPDX-License-Identifier: Apache-2.0
 * link: act_build.c act_build_set.c act_compile.c act_frame.c act_set.c csum.c extract.c odp_key.c odp_l3.c
 * eal: yes
 * sanitize: address
 *
 * Compiled actions against the byte-level model of act_model.h, whole and in chains, with whole and with partial checksums; refusals;
 * every mbuf accounted for.  The callees of act_run.c are replaced by ones that write down what they were given. */
#define act_run test_act_run
#define pmd_drop test_drop
#define pmd_drop_bulk test_drop_bulk
#define pmd_flush_port test_flush_port
#define pmd_flush test_flush
#define pmd_recirculate test_recirculate
#define upcall_action test_upcall_action
#include "act_run.c"

#include <errno.h>
#include <rte_eal.h>
#include <rte_memory.h>

#include "act_model.h"
#include "act_random.h"
#include "csum.h"

static int failures;

#define CHECK(condition)                                                          \
    do {                                                                          \
        if (!(condition)) {                                                       \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);       \
            failures++;                                                           \
        }                                                                         \
    } while (0)

#define LOG_MAX 4096
#define PORTS 8

/* What came out; `tag` is the packet's place in the burst, carried in m->port. */
struct record {
    uint32_t tag;
    struct event event;
};
static struct record *events;
static uint32_t event_count, drop_count, compared;
static struct rte_mempool *pool;
static struct pmd *pmd;
static struct stat_counters counters;
static struct act_userdata *last_userdata;

static void note(uint32_t tag, enum event_kind kind, uint32_t arg, const struct rte_mbuf *m, uint32_t original)
{
    struct record *r = &events[event_count++];
    const struct pkt *pkt = pkt_of((struct rte_mbuf *)(uintptr_t)m);
    uint32_t at = 0;

    if (event_count == LOG_MAX || m->pkt_len > MODEL_ROOM)
        abort();
    r->tag = tag;
    r->event.kind = kind;
    r->event.arg = arg;
    r->event.size = m->pkt_len;
    r->event.original_size = original;
    r->event.md = pkt->md;
    for (; m; m = m->next) {
        memcpy(r->event.bytes + at, rte_pktmbuf_mtod(m, const uint8_t *), m->data_len);
        at += m->data_len;
    }
    if (at != r->event.size)
        abort();
}

void test_drop(struct pmd *p, struct rte_mbuf *m, enum stat_drop why)
{
    (void)p;
    (void)why;
    drop_count++;
    rte_pktmbuf_free(m);
}

void test_drop_bulk(struct pmd *p, struct rte_mbuf **packets, unsigned int n, enum stat_drop why)
{
    while (n--)
        test_drop(p, *packets++, why);
}

void test_flush_port(struct pmd *p, struct pmd_tx *tx)
{
    (void)p;
    for (uint32_t i = 0; i < tx->n; i++) {
        /* As a port would: finish a checksum that the program left partial. */
        struct rte_mbuf *m = tx->packets[i];

        act_finish_offload(m);
        note(m->port, EVENT_OUTPUT, tx->no, m, m->pkt_len);
        rte_pktmbuf_free(m);
    }
    tx->n = 0;
}

void test_flush(struct pmd *p)
{
    for (uint16_t i = 0; i < PORTS; i++) {
        struct pmd_tx *tx = atomic_load(&p->tx[i]);

        test_flush_port(p, tx);
        tx->dirty = 0;
    }
    p->dirty_n = 0;
}

void test_recirculate(struct pmd *p, struct rte_mbuf *m)
{
    (void)p;
    act_finish_offload(m);
    note(m->port, EVENT_RECIRC, pkt_of(m)->md.recirc_id, m, m->pkt_len);
    rte_pktmbuf_free(m);
}

void test_upcall_action(struct pmd *p, struct rte_mbuf *m, struct act_userdata *userdata, uint32_t original)
{
    (void)p;
    last_userdata = userdata;
    act_finish_offload(m);
    note(m->port, EVENT_UPCALL, 0, m, original);
    rte_pktmbuf_free(m);
}

/* Sends outputs on at once, so that their order among upcalls is seen. */
static void setup_pmd(void)
{
    static struct pmd_tx txs[PORTS];

    pmd = calloc(1, sizeof *pmd);
    events = malloc(LOG_MAX * sizeof *events);
    pmd->tx = calloc(PMD_PORTS, sizeof pmd->tx[0]);
    pmd->stat = &counters;
    pmd->random = 88172645463325252ull;
    for (uint16_t i = 0; i < PORTS; i++) {
        txs[i].no = i;
        atomic_init(&pmd->tx[i], &txs[i]);
    }
}

/* A packet of these bytes, in segments of at most `segment` bytes. */
static struct rte_mbuf *make_packet(const uint8_t *frame, uint32_t size, uint32_t segment, uint32_t tag)
{
    struct rte_mbuf *first = NULL;

    for (uint32_t at = 0; at < size;) {
        uint32_t part = RTE_MIN(segment, size - at);
        struct rte_mbuf *m = rte_pktmbuf_alloc(pool);

        memcpy(rte_pktmbuf_append(m, (uint16_t)part), frame + at, part);
        if (!first)
            first = m;
        else
            rte_pktmbuf_chain(first, m);
        at += part;
    }
    first->port = (uint16_t)tag;
    memset(pkt_of(first), 0, sizeof(struct pkt));
    return first;
}

/* --- Against the model -------------------------------------------------------------------------------------- */

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
    if (!at[0] && !at[1])
        return; /* UDP without one. */
    model_put16(at, model_sum(NULL, 0, model_pseudo(frame, &key, &l)));
    m->ol_flags |= key.base.nw_proto == 6 ? RTE_MBUF_F_TX_TCP_CKSUM : RTE_MBUF_F_TX_UDP_CKSUM;
}

/* Frames that the model can judge. */
static bool has_right_checksums(const uint8_t *frame, uint32_t size)
{
    uint8_t copy[FRAME_MAX];

    memcpy(copy, frame, size);
    model_fix(copy, size);
    return !memcmp(copy, frame, size);
}

static void run_against_model(uint64_t *state, int round, bool partial)
{
    static struct act_list_text list;
    static uint8_t frames_in[PMD_BURST][FRAME_MAX];
    static struct expected expected;
    struct rte_mbuf *packets[PMD_BURST];
    uint32_t sizes[PMD_BURST], n = 1 + frame_random(state) % PMD_BURST;
    const struct pkt_md md = { .in_port = 1, .skb_mark = 5, .skb_priority = 6 };
    const struct key key = { .words = { 0 } };
    struct act_prog *prog;
    const char *why;

    list.size = 0;
    al_random(&list, state, 0);
    if (act_compile(list.bytes, list.size, &key, &prog, &why)) {
        fprintf(stderr, "round %d: %s\n", round, why);
        failures++;
        return;
    }
    for (uint32_t i = 0; i < n; i++) {
        do
            sizes[i] = frame_get(frame_random(state) % FRAMES, frames_in[i]);
        while (!has_right_checksums(frames_in[i], sizes[i]));
        packets[i] = make_packet(frames_in[i], sizes[i], frame_random(state) % 8 ? 600 : 14 + frame_random(state) % 60, i);
        if (partial)
            make_partial(packets[i], frames_in[i], sizes[i]);
    }
    event_count = 0;
    if (act_kind(prog) == ACT_OUTPUT)
        CHECK(act_output_port(prog) >= 1 && act_output_port(prog) <= 4);
    test_act_run(pmd, prog, packets, n, &md);
    test_flush(pmd);
    if (!expected.events)
        expected.events = malloc(LOG_MAX * sizeof *expected.events);
    for (uint32_t i = 0; i < n && failures < 3; i++) {
        struct model model = { .size = sizes[i], .md = md };

        memcpy(model.bytes, frames_in[i], sizes[i]);
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
    const struct key key = { .words = { 0 } };
    struct rte_mbuf *packets[PMD_BURST];
    uint32_t n = 1 + frame_random(state) % PMD_BURST;
    struct act_prog *prog;
    const char *why;

    list.size = 0;
    al_random(&list, state, 0);
    CHECK(!act_compile(list.bytes, list.size, &key, &prog, &why));
    for (uint32_t i = 0; i < n; i++) {
        uint8_t frame[FRAME_MAX];
        uint32_t size = frame_get(frame_random(state) % FRAMES, frame);

        size = frame_spoil(state, frame, size);
        packets[i] = make_packet(frame, size, frame_random(state) % 4 ? 600 : 1 + frame_random(state) % 60, i);
        packets[i]->ol_flags |= frame_random(state) % 4 ? 0 : RTE_MBUF_F_TX_TCP_CKSUM | RTE_MBUF_F_TX_TCP_SEG;
        packets[i]->tso_segsz = (uint16_t)frame_random(state);
    }
    event_count = 0;
    test_act_run(pmd, prog, packets, n, NULL);
    test_flush(pmd);
    act_free(prog);
    CHECK(rte_mempool_in_use_count(pool) == 0);
}

/* --- Single facts -------------------------------------------------------------------------------------------- */

static int compile(const struct act_list_text *list, struct act_prog **prog)
{
    const struct key key = { .words = { 0 } };
    const char *why = NULL;
    int error = act_compile(list->bytes, list->size, &key, prog, &why);

    CHECK(!error == !why);
    CHECK(!error == !!*prog);
    return error;
}

static int refused(const struct act_list_text *list)
{
    struct act_prog *prog;
    int error = compile(list, &prog);

    act_free(prog);
    return error;
}

static void test_kinds(void)
{
    struct act_list_text l = { .size = 0 };
    struct act_prog *prog;
    uint32_t size;

    CHECK(!compile(&l, &prog) && act_kind(prog) == ACT_DROP);
    act_free(prog);
    al_u32(&l, OVS_ACTION_ATTR_OUTPUT, 3);
    CHECK(!compile(&l, &prog) && act_kind(prog) == ACT_OUTPUT && act_output_port(prog) == 3);
    CHECK(!memcmp(act_attrs(prog, &size), l.bytes, l.size) && size == l.size);
    act_free(prog);
    /* What nothing sees is not done. */
    al_add(&l, OVS_ACTION_ATTR_POP_VLAN, 0);
    CHECK(!compile(&l, &prog) && act_kind(prog) == ACT_OUTPUT);
    act_free(prog);
    l.size = 0;
    al_add(&l, OVS_ACTION_ATTR_POP_VLAN, 0);
    al_end(&l, al_begin(&l, OVS_ACTION_ATTR_CLONE));
    CHECK(!compile(&l, &prog) && act_kind(prog) == ACT_DROP);
    act_free(prog);
    al_u32(&l, 24, 0); /* drop */
    CHECK(!compile(&l, &prog) && act_kind(prog) == ACT_DROP);
    act_free(prog);
    al_u32(&l, OVS_ACTION_ATTR_OUTPUT, 3);
    CHECK(refused(&l) == EINVAL); /* Behind drop. */
}

static void test_refusals(void)
{
    static const uint16_t unsupported[] = { 0, OVS_ACTION_ATTR_CT, OVS_ACTION_ATTR_PUSH_ETH, OVS_ACTION_ATTR_POP_ETH,
                                            OVS_ACTION_ATTR_CT_CLEAR, OVS_ACTION_ATTR_PUSH_NSH, OVS_ACTION_ATTR_POP_NSH,
                                            OVS_ACTION_ATTR_METER, OVS_ACTION_ATTR_ADD_MPLS, 25, 26, 27, 28, 29, 100, 0x3fff };
    struct act_list_text l;
    uint32_t nest;

    for (uint32_t i = 0; i < sizeof unsupported / sizeof unsupported[0]; i++)
        for (uint32_t size = 0; size < 20; size += 4) {
            l.size = 0;
            al_add(&l, unsupported[i], size);
            CHECK(refused(&l) == EINVAL);
        }
    /* Any size but the right one of any set. */
    for (uint32_t attr = 0; attr < 40; attr++)
        for (uint32_t size = 0; size < 84; size++) {
            struct act_prog *prog;

            l.size = 0;
            nest = al_begin(&l, OVS_ACTION_ATTR_SET);
            al_add(&l, attr, size);
            al_end(&l, nest);
            al_u32(&l, OVS_ACTION_ATTR_OUTPUT, 1);
            if (!compile(&l, &prog))
                CHECK(size == 2 || size == 4 || size == 8 || size == 12 || size == 24 || size == 28 || size == 40);
            act_free(prog);
        }
    l.size = 0;
    al_u32(&l, OVS_ACTION_ATTR_TRUNC, 13);
    CHECK(refused(&l) == EINVAL);
    l.size = 0;
    memcpy(al_add(&l, OVS_ACTION_ATTR_PUSH_VLAN, 4), "\x81\x00\x00\x05", 4);
    CHECK(refused(&l) == EINVAL); /* No 0x1000. */
    l.size = 0;
    memcpy(al_add(&l, OVS_ACTION_ATTR_PUSH_VLAN, 4), "\x81\x01\x10\x05", 4);
    CHECK(refused(&l) == EINVAL);
    l.size = 0;
    nest = al_begin(&l, OVS_ACTION_ATTR_SET_MASKED);
    memcpy(al_add(&l, OVS_KEY_ATTR_SKB_MARK, 8), "\x03\0\0\0\x01\0\0\0", 8);
    al_end(&l, nest);
    CHECK(refused(&l) == EINVAL); /* A value outside the mask. */
    l.size = 0;
    memset(al_add(&l, OVS_ACTION_ATTR_HASH, 8), 2, 8);
    CHECK(refused(&l) == EINVAL);
}

/* Nested lists: 16 deep and no more; sizes that lie. */
static void test_nesting(void)
{
    for (uint32_t depth = 0; depth < 64; depth++) {
        struct act_list_text l = { .size = 0 };
        uint32_t starts[64];

        for (uint32_t i = 0; i < depth; i++)
            starts[i] = al_begin(&l, OVS_ACTION_ATTR_CLONE);
        al_u32(&l, OVS_ACTION_ATTR_OUTPUT, 1);
        for (uint32_t i = depth; i-- > 0;)
            al_end(&l, starts[i]);
        CHECK(refused(&l) == (depth <= 16 ? 0 : EOVERFLOW));
    }
    for (uint32_t outer = 0; outer < 40; outer++)
        for (uint32_t inner = 0; inner < 40; inner++) {
            struct act_list_text l = { .size = 0 };
            uint16_t sizes[2] = { (uint16_t)outer, (uint16_t)inner };
            struct act_prog *prog;
            uint32_t at = al_begin(&l, OVS_ACTION_ATTR_CLONE);

            al_u32(&l, OVS_ACTION_ATTR_OUTPUT, 1);
            al_u32(&l, OVS_ACTION_ATTR_OUTPUT, 1);
            memcpy(l.bytes + at, &sizes[0], 2);
            memcpy(l.bytes + at + 4, &sizes[1], 2);
            compile(&l, &prog);
            act_free(prog);
        }
}

/* Userdata of any size, the actions if asked for, and both outlive the program while an upcall holds them. */
static void test_userdata(void)
{
    uint8_t frame[FRAME_MAX];
    uint32_t size = frame_named("IPv4 UDP", frame);

    for (uint32_t given = 0; given < 3000; given += 1 + given / 3) {
        struct act_list_text l = { .size = 0 };
        struct rte_mbuf *m = make_packet(frame, size, 600, 0);
        uint32_t nest = al_begin(&l, OVS_ACTION_ATTR_USERSPACE);
        struct act_prog *prog;

        memset(al_add(&l, OVS_USERSPACE_ATTR_USERDATA, given), 0x5c, given);
        al_u32(&l, OVS_USERSPACE_ATTR_EGRESS_TUN_PORT, 1);
        if (given & 1)
            al_add(&l, OVS_USERSPACE_ATTR_ACTIONS, 0);
        al_end(&l, nest);
        CHECK(!compile(&l, &prog));
        event_count = 0;
        test_act_run(pmd, prog, &m, 1, NULL);
        CHECK(event_count == 1 && last_userdata && last_userdata->given && last_userdata->size == given);
        CHECK(last_userdata->actions_size == (given & 1 ? l.size : 0));
        CHECK(!memcmp(last_userdata->bytes + given, l.bytes, last_userdata->actions_size));
        atomic_fetch_add(&last_userdata->references, 1);
        act_free(prog);
        for (uint32_t i = 0; i < given; i++)
            CHECK(last_userdata->bytes[i] == 0x5c);
        act_userdata_free(last_userdata);
    }
}

static uint32_t hash_of(const char *name, uint32_t algorithm, uint32_t basis, bool swap)
{
    uint8_t frame[FRAME_MAX], address[4], port[2];
    uint32_t size = frame_named(name, frame), hash;
    struct rte_mbuf *m;

    if (swap) {
        memcpy(address, frame + 26, 4);
        memcpy(frame + 26, frame + 30, 4);
        memcpy(frame + 30, address, 4);
        memcpy(port, frame + 34, 2);
        memcpy(frame + 34, frame + 36, 2);
        memcpy(frame + 36, port, 2);
    }
    m = make_packet(frame, size, 600, 0);
    hash = act_hash(m, algorithm, basis);
    rte_pktmbuf_free(m);
    return hash;
}

static void test_hash(void)
{
    CHECK(hash_of("IPv4 TCP", 0, 0, false) == hash_of("IPv4 TCP", 0, 0, false));
    CHECK(hash_of("IPv4 TCP", 0, 0, false) != hash_of("IPv4 TCP", 0, 1, false));
    CHECK(hash_of("IPv4 TCP", 0, 0, false) != hash_of("IPv4 UDP", 0, 0, false));
    CHECK(hash_of("IPv4 TCP", 0, 0, false) != hash_of("IPv4 TCP", 0, 0, true));
    CHECK(hash_of("IPv4 TCP", 1, 0, false) == hash_of("IPv4 TCP", 1, 0, true));
    CHECK(hash_of("IPv6 TCP", 1, 0, false) != hash_of("IPv6 UDP", 1, 0, false));
    CHECK(hash_of("ARP request", 1, 7, false) != 0);
}

/* Sample takes about as many as it says. */
static void test_sample(void)
{
    uint8_t frame[FRAME_MAX];
    uint32_t size = frame_named("IPv4 UDP", frame), taken = 0;
    struct act_list_text l = { .size = 0 };
    uint32_t sample = al_begin(&l, OVS_ACTION_ATTR_SAMPLE), nest;
    struct act_prog *prog;

    al_u32(&l, OVS_SAMPLE_ATTR_PROBABILITY, UINT32_MAX / 4);
    nest = al_begin(&l, OVS_SAMPLE_ATTR_ACTIONS);
    al_u32(&l, OVS_ACTION_ATTR_OUTPUT, 2);
    al_end(&l, nest);
    al_end(&l, sample);
    CHECK(!compile(&l, &prog));
    drop_count = 0;
    for (int i = 0; i < 4000; i++) {
        struct rte_mbuf *m = make_packet(frame, size, 600, 0);

        event_count = 0;
        test_act_run(pmd, prog, &m, 1, NULL);
        test_flush(pmd);
        taken += event_count;
    }
    CHECK(taken > 850 && taken < 1150);
    CHECK(taken + drop_count == 4000);
    act_free(prog);
}

/* SCTP: the incremental CRC against the whole one, for all lengths. */
static void test_crc32c(void)
{
    uint8_t bytes[300];
    uint64_t state = 77;

    for (uint32_t size = 4; size <= sizeof bytes; size++) {
        uint32_t before, after, first, second;

        for (uint32_t i = 0; i < size; i++)
            bytes[i] = (uint8_t)frame_random(&state);
        memcpy(&first, bytes, 4);
        before = model_crc32c(bytes, size);
        second = frame_random(&state);
        memcpy(bytes, &second, 4);
        after = model_crc32c(bytes, size);
        CHECK((before ^ after) == csum_crc32c_change(first ^ second, size));
    }
}

/* UDP's checksum is never 0 when it is there, and stays 0 when it is not. */
static void test_udp_zero(void)
{
    static const uint8_t mask[4] = { 0xff, 0xff, 0, 0 };
    uint8_t frame[FRAME_MAX];
    uint32_t size = frame_named("IPv4 UDP", frame), ones = 0;
    struct rte_mbuf *with = make_packet(frame, size, 600, 0), *without;
    struct act_layers layers;

    size = frame_named("IPv4 UDP without checksum", frame);
    without = make_packet(frame, size, 600, 0);
    for (uint32_t port = 0; port < 65536; port++) {
        const uint8_t value[4] = { (uint8_t)(port >> 8), (uint8_t)port, 0, 0 };
        uint8_t *checksum = rte_pktmbuf_mtod(with, uint8_t *) + 40;

        act_parse(with, &layers);
        act_set(with, &layers, OVS_KEY_ATTR_UDP, value, mask);
        CHECK(checksum[0] || checksum[1]);
        ones += checksum[0] == 0xff && checksum[1] == 0xff;
        memcpy(frame, rte_pktmbuf_mtod(with, uint8_t *), with->data_len);
        CHECK(has_right_checksums(frame, with->data_len));
        act_set(without, &layers, OVS_KEY_ATTR_UDP, value, mask);
        checksum = rte_pktmbuf_mtod(without, uint8_t *) + 40;
        CHECK(!checksum[0] && !checksum[1]);
    }
    CHECK(ones == 1);
    rte_pktmbuf_free(with);
    rte_pktmbuf_free(without);
}

/* Copies that cannot be had: the packet itself goes on, what is missing is counted. */
static void test_no_mbufs(void)
{
    static struct rte_mbuf *all[8192];
    uint8_t frame[FRAME_MAX];
    uint32_t size = frame_named("IPv4 UDP", frame), n = 0;
    struct act_list_text l = { .size = 0 };
    struct act_prog *prog;
    uint64_t before = atomic_load(&counters.drops[DROP_no_mbuf]);

    al_u32(&l, OVS_ACTION_ATTR_OUTPUT, 1);
    al_u32(&l, OVS_ACTION_ATTR_OUTPUT, 2);
    CHECK(!compile(&l, &prog));
    while (n < 8192 && (all[n] = rte_pktmbuf_alloc(pool)))
        n++;
    rte_pktmbuf_free(all[--n]);
    all[n] = make_packet(frame, size, 600, 0);
    event_count = 0;
    test_act_run(pmd, prog, &all[n], 1, NULL);
    test_flush(pmd);
    CHECK(event_count == 1 && events[0].event.arg == 2);
    CHECK(atomic_load(&counters.drops[DROP_no_mbuf]) == before + 1);
    rte_pktmbuf_free_bulk(all, n);
    act_free(prog);
    CHECK(rte_mempool_in_use_count(pool) == 0);
}

int main(void)
{
    char *arguments[] = { (char *)"act_test", (char *)"--no-huge", (char *)"--no-shconf", (char *)"--no-pci",
                          (char *)"--no-telemetry", (char *)"-m", (char *)"128", (char *)"--log-level=error" };
    uint64_t state = 0x1234567890abcdefull;

    if (rte_eal_init(8, arguments) < 0) {
        puts("EAL does not start");
        return 77;
    }
    pool = rte_pktmbuf_pool_create("act_test", 2047, 0, sizeof(struct pkt), 2048, SOCKET_ID_ANY);
    if (!pool)
        return 1;
    setup_pmd();
    test_kinds();
    test_refusals();
    test_nesting();
    test_userdata();
    test_hash();
    test_sample();
    test_crc32c();
    test_udp_zero();
    test_no_mbufs();
    for (int i = 0; i < 6000 && failures < 3; i++)
        run_against_model(&state, i, i & 1);
    for (int i = 0; i < 6000 && failures < 3; i++)
        run_on_spoiled(&state);
    printf("%u outputs, upcalls and recirculations compared\n", compared);
    return failures != 0 || compared < 100000;
}
