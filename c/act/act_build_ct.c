/* SPDX-License-Identifier: Apache-2.0
 * act_build_ct.c - compiles ct (act_build_ct.h).
 *
 * As Open vSwitch's userspace: a mark needs no commit, bits of it outside its mask count, an
 * event mask is taken and means nothing, a timeout that is no number is that of the defaults,
 * and a translation without a commit has no effect.  Addresses of another family than the flow's
 * are refused: Open vSwitch 3.1.0 writes their first bytes into the packet. */
#include "act/act_build_ct.h"

#include <errno.h>

#include "ct/ct.h"

#define TIMEOUT_MAX 32u              /* With its NUL. */
#define HELPER_MAX 16u               /* With its NUL. */
#define ADDRESS_MIN 1u               /* Bits of what a nat has. */
#define ADDRESS_MAX 2u
#define PORT_MIN 4u
#define PORT_MAX 8u

/* Bytes as a number in the order that ranges are compared in. */
static int compare_addresses(const struct ct_request *r)
{
    return memcmp(r->min_addr, r->max_addr, r->family == 4 ? 4 : 16);
}

static bool read_address(struct ct_request *r, const struct odp_attr *attr, uint8_t addr[16])
{
    const uint8_t family = attr->size == 4 ? 4 : 6;

    if ((attr->size != 4 && attr->size != 16) || (r->family && r->family != family))
        return false;
    r->family = family;
    memcpy(addr, attr->at, attr->size);
    return true;
}

/* One attribute of a nat; false: it is not right. */
static bool read_nat_attr(struct ct_request *r, const struct odp_attr *attr, uint32_t *has)
{
    switch (attr->type) {
    case OVS_NAT_ATTR_SRC:
        r->flags |= CT_NAT_SRC;
        return !attr->size;
    case OVS_NAT_ATTR_DST:
        r->flags |= CT_NAT_DST;
        return !attr->size;
    case OVS_NAT_ATTR_IP_MIN:
        *has |= ADDRESS_MIN;
        return read_address(r, attr, r->min_addr);
    case OVS_NAT_ATTR_IP_MAX:
        *has |= ADDRESS_MAX;
        return read_address(r, attr, r->max_addr);
    case OVS_NAT_ATTR_PROTO_MIN:
        *has |= PORT_MIN;
        r->min_port = attr->size == 2 ? act_u16(attr->at) : 0;
        return attr->size == 2;
    case OVS_NAT_ATTR_PROTO_MAX:
        *has |= PORT_MAX;
        r->max_port = attr->size == 2 ? act_u16(attr->at) : 0;
        return attr->size == 2;
    case OVS_NAT_ATTR_PERSISTENT:
        r->flags |= CT_NAT_PERSISTENT;
        return !attr->size;
    case OVS_NAT_ATTR_PROTO_HASH:
        return !attr->size; /* The rule in any case. */
    case OVS_NAT_ATTR_PROTO_RANDOM:
        r->flags |= CT_NAT_RANDOM;
        return !attr->size;
    default:
        return false;
    }
}

static void read_nat(struct act_builder *b, struct ct_request *r, const struct odp_attr *nest)
{
    struct odp_walk walk = { nest->at, nest->size };
    const uint16_t type = b->key->base.eth_type;
    struct odp_attr attr;
    uint32_t has = 0;
    bool hash = false;

    r->flags |= CT_NAT;
    while (odp_next(&walk, &attr)) {
        if (!read_nat_attr(r, &attr, &has))
            act_build_fail(b, EINVAL, "nat attribute unknown or of the wrong size");
        hash |= attr.type == OVS_NAT_ATTR_PROTO_HASH;
    }
    if (walk.left)
        act_build_fail(b, EINVAL, "nat attribute cut short");
    if ((r->flags & (CT_NAT_SRC | CT_NAT_DST)) == (CT_NAT_SRC | CT_NAT_DST))
        act_build_fail(b, EINVAL, "nat of source and destination at once");
    if (has && !(r->flags & (CT_NAT_SRC | CT_NAT_DST)))
        act_build_fail(b, EINVAL, "nat with a range and neither source nor destination");
    if (hash && r->flags & CT_NAT_RANDOM)
        act_build_fail(b, EINVAL, "nat with hash and random");
    if ((has & ADDRESS_MAX && !(has & ADDRESS_MIN)) || (has & PORT_MAX && !(has & PORT_MIN)))
        act_build_fail(b, EINVAL, "nat with the end of a range and no beginning");
    if (!(has & ADDRESS_MAX))
        memcpy(r->max_addr, r->min_addr, sizeof r->max_addr);
    if (has & PORT_MIN) {
        if (!(has & PORT_MAX))
            r->max_port = r->min_port;
        if (r->min_port || r->max_port) { /* Ports of 0 are no range, and 0 is no port. */
            r->flags |= CT_NAT_PORTS;
            r->min_port += !r->min_port;
        }
    }
    if (compare_addresses(r) > 0 || r->min_port > r->max_port)
        act_build_fail(b, EINVAL, "nat with a range whose end is before its beginning");
    if (r->family && ((type == ODP_BE16(0x0800) && r->family != 4) || (type == ODP_BE16(0x86dd) && r->family != 6)))
        act_build_fail(b, EINVAL, "nat with addresses of another family than the flow's");
}

/* A policy's number; anything else means the defaults. */
static uint32_t read_policy(const struct odp_attr *attr)
{
    uint64_t number = 0;

    for (uint32_t i = 0; i < attr->size && attr->at[i]; i++) {
        if (attr->at[i] < '0' || attr->at[i] > '9')
            return 0;
        number = number * 10 + (uint64_t)(attr->at[i] - '0');
        if (number > UINT32_MAX)
            return 0;
    }
    return (uint32_t)number;
}

/* Open vSwitch takes any word, of which one that is no helper's does nothing; the kernel refuses
 * it. */
static uint8_t read_helper(struct act_builder *b, const struct odp_attr *attr)
{
    static const char ftp[] = "ftp", tftp[] = "tftp";

    if (attr->size == sizeof ftp && !memcmp(attr->at, ftp, sizeof ftp))
        return CT_HELPER_FTP;
    if (attr->size == sizeof tftp && !memcmp(attr->at, tftp, sizeof tftp))
        return CT_HELPER_TFTP;
    act_build_fail(b, EINVAL, "ct with a helper that is neither ftp nor tftp");
    return CT_HELPER_NONE;
}

/* One attribute of a ct; false: it is not right. */
static bool read_attr(struct act_builder *b, struct ct_request *r, const struct odp_attr *attr)
{
    switch (attr->type) {
    case OVS_CT_ATTR_COMMIT:
        r->flags |= CT_COMMIT;
        return !attr->size;
    case OVS_CT_ATTR_FORCE_COMMIT:
        r->flags |= CT_COMMIT | CT_FORCE;
        return !attr->size;
    case OVS_CT_ATTR_ZONE:
        if (attr->size == 2)
            r->zone = act_u16(attr->at);
        return attr->size == 2;
    case OVS_CT_ATTR_MARK:
        if (attr->size != 8)
            return false;
        r->flags |= CT_MARK;
        r->mark = act_u32(attr->at);
        r->mark_mask = act_u32(attr->at + 4);
        return true;
    case OVS_CT_ATTR_LABELS:
        if (attr->size != 32)
            return false;
        r->flags |= CT_LABEL;
        memcpy(r->label, attr->at, 16);
        memcpy(r->label_mask, attr->at + 16, 16);
        return true;
    case OVS_CT_ATTR_TIMEOUT:
        r->policy = read_policy(attr);
        return attr->size && attr->size <= TIMEOUT_MAX;
    case OVS_CT_ATTR_EVENTMASK:
        if (attr->size != 4)
            return false;
        r->flags |= CT_EVENT_MASK;
        r->event_mask = act_u32(attr->at);
        return true;
    case OVS_CT_ATTR_NAT:
        read_nat(b, r, attr);
        return true;
    case OVS_CT_ATTR_HELPER:
        r->helper = read_helper(b, attr);
        return attr->size && attr->size <= HELPER_MAX;
    default:
        return false;
    }
}

void act_build_ct(struct act_builder *b, struct act_list *l, const struct odp_attr *nest)
{
    struct odp_walk walk = { nest->at, nest->size };
    const uint32_t operand = act_build_operand(b, sizeof(struct ct_request));
    struct ct_request request = { .flags = 0 };
    struct odp_attr attr;
    struct act_op *op;

    while (odp_next(&walk, &attr)) {
        if (!read_attr(b, &request, &attr))
            act_build_fail(b, EINVAL, "ct attribute unknown or of the wrong size");
    }
    if (walk.left)
        act_build_fail(b, EINVAL, "ct attribute cut short");
    b->needs_md = b->writes = b->tracks = true;
    op = act_build_op(b, ACT_OP_CT);
    if (!op)
        return;
    op->operand = operand;
    op->acted = l->acted;
    op->tags = act_build_tags(l);
    memcpy(b->pool + operand, &request, sizeof request);
}
