/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#define ALLOW_EXPERIMENTAL_API   /* A handle's descriptor can be read in no other way. */
#include "packet/eal_divert.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <unistd.h>

#include <rte_hash.h>
#include <rte_interrupts.h>

#include "base/plt.h"

#define LISTENERS 256            /* As many as the driver has room for. */

/* --- Descriptors ------------------------------------------------------------------------------ */

static int divert_socket(int domain, int type, int protocol)
{
    return socket(domain, type | SOCK_CLOEXEC, protocol);
}

static int divert_accept(int fd, struct sockaddr *address, socklen_t *size)
{
    return accept4(fd, address, size, SOCK_CLOEXEC);
}

static ssize_t divert_recvmsg(int fd, struct msghdr *message, int flags)
{
    return recvmsg(fd, message, flags | MSG_CMSG_CLOEXEC);
}

static int divert_eventfd(unsigned int count, int flags)
{
    return eventfd(count, flags | EFD_CLOEXEC);
}

static _Atomic bool private_memory;

void eal_keep_private(bool keep)
{
    atomic_store_explicit(&private_memory, keep, memory_order_relaxed);
}

bool eal_is_private(void)
{
    return atomic_load_explicit(&private_memory, memory_order_relaxed);
}

/* EAL maps private memory where this fails. */
static int divert_memfd_create(const char *name, unsigned int flags)
{
    if (!strcmp(name, "nohuge") && eal_is_private()) {
        errno = ENOSYS;
        return -1;
    }
    return memfd_create(name, flags | MFD_CLOEXEC);
}

static int divert_epoll_create(int size)
{
    (void)size;
    return epoll_create1(EPOLL_CLOEXEC);
}

static int divert_epoll_create1(int flags)
{
    return epoll_create1(flags | EPOLL_CLOEXEC);
}

/* EAL's thread ends the process if it cannot wait for a descriptor of its list.  A driver may have
 * closed one that is in the list still, because its peer went: it is left out, and out of the list
 * the next time. */
static int divert_epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event)
{
    const int error = epoll_ctl(epoll, operation, fd, event);
    const bool of_list = operation == EPOLL_CTL_ADD && event && event->data.fd == fd && event->events & EPOLLRDHUP;

    return error && of_list && (errno == EBADF || errno == EINVAL || errno == EPERM) ? 0 : error;
}

static int divert_dup(int fd)
{
    return fcntl(fd, F_DUPFD_CLOEXEC, 0);
}

static int divert_timerfd_create(clockid_t clock, int flags)
{
    return timerfd_create(clock, flags | TFD_CLOEXEC);
}

static int divert_pipe(int fds[2])
{
    return pipe2(fds, O_CLOEXEC);
}

static int divert_open(const char *path, int flags, ...)
{
    mode_t mode = 0;

    if (flags & (O_CREAT | __O_TMPFILE)) {
        va_list arguments;

        va_start(arguments, flags);
        mode = va_arg(arguments, mode_t);
        va_end(arguments);
    }
    return open(path, flags | O_CLOEXEC, mode);
}

static FILE *divert_fopen(const char *path, const char *mode)
{
    char closing[16];

    snprintf(closing, sizeof closing, "%se", mode);
    return fopen(path, closing);
}

/* --- Listeners of memif ----------------------------------------------------------------------- */

struct listener {
    int fd;                      /* 0: none. */
    const struct rte_intr_handle *handle;
    rte_intr_callback_fn callback;
    void *arg;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct listener listeners[LISTENERS];

static bool is_listening(int fd)
{
    int listening = 0;
    socklen_t size = sizeof listening;

    return !getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) && listening;
}

static int divert_callback_register(const struct rte_intr_handle *handle, rte_intr_callback_fn callback, void *arg)
{
    const int error = rte_intr_callback_register(handle, callback, arg), fd = rte_intr_fd_get(handle);

    if (error || !is_listening(fd))
        return error;
    pthread_mutex_lock(&lock);
    for (uint32_t i = 0; i < LISTENERS; i++) {
        if (!listeners[i].fd) {
            listeners[i] = (struct listener){ fd, handle, callback, arg };
            break;
        }
    }
    pthread_mutex_unlock(&lock);
    return 0;
}

/* Whether a socket is bound to a path, or to the abstract name of the same letters. */
static bool is_bound_to(int fd, const char *name)
{
    struct sockaddr_un address = { 0 };
    socklen_t size = sizeof address;

    return !getsockname(fd, (struct sockaddr *)&address, &size) && address.sun_family == AF_UNIX &&
           !strncmp(address.sun_path + !address.sun_path[0], name, sizeof address.sun_path - 1);
}

bool eal_memif_listens(const char *path)
{
    bool listens = false;

    pthread_mutex_lock(&lock);
    for (uint32_t i = 0; i < LISTENERS && !listens; i++)
        listens = listeners[i].fd && is_bound_to(listeners[i].fd, path);
    pthread_mutex_unlock(&lock);
    return listens;
}

/* The driver forgets a socket, because its last device goes; the next thing that it does is to free
 * what the callback points to. */
static int32_t divert_del_key(const struct rte_hash *table, const void *key)
{
    struct listener gone = { 0 };

    pthread_mutex_lock(&lock);
    for (uint32_t i = 0; i < LISTENERS && !gone.fd; i++) {
        if (listeners[i].fd && is_bound_to(listeners[i].fd, key)) {
            gone = listeners[i];
            listeners[i].fd = 0;
        }
    }
    pthread_mutex_unlock(&lock);
    if (gone.fd && rte_intr_callback_unregister_sync(gone.handle, gone.callback, gone.arg) >= 0)
        close(gone.fd);
    return rte_hash_del_key(table, key);
}

static void (*_Atomic before_unmap)(void);

void eal_before_unmap(void (*function)(void))
{
    atomic_store(&before_unmap, function);
}

static int divert_munmap(void *at, size_t size)
{
    void (*function)(void) = atomic_load(&before_unmap);

    if (function)
        function();
    return munmap(at, size);
}

/* ---------------------------------------------------------------------------------------------- */

void eal_divert(void)
{
#define DPDK(name) { "librte_", #name, (void *)divert_##name }
#define OPENS(object) { object, "open", (void *)divert_open }, { object, "open64", (void *)divert_open }, \
                      { object, "fopen", (void *)divert_fopen }, { object, "fopen64", (void *)divert_fopen }
    static const struct plt_divert diverts[] = {
        { "librte_net_memif", "rte_intr_callback_register", (void *)divert_callback_register },
        { "librte_net_memif", "munmap", (void *)divert_munmap },
        { "librte_net_memif", "rte_hash_del_key", (void *)divert_del_key },
        DPDK(socket), DPDK(accept), DPDK(recvmsg), DPDK(eventfd), DPDK(memfd_create), DPDK(epoll_create), DPDK(epoll_create1), DPDK(dup),
        DPDK(timerfd_create), DPDK(pipe), { "librte_eal", "epoll_ctl", (void *)divert_epoll_ctl },
        OPENS("librte_"), OPENS("libpcap"),
    };

    plt_divert(diverts, sizeof diverts / sizeof diverts[0]);
}
