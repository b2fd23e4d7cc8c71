/* SPDX-License-Identifier: Apache-2.0 */
#include <netinet/in.h>
#include <string.h>

#include "packet/csum.h"
#include "segment/segment.h"
#include "packet/pkt.h"
#include "segment/segment_walk.h"

#define STEPS 32u                /* Headers that are looked at. */
/* Bytes in front of the transport header in which the network header begins. */
#define IP_SEARCH 128u

static uint32_t be16(const uint8_t *at)
{
    return (uint32_t)(at[0] << 8 | at[1]);
}

/* What comes next: an EtherType, or an IP protocol above NEXT_IP. */
#define NEXT_IP 0x10000u
#define NEXT_ETHERNET 0x6558u
#define NEXT_UNKNOWN 0x20000u

struct walk {
    const uint8_t *frame;
    uint32_t at, start, packet_size;
    uint32_t next;
    struct segment_plan *plan;
    bool good;
};

static void add(struct walk *walk, enum segment_layer kind)
{
    struct segment_plan *plan = walk->plan;

    if (plan->n == SEGMENT_LAYERS) {
        walk->good = false;
        return;
    }
    plan->layers[plan->n].at = (uint16_t)walk->at;
    plan->layers[plan->n++].kind = (uint16_t)kind;
}

/* Whether `size` bytes more come before the transport header. */
static bool has(struct walk *walk, uint32_t size)
{
    if (walk->at + size <= walk->start)
        return true;
    walk->next = NEXT_UNKNOWN;
    return false;
}

static void step_ethernet(struct walk *walk)
{
    if (!has(walk, 14))
        return;
    walk->next = be16(walk->frame + walk->at + 12);
    walk->at += 14;
}

static void step_tag(struct walk *walk)
{
    if (!has(walk, 4))
        return;
    walk->next = be16(walk->frame + walk->at + 2);
    walk->at += 4;
}

static void step_ip4(struct walk *walk)
{
    const uint8_t *ip = walk->frame + walk->at;

    if (!has(walk, 20) || !has(walk, (ip[0] & 15) * 4u))
        return;
    add(walk, SEGMENT_IP4);
    walk->next = NEXT_IP + ip[9];
    walk->at += (ip[0] & 15) * 4u;
    /* A fragment has no transport header, or no end. */
    walk->good &= (ip[0] & 15) >= 5 && !(be16(ip + 6) & 0x3fff);
}

static void step_ip6(struct walk *walk)
{
    uint8_t next;

    if (!has(walk, 40))
        return;
    add(walk, SEGMENT_IP6);
    next = walk->frame[walk->at + 6];
    walk->at += 40;
    while (walk->at < walk->start && (next == IPPROTO_HOPOPTS || next == IPPROTO_ROUTING || next == IPPROTO_DSTOPTS)) {
        if (!has(walk, 8))
            return;
        next = walk->frame[walk->at];
        walk->at += (walk->frame[walk->at + 1] + 1u) * 8;
    }
    walk->next = NEXT_IP + next;
}

static void step_mpls(struct walk *walk)
{
    bool bottom = false;

    while (!bottom && has(walk, 5)) {
        bottom = walk->frame[walk->at + 2] & 1;
        walk->at += 4;
    }
    if (!bottom)
        return;
    switch (walk->frame[walk->at] >> 4) { /* What labels carry they do not say. */
    case 4:
        walk->next = 0x0800;
        break;
    case 6:
        walk->next = 0x86dd;
        break;
    case 0:
        /* Behind a control word (RFC 4448). */
        walk->next = has(walk, 4) ? NEXT_ETHERNET : NEXT_UNKNOWN;
        walk->at += 4;
        break;
    default:
        walk->next = NEXT_ETHERNET;
    }
}

static void step_pppoe(struct walk *walk)
{
    uint32_t proto;

    if (!has(walk, 8))
        return;
    add(walk, SEGMENT_PPPOE);
    proto = be16(walk->frame + walk->at + 6);
    walk->next = proto == 0x0021 ? 0x0800 : proto == 0x0057 ? 0x86dd : NEXT_UNKNOWN;
    walk->at += 8;
}

static void step_gre(struct walk *walk)
{
    const uint8_t *gre = walk->frame + walk->at;
    uint32_t flags;

    if (!has(walk, 4))
        return;
    flags = be16(gre);
    walk->next = be16(gre + 2);
    if (flags & 0x8000)
        add(walk, SEGMENT_GRE);
    walk->at += 4 + (flags & 0x8000 ? 4u : 0) + (flags & 0x2000 ? 4u : 0) + (flags & 0x1000 ? 4u : 0);
    if (flags & 0x4007) /* Routing, or PPTP's version. */
        walk->next = NEXT_UNKNOWN;
}

static void step_udp(struct walk *walk)
{
    if (!has(walk, 8))
        return;
    add(walk, SEGMENT_UDP);
    walk->at += 8;
    walk->next = NEXT_UNKNOWN; /* VXLAN, Geneve, any other: no further lengths. */
}

/* Whether a header that ends where the transport header begins says by its length that it reaches
 * to the packet's end.  Where that is too far for a length, Linux writes 0. */
static bool reaches(const struct walk *walk, uint32_t from, uint32_t length)
{
    return length ? from + length == walk->packet_size : walk->packet_size > UINT16_MAX;
}

/* An address of IPv6 may begin like a header of IPv4, but such a one has a checksum as well. */
static bool is_ip4(const struct walk *walk, uint32_t at)
{
    const uint8_t *ip = walk->frame + at;
    const uint32_t size = walk->start - at;

    return ip[0] == (0x40 | size / 4) && reaches(walk, at, be16(ip + 2)) && csum_fold(csum_sum(ip, size)) == UINT16_MAX;
}

/* Finds the IP header in front of the transport header, whose length must reach to the packet's
 * end, behind headers that say nothing that would have to be changed. */
static bool find_ip(struct walk *walk)
{
    const uint32_t from = walk->at;

    for (uint32_t back = 20; back <= IP_SEARCH && from + back <= walk->start; back += 4) {
        const uint32_t at = walk->start - back;
        const uint8_t *ip = walk->frame + at;

        walk->at = at;
        if (back <= 60 && is_ip4(walk, at))
            step_ip4(walk);
        else if (back >= 40 && ip[0] >> 4 == 6 && reaches(walk, at + 40, be16(ip + 4)))
            step_ip6(walk);
        if (walk->at == walk->start)
            return true;
        if (walk->at != at)
            return false;
    }
    return false;
}

static void step(struct walk *walk)
{
    switch (walk->next) {
    case NEXT_ETHERNET:
        step_ethernet(walk);
        break;
    case 0x8100: case 0x88a8: case 0x9100:
        step_tag(walk);
        break;
    case 0x0800: case NEXT_IP + IPPROTO_IPIP:
        step_ip4(walk);
        break;
    case 0x86dd: case NEXT_IP + IPPROTO_IPV6:
        step_ip6(walk);
        break;
    case 0x8847: case 0x8848: case NEXT_IP + 137:
        step_mpls(walk);
        break;
    case 0x8864:
        step_pppoe(walk);
        break;
    case NEXT_IP + IPPROTO_GRE:
        step_gre(walk);
        break;
    case NEXT_IP + IPPROTO_UDP:
        step_udp(walk);
        break;
    case NEXT_IP + 143:
        walk->next = NEXT_ETHERNET;
        break;
    default:
        walk->next = NEXT_UNKNOWN;
    }
}

static bool is_tag(uint32_t next)
{
    return next == 0x8100 || next == 0x88a8 || next == 0x9100;
}

/* Fills in the headers in front of the transport header.  False: they are not understood. */
bool segment_walk(const struct rte_mbuf *m, struct segment_plan *plan)
{
    struct walk walk = { .frame = rte_pktmbuf_mtod(m, const uint8_t *), .start = plan->partial.start, .packet_size = m->pkt_len,
                         .next = NEXT_ETHERNET, .plan = plan, .good = true };
    bool found = false;

    if (m->ol_flags & PKT_L3) {
        walk.next = rte_be_to_cpu_16(pkt_of((struct rte_mbuf *)(uintptr_t)m)->md.packet_type);
        found = true; /* It begins there. */
    }
    plan->n = 0;
    plan->l3 = 0;
    for (uint32_t i = 0; i < STEPS && walk.at < walk.start && walk.next != NEXT_UNKNOWN && walk.good; i++) {
        step(&walk);
        if (!found && !is_tag(walk.next)) { /* Now behind Ethernet and tags. */
            plan->l3 = walk.at;
            found = true;
        }
    }
    if (walk.at != walk.start && walk.good && walk.next == NEXT_UNKNOWN)
        walk.good = find_ip(&walk);
    return walk.good && walk.at == walk.start && plan->n &&
           (plan->layers[plan->n - 1].kind == SEGMENT_IP4 || plan->layers[plan->n - 1].kind == SEGMENT_IP6);
}
