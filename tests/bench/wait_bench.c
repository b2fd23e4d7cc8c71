/* SPDX-License-Identifier: Apache-2.0
 * link: everything
 *
 * What control calls wait for each other: a thread asks for statistics again and again, as another
 * isolate of a program does, while this one puts flows, lists them, adds and deletes ports, moves
 * threads and flushes, several rounds of it.  For each of these: processor time a call; the longest
 * processor time for which it had the control mutex without a break though somebody waits, which
 * depends little on what else the machine does, and which one call can hold others up for at most;
 * and how long the other thread waited, which depends on that much.  The first line, where nothing
 * happens, shows what the machine adds by itself.
 *
 *     deno run -A tests/bench/cls_bench.ts waits [FLOWS [ROUNDS]] */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>

#include "../c/dp_fixture.h"
#include "dp_int.h"

#define BATCH 256u
#define SAMPLES 1000000u         /* Of a step; others are not kept. */
#define ROUNDS_MAX 100u
#define STEPS 7u

static uint32_t flows = 100000, rounds = 5;

static uint64_t dp;
static _Atomic bool stop;
static _Atomic uint32_t asked;
static float *waits;             /* us. */

static double us(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static void *ask(void *unused)
{
    struct dp_stats stats;

    (void)unused;
    while (!atomic_load(&stop)) {
        const double before = us(CLOCK_MONOTONIC);
        uint32_t at;

        OK(dp_stats_get(dp, &stats));
        at = atomic_load(&asked);
        /* One that ends between the steps counts for none. */
        if (at < SAMPLES) {
            waits[at] = (float)(us(CLOCK_MONOTONIC) - before);
            atomic_compare_exchange_strong(&asked, &at, at + 1);
        }
        usleep(50);
    }
    return NULL;
}

/* --- The control mutex, seen by taking the place of the functions that lock ------------------- */

static pthread_mutex_t *control;
static __thread bool measured;   /* This thread's holds are. */
static __thread double held_since;
static double longest_hold;
static uint32_t long_holds;      /* Longer than a millisecond. */

static void note_lock(const pthread_mutex_t *mutex)
{
    if (measured && mutex == control)
        held_since = us(CLOCK_THREAD_CPUTIME_ID);
}

static void note_unlock(const pthread_mutex_t *mutex)
{
    double held;

    if (!measured || mutex != control)
        return;
    held = us(CLOCK_THREAD_CPUTIME_ID) - held_since;
    long_holds += held > 1000;
    if (held > longest_hold)
        longest_hold = held;
}

int pthread_mutex_lock(pthread_mutex_t *mutex)
{
    static int (*real)(pthread_mutex_t *);
    int error;

    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "pthread_mutex_lock");
    error = real(mutex);
    note_lock(mutex);
    return error;
}

int pthread_mutex_unlock(pthread_mutex_t *mutex)
{
    static int (*real)(pthread_mutex_t *);

    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "pthread_mutex_unlock");
    note_unlock(mutex);
    return real(mutex);
}

/* --- Steps ------------------------------------------------------------------------------------ */

static int by_size(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;

    return (x > y) - (x < y);
}

/* Processor time of calls. */
static struct {
    double sum, since;
    uint32_t n;
} calls;

static void begin_call(void)
{
    calls.since = us(CLOCK_THREAD_CPUTIME_ID);
}

static void end_call(void)
{
    calls.sum += us(CLOCK_THREAD_CPUTIME_ID) - calls.since;
    calls.n++;
}

/* What came of a step in each round. */
static struct figures {
    float call[ROUNDS_MAX], hold[ROUNDS_MAX], usual_wait[ROUNDS_MAX], longest_wait[ROUNDS_MAX];
    uint32_t calls, n, long_holds;
} figures[STEPS];

static void step(struct figures *of, void (*run)(void))
{
    uint32_t n;

    memset(&calls, 0, sizeof calls);
    longest_hold = long_holds = 0;
    atomic_store(&asked, 0);
    run();
    n = atomic_exchange(&asked, SAMPLES);
    qsort(waits, n, sizeof *waits, by_size);
    of->calls = calls.n;
    of->long_holds += long_holds;
    of->call[of->n] = calls.n ? (float)(calls.sum / calls.n) : 0;
    of->hold[of->n] = (float)longest_hold;
    of->usual_wait[of->n] = n ? waits[n / 2] : 0;
    of->longest_wait[of->n++] = n ? waits[n - 1] : 0;
}

static double median(float *of, uint32_t n)
{
    qsort(of, n, sizeof *of, by_size);
    return (double)of[n / 2];
}

static void show(const char *name, struct figures *of)
{
    const double call = median(of->call, of->n), hold = median(of->hold, of->n), usual = median(of->usual_wait, of->n);
    const double wait = median(of->longest_wait, of->n); /* Sorted now, the worst last. */

    printf("%-28s %6u calls of %8.0f us | the longest hold: median %6.0f us, worst %6.0f us, %3u above 1 ms |"
           " waits: half within %5.1f us, the longest: median %7.0f us, worst %7.0f us\n",
           name, of->calls, call, hold, (double)of->hold[of->n - 1], of->long_holds, usual, wait, (double)of->longest_wait[of->n - 1]);
    fflush(stdout);
}

static void nothing(void)
{
    usleep(1000000);
}

static void put(void)
{
    static uint8_t ops[BATCH * 256] __attribute__((aligned(8))), results[BATCH * 128] __attribute__((aligned(8)));
    const uint32_t out = 2;

    for (uint32_t tag = 0; tag < flows;) {
        uint32_t used = 0, n = 0, answered;

        for (; n < BATCH && tag < flows; n++, tag++) {
            struct dp_op op = { .type = DP_OP_PUT, .flags = DP_OPF_CREATE };
            uint8_t key[256], actions[16];

            op.key_size = fixture_key(key, 1, tag);
            op.actions_size = fixture_attribute(actions, 1, &out, 4);
            used += fixture_append(ops + used, &op, key, actions, NULL);
        }
        begin_call();
        OK(dp_operate(dp, ops, used, n, results, sizeof results, &answered));
        end_call();
    }
}

/* The first of other masks, in a port that has many flows. */
static void masks(void)
{
    const uint32_t out = 2;

    for (uint32_t i = 0; i < 30; i++) {
        struct dp_op op = { .type = DP_OP_PUT, .flags = DP_OPF_CREATE | DP_OPF_MODIFY | DP_OPF_MASK };
        uint8_t ops[1024], key[256], mask[256], actions[16], results[128] __attribute__((aligned(8)));
        uint32_t used, size;

        op.key_size = fixture_key(key, 1, i << 8 | 0xff000000);
        memcpy(mask, key, op.key_size);
        memset(mask + 4, 0xff, 4);
        memset(mask + 12, 0, 12);
        mask[12 + i % 12] = 0x80 >> i % 8;
        memset(mask + 28, 0xff, 2);
        op.mask_size = op.key_size;
        op.actions_size = fixture_attribute(actions, 1, &out, 4);
        size = sizeof op;
        memcpy(ops + size, key, op.key_size);
        size += (op.key_size + 7) & ~7u;
        memcpy(ops + size, mask, op.mask_size);
        size += (op.mask_size + 7) & ~7u;
        memcpy(ops + size, actions, op.actions_size);
        op.size = size += (op.actions_size + 7) & ~7u;
        memcpy(ops, &op, sizeof op);
        begin_call();
        OK(dp_operate(dp, ops, op.size, 1, results, sizeof results, &used));
        end_call();
    }
}

static void dump(void)
{
    static uint8_t records[1 << 16] __attribute__((aligned(8)));
    uint32_t count, used;
    uint64_t dumped;

    OK(dp_dump_open(dp, 0, &dumped));
    do {
        begin_call();
        OK(dp_dump_next(dumped, 1000, records, sizeof records, &count, &used));
        end_call();
    } while (count);
    OK(dp_dump_close(dumped));
}

static void ports(void)
{
    for (uint32_t i = 0; i < 200; i++) {
        begin_call();
        OK(fixture_port(dp, 10, "more", "null", "", NULL));
        end_call();
        begin_call();
        OK(dp_port_delete(dp, 10));
        end_call();
    }
}

static void threads(void)
{
    const uint32_t cores = sysconf(_SC_NPROCESSORS_ONLN) > 1 ? 3 : 1;

    for (uint32_t i = 0; i < (flows > 200000 ? 8 : 50); i++) {
        begin_call();
        OK(dp_poll_threads_set(dp, cores == 1 ? 1 : 1 + i % cores, 0, 10));
        end_call();
    }
}

static void flush(void)
{
    begin_call();
    OK(dp_flow_flush(dp));
    end_call();
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } steps[STEPS] = {
        { "nothing", nothing }, { "put 256 flows", put }, { "put a flow of another mask", masks }, { "list 1,000 flows", dump },
        { "add or delete a port", ports }, { "move poll threads", threads }, { "flush all flows", flush },
    };
    pthread_t thread;
    struct dp *of;

    if (argc > 1)
        flows = (uint32_t)atoi(argv[1]);
    if (argc > 2)
        rounds = (uint32_t)atoi(argv[2]);
    if (!flows || !rounds || rounds > ROUNDS_MAX)
        FAIL("usage: waits [FLOWS [ROUNDS]], 1 to %u rounds", ROUNDS_MAX);
    fixture_start();
    atomic_store(&asked, SAMPLES);
    waits = calloc(SAMPLES, sizeof *waits);
    CHECK(waits);
    dp = fixture_dp("waits", 2);
    of = dp_of(dp);
    control = &of->control;
    measured = true;
    atomic_fetch_add(&of->waiting, 1); /* Somebody waits all the time. */
    CHECK(!pthread_create(&thread, NULL, ask, NULL));
    for (uint32_t round = 0; round < rounds; round++)
        for (uint32_t i = 0; i < STEPS; i++)
            step(&figures[i], steps[i].run);
    printf("%u flows, %u rounds\n", flows, rounds);
    for (uint32_t i = 0; i < STEPS; i++)
        show(steps[i].name, &figures[i]);
    atomic_store(&stop, true);
    pthread_join(thread, NULL);
    measured = false;
    atomic_fetch_sub(&of->waiting, 1);
    dp_unref(of);
    OK(dp_close(dp));
    free(waits);
    return 0;
}
