/* SPDX-License-Identifier: Apache-2.0
 * odp_tunnel.c - the tunnel attribute of keys and masks (odp_int.h). */
#include <errno.h>

#include "odp/odp.h"
#include "odp/odp_int.h"

#define VXLAN_GBP 1
/* struct erspan_metadata: a version, and what it says where. */
#define ERSPAN_SIZE 12u
#define ERSPAN_INDEX 4u
#define ERSPAN_BITS 10u
#define GTPU_OPTS 16u            /* Open vSwitch's own: the kernel has a flag of this number. */

static int refuse(const char **why, const char *text)
{
    *why = text;
    return EINVAL;
}

static const uint8_t odp_tunnel_sizes[] = {
    [OVS_TUNNEL_KEY_ATTR_ID] = 8,
    [OVS_TUNNEL_KEY_ATTR_IPV4_SRC] = 4,
    [OVS_TUNNEL_KEY_ATTR_IPV4_DST] = 4,
    [OVS_TUNNEL_KEY_ATTR_TOS] = 1,
    [OVS_TUNNEL_KEY_ATTR_TTL] = 1,
    [OVS_TUNNEL_KEY_ATTR_DONT_FRAGMENT] = 0,
    [OVS_TUNNEL_KEY_ATTR_CSUM] = 0,
    [OVS_TUNNEL_KEY_ATTR_OAM] = 0,
    [OVS_TUNNEL_KEY_ATTR_TP_SRC] = 2,
    [OVS_TUNNEL_KEY_ATTR_TP_DST] = 2,
    [OVS_TUNNEL_KEY_ATTR_IPV6_SRC] = 16,
    [OVS_TUNNEL_KEY_ATTR_IPV6_DST] = 16,
};

static int read_vxlan(const struct odp_attr *nest, struct key_tunnel *to, const char **why)
{
    struct odp_walk walk = { nest->at, nest->size };
    struct odp_attr attr;
    uint32_t gbp;

    while (odp_next(&walk, &attr)) {
        if (attr.type != VXLAN_GBP || attr.size != 4)
            return refuse(why, "VXLAN option unknown or of the wrong size");
        memcpy(&gbp, attr.at, 4);
        to->gbp_id = gbp & 0xffff;
        to->gbp_flags = (gbp >> 16) & 0xff;
    }
    return walk.left ? refuse(why, "VXLAN option cut short") : 0;
}

/* Options as on the wire, or a mask of such. */
static int read_options(const struct odp_attr *attr, bool is_mask, struct key_tunnel *to, uint8_t *options, const char **why)
{
    if (attr->size >= KEY_OPTIONS || attr->size % 4)
        return refuse(why, "Geneve options that are no multiple of 4 bytes, or more than 255");
    memcpy(options, attr->at, attr->size);
    to->options_size = is_mask ? 0xff : (uint8_t)attr->size;
    return 0;
}

static int read_erspan(const struct odp_attr *attr, bool is_mask, struct key_tunnel *to, const char **why)
{
    uint8_t *bits = (uint8_t *)&to->erspan;

    if (attr->size != ERSPAN_SIZE)
        return refuse(why, "ERSPAN metadata of the wrong size");
    to->erspan_ver = attr->at[0];
    if (is_mask || to->erspan_ver == 1)
        memcpy(bits, attr->at + ERSPAN_INDEX, 4);
    if (is_mask || to->erspan_ver == 2)
        for (uint32_t i = 0; i < 2; i++)
            bits[2 + i] |= attr->at[ERSPAN_BITS + i];
    return is_mask || to->erspan_ver == 1 || to->erspan_ver == 2 ? 0 : refuse(why, "ERSPAN version other than 1 and 2");
}

/* What kinds of tunnel have of their own.  False: it is no such attribute. */
static bool read_special(const struct odp_attr *attr, bool is_mask, struct key_tunnel *to, uint8_t *options, const char **why, int *error)
{
    switch (attr->type) {
    case OVS_TUNNEL_KEY_ATTR_VXLAN_OPTS:
        *error = read_vxlan(attr, to, why);
        return true;
    case OVS_TUNNEL_KEY_ATTR_GENEVE_OPTS:
        *error = read_options(attr, is_mask, to, options, why);
        return true;
    case OVS_TUNNEL_KEY_ATTR_ERSPAN_OPTS:
        *error = read_erspan(attr, is_mask, to, why);
        return true;
    case GTPU_OPTS:
        *error = attr->size == 2 ? 0 : refuse(why, "GTP-U metadata of the wrong size");
        if (!*error) {
            to->gtpu_flags = attr->at[0];
            to->gtpu_msgtype = attr->at[1];
        }
        return true;
    default:
        return false;
    }
}

static void read_one(const struct odp_attr *attr, struct key_tunnel *to)
{
    switch (attr->type) {
    case OVS_TUNNEL_KEY_ATTR_ID:
        memcpy(&to->id, attr->at, 8);
        to->flags |= KEY_TUNNEL_KEY;
        break;
    case OVS_TUNNEL_KEY_ATTR_IPV4_SRC:
    case OVS_TUNNEL_KEY_ATTR_IPV6_SRC:
        memcpy(&to->src, attr->at, attr->size);
        break;
    case OVS_TUNNEL_KEY_ATTR_IPV4_DST:
    case OVS_TUNNEL_KEY_ATTR_IPV6_DST:
        memcpy(&to->dst, attr->at, attr->size);
        break;
    case OVS_TUNNEL_KEY_ATTR_TOS:
        to->tos = attr->at[0];
        break;
    case OVS_TUNNEL_KEY_ATTR_TTL:
        to->ttl = attr->at[0];
        break;
    case OVS_TUNNEL_KEY_ATTR_DONT_FRAGMENT:
        to->flags |= KEY_TUNNEL_DF;
        break;
    case OVS_TUNNEL_KEY_ATTR_CSUM:
        to->flags |= KEY_TUNNEL_CSUM;
        break;
    case OVS_TUNNEL_KEY_ATTR_OAM:
        to->flags |= KEY_TUNNEL_OAM;
        break;
    case OVS_TUNNEL_KEY_ATTR_TP_SRC:
        memcpy(&to->tp_src, attr->at, 2);
        break;
    case OVS_TUNNEL_KEY_ATTR_TP_DST:
        memcpy(&to->tp_dst, attr->at, 2);
        break;
    default:
        break;
    }
}

int odp_read_tunnel(const struct odp_attr *nest, bool is_mask, struct key_tunnel *to, uint8_t *options, const char **why)
{
    static const struct key_tunnel none;
    const uint32_t ipv4 = 1u << OVS_TUNNEL_KEY_ATTR_IPV4_SRC | 1u << OVS_TUNNEL_KEY_ATTR_IPV4_DST;
    const uint32_t ipv6 = 1u << OVS_TUNNEL_KEY_ATTR_IPV6_SRC | 1u << OVS_TUNNEL_KEY_ATTR_IPV6_DST;
    struct odp_walk walk = { nest->at, nest->size };
    struct odp_attr attr;
    uint32_t seen = 0, special = 0;
    int error = 0;

    while (odp_next(&walk, &attr)) {
        if (read_special(&attr, is_mask, to, options, why, &error)) {
            if (error)
                return error;
            special++;
            continue;
        }
        if (attr.type >= sizeof odp_tunnel_sizes
            || (!odp_tunnel_sizes[attr.type] && attr.type != OVS_TUNNEL_KEY_ATTR_DONT_FRAGMENT
                && attr.type != OVS_TUNNEL_KEY_ATTR_CSUM && attr.type != OVS_TUNNEL_KEY_ATTR_OAM))
            return refuse(why, "tunnel attribute not supported");
        if (attr.size != odp_tunnel_sizes[attr.type])
            return refuse(why, "tunnel attribute of the wrong size");
        seen |= 1u << attr.type;
        read_one(&attr, to);
    }
    if (walk.left)
        return refuse(why, "tunnel attribute cut short");
    if (special > 1 && !is_mask)
        return refuse(why, "tunnel metadata of more than one kind");
    if (!(seen & 1u << OVS_TUNNEL_KEY_ATTR_TTL))
        return refuse(why, "tunnel without ttl");
    if (seen & ipv4 && seen & ipv6)
        return refuse(why, "tunnel with IPv4 and IPv6 addresses");
    to->family = seen & ipv4 ? 4 : seen & ipv6 ? 6 : 0;
    if (is_mask) {
        if (memcmp(to, &none, sizeof none))
            to->family = 0xff;
        return 0;
    }
    if (!memcmp(&to->dst, &none.dst, sizeof none.dst))
        return refuse(why, "tunnel without a destination");
    return 0;
}

/* Whether an address uses more than IPv4 has. */
static bool is_wide(const uint8_t address[16])
{
    static const uint8_t none[12];

    return memcmp(address + 4, none, sizeof none);
}

/* What kinds of tunnel have of their own; of a mask what its key has. */
static void write_special(struct odp_out *out, const struct key *data, const struct key *key)
{
    const struct key_tunnel *t = &data->tunnel;
    const uint32_t gbp = t->gbp_id | (uint32_t)t->gbp_flags << 16;
    uint8_t *at;

    if (gbp) {
        uint32_t options = odp_nest(out, OVS_TUNNEL_KEY_ATTR_VXLAN_OPTS);

        odp_put_bytes(out, VXLAN_GBP, &gbp, 4);
        odp_nest_end(out, options);
    }
    if (t->options_size)
        odp_put_bytes(out, OVS_TUNNEL_KEY_ATTR_GENEVE_OPTS, data->options, key->tunnel.options_size);
    if (t->erspan_ver) {
        at = odp_put(out, OVS_TUNNEL_KEY_ATTR_ERSPAN_OPTS, ERSPAN_SIZE);
        if (at) {
            at[0] = t->erspan_ver;
            if (key->tunnel.erspan_ver == 1)
                memcpy(at + ERSPAN_INDEX, &t->erspan, 4);
            else
                memcpy(at + ERSPAN_BITS, (const uint8_t *)&t->erspan + 2, 2);
        }
    }
    if (t->gtpu_flags | t->gtpu_msgtype) {
        at = odp_put(out, GTPU_OPTS, 2);
        if (at) {
            at[0] = t->gtpu_flags;
            at[1] = t->gtpu_msgtype;
        }
    }
}

void odp_write_tunnel(struct odp_out *out, const struct key *all, const struct key *all_key)
{
    const struct key_tunnel *data = &all->tunnel, *key = &all_key->tunnel;
    bool ipv6 = key->family == 6 || (!key->family && (is_wide(data->src.ip6) || is_wide(data->dst.ip6)));
    uint32_t address = ipv6 ? 16 : 4;
    uint32_t nest = odp_nest(out, OVS_KEY_ATTR_TUNNEL);

    if (data->flags & KEY_TUNNEL_KEY)
        odp_put_bytes(out, OVS_TUNNEL_KEY_ATTR_ID, &data->id, 8);
    odp_put_bytes(out, ipv6 ? OVS_TUNNEL_KEY_ATTR_IPV6_SRC : OVS_TUNNEL_KEY_ATTR_IPV4_SRC, &data->src, address);
    odp_put_bytes(out, ipv6 ? OVS_TUNNEL_KEY_ATTR_IPV6_DST : OVS_TUNNEL_KEY_ATTR_IPV4_DST, &data->dst, address);
    if (data->tos)
        odp_put_bytes(out, OVS_TUNNEL_KEY_ATTR_TOS, &data->tos, 1);
    odp_put_bytes(out, OVS_TUNNEL_KEY_ATTR_TTL, &data->ttl, 1);
    if (data->flags & KEY_TUNNEL_DF)
        odp_put(out, OVS_TUNNEL_KEY_ATTR_DONT_FRAGMENT, 0);
    if (data->flags & KEY_TUNNEL_CSUM)
        odp_put(out, OVS_TUNNEL_KEY_ATTR_CSUM, 0);
    if (data->tp_src)
        odp_put_bytes(out, OVS_TUNNEL_KEY_ATTR_TP_SRC, &data->tp_src, 2);
    if (data->tp_dst)
        odp_put_bytes(out, OVS_TUNNEL_KEY_ATTR_TP_DST, &data->tp_dst, 2);
    if (data->flags & KEY_TUNNEL_OAM)
        odp_put(out, OVS_TUNNEL_KEY_ATTR_OAM, 0);
    write_special(out, all, all_key);
    odp_nest_end(out, nest);
}

int odp_tunnel_read(const uint8_t *nest, uint32_t size, struct key_tunnel *to, uint8_t *options, const char **why)
{
    const struct odp_attr attr = { .at = nest, .type = OVS_KEY_ATTR_TUNNEL, .size = (uint16_t)size };

    return odp_read_tunnel(&attr, false, to, options, why);
}
