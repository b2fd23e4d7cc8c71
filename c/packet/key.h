/* SPDX-License-Identifier: Apache-2.0
 * key.h - the flow key: what the datapath knows of a packet, and what flows match.
 *
 * A key is eight blocks of 64 bytes, one cache line and one vector register each.  Most packets and
 * most flows need block 0 only; which blocks count is decided per partition (cls.h).  A mask has
 * the same shape.  Multi-byte fields that stand in packets are in network byte order, metadata in
 * host byte order.  Fields that a packet does not have are zero.
 *
 * Storage that several layers share (as in the kernel's sw_flow_key) is told apart by eth_type and
 * nw_proto, which odp_key.c therefore requires to be matched exactly whenever such a field is
 * matched at all:
 *   ip4_src/ip4_dst  ARP sip/tip     nw_proto  ARP op (low 8 bits; 0 when it is larger)
 *   tp_src/tp_dst    ICMP and ICMPv6 type/code (one byte each in the low byte of a be16)
 *   l3x              ND, ARP hardware addresses, MPLS stack, NSH
 *
 * Always part of a match, whatever the mask says: in_port and recirc_id (they choose the
 * partition), and, set by odp_mask.c in every mask: l2 (packet type), eth_type, VLAN presence (the
 * 0x1000 bit of vlan[0].tci when the mask of it is zero).  Not nw_frag: a mask without it takes
 * packets and fragments, as in Open vSwitch and Linux; later fragments have no ports, whatever
 * follows their header.
 *
 * Threads: any; keys and masks are plain values. */
#ifndef UPCALL_KEY_H
#define UPCALL_KEY_H

#include <stddef.h>
#include <stdint.h>

#define KEY_BLOCKS 8
#define KEY_BLOCKS_ALL ((1u << KEY_BLOCKS) - 1)
/* From which on a key has tunnel options only; and those before it. */
#define KEY_OPTIONS_BLOCK 4
#define KEY_BLOCKS_PLAIN ((1u << KEY_OPTIONS_BLOCK) - 1)
#define KEY_SIZE (64 * KEY_BLOCKS)
#define KEY_WORDS (KEY_SIZE / 8)
#define KEY_VLANS 2
#define KEY_MPLS 3

#define KEY_FRAG_NONE 0
#define KEY_FRAG_FIRST 1
#define KEY_FRAG_LATER 2
#define KEY_FRAG_BITS 3u /* That tell the kinds apart. */

#define KEY_L2_KIND 1u
/* Host order; stands where the DEI bit is on the wire, as in OVS_KEY_ATTR_VLAN. */
#define KEY_TCI_PRESENT 0x1000u

struct key_vlan {
    uint16_t tci;   /* be16 with KEY_TCI_PRESENT set; 0: no tag. */
    uint16_t tpid;  /* be16. */
};

/* Block 0: metadata, Ethernet, IPv4, ports, conntrack. */
struct key_base {
    uint32_t in_port;
    uint32_t recirc_id;
    uint8_t eth_dst[6];      /* Wire order: destination first. */
    uint8_t eth_src[6];
    uint16_t eth_type;       /* be16, behind all tags that were taken; 0: 802.2 without SNAP. */
    struct key_vlan vlan[KEY_VLANS];
    /* 0 Ethernet, 1 no Ethernet header (packet_type ns 1).  A mask has KEY_L2_KIND at least, 0xff
     * if packet_type was asked for. */
    uint8_t l2;
    uint8_t ct_state;
    uint32_t ip4_src;        /* be32. */
    uint32_t ip4_dst;        /* be32. */
    uint8_t nw_proto;
    uint8_t nw_tos;
    uint8_t nw_ttl;
    uint8_t nw_frag;         /* KEY_FRAG_*. */
    uint16_t tp_src;         /* be16. */
    uint16_t tp_dst;         /* be16. */
    uint16_t tcp_flags;      /* be16, low 12 bits. */
    uint16_t ct_zone;
    uint32_t skb_mark;
    uint32_t ct_mark;
    uint32_t dp_hash;
};

/* Block 1: IPv6 and what lies between or beside layers 2 and 4. */
struct key_wide {
    uint8_t ip6_src[16];
    uint8_t ip6_dst[16];
    uint32_t ip6_label;      /* be32, low 20 bits. */
    union {
        struct {
            uint8_t target[16];
            uint8_t sll[6];
            uint8_t tll[6];
        } nd;
        struct {
            uint8_t sha[6];
            uint8_t tha[6];
        } arp;
        uint32_t mpls[KEY_MPLS]; /* be32 label stack entries, outermost first; 0: none. */
        struct {
            uint8_t flags, ttl, mdtype, np;
            uint32_t path;       /* be32. */
            uint32_t context[4]; /* be32. */
        } nsh;
        uint8_t bytes[28];
    } l3x;
};

/* Block 2: tunnel that the packet came by. */
struct key_tunnel {
    uint64_t id;             /* be64. */
    union {
        uint8_t ip6[16];
        uint32_t ip4;        /* be32, rest zero. */
    } src, dst;
    uint16_t flags;          /* KEY_TUNNEL_*. */
    uint16_t tp_src, tp_dst; /* be16. */
    uint8_t tos, ttl;
    uint16_t gbp_id;
    uint8_t gbp_flags;
    uint8_t family;          /* 0 none, 4, 6. */
    uint8_t options_size;    /* Bytes of key.options: a mask has 0xff, or 0. */
    uint8_t erspan_ver;      /* 0: none. */
    uint8_t gtpu_flags, gtpu_msgtype;
    /* be32.  Version 1: the index.  Version 2: in its low half, bits of hardware and direction. */
    uint32_t erspan;
};
#define KEY_TUNNEL_KEY 1u
#define KEY_TUNNEL_CSUM 2u
#define KEY_TUNNEL_DF 4u
#define KEY_TUNNEL_OAM 8u

/* Block 3: the rest of the conntrack metadata, and rarities. */
struct key_ct {
    uint8_t label[16];
    uint8_t orig_src[16];    /* Original tuple; IPv4 in the first 4 bytes. */
    uint8_t orig_dst[16];
    uint16_t orig_tp_src, orig_tp_dst; /* be16. */
    uint8_t orig_proto;
    uint8_t nd_options_type;
    uint16_t ip6_exthdrs;    /* Host order, OVS_KEY_ATTR_IPV6_EXTHDRS bits. */
    uint32_t skb_priority;
    uint32_t nd_reserved;    /* be32. */
};

/* Bytes of Geneve options: as much as an attribute has, and 0 behind tunnel.options_size. */
#define KEY_OPTIONS 256u

struct key {
    union {
        struct {
            struct key_base base;
            struct key_wide wide;
            struct key_tunnel tunnel;
            struct key_ct ct;
            uint8_t options[KEY_OPTIONS]; /* Blocks 4 to 7: as on the wire. */
        };
        uint64_t words[KEY_WORDS];
        uint8_t bytes[KEY_SIZE];
    };
} __attribute__((aligned(64)));

_Static_assert(sizeof(struct key_base) == 64, "block 0 is one line");
_Static_assert(sizeof(struct key_wide) == 64, "block 1 is one line");
_Static_assert(sizeof(struct key_tunnel) == 64, "block 2 is one line");
_Static_assert(sizeof(struct key_ct) == 64, "block 3 is one line");
_Static_assert(sizeof(struct key) == KEY_SIZE, "a key is eight lines");
_Static_assert(offsetof(struct key, options) == 64 * KEY_OPTIONS_BLOCK, "options begin a block");

#endif
