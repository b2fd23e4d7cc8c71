/* SPDX-License-Identifier: Apache-2.0
 * ct_tcp.c - TCP: states of both sides, and whether a packet lies in the window (ct_int.h).
 *
 * The model is that of pf, as Open vSwitch 3.1.0 has it: each side keeps the highest sequence
 * number that it has sent and that it may send; a packet is of the connection if it ends within
 * what the other side allows, begins no more than a window back and acknowledges no more than a
 * fragment too little or a window too much.  A connection picked up in the middle is believed
 * more.
 *
 * Beyond that model, and as Linux has it, the ends of a half-open connection find out about each
 * other: what a SYN is answered by, and the reset that follows, pass (half_open()). */
#include <rte_mbuf.h>

#include "ct/ct_alg_int.h"
#include "ct/ct_tcp.h"
#include "packet/csum.h"
#include "packet/partial.h"
#include "packet/pkt.h"

static inline struct ct_segment read_packet(const struct ct_packet *p)
{
    return ct_read_segment(p->data + p->l4, p->l4_size);
}

/* Flags that no honest stack sends together. */
static inline bool bad_flags(uint8_t flags)
{
    if (flags & CT_FLAG_SYN)
        return flags & (CT_FLAG_RST | CT_FLAG_FIN) || (!(flags & CT_FLAG_ACK) && flags & (CT_FLAG_PSH | CT_FLAG_URG));
    return !(flags & (CT_FLAG_ACK | CT_FLAG_RST)) || (!(flags & CT_FLAG_ACK) && flags & (CT_FLAG_FIN | CT_FLAG_PSH | CT_FLAG_URG));
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
            return CT_SCALE_KNOWN | (at[2] < CT_SCALE_MAX ? at[2] : CT_SCALE_MAX);
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
    return (flags & (CT_FLAG_SYN | CT_FLAG_ACK)) != (CT_FLAG_SYN | CT_FLAG_ACK);
}

static inline void half(struct ct_conn *conn, uint8_t flags)
{
    atomic_store_explicit(&conn->progress, flags, memory_order_relaxed);
}

void ct_tcp_new(const struct ct_burst *b, const struct ct_packet *p, struct ct_conn *conn)
{
    const struct ct_segment s = read_packet(p);
    struct ct_peer *from = &conn->peers[0], *to = &conn->peers[1];

    *from = (struct ct_peer){ .seq_low = s.seq, .seq_high = s.end + 1, .state = CT_TCP_STATE_SYN_SENT };
    *to = (struct ct_peer){ .seq_high = 1, .window = 1, .state = CT_TCP_STATE_CLOSED };
    from->scale = s.flags & CT_FLAG_SYN ? read_scale(p) : CT_SCALE_UNKNOWN;
    if (!(s.flags & CT_FLAG_SYN))
        to->scale = CT_SCALE_UNKNOWN;
    from->window = (uint16_t)(s.window ? s.window : 1);
    if (from->scale & CT_SCALE_KNOWN)
        from->window = (uint16_t)unscaled(from->window, from->scale & CT_SCALE_SHIFT);
    half(conn, 0);
    ct_refresh(b, conn, CT_TCP_SYN_SENT);
}

/* The first packet of a side.  Answers whether its acknowledgement is to be checked. */
static bool first_of_side(const struct ct_packet *p, struct ct_segment *s, struct ct_peer *from, struct ct_peer *to, uint32_t *shift)
{
    uint32_t allowed;

    if ((s->flags & CT_FLAG_SYN) && (to->scale & CT_SCALE_KNOWN)) {
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
    if (from->seq_high != 1 && ct_distance(allowed, from->seq_high) < 0)
        return true;
    from->seq_high = allowed;
    return false;
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

/* Whether a packet passes, and counts for nothing but what is kept here, because one end may have
 * lost the connection that the other, or this table, takes for alive.
 *
 * A client that has lost it sends a SYN.  A server that has not acknowledges what it knows, the
 * client resets that, and opens again.  The same is seen when this table is the one that has
 * forgotten, or has given the tuple to somebody else: then the acknowledgement is the first that
 * comes back.  Without the reset the SYN would be sent in vain until the server gives up. */
static bool half_open(struct ct_burst *b, struct ct_conn *conn, const struct ct_segment *s, bool reply)
{
    struct ct_peer *client = &conn->peers[0], *server = &conn->peers[1];
    const uint8_t flags = s->flags & (CT_FLAG_SYN | CT_FLAG_ACK | CT_FLAG_RST), known = atomic_load_explicit(&conn->progress, memory_order_relaxed);

    if (!reply && flags == CT_FLAG_SYN && s->end != client->seq_low) { /* Not sent once more. */
        conn->half_syn = s->end;
        half(conn, CT_HALF_SYN);
        return true;
    }
    if (reply && flags == CT_FLAG_ACK && server->state == CT_TCP_STATE_CLOSED && client->state == CT_TCP_STATE_SYN_SENT
        && !(client->scale & CT_SCALE_UNKNOWN) && s->ack != client->seq_low)
        return true; /* The reset passes while the server has sent nothing that counts. */
    if (!known)
        return false;
    if (reply ? known & CT_HALF_SYN && flags == (CT_FLAG_RST | CT_FLAG_ACK) && s->ack == conn->half_syn
              : known & CT_HALF_ACK && flags & CT_FLAG_RST && s->seq == conn->half_ack) {
        client->state = server->state = CT_TCP_STATE_TIME_WAIT;
        half(conn, 0);
        ct_refresh(b, conn, CT_TCP_CLOSE);
        return true;
    }
    return false;
}

/* Takes a packet that is not of the connection for the answer to a SYN that was not either: both
 * ends are new, and this table is not.  Their scales were not kept.  Sequence numbers that a
 * helper has moved cannot begin anew. */
static bool begin_anew(struct ct_conn *conn, const struct ct_segment *s, bool reply)
{
    if (!reply || !(atomic_load_explicit(&conn->progress, memory_order_relaxed) & CT_HALF_SYN) || conn->flags & CT_CONN_HELPER
        || (s->flags & (CT_FLAG_SYN | CT_FLAG_ACK)) != (CT_FLAG_SYN | CT_FLAG_ACK) || s->ack != conn->half_syn)
        return false;
    conn->peers[0] = (struct ct_peer){ .seq_low = s->ack, .seq_high = s->ack, .window = 1, .scale = CT_SCALE_UNKNOWN,
                                       .state = CT_TCP_STATE_SYN_SENT };
    conn->peers[1] = (struct ct_peer){ .seq_high = 1, .window = 1, .scale = CT_SCALE_UNKNOWN, .state = CT_TCP_STATE_CLOSED };
    half(conn, 0);
    return true;
}

/* A packet that lies in the window has come. */
static void half_go_on(struct ct_conn *conn, const struct ct_segment *s, bool reply)
{
    const uint8_t known = atomic_load_explicit(&conn->progress, memory_order_relaxed);

    if (!known)
        return;
    if (!reply) {
        half(conn, 0); /* The client is there. */
    } else if (s->flags & CT_FLAG_ACK) {
        conn->half_ack = s->ack;
        half(conn, known | CT_HALF_ACK);
    }
}

static enum ct_update update(struct ct_burst *b, const struct ct_packet *p, struct ct_conn *conn, struct ct_peer *from, struct ct_peer *to)
{
    struct ct_segment s = read_packet(p);
    const uint32_t seq = s.seq;
    uint32_t shift;
    int32_t skew;
    bool inside, check_ack = true;

    if ((s.flags & (CT_FLAG_SYN | CT_FLAG_ACK)) == CT_FLAG_SYN) {
        if (from->state >= CT_TCP_STATE_FIN_WAIT_2 && to->state >= CT_TCP_STATE_FIN_WAIT_2)
            return CT_REUSE;
        if (from->state <= CT_TCP_STATE_SYN_SENT) {
            from->state = CT_TCP_STATE_SYN_SENT;
            ct_refresh(b, conn, CT_TCP_SYN_SENT);
            return CT_VALID_NEW;
        }
    }
    if (half_open(b, conn, &s, p->reply))
        return CT_VALID;
    shift = ct_shifts(from, to, s.flags);
    if (CT_UNLIKELY(from->state < CT_TCP_STATE_SYN_SENT))
        check_ack = first_of_side(p, &s, from, to, &shift);
    /* Some stacks do not set the number in a RST. */
    if (!(s.flags & CT_FLAG_ACK) || (!s.ack && s.flags & CT_FLAG_RST))
        s.ack = to->seq_low;
    if (s.seq == s.end)
        s.seq = s.end = from->seq_low;
    skew = check_ack ? ct_distance(to->seq_low, s.ack) : 0;
    inside = ct_in_window(&s, from, to, seq, skew, shift);
    if (CT_UNLIKELY(!inside && atomic_load_explicit(&b->ct->no_seq_check, memory_order_relaxed))) {
        ct_counted(b->thread, CT_COUNT_tcp_seq_chk_bypass);
        inside = true;
    }
    if (!inside
        && !((to->state < CT_TCP_STATE_SYN_SENT || to->state >= CT_TCP_STATE_FIN_WAIT_2 || from->state >= CT_TCP_STATE_FIN_WAIT_2)
             && ct_distance(from->seq_high + CT_SKEW_MAX, s.end) >= 0 && ct_distance(s.seq, from->seq_low - CT_SKEW_MAX) >= 0)) {
        if (begin_anew(conn, &s, p->reply))
            return update(b, p, conn, from, to);
        ct_counted(b->thread, CT_COUNT_tcp_seq_chk_failed);
        return CT_INVALID;
    }
    if (inside)
        half_go_on(conn, &s, p->reply);
    ct_advance(&s, from, to, shift);
    if (inside && s.flags & CT_FLAG_ACK) {
        if (to->state == CT_TCP_STATE_SYN_SENT)
            to->state = CT_TCP_STATE_ESTABLISHED;
        else if (to->state == CT_TCP_STATE_CLOSING)
            to->state = CT_TCP_STATE_FIN_WAIT_2;
    }
    if (s.flags & CT_FLAG_RST)
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

/* --- Sequence numbers of TCP where a helper has made a payload longer or shorter --------------
 *
 * As the kernel: a change counts from the byte on where it was made, and a payload that is sent
 * again does not count twice.  Open vSwitch 3.1.0 moves every number, and counts each time. */

#define FLAG_ACK 0x10u
#define OPTION_END 0u
#define OPTION_NOP 1u
#define OPTION_SACK 5u

static uint32_t load(const uint8_t *at)
{
    uint32_t x;

    memcpy(&x, at, sizeof x);
    return CT_BE32(x);
}

static bool is_after(uint32_t a, uint32_t b)
{
    return (int32_t)(a - b) > 0;
}

void ct_seq_set(struct ct_skew *skew, uint32_t seq, int32_t change)
{
    if (skew->before != skew->after && !is_after(seq, skew->at))
        return;
    skew->at = seq;
    skew->before = skew->after;
    skew->after += change;
}

static int32_t change_of(const struct ct_skew *skew, uint32_t seq)
{
    return is_after(seq, skew->at) ? skew->after : skew->before;
}

/* What was moved, back. */
static uint32_t moved_back(const struct ct_skew *skew, uint32_t number)
{
    const bool behind = is_after(number - (uint32_t)skew->before, skew->at);

    return number - (uint32_t)(behind ? skew->after : skew->before);
}

/* Writes a number at any byte of the TCP header. */
static void set(const struct ct_packet *p, uint32_t at, uint32_t number)
{
    uint8_t *l4 = p->data + p->l4, before[6] = { 0 }, after[6] = { 0 };
    const uint32_t odd = at & 1;

    memcpy(before + odd, l4 + at, 4);
    number = CT_BE32(number);
    memcpy(after + odd, &number, 4);
    memcpy(l4 + at, &number, 4);
    if (!partial_is_at(p->m, p->l4)) /* The header is not in the pseudo header's sum. */
        csum_update(l4 + 16, csum_change(before, after, 6));
}

static void move_sack(const struct ct_packet *p, const struct ct_skew *other)
{
    const uint8_t *l4 = p->data + p->l4;
    const uint32_t end = (l4[12] >> 4) * 4u;
    uint32_t at = 20;

    while (at + 2 <= end && l4[at] != OPTION_END) {
        const uint32_t size = l4[at] == OPTION_NOP ? 1 : l4[at + 1];

        if (size == 0 || size > end - at || (l4[at] != OPTION_NOP && size < 2))
            return;
        for (uint32_t edge = at + 2; l4[at] == OPTION_SACK && edge + 4 <= at + size; edge += 4)
            set(p, edge, moved_back(other, load(l4 + edge)));
        at += size;
    }
}

void ct_seq_move_ack(const struct ct_packet *p, const struct ct_skew *other)
{
    const uint8_t *l4 = p->data + p->l4;

    if (!(other->before | other->after) || !(l4[13] & FLAG_ACK))
        return;
    set(p, 8, moved_back(other, load(l4 + 8)));
    move_sack(p, other);
}

void ct_seq_move(const struct ct_packet *p, const struct ct_skew *own)
{
    const uint32_t seq = load(p->data + p->l4 + 4);

    if (own->before | own->after)
        set(p, 4, seq + (uint32_t)change_of(own, seq));
}
