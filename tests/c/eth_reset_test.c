/* SPDX-License-Identifier: Apache-2.0
 * link: everything
 *
 * A card asks to be reset, as a virtual function does when its physical one was: no thread is in
 * its driver meanwhile, packets go on flowing then, and what was counted before still counts.  One
 * that cannot be reset is gone, and tried again.  No other port may have it.  A virtual device
 * plays the card, and this test what DPDK's drivers do. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <rte_ethdev.h>

#include "dp_fixture.h"
#include "port/port_eth_int.h"

#define DEVICE "vdev:net_null_reset,no-rx=0" /* With its bus: it may be anything, a card too. */

static rte_eth_dev_cb_fn asked;
static void *asked_arg;
static uint16_t card;
static _Atomic int inside, resets, fails;

/* What is registered for it, is kept for the test to call. */
int rte_eth_dev_callback_register(uint16_t id, enum rte_eth_event_type event, rte_eth_dev_cb_fn callback, void *arg)
{
    static int (*real)(uint16_t, enum rte_eth_event_type, rte_eth_dev_cb_fn, void *);

    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "rte_eth_dev_callback_register");
    if (event == RTE_ETH_EVENT_INTR_RESET) {
        card = id;
        asked = callback;
        asked_arg = arg;
    }
    return real(id, event, callback, arg);
}

/* --- The driver ------------------------------------------------------------------------------- */

static eth_rx_burst_t receive;

static uint16_t receive_seen(void *queue, struct rte_mbuf **packets, uint16_t n)
{
    atomic_fetch_add(&inside, 1);
    n = receive(queue, packets, n);
    atomic_fetch_sub(&inside, 1);
    return n;
}

int rte_eth_dev_reset(uint16_t id)
{
    EQUAL(id, card);
    for (int i = 0; i < 50; i++) { /* A thread polls its queues all the time. */
        EQUAL(atomic_load(&inside), 0);
        usleep(100);
    }
    OK(rte_eth_dev_stop(id));
    rte_eth_stats_reset(id);
    atomic_fetch_add(&resets, 1);
    return atomic_fetch_sub(&fails, 1) > 0 ? -EIO : 0;
}

/* The driver's function is another after each start. */
static void look_on(void)
{
    if (rte_eth_fp_ops[card].rx_pkt_burst == receive_seen)
        return;
    receive = rte_eth_fp_ops[card].rx_pkt_burst;
    rte_eth_fp_ops[card].rx_pkt_burst = receive_seen;
}

/* --- Tests ------------------------------------------------------------------------------------ */

static void ask(void)
{
    asked(card, RTE_ETH_EVENT_INTR_RESET, asked_arg, NULL);
}

static uint64_t received(uint64_t dp)
{
    struct dp_port_stats stats;

    OK(dp_port_stats_get(dp, 1, &stats));
    return stats.rx_packets;
}

int main(void)
{
    uint64_t dp, before, mbufs;

    fixture_start();
    mbufs = fixture_mbufs();
    dp = fixture_dp("reset", 0);
    OK(fixture_port(dp, 1, "card", "dpdk", "devargs=" DEVICE, NULL));
    CHECK(asked);
    EQUAL(fixture_port(dp, 2, "again", "dpdk", "devargs=" DEVICE, NULL), EBUSY);
    CHECK(strstr(fixture_error(), "\"card\" has the device"));
    look_on();
    EVENTUALLY(received(dp) > 1000);

    for (int round = 1; round <= 2; round++) {
        before = received(dp);
        ask();
        EVENTUALLY(atomic_load(&resets) == round);
        EVENTUALLY(received(dp) > before + 1000); /* It counts on, and never backwards. */
        look_on();
    }

    atomic_store(&fails, 1);
    ask();
    EVENTUALLY(atomic_load(&resets) == 3);
    before = received(dp);
    EVENTUALLY(atomic_load(&resets) == 4); /* By itself. */
    EVENTUALLY(received(dp) > before + 1000);
    OK(dp_close(dp));
    EVENTUALLY(fixture_mbufs() <= mbufs);
    return 0;
}
