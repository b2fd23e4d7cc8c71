/* SPDX-License-Identifier: Apache-2.0
 * link: everything
 * eal: yes
 * sanitize: address
 *
 * Two datapaths with the same flows and packets.  In one, packets that are tracked and looked up again take ct_track(), and what cls_next.h
 * remembers; in the other every packet takes ct_run() and a second lookup.  Flows come, go and get other actions between bursts.  Both send the
 * same packets, count the same, and have the same connections. */
#include <rte_mbuf.h>

#include "base/rcu.h"
#include "cls/cls_next.h"
#include "ct_hot_fixture.h"
#include "dp_int.h"
#include "flow/flow.h"
#include "ipf/ipf.h"
#include "packet/eal.h"
#include "packet/eal_packet.h"
bool test_track(struct ct *, uint32_t thread, const struct ct_request *, struct rte_mbuf **, unsigned int n, uint64_t now, const struct pkt_md *,
                struct ct_result *);
struct cls_next *test_next(struct cls_replica *, uint32_t flow, uint32_t in_port, uint32_t recirc_id, uint16_t zone, bool moved);
#define burst_receive test_receive
#define burst_recirculate test_recirculate
#define burst_receive_l3 test_receive_l3
#define burst_settle test_settle
#define ct_track test_track
#define cls_next_of test_next
#include "path/burst.c"
#undef ct_track
#undef cls_next_of
#include "path/tx.h"
#include "port/port.h"

#define WORLDS 2
#define PORTS 3u
#define FLOWS 24u
#define SENT_MAX 64u
#define ROUNDS 300u
#define BURSTS 60u

struct flow_spec {
    bool there;
    struct key key, mask;
    struct act_prog *progs[WORLDS];
    uint64_t packets, bytes;         /* When it was put. */
};

static struct world {
    uint64_t handle;
    struct dp *dp;
    struct cls *cls;
    struct ct *ct;
    struct rte_rcu_qsbr *qsbr;
    struct worker worker;
    struct stat_counters stat;
    struct sent {
        uint32_t connection, id, port, size, sum;
    } sent[SENT_MAX];
    uint32_t n;
    struct port ports[PORTS + 1];
    struct port_txq txqs[PORTS + 1];
    struct worker_tx txs[PORTS + 1];
} worlds[WORLDS];

static bool plain;                   /* The second world is at work. */
static struct flow_spec specs[FLOWS + 5];
static uint64_t unwritten;           /* Packets that went on as they were. */
static const struct pkt_md md = { .in_port = 1 };

/* What it receives is forwarded: notes what it is now. */
static uint16_t take(struct port *port, uint16_t queue, struct rte_mbuf **packets, uint16_t n)
{
    struct world *w = &worlds[port->mtu - 1500];

    (void)queue;
    for (uint32_t i = 0; i < n; i++) {
        const uint8_t *f = rte_pktmbuf_mtod(packets[i], const uint8_t *);
        struct sent *s = &w->sent[w->n++];

        if (w->n == SENT_MAX)
            abort();
        *s = (struct sent){ .connection = packets[i]->port, .id = packets[i]->hash.usr, .port = port->no, .size = packets[i]->pkt_len };
        for (uint32_t k = 0; k < s->size; k++)
            s->sum = s->sum * 31 + f[k];
    }
    rte_pktmbuf_free_bulk(packets, n);
    return n;
}

/* --- The plain way ---------------------------------------------------------------------------- */

static bool is_plain(const struct rte_mbuf *m, const uint8_t *f)
{
    return m->data_len >= 42 && m->nb_segs == 1 && f[12] == 8 && !f[13] && f[14] == 0x45 && !((f[20] & 0x3f) | f[21]);
}

bool test_track(struct ct *ct, uint32_t thread, const struct ct_request *request, struct rte_mbuf **packets, unsigned int n, uint64_t now,
                const struct pkt_md *common, struct ct_result *results)
{
    if (!plain) {
        const bool did = ct_track(ct, thread, request, packets, n, now, common, results);

        for (unsigned int i = 0; did && i < n; i++)
            unwritten += !results[i].written;
        return did;
    }
    for (unsigned int i = 0; i < n; i++)
        if (!is_plain(packets[i], rte_pktmbuf_mtod(packets[i], const uint8_t *)) || request->flags & (CT_FORCE | CT_MARK | CT_LABEL))
            return false;
    for (unsigned int i = 0; i < n; i++)
        pkt_of(packets[i])->md = *common;
    ct_run(ct, thread, request, packets, n, now);
    memset(results, 0, n * sizeof *results);
    for (unsigned int i = 0; i < n; i++)
        results[i].written = 1;
    return true;
}

struct cls_next *test_next(struct cls_replica *replica, uint32_t flow, uint32_t in_port, uint32_t recirc_id, uint16_t zone, bool moved)
{
    return plain ? NULL : cls_next_of(replica, flow, in_port, recirc_id, zone, moved);
}

/* --- Flows ------------------------------------------------------------------------------------ */

static struct act_prog *compile(const struct list *l)
{
    const struct key key = { .base = { .eth_type = 8 } };
    struct act_prog *prog;
    const char *why;

    return act_compile(l->bytes, l->size, &key, &prog, &why) ? NULL : prog;
}

/* Random actions of a flow, for each world. */
static void make_programs(uint32_t recirc, struct act_prog *progs[WORLDS])
{
    const uint32_t kind = rnd(recirc ? 6 : 12), port = 1 + rnd(PORTS), next = 1 + !rnd(8);
    const uint16_t zone = 1 + !rnd(6);
    const bool nat = rnd(3) == 0, mark = rnd(3) == 0;
    struct list ends = { .size = 0 };

    if (!recirc && kind) { /* Mostly. */
        put_ct(&ends, zone, false, nat, !rnd(12));
        attr(&ends, OVS_ACTION_ATTR_RECIRC, &next, 4);
    } else if (recirc == 1 && kind == 5) {
        put_ct(&ends, 3, false, false, false);
        attr(&ends, OVS_ACTION_ATTR_RECIRC, &(uint32_t){ 2 }, 4);
    } else if (kind) {
        if (kind == 1)
            put_ct(&ends, zone, true, nat, mark);
        attr(&ends, OVS_ACTION_ATTR_OUTPUT, &port, 4);
    }
    for (uint32_t w = 0; w < WORLDS; w++)
        progs[w] = compile(&ends);
}

static void make_match(uint32_t recirc, struct key *key, struct key *mask)
{
    static const uint8_t states[] = { 0x21, 0x22, 0x2a, 0x30, 0x22, 0x62, 0xaa };

    memset(key, 0, sizeof *key);
    memset(mask, 0, sizeof *mask);
    key->base.in_port = 1;
    key->base.recirc_id = recirc;
    key->base.eth_type = 8;
    mask->base.l2 = 0xff;
    mask->base.eth_type = 0xffff;
    mask->base.vlan[0].tci = 0x10;
    if (rnd(2))
        mask->base.nw_frag = 0xff;
    if (recirc) {
        static const uint8_t masks[] = { 0x23, 0x2b, 0x3b, 0xff, 0x20, 0x33 };

        key->base.ct_state = states[rnd(sizeof states)];
        mask->base.ct_state = masks[rnd(sizeof masks)];
        if (!rnd(6)) {
            mask->base.ct_mark = UINT32_MAX;
            key->base.ct_mark = rnd(4);
        }
        if (!rnd(100))
            mask->ct.orig_proto = 0xff, key->ct.orig_proto = 17;
    }
    if (!rnd(recirc ? 80 : 3)) {
        mask->base.nw_proto = 0xff;
        key->base.nw_proto = rnd(2) ? 6 : 17;
    }
    if (!rnd(recirc ? 80 : 4)) {
        mask->base.ip4_dst = UINT32_MAX;
        key->base.ip4_dst = __builtin_bswap32(0x0a000101 + rnd(3));
    }
}

static void forget(uint32_t flow)
{
    for (uint32_t w = 0; w < WORLDS; w++) {
        cls_remove(worlds[w].cls, flow);
        rcu_synchronize(worlds[w].dp->rcu);
        act_free(specs[flow].progs[w]);
    }
    specs[flow].there = false;
}

/* A flow comes, goes, or gets other actions. */
static void change_flows(void)
{
    const uint32_t flow = 1 + rnd(FLOWS), recirc = flow < FLOWS / 4 ? 0 : flow < FLOWS - 3 ? 1 : 2;
    struct flow_spec *spec = &specs[flow];

    if (spec->there && rnd(3)) {
        forget(flow);
        return;
    }
    if (spec->there) {
        struct act_prog *old[WORLDS] = { spec->progs[0], spec->progs[1] };

        make_programs(recirc, spec->progs);
        for (uint32_t w = 0; w < WORLDS; w++) {
            cls_set_verdict(worlds[w].cls, flow, act_verdict(spec->progs[w]));
            rcu_synchronize(worlds[w].dp->rcu);
            act_free(old[w]);
        }
        return;
    }
    make_match(recirc, &spec->key, &spec->mask);
    for (int w = 0; w < KEY_WORDS; w++)
        spec->key.words[w] &= w ? spec->mask.words[w] : UINT64_MAX;
    if (cls_find_exact(worlds[0].cls, &spec->key, &spec->mask))
        return;
    make_programs(recirc, spec->progs);
    for (uint32_t w = 0; w < WORLDS; w++)
        CHECK(!cls_insert(worlds[w].cls, flow, &spec->key, &spec->mask, act_verdict(spec->progs[w])));
    spec->there = true;
}

/* What a firewall has: the usual flows, which last a round. */
static void put_usual(bool nat)
{
    static const uint8_t states[] = { 0, 0x21, 0x22, 0x30 };

    for (uint32_t i = 0; i < 4; i++) {
        struct flow_spec *spec = &specs[FLOWS + 1 + i];
        struct list l = { .size = 0 };

        spec->mask = (struct key){ .base = { .l2 = 0xff, .eth_type = 0xffff, .nw_frag = 0xff, .ct_state = i ? 0x33 : 0 } };
        spec->key = (struct key){ .base = { .in_port = 1, .recirc_id = i ? 1 : 0, .eth_type = 8, .ct_state = states[i] } };
        if (i < 2)
            put_ct(&l, 1, i, nat, false);
        if (i)
            attr(&l, OVS_ACTION_ATTR_OUTPUT, &(uint32_t){ i }, 4);
        else
            attr(&l, OVS_ACTION_ATTR_RECIRC, &(uint32_t){ 1 }, 4);
        for (uint32_t w = 0; w < WORLDS; w++) {
            spec->progs[w] = compile(&l);
            CHECK(!cls_insert(worlds[w].cls, FLOWS + 1 + i, &spec->key, &spec->mask, act_verdict(spec->progs[w])));
        }
        spec->there = true;
    }
}

/* --- Comparing -------------------------------------------------------------------------------- */

static int by_connection(const void *a, const void *b)
{
    const struct sent *x = a, *y = b;

    return x->connection != y->connection ? (x->connection > y->connection) - (x->connection < y->connection)
                                          : (x->id > y->id) - (x->id < y->id);
}

static void compare_counts(void)
{
    const struct stat_counters *a = &worlds[0].stat, *b = &worlds[1].stat;

    CHECK(a->hit == b->hit && a->missed == b->missed && a->lost == b->lost && a->recirculated == b->recirculated);
    for (int i = 0; i < DROP_COUNT; i++)
        CHECK(a->drops[i] == b->drops[i]);
    for (uint32_t flow = 1; flow <= FLOWS + 4; flow++) {
        struct cls_counters x, y;

        if (!specs[flow].there)
            continue;
        cls_counters(worlds[0].cls, flow, &x);
        cls_counters(worlds[1].cls, flow, &y);
        CHECK(x.packets == y.packets && x.bytes == y.bytes && x.used_ms == y.used_ms && x.tcp_flags == y.tcp_flags);
    }
}

static void compare_connections(uint64_t now)
{
    static const struct ct_filter all = { .zone = -1 };
    static struct ct_info info[WORLDS][4096];
    uint32_t n[WORLDS] = { 0 };

    for (uint32_t w = 0; w < WORLDS; w++)
        for (uint32_t at = 0; at != CT_DUMP_END && n[w] < 4096;)
            n[w] += ct_dump(worlds[w].ct, &at, &all, now, info[w] + n[w], 4096 - n[w]);
    CHECK(n[0] == n[1] && !memcmp(info[0], info[1], n[0] * sizeof info[0][0]));
    for (enum ct_counter c = 0; c < CT_COUNT_END; c++)
        CHECK(ct_counter(worlds[0].ct, c) == ct_counter(worlds[1].ct, c));
}

/* Whether packets of a connection left by each port in the order in which they came. */
static bool is_ordered(const struct world *world, const struct sent *s)
{
    for (uint32_t i = 1; i < world->n; i++)
        for (uint32_t k = 0; k < i; k++)
            if (s[i].connection == s[k].connection && s[i].port == s[k].port && s[i].id < s[k].id)
                return false;
    return true;
}

static void receive(uint32_t *id, uint64_t now)
{
    struct rte_mbuf *bursts[WORLDS][WORKER_BURST];
    const uint32_t n = 1 + rnd(rnd(3) ? WORKER_BURST : 4), kinds = 1 + rnd(CONNECTIONS);
    bool ordered[WORLDS];

    faulty = !rnd(3);

    for (uint32_t i = 0; i < n; i++, ++*id) {
        uint8_t f[FRAME_ROOM + 20];
        const uint32_t connection = rnd(kinds), size = make_frame(f, connection, *id & 0xffff);
        const uint64_t flags = offload();

        for (uint32_t w = 0; w < WORLDS; w++) {
            bursts[w][i] = eal_packet(f, size);
            bursts[w][i]->port = (uint16_t)connection;
            bursts[w][i]->hash.usr = *id;
            bursts[w][i]->ol_flags |= flags;
        }
    }
    for (uint32_t w = 0; w < WORLDS; w++) {
        struct world *world = &worlds[w];

        plain = w;
        world->n = 0;
        world->worker.now = now;
        test_receive(&world->worker, bursts[w], n, &md);
        tx_flush(&world->worker);
        ordered[w] = is_ordered(world, world->sent);
        qsort(world->sent, world->n, sizeof world->sent[0], by_connection);
    }
    CHECK(ordered[0] || !ordered[1]);
    CHECK(worlds[0].n == worlds[1].n && !memcmp(worlds[0].sent, worlds[1].sent, worlds[0].n * sizeof worlds[0].sent[0]));
}

static void open_world(uint32_t w, const char *name)
{
    static const struct port_class class = { .type = "sink", .tx_burst = take };
    struct world *world = &worlds[w];

    if (dp_open(name, DP_CREATE, &world->handle) || !(world->dp = dp_of(world->handle)) || worker_init(&world->worker, &world->stat, 100, 0)
        || dp_lock(world->dp))
        abort();
    world->qsbr = aligned_alloc(64, (rte_rcu_qsbr_get_memsize(CT_THREADS) + 63) & ~(size_t)63);
    rte_rcu_qsbr_init(world->qsbr, CT_THREADS);
    CHECK(!ct_create(world->qsbr, &world->ct));
    world->ct->hash = worlds[0].ct->hash;
    memcpy(world->ct->threads, worlds[0].ct->threads, sizeof world->ct->threads);
    world->worker.ct = world->ct;
    world->worker.ipf = world->dp->ipf;
    world->worker.upcalls = world->dp->upcalls;
    world->cls = flow_table_cls(world->dp->flows);
    world->worker.replica = cls_replica_add(world->cls, 100);
    for (uint32_t i = 1; i <= PORTS; i++) {
        world->ports[i] = (struct port){ .class = &class, .txqs = &world->txqs[i], .txq_count = 1, .mtu = 1500 + w, .no = i };
        world->txs[i] = (struct worker_tx){ .port = &world->ports[i], .no = (uint16_t)i };
        atomic_store(&world->worker.tx[i], &world->txs[i]);
    }
}

static void close_world(struct world *world)
{
    cls_replica_remove(world->cls, world->worker.replica);
    worker_fini(&world->worker);
    ct_destroy(world->ct);
    free(world->qsbr);
    dp_unlock(world->dp);
    dp_unref(world->dp);
    CHECK(!dp_close(world->handle));
}

int main(void)
{
    uint64_t before, after, now = 1000000;
    uint32_t id = 0;

    if (dp_eal_start()) {
        printf("EAL\n");
        return 77;
    }
    open_world(0, "hot");
    open_world(1, "plain");
    CHECK(!dp_mbufs_in_use(&before));
    for (uint32_t round = 0; round < ROUNDS && !failures; round++) {
        for (uint32_t flow = 1; flow <= FLOWS + 4; flow++)
            if (specs[flow].there)
                forget(flow);
        if (round & 1)
            put_usual(round & 2);
        for (uint32_t i = 0; i < (round & 1 ? 2 : FLOWS); i++)
            change_flows();
        for (uint32_t i = 0; i < BURSTS && !failures; i++) {
            if (!rnd(round & 1 ? 20 : 8))
                change_flows();
            receive(&id, now);
            compare_counts();
            now += rnd(20) ? rnd(300) : rnd(70000);
        }
        compare_connections(now);
        for (uint32_t w = 0; w < WORLDS; w++) {
            ct_set_tcp_seq_check(worlds[w].ct, round & 1);
            ct_set_max(worlds[w].ct, round % 5 ? 100 : 4);
            ct_service(worlds[w].ct, now);
        }
    }
    printf("%u packets; %lu established, %lu probes instead of %lu\n", id, unwritten, worlds[0].stat.mask_hit, worlds[1].stat.mask_hit);
    CHECK(unwritten > id / 20 && worlds[0].stat.mask_hit < worlds[1].stat.mask_hit / 30 * 29);
    for (uint32_t flow = 1; flow <= FLOWS + 4; flow++)
        if (specs[flow].there)
            forget(flow);
    for (uint32_t w = 0; w < WORLDS; w++)
        ipf_purge(worlds[w].dp->ipf); /* Fragments that wait. */
    CHECK(!dp_mbufs_in_use(&after) && after == before);
    close_world(&worlds[0]);
    close_world(&worlds[1]);
    return failures != 0;
}
