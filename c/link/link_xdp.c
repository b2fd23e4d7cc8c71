/* SPDX-License-Identifier: Apache-2.0
 *
 * An AF_XDP socket redirects a device's packets by a program that libxdp attaches to it.  A process
 * that is killed leaves it there, and the device then swallows what it receives. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <inttypes.h>
#include <linux/bpf.h>
#include <linux/if_link.h>
#include <linux/if_xdp.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <rte_common.h>

#include "base/plt.h"
#include "link/link_xdp.h"

#define PROGRAM "anon_inode:bpf-prog"
#define BOUND 1024u              /* Sockets that are told apart. */

struct request {
    struct nlmsghdr header;
    struct ifinfomsg link;
    uint8_t attributes[64];
};

static struct request request_for(uint16_t type, uint16_t flags, unsigned int ifindex)
{
    struct request request = { .header = { .nlmsg_len = NLMSG_LENGTH(sizeof request.link), .nlmsg_type = type,
                                           .nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags) },
                               .link = { .ifi_family = AF_UNSPEC, .ifi_index = (int)ifindex } };

    return request;
}

/* The nested attribute of a type in `size` bytes of attributes; NULL: none. */
static const struct rtattr *attribute(const void *at, size_t size, uint16_t type)
{
    int left = (int)size;

    for (const struct rtattr *a = at; RTA_OK(a, left); a = RTA_NEXT(a, left))
        if ((a->rta_type & ~NLA_F_NESTED) == type)
            return a;
    return NULL;
}

/* The program on a device, and how it is attached (XDP_ATTACHED_*); 0: none. */
static uint32_t program_of(int fd, unsigned int ifindex, uint8_t *attached)
{
    union {
        struct nlmsghdr header;
        uint8_t bytes[16384];
    } answer;
    struct request request = request_for(RTM_GETLINK, 0, ifindex);
    const struct rtattr *xdp, *id, *mode;
    ssize_t size;

    if (send(fd, &request, request.header.nlmsg_len, 0) < 0)
        return 0;
    size = recv(fd, &answer, sizeof answer, 0);
    if (size < (ssize_t)NLMSG_LENGTH(sizeof(struct ifinfomsg)) || answer.header.nlmsg_type != RTM_NEWLINK)
        return 0;
    xdp = attribute(answer.bytes + NLMSG_SPACE(sizeof(struct ifinfomsg)), (size_t)size - NLMSG_SPACE(sizeof(struct ifinfomsg)), IFLA_XDP);
    id = xdp ? attribute(RTA_DATA(xdp), RTA_PAYLOAD(xdp), IFLA_XDP_PROG_ID) : NULL;
    mode = xdp ? attribute(RTA_DATA(xdp), RTA_PAYLOAD(xdp), IFLA_XDP_ATTACHED) : NULL;
    if (!id || !mode || RTA_PAYLOAD(id) < 4)
        return 0;
    *attached = *(const uint8_t *)RTA_DATA(mode);
    return *(const uint32_t *)RTA_DATA(id);
}

static long bpf(int command, union bpf_attr *attr)
{
    return syscall(SYS_bpf, command, attr, sizeof *attr);
}

/* Whether it is one that libxdp attaches for AF_XDP sockets. */
static bool is_libxdps(uint32_t id)
{
    struct bpf_prog_info info = { 0 };
    union bpf_attr attr = { .prog_id = id };
    int fd = (int)bpf(BPF_PROG_GET_FD_BY_ID, &attr);
    bool known;

    if (fd < 0)
        return false;
    memset(&attr, 0, sizeof attr);
    attr.info.bpf_fd = (uint32_t)fd;
    attr.info.info_len = sizeof info;
    attr.info.info = (uintptr_t)&info;
    known = !bpf(BPF_OBJ_GET_INFO_BY_FD, &attr) && (!strncmp(info.name, "xsk_def_prog", 12) || !strncmp(info.name, "xdp_dispatcher", 14));
    close(fd);
    return known;
}

static void detach(int fd, unsigned int ifindex, uint8_t attached)
{
    struct request request = request_for(RTM_SETLINK, NLM_F_ACK, ifindex);
    uint32_t flags = attached == XDP_ATTACHED_SKB ? XDP_FLAGS_SKB_MODE : attached == XDP_ATTACHED_HW ? XDP_FLAGS_HW_MODE
                                                                                                  : XDP_FLAGS_DRV_MODE;
    struct {
        struct rtattr nest, fd_attr;
        int32_t fd;
        struct rtattr flags_attr;
        uint32_t flags;
    } xdp = {
        { sizeof xdp, IFLA_XDP | NLA_F_NESTED }, { RTA_LENGTH(4), IFLA_XDP_FD }, -1, { RTA_LENGTH(4), IFLA_XDP_FLAGS }, flags,
    };
    uint8_t answer[4096];

    memcpy(request.attributes, &xdp, sizeof xdp);
    request.header.nlmsg_len += sizeof xdp;
    if (send(fd, &request, request.header.nlmsg_len, 0) > 0 && recv(fd, answer, sizeof answer, 0) < 0)
        return; /* The probe that follows fails and says why. */
}

/* Whether a descriptor of a process, of which /proc tells in `path`, is a program's. */
static bool is_descriptor_of(const char *path, uint32_t id)
{
    FILE *file = fopen(path, "re");
    char line[128];
    uint32_t found;
    bool yes = false;

    while (file && !yes && fgets(line, sizeof line, file))
        yes = sscanf(line, "prog_id: %" SCNu32, &found) == 1 && found == id;
    if (file)
        fclose(file);
    return yes;
}

/* The process that has a program open, as libxdp does for as long as its sockets live; 0: none that
 * can be seen, from another container say. */
static int owner_of(uint32_t id)
{
    struct dirent *process, *descriptor;
    DIR *processes = opendir("/proc"), *descriptors;
    char path[64], link[64];
    int owner = 0;

    while (processes && !owner && (process = readdir(processes))) {
        const int pid = atoi(process->d_name);

        snprintf(path, sizeof path, "/proc/%d/fd", pid);
        descriptors = pid > 0 ? opendir(path) : NULL;
        while (descriptors && !owner && (descriptor = readdir(descriptors))) {
            const int number = atoi(descriptor->d_name);
            ssize_t size;

            snprintf(path, sizeof path, "/proc/%d/fd/%d", pid, number);
            size = readlink(path, link, sizeof link);
            snprintf(path, sizeof path, "/proc/%d/fdinfo/%d", pid, number);
            if (size == sizeof PROGRAM - 1 && !memcmp(link, PROGRAM, sizeof PROGRAM - 1) && is_descriptor_of(path, id))
                owner = pid;
        }
        if (descriptors)
            closedir(descriptors);
    }
    if (processes)
        closedir(processes);
    return owner;
}

int link_xdp_clean(const char *device, int *owner)
{
    unsigned int ifindex = if_nametoindex(device);
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    uint8_t attached = 0;
    uint32_t id;

    *owner = 0;
    if (fd < 0)
        return 0;
    id = ifindex ? program_of(fd, ifindex, &attached) : 0;
    if (id && is_libxdps(id)) {
        *owner = owner_of(id);
        if (!*owner)
            detach(fd, ifindex, attached);
    }
    close(fd);
    return *owner ? EBUSY : 0;
}

/* --- Words ------------------------------------------------------------------------------------ */

static int say_nothing(int level, const char *format, va_list arguments)
{
    (void)level, (void)format, (void)arguments;
    return 0;
}

static void silence(const char *library, const char *function)
{
    void *(*set_print)(int (*)(int, const char *, va_list));
    void *handle = dlopen(library, RTLD_LAZY | RTLD_NOLOAD);

    if (!handle)
        return;
    *(void **)&set_print = dlsym(handle, function);
    if (set_print)
        set_print(say_nothing);
    dlclose(handle);
}

void link_xdp_silence(void)
{
    silence("libbpf.so.1", "libbpf_set_print");
    silence("libbpf.so.0", "libbpf_set_print");
    silence("libxdp.so.1", "libxdp_set_print");
}

/* --- Sockets ---------------------------------------------------------------------------------- */

static bool is_socket(int fd)
{
    int domain;
    socklen_t size = sizeof domain;

    return !getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) && domain == AF_XDP;
}

void link_xdp_sockets(struct link_xdp_sockets *sockets)
{
    DIR *all = opendir("/proc/self/fd");
    struct dirent *entry;

    sockets->n = 0;
    while (all && (entry = readdir(all))) {
        const int fd = atoi(entry->d_name);

        if (is_socket(fd) && sockets->n < sizeof sockets->fds / sizeof sockets->fds[0])
            sockets->fds[sockets->n++] = fd;
    }
    if (all)
        closedir(all);
}

void link_xdp_without(struct link_xdp_sockets *sockets, const struct link_xdp_sockets *others)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < sockets->n; i++) {
        bool known = false;

        for (uint32_t j = 0; j < others->n && !known; j++)
            known = others->fds[j] == sockets->fds[i];
        if (!known)
            sockets->fds[n++] = sockets->fds[i];
    }
    sockets->n = n;
}

/* What libxdp, or libbpf before it, bound to queues of devices.  Neither it nor every Linux tells
 * afterwards which of a device's sockets is whose. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
    int fd;
    uint32_t queue;
} bound[BOUND];
static uint32_t bound_n; /* Ever; the oldest are forgotten. */

static void note(int fd, uint32_t queue)
{
    uint32_t i = 0;

    pthread_mutex_lock(&lock);
    while (i < RTE_MIN(bound_n, BOUND) && bound[i].fd != fd)
        i++;
    if (i == RTE_MIN(bound_n, BOUND))
        i = bound_n++ % BOUND;
    bound[i].fd = fd;
    bound[i].queue = queue;
    pthread_mutex_unlock(&lock);
}

static int bind_noted(int fd, const struct sockaddr *address, socklen_t size)
{
    const int answer = bind(fd, address, size);

    if (!answer && size >= sizeof(struct sockaddr_xdp) && address->sa_family == AF_XDP)
        note(fd, ((const struct sockaddr_xdp *)(const void *)address)->sxdp_queue_id);
    return answer;
}

void link_xdp_follow(void)
{
    static const struct plt_divert diverts[] = { { "libxdp.so", "bind", (void *)bind_noted }, { "libbpf.so", "bind", (void *)bind_noted } };

    plt_divert(diverts, sizeof diverts / sizeof diverts[0]);
}

int link_xdp_socket_of(const struct link_xdp_sockets *sockets, uint32_t queue)
{
    int found = -1;

    pthread_mutex_lock(&lock);
    for (uint32_t i = 0; i < RTE_MIN(bound_n, BOUND); i++) {
        for (uint32_t k = 0; bound[i].queue == queue && k < sockets->n; k++)
            found = sockets->fds[k] == bound[i].fd ? bound[i].fd : found;
    }
    pthread_mutex_unlock(&lock);
    return found;
}

void link_xdp_close(const struct link_xdp_sockets *sockets)
{
    for (uint32_t i = 0; i < sockets->n; i++)
        if (is_socket(sockets->fds[i]))
            close(sockets->fds[i]);
}
