/* SPDX-License-Identifier: Apache-2.0
 * link: ipf/ipf*.c base/hash.c base/mem.c packet/csum.c packet/extract.c packet/eal_hold.c
 * eal: yes
 *
 * Who holds how many fragments that wait, of the number and of mbufs: those that are for no `ct`,
 * which anybody sends to an address of ours, leave half to the others; and a port has no more than
 * it leaves to the rest. */
#include <errno.h>

#include "ipf_fixture.h"

static struct ipf *ipf;
static struct datagram d;

/* Whether the first fragment of another packet is held. */
static bool is_held(bool ct, uint32_t port)
{
    struct rte_mbuf *m = fragment(&d, 0, 1200, true);
    struct ipf_whole *whole;

    d.id++;
    pkt_of(m)->md.recirc_id = ct ? 0 : IPF_NO_CT;
    pkt_of(m)->md.in_port = port;
    if (ipf_take(ipf, 0, m, 1000, &whole) == IPF_HELD)
        return true;
    rte_pktmbuf_free(m);
    return false;
}

static uint32_t hold_all(bool ct, uint32_t port)
{
    uint32_t n = 0;

    while (is_held(ct, port))
        n++;
    return n;
}

static uint32_t held(void)
{
    struct ipf_status status;

    ipf_status(ipf, &status);
    return status.held;
}

/* Fragments of these, and how many each port may have. */
static void number(void)
{
    static const uint32_t shares[] = { 6, 3, 2, 1, 0 };
    uint32_t ports = 0;

    CHECK(!ipf_set_max(ipf, 12));
    for (int ct = 0; ct < 2; ct++) {
        CHECK(hold_all(ct, 1) == (ct ? 6 : 3));
        CHECK(is_held(!ct, 1) && is_held(ct, 2));
        ipf_purge(ipf);
    }
    for (; ports < 5; ports++)
        CHECK(hold_all(true, ports) == shares[ports]);
    CHECK(held() == 12);
    ipf_purge(ipf);
    /* Without `ct` half is all there is, however many ports want it. */
    for (ports = 0; ports < 10; ports++)
        hold_all(false, ports);
    CHECK(held() == 6 && is_held(true, 1));
    ipf_purge(ipf);
    CHECK(!held());
    /* What is whole, or gone, is nobody's share any more. */
    for (uint32_t i = 0; i < 20; i++) {
        struct ipf_whole *whole;
        struct rte_mbuf *pieces[2] = { fragment(&d, 0, 1200, true), fragment(&d, 1200, d.size - 1200, false) };
        bool left;

        pkt_of(pieces[1])->md.in_port = 7; /* The other's is 0. */
        CHECK(ipf_take(ipf, 0, pieces[0], 1000, &whole) == IPF_HELD);
        CHECK(ipf_take(ipf, 0, pieces[1], 1000, &whole) == IPF_WHOLE);
        CHECK(held() == 2);
        CHECK(ipf_cut(ipf, whole, pieces, 2, &left) == 2 && !left);
        rte_pktmbuf_free_bulk(pieces, 2);
        d.id++;
    }
    CHECK(hold_all(true, 7) == 6);
    ipf_purge(ipf);
}

/* The mbufs of a pool, where more fragments may be held than there are: half of all for all. */
static void mbufs(void)
{
    CHECK(!ipf_set_max(ipf, IPF_MAX_MOST));
    CHECK(hold_all(true, 1) == (POOL / 2 + 1) / 2);
    CHECK(is_held(true, 2) && is_held(false, 1));
    ipf_purge(ipf);
    CHECK(hold_all(false, 1) && is_held(false, 2) && is_held(true, 1));
    ipf_purge(ipf);
    CHECK(!held() && !in_use());
}

int main(void)
{
    if (!ipf_start("shares")) {
        printf("EAL cannot be started\n");
        return 77;
    }
    ipf = ipf_create();
    make_datagram(&d, 4, 2400, 17);
    number();
    mbufs();
    ipf_destroy(ipf);
    return failures != 0;
}
