/* SPDX-License-Identifier: Apache-2.0
 * ct_timeout.c - timeout policies (ct_int.h).
 *
 * A connection keeps the number of its policy, and the values are looked up with each packet: a
 * changed policy acts from the next packet on, one that was deleted leaves the defaults. */
#include <errno.h>
#include <stdlib.h>

#include "ct/ct_int.h"

/* The others act nowhere: they are kept to be read again. */
static const uint32_t defaults[CT_TIMEOUTS] = {
    [CT_TCP_SYN_SENT] = 30, [CT_TCP_SYN_RECV] = 30, [CT_TCP_ESTABLISHED] = CT_SECONDS_ESTABLISHED, [CT_TCP_FIN_WAIT] = 900,
    [CT_TCP_TIME_WAIT] = 45, [CT_TCP_CLOSE] = 30, [CT_UDP_FIRST] = 60, [CT_UDP_SINGLE] = 60, [CT_UDP_MULTIPLE] = CT_SECONDS_MULTIPLE,
    [CT_ICMP_FIRST] = 60, [CT_ICMP_REPLY] = 30,
};

/* The first policy whose number is not below `id`. */
static uint32_t position(const struct ct_policies *policies, uint32_t id)
{
    uint32_t low = 0, high = policies ? policies->n : 0;

    while (low < high) {
        const uint32_t middle = (low + high) / 2;

        if (policies->list[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static const struct ct_policy *find(const struct ct_policies *policies, uint32_t id)
{
    const uint32_t at = position(policies, id);

    return policies && at < policies->n && policies->list[at].id == id ? &policies->list[at] : NULL;
}

void ct_refresh(const struct ct_burst *b, struct ct_conn *conn, enum ct_timeout timeout)
{
    uint32_t seconds = defaults[timeout];

    if (CT_UNLIKELY(conn->policy)) {
        const struct ct_policy *policy = find(atomic_load_explicit(&b->ct->policies, memory_order_acquire), conn->policy);

        if (policy)
            seconds = policy->seconds[timeout];
    }
    ct_expire(b, conn, seconds);
}

/* Publishes a list in place of `old`, which the service frees. */
static void replace(struct ct *ct, struct ct_policies *old, struct ct_policies *policies)
{
    atomic_store_explicit(&ct->policies, policies, memory_order_release);
    if (old) {
        old->older = ct->old_policies;
        ct->old_policies = old;
    }
}

static struct ct_policies *room_for(uint32_t n)
{
    struct ct_policies *policies = malloc(sizeof *policies + n * sizeof policies->list[0]);

    if (policies)
        *policies = (struct ct_policies){ .n = n };
    return policies;
}

int ct_policy_set(struct ct *ct, uint32_t id, const uint32_t seconds[CT_TIMEOUTS])
{
    struct ct_policies *old, *policies;
    uint32_t at, n;
    bool there;

    if (!id)
        return EINVAL;
    ct_enter(ct);
    old = atomic_load_explicit(&ct->policies, memory_order_relaxed);
    n = old ? old->n : 0;
    at = position(old, id);
    there = find(old, id);
    policies = room_for(n + !there);
    if (policies) {
        if (at)
            memcpy(policies->list, old->list, at * sizeof old->list[0]);
        policies->list[at].id = id;
        memcpy(policies->list[at].seconds, seconds, sizeof policies->list[at].seconds);
        if (at + there < n)
            memcpy(&policies->list[at + 1], &old->list[at + there], (n - at - there) * sizeof old->list[0]);
        replace(ct, old, policies);
    }
    ct_leave(ct);
    return policies ? 0 : ENOMEM;
}

int ct_policy_get(struct ct *ct, uint32_t id, uint32_t seconds[CT_TIMEOUTS])
{
    const struct ct_policy *policy;

    if (!id) {
        memcpy(seconds, defaults, sizeof defaults);
        return 0;
    }
    ct_enter(ct);
    policy = find(atomic_load_explicit(&ct->policies, memory_order_relaxed), id);
    if (policy)
        memcpy(seconds, policy->seconds, sizeof policy->seconds);
    ct_leave(ct);
    return policy ? 0 : ENOENT;
}

int ct_policy_delete(struct ct *ct, uint32_t id)
{
    struct ct_policies *old, *policies = NULL;
    uint32_t at;
    int error = 0;

    ct_enter(ct);
    old = atomic_load_explicit(&ct->policies, memory_order_relaxed);
    at = position(old, id);
    if (!find(old, id)) {
        error = ENOENT;
    } else if (!(policies = room_for(old->n - 1))) {
        error = ENOMEM;
    } else {
        memcpy(policies->list, old->list, at * sizeof old->list[0]);
        memcpy(&policies->list[at], &old->list[at + 1], (old->n - at - 1) * sizeof old->list[0]);
        replace(ct, old, policies);
    }
    ct_leave(ct);
    return error;
}

uint32_t ct_policy_next(struct ct *ct, uint32_t id)
{
    const struct ct_policies *policies;
    uint32_t at, next;

    ct_enter(ct);
    policies = atomic_load_explicit(&ct->policies, memory_order_relaxed);
    at = id == UINT32_MAX ? UINT32_MAX : position(policies, id + 1);
    next = policies && at < policies->n ? policies->list[at].id : 0;
    ct_leave(ct);
    return next;
}
