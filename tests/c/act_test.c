/* SPDX-License-Identifier: Apache-2.0
 * link: act/act_build*.c act/act_known.c act/act_ct.c base/hash.c base/mem.c ct/ct*.c ipf/ipf*.c packet/eal_hold.c act/act_compile.c act/act_frame.c act/act_hash.c act/act_header.c act/act_set.c packet/csum.c packet/extract.c packet/partial.c odp/odp_*.c packet/userdata.c tnl/tnl_ready.c tnl/tnl_inner.c tnl/tnl_outer.c tnl/tnl_pop.c tnl/tnl_bundle.c tnl/tnl_read.c segment/segment_merge.c packet/worker.c record/record.c
 * eal: yes
 * sanitize: address
 *
 * Compiled actions, fact by fact: refusals, nesting, userdata, hashes, samples, checksums, empty
 * pools; every mbuf accounted for. */
#include "act_fixture.h"

static int compile(const struct act_list_text *list, struct act_prog **prog)
{
    const char *why = NULL;
    int error = act_compile(list->bytes, list->size, NULL, prog, &why);

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
    static const uint16_t unsupported[] = { 0, OVS_ACTION_ATTR_PUSH_NSH, OVS_ACTION_ATTR_ADD_MPLS, 25, 26, 29, 100, 0x3fff };
    static const uint16_t word[] = { OVS_ACTION_ATTR_METER, 27 /* tnl_pop */ };
    struct act_list_text l;
    uint32_t nest;

    for (uint32_t i = 0; i < sizeof unsupported / sizeof unsupported[0]; i++)
        for (uint32_t size = 0; size < 20; size += 4) {
            l.size = 0;
            al_add(&l, unsupported[i], size);
            CHECK(refused(&l) == EINVAL);
        }
    for (uint32_t i = 0; i < sizeof word / sizeof word[0]; i++)
        for (uint32_t size = 0; size < 20; size += 4) {
            struct act_prog *prog;

            l.size = 0;
            al_add(&l, word[i], size);
            CHECK(compile(&l, &prog) == (size == 4 ? 0 : EINVAL));
            act_free(prog);
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

static const struct {
    const char *name;
    int nul, error;
} helpers[] = { { "ftp", 1, 0 }, { "tftp", 1, 0 }, { "ftp", 0, EINVAL }, { "sip", 1, EINVAL }, { "", 0, EINVAL }, { "ftp and what is too long", 1, EINVAL } };

/* Every attribute of ct and of its nat has one size, or a few. */
static void test_ct_sizes(void)
{
    static const uint64_t good[] = { /* Bits of sizes, by number. */
        [OVS_CT_ATTR_COMMIT] = 1, [OVS_CT_ATTR_ZONE] = 1 << 2, [OVS_CT_ATTR_MARK] = 1 << 8, [OVS_CT_ATTR_LABELS] = UINT64_C(1) << 32,
        [OVS_CT_ATTR_NAT] = 1, [OVS_CT_ATTR_FORCE_COMMIT] = 1, [OVS_CT_ATTR_EVENTMASK] = 1 << 4,
        [OVS_CT_ATTR_TIMEOUT] = (UINT64_C(1) << 33) - 2,
    };
    struct act_list_text l;
    uint32_t nest, nat;

    for (uint32_t attr = 0; attr < 20; attr++)
        for (uint32_t size = 0; size < 60; size++) {
            const bool fits = attr < sizeof good / sizeof good[0] && good[attr] >> size & 1;

            l.size = 0;
            nest = al_begin(&l, OVS_ACTION_ATTR_CT);
            al_add(&l, attr, size);
            al_end(&l, nest);
            CHECK(refused(&l) == (fits ? 0 : EINVAL));
        }
    for (uint32_t attr = 0; attr < 12; attr++)
        for (uint32_t size = 0; size < 24; size++) {
            const bool flag = attr >= OVS_NAT_ATTR_PERSISTENT && attr <= OVS_NAT_ATTR_PROTO_RANDOM;
            const bool fits = flag ? !size : attr == OVS_NAT_ATTR_IP_MIN ? size == 4 || size == 16 : attr == OVS_NAT_ATTR_PROTO_MIN && size == 2;

            l.size = 0;
            nest = al_begin(&l, OVS_ACTION_ATTR_CT);
            nat = al_begin(&l, OVS_CT_ATTR_NAT);
            al_add(&l, OVS_NAT_ATTR_SRC, 0);
            if (attr != OVS_NAT_ATTR_SRC)
                al_add(&l, attr, size);
            al_end(&l, nat);
            al_end(&l, nest);
            CHECK(refused(&l) == (fits || attr == OVS_NAT_ATTR_SRC ? 0 : EINVAL));
        }
    for (uint32_t i = 0; i < sizeof helpers / sizeof helpers[0]; i++) {
        const uint32_t size = (uint32_t)strlen(helpers[i].name) + helpers[i].nul;

        l.size = 0;
        nest = al_begin(&l, OVS_ACTION_ATTR_CT);
        memcpy(al_add(&l, OVS_CT_ATTR_HELPER, size), helpers[i].name, size);
        al_end(&l, nest);
        CHECK(refused(&l) == helpers[i].error);
    }
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

/* Userdata of any size, the actions if asked for, and both outlive the program while an upcall
 * holds them. */
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
        test_act_run(worker, prog, &m, 1, NULL);
        CHECK(event_count == 1 && last_userdata && last_userdata->given && last_userdata->size == given);
        CHECK((last_userdata->actions ? last_userdata->actions->size : 0) == (given & 1 ? l.size : 0));
        CHECK(!last_userdata->actions || !memcmp(last_userdata->actions->bytes, l.bytes, l.size));
        atomic_fetch_add(&last_userdata->references, 1);
        act_free(prog);
        for (uint32_t i = 0; i < given; i++)
            CHECK(last_userdata->bytes[i] == 0x5c);
        userdata_free(last_userdata);
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
    hash = act_hash(m, 0, algorithm, basis);
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
        test_act_run(worker, prog, &m, 1, NULL);
        test_flush(worker);
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

        act_parse(with, 0, &layers);
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
    test_act_run(worker, prog, &all[n], 1, NULL);
    test_flush(worker);
    CHECK(event_count == 1 && events[0].event.arg == 2);
    CHECK(atomic_load(&counters.drops[DROP_no_mbuf]) == before + 1);
    rte_pktmbuf_free_bulk(all, n);
    act_free(prog);
    CHECK(rte_mempool_in_use_count(pool) == 0);
}

int main(void)
{
    if (!fixture_start("act_test"))
        return 77;
    test_kinds();
    test_refusals();
    test_ct_sizes();
    test_nesting();
    test_userdata();
    test_hash();
    test_sample();
    test_crc32c();
    test_udp_zero();
    test_no_mbufs();
    return failures != 0;
}
