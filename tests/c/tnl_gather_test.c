/* SPDX-License-Identifier: Apache-2.0
 * Fragments of outer packets among others: those of two networks that look alike, more than a queue
 * has room for, and more than a port may have waiting.  And several outer packets in one, which are
 * more than a queue has room for, too.
 *
 * link: everything */
#include <rte_mbuf.h>

#include "dp_int.h"
#include "packet/worker.h"
#include "port/port.h"
#include "port/port_dummy.h"
#include "tnl_fragments.h"

#define PIECE 384u                   /* As small as they may be, about. */

/* --- Port 2 behind a gate --------------------------------------------------------------------- */

static _Atomic bool shut;
static _Atomic uint32_t cut_into;    /* Not 0: what is received is to be cut into UDP of this size. */
static uint16_t (*receive)(struct port *, uint16_t queue, struct rte_mbuf **, uint16_t n);

static uint16_t gated_rx(struct port *port, uint16_t queue, struct rte_mbuf **packets, uint16_t n)
{
    n = atomic_load(&shut) ? 0 : receive(port, queue, packets, n);
    for (uint16_t i = 0; i < n && atomic_load(&cut_into); i++) {
        packets[i]->ol_flags |= RTE_MBUF_F_TX_UDP_SEG | RTE_MBUF_F_TX_UDP_CKSUM | RTE_MBUF_F_TX_IPV4;
        packets[i]->l2_len = 14;
        packets[i]->l3_len = 20;
        packets[i]->l4_len = 8;
        packets[i]->tso_segsz = (uint16_t)atomic_load(&cut_into);
    }
    return n;
}

/* What is put into the port afterwards waits behind the gate: to others it is no dummy any more. */
static struct port *put_gate(uint64_t dp)
{
    static struct port_class class;
    struct dp *of = dp_of(dp);
    struct port *port = port_get(of->ports, 2);

    class = *port->class;
    receive = class.rx_burst;
    class.rx_burst = gated_rx;
    port->class = &class;
    dp_unref(of);
    return port;
}

/* --- Tests ------------------------------------------------------------------------------------ */

/* Two packets for nobody become whole by the same burst: their fragments are more than go round
 * again at once, and none is lost. */
static void test_crowd(void)
{
    const uint64_t dp = tunnel_dp("crowd", "vxlan", "remote_ip=1.1.2.92\nkey=9");
    static struct bytes inner, whole[2], fragment, got;
    struct port *port = put_gate(dp);
    struct dp_ipf_status status;
    uint32_t n = 0, last;

    OK(dp_ipf_set(dp, DP_IPF_MAX, 5000));
    put_output(dp, 2, 0x0800, 1);
    inner_frame(&inner);
    inner.size = 60000;
    for (uint32_t p = 0; p < 2; p++) {
        outer_packet("1234", &inner, &whole[p]);
        whole[p].at[19] = (uint8_t)p; /* Identification. */
    }
    last = (whole[0].size - 34 - 1) / PIECE * PIECE;
    for (uint32_t p = 0; p < 2; p++)
        for (uint32_t at = 0; at < last; at += PIECE, n++) {
            fragment_of(&whole[p], at, PIECE, &fragment);
            OK(port_dummy_inject(port, fragment.at, fragment.size));
        }
    CHECK(n > WORKER_RECIRC_QUEUE);
    EVENTUALLY(!dp_ipf_get(dp, &status) && status.held == n);
    atomic_store(&shut, true);
    for (uint32_t p = 0; p < 2; p++, n++) {
        fragment_of(&whole[p], last, whole[p].size - 34 - last, &fragment);
        OK(port_dummy_inject(port, fragment.at, fragment.size));
    }
    atomic_store(&shut, false);
    for (uint32_t p = 0; p < 2; p++)
        for (uint32_t at = 0; at <= last; at += PIECE) {
            fragment_of(&whole[p], at, at < last ? PIECE : whole[p].size - 34 - last, &fragment);
            collected(dp, 1, &got);
            CHECK(got.size == fragment.size && !memcmp(got.at, fragment.at, got.size));
        }
    EQUAL(fixture_drops(dp, "recirc_full"), 0);
    OK(dp_ipf_get(dp, &status));
    EQUAL(status.held, 0);
    OK(dp_close(dp));
}

/* Packets in one, of two such frames more than go round again at once: each is received. */
static void test_bundles(void)
{
    enum { EACH = 200, SIZE = 8 + 64, BUNDLES = 2 };
    const uint64_t dp = tunnel_dp("bundles", "vxlan", "remote_ip=1.1.2.92\nkey=9");
    static struct bytes inner, whole, got;
    struct port *port = put_gate(dp);

    put_output(dp, 10, 0x0800, 3);
    inner_frame(&inner);
    inner.size = EACH * SIZE - 8;
    outer_packet("12b5", &inner, &whole);
    for (uint32_t i = 0; i < EACH; i++) {
        uint8_t *vxlan = whole.at + 42 + i * SIZE;

        memcpy(vxlan, "\x08\0\0\0\0\0\x09\0", 8);
        memcpy(vxlan + 8, inner.at, 34);
        vxlan[8 + 16] = 0;
        vxlan[8 + 17] = 50;
        memcpy(vxlan + 8 + 34, &i, 4); /* A port that tells it from others. */
        set_checksum(vxlan + 8 + 14);
    }
    set_checksum(whole.at + 14);
    CHECK(EACH * BUNDLES > WORKER_RECIRC_QUEUE);
    atomic_store(&cut_into, SIZE);
    atomic_store(&shut, true);
    for (uint32_t i = 0; i < BUNDLES; i++)
        OK(port_dummy_inject(port, whole.at, whole.size));
    atomic_store(&shut, false);
    for (uint32_t n = 0; n < BUNDLES * EACH; n++) {
        const uint32_t i = n % EACH;

        collected(dp, 3, &got);
        CHECK(got.size == SIZE - 8 && !memcmp(got.at + 34, &i, 4));
    }
    EQUAL(fixture_drops(dp, "recirc_full"), 0);
    atomic_store(&cut_into, 0);
    OK(dp_close(dp));
}

/* The first or second half of a packet, by a port, with a tag unless `vlan` is 0. */
static void inject_half(uint64_t dp, uint32_t port, uint8_t vlan, const struct bytes *whole, bool second)
{
    const uint32_t half = (whole->size - 34) / 16 * 8;
    static struct bytes fragment;

    fragment_of(whole, second ? half : 0, second ? whole->size - 34 - half : half, &fragment);
    if (vlan) {
        memmove(fragment.at + 16, fragment.at + 12, fragment.size - 12);
        memcpy(fragment.at + 12, "\x81\0\0", 3);
        fragment.at[15] = vlan;
        fragment.size += 4;
    }
    OK(dp_dummy_inject(dp, port, fragment.at, fragment.size));
}

/* Where packets of two networks come from. */
struct network {
    uint32_t port;
    uint8_t vlan;
};

/* Addresses and identifications are those of one network: fragments that look alike by two ports
 * or VLANs make no packet. */
static void networks(const char *name, const struct network at[2])
{
    const uint64_t dp = tunnel_dp(name, "vxlan", "remote_ip=1.1.2.92\nkey=9");
    struct dp_tnl_local locals[2];
    static struct bytes inner[2], whole[2], got;
    struct dp_ipf_status status;

    for (uint32_t i = 0; i < 2; i++) {
        locals[i] = (struct dp_tnl_local){
            .port = at[i].port, .flags = DP_TNL_LOCAL_RECEIVED, .family = DP_TNL_IPV4, .vlan = at[i].vlan
        };
        address(LOCAL4, locals[i].address);
        inner_frame(&inner[i]);
        memset(inner[i].at + 42, (int)i + 1, inner[i].size - 42);
        outer_packet("12b5", &inner[i], &whole[i]);
    }
    OK(dp_tnl_locals_set(dp, locals, 2));
    put_output(dp, 10, 0x0800, 3);
    inject_half(dp, at[0].port, at[0].vlan, &whole[0], false);
    EVENTUALLY(!dp_ipf_get(dp, &status) && status.held == 1);
    inject_half(dp, at[1].port, at[1].vlan, &whole[1], true);
    EVENTUALLY(!dp_ipf_get(dp, &status) && status.held != 1);
    EQUAL(status.held, 2);
    CHECK(!collect(dp, 3, &got));
    for (uint32_t i = 0; i < 2; i++) {
        inject_half(dp, at[i].port, at[i].vlan, &whole[i], i == 0);
        collected(dp, 3, &got);
        CHECK(got.size == inner[i].size && !memcmp(got.at, inner[i].at, got.size));
    }
    OK(dp_close(dp));
}

static void test_vlans(void)
{
    networks("vlans", (struct network[]){ { 2, 5 }, { 2, 6 } });
    networks("tagged", (struct network[]){ { 2, 0 }, { 2, 6 } });
}

static void test_ports(void)
{
    networks("ports", (struct network[]){ { 1, 0 }, { 2, 0 } });
}

/* One port's fragments that never become whole leave room for another's. */
static void test_shares(void)
{
    const uint64_t dp = tunnel_dp("shares", "vxlan", "remote_ip=1.1.2.92\nkey=9");
    struct dp_tnl_local locals[2];
    static struct bytes inner, whole, got;
    struct dp_ipf_status status;

    for (uint32_t i = 0; i < 2; i++) {
        locals[i] = (struct dp_tnl_local){ .port = 1 + i, .flags = DP_TNL_LOCAL_RECEIVED, .family = DP_TNL_IPV4 };
        address(LOCAL4, locals[i].address);
    }
    OK(dp_tnl_locals_set(dp, locals, 2));
    OK(dp_ipf_set(dp, DP_IPF_MAX, 40));
    put_output(dp, 10, 0x0800, 3);
    inner_frame(&inner);
    outer_packet("12b5", &inner, &whole);
    for (uint8_t i = 0; i < 20; i++) {
        whole.at[19] = i;
        inject_half(dp, 1, 0, &whole, false);
    }
    EVENTUALLY(!dp_ipf_get(dp, &status) && status.full == 10);
    EQUAL(status.held, 10);
    whole.at[19] = 0x77;
    inject_half(dp, 2, 0, &whole, false);
    inject_half(dp, 2, 0, &whole, true);
    collected(dp, 3, &got);
    CHECK(got.size == inner.size && !memcmp(got.at, inner.at, got.size));
    OK(dp_close(dp));
}

int main(void)
{
    static void (*const tests[])(void) = { test_crowd, test_bundles, test_vlans, test_ports, test_shares };

    return fixture_run(tests, sizeof tests / sizeof tests[0]);
}
