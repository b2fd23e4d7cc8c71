/* SPDX-License-Identifier: Apache-2.0
 * ct_alg_fixture.h - FTP control connections as text, for tests of helpers (ct_fixture.h). */
#ifndef UPCALL_CT_ALG_FIXTURE_H
#define UPCALL_CT_ALG_FIXTURE_H

#include "ct/ct_alg_int.h"
#include "ct_fixture.h"

#define O "10.1.1.1:1000>10.1.1.2:21"
#define R "10.1.1.2:21>10.1.1.1:1000"

static struct world *w;

static inline void set_addr(uint8_t addr[16], const char *text)
{
    char ends[64];

    snprintf(ends, sizeof ends, "%s:0>0.0.0.0:0", text);
    memcpy(addr, parse_ends(ends).src, 4);
}

/* Port 1 commits with a helper and translates as asked for; the other port has `ct`, with nat if
 * anything is translated. */
static inline void open_world(uint8_t helper, uint32_t nat, const char *addr, uint16_t port)
{
    static struct world world;
    struct ct_request *r;

    w = &world;
    world_open(w);
    r = &w->flows[0][0];
    r->flags = CT_COMMIT | nat;
    r->helper = helper;
    if (nat) {
        r->flags |= CT_NAT;
        r->family = 4;
        set_addr(r->min_addr, addr);
        set_addr(r->max_addr, addr);
        w->flows[1][0].flags = CT_NAT;
    }
    if (port) {
        r->flags |= CT_NAT_PORTS;
        r->min_port = r->max_port = port;
    }
}

/* A segment with a text. */
static inline unsigned int says(int port, const char *ends, uint32_t seq, uint32_t ack, const char *text)
{
    const uint32_t size = (uint32_t)strlen(text);

    tcp_packet(&w->last, ends, ACK | PSH, seq, ack, size, 8192, "", 0);
    memcpy(frame_of(&w->last) + 54, text, size);
    sum_packet(&w->last);
    return arrive(w, port);
}

/* Whether the payload is this, and the checksums are right. */
static inline bool said(const char *text)
{
    return w->last.m.pkt_len == 54 + strlen(text) && !memcmp(frame_of(&w->last) + 54, text, strlen(text)) && sums_right(w);
}

static inline uint32_t number_at(uint32_t at)
{
    const uint8_t *f = frame_of(&w->last) + 34 + at;

    return (uint32_t)f[0] << 24 | (uint32_t)f[1] << 16 | (uint32_t)f[2] << 8 | f[3];
}

#define SEQ number_at(4)
#define ACKED number_at(8)

/* A handshake: the client's numbers go on from 101, the server's from 501. */
static inline void shake(const char *there, const char *back)
{
    tcp(w, 1, there, SYN, 100, 0);
    tcp(w, 2, back, SYN | ACK, 500, 101);
    tcp(w, 1, there, ACK, 101, 501);
}

static inline uint32_t connections(struct ct_info info[8])
{
    return dump(w, info, 8);
}

#endif
