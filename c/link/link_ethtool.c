/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "link/link_ethtool.h"

#include <errno.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#define COUNTERS_MAX 65536u      /* Of one driver; more is nonsense. */

_Static_assert(ETH_GSTRING_LEN <= DP_NAME_SIZE, "the name of a counter has room");

static int ask(int fd, const char *name, void *question)
{
    struct ifreq ifr = { .ifr_data = question };

    memcpy(ifr.ifr_name, name, strnlen(name, IFNAMSIZ - 1));
    return ioctl(fd, SIOCETHTOOL, &ifr) ? errno : 0;
}

struct link_speed link_ethtool_speed(int fd, const char *name)
{
    union {
        struct ethtool_link_settings settings;
        /* The kernel says how many words of link modes it has, three times as many follow. */
        uint8_t room[sizeof(struct ethtool_link_settings) + 3 * 127 * sizeof(uint32_t)];
    } question = { .settings = { .cmd = ETHTOOL_GLINKSETTINGS } };
    struct ethtool_link_settings *s = &question.settings;
    struct link_speed speed = { 0 };

    if (ask(fd, name, s) || s->link_mode_masks_nwords >= 0)
        return speed;
    s->link_mode_masks_nwords = (int8_t)-s->link_mode_masks_nwords;
    s->cmd = ETHTOOL_GLINKSETTINGS;
    if (ask(fd, name, s))
        return speed;
    if (s->speed != (uint32_t)SPEED_UNKNOWN)
        speed.mbits = s->speed;
    speed.duplex = s->duplex == DUPLEX_FULL ? DP_DUPLEX_FULL : s->duplex == DUPLEX_HALF ? DP_DUPLEX_HALF : 0;
    return speed;
}

/* How many counters a driver has; 0: none. */
static int count(int fd, const char *name, uint32_t *n)
{
    struct {
        struct ethtool_sset_info info;
        uint32_t size;
    } question = { .info = { .cmd = ETHTOOL_GSSET_INFO, .sset_mask = 1ull << ETH_SS_STATS } };
    int error = ask(fd, name, &question);

    *n = error || !question.info.sset_mask ? 0 : question.size;
    return error;
}

int link_ethtool_counters(int fd, const char *name, struct dp_port_counter *counters, uint32_t room, uint32_t *n)
{
    struct ethtool_gstrings *names = NULL;
    struct ethtool_stats *values = NULL;
    int error = count(fd, name, n);

    if (error || !*n || *n > COUNTERS_MAX)
        return error ? error : *n ? EOVERFLOW : EOPNOTSUPP;
    names = calloc(1, sizeof *names + (size_t)*n * ETH_GSTRING_LEN);
    values = calloc(1, sizeof *values + (size_t)*n * sizeof(uint64_t));
    if (!names || !values) {
        error = ENOMEM;
    } else {
        *names = (struct ethtool_gstrings){ .cmd = ETHTOOL_GSTRINGS, .string_set = ETH_SS_STATS, .len = *n };
        *values = (struct ethtool_stats){ .cmd = ETHTOOL_GSTATS, .n_stats = *n };
        error = ask(fd, name, names);
    }
    if (!error)
        error = ask(fd, name, values);
    /* Should the device have become another in between, what both answers have counts. */
    if (!error && names->len < *n)
        *n = names->len;
    if (!error && values->n_stats < *n)
        *n = values->n_stats;
    for (uint32_t i = 0; !error && i < *n && i < room; i++) {
        memset(counters[i].name, 0, sizeof counters[i].name);
        memcpy(counters[i].name, names->data + (size_t)i * ETH_GSTRING_LEN, ETH_GSTRING_LEN);
        counters[i].name[ETH_GSTRING_LEN - 1] = '\0';
        counters[i].value = values->data[i];
    }
    free(names);
    free(values);
    return error;
}
