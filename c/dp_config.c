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
 *     pmd-perf-metrics true: poll threads record what their iterations are like (dp_perf.h)
 *     pmd-auto-lb     true: the queues are dealt out anew by themselves, if a thread is overloaded
 *                     all the time and others would help
 *     pmd-auto-lb-load-threshold         what overloaded is, per cent busy; 95
 *     pmd-auto-lb-improvement-threshold  by how much the variance of load must become smaller, per
 *                                        cent; 25
 *     pmd-auto-lb-rebal-interval         how often it is looked at, minutes; 1 to 20000
 *     pmd-sample-ms   how long a sample of load is, 10 to 5000; a minute is twelve of them
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
#include "pmd/load.h"
#include "pmd/pmd_ctl.h"
#include "pmd/pmd_figures.h"
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

static int boolean(const char *key, const char *value, bool *result)
{
    *result = !strcmp(value, "true");
    return *result || !strcmp(value, "false") ? 0 : error_set(EINVAL, "setting %s is true or false, not \"%s\"", key, value);
}

static int set_isolate(struct dp *dp, bool on)
{
    pmd_set_isolate(dp->pmds, on);
    return 0;
}

static int set_metrics(struct dp *dp, bool on)
{
    return pmd_record(dp->pmds, on);
}

static int set_auto_lb(struct dp *dp, bool on)
{
    if (on && !dp->service)
        dp->service = dp_service_start(dp);
    if (on && !dp->service)
        return error_set(ENOMEM, "no thread that looks after it");
    pmd_balance_enable(dp->pmds, on);
    dp_service_look(dp->service);
    return 0;
}

static int set_max_sleep(struct dp *dp, uint32_t us)
{
    pmd_set_max_sleep(dp->pmds, us);
    return 0;
}

static int set_load(struct dp *dp, uint32_t percent)
{
    pmd_balance_load(dp->pmds, percent);
    return 0;
}

static int set_improvement(struct dp *dp, uint32_t percent)
{
    pmd_balance_improvement(dp->pmds, percent);
    return 0;
}

static int set_interval(struct dp *dp, uint32_t minutes)
{
    pmd_balance_interval(dp->pmds, minutes);
    dp_service_look(dp->service);
    return 0;
}

static int set_sample(struct dp *dp, uint32_t ms)
{
    pmd_set_sample_ms(dp->pmds, ms);
    dp_service_look(dp->service);
    return 0;
}

static int set_ring(struct dp *dp, uint32_t n)
{
    if (n > eal_pool()->size / 4)
        return error_set(EINVAL, "setting upcall-ring is %u, at most %u fit the pool of buffers", n, eal_pool()->size / 4);
    if (n & (n - 1))
        return error_set(EINVAL, "setting upcall-ring is %u, expected a power of two", n);
    upcalls_set_ring(dp->upcalls, n);
    return 0;
}

static int set_quota(struct dp *dp, uint32_t n)
{
    upcalls_set_quota(dp->upcalls, n);
    return 0;
}

static const struct {
    const char *key;
    int (*set)(struct dp *, bool);
} switches[] = {
    { "pmd-rxq-isolate", set_isolate },
    { "pmd-perf-metrics", set_metrics },
    { "pmd-auto-lb", set_auto_lb },
};

static const struct {
    const char *key;
    uint32_t least, most;
    int (*set)(struct dp *, uint32_t);
} numbers[] = {
    { "pmd-sleep-max", 0, DP_POLL_SLEEP_MAX_US, set_max_sleep },
    { "pmd-auto-lb-load-threshold", 0, 100, set_load },
    { "pmd-auto-lb-improvement-threshold", 0, 100, set_improvement },
    { "pmd-auto-lb-rebal-interval", 1, 20000, set_interval },
    { "pmd-sample-ms", 10, LOAD_SAMPLE_MS, set_sample },
    { "upcall-ring", 64, UINT32_MAX, set_ring },
    { "upcall-quota", 0, UINT32_MAX, set_quota },
};

static int set(struct dp *dp, const char *key, const char *value)
{
    uint32_t n = 0;
    bool on = false;

    if (!strcmp(key, "pmd-rxq-assign"))
        return set_algorithm(dp, value);
    for (uint32_t i = 0; i < sizeof switches / sizeof switches[0]; i++)
        if (!strcmp(key, switches[i].key)) {
            int error = boolean(key, value, &on);

            return error ? error : switches[i].set(dp, on);
        }
    for (uint32_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        if (!strcmp(key, numbers[i].key)) {
            int error = number(key, value, numbers[i].least, numbers[i].most, &n);

            return error ? error : numbers[i].set(dp, n);
        }
    return error_set(EINVAL, "datapaths have no setting \"%s\"", key);
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
        return port_setting_unknown(port, key);
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
