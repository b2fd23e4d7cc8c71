/* SPDX-License-Identifier: Apache-2.0
 * link: everything
 *
 * A sender that has its packets cut to the smallest segments gets no more of a poll thread than a
 * sender of ordinary packets: what its bursts cost is charged to it, however long they take, and no
 * packet becomes more than SEGMENT_MOST.
 *
 * The account is in processor time of the thread, which does not depend on what else the machine
 * does: from one queue's turn to the next one's. */
#include <rte_mbuf.h>

#include "dp_fixture.h"
#include "dp_int.h"
#include "packet/eal_packet.h"
#include "packet/partial.h"
#include "segment/segment.h"
#include "port/port.h"

#define GOOD 1u
#define BAD 2u
#define ENOUGH_NS 300000000u
#define LARGE 65000u

static struct {
    _Atomic uint64_t used_ns[3], bursts[3];
    _Atomic uint64_t sent, bad_packets;
    uint64_t since;
    uint32_t turn;
} account;
static _Atomic bool go;
static uint8_t large[LARGE];
static uint16_t segment_size;

static uint64_t ran_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* A queue's turn begins, and the other's has ended. */
static void take_turn(uint32_t no)
{
    const uint64_t now = ran_ns();

    if (account.turn)
        atomic_fetch_add(&account.used_ns[account.turn], now - account.since);
    account.since = now;
    account.turn = no;
    atomic_fetch_add(&account.bursts[no], 1);
}

static uint16_t receive_good(struct port *port, uint16_t queue, struct rte_mbuf **packets, uint16_t n)
{
    uint8_t frame[60];

    (void)port, (void)queue;
    if (!atomic_load(&go))
        return 0;
    take_turn(GOOD);
    fixture_frame(frame, sizeof frame, 0);
    for (uint16_t i = 0; i < n; i++) {
        packets[i] = eal_packet(frame, sizeof frame);
        CHECK(packets[i]);
    }
    return n;
}

static uint16_t receive_bad(struct port *port, uint16_t queue, struct rte_mbuf **packets, uint16_t n)
{
    (void)port, (void)queue;
    if (!atomic_load(&go))
        return 0;
    take_turn(BAD);
    for (uint16_t i = 0; i < n; i++) {
        packets[i] = eal_packet(large, sizeof large);
        CHECK(packets[i]);
        partial_mark(packets[i], 34, 16, RTE_MBUF_F_TX_TCP_CKSUM | RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_TCP_SEG);
        packets[i]->l3_len = 20;
        packets[i]->l4_len = 20;
        packets[i]->tso_segsz = segment_size;
    }
    atomic_fetch_add(&account.bad_packets, n);
    return n;
}

static uint16_t count_sent(struct port *port, uint16_t queue, struct rte_mbuf **packets, uint16_t n)
{
    (void)port, (void)queue;
    atomic_fetch_add(&account.sent, n);
    rte_pktmbuf_free_bulk(packets, n);
    return n;
}

/* Sends TCP of 10.0.0.1 that comes in by the bad port out by port 3. */
static void tcp_flow(uint64_t dp)
{
    const uint8_t ipv4[12] = { 10, 0, 0, 1, 10, 0, 0, 2, 6, 0, 64, 0 }, ports[4] = { 0, 1, 0, 2 };
    struct dp_op op = { .type = DP_OP_PUT, .flags = DP_OPF_CREATE | DP_OPF_MASK };
    uint8_t ops[1024], key[256], actions[16], ethernet[12];
    const uint32_t in = BAD, out = 3;
    const uint16_t type = 8;

    memcpy(ethernet, large + 6, 6);
    memcpy(ethernet + 6, large, 6);
    op.key_size = fixture_attribute(key, 3, &in, 4);
    op.key_size += fixture_attribute(key + op.key_size, 4, ethernet, 12);
    op.key_size += fixture_attribute(key + op.key_size, 6, &type, 2);
    op.key_size += fixture_attribute(key + op.key_size, 7, ipv4, 12);
    op.key_size += fixture_attribute(key + op.key_size, 9, ports, 4);
    op.actions_size = fixture_attribute(actions, 1, &out, 4);
    EQUAL(fixture_operate(dp, ops, fixture_append(ops, &op, key, actions, NULL)), 0);
}

static void make_large(void)
{
    static const uint8_t head[] = { 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0, (LARGE - 14) >> 8, (LARGE - 14) & 255, 0, 0, 0, 0,
                                    64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 0, 1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 0x10 };

    memcpy(large, head, sizeof head);
}

static void share(uint16_t size)
{
    static struct port_class good, bad, out;
    uint64_t handle = fixture_dp("cut", 3), used[3], limit;
    struct dp *dp = dp_of(handle);
    struct port *ports[4];

    memset(&account, 0, sizeof account);
    segment_size = size;
    good = bad = out = port_class_dummy;
    good.rx_burst = receive_good;
    bad.rx_burst = receive_bad;
    out.tx_burst = count_sent;
    good.rx_wait = bad.rx_wait = NULL;
    fixture_flow(handle, GOOD, 9); /* There is no such port. */
    tcp_flow(handle);
    OK(dp_poll_threads_set(handle, 1, 0, 0));
    for (uint32_t no = 1; no <= 3; no++)
        ports[no] = port_get(dp->ports, no);
    atomic_store(&ports[3]->mtu, 1500);
    ports[3]->caps = 0;              /* As a port of DPDK: neither segments nor checksums. */
    __atomic_store_n(&ports[1]->class, &good, __ATOMIC_RELEASE);
    __atomic_store_n(&ports[2]->class, &bad, __ATOMIC_RELEASE);
    __atomic_store_n(&ports[3]->class, &out, __ATOMIC_RELEASE);
    atomic_store(&go, true);
    EVENTUALLY(atomic_load(&account.used_ns[GOOD]) + atomic_load(&account.used_ns[BAD]) >= ENOUGH_NS);
    atomic_store(&go, false);
    for (uint32_t no = 1; no <= 3; no++)
        __atomic_store_n(&ports[no]->class, &port_class_dummy, __ATOMIC_RELEASE);
    dp_unref(dp);
    for (uint32_t no = 1; no <= 2; no++)
        used[no] = atomic_load(&account.used_ns[no]);
    limit = fixture_drops(handle, "tx_segments");
    OK(dp_close(handle));
    printf("segments of %u bytes: %llu ms for ordinary packets, %llu ms for those; %llu packets became %llu, %llu dropped\n", size,
           (unsigned long long)used[GOOD] / 1000000, (unsigned long long)used[BAD] / 1000000, (unsigned long long)account.bad_packets,
           (unsigned long long)account.sent, (unsigned long long)limit);
    CHECK(account.sent <= account.bad_packets * SEGMENT_MOST);
    if (size == 1)
        CHECK(!account.sent && limit);
    else
        CHECK(account.sent > account.bad_packets / 2);
    /* A half is fair.  A burst that is begun is ended, so it may be some more. */
    if (used[BAD] > 2 * used[GOOD])
        FAIL("segments of %u bytes take more than their share", size);
}

static void test_share(void)
{
    make_large();
    share(1);
    share(64);
    share(1448);
}

int main(void)
{
    static void (*const tests[])(void) = { test_share };

    return fixture_run(tests, sizeof tests / sizeof tests[0]);
}
