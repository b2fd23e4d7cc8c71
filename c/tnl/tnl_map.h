/* SPDX-License-Identifier: Apache-2.0
 * tnl_map.h - maps from keys of one size to things, read by poll threads without a lock.
 *
 * Open addressing.  A slot points to an item, whose first member is its key, and is written with
 * one store; what has gone leaves a mark that is passed over, and goes when the map is made anew.
 * Maps and items are freed after a grace period.
 *
 * Threads: tnl_map_find() by poll threads; the rest under the control mutex. */
#ifndef UPCALL_TNL_MAP_H
#define UPCALL_TNL_MAP_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/hash.h"

/* 64 bytes without padding, all of them written. */
union tnl_key {
    struct {
        uint32_t port, mark, family, none;
        uint8_t src[16], dst[16], rest[16];
    } hop;
    struct {
        uint32_t listen;         /* struct tnl_listen. */
        uint32_t class;          /* TNL_CLASS_*: which of the following count; the others are 0. */
        uint64_t key;            /* be64. */
        uint8_t local[16], remote[16];
        uint32_t family, none[3];
    } receiver;
    struct {
        uint32_t port, family, vlan, none;
        uint8_t address[16], rest[32];
    } local;
    uint32_t words[2 * HASH_CHUNK];
};
_Static_assert(sizeof(union tnl_key) == 64, "two chunks");

struct tnl_item {
    union tnl_key key;
    uint32_t hash;
};

struct tnl_slots {
    uint32_t mask;               /* Slots less 1. */
    _Atomic(struct tnl_item *) items[];
};

struct tnl_map {
    _Atomic(struct tnl_slots *) slots;
    uint32_t n, used;            /* Items; slots that are not free. */
};

extern struct tnl_item tnl_map_gone;

struct rcu;

int tnl_map_init(struct tnl_map *);              /* ENOMEM. */
/* Frees the slots, and each item; nobody reads them any more. */
void tnl_map_fini(struct tnl_map *);

/* Puts an item, whose hash is set, in place of one with the same key; that one is answered, for the
 * caller to free.  ENOMEM. */
int tnl_map_put(struct tnl_map *, struct rcu *, struct tnl_item *, struct tnl_item **old);
/* Takes an item out that is in the map. */
void tnl_map_take(struct tnl_map *, struct tnl_item *);
/* Frees what malloc() gave, an item say, after a grace period; NULL: nothing. */
void tnl_map_free(struct rcu *, void *item);
/* The first item at a place or behind it, and the next place; NULL: no more. */
struct tnl_item *tnl_map_next(const struct tnl_map *, uint32_t *at);

static inline uint32_t tnl_key_hash(const struct hash_key *seed, const union tnl_key *key)
{
    return hash_chunks(seed, key->words, 2);
}

static inline struct tnl_item *tnl_map_find(const struct tnl_map *map, const union tnl_key *key, uint32_t hash)
{
    const struct tnl_slots *slots = atomic_load_explicit(&((struct tnl_map *)(uintptr_t)map)->slots, memory_order_acquire);

    for (uint32_t i = hash;; i++) {
        struct tnl_item *item = atomic_load_explicit(&((struct tnl_slots *)(uintptr_t)slots)->items[i & slots->mask], memory_order_acquire);

        if (!item)
            return NULL;
        if (item->hash == hash && !memcmp(&item->key, key, sizeof *key) && item != &tnl_map_gone)
            return item;
    }
}

#endif
