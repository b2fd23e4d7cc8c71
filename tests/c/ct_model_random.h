/* SPDX-License-Identifier: Apache-2.0
 * ct_model_random.h - packets and requests at random, beside ct_model.h: first as structures, then as bytes.  Includers define
 * `uint32_t rnd(uint32_t below)`. */
#ifndef UPCALL_CT_MODEL_RANDOM_H
#define UPCALL_CT_MODEL_RANDOM_H

#include "ct_fixture.h"
#include "ct_model.h"

#define NAT_ADDRESS 0x09090909u

/* --- Requests --------------------------------------------------------------------------------- */

static inline void random_nat(struct ct_request *r)
{
    const uint8_t address[4] = { 9, 9, 9, 9 };

    r->flags |= CT_NAT;
    if (!(r->flags & CT_COMMIT) || !rnd(4))
        return;
    r->flags |= rnd(2) ? CT_NAT_SRC : CT_NAT_DST;
    if (rnd(6)) {
        r->family = 4;
        memcpy(r->min_addr, address, 4);
        memcpy(r->max_addr, address, 4);
    }
    if (!rnd(3)) {
        r->flags |= CT_NAT_PORTS;
        r->min_port = r->max_port = (uint16_t)(5000 + rnd(2));
    }
}

static inline struct ct_request random_request(void)
{
    struct ct_request r = { .zone = (uint16_t)rnd(3) };

    if (rnd(3))
        r.flags |= CT_COMMIT;
    if (r.flags & CT_COMMIT && !rnd(12))
        r.flags |= CT_FORCE;
    if (r.zone && rnd(2))
        random_nat(&r);
    if (!rnd(4)) {
        r.flags |= CT_MARK;
        r.mark = rnd(4);
        r.mark_mask = rnd(2) ? UINT32_MAX : 3;
    }
    if (!rnd(6)) {
        r.flags |= CT_LABEL;
        r.label[0] = (uint8_t)rnd(4);
        memset(r.label_mask, 0xff, rnd(2) ? 16 : 1);
    }
    if (!rnd(5))
        r.policy = 1 + rnd(3);
    return r;
}

/* --- Packets ---------------------------------------------------------------------------------- */

static inline void random_segment(const struct model *m, struct model_packet *p)
{
    static const unsigned int usual[] = { MODEL_ACK, MODEL_ACK, MODEL_ACK | MODEL_PSH, MODEL_ACK, MODEL_SYN, MODEL_SYN | MODEL_ACK };
    static const unsigned int ends[] = { MODEL_FIN | MODEL_ACK, MODEL_FIN | MODEL_ACK, MODEL_RST, MODEL_RST | MODEL_ACK };
    struct model_segment *s = &p->tcp;
    const struct model_tcp *tcp = NULL;
    int i = MODEL_NONE;
    bool reply = false;

    for (uint16_t zone = 0; zone < 3 && i == MODEL_NONE; zone++)
        i = model_find(m, &p->t, zone, &reply);
    if (i != MODEL_NONE)
        tcp = &m->conns[i].tcp;
    s->flags = rnd(8) ? usual[rnd(6)] : rnd(8) ? ends[rnd(4)] : rnd(64);
    s->seq = tcp && tcp->sides[reply].state ? tcp->sides[reply].low : rnd(2) ? UINT32_MAX - 5 : 1000;
    s->ack = tcp && tcp->sides[!reply].state ? tcp->sides[!reply].low : rnd(3);
    if (tcp && tcp->has_half_syn && !rnd(2)) {
        s->ack = tcp->half_syn;
        s->seq = !reply && tcp->has_half_ack ? tcp->half_ack : s->seq;
    }
    if (!rnd(4))
        s->seq += rnd(2) ? rnd(3) - 1 : (rnd(2) ? 1u : -1u) * rnd(140000);
    if (!rnd(4))
        s->ack += rnd(2) ? rnd(3) - 1 : (rnd(2) ? 1u : -1u) * rnd(140000);
    s->window = rnd(3) ? rnd(65536) : rnd(4);
    s->payload = rnd(2) ? 0 : rnd(20);
    s->scale = s->flags & MODEL_SYN && rnd(2) ? (int)rnd(17) : -1;
}

/* A query or an answer of it; rarely one that nobody keeps track of. */
static inline void random_query(struct model_packet *p)
{
    static const uint8_t types[] = { 8, 0, 8, 0, 13, 14, 15, 16 };

    p->t.sport = (uint16_t)(1 + rnd(3));
    p->t.dport = (uint16_t)(types[rnd(sizeof types)] << 8);
}

/* One that has not been tracked: of a connection that there is or was, or by itself. */
static inline struct model_packet random_packet(const struct model *m)
{
    static const uint8_t protos[] = { 6, 6, 6, 6, 17, 17, 17, 1, 47 };
    struct model_packet p = { .conn = MODEL_NONE };
    const bool known = m->n && rnd(4);

    if (known) {
        const struct model_conn *c = &m->conns[m->n - 1 - (int)rnd((uint32_t)(m->n < 40 ? m->n : 40))];

        p.t = rnd(5) < 3 ? c->key : c->answer;
    } else {
        const bool turned = !rnd(4);
        const uint32_t a = rnd(12) ? 0x0a000001 + rnd(4) : NAT_ADDRESS, b = 0x0a000101 + rnd(2);

        p.t.proto = protos[rnd(sizeof protos)];
        p.t.src = turned ? b : a;
        p.t.dst = turned ? a : rnd(20) ? b : a;
        if (p.t.proto == 6 || p.t.proto == 17) {
            p.t.sport = (uint16_t)(rnd(3) ? 1000 + rnd(3) : rnd(2) ? 511 : 65535);
            p.t.dport = 80;
        } else if (p.t.proto == 1) {
            random_query(&p);
        }
    }
    if (p.t.proto == 6)
        random_segment(m, &p);
    p.bad = !rnd(60);
    if (p.t.proto == 6 || p.t.proto == 17 || p.t.proto == 1)
        return p;
    p.bad = false; /* Nothing says what a sum would be. */
    return p;
}

/* Makes an error about a packet of it: sent to where that came from. */
static inline void random_error(struct model_packet *p)
{
    p->error = true;
    p->about = p->t;
    p->t = (struct model_tuple){ .src = rnd(2) ? p->about.dst : 0x0a0a0a0a, .dst = p->about.src, .proto = 1, .dport = 3 << 8 };
}

static inline void write_tuple_text(char text[64], const struct model_tuple *t)
{
    snprintf(text, 64, "%u.%u.%u.%u:%u>%u.%u.%u.%u:%u", t->src >> 24, t->src >> 16 & 255, t->src >> 8 & 255, t->src & 255, t->sport,
             t->dst >> 24, t->dst >> 16 & 255, t->dst >> 8 & 255, t->dst & 255, t->dport);
}

static inline void write_plain(struct packet *f, const struct model_packet *p, const struct model_tuple *t)
{
    char text[64];
    const uint8_t options[4] = { 3, 3, (uint8_t)p->tcp.scale, 0 };

    write_tuple_text(text, t);
    if (t->proto == 6)
        tcp_packet(f, text, p->tcp.flags, p->tcp.seq, p->tcp.ack, p->tcp.payload, p->tcp.window, (const char *)options,
                   p->tcp.scale >= 0 ? 4 : 0);
    else if (t->proto == 17)
        udp_packet(f, text, 8);
    else if (t->proto == 1)
        icmp_packet(f, text, (uint8_t)(t->dport >> 8), (uint8_t)t->dport);
    else {
        const struct ends ends = parse_ends(text);

        ip_packet(f, &ends, t->proto, 16);
        sum_packet(f);
    }
}

static inline void write_packet(struct packet *f, const struct model_packet *p)
{
    static struct packet inner;
    char text[64];

    if (p->error) {
        write_plain(&inner, p, &p->about);
        write_tuple_text(text, &p->t);
        error_packet(f, text, 3, 1, &inner, 28);
    } else {
        write_plain(f, p, &p->t);
    }
    if (p->bad)
        frame_of(f)[p->t.proto == 6 ? 50 : p->t.proto == 17 ? 41 : 37] ^= 0x55;
}

#endif
