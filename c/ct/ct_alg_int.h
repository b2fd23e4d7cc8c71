/* SPDX-License-Identifier: Apache-2.0
 * ct_alg_int.h - helpers: connections whose payload announces others, and the announced ones,
 * for the files of ct/ (ct_int.h).
 *
 * FTP and TFTP tell the other side where to connect to.  A connection that was committed with a
 * helper has a `struct ct_alg`; what its payload announces is an expectation, at most
 * CT_EXPECTS of a connection at once, the oldest of which gives way.  An expectation lasts until
 * its time is over or its connection is; it is not used up, as in Open vSwitch.  The connection
 * that it lets in (the child) has the mark and the label that its parent had when it was
 * announced, and keeps them.
 *
 * Memory is reserved with the table: a fixed number of connections can have a helper at a time.
 *
 * Owners.  A connection, each child and a thread that has found an expectation hold a reference to
 * a ct_alg.  A connection and a child give theirs back when no reader can have them any more.  The
 * connection's end (ct_alg_close) unlinks its expectations.
 *
 * Locks: `lock` of a ct_alg, then that of a bucket, or the pool's; all spun on.  They are taken for
 * packets of connections with helpers, and for packets of no connection where something is
 * expected in their bucket.  A bucket is found by a keyed hash.
 *
 * Threads: as ct_run, but ct_alg_close and ct_alg_release, which any may call. */
#ifndef UPCALL_CT_ALG_INT_H
#define UPCALL_CT_ALG_INT_H

#include "ct/ct_int.h"
#include "packet/key.h"

#define CT_ALGS (1u << 16)           /* Connections that have a helper, at most. */
#define CT_EXPECTS 4u                /* Expectations of one. */
#define CT_EXPECT_MS 300000u         /* As in the kernel. */
#define CT_EXPECT_BITS 16

/* How a child is translated, where a `ct` with a nat commits it. */
enum ct_expect_nat { CT_EXPECT_PLAIN, CT_EXPECT_SNAT, CT_EXPECT_DNAT };

struct ct_expect {
    struct ct_key key;               /* Of packets as they arrive; any source port. */
    uint64_t expires;                /* Milliseconds. */
    uint32_t next;                   /* In the bucket: number + 1. */
    uint32_t mark;
    uint8_t label[16];
    uint8_t addr[16];                /* The child's source (destination) once it is translated. */
    uint16_t port;                   /* be16: its destination port then, of CT_EXPECT_DNAT. */
    uint8_t nat;                     /* enum ct_expect_nat. */
    uint8_t used;
};

/* From byte `at` of a direction on, numbers are moved by `after`; up to it, by `before`. */
struct ct_skew {
    uint32_t at;
    int32_t before, after;
};

struct ct_alg {
    struct ct_key key;               /* The connection's. */
    _Atomic uint32_t refs;
    _Atomic uint32_t lock;
    uint32_t conn;                   /* Its number. */
    uint8_t closed, turn;            /* The expectation that gives way next. */
    uint8_t cut_known[2];
    /* By direction: a payload that ended here did not end its line. */
    uint32_t cut[2];
    struct ct_skew skew[2];          /* By direction of the sender. */
    struct ct_expect expects[CT_EXPECTS];
} __attribute__((aligned(64)));

struct ct_expect_bucket {
    _Atomic uint32_t lock;
    _Atomic uint32_t first;          /* Number + 1; 0: nothing. */
};

struct ct_helpers {
    _Atomic uint32_t expected;       /* Expectations in buckets. */
    _Atomic uint32_t lock;
    uint32_t pool_n, fresh;          /* Of `pool` and `algs`; under the lock. */
    uint32_t pool[CT_ALGS];
    struct ct_expect_bucket buckets[1u << CT_EXPECT_BITS];
    struct ct_alg algs[CT_ALGS];
};

/* What a packet was expected as.  Owns a reference. */
struct ct_expected {
    struct ct_key parent;
    uint32_t alg;
    uint32_t mark;
    uint8_t label[16];
    uint8_t addr[16];
    uint16_t port;
    uint8_t nat;
};

static inline bool ct_expects_any(const struct ct *ct)
{
    return atomic_load_explicit(&ct->helpers->expected, memory_order_acquire) != 0;
}

/* The tuple that flows see with packets of a connection: the original one of the connection, or of
 * its parent. */
static inline const struct ct_key *ct_told_key(const struct ct *ct, const struct ct_conn *conn)
{
    return CT_UNLIKELY(conn->flags & CT_CONN_CHILD) ? &ct->helpers->algs[conn->alg].key : &conn->key;
}

/* The name of the helper of a connection that has one, or whose child expects. */
static inline void ct_name_helper(const struct ct_conn *conn, char *name)
{
    memcpy(name, conn->flags & CT_CONN_FTP ? "ftp\0" : "tftp", sizeof "tftp");
}

/* ct_alg.c.  Gives a new connection the helper that its request asks for, if one is left and the
 * protocol is the helper's. */
void ct_alg_attach(struct ct_burst *, uint32_t id);
/* Makes a new connection the child that was expected; the reference is its own if it is stored. */
void ct_alg_adopt(struct ct_burst *, struct ct_conn *, const struct ct_expected *);
void ct_alg_close(struct ct *, uint32_t alg);
void ct_alg_release(struct ct *, uint32_t alg);
/* Writes the metadata of a packet that was expected and has no connection. */
void ct_alg_tell(struct ct_burst *, struct ct_packet *, const struct ct_expected *);
/* A packet of a connection with a helper: before its state is known, and after it was
 * translated. */
void ct_alg_before(struct ct_burst *, struct ct_packet *, uint32_t id);
void ct_alg_after(struct ct_burst *, struct ct_packet *, uint32_t id);

/* ct_expect.c.  Announces a connection to `port` (be16) of one end of `conn`, the client's or the
 * server's, whom the other end knows by port `*seen`.  Where an end is translated and both are the
 * same, another one is chosen if that is taken there.  False: none is free.  Under the lock. */
bool ct_expect_add(struct ct_burst *, struct ct_alg *, struct ct_conn *, bool to_client, uint16_t port, uint16_t *seen);
/* Whether a packet was announced; then it has taken a reference. */
bool ct_expect_find(struct ct_burst *, const struct ct_key *, struct ct_expected *);
void ct_expect_drop(struct ct *, struct ct_alg *); /* All of them.  Under the lock. */

/* ct_ftp.c.  A packet of an FTP control connection, translated: reads commands and answers, and
 * writes other addresses into them.  Under the lock. */
void ct_ftp_packet(struct ct_burst *, struct ct_packet *, struct ct_alg *, struct ct_conn *);

/* ct_tcp.c.  Numbers of a connection whose payload has become longer or shorter.  Under the
 * lock. */
void ct_seq_set(struct ct_skew *, uint32_t seq, int32_t change);
void ct_seq_move_ack(const struct ct_packet *, const struct ct_skew *other);
void ct_seq_move(const struct ct_packet *, const struct ct_skew *own);

#endif
