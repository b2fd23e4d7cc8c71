/* SPDX-License-Identifier: Apache-2.0
 * ct_int.h - records, table and the steps of a packet, for the files of ct/ (ct.h).
 *
 * Threads: as ct.h says; each function below says what must be held. */
#ifndef UPCALL_CT_INT_H
#define UPCALL_CT_INT_H

#include <pthread.h>
#include <rte_pause.h>
#include <stdatomic.h>
#include <string.h>

#include "base/hash.h"
#include "ct/ct.h"
#include "packet/pkt.h"

#define CT_SHARD_BITS 10
#define CT_SHARDS (1u << CT_SHARD_BITS)
#define CT_SLOTS 7u                  /* Entries of a bucket. */
#define CT_CACHE 64u                 /* Free records that a thread keeps at hand. */
#define CT_NONE UINT32_MAX

#define CT_PROTO_ICMP 1
#define CT_PROTO_TCP 6
#define CT_PROTO_UDP 17
#define CT_PROTO_ICMPV6 58

#define CT_LIKELY(x) __builtin_expect(!!(x), 1)
#define CT_UNLIKELY(x) __builtin_expect(!!(x), 0)
#define CT_BE16(x) __builtin_bswap16((uint16_t)(x))
#define CT_BE32(x) __builtin_bswap32(x)

/* States of a record. */
enum ct_life { CT_FREE, CT_LIVE, CT_DEAD };

/* What one side of a TCP connection has sent and may send. */
struct ct_peer {
    uint32_t seq_low;                /* Highest sequence number sent, plus 1. */
    uint32_t seq_high;               /* Highest that the other side allows. */
    uint16_t window;                 /* Largest seen, not scaled. */
    uint8_t scale;                   /* CT_SCALE_*, and the shift. */
    uint8_t state;                   /* CT_TCP_STATE_*. */
};

#define CT_SCALE_SHIFT 0x0fu
#define CT_SCALE_UNKNOWN 0x40u
#define CT_SCALE_KNOWN 0x80u

/* Flags of a record, written before it is published, but CT_HAS_LABEL. */
#define CT_CONN_SNAT 1u
#define CT_CONN_DNAT 2u
/* Answers are found by another hash: two entries in the table. */
#define CT_CONN_TWO 4u
/* A helper reads its payload.  Of which one. */
#define CT_CONN_FTP 8u
#define CT_CONN_TFTP 16u
#define CT_CONN_HELPER (CT_CONN_FTP | CT_CONN_TFTP)
/* A helper expected it: it is related to the connection that `alg` is of. */
#define CT_CONN_CHILD 32u

/* An end of a connection may have lost it (RFC 9293, 3.5.1).  The client has sent a SYN that means
 * nothing to the connection, ending at `half_syn`; ... */
#define CT_HALF_SYN 1u
/* ... the server has acknowledged `half_ack` since. */
#define CT_HALF_ACK 2u

/* The first line is all that an established packet of UDP or TCP in IPv4 needs. */
struct ct_conn {
    uint64_t ends[2];                /* ct_ends() of `key`. */
    struct ct_peer peers[2];         /* By direction of the sender. */
    _Atomic uint64_t expires;        /* Milliseconds. */
    _Atomic uint32_t mark;
    _Atomic uint8_t life;            /* enum ct_life. */
    _Atomic uint8_t lock;
    uint8_t flags;
    _Atomic uint8_t progress;        /* Of UDP, ICMP and the like; of TCP CT_HALF_*. */
    uint32_t policy;
    _Atomic uint16_t has_label;      /* Whether the label is not zero. */
    _Atomic uint16_t event_mask;     /* What of it is told (ct_event.h). */

    struct ct_key key;               /* Original direction. */
    uint8_t label[16];               /* Under the lock. */
    uint32_t hash, reply_hash;

    struct ct_key reply;             /* Of answers, as they arrive. */
    uint32_t limit_slot;             /* Zone of the limit that counts it, plus 1; 0: none. */
    uint32_t limit_serial;
    uint32_t next;                   /* In limbo. */
    uint32_t alg;                    /* With CT_CONN_HELPER or CT_CONN_CHILD (ct_alg_int.h). */
    /* Of TCP, with CT_HALF_SYN and CT_HALF_ACK; under the lock. */
    uint32_t half_syn, half_ack;
} __attribute__((aligned(64)));

_Static_assert(sizeof(struct ct_key) == 40, "five words are compared");
_Static_assert(offsetof(struct ct_conn, key) == 64, "the first line");
_Static_assert(offsetof(struct ct_conn, reply) == 128, "the second line");
_Static_assert(sizeof(struct ct_conn) == 192, "three lines");

/* Entries are hash | number + 1 << 32; 0: empty.  `overflow` counts entries whose home is this
 * bucket or one before it, and that lie behind it: a search ends at a bucket where it is 0. */
struct ct_bucket {
    _Atomic uint32_t overflow;
    uint32_t pad;
    _Atomic uint64_t entries[CT_SLOTS];
} __attribute__((aligned(64)));

_Static_assert(sizeof(struct ct_bucket) == 64, "one line");

/* What writers of a shard need.  Readers use ct->shards[] only. */
struct ct_shard {
    _Atomic uint32_t lock;
    uint32_t count;                  /* Entries.  Under the lock. */
};

/* What one thread owns. */
struct ct_thread {
    uint32_t cached;
    uint32_t cache[CT_CACHE];
    uint64_t random;
    _Atomic uint64_t counters[CT_COUNT_END];
} __attribute__((aligned(64)));

/* What a limit has admitted, and the set that made it, in one word, so that nobody counts for
 * another set. */
struct ct_limit {
    _Atomic uint64_t admitted;       /* Connections | serial << 32; serial 0: there is no limit. */
    _Atomic uint32_t limit;
    uint32_t pad;
};

struct ct_policy {
    uint32_t id;
    uint32_t seconds[CT_TIMEOUTS];
};

/* All policies but 0, by number.  Published by pointer, freed after a grace period. */
struct ct_policies {
    struct ct_policies *older;       /* Of those that wait to be freed. */
    uint32_t n;
    struct ct_policy list[];
};

struct ct {
    struct hash_key hash;
    struct ct_conn *conns;           /* `capacity` of them. */
    _Atomic uintptr_t shards[CT_SHARDS]; /* Array of buckets | log2 of their number; 0: none yet. */
    struct ct_shard writers[CT_SHARDS];
    uint8_t *arena;                  /* Where arrays of buckets are cut from, once and for all. */
    uint64_t arena_size;
    uint32_t capacity;
    _Atomic uint32_t max, sweep_ms;
    _Atomic uint32_t no_seq_check;
    _Atomic(struct ct_policies *) policies;
    struct ct_limit *limits;         /* CT_ZONE_DEFAULT + 1. */
    uint32_t limit_serial;           /* Under `control`. */
    struct rte_rcu_qsbr *qsbr;
    struct ct_helpers *helpers;      /* ct_alg_int.h. */
    struct ct_events *events;        /* Once somebody listened (ct_event_int.h). */
    _Atomic uint32_t heard;          /* Whether somebody listens. */

    /* What creating and removing writes. */
    _Atomic uint32_t count __attribute__((aligned(64)));
    _Atomic uint64_t arena_used;
    _Atomic uint32_t limbo;          /* Number + 1 of the record that came last; 0: none. */
    _Atomic uint32_t pool_lock;
    uint32_t pool_n;                 /* Free records in `pool`; under the lock. */
    _Atomic uint32_t fresh;          /* Records from here on were never used. */
    uint32_t *pool;

    /* The service's. */
    pthread_mutex_t control;
    uint32_t waiting;                /* As limbo: what waits for the grace period of `token`. */
    uint64_t token;
    struct ct_policies *old_policies; /* Under `control`. */
    struct ct_policies *waiting_policies;
    /* Next record to look at; 0 and no sweep under way: CT_NONE. */
    uint32_t sweep_at;
    uint64_t sweep_next;             /* When the next sweep starts. */
    uint32_t touched;                /* Records that have memory. */

    struct ct_thread threads[CT_THREADS + 1]; /* The last one is the service. */
};

/* A packet on its way through ct_run. */
struct ct_packet {
    /* As it came; of an ICMP error the tuple that answers to the packet inside have. */
    struct ct_key key;
    struct rte_mbuf *m;
    uint8_t *data;                   /* First byte of the frame. */
    uint32_t hash;
    uint32_t conn;                   /* Candidate of the first look; CT_NONE. */
    uint16_t l3, l4, l4_size;
    uint16_t inner_l3, inner_l4, inner_size; /* Of an ICMP error. */
    uint8_t good;                    /* The key could be read and the checksums are right. */
    uint8_t fragment;                /* And so not good. */
    uint8_t again;                   /* It knows its connection, and has not been read. */
    uint8_t related;                 /* An ICMP error. */
    uint8_t reply;                   /* The connection's direction that it goes in. */
    uint8_t expected;                /* By a helper, of no connection: its metadata is written. */
    uint8_t translated;              /* By this `ct`. */
};

/* What stays the same for a burst. */
struct ct_burst {
    struct ct *ct;
    struct ct_thread *thread;
    const struct ct_request *request;
    uint64_t now;
    /* Of the packet at hand, if somebody listens: what changed of its connection, and the place of
     * the event that it is new. */
    uint64_t place;
    uint32_t reports;
};

enum ct_update { CT_VALID, CT_VALID_NEW, CT_INVALID, CT_REUSE };

static inline void ct_counted(struct ct_thread *thread, enum ct_counter counter)
{
    _Atomic uint64_t *at = &thread->counters[counter];

    atomic_store_explicit(at, atomic_load_explicit(at, memory_order_relaxed) + 1, memory_order_relaxed);
}

static inline void ct_spin(_Atomic uint32_t *lock)
{
    while (atomic_exchange_explicit(lock, 1, memory_order_acquire))
        while (atomic_load_explicit(lock, memory_order_relaxed))
            rte_pause();
}

static inline void ct_unspin(_Atomic uint32_t *lock)
{
    atomic_store_explicit(lock, 0, memory_order_release);
}

static inline void ct_conn_lock(struct ct_conn *conn)
{
    while (CT_UNLIKELY(atomic_exchange_explicit(&conn->lock, 1, memory_order_acquire)))
        while (atomic_load_explicit(&conn->lock, memory_order_relaxed))
            rte_pause();
}

static inline void ct_conn_unlock(struct ct_conn *conn)
{
    atomic_store_explicit(&conn->lock, 0, memory_order_release);
}

static inline bool ct_key_equal(const struct ct_key *a, const struct ct_key *b)
{
    const uint64_t *x = a->words, *y = b->words;

    return !((x[0] ^ y[0]) | (x[1] ^ y[1]) | (x[2] ^ y[2]) | (x[3] ^ y[3]) | (x[4] ^ y[4]));
}

/* A key of IPv4 in two words; of IPv6 what is left of it does not tell it from others. */
static inline void ct_ends(const struct ct_key *key, uint64_t ends[2])
{
    ends[0] = (uint32_t)key->words[0] | key->words[2] << 32;
    ends[1] = key->words[4];
}

/* Whether a key is another one turned round.  Not of ICMP queries. */
static inline bool ct_key_answers(const struct ct_key *a, const struct ct_key *b)
{
    const uint64_t *x = a->words, *y = b->words, ports = y[4];
    const uint64_t turned = (ports & ~UINT64_C(0xffffffff)) | (ports & 0xffff) << 16 | (ports >> 16 & 0xffff);

    return !((x[0] ^ y[2]) | (x[1] ^ y[3]) | (x[2] ^ y[0]) | (x[3] ^ y[1]) | (x[4] ^ turned));
}

static inline bool ct_is_icmp_query(const struct ct_key *key)
{
    return (key->family == 4 && key->proto == CT_PROTO_ICMP) || (key->family == 6 && key->proto == CT_PROTO_ICMPV6);
}

/* The tuple that flows match on: the original one of the connection. */
static inline void ct_write_tuple(struct key_ct *ct, const struct ct_key *key)
{
    memcpy(ct->orig_src, key->src, 32); /* And dst. */
    ct->orig_proto = key->proto;
    ct->orig_tp_src = key->sport;
    ct->orig_tp_dst = key->dport;
    if (CT_UNLIKELY(ct_is_icmp_query(key))) {
        ct->orig_tp_src = CT_BE16(key->dport & 0xff);
        ct->orig_tp_dst = CT_BE16(key->dport >> 8);
    }
}

static inline bool ct_alive(const struct ct_conn *conn, uint64_t now)
{
    return atomic_load_explicit(&conn->life, memory_order_acquire) == CT_LIVE
           && now < atomic_load_explicit(&conn->expires, memory_order_relaxed);
}

static inline uint32_t ct_random(struct ct_thread *thread)
{
    uint64_t x = thread->random;

    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    thread->random = x;
    return (uint32_t)((x * 0x2545f4914f6cdd1dull) >> 32);
}

/* ct_key.c.  The hash of ICMP and of IPv6. */
uint32_t ct_hash_any(const struct ct *, const struct ct_key *);
void ct_reverse(const struct ct_key *, struct ct_key *);
/* Reads and verifies the packet of `p->m`; p->good says the result. */
void ct_extract(struct ct_burst *, struct ct_packet *p);

/* ct_hash() of a key of IPv4 that is no ICMP, in two words as ct_ends() has them: the same for both
 * directions, the one with the smaller addresses being hashed.  Without a branch, which would be
 * mispredicted for every other packet. */
static inline uint32_t ct_hash_ends(const struct ct *ct, uint64_t addresses, uint64_t rest)
{
    const uint64_t other = addresses << 32 | addresses >> 32;
    const uint32_t ports = (uint32_t)rest, turned = ports << 16 | ports >> 16;
    uint64_t swap = -(uint64_t)(addresses > other);

    if (CT_UNLIKELY(addresses == other))
        swap = -(uint64_t)(ports > turned);
    return hash_words(&ct->hash, addresses ^ ((addresses ^ other) & swap), rest ^ ((ports ^ turned) & swap), 0, 0);
}

static inline uint32_t ct_hash(const struct ct *ct, const struct ct_key *key)
{
    uint64_t ends[2];

    if (CT_UNLIKELY(key->family != 4 || key->proto == CT_PROTO_ICMP))
        return ct_hash_any(ct, key);
    ct_ends(key, ends);
    return ct_hash_ends(ct, ends[0], ends[1]);
}

/* ct_table.c.  The connection alive under a key, CT_NONE; `*reply`: the key is the answers'. */
uint32_t ct_find(const struct ct *, const struct ct_key *, uint32_t hash, uint64_t now, uint8_t *reply);
/* Puts a record in under both its tuples; EEXIST: one of them is taken, ENOSPC. */
int ct_insert(struct ct *, struct ct_thread *, uint32_t id, uint64_t now, uint64_t *place);
/* Ends those under a key that have expired, so that their ends are told before what comes. */
void ct_bury(struct ct *, struct ct_thread *, const struct ct_key *, uint32_t hash, uint64_t now);
/* Ends a connection; false: somebody else did. */
bool ct_kill(struct ct *, struct ct_thread *, uint32_t id);
uint32_t ct_take(struct ct *, struct ct_thread *); /* A free record; CT_NONE. */
void ct_give(struct ct_thread *, uint32_t id);     /* One that was never put in. */

/* ct_begin.c.  A packet of no connection: its state.  Answers the connection that it begins,
 * CT_NONE. */
uint32_t ct_begin(struct ct_burst *, struct ct_packet *);

/* Defaults that the fastest packets need. */
#define CT_SECONDS_ESTABLISHED 86400u
#define CT_SECONDS_MULTIPLE 30u

/* Sets the deadline.  A change of less than a sixty-fourth, and of less than a quarter of a second,
 * is left for a later packet: a record that is only read stays in the caches of all. */
static inline void ct_expire(const struct ct_burst *b, struct ct_conn *conn, uint32_t seconds)
{
    const uint64_t expires = b->now + seconds * UINT64_C(1000);
    const uint64_t later = expires - atomic_load_explicit(&conn->expires, memory_order_relaxed);

    if (later > 250 || later > seconds * 1000 / 64)
        atomic_store_explicit(&conn->expires, expires, memory_order_relaxed);
}

/* ct_timeout.c.  Sets the deadline by a timeout of the connection's policy. */
void ct_refresh(const struct ct_burst *, struct ct_conn *, enum ct_timeout);

/* ct_limit.c.  Counts a new connection of a zone, false: it is one too many.  And the end of
 * one. */
bool ct_limit_admit(struct ct *, struct ct_conn *);
void ct_limit_leave(struct ct *, const struct ct_conn *);

/* The protocols: may it begin a connection; begin it; a packet of one.  The connection's lock is
 * taken inside. */
bool ct_tcp_valid_new(struct ct_burst *, const struct ct_packet *);
void ct_tcp_new(const struct ct_burst *, const struct ct_packet *, struct ct_conn *);
enum ct_update ct_tcp_update(struct ct_burst *, const struct ct_packet *, struct ct_conn *);
bool ct_icmp_valid_new(const struct ct_packet *);
void ct_icmp_new(const struct ct_burst *, struct ct_conn *);
enum ct_update ct_icmp_update(const struct ct_burst *, const struct ct_packet *, struct ct_conn *);
void ct_other_new(const struct ct_burst *, struct ct_conn *);
enum ct_update ct_other_update(const struct ct_burst *, const struct ct_packet *, struct ct_conn *);

/* Whether a connection of UDP has seen both ways, and so only its deadline changes. */
#define CT_BOTH_WAYS 2
#define CT_ANSWERED 1                /* The same of ICMP. */
static inline bool ct_other_goes_on(const struct ct_conn *conn)
{
    return atomic_load_explicit(&conn->progress, memory_order_relaxed) == CT_BOTH_WAYS;
}

/* ct_dump.c. */
void ct_describe(const struct ct *, struct ct_conn *, uint64_t now, struct ct_info *);

/* ct_run.c.  ct_run() by the plain way. */
uint32_t ct_run_all(struct ct_burst *, struct rte_mbuf **, unsigned int n);

/* ct_nat.c.  Chooses the answers' tuple of a record and puts it in; EADDRNOTAVAIL, ENOSPC,
 * EEXIST: the original tuple is taken. */
int ct_nat_insert(struct ct_burst *, uint32_t id);
/* Whether a packet is to be translated: once in a zone, if its connection is. */
static inline bool ct_nat_applies(const struct ct_request *request, const struct ct_packet *p, const struct ct_conn *conn)
{
    const struct pkt_md *md = &pkt_of(p->m)->md;
    const uint8_t before = md->ct_state & (CT_STATE_SNAT | CT_STATE_DNAT);

    return request->flags & CT_NAT && conn->flags & (CT_CONN_SNAT | CT_CONN_DNAT) && !(before && md->ct_zone == request->zone);
}

/* Translates a packet, if it is to be. */
void ct_nat_packet(const struct ct_request *, struct ct_packet *, const struct ct_conn *);

#endif
