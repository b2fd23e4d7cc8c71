/* SPDX-License-Identifier: Apache-2.0
 * sanitize: address thread
 *
 * Long batches of several threads: each lets the others in after a thousand operations, with
 * nothing in its hand that they need.  A lock that it kept, those of connections included, would
 * be waited for under the mutex that it then waits for. */
#include <pthread.h>
#include <stdatomic.h>

#include "dp_fixture.h"

#define OPERATIONS 5000u
#define BATCHES 20u
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

int main(void)
{
    static void (*const tests[])(void) = { test_long_batches };

    return fixture_run(tests, sizeof tests / sizeof tests[0]);
}
