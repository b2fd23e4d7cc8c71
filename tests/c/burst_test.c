/* SPDX-License-Identifier: Apache-2.0
 * link: everything
 * eal: yes
 * sanitize: address
 *
 * Bursts of any mixture of flows, misses and runts against a model that takes packet by packet: what each port sends and in which order, what
 * is dropped and why, what each flow counted; recirculation to any depth, by groups. */
#include <errno.h>
#include <linux/openvswitch.h>
#include <rte_mbuf.h>

#include "path/burst.h"
#include "cls_fixture.h"
#include "dp_int.h"
#include "packet/eal_packet.h"
#include "flow/flow.h"
#include "path/tx.h"
#include "pmd/pmd_int.h"
#include "port/port.h"

#define HOSTS 12u                    /* Flow h is for frames to host h; hosts behind them have none. */
#define PORTS 3u
#define SENT_MAX 4096

static struct dp *dp;
static struct cls *cls;
static struct worker worker;
static struct stat_counters stat;

static struct {
    uint32_t ids[SENT_MAX], n;
} sent[PORTS + 1], expected[PORTS + 1];

static uint32_t id_of(struct rte_mbuf *m)
{
    uint32_t id;

    memcpy(&id, rte_pktmbuf_mtod(m, uint8_t *) + 38, 4);
    return id;
}

static uint16_t take(struct port *port, uint16_t queue, struct rte_mbuf **packets, uint16_t n)
{
    (void)queue;
    for (uint32_t i = 0; i < n; i++)
        sent[port->no].ids[sent[port->no].n++] = id_of(packets[i]);
    rte_pktmbuf_free_bulk(packets, n);
    return n;
}

static const struct port_class class = { .type = "sink", .tx_burst = take };
static struct port_txq txqs[PORTS + 1];
static struct port ports[PORTS + 1];
static struct worker_tx txs[PORTS + 1];

/* A list of outputs, given as the bits of `out`, then recirculation if `recirc` is not 0. */
static struct act_prog *program(uint32_t out, uint32_t recirc)
{
    struct {
        uint16_t size, type;
        uint32_t value;
    } attrs[8];
    const struct key key = { 0 };
    struct act_prog *prog;
    const char *why;
    uint32_t n = 0;

    for (uint32_t port = 1; port <= PORTS + 1; port++) {
        if (out >> port & 1) {
            attrs[n].size = 8;
            attrs[n].type = OVS_ACTION_ATTR_OUTPUT;
            attrs[n++].value = port;
        }
    }
    if (recirc) {
        attrs[n].size = 8;
        attrs[n].type = OVS_ACTION_ATTR_RECIRC;
        attrs[n++].value = recirc;
    }
    if (act_compile((const uint8_t *)attrs, n * 8, &key, &prog, &why))
        abort();
    return prog;
}

static void insert(uint32_t flow, uint32_t recirc_id, uint32_t host, const struct act_prog *prog)
{
    struct key key, mask;
    uint8_t frame[FRAME_MAX];
    uint32_t size = frame_named("IPv4 UDP", frame);
    const struct pkt_md md = { .in_port = 1, .recirc_id = recirc_id };

    extract_key(frame, size, size, &md, NULL, &key, NULL);
    key.base.eth_dst[5] = (uint8_t)host;
    memset(&mask, 0, sizeof mask);
    mask.base.l2 = 0xff;
    if (host != UINT32_MAX)
        mask.base.eth_dst[5] = 0xff;
    if (cls_insert(cls, flow, &key, &mask, act_verdict(prog)))
        abort();
}

static struct rte_mbuf *packet(uint32_t host, uint32_t id, uint32_t extra)
{
    uint8_t frame[FRAME_MAX];
    uint32_t size = frame_named("IPv4 UDP", frame);

    frame[5] = (uint8_t)host;
    memcpy(frame + 38, &id, 4);
    memset(frame + size, 0, extra);
    return eal_packet(frame, size + extra);
}

/* What the model knows of a host's flow: ports as bits, none: drop. */
static uint32_t ports_of(uint32_t host)
{
    static const uint32_t bits[] = { 1u << 1, 1u << 2, 1u << 1, 0, 1u << 3, 1u << 1 | 1u << 2, 1u << 1, 1u << 4, 1u << 2 | 1u << 3, 0, 1u << 2,
                                     1u << 1 };

    return bits[host];
}

static void test_mixture(void)
{
    struct act_prog *progs[HOSTS];
    uint64_t packets[HOSTS] = { 0 }, bytes[HOSTS] = { 0 }, hits = 0, misses = 0, runts = 0, drops = 0, no_port = 0;
    const struct pkt_md md = { .in_port = 1 };
    uint32_t id = 0;

    for (uint32_t h = 0; h < HOSTS; h++)
        insert(1 + h, 0, h, progs[h] = program(ports_of(h), 0));
    memset(sent, 0, sizeof sent);
    memset(expected, 0, sizeof expected);
    for (uint32_t round = 0; round < 120; round++) {
        struct rte_mbuf *burst[WORKER_BURST];
        uint32_t n = 1 + rnd(WORKER_BURST), host = rnd(HOSTS + 2), kinds = 1 + rnd(HOSTS + 2);

        for (uint32_t i = 0; i < n; i++, id++) {
            uint32_t extra = rnd(40);

            host = rnd(3) ? host : rnd(kinds);
            if (!rnd(20)) {
                burst[i] = eal_packet((const uint8_t *)"0123456789abc", 1 + rnd(13));
                runts++;
                continue;
            }
            burst[i] = packet(host, id, extra);
            if (host >= HOSTS) {
                misses++;
                continue;
            }
            hits++;
            packets[host]++;
            bytes[host] += burst[i]->pkt_len;
            drops += !ports_of(host);
            no_port += ports_of(host) >> (PORTS + 1) & 1;
            for (uint32_t port = 1; port <= PORTS; port++) {
                if (ports_of(host) >> port & 1)
                    expected[port].ids[expected[port].n++] = id;
            }
        }
        burst_receive(&worker, burst, n, &md);
        tx_flush(&worker);
    }
    for (uint32_t port = 1; port <= PORTS; port++) {
        bool *seen = calloc(id, 1);

        for (uint32_t i = 0; i < sent[port].n; i++)
            seen[sent[port].ids[i]] = true;
        CHECK(sent[port].n == expected[port].n);
        for (uint32_t i = 0; i < expected[port].n; i++)
            CHECK(seen[expected[port].ids[i]]);
        free(seen);
    }
    CHECK(stat.hit == hits && stat.lost == misses && stat.missed == 0 && stat.drops[DROP_upcall_no_handler] == misses);
    CHECK(stat.drops[DROP_rx_runt] == runts && stat.drops[DROP_action] == drops && stat.drops[DROP_no_port] == no_port);
    for (uint32_t h = 0; h < HOSTS; h++) {
        struct cls_counters sum;

        cls_counters(cls, 1 + h, &sum);
        CHECK(sum.packets == packets[h] && sum.bytes == bytes[h] && !sum.packets == !sum.used_ms);
        cls_remove(cls, 1 + h);
    }
    rcu_synchronize(dp->rcu);
    for (uint32_t h = 0; h < HOSTS; h++)
        act_free(progs[h]);
}

/* Packets of a flow leave in the order in which they came. */
static void test_order(void)
{
    struct act_prog *progs[4];
    const struct pkt_md md = { .in_port = 1 };
    uint32_t last[4] = { 0 }, id = 1;

    for (uint32_t h = 0; h < 4; h++)
        insert(1 + h, 0, h, progs[h] = program(1u << (1 + h % 3), 0));
    for (uint32_t round = 0; round < 100; round++) {
        struct rte_mbuf *burst[WORKER_BURST];

        memset(sent, 0, sizeof sent);
        for (uint32_t i = 0; i < WORKER_BURST; i++, id++) {
            uint32_t host = rnd(4);

            burst[i] = packet(host, id << 2 | host, 0);
        }
        burst_receive(&worker, burst, WORKER_BURST, &md);
        tx_flush(&worker);
        for (uint32_t port = 1; port <= PORTS; port++) {
            for (uint32_t i = 0; i < sent[port].n; i++) {
                uint32_t host = sent[port].ids[i] & 3;

                CHECK(sent[port].ids[i] > last[host] && 1 + host % 3 == port);
                last[host] = sent[port].ids[i];
            }
        }
    }
    for (uint32_t h = 0; h < 4; h++)
        cls_remove(cls, 1 + h);
    rcu_synchronize(dp->rcu);
    for (uint32_t h = 0; h < 4; h++)
        act_free(progs[h]);
}

/* Hosts 0 to 11 go round 0 to 11 times before they are sent: 8 is the most. */
static void test_recirculation(void)
{
    struct act_prog *out = program(1u << 1, 0), *rounds[HOSTS];
    const struct pkt_md md = { .in_port = 1 };
    struct rte_mbuf *burst[WORKER_BURST];
    uint32_t flow = 1, of[HOSTS] = { 0 }, arrived = 0;
    const uint64_t before = stat.recirculated, hits = stat.hit;
    uint64_t again = 0;
    struct cls_counters sum;

    for (uint32_t r = 0; r < HOSTS; r++)
        rounds[r] = program(0, r + 1);
    for (uint32_t r = 0; r < HOSTS; r++) { /* In round r (recirc_id r), host r is sent, those above go on. */
        insert(flow++, r, r, out);
        for (uint32_t h = r + 1; h < HOSTS; h++)
            insert(flow++, r, h, rounds[r]);
    }
    memset(sent, 0, sizeof sent);
    for (uint32_t i = 0; i < WORKER_BURST; i++) {
        uint32_t host = rnd(HOSTS);

        of[host]++;
        burst[i] = packet(host, host, 0);
    }
    burst_receive(&worker, burst, WORKER_BURST, &md);
    tx_flush(&worker);
    for (uint32_t h = 0; h < HOSTS; h++) {
        uint32_t n = 0;

        for (uint32_t i = 0; i < sent[1].n; i++)
            n += sent[1].ids[i] == h;
        CHECK(n == (h <= WORKER_RECIRC_MAX ? of[h] : 0));
        arrived += n;
        again += (uint64_t)of[h] * (h <= WORKER_RECIRC_MAX ? h : WORKER_RECIRC_MAX);
    }
    CHECK(arrived == sent[1].n && stat.drops[DROP_recirc_depth] == WORKER_BURST - arrived);
    CHECK(stat.recirculated - before == again && stat.hit - hits == WORKER_BURST + again);
    cls_counters(cls, 1, &sum);
    CHECK(sum.packets == of[0]);
    CHECK(worker.depth == 0 && worker.recirc.n == 0);
    for (uint32_t f = 1; f < flow; f++)
        cls_remove(cls, f);
    rcu_synchronize(dp->rcu);
    act_free(out);
    for (uint32_t r = 0; r < HOSTS; r++)
        act_free(rounds[r]);
}

int main(void)
{
    uint64_t handle, before, after;

    if (dp_eal_start()) {
        printf("EAL\n");
        return 77;
    }
    if (dp_open("burst", DP_CREATE, &handle) || !(dp = dp_of(handle)) || worker_init(&worker, &stat, 100, 0))
        abort();
    CHECK(!dp_mbufs_in_use(&before));
    CHECK(!dp_lock(dp));
    worker.upcalls = dp->upcalls;
    cls = flow_table_cls(dp->flows);
    worker.replica = cls_replica_add(cls, 100);
    for (uint32_t i = 1; i <= PORTS; i++) {
        ports[i] = (struct port){ .class = &class, .txqs = &txqs[i], .txq_count = 1, .mtu = 1500, .no = i };
        txs[i] = (struct worker_tx){ .port = &ports[i], .no = (uint16_t)i };
        atomic_store(&worker.tx[i], &txs[i]);
    }
    test_mixture();
    test_order();
    test_recirculation();
    CHECK(!dp_mbufs_in_use(&after) && after == before);
    cls_replica_remove(cls, worker.replica);
    worker_fini(&worker);
    dp_unlock(dp);
    dp_unref(dp);
    CHECK(!dp_close(handle));
    return failures != 0;
}
