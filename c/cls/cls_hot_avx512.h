/* SPDX-License-Identifier: Apache-2.0
 * cls_hot_avx512.h - the steps of a lookup with AVX-512 (VBMI, VAES), for cls_hot.c.
 *
 * Block 0 of a key is one byte permutation of the frame: for IPv4 without options and IPv6 without
 * extension headers, with TCP, UDP or ICMP, behind up to two VLAN tags.  7 cycles, against 20-25 of
 * the scalar extractor, which does everything else and is what this is compared with.  Loads of
 * short frames are masked by their size, so no stale byte behind a packet is ever seen.
 *
 * Threads: as cls_lookup. */
#ifndef UPCALL_CLS_HOT_AVX512_H
#define UPCALL_CLS_HOT_AVX512_H

#include <immintrin.h>

#include "cls/cls_int.h"
#include "cls/cls_hot_kind.h"
#include "cls/cls_hot_like.h"
#include "packet/extract.h"

/* Block 0 of a masked key. */
typedef __m512i hot_block;

struct hot_context {
    const struct cls_view *view;
    const struct pkt_md *md;
    const struct pkt *by;           /* As in struct cls_burst. */
    __m512i mask;                   /* Block 0 of the union. */
    __m512i metadata;               /* Block 0 of `md`. */
    bool plain;                     /* `md` has nothing that only its struct pkt tells. */
};

/* Where each byte of block 0 stands in a frame with `d` bytes of tags.  Bytes that stand nowhere
 * are cleared by `valid`. */
#define HOT_L2(d) \
    [8] = 0, [9] = 1, [10] = 2, [11] = 3, [12] = 4, [13] = 5, [14] = 6, [15] = 7, [16] = 8, [17] = 9, [18] = 10, [19] = 11, \
    [20] = 12 + (d), [21] = 13 + (d), [22] = 14, [23] = 15, [24] = 12, [25] = 13, [26] = 18, [27] = 19, [28] = 16, [29] = 17
#define HOT_IPV4(d) \
    [32] = 26 + (d), [33] = 27 + (d), [34] = 28 + (d), [35] = 29 + (d), [36] = 30 + (d), [37] = 31 + (d), [38] = 32 + (d), \
    [39] = 33 + (d), [40] = 23 + (d), [41] = 15 + (d), [42] = 22 + (d)
/* In the second operand, which begins with the IPv6 header. */
#define HOT_IPV6 [40] = 64 + 6, [42] = 64 + 7
#define HOT_PORTS(l4) \
    [44] = (l4), [45] = (l4) + 1, [46] = (l4) + 2, [47] = (l4) + 3, [48] = (l4) + 12, [49] = (l4) + 13
#define HOT_ICMP(l4) [45] = (l4), [47] = (l4) + 1

/* By hot_kind_of(). */
#define HOT_AT4(d) { HOT_L2(d), HOT_IPV4(d), HOT_PORTS(34 + (d)) }
#define HOT_AT4_ICMP(d) { HOT_L2(d), HOT_IPV4(d), HOT_ICMP(34 + (d)) }
#define HOT_AT6(d) { HOT_L2(d), HOT_IPV6, HOT_PORTS(64 + 40) }
#define HOT_AT6_ICMP(d) { HOT_L2(d), HOT_IPV6, HOT_ICMP(64 + 40) }
static const uint8_t hot_at[HOT_KIND_NUMBERS][64] __attribute__((aligned(64))) = {
    HOT_AT4(0), HOT_AT4_ICMP(0), HOT_AT4(0), HOT_AT4(4), HOT_AT4_ICMP(4), HOT_AT4(4), HOT_AT4(8), HOT_AT4_ICMP(8), HOT_AT4(8),
    HOT_AT6(0), HOT_AT6_ICMP(0), HOT_AT6(0), HOT_AT6(4), HOT_AT6_ICMP(4), HOT_AT6(4), HOT_AT6(8), HOT_AT6_ICMP(8), HOT_AT6(8),
};

#define HOT_FF4 0xff, 0xff, 0xff, 0xff
#define HOT_FF8 HOT_FF4, HOT_FF4
#define HOT_004 0, 0, 0, 0
#define HOT_TAGS0 HOT_004, HOT_004, 0, 0
#define HOT_TAGS1 HOT_FF4, HOT_004, 0, 0
#define HOT_TAGS2 HOT_FF8, 0, 0
#define HOT_IS4 HOT_FF8, 0xff, 0xff, 0xff, 0
#define HOT_IS6 HOT_004, HOT_004, 0xff, 0, 0xff, 0
#define HOT_ROW(...) { HOT_004, HOT_004, HOT_FF8, HOT_FF4, 0xff, 0xff, __VA_ARGS__ }
#define HOT_ROWS(...) \
    HOT_ROW(__VA_ARGS__, HOT_FF4), HOT_ROW(__VA_ARGS__, 0, 0xff, 0, 0xff), HOT_ROW(__VA_ARGS__, HOT_FF4, 0x0f, 0xff)

/* By hot_kind_of(). */
static const uint8_t hot_valid[HOT_KIND_NUMBERS][64] __attribute__((aligned(64))) = {
    HOT_ROWS(HOT_TAGS0, HOT_IS4), HOT_ROWS(HOT_TAGS1, HOT_IS4), HOT_ROWS(HOT_TAGS2, HOT_IS4),
    HOT_ROWS(HOT_TAGS0, HOT_IS6), HOT_ROWS(HOT_TAGS1, HOT_IS6), HOT_ROWS(HOT_TAGS2, HOT_IS6),
};

static const uint8_t hot_present[3][64] __attribute__((aligned(64))) = { { 0 }, { [22] = 0x10 }, { [22] = 0x10, [26] = 0x10 } };

/* Block 0 of metadata, as a permutation of struct pkt_md. */
static const uint8_t hot_at_md[64] __attribute__((aligned(64))) = {
    [0] = 0, [1] = 1, [2] = 2, [3] = 3, [4] = 4, [5] = 5, [6] = 6, [7] = 7, [31] = 26, [50] = 24, [51] = 25, [52] = 12, [53] = 13,
    [54] = 14, [55] = 15, [56] = 20, [57] = 21, [58] = 22, [59] = 23, [60] = 8, [61] = 9, [62] = 10, [63] = 11,
};
#define HOT_VALID_MD 0xfffc0000800000ffull
_Static_assert(offsetof(struct pkt_md, ct_state) == 26 && offsetof(struct pkt_md, ct_zone) == 24 && offsetof(struct pkt_md, ct_mark) == 20
               && offsetof(struct pkt_md, skb_mark) == 12 && offsetof(struct pkt_md, dp_hash) == 8, "hot_at_md follows struct pkt_md");

/* Block 1 of an IPv6 header: addresses, flow label. */
static const uint8_t hot_at_wide[64] __attribute__((aligned(64))) = {
    8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 0, 1, 2, 3,
};
#define HOT_WIDE 0xfffffffffull     /* Bytes of it. */
static const uint8_t hot_valid_wide[64] __attribute__((aligned(64))) = { HOT_FF8, HOT_FF8, HOT_FF8, HOT_FF8, 0, 0x0f, 0xff, 0xff };

static inline __m512i hot_metadata(const struct pkt_md *md)
{
    return _mm512_maskz_permutexvar_epi8(HOT_VALID_MD, _mm512_load_si512(hot_at_md),
                                         _mm512_maskz_loadu_epi8((1ull << sizeof *md) - 1, md));
}

static inline void hot_begin(struct hot_context *context, const struct cls_view *view, const struct pkt_md *md, const struct pkt *by)
{
    context->view = view;
    context->md = md;
    context->by = by;
    context->mask = _mm512_load_si512(view->mask.words);
    context->metadata = md ? hot_metadata(md) : _mm512_setzero_si512();
    context->plain = md && !hot_needs_pkt(view, md, by);
}

/* Whether all packets have the context's metadata, and no more. */
static inline bool hot_is_common(const struct hot_context *context)
{
    return context->plain;
}

/* `tunnel`: the packet's, if it came by one; else NULL. */
static inline void hot_store_upper(const struct cls_view *view, const struct pkt_md *md, const struct pkt *tunnel, struct key *key,
                                   __m512i wide)
{
    _mm512_store_si512(key->words + 8, _mm512_and_si512(wide, _mm512_load_si512(view->mask.words + 8)));
    if (view->blocks >> 2) {
        const __m512i by = tunnel ? _mm512_loadu_si512(&tunnel->tunnel) : _mm512_setzero_si512();

        _mm512_store_si512(key->words + 16, _mm512_and_si512(by, _mm512_load_si512(view->mask.words + 16)));
        _mm512_store_si512(key->words + 24, _mm512_setzero_si512());
        key->ct.skb_priority = md->skb_priority & view->mask.ct.skb_priority;
        if (view->blocks >> KEY_OPTIONS_BLOCK)
            hot_store_options(view, tunnel, key);
    }
}

#define HOT_FINDS true

/* What is before IP, eight bytes each: type or TPID; the type behind a tag; of IPv4 version, size
 * of the header, fragment.  The last one but one is anything. */
static const uint8_t hot_stack_at[64] __attribute__((aligned(64))) = {
    12, 13, 14, 20, 21, 0, 0, 0, 12, 13, 0, 0, 0, 0, 0, 0,
    12, 13, 16, 17, 18, 24, 25, 0, 12, 13, 16, 17, 0, 0, 0, 0,
    12, 13, 16, 17, 18, 24, 25, 0, 12, 13, 16, 17,
};
static const uint8_t hot_stack_want[64] __attribute__((aligned(64))) = {
    0x08, 0, 0x45, 0, 0, 0, 0, 0, 0x86, 0xdd, 0, 0, 0, 0, 0, 0,
    0x81, 0, 0x08, 0, 0x45, 0, 0, 0, 0x81, 0, 0x86, 0xdd, 0, 0, 0, 0,
    0x88, 0xa8, 0x08, 0, 0x45, 0, 0, 0, 0x88, 0xa8, 0x86, 0xdd,
};
static const uint8_t hot_stack_care[64] __attribute__((aligned(64))) = {
    0xff, 0xff, 0xff, 0x3f, 0xff, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0, 0, 0,
    HOT_FF4, 0xff, 0x3f, 0xff, 0, HOT_FF4, 0, 0, 0, 0,
    HOT_FF4, 0xff, 0x3f, 0xff, 0, HOT_FF4,
};
/* Where the protocol is, and by it the kind, plus 1; 0: none. */
static const uint8_t hot_stack_protocol_at[7] = { 23, 20, 27, 24, 27, 24, 0 };
#define HOT_STACK4(tags) { [1] = 1 + 3 * (tags) + HOT_ICMP, [6] = 1 + 3 * (tags) + HOT_TCP, [17] = 1 + 3 * (tags) + HOT_UDP }
#define HOT_STACK6(tags) { [58] = 10 + 3 * (tags) + HOT_ICMP, [6] = 10 + 3 * (tags) + HOT_TCP, [17] = 10 + 3 * (tags) + HOT_UDP }
static const uint8_t hot_stack_kind[7][256] = {
    HOT_STACK4(0), HOT_STACK6(0), HOT_STACK4(1), HOT_STACK6(1), HOT_STACK4(1), HOT_STACK6(1), { 0 },
};

/* As hot_kind_find(), but for two tags, which it does not know, and fragments, which it refuses. */
static inline uint32_t hot_find(const uint8_t *frame, uint32_t size)
{
    __m512i x;
    uint32_t stack;

    if (__builtin_expect(size < 14 + 20 + 8, 0))
        return HOT_KIND_NONE;
    x = _mm512_castsi256_si512(_mm256_loadu_si256((const __m256i *)frame));
    x = _mm512_permutexvar_epi8(_mm512_load_si512(hot_stack_at), x);
    x = _mm512_ternarylogic_epi64(x, _mm512_load_si512(hot_stack_want), _mm512_load_si512(hot_stack_care), 0x28);
    stack = (uint32_t)__builtin_ctz(_mm512_testn_epi64_mask(x, x));
    return (uint8_t)(hot_stack_kind[stack][frame[hot_stack_protocol_at[stack]]] - 1);
}

static inline __attribute__((always_inline)) bool hot_read(const uint8_t *frame, uint32_t size, uint32_t packet_size, uint32_t kind,
                                                           struct hot_frame *f)
{
    return hot_kind_read(frame, size, packet_size, kind, f, true);
}

/* The same of a frame of which nothing is known. */
static inline bool hot_read_any(const uint8_t *frame, uint32_t size, uint32_t packet_size, struct hot_frame *f)
{
    return hot_kind_read(frame, size, packet_size, hot_kind_find(frame, size), f, false);
}

/* The headers of a kind, from the frame's first byte on and from IP's. */
#define HOT_REACH(size) (~0ull >> (64 - ((size) < 64 ? (size) : 64)))
#define HOT_REACHES(l3, ip) \
    { HOT_REACH((l3) + (ip) + 8), HOT_REACH((ip) + 8) }, { HOT_REACH((l3) + (ip) + 8), HOT_REACH((ip) + 8) }, \
    { HOT_REACH((l3) + (ip) + 20), HOT_REACH((ip) + 20) }
static const uint64_t hot_reach[HOT_KIND_NUMBERS][2] = {
    HOT_REACHES(14, 20), HOT_REACHES(18, 20), HOT_REACHES(22, 20), HOT_REACHES(14, 40), HOT_REACHES(18, 40), HOT_REACHES(22, 40),
};

/* Writes the key of a packet of which hot_kind_read() said `f`, under the view's mask, only the
 * blocks that the view asks for.  As there, no branch depends on the kind of the packet.  `common`:
 * the context has its metadata. */
static inline __attribute__((always_inline)) hot_block hot_make(const struct hot_context *context, struct rte_mbuf *m,
                                                                const struct hot_frame *f, struct key *key, const bool common)
{
    const uint8_t *frame = rte_pktmbuf_mtod(m, const uint8_t *);
    const bool own = !common && !context->md;
    const struct pkt_md *md = own ? &pkt_of(m)->md : context->md;
    const uint32_t l3 = 14 + 4 * f->tags, kind = f->kind;
    const __m512i ip = _mm512_maskz_loadu_epi8(hot_reach[kind][1], frame + l3), metadata = own ? hot_metadata(md) : context->metadata;
    __m512i block = _mm512_permutex2var_epi8(_mm512_maskz_loadu_epi8(hot_reach[kind][0], frame), _mm512_load_si512(hot_at[kind]), ip);

    /* (a & b) | c, then (a | b) & c */
    block = _mm512_ternarylogic_epi64(block, _mm512_load_si512(hot_valid[kind]), metadata, 0xea);
    if (__builtin_expect(context->view->mask.base.nw_tos, 0))
        block = _mm512_mask_set1_epi8(block, (uint64_t)f->ipv6 << 41, (char)hot_tos(frame + l3));
    block = _mm512_ternarylogic_epi64(block, _mm512_load_si512(hot_present[f->tags]), context->mask, 0xa8);
    _mm512_store_si512(key->words, block);
    if (context->view->blocks != 1) {
        const __m512i wide = _mm512_maskz_permutexvar_epi8(HOT_WIDE & -(uint64_t)f->ipv6, _mm512_load_si512(hot_at_wide), ip);

        hot_store_upper(context->view, md, md->more & PKT_MORE_TUNNEL ? hot_tunnel(context->by, m) : NULL, key,
                        _mm512_and_si512(wide, _mm512_load_si512(hot_valid_wide)));
    }
    return block;
}

/* What is rare: by the scalar extractor, but for two tags. */
static __attribute__((noinline)) hot_block hot_extract_any(const struct hot_context *context, struct rte_mbuf *m, struct key *key,
                                                           uint16_t *tcp_flags)
{
    const struct cls_view *view = context->view;
    const uint8_t *frame = rte_pktmbuf_mtod(m, const uint8_t *);
    struct hot_frame f;

    if (!hot_is_rare(view, context->md ? context->md : &pkt_of(m)->md)
        && hot_read_any(frame, m->data_len, m->pkt_len, &f)) {
        *tcp_flags = f.tcp_flags;
        return hot_make(context, m, &f, key, false);
    }
    extract_blocks(frame, m->data_len, m->pkt_len, context->md ? context->md : &pkt_of(m)->md,
                   hot_tunnel(context->by, m), view->blocks, key, NULL);
    *tcp_flags = __builtin_bswap16(key->base.tcp_flags);
    for (uint32_t block = 0; block < KEY_BLOCKS; block++) {
        if (view->blocks >> block & 1)
            _mm512_store_si512(key->words + 8 * block, _mm512_and_si512(_mm512_load_si512(key->words + 8 * block),
                                                                        _mm512_load_si512(view->mask.words + 8 * block)));
    }
    return _mm512_load_si512(key->words);
}

/* --- Headers that are expected ---------------------------------------------------------------- */

/* To know the headers is a gain even where no two keys are equal. */
#define HOT_GUESS_ALONE true

/* The first CLS_LIKE bytes of a frame. */
typedef __m512i hot_head;

struct hot_guess {
    const struct cls_like *like;
    hot_head want, care;
    hot_head same;                  /* Bits in which frames of one key are alike. */
    __m512i at, valid, metadata;    /* Of block 0, under the view's mask. */
    __mmask64 bytes;
    uint32_t base, least, length_at;
};

static inline void hot_guess_begin(struct hot_guess *guess, const struct hot_context *context, struct cls_like *like)
{
    const uint32_t kind = hot_kind_of(like->ipv6, like->tags, like->l4);

    guess->like = like;
    guess->base = like->size ? like->base : UINT32_MAX;
    guess->least = like->least;
    guess->length_at = like->length_at;
    if (__builtin_expect(like->view != context->view->number, 0) && like->size)
        like_look_at(like, context->view);
    guess->want = _mm512_load_si512(like->want);
    guess->care = _mm512_load_si512(like->care);
    guess->same = _mm512_or_si512(guess->care, _mm512_load_si512(like->looked_at));
    guess->bytes = _bzhi_u64(~0ull, like->size);
    guess->metadata = _mm512_and_si512(_mm512_or_si512(context->metadata, _mm512_load_si512(hot_present[like->tags])), context->mask);
    guess->valid = _mm512_and_si512(_mm512_load_si512(hot_valid[kind]), context->mask);
    /* IPv6 begins here, not in a second operand. */
    guess->at = _mm512_load_si512(hot_at[kind]);
    guess->at = _mm512_mask_add_epi8(guess->at, _mm512_cmpge_epu8_mask(guess->at, _mm512_set1_epi8(64)), guess->at,
                                     _mm512_set1_epi8((char)(14 + 4 * like->tags - 64)));
}

/* Whether a frame with so many bytes at hand is one that is expected, of which `bits` are as in
 * `as`. */
static inline __attribute__((always_inline)) bool hot_guess_is(const struct hot_guess *guess, const struct rte_mbuf *m, const uint8_t *frame,
                                                               hot_head as, hot_head bits, hot_head *head)
{
    const uint32_t size = m->pkt_len;
    uint32_t length;
    __m512i odd;

    if (__builtin_expect(m->data_len < guess->base, 0))
        return false;
    *head = _mm512_maskz_loadu_epi8(guess->bytes, frame);
    length = hot_load_be16(frame + guess->length_at) - guess->least;
    odd = _mm512_ternarylogic_epi64(*head, as, bits, 0x28); /* (a ^ b) & c */
    /* 0 <= length <= size - base, and size <= UINT16_MAX. */
    return __builtin_expect(!(_mm512_test_epi64_mask(odd, odd) | (size | length | (size - guess->base - length)) >> 16), 1);
}

/* hot_make() of a frame that fits. */
static inline __attribute__((always_inline)) hot_block hot_guess_make(const struct hot_context *context, const struct hot_guess *guess,
                                                                      struct rte_mbuf *m, const uint8_t *frame, hot_head head,
                                                                      struct key *key)
{
    __m512i block = _mm512_ternarylogic_epi64(_mm512_permutexvar_epi8(guess->at, head), guess->valid, guess->metadata, 0xea);

    (void)m;
    if (guess->like->ipv6)
        block = _mm512_mask_set1_epi8(block, 1ull << 41, (char)(hot_tos(frame + 14 + 4 * guess->like->tags) & context->view->mask.base.nw_tos));
    _mm512_store_si512(key->words, block);
    if (__builtin_expect(context->view->blocks != 1, 0)) {
        __m512i wide = _mm512_setzero_si512();

        if (guess->like->ipv6) {
            const __m512i at = _mm512_add_epi8(_mm512_load_si512(hot_at_wide), _mm512_set1_epi8((char)(14 + 4 * guess->like->tags)));

            wide = _mm512_and_si512(_mm512_permutexvar_epi8(at, head), _mm512_load_si512(hot_valid_wide));
        }
        /* As hot_needs_pkt() says. */
        hot_store_upper(context->view, context->md, context->by, key, wide);
    }
    return block;
}

static inline bool hot_same(hot_block a, hot_block b)
{
    return !_mm512_cmpneq_epi64_mask(a, b);
}

static inline hot_block hot_load(const struct key *key)
{
    return _mm512_load_si512(key->words);
}

static inline uint32_t hot_pack(const struct hash_key *hash_key, const struct cls_sub *sub, hot_block block, const struct key *key,
                                uint32_t *packed, bool wide)
{
    const __m256i at = _mm256_load_si256((const __m256i *)sub->at);
    __m256i x;

    /* Masks of IPv4 and of IPv6 that alternate would be mispredicted. */
    if (!wide)
        x = _mm512_castsi512_si256(_mm512_permutexvar_epi32(_mm512_castsi256_si512(at), block));
    else if (__builtin_expect(sub->span != CLS_SPAN_ALL, 1))
        x = _mm512_castsi512_si256(_mm512_permutex2var_epi32(block, _mm512_castsi256_si512(at), _mm512_load_si512(key->words + 8)));
    else
        x = _mm256_i32gather_epi32((const int *)key->words, at, 4);
    x = _mm256_and_si256(x, _mm256_load_si256((const __m256i *)sub->mask));
    _mm256_store_si256((__m256i *)packed, x);
    return hash_chunk256(hash_key, x);
}

#ifndef __SANITIZE_THREAD__
/* Slots of a bucket with a signature, as bits. */
static inline uint32_t hot_match(const struct cls_bucket *bucket, uint32_t sig)
{
    return _mm256_cmpeq_epi32_mask(_mm256_load_si256((const __m256i *)bucket), _mm256_set1_epi32((int)sig)) & 0x7f;
}
#endif

static inline bool hot_equal(const uint32_t *packed, const struct cls_entry *entry)
{
    return !_mm256_cmpneq_epi64_mask(_mm256_load_si256((const __m256i *)packed), _mm256_load_si256((const __m256i *)entry->packed));
}

/* Masks to probe, where there are more than 64. */
static inline void hot_map(const struct cls_view *view, const struct key *key, uint64_t *map)
{
    __m512i x = _mm512_loadu_si512(view->all);

    for (uint32_t i = 0; i < view->prune_n; i++)
        x = _mm512_and_si512(x, _mm512_load_si512((const void *)(view->prune[i]
                                                                 + (size_t)key->bytes[view->prune_at[i]] * CLS_MAP_WORDS)));
    _mm512_store_si512(map, x);
}

#endif
