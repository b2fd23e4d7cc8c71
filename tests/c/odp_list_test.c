/* SPDX-License-Identifier: Apache-2.0
 * link: packet/extract.c odp/odp_key.c odp/odp_l3.c odp/odp_plain.c odp/odp_mask.c odp/odp_tunnel.c odp/odp_write.c odp/odp_out.c odp/odp_attr.c
 * sanitize: address
 *
 * Lists of ODP attributes, one by one: prerequisites are enforced, malformed lists are refused, metadata is found. */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "packet/extract.h"
#include "odp/odp.h"
#include "odp/odp_attr.h"
#include "packet/pkt.h"

/* A list of attributes under construction. */
struct list {
    uint8_t bytes[2048];
    uint32_t size;
};

static void add(struct list *l, unsigned int type, const char *hex)
{
    uint32_t start = l->size, n = 4;
    uint16_t head[2];

    for (; *hex; hex += 2) {
        char pair[3];

        while (*hex == ' ')
            hex++;
        memcpy(pair, hex, 2);
        pair[2] = 0;
        l->bytes[start + n++] = (uint8_t)strtoul(pair, NULL, 16);
    }
    head[0] = (uint16_t)n;
    head[1] = (uint16_t)type;
    memcpy(l->bytes + start, head, 4);
    l->size = (start + n + 3) & ~3u;
}

static uint32_t begin(struct list *l, unsigned int type)
{
    uint32_t at = l->size;

    add(l, type, "");
    return at;
}

static void end(struct list *l, uint32_t at)
{
    uint16_t size = (uint16_t)(l->size - at);

    memcpy(l->bytes + at, &size, 2);
}

static struct list start(void)
{
    struct list l = { .size = 0 };

    add(&l, OVS_KEY_ATTR_IN_PORT, "01000000");
    add(&l, OVS_KEY_ATTR_ETHERNET, "020000000001 020000000002");
    return l;
}

static int read_list(const struct list *l)
{
    struct key key;
    const char *why = NULL;
    int error = odp_key_read(l->bytes, l->size, &key, &why);

    CHECK(!error == !why);
    return error;
}

#define IPV4_TCP "0a000001 0a000002 06 00 40 00"
#define IPV4_UDP "0a000001 0a000002 11 00 40 00"
#define IPV4_LATER "0a000001 0a000002 11 00 40 02"
#define IPV6_ND "20010db8000000000000000000000001 20010db8000000000000000000000002 00000000 3a 00 ff 00"

static void test_prerequisites(void)
{
    struct list l = start();

    CHECK(read_list(&l) == 0); /* 802.2. */
    add(&l, OVS_KEY_ATTR_ETHERTYPE, "0800");
    CHECK(read_list(&l) == EINVAL); /* No IPV4. */
    add(&l, OVS_KEY_ATTR_IPV4, IPV4_TCP);
    CHECK(read_list(&l) == EINVAL); /* No TCP. */
    add(&l, OVS_KEY_ATTR_TCP, "0001 0002");
    CHECK(read_list(&l) == 0);
    add(&l, OVS_KEY_ATTR_TCP_FLAGS, "0002");
    CHECK(read_list(&l) == 0);
    add(&l, OVS_KEY_ATTR_UDP, "0001 0002");
    CHECK(read_list(&l) == EINVAL);

    l = start();
    add(&l, OVS_KEY_ATTR_ETHERTYPE, "0800");
    add(&l, OVS_KEY_ATTR_IPV4, IPV4_LATER);
    CHECK(read_list(&l) == 0); /* Later fragments have no ports. */
    add(&l, OVS_KEY_ATTR_UDP, "0001 0002");
    CHECK(read_list(&l) == EINVAL);

    l = start();
    add(&l, OVS_KEY_ATTR_ETHERTYPE, "0800");
    add(&l, OVS_KEY_ATTR_IPV4, "0a000001 0a000002 11 00 40 03");
    CHECK(read_list(&l) == EINVAL);

    l = start();
    add(&l, OVS_KEY_ATTR_ETHERTYPE, "05ff");
    CHECK(read_list(&l) == EINVAL);

    l = start();
    add(&l, OVS_KEY_ATTR_ETHERTYPE, "86dd");
    add(&l, OVS_KEY_ATTR_IPV6, IPV6_ND);
    add(&l, OVS_KEY_ATTR_ICMPV6, "8700");
    CHECK(read_list(&l) == EINVAL); /* No ND. */
    add(&l, OVS_KEY_ATTR_ND, "20010db8000000000000000000000002 020000000001 000000000000");
    CHECK(read_list(&l) == 0);

    l = start();
    add(&l, OVS_KEY_ATTR_ETHERTYPE, "0806");
    CHECK(read_list(&l) == EINVAL);
    add(&l, OVS_KEY_ATTR_ARP, "0a000001 0a000002 0101 020000000001 000000000000 0000");
    CHECK(read_list(&l) == EINVAL); /* Opcode 257. */

    l = start();
    add(&l, OVS_KEY_ATTR_ETHERTYPE, "8847");
    add(&l, OVS_KEY_ATTR_MPLS, "00001140 00002140");
    CHECK(read_list(&l) == EINVAL); /* Bottom of stack twice. */

    l = start();
    add(&l, OVS_KEY_ATTR_CT_STATE, "00010000");
    CHECK(read_list(&l) == EINVAL);
    l = start();
    add(&l, OVS_KEY_ATTR_CT_ORIG_TUPLE_IPV4, "0a000001 0a000002 0001 0002 06 000000");
    CHECK(read_list(&l) == EINVAL); /* Not IPv4. */
    l = start();
    add(&l, OVS_KEY_ATTR_IN_PORT, "01000000");
    CHECK(read_list(&l) == EINVAL); /* Twice. */
    for (unsigned int type = 0; type < 70; type++) {
        l = start();
        add(&l, type, "00");
        CHECK(read_list(&l) == EINVAL); /* Unknown, or of the wrong size. */
    }
}

static void test_vlan(void)
{
    struct list l = start();
    struct key key, mask;
    const char *why;
    uint32_t nest;

    add(&l, OVS_KEY_ATTR_ETHERTYPE, "8100");
    CHECK(read_list(&l) == EINVAL);
    add(&l, OVS_KEY_ATTR_VLAN, "0005");
    nest = begin(&l, OVS_KEY_ATTR_ENCAP);
    add(&l, OVS_KEY_ATTR_ETHERTYPE, "88b5");
    end(&l, nest);
    CHECK(read_list(&l) == EINVAL); /* No 0x1000. */

    l = start();
    add(&l, OVS_KEY_ATTR_ETHERTYPE, "8100");
    add(&l, OVS_KEY_ATTR_VLAN, "1005");
    nest = begin(&l, OVS_KEY_ATTR_ENCAP);
    add(&l, OVS_KEY_ATTR_ETHERTYPE, "88b5");
    end(&l, nest);
    CHECK(!odp_key_read(l.bytes, l.size, &key, &why));
    CHECK(key.base.vlan[0].tci == ODP_BE16(0x1005) && key.base.vlan[0].tpid == ODP_BE16(0x8100));
    CHECK(key.base.eth_type == ODP_BE16(0x88b5));

    /* Presence is matched even where the mask says nothing of it. */
    l = (struct list){ .size = 0 };
    add(&l, OVS_KEY_ATTR_IN_PORT, "ffffffff");
    CHECK(!odp_mask_read(l.bytes, l.size, &key, &mask, &why));
    CHECK(mask.base.vlan[0].tci == ODP_BE16(0x1000) && mask.base.vlan[1].tci == ODP_BE16(0x1000));
    CHECK(mask.base.eth_type == 0xffff && mask.base.recirc_id == UINT32_MAX && mask.base.l2 == KEY_L2_KIND);

    l = start();
    add(&l, OVS_KEY_ATTR_ETHERTYPE, "8100");
    add(&l, OVS_KEY_ATTR_VLAN, "0000");
    nest = begin(&l, OVS_KEY_ATTR_ENCAP);
    end(&l, nest);
    CHECK(!odp_key_read(l.bytes, l.size, &key, &why));
    CHECK(key.base.eth_type == ODP_BE16(0x8100) && !key.base.vlan[0].tci && !key.base.vlan[0].tpid);
}

/* What is matched in whole is refused in part, and the packet type is known to have been asked for. */
static void test_parts(void)
{
    static const struct { unsigned int type; const char *hex; int error; } masks[] = {
        { OVS_KEY_ATTR_IN_PORT, "ff000000", EINVAL },      { OVS_KEY_ATTR_RECIRC_ID, "ff000000", EINVAL },
        { OVS_KEY_ATTR_ETHERTYPE, "ff00", EINVAL },        { ODP_KEY_PACKET_TYPE, "ffff0000", EINVAL },
        { OVS_KEY_ATTR_RECIRC_ID, "00000000", 0 },         { OVS_KEY_ATTR_RECIRC_ID, "ffffffff", 0 },
        { OVS_KEY_ATTR_ETHERTYPE, "ffff", 0 },             { ODP_KEY_PACKET_TYPE, "ffffffff", 0 },
    };
    struct list l = start();
    struct key key, mask;
    const char *why;

    add(&l, OVS_KEY_ATTR_ETHERTYPE, "88b5");
    CHECK(!odp_key_read(l.bytes, l.size, &key, &why));
    for (size_t i = 0; i < sizeof masks / sizeof *masks; i++) {
        l = (struct list){ .size = 0 };
        if (masks[i].type != OVS_KEY_ATTR_IN_PORT)
            add(&l, OVS_KEY_ATTR_IN_PORT, "ffffffff");
        add(&l, masks[i].type, masks[i].hex);
        CHECK(odp_mask_read(l.bytes, l.size, &key, &mask, &why) == masks[i].error);
        if (!masks[i].error)
            CHECK(mask.base.l2 == (masks[i].type == ODP_KEY_PACKET_TYPE ? 0xff : KEY_L2_KIND));
    }
}

static int mask_of(const struct key *key, unsigned int type, const char *hex, const char *proto)
{
    struct list l = { .size = 0 };
    struct key mask;
    const char *why = NULL;
    int error;

    add(&l, OVS_KEY_ATTR_IN_PORT, "ffffffff");
    add(&l, OVS_KEY_ATTR_ETHERTYPE, "ffff");
    if (proto) {
        char ip[64];

        sprintf(ip, "00000000 00000000 %s 00 00 00", proto);
        add(&l, OVS_KEY_ATTR_IPV4, ip);
    }
    add(&l, type, hex);
    error = odp_mask_read(l.bytes, l.size, key, &mask, &why);
    CHECK(!error == !why);
    return error;
}

static void test_mask_prerequisites(void)
{
    struct list l = start(), m = { .size = 0 };
    struct key key, mask;
    const char *why;

    add(&l, OVS_KEY_ATTR_ETHERTYPE, "0800");
    add(&l, OVS_KEY_ATTR_IPV4, IPV4_UDP);
    add(&l, OVS_KEY_ATTR_UDP, "0001 0002");
    CHECK(!odp_key_read(l.bytes, l.size, &key, &why));

    CHECK(mask_of(&key, OVS_KEY_ATTR_UDP, "ffff 0000", "ff") == 0);
    CHECK(mask_of(&key, OVS_KEY_ATTR_UDP, "ffff 0000", "7f") == EINVAL);
    CHECK(mask_of(&key, OVS_KEY_ATTR_UDP, "ffff 0000", NULL) == EINVAL);
    CHECK(mask_of(&key, OVS_KEY_ATTR_UDP, "0000 0000", "00") == 0);
    CHECK(mask_of(&key, OVS_KEY_ATTR_TCP, "0000 0000", "ff") == EINVAL);
    CHECK(mask_of(&key, OVS_KEY_ATTR_IPV6, IPV6_ND, NULL) == EINVAL);

    /* Layer 3 without an exact eth_type; in_port missing or partial. */
    add(&m, OVS_KEY_ATTR_IN_PORT, "ffffffff");
    add(&m, OVS_KEY_ATTR_IPV4, "ff000000 00000000 00 00 00 00");
    CHECK(odp_mask_read(m.bytes, m.size, &key, &mask, &why) == EINVAL);
    m.size = 0;
    add(&m, OVS_KEY_ATTR_ETHERTYPE, "ffff");
    CHECK(odp_mask_read(m.bytes, m.size, &key, &mask, &why) == EINVAL);
    add(&m, OVS_KEY_ATTR_IN_PORT, "ffff0000");
    CHECK(odp_mask_read(m.bytes, m.size, &key, &mask, &why) == EINVAL);
    /* An empty mask matches what is always matched. */
    CHECK(odp_mask_read(m.bytes, 0, &key, &mask, &why) == 0);
    CHECK(mask.base.in_port == UINT32_MAX && mask.base.nw_frag == 0xff && !mask.base.nw_proto && !mask.base.eth_dst[0]);
}

/* Every combination of length field and bytes that are left, of the outer list and of nests. */
static void test_lengths(void)
{
    struct key key;
    const char *why;

    for (uint32_t left = 0; left < 24; left++)
        for (uint32_t size = 0; size < 28; size++) {
            uint8_t *bytes = malloc(left ? left : 1);
            uint16_t head[2] = { (uint16_t)size, OVS_KEY_ATTR_TUNNEL };
            int error;

            memset(bytes, 0, left ? left : 1);
            memcpy(bytes, head, left < 4 ? left : 4);
            error = odp_key_read(bytes, left, &key, &why);
            CHECK(left == 0 ? !error : error == EINVAL);
            head[1] = OVS_KEY_ATTR_NSH;
            memcpy(bytes, head, left < 4 ? left : 4);
            error = odp_key_read(bytes, left, &key, &why);
            CHECK(left == 0 ? !error : error == EINVAL);
            free(bytes);
        }
    /* 0xffff, too. */
    CHECK(odp_key_read((const uint8_t *)"\xff\xff\x02\x00\x00\x00\x00\x00", 8, &key, &why) == EINVAL);
}

/* Every subset of the attributes of a key: a verdict, never a crash; and a key without in_port is one. */
static void test_subsets(void)
{
    static struct list parts[8];
    struct key key;
    const char *why;

    add(&parts[0], OVS_KEY_ATTR_IN_PORT, "01000000");
    add(&parts[1], OVS_KEY_ATTR_ETHERNET, "020000000001 020000000002");
    add(&parts[2], OVS_KEY_ATTR_ETHERTYPE, "86dd");
    add(&parts[3], OVS_KEY_ATTR_IPV6, IPV6_ND);
    add(&parts[4], OVS_KEY_ATTR_ICMPV6, "8700");
    add(&parts[5], OVS_KEY_ATTR_ND, "20010db8000000000000000000000002 020000000001 000000000000");
    add(&parts[6], ODP_KEY_ND_EXTENSIONS, "00000001 01 000000");
    add(&parts[7], OVS_KEY_ATTR_RECIRC_ID, "05000000");
    for (uint32_t subset = 0; subset < 256; subset++) {
        struct list l = { .size = 0 };
        uint8_t attrs[ODP_KEY_MAX];
        struct key again;

        for (int i = 0; i < 8; i++)
            if (subset >> i & 1) {
                memcpy(l.bytes + l.size, parts[i].bytes, parts[i].size);
                l.size += parts[i].size;
            }
        if (odp_key_read(l.bytes, l.size, &key, &why))
            continue;
        CHECK(subset & 1 || key.base.in_port == UINT32_MAX);
        CHECK(!odp_key_read(attrs, odp_key_write(&key, attrs, sizeof attrs), &again, &why));
        CHECK(!memcmp(&key, &again, sizeof key));
    }
}

static void test_metadata(void)
{
    struct list l = start();
    struct pkt pkt;
    const char *why;

    add(&l, OVS_KEY_ATTR_ETHERTYPE, "0800"); /* Headers are not looked at. */
    add(&l, OVS_KEY_ATTR_SKB_MARK, "05000000");
    add(&l, OVS_KEY_ATTR_PRIORITY, "06000000");
    add(&l, OVS_KEY_ATTR_RECIRC_ID, "07000000");
    add(&l, OVS_KEY_ATTR_CT_STATE, "21000000");
    CHECK(!odp_md_read(l.bytes, l.size, &pkt, &why));
    CHECK(pkt.md.in_port == 1 && pkt.md.skb_mark == 5 && pkt.md.skb_priority == 6 && pkt.md.recirc_id == 7);
    CHECK(pkt.md.ct_state == 0x21 && pkt.md.more == 0);
    add(&l, OVS_KEY_ATTR_CT_ORIG_TUPLE_IPV4, "0a000001 0a000002 0001 0002 06 000000");
    CHECK(!odp_md_read(l.bytes, l.size, &pkt, &why));
    CHECK(pkt.md.more == PKT_MORE_CT && pkt.ct.orig_proto == 6 && pkt.ct.orig_src[3] == 1);
    CHECK(!odp_md_read(NULL, 0, &pkt, &why) && pkt.md.in_port == UINT32_MAX);
}

int main(void)
{
    test_parts();
    test_prerequisites();
    test_vlan();
    test_mask_prerequisites();
    test_lengths();
    test_subsets();
    test_metadata();
    return failures != 0;
}
