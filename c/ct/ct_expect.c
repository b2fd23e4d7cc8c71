/* SPDX-License-Identifier: Apache-2.0
 * ct_expect.c - announced connections: put in by helpers, looked for by packets of no connection
 * (ct_alg_int.h). */
#include "ct/ct_alg_int.h"

#define TRIES 32u                    /* Ports to try where one is taken. */
#define PORT_LEAST 1024u

static struct ct_expect *expect_of(struct ct_helpers *h, uint32_t number)
{
    return &h->algs[(number - 1) / CT_EXPECTS].expects[(number - 1) % CT_EXPECTS];
}

static struct ct_expect_bucket *bucket_of(const struct ct *ct, const struct ct_key *key)
{
    struct ct_key any = *key;
    uint32_t data[2 * HASH_CHUNK] = { 0 };

    any.sport = 0;
    memcpy(data, &any, sizeof any);
    data[10] = 2; /* Not the table's hash. */
    return &ct->helpers->buckets[hash_chunks(&ct->hash, data, 2) >> (32 - CT_EXPECT_BITS)];
}

static bool is_of(const struct ct_expect *e, const struct ct_key *key)
{
    return !memcmp(e->key.src, key->src, 32) && e->key.dport == key->dport && e->key.zone == key->zone && e->key.proto == key->proto
           && e->key.family == key->family;
}

/* The number of what is expected under a key, 0.  Under the bucket's lock. */
static uint32_t look(const struct ct *ct, const struct ct_expect_bucket *bucket, const struct ct_key *key, uint64_t now)
{
    struct ct_helpers *h = ct->helpers;
    uint32_t number = atomic_load_explicit(&bucket->first, memory_order_relaxed);

    for (; number; number = expect_of(h, number)->next) {
        const struct ct_expect *e = expect_of(h, number);

        if (is_of(e, key) && now < e->expires && ct_alive(&ct->conns[h->algs[(number - 1) / CT_EXPECTS].conn], now))
            break;
    }
    return number;
}

bool ct_expect_find(struct ct_burst *b, const struct ct_key *key, struct ct_expected *found)
{
    struct ct_helpers *h = b->ct->helpers;
    struct ct_expect_bucket *bucket = bucket_of(b->ct, key);
    uint32_t number;

    if (!atomic_load_explicit(&bucket->first, memory_order_acquire))
        return false;
    ct_spin(&bucket->lock);
    number = look(b->ct, bucket, key, b->now);
    if (number) {
        const struct ct_expect *e = expect_of(h, number);

        found->alg = (number - 1) / CT_EXPECTS;
        found->parent = h->algs[found->alg].key;
        found->mark = e->mark;
        memcpy(found->label, e->label, sizeof found->label);
        memcpy(found->addr, e->addr, sizeof found->addr);
        found->port = e->port;
        found->nat = e->nat;
        /* What is in a bucket keeps its connection's reference. */
        atomic_fetch_add_explicit(&h->algs[found->alg].refs, 1, memory_order_relaxed);
    }
    ct_unspin(&bucket->lock);
    return number;
}

static uint32_t number_of(const struct ct_helpers *h, const struct ct_alg *alg, const struct ct_expect *e)
{
    return (uint32_t)(alg - h->algs) * CT_EXPECTS + (uint32_t)(e - alg->expects) + 1;
}

static void unlink_expect(struct ct *ct, struct ct_alg *alg, struct ct_expect *e)
{
    struct ct_helpers *h = ct->helpers;
    struct ct_expect_bucket *bucket = bucket_of(ct, &e->key);
    const uint32_t number = number_of(h, alg, e);
    uint32_t at, before = 0;

    ct_spin(&bucket->lock);
    for (at = atomic_load_explicit(&bucket->first, memory_order_relaxed); at != number; at = expect_of(h, at)->next)
        before = at;
    if (before)
        expect_of(h, before)->next = e->next;
    else
        atomic_store_explicit(&bucket->first, e->next, memory_order_relaxed);
    ct_unspin(&bucket->lock);
    e->used = 0;
    atomic_fetch_sub_explicit(&h->expected, 1, memory_order_relaxed);
}

void ct_expect_drop(struct ct *ct, struct ct_alg *alg)
{
    for (uint32_t i = 0; i < CT_EXPECTS; i++) {
        if (alg->expects[i].used)
            unlink_expect(ct, alg, &alg->expects[i]);
    }
}

/* The ends of what is announced, as its packets arrive, and what they become. */
static void describe(const struct ct_conn *conn, bool to_client, struct ct_expect *e)
{
    const struct ct_key *own = &conn->key, *answer = &conn->reply;
    const uint8_t nat = conn->flags & (CT_CONN_SNAT | CT_CONN_DNAT);

    memset(&e->key, 0, sizeof e->key);
    e->key.zone = own->zone;
    e->key.proto = own->proto;
    e->key.family = own->family;
    e->nat = !nat ? CT_EXPECT_PLAIN : to_client == !!(nat & CT_CONN_SNAT) ? CT_EXPECT_DNAT : CT_EXPECT_SNAT;
    if (to_client) {
        memcpy(e->key.src, answer->src, 16);
        memcpy(e->key.dst, answer->dst, 16);
        memcpy(e->addr, nat & CT_CONN_DNAT ? own->dst : own->src, 16);
    } else {
        memcpy(e->key.src, own->src, 16);
        memcpy(e->key.dst, own->dst, 16);
        memcpy(e->addr, nat & CT_CONN_DNAT ? answer->src : answer->dst, 16);
    }
}

static void link_expect(struct ct_burst *b, struct ct_alg *alg, struct ct_expect *e, const struct ct_expect *what)
{
    struct ct_helpers *h = b->ct->helpers;
    struct ct_expect_bucket *bucket = bucket_of(b->ct, &what->key);

    ct_spin(&bucket->lock);
    *e = *what;
    e->next = atomic_load_explicit(&bucket->first, memory_order_relaxed);
    atomic_store_explicit(&bucket->first, number_of(h, alg, e), memory_order_release);
    ct_unspin(&bucket->lock);
    atomic_fetch_add_explicit(&h->expected, 1, memory_order_release);
    ct_counted(b->thread, CT_COUNT_expected);
}

/* What a helper announced, as a dump has it.  Under the lock of its ct_alg, so that its parent is
 * not gone. */
static void describe_expected(const struct ct_alg *alg, const struct ct_conn *parent, const struct ct_expect *e, uint64_t now,
                              struct ct_info *info)
{
    *info = (struct ct_info){
        .orig = e->key, .parent = alg->key, .mark = e->mark, .timeout = (uint32_t)((e->expires - now) / 1000),
    };
    memcpy(info->label, e->label, sizeof info->label);
    ct_name_helper(parent, info->helper);
}

uint32_t ct_dump_expected(struct ct *ct, uint32_t *at, int32_t zone, uint64_t now, struct ct_info *infos, uint32_t n)
{
    struct ct_helpers *h = ct->helpers;
    uint32_t found = 0, end;

    ct_spin(&h->lock);
    end = h->fresh;
    ct_unspin(&h->lock);
    if (!ct_expects_any(ct))
        end = 0;
    for (; n - found >= CT_EXPECTS && *at < end; ++*at) {
        struct ct_alg *alg = &h->algs[*at];

        ct_spin(&alg->lock);
        for (uint32_t i = 0; i < CT_EXPECTS; i++) {
            const struct ct_expect *e = &alg->expects[i];

            if (e->used && now < e->expires && (zone < 0 || e->key.zone == zone) && ct_alive(&ct->conns[alg->conn], now))
                describe_expected(alg, &ct->conns[alg->conn], e, now, &infos[found++]);
        }
        ct_unspin(&alg->lock);
    }
    if (*at >= end)
        *at = CT_DUMP_END;
    return found;
}

enum place { PLACE_FREE, PLACE_OWN, PLACE_TAKEN };

/* Whether the same is expected already: then the first stays, and lasts longer. */
static enum place place_of(struct ct_burst *b, struct ct_alg *alg, const struct ct_expect *what)
{
    struct ct_helpers *h = b->ct->helpers;
    struct ct_expect_bucket *bucket = bucket_of(b->ct, &what->key);
    enum place place = PLACE_FREE;
    uint32_t number;

    ct_spin(&bucket->lock);
    number = look(b->ct, bucket, &what->key, b->now);
    if (number) {
        struct ct_expect *e = expect_of(h, number);

        place = &h->algs[(number - 1) / CT_EXPECTS] == alg && e->port == what->port && e->nat == what->nat ? PLACE_OWN : PLACE_TAKEN;
        if (place == PLACE_OWN)
            e->expires = what->expires;
    }
    ct_unspin(&bucket->lock);
    return place;
}

/* The expectation of a connection that a new one may have the place of. */
static struct ct_expect *make_place(struct ct *ct, struct ct_alg *alg)
{
    struct ct_expect *e;

    for (uint32_t i = 0; i < CT_EXPECTS; i++) {
        if (!alg->expects[i].used)
            return &alg->expects[i];
    }
    e = &alg->expects[alg->turn++ % CT_EXPECTS];
    unlink_expect(ct, alg, e);
    return e;
}

bool ct_expect_add(struct ct_burst *b, struct ct_alg *alg, struct ct_conn *conn, bool to_client, uint16_t port, uint16_t *seen)
{
    struct ct_expect what = { .used = 1, .port = port, .expires = b->now + CT_EXPECT_MS };
    enum place place;

    describe(conn, to_client, &what);
    what.key.dport = *seen;
    what.mark = atomic_load_explicit(&conn->mark, memory_order_relaxed);
    ct_conn_lock(conn);
    memcpy(what.label, conn->label, sizeof what.label);
    ct_conn_unlock(conn);
    place = place_of(b, alg, &what);
    /* The port is that of a translated address, which others may be behind.  3.1.0 leads the
     * connection to who was first. */
    for (uint32_t i = 0; place == PLACE_TAKEN && what.nat == CT_EXPECT_DNAT && port == *seen && i < TRIES; i++) {
        const uint16_t next = (uint16_t)(CT_BE16(what.key.dport) + 1);

        what.key.dport = CT_BE16(next < PORT_LEAST ? PORT_LEAST : next);
        place = place_of(b, alg, &what);
    }
    *seen = what.key.dport;
    if (place == PLACE_TAKEN)
        ct_counted(b->thread, CT_COUNT_helper_conflict);
    if (place == PLACE_FREE)
        link_expect(b, alg, make_place(b->ct, alg), &what);
    return place != PLACE_TAKEN;
}
