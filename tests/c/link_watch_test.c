/* SPDX-License-Identifier: Apache-2.0
 * sanitize: address thread
 * link: link/link_watch.c base/error.c
 *
 * While one object is attended to, which may take long, others come and go; one that is taken away
 * is attended to no more, and its removal waits for what is under way. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <unistd.h>

#include "check.h"
#include "link/link_watch.h"

struct object {
    _Atomic uint32_t entered, left;
    _Atomic bool slow;
};

static _Atomic bool go, removed;

static void attend(void *arg)
{
    struct object *object = arg;

    atomic_fetch_add(&object->entered, 1);
    while (atomic_load(&object->slow) && !atomic_load(&go))
        usleep(1000);
    atomic_fetch_add(&object->left, 1);
}

static void *take_away(void *object)
{
    link_watch_remove(object);
    atomic_store(&removed, true);
    return NULL;
}

static void until(_Atomic uint32_t *count, uint32_t n)
{
    while (atomic_load(count) < n)
        usleep(1000);
}

int main(void)
{
    struct object slow = { .slow = true }, other = { 0 };
    pthread_t thread;
    uint32_t seen;

    alarm(120); /* Instead of waiting for ever. */
    CHECK(!link_watch_add(&slow, attend));
    until(&slow.entered, 1);
    for (int i = 0; i < 100; i++) {
        CHECK(!link_watch_add(&other, attend));
        link_watch_remove(&other);
    }
    CHECK(!atomic_load(&other.entered));
    CHECK(!link_watch_add(&other, attend));
    CHECK(!pthread_create(&thread, NULL, take_away, &slow));
    usleep(100000);
    CHECK(!atomic_load(&removed));
    atomic_store(&go, true);
    pthread_join(thread, NULL);
    CHECK(atomic_load(&slow.left) == atomic_load(&slow.entered));
    seen = atomic_load(&slow.entered);
    until(&other.left, atomic_load(&other.left) + 2); /* The list is whole. */
    CHECK(atomic_load(&slow.entered) == seen);
    link_watch_remove(&other);
    link_watch_remove(&other); /* It is gone: nothing happens. */
    /* The thread ended, and runs again for the next. */
    CHECK(!link_watch_add(&other, attend));
    until(&other.left, atomic_load(&other.left) + 1);
    link_watch_remove(&other);
    return failures != 0;
}
