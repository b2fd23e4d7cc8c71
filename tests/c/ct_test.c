/* SPDX-License-Identifier: Apache-2.0
 * Connection tracking: sequences of packets and the states that Open vSwitch 3.1.0 was seen to give them.
 * link: base/mem.c ct/ct*.c base/hash.c packet/csum.c packet/extract.c */
#include <errno.h>

#include "ct_fixture.h"
#include "ct/ct_tcp.h"

#define O "10.1.1.1:1000>10.1.1.2:53"
#define R "10.1.1.2:53>10.1.1.1:1000"
#define TO "10.1.1.1:1000>10.1.1.2:80"
#define TR "10.1.1.2:80>10.1.1.1:1000"

static struct world *w;

static void open_world(void)
{
    static struct world world;

    w = &world;
    world_open(w);
    w->flows[0][0].flags = CT_COMMIT;
}

static void both_commit(void)
{
    open_world();
    w->flows[1][0].flags = CT_COMMIT;
}

static struct ct_info only(void)
{
    struct ct_info info[4];
    uint32_t n = dump(w, info, 4);

    CHECK(n == 1);
    return info[0];
}

static void test_udp(void)
{
    struct ct_info info;

    open_world();
    STATE(0x21, udp(w, 1, O));
    CHECK(only().timeout == 60);
    STATE(0x21, udp(w, 1, O));
    STATE(0x2a, udp(w, 2, R));
    STATE(0x22, udp(w, 1, O));
    info = only();
    CHECK(info.timeout == 30 && info.orig.proto == 17 && info.orig.sport == __builtin_bswap16(1000) && info.reply.sport == __builtin_bswap16(53));
    w->now += 29999; /* The last second prints 0. */
    CHECK(only().timeout == 0);
    w->now += 1;     /* The deadline itself is too late. */
    CHECK(dump(w, &info, 1) == 0);
    STATE(0x21, udp(w, 2, R));
    world_close(w);
}

static void test_marks(void)
{
    struct ct_request *c1, *c2;

    open_world(); /* Sequence 2. */
    c1 = &w->flows[0][0];
    c2 = &w->flows[1][0];
    *c1 = (struct ct_request){ .flags = CT_COMMIT | CT_MARK | CT_LABEL, .zone = 5, .mark = 0x12, .mark_mask = 0xff, .label = { 7 }, .label_mask = { 15 } };
    *c2 = (struct ct_request){ .zone = 5 };
    STATE(0x21, udp(w, 1, O));
    CHECK(w->last.pkt.md.ct_mark == 0x12 && w->last.pkt.ct.label[0] == 7 && w->last.pkt.md.ct_zone == 5);
    STATE(0x2a, udp(w, 2, R));
    CHECK(w->last.pkt.md.ct_mark == 0x12 && w->last.pkt.ct.label[0] == 7);
    CHECK(only().mark == 0x12 && only().orig.zone == 5 && only().label[0] == 7);
    world_close(w);

    open_world(); /* Sequence 4: what is there stays under the mask. */
    w->counts[0] = 3;
    w->flows[0][0] = (struct ct_request){ .flags = CT_COMMIT | CT_MARK, .mark = 1, .mark_mask = ~0u };
    w->flows[0][1] = (struct ct_request){ .flags = CT_COMMIT | CT_MARK, .mark = 0xf0, .mark_mask = 0xf0 };
    w->flows[0][2] = (struct ct_request){ .flags = CT_LABEL, .label = { 3 }, .label_mask = { 3 } };
    w->flows[1][0] = (struct ct_request){ .flags = CT_MARK, .mark = 0x100, .mark_mask = 0xf00 };
    STATE(0x21, udp(w, 1, O));
    CHECK(w->last.pkt.md.ct_mark == 0xf1 && w->last.pkt.ct.label[0] == 3);
    STATE(0x2a, udp(w, 2, R));
    CHECK(w->last.pkt.md.ct_mark == 0x1f1 && only().mark == 497 && only().label[0] == 3);
    world_close(w);

    open_world(); /* Without a connection there is nothing to mark. */
    w->flows[0][0] = (struct ct_request){ .flags = CT_MARK, .mark = 5, .mark_mask = ~0u };
    STATE(0x21, udp(w, 1, O));
    CHECK(w->last.pkt.md.ct_mark == 0);
    world_close(w);
}

static void test_icmp(void)
{
    both_commit(); /* Sequence 5. */
    STATE(0x21, icmp(w, 1, "10.1.1.1:7>10.1.1.2:0", 8, 0));
    STATE(0x21, icmp(w, 1, "10.1.1.1:7>10.1.1.2:0", 8, 0));
    STATE(0x2a, icmp(w, 2, "10.1.1.2:7>10.1.1.1:0", 0, 0));
    STATE(0x22, icmp(w, 1, "10.1.1.1:7>10.1.1.2:0", 8, 0));
    CHECK(only().reply.dport == 0 && only().orig.dport == 8 && only().orig.sport == __builtin_bswap16(7));
    STATE(0x30, icmp(w, 2, "10.1.1.2:9>10.1.1.1:0", 0, 0));
    CHECK(w->last.pkt.ct.orig_proto == 1); /* Its key could be read. */
    STATE(0x30, icmp(w, 1, "10.1.1.1:7>10.1.1.2:0", 17, 0));
    STATE(0x30, icmp(w, 1, "10.1.1.1:7>10.1.1.2:0", 8, 1));
    world_close(w);
}

static void tcp_close(void)
{
    STATE(0x21, tcp(w, 1, TO, SYN, 100, 0));
    CHECK(only().tcp_state[0] == CT_TCP_STATE_SYN_SENT && only().tcp_state[1] == CT_TCP_STATE_CLOSED && only().timeout == 30);
    STATE(0x2a, tcp(w, 2, TR, SYN | ACK, 500, 101));
    STATE(0x22, tcp(w, 1, TO, ACK, 101, 501));
    CHECK(only().timeout == 86400);
    STATE(0x22, tcp(w, 1, TO, FIN | ACK, 101, 501));
    CHECK(only().timeout == 900);
    STATE(0x2a, tcp(w, 2, TR, FIN | ACK, 501, 102));
    CHECK(only().timeout == 45);
    STATE(0x22, tcp(w, 1, TO, ACK, 102, 502));
    CHECK(only().tcp_state[0] == CT_TCP_STATE_FIN_WAIT_2 && only().tcp_state[1] == CT_TCP_STATE_FIN_WAIT_2 && only().timeout == 30);
}

static void test_tcp(void)
{
    struct ct_info info;

    both_commit(); /* Sequence 6. */
    tcp_close();
    STATE(0x21, tcp(w, 1, TO, SYN, 9000, 0));
    CHECK(only().tcp_state[0] == CT_TCP_STATE_SYN_SENT && only().tcp_state[1] == CT_TCP_STATE_CLOSED);
    world_close(w);

    open_world(); /* Sequence 7. */
    tcp_close();
    STATE(0x21, tcp(w, 2, TR, SYN, 9000, 0));
    CHECK(dump(w, &info, 1) == 0 && !memcmp(w->last.pkt.ct.orig_src, "\x0a\x01\x01\x02", 4));
    world_close(w);

    both_commit(); /* Sequence 8. */
    STATE(0x30, tcp(w, 2, TR, SYN | ACK, 500, 101));
    CHECK(w->last.pkt.ct.orig_proto == 6);
    STATE(0x21, tcp(w, 1, TO, ACK, 101, 501));
    CHECK(only().tcp_flags[0] == 8 && only().tcp_flags[1] == 8);
    world_close(w);

    both_commit(); /* Sequence 10: both open at once. */
    STATE(0x21, tcp(w, 1, TO, SYN, 100, 0));
    STATE(0x21, tcp(w, 2, TR, SYN, 500, 0));
    STATE(0x22, tcp(w, 1, TO, SYN | ACK, 100, 501));
    STATE(0x2a, tcp(w, 2, TR, SYN | ACK, 500, 101));
    CHECK(only().tcp_state[0] == CT_TCP_STATE_ESTABLISHED && only().tcp_state[1] == CT_TCP_STATE_ESTABLISHED);
    world_close(w);
}

static unsigned int tcp_sized(int port, const char *ends, unsigned int flags, uint32_t seq, uint32_t ack, uint32_t payload)
{
    tcp_packet(&w->last, ends, flags, seq, ack, payload, 1000, "", 0);
    return arrive(w, port);
}

static void test_window(void)
{
    open_world(); /* Sequence 9. */
    STATE(0x21, tcp_sized(1, TO, SYN, 1000, 0, 0));
    STATE(0x2a, tcp_sized(2, TR, SYN | ACK, 5000, 1001, 0));
    STATE(0x22, tcp_sized(1, TO, ACK, 1001, 5001, 0));
    STATE(0x22, tcp_sized(1, TO, ACK, 1001, 5001, 100));
    STATE(0x22, tcp_sized(1, TO, ACK, 1001, 5001, 100));
    STATE(0x22, tcp_sized(1, TO, ACK, 2101, 5001, 0));
    STATE(0x30, tcp_sized(1, TO, ACK, 2001, 5001, 1));
    STATE(0x22, tcp_sized(1, TO, ACK, 1101, 5001 + 67035, 1));
    STATE(0x30, tcp_sized(1, TO, ACK, 1101, 5001 + 67037, 1));
    ct_set_tcp_seq_check(w->ct, false);
    STATE(0x22, tcp_sized(1, TO, ACK, 1101, 5001 + 67037, 1));
    CHECK(ct_counter(w->ct, CT_COUNT_tcp_seq_chk_failed) == 2 && ct_counter(w->ct, CT_COUNT_tcp_seq_chk_bypass) == 1);
    world_close(w);

    open_world();
    STATE(0x21, tcp_sized(1, TO, SYN, 1000, 0, 0));
    STATE(0x2a, tcp_sized(2, TR, SYN | ACK, 5000, 1001, 0));
    STATE(0x22, tcp_sized(1, TO, ACK, 1001, 5001, 0));
    STATE(0x30, tcp_sized(2, TR, RST, 5003, 0, 0));
    STATE(0x2a, tcp_sized(2, TR, RST, 5001, 0, 0));
    STATE(0x22, tcp_sized(1, TO, ACK, 1001, 5001, 0));
    CHECK(only().tcp_state[0] == CT_TCP_STATE_TIME_WAIT && only().tcp_state[1] == CT_TCP_STATE_TIME_WAIT);
    world_close(w);

    open_world(); /* A window scale that the answer does not take up is off for both. */
    tcp_packet(&w->last, TO, SYN, 100, 0, 0, 8192, "\x01\x03\x03\x07", 4);
    STATE(0x21, arrive(w, 1));
    CHECK(only().tcp_wscale[0] == 7 && only().tcp_flags[0] == 1 && only().tcp_flags[1] == 0);
    STATE(0x2a, tcp(w, 2, TR, SYN | ACK, 500, 101));
    CHECK(only().tcp_wscale[0] == 0 && only().tcp_flags[0] == 0);
    world_close(w);
}

static void test_flags(void)
{
    static const uint8_t bad[] = { SYN | RST, SYN | FIN, 0, FIN, PSH, URG, FIN | PSH, SYN | PSH, SYN | URG, SYN | ACK };
    static const uint8_t good[] = { SYN, SYN | 0x40, SYN | 0x80, ACK, ACK | PSH, FIN | ACK, RST, RST | ACK };

    open_world();
    w->flows[0][0].flags = 0;
    for (unsigned int i = 0; i < sizeof bad; i++)
        STATE(0x30, tcp(w, 1, TO, bad[i], 1, 1));
    for (unsigned int i = 0; i < sizeof good; i++)
        STATE(0x21, tcp(w, 1, TO, good[i], 1, 1));
    world_close(w);
}

static void test_force_and_zones(void)
{
    struct ct_info info[4];

    open_world(); /* Sequence 11. */
    w->flows[0][0] = (struct ct_request){ .flags = CT_COMMIT | CT_MARK, .mark = 1, .mark_mask = 0xff };
    w->flows[1][0] = (struct ct_request){ .flags = CT_COMMIT | CT_FORCE | CT_MARK, .mark = 2, .mark_mask = 0xf };
    STATE(0x21, udp(w, 1, O));
    STATE(0x21, udp(w, 2, R));
    CHECK(w->last.pkt.md.ct_mark == 2 && only().orig.src[3] == 2);
    STATE(0x2a, udp(w, 1, O));
    CHECK(w->last.pkt.md.ct_mark == 1 && ct_count(w->ct) == 1);
    world_close(w);

    open_world(); /* Sequence 12. */
    w->counts[0] = 2;
    w->flows[0][0] = (struct ct_request){ .flags = CT_COMMIT | CT_MARK, .zone = 1, .mark = 1, .mark_mask = ~0u };
    w->flows[0][1] = (struct ct_request){ .flags = CT_COMMIT | CT_MARK, .zone = 2, .mark = 0x20, .mark_mask = 0xf0 };
    STATE(0x21, udp(w, 1, O));
    CHECK(w->last.pkt.md.ct_mark == 0x20 && w->last.pkt.md.ct_zone == 2);
    CHECK(dump(w, info, 4) == 2);
    CHECK(info[0].mark == 1 && info[0].orig.zone == 1 && info[1].mark == 32 && info[1].orig.zone == 2);
    ct_clear(&w->last.m); /* Sequence 13. */
    CHECK(!w->last.pkt.md.ct_state && !w->last.pkt.md.ct_zone && !w->last.pkt.md.ct_mark && !w->last.pkt.md.more);
    CHECK(dump(w, info, 4) == 2);
    world_close(w);
}

static void test_twice(void)
{
    static const uint32_t seconds[CT_TIMEOUTS] = { [CT_UDP_FIRST] = 3, [CT_UDP_SINGLE] = 5, [CT_UDP_MULTIPLE] = 7 };
    uint32_t got[CT_TIMEOUTS];

    /* The second ct of a list does not count the packet again; one after the buffer went up and
     * down does. */
    open_world();
    CHECK(!ct_policy_set(w->ct, 1, seconds) && ct_policy_get(w->ct, 2, got) == ENOENT && !ct_policy_get(w->ct, 1, got) && got[CT_UDP_SINGLE] == 5);
    w->counts[0] = 2;
    w->flows[0][0].policy = 1;
    STATE(0x21, udp(w, 1, O));
    CHECK(only().timeout == 3);
    w->last.pkt.md.more &= (uint8_t)~PKT_MORE_CONN;
    STATE(0x21, arrive(w, 1));
    CHECK(only().timeout == 5);
    CHECK(ct_policy_next(w->ct, 0) == 1 && ct_policy_next(w->ct, 1) == 0);
    CHECK(!ct_policy_delete(w->ct, 1) && ct_policy_delete(w->ct, 1) == ENOENT);
    STATE(0x21, udp(w, 1, O));
    CHECK(only().timeout == 60);
    world_close(w);
}

static void test_bad_packets(void)
{
    open_world();
    udp_packet(&w->last, O, 8);
    frame_of(&w->last)[24] ^= 1; /* IPv4 header checksum. */
    STATE(0x30, arrive(w, 1));
    CHECK(ct_counter(w->ct, CT_COUNT_l3csum_err) == 1 && w->last.pkt.ct.orig_proto == 0);
    udp_packet(&w->last, O, 8);
    frame_of(&w->last)[43] ^= 1; /* Payload. */
    STATE(0x30, arrive(w, 1));
    CHECK(ct_counter(w->ct, CT_COUNT_l4csum_err) == 1);
    udp_packet(&w->last, O, 8);
    frame_of(&w->last)[43] ^= 1;
    w->last.m.ol_flags = RTE_MBUF_F_RX_L4_CKSUM_GOOD; /* The device knows better. */
    STATE(0x21, arrive(w, 1));
    udp_packet(&w->last, O, 8);
    w->last.m.ol_flags = RTE_MBUF_F_RX_L4_CKSUM_BAD;
    STATE(0x30, arrive(w, 1));
    udp_packet(&w->last, O, 8);
    put16(frame_of(&w->last) + 40, 0); /* No checksum. */
    STATE(0x21, arrive(w, 1));
    STATE(0x30, udp(w, 1, "10.1.1.1:0>10.1.1.2:53"));
    STATE(0x30, udp(w, 1, "10.1.1.1:53>10.1.1.2:0"));
    udp_packet(&w->last, O, 8);
    put16(frame_of(&w->last) + 20, 0x2000); /* A fragment. */
    sum_packet(&w->last);
    STATE(0, arrive(w, 1)); /* It is left as it was, for ipf. */
    udp_packet(&w->last, O, 8);
    put16(frame_of(&w->last) + 12, 0x0806); /* Not IP. */
    STATE(0x30, arrive(w, 1));
    for (uint32_t size = 14; size < 50; size++) { /* Cut anywhere. */
        udp_packet(&w->last, O, 8);
        w->last.m.data_len = (uint16_t)size;
        w->last.m.pkt_len = size;
        STATE(0x30, arrive(w, 1));
    }
    world_close(w);
}

static unsigned int error_about(int port, const char *ends, struct packet *about, uint32_t size)
{
    error_packet(&w->last, ends, 3, 1, about, size);
    return arrive(w, port);
}

static void test_errors(void)
{
    struct packet sent, answer, bad;

    open_world(); /* Sequence 23. */
    STATE(0x21, udp(w, 1, O));
    sent = w->last;
    w->now += 5000;
    STATE(0x2c, error_about(2, "172.16.0.1:0>10.1.1.1:0", &sent, 36));
    STATE(0x2c, error_about(2, "172.16.0.1:0>10.1.1.1:0", &sent, 28));
    STATE(0x30, error_about(2, "172.16.0.1:0>10.1.1.1:0", &sent, 27));
    bad = sent;
    frame_of(&bad)[24] ^= 1;
    STATE(0x2c, error_about(2, "172.16.0.1:0>10.1.1.1:0", &bad, 36));
    put16(frame_of(&bad) + 20, 0x2000);
    STATE(0x30, error_about(2, "172.16.0.1:0>10.1.1.1:0", &bad, 36));
    udp_packet(&bad, "10.1.1.1:1001>10.1.1.2:53", 8);
    STATE(0x30, error_about(2, "172.16.0.1:0>10.1.1.1:0", &bad, 36));
    CHECK(w->last.pkt.ct.orig_src[3] == 2); /* The tuple inside turned round. */
    STATE(0x30, error_about(2, "172.16.0.1:0>1.2.3.4:0", &sent, 36));
    udp_packet(&answer, R, 8);
    STATE(0x24, error_about(1, "10.1.1.1:0>10.1.1.2:0", &answer, 36));
    CHECK(only().timeout == 55);
    world_close(w);
}

static void test_limits(void)
{
    static const uint8_t zones[] = { 5, 6, 7, 8 };
    static const uint32_t stored[] = { 1, 0, 2, 0 }, counts[] = { 1, 0, 2, 2 };
    struct ct_info info[16];
    uint32_t limit, count;

    open_world(); /* Sequence 25. */
    ct_limit_set(w->ct, CT_ZONE_DEFAULT, 2);
    ct_limit_set(w->ct, 5, 1);
    ct_limit_set(w->ct, 6, 0);
    for (int z = 0; z < 4; z++) {
        uint32_t before = ct_count(w->ct);

        w->flows[0][0].zone = zones[z];
        STATE(0x21, udp(w, 1, "10.1.1.1:1>10.1.1.2:53"));
        STATE(0x21, udp(w, 1, "10.1.1.1:2>10.1.1.2:53"));
        STATE(0x21, udp(w, 1, "10.1.1.1:3>10.1.1.2:53"));
        CHECK(ct_count(w->ct) - before == stored[z]);
    }
    for (int z = 0; z < 4; z++) {
        if (!ct_limit_get(w->ct, zones[z], &limit, &count))
            ct_limit_get(w->ct, CT_ZONE_DEFAULT, &limit, &count);
        CHECK(count == counts[z]);
    }
    CHECK(ct_counter(w->ct, CT_COUNT_zone_full) == 9 && dump(w, info, 16) == 3);
    ct_limit_delete(w->ct, 5);
    ct_flush(w->ct, &(struct ct_filter){ .zone = -1 }, w->now);
    ct_limit_get(w->ct, CT_ZONE_DEFAULT, &limit, &count);
    CHECK(count == 0 && ct_count(w->ct) == 0);
    w->flows[0][0].zone = 1;
    ct_limit_delete(w->ct, CT_ZONE_DEFAULT);
    ct_set_max(w->ct, 2);
    STATE(0x21, udp(w, 1, "10.1.1.1:1>10.1.1.2:53"));
    STATE(0x21, udp(w, 1, "10.1.1.1:2>10.1.1.2:53"));
    STATE(0x21, udp(w, 1, "10.1.1.1:3>10.1.1.2:53"));
    CHECK(ct_count(w->ct) == 2 && ct_counter(w->ct, CT_COUNT_full) == 1);
    w->flows[1][0].zone = 1;
    STATE(0x2a, udp(w, 2, "10.1.1.2:53>10.1.1.1:2")); /* Old ones come to no harm. */
    world_close(w);
}

static void test_sweep(void)
{
    struct ct_key key = { .src = { 10, 1, 1, 1 }, .dst = { 10, 1, 1, 2 }, .proto = 17, .family = 4, .dport = __builtin_bswap16(53) };
    uint32_t at = 0;
    char text[64];

    open_world();
    CHECK(ct_service(w->ct, w->now) > 0);
    for (int i = 1; i <= 30000; i++) {
        snprintf(text, sizeof text, "10.1.%d.1:%d>10.1.1.2:53", i >> 12, i);
        STATE(0x21, udp(w, 1, text));
    }
    CHECK(ct_count(w->ct) == 30000);
    key.sport = __builtin_bswap16(9);
    key.src[2] = 0;
    CHECK(!ct_flush_tuple(w->ct, &key, w->now) && ct_flush_tuple(w->ct, &key, w->now) == ENOENT && ct_count(w->ct) == 29999);
    /* In slices, between which a caller lets others in. */
    CHECK(ct_flush_some(w->ct, &at, &(struct ct_filter){ .zone = -1 }, w->now) && at < 30000);
    CHECK(ct_count(w->ct) < 29999 && ct_count(w->ct) > 15000);
    w->now += 60000;
    for (int i = 0; i < 20; i++)
        w->now += ct_service(w->ct, w->now);
    CHECK(ct_count(w->ct) == 0);
    for (int i = 1; i <= 30000; i++) { /* Records are used again, and found. */
        snprintf(text, sizeof text, "10.2.%d.1:%d>10.1.1.2:53", i >> 12, i);
        STATE(0x21, udp(w, 1, text));
        if (i % 7 == 0) {
            snprintf(text, sizeof text, "10.1.1.2:53>10.2.%d.1:%d", i >> 12, i);
            STATE(0x2a, udp(w, 2, text));
        }
    }
    CHECK(ct_count(w->ct) == 30000);
    world_close(w);
}

int main(void)
{
    test_udp();
    test_marks();
    test_icmp();
    test_tcp();
    test_window();
    test_flags();
    test_force_and_zones();
    test_twice();
    test_bad_packets();
    test_errors();
    test_limits();
    test_sweep();
    return failures != 0;
}
