/* SPDX-License-Identifier: Apache-2.0
 * sanitize: address thread
 *
 * Long batches of several threads: each lets the others in after a fraction of a millisecond, with
 * nothing in its hand that they need.  A lock that it kept, those of connections and of handlers
 * included, would be waited for under the mutex that it then waits for. */
#include <pthread.h>
#include <stdatomic.h>

#include "dp_fixture.h"

#define OPERATIONS 5000u
#define BATCHES 4u
#define THREADS 2u

static _Atomic uint32_t done[THREADS];
static uint64_t datapath;
static uint8_t ops[OPERATIONS * 160] __attribute__((aligned(8)));
static uint32_t ops_size;

static void *run(void *arg)
{
    _Atomic uint32_t *batches = arg;
    const uint32_t size = OPERATIONS * 512;
    uint8_t *results = aligned_alloc(64, size);
    uint32_t used;

    CHECK(results);
    /* Until all have done enough: batches that do not meet show nothing. */
    for (;;) {
        bool enough = true;

        for (uint32_t i = 0; i < THREADS; i++)
            enough &= atomic_load(&done[i]) >= BATCHES;
        if (enough)
            break;
        OK(dp_operate(datapath, ops, ops_size, OPERATIONS, results, size, &used));
        atomic_fetch_add(batches, 1);
    }
    free(results);
    return NULL;
}

static void test_long_batches(void)
{
    struct dp_op op = { .type = DP_OP_GET };
    pthread_t threads[THREADS];
    uint8_t key[256];

    datapath = fixture_dp("batch", 2);
    fixture_flow(datapath, 1, 2);
    op.key_size = fixture_key(key, 1, 0);
    for (uint32_t i = 0; i < OPERATIONS; i++)
        ops_size += fixture_append(ops + ops_size, &op, key, NULL, NULL);
    CHECK(ops_size <= sizeof ops);
    for (uint32_t i = 0; i < THREADS; i++)
        CHECK(!pthread_create(&threads[i], NULL, run, &done[i]));
    for (uint32_t i = 0; i < THREADS; i++)
        EVENTUALLY(atomic_load(&done[i]) >= BATCHES);
    for (uint32_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    OK(dp_close(datapath));
}

/* --- Turns ------------------------------------------------------------------------------------ */

#define SLOW 500u                    /* Operations, fewer than were ever done without a look at others. */
#define OUTPUTS 200u
#define TURNS 4u

static _Atomic uint32_t turns;
static _Atomic bool stop;
static uint64_t handler;

static void *ask(void *unused)
{
    (void)unused;
    while (!atomic_load(&stop)) {
        fixture_stats(datapath);
        if (handler)
            OK(dp_upcall_purge(datapath));
        atomic_fetch_add(&turns, 1);
    }
    return NULL;
}

/* Whether others have turns while one batch is under way whose operations take long: a packet each
 * that is sent many times. */
static void see_turns(void)
{
    static uint8_t slow[SLOW * 4096] __attribute__((aligned(8))), results[SLOW * 128] __attribute__((aligned(8)));
    struct dp_op op = { .type = DP_OP_EXECUTE, .packet_size = 1500 };
    const uint32_t out = 2;
    uint8_t key[256], actions[OUTPUTS * 8], frame[1500];
    uint32_t size = 0, used, most = 0;
    pthread_t thread;

    op.key_size = fixture_key(key, 1, 0);
    fixture_frame(frame, sizeof frame, 0);
    for (uint32_t i = 0; i < OUTPUTS; i++)
        op.actions_size += fixture_attribute(actions + op.actions_size, 1, &out, 4);
    for (uint32_t i = 0; i < SLOW; i++) {
        CHECK(size + 4096 <= sizeof slow);
        size += fixture_append(slow + size, &op, key, actions, frame);
    }
    atomic_store(&stop, false);
    CHECK(!pthread_create(&thread, NULL, ask, NULL));
    EVENTUALLY(atomic_load(&turns));
    /* The other thread may have waited for the processor, not for the mutex. */
    for (int i = 0; i < 20 && most < TURNS; i++) {
        const uint32_t before = atomic_load(&turns);
        struct dp_exchange exchange;
        uint32_t taken;

        if (handler)
            OK(dp_upcall_exchange(handler, slow, size, SLOW, results, sizeof results, 1, &exchange));
        else
            OK(dp_operate(datapath, slow, size, SLOW, results, sizeof results, &used));
        taken = atomic_load(&turns) - before;
        most = taken > most ? taken : most;
    }
    atomic_store(&stop, true);
    pthread_join(thread, NULL);
    if (most < TURNS)
        FAIL("others had %u turns in %u operations", most, SLOW);
}

static void test_turns(void)
{
    struct dp_handler_info info;

    datapath = fixture_dp("turns", 2);
    see_turns();
    OK(dp_upcall_open(datapath, 0, &info));
    handler = info.handler;
    see_turns();
    OK(dp_upcall_close(handler));
    OK(dp_close(datapath));
}

int main(void)
{
    static void (*const tests[])(void) = { test_long_batches, test_turns };

    return fixture_run(tests, sizeof tests / sizeof tests[0]);
}
