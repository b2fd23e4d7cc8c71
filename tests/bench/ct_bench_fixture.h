/* SPDX-License-Identifier: Apache-2.0
 * ct_bench_fixture.h - for benches of connection tracking: frames, packets without a pool, flows that track, a worker without devices. */
#ifndef UPCALL_CT_BENCH_FIXTURE_H
#define UPCALL_CT_BENCH_FIXTURE_H

#include <rte_mbuf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "act/act.h"
#include "cls/cls.h"
#include "ct/ct.h"
#include "packet/csum.h"
#include "packet/worker.h"
#include "port/port.h"

#define POOL 64
#define FRAME 64
#define SIZE 60
#define CS_MASK (CT_STATE_TRACKED | CT_STATE_NEW | CT_STATE_EST)

static struct rte_mbuf *pool[POOL];
static uint64_t seed = 42;

static inline uint32_t rnd(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (uint32_t)(seed >> 16);
}

static inline void put16(uint8_t *at, uint32_t x)
{
    *(uint16_t *)at = __builtin_bswap16((uint16_t)x);
}

static inline void put32(uint8_t *at, uint32_t x)
{
    *(uint32_t *)at = __builtin_bswap32(x);
}

static inline void sum_frame(uint8_t *f, uint8_t proto)
{
    uint8_t *field = f + (proto == 6 ? 50 : 40);
    uint16_t sum;

    memset(f + 24, 0, 2);
    sum = (uint16_t)~csum_fold(csum_sum(f + 14, 20));
    memcpy(f + 24, &sum, 2);
    memset(field, 0, 2);
    sum = (uint16_t)~csum_fold(csum_sum(f + 26, SIZE - 26) + __builtin_bswap16(SIZE - 34) + __builtin_bswap16(proto));
    memcpy(field, &sum, 2);
}

/* One way of a connection. */
static inline void make_frame(uint8_t *f, uint8_t proto, uint32_t src, uint32_t dst, uint32_t sport, uint32_t dport, bool answer)
{
    memset(f, 0, FRAME);
    memcpy(f, "\x02\0\0\0\0\2\2\0\0\0\0\1\x08\0\x45\0\0\0\0\0\0\0\x40", 23);
    put16(f + 16, SIZE - 14);
    f[23] = proto;
    put32(f + 26, answer ? dst : src);
    put32(f + 30, answer ? src : dst);
    put16(f + 34, answer ? dport : sport);
    put16(f + 36, answer ? sport : dport);
    if (proto == 17) {
        put16(f + 38, SIZE - 34);
    } else {
        put32(f + 38, answer ? 5000 : 1000);
        put32(f + 42, answer ? 1000 : 5000);
        f[46] = 0x50;
        f[47] = 0x10;
        put16(f + 48, 60000);
    }
    sum_frame(f, proto);
}

static inline uint16_t take_all(struct port *port, uint16_t queue, struct rte_mbuf **packets, uint16_t n)
{
    (void)port;
    (void)queue;
    (void)packets;
    return n;
}

static inline void load(struct rte_mbuf *m, const uint8_t *frame)
{
    m->data_off = 128;
    m->data_len = m->pkt_len = SIZE;
    memcpy(rte_pktmbuf_mtod(m, void *), frame, FRAME);
}

static inline int by_value(const void *a, const void *b)
{
    return (*(const double *)a > *(const double *)b) - (*(const double *)a < *(const double *)b);
}

/* --- Flows ------------------------------------------------------------------------------------- */

/* Actions of the three flows: track; store and send; send.  Netlink's attributes, of 16 bits each for size and type. */
struct actions {
    uint8_t bytes[128];
    uint32_t size;
};

static inline void attr(struct actions *a, uint16_t type, const void *value, uint16_t size)
{
    const uint16_t head[2] = { (uint16_t)(4 + size), type };

    memcpy(a->bytes + a->size, head, 4);
    if (size)
        memcpy(a->bytes + a->size + 4, value, size);
    a->size += (4u + size + 3) & ~3u;
}

/* Zone 0: it does not track.  OVS_ACTION_ATTR_* and OVS_CT_ATTR_* by number: the bench has no kernel's header. */
static inline struct act_prog *program(uint16_t zone, bool commits, bool nat, uint32_t recirc, uint32_t port)
{
    static const uint8_t address[4] = { 192, 0, 2, 1 };
    struct actions a = { .size = 0 }, ct = { .size = 0 }, range = { .size = 0 };
    struct key key = { .base = { .eth_type = 8 } };
    struct act_prog *prog;
    const char *why;

    if (zone) {
        if (commits)
            attr(&ct, 1, NULL, 0);
        attr(&ct, 2, &zone, 2);
        if (nat && commits) {
            attr(&range, 1, NULL, 0);
            attr(&range, 3, address, 4);
        }
        if (nat)
            attr(&ct, 6, range.bytes, (uint16_t)range.size);
        attr(&a, 12, ct.bytes, (uint16_t)ct.size);
    }
    if (recirc)
        attr(&a, 7, &recirc, 4);
    if (port)
        attr(&a, 1, &port, 4);
    if (act_compile(a.bytes, a.size, &key, &prog, &why)) {
        printf("%s\n", why);
        exit(1);
    }
    return prog;
}

static inline void put_flow(struct cls *cls, uint32_t flow, uint32_t in_port, uint32_t recirc, uint8_t state, const struct act_prog *prog)
{
    struct key key = { .base = { .in_port = in_port, .recirc_id = recirc, .eth_type = 8, .ct_state = state } };
    struct key mask = { .base = { .l2 = 0xff, .eth_type = 0xffff, .nw_frag = 0xff, .ct_state = recirc ? CS_MASK : 0 } };

    mask.base.vlan[0].tci = 0x10;
    if (cls_insert(cls, flow, &key, &mask, act_verdict(prog)))
        exit(1);
}

/* A worker whose port 2 takes everything and keeps nothing, and packets for it.  Never freed. */
static inline void open_worker_of(struct worker *worker, struct stat_counters *stat, uint32_t index, struct rte_mbuf *packets[POOL])
{
    static const struct port_class class = { .type = "sink", .tx_burst = take_all };
    struct port *port = aligned_alloc(64, (sizeof *port + 63) & ~63ul);
    struct port_txq *txq = aligned_alloc(64, (sizeof *txq + 63) & ~63ul);
    struct worker_tx *tx = aligned_alloc(64, (sizeof *tx + 63) & ~63ul);

    if (!port || !txq || !tx || worker_init(worker, stat, index, index - 1))
        exit(1);
    memset(port, 0, sizeof *port);
    memset(txq, 0, sizeof *txq);
    memset(tx, 0, sizeof *tx);
    port->class = &class;
    port->txqs = txq;
    port->txq_count = 1;
    port->mtu = 1500;
    port->no = tx->no = 2;
    tx->port = port;
    atomic_store(&worker->tx[2], tx);
    for (int i = 0; i < POOL; i++) {
        /* An odd number of lines, as in a pool: at the same place in each page they would get in each other's way. */
        struct rte_mbuf *m = aligned_alloc(64, 39 * 64);

        memset(m, 0, 39 * 64);
        m->priv_size = sizeof(struct pkt);
        m->buf_addr = (uint8_t *)(m + 1) + sizeof(struct pkt);
        m->buf_len = 1024;
        m->nb_segs = 1;
        rte_mbuf_refcnt_set(m, 1);
        packets[i] = m;
    }
}

/* The only worker, with the packets of `pool`. */
static inline void open_worker(struct worker *worker, struct stat_counters *stat)
{
    open_worker_of(worker, stat, 1, pool);
}

#endif
