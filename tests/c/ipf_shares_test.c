/* SPDX-License-Identifier: Apache-2.0
 * link: ipf/ipf*.c base/hash.c base/mem.c packet/csum.c packet/extract.c packet/eal_hold.c
 * eal: yes
 *
 * Fragments that are for no `ct`, which anybody sends to an address of ours, leave half of what may
 * be held to the others: of the number, and of mbufs. */
#include <errno.h>

#include "ipf_fixture.h"

static struct ipf *ipf;
static struct datagram d;

/* Whether the first fragment of another packet is held. */
static bool is_held(bool ct)
{
    struct rte_mbuf *m = fragment(&d, 0, 1200, true);
    struct ipf_whole *whole;

    d.id++;
    pkt_of(m)->md.recirc_id = ct ? 0 : IPF_NO_CT;
    if (ipf_take(ipf, 0, m, 1000, &whole) == IPF_HELD)
        return true;
    rte_pktmbuf_free(m);
    return false;
}

static uint32_t hold_all(bool ct)
{
    uint32_t n = 0;

    while (is_held(ct))
        n++;
    return n;
}

int main(void)
{
    struct ipf_status status;

    if (!ipf_start("shares")) {
        printf("EAL cannot be started\n");
        return 77;
    }
    ipf = ipf_create();
    make_datagram(&d, 4, 60000, 17);
    CHECK(!ipf_set_max(ipf, 10));
    CHECK(hold_all(false) == 5);
    CHECK(hold_all(true) == 5);
    ipf_purge(ipf);
    CHECK(hold_all(false) == 5);
    ipf_purge(ipf);
    CHECK(hold_all(true) == 10 && !is_held(false));
    ipf_purge(ipf);
    CHECK(!ipf_set_max(ipf, IPF_MAX_MOST));
    CHECK(hold_all(false) && is_held(true));
    ipf_purge(ipf);
    ipf_status(ipf, &status);
    CHECK(!status.held && !in_use());
    ipf_destroy(ipf);
    return failures != 0;
}
