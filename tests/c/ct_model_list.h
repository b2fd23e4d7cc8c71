/* SPDX-License-Identifier: Apache-2.0
 * ct_model_list.h - the list of connections of ct_model.h: what is in it, and how it is looked through. */
#ifndef UPCALL_CT_MODEL_LIST_H
#define UPCALL_CT_MODEL_LIST_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "ct/ct.h"
#include "ct_model_tcp.h"

#define MODEL_CONNS 4096
#define MODEL_NONE (-1)

/* Of ICMP `sport` is the identifier, `dport` type and code; of other protocols without ports both are 0.  Host order. */
struct model_tuple {
    uint32_t src, dst;
    uint16_t sport, dport;
    uint8_t proto;
};

struct model_packet {
    struct model_tuple t;            /* As it looks now. */
    bool bad;                        /* A checksum is wrong, or a port 0. */
    bool error;                      /* Of ICMP, about a packet that had `about`. */
    struct model_tuple about;
    struct model_segment tcp;
    /* What it carries. */
    unsigned int state;
    uint16_t zone;
    uint32_t mark;
    uint64_t label;
    bool has_tuple;
    struct model_tuple tuple;
    int conn;                        /* It was found to be of, or MODEL_NONE. */
    bool reply;
};

struct model_conn {
    bool there;
    struct model_tuple key, answer;
    uint16_t zone;
    uint64_t expires;
    uint32_t mark, policy;
    uint64_t label;
    bool snat, dnat;
    int progress;
    struct model_tcp tcp;
    int limit;                       /* Of the limit that admitted it; MODEL_NONE. */
    uint32_t limit_serial;
};

struct model_limit {
    bool there;
    uint32_t limit, count, serial;
};

struct model {
    struct model_conn conns[MODEL_CONNS];
    int n;
    uint64_t now;
    uint32_t max, serial;
    bool no_seq_check;
    struct model_limit limits[4];    /* Of zones 0 to 2, and the default. */
    bool policies[4];                /* Which of 1 to 3 there are; their timeouts are model_seconds(). */
};

/* A policy's timeouts are all different, and the defaults are those of Open vSwitch. */
static inline uint32_t model_policy_seconds(uint32_t policy, enum ct_timeout timeout)
{
    return policy * 40 + (uint32_t)timeout;
}

static inline uint32_t model_seconds(const struct model *m, uint32_t policy, enum ct_timeout timeout)
{
    if (policy && m->policies[policy])
        return model_policy_seconds(policy, timeout);
    switch (timeout) {
    case CT_TCP_ESTABLISHED:
        return 86400;
    case CT_TCP_FIN_WAIT:
        return 900;
    case CT_TCP_TIME_WAIT:
        return 45;
    case CT_UDP_FIRST:
    case CT_UDP_SINGLE:
    case CT_ICMP_FIRST:
        return 60;
    default:
        return 30;
    }
}

/* --- Tuples and the list ---------------------------------------------------------------------- */

static inline bool model_same(const struct model_tuple *a, const struct model_tuple *b)
{
    return a->src == b->src && a->dst == b->dst && a->sport == b->sport && a->dport == b->dport && a->proto == b->proto;
}

/* A query's type and that of its answer: 8 and 0, 13 and 14, 15 and 16. */
static inline uint8_t model_other_type(uint8_t type)
{
    return type == 0 || type == 8 ? type ^ 8 : type >= 13 && type <= 16 ? (uint8_t)(((type - 13) ^ 1) + 13) : type;
}

static inline struct model_tuple model_turned(const struct model_tuple *t)
{
    struct model_tuple turned = { t->dst, t->src, t->dport, t->sport, t->proto };

    if (t->proto == 1) {
        turned.sport = t->sport;
        turned.dport = (uint16_t)(model_other_type((uint8_t)(t->dport >> 8)) << 8 | (t->dport & 0xff));
    }
    return turned;
}

static inline bool model_alive(const struct model *m, const struct model_conn *c)
{
    return c->there && m->now < c->expires;
}

static inline int model_find(const struct model *m, const struct model_tuple *t, uint16_t zone, bool *reply)
{
    for (int i = 0; i < m->n; i++) {
        const struct model_conn *c = &m->conns[i];

        if (!model_alive(m, c) || c->zone != zone)
            continue;
        if (model_same(&c->key, t) || model_same(&c->answer, t)) {
            *reply = !model_same(&c->key, t);
            return i;
        }
    }
    return MODEL_NONE;
}

/* How many are stored, expired ones too: they count until they are swept. */
static inline uint32_t model_stored(const struct model *m)
{
    uint32_t n = 0;

    for (int i = 0; i < m->n; i++)
        n += m->conns[i].there;
    return n;
}

static inline void model_remove(struct model *m, int i)
{
    struct model_conn *c = &m->conns[i];

    c->there = false;
    if (c->limit != MODEL_NONE && m->limits[c->limit].there && m->limits[c->limit].serial == c->limit_serial)
        m->limits[c->limit].count--;
}

static inline void model_sweep(struct model *m)
{
    for (int i = 0; i < m->n; i++)
        if (m->conns[i].there && m->now >= m->conns[i].expires)
            model_remove(m, i);
}

#endif
