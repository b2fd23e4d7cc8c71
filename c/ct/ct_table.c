/* SPDX-License-Identifier: Apache-2.0
 * ct_table.c - the hash table of connections and the pool of their records (ct_int.h).
 *
 * A shard's array is only ever replaced by one of twice the size, and arrays are cut from an
 * arena and never used again: readers may go on in an old one, and all old ones together are
 * smaller than the newest.  An entry stays where it is until it is taken out, so a reader cannot
 * miss one that is being moved. */
#include <errno.h>

#include "ct/ct_alg_int.h"
#include "ct/ct_event_int.h"
#include "ct/ct_table.h"

#define FIRST_BITS 1u                /* A shard starts with two buckets. */

/* Whether a record has this key in one of its directions. */
static inline bool has_key(const struct ct_conn *conn, const struct ct_key *key, uint8_t *reply)
{
    if (ct_key_equal(&conn->key, key)) {
        *reply = 0;
        return true;
    }
    if (ct_key_equal(&conn->reply, key)) {
        *reply = 1;
        return true;
    }
    return false;
}

uint32_t ct_find(const struct ct *ct, const struct ct_key *key, uint32_t hash, uint64_t now, uint8_t *reply)
{
    const uintptr_t word = atomic_load_explicit(&ct->shards[ct_shard_of(hash)], memory_order_acquire);
    uint32_t mask, at;
    const struct ct_bucket *array = ct_array_of(word, &mask);

    if (!word)
        return CT_NONE;
    at = hash & mask;
    for (uint32_t tries = 0; tries <= mask; tries++, at = (at + 1) & mask) {
        for (uint32_t found = ct_matches(&array[at], hash); found; found &= found - 1) {
            const uint32_t id = ct_entry_id(&array[at], (uint32_t)__builtin_ctz(found) / 2);

            /* An entry that is being taken out reads as none. */
            if (id != CT_NONE && ct_alive(&ct->conns[id], now) && has_key(&ct->conns[id], key, reply))
                return id;
        }
        if (!atomic_load_explicit(&array[at].overflow, memory_order_acquire))
            break;
    }
    return CT_NONE;
}

void ct_bury(struct ct *ct, struct ct_thread *thread, const struct ct_key *key, uint32_t hash, uint64_t now)
{
    const uintptr_t word = atomic_load_explicit(&ct->shards[ct_shard_of(hash)], memory_order_acquire);
    uint32_t mask, at;
    uint8_t reply;
    const struct ct_bucket *array = ct_array_of(word, &mask);

    if (!word)
        return;
    at = hash & mask;
    for (uint32_t tries = 0; tries <= mask; tries++, at = (at + 1) & mask) {
        for (uint32_t found = ct_matches(&array[at], hash); found; found &= found - 1) {
            const uint32_t id = ct_entry_id(&array[at], (uint32_t)__builtin_ctz(found) / 2);

            if (id != CT_NONE && !ct_alive(&ct->conns[id], now) && has_key(&ct->conns[id], key, &reply))
                ct_kill(ct, thread, id);
        }
        if (!atomic_load_explicit(&array[at].overflow, memory_order_acquire))
            break;
    }
}

/* Puts an entry into an array that has room for it.  Under the shard's lock, or the array is not
 * published. */
static void place(struct ct_bucket *array, uint32_t mask, uint64_t entry)
{
    for (uint32_t at = (uint32_t)entry & mask;; at = (at + 1) & mask) {
        for (unsigned int i = 0; i < CT_SLOTS; i++) {
            if (!atomic_load_explicit(&array[at].entries[i], memory_order_relaxed)) {
                atomic_store_explicit(&array[at].entries[i], entry, memory_order_release);
                return;
            }
        }
        /* Before the entry is there, so that who looks for it goes on. */
        atomic_fetch_add_explicit(&array[at].overflow, 1, memory_order_release);
    }
}

static void displace(struct ct_bucket *array, uint32_t mask, uint64_t entry)
{
    for (uint32_t at = (uint32_t)entry & mask;; at = (at + 1) & mask) {
        for (unsigned int i = 0; i < CT_SLOTS; i++) {
            if (atomic_load_explicit(&array[at].entries[i], memory_order_relaxed) == entry) {
                atomic_store_explicit(&array[at].entries[i], 0, memory_order_release);
                return;
            }
        }
        atomic_fetch_sub_explicit(&array[at].overflow, 1, memory_order_release);
    }
}

/* Makes room for two more entries in a shard; false: there is none.  Under its lock. */
static bool make_room(struct ct *ct, uint32_t shard)
{
    const uintptr_t word = atomic_load_explicit(&ct->shards[shard], memory_order_relaxed);
    uint32_t mask, bits = word ? (uint32_t)(word & 63) + 1 : FIRST_BITS;
    struct ct_bucket *old = ct_array_of(word, &mask), *array;
    uint64_t size, at;

    if (word && ct->writers[shard].count + 2 <= (mask + 1) * CT_SLOTS / 4 * 3)
        return true;
    size = sizeof *array << bits;
    at = atomic_fetch_add_explicit(&ct->arena_used, size, memory_order_relaxed);
    if (at + size > ct->arena_size) {
        atomic_fetch_sub_explicit(&ct->arena_used, size, memory_order_relaxed);
        return word && ct->writers[shard].count + 2 <= (mask + 1) * CT_SLOTS;
    }
    array = (struct ct_bucket *)(ct->arena + at);
    for (uint32_t i = 0; word && i <= mask; i++) {
        for (unsigned int k = 0; k < CT_SLOTS; k++) {
            uint64_t entry = atomic_load_explicit(&old[i].entries[k], memory_order_relaxed);

            if (entry)
                place(array, (1u << bits) - 1, entry);
        }
    }
    atomic_store_explicit(&ct->shards[shard], (uintptr_t)array | bits, memory_order_release);
    return true;
}

static void put_in(struct ct *ct, uint32_t hash, uint32_t id)
{
    const uint32_t shard = ct_shard_of(hash);
    uint32_t mask;
    struct ct_bucket *array = ct_array_of(atomic_load_explicit(&ct->shards[shard], memory_order_relaxed), &mask);

    place(array, mask, hash | (uint64_t)(id + 1) << 32);
    ct->writers[shard].count++;
}

static void take_out(struct ct *ct, uint32_t hash, uint32_t id)
{
    const uint32_t shard = ct_shard_of(hash);
    uint32_t mask;
    struct ct_bucket *array;

    ct_spin(&ct->writers[shard].lock);
    array = ct_array_of(atomic_load_explicit(&ct->shards[shard], memory_order_relaxed), &mask);
    displace(array, mask, hash | (uint64_t)(id + 1) << 32);
    ct->writers[shard].count--;
    ct_unspin(&ct->writers[shard].lock);
}

int ct_insert(struct ct *ct, struct ct_thread *thread, uint32_t id, uint64_t now, uint64_t *place)
{
    struct ct_conn *conn = &ct->conns[id];
    const bool two = conn->hash != conn->reply_hash;
    const uint32_t a = ct_shard_of(conn->hash), b = ct_shard_of(conn->reply_hash);
    const uint32_t low = a < b ? a : b, high = a < b ? b : a;
    uint8_t reply;
    int error = 0;

    ct_spin(&ct->writers[low].lock);
    if (high != low)
        ct_spin(&ct->writers[high].lock);
    if (ct_find(ct, &conn->key, conn->hash, now, &reply) != CT_NONE
        || ct_find(ct, &conn->reply, conn->reply_hash, now, &reply) != CT_NONE) {
        error = EEXIST;
    } else if (!make_room(ct, low) || !make_room(ct, high)) {
        error = ENOSPC;
    } else {
        conn->flags = (uint8_t)(two ? conn->flags | CT_CONN_TWO : conn->flags & ~CT_CONN_TWO);
        ct_ends(&conn->key, conn->ends);
        atomic_fetch_add_explicit(&ct->count, 1, memory_order_relaxed);
        /* After the end of the one that had its tuple, before anything that becomes of it. */
        *place = CT_UNLIKELY(ct_is_heard(ct)) ? ct_event_place(ct, thread) : 0;
        atomic_store_explicit(&conn->life, CT_LIVE, memory_order_release);
        put_in(ct, conn->hash, id);
        if (two)
            put_in(ct, conn->reply_hash, id);
        ct_counted(thread, CT_COUNT_created);
    }
    if (high != low)
        ct_unspin(&ct->writers[high].lock);
    ct_unspin(&ct->writers[low].lock);
    return error;
}

bool ct_kill(struct ct *ct, struct ct_thread *thread, uint32_t id)
{
    struct ct_conn *conn = &ct->conns[id];
    uint8_t live = CT_LIVE;
    uint64_t place;
    uint32_t first;
    bool killed;

    if (CT_UNLIKELY(ct_is_heard(ct))) {
        /* A change is told before the end, or not at all: ct_event_update(). */
        ct_conn_lock(conn);
        place = ct_event_place(ct, thread);
        killed = atomic_compare_exchange_strong_explicit(&conn->life, &live, CT_DEAD, memory_order_acq_rel, memory_order_relaxed);
        ct_conn_unlock(conn);
        ct_event_destroy(ct, thread, place, killed ? conn : NULL);
    } else {
        killed = atomic_compare_exchange_strong_explicit(&conn->life, &live, CT_DEAD, memory_order_acq_rel, memory_order_relaxed);
    }
    if (!killed)
        return false;
    if (CT_UNLIKELY(conn->flags & CT_CONN_HELPER))
        ct_alg_close(ct, conn->alg);
    take_out(ct, conn->hash, id);
    if (conn->flags & CT_CONN_TWO)
        take_out(ct, conn->reply_hash, id);
    ct_limit_leave(ct, conn);
    atomic_fetch_sub_explicit(&ct->count, 1, memory_order_relaxed);
    first = atomic_load_explicit(&ct->limbo, memory_order_relaxed);
    do {
        conn->next = first;
    } while (!atomic_compare_exchange_weak_explicit(&ct->limbo, &first, id + 1, memory_order_release, memory_order_relaxed));
    return true;
}

uint32_t ct_take(struct ct *ct, struct ct_thread *thread)
{
    uint32_t n;

    if (CT_LIKELY(thread->cached))
        return thread->cache[--thread->cached];
    ct_spin(&ct->pool_lock);
    n = ct->pool_n < CT_CACHE / 2 ? ct->pool_n : CT_CACHE / 2;
    ct->pool_n -= n;
    memcpy(thread->cache, ct->pool + ct->pool_n, n * sizeof thread->cache[0]);
    if (!n) {
        const uint32_t fresh = atomic_load_explicit(&ct->fresh, memory_order_relaxed), left = ct->capacity - fresh;

        n = left < CT_CACHE / 2 ? left : CT_CACHE / 2;
        for (uint32_t i = 0; i < n; i++)
            thread->cache[i] = fresh + n - 1 - i; /* The lowest is taken first. */
        atomic_store_explicit(&ct->fresh, fresh + n, memory_order_release);
    }
    ct_unspin(&ct->pool_lock);
    if (!n)
        return CT_NONE;
    thread->cached = n - 1;
    return thread->cache[n - 1];
}

void ct_give(struct ct_thread *thread, uint32_t id)
{
    thread->cache[thread->cached++] = id; /* It came from there, so there is room. */
}
