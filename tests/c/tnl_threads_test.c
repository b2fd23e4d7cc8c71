/* SPDX-License-Identifier: Apache-2.0
 * sanitize: thread
 *
 * Ways, addresses of ours and tunnel ports that change while poll threads put headers on and take
 * them off: every packet goes to one of the addresses that there were, and none is refused. */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

#include "tnl_fixture.h"

#define ROUNDS 200u
#define LOOKED 64u
#define OTHER_MAC "f8bc12443477"
#define FROM_REMOTE "aa55aa550000f8bc124434b60800"
#define OUTER FROM_REMOTE "4500004e00004000401133f0" "0101025601010258" "15b312b5003a0000" "0800000000007b00" INNER

/* See dp_threads_test.c for why these are no races. */
__attribute__((visibility("default"))) const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void)
{
    return "race:eal_packet\nrace:rte_pktmbuf_\nrace:rte_mbuf_\nrace:rte_mempool_\nrace:rte_ring_count\nrace:rte_ring_empty\n"
           "race:__rte_ring_dequeue_elems\nrace:hot_match\n";
}

static _Atomic bool stop;

static void *traffic(void *arg)
{
    const uint64_t dp = *(uint64_t *)arg;
    static struct bytes inner, outer;

    from_hex(INNER, &inner);
    from_hex(OUTER, &outer);
    while (!atomic_load(&stop)) {
        dp_dummy_inject(dp, 1, inner.at, inner.size); /* Full or not. */
        dp_dummy_inject(dp, 2, outer.at, outer.size);
        usleep(50); /* The mutex is not fair to who changes things. */
    }
    return NULL;
}

/* Looks at what came out, as far as that does not keep from changes. */
static void look(uint64_t dp, uint32_t counts[2])
{
    static struct bytes frame, first, second;

    from_hex(REMOTE_MAC, &first);
    from_hex(OTHER_MAC, &second);
    for (uint32_t n = 0; n < LOOKED && collect(dp, 2, &frame); n++) {
        CHECK(frame.size == 92 && (!memcmp(frame.at, first.at, 6) || !memcmp(frame.at, second.at, 6)));
        counts[0]++;
    }
    for (uint32_t n = 0; n < LOOKED && collect(dp, 3, &frame); n++) {
        expect(&frame, INNER);
        counts[1]++;
    }
}

static void change(uint64_t dp, uint32_t round)
{
    struct dp_tnl_local locals[3] = { { .port = 2, .flags = DP_TNL_LOCAL_RECEIVED, .family = DP_TNL_IPV4 },
                                      { .port = 2, .flags = DP_TNL_LOCAL_RECEIVED, .family = DP_TNL_IPV4 },
                                      { .port = 2, .flags = DP_TNL_LOCAL_RECEIVED, .family = DP_TNL_IPV6 } };
    struct dp_tnl_hop hop = hop_to(10, REMOTE4, LOCAL4);
    static struct bytes mac;
    char other[16];

    from_hex(round & 1 ? OTHER_MAC : REMOTE_MAC, &mac);
    memcpy(hop.header, mac.at, 6);
    hop.ttl = (uint8_t)(1 + round % 200);
    OK(dp_tnl_hop_set(dp, &hop));
    address(LOCAL4, locals[0].address);
    snprintf(other, sizeof other, "1.1.9.%u", round % 200 + 1);
    address(other, locals[1].address);
    address(LOCAL6, locals[2].address);
    OK(dp_tnl_locals_set(dp, locals, 3));
    hop = hop_to(10, other, LOCAL4); /* Of nobody's packets. */
    OK(dp_tnl_hop_set(dp, &hop));
    if (round & 1)
        OK(dp_tnl_hop_delete(dp, &hop.key));
    OK(dp_tnl_source_ports(dp, 32768 + round, 61000));
    if (round % 8 == 0)
        OK(fixture_port(dp, 11, "t11", "geneve", "", NULL));
    if (round % 8 == 4)
        OK(dp_port_delete(dp, 11));
}

static void test_changes(void)
{
    const uint64_t dp = tunnel_dp("changes", "vxlan", "");
    struct nest nest = tunnel_nest(0x7b, NULL, REMOTE4);
    static const char *const reasons[] = { "tunnel", "tunnel_no_hop", "tunnel_no_remote", "tunnel_checksum", "tunnel_option" };
    uint32_t counts[2] = { 0, 0 };
    struct dp_stats stats;
    uint8_t actions[1024];
    pthread_t thread;
    uint64_t arg = dp;

    put_flow(dp, 1, 0x0800, NULL, NULL, actions, send_actions(actions, &nest, 10));
    put_output(dp, 10, 0x0800, 3);
    EQUAL(pthread_create(&thread, NULL, traffic, &arg), 0);
    for (uint32_t round = 0; round < ROUNDS || counts[0] < ROUNDS || counts[1] < ROUNDS; round++) {
        change(dp, round % ROUNDS);
        look(dp, counts);
        usleep(500);
    }
    atomic_store(&stop, true);
    pthread_join(thread, NULL);
    for (uint32_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++)
        EQUAL(fixture_drops(dp, reasons[i]), 0);
    stats = fixture_stats(dp);
    EQUAL(stats.missed + stats.lost, 0); /* Of what is for a tunnel none was taken for somebody else's. */
    OK(dp_close(dp));
}

int main(void)
{
    static void (*const tests[])(void) = { test_changes };

    return fixture_run(tests, 1);
}
