/* SPDX-License-Identifier: Apache-2.0
 * tunnel.h - what a tunnel port is: its kind, and what its options say.
 *
 * Where an option is about the outer header it counts for packets of which the flow has said
 * nothing (`set(tunnel(...))`); a fixed remote or local end counts for all.
 *
 * Threads: any; plain values. */
#ifndef UPCALL_TUNNEL_H
#define UPCALL_TUNNEL_H

#include <stdbool.h>
#include <stdint.h>

enum tunnel_kind {
    TUNNEL_VXLAN,
    TUNNEL_GENEVE,
    TUNNEL_GRE,
    TUNNEL_IP6GRE,
    TUNNEL_ERSPAN,
    TUNNEL_IP6ERSPAN,
    TUNNEL_GTPU,
    TUNNEL_BAREUDP,
    TUNNEL_KINDS,
};

struct tunnel_config {
    uint8_t kind;                /* enum tunnel_kind. */
    uint8_t remote_family;       /* 4, 6; 0: the flow says the remote end. */
    uint8_t local_family;        /* 4, 6; 0: any address, or what the flow says. */
    bool in_key_fixed;           /* Takes packets with `in_key` only. */
    bool out_key_fixed;          /* Sends `out_key` if the flow has said nothing. */
    uint8_t tos, ttl;            /* ttl 0: that of the next hop. */
    bool tos_inherit, ttl_inherit;
    bool df, csum;
    bool csum6_zero;             /* csum=false was said: UDP over IPv6 has none either. */
    bool seq;                    /* GRE: number packets. */
    bool gbp;                    /* VXLAN: group policy. */
    bool l3;                     /* Carries packets without Ethernet header. */
    bool multiproto;             /* bareudp: IPv4 beside IPv6, multicast labels beside unicast. */
    uint8_t erspan_ver;          /* 1 or 2. */
    uint8_t erspan_dir, erspan_hwid;
    uint16_t payload;            /* bareudp: EtherType, host order. */
    uint16_t dst_port;           /* UDP, host order; 0: no UDP. */
    uint32_t erspan_idx;         /* Host order. */
    uint64_t in_key, out_key;    /* Host order. */
    uint8_t remote[16], local[16];
};

/* Whether outer packets have a UDP header; they have a GRE header if not. */
static inline bool tunnel_is_udp(uint8_t kind)
{
    return kind == TUNNEL_VXLAN || kind == TUNNEL_GENEVE || kind == TUNNEL_GTPU || kind == TUNNEL_BAREUDP;
}

#endif
