/* SPDX-License-Identifier: Apache-2.0
 * link: act/act_*.c cls/cls*.c packet/csum.c base/error.c packet/extract.c packet/partial.c base/hash.c base/rcu.c base/slab.c base/stat.c packet/userdata.c base/mem.c odp/odp_*.c tnl/tnl_ready.c
 * eal: yes
 * sanitize: address
 *
 * Hazards 11 to 13 (see cls_hazard_test.c): tables and packets chosen to make lookups slow. */
#include <errno.h>

#include "hazard_fixture.h"

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
        CHECK(cls_insert(cls, i, &keys[i], &masks[i], act_verdict(program)) == 0);
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

/* Packets of one port that alternate, as they come and when they come round again, have others pay nothing. */
static void hazard_13_habits(void)
{
    enum { PORTS = 1000, IDS = 40 };
    struct packet packets[CLS_BURST];
    struct rte_mbuf *mbufs[CLS_BURST];
    uint16_t tcp_flags[CLS_BURST];
    uint32_t flows[CLS_BURST];
    uint8_t frame[FRAME_MAX];
    uint32_t size = frame_named("IPv4 UDP", frame);
    struct key key, mask;

    always(&mask);
    mask.base.ip4_src = UINT32_MAX;
    for (uint32_t i = 0; i < CLS_BURST; i++) {
        memcpy(frame + 26, &i, 4);
        packets[i] = packet_create(frame, size);
        mbufs[i] = packets[i].m;
    }
    for (uint32_t id = 0; id < IDS; id++) {
        const struct pkt_md md = { .in_port = 1, .recirc_id = id };

        extract_key(frame, size, size, &md, NULL, &key, NULL);
        CHECK(cls_insert(cls, 1 + id, &key, &mask, act_verdict(program)) == 0);
        for (uint32_t n = 0; n < 200; n++)
            cls_lookup(replica, 1, id, mbufs, CLS_BURST, &md, flows, tcp_flags, &stat);
        CHECK(cls_habit_of(replica, 1, id)->same_pause);
    }
    for (uint32_t port = 2; port < PORTS; port++)
        CHECK(!cls_habit_of(replica, port, 0)->same_pause && !cls_habit_of(replica, port, 0)->same_tried);
    for (uint32_t i = 0; i < CLS_BURST; i++)
        packet_free(&packets[i]);
    for (uint32_t id = 0; id < IDS; id++)
        cls_remove(cls, 1 + id);
}

static uint32_t count(cls_table table, uint32_t buckets)
{
    uint32_t n = 0;

    for (uint32_t b = 0; b < buckets; b++)
        for (int j = 0; j < CLS_SLOTS; j++)
            n += atomic_load(&cls_buckets(table)[b].sig[j]) != 0;
    return n;
}

/* A table that grows bit by bit, while flows come and go: whatever has been copied is in the next
 * one too, and once. */
static void hazard_11_growing(void)
{
    enum { FLOWS = 3000, STEP = 7 };
    bool there[FLOWS + 1] = { false };
    uint32_t copying = 0, size;
    uint8_t frame[FRAME_MAX];
    struct key mask;

    size = frame_named("IPv4 UDP", frame);
    always(&mask);
    mask.base.ip4_src = UINT32_MAX;
    for (uint32_t round = 0; round < 20000; round++) {
        const uint32_t flow = round ? 1 + rnd(FLOWS) : 1;
        const struct cls_sub *sub;
        cls_table table;

        if (flow == 1 && round)
            continue; /* The table is never empty. */
        memcpy(frame + 26, &flow, 4);
        if (there[flow])
            cls_remove(cls, flow);
        else
            add(flow, frame, size, 1, &mask);
        there[flow] = !there[flow];
        CHECK(find(frame, size, 1) == (there[flow] ? flow : 0));
        if (round % STEP)
            continue;
        sub = view_of(1)->subs[0];
        table = atomic_load(&sub->table);
        CHECK(count(table, cls_bucket_mask(table) + 1) == sub->flows);
        if (sub->next) {
            CHECK(count(sub->next, cls_bucket_mask(sub->next) + 1) == count(table, sub->copied));
            copying++;
        }
    }
    CHECK(copying > 10);
    for (uint32_t flow = 1; flow <= FLOWS; flow++) {
        memcpy(frame + 26, &flow, 4);
        CHECK(find(frame, size, 1) == (there[flow] ? flow : 0));
        if (there[flow])
            cls_remove(cls, flow);
    }
}

int main(void)
{
    static void (*const hazards[])(void) = {
        hazard_11_collisions, hazard_11_equal_signatures, hazard_11_growing, hazard_12_bits_fall, hazard_12_explosion, hazard_13_cold,
        hazard_13_habits,
    };

    for_each_build(hazards, sizeof hazards / sizeof hazards[0]);
    return failures != 0;
}
