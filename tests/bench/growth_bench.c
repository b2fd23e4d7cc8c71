/* SPDX-License-Identifier: Apache-2.0
 *
 * Cycles a packet of one poll thread against what grows: exact flows, masks, ports that flows send to, threads on one table.
 *
 *   growth_bench flows|masks|ports|threads N
 *
 * Prints the median, the tenth and the ninetieth percentile, and the cycles that an insert took.  Built and run by growth.ts.  Threads
 * are on the cores from the last one on, and the median is that of the slowest.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include "cls_feed.h"
#include "base/rcu.h"
#include "port/port.h"

#define THREADS 64
#define PORTS 4096

struct thread {
    pthread_t id;
    struct worker worker;
    struct stat_counters stat;
    struct feed feed;
    double cycles[SLICES];
    int clean, core;
};

static struct thread *threads[THREADS];
static struct port_txq txqs[PORTS];
static pthread_barrier_t begin;

static uint16_t take_all(struct port *port, uint16_t queue, struct rte_mbuf **packets, uint16_t n)
{
    (void)port;
    (void)queue;
    (void)packets;
    return n;
}

static void *work(void *arg)
{
    struct thread *thread = arg;
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET(thread->core, &set);
    sched_setaffinity(0, sizeof set, &set);
    pthread_barrier_wait(&begin);
    thread->clean = clean_slices(&thread->feed, &thread->worker, thread->cycles);
    return NULL;
}

static struct thread *open_thread(struct cls *cls, unsigned int no, uint32_t ports)
{
    static const struct port_class class = { .type = "sink", .tx_burst = take_all };
    struct thread *thread = aligned_alloc(64, (sizeof *thread + 63) & ~(size_t)63);

    memset(thread, 0, sizeof *thread);
    if (worker_init(&thread->worker, &thread->stat, no, 0))
        exit(1);
    for (uint32_t i = 0; i < ports; i++) {
        struct port *port = calloc(1, sizeof *port);
        struct worker_tx *tx = calloc(1, sizeof *tx);

        port->class = &class;
        port->txqs = &txqs[i];
        port->txq_count = 1;
        port->mtu = 1500;
        port->no = tx->no = 2 + i;
        tx->port = port;
        atomic_store(&thread->worker.tx[2 + i], tx);
    }
    feed_init(&thread->feed);
    thread->worker.replica = cls_replica_add(cls, no);
    return thread;
}

/* What grows, to `n`. */
static struct shape shape_of(const char *kind, uint32_t n)
{
    struct shape shape = { .name = kind, .mask = mask_tuple, .masks = 1, .each = true };

    if (!strcmp(kind, "masks")) {
        shape.packets = 1000000;
        shape.flows = shape.masks = n;
        shape.mask = mask_explosion;
    } else {
        shape.packets = shape.flows = strcmp(kind, "flows") ? 10000 : n;
    }
    return shape;
}

static void print(const char *kind, uint32_t n, uint32_t count, double insert)
{
    const struct thread *slowest = threads[0];

    for (uint32_t i = 0; i < count; i++) {
        if (threads[i]->clean < 2) {
            printf("no quiet moment\n");
            exit(3);
        }
        if (threads[i]->cycles[threads[i]->clean / 2] > slowest->cycles[slowest->clean / 2])
            slowest = threads[i];
    }
    printf("%s %u: %.1f [%.1f-%.1f] cycles a packet, %.0f an insert\n", kind, n, slowest->cycles[slowest->clean / 2],
           slowest->cycles[slowest->clean / 10], slowest->cycles[slowest->clean * 9 / 10], insert);
}

int main(int argc, char **argv)
{
    const char *kind = argc == 3 ? argv[1] : "";
    const long cores = sysconf(_SC_NPROCESSORS_ONLN);
    const bool grow_ports = !strcmp(kind, "ports"), grow_threads = !strcmp(kind, "threads");
    const uint32_t n = argc == 3 ? (uint32_t)atoi(argv[2]) : 0, most = !strcmp(kind, "flows") ? 16000000 : grow_ports ? PORTS : grow_threads ? THREADS : 512;
    const uint32_t ports = grow_ports ? n : 1, count = grow_threads ? n : 1;
    const struct shape shape = shape_of(kind, n);
    struct act_prog **progs;
    struct cls *cls;
    uint8_t (*frames)[FRAME];
    uint64_t start;
    uint32_t put;
    double insert;

    if (!n || n > most || (long)count > cores) {
        fprintf(stderr, "usage: growth_bench flows|masks|ports|threads N, as many threads as cores at most\n");
        return 2;
    }
    cls = cls_create(rcu_create());
    progs = malloc(ports * sizeof *progs);
    for (uint32_t i = 0; i < ports; i++)
        progs[i] = actions_of(&shape, 2 + i);
    frames = make_frames(&shape);
    start = rte_rdtsc();
    put = put_flows(cls, &shape, frames, progs, ports);
    insert = (double)(rte_rdtsc() - start) / put;
    pthread_barrier_init(&begin, NULL, count);
    for (uint32_t i = 0; i < count; i++) {
        threads[i] = open_thread(cls, i + 1, ports);
        threads[i]->core = (int)(cores - 1 - i);
        feed_start(&threads[i]->feed, &shape, frames);
        check_hits(&threads[i]->feed, &threads[i]->worker, kind);
    }
    for (uint32_t i = 0; i < count; i++)
        if (pthread_create(&threads[i]->id, NULL, work, threads[i]))
            return 1;
    for (uint32_t i = 0; i < count; i++)
        pthread_join(threads[i]->id, NULL);
    print(kind, n, count, insert);
    return 0;
}
