/* SPDX-License-Identifier: Apache-2.0 */
#include "pmd/balance.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Of the busy per cent of a node's cores that are not isolated. */
static uint64_t variance(const struct rxq_core *cores, const uint64_t *passed, uint32_t n_cores, uint32_t numa)
{
    uint64_t sum = 0, mean, squares = 0;
    uint32_t n = 0;

    for (uint32_t i = 0; i < n_cores; i++)
        if (cores[i].numa == numa && !cores[i].isolated) {
            sum += passed[i] ? cores[i].load * 100 / passed[i] : 0;
            n++;
        }
    if (!n)
        return 0;
    mean = sum / n;
    for (uint32_t i = 0; i < n_cores; i++)
        if (cores[i].numa == numa && !cores[i].isolated) {
            const uint64_t apart = (passed[i] ? cores[i].load * 100 / passed[i] : 0) - mean;

            squares += apart * apart;
        }
    return squares / n;
}

static bool may_gain(const struct rxq_core *cores, uint32_t n_cores)
{
    bool several = false;
    uint32_t n = 0;

    for (uint32_t i = 0; i < n_cores; i++)
        if (!cores[i].isolated) {
            several |= cores[i].queues > 1;
            n++;
        }
    return n > 1 && several;
}

/* Nodes in the order of their first core, DP_BALANCE_NODES at most. */
static uint32_t list_nodes(const struct rxq_core *cores, uint32_t n_cores, uint32_t *numa)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < n_cores; i++) {
        uint32_t k = 0;

        while (k < n && numa[k] != cores[i].numa)
            k++;
        if (k == n && n < DP_BALANCE_NODES)
            numa[n++] = cores[i].numa;
    }
    return n;
}

int balance_try(const struct rxq_core *cores, const uint64_t *passed, uint32_t n_cores, struct rxq_wish *wishes, uint32_t n,
                enum rxq_algorithm algorithm, bool isolate, struct dp_balance_info *info)
{
    struct rxq_core *then = malloc((n_cores + 1) * sizeof *then);
    bool far = false;
    int error;

    if (!then)
        return ENOMEM;
    memcpy(then, cores, n_cores * sizeof *then);
    error = rxq_assign(then, n_cores, wishes, n, algorithm, isolate);
    info->verdict = DP_BALANCE_LITTLE;
    info->nodes = error ? 0 : list_nodes(cores, n_cores, info->numa);
    for (uint32_t k = 0; k < info->nodes; k++) {
        const uint64_t now = variance(cores, passed, n_cores, info->numa[k]);
        const uint64_t next = variance(then, passed, n_cores, info->numa[k]);

        info->current[k] = now;
        info->estimate[k] = next;
        info->improvement[k] = next < now ? (uint32_t)((now - next) * 100 / now) : 0;
        if (info->improvement[k] >= info->improvement_threshold)
            info->verdict = DP_BALANCE_YES;
    }
    for (uint32_t i = 0; i < n && !error; i++)
        far |= wishes[i].far;
    if (algorithm == RXQ_ROUNDROBIN)
        info->verdict = DP_BALANCE_ROUNDROBIN;
    else if (!may_gain(cores, n_cores))
        info->verdict = DP_BALANCE_FEW;
    else if (far && info->nodes > 1)
        info->verdict = DP_BALANCE_CROSS;
    free(then);
    return error;
}
