/* SPDX-License-Identifier: Apache-2.0
 * link: everything
 *
 * Misses decided by a native callback, by the ABI: actions, flows, refusals, shares of what waits,
 * and the end of it. */
#include <dirent.h>
#include <errno.h>

#include "dp_fixture.h"
#include "dp_int.h"
#include "port/port.h"
#include "port/port_dummy.h"

#define FLOOD 10000u                 /* More than may wait. */

struct direct {
    _Atomic uint32_t calls;
    int verdict;
};

static int decide(struct dp_direct_upcall *up, void *aux)
{
    struct direct *direct = aux;
    uint32_t to = 2;

    direct->calls++;
    up->mask_size = 0; /* All frames of the port and type. */
    up->actions_size = fixture_attribute(up->actions, 1, &to, 4);
    return direct->verdict;
}

/* Threads of this process that put flows of direct upcalls. */
static uint32_t putters(void)
{
    DIR *tasks = opendir("/proc/self/task");
    struct dirent *entry;
    uint32_t n = 0;

    while (tasks && (entry = readdir(tasks)) != NULL) {
        char path[300], name[32] = "";
        FILE *file;

        snprintf(path, sizeof path, "/proc/self/task/%s/comm", entry->d_name);
        file = fopen(path, "r");
        if (file && fgets(name, sizeof name, file))
            n += !strcmp(name, "upcall-service\n");
        if (file)
            fclose(file);
    }
    if (tasks)
        closedir(tasks);
    return n;
}

/* The thread that puts flows goes with the datapath. */
static void test_direct_ends(void)
{
    struct direct direct = { .verdict = 0 };
    uint64_t dp = fixture_dp("ends", 2);

    EQUAL(putters(), 0);
    OK(dp_upcall_direct(dp, (uintptr_t)decide, (uintptr_t)&direct));
    EVENTUALLY(putters() == 1);
    OK(dp_upcall_direct(dp, 0, 0));
    EQUAL(putters(), 1); /* A poll thread may be about to give it a flow. */
    OK(dp_upcall_direct(dp, 0, 0));
    OK(dp_upcall_direct(dp, (uintptr_t)decide, (uintptr_t)&direct));
    fixture_inject(dp, 1, 60, 0);
    EVENTUALLY(fixture_stats(dp).flows == 1);
    OK(dp_destroy(dp));
    EQUAL(putters(), 0);
    EQUAL(dp_upcall_direct(dp, 0, 0), ENODEV);
    OK(dp_close(dp));
}

static void test_direct(void)
{
    uint64_t dp = fixture_dp("direct", 2);
    struct direct direct = { .verdict = ENOSPC };
    uint8_t frame[128];
    uint32_t used;

    OK(dp_upcall_direct(dp, (uintptr_t)decide, (uintptr_t)&direct));
    for (uint32_t i = 0; i < 3; i++) {
        fixture_inject(dp, 1, 60, i);
        EVENTUALLY(!dp_dummy_collect(dp, 2, frame, sizeof frame, &used));
    }
    EQUAL(direct.calls, 3);
    EQUAL(fixture_stats(dp).flows, 0);
    direct.verdict = EPERM;
    fixture_inject(dp, 1, 60, 0);
    EVENTUALLY(fixture_drops(dp, "upcall_error") == 1);
    direct.verdict = 0;
    fixture_inject(dp, 1, 60, 0);
    EVENTUALLY(fixture_stats(dp).flows == 1);
    fixture_inject(dp, 1, 60, 99);
    EVENTUALLY(fixture_stats(dp).hit == 1);
    EQUAL(direct.calls, 5);
    OK(dp_upcall_direct(dp, 0, 0));
    OK(dp_flow_flush(dp));
    fixture_inject(dp, 1, 60, 0);
    EVENTUALLY(fixture_drops(dp, "upcall_no_handler") == 1);
    EQUAL(direct.calls, 5);
    OK(dp_upcall_direct(dp, (uintptr_t)decide, (uintptr_t)&direct));
    OK(dp_close(dp)); /* With the callback in place. */
}

/* One port's misses, more than may wait, leave room for another's. */
static void test_shares(void)
{
    struct direct direct = { .verdict = 0 };
    uint64_t dp = fixture_dp("shares", 3);
    struct dp *of = dp_of(dp);
    struct port *ports[2] = { port_get(of->ports, 1), port_get(of->ports, 3) };
    uint8_t frame[60];

    OK(dp_upcall_direct(dp, (uintptr_t)decide, (uintptr_t)&direct));
    OK(dp_lock(of)); /* No flow can be put. */
    for (uint32_t i = 0; i <= FLOOD; i++) {
        fixture_frame(frame, sizeof frame, i);
        while (port_dummy_inject(ports[i == FLOOD], frame, sizeof frame))
            usleep(100);
    }
    EVENTUALLY(direct.calls == FLOOD + 1);
    dp_unlock(of);
    EVENTUALLY(fixture_stats(dp).flows == 2); /* One for each port, whatever it sends. */
    dp_unref(of);
    OK(dp_close(dp));
}

int main(void)
{
    void (*const tests[])(void) = {
        test_direct, test_direct_ends, test_shares,
    };

    return fixture_run(tests, sizeof tests / sizeof tests[0]);
}
