/* SPDX-License-Identifier: Apache-2.0
 * link: act/act_*.c cls/cls*.c packet/csum.c base/error.c packet/extract.c packet/partial.c base/hash.c base/rcu.c base/slab.c base/stat.c packet/userdata.c base/mem.c odp/odp_*.c tnl/tnl_ready.c
 * eal: yes
 * sanitize: address
 *
 * The classifier against a search through all flows: tables of every shape, packets of every kind, all builds of the lookup. */
#include <errno.h>

#include "cls_fixture.h"

#define FLOWS 400
#define PORTS 2

struct model {
    struct key key, mask;
    bool alive;
};

static struct model model[FLOWS + 1];
static struct rcu *rcu;
static struct cls *cls;
static struct stat_counters stat;
static struct act_prog *program;

static void setup(void)
{
    memset(model, 0, sizeof model);
    rcu = rcu_create();
    cls = cls_create(rcu);
    if (!cls)
        abort();
}

static void teardown(void)
{
    cls_destroy(cls);
    rcu_destroy(rcu);
}

/* A flow like a random packet. */
static void add_flow(uint32_t flow, enum shape shape)
{
    struct model *f = &model[flow];
    uint8_t frame[FRAME_MAX + 32];
    uint32_t size = random_frame(frame);
    struct pkt pkt;

    random_md(&pkt, rnd(PORTS), rnd(2), true);
    extract_key(frame, size, size, &pkt.md, &pkt, &f->key, NULL);
    random_mask(shape, &f->mask);
    CHECK(cls_insert(cls, flow, &f->key, &f->mask, act_verdict(program)) == 0);
    f->alive = true;
}

static void remove_flow(uint32_t flow)
{
    cls_remove(cls, flow);
    model[flow].alive = false;
}

/* What is found must match, and nothing may match when nothing is found. */
static bool right(const struct key *key, uint32_t flow)
{
    if (flow)
        return flow <= FLOWS && model[flow].alive && key_matches(key, &model[flow].key, &model[flow].mask);
    for (uint32_t i = 1; i <= FLOWS; i++) {
        if (model[i].alive && key_matches(key, &model[i].key, &model[i].mask))
            return false;
    }
    return true;
}

static void look_up_burst(struct cls_replica *replica)
{
    uint32_t n = 1 + rnd(CLS_BURST), in_port = rnd(PORTS), recirc_id = rnd(2), flows[CLS_BURST];
    bool common = rnd(2), more = rnd(2);
    uint16_t tcp_flags[CLS_BURST];
    struct rte_mbuf *mbufs[CLS_BURST];
    struct packet packets[CLS_BURST];
    struct pkt pkt;

    random_md(&pkt, in_port, recirc_id, false);
    for (uint32_t i = 0; i < n; i++) {
        uint8_t frame[FRAME_MAX + 32];
        uint32_t size = random_frame(frame);

        if (i && rnd(2))
            packets[i] = packet_create(rte_pktmbuf_mtod(mbufs[i - 1], uint8_t *), mbufs[i - 1]->data_len);
        else
            packets[i] = packet_create(frame, size);
        mbufs[i] = packets[i].m;
        if (!rnd(8)) /* A first segment, the rest of the packet being elsewhere. */
            mbufs[i]->pkt_len += rnd(200);
        if (!common)
            random_md(pkt_of(mbufs[i]), in_port, recirc_id, more);
        if (!common && i && rnd(2))
            *pkt_of(mbufs[i]) = *pkt_of(mbufs[i - 1]);
    }
    cls_lookup(replica, in_port, recirc_id, mbufs, n, common ? &pkt.md : NULL, flows, tcp_flags, &stat);
    for (uint32_t i = 0; i < n; i++) {
        struct key key;

        packet_key(&packets[i], common ? &pkt.md : NULL, &key);
        CHECK(right(&key, flows[i]));
        CHECK(cls_find(cls, &key) == flows[i]);
        if (flows[i])
            CHECK(tcp_flags[i] == __builtin_bswap16(key.base.tcp_flags));
        packet_free(&packets[i]);
    }
}

/* A flow below `end` comes if it is not there, or goes if it may. */
static void change(uint32_t end, enum shape shape, bool may_go, uint32_t *alive)
{
    const uint32_t flow = 1 + rnd(end);

    if (!model[flow].alive) {
        add_flow(flow, shape);
        ++*alive;
    } else if (may_go) {
        remove_flow(flow);
        --*alive;
    }
}

/* One replica goes and another comes, bit by bit, while flows come and go. */
static struct cls_replica *exchange(struct cls_replica *replica, enum shape shape, uint32_t *alive)
{
    while (cls_replica_fold(cls, replica, 1 + rnd(5)))
        change(FLOWS, shape, true, alive);
    cls_replica_remove(cls, replica);
    replica = cls_replica_begin(cls, 2);
    CHECK(replica && cls_replica_begin(cls, 2) == replica);
    while (cls_replica_fill(cls, replica, 1 + rnd(5)))
        change(FLOWS, shape, true, alive);
    return replica;
}

/* Tables of one shape under constant change. */
static void test_shape(enum shape shape)
{
    struct cls_replica *replica;
    uint32_t alive = 0;

    setup();
    replica = cls_replica_add(cls, 1);
    for (uint32_t round = 0; round < 300; round++) {
        for (uint32_t n = rnd(12); n; n--)
            change(round < 150 ? FLOWS : FLOWS / 10, shape, round > 100, &alive);
        CHECK(cls_flow_count(cls) == alive);
        if (round == 200) /* One that comes late knows what came before. */
            replica = exchange(replica, shape, &alive);
        for (int i = 0; i < 4; i++)
            look_up_burst(replica);
        rcu_reclaim(rcu);
    }
    for (uint32_t flow = 1; flow <= FLOWS; flow++) {
        if (model[flow].alive)
            remove_flow(flow);
    }
    CHECK(cls_flow_count(cls) == 0 && cls_mask_count(cls) == 0);
    look_up_burst(replica);
    cls_replica_remove(cls, replica);
    teardown();
}

/* Any frame, with a flow of exactly its key as the scalar extractor sees it: every build finds it, so every build has the same key. */
static void test_extraction(void)
{
    struct cls_replica *replica;
    struct key mask;

    setup();
    replica = cls_replica_add(cls, 1);
    memset(&mask, 0xff, sizeof mask);
    for (uint32_t round = 0; round < 20000; round++) {
        uint8_t frame[FRAME_MAX + 32];
        uint32_t size = frame_get(rnd(FRAMES), frame), flow = 0;
        struct rte_mbuf *m;
        struct packet p;
        struct key key;
        uint16_t tcp_flags;

        if (rnd(4))
            size = frame_spoil(&seed, frame, size);
        if (!rnd(4)) /* Cut. */
            size = 14 + rnd(size - 13);
        p = packet_create(frame, size);
        m = p.m;
        if (!rnd(8))
            m->pkt_len += rnd(70000);
        random_md(pkt_of(m), 1, 0, !rnd(8));
        packet_key(&p, NULL, &key);
        CHECK(cls_insert(cls, 1, &key, &mask, act_verdict(program)) == 0);
        cls_lookup(replica, 1, 0, &m, 1, rnd(2) && !pkt_of(m)->md.more ? &pkt_of(m)->md : NULL, &flow, &tcp_flags, &stat);
        CHECK(flow == 1 && tcp_flags == __builtin_bswap16(key.base.tcp_flags));
        cls_remove(cls, 1);
        packet_free(&p);
        rcu_reclaim(rcu);
    }
    cls_replica_remove(cls, replica);
    teardown();
}

/* 512 masks with a flow each are all found; one more is refused and leaves nothing behind. */
static void test_many_masks(void)
{
    struct key key, mask;
    uint8_t frame[FRAME_MAX];
    uint32_t size = frame_named("IPv4 UDP", frame), refused = 0;
    struct pkt_md md = { .in_port = 1 };

    setup();
    for (uint32_t i = 0; i < CLS_MASKS_MAX + 8; i++) {
        struct model *f = &model[1 + i % FLOWS];
        int error;

        extract_key(frame, size, size, &md, NULL, &key, NULL);
        memset(&mask, 0, sizeof mask);
        mask.base.eth_type = 0xffff;
        prefix((uint8_t *)&mask.base.ip4_src, 1 + i % 32);
        prefix((uint8_t *)&mask.base.ip4_dst, 1 + i / 32);
        key.base.ip4_src ^= (uint32_t)(0x80u >> (i % 32 % 8)) << 8 * (i % 32 / 8);
        key.base.ip4_dst ^= (uint32_t)(0x80u >> (i / 32 % 8)) << 8 * (i / 32 / 8);
        error = cls_insert(cls, 1 + i, &key, &mask, act_verdict(program));
        CHECK(error == (i < CLS_MASKS_MAX ? 0 : ENOSPC));
        refused += error != 0;
        if (!error)
            CHECK(cls_find(cls, &key) != 0 && cls_find_exact(cls, &key, &mask) == 1 + i);
        f->alive = false;
    }
    CHECK(refused == 8 && cls_mask_count(cls) == CLS_MASKS_MAX);
    for (uint32_t i = 0; i < CLS_MASKS_MAX; i++)
        cls_remove(cls, 1 + i);
    CHECK(cls_mask_count(cls) == 0);
    teardown();
}

/* Counters of replicas are summed, and outlive their replica. */
static void test_counters(void)
{
    const uint64_t later = (1ull << 32) + 5;
    struct cls_replica *a, *b;
    struct cls_counters sum;

    setup();
    add_flow(1, SHAPE_L2);
    a = cls_replica_add(cls, 1);
    b = cls_replica_add(cls, 3);
    cls_entries(a)[1].packets = 3;
    cls_entries(a)[1].bytes = 300;
    cls_entries(a)[1].used_ms = UINT32_MAX;
    cls_entries(a)[1].tcp_flags = 2;
    cls_entries(b)[1].packets = 4;
    cls_use(&cls_entries(b)[1], later); /* 32 bits went round. */
    cls_entries(b)[1].tcp_flags = 0x10;
    cls_counters(cls, 1, &sum);
    CHECK(sum.packets == 7 && sum.bytes == 300 && sum.used_ms == later && sum.tcp_flags == 0x12);
    while (cls_replica_fold(cls, a, 1)) { /* At no time anything is missing, or counted twice. */
        cls_counters(cls, 1, &sum);
        CHECK(sum.packets == 7 && sum.bytes == 300 && sum.used_ms == later && sum.tcp_flags == 0x12);
    }
    cls_replica_remove(cls, a);
    cls_replica_remove(cls, b);
    cls_counters(cls, 1, &sum);
    CHECK(sum.packets == 7 && sum.bytes == 300 && sum.used_ms == later && sum.tcp_flags == 0x12);
    cls_forget(cls, 1);
    cls_counters(cls, 1, &sum);
    CHECK(sum.packets == 7 && !sum.used_ms && !sum.tcp_flags);
    remove_flow(1);
    rcu_synchronize(rcu);
    add_flow(1, SHAPE_L2);
    cls_counters(cls, 1, &sum);
    CHECK(!sum.packets && !sum.bytes);
    remove_flow(1);
    teardown();
}

int main(void)
{
    static const uint32_t builds[] = { 0, 1, 2 };

    program = output_program(1);
    for (uint32_t b = 0; b < 3; b++) {
        if (cls_isa_set(builds[b], b == 2) == EOPNOTSUPP) {
            printf("this CPU lacks build %u\n", b);
            continue;
        }
        CHECK(cls_isa_get() == builds[b]);
        for (enum shape shape = 0; shape < SHAPES; shape++)
            test_shape(shape);
        test_extraction();
    }
    CHECK(cls_isa_set(3, false) == EOPNOTSUPP);
    CHECK(stat.validator_mismatches == 0);
    test_many_masks();
    test_counters();
    act_free(program);
    return failures != 0;
}
