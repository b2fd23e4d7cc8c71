/* SPDX-License-Identifier: Apache-2.0
 * ipf_fixture.h - datagrams of UDP, cut into fragments of given sizes, in mbufs of a pool; and what they are after `ct`. */
#ifndef UPCALL_IPF_FIXTURE_H
#define UPCALL_IPF_FIXTURE_H

#include <rte_eal.h>
#include <rte_mbuf.h>
#include <rte_rcu_qsbr.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "ct/ct.h"
#include "ipf/ipf.h"
#include "model_sum.h"
#include "packet/eal.h"
#include "packet/pkt.h"

#define POOL 4095u
#define PIECES_MAX 256u
#define DATAGRAM_MAX 65535u

static struct rte_mempool *pool;

/* As the library's: ipf asks how large the pool of all packets is. */
struct rte_mempool *eal_pool(void)
{
    return pool;
}

static inline bool ipf_start(const char *name)
{
    char *arguments[] = { (char *)(uintptr_t)name, (char *)"--no-huge", (char *)"--no-shconf", (char *)"--no-pci",
                          (char *)"--no-telemetry", (char *)"-m", (char *)"128", (char *)"--log-level=error" };

    if (rte_eal_init(8, arguments) < 0)
        return false;
    /* Without locks: there may be more threads than cores, and at a ring all wait for one that
     * has lost its core. */
    pool = rte_pktmbuf_pool_create_by_ops(name, POOL, 0, sizeof(struct pkt), RTE_PKTMBUF_HEADROOM + 2048, SOCKET_ID_ANY, "lf_stack");
    return pool != NULL;
}

/* A datagram's IP payload: a UDP header with a right checksum, and `size` - 8 bytes. */
struct datagram {
    uint8_t src[16], dst[16];
    uint32_t family, id, size;
    uint32_t options;                /* Bytes between the fixed IP header and the next: options, or a destination header. */
    uint8_t data[DATAGRAM_MAX];
};

static inline void sum_datagram(struct datagram *d)
{
    const uint32_t n = d->family == 4 ? 4 : 16;
    uint32_t sum = model_sum(d->src, n, 0) + model_sum(d->dst, n, 0) + 17 + (d->size >> 16) + (d->size & 0xffff);

    model_put16(d->data + 6, 0);
    sum = (uint16_t)~model_sum(d->data, d->size, sum);
    model_put16(d->data + 6, sum ? sum : 0xffff);
}

static inline void make_datagram(struct datagram *d, uint32_t family, uint32_t size, uint32_t id)
{
    memset(d, 0, sizeof *d);
    d->family = family;
    d->size = size;
    d->id = id;
    memcpy(d->src, family == 4 ? "\x0a\x01\x01\x01" : "\xfd\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01", family == 4 ? 4 : 16);
    memcpy(d->dst, family == 4 ? "\x0a\x01\x01\x02" : "\xfd\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x02", family == 4 ? 4 : 16);
    model_put16(d->data, 1000);
    model_put16(d->data + 2, 53);
    model_put16(d->data + 4, size);
    for (uint32_t i = 8; i < size; i++)
        d->data[i] = (uint8_t)(i * 7 + id);
    sum_datagram(d);
}

/* The frame of a fragment that carries `size` bytes from `start` on; answers with its size. */
static inline uint32_t fragment_frame(const struct datagram *d, uint32_t start, uint32_t size, bool more, uint8_t *frame)
{
    uint8_t *ip = frame + 14;
    uint32_t header = (d->family == 4 ? 20 : 48) + d->options;

    memset(frame, 0, 14 + header);
    memcpy(frame, "\x06\xaa\xbb\xcc\xdd\xee\x02\x11\x22\x33\x44\x55", 12);
    model_put16(frame + 12, d->family == 4 ? 0x0800 : 0x86dd);
    if (d->family == 4) {
        ip[0] = (uint8_t)(0x40 | header / 4);
        model_put16(ip + 2, header + size);
        model_put16(ip + 4, d->id);
        model_put16(ip + 6, start / 8 | (more ? 0x2000 : 0));
        ip[8] = 64;
        ip[9] = 17;
        memcpy(ip + 12, d->src, 4);
        memcpy(ip + 16, d->dst, 4);
        memset(ip + 20, 1, d->options);
        model_put16(ip + 10, (uint16_t)~model_sum(ip, header, 0));
    } else {
        uint8_t *f = ip + 40 + d->options;

        ip[0] = 0x60;
        model_put16(ip + 4, header - 40 + size);
        ip[6] = d->options ? 60 : 44;
        ip[7] = 64;
        memcpy(ip + 8, d->src, 16);
        memcpy(ip + 24, d->dst, 16);
        if (d->options) {
            ip[40] = 44;
            ip[41] = (uint8_t)(d->options / 8 - 1);
        }
        f[0] = 17;
        model_put16(f + 2, start | more);
        model_put16(f + 4, d->id >> 16);
        model_put16(f + 6, d->id);
    }
    memcpy(frame + 14 + header, d->data + start, size);
    return 14 + header + size;
}

/* DPDK's pools are not instrumented: what a thread did to an mbuf that it gave back happened before
 * another one gets it.  Both say so, or a thread sanitizer takes a stranger's write of before for
 * one of now. */
#ifdef __SANITIZE_THREAD__
#include <sanitizer/tsan_interface.h>
#define MBUFS_GIVE() __tsan_release(&pool)
#define MBUFS_GET() __tsan_acquire(&pool)
#else
#define MBUFS_GIVE() (void)0
#define MBUFS_GET() (void)0
#endif

/* A frame in mbufs of at most `segment` bytes, `padding` zeros behind it. */
static inline struct rte_mbuf *frame_mbuf(const uint8_t *frame, uint32_t size, uint32_t padding, uint32_t segment)
{
    static const uint8_t zeros[64];
    struct rte_mbuf *first = NULL;

    for (uint32_t at = 0; !first || at < size;) {
        uint32_t part = RTE_MIN(segment, size - at);
        struct rte_mbuf *m = rte_pktmbuf_alloc(pool);

        if (!m)
            abort();
        MBUFS_GET();
        memcpy(rte_pktmbuf_append(m, (uint16_t)part), frame + at, part);
        if (first)
            rte_pktmbuf_chain(first, m);
        else
            first = m;
        at += part;
    }
    if (padding)
        memcpy(rte_pktmbuf_append(first, (uint16_t)padding), zeros, padding);
    memset(pkt_of(first), 0, sizeof(struct pkt));
    return first;
}

static inline struct rte_mbuf *fragment(const struct datagram *d, uint32_t start, uint32_t size, bool more)
{
    static uint8_t frame[DATAGRAM_MAX + 256];

    return frame_mbuf(frame, fragment_frame(d, start, size, more, frame), 0, 2048);
}

static inline bool mbuf_is(const struct rte_mbuf *m, const uint8_t *frame, uint32_t size)
{
    static uint8_t copy[DATAGRAM_MAX + 256];

    rte_mbuf_sanity_check(m, 1);
    return m->pkt_len == size && !memcmp(rte_pktmbuf_read(m, 0, size, copy), frame, size);
}

static inline uint32_t in_use(void)
{
    return rte_mempool_in_use_count(pool);
}

#endif
