/* SPDX-License-Identifier: Apache-2.0
 * The second `ct` of a list, which knows the connections of a burst from the first: where an earlier packet has ended
 * one, those behind it are looked up again, as if they had come one by one.
 * link: base/mem.c ct/ct*.c base/hash.c packet/csum.c packet/extract.c */
#include "ct_fixture.h"

#define TO "10.1.1.1:1000>10.1.1.2:80"
#define TR "10.1.1.2:80>10.1.1.1:1000"
#define PACKETS 4

static struct world w;
static struct packet packets[PACKETS];

/* Two connections are asked for and refused, one after the other. */
static void write_packets(void)
{
    tcp_packet(&packets[0], TO, SYN, 100, 0, 0, 8192, "", 0);
    tcp_packet(&packets[1], TR, RST | ACK, 0, 101, 0, 0, "", 0);
    tcp_packet(&packets[2], TO, SYN, 9000, 0, 0, 8192, "", 0);
    tcp_packet(&packets[3], TR, RST | ACK, 0, 9001, 0, 0, "", 0);
}

static void run(const struct ct_request *request, unsigned int n)
{
    struct rte_mbuf *burst[PACKETS];

    for (unsigned int step = 0; step < PACKETS; step += n) {
        for (unsigned int i = 0; i < n; i++)
            burst[i] = &packets[step + i].m;
        ct_run(w.ct, 0, request, burst, n, w.now);
    }
}

/* The first packet takes up the connection that the third one has begun and the fourth one has ended, so that the third one, of
 * which the table knew that connection, begins one more.  Only the first `ct` gives a mark. */
static void test_ended_meanwhile(unsigned int n)
{
    static const unsigned int states[PACKETS] = { 0x21, 0x2a, 0x21, 0x2a };
    const struct ct_request first = { .flags = CT_COMMIT | CT_MARK, .mark = 1, .mark_mask = UINT32_MAX }, second = { .flags = CT_COMMIT };

    world_open(&w);
    write_packets();
    run(&first, n);
    for (unsigned int i = 0; i < PACKETS; i++)
        CHECK(packets[i].pkt.md.ct_state == states[i] && packets[i].pkt.md.ct_mark == 1);
    run(&second, n);
    for (unsigned int i = 0; i < PACKETS; i++) {
        if (packets[i].pkt.md.ct_state != states[i] || packets[i].pkt.md.ct_mark) {
            fprintf(stderr, "bursts of %u: packet %u has state %02x, mark %u\n", n, i, packets[i].pkt.md.ct_state,
                    packets[i].pkt.md.ct_mark);
            failures++;
        }
    }
    CHECK(ct_counter(w.ct, CT_COUNT_created) == 4);
    world_close(&w);
}

int main(void)
{
    test_ended_meanwhile(1);
    test_ended_meanwhile(PACKETS);
    return failures != 0;
}
