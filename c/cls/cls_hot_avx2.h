/* SPDX-License-Identifier: Apache-2.0
 * cls_hot_avx2.h - the steps of a lookup with AVX2, for cls_hot.c.
 *
 * Block 0 of a key is two halves.  The lower one, metadata and Ethernet, lies in the frame in the
 * same order, so that an untagged frame loaded from 8 bytes before its beginning needs no shuffle;
 * the upper one is one shuffle of 16 bytes of the IP header.
 *
 * Threads: as cls_lookup. */
#ifndef UPCALL_CLS_HOT_AVX2_H
#define UPCALL_CLS_HOT_AVX2_H

#include <immintrin.h>

#include "cls/cls_int.h"
#include "cls/cls_hot_like.h"
#include "packet/extract.h"

/* Block 0 of a masked key. */
typedef struct {
    __m256i low, high;
} hot_block;

struct hot_context {
    const struct cls_view *view;
    const struct pkt_md *md;
    const struct pkt *by;           /* As in struct cls_burst. */
    hot_block mask;                 /* Block 0 of the union. */
    hot_block metadata;             /* Block 0 of `md`. */
    bool plain;                     /* `md` has nothing that only its struct pkt tells. */
};

static inline hot_block hot_load(const struct key *key)
{
    const __m256i *at = (const __m256i *)key->words;

    return (hot_block){ _mm256_load_si256(at), _mm256_load_si256(at + 1) };
}

static inline hot_block hot_metadata(const struct pkt_md *md)
{
    return (hot_block){
        _mm256_set_epi64x((int64_t)((uint64_t)md->ct_state << 56), 0, 0, (int64_t)(md->in_port | (uint64_t)md->recirc_id << 32)),
        _mm256_set_epi64x((int64_t)(md->ct_mark | (uint64_t)md->dp_hash << 32),
                          (int64_t)((uint64_t)md->ct_zone << 16 | (uint64_t)md->skb_mark << 32), 0, 0),
    };
}

static inline void hot_begin(struct hot_context *context, const struct cls_view *view, const struct pkt_md *md, const struct pkt *by)
{
    context->view = view;
    context->md = md;
    context->by = by;
    context->mask = hot_load(&view->mask);
    context->plain = md && !hot_needs_pkt(view, md, by);
    context->metadata = md ? hot_metadata(md) : (hot_block){ _mm256_setzero_si256(), _mm256_setzero_si256() };
}

/* Whether all packets have the context's metadata, and no more. */
static inline bool hot_is_common(const struct hot_context *context)
{
    return context->plain;
}

/* By the scalar extractor. */
static __attribute__((noinline)) hot_block hot_extract_any(const struct hot_context *context, struct rte_mbuf *m, struct key *key,
                                                      uint16_t *tcp_flags)
{
    const struct cls_view *view = context->view;

    extract_blocks(rte_pktmbuf_mtod(m, const uint8_t *), m->data_len, m->pkt_len, context->md ? context->md : &pkt_of(m)->md,
                   hot_tunnel(context->by, m), view->blocks, key, NULL);
    *tcp_flags = __builtin_bswap16(key->base.tcp_flags);
    for (uint32_t block = 0; view->blocks >> block; block++) {
        for (uint32_t w = 8 * block; w < 8 * block + 8; w++)
            key->words[w] &= view->mask.words[w];
    }
    return hot_load(key);
}

/* Addresses, type and tags, then the last byte free for ct_state. */
static inline __m256i hot_ethernet(const uint8_t *frame, uint32_t tags)
{
    uint64_t words[4];

    if (__builtin_expect(!tags, 1)) {
        const __m256i x = _mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)frame));

        return _mm256_and_si256(_mm256_permute4x64_epi64(x, 0x50), _mm256_setr_epi64x(0, -1, 0xffffffffffff, 0));
    }
    words[1] = hot_load64(frame);
    words[2] = (uint32_t)hot_load64(frame + 8);
    /* tci, then tpid; the wire has tpid, then tci. */
    words[3] = tags == 1 ? 0 : hot_load64(frame + 16);
    {
        uint64_t first = hot_load64(frame + 12), second = words[3];
        uint64_t tag0 = ((first >> 16) & 0xffff) | 0x10 | (first & 0xffff) << 16;
        uint64_t tag1 = tags == 1 ? 0 : ((second >> 16) & 0xffff) | 0x10 | (second & 0xffff) << 16;
        uint64_t type = hot_load64(frame + 12 + 4 * tags) & 0xffff, both = tag0 | tag1 << 32;

        return _mm256_set_epi64x((int64_t)(both >> 16), (int64_t)(words[2] | type << 32 | both << 48), (int64_t)words[1], 0);
    }
}

/* Addresses, protocol and ports of IPv4; for IPv6 all but addresses. */
static inline __m256i hot_network(const uint8_t *ip, const struct hot_frame *f)
{
    const __m128i shuffle = _mm_setr_epi8(4, 5, 6, 7, 8, 9, 10, 11, 1, -1, 0, -1, 12, 13, 14, 15);
    const uint16_t flags = __builtin_bswap16(f->tcp_flags);
    uint64_t nw, ports;
    __m128i x;

    if (__builtin_expect(!f->ipv6 && f->l4 != HOT_ICMP, 1)) {
        /* ttl to ports. */
        x = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(ip + 8)), shuffle);
        x = _mm_insert_epi8(x, ip[1], 9);
        return _mm256_inserti128_si256(_mm256_castsi128_si256(x), _mm_cvtsi32_si128(flags), 1);
    }
    nw = f->ipv6 ? ip[6] | (uint32_t)hot_tos(ip) << 8 | (uint32_t)ip[7] << 16 : ip[9] | (uint32_t)ip[1] << 8 | (uint32_t)ip[8] << 16;
    ip += f->ipv6 ? 40 : 20;
    ports = f->l4 == HOT_ICMP ? (uint32_t)ip[0] << 8 | (uint32_t)ip[1] << 24 : (uint32_t)hot_load64(ip);
    return _mm256_set_epi64x(0, flags, (int64_t)(nw | ports << 32), f->ipv6 ? 0 : (int64_t)hot_load64(ip - 8));
}

/* `tunnel`: the packet's, if it came by one; else NULL. */
static inline void hot_store_upper(const struct cls_view *view, const struct pkt_md *md, const struct pkt *tunnel, struct key *key,
                                   const uint8_t *ip6)
{
    const __m256i zero = _mm256_setzero_si256(), *mask = (const __m256i *)view->mask.words;
    __m256i *to = (__m256i *)key->words;

    _mm256_store_si256(to + 2, zero);
    _mm256_store_si256(to + 3, zero);
    if (ip6) {
        uint32_t label;

        memcpy(&label, ip6, sizeof label);
        _mm256_store_si256(to + 2, _mm256_and_si256(_mm256_loadu_si256((const __m256i *)(ip6 + 8)), _mm256_load_si256(mask + 2)));
        key->wide.ip6_label = label & 0xffff0f00 & view->mask.wide.ip6_label;
    }
    if (view->blocks >> 2) {
        const __m256i *by = tunnel ? (const __m256i *)&tunnel->tunnel : NULL;

        for (int i = 4; i < 6; i++)
            _mm256_store_si256(to + i, by ? _mm256_and_si256(_mm256_loadu_si256(by + i - 4), _mm256_load_si256(mask + i)) : zero);
        for (int i = 6; i < 8; i++)
            _mm256_store_si256(to + i, zero);
        key->ct.skb_priority = md->skb_priority & view->mask.ct.skb_priority;
        if (view->blocks >> KEY_OPTIONS_BLOCK)
            hot_store_options(view, tunnel, key);
    }
}

/* As cls_hot_kind.h asks: there is nothing to be found before. */
#define HOT_FINDS false
static inline uint32_t hot_find(const uint8_t *frame, uint32_t size)
{
    (void)frame;
    (void)size;
    return 0;
}
static inline bool hot_read(const uint8_t *frame, uint32_t size, uint32_t packet_size, uint32_t kind, struct hot_frame *f)
{
    (void)kind;
    return hot_frame_read(frame, size, packet_size, f);
}

#define hot_read_any hot_frame_read

/* Writes the key of a packet of which hot_frame_read() said `f`, under the view's mask, only the
 * blocks that the view asks for.  `common`: the context has its metadata. */
static inline __attribute__((always_inline)) hot_block hot_make(const struct hot_context *context, struct rte_mbuf *m,
                                                                const struct hot_frame *f, struct key *key, const bool common)
{
    const uint8_t *frame = rte_pktmbuf_mtod(m, const uint8_t *), *ip = frame + 14 + 4 * f->tags;
    const bool own = !common && !context->md;
    const struct pkt_md *md = own ? &pkt_of(m)->md : context->md;
    const hot_block metadata = own ? hot_metadata(md) : context->metadata;
    hot_block block;

    block.low = _mm256_and_si256(_mm256_or_si256(hot_ethernet(frame, f->tags), metadata.low), context->mask.low);
    block.high = _mm256_and_si256(_mm256_or_si256(hot_network(ip, f), metadata.high), context->mask.high);
    _mm256_store_si256((__m256i *)key->words, block.low);
    _mm256_store_si256((__m256i *)key->words + 1, block.high);
    if (__builtin_expect(context->view->blocks != 1, 0))
        hot_store_upper(context->view, md, md->more & PKT_MORE_TUNNEL ? hot_tunnel(context->by, m) : NULL, key, f->ipv6 ? ip : NULL);
    return block;
}

/* --- Headers that are expected ---------------------------------------------------------------- */

/* Only keys that need not be made are a gain: two loads and compares take as long as the reading
 * of a header by scalars. */
#define HOT_GUESS_ALONE false

/* The first 32 bytes of the headers, and the last 32 of them. */
typedef hot_block hot_head;

struct hot_guess {
    const struct cls_like *like;
    hot_head want, care;
    hot_head same;                  /* Bits in which frames of one key are alike. */
    uint32_t base, least, length_at, high_at;
};

static inline hot_head hot_head_load(const uint8_t *at, uint32_t high_at)
{
    return (hot_head){ _mm256_loadu_si256((const __m256i *)at), _mm256_loadu_si256((const __m256i *)(at + high_at)) };
}

static inline void hot_guess_begin(struct hot_guess *guess, const struct hot_context *context, struct cls_like *like)
{
    hot_head looked_at;

    guess->like = like;
    guess->base = like->size ? like->base : UINT32_MAX;
    guess->least = like->least;
    guess->length_at = like->length_at;
    guess->high_at = like->size ? like->size - 32 : 0;
    if (__builtin_expect(like->view != context->view->number, 0) && like->size)
        like_look_at(like, context->view);
    looked_at = hot_head_load(like->looked_at, guess->high_at);
    guess->want = hot_head_load(like->want, guess->high_at);
    guess->care = hot_head_load(like->care, guess->high_at);
    guess->same = (hot_head){ _mm256_or_si256(guess->care.low, looked_at.low), _mm256_or_si256(guess->care.high, looked_at.high) };
}

static inline bool hot_head_differs(hot_head a, hot_head b, hot_head bits)
{
    const __m256i low = _mm256_and_si256(_mm256_xor_si256(a.low, b.low), bits.low);
    const __m256i high = _mm256_and_si256(_mm256_xor_si256(a.high, b.high), bits.high), both = _mm256_or_si256(low, high);

    return !_mm256_testz_si256(both, both);
}

/* Whether a frame with so many bytes at hand is one that is expected, of which `bits` are as in
 * `as`. */
static inline __attribute__((always_inline)) bool hot_guess_is(const struct hot_guess *guess, const struct rte_mbuf *m, const uint8_t *frame,
                                                               hot_head as, hot_head bits, hot_head *head)
{
    const uint32_t size = m->pkt_len;
    uint32_t length;

    if (__builtin_expect(m->data_len < guess->base, 0))
        return false;
    *head = hot_head_load(frame, guess->high_at);
    length = hot_load_be16(frame + guess->length_at) - guess->least;
    /* 0 <= length <= size - base, and size <= UINT16_MAX. */
    return __builtin_expect(!(hot_head_differs(*head, as, bits) | (size | length | (size - guess->base - length)) >> 16), 1);
}

/* hot_make() of a frame that fits. */
static inline __attribute__((always_inline)) hot_block hot_guess_make(const struct hot_context *context, const struct hot_guess *guess,
                                                                      struct rte_mbuf *m, const uint8_t *frame, hot_head head,
                                                                      struct key *key)
{
    const struct cls_like *like = guess->like;
    const struct hot_frame f = {
        .tags = like->tags, .ipv6 = like->ipv6, .l4 = like->l4, .tcp_flags = like_tcp_flags(like, frame),
    };

    (void)head;
    return hot_make(context, m, &f, key, true);
}

static inline bool hot_same(hot_block a, hot_block b)
{
    __m256i difference = _mm256_or_si256(_mm256_xor_si256(a.low, b.low), _mm256_xor_si256(a.high, b.high));

    return _mm256_testz_si256(difference, difference);
}

static inline uint32_t hot_pack(const struct hash_key *hash_key, const struct cls_sub *sub, hot_block block, const struct key *key,
                                uint32_t *packed, bool wide)
{
    const __m256i at = _mm256_load_si256((const __m256i *)sub->at);
    __m256i x;

    (void)wide;
    if (__builtin_expect(sub->span == CLS_SPAN_0, 1)) {
        __m256i low = _mm256_permutevar8x32_epi32(block.low, at), high = _mm256_permutevar8x32_epi32(block.high, at);

        /* Word numbers from 8 on are in the upper half: bit 3, moved to the sign. */
        x = _mm256_castps_si256(_mm256_blendv_ps(_mm256_castsi256_ps(low), _mm256_castsi256_ps(high),
                                                 _mm256_castsi256_ps(_mm256_slli_epi32(at, 28))));
    } else {
        x = _mm256_i32gather_epi32((const int *)key->words, at, 4);
    }
    x = _mm256_and_si256(x, _mm256_load_si256((const __m256i *)sub->mask));
    _mm256_store_si256((__m256i *)packed, x);
    return hash_chunks(hash_key, packed, 1);
}

#ifndef __SANITIZE_THREAD__
/* Slots of a bucket with a signature, as bits. */
static inline uint32_t hot_match(const struct cls_bucket *bucket, uint32_t sig)
{
    __m256i equal = _mm256_cmpeq_epi32(_mm256_load_si256((const __m256i *)bucket), _mm256_set1_epi32((int)sig));

    return (uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(equal)) & 0x7f;
}
#endif

static inline bool hot_equal(const uint32_t *packed, const struct cls_entry *entry)
{
    __m256i difference = _mm256_xor_si256(_mm256_load_si256((const __m256i *)packed), _mm256_load_si256((const __m256i *)entry->packed));

    return _mm256_testz_si256(difference, difference);
}

/* Masks to probe, where there are more than 64. */
static inline void hot_map(const struct cls_view *view, const struct key *key, uint64_t *map)
{
    cls_prune_map(view, key, map);
}

#endif
