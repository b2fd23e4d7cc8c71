/* SPDX-License-Identifier: Apache-2.0
 * ct_tcp.c - TCP: states of both sides, and whether a packet lies in the window (ct_int.h).
 *
 * The model is that of pf, as Open vSwitch 3.1.0 has it: each side keeps the highest sequence
 * number that it has sent and that it may send; a packet is of the connection if it ends within
 * what the other side allows, begins no more than a window back and acknowledges no more than a
 * fragment too little or a window too much.  A connection picked up in the middle is believed
 * more. */
#include <rte_mbuf.h>

#include "ct/ct_int.h"
#include "ct/ct_tcp.h"

#define FLAG_FIN 0x01u
#define FLAG_SYN 0x02u
#define FLAG_RST 0x04u
#define FLAG_PSH 0x08u
#define FLAG_ACK 0x10u
#define FLAG_URG 0x20u

/* Bytes of an acknowledgement too old: a datagram and a bit. */
#define SKEW_MAX 67035
#define SCALE_MAX 14u

/* What of a packet counts. */
struct segment {
    uint32_t seq, ack, end;          /* `end`: behind the last byte, SYN and FIN being one each. */
    uint32_t window;
    uint8_t flags;
};

static inline int32_t distance(uint32_t a, uint32_t b)
{
    return (int32_t)(a - b);
}

static inline uint32_t load_be32(const uint8_t *at)
{
    uint32_t x;

    memcpy(&x, at, sizeof x);
    return CT_BE32(x);
}

static inline struct segment read_segment(const struct ct_packet *p)
{
    const uint8_t *tcp = p->data + p->l4;
    struct segment s = { .seq = load_be32(tcp + 4), .ack = load_be32(tcp + 8), .flags = tcp[13] & 0x3f };

    s.window = (uint32_t)tcp[14] << 8 | tcp[15];
    s.end = s.seq + p->l4_size - (tcp[12] >> 4) * 4u + !!(s.flags & FLAG_SYN) + (s.flags & FLAG_FIN);
    return s;
}

/* Flags that no honest stack sends together. */
static inline bool bad_flags(uint8_t flags)
{
    if (flags & FLAG_SYN)
        return flags & (FLAG_RST | FLAG_FIN) || (!(flags & FLAG_ACK) && flags & (FLAG_PSH | FLAG_URG));
    return !(flags & (FLAG_ACK | FLAG_RST)) || (!(flags & FLAG_ACK) && flags & (FLAG_FIN | FLAG_PSH | FLAG_URG));
}

/* The window scale that a SYN asks for; 0: none. */
static uint8_t read_scale(const struct ct_packet *p)
{
    const uint8_t *tcp = p->data + p->l4, *at = tcp + 20, *end = tcp + (tcp[12] >> 4) * 4;

    while (end - at >= 3) {
        if (*at == 0)
            break;
        if (*at == 1) {
            at++;
        } else if (*at == 3) {
            return CT_SCALE_KNOWN | (at[2] < SCALE_MAX ? at[2] : SCALE_MAX);
        } else {
            at += at[1] < 2 ? 2 : at[1];
        }
    }
    return 0;
}

static inline uint32_t unscaled(uint32_t window, uint32_t shift)
{
    return (window + (1u << shift) - 1) >> shift;
}

bool ct_tcp_valid_new(struct ct_burst *b, const struct ct_packet *p)
{
    const uint8_t flags = p->data[p->l4 + 13] & 0x3f;

    if (bad_flags(flags)) {
        ct_counted(b->thread, CT_COUNT_invalid_tcp_flags);
        return false;
    }
    /* A SYN that answers one nobody saw.  Any other packet may be of a connection older than
     * this table. */
    return (flags & (FLAG_SYN | FLAG_ACK)) != (FLAG_SYN | FLAG_ACK);
}

void ct_tcp_new(const struct ct_burst *b, const struct ct_packet *p, struct ct_conn *conn)
{
    const struct segment s = read_segment(p);
    struct ct_peer *from = &conn->peers[0], *to = &conn->peers[1];

    *from = (struct ct_peer){ .seq_low = s.seq, .seq_high = s.end + 1, .state = CT_TCP_STATE_SYN_SENT };
    *to = (struct ct_peer){ .seq_high = 1, .window = 1, .state = CT_TCP_STATE_CLOSED };
    from->scale = s.flags & FLAG_SYN ? read_scale(p) : CT_SCALE_UNKNOWN;
    if (!(s.flags & FLAG_SYN))
        to->scale = CT_SCALE_UNKNOWN;
    from->window = (uint16_t)(s.window ? s.window : 1);
    if (from->scale & CT_SCALE_KNOWN)
        from->window = (uint16_t)unscaled(from->window, from->scale & CT_SCALE_SHIFT);
    ct_refresh(b, conn, CT_TCP_SYN_SENT);
}

/* The shifts that apply to windows of this packet's sender (low byte) and of the other side
 * (high byte). */
static inline uint32_t shifts(const struct ct_peer *from, const struct ct_peer *to, uint8_t flags)
{
    if (flags & FLAG_SYN)
        return 0;
    if (from->scale & to->scale & CT_SCALE_KNOWN)
        return (from->scale & CT_SCALE_SHIFT) | (to->scale & CT_SCALE_SHIFT) << 8;
    return from->scale & to->scale & CT_SCALE_UNKNOWN ? SCALE_MAX | SCALE_MAX << 8 : 0;
}

/* The first packet of a side.  Answers whether its acknowledgement is to be checked. */
static bool first_of_side(const struct ct_packet *p, struct segment *s, struct ct_peer *from, struct ct_peer *to, uint32_t *shift)
{
    uint32_t allowed;

    if ((s->flags & FLAG_SYN) && (to->scale & CT_SCALE_KNOWN)) {
        from->scale = read_scale(p);
        if (from->scale & CT_SCALE_KNOWN) {
            *shift = (from->scale & CT_SCALE_SHIFT) | (to->scale & CT_SCALE_SHIFT) << 8;
            s->window = unscaled(s->window, from->scale & CT_SCALE_SHIFT);
        } else { /* Then the other side may not scale either. */
            to->window = (uint16_t)((uint32_t)to->window << (to->scale & CT_SCALE_SHIFT));
            to->scale = 0;
        }
    }
    from->seq_low = s->seq;
    from->state = CT_TCP_STATE_SYN_SENT;
    allowed = (uint32_t)to->window << (*shift >> 8);
    allowed = s->end + (allowed ? allowed : 1);
    if (from->window < s->window)
        from->window = (uint16_t)s->window;
    if (from->seq_high != 1 && distance(allowed, from->seq_high) < 0)
        return true;
    from->seq_high = allowed;
    return false;
}

/* What a packet that counts changes of both sides' windows. */
static inline void advance(const struct segment *s, struct ct_peer *from, struct ct_peer *to, uint32_t shift)
{
    const uint32_t window = s->window << (shift & 0xff);

    if (from->window < s->window)
        from->window = (uint16_t)s->window;
    if (distance(s->end, from->seq_low) > 0)
        from->seq_low = s->end;
    if (distance(s->ack + window, to->seq_high) >= 0)
        to->seq_high = s->ack + (window ? window : 1);
    if (s->flags & FLAG_FIN && from->state < CT_TCP_STATE_CLOSING)
        from->state = CT_TCP_STATE_CLOSING;
}

static inline enum ct_timeout timeout_of(const struct ct_peer *a, const struct ct_peer *b)
{
    const uint8_t low = a->state < b->state ? a->state : b->state, high = a->state < b->state ? b->state : a->state;

    if (CT_LIKELY(low == CT_TCP_STATE_ESTABLISHED && high == CT_TCP_STATE_ESTABLISHED))
        return CT_TCP_ESTABLISHED;
    if (low >= CT_TCP_STATE_FIN_WAIT_2)
        return CT_TCP_CLOSE;
    if (low >= CT_TCP_STATE_CLOSING)
        return CT_TCP_TIME_WAIT;
    if (low < CT_TCP_STATE_ESTABLISHED)
        return CT_TCP_SYN_RECV;
    return high >= CT_TCP_STATE_CLOSING ? CT_TCP_FIN_WAIT : CT_TCP_ESTABLISHED;
}

/* Whether a packet lies in the window.  `seq` is where it really begins, s->seq where it is
 * taken to. */
static inline bool in_window(const struct segment *s, const struct ct_peer *from, const struct ct_peer *to, uint32_t seq, int32_t skew,
                             uint32_t shift)
{
    return distance(from->seq_high, s->end) >= 0 && distance(s->seq, from->seq_low - ((uint32_t)to->window << (shift >> 8))) >= 0
           && skew >= -SKEW_MAX && skew <= (int32_t)((uint32_t)SKEW_MAX << (shift & 0xff))
           && (!(s->flags & FLAG_RST) || (seq - from->seq_low + 1) <= 2);
}

static enum ct_update update(struct ct_burst *b, const struct ct_packet *p, struct ct_conn *conn, struct ct_peer *from, struct ct_peer *to)
{
    struct segment s = read_segment(p);
    const uint32_t seq = s.seq;
    uint32_t shift;
    int32_t skew;
    bool inside, check_ack = true;

    if ((s.flags & (FLAG_SYN | FLAG_ACK)) == FLAG_SYN) {
        if (from->state >= CT_TCP_STATE_FIN_WAIT_2 && to->state >= CT_TCP_STATE_FIN_WAIT_2)
            return CT_REUSE;
        if (from->state <= CT_TCP_STATE_SYN_SENT) {
            from->state = CT_TCP_STATE_SYN_SENT;
            ct_refresh(b, conn, CT_TCP_SYN_SENT);
            return CT_VALID_NEW;
        }
    }
    shift = shifts(from, to, s.flags);
    if (CT_UNLIKELY(from->state < CT_TCP_STATE_SYN_SENT))
        check_ack = first_of_side(p, &s, from, to, &shift);
    /* Some stacks do not set the number in a RST. */
    if (!(s.flags & FLAG_ACK) || (!s.ack && s.flags & FLAG_RST))
        s.ack = to->seq_low;
    if (s.seq == s.end)
        s.seq = s.end = from->seq_low;
    skew = check_ack ? distance(to->seq_low, s.ack) : 0;
    inside = in_window(&s, from, to, seq, skew, shift);
    if (CT_UNLIKELY(!inside && atomic_load_explicit(&b->ct->no_seq_check, memory_order_relaxed))) {
        ct_counted(b->thread, CT_COUNT_tcp_seq_chk_bypass);
        inside = true;
    }
    if (!inside
        && !((to->state < CT_TCP_STATE_SYN_SENT || to->state >= CT_TCP_STATE_FIN_WAIT_2 || from->state >= CT_TCP_STATE_FIN_WAIT_2)
             && distance(from->seq_high + SKEW_MAX, s.end) >= 0 && distance(s.seq, from->seq_low - SKEW_MAX) >= 0)) {
        ct_counted(b->thread, CT_COUNT_tcp_seq_chk_failed);
        return CT_INVALID;
    }
    advance(&s, from, to, shift);
    if (inside && s.flags & FLAG_ACK) {
        if (to->state == CT_TCP_STATE_SYN_SENT)
            to->state = CT_TCP_STATE_ESTABLISHED;
        else if (to->state == CT_TCP_STATE_CLOSING)
            to->state = CT_TCP_STATE_FIN_WAIT_2;
    }
    if (s.flags & FLAG_RST)
        from->state = to->state = CT_TCP_STATE_TIME_WAIT;
    if (inside)
        ct_refresh(b, conn, timeout_of(from, to));
    return CT_VALID;
}

enum ct_update ct_tcp_update(struct ct_burst *b, const struct ct_packet *p, struct ct_conn *conn)
{
    enum ct_update result;

    if (CT_UNLIKELY(bad_flags(p->data[p->l4 + 13] & 0x3f))) {
        ct_counted(b->thread, CT_COUNT_invalid_tcp_flags);
        return CT_INVALID;
    }
    ct_conn_lock(conn);
    result = update(b, p, conn, &conn->peers[p->reply], &conn->peers[!p->reply]);
    ct_conn_unlock(conn);
    return result;
}
