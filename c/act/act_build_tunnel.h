/* SPDX-License-Identifier: Apache-2.0
 * act_build_tunnel.h - compiles what is about tunnels: set(tunnel), tnl_push, tnl_pop.
 *
 * Threads: the control side. */
#ifndef UPCALL_ACT_BUILD_TUNNEL_H
#define UPCALL_ACT_BUILD_TUNNEL_H

#include "act/act_build.h"

/* struct ovs_action_push_tnl of Open vSwitch's userspace: four words, then the header. */
#define ACT_TNL_PUSH_SIZE (16 + 512)

/* The nest of a tunnel key. */
void act_build_set_tunnel(struct act_builder *, struct act_list *, const struct odp_attr *nest);
void act_build_tnl_push(struct act_builder *, struct act_list *, const struct odp_attr *);
void act_build_tnl_pop(struct act_builder *, struct act_list *, const struct odp_attr *);

#endif
