/* SPDX-License-Identifier: Apache-2.0
 * sanitize: address
 *
 * A poll thread that starts beside a large table takes its time, and others have their turn: what
 * they set meanwhile holds for it, too. */
#include <pthread.h>
#include <stdio.h>

#include "dp_fixture.h"

#define FLOWS 60000u
#define ROUNDS 40u
#define OPS_ROOM (256u * 256u)

static void put_flows(uint64_t dp)
{
    static _Alignas(8) uint8_t ops[OPS_ROOM], results[OPS_ROOM];
    uint8_t key[256], actions[16];
    const uint32_t out = 2;
    uint32_t used = 0, done;

    for (uint32_t tag = 0, count = 0; tag < FLOWS; tag++) {
        struct dp_op op = { .type = DP_OP_PUT, .flags = DP_OPF_CREATE };

        op.key_size = fixture_key(key, 1, tag);
        op.actions_size = fixture_attribute(actions, 1, &out, 4);
        used += fixture_append(ops + used, &op, key, actions, NULL);
        if (++count < 256 && tag + 1 < FLOWS)
            continue;
        OK(dp_operate(dp, ops, used, count, results, sizeof results, &done));
        used = count = 0;
    }
    EQUAL(fixture_stats(dp).flows, FLOWS);
}

static uint64_t dp;

static void *start(void *unused)
{
    OK(dp_poll_threads_set(dp, 3, 0, 20));
    return unused;
}

static void test_settings(void)
{
    dp = fixture_dp("settings", 2);
    put_flows(dp);
    for (uint32_t round = 0; round < ROUNDS; round++) {
        struct dp_poll_thread_info first, second;
        char text[80];
        pthread_t thread;

        OK(dp_poll_threads_set(dp, 1, 0, 10));
        EQUAL(pthread_create(&thread, NULL, start, NULL), 0);
        usleep(round * 100);
        snprintf(text, sizeof text, "pmd-sleep-max=%u", 100 + round);
        OK(dp_set_config(dp, text));
        EQUAL(pthread_join(thread, NULL), 0);
        OK(dp_poll_thread_next(dp, 0, &first));
        OK(dp_poll_thread_next(dp, 1, &second));
        CHECK(first.core == 0 && second.core == 1);
        EQUAL(second.max_sleep_us, first.max_sleep_us);
    }
    OK(dp_close(dp));
}

int main(void)
{
    static void (*const tests[])(void) = { test_settings };

    if (sysconf(_SC_NPROCESSORS_ONLN) < 2) {
        puts("two cores");
        return 78;
    }
    return fixture_run(tests, sizeof tests / sizeof tests[0]);
}
