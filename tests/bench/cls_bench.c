/* SPDX-License-Identifier: Apache-2.0
 *
 * Cycles a packet of burst_receive() and tx_flush(), without devices: tables and packets of the shapes that bench:peers measures, so that a
 * regression of the lookup shows in seconds.  Built and run by cls_bench.ts.
 *
 *   cls_bench [SHAPE [ISA [BURSTS]]]
 *
 * With BURSTS, so many are received, for instructions.ts to count what they take, and nothing is measured.
 *
 * A frame is copied into each packet first, as a device would write it; `copy` is what that alone costs, and is part of every figure:
 * tenth percentile, median, and how many slices counted (cls_feed.h).
 */
#include "cls_feed.h"
#include "base/rcu.h"
#include "port/port.h"

#define OUTPUTS 8

static uint16_t take_all(struct port *port, uint16_t queue, struct rte_mbuf **packets, uint16_t n)
{
    (void)port;
    (void)queue;
    (void)packets;
    return n;
}

static void measure(const char *name, const char *build, struct feed *feed, struct worker *worker)
{
    static double cycles[SLICES];
    int clean = clean_slices(feed, worker, cycles);

    printf("%-14s %-7s %7.1f %7.1f cycles (%d slices)", name, build, clean ? cycles[clean / 10] : 0, clean ? cycles[clean / 2] : 0, clean);
    if (worker)
        printf("  %.2f probes a packet", (double)atomic_load(&worker->stat->mask_hit) / (double)(atomic_load(&worker->stat->hit) + 1));
    printf("\n");
    fflush(stdout);
}

/* A fixed number of bursts. */
static void receive_bursts(struct feed *feed, struct worker *worker, uint32_t bursts)
{
    const struct pkt_md md = { .in_port = 1 };

    for (feed->at = 0; bursts; bursts--) {
        struct rte_mbuf *packets[WORKER_BURST];

        receive(feed, packets);
        burst_receive(worker, packets, WORKER_BURST, &md);
        tx_flush(worker);
    }
}

static void run(const struct shape *shape, struct feed *feed, struct worker *worker, const char *only, uint32_t bursts)
{
    static const char *const builds[] = { "scalar", "avx2", "avx512" };
    struct rcu *rcu = rcu_create();
    struct cls *cls = cls_create(rcu);
    const uint32_t outputs = shape->outputs ? shape->outputs : 1;
    struct act_prog *progs[OUTPUTS];
    uint8_t (*frames)[FRAME] = make_frames(shape);
    uint64_t start;
    uint32_t put;

    for (uint32_t i = 0; i < outputs; i++)
        progs[i] = actions_of(shape, 2 + i);
    feed_start(feed, shape, frames);
    start = rte_rdtsc();
    put = put_flows(cls, shape, frames, progs, outputs);
    printf("%-14s %u flows, %u masks, %.0f cycles an insert\n", shape->name, put, cls_mask_count(cls),
           (double)(rte_rdtsc() - start) / put);
    worker->replica = cls_replica_add(cls, 1);
    check_hits(feed, worker, shape->name);
    if (!only)
        measure("copy", "", feed, NULL);
    for (uint32_t isa = 0; isa < 3; isa++) {
        if ((only && strcmp(only, builds[isa])) || cls_isa_set(isa, false))
            continue;
        memset(worker->stat, 0, sizeof *worker->stat);
        feed->at = 0;
        if (bursts)
            receive_bursts(feed, worker, bursts);
        else
            measure(shape->name, builds[isa], feed, worker);
    }
    cls_replica_remove(cls, worker->replica);
    cls_destroy(cls);
    rcu_destroy(rcu);
    for (uint32_t i = 0; i < outputs; i++)
        act_free(progs[i]);
    free(frames);
}

int main(int argc, char **argv)
{
    static const struct port_class class = { .type = "sink", .tx_burst = take_all };
    static struct port_txq txqs[OUTPUTS];
    static struct port ports[OUTPUTS];
    static struct worker_tx txs[OUTPUTS];
    static struct stat_counters stat;
    static struct worker worker;
    static struct feed feed;

    if (worker_init(&worker, &stat, 1, 0))
        return 1;
    for (uint16_t i = 0; i < OUTPUTS; i++) {
        const uint16_t no = (uint16_t)(2 + i);

        ports[i] = (struct port){ .class = &class, .txqs = &txqs[i], .txq_count = 1, .mtu = 1500, .no = no };
        txs[i] = (struct worker_tx){ .port = &ports[i], .no = no };
        atomic_store(&worker.tx[no], &txs[i]);
    }
    feed_init(&feed);
    for (unsigned int i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        if (argc < 2 || !strcmp(argv[1], shapes[i].name) || !strcmp(argv[1], "all"))
            run(&shapes[i], &feed, &worker, argc > 2 ? argv[2] : NULL, argc > 3 ? (uint32_t)atoi(argv[3]) : 0);
    }
    worker_fini(&worker);
    return 0;
}
