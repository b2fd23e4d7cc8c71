/* SPDX-License-Identifier: Apache-2.0
 * ct_nat.c - translation of addresses: which ones a connection gets, and the rewriting of its
 * packets (ct_int.h).
 *
 * What is chosen is the tuple of the answers; a translation is the difference between it and the
 * original tuple turned round.  As in Open vSwitch 3.1.0, a taken tuple moves the port, never
 * the address, and the search is bounded: 128 ports in a row, then from random places 64, 32, 16
 * and 8. */
#include <errno.h>
#include <rte_ip.h>
#include <rte_mbuf.h>

#include "ct/ct_int.h"
#include "packet/csum.h"
#include "packet/pkt.h"
#include "packet/partial.h"

#define TRIES 128u
#define TRIES_LEAST 16u


/* Ports to try. */
struct ports {
    uint16_t first, min, max;
};

/* Where in the range a connection starts: the same place for the same tuple, but where the
 * request says otherwise. */
static uint32_t start_of(const struct ct_burst *b, const struct ct_key *key)
{
    uint32_t data[2 * HASH_CHUNK] = { 0 };

    if (b->request->flags & CT_NAT_RANDOM)
        return ct_random(b->thread);
    if (b->request->flags & CT_NAT_PERSISTENT)
        memcpy(data, key->src, sizeof key->src);
    else
        memcpy(data, key, sizeof *key);
    data[10] = 1; /* Not the table's hash. */
    return hash_chunks(&b->ct->hash, data, 2);
}

static uint64_t low_half(const uint8_t addr[16])
{
    uint64_t x;

    memcpy(&x, addr + 8, 8);
    return __builtin_bswap64(x);
}

/* Writes an address of the request's range; false: there is none of the packet's family.  No
 * address at all means the packet's own. */
static bool choose_address(const struct ct_request *r, const struct ct_key *key, uint32_t start, uint8_t addr[16])
{
    static const uint8_t none[16];
    uint64_t low, range;

    if (!r->family || !memcmp(r->min_addr, none, 16)) {
        memcpy(addr, r->flags & CT_NAT_SRC ? key->src : key->dst, 16);
        return true;
    }
    if (r->family != key->family)
        return false;
    memcpy(addr, r->min_addr, 16);
    if (r->family == 4) {
        uint32_t min, max;

        memcpy(&min, r->min_addr, 4);
        memcpy(&max, r->max_addr, 4);
        min = CT_BE32(min);
        max = CT_BE32(max);
        min = CT_BE32(min + (uint32_t)(start % ((uint64_t)max - min + 1)));
        memcpy(addr, &min, 4);
        return true;
    }
    /* Ranges of more than 2^32 addresses are cut. */
    low = low_half(r->min_addr);
    range = memcmp(r->min_addr, r->max_addr, 8) ? UINT32_MAX : low_half(r->max_addr) - low;
    range = range < UINT32_MAX ? range : UINT32_MAX - 1;
    range = start % (range + 1);
    if (low + range < low)
        for (int i = 7; i >= 0 && !++addr[i]; i--)
            ;
    low = __builtin_bswap64(low + range);
    memcpy(addr + 8, &low, 8);
    return true;
}

/* Source ports keep to the class of the one that they replace. */
static struct ports source_ports(const struct ct_request *r, const struct ct_key *key, uint32_t start)
{
    const uint16_t port = CT_BE16(key->sport);

    if ((r->flags & (CT_NAT_SRC | CT_NAT_PORTS)) == (CT_NAT_SRC | CT_NAT_PORTS))
        return (struct ports){ (uint16_t)(r->min_port + start % (r->max_port - r->min_port + 1u)), r->min_port, r->max_port };
    if (port < 512)
        return (struct ports){ port, 1, 511 };
    if (port < 1024)
        return (struct ports){ port, 600, 1023 };
    return (struct ports){ port, 1024, 65535 };
}

/* Tries a record's answer tuple as it stands.  EADDRINUSE: it is taken. */
static int try_insert(struct ct_burst *b, uint32_t id)
{
    struct ct_conn *conn = &b->ct->conns[id];
    uint8_t reply;
    int error;

    conn->reply_hash = ct_hash(b->ct, &conn->reply);
    if (ct_find(b->ct, &conn->reply, conn->reply_hash, b->now, &reply) != CT_NONE)
        return EADDRINUSE;
    error = ct_insert(b->ct, b->thread, id, b->now, &b->place);
    if (error == EEXIST && ct_find(b->ct, &conn->key, conn->hash, b->now, &reply) == CT_NONE)
        return EADDRINUSE; /* By another thread, meanwhile. */
    return error;
}

/* Moves a port of the answer tuple until it is free.  EADDRINUSE: none was found, and the port
 * is the first one. */
static int try_ports(struct ct_burst *b, uint32_t id, uint16_t *port, struct ports ports)
{
    const uint32_t size = ports.max - ports.min + 1u;
    uint32_t at = ports.first;

    for (uint32_t tries = size < TRIES ? size : TRIES;; tries /= 2) {
        for (uint32_t i = 0; i < tries; i++) {
            int error;

            *port = CT_BE16(at);
            error = try_insert(b, id);
            if (error != EADDRINUSE)
                return error;
            at = at < ports.min || at >= ports.max ? ports.min : at + 1;
        }
        if (tries >= size || tries < TRIES_LEAST)
            break;
        at = ports.min + ct_random(b->thread) % size;
    }
    *port = CT_BE16(ports.first);
    return EADDRINUSE;
}

int ct_nat_insert(struct ct_burst *b, uint32_t id)
{
    const struct ct_request *r = b->request;
    struct ct_conn *conn = &b->ct->conns[id];
    const uint32_t start = start_of(b, &conn->key);
    const bool source = r->flags & CT_NAT_SRC;
    int error;

    if (!choose_address(r, &conn->key, start, source ? conn->reply.dst : conn->reply.src))
        return EADDRNOTAVAIL;
    conn->flags |= source ? CT_CONN_SNAT : CT_CONN_DNAT;
    if (conn->key.proto != CT_PROTO_TCP && conn->key.proto != CT_PROTO_UDP) {
        error = try_insert(b, id);
        return error == EADDRINUSE ? EADDRNOTAVAIL : error;
    }
    error = EADDRINUSE;
    if (!source && r->flags & CT_NAT_PORTS)
        error = try_ports(b, id, &conn->reply.sport,
                          (struct ports){ (uint16_t)(r->min_port + start % (r->max_port - r->min_port + 1u)), r->min_port, r->max_port });
    if (error == EADDRINUSE)
        error = try_ports(b, id, &conn->reply.dport, source_ports(r, &conn->key, start));
    return error == EADDRINUSE ? EADDRNOTAVAIL : error;
}

/* Where the checksum of what IP carries is, if it covers addresses or ports and lies within
 * `size` bytes; 0: nowhere. */
static uint32_t checksum_at(uint8_t proto, uint8_t family, uint32_t size)
{
    switch (proto) {
    case CT_PROTO_TCP:
        return size >= 18 ? 16 : 0;
    case CT_PROTO_UDP:
        return size >= 8 ? 6 : 0;
    case CT_PROTO_ICMPV6:
        return family == 6 && size >= 4 ? 2 : 0;
    default:
        return 0;
    }
}

static void update_l4(uint8_t *field, uint8_t proto, uint64_t change, bool partial)
{
    static const uint8_t none[2] = { 0, 0 };

    if (partial) {
        csum_update_partial(field, change);
    } else if (proto != CT_PROTO_UDP) {
        csum_update(field, change);
    } else if (memcmp(field, none, 2)) {
        csum_update(field, change);
        if (!memcmp(field, none, 2))
            memset(field, 0xff, 2);
    }
}

/* One end of a packet, or of one inside an error. */
struct end {
    uint8_t *ip, *l4;
    uint32_t size;                   /* Bytes at l4. */
    uint8_t proto, family;
    bool source, partial;
};

static void set_end(const struct end *e, const uint8_t addr[16], uint16_t port)
{
    uint8_t *at = e->ip + (e->family == 4 ? (e->source ? 12 : 16) : (e->source ? 8 : 24));
    const uint32_t size = e->family == 4 ? 4 : 16, sum = checksum_at(e->proto, e->family, e->size);
    uint64_t change = csum_change(at, addr, size);

    memcpy(at, addr, size);
    if (e->family == 4)
        csum_update(e->ip + 10, change);
    if (sum)
        update_l4(e->l4 + sum, e->proto, change, e->partial);
    if (e->proto != CT_PROTO_TCP && e->proto != CT_PROTO_UDP)
        return;
    at = e->l4 + (e->source ? 0 : 2);
    change = csum_change(at, &port, 2);
    memcpy(at, &port, 2);
    if (sum && !e->partial) /* Ports are not in the pseudo header. */
        update_l4(e->l4 + sum, e->proto, change, false);
}

/* Of an ICMP error all bytes count. */
static void sum_icmp(const struct ct_packet *p, uint8_t family)
{
    uint8_t *l4 = p->data + p->l4;
    uint16_t sum = 0, rest = 0;
    uint64_t all;

    memcpy(l4 + 2, &sum, 2);
    rte_raw_cksum_mbuf(p->m, p->l4, p->l4_size, &rest);
    all = rest;
    if (family == 6)
        all += csum_sum(p->data + p->l3 + 8, 32) + CT_BE16(p->l4_size) + CT_BE16(CT_PROTO_ICMPV6);
    sum = (uint16_t)~csum_fold(all);
    memcpy(l4 + 2, &sum, 2);
}

/* Where no port of the destination was free, that of the source was moved. */
static void set_other_port(const struct ct_packet *p, const struct end *changing, const struct ct_key *after)
{
    struct end other = *changing;

    if (p->related) {
        other.ip = p->data + p->inner_l3;
        other.l4 = p->data + p->inner_l4;
        other.size = p->inner_size;
        other.partial = false;
    }
    /* Of a packet inside, the end that changes is the opposite one, and so is the other. */
    other.source = !!p->related == changing->source;
    if (changing->source)
        set_end(&other, after->dst, after->dport);
    else
        set_end(&other, after->src, after->sport);
}

static void translate(struct ct_packet *p, const struct ct_conn *conn)
{
    /* Which end of this packet changes. */
    const bool source = !!(conn->flags & CT_CONN_SNAT) != !!p->reply;
    struct end outer = { .ip = p->data + p->l3, .l4 = p->data + p->l4, .size = p->l4_size, .proto = conn->key.proto,
                         .family = conn->key.family, .source = source, .partial = partial_is_at(p->m, p->l4) };
    struct end inner;
    struct ct_key after;             /* The packet's tuple once it is translated. */

    ct_reverse(p->reply ? &conn->key : &conn->reply, &after);
    if (conn->flags & CT_CONN_DNAT)
        set_other_port(p, &outer, &after);
    if (p->related) {
        /* The packet inside went the other way, and looked there as it is to look now: its end
         * is the opposite one. */
        inner = outer;
        inner.ip = p->data + p->inner_l3;
        inner.l4 = p->data + p->inner_l4;
        inner.size = p->inner_size;
        inner.source = !source;
        inner.partial = false;
        set_end(&inner, source ? after.src : after.dst, source ? after.sport : after.dport);
        outer.proto = outer.family == 4 ? CT_PROTO_ICMP : CT_PROTO_ICMPV6;
        set_end(&outer, source ? after.src : after.dst, 0);
        sum_icmp(p, outer.family);
        return;
    }
    set_end(&outer, source ? after.src : after.dst, source ? after.sport : after.dport);
}

void ct_nat_packet(const struct ct_request *request, struct ct_packet *p, const struct ct_conn *conn)
{
    struct pkt_md *md = &pkt_of(p->m)->md;

    if (!ct_nat_applies(request, p, conn))
        return;
    md->ct_state &= (uint8_t)~(CT_STATE_SNAT | CT_STATE_DNAT);
    md->ct_state |= !!(conn->flags & CT_CONN_SNAT) != !!p->reply ? CT_STATE_SNAT : CT_STATE_DNAT;
    translate(p, conn);
    p->translated = 1;
}
