/* SPDX-License-Identifier: Apache-2.0 */
#include "base/handle.h"

#include <errno.h>
#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>

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
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct slot *slots;
static uint32_t slot_count;
static uint32_t first_free = SLOTS;

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

int handle_open(enum handle_kind kind, struct handle_object *object, uint64_t *handle)
{
    int error = 0;

    pthread_mutex_lock(&lock);
    if (first_free == SLOTS)
        error = grow();
    if (!error) {
        uint32_t i = first_free;

        first_free = slots[i].next_free;
        slots[i].object = object;
        slots[i].kind = kind;
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
