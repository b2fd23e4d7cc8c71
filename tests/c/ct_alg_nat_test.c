/* SPDX-License-Identifier: Apache-2.0
 * Helpers behind translation: what payloads say afterwards, which numbers their connection has, and where announced connections go.
 * link: base/mem.c ct/ct*.c base/hash.c packet/csum.c packet/extract.c */
#include "ct_alg_fixture.h"

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
