/* SPDX-License-Identifier: Apache-2.0 */
#include "record/record.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define LINE 64u

/* In front of each record: the ticket that may write it, and one more once it has. */
struct slot {
    _Atomic uint64_t turn;
    uint8_t bytes[];
};

struct records {
    _Atomic uint64_t next __attribute__((aligned(LINE))); /* Ticket of the next writer. */
    _Atomic uint64_t lost;
    uint64_t oldest __attribute__((aligned(LINE)));
    uint64_t mask;
    size_t stride;
    uint8_t *slots;
};

static struct slot *slot_of(const struct records *records, uint64_t ticket)
{
    return (struct slot *)(records->slots + (ticket & records->mask) * records->stride);
}

struct records *records_create(uint32_t count, uint32_t size)
{
    struct records *records = aligned_alloc(LINE, sizeof *records);

    if (!records)
        return NULL;
    memset(records, 0, sizeof *records);
    records->mask = count - 1;
    records->stride = (sizeof(struct slot) + size + LINE - 1) / LINE * LINE;
    records->slots = aligned_alloc(LINE, count * records->stride);
    if (!records->slots) {
        free(records);
        return NULL;
    }
    for (uint64_t i = 0; i < count; i++)
        atomic_init(&slot_of(records, i)->turn, i);
    return records;
}

void records_destroy(struct records *records)
{
    if (!records)
        return;
    free(records->slots);
    free(records);
}

void *record_claim(struct records *records, uint64_t *ticket)
{
    uint64_t next = atomic_load_explicit(&records->next, memory_order_relaxed);

    for (;;) {
        struct slot *slot = slot_of(records, next);
        const uint64_t turn = atomic_load_explicit(&slot->turn, memory_order_acquire);

        if (turn == next) {
            if (!atomic_compare_exchange_weak_explicit(&records->next, &next, next + 1, memory_order_relaxed, memory_order_relaxed))
                continue;
            *ticket = next;
            return slot->bytes;
        }
        if (turn < next) { /* Not read yet, since the last time round. */
            atomic_fetch_add_explicit(&records->lost, 1, memory_order_relaxed);
            return NULL;
        }
        next = atomic_load_explicit(&records->next, memory_order_relaxed);
    }
}

void record_publish(struct records *records, uint64_t ticket)
{
    atomic_store_explicit(&slot_of(records, ticket)->turn, ticket + 1, memory_order_release);
}

const void *record_oldest(struct records *records)
{
    struct slot *slot = slot_of(records, records->oldest);

    return atomic_load_explicit(&slot->turn, memory_order_acquire) == records->oldest + 1 ? slot->bytes : NULL;
}

void record_release(struct records *records)
{
    struct slot *slot = slot_of(records, records->oldest);

    atomic_store_explicit(&slot->turn, records->oldest + records->mask + 1, memory_order_release);
    records->oldest++;
}

uint64_t records_lost(const struct records *records)
{
    return atomic_load_explicit(&records->lost, memory_order_relaxed);
}
