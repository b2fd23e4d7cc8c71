/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "packet/eal.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_mbuf.h>
#include <rte_mbuf_dyn.h>
#include <rte_memory.h>
#include <rte_mempool.h>

#include "base/cores.h"
#include "dp.h"
#include "base/error.h"
#include "base/log.h"
#include "packet/eal_divert.h"
#include "packet/eal_memory.h"
#include "packet/eal_packet.h"
#include "packet/pkt.h"

#define POOL_HUGE 65536u
#define POOL_SMALL 16384u
#define POOL_LEAST 2048u
#define POOL_LARGE 512u
#define CACHE_LARGE 4u            /* What caches of threads hold the others do not have. */
#define POOL_LARGE_LEAST 64u
#define POOLS_MAX 64u
/* Bytes of free hugepages: with fewer they are left alone, because each port of type afxdp and the
 * large buffers need some 32 MiB beside the small pool's 40; ... */
#define HUGE_LEAST (160ull << 20)
#define HUGE_MANY (256ull << 20)  /* ... and so many have room for the pool of 160. */
/* Without hugepages: address space, touched only as it is used. */
#define HEAP_MB "1024"
#define ARGUMENTS_MAX 64

struct pool {
    struct rte_mempool *pool;
    bool retired;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static _Atomic(struct rte_mempool *) main_pool; /* Not NULL: started. */
static uint32_t starts;
static char configured[DP_TEXT_SIZE];
static char notice[DP_TEXT_SIZE];

static pthread_mutex_t pools_lock = PTHREAD_MUTEX_INITIALIZER;
static struct pool pools[POOLS_MAX];
static uint32_t pool_count;
static uint32_t pool_serial;

bool eal_started(void)
{
    return atomic_load_explicit(&main_pool, memory_order_acquire) != NULL;
}

struct rte_mempool *eal_pool(void)
{
    return atomic_load_explicit(&main_pool, memory_order_acquire);
}

/* Where EAL finds out which cores there are. */
#define SYS_CORES "/sys/devices/system/cpu"

static bool is_known_to_eal(int core)
{
    char path[80];

    snprintf(path, sizeof path, SYS_CORES "/cpu%d/topology/core_id", core);
    return !access(path, F_OK);
}

/* One lcore that floats over every core that this process may use: `0@(0,1,2)`.  False: EAL knows
 * none of them. */
static bool floating_lcores(char *text, size_t size)
{
    cpu_set_t allowed;
    size_t used = (size_t)snprintf(text, size, "--lcores=0@(");
    const char *comma = "";

    if (sched_getaffinity(0, sizeof allowed, &allowed))
        CPU_SET(0, &allowed);
    for (int core = 0; core < CPU_SETSIZE && used + 8 < size; core++) {
        if (CPU_ISSET(core, &allowed) && is_known_to_eal(core)) {
            used += (size_t)snprintf(text + used, size - used, "%s%d", comma, core);
            comma = ",";
        }
    }
    snprintf(text + used, size - used, ")");
    return *comma;
}

/* Bits of `ol_flags` that are ours (pkt.h). */
static void reserve_flags(void)
{
    static const struct rte_mbuf_dynflag marked = { .name = "upcall_marked" }, tunnel = { .name = "upcall_tunnel" },
                                         tunnels[3] = { { .name = "upcall_tunnels0" }, { .name = "upcall_tunnels1" }, { .name = "upcall_tunnels2" } };

    rte_mbuf_dynflag_register_bitnum(&marked, PKT_MARKED_BIT);
    rte_mbuf_dynflag_register_bitnum(&tunnel, PKT_TUNNEL_BIT);
    for (unsigned int i = 0; i < 3; i++)
        rte_mbuf_dynflag_register_bitnum(&tunnels[i], PKT_TUNNELS_BIT + i);
}

static int start_with(const char **arguments, int count)
{
    static char *kept[ARGUMENTS_MAX];
    char *given[ARGUMENTS_MAX + 1];
    FILE *usual = stdout, *quiet;
    int result;

    /* EAL reorders and keeps what it is given: it gets copies, which live as long as the
     * process. */
    for (int i = 0; i < count; i++) {
        free(kept[i]);
        given[i] = kept[i] = strdup(arguments[i]);
    }
    given[count] = NULL;
    eal_divert();
    quiet = fopen("/dev/null", "we");
    log_capture();
    /* For arguments that EAL does not understand it prints a hundred lines of usage: the reason is
     * in its log. */
    if (quiet)
        stdout = quiet;
    result = rte_eal_init(count, given);
    /* Nobody has asked for one yet, so that it is free. */
    if (result >= 0)
        reserve_flags();
    stdout = usual;
    if (quiet)
        fclose(quiet);
    eal_divert();
    return error_set(result < 0 ? (rte_errno ? rte_errno : EIO) : 0, "%s", log_captured());
}

static int start_configured(void)
{
    static char text[DP_TEXT_SIZE];
    const char *arguments[ARGUMENTS_MAX] = { "upcall" };
    int count = 1;
    char *at = NULL;

    strcpy(text, configured);
    for (char *word = strtok_r(text, "\n", &at); word; word = strtok_r(NULL, "\n", &at)) {
        if (count == ARGUMENTS_MAX)
            return error_set(E2BIG, "more than %d arguments", ARGUMENTS_MAX - 1);
        arguments[count++] = word;
    }
    return start_with(arguments, count);
}

static int start_chosen(bool huge)
{
    char lcores[2048];
    const char *arguments[] = {
        "upcall", lcores, "--no-pci", "--no-telemetry", "--iova-mode=va", huge ? "--in-memory" : "--no-shconf",
        /* vhost-user shares memory by descriptors, eight at most: a file must be more than one
         * page.  Without hugepages it is one in any case. */
        huge ? "--single-file-segments" : "--no-huge",
        "-m", HEAP_MB, /* Not with --in-memory: DPDK 22.11 refuses the pair. */
    };

    if (!floating_lcores(lcores, sizeof lcores))
        return error_set(ENOENT, "" SYS_CORES " is missing, and DPDK reads there which cores the machine has; is /sys mounted?");
    return start_with(arguments, huge ? 7 : 9);
}

/* Without hugepages.  `*transparent`: the kernel is asked to make some of what is used. */
static int start_small(bool *transparent)
{
    int error;

    *transparent = eal_memory_choose();
    error = start_chosen(false);
    /* A small machine grants a large file, of which only what is used counts. */
    if (error && error != EALREADY && eal_is_private()) {
        eal_keep_private(false);
        *transparent = false;
        error = start_chosen(false);
    }
    if (!error && *transparent)
        eal_memory_wish();
    return error;
}

/* With hugepages if enough of them are free. */
static int start_fitting(uint64_t huge_bytes)
{
    static const char how[] = "to change that: sysctl vm.nr_hugepages=512";
    const unsigned long long mebibytes = huge_bytes >> 20;
    bool huge = huge_bytes >= HUGE_LEAST, transparent = false;
    int error = huge ? start_chosen(true) : start_small(&transparent);

    if (error && huge && error != EALREADY) {
        huge = false;
        error = start_small(&transparent);
    }
    if (error)
        return error;
    if (!huge)
        snprintf(notice, sizeof notice, "too few free hugepages (%llu MiB, %llu MiB are needed): using %s; %s", mebibytes, HUGE_LEAST >> 20,
                 transparent ? "transparent ones, as far as the kernel finds some" : "ordinary memory, which is slower", how);
    else if (huge_bytes < HUGE_MANY)
        snprintf(notice, sizeof notice, "few free hugepages (%llu MiB): %u packet buffers, of which %llu MiB would have room for %u; %s",
                 mebibytes, POOL_SMALL, HUGE_MANY >> 20, POOL_HUGE, how);
    return 0;
}

/* `count` mbufs with `room` bytes for data, or fewer, by halves, where memory is short. */
static struct rte_mempool *pool_create(uint32_t count, uint32_t least, uint32_t room, const char *ops, int numa)
{
    struct rte_mempool *pool = NULL;
    char name[RTE_MEMPOOL_NAMESIZE];

    for (; !pool && count >= least; count /= 2) {
        snprintf(name, sizeof name, "upcall_%u", ++pool_serial);
        log_capture();
        pool = rte_pktmbuf_pool_create_by_ops(name, count - 1, ops ? 0 : RTE_MIN(room > EAL_FRAME_ROOM ? CACHE_LARGE : EAL_POOL_CACHE, count / 8), sizeof(struct pkt),
                                              (uint16_t)(RTE_PKTMBUF_HEADROOM + room), numa, ops);
        log_captured();
    }
    if (pool)
        pools[pool_count++] = (struct pool){ .pool = pool };
    return pool;
}

static int start(void)
{
    uint64_t huge_bytes = eal_memory_hugepages();
    struct rte_mempool *pool;
    uint32_t count;
    cpu_set_t affinity;
    bool restore = !pthread_getaffinity_np(pthread_self(), sizeof affinity, &affinity);
    int error;

    /* EAL finds cores and memory there, and says only that its arguments are wrong where it finds
     * none. */
    if (access("/sys/devices/system/cpu", F_OK))
        return error_set(ENOENT, "there is no /sys, which it needs: mount -t sysfs sysfs /sys");
    cores_init();
    log_init();
    error = configured[0] ? start_configured() : start_fitting(huge_bytes);
    if (restore)
        pthread_setaffinity_np(pthread_self(), sizeof affinity, &affinity);
    if (error)
        return error;
    pthread_mutex_lock(&pools_lock);
    count = rte_eal_has_hugepages() && huge_bytes >= HUGE_MANY ? POOL_HUGE : POOL_SMALL;
    pool = pool_create(count, POOL_LEAST, EAL_FRAME_ROOM, NULL, SOCKET_ID_ANY);
    pthread_mutex_unlock(&pools_lock);
    /* A library of DPDK that no program names brings what pools are made of: it may be absent. */
    if (!pool && rte_errno == EINVAL)
        return error_set(ENOENT, "DPDK has no driver of pools: librte_mempool_ring is not installed (a package of DPDK's drivers)");
    if (!pool)
        return error_set(ENOMEM, "not enough memory for a pool of %u packet buffers", POOL_LEAST);
    eal_packets_init(pool);
    atomic_store_explicit(&main_pool, pool, memory_order_release);
    return 0;
}

int eal_configure(const char *arguments)
{
    int error = 0;

    if (!arguments || strlen(arguments) >= sizeof configured)
        return error_set(EINVAL, "arguments missing or longer than %zu bytes", sizeof configured - 1);
    pthread_mutex_lock(&lock);
    if (eal_started())
        error = error_set(EALREADY, "it has been started, which happens once per process");
    else
        strcpy(configured, arguments);
    pthread_mutex_unlock(&lock);
    return error;
}

int eal_start(void)
{
    int error = 0;

    pthread_mutex_lock(&lock);
    if (!eal_started())
        error = start();
    if (!error)
        starts++;
    pthread_mutex_unlock(&lock);
    return error;
}

void eal_notice(char *text, uint32_t size)
{
    pthread_mutex_lock(&lock);
    snprintf(text, size, "%s", notice);
    pthread_mutex_unlock(&lock);
}

/* Frees retired pools whose mbufs are all home. */
static void pools_reap(void)
{
    for (uint32_t i = 0; i < pool_count;) {
        if (pools[i].retired && rte_mempool_full(pools[i].pool)) {
            rte_mempool_free(pools[i].pool);
            pools[i] = pools[--pool_count];
        } else {
            i++;
        }
    }
}

struct rte_mempool *eal_pool_large(void)
{
    static _Atomic(struct rte_mempool *) large;
    struct rte_mempool *pool = atomic_load_explicit(&large, memory_order_acquire);

    if (pool)
        return pool;
    pthread_mutex_lock(&pools_lock);
    pool = atomic_load(&large);
    if (!pool && pool_count < POOLS_MAX)
        atomic_store(&large, pool = pool_create(POOL_LARGE, POOL_LARGE_LEAST, EAL_LARGE_ROOM, NULL, SOCKET_ID_ANY));
    pthread_mutex_unlock(&pools_lock);
    return pool;
}

/* The node of the pool of all packets. */
static int home(void)
{
    const struct rte_memseg_list *list = rte_mem_virt2memseg_list(eal_pool());

    return list ? list->socket_id : SOCKET_ID_ANY;
}

struct rte_mempool *eal_pool_near(int numa)
{
    static _Atomic(struct rte_mempool *) near[RTE_MAX_NUMA_NODES];
    struct rte_mempool *pool;

    if (numa < 0 || numa >= RTE_MAX_NUMA_NODES || numa == home())
        return eal_pool();
    pool = atomic_load_explicit(&near[numa], memory_order_acquire);
    if (pool)
        return pool;
    pthread_mutex_lock(&pools_lock);
    pool = atomic_load(&near[numa]);
    if (!pool && pool_count < POOLS_MAX)
        atomic_store(&near[numa], pool = pool_create(eal_pool()->size + 1, POOL_LEAST, EAL_FRAME_ROOM, NULL, numa));
    pthread_mutex_unlock(&pools_lock);
    return pool ? pool : eal_pool();
}

struct rte_mempool *eal_pool_make(uint32_t count, uint32_t room, const char *ops, int numa)
{
    struct rte_mempool *pool = NULL;

    pthread_mutex_lock(&pools_lock);
    pools_reap();
    if (pool_count < POOLS_MAX)
        pool = pool_create(rte_align32pow2(count + 1), count + 1, room, ops, numa);
    pthread_mutex_unlock(&pools_lock);
    return pool;
}

int eal_pools_full(void)
{
    uint32_t count;

    pthread_mutex_lock(&pools_lock);
    count = pool_count;
    pthread_mutex_unlock(&pools_lock);
    if (count < POOLS_MAX)
        return 0;
    return error_set(ENOSPC, "there are %u pools of packet buffers already, as many as there may be: one of all, and one each of ports that "
                             "keep many packets", POOLS_MAX);
}

void eal_pool_retire(struct rte_mempool *pool)
{
    pthread_mutex_lock(&pools_lock);
    for (uint32_t i = 0; i < pool_count; i++)
        if (pools[i].pool == pool)
            pools[i].retired = true;
    pools_reap();
    pthread_mutex_unlock(&pools_lock);
}

uint64_t eal_in_use(void)
{
    uint64_t count = 0;

    pthread_mutex_lock(&pools_lock);
    for (uint32_t i = 0; i < pool_count; i++)
        /* Caches of threads count as in the pool. */
        count += rte_mempool_in_use_count(pools[i].pool);
    pthread_mutex_unlock(&pools_lock);
    return count - RTE_MIN(count, (uint64_t)eal_packets_spare());
}
