/* SPDX-License-Identifier: Apache-2.0
 * link: everything
 *
 * What control calls wait for each other: a thread asks for statistics again and again, as another isolate of a program does, while
 * this one puts flows, lists them, adds and deletes ports, moves threads and flushes.  For each of these: processor time a call, which
 * does not depend on what else the machine does and which one call can hold others up for at most; and how long the other thread waited,
 * which does.  The first line, where nothing happens, shows what the machine adds by itself. */
#include <pthread.h>

#include "../c/dp_fixture.h"

#define FLOWS 100000u
#define BATCH 256u
#define SAMPLES 4000000u

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
        const uint32_t at = atomic_load(&asked);
        const double before = us(CLOCK_MONOTONIC);

        OK(dp_stats_get(dp, &stats));
        if (at < SAMPLES) {
            waits[at] = (float)(us(CLOCK_MONOTONIC) - before);
            atomic_store(&asked, at + 1);
        }
        usleep(50);
    }
    return NULL;
}

static int by_size(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;

    return (x > y) - (x < y);
}

/* Processor time of calls. */
static struct {
    double sum, longest, since;
    uint32_t n;
} calls;

static void begin_call(void)
{
    calls.since = us(CLOCK_THREAD_CPUTIME_ID);
}

static void end_call(void)
{
    const double took = us(CLOCK_THREAD_CPUTIME_ID) - calls.since;

    calls.sum += took;
    calls.n++;
    if (took > calls.longest)
        calls.longest = took;
}

static void step(const char *name, void (*run)(void))
{
    const uint32_t first = atomic_load(&asked);
    uint32_t n;

    memset(&calls, 0, sizeof calls);
    run();
    n = atomic_load(&asked) - first;
    if (!n)
        return;
    qsort(waits + first, n, sizeof *waits, by_size);
    printf("%-28s %6u calls of %8.0f us, the longest %8.0f us | %7u waits, half within %5.1f us, 99.9 %% %7.0f us, the longest %7.0f us\n",
           name, calls.n, calls.n ? calls.sum / calls.n : 0, calls.longest, n, (double)waits[first + n / 2],
           (double)waits[first + (uint32_t)(n * 0.999)], (double)waits[first + n - 1]);
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

    for (uint32_t tag = 0; tag < FLOWS;) {
        uint32_t used = 0, n = 0, answered;

        for (; n < BATCH && tag < FLOWS; n++, tag++) {
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

    for (uint32_t i = 0; i < 50; i++) {
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

int main(void)
{
    pthread_t thread;

    fixture_start();
    waits = calloc(SAMPLES, sizeof *waits);
    CHECK(waits);
    dp = fixture_dp("waits", 2);
    CHECK(!pthread_create(&thread, NULL, ask, NULL));
    step("nothing", nothing);
    step("put 256 flows", put);
    step("list 1,000 flows", dump);
    step("add or delete a port", ports);
    step("move poll threads", threads);
    step("flush 100,000 flows", flush);
    atomic_store(&stop, true);
    pthread_join(thread, NULL);
    OK(dp_close(dp));
    free(waits);
    return 0;
}
