/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "base/handle.h"

#include <errno.h>
#include <pthread.h>
#include <stddef.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/invariant.h"

/* A handle is a slot in its low bits and the slot's generation above: 2^37 generations of 2^16
 * slots stay exact in a JavaScript number. */
#define SLOT_BITS 16
#define SLOTS (1u << SLOT_BITS)

struct slot {
    struct handle_object *object;
    uint64_t generation;     /* Of the next or present use; from 1. */
    enum handle_kind kind;
    uint32_t next_free;
    /* Thread; its number is not used again before its handles are closed. */
    pid_t owner;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct slot *slots;
static uint32_t slot_count;
static uint32_t first_free = SLOTS;

/* Set in every thread that opened a handle, so that end_thread() runs when it ends. */
static pthread_key_t thread_key;
static pthread_once_t thread_once = PTHREAD_ONCE_INIT;
static int (*closers[HANDLE_KINDS])(uint64_t handle);

static int grow(void)
{
    uint32_t count = slot_count ? slot_count * 2 : 64;
    struct slot *larger;

    if (count > SLOTS)
        return ENFILE;
    larger = realloc(slots, count * sizeof *slots);
    if (!larger)
        return ENOMEM;
    slots = larger;
    for (uint32_t i = count; i-- > slot_count;) {
        slots[i] = (struct slot){ .generation = 1, .kind = HANDLE_FREE, .next_free = first_free };
        first_free = i;
    }
    slot_count = count;
    return 0;
}

void handle_closer(enum handle_kind kind, int (*close)(uint64_t handle))
{
    closers[kind] = close;
}

/* A handle of this thread; 0: there is none.  Datapaths only if `datapaths`. */
static uint64_t next_of(pid_t owner, bool datapaths, enum handle_kind *kind)
{
    uint64_t handle = 0;

    pthread_mutex_lock(&lock);
    for (uint32_t i = 0; i < slot_count && !handle; i++) {
        if (slots[i].kind == HANDLE_FREE || slots[i].owner != owner || (slots[i].kind == HANDLE_DP) != datapaths || !closers[slots[i].kind])
            continue;
        *kind = slots[i].kind;
        slots[i].owner = 0; /* Whatever closing it comes to, it is not tried again. */
        handle = slots[i].generation << SLOT_BITS | i;
    }
    pthread_mutex_unlock(&lock);
    return handle;
}

void handle_close_all(void)
{
    const pid_t self = gettid();

    for (int datapaths = 0; datapaths < 2; datapaths++) {
        enum handle_kind kind;
        uint64_t handle;

        while ((handle = next_of(self, datapaths, &kind)) != 0)
            closers[kind](handle);
    }
}

static void end_thread(void *unused)
{
    (void)unused;
    handle_close_all();
}

static void make_key(void)
{
    if (pthread_key_create(&thread_key, end_thread))
        abort(); /* A process has 1024 keys. */
}

int handle_open(enum handle_kind kind, struct handle_object *object, uint64_t *handle)
{
    int error = 0;

    pthread_once(&thread_once, make_key);
    pthread_setspecific(thread_key, &thread_key);
    pthread_mutex_lock(&lock);
    if (first_free == SLOTS)
        error = grow();
    if (!error) {
        uint32_t i = first_free;

        first_free = slots[i].next_free;
        slots[i].object = object;
        slots[i].kind = kind;
        slots[i].owner = gettid();
        *handle = slots[i].generation << SLOT_BITS | i;
    }
    pthread_mutex_unlock(&lock);
    return error;
}

static struct slot *find(uint64_t handle, enum handle_kind kind)
{
    uint32_t i = handle & (SLOTS - 1);

    if (i >= slot_count || slots[i].kind != kind || slots[i].generation != handle >> SLOT_BITS)
        return NULL;
    return &slots[i];
}

struct handle_object *handle_get(uint64_t handle, enum handle_kind kind)
{
    struct handle_object *object = NULL;
    struct slot *slot;

    pthread_mutex_lock(&lock);
    slot = find(handle, kind);
    if (slot) {
        object = slot->object;
        atomic_fetch_add_explicit(&object->references, 1, memory_order_relaxed);
    }
    pthread_mutex_unlock(&lock);
    return object;
}

struct handle_object *handle_close(uint64_t handle, enum handle_kind kind)
{
    struct handle_object *object = NULL;
    struct slot *slot;

    pthread_mutex_lock(&lock);
    slot = find(handle, kind);
    if (slot) {
        object = slot->object;
        slot->object = NULL;
        slot->kind = HANDLE_FREE;
        slot->generation++;
        slot->next_free = first_free;
        first_free = (uint32_t)(slot - slots);
    }
    pthread_mutex_unlock(&lock);
    return object;
}

void handle_put(struct handle_object *object)
{
    INVARIANT(atomic_load_explicit(&object->references, memory_order_relaxed));
    if (atomic_fetch_sub_explicit(&object->references, 1, memory_order_acq_rel) == 1)
        object->release(object);
}
