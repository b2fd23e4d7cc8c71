/* SPDX-License-Identifier: Apache-2.0
 * tnl_hop.c - next hops as the program says them (tnl.h), each with its header. */
#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/invariant.h"
#include "tnl/tnl_int.h"

static union tnl_key key_of(const struct dp_tnl_hop_key *told)
{
    union tnl_key key;

    memset(&key, 0, sizeof key);
    key.hop.port = told->port;
    key.hop.mark = told->mark;
    key.hop.family = told->family;
    memcpy(key.hop.src, told->src, told->family == DP_TNL_IPV4 ? 4 : 16);
    memcpy(key.hop.dst, told->dst, told->family == DP_TNL_IPV4 ? 4 : 16);
    return key;
}

static bool is_tag(const uint8_t *at)
{
    return (at[0] == 0x81 && at[1] == 0x00) || (at[0] == 0x88 && at[1] == 0xa8);
}

/* Whether a header is Ethernet, tags, and the EtherType of the family. */
static bool header_is_good(const struct dp_tnl_hop *told)
{
    const uint8_t *type = told->header + told->header_size - 2;
    bool good = told->header_size == 14 || told->header_size == 18 || told->header_size == 22;

    for (uint32_t at = 12; good && at + 2 < told->header_size; at += 4)
        good = is_tag(told->header + at);
    return good && (told->key.family == DP_TNL_IPV4 ? type[0] == 0x08 && type[1] == 0x00 : type[0] == 0x86 && type[1] == 0xdd);
}

static int check(const struct tnl *tnl, const struct dp_tnl_hop *told)
{
    static const uint8_t none[16];

    if (!tnl_port_of(tnl, told->key.port))
        return error_set(ENODEV, "port %u is no tunnel", told->key.port);
    if (told->key.family != DP_TNL_IPV4 && told->key.family != DP_TNL_IPV6)
        return error_set(EINVAL, "family %u is neither 4 nor 6", told->key.family);
    if (told->flags & ~(DP_TNL_HOP_RECEIVED | DP_TNL_HOP_NONE))
        return error_set(EINVAL, "flags of a next hop that are unknown");
    if (told->flags & DP_TNL_HOP_NONE)
        return 0;
    if (told->underlay >= TNL_PORTS - 1 || told->ttl > UINT8_MAX)
        return error_set(EINVAL, "an underlay or ttl that cannot be");
    if (!memcmp(told->src, none, sizeof none))
        return error_set(EINVAL, "a next hop without a local end");
    return header_is_good(told) ? 0 : error_set(EINVAL, "a header that is not Ethernet with the family's EtherType behind up to two tags");
}

/* The Ethernet header and the IP header, of which lengths, checksum, TOS and TTL are left. */
static void make_header(struct tnl_hop *hop)
{
    const bool udp = tunnel_is_udp(hop->port->config.kind);
    uint8_t *ip;

    memcpy(hop->header, hop->told.header, hop->told.header_size);
    hop->l3 = (uint16_t)hop->told.header_size;
    hop->ip6 = hop->told.key.family == DP_TNL_IPV6;
    hop->l4 = (uint16_t)(hop->l3 + (hop->ip6 ? 40 : 20));
    ip = hop->header + hop->l3;
    if (hop->ip6) {
        ip[0] = 0x60;
        ip[6] = udp ? 17 : 47;
        memcpy(ip + 8, hop->told.src, 16);
        memcpy(ip + 24, hop->told.key.dst, 16);
    } else {
        ip[0] = 0x45;
        ip[9] = udp ? 17 : 47;
        memcpy(ip + 12, hop->told.src, 4);
        memcpy(ip + 16, hop->told.key.dst, 4);
    }
}

static uint64_t ask_id(const struct tnl *tnl, const union tnl_key *key)
{
    uint64_t id[2];

    hash_128(&tnl->seed, key->words, 2, id);
    return id[0] | 1; /* Not 0. */
}

int tnl_hop_set(struct tnl *tnl, const struct dp_tnl_hop *told)
{
    struct tnl_item *old = NULL;
    struct tnl_hop *hop;
    union tnl_key key;
    uint32_t hash;
    int error = check(tnl, told);

    if (error)
        return error;
    key = key_of(&told->key);
    hash = tnl_key_hash(&tnl->seed, &key);
    if (tnl->hops.n >= DP_TNL_HOPS && !tnl_map_find(&tnl->hops, &key, hash))
        return error_set(ENOSPC, "there are %u next hops", DP_TNL_HOPS);
    hop = calloc(1, sizeof *hop);
    if (!hop)
        return ENOMEM;
    hop->told = *told;
    hop->port = tnl_port_of(tnl, told->key.port);
    hop->item.key = key;
    hop->item.hash = hash;
    if (!(told->flags & DP_TNL_HOP_NONE))
        make_header(hop);
    error = tnl_map_put(&tnl->hops, tnl->rcu, &hop->item, &old);
    if (error) {
        free(hop);
        return error;
    }
    tnl_map_free(tnl->rcu, old);
    tnl_event_forget(&tnl->events, ask_id(tnl, &hop->item.key));
    return 0;
}

static void drop(struct tnl *tnl, struct tnl_item *item)
{
    tnl_map_take(&tnl->hops, item);
    tnl_event_forget(&tnl->events, ask_id(tnl, &item->key));
    tnl_map_free(tnl->rcu, item);
}

int tnl_hop_delete(struct tnl *tnl, const struct dp_tnl_hop_key *told)
{
    const union tnl_key key = key_of(told);
    struct tnl_item *item = tnl_map_find(&tnl->hops, &key, tnl_key_hash(&tnl->seed, &key));

    if (!item)
        return error_set(ENOENT, "there is no such next hop");
    drop(tnl, item);
    return 0;
}

void tnl_hops_drop(struct tnl *tnl, uint32_t port, uint32_t underlay)
{
    struct tnl_item *item;

    for (uint32_t at = 0; (item = tnl_map_next(&tnl->hops, &at)) != NULL;) {
        const struct dp_tnl_hop *told = &((const struct tnl_hop *)item)->told;

        if ((port == TNL_ANY || told->key.port == port)
            && (underlay == TNL_ANY || (told->underlay == underlay && !(told->flags & DP_TNL_HOP_NONE))))
            drop(tnl, item);
    }
}

int tnl_hop_flush(struct tnl *tnl, uint32_t underlay)
{
    tnl_hops_drop(tnl, TNL_ANY, underlay == DP_PORT_NONE ? TNL_ANY : underlay);
    return 0;
}

int tnl_hop_next(struct tnl *tnl, uint32_t *at, struct dp_tnl_hop *told)
{
    const struct tnl_hop *hop = (const struct tnl_hop *)tnl_map_next(&tnl->hops, at);

    if (!hop)
        return ENOENT;
    *told = hop->told;
    told->used_ms = atomic_load_explicit(&((struct tnl_hop *)(uintptr_t)hop)->used_ms, memory_order_relaxed);
    return 0;
}
