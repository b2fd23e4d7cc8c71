/* SPDX-License-Identifier: Apache-2.0
 * Counters of a driver, by a kernel that is played here: it writes all that it has, as Linux did for long, whatever the
 * caller has room for.  Should there be more from one question to the next, nothing of the caller's is written over.
 * link: link/link_ethtool.c */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include "check.h"
#include "link/link_ethtool.h"

#define MANY 60000u

/* What the driver has when it is asked first, for names, and for values. */
static uint32_t counts[3];
static uint8_t strings[MANY * ETH_GSTRING_LEN];
static uint64_t values[MANY];

/* As copy_to_user(): errno. */
static int copy(void *to, const void *from, size_t size)
{
    const struct iovec here = { .iov_base = (void *)(uintptr_t)from, .iov_len = size }, there = { .iov_base = to, .iov_len = size };
    const ssize_t n = process_vm_writev(getpid(), &here, 1, &there, 1, 0);

    return n == (ssize_t)size ? 0 : n < 0 ? errno : EFAULT;
}

static int answer(void *question)
{
    const uint32_t command = *(uint32_t *)question;
    struct ethtool_sset_info *info = question;

    if (command == ETHTOOL_GSSET_INFO)
        return copy(info->data, &counts[0], sizeof counts[0]);
    if (command == ETHTOOL_GSTRINGS) {
        ((struct ethtool_gstrings *)question)->len = counts[1];
        return copy(((struct ethtool_gstrings *)question)->data, strings, (size_t)counts[1] * ETH_GSTRING_LEN);
    }
    if (command == ETHTOOL_GSTATS) {
        ((struct ethtool_stats *)question)->n_stats = counts[2];
        return copy(((struct ethtool_stats *)question)->data, values, (size_t)counts[2] * sizeof values[0]);
    }
    return EOPNOTSUPP;
}

int ioctl(int fd, unsigned long request, ...)
{
    const struct ifreq *ifr;
    va_list arguments;
    int error;

    va_start(arguments, request);
    ifr = va_arg(arguments, const struct ifreq *);
    va_end(arguments);
    CHECK(fd == 42 && request == SIOCETHTOOL && !strcmp(ifr->ifr_name, "eth9"));
    error = answer(ifr->ifr_data);
    errno = error;
    return error ? -1 : 0;
}

static int ask(uint32_t first, uint32_t second, uint32_t third, struct dp_port_counter *counters, uint32_t room, uint32_t *n)
{
    counts[0] = first;
    counts[1] = second;
    counts[2] = third;
    return link_ethtool_counters(42, "eth9", counters, room, n);
}

int main(void)
{
    struct dp_port_counter counters[4];
    uint32_t n;

    for (uint32_t i = 0; i < MANY; i++) {
        snprintf((char *)strings + (size_t)i * ETH_GSTRING_LEN, ETH_GSTRING_LEN, "counter_%u", i);
        values[i] = 7 * i;
    }
    strings[ETH_GSTRING_LEN] = '\0';                        /* Drivers leave names out. */
    memset(strings + 2 * ETH_GSTRING_LEN, 'x', ETH_GSTRING_LEN); /* And end them with nothing. */
    CHECK(!ask(4, 4, 4, counters, 4, &n) && n == 4);
    CHECK(!strcmp(counters[0].name, "counter_0") && counters[3].value == 21 && !strcmp(counters[3].name, "counter_3"));
    CHECK(!strcmp(counters[1].name, "?") && counters[1].value == 7);
    CHECK(strlen(counters[2].name) == ETH_GSTRING_LEN - 1);
    CHECK(!ask(MANY, MANY, MANY, counters, 4, &n) && n == MANY);
    CHECK(ask(0, 0, 0, counters, 4, &n) == EOPNOTSUPP);
    /* A page is what two may grow to unseen. */
    CHECK(ask(2, MANY, 2, counters, 4, &n) == EAGAIN);
    CHECK(ask(2, 2, MANY, counters, 4, &n) == EAGAIN);
    CHECK(ask(2, 3, 3, counters, 4, &n) == EAGAIN && ask(3, 2, 2, counters, 4, &n) == EAGAIN && ask(3, 0, 0, counters, 4, &n) == EAGAIN);
    return failures != 0;
}
