/* SPDX-License-Identifier: Apache-2.0 */
#include "act/act_build_header.h"

#include <errno.h>

/* struct ovs_action_add_mpls: bit 0 of its flags. */
#define ADD_MPLS_BEHIND_ETHERNET 1u

#define NSH_BASE 8u
#define NSH_MD1 16u
#define NSH_MD2_MAX 244u
#define NSH_MAX (NSH_BASE + NSH_MD2_MAX)

/* Refuses what the packet is not fit for. */
static void need(struct act_builder *b, const char *why)
{
    if (why)
        act_build_fail(b, EINVAL, why);
}

/* A change after which layers and tags are to be found anew; NULL after a failure. */
static struct act_op *change(struct act_builder *b, struct act_list *l, enum act_code code)
{
    b->writes = true;
    l->parsed = false;
    return act_build_op(b, code);
}

void act_build_push_vlan(struct act_builder *b, struct act_list *l, const struct odp_attr *attr)
{
    uint16_t tag[2];
    struct act_op *op;

    memcpy(tag, attr->at, sizeof tag);
    if (!odp_is_vlan(tag[0]) || !(tag[1] & ODP_BE16(KEY_TCI_PRESENT))) {
        act_build_fail(b, EINVAL, "push_vlan of an unknown tpid or without the present bit 0x1000");
        return;
    }
    need(b, act_known_ethernet(&l->known, true));
    tag[1] &= (uint16_t)~ODP_BE16(KEY_TCI_PRESENT);
    l->tags++;
    op = change(b, l, ACT_OP_PUSH_VLAN);
    if (op)
        memcpy(&op->a, tag, sizeof tag);
}

void act_build_pop_vlan(struct act_builder *b, struct act_list *l, const struct odp_attr *attr)
{
    (void)attr;
    need(b, act_known_ethernet(&l->known, true));
    l->tags -= l->tags > 0;
    change(b, l, ACT_OP_POP_VLAN);
}

static bool is_label(struct act_builder *b, uint16_t eth_type)
{
    if (!odp_is_mpls(eth_type))
        act_build_fail(b, EINVAL, "an eth_type that is not MPLS");
    return !b->error;
}

static void push_label(struct act_builder *b, struct act_list *l, const struct odp_attr *attr)
{
    struct act_op *op;

    act_build_layers(b, l);
    op = change(b, l, ACT_OP_PUSH_MPLS);
    if (!op)
        return;
    op->a = act_u32(attr->at);
    op->b = act_u16(attr->at + 4);
    act_known_push_mpls(&l->known, act_u16(attr->at + 4), false);
}

void act_build_push_mpls(struct act_builder *b, struct act_list *l, const struct odp_attr *attr)
{
    if (is_label(b, act_u16(attr->at + 4)))
        push_label(b, l, attr);
}

void act_build_add_mpls(struct act_builder *b, struct act_list *l, const struct odp_attr *attr)
{
    const uint16_t type = act_u16(attr->at + 4), flags = act_u16(attr->at + 6);
    struct act_op *op;

    if (!is_label(b, type))
        return;
    if (flags & ADD_MPLS_BEHIND_ETHERNET) {
        push_label(b, l, attr);
        return;
    }
    b->needs_md = true;
    l->tags = 0;
    op = change(b, l, ACT_OP_ADD_MPLS);
    if (!op)
        return;
    op->a = act_u32(attr->at);
    op->b = type;
    act_known_push_mpls(&l->known, type, true);
}

void act_build_pop_mpls(struct act_builder *b, struct act_list *l, const struct odp_attr *attr)
{
    struct act_op *op;

    need(b, act_known_pop_mpls(&l->known));
    act_build_layers(b, l);
    op = change(b, l, ACT_OP_POP_MPLS);
    if (!op)
        return;
    op->b = act_u16(attr->at);
    act_known_popped_mpls(&l->known, act_u16(attr->at));
}

void act_build_push_eth(struct act_builder *b, struct act_list *l, const struct odp_attr *attr)
{
    const uint32_t operand = act_build_operand(b, 12);
    struct act_op *op;

    need(b, act_known_ethernet(&l->known, false));
    if (b->error)
        return;
    memcpy(b->pool + operand, attr->at + 6, 6); /* The attribute has the source first. */
    memcpy(b->pool + operand + 6, attr->at, 6);
    l->tags = 0;
    b->needs_md = true;
    op = change(b, l, ACT_OP_PUSH_ETH);
    if (op)
        op->operand = operand;
    l->known.header = ACT_ETHERNET;
}

void act_build_pop_eth(struct act_builder *b, struct act_list *l, const struct odp_attr *attr)
{
    (void)attr;
    need(b, act_known_ethernet(&l->known, true));
    if (l->known.checked && l->known.sure && !l->known.eth_type)
        act_build_fail(b, EINVAL, "without its Ethernet header nothing would say what the packet is");
    act_build_layers(b, l);
    b->needs_md = true;
    l->tags = 0;
    change(b, l, ACT_OP_POP_ETH);
    l->known.header = ACT_NO_ETHERNET;
}

/* The header that the attributes describe; its size, or 0 after a failure. */
static uint32_t read_nsh(struct act_builder *b, const struct odp_attr *nest, uint8_t header[NSH_MAX])
{
    struct odp_walk walk = { nest->at, nest->size };
    struct odp_attr attr;
    uint32_t size = NSH_BASE;
    bool base = false;
    uint8_t kind = 0;

    memset(header, 0, NSH_MAX);
    while (odp_next(&walk, &attr)) {
        if (attr.type == OVS_NSH_KEY_ATTR_BASE && attr.size == NSH_BASE) {
            header[0] = (uint8_t)((attr.at[0] & 3) << 4 | (attr.at[1] >> 2 & 0x0f));
            header[1] = (uint8_t)(attr.at[1] << 6);
            memcpy(header + 2, attr.at + 2, 6); /* Metadata type, what follows, path. */
            base = attr.at[0] <= 3 && attr.at[1] <= 0x3f;
        } else if (!kind && ((attr.type == OVS_NSH_KEY_ATTR_MD1 && attr.size == NSH_MD1)
                             || (attr.type == OVS_NSH_KEY_ATTR_MD2 && attr.size <= NSH_MD2_MAX && !(attr.size & 3)))) {
            kind = attr.type == OVS_NSH_KEY_ATTR_MD1 ? 1 : 2;
            memcpy(header + NSH_BASE, attr.at, attr.size);
            size += attr.size;
        } else {
            act_build_fail(b, EINVAL, "NSH attribute unknown, given twice or of the wrong size");
        }
    }
    if (walk.left || !base)
        act_build_fail(b, EINVAL, "push_nsh without a whole base header: flags of 2 bits, ttl of 6");
    else if (header[2] != 1 && header[2] != 2)
        act_build_fail(b, EINVAL, "NSH metadata is of type 1 or 2");
    else if ((kind && kind != header[2]) || (header[2] == 1 && !kind))
        act_build_fail(b, EINVAL, "NSH metadata of another type than the base header says");
    header[1] |= (uint8_t)(size / 4);
    return b->error ? 0 : size;
}

void act_build_push_nsh(struct act_builder *b, struct act_list *l, const struct odp_attr *attr)
{
    struct odp_walk walk = { attr->at, attr->size };
    struct odp_attr key;
    uint8_t header[NSH_MAX];
    uint32_t size, operand;
    struct act_op *op;

    if (!odp_next(&walk, &key) || walk.left || key.type != OVS_KEY_ATTR_NSH) {
        act_build_fail(b, EINVAL, "push_nsh without exactly one attribute of a service header");
        return;
    }
    size = read_nsh(b, &key, header);
    operand = act_build_operand(b, NSH_MAX);
    need(b, act_known_push_nsh(&l->known));
    if (b->error)
        return;
    memcpy(b->pool + operand, header, size);
    b->needs_md = true;
    l->tags = 0;
    op = change(b, l, ACT_OP_PUSH_NSH);
    if (!op)
        return;
    op->a = size;
    op->operand = operand;
    act_known_pushed_nsh(&l->known);
}

void act_build_pop_nsh(struct act_builder *b, struct act_list *l, const struct odp_attr *attr)
{
    (void)attr;
    need(b, act_known_pop_nsh(&l->known));
    b->needs_md = true;
    l->tags = 0;
    change(b, l, ACT_OP_POP_NSH);
    act_known_popped_nsh(&l->known);
}
