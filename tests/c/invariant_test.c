/* SPDX-License-Identifier: Apache-2.0
 * What must hold is checked under sanitizers, and costs nothing where users are.
 * link: base/rcu.c base/slab.c base/mem.c base/stat.c
 * sanitize: address thread */
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/invariant.h"
#include "base/rcu.h"
#include "base/stat.h"
#include "check.h"

#ifdef UPCALL_INVARIANTS
static const bool checked = true;
#else
static const bool checked = false;
#endif

/* Whether a process that does this is stopped for it. */
static bool stops(void (*act)(void))
{
    int status = 0;
    pid_t child = fork();

    CHECK(child >= 0);
    if (!child) {
        if (!freopen("/dev/null", "w", stderr))
            _exit(1);
        act();
        _exit(0);
    }
    CHECK(waitpid(child, &status, 0) == child);
    return !WIFEXITED(status) || WEXITSTATUS(status);
}

static int evaluated;

static bool evaluate(void)
{
    evaluated++;
    return true;
}

static void no_such_reason(void)
{
    struct stat_counters *stat = calloc(2, sizeof *stat); /* What is written lies in the second. */

    if (stat)
        stat_drop(stat, DROP_COUNT, 1);
    free(stat);
}

static void reason(void)
{
    struct stat_counters *stat = calloc(1, sizeof *stat);

    if (stat)
        stat_drop(stat, DROP_COUNT - 1, 1);
    free(stat);
}

static pthread_mutex_t control = PTHREAD_MUTEX_INITIALIZER;
static struct rcu *rcu;

static void reclaim(void)
{
    rcu_reclaim(rcu);
}

static void reclaim_held(void)
{
    pthread_mutex_lock(&control);
    rcu_reclaim(rcu);
    pthread_mutex_unlock(&control);
}

static void *hold(void *arg)
{
    (void)arg;
    pthread_mutex_lock(&control);
    return NULL;
}

/* Another thread holds it: that does not help. */
static void reclaim_held_elsewhere(void)
{
    pthread_t thread;

    if (pthread_create(&thread, NULL, hold, NULL))
        _exit(0);
    pthread_join(thread, NULL);
    rcu_reclaim(rcu);
}

int main(void)
{
    INVARIANT(evaluate());
    CHECK(evaluated == checked);
    CHECK(stops(no_such_reason) == checked);
    CHECK(!stops(reason));
    rcu = rcu_create();
    CHECK(rcu);
    CHECK(!stops(reclaim)); /* Nothing guards it yet. */
    rcu_guard(rcu, &control);
    CHECK(stops(reclaim) == checked);
    CHECK(stops(reclaim_held_elsewhere) == checked);
    CHECK(!stops(reclaim_held));
    rcu_guard(rcu, NULL);
    rcu_destroy(rcu);
    return 0;
}
