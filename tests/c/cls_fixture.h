/* SPDX-License-Identifier: Apache-2.0
 * cls_fixture.h - for tests of the classifier: packets without a pool, masks of every shape, and a table to compare with that is
 * searched flow by flow. */
#ifndef UPCALL_CLS_FIXTURE_H
#define UPCALL_CLS_FIXTURE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "act/act.h"
#include "cls/cls.h"
#include "packet/extract.h"
#include "frames.h"
#include "base/rcu.h"
#include "base/stat.h"

static int failures;
static uint64_t seed = 0x243f6a8885a308d3ull;

#define CHECK(condition)                                                          \
    do {                                                                          \
        if (!(condition)) {                                                       \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);       \
            if (++failures > 20)                                                  \
                exit(1);                                                          \
        }                                                                         \
    } while (0)

static inline uint32_t rnd(uint32_t below)
{
    return frame_random(&seed) % below;
}

/* A packet with its struct pkt, laid out as pools do.  The frame ends where the memory ends, so that a read too far is seen. */
struct packet {
    struct rte_mbuf *m;
    void *memory;
};

static inline struct packet packet_create(const uint8_t *frame, uint32_t size)
{
    size_t head = sizeof(struct rte_mbuf) + sizeof(struct pkt);
    struct packet p;

    if (posix_memalign(&p.memory, 64, head))
        abort();
    memset(p.memory, 0, head);
    p.m = p.memory;
    p.m->priv_size = sizeof(struct pkt);
    p.m->buf_addr = malloc(size);
    if (!p.m->buf_addr)
        abort();
    memcpy(p.m->buf_addr, frame, size);
    p.m->buf_len = p.m->data_len = (uint16_t)size;
    p.m->pkt_len = size;
    p.m->nb_segs = 1;
    return p;
}

static inline void packet_free(struct packet *p)
{
    free(p->m->buf_addr);
    free(p->memory);
}

static inline void packet_key(const struct packet *p, const struct pkt_md *md, struct key *key)
{
    extract_key(rte_pktmbuf_mtod(p->m, const uint8_t *), p->m->data_len, p->m->pkt_len, md ? md : &pkt_of(p->m)->md, pkt_of(p->m),
                key, NULL);
}

/* A compiled list of one output, `port`; or a drop, DP_PORT_NONE. */
static inline struct act_prog *output_program(uint32_t port)
{
    const struct key key = { 0 };
    struct act_prog *prog = NULL;
    struct {
        uint16_t size, type;
        uint32_t port;
    } attr = { 8, 1, port };
    const char *why = "";

    if (act_compile((const uint8_t *)&attr, port == UINT32_MAX ? 0 : sizeof attr, &key, &prog, &why)) {
        fprintf(stderr, "act_compile: %s\n", why);
        exit(1);
    }
    return prog;
}

enum shape { SHAPE_L2, SHAPE_PREFIX, SHAPE_TUPLE, SHAPE_IPV6, SHAPE_WIDE, SHAPE_METADATA, SHAPE_RANDOM, SHAPE_MIXED, SHAPES };

static inline void prefix(uint8_t *bytes, uint32_t bits)
{
    for (uint32_t i = 0; i < bits; i++)
        bytes[i / 8] |= (uint8_t)(0x80u >> i % 8);
}

static inline void random_mask(enum shape shape, struct key *mask)
{
    memset(mask, 0, sizeof *mask);
    if (shape == SHAPE_MIXED)
        shape = (enum shape)rnd(SHAPE_MIXED);
    switch (shape) {
    case SHAPE_L2:
        memset(mask->base.eth_dst, 0xff, 6);
        memset(mask->base.eth_src, rnd(2) ? 0xff : 0, 6);
        break;
    case SHAPE_PREFIX:
        prefix((uint8_t *)&mask->base.ip4_dst, rnd(33));
        prefix((uint8_t *)&mask->base.ip4_src, rnd(2) * rnd(33));
        break;
    case SHAPE_TUPLE:
        memset(&mask->base.ip4_src, 0xff, 9);
        mask->base.tp_src = rnd(2) ? 0xffff : 0;
        mask->base.tp_dst = 0xffff;
        break;
    case SHAPE_IPV6:
        prefix(mask->wide.ip6_dst, rnd(129));
        prefix(mask->wide.ip6_src, rnd(2) * rnd(129));
        mask->wide.ip6_label = rnd(2) ? 0xffff0f00 : 0;
        break;
    case SHAPE_WIDE:
        memset(mask, 0xff, 64u << rnd(3));
        break;
    case SHAPE_METADATA:
        mask->base.skb_mark = rnd(4);
        mask->base.ct_state = (uint8_t)rnd(256);
        mask->base.dp_hash = rnd(2) ? 3 : 0;
        mask->ct.skb_priority = rnd(2) ? 1 : 0;
        mask->tunnel.id = rnd(2) ? 3 : 0;
        if (!rnd(2)) {
            mask->tunnel.options_size = 0xff;
            mask->options[rnd(rnd(2) ? 4 : KEY_OPTIONS)] = 1;
        }
        if (rnd(2))
            mask->ct.label[rnd(16)] = 1;
        break;
    default:
        for (uint32_t n = rnd(12); n; n--)
            mask->bytes[rnd(rnd(3) ? 64 : KEY_SIZE)] = (uint8_t)rnd(256);
        break;
    }
    mask->base.in_port = mask->base.recirc_id = UINT32_MAX;
    mask->base.l2 = 0xff;
    mask->base.eth_type = 0xffff;
    mask->base.vlan[0].tci |= 0x10;
    mask->base.nw_frag = rnd(2) ? 0xff : 0;
}

static inline bool key_matches(const struct key *key, const struct key *flow, const struct key *mask)
{
    for (int w = 0; w < KEY_WORDS; w++) {
        if ((key->words[w] ^ flow->words[w]) & mask->words[w])
            return false;
    }
    return true;
}

/* A frame with few different values in what flows match, half of the time spoilt. */
static inline uint32_t random_frame(uint8_t *frame)
{
    uint32_t size = frame_get(rnd(3) ? rnd(8) : rnd(FRAMES), frame);

    frame[5] = (uint8_t)rnd(3);
    frame[11] = (uint8_t)rnd(3);
    for (uint32_t at = 22; at < 38 && at < size; at++) {
        if (!rnd(4))
            frame[at] = (uint8_t)rnd(4);
    }
    return rnd(2) ? frame_spoil(&seed, frame, size) : size;
}

static inline void random_md(struct pkt *pkt, uint32_t in_port, uint32_t recirc_id, bool more)
{
    memset(pkt, 0, sizeof *pkt);
    pkt->md = (struct pkt_md){ .in_port = in_port, .recirc_id = recirc_id, .skb_mark = rnd(4), .ct_state = (uint8_t)rnd(4),
                               .ct_zone = (uint16_t)rnd(2), .dp_hash = rnd(4), .skb_priority = rnd(2), .ct_mark = rnd(2) };
    if (!more)
        return;
    pkt->md.more = (uint8_t)rnd(4);
    pkt->tunnel.id = rnd(4);
    pkt->tunnel.src.ip4 = rnd(2);
    pkt->tunnel.options_size = (uint8_t)(rnd(2) ? 0 : 4 * rnd(64));
    for (uint32_t i = 0; i < pkt->tunnel.options_size; i++)
        pkt->options[i] = (uint8_t)rnd(2);
    pkt->ct.label[0] = (uint8_t)rnd(2);
    pkt->ct.orig_src[0] = (uint8_t)rnd(2);
    pkt->ct.orig_proto = (uint8_t)rnd(2);
}

#endif
