/* SPDX-License-Identifier: Apache-2.0
 * link: packet/extract.c odp/odp_key.c odp/odp_l3.c odp/odp_plain.c odp/odp_mask.c odp/odp_tunnel.c odp/odp_write.c odp/odp_out.c odp/odp_attr.c
 * sanitize: address
 *
 * ODP attributes: what is written is read back the same, for random keys and masks. */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>

#include "check.h"
#include "packet/extract.h"
#include "frames.h"
#include "odp/odp.h"
#include "odp/odp_attr.h"
#include "packet/pkt.h"

static uint64_t seed = 0xabcdef987654321ull;

static uint32_t rnd(void)
{
    return frame_random(&seed);
}

static void random_bytes(void *to, uint32_t size)
{
    uint8_t *at = to;

    while (size--)
        *at++ = (uint8_t)rnd();
}

/* What only some kinds of tunnel have. */
static void random_special(struct pkt *pkt)
{
    struct key_tunnel *t = &pkt->tunnel;
    const uint32_t kind = rnd() % 4;

    if (kind)
        t->gbp_id = t->gbp_flags = 0;
    if (kind == 1) {
        t->options_size = (uint8_t)(rnd() % 64 * 4);
        random_bytes(pkt->options, t->options_size);
    } else if (kind == 2) {
        t->erspan_ver = (uint8_t)(1 + rnd() % 2);
        t->erspan = t->erspan_ver == 1 ? rnd() : ODP_BE32(rnd() & 0xffff);
    } else if (kind == 3) {
        t->gtpu_flags = (uint8_t)rnd();
        t->gtpu_msgtype = (uint8_t)(rnd() | 1);
    }
}

/* The key of a random frame with random metadata. */
static void random_key(struct key *key)
{
    static struct pkt pkt;
    uint8_t frame[FRAME_MAX];
    uint32_t size = frame_get(rnd() % FRAMES, frame);

    memset(&pkt, 0, sizeof pkt);
    random_bytes(&pkt.md, sizeof pkt.md);
    pkt.md.more = rnd() & 3;
    if (rnd() & 1)
        pkt.md.skb_priority = 0;
    random_bytes(&pkt.ct, sizeof pkt.ct);
    if (rnd() & 1) {
        /* IPv6 attributes carry all 16 bytes, IPv4 ones four. */
        memset(pkt.ct.orig_src + 4, 0, 12);
        memset(pkt.ct.orig_dst + 4, 0, 12);
    }
    random_bytes(&pkt.tunnel, offsetof(struct key_tunnel, options_size));
    pkt.tunnel.flags &= 15;
    random_special(&pkt);
    pkt.tunnel.family = rnd() & 1 ? 4 : 6;
    if (pkt.tunnel.family == 4) {
        memset(pkt.tunnel.src.ip6 + 4, 0, 12);
        memset(pkt.tunnel.dst.ip6 + 4, 0, 12);
    }
    if (!(pkt.tunnel.flags & KEY_TUNNEL_KEY))
        pkt.tunnel.id = 0;
    size = frame_spoil(&seed, frame, size);
    extract_key(frame, size, size, &pkt.md, &pkt, key, NULL);
    if (key->base.eth_type == ODP_BE16(0x0800)) {
        memset(key->ct.orig_src + 4, 0, 12);
        memset(key->ct.orig_dst + 4, 0, 12);
    }
    if (!key->ct.orig_proto || !odp_is_ip(key->base.eth_type)) {
        memset(key->ct.orig_src, 0, 32);
        key->ct.orig_tp_src = key->ct.orig_tp_dst = 0;
        key->ct.orig_proto = 0;
    }
}

static void explain(const char *what, const struct key *a, const struct key *b)
{
    fprintf(stderr, "%s: bytes differ at", what);
    for (uint32_t i = 0; i < sizeof *a; i++)
        if (a->bytes[i] != b->bytes[i])
            fprintf(stderr, " %u(%02x,%02x)", i, a->bytes[i], b->bytes[i]);
    fputc('\n', stderr);
    failures++;
}

static void test_key_round_trip(void)
{
    struct key key, again;
    const char *why = "";

    for (int i = 0; i < 60000; i++) {
        uint8_t attrs[ODP_KEY_MAX], second[ODP_KEY_MAX];
        uint32_t size, room;
        int error;

        random_key(&key);
        memset(attrs, 0xee, sizeof attrs);
        size = odp_key_write(&key, attrs, sizeof attrs);
        CHECK(size > 0 && size % 4 == 0);
        error = odp_key_read(attrs, size, &again, &why);
        if (error) {
            fprintf(stderr, "round %d: %s\n", i, why);
            failures++;
        } else if (memcmp(&key, &again, sizeof key)) {
            explain("key", &key, &again);
        }
        /* Padding is written, too: no byte depends on what was there before. */
        memset(second, 0x11, sizeof second);
        CHECK(odp_key_write(&key, second, sizeof second) == size && !memcmp(attrs, second, size));
        room = rnd() % size;
        memset(second, 0x11, sizeof second);
        CHECK(odp_key_write(&key, second, room) == 0);
        for (uint32_t j = room; j < sizeof second; j++)
            CHECK(second[j] == 0x11);
        if (failures > 10)
            return;
    }
}

/* A random mask that its key allows: random bits where an attribute of the key has them. */
static void random_mask(const struct key *key, struct key *mask)
{
    struct key any;
    const char *why;

    odp_mask_read(NULL, 0, key, mask, &why);
    random_bytes(&any, sizeof any);
    for (uint32_t i = 0; i < KEY_WORDS; i++)
        if (rnd() & 1)
            mask->words[i] &= any.words[i];
    /* What must be exact. */
    mask->base.in_port = mask->base.recirc_id = UINT32_MAX;
    mask->base.l2 = 0xff;
    mask->base.eth_type = 0xffff;
    for (int i = 0; i < KEY_VLANS; i++) {
        if (i && !key->base.vlan[i - 1].tci)
            break;
        mask->base.vlan[i].tci |= ODP_BE16(KEY_TCI_PRESENT);
        mask->base.vlan[i].tpid = key->base.vlan[i].tci ? 0xffff : 0;
        if (!key->base.vlan[i].tci)
            mask->base.vlan[i].tci = ODP_BE16(KEY_TCI_PRESENT);
    }
    if (odp_is_ip(key->base.eth_type))
        mask->base.nw_frag = rnd() & 1 ? 0xff : 0;
    if (odp_l4_attr(&key->base) && (mask->base.tp_src || mask->base.tp_dst || mask->base.tcp_flags))
        mask->base.nw_proto = 0xff;
    if (odp_l4_attr(&key->base) == OVS_KEY_ATTR_ICMPV6 && odp_is_nd(&key->base)
        && (mask->base.tp_src != ODP_BE16(0xff) || mask->base.tp_dst != ODP_BE16(0xff))) {
        memset(&mask->wide.l3x, 0, sizeof mask->wide.l3x);
        mask->ct.nd_reserved = mask->ct.nd_options_type = 0;
    }
    if (key->base.eth_type == ODP_BE16(0x894f) && key->wide.l3x.nsh.mdtype != 1)
        memset(mask->wide.l3x.nsh.context, 0, 16);
    if (key->base.eth_type == ODP_BE16(0x0800)) {
        memset(mask->ct.orig_src + 4, 0, 12);
        memset(mask->ct.orig_dst + 4, 0, 12);
    }
    if (key->tunnel.family) {
        odp_mask_read(NULL, 0, key, &any, &why);
        mask->tunnel = any.tunnel;
        random_bytes(&any, sizeof any);
        mask->tunnel.flags = (uint16_t)(rnd() & 15);
        mask->tunnel.id = mask->tunnel.flags & KEY_TUNNEL_KEY ? any.tunnel.id : 0;
        if (key->tunnel.family == 4) {
            memset(mask->tunnel.src.ip6 + 4, 0, 12);
            memset(mask->tunnel.dst.ip6 + 4, 0, 12);
        }
    }
}

/* Attributes in another order, which only the general reader takes, mean the same. */
static void test_plain_keys(void)
{
    uint32_t plain = 0, spoilt = 0;

    for (int round = 0; round < 100000; round++) {
        uint8_t attrs[ODP_KEY_MAX], turned[ODP_KEY_MAX], frame[FRAME_MAX];
        uint32_t size = frame_get(rnd() % FRAMES, frame), rest;
        struct pkt_md md = { .in_port = rnd(), .recirc_id = rnd(), .dp_hash = rnd(), .skb_mark = rnd(), .skb_priority = rnd() };
        struct key key, one, other;
        const char *why = NULL;
        bool spoil = rnd() & 1;
        int error;

        extract_key(frame, size, size, &md, NULL, &key, NULL);
        size = odp_key_write(&key, attrs, sizeof attrs);
        CHECK(size > 8 && size % 4 == 0);
        if (size == 140 || size == 148) { /* The general writer, which takes over when there is a mark, writes the same. */
            uint8_t general[ODP_KEY_MAX];

            one = key;
            one.base.ct_mark = 1;
            CHECK(odp_key_write(&one, general, sizeof general) == size && general[60] == 1);
            general[60] = 0;
            CHECK(!memcmp(attrs, general, size));
            CHECK(!odp_key_write(&key, general, size - 1));
            plain++;
        }
        if (spoil)
            attrs[rnd() % size] ^= (uint8_t)(1u << rnd() % 8);
        rest = size - 8; /* The first attribute, of eight bytes, goes last. */
        memcpy(turned, attrs + 8, rest);
        memcpy(turned + rest, attrs, 8);
        error = odp_key_read(attrs, size, &one, &why);
        if (!spoil)
            CHECK(!error && !memcmp(&one, &key, sizeof one));
        if (!error && !odp_key_read(turned, size, &other, &why)) {
            CHECK(!memcmp(&one, &other, sizeof one));
            spoilt += spoil;
        }
    }
    CHECK(plain > 10000 && spoilt > 10000);
}

static void test_mask_round_trip(void)
{
    struct key key, mask, again;
    const char *why = "";

    for (int i = 0; i < 60000 && failures < 10; i++) {
        uint8_t attrs[ODP_KEY_MAX];
        uint32_t size;
        int error;

        random_key(&key);
        random_mask(&key, &mask);
        size = odp_mask_write(&mask, &key, attrs, sizeof attrs);
        CHECK(size > 0);
        error = odp_mask_read(attrs, size, &key, &again, &why);
        if (error) {
            fprintf(stderr, "round %d: %s\n", i, why);
            failures++;
        } else if (memcmp(&mask, &again, sizeof mask)) {
            explain("mask", &mask, &again);
        }
    }
}

int main(void)
{
    test_key_round_trip();
    test_plain_keys();
    test_mask_round_trip();
    return failures != 0;
}
