/* SPDX-License-Identifier: Apache-2.0
 * link: act/act_*.c cls/cls*.c packet/csum.c base/error.c packet/extract.c packet/partial.c base/hash.c base/rcu.c base/slab.c base/stat.c packet/userdata.c base/mem.c odp/odp_*.c tnl/tnl_ready.c
 * eal: yes
 * sanitize: address
 *
 * The table tables of bench:peers against a search of all flows, for fuzzed packets, in every build of the lookup.
 *
 *   cls_verify_test [PACKETS]
 *
 * Each packet is looked up by each build.  Of the large tables few packets are compared, because the search takes as long as it does.  `deno run -A
 * tests/bench/cls_bench.ts verify` runs this for millions of packets. */
#include "hazard_fixture.h"

#include "cls/cls_int.h"

#define WORDS_MAX 16

struct table {
    const char *name;
    uint32_t flows, masks, per_mille;
    void (*mask)(uint32_t i, struct key *mask);
    bool ipv6, explode;
};

static void mask_port(uint32_t i, struct key *mask)
{
    (void)i;
    always(mask);
}

static void mask_dst8(uint32_t i, struct key *mask)
{
    mask_port(i, mask);
    mask->base.ip4_dst = 0xff;
}

static void mask_prefix(uint32_t i, struct key *mask)
{
    mask_port(i, mask);
    prefix((uint8_t *)&mask->base.ip4_dst, 1 + (i + 12) % 32);
}

static void mask_two_prefixes(uint32_t i, struct key *mask)
{
    mask_port(i, mask);
    prefix((uint8_t *)&mask->base.ip4_dst, 17 + i % 8);
    prefix((uint8_t *)&mask->base.ip4_src, 17 + i / 8 % 8);
}

static void mask_tuple(uint32_t i, struct key *mask)
{
    mask_port(i, mask);
    mask->base.nw_proto = 0xff;
    mask->base.ip4_src = mask->base.ip4_dst = UINT32_MAX;
    mask->base.tp_src = mask->base.tp_dst = UINT16_MAX;
}

static void mask_rewrite(uint32_t i, struct key *mask)
{
    mask_port(i, mask);
    memset(mask->base.eth_src, 0xff, 6);
    memset(mask->base.eth_dst, 0xff, 6);
    mask->base.nw_ttl = 0xff;
    mask->base.ip4_dst = 0xff;
}

static void mask_explosion(uint32_t i, struct key *mask)
{
    mask_port(i, mask);
    mask->base.nw_proto = 0xff;
    prefix((uint8_t *)&mask->base.ip4_src, 1 + i % 32);
    prefix((uint8_t *)&mask->base.tp_dst, 1 + i / 32 % 16);
}

static void mask_ip6(uint32_t i, struct key *mask)
{
    mask_port(i, mask);
    prefix(mask->wide.ip6_dst, 32);
}

/* All of blocks 0 and 1, or all but some. */
static void mask_headers(uint32_t i, struct key *mask)
{
    mask_port(i, mask);
    memset(mask->words + 1, 0xff, 15 * sizeof mask->words[0]);
    if (i % 4 == 1)
        memset(&mask->wide, 0, sizeof mask->wide);
    if (i % 4 == 2)
        mask->base.ip4_src = mask->base.ip4_dst = mask->base.ct_mark = mask->base.ct_zone = 0;
    if (i % 4 == 3)
        mask->base.tp_src = mask->base.tp_dst = mask->base.nw_tos = mask->base.tcp_flags = 0;
    mask->base.skb_mark = mask->base.ct_state = 0;
}

static const struct table tables[] = {
    { "one-flow", 1, 1, 200, mask_port, false, false },
    { "l3", 1, 1, 200, mask_dst8, false, false },
    { "masks20", 20, 20, 200, mask_prefix, false, false },
    { "masks64", 64, 64, 100, mask_two_prefixes, false, false },
    { "megaflows-18k", 18800, 64, 2, mask_two_prefixes, false, false },
    { "exact-100k", 100000, 1, 1, mask_tuple, false, false },
    { "rewrite", 1, 1, 100, mask_rewrite, false, false },
    { "ipv6", 1, 1, 150, mask_ip6, true, false },
    { "explosion-512", 512, 512, 47, mask_explosion, false, true },
    { "headers", 4 * FRAMES, 4, 300, mask_headers, false, false },
};

/* The table once more: of each flow, the words that any mask of it uses. */
static struct {
    uint64_t (*keys)[WORDS_MAX], (*masks)[WORDS_MAX];
    uint32_t at[WORDS_MAX], words, flows;
} all;

static const char *const names[] = { "scalar", "avx2", "avx512" };
static uint64_t compared[3], hits;

/* A frame for flow `i`, what its mask leaves open at random. */
static uint32_t frame_for(const struct table *table, uint32_t i, uint8_t *frame)
{
    uint32_t size = frame_named(table->ipv6 ? "IPv6 UDP" : "IPv4 UDP", frame), group = i / table->masks;
    uint32_t src = group * 0x9e3779b1u, dst = 10u << 24 | (group * 0x85ebca6bu & 0xffffff), sport = group * 7, dport = 80;
    struct key mask;

    if (table->mask == mask_headers)
        return frame_get(i / 4, frame);
    table->mask(i % table->masks, &mask);
    if (table->ipv6) {
        memcpy(frame + 38, "\x20\x01\x0d\xb8", 4);
        for (uint32_t k = 42; k < 54; k++)
            frame[k] = (uint8_t)rnd(256);
        return size;
    }
    if (table->explode) {
        src = 0x0a010203u ^ 0x80000000u >> i % 32;
        dport = 80u ^ 0x8000u >> i / 32 % 16;
    } else if (table->masks > 1) {
        uint32_t m = __builtin_bswap32(mask.base.ip4_dst);

        dst ^= m & -m; /* Parts ways with shorter prefixes of its group. */
        m = __builtin_bswap32(mask.base.ip4_src);
        src ^= m & -m;
    }
    src ^= rnd(0x80000000u) & ~__builtin_bswap32(mask.base.ip4_src);
    dst ^= rnd(0x80000000u) & ~__builtin_bswap32(mask.base.ip4_dst);
    dport ^= rnd(0x10000) & ~__builtin_bswap16(mask.base.tp_dst) & 0xffff;
    src = __builtin_bswap32(src);
    dst = __builtin_bswap32(dst);
    memcpy(frame + 26, &src, 4);
    memcpy(frame + 30, &dst, 4);
    frame[34] = (uint8_t)(sport >> 8);
    frame[35] = (uint8_t)sport;
    frame[36] = (uint8_t)(dport >> 8);
    frame[37] = (uint8_t)dport;
    return size;
}

static void fill(const struct table *table)
{
    struct key every, key, mask;

    memset(&every, 0, sizeof every);
    for (uint32_t i = 0; i < table->masks; i++) {
        table->mask(i, &mask);
        for (int w = 0; w < KEY_WORDS; w++)
            every.words[w] |= mask.words[w];
    }
    all.words = all.flows = 0;
    for (uint32_t w = 0; w < KEY_WORDS; w++) {
        if (every.words[w])
            all.at[all.words++] = w;
    }
    if (all.words > WORDS_MAX)
        abort();
    all.keys = malloc((table->flows + 1) * sizeof all.keys[0]);
    all.masks = malloc((table->flows + 1) * sizeof all.masks[0]);
    for (uint32_t i = 0; i < table->flows; i++) {
        uint8_t frame[FRAME_MAX];
        uint32_t size = frame_for(table, i, frame);

        key_of(frame, size, 1, &key);
        table->mask(i % table->masks, &mask);
        if (cls_find_exact(cls, &key, &mask))
            continue;
        CHECK(cls_insert(cls, ++all.flows, &key, &mask, act_verdict(program)) == 0);
        for (uint32_t w = 0; w < all.words; w++) {
            all.masks[all.flows][w] = mask.words[all.at[w]];
            all.keys[all.flows][w] = key.words[all.at[w]] & mask.words[all.at[w]];
        }
    }
    CHECK(all.flows > table->flows / 2);
}

static bool matches(const uint64_t *words, uint32_t flow)
{
    uint64_t difference = 0;

    for (uint32_t w = 0; w < all.words; w++)
        difference |= (words[w] & all.masks[flow][w]) ^ all.keys[flow][w];
    return !difference;
}

/* The answer is a flow that matches, or no flow does. */
static bool is_right(const struct key *key, uint32_t answer)
{
    uint64_t words[WORDS_MAX];

    for (uint32_t w = 0; w < all.words; w++)
        words[w] = key->words[all.at[w]];
    if (answer)
        return answer <= all.flows && matches(words, answer);
    for (uint32_t flow = 1; flow <= all.flows; flow++) {
        if (matches(words, flow))
            return false;
    }
    return true;
}

/* A frame once more, with a bit, a byte or its size changed, or nothing: what is expected of a
 * packet after the one before is most easily wrong there.  Returns its size. */
static uint32_t frame_nearly(uint8_t *frame, uint32_t size)
{
    const uint32_t end = size < 64 ? size : 64;

    if (size < 20)
        return size;
    switch (rnd(8)) {
    case 0:
        frame[rnd(end)] ^= (uint8_t)(1u << rnd(8));
        break;
    case 1:
        frame[rnd(end)] = (uint8_t)rnd(256);
        break;
    case 2:
        return size > EXTRACT_RUNT + 16 ? size - rnd(16) : size;
    case 3: /* The length that an IP header says. */
        frame[17 + 2 * rnd(2)] ^= (uint8_t)(1 + rnd(31));
        break;
    default:
        break;
    }
    return size;
}

/* A burst of up to CLS_BURST fuzzed packets, by every build. */
static void compare(const struct table *table, struct packet *packets, uint32_t n)
{
    const struct pkt_md md = { .in_port = 1, .skb_mark = rnd(2), .ct_state = (uint8_t)rnd(3) };
    uint32_t flows[3][CLS_BURST], first = UINT32_MAX;
    uint8_t base[FRAME_MAX];
    const uint32_t base_size = frame_for(table, rnd(table->flows), base);
    struct rte_mbuf *mbufs[CLS_BURST];
    uint16_t tcp_flags[CLS_BURST];
    const bool alike = rnd(2);
    const uint32_t same_pause = rnd(2), like_pause = rnd(2);
    bool whole;

    for (uint32_t i = 0; i < n; i++) {
        uint8_t frame[FRAME_MAX];
        uint32_t size;

        if (alike) {
            memcpy(frame, base, base_size);
            size = frame_nearly(frame, base_size);
        } else {
            size = rnd(16) ? frame_for(table, rnd(table->flows), frame) : random_frame(frame);
            if (rnd(2))
                size = frame_spoil(&seed, frame, size);
        }
        packets[i] = packet_create(frame, size);
        mbufs[i] = packets[i].m;
    }
    for (uint32_t isa = 0; isa < 3; isa++) {
        if (cls_isa_set(isa, false))
            continue;
        /* Where kinds and keys alternate, shortcuts pause: here by chance. */
        cls_habit_of(replica, 1, 0)->same_pause = same_pause;
        cls_habit_of(replica, 1, 0)->like.pause = like_pause;
        whole = cls_lookup(replica, 1, 0, mbufs, n, &md, flows[isa], tcp_flags, &stat);
        for (uint32_t i = 0; i < n; i++) {
            struct key key;

            packet_key(&packets[i], &md, &key);
            CHECK(tcp_flags[i] == __builtin_bswap16(key.base.tcp_flags));
            CHECK(!whole || flows[isa][i] == flows[isa][0]);
            if (first != UINT32_MAX && flows[isa][i] == flows[first][i])
                continue; /* Judged already. */
            if (first != UINT32_MAX || !is_right(&key, flows[isa][i])) {
                fprintf(stderr, "%s, %s: flow %u is wrong\n", table->name, names[isa], flows[isa][i]);
                CHECK(!"lookup and search agree");
            }
            hits += flows[isa][i] != 0;
        }
        first = first == UINT32_MAX ? isa : first;
        compared[isa] += n;
    }
    for (uint32_t i = 0; i < n; i++)
        packet_free(&packets[i]);
}

/* Headers that are too long to be expected make their thread stop trying, packet by packet. */
static void try_long_headers(void)
{
    const struct pkt_md md = { .in_port = 1 };
    struct packet packets[CLS_BURST];
    struct rte_mbuf *mbufs[CLS_BURST];
    uint16_t tcp_flags[CLS_BURST];
    uint32_t flows[CLS_BURST];
    uint8_t frame[FRAME_MAX];
    const uint32_t size = frame_named("IPv6 TCP", frame);
    struct cls_habit *habit = cls_habit_of(replica, 1, 0);

    for (uint32_t i = 0; i < CLS_BURST; i++) {
        packets[i] = packet_create(frame, size);
        mbufs[i] = packets[i].m;
    }
    for (uint32_t isa = 1; isa < 3; isa++) {
        if (cls_isa_set(isa, false))
            continue;
        habit->same_pause = habit->like.pause = habit->like.size = 0;
        cls_lookup(replica, 1, 0, mbufs, CLS_BURST, &md, flows, tcp_flags, &stat);
        CHECK(habit->like.pause && !habit->like.size);
    }
    for (uint32_t i = 0; i < CLS_BURST; i++)
        packet_free(&packets[i]);
}

int main(int argc, char **argv)
{
    const uint64_t wanted = argc > 1 ? strtoull(argv[1], NULL, 0) : 200000;

    program = output_program(1);
    for (uint32_t s = 0; s < sizeof tables / sizeof tables[0]; s++) {
        const struct table *table = &tables[s];
        uint64_t left = wanted * table->per_mille / 1000, before = hits, all_before = compared[0];

        setup();
        fill(table);
        try_long_headers();
        while (left) {
            struct packet packets[CLS_BURST];
            uint32_t n = 1 + rnd(CLS_BURST);

            n = n > left ? (uint32_t)left : n;
            compare(table, packets, n);
            left -= n;
        }
        CHECK(hits > before && hits - before < compared[0] - all_before);
        printf("%-14s %8u flows, %9llu packets, %llu hits\n", table->name, all.flows, (unsigned long long)(compared[0] - all_before),
               (unsigned long long)(hits - before));
        for (uint32_t flow = 1; flow <= all.flows; flow++)
            cls_remove(cls, flow);
        free(all.keys);
        free(all.masks);
        teardown();
    }
    for (int isa = 0; isa < 3; isa++)
        printf("%s: %llu packets compared\n", names[isa], (unsigned long long)compared[isa]);
    act_free(program);
    printf("%d mismatches\n", failures);
    return failures != 0;
}
