/* SPDX-License-Identifier: Apache-2.0
 * tnl_snoop.c - what packets on their way to addresses of ours say of neighbours and paths: ARP
 * (RFC 826), neighbour discovery (RFC 4861), ICMP about outer packets (RFC 1191, 8201). */
#include <string.h>

#include <rte_ip.h>
#include <rte_mbuf.h>

#include "packet/csum.h"
#include "tnl/tnl_pop_int.h"

static uint32_t be16(const uint8_t *at)
{
    return (uint32_t)at[0] << 8 | at[1];
}

/* Whether an address is ours at a port. */
static bool is_ours(const struct tnl *tnl, uint32_t port, uint8_t family, uint16_t vlan, const uint8_t *address)
{
    const struct tnl_map *locals = atomic_load_explicit(&((struct tnl *)(uintptr_t)tnl)->locals, memory_order_acquire);
    union tnl_key key;

    memset(&key, 0, sizeof key);
    key.local.port = port;
    key.local.family = family;
    key.local.vlan = vlan;
    memcpy(key.local.address, address, family == 4 ? 4 : 16);
    return tnl_map_find(locals, &key, tnl_key_hash(&tnl->seed, &key));
}

/* Of one host, not of none or many. */
static bool is_station(const uint8_t *mac)
{
    return !(mac[0] & 1) && (mac[0] | mac[1] | mac[2] | mac[3] | mac[4] | mac[5]);
}

static void tell(struct worker *worker, const struct dp_tnl_event *event)
{
    uint32_t words[3 * HASH_CHUNK] = { 0 };
    uint64_t id[2];

    _Static_assert(sizeof *event <= sizeof words, "an event is three chunks at most");
    memcpy(words, event, sizeof *event);
    hash_128(&worker->tnl->seed, words, 3, id);
    tnl_tell(&worker->tnl->events, id[0] | 1, worker->now_ms, event);
}

static void tell_neighbour(struct worker *worker, uint32_t port, const struct tnl_seen *seen, uint32_t family, const uint8_t *src,
                           const uint8_t *dst, const uint8_t *mac)
{
    struct dp_tnl_event event = { .kind = DP_TNL_NEIGHBOUR, .port = port, .family = family, .vlan = seen->vlan };

    if (!is_station(mac))
        return;
    memcpy(event.src, src, family == 4 ? 4 : 16);
    memcpy(event.dst, dst, family == 4 ? 4 : 16);
    memcpy(event.mac, mac, sizeof event.mac);
    tell(worker, &event);
}

/* Requests and replies to us, and of hosts that tell everybody. */
static void snoop_arp(struct worker *worker, uint32_t port, const struct tnl_seen *seen)
{
    static const uint8_t head[6] = { 0, 1, 8, 0, 6, 4 }, none[4];
    const uint8_t *arp = seen->frame + seen->l3;

    if (seen->room < seen->l3 + 28 || memcmp(arp, head, sizeof head) || !memcmp(arp + 14, none, 4))
        return;
    if (is_ours(worker->tnl, port, 4, seen->vlan, arp + 24) || !memcmp(arp + 14, arp + 24, 4))
        tell_neighbour(worker, port, seen, 4, arp + 14, arp + 24, arp + 8);
}

/* The link-layer address among options; NULL: none. */
static const uint8_t *option(const uint8_t *at, uint32_t size, uint8_t type)
{
    while (size >= 8 && at[1] && at[1] * 8u <= size) {
        if (at[0] == type && at[1] == 1)
            return at + 2;
        size -= at[1] * 8u;
        at += at[1] * 8;
    }
    return NULL;
}

static bool sum6_is_good(const struct rte_mbuf *m, const struct tnl_seen *seen)
{
    const uint32_t size = seen->end - seen->l4;
    const uint8_t pseudo[8] = { 0, 0, (uint8_t)(size >> 8), (uint8_t)size, 0, 0, 0, 58 };
    uint16_t sum = 0;

    return !rte_raw_cksum_mbuf(m, seen->l4, size, &sum)
           && csum_fold(csum_sum(pseudo, sizeof pseudo) + csum_sum(tnl_source(seen), 32) + sum) == UINT16_MAX;
}

static void snoop_nd(struct worker *worker, uint32_t port, const struct rte_mbuf *m, const struct tnl_seen *seen)
{
    const uint8_t *nd = seen->frame + seen->l4, *source = tnl_source(seen), *destination = tnl_destination(seen), *mac;
    const bool asks = nd[0] == 135;

    if (seen->ttl != 255 || nd[1] || seen->end > seen->room || seen->end < seen->l4 + 24 || !sum6_is_good(m, seen))
        return;
    mac = option(nd + 24, seen->end - seen->l4 - 24, asks ? 1 : 2);
    if (!mac)
        return;
    if (asks && is_ours(worker->tnl, port, 6, seen->vlan, nd + 8))
        tell_neighbour(worker, port, seen, 6, source, nd + 8, mac);
    else if (!asks && (destination[0] == 0xff || is_ours(worker->tnl, port, 6, seen->vlan, destination)))
        tell_neighbour(worker, port, seen, 6, nd + 8, destination, mac);
}

/* Whether a quoted packet is an outer packet of ours. */
static bool is_tunnels(const struct tnl *tnl, const uint8_t *l4, uint32_t size, uint8_t proto)
{
    const struct tnl_listens *listens = atomic_load_explicit(&((struct tnl *)(uintptr_t)tnl)->listens, memory_order_acquire);

    if ((proto != 17 && proto != 47) || size < 4)
        return false;
    for (uint32_t i = 0; i < listens->n; i++)
        if (proto == 17 ? tunnel_is_udp(listens->at[i].listen.kind) && listens->at[i].listen.udp == be16(l4 + 2)
                        : !tunnel_is_udp(listens->at[i].listen.kind))
            return true;
    return false;
}

static void snoop_mtu(struct worker *worker, uint32_t port, const struct tnl_seen *seen)
{
    const uint8_t *icmp = seen->frame + seen->l4, *ip = icmp + 8;
    const uint32_t head = seen->family == 4 ? 20 : 40, room = RTE_MIN(seen->end, seen->room);
    struct dp_tnl_event event = { .kind = DP_TNL_MTU, .port = port, .family = seen->family, .vlan = seen->vlan };

    if (room < seen->l4 + 8 + head || ip[0] >> 4 != seen->family || (seen->family == 4 && (ip[0] & 15) != 5))
        return;
    if (!is_tunnels(worker->tnl, ip + head, room - seen->l4 - 8 - head, seen->family == 4 ? ip[9] : ip[6])
        || !is_ours(worker->tnl, port, seen->family, seen->vlan, ip + (seen->family == 4 ? 12 : 8))
        || !is_ours(worker->tnl, port, seen->family, seen->vlan, tnl_destination(seen)))
        return;
    event.mtu = seen->family == 4 ? be16(icmp + 6) : be16(icmp + 4) << 16 | be16(icmp + 6);
    memcpy(event.src, ip + (seen->family == 4 ? 12 : 8), seen->family == 4 ? 4 : 16);
    memcpy(event.dst, ip + (seen->family == 4 ? 16 : 24), seen->family == 4 ? 4 : 16);
    tell(worker, &event);
}

void tnl_snoop(struct worker *worker, uint32_t port, const struct rte_mbuf *m, const struct tnl_seen *seen)
{
    const uint8_t *at = seen->frame + seen->l4;

    if (!seen->family) {
        if (seen->l3 && seen->tags < 2 && be16(seen->frame + seen->l3 - 2) == 0x0806)
            snoop_arp(worker, port, seen);
        return;
    }
    if (seen->fragment || seen->tags > 1 || seen->room < seen->l4 + 8 || seen->end < seen->l4 + 8)
        return;
    if (seen->family == 4 && seen->proto == 1 && at[0] == 3 && at[1] == 4)
        snoop_mtu(worker, port, seen);
    else if (seen->family == 6 && seen->proto == 58 && at[0] == 2)
        snoop_mtu(worker, port, seen);
    else if (seen->family == 6 && seen->proto == 58 && (at[0] == 135 || at[0] == 136))
        snoop_nd(worker, port, m, seen);
}
