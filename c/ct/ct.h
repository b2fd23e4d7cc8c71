/* SPDX-License-Identifier: Apache-2.0
 * ct.h - connection tracking: what the `ct` action does with a burst, and what the control side
 * sees of it.
 *
 * A connection is what one packet has begun and a flow has committed: the tuple of that packet in
 * its zone, the tuple that answers carry (another one where addresses are translated), a deadline,
 * a mark, a label, and what its protocol remembers.  A packet is looked up by its tuple; what is
 * found says whether the packet is new, established, related, an answer or invalid.  Nothing is
 * stored before a commit.
 *
 * Memory.  Everything lies in address space that is reserved at once and touched as it fills:
 * records of 192 bytes, known by a 32-bit number, and a hash table of 1,024 shards, each an array
 * of buckets of one cache line that doubles when it is three quarters full.  A packet never waits
 * for memory: where none is left, the new connection is refused and counted, and old ones come to
 * no harm.
 *
 * Owners.  A record is free, then belongs to the thread that makes it, then (CT_LIVE) to the table.
 * The thread that changes its state from CT_LIVE to CT_DEAD, and no other, takes it out of the
 * table and leaves it in limbo.  The service (ct_service) takes what is in limbo, waits for a grace
 * period of the poll threads and makes it free.  So a reader needs no lock and no reference: what
 * it has found stays what it is until the reader is quiescent.
 *
 * Locks, in this order, and none of them held while another thread is waited for: `control`, of
 * readers that have no RCU number; those of two shards, the lower one first, to put a record in or
 * take it out; a connection's own, to read or write its protocol state (not for UDP and ICMP, which
 * are single words); the pool's, for a copy of 64 numbers.  All but the first are spun on and held
 * for less than a microsecond, or, where a shard doubles, for as long as copying it takes: 4,096
 * words with four million connections.  A packet of an established connection takes its
 * connection's lock or none.
 *
 * Expiry.  A connection whose deadline has passed is not seen by anybody, at once; the service
 * takes it out later.  The service looks at a slice of records at a time, so a sweep of a million
 * delays nothing else.
 *
 * What results a packet gets follows Open vSwitch 3.1.0's userspace datapath, faults of memory and
 * of timing excepted; where it does not, a comment in the source says so.
 *
 * Threads: ct_run by a poll thread, with its own number, or by the control side between ct_enter
 * and ct_leave with number 0.  ct_service by one thread at a time. Everything else by any thread
 * but a poll thread. */
#ifndef UPCALL_CT_H
#define UPCALL_CT_H

#include <stdbool.h>
#include <stdint.h>

struct ct;
struct pkt_md;
struct rte_mbuf;
struct rte_rcu_qsbr;

#define CT_BURST 32
#define CT_THREADS 128               /* Numbers of threads. */
#define CT_CAPACITY (1u << 22)       /* Connections at most, whatever the maximum is set to. */
#define CT_MAX_DEFAULT 3000000u
#define CT_SWEEP_MS_DEFAULT 20000u

/* Bits of ct_state, as in OVS_CS_F_*. */
#define CT_STATE_NEW 0x01u
#define CT_STATE_EST 0x02u
#define CT_STATE_REL 0x04u
#define CT_STATE_REPLY 0x08u
#define CT_STATE_INVALID 0x10u
#define CT_STATE_TRACKED 0x20u
#define CT_STATE_SNAT 0x40u
#define CT_STATE_DNAT 0x80u

/* A connection's tuple in one direction.  Of ICMP queries `sport` is the identifier and `dport`
 * type and code, in the order of the packet's bytes; protocols without ports have zeros. */
struct ct_key {
    union {
        struct {
            uint8_t src[16], dst[16]; /* IPv4 in the first 4 bytes, the rest zero. */
            uint16_t sport, dport;   /* be16. */
            uint16_t zone;
            uint8_t proto;
            uint8_t family;          /* 4 or 6. */
        };
        uint64_t words[5];
    };
};

#define CT_COMMIT 1u
#define CT_FORCE 2u                  /* With CT_COMMIT. */
#define CT_NAT 4u
/* With CT_NAT, as the next five; not together with CT_NAT_DST. */
#define CT_NAT_SRC 8u
#define CT_NAT_DST 16u
#define CT_NAT_PORTS 32u
#define CT_NAT_RANDOM 64u
#define CT_NAT_PERSISTENT 128u
#define CT_MARK 256u
#define CT_LABEL 512u
#define CT_EVENT_MASK 1024u          /* With CT_COMMIT. */

/* What reads the payload of a connection, for connections that it announces. */
enum ct_helper { CT_HELPER_NONE, CT_HELPER_FTP, CT_HELPER_TFTP };

/* One `ct` action.  A request of zeros is `ct` alone. */
struct ct_request {
    uint32_t flags;                  /* CT_*. */
    uint16_t zone;
    uint16_t min_port, max_port;     /* Host order. */
    /* Of the addresses: 4, 6, or 0 if there are none: the packet keeps its own. */
    uint8_t family;
    uint8_t helper;                  /* enum ct_helper; with CT_COMMIT. */
    uint32_t policy;                 /* Timeout policy; 0: the defaults. */
    uint32_t event_mask;             /* Of ct_event.h; without CT_EVENT_MASK all is told. */
    uint32_t mark, mark_mask;
    uint8_t label[16], label_mask[16];
    uint8_t min_addr[16], max_addr[16];
};

/* Timeouts, in the order of CT_DPIF_TP_ATTRs. */
enum ct_timeout {
    CT_TCP_SYN_SENT, CT_TCP_SYN_RECV, CT_TCP_ESTABLISHED, CT_TCP_FIN_WAIT, CT_TCP_CLOSE_WAIT, CT_TCP_LAST_ACK, CT_TCP_TIME_WAIT,
    CT_TCP_CLOSE, CT_TCP_SYN_SENT2, CT_TCP_RETRANSMIT, CT_TCP_UNACK, CT_UDP_FIRST, CT_UDP_SINGLE, CT_UDP_MULTIPLE, CT_ICMP_FIRST,
    CT_ICMP_REPLY, CT_TIMEOUTS
};

/* name, what it counts. */
#define CT_COUNTERS(X)                                                                     \
    X(created, "connections stored")                                                       \
    X(full, "new connections refused: the table is full")                                  \
    X(zone_full, "new connections refused: the limit of their zone is reached")            \
    X(nat_exhausted, "new connections refused: no address or port is free")                \
    X(l3csum_err, "packets with a wrong IPv4 header checksum")                             \
    X(l4csum_err, "packets with a wrong checksum of TCP, UDP or ICMP")                     \
    X(lookup_natted_miss, "translated packets whose connection is gone")                   \
    X(tcp_seq_chk_bypass, "TCP packets out of the window, let pass")                       \
    X(tcp_seq_chk_failed, "TCP packets out of the window")                                 \
    X(invalid_tcp_flags, "TCP packets with flags that do not go together")                 \
    X(expected, "connections that helpers announced")                                      \
    X(expected_came, "announced connections that came, and were stored")                   \
    X(helper_full, "connections without the helper that they ask for: too many have one")  \
    X(helper_refused, "FTP commands that are malformed, or name another host's address")   \
    X(helper_conflict, "announced connections for which no port is free")                  \
    X(helper_no_room, "FTP commands left as they are: the packet cannot grow")

enum ct_counter {
#define X(name, text) CT_COUNT_##name,
    CT_COUNTERS(X)
#undef X
    CT_COUNT_END
};

/* Connections of a datapath.  `qsbr` is the domain that its poll threads report to.  ENOMEM. */
int ct_create(struct rte_rcu_qsbr *qsbr, struct ct **);
void ct_destroy(struct ct *);        /* No thread in ct_run; NULL is fine. */

/* Tracks a burst of at most CT_BURST packets, each with a whole struct pkt, the headers in its
 * first segment: writes ct_state, zone, mark, label and original tuple into it, and translates
 * addresses.  Never drops and keeps none.  `now` is milliseconds of CLOCK_MONOTONIC.  Answers with
 * a bit for each packet that is a fragment, which it leaves as it was. */
uint32_t ct_run(struct ct *, uint32_t thread, const struct ct_request *, struct rte_mbuf **packets, unsigned int n, uint64_t now);
/* Says of a packet that it cannot be tracked, in the request's zone. */
void ct_refuse(const struct ct_request *, struct rte_mbuf *);

/* What became of one packet in ct_track(). */
struct ct_result {
    uint32_t mark;
    uint8_t state;                   /* CT_STATE_*. */
    uint8_t written;                 /* Its struct pkt is complete; the rest means nothing. */
    uint8_t reply;
    uint8_t pad;
    uint32_t conn;
};

/* ct_run() for packets just received, whose struct pkt is not written yet and whose common metadata
 * is `md`: what established connections give is left in `results`, which ct_write() writes into
 * a packet if anybody wants it there.  False, and nothing has been done: there is a packet among
 * them that is no plain IPv4 packet in one segment, or the request is not that simple. */
bool ct_track(struct ct *, uint32_t thread, const struct ct_request *, struct rte_mbuf **packets, unsigned int n, uint64_t now,
              const struct pkt_md *md, struct ct_result *results);
void ct_write(struct ct *, const struct ct_request *, struct rte_mbuf *, const struct pkt_md *md, const struct ct_result *);

/* `ct_clear`: the packet has not been tracked. */
void ct_clear(struct rte_mbuf *);

/* A reader without a number of its own keeps the service from freeing what it reads.  Waits for
 * another such reader, or for the service to hand over a list; not for a poll thread. */
void ct_enter(struct ct *);
void ct_leave(struct ct *);

/* Takes out what has expired and frees what no thread reads any more; a slice of the work.
 * Answers in how many milliseconds it wants to be called again. */
uint32_t ct_service(struct ct *, uint64_t now);

/* A connection as a dump describes it. */
struct ct_info {
    struct ct_key orig, reply, parent; /* parent.family 0: there is none. */
    uint32_t mark;
    uint32_t timeout;                /* Seconds left, rounded down. */
    uint8_t label[16];
    /* TCP only: numbers of Open vSwitch, IP_CT_TCP_FLAG_*. */
    uint8_t tcp_state[2], tcp_wscale[2], tcp_flags[2];
    uint16_t pad;
    char helper[16];
};

/* Which connections: zone < 0 all zones; bits of a mask are those that count. */
struct ct_filter {
    int32_t zone;
    uint32_t mark, mark_mask;
    uint8_t label[16], label_mask[16];
    struct ct_key orig, orig_mask, reply, reply_mask;
};

#define CT_DUMP_END UINT32_MAX

/* Up to `n` connections from position `*at` on, which begins at 0 and is CT_DUMP_END after the
 * last one; looks at a slice of the table, so there may be none before the end.  Takes `now` as
 * ct_run does. */
uint32_t ct_dump(struct ct *, uint32_t *at, const struct ct_filter *, uint64_t now, struct ct_info *, uint32_t n);
/* The same of connections that helpers announced, of a zone or all (< 0), and that may still come:
 * `orig` is their tuple, whose source port is 0 for any; `parent` who announced them; there is no
 * `reply`. */
uint32_t ct_dump_expected(struct ct *, uint32_t *at, int32_t zone, uint64_t now, struct ct_info *, uint32_t n);
/* Forgets what the filter says.  The one with a tuple: ENOENT. */
void ct_flush(struct ct *, const struct ct_filter *, uint64_t now);
int ct_flush_tuple(struct ct *, const struct ct_key *, uint64_t now);
/* Forgets some of what the filter says, for callers that let others in between; `*at` is 0 at
 * first.  Whether there is more to look at. */
bool ct_flush_some(struct ct *, uint32_t *at, const struct ct_filter *, uint64_t now);

uint32_t ct_count(const struct ct *);
uint64_t ct_counter(const struct ct *, enum ct_counter);
uint32_t ct_max(const struct ct *);
void ct_set_max(struct ct *, uint32_t);
bool ct_tcp_seq_check(const struct ct *);
void ct_set_tcp_seq_check(struct ct *, bool);
uint32_t ct_sweep_ms(const struct ct *);
void ct_set_sweep_ms(struct ct *, uint32_t);

/* The limit of zones that have none of their own: one count for all of them. */
#define CT_ZONE_DEFAULT 65536u

/* Limits of connections in a zone.  Connections that were there before do not count. */
void ct_limit_set(struct ct *, uint32_t zone, uint32_t limit);
void ct_limit_delete(struct ct *, uint32_t zone);
/* Whether there is one; `*limit` and `*count` are written in any case. */
bool ct_limit_get(const struct ct *, uint32_t zone, uint32_t *limit, uint32_t *count);

/* Timeout policies, by number; a set replaces the whole.  Number 0 are the defaults, which can
 * be read only.  EINVAL; ENOMEM; ENOENT. */
int ct_policy_set(struct ct *, uint32_t id, const uint32_t seconds[CT_TIMEOUTS]);
int ct_policy_get(struct ct *, uint32_t id, uint32_t seconds[CT_TIMEOUTS]);
int ct_policy_delete(struct ct *, uint32_t id);
/* The smallest number of a policy above `id`; 0: there is none. */
uint32_t ct_policy_next(struct ct *, uint32_t id);

#endif
