/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "link/link_watch.h"

#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/error.h"

#define LOOK_MS 500
#define REST_MS 10               /* Between two looks, however many devices change. */

struct watch {
    struct watch *next;
    void *object;
    void (*attend)(void *);
    bool busy;                   /* `attend` runs: it stays in the list. */
};

/* Order: `life`, under which the thread starts and ends, then `lock`.  Nothing is held while an
 * object is attended to: what Linux is asked then may take as long as somebody else changes a
 * device, and only who takes that very object away has to wait for it. */
static pthread_mutex_t life = PTHREAD_MUTEX_INITIALIZER, lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t attended = PTHREAD_COND_INITIALIZER;
static struct watch *watches;
static pthread_t thread;
static int stop_fd = -1;         /* eventfd; -1: the thread does not run. */

/* Where Linux reports changes of network devices of this namespace; -1: nowhere. */
static int open_news(void)
{
    const int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
    struct sockaddr_nl address = { .nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK };

    if (fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof address)) {
        close(fd);
        return -1;
    }
    return fd;
}

/* What it was is of no interest, nor whether some of it was lost: everything is looked at. */
static void forget_news(int fd)
{
    uint8_t bytes[8192];

    while (recv(fd, bytes, sizeof bytes, 0) > 0 || errno == ENOBUFS)
        ;
}

static void attend_to_all(void)
{
    pthread_mutex_lock(&lock);
    for (struct watch *w = watches; w; w = w->next) {
        w->busy = true;
        pthread_mutex_unlock(&lock);
        w->attend(w->object);
        pthread_mutex_lock(&lock);
        w->busy = false;
        pthread_cond_broadcast(&attended);
    }
    pthread_mutex_unlock(&lock);
}

static void *run(void *arg)
{
    struct pollfd fds[2] = { { .fd = stop_fd, .events = POLLIN }, { .fd = open_news(), .events = POLLIN } };
    const struct timespec rest = { .tv_nsec = REST_MS * 1000000l };

    (void)arg;
    pthread_setname_np(pthread_self(), "port-watch");
    for (;;) {
        poll(fds, 2, LOOK_MS);
        if (fds[0].revents)
            break;
        if (fds[1].revents)
            forget_news(fds[1].fd);
        attend_to_all();
        nanosleep(&rest, NULL);
    }
    if (fds[1].fd >= 0)
        close(fds[1].fd);
    return NULL;
}

static int start(void)
{
    sigset_t all, before;
    int error;

    stop_fd = eventfd(0, EFD_CLOEXEC);
    if (stop_fd < 0)
        return errno;
    sigfillset(&all); /* Signals are for the program's own threads. */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    error = pthread_create(&thread, NULL, run, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error) {
        close(stop_fd);
        stop_fd = -1;
    }
    return error;
}

static void stop(void)
{
    const uint64_t one = 1;

    while (write(stop_fd, &one, sizeof one) < 0 && errno == EINTR)
        ;
    pthread_join(thread, NULL);
    close(stop_fd);
    stop_fd = -1;
}

int link_watch_add(void *object, void (*attend)(void *))
{
    struct watch *w = malloc(sizeof *w);
    int error = w ? 0 : ENOMEM;

    pthread_mutex_lock(&life);
    if (!error && stop_fd < 0)
        error = start();
    if (!error) {
        pthread_mutex_lock(&lock);
        *w = (struct watch){ .next = watches, .object = object, .attend = attend };
        watches = w;
        pthread_mutex_unlock(&lock);
    } else {
        free(w);
        error_set(error, "cannot watch its device: %s", strerror(error));
    }
    pthread_mutex_unlock(&life);
    return error;
}

/* Where the list points to the watch of an object, or ends. */
static struct watch **find(const void *object)
{
    struct watch **at = &watches;

    while (*at && (*at)->object != object)
        at = &(*at)->next;
    return at;
}

void link_watch_remove(void *object)
{
    struct watch **at, *found;
    bool last;

    pthread_mutex_lock(&lock);
    while (*(at = find(object)) && (*at)->busy)
        pthread_cond_wait(&attended, &lock);
    found = *at;
    if (found)
        *at = found->next;
    pthread_mutex_unlock(&lock);
    free(found);
    if (!found)
        return;
    pthread_mutex_lock(&life);
    pthread_mutex_lock(&lock);
    last = !watches && stop_fd >= 0; /* Another may have come, or have ended the thread. */
    pthread_mutex_unlock(&lock);
    if (last)
        stop();
    pthread_mutex_unlock(&life);
}
