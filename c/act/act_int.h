/* SPDX-License-Identifier: Apache-2.0
 * act_int.h - programs as act_compile.c makes them and act_run.c runs them.
 *
 * A program is a row of operations of one size.  Lists within actions (clone, sample, ...) follow
 * the operation that they belong to, which knows how many operations they are.  Operands that do
 * not fit into an operation lie in a pool behind.
 *
 * Threads: as in act.h. */
#ifndef UPCALL_ACT_INT_H
#define UPCALL_ACT_INT_H

#include <stdbool.h>
#include <stdint.h>

#include "act/act.h"

#define ACT_NEST_MAX 16

/* What an operation is to the list that it stands in. */
enum act_class {
    ACT_CHANGE,              /* Changes the packet: without an effect behind it, it is left out. */
    /* Does something with the packet as it is: never left out, and the last one may have the packet
     * itself. */
    ACT_EFFECT,
    ACT_EFFECT_NESTED,       /* An effect if it has a nested list, else a change. */
};

/* All operations, one a line: code, class, what it is given. */
#define ACT_OPS(X) \
    X(OUTPUT, EFFECT)           /* a: port.  b: what TRUNC said is cut off. */ \
    X(USERSPACE, EFFECT)        /* operand: struct userdata *, or NULL.  b as above. */ \
    X(BALANCE, EFFECT)          /* a: bond.  b: what TRUNC said is cut off. */ \
    X(RECIRC, EFFECT)           /* a: recirc_id. */ \
    X(TNL_POP, EFFECT)          /* a: tunnel port.  b as above. */ \
    X(CLONE, EFFECT)            /* nested: its list. */ \
    X(SAMPLE, EFFECT)           /* a: probability.  nested. */ \
    X(CT, EFFECT)               /* operand: struct ct_request. */ \
    X(METER, EFFECT)            /* a: its number. */ \
    X(PSAMPLE, EFFECT)          /* operand: struct worker_sample.  b as above. */ \
    X(CHECK_LEN, EFFECT)        /* a: size.  b as above.  nested: if greater, nested_else. */ \
    X(DROP, EFFECT)             /* a: reason. */ \
    X(DEC_TTL, EFFECT_NESTED)   /* nested: list of packets whose TTL is used up. */ \
    X(PARSE, CHANGE)            /* Finds the layers that the operations behind it need. */ \
    X(REWRITE, CHANGE)          /* operand: struct act_rewrite. */ \
    X(SET, CHANGE)              /* a: OVS_KEY_ATTR_*.  b: size.  operand: value, then mask. */ \
    X(SET_META, CHANGE)         /* The same for metadata. */ \
    X(CT_CLEAR, CHANGE) \
    X(TRUNC, CHANGE)            /* a: size; what is more is cut off at the next output. */ \
    X(HASH, CHANGE)             /* a: algorithm, b: basis. */ \
    X(PUSH_VLAN, CHANGE)        /* a: tpid and tci as they stand in the frame. */ \
    X(POP_VLAN, CHANGE) \
    X(PUSH_MPLS, CHANGE)        /* a: lse, b: eth_type, both as in the frame. */ \
    X(ADD_MPLS, CHANGE)         /* The same, before all that the packet has. */ \
    X(POP_MPLS, CHANGE)         /* b: eth_type. */ \
    X(PUSH_ETH, CHANGE)         /* operand: both addresses as in the frame. */ \
    X(POP_ETH, CHANGE) \
    X(PUSH_NSH, CHANGE)         /* a: size.  operand: the header. */ \
    X(POP_NSH, CHANGE) \
    X(SET_TUNNEL, CHANGE)       /* operand: struct act_tunnel. */ \
    X(TNL_PUSH, CHANGE)         /* operand: struct tnl_ready.  b: what TRUNC said is cut off. */

enum act_code {
#define X(code, class) ACT_OP_##code,
    ACT_OPS(X)
#undef X
};

#define ACT_HASH_L4 0u
#define ACT_HASH_SYM_L4 1u

struct extract_layers;

struct act_op {
    uint8_t code;            /* enum act_code. */
    /* Nothing follows: it may have the packets themselves, others get copies. */
    uint8_t last;
    uint8_t acted;           /* The packet has been sent somewhere before: freeing it is no drop. */
    /* ACT_OP_PARSE, ACT_OP_HASH, ACT_OP_CT: how many the list has pushed before. */
    uint8_t tags;
    uint8_t moves;           /* ACT_OP_SET: what a connection is known by. */
    uint32_t a, b;
    uint32_t operand;        /* Offset in the pool. */
    uint32_t nested, nested_else; /* Operations. */
};

/* The commonest changes in one: both MAC addresses, the TTL of IPv4, a tag. */
struct act_rewrite {
    uint8_t head[16];        /* eth_dst, eth_src, tpid, tci. */
    uint16_t ttl;            /* New TTL with RE_TTL. */
    uint16_t what;           /* ACT_RE_*. */
};
#define ACT_RE_MAC 1u
#define ACT_RE_TTL 2u
#define ACT_RE_VLAN 4u

struct act_prog {
    uint32_t kind;           /* enum act_kind. */
    uint32_t port;
    uint32_t op_count;
    uint32_t attrs_size;
    uint32_t shares;         /* Owners besides the first. */
    uint8_t needs_md;        /* Looks at or changes struct pkt. */
    uint8_t writes;          /* Looks at or changes headers. */
    uint8_t cuts;            /* Has an ACT_OP_TRUNC. */
    uint8_t tracks;          /* Has an ACT_OP_CT. */
    uint8_t balances;        /* Has an ACT_OP_BALANCE. */
    uint8_t quick;           /* ACT_OP_REWRITE, and then an output: act_quick(). */
    const uint8_t *attrs;
    const uint8_t *pool;
    struct act_op ops[];
};

/* Where the layers of one packet are, as of the last ACT_OP_PARSE. */
struct act_layers {
    uint16_t l3;
    uint16_t l4;             /* 0 unless `l4_kind`. */
    uint16_t l4_size;
    uint16_t eth_type;       /* be16. */
    uint8_t ip;              /* 4, 6, or 0. */
    /* IP protocol whose whole header is there; 0: none, or a later fragment. */
    uint8_t l4_kind;
    /* IPv6 with a routing header that has segments left: the checksum knows another destination. */
    uint8_t routed;
    uint8_t pad;
};

/* Reads the layers of a packet whose headers are in its first segment.  A frame is read to its
 * second tag and no further, but what `tags` actions have pushed in front of it since does not
 * count: the layers of a packet are where they were. */
void act_parse(const struct rte_mbuf *m, uint32_t tags, struct act_layers *layers);

/* Sets fields of one packet.  `value` has no bits outside `mask`. */
void act_set(struct rte_mbuf *m, const struct act_layers *layers, uint32_t attr, const uint8_t *value, const uint8_t *mask);

/* Sets metadata of one packet: `operand` is value and mask. */
void act_set_metadata(struct rte_mbuf *m, uint32_t attr, const uint8_t *operand);

/* The TTL or hop limit of an IP packet minus 1; false if it is used up (and then it stays). */
bool act_dec_ttl(struct rte_mbuf *m, const struct act_layers *layers);

/* What a flow says of the tunnel that a packet shall go by. */
struct act_tunnel {
    struct key_tunnel tunnel;
    uint8_t options[KEY_OPTIONS];
};
void act_set_tunnel(struct rte_mbuf *m, const struct act_tunnel *);

/* A copy of a packet that shares nothing with it; NULL, counted: no buffer.  `has_md`: with its
 * struct pkt. */
struct rte_mbuf *act_copy(struct worker *, const struct rte_mbuf *m, bool has_md);

/* Makes headers contiguous: the first segment of a chain holds them, or the packet is copied so
 * that it does.  Returns how many packets are left. */
unsigned int act_gather(struct worker *, struct rte_mbuf **packets, unsigned int n, bool has_md);

/* Cuts a packet to `size` bytes, if it has more. */
void act_truncate(struct rte_mbuf *m, uint32_t size);

/* Changes of the packet's beginning.  They answer whether the packet is still good; it must be
 * dropped if not, which is so if nothing would be left of it.  What makes it one without Ethernet
 * header, or one with, needs its struct pkt complete. */
bool act_push_vlan(struct rte_mbuf *m, uint32_t tag);
void act_pop_vlan(struct rte_mbuf *m);
bool act_push_mpls(struct rte_mbuf *m, const struct act_layers *layers, uint32_t lse, uint32_t eth_type);
bool act_add_mpls(struct rte_mbuf *m, uint32_t lse, uint32_t eth_type);
bool act_pop_mpls(struct rte_mbuf *m, const struct act_layers *layers, uint32_t eth_type);
bool act_push_eth(struct rte_mbuf *m, const uint8_t *addresses);
/* Also what is between Ethernet and the network header or label, tags included. */
bool act_pop_eth(struct rte_mbuf *m, const struct act_layers *layers);
/* The field of the header that says what follows is filled in. */
bool act_push_nsh(struct rte_mbuf *m, const uint8_t *header, uint32_t size);
/* Nothing, if the packet does not begin with one. */
bool act_pop_nsh(struct rte_mbuf *m);

/* Rewrites a burst; answers with the bits of packets that cannot take it. */
uint32_t act_rewrite(struct rte_mbuf **packets, uint32_t n, const struct act_rewrite *re);

/* A hash of the packet's addresses and ports, never 0.  Symmetric: the same for both directions. */
uint32_t act_hash(const struct rte_mbuf *m, uint32_t tags, uint32_t algorithm, uint32_t basis);

/* Gives packets the metadata that a burst has in common. */
void act_give_metadata(struct rte_mbuf **packets, unsigned int n, const struct pkt_md *md);

/* The key of a packet but metadata and tunnel options, and where its layers are, `tags` pushed ones
 * left out. */
void act_read_key(const struct rte_mbuf *m, uint32_t tags, struct key *key, struct extract_layers *found);

/* Output to the member of a bond that the packet's hash says; takes it over. */
void act_balance(struct worker *, struct rte_mbuf *m, uint32_t bond);

/* Bytes of the largest packet that this one will be on the wire: those of a segment if the port is
 * to cut it. */
uint32_t act_wire_size(const struct rte_mbuf *m);

#endif
