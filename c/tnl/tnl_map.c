/* SPDX-License-Identifier: Apache-2.0 */
#include "tnl/tnl_map.h"

#include <errno.h>
#include <stdlib.h>

#include "base/invariant.h"
#include "base/rcu.h"

#define LEAST 16u

struct tnl_item tnl_map_gone;

static struct tnl_slots *slots_new(uint32_t count)
{
    struct tnl_slots *slots = calloc(1, sizeof *slots + count * sizeof slots->items[0]);

    if (slots)
        slots->mask = count - 1;
    return slots;
}

static void free_memory(void *memory, void *unused)
{
    (void)unused;
    free(memory);
}

void tnl_map_free(struct rcu *rcu, void *item)
{
    if (item)
        rcu_defer(rcu, free_memory, item, NULL);
}

static struct tnl_slots *slots_of(const struct tnl_map *map)
{
    return atomic_load_explicit(&((struct tnl_map *)(uintptr_t)map)->slots, memory_order_relaxed);
}

static struct tnl_item *item_at(const struct tnl_slots *slots, uint32_t i)
{
    return atomic_load_explicit(&((struct tnl_slots *)(uintptr_t)slots)->items[i & slots->mask], memory_order_relaxed);
}

int tnl_map_init(struct tnl_map *map)
{
    struct tnl_slots *slots = slots_new(LEAST);

    if (!slots)
        return ENOMEM;
    atomic_init(&map->slots, slots);
    map->n = map->used = 0;
    return 0;
}

void tnl_map_fini(struct tnl_map *map)
{
    struct tnl_slots *slots = slots_of(map);

    for (uint32_t i = 0; slots && i <= slots->mask; i++)
        if (item_at(slots, i) != &tnl_map_gone)
            free(item_at(slots, i));
    free(slots);
    atomic_store_explicit(&map->slots, NULL, memory_order_relaxed);
}

static void place(struct tnl_slots *slots, struct tnl_item *item)
{
    uint32_t i = item->hash;

    while (item_at(slots, i))
        i++;
    atomic_store_explicit(&slots->items[i & slots->mask], item, memory_order_release);
}

/* Keeps a quarter of the slots free, so that every search ends soon. */
static int make_room(struct tnl_map *map, struct rcu *rcu)
{
    struct tnl_slots *old = slots_of(map), *slots;
    uint32_t count = LEAST;

    if (4 * (map->used + 1) <= 3 * (old->mask + 1))
        return 0;
    while (count < 2 * (map->n + 1))
        count *= 2;
    slots = slots_new(count);
    if (!slots)
        return ENOMEM;
    for (uint32_t i = 0; i <= old->mask; i++) {
        struct tnl_item *item = item_at(old, i);

        if (item && item != &tnl_map_gone)
            place(slots, item);
    }
    map->used = map->n;
    atomic_store_explicit(&map->slots, slots, memory_order_release);
    tnl_map_free(rcu, old);
    return 0;
}

int tnl_map_put(struct tnl_map *map, struct rcu *rcu, struct tnl_item *item, struct tnl_item **old)
{
    struct tnl_slots *slots = slots_of(map);
    int error;

    for (uint32_t i = item->hash; (*old = item_at(slots, i)) != NULL; i++) {
        if (*old == &tnl_map_gone || (*old)->hash != item->hash || memcmp(&(*old)->key, &item->key, sizeof item->key))
            continue;
        atomic_store_explicit(&slots->items[i & slots->mask], item, memory_order_release);
        return 0;
    }
    error = make_room(map, rcu);
    if (error)
        return error;
    place(slots_of(map), item);
    map->n++;
    map->used++;
    return 0;
}

void tnl_map_take(struct tnl_map *map, struct tnl_item *item)
{
    struct tnl_slots *slots = slots_of(map);
    uint32_t i = item->hash;

    while (item_at(slots, i) != item)
        i++;
    INVARIANT(map->n);
    atomic_store_explicit(&slots->items[i & slots->mask], &tnl_map_gone, memory_order_release);
    map->n--;
}

struct tnl_item *tnl_map_next(const struct tnl_map *map, uint32_t *at)
{
    const struct tnl_slots *slots = slots_of(map);

    while (*at <= slots->mask) {
        struct tnl_item *item = item_at(slots, (*at)++);

        if (item && item != &tnl_map_gone)
            return item;
    }
    return NULL;
}
