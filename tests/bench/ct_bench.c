/* SPDX-License-Identifier: Apache-2.0
 *
 * Cycles a packet of burst_receive() and tx_flush() where flows track connections, without devices: the shapes of bench:peers' ct scenarios, so
 * that a regression shows in seconds.  Built and run by ct_bench.ts; instructions.ts counts instructions with it.
 *
 *   ct_bench [SHAPE|all [BUILD [BURSTS]]]
 *
 * With BURSTS, so many are received once everything is established, and nothing is measured.
 *
 * Packets of a connection and answers take turns.  `copy` is what it costs to write a frame into each packet, and is part of every figure.
 * Connections are begun in random order, so that memory order flatters nobody.  Figures: tenth percentile and median of slices of 3,000,000
 * cycles at which the core was at full speed, as cls_bench.c takes them; for `new-*` of whole rounds that begin with an empty table, and
 * what a connection's end costs the service besides. */
#include <rte_cycles.h>
#include <rte_mbuf.h>
#include <rte_rcu_qsbr.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "act/act.h"
#include "base/rcu.h"
#include "cls/cls.h"
#include "ct/ct.h"
#include "packet/csum.h"
#include "packet/extract.h"
#include "path/burst.h"
#include "path/tx.h"
#include "port/port.h"

#define SLICES 200
#define TRIES 1000
#define POOL 64
#define FRAME 64
#define SIZE 60
#define ROUNDS 5
#define CS_MASK (CT_STATE_TRACKED | CT_STATE_NEW | CT_STATE_EST)

struct shape {
    const char *name;
    uint32_t connections;
    uint8_t proto;
    bool nat, fresh;                 /* Addresses are translated; only beginnings are measured. */
};

static const struct shape shapes[] = {
    { "ct-udp-10k", 10000, 17, false, false }, { "ct-tcp-10k", 10000, 6, false, false }, { "ct-nat-10k", 10000, 17, true, false },
    { "ct-udp-1M", 1000000, 17, false, false }, { "ct-tcp-1M", 1000000, 6, false, false }, { "ct-new", 200000, 17, false, true },
    { "ct-new-nat", 200000, 17, true, true },
};

static uint8_t (*frames)[FRAME];
static uint32_t frame_count;
static struct rte_mbuf *pool[POOL];
static uint64_t seed = 42;
static const struct pkt_md md = { .in_port = 1 };

static uint32_t rnd(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (uint32_t)(seed >> 16);
}

static void put16(uint8_t *at, uint32_t x)
{
    *(uint16_t *)at = __builtin_bswap16((uint16_t)x);
}

static void put32(uint8_t *at, uint32_t x)
{
    *(uint32_t *)at = __builtin_bswap32(x);
}

static void sum_frame(uint8_t *f, uint8_t proto)
{
    uint8_t *field = f + (proto == 6 ? 50 : 40);
    uint16_t sum;

    memset(f + 24, 0, 2);
    sum = (uint16_t)~csum_fold(csum_sum(f + 14, 20));
    memcpy(f + 24, &sum, 2);
    memset(field, 0, 2);
    sum = (uint16_t)~csum_fold(csum_sum(f + 26, SIZE - 26) + __builtin_bswap16(SIZE - 34) + __builtin_bswap16(proto));
    memcpy(field, &sum, 2);
}

/* One way of connection `i`.  With a translation the answer comes to the one address that all have. */
static void make_frame(uint8_t *f, const struct shape *shape, uint32_t src, uint32_t dst, uint32_t sport, uint32_t dport, bool answer)
{
    memset(f, 0, FRAME);
    memcpy(f, "\x02\0\0\0\0\2\2\0\0\0\0\1\x08\0\x45\0\0\0\0\0\0\0\x40", 23);
    put16(f + 16, SIZE - 14);
    f[23] = shape->proto;
    put32(f + 26, answer ? dst : src);
    put32(f + 30, answer ? src : dst);
    put16(f + 34, answer ? dport : sport);
    put16(f + 36, answer ? sport : dport);
    if (shape->proto == 17) {
        put16(f + 38, SIZE - 34);
    } else {
        put32(f + 38, answer ? 5000 : 1000);
        put32(f + 42, answer ? 1000 : 5000);
        f[46] = 0x50;
        f[47] = 0x10;
        put16(f + 48, 60000);
    }
    sum_frame(f, shape->proto);
}

static uint16_t take_all(struct port *port, uint16_t queue, struct rte_mbuf **packets, uint16_t n)
{
    (void)port;
    (void)queue;
    (void)packets;
    return n;
}

static void load(struct rte_mbuf *m, const uint8_t *frame)
{
    m->data_off = 128;
    m->data_len = m->pkt_len = SIZE;
    memcpy(rte_pktmbuf_mtod(m, void *), frame, FRAME);
}

static void receive(uint32_t *at, uint32_t count, struct rte_mbuf **packets)
{
    static uint32_t from;

    from ^= WORKER_BURST;
    for (uint32_t i = 0; i < WORKER_BURST; i++) {
        packets[i] = pool[from + i];
        __builtin_prefetch(frames[*at + 8]);
        load(packets[i], frames[*at]);
        if (++*at == count)
            *at = 0;
    }
}

/* --- Flows ------------------------------------------------------------------------------------- */

/* Actions of the three flows: track; store and send; send.  Netlink's attributes, of 16 bits each for size and type. */
struct actions {
    uint8_t bytes[128];
    uint32_t size;
};

static void attr(struct actions *a, uint16_t type, const void *value, uint16_t size)
{
    const uint16_t head[2] = { (uint16_t)(4 + size), type };

    memcpy(a->bytes + a->size, head, 4);
    if (size)
        memcpy(a->bytes + a->size + 4, value, size);
    a->size += (4u + size + 3) & ~3u;
}

/* OVS_ACTION_ATTR_* and OVS_CT_ATTR_* by number: the bench has no kernel's header. */
static struct act_prog *program(bool tracks, bool commits, bool nat, uint32_t recirc, uint32_t port)
{
    static const uint8_t address[4] = { 192, 0, 2, 1 };
    struct actions a = { .size = 0 }, ct = { .size = 0 }, range = { .size = 0 };
    const uint16_t zone = 7;
    struct key key = { .base = { .eth_type = 8 } };
    struct act_prog *prog;
    const char *why;

    if (tracks) {
        if (commits)
            attr(&ct, 1, NULL, 0);
        attr(&ct, 2, &zone, 2);
        if (nat && commits) {
            attr(&range, 1, NULL, 0);
            attr(&range, 3, address, 4);
        }
        if (nat)
            attr(&ct, 6, range.bytes, (uint16_t)range.size);
        attr(&a, 12, ct.bytes, (uint16_t)ct.size);
    }
    if (recirc)
        attr(&a, 7, &recirc, 4);
    if (port)
        attr(&a, 1, &port, 4);
    if (act_compile(a.bytes, a.size, &key, &prog, &why)) {
        printf("%s\n", why);
        exit(1);
    }
    return prog;
}

static void put_flow(struct cls *cls, uint32_t flow, uint32_t recirc, uint8_t state, const struct act_prog *prog)
{
    struct key key = { .base = { .in_port = 1, .recirc_id = recirc, .eth_type = 8, .ct_state = state } };
    struct key mask = { .base = { .l2 = 0xff, .eth_type = 0xffff, .nw_frag = 0xff, .ct_state = recirc ? CS_MASK : 0 } };

    mask.base.vlan[0].tci = 0x10;
    if (cls_insert(cls, flow, &key, &mask, act_verdict(prog)))
        exit(1);
}

/* --- Measuring --------------------------------------------------------------------------------- */

static int by_value(const void *a, const void *b)
{
    return (*(const double *)a > *(const double *)b) - (*(const double *)a < *(const double *)b);
}

static uint64_t pace(void)
{
    uint64_t start = rte_rdtsc(), n = 30000;

    __asm__ volatile("1: dec %0\n\tjnz 1b" : "+r"(n) : : "cc");
    return rte_rdtsc() - start;
}

/* Counted by instructions.ts: not inlined. */
static __attribute__((noipa)) void receive_bursts(struct worker *worker, uint32_t *at, uint32_t bursts)
{
    for (; bursts; bursts--) {
        struct rte_mbuf *packets[WORKER_BURST];

        receive(at, frame_count, packets);
        burst_receive(worker, packets, WORKER_BURST, &md);
        tx_flush(worker);
    }
}

static double slice(struct worker *worker, uint32_t *at)
{
    uint64_t start = rte_rdtsc(), end = start, n = 0;

    for (; end - start < 3000000; end = rte_rdtsc(), n += 8 * WORKER_BURST) {
        struct rte_mbuf *packets[WORKER_BURST];

        if (worker) {
            worker_tick(worker);
            receive_bursts(worker, at, 8);
            continue;
        }
        for (int k = 0; k < 8; k++)
            receive(at, frame_count, packets);
    }
    return (double)(end - start) / (double)n;
}

static void measure(const char *name, const char *build, struct worker *worker)
{
    static double cycles[SLICES];
    static uint64_t fastest = UINT64_MAX;
    uint32_t at = 0;
    int clean = 0;

    for (int i = 0; i < TRIES && clean < SLICES; i++) {
        uint64_t before = pace(), after;
        double c = slice(worker, &at);

        after = pace();
        if (before < fastest || after < fastest) {
            fastest = before < after ? before : after;
            clean = 0;
        }
        if (i >= 10 && before < fastest + fastest / 16 && after < fastest + fastest / 16)
            cycles[clean++] = c;
    }
    qsort(cycles, (size_t)clean, sizeof cycles[0], by_value);
    printf("%-12s %-7s %7.1f %7.1f cycles (%d slices)\n", name, build, clean ? cycles[clean / 10] : 0, clean ? cycles[clean / 2] : 0, clean);
    fflush(stdout);
}

/* Nothing but beginnings: each packet is the first of its connection. */
static void measure_new(const struct shape *shape, const char *build, struct worker *worker)
{
    double cycles[ROUNDS], ends[ROUNDS];

    for (int i = 0; i < ROUNDS; i++) {
        uint32_t at = 0;
        uint64_t start = rte_rdtsc(), middle;

        receive_bursts(worker, &at, frame_count / WORKER_BURST);
        middle = rte_rdtsc();
        if (ct_count(worker->ct) != frame_count / WORKER_BURST * WORKER_BURST) {
            printf("%s: %u connections\n", shape->name, ct_count(worker->ct));
            exit(1);
        }
        ct_flush(worker->ct, &(struct ct_filter){ .zone = -1 }, worker->now);
        ct_service(worker->ct, worker->now);
        ct_service(worker->ct, worker->now);
        ends[i] = (double)(rte_rdtsc() - middle) / frame_count;
        cycles[i] = (double)(middle - start) / frame_count;
    }
    qsort(cycles, ROUNDS, sizeof cycles[0], by_value);
    qsort(ends, ROUNDS, sizeof ends[0], by_value);
    printf("%-12s %-7s %7.1f %7.1f cycles, %.0f to end one\n", shape->name, build, cycles[0], cycles[ROUNDS / 2], ends[0]);
    fflush(stdout);
}

/* Answers come after what they answer to; what is translated is answered as it was sent. */
static void make_frames(const struct shape *shape)
{
    frame_count = shape->connections * (shape->fresh ? 1 : 2);
    frames = aligned_alloc(64, ((size_t)frame_count + 16) * FRAME);
    memset(frames[frame_count], 0, 16 * FRAME);
    for (uint32_t i = 0; i < shape->connections; i++) {
        const uint32_t src = 0x0a010000u | (rnd() & 0xffff), dst = 0x0a020000u | (rnd() & 0xffff);
        const uint32_t sport = 1024 + rnd() % 64000, dport = shape->nat ? 1 + i % 64000 : 1 + rnd() % 65000;

        make_frame(frames[shape->fresh ? i : 2 * i], shape, src, dst, sport, dport, false);
        if (!shape->fresh)
            make_frame(frames[2 * i + 1], shape, src, dst, sport, dport, true);
    }
}

/* Each connection's first packet and its answer, in random order. */
static void establish(const struct shape *shape, struct worker *worker)
{
    uint32_t *order = malloc(shape->connections * sizeof *order);

    for (uint32_t i = 0; i < shape->connections; i++)
        order[i] = i;
    for (uint32_t i = shape->connections; i > 1; i--) {
        uint32_t j = rnd() % i, x = order[i - 1];

        order[i - 1] = order[j];
        order[j] = x;
    }
    for (uint32_t i = 0; i < shape->connections && !shape->fresh; i++) {
        struct rte_mbuf *m = pool[0];
        uint8_t *sent, *answer = frames[2 * order[i] + 1];

        load(m, frames[2 * order[i]]);
        sent = rte_pktmbuf_mtod(m, uint8_t *);
        burst_receive(worker, &m, 1, &md);
        tx_flush(worker);
        memcpy(answer + 30, sent + 26, 4); /* As it went out: with a translation another one than came. */
        memcpy(answer + 36, sent + 34, 2);
        sum_frame(answer, shape->proto);
        load(m, answer);
        burst_receive(worker, &m, 1, &md);
        tx_flush(worker);
        load(m, frames[2 * order[i]]); /* Which establishes TCP. */
        burst_receive(worker, &m, 1, &md);
        tx_flush(worker);
    }
    free(order);
    if (!shape->fresh && ct_count(worker->ct) != shape->connections)
        printf("%s: only %u connections\n", shape->name, ct_count(worker->ct));
}

static void run(const struct shape *shape, struct worker *worker, struct stat_counters *stat, const char *only, uint32_t bursts)
{
    static const char *const builds[] = { "scalar", "avx2", "avx512" };
    struct rcu *rcu = rcu_create();
    struct rte_rcu_qsbr *qsbr = aligned_alloc(64, (rte_rcu_qsbr_get_memsize(CT_THREADS) + 63) & ~(size_t)63);
    struct cls *cls = cls_create(rcu);
    struct act_prog *first = program(true, false, shape->nat, 1, 0), *commit = program(true, true, shape->nat, 0, 2),
                    *send = program(false, false, false, 0, 2);
    uint32_t at = 0;

    rte_rcu_qsbr_init(qsbr, CT_THREADS);
    if (ct_create(qsbr, &worker->ct))
        exit(1);
    put_flow(cls, 1, 0, 0, first);
    put_flow(cls, 2, 1, CT_STATE_TRACKED | CT_STATE_NEW, commit);
    put_flow(cls, 3, 1, CT_STATE_TRACKED | CT_STATE_EST, send);
    worker->replica = cls_replica_add(cls, 1);
    worker_tick(worker);
    make_frames(shape);
    establish(shape, worker);
    memset(stat, 0, sizeof *stat);
    if (!only)
        measure("copy", "", NULL);
    for (uint32_t isa = 0; isa < 3; isa++) {
        if ((only && strcmp(only, builds[isa])) || cls_isa_set(isa, false))
            continue;
        if (bursts && shape->fresh)
            bursts = bursts < frame_count / WORKER_BURST ? bursts : frame_count / WORKER_BURST;
        if (bursts)
            receive_bursts(worker, &at, bursts);
        else if (shape->fresh)
            measure_new(shape, builds[isa], worker);
        else
            measure(shape->name, builds[isa], worker);
    }
    if (atomic_load(&stat->lost) + atomic_load(&stat->missed) || (!shape->fresh && ct_count(worker->ct) != shape->connections)) {
        printf("%s: %u connections, and packets were lost\n", shape->name, ct_count(worker->ct));
        exit(1);
    }
    cls_replica_remove(cls, worker->replica);
    cls_destroy(cls);
    rcu_destroy(rcu);
    ct_destroy(worker->ct);
    act_free(first);
    act_free(commit);
    act_free(send);
    free(qsbr);
    free(frames);
}

int main(int argc, char **argv)
{
    static const struct port_class class = { .type = "sink", .tx_burst = take_all };
    static struct port_txq txq;
    static struct port port = { .class = &class, .txqs = &txq, .txq_count = 1, .mtu = 1500, .no = 2 };
    static struct worker_tx tx = { .port = &port, .no = 2 };
    static struct stat_counters stat;
    static struct worker worker;

    if (worker_init(&worker, &stat, 1, 0))
        return 1;
    atomic_store(&worker.tx[2], &tx);
    for (int i = 0; i < POOL; i++) {
        /* An odd number of lines, as in a pool: at the same place in each page they would get in each other's way. */
        struct rte_mbuf *m = aligned_alloc(64, 39 * 64);

        memset(m, 0, 39 * 64);
        m->priv_size = sizeof(struct pkt);
        m->buf_addr = (uint8_t *)(m + 1) + sizeof(struct pkt);
        m->buf_len = 1024;
        m->nb_segs = 1;
        rte_mbuf_refcnt_set(m, 1);
        pool[i] = m;
    }
    for (unsigned int i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        if (argc < 2 || !strcmp(argv[1], shapes[i].name) || !strcmp(argv[1], "all"))
            run(&shapes[i], &worker, &stat, argc > 2 ? argv[2] : NULL, argc > 3 ? (uint32_t)atoi(argv[3]) : 0);
    }
    worker_fini(&worker);
    return 0;
}
