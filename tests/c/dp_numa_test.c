/* SPDX-License-Identifier: Apache-2.0
 * Two NUMA nodes, which the kernel is made to tell of in a mount namespace: core 0 is of node 1, core 1 of node 0. Queues of ports that
 * belong to node 0 go to the thread there, and what that thread reads of each flow is wanted there. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/mempolicy.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "dp_fixture.h"

#define CPU "/sys/devices/system/cpu"
#define PORTS 3u

static void make(const char *folder, const char *name, const char *text)
{
    char path[256];
    int fd;

    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (!text) {
        CHECK(!mkdir(path, 0755) || errno == EEXIST);
        return;
    }
    fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
    CHECK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
}

/* False: this process may not, or has one core. */
static bool pretend(void)
{
    char fake[] = "/tmp/upcall-numa-XXXXXX";

    if (sysconf(_SC_NPROCESSORS_ONLN) < 2 || unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) || !mkdtemp(fake))
        return false;
    /* It goes with the namespace. */
    if (mount("none", fake, "tmpfs", 0, NULL))
        return false;
    make(fake, "online", "0-1\n");
    for (int core = 0; core < 2; core++) {
        char name[64];

        snprintf(name, sizeof name, "cpu%d", core);
        make(fake, name, NULL);
        snprintf(name, sizeof name, "cpu%d/node%d", core, !core);
        make(fake, name, NULL);
        snprintf(name, sizeof name, "cpu%d/topology", core);
        make(fake, name, NULL);
        snprintf(name, sizeof name, "cpu%d/topology/core_id", core);
        make(fake, name, core ? "1\n" : "0\n");
    }
    if (mount(fake, CPU, NULL, MS_BIND, NULL))
        return false;
    CHECK(!umount2(fake, MNT_DETACH) && !rmdir(fake));
    return true;
}

/* Mappings that are wanted on a node; -1: this kernel does not tell. */
static int wanted_on(int node)
{
    FILE *maps = fopen("/proc/self/numa_maps", "re");
    char line[1024], wish[32];
    int n = 0;

    if (!maps)
        return -1;
    while (fgets(line, sizeof line, maps)) {
        const char *at = strstr(line, " prefer");

        snprintf(wish, sizeof wish, ":%d", node);
        at = at ? strchr(at, ':') : NULL;
        /* Of pages there may be none yet. */
        n += at && !strncmp(at, wish, strlen(wish)) && strchr(" \n", at[strlen(wish)]);
    }
    fclose(maps);
    return n;
}

/* Whether the kernel hears of wishes: in a container it may not. */
static bool may_wish(void)
{
    const unsigned long nodes = 1;
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    const bool may = page != MAP_FAILED && !syscall(SYS_mbind, page, 4096ul, MPOL_PREFERRED, &nodes, 65ul, 0);

    if (page != MAP_FAILED)
        munmap(page, 4096);
    return may;
}

int main(void)
{
    struct dp_poll_thread_info thread;
    struct dp_rxq_info rxq;
    uint32_t queues = 0;
    uint64_t dp;

    if (!pretend()) {
        printf("two processor cores, and root's right to mount\n");
        return 78;
    }
    fixture_start();
    dp = fixture_dp("numa", PORTS);
    OK(dp_poll_threads_set(dp, 3, 0, 10));
    OK(dp_poll_thread_next(dp, 0, &thread));
    CHECK(thread.core == 0 && thread.numa == 1);
    OK(dp_poll_thread_next(dp, 1, &thread));
    CHECK(thread.core == 1 && thread.numa == 0);
    for (uint32_t i = 0; !dp_rxq_get(dp, i, &rxq); i++) {
        EQUAL(rxq.core, 1); /* Ports without a device belong to node 0. */
        queues++;
    }
    EQUAL(queues, PORTS + 1);
    if (may_wish() && wanted_on(0) >= 0)
        EQUAL(wanted_on(0), 1);
    else
        printf("this kernel does not hear of wishes\n");
    OK(dp_close(dp));
    CHECK(wanted_on(0) <= 0);
    return 0;
}
