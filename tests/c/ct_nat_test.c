/* SPDX-License-Identifier: Apache-2.0
 * Translation of addresses: what packets look like behind it, and which ports connections get, as Open vSwitch 3.1.0 was seen to choose them.
 * link: base/mem.c ct/ct*.c base/hash.c packet/csum.c packet/extract.c */
#include "ct_fixture.h"

static struct world *w;

static void set_addr(uint8_t addr[16], const char *text)
{
    unsigned int a[4];

    if (sscanf(text, "%u.%u.%u.%u", &a[0], &a[1], &a[2], &a[3]) != 4)
        abort();
    for (int i = 0; i < 4; i++)
        addr[i] = (uint8_t)a[i];
}

/* A table whose port 1 translates; port 2 has `ct(nat)`. */
static void open_world(uint32_t flags, const char *min, const char *max, uint16_t min_port, uint16_t max_port)
{
    static struct world world;
    struct ct_request *r;

    w = &world;
    world_open(w);
    r = &w->flows[0][0];
    r->flags = CT_COMMIT | CT_NAT | flags;
    if (min) {
        r->family = 4;
        set_addr(r->min_addr, min);
        set_addr(r->max_addr, max ? max : min);
    }
    if (min_port) {
        r->flags |= CT_NAT_PORTS;
        r->min_port = min_port;
        r->max_port = max_port;
    }
    w->flows[1][0].flags = CT_NAT;
}

static void test_source(void)
{
    open_world(CT_NAT_SRC, "9.9.9.9", NULL, 0, 0); /* Sequence 14. */
    STATE(0x61, udp(w, 1, "10.1.1.1:1000>10.1.1.2:53"));
    PACKET_IS(w, "9.9.9.9:1000>10.1.1.2:53");
    CHECK(!memcmp(w->last.pkt.ct.orig_src, "\x0a\x01\x01\x01", 4));
    STATE(0xaa, udp(w, 2, "10.1.1.2:53>9.9.9.9:1000"));
    PACKET_IS(w, "10.1.1.2:53>10.1.1.1:1000");
    STATE(0x62, udp(w, 1, "10.1.1.1:1000>10.1.1.2:53"));
    PACKET_IS(w, "9.9.9.9:1000>10.1.1.2:53");
    STATE(0x21, udp(w, 2, "10.1.1.2:53>10.1.1.1:1000"));
    PACKET_IS(w, "10.1.1.2:53>10.1.1.1:1000");
    /* A packet that has been translated is still found in its zone, and not translated again. */
    STATE(0x62, udp(w, 1, "10.1.1.1:1000>10.1.1.2:53"));
    STATE(0x62, arrive(w, 1));
    PACKET_IS(w, "9.9.9.9:1000>10.1.1.2:53");
    world_close(w);

    open_world(CT_NAT_SRC, "9.9.9.9", NULL, 7000, 7000); /* Sequence 15. */
    STATE(0x61, tcp(w, 1, "10.1.1.1:1000>10.1.1.2:80", SYN, 100, 0));
    PACKET_IS(w, "9.9.9.9:7000>10.1.1.2:80");
    STATE(0x21, tcp(w, 1, "10.1.1.1:1001>10.1.1.2:80", SYN, 100, 0));
    PACKET_IS(w, "10.1.1.1:1001>10.1.1.2:80");
    CHECK(ct_count(w->ct) == 1 && ct_counter(w->ct, CT_COUNT_nat_exhausted) == 1);
    world_close(w);

    open_world(CT_NAT_SRC, "0.0.0.0", NULL, 0, 0); /* Sequence 18. */
    STATE(0x61, udp(w, 1, "10.1.1.1:1000>10.1.1.2:53"));
    PACKET_IS(w, "10.1.1.1:1000>10.1.1.2:53");
    STATE(0xaa, udp(w, 2, "10.1.1.2:53>10.1.1.1:1000"));
    PACKET_IS(w, "10.1.1.2:53>10.1.1.1:1000");
    world_close(w);
}

static void test_port_classes(void)
{
    static const uint32_t ports[][2] = { { 300, 301 }, { 700, 701 }, { 65535, 1024 }, { 511, 1 }, { 1023, 600 }, { 550, 601 } };
    char text[64], expected[64];

    open_world(CT_NAT_SRC, "9.9.9.9", NULL, 0, 0); /* Sequence 16. */
    for (int i = 0; i < 6; i++) {
        for (uint32_t client = 1; client <= 2; client++) {
            snprintf(text, sizeof text, "10.1.2.%u:%u>10.1.1.2:53", client, ports[i][0]);
            snprintf(expected, sizeof expected, "9.9.9.9:%u>10.1.1.2:53", ports[i][client - 1]);
            /* 550 is of no class: it is tried, then the class from its beginning, where 600 is
             * taken. */
            STATE(0x61, udp(w, 1, text));
            PACKET_IS(w, expected);
        }
    }
    world_close(w);
}

static void test_destination(void)
{
    open_world(CT_NAT_DST, "10.1.1.9", NULL, 8053, 8053); /* Sequence 17. */
    STATE(0xa1, udp(w, 1, "10.1.1.1:1000>10.1.1.2:53"));
    PACKET_IS(w, "10.1.1.1:1000>10.1.1.9:8053");
    STATE(0x6a, udp(w, 2, "10.1.1.9:8053>10.1.1.1:1000"));
    PACKET_IS(w, "10.1.1.2:53>10.1.1.1:1000");
    STATE(0xa1, udp(w, 1, "10.1.1.1:1000>10.1.1.77:53"));
    PACKET_IS(w, "10.1.1.1:1001>10.1.1.9:8053");
    STATE(0x6a, udp(w, 2, "10.1.1.9:8053>10.1.1.1:1001"));
    PACKET_IS(w, "10.1.1.77:53>10.1.1.1:1000");
    world_close(w);
}

static void test_icmp(void)
{
    open_world(CT_NAT_SRC, "9.9.9.9", NULL, 0, 0); /* Sequence 19. */
    STATE(0x61, icmp(w, 1, "10.1.1.1:7>10.1.1.2:0", 8, 0));
    CHECK(frame_of(&w->last)[26] == 9 && sums_right(w));
    STATE(0xaa, icmp(w, 2, "10.1.1.2:7>9.9.9.9:0", 0, 0));
    CHECK(frame_of(&w->last)[30] == 10 && sums_right(w));
    STATE(0x21, icmp(w, 1, "10.1.1.5:7>10.1.1.2:0", 8, 0));
    CHECK(frame_of(&w->last)[26] == 10 && ct_count(w->ct) == 1);
    world_close(w);
}

/* A connection that was closed is not in the way of its successor: here Open vSwitch 3.1.0 takes
 * another port until its sweep. */
static void test_reuse(void)
{
    open_world(CT_NAT_SRC, "9.9.9.9", NULL, 0, 0);
    STATE(0x61, tcp(w, 1, "10.1.1.1:1000>10.1.1.2:80", SYN, 100, 0));
    STATE(0xaa, tcp(w, 2, "10.1.1.2:80>9.9.9.9:1000", RST | ACK, 0, 101));
    STATE(0x61, tcp(w, 1, "10.1.1.1:1000>10.1.1.2:80", SYN, 9000, 0));
    PACKET_IS(w, "9.9.9.9:1000>10.1.1.2:80");
    STATE(0xaa, tcp(w, 2, "10.1.1.2:80>9.9.9.9:1000", RST | ACK, 0, 9001));
    STATE(0x21, tcp(w, 2, "10.1.1.2:80>9.9.9.9:1000", SYN, 9000, 0));
    world_close(w);
}

static void test_errors(void)
{
    static const char inside[] = "4500002400000000401164c50a0101010a01010203e80035001028457061796c6f616438";
    struct packet sent;
    char got[sizeof inside];

    open_world(CT_NAT_SRC, "9.9.9.9", NULL, 6000, 6000); /* Sequence 22. */
    udp_packet(&w->last, "10.1.1.1:1000>10.1.1.2:53", 8);
    put16(frame_of(&w->last) + 18, 0);
    sum_packet(&w->last);
    STATE(0x61, arrive(w, 1));
    sent = w->last;
    error_packet(&w->last, "172.16.0.1:0>9.9.9.9:0", 3, 1, &sent, 36);
    STATE(0xac, arrive(w, 2));
    CHECK(!memcmp(frame_of(&w->last) + 26, "\xac\x10\x00\x01\x0a\x01\x01\x01", 8) && sums_right(w));
    for (int i = 0; i < 36; i++)
        snprintf(got + 2 * i, 3, "%02x", frame_of(&w->last)[42 + i]);
    CHECK(!strcmp(got, inside));
    /* The client tells of an answer. */
    STATE(0xaa, udp(w, 2, "10.1.1.2:53>9.9.9.9:6000"));
    sent = w->last;
    error_packet(&w->last, "10.1.1.1:0>10.1.1.2:0", 3, 3, &sent, 36);
    STATE(0x64, arrive(w, 1));
    CHECK(!memcmp(frame_of(&w->last) + 26, "\x09\x09\x09\x09\x0a\x01\x01\x02", 8) && sums_right(w));
    CHECK(!memcmp(frame_of(&w->last) + 54, "\x0a\x01\x01\x02\x09\x09\x09\x09\x00\x35\x17\x70", 12));
    world_close(w);

    /* The router's own address is replaced as well. */
    open_world(CT_NAT_DST, "10.1.1.9", NULL, 0, 0);
    STATE(0xa1, udp(w, 1, "10.1.1.1:1000>10.1.1.2:53"));
    sent = w->last;
    error_packet(&w->last, "172.16.0.1:0>10.1.1.1:0", 3, 1, &sent, 28);
    STATE(0x6c, arrive(w, 2));
    CHECK(!memcmp(frame_of(&w->last) + 26, "\x0a\x01\x01\x02\x0a\x01\x01\x01", 8) && sums_right(w));
    CHECK(!memcmp(frame_of(&w->last) + 54, "\x0a\x01\x01\x01\x0a\x01\x01\x02", 8));
    world_close(w);
}

/* All of a range is used, by packets of one source each, and then no more. */
static void test_exhaustion(void)
{
    bool seen[64] = { false };
    char text[64];
    uint32_t port, translated = 0;

    open_world(CT_NAT_SRC, "9.9.9.9", NULL, 2000, 2063);
    for (uint32_t i = 0; i < 80; i++) {
        snprintf(text, sizeof text, "10.1.1.1:%u>10.1.1.2:53", 5000 + i);
        if (udp(w, 1, text) != 0x61)
            continue;
        port = (uint32_t)frame_of(&w->last)[34] << 8 | frame_of(&w->last)[35];
        CHECK(port >= 2000 && port < 2064 && !seen[port - 2000] && sums_right(w));
        seen[port - 2000] = true;
        translated++;
    }
    CHECK(translated == 64 && ct_count(w->ct) == 64 && ct_counter(w->ct, CT_COUNT_nat_exhausted) == 16);
    world_close(w);

    /* Addresses stay within the range, and all of them serve. */
    open_world(CT_NAT_SRC, "9.9.9.8", "9.9.9.11", 0, 0);
    memset(seen, 0, sizeof seen);
    for (uint32_t i = 0; i < 64; i++) {
        snprintf(text, sizeof text, "10.1.1.1:%u>10.1.1.2:53", 5000 + i);
        STATE(0x61, udp(w, 1, text));
        CHECK(frame_of(&w->last)[29] >= 8 && frame_of(&w->last)[29] <= 11);
        seen[frame_of(&w->last)[29]] = true;
    }
    CHECK(seen[8] && seen[9] && seen[10] && seen[11]);
    world_close(w);
}

/* A checksum of 0 is none; one that is only the pseudo header's sum stays that. */
static void test_checksums(void)
{
    uint16_t sum;

    open_world(CT_NAT_SRC, "9.9.9.9", NULL, 6000, 6000);
    udp_packet(&w->last, "10.1.1.1:1000>10.1.1.2:53", 8);
    put16(frame_of(&w->last) + 40, 0);
    STATE(0x61, arrive(w, 1));
    CHECK(!frame_of(&w->last)[40] && !frame_of(&w->last)[41]);
    tcp_packet(&w->last, "10.1.1.1:1000>10.1.1.2:80", SYN, 100, 0, 0, 8192, "", 0);
    w->last.m.ol_flags = RTE_MBUF_F_TX_TCP_CKSUM | RTE_MBUF_F_TX_IPV4;
    sum = csum_fold(csum_sum(frame_of(&w->last) + 26, 8) + __builtin_bswap16(20) + __builtin_bswap16(6));
    memcpy(frame_of(&w->last) + 50, &sum, 2);
    STATE(0x61, arrive(w, 1));
    sum = csum_fold(csum_sum(frame_of(&w->last) + 26, 8) + __builtin_bswap16(20) + __builtin_bswap16(6));
    CHECK(!memcmp(frame_of(&w->last) + 50, &sum, 2));
    world_close(w);
}

int main(void)
{
    test_source();
    test_port_classes();
    test_destination();
    test_icmp();
    test_reuse();
    test_errors();
    test_exhaustion();
    test_checksums();
    return failures != 0;
}
