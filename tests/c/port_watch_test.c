/* SPDX-License-Identifier: Apache-2.0
 * sanitize: thread
 * link: everything
 *
 * Linux devices of ports come and go, by the thread that watches them, while poll threads receive
 * and send by these ports and a program asks what they are: all three use what a port is made of. */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

#include "dp_fixture.h"

#define ROUNDS 8u

static uint64_t dp;
static _Atomic bool over;

static void shell(const char *command)
{
    CHECK(!system(command));
}

/* Two at once, the ports of a cable. */
static void make_devices(void)
{
    shell("ip link add pw0 type veth peer name pw1 && ip link set pw0 up && ip link set pw1 up");
}

static bool are_here(bool here)
{
    struct dp_port_info info[2];

    OK(dp_port_find(dp, "pw0", &info[0]));
    OK(dp_port_find(dp, "pw1", &info[1]));
    return !info[0].gone == here && !info[1].gone == here;
}

/* What a program does all the time. */
static void *ask(void *unused)
{
    while (!atomic_load(&over)) {
        struct dp_port_stats stats;
        struct dp_port_info info;

        OK(dp_port_find(dp, "pw0", &info));
        OK(dp_port_stats_get(dp, info.no, &stats));
        fixture_inject(dp, 1, 60, 0);
        usleep(500);
    }
    return unused;
}

int main(void)
{
    pthread_t program;

    if (unshare(CLONE_NEWNET) || system("ip link set lo up")) {
        printf("a network namespace of its own\n");
        return 78;
    }
    fixture_start();
    make_devices();
    dp = fixture_dp("watch", 1);
    OK(fixture_port(dp, 2, "pw0", "system", "", NULL));
    OK(fixture_port(dp, 3, "pw1", "system", "", NULL));
    fixture_flow(dp, 1, 2);
    CHECK(!pthread_create(&program, NULL, ask, NULL));
    for (uint32_t i = 0; i < ROUNDS; i++) {
        EVENTUALLY(are_here(true));
        usleep(20000);
        shell("ip link delete pw0");
        EVENTUALLY(are_here(false));
        make_devices();
    }
    EVENTUALLY(are_here(true));
    atomic_store(&over, true);
    pthread_join(program, NULL);
    OK(dp_close(dp));
    return 0;
}
