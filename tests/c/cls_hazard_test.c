/* SPDX-License-Identifier: Apache-2.0
 * link: everything
 * eal: yes
 * sanitize: address
 *
 * The known ways in which a classifier of masked flows goes wrong, each as a test, for every build of the lookup. */
#include <errno.h>
#include <rte_mbuf.h>

#include "burst.h"
#include "cls_fixture.h"
#include "cls_int.h"
#include "odp.h"
#include "pmd.h"
#include "pmd_int.h"
#include "port.h"

static struct rcu *rcu;
static struct cls *cls;
static struct cls_replica *replica;
static struct stat_counters stat;
static struct act_prog *program;

static void setup(void)
{
    rcu = rcu_create();
    cls = cls_create(rcu);
    replica = cls_replica_add(cls, 1);
}

static void teardown(void)
{
    cls_replica_remove(cls, replica);
    cls_destroy(cls);
    rcu_destroy(rcu);
}

static void always(struct key *mask)
{
    memset(mask, 0, sizeof *mask);
    mask->base.in_port = mask->base.recirc_id = UINT32_MAX;
    mask->base.l2 = 0xff;
    mask->base.eth_type = 0xffff;
    mask->base.vlan[0].tci = 0x10;
    mask->base.nw_frag = 0xff;
}

static void key_of(const uint8_t *frame, uint32_t size, uint32_t in_port, struct key *key)
{
    const struct pkt_md md = { .in_port = in_port };

    extract_key(frame, size, size, &md, NULL, key, NULL);
}

static void add(uint32_t flow, const uint8_t *frame, uint32_t size, uint32_t in_port, const struct key *mask)
{
    struct key key;

    key_of(frame, size, in_port, &key);
    CHECK(cls_insert(cls, flow, &key, mask, program) == 0);
}

static uint16_t last_flags;

static uint32_t find(const uint8_t *frame, uint32_t size, uint32_t in_port)
{
    struct packet p = packet_create(frame, size);
    const struct pkt_md md = { .in_port = in_port };
    uint32_t flow;

    cls_lookup(replica, in_port, 0, &p.m, 1, &md, &flow, &last_flags, &stat);
    packet_free(&p);
    return flow;
}

static const struct cls_view *view_of(uint32_t in_port)
{
    struct cls_part *part = cls_part_find(cls, in_port, 0);

    return part ? atomic_load(&part->view) : NULL;
}

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
    CHECK(find(frame, size, 1) == 1);
    CHECK(!find(fragment, fragment_size, 1) && !find(ip6, ip6_size, 1) && !find(tagged, tagged_size, 1));
    CHECK(!find(frame, size, 2));
    memset(&all, 0xff, sizeof all);
    add(2, frame, size, 2, &all);
    CHECK(find(frame, size, 2) == 2 && find(frame, size, 1) == 1);
    CHECK(!view_of(1)->mask.base.tp_src && view_of(1)->blocks == 1 && view_of(2)->blocks == 15);
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
    CHECK(cls_insert(cls, 1, &key, &mask, program) == 0);
    cls_lookup(replica, 1, 0, &p.m, 1, NULL, &flow, &tcp_flags, &stat);
    CHECK(flow == 1 && !find(frame, size, 1));
    pkt_of(p.m)->tunnel.id = 43;
    cls_lookup(replica, 1, 0, &p.m, 1, NULL, &flow, &tcp_flags, &stat);
    CHECK(!flow);
    mask.tunnel.id = 0;
    CHECK(cls_insert(cls, 2, &key, &mask, program) == 0);
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
    static struct pmd_tx tx = { .port = &port, .no = 1 };
    const struct pkt_md md = { .in_port = 1 };
    struct rte_mempool *pool = rte_pktmbuf_pool_create("hazard9", 255, 0, sizeof(struct pkt), 2048, SOCKET_ID_ANY);
    static struct stat_counters counters;
    struct rte_mbuf *packets[PMD_BURST];
    static struct pmd pmd;
    uint8_t frame[FRAME_MAX];
    uint32_t size = frame_named("IPv4 UDP", frame);
    struct cls_counters sum;
    struct key mask;

    if (!pool || pmd_init(&pmd, &counters, 1, 0))
        abort();
    memset(&counters, 0, sizeof counters);
    atomic_store(&pmd.tx[1], &tx);
    pmd.replica = replica;
    always(&mask);
    add(1, frame, size, 1, &mask);
    for (uint32_t n = 1; n <= PMD_BURST; n++) {
        for (uint32_t i = 0; i < n; i++) {
            packets[i] = rte_pktmbuf_alloc(pool);
            memcpy(rte_pktmbuf_append(packets[i], i % 3 == 1 ? 13 : (uint16_t)size), frame, i % 3 == 1 ? 13 : size);
        }
        burst_receive(&pmd, packets, n, &md);
        pmd_flush(&pmd);
    }
    CHECK(sent == counters.hit && counters.drops[DROP_rx_runt] + sent == PMD_BURST * (PMD_BURST + 1) / 2);
    CHECK(counters.drops[DROP_rx_runt] == 176);
    cls_counters(cls, 1, &sum);
    CHECK(sum.packets == sent && sum.bytes == sent * size && sum.used_ms);
    CHECK(rte_mempool_in_use_count(pool) == 0);
    cls_remove(cls, 1);
    sent = 0;
    pmd_fini(&pmd);
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

static uint32_t crc32c(const uint8_t *at, uint32_t size)
{
    uint32_t crc = 0;

    for (uint32_t i = 0; i < size * 8; i++) {
        crc ^= (uint32_t)(at[i / 8] >> i % 8 & 1);
        crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
    }
    return crc;
}

/* Addresses that CRC32C maps to 0: by linearity, adding them to a key changes no CRC under any seed.  A basis of 32. */
static void crc_kernel(uint64_t basis[32])
{
    uint64_t rows[64], images[64];
    uint32_t n = 0;

    for (uint32_t i = 0; i < 64; i++) {
        rows[i] = 1ull << i;
        images[i] = crc32c((const uint8_t *)&rows[i], 8);
    }
    for (uint32_t bit = 0; bit < 32; bit++) {
        uint32_t pivot = n;

        while (pivot < 64 && !(images[pivot] >> bit & 1))
            pivot++;
        if (pivot == 64)
            continue;
        for (uint32_t i = 0; i < 64; i++) {
            if (i != pivot && images[i] >> bit & 1) {
                images[i] ^= images[pivot];
                rows[i] ^= rows[pivot];
            }
        }
        uint64_t row = rows[pivot], image = images[pivot];

        rows[pivot] = rows[n];
        images[pivot] = images[n];
        rows[n] = row;
        images[n++] = image;
    }
    CHECK(n == 32);
    for (uint32_t i = 0; i < 32; i++) {
        basis[i] = rows[32 + i];
        CHECK(images[32 + i] == 0);
    }
}

/* 10,000 flows that all collide under CRC32C spread over the buckets like any others. */
static void hazard_11_collisions(void)
{
    uint8_t frame[FRAME_MAX];
    uint32_t size = frame_named("IPv4 UDP", frame), passed = 0;
    uint64_t basis[32];
    struct key mask;
    cls_table table;

    crc_kernel(basis);
    always(&mask);
    mask.base.ip4_src = mask.base.ip4_dst = UINT32_MAX;
    for (uint32_t i = 1; i <= 10000; i++) {
        uint64_t addresses = 0;

        for (uint32_t bit = 0; bit < 14; bit++)
            addresses ^= i >> bit & 1 ? basis[bit] : 0;
        CHECK(crc32c((const uint8_t *)&addresses, 8) == 0);
        memcpy(frame + 26, &addresses, 8);
        add(i, frame, size, 1, &mask);
    }
    table = atomic_load(&view_of(1)->subs[0]->table);
    for (uint32_t b = 0; b <= cls_bucket_mask(table); b++)
        passed += atomic_load(&cls_buckets(table)[b].passed);
    CHECK(passed < 10000 / 50); /* Random keys: about one in 200 at half load. */
    CHECK(find(frame, size, 1) == 10000);
    for (uint32_t i = 1; i <= 10000; i++)
        cls_remove(cls, i);
}

/* Flows with one signature, more than a bucket holds, in a table and out of it again; and a lookup that meets another flow's
 * signature first. */
static void hazard_11_equal_signatures(void)
{
    uint8_t frame[FRAME_MAX], other[FRAME_MAX];
    uint32_t size = frame_named("IPv4 UDP", frame), sig, packed[CLS_CHUNKS * HASH_CHUNK];
    bool there[64] = { false };
    cls_table table = cls_table_create(64);
    const struct cls_sub *sub;
    struct key key, mask;

    for (uint32_t round = 0; round < 2000; round++) {
        uint32_t flow = 1 + rnd(60), passed = 0, n = 0;

        if (there[flow])
            CHECK(cls_table_remove(table, 17, flow));
        else
            cls_table_add(table, 17, flow);
        there[flow] = !there[flow];
        for (uint32_t b = 0; b <= cls_bucket_mask(table); b++) {
            const struct cls_bucket *bucket = &cls_buckets(table)[b];

            passed += atomic_load(&bucket->passed) != 0;
            for (int j = 0; j < CLS_SLOTS; j++)
                n += atomic_load(&bucket->sig[j]) != 0;
        }
        for (uint32_t i = 1; i < 64; i++)
            n -= there[i];
        CHECK(n == 0 && passed < 10);
    }
    for (uint32_t flow = 1; flow < 64; flow++) {
        if (there[flow])
            CHECK(cls_table_remove(table, 17, flow));
    }
    CHECK(!cls_table_remove(table, 17, 1));
    for (uint32_t b = 0; b <= cls_bucket_mask(table); b++)
        CHECK(!atomic_load(&cls_buckets(table)[b].passed));
    cls_table_free(table);

    /* All of block 0 and 1: the flows differ behind the first chunk only. */
    memset(&mask, 0xff, sizeof mask);
    memcpy(other, frame, size);
    other[36] ^= 1;
    add(1, frame, size, 1, &mask);
    add(2, other, size, 1, &mask);
    sub = view_of(1)->subs[0];
    table = atomic_load(&sub->table);
    key_of(frame, size, 1, &key);
    for (unsigned int i = 0; i < sub->chunks; i++)
        cls_pack_chunk(sub, &key, i, packed + i * HASH_CHUNK);
    sig = cls_sig(hash_chunks(&cls->key, packed, sub->chunks));
    CHECK(cls_table_remove(table, sig, 1));
    cls_table_add(table, sig, 2); /* A false one first. */
    cls_table_add(table, sig, 1);
    CHECK(find(frame, size, 1) == 1 && cls_find(cls, &key) == 1);
    CHECK(cls_table_remove(table, sig, 1));
    CHECK(find(frame, size, 1) == 0 && cls_find(cls, &key) == 0);
    CHECK(cls_table_remove(table, sig, 2));
    cls_table_add(table, sig, 1);
    cls_remove(cls, 1);
    cls_remove(cls, 2);
}

/* A bit stands for a flow, and falls with the last one: candidates are exactly the masks that have, for each of the chosen
 * bytes, a flow that allows its value. */
static void hazard_12_bits_fall(void)
{
    enum { FLOWS = 400 };
    static struct key keys[FLOWS + 1], masks[FLOWS + 1];
    uint8_t frame[FRAME_MAX];
    uint32_t size = frame_named("IPv4 UDP", frame);

    for (uint32_t i = 1; i <= FLOWS; i++) {
        uint32_t dst = rnd(0x80000000u);

        memcpy(frame + 30, &dst, 4);
        key_of(frame, size, 1, &keys[i]);
        always(&masks[i]);
        prefix((uint8_t *)&masks[i].base.ip4_dst, 9 + i % 24);
        CHECK(cls_insert(cls, i, &keys[i], &masks[i], program) == 0);
    }
    CHECK(view_of(1)->prune_n > 0);
    for (uint32_t i = 1; i <= FLOWS / 2; i++)
        cls_remove(cls, i);
    for (uint32_t n = 0; n < 2000; n++) {
        const struct cls_view *view = view_of(1);
        uint64_t map[CLS_MAP_WORDS], expected = UINT64_MAX;
        struct key key = keys[1 + rnd(FLOWS)];

        key.base.ip4_dst ^= rnd(2) * rnd(0x80000000u);
        cls_prune_map(view, &key, map);
        for (uint32_t k = 0; k < view->prune_n; k++) {
            const uint16_t at = view->prune_at[k];
            uint64_t some = 0;

            for (uint32_t i = FLOWS / 2 + 1; i <= FLOWS; i++) {
                if (!((key.bytes[at] ^ keys[i].bytes[at]) & masks[i].bytes[at]))
                    some |= 1ull << cls->sub_of[i]->slot;
            }
            expected &= some;
        }
        CHECK(map[0] == expected);
    }
    for (uint32_t i = FLOWS / 2 + 1; i <= FLOWS; i++)
        cls_remove(cls, i);
}

/* 512 masks: a packet is compared with hardly more than one, the second time as well as the first. */
static void hazard_12_explosion(void)
{
    uint8_t frame[FRAME_MAX];
    uint32_t size = frame_named("IPv4 UDP", frame);
    struct key mask;
    uint64_t before;

    for (int round = 0; round < 2; round++) {
        for (uint32_t i = 0; i < CLS_MASKS_MAX; i++) {
            uint32_t src = __builtin_bswap32(0x0a010203u ^ 0x80000000u >> i % 32);
            uint16_t dport = __builtin_bswap16((uint16_t)(80u ^ 0x8000u >> i / 32));

            always(&mask);
            mask.base.ip4_src = __builtin_bswap32(~0u << (31 - i % 32));
            mask.base.tp_dst = __builtin_bswap16((uint16_t)(~0u << (15 - i / 32)));
            memcpy(frame + 26, &src, 4);
            memcpy(frame + 36, &dport, 2);
            add(1 + i, frame, size, 1, &mask);
        }
        before = stat.mask_hit;
        for (uint32_t i = 0; i < 4096; i++) {
            uint32_t a = rnd(32), b = rnd(16), flow = 1 + a + 32 * b;
            uint32_t src = (0x0a010203u ^ 0x80000000u >> a) ^ (rnd(0x80000000u) & ~(~0u << (31 - a)));
            uint16_t dport = (uint16_t)((80u ^ 0x8000u >> b) ^ (rnd(0x10000) & ~(~0u << (15 - b))));

            src = __builtin_bswap32(src);
            dport = __builtin_bswap16(dport);
            memcpy(frame + 26, &src, 4);
            memcpy(frame + 36, &dport, 2);
            CHECK(find(frame, size, 1) == flow);
        }
        CHECK(stat.mask_hit - before < 2 * 4096);
        for (uint32_t i = 0; i < CLS_MASKS_MAX; i += 2)
            cls_remove(cls, 1 + i);
        for (uint32_t i = 1; i < CLS_MASKS_MAX; i += 2)
            cls_remove(cls, 1 + i);
        rcu_synchronize(rcu);
    }
}

/* No lookup is dearer for being the first of its kind: there is no cache to be cold. */
static void hazard_13_cold(void)
{
    uint8_t frame[FRAME_MAX];
    uint32_t size = frame_named("IPv4 UDP", frame);
    uint64_t probes[2], start;
    struct key mask;

    for (uint32_t i = 0; i < 20; i++) {
        uint32_t dst = __builtin_bswap32(0x0a010203u ^ 0x80000000u >> (i + 8));

        always(&mask);
        mask.base.ip4_dst = __builtin_bswap32(~0u << (31 - (i + 8)));
        memcpy(frame + 30, &dst, 4);
        add(1 + i, frame, size, 1, &mask);
    }
    for (int again = 0; again < 2; again++) {
        start = stat.mask_hit;
        for (uint32_t i = 0; i < 2000; i++) {
            uint32_t bit = i % 20 + 8, dst = __builtin_bswap32((0x0a010203u ^ 0x80000000u >> bit) ^ (i / 20 & ~(~0u << (31 - bit))));

            memcpy(frame + 30, &dst, 4);
            CHECK(find(frame, size, 1) == 1 + i % 20);
        }
        probes[again] = stat.mask_hit - start;
    }
    CHECK(probes[0] == probes[1] && probes[0] < 3000);
    for (uint32_t i = 0; i < 20; i++)
        cls_remove(cls, 1 + i);
}

int main(void)
{
    static void (*const hazards[])(void) = {
        hazard_1_union_changes, hazard_2_always_in_the_key, hazard_3_vlan, hazard_4_fragments, hazard_5_stale_bytes, hazard_6_tcp_flags,
        hazard_7_tunnel, hazard_8_overlap, hazard_10_nothing_implied, hazard_11_collisions, hazard_11_equal_signatures,
        hazard_12_bits_fall, hazard_12_explosion, hazard_13_cold,
    };
    bool eal = dp_eal_start() == 0;

    program = output_program(1);
    for (uint32_t isa = 0; isa < 3; isa++) {
        if (cls_isa_set(isa, false)) {
            printf("this CPU lacks build %u\n", isa);
            continue;
        }
        setup();
        for (uint32_t i = 0; i < sizeof hazards / sizeof hazards[0]; i++)
            hazards[i]();
        if (eal)
            hazard_9_runt_between_equals();
        CHECK(!cls_flow_count(cls) && !cls_mask_count(cls));
        teardown();
    }
    act_free(program);
    if (!eal && !failures) {
        printf("EAL\n");
        return 77;
    }
    return failures != 0;
}
