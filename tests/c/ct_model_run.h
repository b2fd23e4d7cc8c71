/* SPDX-License-Identifier: Apache-2.0
 * ct_model_run.h - c/ct and its model side by side.  Includers define `uint32_t rnd(uint32_t below)`. */
#ifndef UPCALL_CT_MODEL_RUN_H
#define UPCALL_CT_MODEL_RUN_H

#include "ct_model_random.h"

struct beside {
    struct world w;
    struct model m;
    /* What has expired is swept at once, and there are limits, which count what has not been swept. */
    bool sweeps;
    struct packet frames[CT_BURST];
    struct model_packet packets[CT_BURST];
    struct ct_info info[MODEL_CONNS];
};

/* Forgets everything: cheaper than another world. */
static inline void beside_forget(struct beside *b)
{
    static const struct ct_filter all = { .zone = -1 };

    ct_flush(b->w.ct, &all, b->m.now);
    for (int i = 0; i < 8; i++)
        ct_service(b->w.ct, b->m.now);
    for (uint32_t zone = 0; zone < 4; zone++)
        ct_limit_delete(b->w.ct, zone < 3 ? zone : CT_ZONE_DEFAULT);
    for (uint32_t policy = 1; policy < 4; policy++)
        ct_policy_delete(b->w.ct, policy);
    ct_set_max(b->w.ct, CT_MAX_DEFAULT);
    ct_set_tcp_seq_check(b->w.ct, true);
    CHECK(ct_count(b->w.ct) == 0);
}

static inline void beside_open(struct beside *b, bool sweeps)
{
    if (!b->w.ct)
        world_open(&b->w);
    else
        beside_forget(b);
    memset(&b->m, 0, sizeof b->m);
    b->m.now = b->w.now;
    b->m.max = CT_MAX_DEFAULT;
    b->sweeps = sweeps;
    ct_set_sweep_ms(b->w.ct, 1);
}

/* --- What is compared ------------------------------------------------------------------------- */

static inline bool same_end(const uint8_t addr[16], uint32_t expected)
{
    const uint32_t be = __builtin_bswap32(expected);

    return !memcmp(addr, &be, 4);
}

static inline bool same_key(const struct ct_key *key, const struct model_tuple *t, uint16_t zone)
{
    return same_end(key->src, t->src) && same_end(key->dst, t->dst) && key->sport == __builtin_bswap16(t->sport)
           && key->dport == __builtin_bswap16(t->dport) && key->proto == t->proto && key->zone == zone;
}

static inline bool same_tuple(const struct key_ct *ct, const struct model_packet *p)
{
    const bool icmp = p->tuple.proto == 1;
    const uint32_t sport = icmp ? p->tuple.dport >> 8 : p->tuple.sport, dport = icmp ? p->tuple.dport & 0xff : p->tuple.dport;

    if (!p->has_tuple)
        return !ct->orig_proto && same_end(ct->orig_src, 0) && same_end(ct->orig_dst, 0);
    return ct->orig_proto == p->tuple.proto && same_end(ct->orig_src, p->tuple.src) && same_end(ct->orig_dst, p->tuple.dst)
           && ct->orig_tp_src == __builtin_bswap16((uint16_t)sport) && ct->orig_tp_dst == __builtin_bswap16((uint16_t)dport);
}

/* What is inside an error, and the sum of its header. */
static inline bool same_inner(const uint8_t *ip, const struct model_tuple *t)
{
    const bool ports = t->proto == 6 || t->proto == 17;

    return same_end(ip + 12, t->src) && same_end(ip + 16, t->dst) && csum_fold(csum_sum(ip, 20)) == 0xffff
           && (!ports || ((ip[20] << 8 | ip[21]) == t->sport && (ip[22] << 8 | ip[23]) == t->dport));
}

static inline void compare_packet(struct beside *b, struct packet *f, const struct model_packet *p)
{
    const struct pkt *pkt = &f->pkt;
    uint64_t label;
    char text[64];

    memcpy(&label, pkt->ct.label, 8);
    if (pkt->md.ct_state != p->state || pkt->md.ct_zone != p->zone || pkt->md.ct_mark != p->mark || label != p->label) {
        fprintf(stderr, "state %02x zone %u mark %u label %u, not %02x %u %u %u\n", pkt->md.ct_state, pkt->md.ct_zone, pkt->md.ct_mark,
                (unsigned int)label, p->state, p->zone, p->mark, (unsigned int)p->label);
        failures++;
    }
    CHECK(same_tuple(&pkt->ct, p));
    if (failures)
        fprintf(stderr, "protocol %u%s%s, flags %02x, about %u from %u\n", p->t.proto, p->bad ? ", bad" : "", p->error ? ", an error" : "",
                p->tcp.flags, p->about.proto, p->about.sport);
    b->w.last = *f;
    b->w.last.m.buf_addr = b->w.last.room;
    write_tuple_text(text, &p->t);
    if (p->t.proto == 6 || p->t.proto == 17)
        CHECK(!strcmp(now_is(&b->w), text));
    else
        CHECK(!memcmp(now_is(&b->w), text, (size_t)(strchr(text, ':') - text)));
    CHECK(p->bad || sums_right(&b->w));
    if (p->error)
        CHECK(same_inner(frame_of(f) + 42, &p->about));
    if (failures)
        fprintf(stderr, "the packet is %s, and is to be %s\n", now_is(&b->w), text);
}

static inline void compare_conn(const struct beside *b, const struct model_conn *c, const struct ct_info *info)
{
    uint64_t label;

    memcpy(&label, info->label, 8);
    CHECK(same_key(&info->reply, &c->answer, c->zone));
    CHECK(info->mark == c->mark && label == c->label);
    CHECK(info->timeout == (c->expires - b->m.now) / 1000);
    if (c->key.proto == 6)
        CHECK(info->tcp_state[0] == c->tcp.sides[0].state && info->tcp_state[1] == c->tcp.sides[1].state);
}

static inline void compare_tables(struct beside *b)
{
    const uint32_t n = dump(&b->w, b->info, MODEL_CONNS);
    uint32_t alive = 0;

    for (int i = 0; i < b->m.n; i++) {
        const struct model_conn *c = &b->m.conns[i];
        uint32_t k = 0;

        if (!model_alive(&b->m, c))
            continue;
        alive++;
        while (k < n && !same_key(&b->info[k].orig, &c->key, c->zone))
            k++;
        if (k == n) {
            fprintf(stderr, "a connection of zone %u and protocol %u is missing\n", c->zone, c->key.proto);
            failures++;
        } else {
            compare_conn(b, c, &b->info[k]);
        }
    }
    CHECK(n == alive);
    CHECK(ct_count(b->w.ct) == model_stored(&b->m));
    for (uint32_t zone = 0; zone < 4; zone++) {
        uint32_t limit, count;
        const bool there = ct_limit_get(b->w.ct, zone < 3 ? zone : CT_ZONE_DEFAULT, &limit, &count);

        CHECK(there == b->m.limits[zone].there && (!there || count == b->m.limits[zone].count));
    }
}

/* --- Steps ------------------------------------------------------------------------------------ */

/* A burst through one action, by the way of poll threads or, if that does not take it, by the plain one. */
static inline void run_burst(struct beside *b, const struct ct_request *r, unsigned int n, bool first)
{
    static const struct pkt_md none;
    struct rte_mbuf *burst[CT_BURST];
    struct ct_result results[CT_BURST];

    for (unsigned int i = 0; i < n; i++)
        burst[i] = &b->frames[i].m;
    if (!first || rnd(3) == 0 || !ct_track(b->w.ct, 0, r, burst, n, b->m.now, &none, results)) {
        ct_run(b->w.ct, 0, r, burst, n, b->m.now);
    } else {
        for (unsigned int i = 0; i < n; i++)
            if (!results[i].written)
                ct_write(b->w.ct, r, burst[i], &none, &results[i]);
    }
    for (unsigned int i = 0; i < n; i++)
        model_ct(&b->m, r, &b->packets[i]);
}

static inline void step_packets(struct beside *b)
{
    const unsigned int n = rnd(3) ? 1 + rnd(4) : 1 + rnd(CT_BURST), actions = rnd(3) ? 1 : 2;
    const bool plain = rnd(2);

    for (unsigned int i = 0; i < n; i++) {
        struct model_packet *p = &b->packets[i];

        do
            *p = random_packet(&b->m);
        while (plain && p->t.proto != 6 && p->t.proto != 17);
        if (!plain && !rnd(12))
            random_error(p);
        write_packet(&b->frames[i], p);
    }
    for (unsigned int k = 0; k < actions; k++) {
        struct ct_request r = random_request();

        if (plain && rnd(2)) {
            r.flags &= ~(CT_MARK | CT_LABEL | CT_FORCE);
        }
        run_burst(b, &r, n, k == 0);
    }
    for (unsigned int i = 0; i < n; i++)
        compare_packet(b, &b->frames[i], &b->packets[i]);
}

static inline void step_time(struct beside *b)
{
    static const uint32_t seconds[] = { 1, 1, 5, 29, 30, 31, 45, 60, 61, 900, 86400 };

    b->w.now = b->m.now += seconds[rnd(sizeof seconds / sizeof seconds[0])] * UINT64_C(1000);
    if (!b->sweeps)
        return;
    for (int i = 0; i < 8; i++)
        ct_service(b->w.ct, b->m.now);
    model_sweep(&b->m);
}

static inline void step_limits(struct beside *b)
{
    const uint32_t zone = rnd(4), limit = rnd(30);
    struct model_limit *l = &b->m.limits[zone];

    if (rnd(4) == 0) {
        b->m.max = rnd(2) ? CT_MAX_DEFAULT : rnd(60);
        ct_set_max(b->w.ct, b->m.max);
    } else if (rnd(3) == 0) {
        ct_limit_delete(b->w.ct, zone < 3 ? zone : CT_ZONE_DEFAULT);
        l->there = false;
    } else {
        ct_limit_set(b->w.ct, zone < 3 ? zone : CT_ZONE_DEFAULT, limit);
        l->limit = limit;
        if (!l->there)
            *l = (struct model_limit){ .there = true, .limit = limit, .serial = ++b->m.serial };
    }
}

static inline void step_policies(struct beside *b)
{
    const uint32_t policy = 1 + rnd(3);
    uint32_t seconds[CT_TIMEOUTS];

    b->m.policies[policy] = rnd(2);
    for (unsigned int i = 0; i < CT_TIMEOUTS; i++)
        seconds[i] = model_policy_seconds(policy, (enum ct_timeout)i);
    if (b->m.policies[policy])
        CHECK(!ct_policy_set(b->w.ct, policy, seconds));
    else
        ct_policy_delete(b->w.ct, policy);
}

static inline void step_flush(struct beside *b)
{
    struct ct_filter filter = { .zone = rnd(2) ? (int32_t)rnd(3) : -1 };

    if (rnd(2)) {
        filter.mark = rnd(4);
        filter.mark_mask = 3;
    }
    ct_flush(b->w.ct, &filter, b->m.now);
    for (int i = 0; i < b->m.n; i++) {
        struct model_conn *c = &b->m.conns[i];
        const bool every = filter.zone < 0 && !filter.mark_mask;

        if (c->there && (every || model_alive(&b->m, c)) && (filter.zone < 0 || c->zone == filter.zone)
            && (c->mark & filter.mark_mask) == filter.mark)
            model_remove(&b->m, i);
    }
}

static inline void beside_step(struct beside *b)
{
    const uint32_t what = rnd(40);

    if (b->m.n > MODEL_CONNS - 2 * CT_BURST)
        return; /* The list is full. */
    if (what == 0)
        step_flush(b);
    else if (what == 1)
        step_policies(b);
    else if (what == 2 && b->sweeps)
        step_limits(b);
    else if (what == 3)
        ct_set_tcp_seq_check(b->w.ct, !(b->m.no_seq_check = !rnd(3)));
    else if (what < 8)
        step_time(b);
    else
        step_packets(b);
    if (what < 12)
        compare_tables(b);
}

#endif
