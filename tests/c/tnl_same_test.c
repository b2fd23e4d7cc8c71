/* SPDX-License-Identifier: Apache-2.0
 * link: tnl/tnl_read.c tnl/tnl_pop.c tnl/tnl_bundle.c packet/extract.c packet/partial.c packet/csum.c packet/worker.c record/record.c segment/segment.c segment/segment_fix.c segment/segment_merge.c segment/segment_walk.c
 *
 * Outer headers that are those of the packet before: what is taken off by comparing is what reading
 * takes off, to the last bit, and what reading refuses is never taken off.  Packets at random, of
 * which the second is the first one with something changed. */
#include <stdlib.h>
#include <string.h>

#include <rte_ip.h>
#include <rte_mbuf.h>

#include "check.h"
#include "tnl/tnl_pop.h"
#include "tnl/tnl_pop_int.h"

#define ROUNDS 60000u
#define ROOM 600u

static uint32_t state = 15;

static uint32_t below(uint32_t most)
{
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    return state % most;
}

static void put16(uint8_t *at, uint32_t x)
{
    at[0] = (uint8_t)(x >> 8);
    at[1] = (uint8_t)x;
}

/* A packet in the making. */
struct made {
    uint8_t frame[ROOM];
    uint32_t size, l3, l4, inner;
    bool ip6;
};

/* Lengths, and IPv4's checksum, for what it is. */
static void set_right(struct made *p)
{
    const uint32_t rest = p->size - p->l4;

    put16(p->frame + p->l4 + 4, rest);
    if (p->ip6) {
        put16(p->frame + p->l3 + 4, p->size - p->l3 - 40);
    } else {
        struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)(p->frame + p->l3);

        put16(p->frame + p->l3 + 2, p->size - p->l3);
        ip->hdr_checksum = 0;
        ip->hdr_checksum = rte_ipv4_cksum(ip);
    }
}

static void make(struct made *p, uint8_t kind)
{
    const uint32_t tags = below(4) ? 0 : 1 + below(2), options = kind == TUNNEL_GENEVE && below(2) ? 4 * (1 + below(12)) : 0;
    uint8_t *at;

    memset(p->frame, 0, sizeof p->frame);
    for (uint32_t i = 0; i < sizeof p->frame; i++)
        p->frame[i] = (uint8_t)below(256);
    p->ip6 = below(2);
    p->l3 = 14 + 4 * tags;
    for (uint32_t i = 0; i < tags; i++)
        put16(p->frame + 12 + 4 * i, 0x8100);
    put16(p->frame + p->l3 - 2, p->ip6 ? 0x86dd : 0x0800);
    at = p->frame + p->l3;
    if (p->ip6) {
        at[0] = (uint8_t)(0x60 | at[0] >> 4);
        at[6] = 17;
        p->l4 = p->l3 + 40;
        if (!below(8)) { /* Options of a hop. */
            at[6] = 0;
            memcpy(at + 40, (const uint8_t[8]){ 17, 0, 1, 4 }, 8);
            p->l4 += 8;
        }
    } else {
        at[0] = 0x45;
        put16(at + 6, below(2) ? 0x4000 : 0);
        at[9] = 17;
        p->l4 = p->l3 + 20;
    }
    at = p->frame + p->l4;
    memset(at + 6, 0, 2);
    p->inner = p->l4 + 16 + options;
    memcpy(at + 8, kind == TUNNEL_VXLAN ? (const uint8_t[4]){ 8 } : (const uint8_t[4]){ (uint8_t)(options / 4), 0, 0x65, 0x58 }, 4);
    at[15] = 0;
    for (uint32_t i = 0; i < options; i += 4)
        at[16 + i + 3] = 0;
    p->size = p->inner + below(200);
    set_right(p);
}

/* What a packet after that one may have of its own, and what it must not have. */
static void change(struct made *p)
{
    switch (below(8)) {
    case 0:
        return;
    case 1:
        p->size = p->inner + below(200);
        set_right(p);
        return;
    case 2:
        put16(p->frame + p->l4, below(65536));
        if (!p->ip6)
            put16(p->frame + p->l3 + 4, below(65536));
        set_right(p);
        return;
    case 3: /* Padding, or less than there shall be. */
        p->size += below(40);
        p->size -= below(40);
        return;
    case 4:
        put16(p->frame + p->l4 + 4, below(3) ? p->size - p->l4 - below(30) : below(65536));
        return;
    case 5:
        put16(p->frame + p->l3 + (p->ip6 ? 4 : 2), below(3) ? p->size - p->l3 - below(80) : below(65536));
        if (!p->ip6 && below(2)) {
            struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)(p->frame + p->l3);

            ip->hdr_checksum = 0;
            ip->hdr_checksum = rte_ipv4_cksum(ip);
        }
        return;
    default:
        p->frame[below(p->inner)] ^= (uint8_t)(1 << below(8));
        if (below(2))
            set_right(p);
    }
}

/* A packet as ports hand it over; its bytes are of just that size. */
struct packet {
    struct rte_mbuf m;
    struct pkt pkt;
} __attribute__((aligned(64)));

static void take_up(const struct made *p, uint64_t flags, struct packet *packet)
{
    memset(packet, 0, sizeof *packet);
    packet->m.buf_addr = malloc(p->size);
    CHECK(packet->m.buf_addr != NULL);
    memcpy(packet->m.buf_addr, p->frame, p->size);
    packet->m.buf_len = packet->m.data_len = (uint16_t)p->size;
    packet->m.pkt_len = p->size;
    packet->m.nb_segs = 1;
    packet->m.ol_flags = flags;
}

static struct worker worker;

/* The long way. */
static enum stat_drop read_and_strip(const struct tnl_port *port, struct rte_mbuf *m, struct tnl_same *same)
{
    struct tnl_seen seen;
    struct tnl_found found;
    enum stat_drop reason = tnl_see(m, &seen) ? tnl_read(&port->config, m, &seen, &found) : DROP_tunnel;

    if (reason == TNL_NO_DROP && same)
        tnl_same_learn(&worker, same, port, m, &seen, &found);
    return reason == TNL_NO_DROP ? tnl_strip(m, &seen, &found, port->no) : reason;
}

static void check_same(const struct packet *a, const struct packet *b)
{
    CHECK(a->m.pkt_len == b->m.pkt_len);
    CHECK(a->m.data_len == b->m.data_len);
    CHECK(a->m.data_off == b->m.data_off);
    CHECK(a->m.ol_flags == b->m.ol_flags);
    CHECK(!memcmp((const uint8_t *)a->m.buf_addr + a->m.data_off, (const uint8_t *)b->m.buf_addr + b->m.data_off, a->m.data_len));
    CHECK(!memcmp(&a->pkt.md, &b->pkt.md, sizeof a->pkt.md));
    CHECK(!memcmp(&a->pkt.tunnel, &b->pkt.tunnel, sizeof a->pkt.tunnel));
    CHECK(!memcmp(a->pkt.options, b->pkt.options, a->pkt.tunnel.options_size));
}

int main(void)
{
    static const uint64_t odd[] = { 0, 0, 0, PKT_MARKED, UINT64_C(6) << PKT_TUNNELS_BIT, PKT_TUNNELS, RTE_MBUF_F_TX_UDP_CKSUM };
    uint32_t taken = 0, good = 0;

    for (uint32_t round = 0; round < ROUNDS && failures < 10; round++) {
        const struct tnl_port port = { .no = 10, .config = { .kind = below(2) ? TUNNEL_VXLAN : TUNNEL_GENEVE } };
        const uint64_t flags = odd[below(sizeof odd / sizeof odd[0])];
        struct tnl_same same = { .port = NULL };
        struct packet first, read, compared;
        enum stat_drop reason;
        struct made made;
        bool taken_off;

        make(&made, port.config.kind);
        take_up(&made, 0, &first);
        read_and_strip(&port, &first.m, &same);
        for (uint32_t n = 1 + below(2); n; n--)
            change(&made);
        take_up(&made, flags, &read);
        take_up(&made, flags, &compared);
        taken_off = tnl_same_strip(&same, &compared.m);
        reason = read_and_strip(&port, &read.m, NULL);
        good += reason == TNL_NO_DROP;
        taken += taken_off;
        if (taken_off) {
            if (below(2))
                tnl_same_write(&same, &compared.m);
            else
                tnl_popped_write(&worker.popped, (struct rte_mbuf *[]){ &compared.m }, 1);
            CHECK(reason == TNL_NO_DROP);
            check_same(&read, &compared);
        } else {
            CHECK(compared.m.data_off == 0);
            CHECK(compared.m.pkt_len == made.size);
            CHECK(compared.m.ol_flags == flags);
        }
        free(first.m.buf_addr);
        free(read.m.buf_addr);
        free(compared.m.buf_addr);
    }
    printf("%u packets, %u of them good, %u taken off by comparing\n", ROUNDS, good, taken);
    CHECK(taken > good / 2 && good > ROUNDS / 3 && good < ROUNDS - ROUNDS / 10);
    return failures != 0;
}
