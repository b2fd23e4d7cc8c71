/* SPDX-License-Identifier: Apache-2.0
 * Helpers: what FTP and TFTP announce, how announced connections are told, translated and forgotten, and
 * what happens to numbers of a control connection whose payload grew.
 * link: ct/ct*.c base/hash.c packet/csum.c packet/extract.c */
#include "ct/ct_alg_int.h"
#include "ct_fixture.h"

#define O "10.1.1.1:1000>10.1.1.2:21"
#define R "10.1.1.2:21>10.1.1.1:1000"

static struct world *w;

static void set_addr(uint8_t addr[16], const char *text)
{
    char ends[64];

    snprintf(ends, sizeof ends, "%s:0>0.0.0.0:0", text);
    memcpy(addr, parse_ends(ends).src, 4);
}

/* Port 1 commits with a helper and translates as asked for; the other port has `ct`, with nat if
 * anything is translated. */
static void open_world(uint8_t helper, uint32_t nat, const char *addr, uint16_t port)
{
    static struct world world;
    struct ct_request *r;

    w = &world;
    world_open(w);
    r = &w->flows[0][0];
    r->flags = CT_COMMIT | nat;
    r->helper = helper;
    if (nat) {
        r->flags |= CT_NAT;
        r->family = 4;
        set_addr(r->min_addr, addr);
        set_addr(r->max_addr, addr);
        w->flows[1][0].flags = CT_NAT;
    }
    if (port) {
        r->flags |= CT_NAT_PORTS;
        r->min_port = r->max_port = port;
    }
}

/* A segment with a text. */
static unsigned int says(int port, const char *ends, uint32_t seq, uint32_t ack, const char *text)
{
    const uint32_t size = (uint32_t)strlen(text);

    tcp_packet(&w->last, ends, ACK | PSH, seq, ack, size, 8192, "", 0);
    memcpy(frame_of(&w->last) + 54, text, size);
    sum_packet(&w->last);
    return arrive(w, port);
}

/* Whether the payload is this, and the checksums are right. */
static bool said(const char *text)
{
    return w->last.m.pkt_len == 54 + strlen(text) && !memcmp(frame_of(&w->last) + 54, text, strlen(text)) && sums_right(w);
}

static uint32_t number_at(uint32_t at)
{
    const uint8_t *f = frame_of(&w->last) + 34 + at;

    return (uint32_t)f[0] << 24 | (uint32_t)f[1] << 16 | (uint32_t)f[2] << 8 | f[3];
}

#define SEQ number_at(4)
#define ACKED number_at(8)

/* A handshake: the client's numbers go on from 101, the server's from 501. */
static void shake(const char *there, const char *back)
{
    tcp(w, 1, there, SYN, 100, 0);
    tcp(w, 2, back, SYN | ACK, 500, 101);
    tcp(w, 1, there, ACK, 101, 501);
}

static uint32_t connections(struct ct_info info[8])
{
    return dump(w, info, 8);
}

static void test_active(void)
{
    struct ct_info info[8] = { 0 };
    uint32_t child;

    open_world(CT_HELPER_FTP, 0, "", 0);
    w->flows[0][0].flags |= CT_MARK | CT_LABEL;
    w->flows[0][0].mark = w->flows[0][0].mark_mask = 7;
    w->flows[0][0].label[0] = w->flows[0][0].label_mask[0] = 9;
    w->flows[1][0].flags |= CT_MARK;
    w->flows[1][0].mark = 0;
    shake(O, R);
    STATE(0x21, tcp(w, 2, "10.1.1.2:20>10.1.1.1:5130", SYN, 1, 0));
    STATE(0x22, says(1, O, 101, 501, "PORT 10,1,1,1,20,10\r\n"));
    STATE(0x25, tcp(w, 2, "10.1.1.2:20>10.1.1.1:5130", SYN, 1, 0));
    CHECK(w->last.pkt.md.ct_mark == 7 && w->last.pkt.ct.label[0] == 9);
    CHECK(w->last.pkt.ct.orig_tp_dst == __builtin_bswap16(21) && w->last.pkt.ct.orig_src[3] == 1);
    STATE(0x25, tcp(w, 2, "10.1.1.2:21000>10.1.1.1:5130", SYN, 1, 0));
    CHECK(connections(info) == 1 && !strcmp(info[0].helper, "ftp"));

    /* Stored, it keeps its parent's mark, whatever a `ct` wants. */
    w->flows[1][0].flags |= CT_COMMIT;
    w->flows[1][0].mark_mask = 0xff;
    w->flows[1][0].mark = 1;
    STATE(0x25, tcp(w, 2, "10.1.1.2:20>10.1.1.1:5130", SYN, 1, 0));
    CHECK(w->last.pkt.md.ct_mark == 7);
    STATE(0x2e, tcp(w, 1, "10.1.1.1:5130>10.1.1.2:20", SYN | ACK, 900, 2));
    STATE(0x26, tcp(w, 2, "10.1.1.2:20>10.1.1.1:5130", ACK, 2, 901));
    CHECK(w->last.pkt.md.ct_mark == 7);
    CHECK(connections(info) == 2);
    child = info[0].parent.family ? 0 : 1;
    CHECK(info[child].parent.family == 4 && info[child].parent.dport == __builtin_bswap16(21) && !info[child].helper[0]);
    CHECK(info[child].mark == 7 && info[child].label[0] == 9);

    /* It outlives its parent, which it still tells; but nothing more is expected. */
    CHECK(!ct_flush_tuple(w->ct, &info[!child].orig, w->now));
    CHECK(!ct_expects_any(w->ct));
    for (int i = 0; i < 3; i++)
        ct_service(w->ct, w->now);
    STATE(0x26, tcp(w, 2, "10.1.1.2:20>10.1.1.1:5130", ACK, 2, 901));
    CHECK(w->last.pkt.ct.orig_tp_dst == __builtin_bswap16(21));
    STATE(0x21, tcp(w, 2, "10.1.1.2:22>10.1.1.1:5130", SYN, 1, 0));
    CHECK(connections(info) == 2 || connections(info) == 1);
    world_close(w);
}

static void test_without_helper(void)
{
    open_world(CT_HELPER_NONE, 0, "", 0);
    shake(O, R);
    STATE(0x22, says(1, O, 101, 501, "PORT 10,1,1,1,20,10\r\n"));
    STATE(0x21, tcp(w, 2, "10.1.1.2:20>10.1.1.1:5130", SYN, 1, 0));
    world_close(w);
    /* The helper's protocol is another one. */
    open_world(CT_HELPER_TFTP, 0, "", 0);
    shake(O, R);
    STATE(0x22, says(1, O, 101, 501, "PORT 10,1,1,1,20,10\r\n"));
    CHECK(!ct_expects_any(w->ct));
    world_close(w);
}

/* What a side says, and whether a connection to 5130 is expected (e), nothing is (n), or the
 * packet is invalid (i). */
static const struct {
    bool server;
    char result;
    const char *text;
} lines[] = {
    { false, 'e', "PORT 10,1,1,1,20,10\r\n" },
    { false, 'e', "port  10,1,1,1,20,10\r\n" },
    { false, 'e', "PORT x 10,1,1,1,020,010 more\r\n" },
    { false, 'n', "PORT 10,1,1,1,20,10" },           /* Goes on. */
    { false, 'i', "PORT 10,1,1,1,20" },
    { false, 'i', "PORT 10,1,1" },
    { false, 'i', "PORT\r\n" },
    { false, 'i', "PORT 10.1.1.1,20,10\r\n" },
    { false, 'i', "PORT 010,1,1,1,20,10\r\n" },
    { false, 'i', "PORT 10,1,1,1,256,10\r\n" },
    { false, 'i', "PORT 10,1,1,1,20,4294967306\r\n" },
    { false, 'i', "PORT 10,1,1,9,20,10\r\n" },       /* Another host's. */
    { false, 'i', "PORT 10,1,1,2,20,10\r\n" },       /* The server's own. */
    { false, 'n', "PASV\r\n" },
    { false, 'n', "227 Entering (10,1,1,1,20,10)\r\n" }, /* Not the client's to say. */
    { true, 'n', "PORT 10,1,1,1,20,10\r\n" },
    { true, 'e', "227 Entering Passive Mode (10,1,1,2,20,10).\r\n" },
    { true, 'e', "227 =10,1,1,2,20,10\r\n" },
    { true, 'e', "227Entering (10,1,1,2,20,10)\r\n" },
    { true, 'i', "227 code 5 (10,1,1,2,20,10)\r\n" },
    { true, 'i', "227 Entering Passive Mode (10,1,1,3,20,10)\r\n" },
    { false, 'e', "EPRT |1|10.1.1.1|5130|\r\n" },
    { false, 'e', "eprt !1!10.1.1.1!5130!\r\n" },
    { false, 'i', "EPRT |2|10.1.1.1|5130|\r\n" },
    { false, 'i', "EPRT |1|10.1.1.3|5130|\r\n" },
    { false, 'i', "EPRT |1|10.1.1.1|70666|\r\n" },
    { false, 'i', "EPRT |1|10.1.1.1\r\n" },
    { true, 'e', "229 Entering Extended Passive Mode (|||5130|)\r\n" },
    { true, 'e', "229 ok (!!!5130!)\r\n" },
    { true, 'i', "229 Entering Extended Passive Mode (||5130|)\r\n" },
    { true, 'i', "229 Entering Extended Passive Mode |||5130|\r\n" },
    { true, 'i', "229 (|||99999|)\r\n" },
    { true, 'i', "229 (\r\n" },
    { true, 'n', "230 (|||5130|)\r\n" },
};

static void test_lines(void)
{
    for (uint32_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        unsigned int state, wanted;
        char result;

        open_world(CT_HELPER_FTP, 0, "", 0);
        shake(O, R);
        if (lines[i].server)
            state = says(2, R, 501, 101, lines[i].text);
        else
            state = says(1, O, 101, 501, lines[i].text);
        wanted = (lines[i].server ? 0x2au : 0x22u) | (lines[i].result == 'i' ? 0x10u : 0);
        result = ct_expects_any(w->ct) ? 'e' : state & 0x10 ? 'i' : 'n';
        if (state != wanted || result != lines[i].result) {
            fprintf(stderr, "%s: state %02x, %c\n", lines[i].text, state, result);
            failures++;
        }
        CHECK(said(lines[i].text));
        if (result == 'e' && lines[i].server)
            STATE(0x25, tcp(w, 1, "10.1.1.1:9>10.1.1.2:5130", SYN, 1, 0));
        else if (result == 'e')
            STATE(0x25, tcp(w, 2, "10.1.1.2:9>10.1.1.1:5130", SYN, 1, 0));
        world_close(w);
    }
}

/* A packet out of the window announces nothing, and nor does one in the middle of a line. */
static void test_not_believed(void)
{
    open_world(CT_HELPER_FTP, 0, "", 0);
    shake(O, R);
    STATE(0x30, says(1, O, 500000, 501, "PORT 10,1,1,1,20,10\r\n"));
    CHECK(!ct_expects_any(w->ct));
    STATE(0x22, says(1, O, 101, 501, "USER a "));
    STATE(0x22, says(1, O, 108, 501, "PORT 10,1,1,1,20,10\r\n"));
    CHECK(!ct_expects_any(w->ct));
    STATE(0x22, says(1, O, 129, 501, "PORT 10,1,1,1,20,10\r\n"));
    CHECK(ct_expects_any(w->ct));
    world_close(w);
}

/* A few at a time, and not for ever. */
static void test_bounds(void)
{
    char text[64], ends[64];
    uint32_t seq = 101;

    open_world(CT_HELPER_FTP, 0, "", 0);
    shake(O, R);
    for (unsigned int i = 0; i < 2 * CT_EXPECTS; i++) {
        snprintf(text, sizeof text, "PORT 10,1,1,1,20,%u\r\n", i);
        STATE(0x22, says(1, O, seq, 501, text));
        seq += (uint32_t)strlen(text);
    }
    CHECK(atomic_load(&w->ct->helpers->expected) == CT_EXPECTS);
    for (unsigned int i = 0; i < 2 * CT_EXPECTS; i++) {
        snprintf(ends, sizeof ends, "10.1.1.2:20>10.1.1.1:%u", 20 * 256 + i);
        STATE(i < CT_EXPECTS ? 0x21u : 0x25u, tcp(w, 2, ends, SYN, 1, 0));
    }
    /* The same again lasts longer, and takes no place. */
    w->now += CT_EXPECT_MS - 1;
    STATE(0x22, says(1, O, seq, 501, text));
    CHECK(atomic_load(&w->ct->helpers->expected) == CT_EXPECTS);
    w->now += 1;
    STATE(0x21, tcp(w, 2, "10.1.1.2:20>10.1.1.1:5126", SYN, 1, 0));
    STATE(0x25, tcp(w, 2, "10.1.1.2:20>10.1.1.1:5127", SYN, 1, 0));
    w->now += CT_EXPECT_MS;
    STATE(0x21, tcp(w, 2, "10.1.1.2:20>10.1.1.1:5127", SYN, 1, 0));
    world_close(w);
}

/* Helpers are given back, however often connections come and go. */
static void test_no_leak(void)
{
    const struct ct_filter all = { .zone = -1 };
    struct ct_helpers *h;

    open_world(CT_HELPER_FTP, 0, "", 0);
    h = w->ct->helpers;
    w->flows[1][0].flags = CT_COMMIT;
    for (int i = 0; i < 1000; i++) {
        shake(O, R);
        says(1, O, 101, 501, "PORT 10,1,1,1,20,10\r\n");
        STATE(0x25, tcp(w, 2, "10.1.1.2:20>10.1.1.1:5130", SYN, 1, 0));
        ct_flush(w->ct, &all, w->now);
        ct_service(w->ct, w->now);
        ct_service(w->ct, w->now);
    }
    ct_service(w->ct, w->now);
    CHECK(h->fresh < 8 && h->pool_n == h->fresh && !ct_expects_any(w->ct));

    /* None left: a connection goes without. */
    h->pool_n = 0;
    h->fresh = CT_ALGS;
    shake(O, R);
    STATE(0x22, says(1, O, 101, 501, "PORT 10,1,1,1,20,10\r\n"));
    CHECK(!ct_expects_any(w->ct) && ct_counter(w->ct, CT_COUNT_helper_full) == 1);
    world_close(w);
}

/* The client is translated: its command says the address that the server sees. */
static void test_active_snat(void)
{
    open_world(CT_HELPER_FTP, CT_NAT_SRC, "200.100.200.100", 0);
    shake(O, "10.1.1.2:21>200.100.200.100:1000");
    STATE(0x62, says(1, O, 101, 501, "USER anonymous\r\n"));
    CHECK(SEQ == 101 && ACKED == 501);
    STATE(0x62, says(1, O, 117, 501, "PORT 10,1,1,1,20,10\r\n"));
    CHECK(said("PORT 200,100,200,100,20,10\r\n") && SEQ == 117);
    /* Lost, and sent again: the same bytes. */
    STATE(0x62, says(1, O, 117, 501, "PORT 10,1,1,1,20,10\r\n"));
    CHECK(said("PORT 200,100,200,100,20,10\r\n") && SEQ == 117);
    /* What follows is 7 further on for the server, and 7 less for the client. */
    STATE(0x62, says(1, O, 138, 501, "NOOP\r\n"));
    CHECK(SEQ == 145 && sums_right(w));
    STATE(0xaa, says(2, "10.1.1.2:21>200.100.200.100:1000", 501, 145, "200 ok\r\n"));
    CHECK(ACKED == 138 && SEQ == 501 && sums_right(w) && !strcmp(now_is(w), R));
    STATE(0xaa, says(2, "10.1.1.2:21>200.100.200.100:1000", 509, 117, ""));
    CHECK(ACKED == 117);
    STATE(0x62, says(1, O, 144, 509, "PORT 10,1,1,1,20,11\r\n"));
    CHECK(said("PORT 200,100,200,100,20,11\r\n") && SEQ == 151);
    STATE(0x62, says(1, O, 165, 509, "NOOP\r\n"));
    CHECK(SEQ == 179 && sums_right(w));
    STATE(0xaa, tcp(w, 2, "10.1.1.2:21>200.100.200.100:1000", ACK, 509, 179));
    CHECK(ACKED == 165);

    w->flows[1][0].flags |= CT_COMMIT;
    STATE(0xa5, tcp(w, 2, "10.1.1.2:20>200.100.200.100:5130", SYN, 1, 0));
    PACKET_IS(w, "10.1.1.2:20>10.1.1.1:5130");
    STATE(0x6e, tcp(w, 1, "10.1.1.1:5130>10.1.1.2:20", SYN | ACK, 900, 2));
    PACKET_IS(w, "200.100.200.100:5130>10.1.1.2:20");
    world_close(w);
}

/* Two clients behind one address announce the same port: each gets its own connection. */
static void test_conflict(void)
{
    open_world(CT_HELPER_FTP, CT_NAT_SRC, "9.9.9.9", 0);
    w->flows[1][0].flags |= CT_COMMIT;
    shake(O, "10.1.1.2:21>9.9.9.9:1000");
    says(1, O, 101, 501, "PORT 10,1,1,1,20,255\r\n");
    CHECK(said("PORT 9,9,9,9,20,255\r\n"));
    shake("10.1.1.5:1000>10.1.1.2:21", "10.1.1.2:21>9.9.9.9:1001");
    says(1, "10.1.1.5:1000>10.1.1.2:21", 101, 501, "PORT 10,1,1,5,20,255\r\n");
    CHECK(said("PORT 9,9,9,9,21,0\r\n"));
    says(1, "10.1.1.5:1000>10.1.1.2:21", 123, 501, "EPRT |1|10.1.1.5|5376|\r\n");
    CHECK(said("EPRT |1|9.9.9.9|5377|\r\n"));
    says(1, "10.1.1.5:1000>10.1.1.2:21", 101, 501, "PORT 10,1,1,5,20,255\r\n");
    CHECK(said("PORT 9,9,9,9,21,0\r\n"));
    STATE(0xa5, tcp(w, 2, "10.1.1.2:20>9.9.9.9:5375", SYN, 1, 0));
    PACKET_IS(w, "10.1.1.2:20>10.1.1.1:5375");
    STATE(0xa5, tcp(w, 2, "10.1.1.2:20>9.9.9.9:5376", SYN, 1, 0));
    PACKET_IS(w, "10.1.1.2:20>10.1.1.5:5375");
    STATE(0x6e, tcp(w, 1, "10.1.1.5:5375>10.1.1.2:20", SYN | ACK, 900, 2));
    PACKET_IS(w, "9.9.9.9:5376>10.1.1.2:20");
    world_close(w);
}

static void test_passive_snat(void)
{
    open_world(CT_HELPER_FTP, CT_NAT_SRC, "9.9.9.9", 0);
    shake(O, "10.1.1.2:21>9.9.9.9:1000");
    STATE(0xaa, says(2, "10.1.1.2:21>9.9.9.9:1000", 501, 101, "227 Entering Passive Mode (10,1,1,2,20,10).\r\n"));
    CHECK(said("227 Entering Passive Mode (10,1,1,2,20,10).\r\n"));
    STATE(0x65, tcp(w, 1, "10.1.1.1:1200>10.1.1.2:5130", SYN, 1, 0));
    PACKET_IS(w, "9.9.9.9:1200>10.1.1.2:5130");
    STATE(0xae, tcp(w, 2, "10.1.1.2:5130>9.9.9.9:1200", SYN | ACK, 900, 2));
    PACKET_IS(w, "10.1.1.2:5130>10.1.1.1:1200");
    world_close(w);
}

/* The server is behind the address that clients know. */
static void test_dnat(void)
{
    const char *there = "10.1.1.1:1000>10.1.1.64:21";

    open_world(CT_HELPER_FTP, CT_NAT_DST, "10.1.1.2", 0);
    shake(there, R);
    STATE(0x6a, says(2, R, 501, 101, "227 Entering Passive Mode (10,1,1,2,20,10).\r\n"));
    CHECK(said("227 Entering Passive Mode (10,1,1,64,20,10).\r\n"));
    STATE(0xa2, tcp(w, 1, there, ACK, 101, 547));
    CHECK(ACKED == 546 && sums_right(w));
    STATE(0x6a, says(2, R, 546, 101, "230 ok\r\n"));
    CHECK(SEQ == 547);
    STATE(0xa5, tcp(w, 1, "10.1.1.1:1200>10.1.1.64:5130", SYN, 1, 0));
    PACKET_IS(w, "10.1.1.1:1200>10.1.1.2:5130");
    STATE(0x6e, tcp(w, 2, "10.1.1.2:5130>10.1.1.1:1200", SYN | ACK, 900, 2));
    PACKET_IS(w, "10.1.1.64:5130>10.1.1.1:1200");
    /* Active: the server's connection comes from that address. */
    STATE(0xa2, says(1, there, 101, 555, "PORT 10,1,1,1,20,12\r\n"));
    CHECK(said("PORT 10,1,1,1,20,12\r\n"));
    w->flows[1][0].flags |= CT_COMMIT;
    STATE(0x65, tcp(w, 2, "10.1.1.2:20>10.1.1.1:5132", SYN, 1, 0));
    PACKET_IS(w, "10.1.1.64:20>10.1.1.1:5132");
    world_close(w);
}

/* Selective acknowledgements have numbers, too, at odd places as well. */
static void test_sack(void)
{
    static const char options[] = "\x01\x05\x0a\0\0\0\x8c\0\0\0\x91\0";

    open_world(CT_HELPER_FTP, CT_NAT_SRC, "200.100.200.100", 0);
    shake(O, "10.1.1.2:21>200.100.200.100:1000");
    says(1, O, 101, 501, "PORT 10,1,1,1,20,10\r\n");
    tcp_packet(&w->last, "10.1.1.2:21>200.100.200.100:1000", ACK, 501, 101, 0, 8192, options, 12);
    STATE(0xaa, arrive(w, 2));
    CHECK(ACKED == 101 && number_at(23) == 0x8c - 7 && number_at(27) == 0x91 - 7 && sums_right(w));
    world_close(w);
}

/* Nothing of a packet behind its end is touched, and padding is none of its payload. */
static void test_room(void)
{
    open_world(CT_HELPER_FTP, CT_NAT_SRC, "200.100.200.100", 0);
    shake(O, "10.1.1.2:21>200.100.200.100:1000");
    tcp_packet(&w->last, O, ACK | PSH, 101, 501, 21, 8192, "", 0);
    memcpy(frame_of(&w->last) + 54, "PORT 10,1,1,1,20,10\r\n", 21);
    sum_packet(&w->last);
    w->last.m.buf_len = 128 + 54 + 21;
    STATE(0x62, arrive(w, 1));
    CHECK(said("PORT 10,1,1,1,20,10\r\n") && ct_counter(w->ct, CT_COUNT_helper_no_room) == 1);

    tcp_packet(&w->last, O, ACK | PSH, 101, 501, 21, 8192, "", 0);
    memcpy(frame_of(&w->last) + 54, "PORT 10,1,1,1,20,10\r\npadding", 28);
    sum_packet(&w->last);
    w->last.m.pkt_len += 7;
    w->last.m.data_len += 7;
    STATE(0x62, arrive(w, 1));
    CHECK(said("PORT 200,100,200,100,20,10\r\n"));
    world_close(w);
}

/* The checksum that the kernel left undone stays undone, and where it begins is known. */
static void test_partial(void)
{
    uint16_t pseudo, size = __builtin_bswap16(20 + 28), proto = __builtin_bswap16(6);

    open_world(CT_HELPER_FTP, CT_NAT_SRC, "200.100.200.100", 0);
    shake(O, "10.1.1.2:21>200.100.200.100:1000");
    tcp_packet(&w->last, O, ACK | PSH, 101, 501, 21, 8192, "", 0);
    memcpy(frame_of(&w->last) + 54, "PORT 10,1,1,1,20,10\r\n", 21);
    w->last.m.ol_flags |= RTE_MBUF_F_TX_TCP_CKSUM;
    w->last.m.tx_offload = (uint64_t)(20 + 21) << 40;
    STATE(0x62, arrive(w, 1));
    CHECK(w->last.m.tx_offload >> 40 == 20 + 28);
    pseudo = csum_fold(csum_sum(frame_of(&w->last) + 26, 8) + size + proto);
    CHECK(!memcmp(frame_of(&w->last) + 34 + 16, &pseudo, 2));
    world_close(w);
}

static void test_tftp(void)
{
    open_world(CT_HELPER_TFTP, 0, "", 0);
    STATE(0x21, udp(w, 1, "10.1.1.1:2000>10.1.1.2:69"));
    STATE(0x25, udp(w, 2, "10.1.1.2:3000>10.1.1.1:2000"));
    STATE(0x21, udp(w, 2, "10.1.1.2:3000>10.1.1.1:2001"));
    STATE(0x21, udp(w, 2, "10.1.1.9:3000>10.1.1.1:2000"));
    world_close(w);

    /* The port that the server sees is another one. */
    open_world(CT_HELPER_TFTP, CT_NAT_SRC, "9.9.9.9", 7000);
    w->flows[1][0].flags |= CT_COMMIT;
    STATE(0x61, udp(w, 1, "10.1.1.1:2000>10.1.1.2:69"));
    PACKET_IS(w, "9.9.9.9:7000>10.1.1.2:69");
    STATE(0xa5, udp(w, 2, "10.1.1.2:3000>9.9.9.9:7000"));
    PACKET_IS(w, "10.1.1.2:3000>10.1.1.1:2000");
    STATE(0x6e, udp(w, 1, "10.1.1.1:2000>10.1.1.2:3000"));
    PACKET_IS(w, "9.9.9.9:7000>10.1.1.2:3000");
    world_close(w);
}

int main(void)
{
    test_active();
    test_without_helper();
    test_lines();
    test_not_believed();
    test_bounds();
    test_no_leak();
    test_active_snat();
    test_conflict();
    test_passive_snat();
    test_dnat();
    test_sack();
    test_room();
    test_partial();
    test_tftp();
    return failures != 0;
}
