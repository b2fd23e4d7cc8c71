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
 * Connections are begun in random order, so that memory order flatters nobody.  Figures: tenth percentile and median of short slices, each between
 * two runs of a loop of known length, and counted in cycles of the core at its fastest, so that a busy machine disturbs little; a slice during which
 * the pace changed does not count.  For `ct-new*` they are of whole rounds that begin with an empty table, and
 * what a connection's end costs the service besides. */
#include <rte_cycles.h>
#include <rte_rcu_qsbr.h>

#include "base/rcu.h"
#include "ct_bench_fixture.h"
#include "path/burst.h"
#include "path/tx.h"

#define SLICES 1000
#define TRIES 20000
#define WARM 100
#define SLICE 300000
#define ROUNDS 5

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
static const struct pkt_md md = { .in_port = 1 };

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

/* --- Measuring --------------------------------------------------------------------------------- */

/* Cycles of work of a known amount, four additions at once: it becomes slower when a neighbour on the same core does anything. */
static uint64_t pace(void)
{
    uint64_t start = rte_rdtsc(), a = 0, b = 0, c = 0, d = 0, n = 3000;

    __asm__ volatile(".p2align 6\n1:\tadd $1, %0\n\tadd $1, %1\n\tadd $1, %2\n\tadd $1, %3\n\tadd $2, %0\n\tadd $2, %1\n\tadd $2, %2\n\tadd $2, %3\n\t"
                     "add $3, %0\n\tadd $3, %1\n\tadd $3, %2\n\tadd $3, %3\n\tdec %4\n\tjnz 1b"
                     : "+r"(a), "+r"(b), "+r"(c), "+r"(d), "+r"(n) : : "cc");
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

    for (; end - start < SLICE; end = rte_rdtsc(), n += 8 * WORKER_BURST) {
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
        const uint64_t before = pace();
        const double c = slice(worker, &at);
        const uint64_t after = pace(), least = before < after ? before : after;

        if (least + least / 16 < fastest)
            clean = 0;
        fastest = least < fastest ? least : fastest;
        if (i >= WARM && before < fastest + fastest / 16 && after < fastest + fastest / 16)
            cycles[clean++] = c;
    }
    qsort(cycles, (size_t)clean, sizeof cycles[0], by_value);
    printf("%-12s %-7s %7.1f %7.1f cycles (%d slices; pace %.2f)\n", name, build, clean ? cycles[clean / 10] : 0,
           clean ? cycles[clean / 2] : 0, clean, 36000 / (double)fastest);
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

        make_frame(frames[shape->fresh ? i : 2 * i], shape->proto, src, dst, sport, dport, false);
        if (!shape->fresh)
            make_frame(frames[2 * i + 1], shape->proto, src, dst, sport, dport, true);
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
    struct act_prog *first = program(7, false, shape->nat, 1, 0), *commit = program(7, true, shape->nat, 0, 2),
                    *send = program(0, false, false, 0, 2);
    uint32_t at = 0;

    rte_rcu_qsbr_init(qsbr, CT_THREADS);
    if (ct_create(qsbr, &worker->ct))
        exit(1);
    put_flow(cls, 1, 1, 0, 0, first);
    put_flow(cls, 2, 1, 1, CT_STATE_TRACKED | CT_STATE_NEW, commit);
    put_flow(cls, 3, 1, 1, CT_STATE_TRACKED | CT_STATE_EST, send);
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
    static struct stat_counters stat;
    static struct worker worker;

    open_worker(&worker, &stat);
    for (unsigned int i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        if (argc < 2 || !strcmp(argv[1], shapes[i].name) || !strcmp(argv[1], "all"))
            run(&shapes[i], &worker, &stat, argc > 2 ? argv[2] : NULL, argc > 3 ? (uint32_t)atoi(argv[3]) : 0);
    }
    worker_fini(&worker);
    return 0;
}
