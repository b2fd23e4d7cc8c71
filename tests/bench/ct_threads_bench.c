/* SPDX-License-Identifier: Apache-2.0
 *
 * Two threads, each on a core of its own, that track packets of one table of connections: packets a second of both over those of one alone.
 * Built and run by ct_bench.ts.
 *
 *   ct_threads_bench [ROUNDS]
 *
 *   apart   each thread has half of 10,000 connections, as queues of a device with a symmetric hash have
 *   across  one thread sees the packets of a connection, the other one the answers
 *   control the same of a loop that touches no memory: what the machine has for a second thread.  Cores that are halves of one, and neighbours,
 *           show here, and then the other figures say little
 *
 * In each round everything runs alone on either core and on both, in turn; figures are medians of the rounds, with the tenth and the ninetieth
 * percentile.  Exit status 1 if `apart` is less than 1.8 where the control is 1.9 or more; 2 if a packet or a connection was lost. */
#define _GNU_SOURCE
#include <pthread.h>
#include <rte_cycles.h>
#include <rte_rcu_qsbr.h>
#include <sched.h>

#include "base/rcu.h"
#include "ct_bench_fixture.h"
#include "path/burst.h"
#include "path/tx.h"

#define THREADS 2u
#define CONNECTIONS 10000u
#define ROUNDS_MAX 1000u
#define SLICE 2000000u               /* Cycles. */

enum job { APART, ACROSS, CONTROL, JOBS };
static const char *const names[] = { "apart", "across", "control" };

struct thread {
    struct worker worker;
    struct stat_counters stat;
    struct rte_mbuf *packets[POOL];
    uint8_t (*frames[CONTROL])[FRAME];
    uint32_t at[CONTROL];
    double rate;                     /* Of the last slice: packets, or loops, a cycle. */
} __attribute__((aligned(128)));

static struct thread threads[THREADS];
static pthread_barrier_t begin, end;
static enum job job;
static uint32_t running;             /* Bits of threads. */
static bool over;

static void run_burst(struct thread *t, uint32_t *at, uint8_t (*frames)[FRAME])
{
    const struct pkt_md md = { .in_port = 1 };
    struct rte_mbuf *packets[WORKER_BURST];

    for (uint32_t i = 0; i < WORKER_BURST; i++) {
        packets[i] = t->packets[*at / WORKER_BURST % 2 * WORKER_BURST + i];
        __builtin_prefetch(frames[(*at + i + 8) % CONNECTIONS]);
        load(packets[i], frames[(*at + i) % CONNECTIONS]);
    }
    *at += WORKER_BURST;
    burst_receive(&t->worker, packets, WORKER_BURST, &md);
    tx_flush(&t->worker);
}

static void spin(void)
{
    uint64_t n = 10000;

    __asm__ volatile("1:\tdec %0\n\tjnz 1b" : "+r"(n) : : "cc");
}

static double slice(struct thread *t)
{
    uint64_t start = rte_rdtsc(), now = start, n = 0;

    worker_tick(&t->worker);
    for (; now - start < SLICE; now = rte_rdtsc()) {
        if (job == CONTROL) {
            spin();
            n++;
            continue;
        }
        for (int k = 0; k < 8; k++, n += WORKER_BURST)
            run_burst(t, &t->at[job], t->frames[job]);
    }
    return (double)n / (double)(now - start);
}

static void *work(void *arg)
{
    const uint32_t self = (uint32_t)(uintptr_t)arg;
    cpu_set_t cores;

    CPU_ZERO(&cores);
    CPU_SET(self, &cores);
    if (pthread_setaffinity_np(pthread_self(), sizeof cores, &cores))
        exit(2);
    for (;;) {
        pthread_barrier_wait(&begin);
        if (over)
            return NULL;
        if (running >> self & 1)
            threads[self].rate = slice(&threads[self]);
        pthread_barrier_wait(&end);
    }
}

static double run(uint32_t which)
{
    double rate = 0;

    running = which;
    pthread_barrier_wait(&begin);
    pthread_barrier_wait(&end);
    for (uint32_t i = 0; i < THREADS; i++)
        rate += which >> i & 1 ? threads[i].rate : 0;
    return rate;
}

/* Both ways of each connection; who sees what. */
static void make_frames(void)
{
    for (uint32_t k = 0; k < THREADS; k++)
        for (enum job j = 0; j < CONTROL; j++)
            threads[k].frames[j] = aligned_alloc(64, (size_t)CONNECTIONS * FRAME);
    for (uint32_t i = 0; i < CONNECTIONS; i++) {
        const uint32_t src = 0x0a010000u | (rnd() & 0xffff), dst = 0x0a020000u | i, sport = 1024 + rnd() % 64000, dport = 1 + rnd() % 65000;

        for (uint32_t answer = 0; answer < 2; answer++) {
            uint8_t frame[FRAME];

            make_frame(frame, 17, src, dst, sport, dport, answer);
            memcpy(threads[i % THREADS].frames[APART][i / THREADS * 2 + answer], frame, FRAME);
            memcpy(threads[answer].frames[ACROSS][i], frame, FRAME);
        }
    }
}

static struct ct *open_table(void)
{
    struct cls *cls = cls_create(rcu_create());
    struct rte_rcu_qsbr *qsbr = aligned_alloc(64, (rte_rcu_qsbr_get_memsize(CT_THREADS) + 63) & ~(size_t)63);
    struct ct *ct;

    rte_rcu_qsbr_init(qsbr, CT_THREADS);
    if (ct_create(qsbr, &ct))
        exit(2);
    put_flow(cls, 1, 1, 0, 0, program(7, false, false, 1, 0));
    put_flow(cls, 2, 1, 1, CT_STATE_TRACKED | CT_STATE_NEW, program(7, true, false, 0, 2));
    put_flow(cls, 3, 1, 1, CT_STATE_TRACKED | CT_STATE_EST, program(0, false, false, 0, 2));
    for (uint32_t i = 0; i < THREADS; i++) {
        open_worker_of(&threads[i].worker, &threads[i].stat, i + 1, threads[i].packets);
        threads[i].worker.ct = ct;
        threads[i].worker.replica = cls_replica_add(cls, i + 1);
        worker_tick(&threads[i].worker);
    }
    return ct;
}

/* By this thread, as all others: each connection, then its answers. */
static void establish(void)
{
    for (enum job j = APART; j <= ACROSS; j++)
        for (uint32_t again = 0; again < 2; again++)
            for (uint32_t k = 0; k < THREADS; k++)
                for (uint32_t at = 0; at < CONNECTIONS;)
                    run_burst(&threads[k], &at, threads[k].frames[j]);
}

static double at_share(const double *values, uint32_t n, double share)
{
    return values[(uint32_t)(share * (n - 1))];
}

int main(int argc, char **argv)
{
    static double ratios[JOBS][ROUNDS_MAX];
    const uint32_t rounds = argc > 1 && atoi(argv[1]) > 0 && atoi(argv[1]) <= (int)ROUNDS_MAX ? (uint32_t)atoi(argv[1]) : 100;
    struct ct *ct = open_table();
    pthread_t ids[THREADS];
    uint64_t lost = 0;

    make_frames();
    establish();
    pthread_barrier_init(&begin, NULL, THREADS + 1);
    pthread_barrier_init(&end, NULL, THREADS + 1);
    for (uint32_t i = 0; i < THREADS; i++)
        if (pthread_create(&ids[i], NULL, work, (void *)(uintptr_t)i))
            return 2;
    for (uint32_t round = 0; round < rounds; round++) {
        for (job = 0; job < JOBS; job++) {
            const double first = run(1), both = run(3), second = run(2);

            ratios[job][round] = 2 * both / (first + second);
        }
    }
    over = true;
    pthread_barrier_wait(&begin);
    for (uint32_t i = 0; i < THREADS; i++) {
        pthread_join(ids[i], NULL);
        lost += atomic_load(&threads[i].stat.lost) + atomic_load(&threads[i].stat.missed);
    }
    for (job = 0; job < JOBS; job++) {
        qsort(ratios[job], rounds, sizeof ratios[job][0], by_value);
        printf("%-8s %.2f of one thread [%.2f-%.2f]\n", names[job], at_share(ratios[job], rounds, 0.5), at_share(ratios[job], rounds, 0.1),
               at_share(ratios[job], rounds, 0.9));
    }
    if (lost || ct_count(ct) != CONNECTIONS) {
        printf("%u connections, and %llu packets were lost\n", ct_count(ct), (unsigned long long)lost);
        return 2;
    }
    return at_share(ratios[APART], rounds, 0.5) < 1.8 && at_share(ratios[CONTROL], rounds, 0.5) >= 1.9;
}
