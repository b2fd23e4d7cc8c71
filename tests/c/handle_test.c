/* SPDX-License-Identifier: Apache-2.0
 * link: base/handle.c
 * sanitize: address thread
 *
 * Numbers that stand for objects: stale ones are refused, and those of a thread that ends are
 * closed for it. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/handle.h"
#include "check.h"

struct thing {
    struct handle_object object;
    enum handle_kind kind;
};

static _Atomic uint32_t released;
static enum handle_kind closed[64];
static uint32_t closed_n;

static void release(struct handle_object *object)
{
    atomic_fetch_add(&released, 1);
    free(object);
}

static uint64_t open_one(enum handle_kind kind)
{
    struct thing *thing = calloc(1, sizeof *thing);
    uint64_t handle = 0;

    atomic_init(&thing->object.references, 1);
    thing->object.release = release;
    thing->kind = kind;
    CHECK(!handle_open(kind, &thing->object, &handle));
    return handle;
}

static int close_one(uint64_t handle, enum handle_kind kind)
{
    struct handle_object *object = handle_close(handle, kind);

    if (!object)
        return EBADF;
    closed[closed_n++] = kind;
    handle_put(object);
    return 0;
}

static int close_dp(uint64_t handle)
{
    return close_one(handle, HANDLE_DP);
}

static int close_handler(uint64_t handle)
{
    return close_one(handle, HANDLE_HANDLER);
}

static void *open_some(void *kept)
{
    open_one(HANDLE_DP);
    open_one(HANDLE_HANDLER);
    open_one(HANDLE_DP);
    open_one(HANDLE_HANDLER);
    *(uint64_t *)kept = open_one(HANDLE_JOB); /* Nobody knows how to close it: it stays. */
    return NULL;
}

int main(void)
{
    uint64_t mine, job = 0;
    pthread_t thread;

    handle_closer(HANDLE_DP, close_dp);
    handle_closer(HANDLE_HANDLER, close_handler);
    mine = open_one(HANDLE_DP);
    for (int round = 0; round < 3; round++) {
        closed_n = 0;
        atomic_store(&released, 0);
        CHECK(!pthread_create(&thread, NULL, open_some, &job));
        CHECK(!pthread_join(thread, NULL));
        CHECK(released == 4 && closed_n == 4);
        CHECK(closed[0] == HANDLE_HANDLER && closed[1] == HANDLE_HANDLER && closed[2] == HANDLE_DP && closed[3] == HANDLE_DP);
        CHECK(!close_one(job, HANDLE_JOB) && released == 5);
        CHECK(close_one(job, HANDLE_JOB) == EBADF);
    }
    /* Another thread's end is no end of ours. */
    CHECK(!handle_get(mine, HANDLE_JOB));
    CHECK(!close_dp(mine) && close_dp(mine) == EBADF);
    return failures != 0;
}
