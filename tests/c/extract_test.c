/* SPDX-License-Identifier: Apache-2.0
 * link: packet/extract.c
 * sanitize: address
 *
 * extract_key: never reads past the bytes that it was given (frames end at a page that cannot be read), metadata, layers, chains, and
 * the fields that the comparison with Open vSwitch (extract_ovs_test.c) cannot see. */
#include <arpa/inet.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "packet/extract.h"
#include "frames.h"

static int failures;

#define CHECK(condition)                                                          \
    do {                                                                          \
        if (!(condition)) {                                                       \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);       \
            failures++;                                                           \
        }                                                                         \
    } while (0)

static const struct pkt_md plain = { .in_port = 7 };

/* The last bytes before an unreadable page. */
static uint8_t *guard_end(void)
{
    static uint8_t *end;
    long page = sysconf(_SC_PAGESIZE);

    if (!end) {
        uint8_t *map = mmap(NULL, 2 * (size_t)page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        if (map == MAP_FAILED || mprotect(map + page, (size_t)page, PROT_NONE))
            abort();
        end = map + page;
    }
    return end;
}

/* Extraction must depend on the frame only, and not on what stood in the key before. */
static void extract_guarded(const uint8_t *frame, uint32_t size, uint32_t packet_size, struct key *key,
                            struct extract_layers *layers)
{
    uint8_t *at = guard_end() - size;
    struct key other;

    memcpy(at, frame, size);
    memset(key, 0xa5, sizeof *key);
    memset(&other, 0, sizeof other);
    extract_key(at, size, packet_size, &plain, NULL, key, layers);
    extract_key(at, size, packet_size, &plain, NULL, &other, NULL);
    CHECK(!memcmp(key, &other, sizeof other));
}

static void check_layers(const struct key *key, const struct extract_layers *l, uint32_t size)
{
    CHECK(l->l3 >= 14 && l->l3 <= size);
    if (!l->l4)
        return;
    CHECK(l->l4 >= l->l3 + 20u && l->l4 <= size && l->l4 + l->l4_size <= (int)size);
    CHECK(key->base.eth_type == htons(0x0800) || key->base.eth_type == htons(0x86dd));
}

static void test_no_overread(void)
{
    uint64_t state = 0xfeedface12345ull;
    uint8_t frame[FRAME_MAX];
    struct extract_layers layers;
    struct key key;

    for (unsigned int i = 0; i < FRAMES; i++)
        for (uint32_t size = frame_get(i, frame); size >= EXTRACT_RUNT; size--) {
            extract_guarded(frame, size, size, &key, &layers);
            check_layers(&key, &layers, size);
        }
    for (unsigned int i = 0; i < 100000; i++) {
        uint32_t size = frame_get(frame_random(&state) % FRAMES, frame);

        size = frame_spoil(&state, frame, size);
        extract_guarded(frame, size, size, &key, &layers);
        check_layers(&key, &layers, size);
    }
    for (unsigned int i = 0; i < 20000; i++) {
        uint32_t size = EXTRACT_RUNT + frame_random(&state) % 80;

        for (uint32_t j = 0; j < size; j++)
            frame[j] = (uint8_t)frame_random(&state);
        extract_guarded(frame, size, size, &key, &layers);
    }
}

/* A first segment that holds all headers gives the key of the whole; a shorter one gives no fields that it does not hold. */
static void test_chains(void)
{
    uint8_t frame[FRAME_MAX];
    struct extract_layers layers;
    struct key whole, part;

    for (unsigned int i = 0; i < FRAMES; i++) {
        uint32_t size = frame_get(i, frame);

        for (uint32_t cut = EXTRACT_RUNT; cut < size; cut++) {
            extract_guarded(frame, size, size, &whole, NULL);
            extract_guarded(frame, cut, size, &part, &layers);
            CHECK(!memcmp(whole.base.eth_dst, part.base.eth_dst, 12));
            if (cut >= 128)
                CHECK(!memcmp(&whole, &part, sizeof whole));
        }
    }
    /* The rest of the payload in another segment. */
    uint32_t size = frame_named("IPv4 TCP", frame);

    extract_guarded(frame, size, size, &whole, NULL);
    extract_guarded(frame, 54, size, &part, &layers);
    CHECK(!memcmp(&whole, &part, sizeof whole));
    CHECK(layers.l3 == 14 && layers.l4 == 34 && layers.l4_size == size - 34);
}

static void test_metadata(void)
{
    struct pkt pkt = { .md = { .in_port = 0x11223344, .recirc_id = 0x55667788, .dp_hash = 1, .skb_mark = 2, .skb_priority = 3,
                               .ct_mark = 4, .ct_zone = 5, .ct_state = 0x21, .more = PKT_MORE_TUNNEL | PKT_MORE_CT } };
    uint8_t frame[FRAME_MAX];
    struct key key;

    memset(&pkt.tunnel, 0x77, sizeof pkt.tunnel);
    memset(&pkt.ct, 0x66, sizeof pkt.ct);
    for (unsigned int i = 0; i < FRAMES; i++) {
        uint32_t size = frame_get(i, frame);
        struct extract_layers layers;

        extract_key(frame, size, size, &pkt.md, &pkt, &key, &layers);
        CHECK(key.base.in_port == 0x11223344 && key.base.recirc_id == 0x55667788 && key.base.dp_hash == 1);
        CHECK(key.base.skb_mark == 2 && key.ct.skb_priority == 3 && key.base.ct_mark == 4 && key.base.ct_zone == 5);
        CHECK(key.base.ct_state == 0x21 && !key.base.l2);
        CHECK(!memcmp(&key.tunnel, &pkt.tunnel, sizeof key.tunnel));
        CHECK(!memcmp(key.ct.label, pkt.ct.label, 16));
        CHECK(key.ct.orig_proto == (layers.l4 ? 0x66 : 0));
        CHECK(key.ct.orig_dst[15] == (layers.l4 ? 0x66 : 0));
        /* Conntrack metadata must not be taken for neighbour discovery, nor the other way round. */
        CHECK(key.ct.nd_options_type != 0x66);
    }
}

static void extract_named(const char *name, struct key *key)
{
    uint8_t frame[FRAME_MAX];
    uint32_t size = frame_named(name, frame);

    extract_guarded(frame, size, size, key, NULL);
}

static void test_fields(void)
{
    struct key key;

    extract_named("ND many options", &key);
    CHECK(key.ct.nd_options_type == 1 && key.ct.nd_reserved == htonl(5));
    CHECK(!memcmp(key.wide.l3x.nd.sll, "\x02\x11\x22\x33\x44\x55", 6));
    extract_named("ND advertisement", &key);
    CHECK(key.ct.nd_options_type == 2 && key.ct.nd_reserved == htonl(0x60000000));
    extract_named("ND option twice", &key);
    CHECK(key.wide.l3x.nd.target[0] == 0 && key.wide.l3x.nd.sll[0] == 0);
    extract_named("802.1ad", &key);
    CHECK(key.base.vlan[0].tpid == htons(0x88a8) && key.base.vlan[0].tci == htons(0x3005));
    CHECK(key.base.vlan[1].tpid == htons(0x8100) && key.base.vlan[1].tci == htons(0x1007));
    extract_named("three tags", &key);
    CHECK(key.base.eth_type == htons(0x8100) && key.base.ip4_src == 0);
    extract_named("IPv4 IGMP", &key);
    CHECK(key.base.nw_proto == 2 && !key.base.tp_src && !key.base.tp_dst);
    extract_named("IPv4 ICMPv6 inside", &key);
    CHECK(key.base.nw_proto == 58 && !key.base.tp_src);
    extract_named("IPv6 ICMP inside", &key);
    CHECK(key.base.nw_proto == 1 && !key.base.tp_src);
    extract_named("IPv6 extension header too long", &key);
    CHECK(key.wide.ip6_src[0] == 0x20 && !key.base.nw_proto && !key.wide.ip6_label && !key.base.nw_ttl);
    extract_named("802.2", &key);
    CHECK(key.base.eth_type == 0);
}

/* Labels without end must not cost more than the first three. */
static void test_label_flood(void)
{
    static uint8_t frame[9000];
    struct key key;

    memset(frame, 0, sizeof frame);
    frame[12] = 0x88;
    frame[13] = 0x47;
    for (int i = 0; i < 100000; i++)
        extract_key(frame, sizeof frame, sizeof frame, &plain, NULL, &key, NULL);
    CHECK(key.base.eth_type == htons(0x8847));
}

int main(void)
{
    test_no_overread();
    test_chains();
    test_metadata();
    test_fields();
    test_label_flood();
    return failures != 0;
}
