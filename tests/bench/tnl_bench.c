/* SPDX-License-Identifier: Apache-2.0
 *
 * Cycles a packet of burst_receive() and burst_settle() where a tunnel is in the way, without devices: what the scenarios vxlan-* and
 * geneve-* of bench:peers do.  Built and run by cls_bench.ts.
 *
 *   tnl_bench [SHAPE|all [ISA [BURSTS]]]
 *
 * With BURSTS, so many are received, for instructions.ts to count what they take, and nothing is measured.  Figures are of slices of 16
 * bursts, of which most are undisturbed on a machine that others use, too: tenth percentile and median.  `copy` is what it costs to copy 128
 * bytes into each packet, and is part of every figure.
 */
#include <linux/openvswitch.h>

#include <rte_cycles.h>
#include <rte_ip.h>
#include <rte_mbuf.h>

#include "cls_feed.h"
#include "base/rcu.h"
#include "port/port.h"
#include "tnl/tnl.h"
#include "tnl/tnl_ready.h"

#define PACKETS 10000u
#define HEAD 128u
#define INSIDE 60u
#define TUNNEL 9u

struct tunnelled {
    const char *name;
    uint8_t kind;
    bool pop, set, option, sift;
};

static const struct tunnelled tunnelled[] = {
    { .name = "copy" },
    { .name = "vxlan-push", .kind = TUNNEL_VXLAN },
    { .name = "vxlan-set", .kind = TUNNEL_VXLAN, .set = true },
    { .name = "vxlan-pop", .kind = TUNNEL_VXLAN, .pop = true },
    { .name = "geneve-pop", .kind = TUNNEL_GENEVE, .pop = true, .option = true },
    { .name = "vxlan-sift", .kind = TUNNEL_VXLAN, .pop = true, .sift = true },
};

static const uint8_t local_ip[4] = { 1, 1, 2, 88 }, remote_ip[4] = { 1, 1, 2, 92 };
static const uint8_t local_mac[6] = { 2, 0, 0, 0, 0, 0x88 }, remote_mac[6] = { 2, 0, 0, 0, 0, 0x92 };
static uint8_t frames[PACKETS + 16][HEAD] __attribute__((aligned(64)));
static uint32_t frame_size;

static void put16(uint8_t *at, uint32_t x)
{
    at[0] = (uint8_t)(x >> 8);
    at[1] = (uint8_t)x;
}

static void make_inside(uint8_t *frame, uint32_t i)
{
    uint8_t *ip = frame + 14;

    memcpy(frame, (const uint8_t[14]){ 2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0 }, 14);
    memcpy(ip, (const uint8_t[20]){ 0x45, 0, 0, INSIDE - 14, 0, 0, 0, 0, 64, 17 }, 20);
    memcpy(ip + 12, (const uint8_t[8]){ 192, 168, (uint8_t)(i >> 8), (uint8_t)i, 10, (uint8_t)rnd(), (uint8_t)rnd(), (uint8_t)rnd() }, 8);
    put16(ip + 20, 1024 + rnd() % 60000);
    put16(ip + 22, 1024 + rnd() % 60000);
    put16(ip + 24, INSIDE - 34);
    ((struct rte_ipv4_hdr *)ip)->hdr_checksum = rte_ipv4_cksum((struct rte_ipv4_hdr *)ip);
}

/* The outer header of what one end sends the other; its size. */
static uint32_t make_outside(uint8_t *frame, const struct tunnelled *t, bool to_us)
{
    const uint32_t options = t->option ? 8 : 0, size = 50 + options;
    uint8_t *ip = frame + 14, *udp = ip + 20;

    memset(frame, 0, size);
    memcpy(frame, to_us ? local_mac : remote_mac, 6);
    memcpy(frame + 6, to_us ? remote_mac : local_mac, 6);
    put16(frame + 12, 0x0800);
    memcpy(ip, (const uint8_t[20]){ 0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 17 }, 20);
    put16(ip + 2, 20 + 16 + options + INSIDE);
    memcpy(ip + 12, to_us ? remote_ip : local_ip, 4);
    memcpy(ip + 16, to_us ? local_ip : remote_ip, 4);
    ((struct rte_ipv4_hdr *)ip)->hdr_checksum = rte_ipv4_cksum((struct rte_ipv4_hdr *)ip);
    put16(udp, 32768 + rnd() % 28000);
    put16(udp + 2, t->kind == TUNNEL_VXLAN ? 4789 : 6081);
    put16(udp + 4, 16 + options + INSIDE);
    if (t->kind == TUNNEL_VXLAN) {
        udp[8] = 8;
    } else {
        udp[8] = (uint8_t)(options / 4);
        put16(udp + 10, 0x6558);
    }
    udp[14] = 123;
    if (options)
        memcpy(udp + 16, (const uint8_t[8]){ 1, 2, 3, 1, 0x11, 0x22, 0x33, 0x44 }, 8);
    return size;
}

static void make_all(const struct tunnelled *t)
{
    for (uint32_t i = 0; i < PACKETS; i++) {
        const uint32_t at = t->pop ? make_outside(frames[i], t, true) : 0;

        make_inside(frames[i] + at, i);
        frame_size = at + INSIDE;
    }
}

/* As a device would: the next frames, in the buffers used last. */
static void receive_wide(struct feed *feed, struct rte_mbuf **packets)
{
    feed->from ^= WORKER_BURST;
    for (uint32_t i = 0; i < WORKER_BURST; i++) {
        struct rte_mbuf *m = packets[i] = feed->pool[feed->from + i];

        __builtin_prefetch(frames[feed->at + 8]);
        __builtin_prefetch(frames[feed->at + 8] + 64);
        m->data_off = DATA_OFF;
        m->data_len = (uint16_t)(m->pkt_len = frame_size);
        m->ol_flags = 0;
        memcpy(rte_pktmbuf_mtod(m, void *), frames[feed->at], HEAD);
        if (++feed->at == PACKETS)
            feed->at = 0;
    }
}

static void one_burst(struct feed *feed, struct worker *worker)
{
    const struct pkt_md md = { .in_port = 1 };
    struct rte_mbuf *packets[WORKER_BURST];

    receive_wide(feed, packets);
    if (!worker)
        return;
    burst_receive(worker, packets, WORKER_BURST, &md);
    burst_settle(worker);
}

#define SHORT 8000                  /* Slices of 16 bursts, which few interrupts meet. */

/* On a machine that others use, too: most short slices are undisturbed. */
static void measure(const char *name, struct feed *feed, struct worker *worker)
{
    static double cycles[SHORT];

    for (int i = -SHORT / 4; i < SHORT; i++) {
        const uint64_t start = rte_rdtsc();

        for (int k = 0; k < 16; k++)
            one_burst(feed, worker);
        if (i >= 0)
            cycles[i] = (double)(rte_rdtsc() - start) / (16 * WORKER_BURST);
    }
    qsort(cycles, SHORT, sizeof cycles[0], by_value);
    printf("%-12s %7.1f %7.1f cycles\n", name, cycles[SHORT / 10], cycles[SHORT / 2]);
    fflush(stdout);
}

/* A fixed number of bursts. */
static __attribute__((noipa)) void receive_bursts(struct feed *feed, struct worker *worker, uint32_t bursts)
{
    while (bursts--)
        one_burst(feed, worker);
}

static struct act_prog *compiled(const uint8_t *list, uint32_t size)
{
    struct act_prog *prog;
    const char *why;

    if (act_compile(list, size, NULL, &prog, &why)) {
        printf("%s\n", why);
        exit(1);
    }
    return prog;
}

static struct act_prog *send_to(uint32_t port)
{
    uint8_t list[8];

    attribute(list, OVS_ACTION_ATTR_OUTPUT, &port, sizeof port);
    return compiled(list, sizeof list);
}

/* What the first lookup's flow does. */
static struct act_prog *first_actions(const struct tunnelled *t)
{
    const uint32_t tunnel = TUNNEL, two = 2;
    uint8_t list[1024] = { 0 }, nest[128] = { 0 }, *end = list, *n = nest;

    if (t->pop) {
        end = attribute(end, 27, &tunnel, sizeof tunnel); /* tnl_pop */
    } else if (t->set) {
        const uint64_t id = RTE_BE64(123);
        uint8_t set[128], ttl = 64;

        n = attribute(n, OVS_TUNNEL_KEY_ATTR_ID, &id, sizeof id);
        n = attribute(n, OVS_TUNNEL_KEY_ATTR_IPV4_DST, remote_ip, 4);
        n = attribute(n, OVS_TUNNEL_KEY_ATTR_TTL, &ttl, 1);
        n = attribute(n, OVS_TUNNEL_KEY_ATTR_DONT_FRAGMENT, NULL, 0);
        n = attribute(set, OVS_KEY_ATTR_TUNNEL, nest, (size_t)(n - nest));
        end = attribute(end, OVS_ACTION_ATTR_SET, set, (size_t)(n - set));
        end = attribute(end, OVS_ACTION_ATTR_OUTPUT, &tunnel, sizeof tunnel);
    } else {
        struct { uint32_t port, out_port, size, type; uint8_t header[512]; } push = { .port = TUNNEL, .type = 4 };

        push.size = make_outside(push.header, t, false);
        put16(push.header + 16, 0);
        put16(push.header + 34, 0);
        put16(push.header + 38, 0);
        end = attribute(end, 26, &push, sizeof push); /* tnl_push */
        end = attribute(end, OVS_ACTION_ATTR_OUTPUT, &two, sizeof two);
    }
    return compiled(list, (uint32_t)(end - list));
}

static void insert(struct cls *cls, uint32_t at, struct key *key, struct key *mask, const struct act_prog *prog)
{
    int error;

    mask->base.l2 = 0xff;
    mask->base.eth_type = 0xffff;
    mask->base.vlan[0].tci = 0x10;
    mask->base.nw_frag = 0xff;
    for (uint32_t i = 0; i < KEY_WORDS; i++)
        key->words[i] &= mask->words[i];
    key->base.in_port = at == 1 ? 1 : TUNNEL;
    error = cls_insert(cls, at, key, mask, act_verdict(prog));
    if (error) {
        printf("insert %u: %d\n", at, error);
        exit(1);
    }
}

static void put_all(struct cls *cls, const struct tunnelled *t, const struct act_prog *first, const struct act_prog *second)
{
    const struct pkt_md md = { .in_port = 1 };
    struct key key, mask = { .base = { .nw_tos = 3, .ip4_dst = 0xff } };

    extract_key(frames[0], HEAD, HEAD, &md, NULL, &key, NULL);
    if (t->pop) {
        memset(&mask, 0, sizeof mask);
        memset(mask.base.eth_dst, 0xff, 6);
        mask.base.nw_proto = 0xff;
        mask.base.ip4_dst = 0xffffffff;
        mask.base.tp_dst = 0xffff;
    }
    insert(cls, 1, &key, &mask, first);
    if (!t->pop)
        return;
    extract_key(frames[0] + frame_size - INSIDE, INSIDE, INSIDE, &md, NULL, &key, NULL);
    memset(&mask, 0, sizeof mask);
    mask.base.ip4_dst = 0xff;
    mask.tunnel.id = UINT64_MAX;
    mask.tunnel.src.ip4 = mask.tunnel.dst.ip4 = UINT32_MAX;
    mask.tunnel.flags = 7;
    mask.tunnel.family = 0xff;
    key.tunnel.id = RTE_BE64(123);
    memcpy(&key.tunnel.src, remote_ip, 4);
    memcpy(&key.tunnel.dst, local_ip, 4);
    key.tunnel.flags = KEY_TUNNEL_KEY;
    key.tunnel.family = 4;
    insert(cls, 2, &key, &mask, second);
}

static struct tnl *make_tunnels(struct rcu *rcu, const struct tunnelled *t)
{
    struct tunnel_config config = { .kind = t->kind, .dst_port = t->kind == TUNNEL_VXLAN ? 4789 : 6081 };
    struct dp_tnl_hop hop = { .key = { .port = TUNNEL, .family = DP_TNL_IPV4 }, .underlay = 2, .header_size = 14 };
    struct dp_tnl_local local = { .port = 1, .flags = DP_TNL_LOCAL_RECEIVED, .family = DP_TNL_IPV4 };
    struct tnl *tnl = tnl_create(rcu);
    uint8_t header[128];

    memcpy(hop.key.dst, remote_ip, 4);
    memcpy(hop.src, local_ip, 4);
    memcpy(local.address, local_ip, 4);
    make_outside(header, t, false);
    memcpy(hop.header, header, 14);
    if (!tnl || tnl_port_add(tnl, TUNNEL, &config) || (t->set && tnl_hop_set(tnl, &hop)) || (t->sift && tnl_locals_set(tnl, &local, 1))) {
        printf("%s: no tunnel\n", t->name);
        exit(1);
    }
    return tnl;
}

static uint16_t take_all(struct port *port, uint16_t queue, struct rte_mbuf **packets, uint16_t n)
{
    (void)queue;
    (void)packets;
    atomic_fetch_add_explicit(&port->tx.packets, n, memory_order_relaxed);
    return n;
}

static void run(const struct tunnelled *t, struct feed *feed, struct worker *worker, uint32_t bursts)
{
    struct rcu *rcu = rcu_create();
    struct cls *cls = cls_create(rcu);
    struct tnl *tnl = make_tunnels(rcu, t);
    struct act_prog *first = first_actions(t), *second = send_to(2);
    struct worker_tx *tx = atomic_load(&worker->tx[2]);

    make_all(t);
    put_all(cls, t, first, second);
    worker->replica = cls_replica_add(cls, 1);
    worker->tnl = tnl;
    worker->roles = tnl_roles(tnl);
    feed->at = 0;
    atomic_store(&tx->port->tx.packets, 0);
    one_burst(feed, worker);
    if (strcmp(t->name, "copy") && atomic_load(&tx->port->tx.packets) != WORKER_BURST) {
        printf("%s: %u packets of %u\n", t->name, (unsigned int)atomic_load(&tx->port->tx.packets), WORKER_BURST);
        exit(1);
    }
    if (!bursts)
        measure(t->name, feed, strcmp(t->name, "copy") ? worker : NULL);
    else
        receive_bursts(feed, worker, bursts);
    cls_replica_remove(cls, worker->replica);
    cls_destroy(cls);
    tnl_destroy(tnl);
    rcu_destroy(rcu);
    act_free(first);
    act_free(second);
}

int main(int argc, char **argv)
{
    static const struct port_class class = { .type = "sink", .tx_burst = take_all };
    static struct port_txq txqs[2];
    static struct port ports[2];
    static struct worker_tx txs[2];
    static struct stat_counters stat;
    static struct worker worker;
    static struct feed feed;

    if (worker_init(&worker, &stat, 1, 0))
        return 1;
    for (uint16_t i = 0; i < 2; i++) {
        const uint16_t no = i ? TUNNEL : 2;

        ports[i] = (struct port){ .class = &class, .txqs = &txqs[i], .txq_count = 1, .mtu = 1500, .no = no };
        txs[i] = (struct worker_tx){ .port = &ports[i], .no = no };
        atomic_store(&worker.tx[no], &txs[i]);
    }
    feed_init(&feed);
    for (uint32_t isa = 0; argc > 2 && isa < 3; isa++) {
        static const char *const builds[] = { "scalar", "avx2", "avx512" };

        if (!strcmp(argv[2], builds[isa]) && cls_isa_set(isa, false))
            return 1;
    }
    for (unsigned int i = 0; i < sizeof tunnelled / sizeof tunnelled[0]; i++) {
        if (argc < 2 || !strcmp(argv[1], tunnelled[i].name) || !strcmp(argv[1], "all"))
            run(&tunnelled[i], &feed, &worker, argc > 3 ? (uint32_t)atoi(argv[3]) : 0);
    }
    worker_fini(&worker);
    return 0;
}
