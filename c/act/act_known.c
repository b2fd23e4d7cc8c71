/* SPDX-License-Identifier: Apache-2.0 */
#include "act/act_known.h"

#include <stddef.h>

#include "odp/odp_attr.h"

#define TYPE_IP ODP_BE16(0x0800)
#define TYPE_IP6 ODP_BE16(0x86dd)
#define TYPE_NSH ODP_BE16(0x894f)
#define TYPE_TEB ODP_BE16(0x6558)
#define NSH_NEXT_ETHERNET 3

static const char *const look_again = "what the packet is by now only another lookup tells: recirc before";

struct act_known act_known_of(const struct key *key)
{
    if (!key)
        return (struct act_known){ .header = ACT_EITHER };
    return (struct act_known){
        .checked = true,
        .sure = true,
        .header = key->base.l2 ? ACT_NO_ETHERNET : ACT_ETHERNET,
        .eth_type = key->base.eth_type,
        .proto = odp_is_ip(key->base.eth_type) ? key->base.nw_proto : 0,
        .nd = key->base.eth_type == TYPE_IP6 && key->base.nw_proto == 58 && odp_is_nd(&key->base),
        .nsh_next = key->base.eth_type == TYPE_NSH ? key->wide.l3x.nsh.np : 0,
    };
}

/* A field of the transport layer. */
static const char *set_transport(const struct act_known *known, uint8_t proto, uint16_t eth_type, const char *why)
{
    if (!known->sure)
        return look_again;
    return odp_is_ip(known->eth_type) && (!eth_type || known->eth_type == eth_type) && known->proto == proto ? NULL : why;
}

static const char *set_network(const struct act_known *known, bool is_that, const char *why)
{
    return known->sure ? (is_that ? NULL : why) : look_again;
}

const char *act_known_set(const struct act_known *known, uint32_t attr)
{
    const uint16_t type = known->eth_type;

    if (!known->checked)
        return NULL;
    switch (attr) {
    case OVS_KEY_ATTR_ETHERNET:
        return act_known_ethernet(known, true);
    case OVS_KEY_ATTR_IPV4:
        return set_network(known, type == TYPE_IP, "the key does not say that the packet is IPv4");
    case OVS_KEY_ATTR_IPV6:
        return set_network(known, type == TYPE_IP6, "the key does not say that the packet is IPv6");
    case OVS_KEY_ATTR_ARP:
        return set_network(known, odp_is_arp(type), "the key does not say that the packet is ARP");
    case OVS_KEY_ATTR_MPLS:
        return set_network(known, odp_is_mpls(type), "the key does not say that the packet has a label");
    case OVS_KEY_ATTR_NSH:
        return set_network(known, type == TYPE_NSH, "the key does not say that the packet has a network service header");
    case OVS_KEY_ATTR_TCP:
        return set_transport(known, 6, 0, "the key does not say that the packet is TCP");
    case OVS_KEY_ATTR_UDP:
        return set_transport(known, 17, 0, "the key does not say that the packet is UDP");
    case OVS_KEY_ATTR_SCTP:
        return set_transport(known, 132, 0, "the key does not say that the packet is SCTP");
    case OVS_KEY_ATTR_ICMP:
        return set_transport(known, 1, TYPE_IP, "the key does not say that the packet is ICMP");
    case OVS_KEY_ATTR_ICMPV6:
        return set_transport(known, 58, TYPE_IP6, "the key does not say that the packet is ICMPv6");
    case OVS_KEY_ATTR_ND:
    case ODP_KEY_ND_EXTENSIONS:
        if (!known->sure)
            return look_again;
        return known->nd ? NULL : "the key does not say that the packet is neighbour discovery";
    default:
        return NULL;
    }
}

const char *act_known_ethernet(const struct act_known *known, bool wanted)
{
    if (!known->checked || known->header == ACT_EITHER || (known->header == ACT_ETHERNET) == wanted)
        return NULL;
    return wanted ? "the packet has no Ethernet header there" : "the packet has an Ethernet header there";
}

const char *act_known_pop_mpls(const struct act_known *known)
{
    if (!known->checked || !known->sure || odp_is_mpls(known->eth_type))
        return NULL;
    return "the key does not say that the packet has a label";
}

const char *act_known_push_nsh(const struct act_known *known)
{
    const uint16_t type = known->eth_type;

    if (!known->checked || !known->sure || known->header != ACT_NO_ETHERNET || type == TYPE_IP || type == TYPE_IP6 || type == TYPE_NSH)
        return NULL;
    return "only Ethernet, IPv4, IPv6 and another service header can be behind a network service header";
}

const char *act_known_pop_nsh(const struct act_known *known)
{
    if (!known->checked || !known->sure)
        return NULL;
    if (known->eth_type != TYPE_NSH)
        return "the key does not say that the packet has a network service header";
    return known->header == ACT_ETHERNET ? "the packet has an Ethernet header there: pop_eth before" : NULL;
}

void act_known_push_mpls(struct act_known *known, uint16_t eth_type, bool in_front)
{
    known->eth_type = eth_type;
    known->proto = 0;
    known->nd = false;
    known->sure = true;
    if (in_front)
        known->header = ACT_NO_ETHERNET;
}

void act_known_popped_mpls(struct act_known *known, uint16_t eth_type)
{
    known->eth_type = eth_type;
    known->sure = odp_is_mpls(eth_type);
    if (eth_type == TYPE_TEB && known->header != ACT_ETHERNET)
        known->header = known->header == ACT_NO_ETHERNET ? ACT_ETHERNET : ACT_EITHER;
}

void act_known_pushed_nsh(struct act_known *known)
{
    known->nsh_next = known->header == ACT_ETHERNET ? NSH_NEXT_ETHERNET : known->header == ACT_NO_ETHERNET ? 1 : 0;
    known->header = ACT_NO_ETHERNET;
    known->eth_type = TYPE_NSH;
    known->proto = 0;
    known->nd = false;
    known->sure = true;
}

void act_known_popped_nsh(struct act_known *known)
{
    known->header = known->nsh_next == NSH_NEXT_ETHERNET ? ACT_ETHERNET : known->nsh_next ? ACT_NO_ETHERNET : ACT_EITHER;
    known->nsh_next = 0;
    known->sure = false;
}
