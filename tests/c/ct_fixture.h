/* SPDX-License-Identifier: Apache-2.0
 * ct_fixture.h - packets for connection tracking, written as text, and a table to track them in.
 *
 * A packet is `U 10.1.1.1:1000>10.1.1.2:53`: U UDP, T TCP (with flags, numbers and payload size
 * apart), E an echo request, e its answer (the source port is the identifier).  Checksums are
 * right until a test spoils them. */
#ifndef UPCALL_CT_FIXTURE_H
#define UPCALL_CT_FIXTURE_H

#include <rte_mbuf.h>
#include <rte_rcu_qsbr.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "ct/ct.h"
#include "packet/csum.h"
#include "packet/pkt.h"

#define FRAME_ROOM 2048u

#define FIN 0x01
#define SYN 0x02
#define RST 0x04
#define PSH 0x08
#define ACK 0x10
#define URG 0x20

/* A buffer of its own: connection tracking neither frees nor keeps packets. */
struct packet {
    struct rte_mbuf m;
    struct pkt pkt;
    uint8_t room[128 + FRAME_ROOM];
};

static inline void put16(uint8_t *at, uint32_t x)
{
    at[0] = (uint8_t)(x >> 8);
    at[1] = (uint8_t)x;
}

static inline void put32(uint8_t *at, uint32_t x)
{
    put16(at, x >> 16);
    put16(at + 2, x);
}

static inline uint8_t *frame_of(struct packet *p)
{
    return p->room + 128;
}

static inline void packet_init(struct packet *p, uint32_t size)
{
    memset(&p->m, 0, sizeof p->m);
    memset(&p->pkt, 0, sizeof p->pkt);
    p->m.buf_addr = p->room;
    p->m.buf_len = sizeof p->room;
    p->m.data_off = 128;
    p->m.data_len = (uint16_t)size;
    p->m.pkt_len = size;
    p->m.nb_segs = 1;
}

/* Both checksums of an untagged IPv4 frame without options. */
static inline void sum_packet(struct packet *p)
{
    uint8_t *ip = frame_of(p) + 14, *l4 = ip + 20;
    const uint32_t size = p->m.pkt_len - 34;
    uint16_t sum, zero = 0;
    uint8_t *field = ip[9] == 6 ? l4 + 16 : ip[9] == 17 ? l4 + 6 : ip[9] == 1 ? l4 + 2 : NULL;
    uint64_t all;

    memcpy(ip + 10, &zero, 2);
    sum = (uint16_t)~csum_fold(csum_sum(ip, 20));
    memcpy(ip + 10, &sum, 2);
    if (!field)
        return;
    memcpy(field, &zero, 2);
    all = csum_sum(l4, size);
    if (ip[9] != 1)
        all += csum_sum(ip + 12, 8) + __builtin_bswap16((uint16_t)size) + __builtin_bswap16(ip[9]);
    sum = (uint16_t)~csum_fold(all);
    memcpy(field, &sum, 2);
}

struct ends {
    uint8_t src[4], dst[4];
    uint32_t sport, dport;
};

static inline struct ends parse_ends(const char *text)
{
    unsigned int a[10] = { 0 };
    struct ends ends;

    if (sscanf(text, "%u.%u.%u.%u:%u>%u.%u.%u.%u:%u", &a[0], &a[1], &a[2], &a[3], &a[4], &a[5], &a[6], &a[7], &a[8], &a[9]) != 10)
        abort();
    for (int i = 0; i < 4; i++) {
        ends.src[i] = (uint8_t)a[i];
        ends.dst[i] = (uint8_t)a[5 + i];
    }
    ends.sport = a[4];
    ends.dport = a[9];
    return ends;
}

static inline void ip_packet(struct packet *p, const struct ends *e, uint8_t proto, uint32_t l4_size)
{
    uint8_t *f = frame_of(p);

    packet_init(p, 34 + l4_size);
    memset(f, 0, 34 + l4_size);
    memcpy(f, "\x06\xaa\xbb\xcc\xdd\xee\x02\x11\x22\x33\x44\x55\x08\x00", 14);
    f[14] = 0x45;
    put16(f + 16, 20 + l4_size);
    put16(f + 18, 0x1234);
    f[22] = 64;
    f[23] = proto;
    memcpy(f + 26, e->src, 4);
    memcpy(f + 30, e->dst, 4);
    put16(f + 34, e->sport);
    put16(f + 36, e->dport);
}

static inline void udp_packet(struct packet *p, const char *text, uint32_t payload)
{
    struct ends e = parse_ends(text);

    ip_packet(p, &e, 17, 8 + payload);
    put16(frame_of(p) + 38, 8 + payload);
    memcpy(frame_of(p) + 42, "payload8payload8payload8", payload);
    sum_packet(p);
}

static inline void tcp_packet(struct packet *p, const char *text, unsigned int flags, uint32_t seq, uint32_t ack, uint32_t payload, uint32_t window,
                              const char *options, uint32_t options_size)
{
    struct ends e = parse_ends(text);
    uint8_t *t;

    ip_packet(p, &e, 6, 20 + options_size + payload);
    t = frame_of(p) + 34;
    put32(t + 4, seq);
    put32(t + 8, ack);
    t[12] = (uint8_t)((20 + options_size) / 4 << 4);
    t[13] = (uint8_t)flags;
    put16(t + 14, window);
    memcpy(t + 20, options, options_size);
    sum_packet(p);
}

static inline void icmp_packet(struct packet *p, const char *text, uint8_t type, uint8_t code)
{
    struct ends e = parse_ends(text);
    uint32_t id = e.sport;

    ip_packet(p, &e, 1, 16);
    frame_of(p)[34] = type;
    frame_of(p)[35] = code;
    put16(frame_of(p) + 36, 0);
    put16(frame_of(p) + 38, id);
    sum_packet(p);
}

/* An error about a packet, of whose IP packet `size` bytes are inside. */
static inline void error_packet(struct packet *p, const char *text, uint8_t type, uint8_t code, struct packet *about, uint32_t size)
{
    struct ends e = parse_ends(text);

    ip_packet(p, &e, 1, 8 + size);
    memset(frame_of(p) + 34, 0, 8);
    frame_of(p)[34] = type;
    frame_of(p)[35] = code;
    memcpy(frame_of(p) + 42, frame_of(about) + 14, size);
    sum_packet(p);
}

/* One table, one thread, and what either port's flow does with a packet. */
struct world {
    struct ct *ct;
    struct rte_rcu_qsbr *qsbr;
    struct ct_request flows[2][3];
    unsigned int counts[2];
    uint64_t now;
    struct packet last;
};

static inline void world_open(struct world *w)
{
    memset(w, 0, sizeof *w);
    w->qsbr = aligned_alloc(64, (rte_rcu_qsbr_get_memsize(CT_THREADS) + 63) & ~(size_t)63);
    rte_rcu_qsbr_init(w->qsbr, CT_THREADS);
    CHECK(!ct_create(w->qsbr, &w->ct));
    w->now = 1000000;
    w->counts[0] = w->counts[1] = 1;
}

static inline void world_close(struct world *w)
{
    ct_destroy(w->ct);
    free(w->qsbr);
}

/* Lets the packet in `w->last` arrive at a port; answers with its state. */
static inline unsigned int arrive(struct world *w, int port)
{
    struct rte_mbuf *m = &w->last.m;

    for (unsigned int i = 0; i < w->counts[port - 1]; i++)
        ct_run(w->ct, 0, &w->flows[port - 1][i], &m, 1, w->now);
    return w->last.pkt.md.ct_state;
}

static inline unsigned int udp(struct world *w, int port, const char *text)
{
    udp_packet(&w->last, text, 8);
    return arrive(w, port);
}

static inline unsigned int tcp(struct world *w, int port, const char *text, unsigned int flags, uint32_t seq, uint32_t ack)
{
    tcp_packet(&w->last, text, flags, seq, ack, 0, 8192, "", 0);
    return arrive(w, port);
}

static inline unsigned int icmp(struct world *w, int port, const char *text, uint8_t type, uint8_t code)
{
    icmp_packet(&w->last, text, type, code);
    return arrive(w, port);
}

/* The ends of the packet as it is now, as text. */
static inline const char *now_is(struct world *w)
{
    static char text[64];
    const uint8_t *f = frame_of(&w->last);

    snprintf(text, sizeof text, "%u.%u.%u.%u:%u>%u.%u.%u.%u:%u", f[26], f[27], f[28], f[29], f[34] << 8 | f[35], f[30], f[31], f[32], f[33],
             f[36] << 8 | f[37]);
    return text;
}

/* Whether both checksums are right. */
static inline bool sums_right(struct world *w)
{
    struct packet copy = w->last;

    copy.m.buf_addr = copy.room;
    sum_packet(&copy);
    return !memcmp(frame_of(&copy), frame_of(&w->last), w->last.m.pkt_len);
}

static inline uint32_t dump(struct world *w, struct ct_info *info, uint32_t n)
{
    const struct ct_filter all = { .zone = -1 };
    uint32_t at = 0, found = 0;

    while (at != CT_DUMP_END && found < n)
        found += ct_dump(w->ct, &at, &all, w->now, info + found, n - found);
    return found;
}

#define STATE(expected, call)                                                                                    \
    do {                                                                                                         \
        unsigned int got_ = (call);                                                                              \
        if (got_ != (expected)) {                                                                                \
            fprintf(stderr, "%s:%d: state %02x, not %02x: %s\n", __FILE__, __LINE__, got_, (unsigned int)(expected), #call); \
            failures++;                                                                                          \
        }                                                                                                        \
    } while (0)

#define PACKET_IS(w, expected)                                                                                   \
    do {                                                                                                         \
        if (strcmp(now_is(w), expected) || !sums_right(w)) {                                                     \
            fprintf(stderr, "%s:%d: %s%s, not %s\n", __FILE__, __LINE__, now_is(w),                              \
                    sums_right(w) ? "" : " with a wrong checksum", expected);                                    \
            failures++;                                                                                          \
        }                                                                                                        \
    } while (0)

#endif
