/* SPDX-License-Identifier: Apache-2.0
 * cls_hot_scalar.h - the steps of a lookup in plain C, for cls_hot.c: any machine, and what
 * ThreadSanitizer can follow.
 *
 * Threads: as cls_lookup. */
#ifndef UPCALL_CLS_HOT_SCALAR_H
#define UPCALL_CLS_HOT_SCALAR_H

#include "cls/cls_int.h"
#include "packet/extract.h"

/* Block 0 of a masked key, at hand. */
typedef const struct key *hot_block;

struct hot_context {
    const struct cls_view *view;
    const struct pkt_md *md;
    const struct pkt *by;           /* As in struct cls_burst. */
};

static inline void hot_begin(struct hot_context *context, const struct cls_view *view, const struct pkt_md *md, const struct pkt *by)
{
    context->view = view;
    context->md = md;
    context->by = by;
}

/* It makes no difference here. */
static inline bool hot_is_common(const struct hot_context *context)
{
    (void)context;
    return false;
}

/* There is nothing to be found before (cls_hot_kind.h). */
#define HOT_FINDS false
static inline uint32_t hot_find(const uint8_t *frame, uint32_t size)
{
    (void)frame;
    (void)size;
    return 0;
}

/* Writes the key of a packet under the view's mask, only the blocks that the view asks for, and its
 * TCP flags. */
static inline hot_block hot_extract(const struct hot_context *context, struct rte_mbuf *m, uint32_t kind, struct key *key,
                                    uint16_t *tcp_flags, const bool common)
{
    const struct cls_view *view = context->view;

    (void)kind;
    (void)common;
    extract_blocks(rte_pktmbuf_mtod(m, const uint8_t *), m->data_len, m->pkt_len, context->md ? context->md : &pkt_of(m)->md,
                   context->by ? context->by : pkt_of(m), view->blocks, key, NULL);
    *tcp_flags = __builtin_bswap16(key->base.tcp_flags);
    for (int w = 0; w < 8; w++)
        key->words[w] &= view->mask.words[w];
    for (uint32_t block = 1; view->blocks >> block; block++) {
        for (uint32_t w = 8 * block; w < 8 * block + 8; w++)
            key->words[w] &= view->mask.words[w];
    }
    return key;
}

static inline bool hot_same(hot_block a, hot_block b)
{
    uint64_t difference = 0;

    for (int w = 1; w < 8; w++)
        difference |= a->words[w] ^ b->words[w];
    return !difference;
}

static inline uint32_t hot_pack(const struct hash_key *hash_key, const struct cls_sub *sub, hot_block block, const struct key *key,
                                uint32_t *packed, bool wide)
{
    (void)block;
    (void)wide;
    cls_pack_chunk(sub, key, 0, packed);
    return hash_chunks(hash_key, packed, 1);
}

static inline hot_block hot_load(const struct key *key)
{
    return key;
}

static inline bool hot_equal(const uint32_t *packed, const struct cls_entry *entry)
{
    const uint64_t *a = (const uint64_t *)packed, *b = (const uint64_t *)entry->packed;

    return !((a[0] ^ b[0]) | (a[1] ^ b[1]) | (a[2] ^ b[2]) | (a[3] ^ b[3]));
}

/* Masks to probe, where there are more than 64. */
static inline void hot_map(const struct cls_view *view, const struct key *key, uint64_t *map)
{
    cls_prune_map(view, key, map);
}

#endif
