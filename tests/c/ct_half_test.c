/* SPDX-License-Identifier: Apache-2.0
 * Half-open TCP connections (RFC 9293, 3.5.1): what ends that have lost a connection send, and are
 * sent, passes, and a new connection begins. Open vSwitch 3.1.0 takes part of it for invalid; Linux
 * passes it.
 * link: base/mem.c ct/ct*.c base/hash.c packet/csum.c packet/extract.c */
#include "ct_fixture.h"
#include "ct/ct_tcp.h"

#define TO "10.1.1.1:1000>10.1.1.2:80"
#define TR "10.1.1.2:80>10.1.1.1:1000"

static struct world *w;

static struct ct_info only(void)
{
    struct ct_info info[4];

    CHECK(dump(w, info, 4) == 1);
    return info[0];
}

static bool states_are(unsigned int client, unsigned int server)
{
    const struct ct_info info = only();

    if (info.tcp_state[0] == client && info.tcp_state[1] == server)
        return true;
    fprintf(stderr, "states %u, %u\n", info.tcp_state[0], info.tcp_state[1]);
    return false;
}

static void open_world(void)
{
    static struct world world;

    w = &world;
    world_open(w);
    w->flows[0][0].flags = CT_COMMIT;
}

static void handshake(uint32_t client, uint32_t server)
{
    STATE(0x21, tcp(w, 1, TO, SYN, client, 0));
    STATE(0x2a, tcp(w, 2, TR, SYN | ACK, server, client + 1));
    STATE(0x22, tcp(w, 1, TO, ACK, client + 1, server + 1));
    CHECK(states_are(CT_TCP_STATE_ESTABLISHED, CT_TCP_STATE_ESTABLISHED) && only().timeout == 86400);
}

static void established(void)
{
    open_world();
    handshake(1000, 5000);
}

/* The table has forgotten a connection that the server still has: it misses the last ACK, say, or
 * it is another client's of the same translated tuple. */
static void test_table_forgot(void)
{
    open_world();
    for (int i = 0; i < 3; i++) { /* As often as the client asks, also when an answer is lost. */
        STATE(0x21, tcp(w, 1, TO, SYN, 0x90000000, 0));
        STATE(0x2a, tcp(w, 2, TR, i == 1 ? FIN | ACK : ACK, 700, 400));
        CHECK(states_are(CT_TCP_STATE_SYN_SENT, CT_TCP_STATE_CLOSED));
    }
    STATE(0x22, tcp(w, 1, TO, RST, 400, 0));
    CHECK(states_are(CT_TCP_STATE_TIME_WAIT, CT_TCP_STATE_TIME_WAIT) && only().timeout == 30);
    handshake(0x90000000, 5000);
    world_close(w);

    open_world(); /* A connection that goes on in the middle is none of these. */
    STATE(0x21, tcp(w, 1, TO, ACK, 1000, 5000));
    STATE(0x2a, tcp(w, 2, TR, ACK, 5000, 900));
    CHECK(states_are(CT_TCP_STATE_ESTABLISHED, CT_TCP_STATE_SYN_SENT));
    world_close(w);

    open_world(); /* The server may answer by a SYN after all. */
    STATE(0x21, tcp(w, 1, TO, SYN, 1000, 0));
    STATE(0x2a, tcp(w, 2, TR, ACK, 700, 400));
    STATE(0x2a, tcp(w, 2, TR, SYN | ACK, 5000, 1001));
    STATE(0x22, tcp(w, 1, TO, ACK, 1001, 5001));
    CHECK(states_are(CT_TCP_STATE_ESTABLISHED, CT_TCP_STATE_ESTABLISHED));
    STATE(0x30, tcp(w, 1, TO, RST, 400, 0)); /* Too late. */
    world_close(w);
}

/* The client has lost a connection that the server and the table still have. */
static void test_client_forgot(void)
{
    established();
    STATE(0x22, tcp(w, 1, TO, SYN, 0x90000000, 0));
    STATE(0x30, tcp(w, 1, TO, RST, 990, 0)); /* The server was not heard of yet. */
    STATE(0x2a, tcp(w, 2, TR, ACK, 5001, 990)); /* Some of what the client had sent was lost. */
    STATE(0x30, tcp(w, 1, TO, RST, 989, 0));
    CHECK(states_are(CT_TCP_STATE_ESTABLISHED, CT_TCP_STATE_ESTABLISHED));
    STATE(0x22, tcp(w, 1, TO, RST, 990, 0));
    CHECK(states_are(CT_TCP_STATE_TIME_WAIT, CT_TCP_STATE_TIME_WAIT));
    handshake(0x90000000, 7000);
    world_close(w);

    /* The SYN was a stranger's: the client goes on, and the number from before resets nothing. */
    established();
    STATE(0x22, tcp(w, 1, TO, SYN, 0x90000000, 0));
    STATE(0x2a, tcp(w, 2, TR, ACK, 5001, 990));
    STATE(0x22, tcp(w, 1, TO, ACK, 1001, 5001));
    STATE(0x30, tcp(w, 1, TO, RST, 990, 0));
    CHECK(states_are(CT_TCP_STATE_ESTABLISHED, CT_TCP_STATE_ESTABLISHED) && only().timeout == 86400);
    world_close(w);

    established(); /* Only the client's: a server does not open. */
    STATE(0x30, tcp(w, 2, TR, SYN, 0x90000000, 0));
    world_close(w);
}

/* Client and server have lost the connection, and the table has it. */
static void test_both_forgot(void)
{
    established(); /* Nobody listens. */
    STATE(0x22, tcp(w, 1, TO, SYN, 0x90000000, 0));
    STATE(0x30, tcp(w, 2, TR, RST | ACK, 0, 0x90000002));
    STATE(0x2a, tcp(w, 2, TR, RST | ACK, 0, 0x90000001));
    CHECK(states_are(CT_TCP_STATE_TIME_WAIT, CT_TCP_STATE_TIME_WAIT));
    world_close(w);

    established();
    STATE(0x22, tcp(w, 1, TO, SYN, 0x90000000, 0));
    STATE(0x30, tcp(w, 2, TR, SYN | ACK, 0x40000000, 0x90000002));
    STATE(0x2a, tcp(w, 2, TR, SYN | ACK, 0x40000000, 0x90000001));
    STATE(0x22, tcp(w, 1, TO, ACK, 0x90000001, 0x40000001));
    CHECK(states_are(CT_TCP_STATE_ESTABLISHED, CT_TCP_STATE_ESTABLISHED) && only().timeout == 86400);
    tcp_packet(&w->last, TO, ACK | PSH, 1001, 5001, 1, 8192, "", 0);
    STATE(0x30, arrive(w, 1)); /* What was before is over. */
    tcp_packet(&w->last, TO, ACK | PSH, 0x90000001, 0x40000001, 100, 8192, "", 0);
    STATE(0x22, arrive(w, 1));
    tcp_packet(&w->last, TR, ACK | PSH, 0x40000001, 0x90000065, 100, 8192, "", 0);
    STATE(0x2a, arrive(w, 2));
    STATE(0x22, tcp(w, 1, TO, FIN | ACK, 0x90000065, 0x40000065));
    STATE(0x2a, tcp(w, 2, TR, FIN | ACK, 0x40000065, 0x90000066));
    STATE(0x22, tcp(w, 1, TO, ACK, 0x90000066, 0x40000066));
    CHECK(states_are(CT_TCP_STATE_FIN_WAIT_2, CT_TCP_STATE_FIN_WAIT_2));
    world_close(w);

    /* An answer that was lost behind the datapath: it is sent once more, and windows are judged. */
    open_world();
    STATE(0x21, tcp(w, 1, TO, SYN, 1000, 0));
    STATE(0x2a, tcp(w, 2, TR, SYN | ACK, 5000, 1001));
    STATE(0x22, tcp(w, 1, TO, SYN, 1000, 0));
    STATE(0x2a, tcp(w, 2, TR, SYN | ACK, 5000, 1001));
    STATE(0x22, tcp(w, 1, TO, ACK, 1001, 5001));
    CHECK(only().tcp_flags[0] == 0 && only().tcp_flags[1] == 0);
    world_close(w);

    established(); /* No answer to a SYN of the client's. */
    STATE(0x30, tcp(w, 2, TR, SYN | ACK, 0x40000000, 0x90000001));
    STATE(0x30, tcp(w, 2, TR, RST | ACK, 0, 0x90000001));
    world_close(w);
}

/* A translated connection comes back under the tuple that the server knows. */
static void test_translated(void)
{
    struct ct_request *out;

    open_world();
    out = &w->flows[0][0];
    out->flags = CT_COMMIT | CT_NAT | CT_NAT_SRC | CT_NAT_PORTS;
    out->family = 4;
    memcpy(out->min_addr, "\x09\x09\x09\x09", 4);
    memcpy(out->max_addr, out->min_addr, 4);
    out->min_port = out->max_port = 6000;
    w->flows[1][0].flags = CT_NAT;
    STATE(0x61, tcp(w, 1, TO, SYN, 0x90000000, 0));
    PACKET_IS(w, "9.9.9.9:6000>10.1.1.2:80");
    STATE(0xaa, tcp(w, 2, "10.1.1.2:80>9.9.9.9:6000", ACK, 700, 400));
    PACKET_IS(w, TR);
    STATE(0x62, tcp(w, 1, TO, RST, 400, 0));
    PACKET_IS(w, "9.9.9.9:6000>10.1.1.2:80");
    STATE(0x61, tcp(w, 1, TO, SYN, 0x90000000, 0));
    PACKET_IS(w, "9.9.9.9:6000>10.1.1.2:80");
    STATE(0xaa, tcp(w, 2, "10.1.1.2:80>9.9.9.9:6000", SYN | ACK, 5000, 0x90000001));
    world_close(w);
}

int main(void)
{
    test_table_forgot();
    test_client_forgot();
    test_both_forgot();
    test_translated();
    return failures != 0;
}
