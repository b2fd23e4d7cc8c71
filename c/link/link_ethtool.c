/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "link/link_ethtool.h"

#include <errno.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/utsname.h>
#include <unistd.h>

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

bool link_ethtool_passes_uso(int fd, const char *name)
{
    struct ethtool_drvinfo info = { .cmd = ETHTOOL_GDRVINFO };
    unsigned int major = 0, minor = 0;
    struct utsname host;

    return !uname(&host) && sscanf(host.release, "%u.%u", &major, &minor) == 2 && (major > 6 || (major == 6 && minor >= 2)) &&
           !ask(fd, name, &info) && !strncmp(info.driver, "veth", sizeof info.driver);
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

/* Memory for an answer, with nothing behind it.  Linux answers with what a device has then, which
 * may be more than there was a moment ago, and many versions write all of it: past the end it
 * finds EFAULT, and not what others keep there. */
struct answer {
    void *at;
    size_t size, mapped;
};

static bool answer_map(struct answer *answer, size_t size)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);

    answer->size = (size + page - 1) & ~(page - 1);
    answer->mapped = answer->size + page;
    answer->at = mmap(NULL, answer->mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (answer->at == MAP_FAILED)
        return false;
    if (!mprotect(answer->at, answer->size, PROT_READ | PROT_WRITE))
        return true;
    munmap(answer->at, answer->mapped);
    answer->at = MAP_FAILED;
    return false;
}

static void answer_unmap(const struct answer *answer)
{
    if (answer->at != MAP_FAILED)
        munmap(answer->at, answer->mapped);
}

/* Names and values of `n` counters.  EAGAIN: there are not so many any more. */
static int ask_counters(int fd, const char *name, uint32_t n, struct ethtool_gstrings *names, struct ethtool_stats *values)
{
    int error;

    *names = (struct ethtool_gstrings){ .cmd = ETHTOOL_GSTRINGS, .string_set = ETH_SS_STATS, .len = n };
    *values = (struct ethtool_stats){ .cmd = ETHTOOL_GSTATS, .n_stats = n };
    error = ask(fd, name, names);
    if (!error)
        error = ask(fd, name, values);
    if (error)
        return error == EFAULT ? EAGAIN : error;
    return names->len == n && values->n_stats == n ? 0 : EAGAIN;
}

int link_ethtool_counters(int fd, const char *name, struct dp_port_counter *counters, uint32_t room, uint32_t *n)
{
    struct answer names = { .at = MAP_FAILED }, values = { .at = MAP_FAILED };
    int error = count(fd, name, n);

    if (error || !*n || *n > COUNTERS_MAX)
        return error ? error : *n ? EOVERFLOW : EOPNOTSUPP;
    if (answer_map(&names, sizeof(struct ethtool_gstrings) + (size_t)*n * ETH_GSTRING_LEN) &&
        answer_map(&values, sizeof(struct ethtool_stats) + (size_t)*n * sizeof(uint64_t)))
        error = ask_counters(fd, name, *n, names.at, values.at);
    else
        error = ENOMEM;
    for (uint32_t i = 0; !error && i < *n && i < room; i++) {
        const uint8_t *text = ((const struct ethtool_gstrings *)names.at)->data + (size_t)i * ETH_GSTRING_LEN;

        memset(counters[i].name, 0, sizeof counters[i].name);
        memcpy(counters[i].name, *text ? text : (const uint8_t *)"?", *text ? ETH_GSTRING_LEN - 1 : 1);
        counters[i].value = ((const struct ethtool_stats *)values.at)->data[i];
    }
    answer_unmap(&names);
    answer_unmap(&values);
    return error;
}
