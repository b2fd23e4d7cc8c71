/* SPDX-License-Identifier: Apache-2.0
 * Helpers: what FTP announces, how announced connections are told, and when they are forgotten.
 * link: base/mem.c ct/ct*.c base/hash.c packet/csum.c packet/extract.c */
#include "ct_alg_fixture.h"

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

int main(void)
{
    test_active();
    test_without_helper();
    test_lines();
    test_not_believed();
    test_bounds();
    test_no_leak();
    return failures != 0;
}
