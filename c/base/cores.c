/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "base/cores.h"

#include <dirent.h>
#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <pthread.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define NODES 64u               /* NUMA nodes that are looked for. */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static cpu_set_t process;        /* Allowed to the process. */
static uint32_t claims[CPU_SETSIZE];
static int held[CPU_SETSIZE];    /* hold() of those that are claimed. */

void cores_init(void)
{
    pthread_mutex_lock(&lock);
    if (!CPU_COUNT(&process) && sched_getaffinity(0, sizeof process, &process))
        CPU_SET(0, &process);
    pthread_mutex_unlock(&lock);
}

bool cores_allowed(uint32_t core)
{
    return core < CPU_SETSIZE && CPU_ISSET(core, &process);
}

/* --- Claims that other processes see ---------------------------------------------------------- */

/* Linux >= 5.3; missing in older headers. */
#ifndef UDIAG_SHOW_UID
#define UDIAG_SHOW_UID 0x40
#endif
#define DIAG_UID 7              /* UNIX_DIAG_UID. */

static int name_of(uint32_t core, struct sockaddr_un *name)
{
    *name = (struct sockaddr_un){ .sun_family = AF_UNIX };
    return snprintf(name->sun_path + 1, sizeof name->sun_path - 1, "upcall-core-%u", core);
}

/* The user whose socket this is, if it has the name; false: it has not, or Linux does not say. */
static bool owner_in(const struct nlmsghdr *header, const char *name, size_t size, uid_t *owner)
{
    const struct unix_diag_msg *of = NLMSG_DATA(header);
    int left = (int)header->nlmsg_len - (int)NLMSG_LENGTH(sizeof *of);
    bool named = false, told = false;

    for (const struct rtattr *a = (const struct rtattr *)(of + 1); RTA_OK(a, left); a = RTA_NEXT(a, left)) {
        if (a->rta_type == UNIX_DIAG_NAME)
            named = RTA_PAYLOAD(a) == size && !memcmp(RTA_DATA(a), name, size);
        if (a->rta_type == DIAG_UID && RTA_PAYLOAD(a) == sizeof *owner) {
            memcpy(owner, RTA_DATA(a), sizeof *owner);
            told = true;
        }
    }
    return named && told;
}

/* The owner of a name: the list of all sockets of the network namespace says it. */
static bool owner_of(const char *name, size_t size, uid_t *owner)
{
    struct {
        struct nlmsghdr header;
        struct unix_diag_req of;
    } request = { .header = { .nlmsg_len = sizeof request, .nlmsg_type = SOCK_DIAG_BY_FAMILY, .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP },
                  .of = { .sdiag_family = AF_UNIX, .udiag_states = UINT32_MAX, .udiag_show = UDIAG_SHOW_NAME | UDIAG_SHOW_UID } };
    const int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
    static uint8_t answer[32768] __attribute__((aligned(8))); /* Under `lock`. */
    bool found = false, more = fd >= 0 && send(fd, &request, sizeof request, 0) == sizeof request;

    while (more) {
        ssize_t n = recv(fd, answer, sizeof answer, 0);

        if (n <= 0)
            break;
        for (const struct nlmsghdr *h = (const void *)answer; more && NLMSG_OK(h, n); h = NLMSG_NEXT(h, n)) {
            found = h->nlmsg_type == SOCK_DIAG_BY_FAMILY && owner_in(h, name, size, owner);
            more = h->nlmsg_type == SOCK_DIAG_BY_FAMILY && !found;
        }
    }
    if (fd >= 0)
        close(fd);
    return found;
}

/* Whether a taken name means that a poll thread is there: anybody can take it, and only root's
 * processes and this user's are believed.  Where Linux does not say whose it is, all are. */
static bool is_believed(uint32_t core)
{
    struct sockaddr_un name;
    const size_t size = (size_t)name_of(core, &name) + 1;
    uid_t owner;

    return !owner_of(name.sun_path, size, &owner) || !owner || owner == geteuid();
}

/* The name of a core, to which one process of a network namespace can bind a socket.  It goes with
 * the process, however that ends.  -1: another has it, or there are no sockets. */
static int hold(uint32_t core)
{
    struct sockaddr_un name;
    const int size = name_of(core, &name);
    const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int error;

    if (fd < 0)
        return -1;
    if (!bind(fd, (struct sockaddr *)&name, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)size)))
        return fd;
    error = errno;
    close(fd);
    errno = error;
    return -1;
}

bool cores_elsewhere(uint32_t core)
{
    bool taken = false;

    pthread_mutex_lock(&lock);
    if (!claims[core]) {
        const int fd = hold(core);

        taken = fd < 0 && errno == EADDRINUSE && is_believed(core);
        if (fd >= 0)
            close(fd);
    }
    pthread_mutex_unlock(&lock);
    return taken;
}

/* --- Which core ------------------------------------------------------------------------------- */

uint32_t cores_pick(const uint8_t *allowed, uint32_t n, bool (*is_taken)(uint32_t core))
{
    uint32_t last = 0, count = 0, free = 0, free_count = 0;

    for (uint32_t core = 0; core < n; core++) {
        if (!(allowed[core / 8] >> core % 8 & 1))
            continue;
        last = core;
        count++;
        if (!is_taken(core)) {
            free = core;
            free_count++;
        }
    }
    /* One more is for the programs. */
    return free_count > 1 ? free : last;
}

uint32_t cores_default(void)
{
    return cores_pick((const uint8_t *)&process, CPU_SETSIZE, cores_elsewhere);
}

uint32_t cores_count(void)
{
    return (uint32_t)CPU_COUNT(&process);
}

uint32_t cores_numa(uint32_t core)
{
    char path[80];

    for (uint32_t node = 1; node < NODES; node++) {
        snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%u/node%u", core, node);
        if (!access(path, F_OK))
            return node;
    }
    return 0;
}

void cores_text(char *text, uint32_t size)
{
    uint32_t used = 0;

    text[0] = '\0';
    for (uint32_t core = 0; core < CPU_SETSIZE && used < size; core++) {
        uint32_t first = core;

        if (!CPU_ISSET(core, &process))
            continue;
        while (core + 1 < CPU_SETSIZE && CPU_ISSET(core + 1, &process))
            core++;
        used += (uint32_t)snprintf(text + used, size - used, "%s%u", used ? "," : "", first);
        if (core > first && used < size)
            used += (uint32_t)snprintf(text + used, size - used, "-%u", core);
    }
}

/* --- The other threads ------------------------------------------------------------------------ */

/* What the other threads may use: the cores that are left, or all if none is. */
static cpu_set_t rest(void)
{
    cpu_set_t left = process;

    for (uint32_t core = 0; core < CPU_SETSIZE; core++)
        if (claims[core])
            CPU_CLR(core, &left);
    return CPU_COUNT(&left) ? left : process;
}

/* Poll threads are known by their name: they set their own affinity before it is looked at, and
 * keep it. */
static bool is_poll_thread(const char *tid)
{
    char path[64], name[32] = "";
    FILE *file;

    snprintf(path, sizeof path, "/proc/self/task/%.16s/comm", tid);
    file = fopen(path, "re");
    if (!file)
        return true; /* Gone. */
    if (!fgets(name, sizeof name, file))
        name[0] = '\0';
    fclose(file);
    return !strncmp(name, "pmd-c", 5);
}

/* Gives every other thread of the process the rest of the cores.  Threads made later inherit it. */
static void spread(void)
{
    cpu_set_t left = rest();
    DIR *tasks = opendir("/proc/self/task");
    struct dirent *task;

    while (tasks && (task = readdir(tasks)) != NULL) {
        pid_t tid = (pid_t)atoi(task->d_name);

        if (tid > 0 && !is_poll_thread(task->d_name))
            sched_setaffinity(tid, sizeof left, &left); /* It may have ended meanwhile. */
    }
    if (tasks)
        closedir(tasks);
}

void cores_claim(uint32_t core)
{
    pthread_mutex_lock(&lock);
    if (!claims[core]++) {
        held[core] = hold(core);
        spread();
    }
    pthread_mutex_unlock(&lock);
}

void cores_release(uint32_t core)
{
    pthread_mutex_lock(&lock);
    if (!--claims[core]) {
        if (held[core] >= 0)
            close(held[core]);
        spread();
    }
    pthread_mutex_unlock(&lock);
}
