/* SPDX-License-Identifier: Apache-2.0
 * link: base/cores.c
 *
 * Poll threads of two processes run on two cores if nobody says otherwise and there is one more for programs; a core is free again when
 * the process that had it ends.  Another user who takes the names of cores drives nobody away. */
#define _GNU_SOURCE
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cores.h"
#include "check.h"

static uint64_t taken;

static bool is_taken(uint32_t core)
{
    return taken >> core & 1;
}

static uint32_t pick(uint64_t allowed, uint64_t others)
{
    taken = others;
    return cores_pick((const uint8_t *)&allowed, 64, is_taken);
}

static void test_pick(void)
{
    CHECK(pick(0xf, 0) == 3);
    CHECK(pick(0xf, 0x8) == 2);
    CHECK(pick(0xf, 0xc) == 1);
    CHECK(pick(0xf, 0xe) == 3); /* Core 0 is for programs. */
    CHECK(pick(0x3, 0x2) == 1);
    CHECK(pick(1ull << 40, 0) == 40);
    CHECK(pick(1ull << 40, 1ull << 40) == 40);
    CHECK(pick(0xb, 0x8) == 1);
}

/* Takes the names of all cores, as anybody may. */
static void squat(void)
{
    CHECK(!setgid(65534) && !setuid(65534));
    for (uint32_t core = 0; core < CPU_SETSIZE; core++) {
        struct sockaddr_un name = { .sun_family = AF_UNIX };
        const int size = snprintf(name.sun_path + 1, sizeof name.sun_path - 1, "upcall-core-%u", core);
        const int fd = cores_allowed(core) ? socket(AF_UNIX, SOCK_DGRAM, 0) : -1;

        CHECK(fd < 0 || !bind(fd, (struct sockaddr *)&name, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)size)));
    }
}

static void claim_all(void)
{
    for (uint32_t core = 0; core < CPU_SETSIZE; core++)
        if (cores_allowed(core))
            cores_claim(core);
}

/* Another process claims all cores, and says so; it ends when it is killed. */
static pid_t other(void (*claim)(void))
{
    int pipes[2];
    char said;
    pid_t pid;

    CHECK(!pipe(pipes));
    pid = fork();
    if (!pid) {
        claim();
        CHECK(write(pipes[1], "", 1) == 1);
        for (;;)
            pause();
    }
    CHECK(read(pipes[0], &said, 1) == 1);
    close(pipes[0]);
    close(pipes[1]);
    return pid;
}

int main(void)
{
    uint32_t last;
    pid_t pid;

    /* Cores are claimed by names of sockets, which are those of a network namespace: whatever else runs here stays out. */
    if (unshare(CLONE_NEWNET)) {
        printf("a network namespace of its own\n");
        return 78;
    }
    cores_init();
    test_pick();
    last = cores_default();
    CHECK(!cores_elsewhere(last));
    pid = other(claim_all);
    CHECK(cores_elsewhere(last));
    CHECK(cores_default() == last); /* There is no other. */
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    CHECK(!cores_elsewhere(last));
    pid = other(squat);
    CHECK(!cores_elsewhere(last) && cores_default() == last);
    cores_claim(last); /* And it can be had. */
    cores_release(last);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    cores_claim(last); /* Its own does not drive it away. */
    CHECK(!cores_elsewhere(last) && cores_default() == last);
    cores_release(last);
    return failures != 0;
}
