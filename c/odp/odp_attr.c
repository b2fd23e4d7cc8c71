/* SPDX-License-Identifier: Apache-2.0 */
#include "odp/odp_attr.h"

unsigned int odp_l4_attr(const struct key_base *b)
{
    if (!odp_is_ip(b->eth_type) || b->nw_frag == KEY_FRAG_LATER)
        return 0;
    switch (b->nw_proto) {
    case 6:
        return OVS_KEY_ATTR_TCP;
    case 17:
        return OVS_KEY_ATTR_UDP;
    case 132:
        return OVS_KEY_ATTR_SCTP;
    case 1:
        return b->eth_type == ODP_BE16(0x0800) ? OVS_KEY_ATTR_ICMP : 0;
    case 58:
        return b->eth_type == ODP_BE16(0x86dd) ? OVS_KEY_ATTR_ICMPV6 : 0;
    default:
        return 0;
    }
}
