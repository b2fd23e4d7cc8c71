/* SPDX-License-Identifier: Apache-2.0
 * link: base/mem.c ct/ct*.c base/hash.c packet/csum.c packet/extract.c
 *
 * Any text on FTP control connections, translated or not, of both families: nothing is read or written outside the packet, lengths and checksums
 * are right afterwards, no more is expected than may be, and in the end nothing is left of helpers.  Input: 1 byte what is translated, the family
 * and the room; then for each packet 1 byte side, 1 byte size, and the text. */
#include <rte_mbuf.h>
#include <rte_rcu_qsbr.h>
#include <stdlib.h>
#include <string.h>

#include "ct/ct_alg_int.h"
#include "packet/csum.h"
#include "packet/pkt.h"

#define SEGMENTS 12u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct packet {
    struct rte_mbuf m;
    struct pkt pkt;
};

/* A host as the network on one side of the translation knows it. */
struct end {
    uint8_t addr[16];
    uint16_t port;
};

static struct ct *ct;
static struct rte_rcu_qsbr *qsbr;
static uint64_t now = 1000;

static void check(int good)
{
    if (!good)
        abort();
}

static void set_up(void)
{
    qsbr = aligned_alloc(64, (rte_rcu_qsbr_get_memsize(1) + 63) & ~(size_t)63);
    check(qsbr && !rte_rcu_qsbr_init(qsbr, 1) && !ct_create(qsbr, &ct));
}

static uint16_t sum_of(const uint8_t *ip, uint8_t family, uint32_t l4_size)
{
    const uint32_t header = family == 4 ? 20 : 40;
    uint64_t sum = csum_sum(ip + (family == 4 ? 12 : 8), family == 4 ? 8 : 32) + CT_BE16(l4_size) + CT_BE16(6);

    return (uint16_t)~csum_fold(sum + csum_sum(ip + header, l4_size));
}

/* A TCP packet, whose checksums are right. */
static uint32_t write_packet(uint8_t *f, uint8_t family, const struct end ends[2], uint8_t flags, uint32_t seq, uint32_t ack, const uint8_t *text,
                             uint32_t size)
{
    const uint32_t header = family == 4 ? 20 : 40, addr = family == 4 ? 4 : 16, l4_size = 20 + size;
    uint8_t *ip = f + 14, *l4 = ip + header;
    uint16_t x = family == 4 ? CT_BE16(0x0800) : CT_BE16(0x86dd);

    memset(f, 0, 14 + header + 20);
    memcpy(f + 12, &x, 2);
    ip[0] = family == 4 ? 0x45 : 0x60;
    x = CT_BE16(family == 4 ? header + l4_size : l4_size);
    memcpy(ip + (family == 4 ? 2 : 4), &x, 2);
    ip[family == 4 ? 8 : 7] = 64;
    ip[family == 4 ? 9 : 6] = 6;
    memcpy(ip + (family == 4 ? 12 : 8), ends[0].addr, addr);
    memcpy(ip + (family == 4 ? 16 : 24), ends[1].addr, addr);
    if (family == 4) {
        x = (uint16_t)~csum_fold(csum_sum(ip, 20));
        memcpy(ip + 10, &x, 2);
    }
    memcpy(l4, &ends[0].port, 2);
    memcpy(l4 + 2, &ends[1].port, 2);
    seq = CT_BE32(seq);
    ack = CT_BE32(ack);
    memcpy(l4 + 4, &seq, 4);
    memcpy(l4 + 8, &ack, 4);
    l4[12] = 0x50;
    l4[13] = flags;
    l4[14] = 0x20;
    if (size)
        memcpy(l4 + 20, text, size);
    x = sum_of(ip, family, l4_size);
    memcpy(l4 + 16, &x, 2);
    return 14 + header + l4_size;
}

/* Lengths and checksums of what a packet has become. */
static void check_packet(const struct rte_mbuf *m, uint8_t family)
{
    const uint8_t *ip = (const uint8_t *)m->buf_addr + m->data_off + 14;
    const uint32_t header = family == 4 ? 20 : 40;
    uint16_t length;

    check(m->pkt_len == m->data_len && m->data_len <= m->buf_len - m->data_off);
    memcpy(&length, ip + (family == 4 ? 2 : 4), 2);
    check(CT_BE16(length) + (family == 4 ? 14u : 54u) == m->pkt_len);
    check(family == 6 || csum_fold(csum_sum(ip, 20)) == 0xffff);
    check(!sum_of(ip, family, m->pkt_len - 14 - header));
}

static void send(const struct ct_request *r, uint8_t family, const struct end ends[2], uint8_t flags, uint32_t seq, uint32_t ack, const uint8_t *text,
                 uint32_t size, uint32_t room)
{
    const uint32_t whole = 14 + (family == 4 ? 20 : 40) + 20 + size;
    struct packet p;
    struct rte_mbuf *m = &p.m;
    uint8_t *bytes = malloc(whole + room);

    check(bytes != NULL);
    memset(&p, 0, sizeof p);
    m->buf_addr = bytes;
    m->buf_len = (uint16_t)(whole + room);
    m->data_len = (uint16_t)whole;
    m->pkt_len = write_packet(bytes, family, ends, flags, seq, ack, text, size);
    m->nb_segs = 1;
    ct_run(ct, 0, r, &m, 1, now);
    check(p.pkt.md.ct_state & CT_STATE_TRACKED);
    check_packet(m, family);
    free(bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct ct_filter all = { .zone = -1 };
    struct ct_request there = { .flags = CT_COMMIT, .helper = CT_HELPER_FTP }, back = { .flags = CT_COMMIT };
    /* As the client knows them, and as the server does. */
    struct end seen[2][2] = { { { { 10, 1, 1, 1 }, CT_BE16(1000) }, { { 10, 1, 1, 2 }, CT_BE16(21) } } };
    uint32_t seq[2] = { 100, 500 };
    uint8_t family;

    if (!ct)
        set_up();
    if (!size)
        return 0;
    family = data[0] & 4 ? 6 : 4;
    memcpy(seen[1], seen[0], sizeof seen[1]);
    if (data[0] & 3) {
        struct end *changed = &seen[1][data[0] & 1 ? 0 : 1];

        changed->addr[0] = data[0] & 8 ? 200 : 9;
        changed->addr[1] = data[0] & 8 ? 200 : 0;
        there.flags |= CT_NAT | (data[0] & 1 ? CT_NAT_SRC : CT_NAT_DST);
        back.flags |= CT_NAT;
        there.family = family;
        memcpy(there.min_addr, changed->addr, 16);
        memcpy(there.max_addr, changed->addr, 16);
    }
    send(&there, family, seen[0], 2, seq[0]++, 0, NULL, 0, 0);
    for (uint32_t i = 0; i < SEGMENTS && size > 3; i++) {
        const uint8_t side = data[1] & 1, room = data[1] & 2 ? 0 : 64;
        const uint32_t text = data[2] < size - 3 ? data[2] : (uint32_t)size - 3;
        struct end ends[2] = { seen[side][side], seen[side][!side] };

        send(side ? &back : &there, family, ends, i ? 0x18 : 0x12, seq[side], seq[!side], data + 3, text, room);
        seq[side] += data[1] & 4 ? 0 : text; /* Sent again, perhaps. */
        data += 2 + text;
        size -= 2 + text;
        now += 100;
        check(atomic_load(&ct->helpers->expected) <= CT_EXPECTS * 2);
    }
    ct_flush(ct, &all, now);
    for (int i = 0; i < 3; i++)
        ct_service(ct, now);
    check(!ct_expects_any(ct) && ct->helpers->pool_n == ct->helpers->fresh);
    return 0;
}
