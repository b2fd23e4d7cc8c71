/* SPDX-License-Identifier: Apache-2.0
 * ct_model.h - connection tracking by the plainest way, to judge c/ct by: connections in a list that is looked through, packets as
 * structures, no bytes.  Written from what Open vSwitch 3.1.0 was seen to do; where c/ct is meant to do something else, a comment says so.
 *
 * IPv4 only, no helpers.  Times are whole seconds apart, so that deadlines are exact. */
#ifndef UPCALL_CT_MODEL_H
#define UPCALL_CT_MODEL_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "ct_model_list.h"

/* --- A packet of a connection ----------------------------------------------------------------- */

static inline void model_deadline(const struct model *m, struct model_conn *c, enum ct_timeout timeout)
{
    c->expires = m->now + model_seconds(m, c->policy, timeout) * UINT64_C(1000);
}

static inline enum model_update model_update_other(const struct model *m, struct model_conn *c, bool reply)
{
    enum { NOTHING, AGAIN, ANSWERED };

    if (c->key.proto == 1) {
        c->progress = reply ? ANSWERED : c->progress;
        model_deadline(m, c, c->progress == ANSWERED ? CT_ICMP_REPLY : CT_ICMP_FIRST);
    } else {
        c->progress = reply || c->progress == ANSWERED ? ANSWERED : AGAIN;
        model_deadline(m, c, c->progress == ANSWERED ? CT_UDP_MULTIPLE : CT_UDP_SINGLE);
    }
    return c->progress == ANSWERED ? MODEL_VALID : MODEL_VALID_NEW;
}

/* The state of a packet; whether it begins a new connection instead. */
static inline bool model_apply(struct model *m, struct model_packet *p, int i, bool reply)
{
    struct model_conn *c = &m->conns[i];
    enum ct_timeout timeout = CT_TIMEOUTS;
    enum model_update result;

    if (p->error) {
        p->state |= CT_STATE_REL | (reply ? CT_STATE_REPLY : 0);
        return false;
    }
    result = c->key.proto == 6 ? model_tcp_update(&c->tcp, &p->tcp, reply, m->no_seq_check, &timeout) : model_update_other(m, c, reply);
    if (timeout != CT_TIMEOUTS)
        model_deadline(m, c, timeout);
    if (result == MODEL_VALID)
        p->state = (p->state & ~CT_STATE_NEW) | CT_STATE_EST | (reply ? CT_STATE_REPLY : 0);
    else if (result == MODEL_VALID_NEW)
        p->state |= CT_STATE_NEW;
    else if (result == MODEL_INVALID)
        p->state = CT_STATE_INVALID;
    else
        model_remove(m, i);
    return result == MODEL_REUSE;
}

/* One end of a tuple, addresses and, where there are some, ports. */
static inline void model_set_end(struct model_tuple *t, const struct model_tuple *from, bool source)
{
    const bool ports = t->proto == 6 || t->proto == 17;

    *(source ? &t->src : &t->dst) = source ? from->src : from->dst;
    if (ports)
        *(source ? &t->sport : &t->dport) = source ? from->sport : from->dport;
}

static inline void model_translate(const struct ct_request *r, struct model_packet *p, const struct model_conn *c, bool reply)
{
    const bool source = c->snat != reply;
    struct model_tuple after, inside;

    if (!(r->flags & CT_NAT) || !(c->snat || c->dnat) || (p->state & (CT_STATE_SNAT | CT_STATE_DNAT) && p->zone == r->zone))
        return;
    p->state &= ~(CT_STATE_SNAT | CT_STATE_DNAT);
    p->state |= source ? CT_STATE_SNAT : CT_STATE_DNAT;
    after = model_turned(reply ? &c->key : &c->answer);
    inside = model_turned(&after);
    if (p->error) /* The packet inside went the other way; of that outside only the end that changes does. */
        model_set_end(&p->about, &inside, !source);
    model_set_end(&p->t, &after, source);
    if (c->dnat) /* Its source port may have been moved. */
        model_set_end(p->error ? &p->about : &p->t, p->error ? &inside : &after, p->error ? source : !source);
}

/* --- A packet of none ------------------------------------------------------------------------- */

static inline bool model_may_begin(const struct model_packet *p)
{
    const uint8_t type = (uint8_t)(p->t.dport >> 8);

    if (p->t.proto == 6)
        return model_tcp_may_begin(p->tcp.flags);
    return p->t.proto != 1 || type == 8 || type == 13 || type == 15;
}

static inline bool model_is_free(const struct model *m, const struct model_conn *c)
{
    bool reply;

    return model_find(m, &c->answer, c->zone, &reply) == MODEL_NONE;
}

/* Moves a port through a range, from where it is, until the answers' tuple is free. */
static inline bool model_move(const struct model *m, struct model_conn *c, uint16_t *port, uint32_t min, uint32_t max)
{
    const uint32_t first = *port;

    for (uint32_t tries = 0; tries < 128 && tries <= max - min; tries++) {
        if (model_is_free(m, c))
            return true;
        *port = (uint16_t)(*port < min || *port >= max ? min : *port + 1u);
    }
    *port = (uint16_t)first;
    return false;
}

/* Requests have one address or none, and one port or none: a range's place is nobody's business but c/ct's. */
static inline bool model_choose(const struct model *m, const struct ct_request *r, struct model_conn *c)
{
    const bool source = r->flags & CT_NAT_SRC, ports = r->flags & CT_NAT_PORTS;
    const uint16_t own = c->key.sport;
    uint32_t addr;

    memcpy(&addr, r->min_addr, 4);
    addr = __builtin_bswap32(addr);
    if (r->family && addr)
        *(source ? &c->answer.dst : &c->answer.src) = addr;
    c->snat = source;
    c->dnat = !source;
    if (c->key.proto != 6 && c->key.proto != 17)
        return model_is_free(m, c);
    if (ports) {
        *(source ? &c->answer.dport : &c->answer.sport) = r->min_port;
        if (model_is_free(m, c))
            return true;
        if (source)
            return false;
    }
    if (own < 512)
        return model_move(m, c, &c->answer.dport, 1, 511);
    return own < 1024 ? model_move(m, c, &c->answer.dport, 600, 1023) : model_move(m, c, &c->answer.dport, 1024, 65535);
}

static inline int model_store(struct model *m, const struct ct_request *r, const struct model_packet *p, const struct model_tuple *t)
{
    struct model_conn *c = &m->conns[m->n];
    int limit = m->limits[r->zone].there ? r->zone : m->limits[3].there ? 3 : MODEL_NONE;

    if (model_stored(m) >= m->max || m->n == MODEL_CONNS)
        return MODEL_NONE;
    if (limit != MODEL_NONE && m->limits[limit].count >= m->limits[limit].limit)
        return MODEL_NONE;
    *c = (struct model_conn){ .there = true, .key = *t, .answer = model_turned(t), .zone = r->zone, .policy = r->policy, .limit = limit };
    if (r->flags & (CT_NAT_SRC | CT_NAT_DST) ? !model_choose(m, r, c) : !model_is_free(m, c))
        return MODEL_NONE; /* As c/ct has it where the answers' tuple is another connection's; Open vSwitch stores both. */
    if (c->key.proto == 6)
        model_tcp_begin(&c->tcp, &p->tcp);
    model_deadline(m, c, c->key.proto == 6 ? CT_TCP_SYN_SENT : c->key.proto == 1 ? CT_ICMP_FIRST : CT_UDP_FIRST);
    if (limit != MODEL_NONE) {
        m->limits[limit].count++;
        c->limit_serial = m->limits[limit].serial;
    }
    return m->n++;
}

static inline int model_begin(struct model *m, const struct ct_request *r, struct model_packet *p, const struct model_tuple *t)
{
    int i = MODEL_NONE;

    if (!model_may_begin(p)) {
        p->state = CT_STATE_INVALID;
        return MODEL_NONE;
    }
    p->state = CT_STATE_NEW;
    if (r->flags & CT_COMMIT)
        i = model_store(m, r, p, t);
    if (i != MODEL_NONE)
        model_translate(r, p, &m->conns[i], false);
    return i;
}

/* --- One `ct` --------------------------------------------------------------------------------- */

static inline uint64_t model_bits(const uint8_t bytes[16])
{
    uint64_t x;

    memcpy(&x, bytes, 8);
    return x;
}

static inline void model_marks(struct model *m, const struct ct_request *r, struct model_packet *p, int i)
{
    struct model_conn *c = i == MODEL_NONE ? NULL : &m->conns[i];

    p->zone = r->zone;
    p->mark = 0;
    p->label = 0;
    if (!c)
        return;
    if (r->flags & CT_MARK)
        c->mark = r->mark | (c->mark & ~r->mark_mask);
    if (r->flags & CT_LABEL)
        c->label = model_bits(r->label) | (c->label & ~model_bits(r->label_mask));
    p->mark = c->mark;
    p->label = c->label;
}

/* A packet whose addresses were changed in this zone is found by what would answer it, and taken for one of that tuple from then on. */
static inline int model_look(struct model *m, const struct ct_request *r, const struct model_packet *p, struct model_tuple *t, bool *reply)
{
    if (p->state & (CT_STATE_SNAT | CT_STATE_DNAT)) {
        const struct model_tuple turned = model_turned(t);
        const int i = model_find(m, &turned, r->zone, reply);

        if (i != MODEL_NONE) {
            *reply = !*reply;
            *t = *reply ? m->conns[i].answer : m->conns[i].key;
            return i;
        }
    }
    return model_find(m, t, r->zone, reply);
}

/* By the tuple that a packet carries whose addresses were changed, where it is to be neither translated nor found by what it has now. */
static inline int model_look_back(const struct model *m, const struct ct_request *r, const struct model_packet *p)
{
    struct model_tuple t = p->tuple;
    bool reply;

    if (r->flags & CT_NAT || !(p->state & (CT_STATE_SNAT | CT_STATE_DNAT)) || !p->has_tuple)
        return MODEL_NONE;
    if (t.proto == 1) {
        if (p->error || p->t.proto != 1)
            return MODEL_NONE;
        t.sport = p->t.sport;
    }
    return model_find(m, &t, r->zone, &reply); /* Whichever way it goes, it counts as one of those who asked. */
}

static inline void model_ct(struct model *m, const struct ct_request *r, struct model_packet *p)
{
    struct model_tuple t = p->error ? model_turned(&p->about) : p->t;
    bool reply = false, begins;
    int i;

    if (p->conn != MODEL_NONE && m->conns[p->conn].there && m->conns[p->conn].zone == r->zone && !(r->flags & CT_FORCE)) {
        /* Known already, and counted. */
        model_translate(r, p, &m->conns[p->conn], p->reply);
        model_marks(m, r, p, p->conn);
        if (r->flags & CT_NAT)
            p->conn = MODEL_NONE;
        return;
    }
    if (p->bad) {
        p->state = CT_STATE_INVALID | CT_STATE_TRACKED;
        p->has_tuple = false;
        p->conn = MODEL_NONE;
        model_marks(m, r, p, MODEL_NONE);
        return;
    }
    if (p->zone != r->zone)
        p->state = 0;
    i = model_look(m, r, p, &t, &reply);
    if (i != MODEL_NONE && reply && r->flags & CT_FORCE) {
        model_remove(m, i);
        i = MODEL_NONE;
        reply = false;
    }
    begins = i == MODEL_NONE && !p->error;
    if (i != MODEL_NONE) {
        begins = model_apply(m, p, i, reply);
        if (!begins)
            model_translate(r, p, &m->conns[i], reply);
    } else if ((i = model_look_back(m, r, p)) != MODEL_NONE) {
        begins = model_apply(m, p, i, false);
    } else if (p->error) {
        p->state = CT_STATE_INVALID;
    }
    if (begins) {
        i = model_begin(m, r, p, &t);
        reply = false;
    }
    p->state |= CT_STATE_TRACKED;
    p->has_tuple = true;
    p->tuple = i == MODEL_NONE ? t : m->conns[i].key;
    p->conn = r->flags & CT_NAT ? MODEL_NONE : i;
    p->reply = reply;
    model_marks(m, r, p, i);
}

#endif
