/* SPDX-License-Identifier: Apache-2.0
 * Two NUMA nodes, which the kernel is made to tell of in a mount namespace: core 0 is of node 1, core 1 of node 0. Queues of ports that
 * belong to node 0 go to the thread there, and what that thread reads of each flow, and has of its own, is wanted there. A device of node 1
 * has its queues and its packets there, and is polled there. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/mempolicy.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <rte_ethdev.h>
#include <rte_mbuf.h>

#include "cls/cls.h"
#include "dp_fixture.h"
#include "dp_int.h"
#include "pmd/pmd_int.h"

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

/* Whether what lies at an address is wanted on node 0, the only one that this kernel has. */
static bool is_wanted(const void *at)
{
    unsigned long nodes = 0;
    int mode = 0;

    CHECK(!syscall(SYS_get_mempolicy, &mode, &nodes, 65ul, at, MPOL_F_ADDR));
    return mode == MPOL_PREFERRED && nodes == 1;
}

/* Of the thread on node 0: what it reads of flows, and what it has of its own. */
static void test_wishes(uint64_t dp)
{
    struct dp *of = dp_of(dp);
    struct pmd_thread *const *threads = of->pmds->threads;

    for (int i = 0; i < 2; i++) {
        EQUAL(threads[i]->numa, !i);
        EQUAL(is_wanted(threads[i]), i);
        EQUAL(is_wanted(cls_entries(threads[i]->worker.replica)), i);
    }
    dp_unref(of);
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

/* --- DPDK, as on a machine with two nodes ------------------------------------------------------ */

/* Where the process asked for packet buffers, and for queues. */
static _Atomic uint32_t pools_on_1, queues_on_1, fed_from_1;
static _Atomic(struct rte_mempool *) pool_on_1;
static _Atomic bool full;            /* Node 1 has no memory left. */

/* Virtual devices are of the second node. */
int rte_eth_dev_socket_id(uint16_t id)
{
    (void)id;
    return 1;
}

struct rte_mempool *rte_pktmbuf_pool_create_by_ops(const char *name, unsigned int n, unsigned int cache, uint16_t private_size, uint16_t room,
                                                   int node, const char *ops)
{
    static struct rte_mempool *(*real)(const char *, unsigned int, unsigned int, uint16_t, uint16_t, int, const char *);
    struct rte_mempool *pool;

    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "rte_pktmbuf_pool_create_by_ops");
    if (node == 1 && atomic_load(&full))
        return NULL;
    pool = real(name, n, cache, private_size, room, SOCKET_ID_ANY, ops);
    if (node == 1) {
        atomic_fetch_add(&pools_on_1, 1);
        atomic_store(&pool_on_1, pool);
    }
    return pool;
}

int rte_eth_rx_queue_setup(uint16_t id, uint16_t queue, uint16_t n, unsigned int node, const struct rte_eth_rxconf *conf, struct rte_mempool *pool)
{
    static int (*real)(uint16_t, uint16_t, uint16_t, unsigned int, const struct rte_eth_rxconf *, struct rte_mempool *);

    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "rte_eth_rx_queue_setup");
    atomic_fetch_add(&queues_on_1, node == 1);
    atomic_fetch_add(&fed_from_1, pool == atomic_load(&pool_on_1));
    return real(id, queue, n, 0, conf, pool);
}

/* Devices of node 1, the first where nothing is left there, beside the thread of that node. */
static void test_devices(uint64_t dp)
{
    struct dp_rxq_info rxq;
    uint32_t queues = 0;

    atomic_store(&full, true);
    OK(fixture_port(dp, 20, "far0", "dpdk", "dpdk-devargs=vdev:net_null_far0,no-rx=1", NULL));
    EQUAL(pools_on_1, 0);
    EQUAL(queues_on_1, 1);
    EQUAL(fed_from_1, 0);
    atomic_store(&full, false);
    for (uint32_t i = 1; i < 3; i++) {
        char name[16], options[64];

        snprintf(name, sizeof name, "far%u", i);
        snprintf(options, sizeof options, "dpdk-devargs=vdev:net_null_far%u,no-rx=1", i);
        OK(fixture_port(dp, 20 + i, name, "dpdk", options, NULL));
    }
    EQUAL(pools_on_1, 1); /* Of both. */
    EQUAL(queues_on_1, 3);
    EQUAL(fed_from_1, 2);
    for (uint32_t i = 0; !dp_rxq_get(dp, i, &rxq); i++) {
        queues += rxq.port >= 20;
        EQUAL(rxq.core, rxq.port >= 20 ? 0 : 1);
    }
    EQUAL(queues, 3);
    for (uint32_t i = 0; i < 3; i++)
        OK(dp_port_delete(dp, 20 + i));
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
        test_wishes(dp);
    else
        printf("this kernel does not hear of wishes\n");
    test_devices(dp);
    OK(dp_close(dp));
    CHECK(wanted_on(0) <= 0);
    return 0;
}
