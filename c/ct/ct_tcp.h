/* SPDX-License-Identifier: Apache-2.0
 * ct_tcp.h - states of TCP, and its window: whether a segment lies in it, and what it changes;
 * inline, because every packet of a connection takes it.
 *
 * Threads: the holder of the connection's lock. */
#ifndef UPCALL_CT_TCP_H
#define UPCALL_CT_TCP_H

#include "ct/ct_int.h"

/* Numbers of Open vSwitch (CT_DPIF_TCPS_*), which dumps give out.  Those that are used: a side has
 * sent nothing, has sent, was answered, has sent FIN, had its FIN answered; RST. */
enum ct_tcp_state {
    CT_TCP_STATE_CLOSED = 0,
    CT_TCP_STATE_SYN_SENT = 2,
    CT_TCP_STATE_ESTABLISHED = 4,
    CT_TCP_STATE_CLOSING = 7,
    CT_TCP_STATE_FIN_WAIT_2 = 9,
    CT_TCP_STATE_TIME_WAIT = 10,
};

#define CT_FLAG_FIN 0x01u
#define CT_FLAG_SYN 0x02u
#define CT_FLAG_RST 0x04u
#define CT_FLAG_PSH 0x08u
#define CT_FLAG_ACK 0x10u
#define CT_FLAG_URG 0x20u

/* Bytes of an acknowledgement too old: a datagram and a bit. */
#define CT_SKEW_MAX 67035
#define CT_SCALE_MAX 14u

/* What of a packet counts. */
struct ct_segment {
    uint32_t seq, ack, end;          /* `end`: behind the last byte, SYN and FIN being one each. */
    uint32_t window;
    uint8_t flags;
};

static inline int32_t ct_distance(uint32_t a, uint32_t b)
{
    return (int32_t)(a - b);
}

static inline uint32_t ct_load_be32(const uint8_t *at)
{
    uint32_t x;

    memcpy(&x, at, sizeof x);
    return CT_BE32(x);
}

/* `size`: bytes of header and payload. */
static inline struct ct_segment ct_read_segment(const uint8_t *tcp, uint32_t size)
{
    struct ct_segment s = { .seq = ct_load_be32(tcp + 4), .ack = ct_load_be32(tcp + 8), .flags = tcp[13] & 0x3f };

    s.window = (uint32_t)tcp[14] << 8 | tcp[15];
    s.end = s.seq + size - (tcp[12] >> 4) * 4u + !!(s.flags & CT_FLAG_SYN) + (s.flags & CT_FLAG_FIN);
    return s;
}

/* The shifts that apply to windows of this packet's sender (low byte) and of the other side
 * (high byte). */
static inline uint32_t ct_shifts(const struct ct_peer *from, const struct ct_peer *to, uint8_t flags)
{
    if (flags & CT_FLAG_SYN)
        return 0;
    if (from->scale & to->scale & CT_SCALE_KNOWN)
        return (from->scale & CT_SCALE_SHIFT) | (to->scale & CT_SCALE_SHIFT) << 8;
    return from->scale & to->scale & CT_SCALE_UNKNOWN ? CT_SCALE_MAX | CT_SCALE_MAX << 8 : 0;
}

/* Whether a packet lies in the window.  `seq` is where it really begins, s->seq where it is
 * taken to. */
static inline bool ct_in_window(const struct ct_segment *s, const struct ct_peer *from, const struct ct_peer *to, uint32_t seq,
                                int32_t skew, uint32_t shift)
{
    return ct_distance(from->seq_high, s->end) >= 0
           && ct_distance(s->seq, from->seq_low - ((uint32_t)to->window << (shift >> 8))) >= 0 && skew >= -CT_SKEW_MAX
           && skew <= (int32_t)((uint32_t)CT_SKEW_MAX << (shift & 0xff))
           && (!(s->flags & CT_FLAG_RST) || (seq - from->seq_low + 1) <= 2);
}

/* What a packet that counts changes of both sides' windows. */
static inline void ct_advance(const struct ct_segment *s, struct ct_peer *from, struct ct_peer *to, uint32_t shift)
{
    const uint32_t window = s->window << (shift & 0xff);

    if (from->window < s->window)
        from->window = (uint16_t)s->window;
    if (ct_distance(s->end, from->seq_low) > 0)
        from->seq_low = s->end;
    if (ct_distance(s->ack + window, to->seq_high) >= 0)
        to->seq_high = s->ack + (window ? window : 1);
    if (s->flags & CT_FLAG_FIN && from->state < CT_TCP_STATE_CLOSING)
        from->state = CT_TCP_STATE_CLOSING;
}

/* Whether a packet with such flags may begin a connection, as most do: one that is not malformed,
 * and no answer to a SYN. */
static inline bool ct_tcp_begins(uint8_t flags)
{
    return flags == CT_FLAG_SYN || (flags & ~CT_FLAG_PSH) == CT_FLAG_ACK;
}

/* A segment that acknowledges and does nothing else, of a connection that is established on both
 * sides: the same as ct_tcp_update().  False, and nothing has been done: it is not such a one. */
static inline bool ct_tcp_goes_on(struct ct_conn *conn, uint8_t reply, const uint8_t *tcp, uint32_t size)
{
    struct ct_peer *from = &conn->peers[reply], *to = &conn->peers[!reply];
    struct ct_segment s = ct_read_segment(tcp, size);
    const uint32_t seq = s.seq;
    bool good = false;
    uint32_t shift;

    if (CT_UNLIKELY((s.flags & ~CT_FLAG_PSH) != CT_FLAG_ACK))
        return false;
    ct_conn_lock(conn);
    if (CT_LIKELY(from->state == CT_TCP_STATE_ESTABLISHED && to->state == CT_TCP_STATE_ESTABLISHED
                  && !atomic_load_explicit(&conn->progress, memory_order_relaxed))) {
        shift = ct_shifts(from, to, s.flags);
        if (s.seq == s.end)
            s.seq = s.end = from->seq_low;
        good = ct_in_window(&s, from, to, seq, ct_distance(to->seq_low, s.ack), shift);
        if (CT_LIKELY(good))
            ct_advance(&s, from, to, shift);
    }
    ct_conn_unlock(conn);
    return good;
}

#endif
