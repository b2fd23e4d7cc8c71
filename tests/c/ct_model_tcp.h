/* SPDX-License-Identifier: Apache-2.0
 * ct_model_tcp.h - TCP of ct_model.h: what either side has said, and whether a segment may be of it. */
#ifndef UPCALL_CT_MODEL_TCP_H
#define UPCALL_CT_MODEL_TCP_H

#include <stdbool.h>
#include <stdint.h>

#include "ct/ct.h"

enum model_update { MODEL_VALID, MODEL_VALID_NEW, MODEL_INVALID, MODEL_REUSE };

#define MODEL_FIN 0x01u
#define MODEL_SYN 0x02u
#define MODEL_RST 0x04u
#define MODEL_PSH 0x08u
#define MODEL_ACK 0x10u
#define MODEL_URG 0x20u

struct model_segment {
    unsigned int flags;
    uint32_t seq, ack, window, payload;
    int scale;                       /* Of a SYN's option; -1: it has none. */
};

enum model_scaling { MODEL_NO_SCALE, MODEL_SCALED, MODEL_UNKNOWN_SCALE };

/* Numbers of the states are those of dumps. */
enum { MODEL_CLOSED = 0, MODEL_SENT = 2, MODEL_ESTABLISHED = 4, MODEL_CLOSING = 7, MODEL_FIN_WAIT_2 = 9, MODEL_TIME_WAIT = 10 };

struct model_side {
    uint32_t low, high;              /* What it has sent up to; what it may send up to. */
    uint32_t window;                 /* The largest, as the header had it. */
    enum model_scaling scaling;
    int scale, state;
};

struct model_tcp {
    struct model_side sides[2];
    /* Not of Open vSwitch, but as Linux has it: an end may have lost the connection. */
    bool has_half_syn, has_half_ack;
    uint32_t half_syn, half_ack;
};

static inline bool model_tcp_bad(unsigned int flags)
{
    const bool syn = flags & MODEL_SYN, ack = flags & MODEL_ACK, rst = flags & MODEL_RST, fin = flags & MODEL_FIN;

    if (syn && (rst || fin))
        return true;
    return (!syn && !ack && !rst) || (!ack && (fin || flags & (MODEL_PSH | MODEL_URG)));
}

static inline bool model_tcp_may_begin(unsigned int flags)
{
    return !model_tcp_bad(flags) && !(flags & MODEL_SYN && flags & MODEL_ACK);
}

/* A scale of n needs windows rounded up, or they would be smaller than they are. */
static inline uint32_t model_scaled_down(uint32_t window, int scale)
{
    return (window + (1u << scale) - 1) >> scale;
}

static inline uint32_t model_end(const struct model_segment *s)
{
    return s->seq + s->payload + !!(s->flags & MODEL_SYN) + !!(s->flags & MODEL_FIN);
}

static inline void model_tcp_begin(struct model_tcp *tcp, const struct model_segment *s)
{
    struct model_side *a = &tcp->sides[0], *b = &tcp->sides[1];

    *tcp = (struct model_tcp){ .has_half_syn = false };
    a->low = s->seq;
    a->high = model_end(s) + 1;
    a->window = s->window ? s->window : 1;
    a->state = MODEL_SENT;
    b->high = b->window = 1;
    if (!(s->flags & MODEL_SYN)) {
        a->scaling = b->scaling = MODEL_UNKNOWN_SCALE;
    } else if (s->scale >= 0) {
        a->scaling = MODEL_SCALED;
        a->scale = s->scale < 14 ? s->scale : 14;
        a->window = model_scaled_down(a->window, a->scale);
    }
}

static inline int32_t model_after(uint32_t a, uint32_t b)
{
    return (int32_t)(a - b);
}

static inline enum ct_timeout model_tcp_timeout(const struct model_side *a, const struct model_side *b)
{
    const int low = a->state < b->state ? a->state : b->state, high = a->state < b->state ? b->state : a->state;

    if (low >= MODEL_FIN_WAIT_2)
        return CT_TCP_CLOSE;
    if (low >= MODEL_CLOSING)
        return CT_TCP_TIME_WAIT;
    if (low < MODEL_ESTABLISHED)
        return CT_TCP_SYN_RECV;
    return high >= MODEL_CLOSING ? CT_TCP_FIN_WAIT : CT_TCP_ESTABLISHED;
}

/* Of what Open vSwitch does not have.  Whether the segment passes for that, and counts for nothing else. */
static inline bool model_half_open(struct model_tcp *tcp, const struct model_segment *s, bool reply, enum ct_timeout *timeout)
{
    struct model_side *client = &tcp->sides[0], *server = &tcp->sides[1];
    const unsigned int flags = s->flags & (MODEL_SYN | MODEL_ACK | MODEL_RST);
    bool reset;

    if (!reply && flags == MODEL_SYN && model_end(s) != client->low) {
        tcp->has_half_syn = true;
        tcp->has_half_ack = false;
        tcp->half_syn = model_end(s);
        return true; /* The client knows nothing of a connection any more. */
    }
    if (reply && flags == MODEL_ACK && server->state == MODEL_CLOSED && client->state == MODEL_SENT
        && client->scaling != MODEL_UNKNOWN_SCALE && s->ack != client->low)
        return true; /* The server has one that this table does not have. */
    if (reply)
        reset = tcp->has_half_syn && flags == (MODEL_RST | MODEL_ACK) && s->ack == tcp->half_syn;
    else
        reset = tcp->has_half_ack && flags & MODEL_RST && s->seq == tcp->half_ack;
    if (!reset)
        return false;
    client->state = server->state = MODEL_TIME_WAIT;
    tcp->has_half_syn = tcp->has_half_ack = false;
    *timeout = CT_TCP_CLOSE;
    return true;
}

/* The first segment of a side.  Whether its acknowledgement counts. */
static inline bool model_first(const struct model_segment *s, struct model_side *from, struct model_side *to, uint32_t *window, int *scale,
                               int *other_scale)
{
    uint32_t most;

    if (s->flags & MODEL_SYN && to->scaling == MODEL_SCALED) {
        if (s->scale >= 0) {
            from->scaling = MODEL_SCALED;
            from->scale = s->scale < 14 ? s->scale : 14;
            *scale = from->scale;
            *other_scale = to->scale;
            *window = model_scaled_down(*window, from->scale);
        } else {
            to->window = (uint16_t)(to->window << to->scale);
            to->scaling = from->scaling = MODEL_NO_SCALE;
            to->scale = from->scale = 0;
        }
    }
    from->low = s->seq;
    from->state = MODEL_SENT;
    if (from->window < *window)
        from->window = *window;
    most = to->window << *other_scale;
    most = model_end(s) + (most ? most : 1);
    if (from->high != 1 && model_after(most, from->high) < 0)
        return true;
    from->high = most;
    return false;
}

/* Whether a segment lies in the window: begins and ends where it may, and acknowledges neither too little nor too much. */
static inline bool model_inside(const struct model_segment *s, const struct model_side *from, const struct model_side *to, uint32_t seq,
                                uint32_t end, int32_t skew, int scale, int other_scale)
{
    if (s->flags & MODEL_RST && (model_after(s->seq, from->low) < -1 || model_after(s->seq, from->low) > 1))
        return false;
    return model_after(from->high, end) >= 0 && model_after(seq, from->low - (to->window << other_scale)) >= 0 && skew >= -67035
           && skew <= (int32_t)(67035u << scale);
}

/* Whether one that does not is let pass all the same, because a side has not begun or has ended. */
static inline bool model_near(const struct model_side *from, const struct model_side *to, uint32_t seq, uint32_t end)
{
    return (to->state < MODEL_SENT || to->state >= MODEL_FIN_WAIT_2 || from->state >= MODEL_FIN_WAIT_2)
           && model_after(from->high + 67035, end) >= 0 && model_after(seq, from->low - 67035) >= 0;
}

static inline enum model_update model_tcp_update(struct model_tcp *tcp, const struct model_segment *s, bool reply, bool unchecked,
                                                 enum ct_timeout *timeout)
{
    struct model_side *from = &tcp->sides[reply], *to = &tcp->sides[!reply];
    uint32_t window = s->window, ack = s->ack, seq = s->seq, end = model_end(s);
    int scale = 0, other_scale = 0;
    bool inside, checks_ack = true;
    int32_t skew;

    if (model_tcp_bad(s->flags))
        return MODEL_INVALID;
    if (s->flags & MODEL_SYN && !(s->flags & MODEL_ACK)) {
        if (from->state >= MODEL_FIN_WAIT_2 && to->state >= MODEL_FIN_WAIT_2)
            return MODEL_REUSE;
        if (from->state <= MODEL_SENT) {
            from->state = MODEL_SENT;
            *timeout = CT_TCP_SYN_SENT;
            return MODEL_VALID_NEW;
        }
    }
    if (model_half_open(tcp, s, reply, timeout))
        return MODEL_VALID;
    if (!(s->flags & MODEL_SYN)) {
        if (from->scaling == MODEL_SCALED && to->scaling == MODEL_SCALED) {
            scale = from->scale;
            other_scale = to->scale;
        } else if (from->scaling == MODEL_UNKNOWN_SCALE && to->scaling == MODEL_UNKNOWN_SCALE) {
            scale = other_scale = 14;
        }
    }
    if (from->state < MODEL_SENT)
        checks_ack = model_first(s, from, to, &window, &scale, &other_scale);
    if (!(s->flags & MODEL_ACK) || (!ack && s->flags & MODEL_RST))
        ack = to->low;
    if (seq == end)
        seq = end = from->low;
    skew = checks_ack ? model_after(to->low, ack) : 0;
    inside = unchecked || model_inside(s, from, to, seq, end, skew, scale, other_scale);
    if (!inside && !model_near(from, to, seq, end)) {
        if (!reply || !tcp->has_half_syn || (s->flags & (MODEL_SYN | MODEL_ACK)) != (MODEL_SYN | MODEL_ACK) || ack != tcp->half_syn)
            return MODEL_INVALID;
        /* Not of Open vSwitch: both ends have begun anew, and this table has not. */
        *tcp = (struct model_tcp){ .sides = { { .low = ack, .high = ack, .window = 1, .scaling = MODEL_UNKNOWN_SCALE, .state = MODEL_SENT },
                                              { .high = 1, .window = 1, .scaling = MODEL_UNKNOWN_SCALE } } };
        return model_tcp_update(tcp, s, reply, unchecked, timeout);
    }
    if (inside && !reply)
        tcp->has_half_syn = tcp->has_half_ack = false;
    if (inside && reply && tcp->has_half_syn && s->flags & MODEL_ACK) {
        tcp->has_half_ack = true;
        tcp->half_ack = ack;
    }
    if (from->window < window)
        from->window = window;
    if (model_after(end, from->low) > 0)
        from->low = end;
    if (model_after(ack + (window << scale), to->high) >= 0)
        to->high = ack + (window << scale ? window << scale : 1);
    if (s->flags & MODEL_FIN && from->state < MODEL_CLOSING)
        from->state = MODEL_CLOSING;
    if (inside && s->flags & MODEL_ACK && (to->state == MODEL_SENT || to->state == MODEL_CLOSING))
        to->state = to->state == MODEL_SENT ? MODEL_ESTABLISHED : MODEL_FIN_WAIT_2;
    if (s->flags & MODEL_RST)
        from->state = to->state = MODEL_TIME_WAIT;
    if (inside)
        *timeout = model_tcp_timeout(from, to);
    return MODEL_VALID;
}

#endif
