/* SPDX-License-Identifier: Apache-2.0 */
#include "act/act_build_tunnel.h"

#include <errno.h>

#include "odp/odp.h"
#include "port/port.h"
#include "tnl/tnl_ready.h"

void act_build_set_tunnel(struct act_builder *b, struct act_list *l, const struct odp_attr *nest)
{
    const uint32_t operand = act_build_operand(b, sizeof(struct act_tunnel));
    struct act_tunnel tunnel;
    const char *why = NULL;
    struct act_op *op;

    (void)l;
    memset(&tunnel, 0, sizeof tunnel);
    b->field = "tunnel";
    if (odp_tunnel_read(nest->at, nest->size, &tunnel.tunnel, tunnel.options, &why))
        act_build_fail(b, EINVAL, why);
    if (b->error)
        return;
    memcpy(b->pool + operand, &tunnel, sizeof tunnel);
    b->needs_md = true;
    op = act_build_op(b, ACT_OP_SET_TUNNEL);
    if (op)
        op->operand = operand;
}

void act_build_tnl_push(struct act_builder *b, struct act_list *l, const struct odp_attr *attr)
{
    const uint32_t operand = act_build_operand(b, sizeof(struct tnl_ready));
    struct tnl_ready ready = { .port = act_u32(attr->at), .out_port = act_u32(attr->at + 4), .size = act_u32(attr->at + 8) };
    struct act_op *op;

    memcpy(ready.header, attr->at + 16, sizeof ready.header);
    if (!tnl_ready_check(&ready))
        act_build_fail(b, EINVAL, "tnl_push of a header that is not Ethernet, IPv4 or IPv6, and UDP or GRE, of 512 bytes at most");
    if (b->error)
        return;
    memcpy(b->pool + operand, &ready, sizeof ready);
    b->writes = true; /* Of metadata other actions say that they need it. */
    op = act_build_op(b, ACT_OP_TNL_PUSH);
    if (!op)
        return;
    op->operand = operand;
    op->b = l->cut;
    l->cut = false; /* For good: what follows sees a packet that was cut. */
    l->parsed = false;
    l->tags = 0;
    l->known = act_known_of(NULL);
}

void act_build_tnl_pop(struct act_builder *b, struct act_list *l, const struct odp_attr *attr)
{
    if (act_u32(attr->at) > PORT_NO_MAX)
        act_build_fail(b, EINVAL, "tnl_pop of a port number that no port can have");
    b->writes = true;
    act_build_effect(b, l, ACT_OP_TNL_POP, act_u32(attr->at));
}
