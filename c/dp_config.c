/* SPDX-License-Identifier: Apache-2.0
 *
 * Settings of a datapath and of ports, one `key=value` a line.  Of any port:
 *
 *     pmd-rxq-affinity  QUEUE:CORE,...: queues that are pinned to cores; from
 *                       dp_poll_threads_rebalance() on
 *
 * and of a datapath:
 *
 *     pmd-sleep-max   longest nap of an idle poll thread, us, DP_POLL_SLEEP_MAX_US at most; 0:
 *                     never
 *     pmd-rxq-assign  how receive queues are dealt out to poll threads: group (default), cycles or
 *                     roundrobin; from dp_poll_threads_rebalance() on
 *     pmd-rxq-isolate false: threads take other queues beside pinned ones; group only; likewise
 *     upcall-ring     packets that may wait for a handler opened from now on; a power of two from
 *                     64, at most a quarter of the pool
 *     upcall-quota    of those, how many may come from one port at most; 0: its share (upcall.h) */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <rte_mempool.h>

#include "base/error.h"
#include "dp_int.h"
#include "packet/eal.h"
#include "pmd/pmd_ctl.h"
#include "port/port.h"
#include "upcall/upcall_handler.h"

static int number(const char *key, const char *value, uint32_t least, uint32_t most, uint32_t *result)
{
    char *end;
    unsigned long parsed;

    errno = 0;
    parsed = strtoul(value, &end, 0);
    if (errno || end == value || *end || *value == '-' || parsed < least || parsed > most)
        return error_set(EINVAL, "setting %s is \"%s\", expected a number from %u to %u", key, value, least, most);
    *result = (uint32_t)parsed;
    return 0;
}

static int set_algorithm(struct dp *dp, const char *name)
{
    static const char *const names[] = { [RXQ_ROUNDROBIN] = "roundrobin", [RXQ_CYCLES] = "cycles", [RXQ_GROUP] = "group" };

    for (uint32_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (!strcmp(name, names[i])) {
            pmd_set_algorithm(dp->pmds, (enum rxq_algorithm)i);
            return 0;
        }
    return error_set(EINVAL, "setting pmd-rxq-assign is \"%s\", expected group, cycles or roundrobin", name);
}

static int set(struct dp *dp, const char *key, const char *value)
{
    uint32_t n;
    int error;

    if (!strcmp(key, "pmd-sleep-max")) {
        error = number(key, value, 0, DP_POLL_SLEEP_MAX_US, &n);
        if (!error)
            pmd_set_max_sleep(dp->pmds, n);
    } else if (!strcmp(key, "pmd-rxq-assign")) {
        error = set_algorithm(dp, value);
    } else if (!strcmp(key, "pmd-rxq-isolate")) {
        error = strcmp(value, "true") && strcmp(value, "false") ? error_set(EINVAL, "setting %s is true or false, not \"%s\"", key, value) : 0;
        if (!error)
            pmd_set_isolate(dp->pmds, !strcmp(value, "true"));
    } else if (!strcmp(key, "upcall-ring")) {
        error = number(key, value, 64, eal_pool()->size / 4, &n);
        if (!error && (n & (n - 1)))
            error = error_set(EINVAL, "setting upcall-ring is %u, expected a power of two", n);
        if (!error)
            upcalls_set_ring(dp->upcalls, n);
    } else if (!strcmp(key, "upcall-quota")) {
        error = number(key, value, 0, UINT32_MAX, &n);
        if (!error)
            upcalls_set_quota(dp->upcalls, n);
    } else {
        error = error_set(EINVAL, "datapaths have no setting \"%s\"", key);
    }
    return error;
}

/* Calls `apply` for each line of `config`, until one fails. */
static int each_line(const char *config, int (*apply)(void *object, const char *key, const char *value), void *object)
{
    char text[DP_TEXT_SIZE], *at = NULL;
    int error = 0;

    if (!config || strlen(config) >= sizeof text)
        return error_set(EINVAL, "settings are missing or longer than %d bytes", DP_TEXT_SIZE - 1);
    strcpy(text, config);
    for (char *line = strtok_r(text, "\n", &at); line && !error; line = strtok_r(NULL, "\n", &at)) {
        char *value = strchr(line, '=');

        if (!value)
            return error_set(EINVAL, "setting \"%s\" has no value", line);
        *value++ = '\0';
        error = apply(object, line, value);
    }
    return error;
}

static int set_dp(void *dp, const char *key, const char *value)
{
    return set(dp, key, value);
}

struct of_port {
    struct dp *dp;
    struct port *port;
};

static int set_port(void *object, const char *key, const char *value)
{
    struct of_port *of = object;
    struct port *port = of->port;

    if (!strcmp(key, "pmd-rxq-affinity"))
        return pmd_set_affinity(of->dp->pmds, port, value);
    if (!port->class->set_config)
        return error_set(EINVAL, "ports of type %s have no setting \"%s\"", port->type, key);
    return port->class->set_config(port, key, value);
}

int dp_set_config(uint64_t handle, const char *config)
{
    struct dp *dp;
    int error = dp_enter(handle, &dp);

    return error ? error : dp_leave(dp, each_line(config, set_dp, dp));
}

int dp_port_set_config(uint64_t handle, uint32_t no, const char *config)
{
    struct port *port;
    struct dp *dp;
    int error = dp_enter(handle, &dp);

    if (error)
        return error;
    port = port_get(dp->ports, no);
    if (!port)
        return dp_leave(dp, error_set(ENODEV, "there is no port %u", no));
    return dp_leave(dp, each_line(config, set_port, &(struct of_port){ dp, port }));
}
